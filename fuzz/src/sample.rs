//! The sample key and issuer of `events/`, and tokens that they sign.

use std::sync::LazyLock;

use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use okta_authorizer::{
    keys::KeySet,
    token::{BearerToken, Claims, Expectations, Refusal, UnverifiedToken, verify},
};
use serde_json::Value;

pub const NOW: u64 = 1_800_000_000;
pub const SKEW: u32 = 60;
pub const ISSUER: &str = "https://example.okta.com/oauth2/default";
pub const AUDIENCE: &str = "api://default";
pub const KID: &str = "sample";
pub const HEADER: &str = r#"{"alg":"RS256","kid":"sample"}"#;
pub const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod";

const PEM: &str = include_str!("../../tests/sample-key.pem");
const ENVIRONMENT: &str = include_str!("../../events/env.json");

/// The sample key, as `events/env.json` pins it.
pub static JWKS: LazyLock<String> = LazyLock::new(|| {
    let environment: Value = serde_json::from_str(ENVIRONMENT).unwrap();
    environment["Parameters"]["OKTA_JWKS"].as_str().unwrap().to_owned()
});

pub static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(JWKS.as_bytes()).unwrap());

pub static EXPECTATIONS: LazyLock<Expectations> = LazyLock::new(|| Expectations {
    issuer: ISSUER.to_owned(),
    audiences: vec![AUDIENCE.to_owned()],
    client_ids: Vec::new(),
    clock_skew_seconds: SKEW,
});

static SIGNER: LazyLock<KeyPair> = LazyLock::new(|| {
    let (_, body) = PEM.split_once("-----BEGIN RSA PRIVATE KEY-----").unwrap();
    let (body, _) = body.split_once("-----END").unwrap();
    KeyPair::from_der(&STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap()).unwrap()
});

/// A token that the sample key really signed, whatever it says.
pub fn sign(header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mut signature = vec![0; SIGNER.public_modulus_len()];
    SIGNER.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What is verified of a header's value, as the authorizer does it.
pub fn accept(header_value: &str) -> Result<Claims, Refusal> {
    let bearer = BearerToken::from_header_value(header_value)?;
    let token = UnverifiedToken::decode(&bearer)?;
    if token.unverified_issuer()? != ISSUER {
        return Err(Refusal::UnknownIssuer);
    }
    let key = KEYS.key(token.unverified_kid()).ok_or(Refusal::UnknownKid)?;
    verify(token, key, &EXPECTATIONS, NOW)
}

/// A payload that is good, with these members besides: `,"uid":"u"`, say.
pub fn payload(more: &str) -> String {
    format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","iat":{NOW},"exp":{},"sub":"s"{more}}}"#, NOW + 3_600)
}
