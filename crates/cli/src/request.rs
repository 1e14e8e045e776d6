//! Requests such as `GET /apps`, and the policies that the Lambda makes for them.

use okta_authorizer_policy::{ClaimSet, MethodArn, Policy, PolicyOptions, RuleName, Rules, Verdict, render};

/// The API and the stage of requests that do not say theirs.
pub const DEFAULT_API: &str = "abcdef1234";
pub const DEFAULT_STAGE: &str = "prod";

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A stage of an API, as an ARN. Region and account are made up, because no rule can name them.
pub struct Stage(String);

impl Stage {
    /// The error says what is expected.
    pub fn new(api: &str, stage: &str) -> Result<Self, String> {
        let is_good = |name: &str| {
            (1..=128).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        for (name, what) in [(api, "the id of an API"), (stage, "the name of a stage")] {
            if !is_good(name) {
                return Err(format!("`{name}` is not {what}: expected 1 to 128 letters, digits, `-` and `_`"));
            }
        }
        Ok(Self(format!("arn:aws:execute-api:us-east-1:123456789012:{api}/{stage}")))
    }

    /// The method ARN of a request. The error says what is expected.
    pub fn request(&self, text: &str) -> Result<MethodArn, String> {
        let error =
            || format!("`{text}` is not a request: expected one of {}, a space, and a path", METHODS.join(", "));
        let (method, path) = text.split_once(' ').ok_or_else(error)?;
        if !METHODS.contains(&method) || !path.starts_with('/') {
            return Err(error());
        }
        MethodArn::parse(&format!("{}/{method}{path}", self.0)).ok_or_else(error)
    }
}

/// A request as the first one of its token, and the policy that the Lambda makes for it.
pub struct FirstRequest {
    pub request: MethodArn,
    pub policy: Policy,
    /// How many granted routes are not in the policy.
    pub left_out: usize,
}

impl FirstRequest {
    pub fn new(rules: &Rules, claims: &ClaimSet, options: PolicyOptions, request: MethodArn) -> Self {
        let grants = rules.grants(claims, &request);
        let policy = render(&grants, &request, options);
        let left_out = grants.omitted.saturating_add(policy.omitted);
        Self { request, policy, left_out }
    }

    /// `METHOD /path`.
    pub fn text(&self) -> String {
        format!("{} {}", self.request.method(), self.request.untrusted_path())
    }

    pub fn is_allowed(&self) -> bool {
        matches!(self.policy.verdict, Verdict::Allowed { .. })
    }

    /// How many routes the policy leaves out, in words.
    pub fn left_out_text(&self) -> String {
        match self.left_out {
            1 => "1 route left out".to_owned(),
            count => format!("{count} routes left out"),
        }
    }

    /// What the request gets after one of `others`, if that is not the same. API Gateway caches the
    /// policy that was made for the first request of a token, and uses it for the others.
    pub fn difference(&self, others: &[Self]) -> Option<String> {
        let differs = |other: &&Self| other.policy.document.allows(&self.request) != self.is_allowed();
        let mut differing = others.iter().filter(differs);
        let first = differing.next()?;
        let verdict = if self.is_allowed() { "denied" } else { "allowed" };
        let more = match differing.count() {
            0 => String::new(),
            count => format!(", and under {count} more"),
        };
        Some(format!(
            "{verdict} under the policy that was made for {} ({}){more}; see \"A policy that does not fit\" in docs/rules.md",
            first.text(),
            first.left_out_text()
        ))
    }
}

/// A rule in words.
pub fn rule_name(rule: &RuleName) -> String {
    match &rule.name {
        Some(name) => format!("the rule \"{name}\""),
        None => format!("the rule in line {}", rule.line),
    }
}

/// A verdict in words.
pub fn describe(verdict: &Verdict) -> String {
    let named = |rule: &RuleName| format!("by {}", rule_name(rule));
    match verdict {
        Verdict::Allowed { rule } => format!("allowed {}", named(rule)),
        Verdict::DeniedByRule { rule } => format!("denied {}", named(rule)),
        Verdict::PathGuard => "denied by the path guard".to_owned(),
        Verdict::NotGranted => "denied: no rule grants it".to_owned(),
    }
}
