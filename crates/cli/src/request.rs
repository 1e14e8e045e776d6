//! A request such as `GET /apps`, to the stage of an API that does not exist.

use okta_authorizer_policy::{Grants, MethodArn, Policy, PolicyOptions, Verdict, render};

/// The stage of every method ARN here.
pub const STAGE: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod";

/// The defaults of `POLICY_MAX_BYTES` and `PATH_GUARD`.
pub const OPTIONS: PolicyOptions = PolicyOptions { max_bytes: 32_768, path_guard: true };

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The method ARN of a request. The error says what is expected.
pub fn parse(text: &str) -> Result<MethodArn, String> {
    let error = || format!("`{text}` is not a request: expected one of {}, a space, and a path", METHODS.join(", "));
    let (method, path) = text.split_once(' ').ok_or_else(error)?;
    if !METHODS.contains(&method) || !path.starts_with('/') {
        return Err(error());
    }
    MethodArn::parse(&format!("{STAGE}/{method}{path}")).ok_or_else(error)
}

/// The policy that the Lambda returns for this request, with its default options.
pub fn policy_for(grants: &Grants, request: &MethodArn) -> Policy {
    render(grants, request, OPTIONS)
}

/// A verdict in words.
pub fn describe(verdict: Verdict) -> String {
    match verdict {
        Verdict::Allowed { rule } => format!("allowed by the rule {rule}"),
        Verdict::DeniedByRule { rule } => format!("denied by the rule {rule}"),
        Verdict::PathGuard => "denied by the path guard".to_owned(),
        Verdict::NotGranted => "denied: no rule grants it".to_owned(),
    }
}
