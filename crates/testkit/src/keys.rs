//! RSA signing keys. Tests generate theirs at run time. Only the sample key is in the repository.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{self, KeyPair as _, RsaEncoding},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// A named RSA key of 2048 bits.
#[derive(Clone, Copy)]
pub struct Key {
    pub kid: &'static str,
    pair: &'static KeyPair,
}

/// The key in the issuer's JWKS.
pub fn main() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    Key { kid: "main", pair: PAIR.get_or_init(generate) }
}

/// The issuer's second key, or the key of a second issuer.
pub fn second() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    Key { kid: "second", pair: PAIR.get_or_init(generate) }
}

/// A key that no issuer publishes.
pub fn attacker() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    Key { kid: "attacker", pair: PAIR.get_or_init(generate) }
}

/// The public sample key that signs the tokens in `events/`.
pub fn sample() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    let read = || {
        let (_, pem) =
            include_str!("../../../tests/sample-key.pem").split_once("-----BEGIN RSA PRIVATE KEY-----").unwrap();
        let (body, _) = pem.split_once("-----END").unwrap();
        let body: String = body.split_whitespace().collect();
        KeyPair::from_der(&STANDARD.decode(body).unwrap()).unwrap()
    };
    Key { kid: "sample", pair: PAIR.get_or_init(read) }
}

/// Generates the tests' keys now. This takes a second or two, which must not count as waiting time
/// in a test.
pub fn prepare() {
    let _ = (main(), second(), attacker());
}

fn generate() -> KeyPair {
    KeyPair::generate(KeySize::Rsa2048).unwrap()
}

/// A JWKS of these keys.
pub fn jwks(keys: &[Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    /// A new key. It is never freed, so that a `Key` can be copied.
    pub fn generate(kid: String) -> Self {
        Self { kid: kid.leak(), pair: Box::leak(Box::new(generate())) }
    }

    /// The same key material with another `kid`.
    #[must_use]
    pub fn named(self, kid: &'static str) -> Self {
        Self { kid, ..self }
    }

    /// The public key in the form that Okta publishes.
    pub fn jwk(self) -> Value {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": encode(self.modulus()), "e": "AQAB" })
    }

    pub fn modulus(self) -> Vec<u8> {
        // DER of RSAPublicKey (RFC 8017, A.1.1) for 2048 bits: two headers of four bytes and the
        // zero byte of the sign precede the modulus.
        let der = self.pair.public_key().as_ref();
        assert_eq!(der[..9], [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]);
        der[9..265].to_vec()
    }

    /// The `SubjectPublicKeyInfo` in DER.
    pub fn public_der(self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    /// The signed compact token of this header and payload. Both can be any bytes.
    pub fn sign(self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.seal(&format!("{}.{}", encode(header), encode(payload)))
    }

    /// `input`, a dot, and the RS256 signature of `input`.
    pub fn seal(self, input: &str) -> String {
        self.seal_as(&signature::RSA_PKCS1_SHA256, input)
    }

    /// `input`, a dot, and a signature of `input` in another scheme.
    pub fn seal_as(self, encoding: &'static dyn RsaEncoding, input: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", encode(signature))
    }

    /// A token with these claims. Its header has only `alg` and `kid`.
    pub fn token(self, claims: &Value) -> String {
        self.sign(json!({ "alg": "RS256", "kid": self.kid }).to_string(), claims.to_string())
    }
}
