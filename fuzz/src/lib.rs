//! What the fuzz targets share.
//!
//! A target panics if a property does not hold. libFuzzer reports the panic with its input.

pub mod case;
pub mod json;
pub mod sample;

use okta_authorizer_policy::{PolicyDocument, Verdict};
use okta_authorizer_testkit::iam;

/// The ARN of the API and stage in every request, without the method.
pub const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod";

/// Reads a policy that was made for `stage`. Panics if it breaks a promise or has more than
/// `max_bytes`.
pub fn policy_of(document: &PolicyDocument, stage: &str, max_bytes: usize) -> iam::Policy {
    let json = document.json();
    assert!(json.len() <= max_bytes, "{json} is over {max_bytes} bytes");
    let parsed = serde_json::from_str(json).unwrap();
    iam::Policy::read(&parsed, stage, max_bytes).unwrap_or_else(|broken| panic!("{broken}: {json}"))
}

/// Panics unless the policy says about a request what the authorizer's verdict on it says.
pub fn assert_agrees(policy: &iam::Policy, requested: &str, verdict: &Verdict) {
    let found = policy.verdict(requested);
    let agrees = match verdict {
        Verdict::Allowed { .. } => found == iam::Verdict::Allowed,
        Verdict::DeniedByRule { .. } | Verdict::PathGuard => found == iam::Verdict::ExplicitDeny,
        // A request that IAM cannot name exactly may be denied by silence.
        Verdict::NotGranted if requested.contains(['*', '?', '$']) || requested.len() > 512 => {
            found != iam::Verdict::Allowed
        }
        Verdict::NotGranted => found == iam::Verdict::ExplicitDeny,
    };
    assert!(agrees, "{verdict:?}, but {found:?} for {requested}: {policy:?}");
}
