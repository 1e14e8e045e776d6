//! Good tokens.

use serde_json::{Value, json};

use super::{env::PINNED_ISSUER, keys, now};

/// The claims of a good access token from the pinned issuer that holds nothing beyond being valid.
pub fn claims() -> Value {
    claims_of(PINNED_ISSUER)
}

/// The same from another issuer.
pub fn claims_of(issuer: &str) -> Value {
    json!({
        "ver": 1,
        "jti": "AT.0123456789",
        "iss": issuer,
        "aud": "api://default",
        "iat": now(),
        "exp": now() + 3600,
        "cid": "0oaclient",
        "uid": "00uada",
        "sub": "ada@example.com",
    })
}

/// A good token with these claims set as well, from the pinned issuer and its main key.
pub fn token(members: &Value) -> String {
    keys::main().token(&super::with(&claims(), members))
}

/// `Bearer` and a good token with these claims set as well.
pub fn bearer(members: &Value) -> String {
    format!("Bearer {}", token(members))
}
