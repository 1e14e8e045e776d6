//! Valid tokens.

use serde_json::{Value, json};

use crate::{env::PINNED_ISSUER, keys, now};

/// The claims of a valid access token from the pinned issuer, with no scopes, groups or tenants.
pub fn claims() -> Value {
    claims_of(PINNED_ISSUER)
}

/// The same claims from another issuer.
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

/// A valid token from the pinned issuer, signed by its main key. `members` are set in its claims.
pub fn token(members: &Value) -> String {
    keys::main().token(&crate::with(&claims(), members))
}

/// `Bearer` and [`token`].
pub fn bearer(members: &Value) -> String {
    format!("Bearer {}", token(members))
}
