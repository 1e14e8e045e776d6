//! Signing keys, made when the tests run, so that none of them can be taken for a secret.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{self, KeyPair as _, RsaEncoding},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// An RSA key of 2048 bits under a name. The three of them differ in material and in name.
#[derive(Clone, Copy)]
pub struct Key {
    pub kid: &'static str,
    pair: &'static KeyPair,
}

/// The key that the issuer's set holds.
pub fn main() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    Key { kid: "main", pair: PAIR.get_or_init(generate) }
}

/// A second key of the issuer, or the key of a second issuer.
pub fn second() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    Key { kid: "second", pair: PAIR.get_or_init(generate) }
}

/// A key that no issuer ever published.
pub fn attacker() -> Key {
    static PAIR: OnceLock<KeyPair> = OnceLock::new();
    Key { kid: "attacker", pair: PAIR.get_or_init(generate) }
}

/// Makes all of them, which takes a second or two, now and not while somebody waits for an answer.
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
    /// The same material under another `kid`.
    pub fn named(self, kid: &'static str) -> Self {
        Self { kid, ..self }
    }

    /// The public key as Okta publishes it.
    pub fn jwk(self) -> Value {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": encode(self.modulus()), "e": "AQAB" })
    }

    pub fn modulus(self) -> Vec<u8> {
        // RSAPublicKey (RFC 8017, A.1.1) of 2048 bits: two headers of four bytes and the sign's zero byte come first.
        let der = self.pair.public_key().as_ref();
        assert_eq!(der[..9], [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00]);
        der[9..265].to_vec()
    }

    /// `SubjectPublicKeyInfo`, DER.
    pub fn public_der(self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    /// The compact token over these texts, whatever they are.
    pub fn sign(self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        self.seal(&format!("{}.{}", encode(header), encode(payload)))
    }

    /// `input` and its RS256 signature, joined by a dot.
    pub fn seal(self, input: &str) -> String {
        self.seal_as(&signature::RSA_PKCS1_SHA256, input)
    }

    /// `input` and its signature of another kind, joined by a dot.
    pub fn seal_as(self, encoding: &'static dyn RsaEncoding, input: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", encode(signature))
    }

    /// A token with the plain header and these claims.
    pub fn token(self, claims: &Value) -> String {
        self.sign(json!({ "alg": "RS256", "kid": self.kid }).to_string(), claims.to_string())
    }
}
