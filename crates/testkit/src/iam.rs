//! A reference evaluator for IAM policies. It is written from AWS's documentation and shares no
//! code with the authorizer. `.ci/iam-oracle.sh` compares its verdicts with those of a third
//! evaluator.
//!
//! - <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-authorization-flow.html>

use serde_json::Value;

use crate::METHODS;

/// The result of evaluating a policy for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    ExplicitDeny,
    /// No statement covers the request. API Gateway denies it, unless the API has a resource policy
    /// that allows it.
    ImplicitDeny,
}

impl Verdict {
    /// The name that `iam-simulate` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::ExplicitDeny => "ExplicitlyDenied",
            Self::ImplicitDeny => "ImplicitlyDenied",
        }
    }

    fn of(denied: bool, allowed: bool) -> Self {
        match (denied, allowed) {
            (true, _) => Self::ExplicitDeny,
            (false, true) => Self::Allowed,
            (false, false) => Self::ImplicitDeny,
        }
    }
}

/// Any valid policy document with Effect, Action and Resource, as API Gateway reads it from an
/// authorizer's response.
#[derive(Clone, Debug)]
pub struct Document {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    denies: bool,
    actions: Vec<String>,
    resources: Vec<String>,
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// A description of the problem: an unknown or missing member, another version or effect,
    /// `null`, or an empty list.
    pub fn read(document: &Value) -> Result<Self, String> {
        require_members(document, &["Statement", "Version"])?;
        require(document["Version"] == "2012-10-17", || format!("version {}", document["Version"]))?;
        let statements = document["Statement"].as_array().ok_or("Statement is not a list")?;
        require(!statements.is_empty(), || "no statement".to_owned())?;
        Ok(Self { statements: statements.iter().map(Statement::read).collect::<Result<_, _>>()? })
    }

    pub fn verdict(&self, method_arn: &str) -> Verdict {
        let covered = |denies: bool| {
            let mut statements = self.statements.iter().filter(|statement| statement.denies == denies);
            statements.any(|statement| {
                any_matches(&statement.actions, "execute-api:Invoke") && any_matches(&statement.resources, method_arn)
            })
        };
        Verdict::of(covered(true), covered(false))
    }
}

impl Statement {
    fn read(statement: &Value) -> Result<Self, String> {
        require_members(statement, &["Action", "Effect", "Resource"])?;
        Ok(Self {
            denies: match statement["Effect"].as_str() {
                Some("Allow") => false,
                Some("Deny") => true,
                _ => return Err(format!("effect {}", statement["Effect"])),
            },
            actions: one_or_more(&statement["Action"])?,
            resources: one_or_more(&statement["Resource"])?,
        })
    }
}

/// A policy of this authorizer. It keeps more promises than IAM requires: see [`Policy::read`].
#[derive(Debug, PartialEq)]
pub struct Policy {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
    /// The length of the document as compact JSON, in bytes.
    pub size: usize,
}

impl Policy {
    /// Reads a document that was made for `stage`, an ARN without the method:
    /// `arn:…:abcdef1234/prod`.
    ///
    /// # Errors
    /// A description of the broken promise:
    /// - the document is valid ([`Document::read`]) and not longer than `max_bytes`;
    /// - the only action is `execute-api:Invoke`;
    /// - resources are on this stage, have at most 512 characters, and contain no policy variable;
    /// - there is at most one Allow statement, and it is the first; its resources are sorted
    ///   without duplicates, start with a method, and have no wildcard except `*` as a whole
    ///   segment;
    /// - a policy that allows nothing denies the whole stage.
    pub fn read(document: &Value, stage: &str, max_bytes: usize) -> Result<Self, String> {
        let mut policy = Self { allow: Vec::new(), deny: Vec::new(), size: document.to_string().len() };
        require(policy.size <= max_bytes, || format!("over {max_bytes} bytes"))?;
        for (index, statement) in Document::read(document)?.statements.into_iter().enumerate() {
            require(statement.actions == ["execute-api:Invoke"], || format!("actions {:?}", statement.actions))?;
            for resource in &statement.resources {
                require(resource.chars().count() <= 512, || format!("over 512 characters: {resource}"))?;
                require(!tail(resource, stage)?.is_empty(), || format!("empty after the stage: {resource}"))?;
                require(!resource.contains("${"), || format!("a policy variable: {resource}"))?;
            }
            if statement.denies {
                policy.deny.extend(statement.resources);
            } else {
                require(index == 0, || "an Allow that is not the first statement".to_owned())?;
                policy.allow = statement.resources;
            }
        }
        require(policy.allow.is_sorted_by(|a, b| a < b), || format!("not sorted or not unique: {:?}", policy.allow))?;
        for resource in &policy.allow {
            let (method, path) =
                tail(resource, stage)?.split_once('/').ok_or_else(|| format!("no path: {resource}"))?;
            require(METHODS.contains(&method), || format!("no method: {resource}"))?;
            let is_good = |segment: &str| segment == "*" || !segment.contains(['*', '?', '$', ' ']);
            require(path.split('/').all(is_good), || format!("a wildcard within a segment: {resource}"))?;
        }
        if policy.allow.is_empty() {
            require(policy.deny == [format!("{stage}/*")], || format!("allows nothing, denies {:?}", policy.deny))?;
        }
        Ok(policy)
    }

    /// Reads the policy in an authorizer's `response` to a request for `method_arn`. Panics if the
    /// response or the policy breaks a promise, or if the policy neither allows nor denies a
    /// request that can be denied by name.
    pub fn of_response(response: &Value, method_arn: &str) -> Self {
        let names = ["principalId", "policyDocument", "context", "usageIdentifierKey"];
        let members = response.as_object().unwrap();
        assert!(members.keys().all(|name| names.contains(&name.as_str())), "an unknown member: {response}");
        assert!(!contains_null(response), "null in {response}");
        assert!(response["principalId"].is_string(), "{response}");
        let is_flat = |context: &Value| context.as_object().unwrap().values().all(Value::is_string);
        assert!(members.get("context").is_none_or(is_flat), "API Gateway rejects this context: {response}");

        let stage: Vec<_> = method_arn.splitn(3, '/').take(2).collect();
        let policy = Self::read(&response["policyDocument"], &stage.join("/"), usize::MAX)
            .unwrap_or_else(|broken| panic!("{broken}: {response}"));
        // A method ARN with such a character, or one that is too long for a resource, is denied by
        // name only if that cannot deny anything else that is allowed.
        let is_plain = !method_arn.contains(['*', '?', '$']) && method_arn.len() <= 512;
        let is_silent = policy.verdict(method_arn) == Verdict::ImplicitDeny;
        assert!(!is_silent || !is_plain, "does not mention {method_arn}: {policy:#?}");
        policy
    }

    pub fn verdict(&self, method_arn: &str) -> Verdict {
        Verdict::of(any_matches(&self.deny, method_arn), any_matches(&self.allow, method_arn))
    }

    pub fn allows(&self, method_arn: &str) -> bool {
        self.verdict(method_arn) == Verdict::Allowed
    }

    /// The allowed resources that match a request.
    pub fn covering<'p>(&'p self, method_arn: &'p str) -> impl Iterator<Item = &'p str> {
        self.allow.iter().map(String::as_str).filter(|resource| matches(resource, method_arn))
    }
}

/// The part of a resource after the stage: `GET/apps/*`.
fn tail<'r>(resource: &'r str, stage: &str) -> Result<&'r str, String> {
    let tail = resource.strip_prefix(stage).and_then(|tail| tail.strip_prefix('/'));
    tail.ok_or_else(|| format!("not on {stage}: {resource}"))
}

fn require(holds: bool, description: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(description()) }
}

/// Requires exactly these members, which are sorted.
fn require_members(object: &Value, expected: &[&str]) -> Result<(), String> {
    let object = object.as_object().ok_or_else(|| format!("not an object: {object}"))?;
    let mut names: Vec<_> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    require(names == expected, || format!("members {names:?}"))
}

fn one_or_more(value: &Value) -> Result<Vec<String>, String> {
    let texts = match value {
        Value::String(_) => std::slice::from_ref(value),
        Value::Array(texts) if !texts.is_empty() => texts,
        _ => return Err(format!("neither text nor a list of texts: {value}")),
    };
    let text = |text: &Value| text.as_str().map(str::to_owned).ok_or_else(|| format!("not text: {text}"));
    texts.iter().map(text).collect()
}

fn contains_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(contains_null),
        Value::Object(members) => members.values().any(contains_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn any_matches(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

/// Whether an IAM pattern matches. `*` matches any characters, also `/` and none. `?` matches one
/// character. Matching is case-sensitive.
///
/// The pattern is split at its stars. The first piece must match at the start of the text and the
/// last one at its end. Every other piece must match as early as possible after the piece before
/// it.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = strip_piece(first, text) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        let Some(after) = starts.find_map(|at| strip_piece(piece, &rest[at..])) else { return false };
        rest = after;
    }
    let Some(skipped) = rest.chars().count().checked_sub(last.chars().count()) else { return false };
    let end = rest.char_indices().nth(skipped).map_or(rest.len(), |(at, _)| at);
    strip_piece(last, &rest[end..]).is_some()
}

/// The rest of `text` after a piece without stars, if `text` starts with the piece.
fn strip_piece<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut rest = text.chars();
    piece
        .chars()
        .all(|expected| rest.next().is_some_and(|found| expected == '?' || expected == found))
        .then_some(rest.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards_match_as_in_iam() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a/*", "a/", true),
            ("a/*", "a", false),
            ("a/*", "a/b/c", true),
            ("*/../*", "a/b/../c", true),
            ("*/..", "a/../b", false),
            ("*/..", "a/../b/..", true),
            ("*%2e*", "a%2eb", true),
            ("*%2e*", "a%2Eb", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("ab*bc", "abc", false),
            ("ab*bc", "abbc", true),
            ("a*a", "a", false),
            ("a**", "a", true),
            ("*?", "", false),
            ("*b?*", "abba", true),
            ("*a?c", "aabc", true),
            ("a?c", "a/c", true),
            ("a?c", "ac", false),
            ("a?", "aé", true),
            ("?", "", false),
            ("*é", "aé", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn document() -> Value {
        json!({
            "Version": "2012-10-17",
            "Statement": [
                { "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": ["a/*"] },
                { "Effect": "Deny", "Action": ["execute-api:*"], "Resource": "a/b" },
                { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" },
            ]
        })
    }

    #[test]
    fn an_explicit_deny_wins_and_the_default_is_deny() {
        let document = Document::read(&document()).unwrap();
        assert_eq!(document.verdict("a/c"), Verdict::Allowed);
        assert_eq!(document.verdict("a/b"), Verdict::ExplicitDeny);
        assert_eq!(document.verdict("b"), Verdict::ImplicitDeny);
    }

    #[test]
    fn a_malformed_document_is_an_error() {
        for (pointer, value) in [
            ("/Version", json!("2008-10-17")),
            ("/Version", Value::Null),
            ("/Statement", json!([])),
            ("/Statement", json!({})),
            ("/Statement/0", json!(["Allow", "execute-api:Invoke", "a"])),
            ("/Statement/0/Effect", json!("allow")),
            ("/Statement/0/Action", json!([])),
            ("/Statement/0/Resource", json!([])),
            ("/Statement/0/Resource", Value::Null),
            ("/Statement/0/Resource/0", Value::Null),
            ("/Statement/1", json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {} })),
            ("/Statement/1", json!({ "Effect": "Deny", "Action": "*" })),
        ] {
            let mut changed = document();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert!(Document::read(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn a_policy_keeps_every_promise() {
        let policy = |allow: &[&str], deny: &[&str]| {
            let statement = |effect: &str, resources: &[&str]| json!({ "Effect": effect, "Action": ["execute-api:Invoke"], "Resource": resources });
            let statements: Vec<_> = [("Allow", allow), ("Deny", deny)]
                .into_iter()
                .filter(|(_, resources)| !resources.is_empty())
                .map(|(effect, resources)| statement(effect, resources))
                .collect();
            Policy::read(&json!({ "Version": "2012-10-17", "Statement": statements }), "api/prod", 1_000)
        };
        let long = format!("api/prod/GET/{}", "x".repeat(500));
        let allow = ["api/prod/GET/*/a", "api/prod/GET/a", "api/prod/GET/b/*"];
        let good = policy(&allow, &["api/prod/*/..*"]).unwrap();
        assert_eq!(good.verdict("api/prod/GET/b/c"), Verdict::Allowed);
        assert!(policy(&[], &["api/prod/*"]).is_ok());
        for (allow, deny) in [
            (&["api/prod/GET/b", "api/prod/GET/a"][..], &[][..]),
            (&["api/prod/GET/a", "api/prod/GET/a"], &[]),
            (&["api/test/GET/a"], &[]),
            (&["api/prod/"], &[]),
            (&["api/prod/*"], &[]),
            (&["api/prod/GET"], &[]),
            (&["api/prod/GET/a*"], &[]),
            (&["api/prod/GET/*a/b"], &[]),
            (&["api/prod/GET/a/**"], &[]),
            (&["api/prod/GET/a b"], &[]),
            (&["api/prod/GET/${aws:username}"], &[]),
            (&[&long], &[]),
            (&[], &["api/prod/GET/a"]),
            (&[], &[]),
        ] {
            assert!(policy(allow, deny).is_err(), "{allow:?} {deny:?}");
        }
        assert!(Policy::read(&document(), "a", 1_000).is_err(), "another action");
    }
}
