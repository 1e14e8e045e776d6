//! The public sample key, tokens that it signs, and an authorizer that trusts it.

use std::{io, sync::LazyLock};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use okta_authorizer::{
    authorizer::Authorizer,
    config::Config,
    https::{HttpsClient, TrustAnchors},
    keys::KeySet,
    response::Response,
    token::{BearerToken, Claims, Expectations, Refusal, UnverifiedToken, verify},
};
use okta_authorizer_testkit::RULES;
use serde::Serialize;
use serde_json::json;

pub const NOW: u64 = 1_800_000_000;
pub const SKEW: u32 = 60;
pub const ISSUER: &str = "https://example.okta.com/oauth2/default";
pub const AUDIENCE: &str = "api://default";
pub const KID: &str = "sample";
pub const HEADER: &str = r#"{"alg":"RS256","kid":"sample"}"#;

const PEM: &str = include_str!("../../tests/sample-key.pem");

static SIGNER: LazyLock<KeyPair> = LazyLock::new(|| {
    let (_, body) = PEM.split_once("-----BEGIN RSA PRIVATE KEY-----").unwrap();
    let (body, _) = body.split_once("-----END").unwrap();
    KeyPair::from_der(&STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap()).unwrap()
});

static JWKS: LazyLock<String> = LazyLock::new(|| {
    let public = SIGNER.public_key();
    let modulus = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
    json!({ "keys": [{ "kty": "RSA", "kid": KID, "n": modulus, "e": "AQAB" }] }).to_string()
});

static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(JWKS.as_bytes()).unwrap());

pub static EXPECTATIONS: LazyLock<Expectations> = LazyLock::new(|| Expectations {
    issuer: ISSUER.to_owned(),
    audiences: vec![AUDIENCE.to_owned()],
    client_ids: Vec::new(),
    clock_skew_seconds: SKEW,
});

/// An authorizer with the sample key, the rules of the tests, and these variables.
pub fn authorizer(variables: &[(&str, &str)]) -> Authorizer {
    let fixed = [("OKTA_ISSUER", ISSUER), ("OKTA_JWKS", &JWKS), ("POLICY_FILE", "rules.toml")];
    let config = Config::load(fixed.iter().chain(variables).copied(), |path| {
        if path == "rules.toml" { Ok(RULES.into()) } else { Err(io::ErrorKind::NotFound.into()) }
    });
    Authorizer::new(config.unwrap(), None, &HttpsClient::new(TrustAnchors::Embedded))
}

/// A token with a valid signature of the sample key, whatever the token says.
pub fn sign(header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mut signature = vec![0; SIGNER.public_modulus_len()];
    SIGNER.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The verified claims of a header's value, with the steps of the authorizer.
pub fn accept(header_value: &str) -> Result<Claims, Refusal> {
    let bearer = BearerToken::from_header_value(header_value)?;
    let token = UnverifiedToken::decode(&bearer)?;
    if token.unverified_issuer()? != ISSUER {
        return Err(Refusal::UnknownIssuer { issuer: token.unverified_issuer()?.into_owned() });
    }
    let key = KEYS.key(token.unverified_kid()).ok_or(Refusal::UnknownKid)?;
    verify(token, key, &EXPECTATIONS, NOW)
}

/// A valid payload with `more` members, for example `,"uid":"u"`.
pub fn payload(more: &str) -> String {
    format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","iat":{NOW},"exp":{},"sub":"s"{more}}}"#, NOW + 3_600)
}

/// Asserts that the answer on the wire has exactly the response's members, in their order.
pub fn assert_on_the_wire(response: &Response) {
    let key = response.usage_identifier_key.as_ref();
    let expected = format!(
        r#"{{"principalId":{},"context":{}{},"policyDocument":{}}}"#,
        json_text(&response.principal_id),
        json_text(&response.context),
        key.map(|key| format!(r#","usageIdentifierKey":{}"#, json_text(key))).unwrap_or_default(),
        response.policy_document.json(),
    );
    assert_eq!(json_text(response), expected);
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
