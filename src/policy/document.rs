//! Grants as an IAM policy document that API Gateway may cache for every route of the stage.

use aws_lambda_events::event::apigw::ApiGatewayCustomAuthorizerPolicy;
use serde_json::Value;

use super::{grants::Grants, wildcard::matches};
use crate::event::MethodArn;

/// The longest resource, in characters. Source: API Gateway developer guide, the quota of a policy's resource.
pub const MAX_RESOURCE: usize = 512;

/// What the path guard denies on the whole stage: whatever a backend might normalise into another path than the one
/// that was granted. Dots, slashes and backslashes, encoded once or twice; the letters and digits of `%2e`, `%2f` and
/// `%5c` when they are encoded themselves, which nobody does in earnest (RFC 3986 §2.3); `/..;` and `/.;`, which servlet
/// containers read as `/..` and `/.`, and whatever else is encoded behind the dots of a segment; tabs and line breaks,
/// encoded once or twice, which readers of URLs drop (WHATWG URL standard, URL parsing), and the 0 of their codes, encoded;
/// and `%c0` and `%c1`, which start overlong dots and slashes of two bytes, and nothing in UTF-8 (RFC 3629 §3,
/// CVE-2008-2938).
const PATH_GUARD: [&str; 36] = [
    "*/../*", "*/..", "*/./*", "*/.", "*/..;*", "*/.;*", "*/..%*", "*/.%*", "*\\*", "*%2e*", "*%2E*", "*%2f*", "*%2F*",
    "*%5c*", "*%5C*", "*%252e*", "*%252E*", "*%252f*", "*%252F*", "*%255c*", "*%255C*", "*%32*", "*%35*", "*%43*",
    "*%45*", "*%46*", "*%63*", "*%65*", "*%66*", "*%0*", "*%250*", "*%30*", "*%c0*", "*%C0*", "*%c1*", "*%C1*",
];

/// How long the path guard's patterns are as JSON, with quotes and commas, without the stage before each.
const GUARD_BYTES: usize = {
    let mut rest = PATH_GUARD.as_slice();
    let mut bytes = 0;
    while let [pattern, behind @ ..] = rest {
        bytes += json_bytes(pattern);
        rest = behind;
    }
    bytes
};

/// How large a policy may be, and whether it guards its wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Upper bound of the document's JSON, in bytes.
    pub max_bytes: usize,
    /// Whether a policy that allows any `*` carries the path guard.
    pub path_guard: bool,
}

/// What the policy says about the request that it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, by the `[[allow]]` rule on this line.
    Allowed {
        /// The rule's line.
        rule: usize,
    },
    /// Denied, by the `[[deny]]` rule on this line.
    DeniedByRule {
        /// The rule's line.
        rule: usize,
    },
    /// Denied by the path guard.
    PathGuard,
    /// Denied because no rule grants it.
    NotGranted,
}

impl Verdict {
    /// The stable name that stands in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed { .. } => "allowed",
            Self::DeniedByRule { .. } => "denied_by_rule",
            Self::PathGuard => "path_guard",
            Self::NotGranted => "not_granted",
        }
    }
}

/// An IAM policy document, kept as the JSON that goes over the wire: every call makes one, and the path guard alone would be
/// 36 strings to make and to escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document(String);

impl Document {
    /// The document's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// The document on the wire's own types.
    ///
    /// # Errors
    /// Where the JSON is no policy; [`policy`] and [`deny_stage`] make no such document.
    pub fn parsed(&self) -> serde_json::Result<ApiGatewayCustomAuthorizerPolicy> {
        serde_json::from_str(&self.0)
    }
}

/// A policy for everything one token may call on one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What goes over the wire.
    pub document: Document,
    /// What it says about the request.
    pub verdict: Verdict,
    /// Granted resources that had no room, or were longer than a resource may be.
    pub left_out: usize,
}

/// The policy for what `grants` say, on the stage of `requested` and with an explicit answer to it.
#[must_use]
pub fn policy(grants: &Grants, requested: &MethodArn, bounds: Bounds) -> Policy {
    if let Some(rule) = grants.deny_all {
        let verdict = Verdict::DeniedByRule { rule };
        return Policy { document: deny_stage(requested), verdict, left_out: 0 };
    }
    let deny: Vec<_> =
        grants.deny.iter().map(|deny| (bounded(requested.resource(&deny.resource)), deny.line)).collect();
    let denied_by = deny.iter().find(|(pattern, _)| matches(pattern, requested.text())).map(|(_, line)| *line);
    let mut denied: Vec<String> = deny.into_iter().map(|(resource, _)| resource).collect();
    denied.dedup();

    let mut room = Room::new(bounds, requested, &denied);
    let covering: Vec<bool> = grants.allow.iter().map(|allow| allow.covers(requested.tail())).collect();
    let mut kept: Vec<bool> =
        grants.allow.iter().zip(&covering).map(|(allow, covers)| *covers && room.take(&allow.resource)).collect();
    let allowed_by = grants.allow.iter().zip(&kept).find(|(_, kept)| **kept).map(|(allow, _)| allow.line);
    if allowed_by.is_none() {
        // Silence is consent where the API has a resource policy with an Allow; an explicit Deny is not.
        let asked = bounded(literal(requested.text()));
        if !denied.contains(&asked) {
            room.take_always(&asked);
            denied.push(asked);
        }
    }
    for ((allow, covers), kept) in grants.allow.iter().zip(covering).zip(&mut kept) {
        *kept |= !covers && room.take(&allow.resource);
    }

    let verdict = match (denied_by, allowed_by) {
        (Some(rule), _) => Verdict::DeniedByRule { rule },
        (None, None) => Verdict::NotGranted,
        (None, Some(_)) if room.guarded && guards(requested.tail()) => Verdict::PathGuard,
        (None, Some(rule)) => Verdict::Allowed { rule },
    };
    let allowed =
        || grants.allow.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(allow, _)| allow.resource.as_str());
    let left_out = grants.allow.len() - allowed().count();
    if left_out == grants.allow.len() {
        return Policy { document: deny_stage(requested), verdict, left_out };
    }
    let stage = stage_prefix(requested);
    let mut writer = Writer::new(bounds.max_bytes - room.bytes);
    writer.statement("Allow", &stage, allowed());
    if !denied.is_empty() {
        writer.statement("Deny", "", denied.iter().map(String::as_str));
    }
    if room.guarded {
        writer.statement("Deny", &stage, PATH_GUARD);
    }
    Policy { document: writer.finish(), verdict, left_out }
}

/// Deny of the whole stage.
#[must_use]
pub fn deny_stage(requested: &MethodArn) -> Document {
    let mut writer = Writer::new(256);
    writer.statement("Deny", &stage_prefix(requested), ["*"]);
    writer.finish()
}

/// What every resource starts with.
fn stage_prefix(requested: &MethodArn) -> String {
    requested.resource("")
}

/// Writes a document.
struct Writer(String);

impl Writer {
    const START: &'static str = r#"{"Version":"2012-10-17","Statement":["#;

    /// `bytes` is about how long the document will be.
    fn new(bytes: usize) -> Self {
        let mut json = String::with_capacity(bytes);
        json.push_str(Self::START);
        Self(json)
    }

    /// A statement about `resources`, each behind `prefix`, in which there is nothing for JSON to escape.
    fn statement<'r>(&mut self, effect: &str, prefix: &str, resources: impl IntoIterator<Item = &'r str>) {
        let json = &mut self.0;
        if json.len() > Self::START.len() {
            json.push(',');
        }
        json.extend([r#"{"Action":["execute-api:Invoke"],"Effect":""#, effect, r#"","Resource":["#]);
        for (index, resource) in resources.into_iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push('"');
            json.push_str(prefix);
            if resource.bytes().all(|byte| json_escaped(byte) == 1) {
                json.push_str(resource);
                json.push('"');
            } else {
                json.push_str(Value::from(resource).to_string().get(1..).unwrap_or_default());
            }
        }
        json.push_str("]}");
    }

    fn finish(mut self) -> Document {
        self.0.push_str("]}");
        Document(self.0)
    }
}

/// What is left of a document's bytes.
struct Room {
    bytes: usize,
    /// What every resource starts with, and the slash behind it. It has one byte a character, also in JSON.
    stage: usize,
    /// What the path guard takes, once a wildcard asks for it; nothing where it is off.
    guard_bytes: usize,
    guarded: bool,
}

impl Room {
    /// A statement without resources and the comma behind it.
    const STATEMENT: usize = r#"{"Action":["execute-api:Invoke"],"Effect":"Allow","Resource":[]},"#.len();
    const DOCUMENT: usize = Writer::START.len() + "]}".len();

    /// Sets aside what must stand in any case: the frame, an Allow and a Deny statement, and all that is denied.
    /// Where that alone is too much, nothing is left, so nothing will be granted.
    fn new(bounds: Bounds, requested: &MethodArn, denied: &[String]) -> Self {
        let fixed =
            Self::DOCUMENT + 2 * Self::STATEMENT + denied.iter().map(|resource| json_bytes(resource)).sum::<usize>();
        let stage = requested.stage().len() + 1;
        let guard = Self::STATEMENT + PATH_GUARD.len() * stage + GUARD_BYTES;
        Self {
            stage,
            bytes: bounds.max_bytes.saturating_sub(fixed),
            guard_bytes: if bounds.path_guard { guard } else { 0 },
            guarded: false,
        }
    }

    /// Takes the room for an allowed resource, `tail` behind the stage, and for the guard when it is the first wildcard; or
    /// says that there is none. A route has no character that JSON escapes: quotes and a comma are all that is added.
    fn take(&mut self, tail: &str) -> bool {
        let wants_guard = self.guard_bytes > 0 && !self.guarded && tail.ends_with('*');
        let resource = self.stage + tail.len();
        let cost = resource + 3 + if wants_guard { self.guard_bytes } else { 0 };
        if resource > MAX_RESOURCE || cost > self.bytes {
            return false;
        }
        self.bytes -= cost;
        self.guarded |= wants_guard;
        true
    }

    /// Takes the room for a denied resource, even where there is none.
    fn take_always(&mut self, resource: &str) {
        self.bytes = self.bytes.saturating_sub(json_bytes(resource));
    }
}

/// A string's length as JSON, with its quotes and a comma.
const fn json_bytes(text: &str) -> usize {
    let mut rest = text.as_bytes();
    let mut bytes = 3;
    while let [byte, behind @ ..] = rest {
        bytes += json_escaped(*byte);
        rest = behind;
    }
    bytes
}

/// How many bytes one is in a JSON string.
const fn json_escaped(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    }
}

/// Whether the guard denies this request. Most paths have none of the three that every pattern has one of.
fn guards(tail: &str) -> bool {
    (tail.contains(['%', '\\']) || tail.contains("/.")) && PATH_GUARD.iter().any(|pattern| matches(pattern, tail))
}

/// A denied resource as it fits into a policy: one that is too long is cut, and denies all that starts like it.
fn bounded(mut resource: String) -> String {
    if resource.chars().count() > MAX_RESOURCE {
        resource = resource.chars().take(MAX_RESOURCE - 1).chain(['*']).collect();
    }
    resource
}

/// A caller's text as a pattern that covers it, and hardly more: a character that IAM would read as a wildcard or the
/// start of a variable becomes `?`, any one character. Left as it is, a request for `/*` would deny the token, in the
/// gateway's cache, everything else that it may call.
fn literal(text: &str) -> String {
    text.replace(['*', '$'], "?")
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::iam::{IamPolicyEffect, IamPolicyStatement};

    use super::*;
    use crate::policy::Grant;

    const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod";
    const BOUNDS: Bounds = Bounds { max_bytes: 32_768, path_guard: true };

    fn arn(tail: &str) -> MethodArn {
        MethodArn::parse(&format!("{STAGE}/{tail}")).unwrap()
    }

    fn grants(allow: &[&str], deny: &[&str]) -> Grants {
        let list = |tails: &[&str], line| {
            tails.iter().map(|tail| Grant { resource: (*tail).to_owned(), line }).collect::<Vec<_>>()
        };
        Grants { allow: list(allow, 1), deny: list(deny, 9), ..Grants::default() }
    }

    fn statements(policy: &Policy) -> Vec<IamPolicyStatement> {
        policy.document.parsed().unwrap().statement
    }

    /// The document as (effect, resource's tail), the guard left out.
    fn rows(policy: &Policy) -> Vec<(IamPolicyEffect, String)> {
        let tail = |resource: &str| resource.strip_prefix(STAGE).unwrap().strip_prefix('/').unwrap().to_owned();
        statements(policy)
            .iter()
            .flat_map(|statement| statement.resource.iter().map(|resource| (statement.effect.clone(), tail(resource))))
            .filter(|(_, tail)| !PATH_GUARD.contains(&tail.as_str()))
            .collect()
    }

    fn row(effect: IamPolicyEffect, tail: &str) -> (IamPolicyEffect, String) {
        (effect, tail.to_owned())
    }

    use IamPolicyEffect::{Allow, Deny};

    #[test]
    fn one_allow_statement_with_everything_the_token_may_call() {
        let policy = policy(&grants(&["GET/a", "GET/b", "PUT/a"], &[]), &arn("GET/b"), BOUNDS);
        let expected = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Action":["execute-api:Invoke"],"Effect":"Allow","Resource":["{STAGE}/GET/a","{STAGE}/GET/b","{STAGE}/PUT/a"]}}]}}"#
        );
        assert_eq!(policy.document.json(), expected);
        assert_eq!((policy.verdict, policy.left_out), (Verdict::Allowed { rule: 1 }, 0));
    }

    #[test]
    fn what_is_asked_and_not_granted_is_denied_by_name() {
        let policy = policy(&grants(&["GET/a"], &[]), &arn("GET/b:c"), BOUNDS);
        assert_eq!(rows(&policy), [row(Allow, "GET/a"), row(Deny, "GET/b:c")]);
        assert_eq!(policy.verdict, Verdict::NotGranted);
    }

    #[test]
    fn granted_nothing_at_all_denies_the_stage() {
        let policy = policy(&grants(&[], &["GET/x"]), &arn("GET/b"), BOUNDS);
        assert_eq!(rows(&policy), [row(Deny, "*")]);
        assert_eq!(policy.verdict, Verdict::NotGranted);
    }

    #[test]
    fn a_deny_rule_wins_over_an_allow_rule() {
        let policy = policy(&grants(&["GET/a/*"], &["GET/a/b"]), &arn("GET/a/b"), BOUNDS);
        assert_eq!(rows(&policy), [row(Allow, "GET/a/*"), row(Deny, "GET/a/b")]);
        assert_eq!(policy.verdict, Verdict::DeniedByRule { rule: 9 });
    }

    #[test]
    fn a_deny_that_cannot_be_written_denies_the_stage() {
        let grants = Grants { deny_all: Some(9), ..grants(&["GET/a"], &[]) };
        let policy = policy(&grants, &arn("GET/a"), BOUNDS);
        assert_eq!(rows(&policy), [row(Deny, "*")]);
        assert_eq!(policy.verdict, Verdict::DeniedByRule { rule: 9 });
    }

    #[test]
    fn the_guard_stands_beside_every_wildcard_and_only_there() {
        let guarded = |tail: &str, path_guard| {
            let bounds = Bounds { path_guard, ..BOUNDS };
            statements(&policy(&grants(&[tail], &[]), &arn("GET/a/b"), bounds))
                .iter()
                .any(|statement| statement.effect == Deny && statement.resource.contains(&format!("{STAGE}/*/../*")))
        };
        assert!(guarded("GET/a/*", true));
        assert!(!guarded("GET/a/b", true));
        assert!(!guarded("GET/a/*", false));
    }

    #[test]
    fn the_guard_denies_paths_that_a_backend_may_read_as_others() {
        let verdict = |path: &str| policy(&grants(&["GET/t/acme/*"], &[]), &arn(&format!("GET{path}")), BOUNDS).verdict;
        for path in [
            "/t/acme/../umbra",
            "/t/acme/..",
            "/t/acme/./x",
            "/t/acme/.",
            "/t/acme/..;/umbra",
            "/t/acme/.;x",
            "/t/acme/..%3b/umbra",
            "/t/acme/..%253B/umbra",
            "/t/acme/.%09./umbra",
            "/t/acme/%2e%2e/umbra",
            "/t/acme/.%2E/umbra",
            "/t/acme/..%2fumbra",
            "/t/acme/..%5Cumbra",
            "/t/acme/..\\umbra",
            "/t/acme/%252e%252e/umbra",
            "/t/acme/..%252Fumbra",
            "/t/acme/%25%32%65./umbra",
            "/t/acme/%2%65./umbra",
            "/t/acme/%%32e./umbra",
            "/t/acme/%09../umbra",
            "/t/acme/%250A../umbra",
            "/t/acme/%c0%ae%C0%AE/umbra",
            "/t/acme/%C1%9cumbra",
        ] {
            assert_eq!(verdict(path), Verdict::PathGuard, "{path}");
        }
        for path in [
            "/t/acme/",
            "/t/acme/a..b",
            "/t/acme/...",
            "/t/acme/.well-known",
            "/t/acme/%C3%A9%20%25",
            "/t/acme/%10%25c0",
        ] {
            assert_eq!(verdict(path), Verdict::Allowed { rule: 1 }, "{path}");
        }
    }

    #[test]
    fn a_request_with_wildcards_denies_itself_and_nothing_it_may_call() {
        let policy = policy(&grants(&["GET/apps"], &[]), &arn("GET/*"), BOUNDS);
        assert_eq!(rows(&policy), [row(Allow, "GET/apps"), row(Deny, "GET/?")]);
        assert!(matches(&format!("{STAGE}/GET/?"), arn("GET/*").text()));
        assert!(!matches(&format!("{STAGE}/GET/?"), arn("GET/apps").text()));
    }

    #[test]
    fn a_request_too_long_to_be_named_is_denied_by_its_start() {
        let long = format!("GET/{}", "é".repeat(600));
        let policy = policy(&grants(&["GET/apps"], &[]), &arn(&long), BOUNDS);
        let denied = &statements(&policy)[1].resource[0];
        assert_eq!(denied.chars().count(), MAX_RESOURCE);
        assert!(matches(denied, arn(&long).text()) && denied.ends_with("é*"));
    }

    #[test]
    fn a_resource_over_512_characters_is_left_out() {
        let tail = |more| format!("GET/{}", "a".repeat(MAX_RESOURCE - STAGE.len() - 5 + more));
        let policy = |more| policy(&grants(&["GET/x", &tail(more)], &[]), &arn("GET/x"), BOUNDS);
        assert_eq!(policy(0).left_out, 0);
        assert_eq!(policy(1).left_out, 1);
        assert_eq!(rows(&policy(1)), [row(Allow, "GET/x")]);
    }

    #[test]
    fn a_policy_that_fits_to_the_byte_is_whole_and_one_byte_less_cuts_it() {
        let escaped = "GET/".to_owned() + &"\"\\\n\t\u{8}\u{1}\u{1b}é".repeat(4);
        for asked in ["GET/t/1/x", "GET/other", &escaped] {
            for path_guard in [true, false] {
                let grants = grants(&["GET/a", "GET/t/1/*", "GET/t/2/*"], &["GET/d"]);
                let policy = |max_bytes| policy(&grants, &arn(asked), Bounds { max_bytes, path_guard });
                let whole = policy(32_768);
                assert_eq!(whole.left_out, 0);
                let bytes = whole.document.json().len();
                // Counted, and not written: the comma behind each last resource and statement, one letter of each Deny.
                let fits = (bytes..=bytes + 6).find(|max_bytes| policy(*max_bytes) == whole).unwrap();
                assert_eq!(policy(fits - 1).left_out, 1, "{asked}");
            }
        }
    }

    #[test]
    fn a_request_of_512_characters_is_named_whole() {
        let asked = format!("GET/{}", "a".repeat(MAX_RESOURCE - STAGE.len() - 5));
        assert_eq!(STAGE.len() + 1 + asked.len(), MAX_RESOURCE);
        assert_eq!(rows(&policy(&grants(&["GET/x"], &[]), &arn(&asked), BOUNDS)).pop(), Some(row(Deny, &asked)));
    }

    #[test]
    fn every_pattern_of_the_guard_has_what_is_looked_for_first() {
        for pattern in PATH_GUARD {
            assert!(pattern.contains(['%', '\\']) || pattern.contains("/."), "{pattern}");
        }
    }

    #[test]
    fn a_bounded_policy_keeps_what_covers_the_request_first() {
        let tails: Vec<String> = (0..500).map(|n| format!("GET/t/{n:03}/*")).collect();
        let tails: Vec<&str> = tails.iter().map(String::as_str).collect();
        for max_bytes in [1_024, 2_000, 3_000, 4_000, 5_000, 10_000] {
            for path_guard in [true, false] {
                let policy = policy(&grants(&tails, &["GET/d"]), &arn("GET/t/321/x"), Bounds { max_bytes, path_guard });
                let bytes = policy.document.json().len();
                assert!(bytes <= max_bytes, "{bytes} in {max_bytes}");
                let kept = rows(&policy).iter().filter(|(effect, _)| *effect == Allow).count();
                assert_eq!(policy.left_out, 500 - kept);
                if kept == 0 {
                    assert_eq!((policy.verdict, rows(&policy)), (Verdict::NotGranted, vec![row(Deny, "*")]));
                } else {
                    assert_eq!(policy.verdict, Verdict::Allowed { rule: 1 });
                    assert!(rows(&policy).contains(&row(Allow, "GET/t/321/*")));
                    assert!(bytes + 200 > max_bytes, "{bytes} wastes {max_bytes}");
                }
            }
        }
        let cut = policy(&grants(&tails, &[]), &arn("GET/other"), Bounds { max_bytes: 4_000, path_guard: false });
        assert!(rows(&cut).contains(&row(Deny, "GET/other")) && cut.left_out > 0);
    }
}
