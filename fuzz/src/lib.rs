//! What the fuzz targets share: a signing key, and cases of rules, claims and requests as text.
//!
//! A target panics if a property does not hold. libFuzzer reports the panic with its input.

pub mod case;
pub mod sample;

use okta_authorizer::policy::Document;
use okta_authorizer_testkit::iam::Policy;

/// Reads a policy that was made for `stage`. Panics if it breaks a promise or has more than
/// `max_bytes`.
pub fn policy_of(document: &Document, stage: &str, max_bytes: usize) -> Policy {
    let json = document.json();
    assert!(json.len() <= max_bytes, "{json} is over {max_bytes} bytes");
    let parsed = serde_json::from_str(json).unwrap();
    Policy::read(&parsed, stage, max_bytes).unwrap_or_else(|broken| panic!("{broken}: {json}"))
}
