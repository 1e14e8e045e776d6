//! Claims to explain. Only verification makes `Claims`, so those given are signed with the sample key and verified against
//! themselves: what is explained has passed the real checks of types, and was good at the time that it speaks of. Only a
//! name that stands twice is not noticed here.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use okta_authorizer::{
    keys::KeySet,
    token::{BearerToken, Claims, Expectations, UnverifiedToken, verify},
};
use serde_json::{Map, Value, json};

const SAMPLE_KEY: &[u8] = include_bytes!("../../tests/sample-key.pem");
const ENVIRONMENT: &str = include_str!("../../events/env.json");

/// The claims of a JSON object, or of an access token, whose signature is not checked.
pub fn read(text: &str) -> Result<Map<String, Value>, String> {
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("the claims are not a JSON object: {error}"));
    }
    let bearer = BearerToken::from_header_value(text).map_err(|refusal| format!("no access token: {refusal}"))?;
    UnverifiedToken::decode(&bearer).map_err(|refusal| format!("no access token: {refusal}"))?;
    // Decoded already, which is why the header may not be looked at.
    let claims =
        jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(text.rsplit(' ').next().unwrap_or(text));
    claims.map(|token| token.claims).map_err(|error| format!("no access token: {error}"))
}

/// The claims as if they had come in a good token. What every token has is added where it is missing.
pub fn proven(mut claims: Map<String, Value>) -> Result<Claims, String> {
    for (name, value) in [
        ("iss", json!("https://example.okta.com/oauth2/default")),
        ("aud", json!("api://default")),
        ("sub", json!("somebody@example.com")),
        ("iat", json!(1_800_000_000)),
        ("exp", json!(4_102_444_800_u64)),
    ] {
        claims.entry(name).or_insert(value);
    }
    let number = |name: &str| claims.get(name).and_then(Value::as_f64).unwrap_or_default().ceil();
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let audiences = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec![text("aud")],
    };
    let expected = Expectations { issuer: text("iss"), audiences, client_ids: Vec::new(), clock_skew_seconds: 0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time beyond all clocks is refused")]
    let now = number("iat").max(number("nbf")) as u64;

    let token = sign(&claims).map_err(|error| format!("the sample key cannot sign them: {error}"))?;
    let environment: Value = serde_json::from_str(ENVIRONMENT).map_err(|error| error.to_string())?;
    let jwks = environment.pointer("/Parameters/OKTA_JWKS").and_then(Value::as_str).unwrap_or_default();
    let keys = KeySet::parse(jwks.as_bytes()).map_err(|error| error.to_string())?;
    let refused = |refusal| format!("a token with these claims is refused: {refusal}");
    let bearer = BearerToken::from_header_value(&token).map_err(refused)?;
    let token = UnverifiedToken::decode(&bearer).map_err(refused)?;
    let key = keys.key(token.unverified_kid()).ok_or("events/env.json has no sample key")?;
    verify(token, key, &expected, now).map_err(refused)
}

fn sign(claims: &Map<String, Value>) -> jsonwebtoken::errors::Result<String> {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("sample".to_owned());
    encode(&header, claims, &EncodingKey::from_rsa_pem(SAMPLE_KEY)?)
}
