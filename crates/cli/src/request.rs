//! Requests such as `GET /apps`, and the policies that the Lambda makes for them.

use okta_authorizer_policy::{ClaimSet, MethodArn, Policy, PolicyOptions, RuleName, Rules, Verdict, render};

use crate::api::METHODS;

/// The API of requests that do not say theirs.
pub const DEFAULT_API: &str = "abcdef1234";
/// The stage of requests that do not say theirs.
pub const DEFAULT_STAGE: &str = "prod";

/// A stage of an API. Region and account are made up, because no rule can name them.
#[derive(Debug)]
pub struct Stage {
    /// The id of the API.
    pub api: String,
    /// The stage's name.
    pub name: String,
}

impl Stage {
    /// The error says what is expected.
    pub fn new(api: &str, stage: &str) -> Result<Self, String> {
        let is_good = |name: &str| {
            (1..=128).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        for (name, what) in [(api, "the id of an API"), (stage, "the name of a stage")] {
            if !is_good(name) {
                return Err(format!("`{name}` is not {what}; expected 1 to 128 letters, digits, `-` and `_`"));
            }
        }
        Ok(Self { api: api.to_owned(), name: stage.to_owned() })
    }

    /// The method ARN of a request such as `GET /apps`. The error says what to write instead.
    pub fn request(&self, text: &str) -> Result<MethodArn, String> {
        check(text).map_err(|problem| format!("`{text}` is not a request: {problem}"))?;
        self.arn(text).ok_or_else(|| format!("`{text}` is not a request: expected a method, one space and a path"))
    }

    /// The method ARN of `METHOD /path`.
    pub fn arn(&self, text: &str) -> Option<MethodArn> {
        let (method, path) = text.split_once(' ')?;
        let (api, stage) = (&self.api, &self.name);
        MethodArn::parse(&format!("arn:aws:execute-api:us-east-1:123456789012:{api}/{stage}/{method}{path}"))
    }
}

/// Says what to write instead of a text that is not one request.
fn check(text: &str) -> Result<(), String> {
    if text.trim() != text {
        return Err("it has white space at its start or its end; remove that".to_owned());
    }
    let Some((method, path)) = text.split_once(' ') else {
        return Err(match text {
            _ if text.starts_with('/') => format!("it has no method; write `GET {text}`"),
            _ if text.contains("://") => {
                format!("it has no method, and only the path counts; write `GET {}`", path_of(text))
            }
            _ if METHODS.contains(&text) => format!("it has no path; write `{text} /` or another path"),
            _ => "expected a method, one space and a path, such as `GET /apps`".to_owned(),
        });
    };
    if !METHODS.contains(&method) {
        let upper = method.to_ascii_uppercase();
        return Err(match upper.as_str() {
            "ANY" | "ALL" | "*" => {
                format!("a request has one method; write `GET {path}`, and one more for each other method")
            }
            _ if METHODS.contains(&upper.as_str()) => format!("the method is in capitals; write `{upper} {path}`"),
            _ => format!("it has the method `{method}`; expected one of {}", METHODS.join(", ")),
        });
    }
    if path.contains("://") {
        return Err(format!(
            "only the path counts, without scheme, host and stage; write `{method} {}`",
            path_of(path)
        ));
    }
    if !path.starts_with('/') {
        return Err(match path.trim_start() {
            trimmed if trimmed.starts_with('/') => format!("it has more than one space; write `{method} {trimmed}`"),
            trimmed => format!("a path starts with `/`; write `{method} /{trimmed}`"),
        });
    }
    let before = |mark: char| path.split(mark).next().unwrap_or_default();
    match path.chars().find(|character| "*{}?#".contains(*character) || !('!'..='~').contains(character)) {
        None => Ok(()),
        Some('*') => Err(format!(
            "`*` is for rules, and a request with it proves nothing; write a real value: `{method} {}`",
            path.replace('*', "x")
        )),
        Some('{' | '}') => Err(format!("`{{…}}` is for rules; write a real value: `{method} {}`", with_values(path))),
        Some('?') => Err(format!("the query string does not count; write `{method} {}`", before('?'))),
        Some('#') => Err(format!("clients do not send what follows a `#`; write `{method} {}`, or %23", before('#'))),
        Some(other) => {
            let mut buffer = [0; 4];
            let bytes = other.encode_utf8(&mut buffer).bytes();
            let encoded: Vec<_> = bytes.map(|byte| format!("%{byte:02X}")).collect();
            Err(format!("U+{:04X} is not sent in a path; write {} for it", u32::from(other), encoded.concat()))
        }
    }
}

/// The path of a URL as API Gateway sees it: without the stage if the host is one of API Gateway.
fn path_of(url: &str) -> String {
    let (_, after_scheme) = url.split_once("://").unwrap_or_default();
    let (host, path) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let without_stage = path.split_once('/').map_or("", |(_, rest)| rest);
    format!("/{}", if host.contains(".execute-api.") { without_stage } else { path })
}

/// A path with a value in place of each `{parameter}`.
fn with_values(path: &str) -> String {
    let mut text = String::new();
    let mut is_name = false;
    for character in path.chars() {
        match character {
            '{' => {
                is_name = true;
                text.push('1');
            }
            '}' => is_name = false,
            other if !is_name => text.push(other),
            _ => {}
        }
    }
    text
}

/// A rule in words.
pub fn rule_text(rule: &RuleName) -> String {
    match &rule.name {
        Some(name) => format!("the rule \"{name}\""),
        None => format!("the rule in line {}", rule.line),
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
    pub fn difference<'o>(&self, others: &'o [Self]) -> Option<Difference<'o>> {
        let allows = |other: &Self| other.policy.document.allows(&self.request);
        let own = allows(self);
        // Most documents are equal, and that is seen faster than what one allows.
        let is_same = |other: &Self| other.policy.document == self.policy.document;
        let differs = |other: &&Self| (if is_same(other) { own } else { allows(other) }) != self.is_allowed();
        let mut differing = others.iter().filter(differs);
        let first = differing.next()?;
        let verdict = if self.is_allowed() { "denied" } else { "allowed" };
        let more = match differing.count() {
            0 => String::new(),
            count => format!(", and under {count} more"),
        };
        let (made_for, left_out) = (first.text(), first.left_out_text());
        let text = format!("{verdict} under the policy that was made for {made_for} ({left_out}){more}");
        Some(Difference { first, text })
    }
}

/// A request gets another answer after another one.
pub struct Difference<'o> {
    /// The first request under whose policy the answer is another one.
    pub first: &'o FirstRequest,
    /// In words.
    pub text: String,
}

/// The ways out of a policy that leaves routes out.
pub const WAYS_OUT: &str = "fewer routes, a larger POLICY_MAX_BYTES (here: --max-bytes), or no result cache; \
                            see \"A policy that does not fit\" in docs/rules.md";

/// A verdict in words.
pub fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allowed { rule } => format!("allowed by {}", rule_text(rule)),
        Verdict::DeniedByRule { rule } => format!("denied by {}", rule_text(rule)),
        Verdict::PathGuard => "denied by the path guard".to_owned(),
        Verdict::NotGranted => "denied: no rule grants it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_request_is_said_with_what_to_write() {
        let stage = Stage::new(DEFAULT_API, DEFAULT_STAGE).unwrap();
        for good in ["GET /", "GET /a/b%20c", "PUT /a/../b", "DELETE /a//b:c,d;e", "GET /a\\b", "GET /%2A"] {
            assert!(stage.request(good).is_ok(), "{good}");
        }
        for (text, problem) in [
            ("GET", "it has no path; write `GET /` or another path"),
            ("/apps", "it has no method; write `GET /apps`"),
            ("apps", "expected a method, one space and a path, such as `GET /apps`"),
            ("", "expected a method, one space and a path, such as `GET /apps`"),
            ("https://api.example.com/apps?x=1", "it has no method, and only the path counts; write `GET /apps`"),
            ("get /apps", "the method is in capitals; write `GET /apps`"),
            ("ANY /apps", "a request has one method; write `GET /apps`, and one more for each other method"),
            ("any /apps", "a request has one method; write `GET /apps`, and one more for each other method"),
            ("* /apps", "a request has one method; write `GET /apps`, and one more for each other method"),
            ("FETCH /apps", "it has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
            ("GET apps", "a path starts with `/`; write `GET /apps`"),
            ("GET  /apps", "it has more than one space; write `GET /apps`"),
            ("GET /apps ", "it has white space at its start or its end; remove that"),
            (
                "GET https://a1.execute-api.eu-west-1.amazonaws.com/prod/apps/7",
                "only the path counts, without scheme, host and stage; write `GET /apps/7`",
            ),
            (
                "GET /hello/*",
                "`*` is for rules, and a request with it proves nothing; write a real value: `GET /hello/x`",
            ),
            ("GET /t/{id}/{name+}", "`{…}` is for rules; write a real value: `GET /t/1/1`"),
            ("GET /apps?x=*", "the query string does not count; write `GET /apps`"),
            ("GET /apps#x", "clients do not send what follows a `#`; write `GET /apps`, or %23"),
            ("GET /gr\u{f6}\u{df}e", "U+00F6 is not sent in a path; write %C3%B6 for it"),
            ("GET /a b", "U+0020 is not sent in a path; write %20 for it"),
        ] {
            let expected = format!("`{text}` is not a request: {problem}");
            assert_eq!(stage.request(text).unwrap_err(), expected);
        }
    }
}
