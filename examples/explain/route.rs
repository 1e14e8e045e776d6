//! `METHOD /path`, as a request to an API that is not there.

use okta_authorizer::{
    event::MethodArn,
    policy::{Bounds, Grants, Policy, Verdict, policy},
};

/// The stage of every method ARN here.
pub const STAGE: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod";

/// The authorizer's own defaults.
pub const BOUNDS: Bounds = Bounds { max_bytes: 32_768, path_guard: true };

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The method ARN of a request such as `GET /apps`.
pub fn requested(route: &str) -> Result<MethodArn, String> {
    let wrong = || format!("`{route}` is not a request: expected one of {}, a space, and a path", METHODS.join(", "));
    let (method, path) = route.split_once(' ').ok_or_else(wrong)?;
    if !METHODS.contains(&method) || !path.starts_with('/') {
        return Err(wrong());
    }
    MethodArn::parse(&format!("{STAGE}/{method}{path}")).ok_or_else(wrong)
}

/// The policy that answers this request, within the authorizer's own defaults.
pub fn answer(grants: &Grants, requested: &MethodArn) -> Policy {
    policy(grants, requested, BOUNDS)
}

/// A verdict for people.
pub fn told(verdict: Verdict) -> String {
    match verdict {
        Verdict::Allowed { rule } => format!("allowed by the rule on line {rule}"),
        Verdict::DeniedByRule { rule } => format!("denied by the rule on line {rule}"),
        Verdict::PathGuard => "denied by the path guard".to_owned(),
        Verdict::NotGranted => "denied: no rule grants it".to_owned(),
    }
}
