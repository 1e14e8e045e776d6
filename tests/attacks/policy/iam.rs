//! IAM's evaluation of one policy, written from its pages and on nothing else, and the shape that design 2 promises.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use serde_json::Value;

/// What a policy says about one request, by the names that `iam-simulate` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    ExplicitlyDenied,
    ImplicitlyDenied,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "Allowed",
            Self::ExplicitlyDenied => "ExplicitlyDenied",
            Self::ImplicitlyDenied => "ImplicitlyDenied",
        }
    }
}

/// The resources of a document that has kept its promises.
#[derive(Debug)]
pub struct Policy {
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

impl Policy {
    /// Takes the document on the wire apart; what is wrong with its shape, otherwise.
    pub fn read(document: &Value, stage: &str, max_bytes: usize) -> Result<Self, String> {
        let mut policy = Self { allow: Vec::new(), deny: Vec::new() };
        require(document.to_string().len() <= max_bytes, || format!("over {max_bytes} bytes"))?;
        require(members(document) == ["Statement", "Version"], || format!("members {:?}", members(document)))?;
        require(document["Version"] == "2012-10-17", || "another version".to_owned())?;
        let statements = document["Statement"].as_array().ok_or("no list of statements")?;
        require(!statements.is_empty(), || "no statement".to_owned())?;
        for (index, statement) in statements.iter().enumerate() {
            require(members(statement) == ["Action", "Effect", "Resource"], || format!("members of {statement}"))?;
            require(statement["Action"] == serde_json::json!(["execute-api:Invoke"]), || "another action".to_owned())?;
            let resources: Vec<String> =
                serde_json::from_value(statement["Resource"].clone()).map_err(|_| "resources that are not text")?;
            require(!resources.is_empty(), || "an empty Resource".to_owned())?;
            for resource in &resources {
                require(resource.chars().count() <= 512, || format!("over 512 characters: {resource}"))?;
                require(resource.starts_with(&format!("{stage}/")), || format!("another stage: {resource}"))?;
                require(!resource.contains("${"), || format!("a variable: {resource}"))?;
            }
            match statement["Effect"].as_str() {
                Some("Allow") => {
                    require(index == 0, || "an Allow that is not the first".to_owned())?;
                    require(resources.is_sorted_by(|a, b| a < b), || format!("not sorted, or twice: {resources:?}"))?;
                    policy.allow = resources;
                }
                Some("Deny") => policy.deny.extend(resources),
                other => return Err(format!("the effect {other:?}")),
            }
        }
        for resource in &policy.allow {
            let tail = &resource[stage.len() + 1..];
            let (method, path) = tail.split_once('/').ok_or_else(|| format!("no path: {resource}"))?;
            require(METHODS.contains(&method), || format!("no method: {resource}"))?;
            let before =
                path.strip_suffix('*').filter(|before| before.is_empty() || before.ends_with('/')).unwrap_or(path);
            require(!before.contains(['*', '?', '$']), || format!("a wildcard within: {resource}"))?;
        }
        if policy.allow.is_empty() {
            require(policy.deny == [format!("{stage}/*")], || format!("grants nothing, denies {:?}", policy.deny))?;
        }
        Ok(policy)
    }

    pub fn verdict(&self, method_arn: &str) -> Verdict {
        let covered = |resources: &[String]| resources.iter().any(|resource| matches(resource, method_arn));
        match (covered(&self.deny), covered(&self.allow)) {
            (true, _) => Verdict::ExplicitlyDenied,
            (false, true) => Verdict::Allowed,
            (false, false) => Verdict::ImplicitlyDenied,
        }
    }

    /// The allowed resources that cover a request.
    pub fn covering<'p>(&'p self, method_arn: &'p str) -> impl Iterator<Item = &'p str> {
        self.allow.iter().map(String::as_str).filter(|resource| matches(resource, method_arn))
    }
}

pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn members(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// `*` is any run of characters, `/` and none among them; `?` is any one. Case counts.
///
/// The pattern is cut at its stars: the first piece stands at the start, the last at the end, and each of the others as early
/// as it can behind the one before.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = starting(first, text) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        let Some(behind) = starts.find_map(|at| starting(piece, &rest[at..])) else { return false };
        rest = behind;
    }
    let length = last.chars().count();
    let Some(skipped) = rest.chars().count().checked_sub(length) else { return false };
    let end = rest.char_indices().nth(skipped).map_or(rest.len(), |(at, _)| at);
    starting(last, &rest[end..]).is_some()
}

/// What is left of `text` behind a piece without stars.
fn starting<'t>(piece: &str, text: &'t str) -> Option<&'t str> {
    let mut rest = text.chars();
    piece
        .chars()
        .all(|wanted| rest.next().is_some_and(|found| wanted == '?' || wanted == found))
        .then_some(rest.as_str())
}

#[test]
fn wildcards_are_iams() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "A", false),
        ("a", "ab", false),
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
        ("*a?c", "aabc", true),
        ("a?", "aé", true),
        ("?", "", false),
        ("*é", "aé", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn an_explicit_deny_wins_and_silence_is_no_consent() {
    let policy = Policy { allow: vec!["a/*".to_owned()], deny: vec!["a/b*".to_owned()] };
    assert_eq!(policy.verdict("a/c"), Verdict::Allowed);
    assert_eq!(policy.verdict("a/b/c"), Verdict::ExplicitlyDenied);
    assert_eq!(policy.verdict("b"), Verdict::ImplicitlyDenied);
}
