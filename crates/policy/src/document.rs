//! Renders grants as an IAM policy document that API Gateway may cache for every route of the
//! stage.

use std::{borrow::Cow, sync::LazyLock};

use serde::Deserialize;
use serde_json::Value;

use crate::{
    evaluate::Grants,
    method_arn::MethodArn,
    path_guard::PathGuard,
    rules::RuleName,
    wildcard::{Asked, matches, overlap},
};

/// The longest resource in characters. Source: API Gateway developer guide, "Quotas for configuring
/// and running a REST API" and IAM's limit on a resource.
pub const MAX_RESOURCE: usize = 512;

/// How a policy is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyOptions {
    /// Upper bound of the document's JSON, in bytes.
    pub max_bytes: usize,
    /// Whether a policy that allows any `*` also has the path guard.
    pub path_guard: bool,
}

/// What the policy says about the request that it was rendered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed by this rule, the first in the file of those that allow it.
    Allowed {
        /// The rule's name.
        rule: RuleName,
    },
    /// Denied by this rule, the first in the file of those that deny it.
    DeniedByRule {
        /// The rule's name.
        rule: RuleName,
    },
    /// Denied by the path guard.
    PathGuard,
    /// Denied because no rule grants it.
    NotGranted,
}

impl Verdict {
    /// Every name that [`Verdict::name`] returns.
    pub const NAMES: [&str; 4] = ["allowed", "denied_by_rule", "path_guard", "not_granted"];

    /// The stable name of the verdict in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let [allowed, denied_by_rule, path_guard, not_granted] = Self::NAMES;
        match self {
            Self::Allowed { .. } => allowed,
            Self::DeniedByRule { .. } => denied_by_rule,
            Self::PathGuard => path_guard,
            Self::NotGranted => not_granted,
        }
    }

    /// The rule that decided, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        match self {
            Self::Allowed { rule } | Self::DeniedByRule { rule } => Some(rule),
            Self::PathGuard | Self::NotGranted => None,
        }
    }
}

/// An IAM policy document, kept as its JSON text.
///
/// Every call renders one, and typed statements would cost an allocation for each resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDocument(String);

impl PolicyDocument {
    /// The document's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Whether API Gateway lets a request through while it has this document in its cache.
    #[must_use]
    pub fn allows(&self, request: &MethodArn) -> bool {
        let Ok(Document { statements }) = serde_json::from_str(&self.0) else { return false };
        let applies = |effect: &str| {
            let of_effect = statements.iter().filter(|statement| statement.effect == effect);
            of_effect.flat_map(|statement| &statement.resources).any(|pattern| matches(pattern, request.text()))
        };
        applies("Allow") && !applies("Deny")
    }

    /// A document that denies the whole stage of `requested`.
    #[must_use]
    pub fn deny_stage(requested: &MethodArn) -> Self {
        document(256, |json| push_statement(json, "Deny", &stage_prefix(requested), ["*"]))
    }
}

/// What [`PolicyDocument::allows`] reads of a document.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "Statement")]
    statements: Vec<Statement>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "Effect")]
    effect: String,
    #[serde(rename = "Resource")]
    resources: Vec<String>,
}

/// A policy for everything that one token may call on one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What API Gateway enforces and caches.
    pub document: PolicyDocument,
    /// What the document says about the request.
    pub verdict: Verdict,
    /// How many granted resources the document has.
    pub allowed: usize,
    /// How many granted resources are left out, because they do not fit or are longer than
    /// [`MAX_RESOURCE`].
    pub omitted: usize,
}

/// Renders the policy for `grants` on the stage of `requested`, with an answer to this request.
#[must_use]
pub fn render(grants: &Grants<'_>, requested: &MethodArn, options: PolicyOptions) -> Policy {
    let stage = stage_prefix(requested);
    let asked = requested.method_and_path();
    let mut denied: Vec<_> = grants.deny.iter().map(|(deny, _)| shortened(deny, &stage)).collect();
    let mut coverage = Asked::new(asked);
    let denying = denied.iter().zip(grants.deny.iter()).filter(|(resource, _)| coverage.is_covered_by(resource));
    let denied_by = denying.map(|(_, (_, rule))| rule).chain(grants.deny_all).min();
    if let (Some(_), Some(rule)) = (grants.deny_all, denied_by) {
        let verdict = Verdict::DeniedByRule { rule: rule.clone() };
        return Policy { document: PolicyDocument::deny_stage(requested), verdict, allowed: 0, omitted: 0 };
    }
    denied.dedup();

    let path_guard = grants.allow.guard().filter(|_| options.path_guard);
    let guard = path_guard.map(|guard| guard_statement(guard, &stage)).unwrap_or_default();
    let mut budget = ByteBudget::new(options.max_bytes, &stage, &denied, &guard);

    // The resources that cover the request come first, the others fill what is left.
    let mut allowed_by = None;
    let mut places = Vec::with_capacity(grants.allow.len());
    for (allow, rule) in grants.allow.iter() {
        let covers = coverage.is_covered_by(allow);
        let is_kept = covers && budget.spend(allow.len(), allow.contains('*'));
        if is_kept {
            allowed_by = Some(allowed_by.map_or(rule, |first| rule.min(first)));
        }
        places.push((covers, is_kept));
    }
    if allowed_by.is_none() && denied_by.is_none() {
        // If the API has a resource policy with an Allow, it allows a request that our policy does
        // not mention. So deny it explicitly, unless that would deny something else that is
        // granted.
        let pattern = without_wildcards(asked);
        let denied_request = shortened(&pattern, &stage);
        let mut others = grants.allow.iter().zip(&places).filter(|(_, (covers, _))| !*covers);
        if !others.any(|((allow, _), _)| overlap(&denied_request, allow)) {
            let denied_request = escaped(&denied_request).into_owned();
            budget.spend_anyway(&denied_request);
            denied.push(denied_request.into());
        }
    }
    for ((length, has_wildcard), (covers, is_kept)) in grants.allow.sizes().zip(&mut places) {
        *is_kept |= !*covers && budget.spend(length, has_wildcard);
    }

    let verdict = match (denied_by, allowed_by) {
        (Some(rule), _) => Verdict::DeniedByRule { rule: rule.clone() },
        (None, None) => Verdict::NotGranted,
        (None, Some(_)) if budget.guarded && path_guard.is_some_and(|guard| guard.denies(asked)) => Verdict::PathGuard,
        (None, Some(rule)) => Verdict::Allowed { rule: rule.clone() },
    };
    let kept = grants.allow.iter().zip(&places).filter(|(_, (_, is_kept))| *is_kept).map(|((allow, _), _)| allow);
    let count = places.iter().filter(|(_, is_kept)| *is_kept).count();
    let omitted = grants.allow.len() - count;
    if count == 0 {
        return Policy { document: PolicyDocument::deny_stage(requested), verdict, allowed: 0, omitted };
    }
    let document = document(options.max_bytes - budget.bytes, |json| {
        push_statement(json, "Allow", &stage, kept);
        if !denied.is_empty() {
            push_statement(json, "Deny", &stage, denied.iter().map(AsRef::as_ref));
        }
        if budget.guarded {
            json.push_str(&guard);
        }
    });
    Policy { document, verdict, allowed: count, omitted }
}

/// What every resource starts with.
fn stage_prefix(requested: &MethodArn) -> String {
    requested.resource_arn("")
}

/// Every policy with a `*` has this statement, so the patterns are escaped only once.
fn guard_statement(guard: PathGuard, stage: &str) -> String {
    static ESCAPED: LazyLock<[Vec<Cow<'static, str>>; 2]> =
        LazyLock::new(|| [PathGuard::Usual, PathGuard::WithEnd].map(|guard| guard.patterns().map(escaped).collect()));
    let [usual, with_end] = &*ESCAPED;
    let patterns = match guard {
        PathGuard::Usual => usual,
        PathGuard::WithEnd => with_end,
    };
    let mut json = String::with_capacity(4_096);
    push_statement(&mut json, "Deny", stage, patterns.iter().map(AsRef::as_ref));
    json
}

/// A document with the statements that `push` appends. `capacity` is about its length in bytes.
fn document(capacity: usize, push: impl FnOnce(&mut String)) -> PolicyDocument {
    let mut json = String::with_capacity(capacity);
    json.push_str(r#"{"Version":"2012-10-17","Statement":["#);
    push(&mut json);
    pop_comma(&mut json);
    json.push_str("]}");
    PolicyDocument(json)
}

/// Appends a statement and a comma. Each resource is `prefix` and a text. JSON escapes nothing in
/// `prefix` and in a route; other texts must be [`escaped`].
fn push_statement<'r>(json: &mut String, effect: &str, prefix: &str, resources: impl IntoIterator<Item = &'r str>) {
    json.extend([r#"{"Action":["execute-api:Invoke"],"Effect":""#, effect, r#"","Resource":["#]);
    for resource in resources {
        json.push('"');
        json.push_str(prefix);
        json.push_str(resource);
        json.push_str("\",");
    }
    pop_comma(json);
    json.push_str("]},");
}

/// A text as in a JSON string, without the quotes.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        return text.into();
    }
    let json = Value::from(text).to_string();
    json.get(1..json.len() - 1).unwrap_or_default().to_owned().into()
}

fn pop_comma(json: &mut String) {
    if json.ends_with(',') {
        json.pop();
    }
}

/// The bytes that are still available for Allow resources.
struct ByteBudget<'r> {
    bytes: usize,
    stage: &'r str,
    /// The rendered path guard; empty if it is off or not needed.
    guard: &'r str,
    /// Whether a kept resource has a `*`, so that the guard is part of the policy.
    guarded: bool,
}

impl<'r> ByteBudget<'r> {
    /// Renders the document without any Allow resource, and subtracts its length. If that is
    /// already too long, nothing is left, so nothing will be granted.
    fn new(max_bytes: usize, stage: &'r str, denied: &[Cow<'_, str>], guard: &'r str) -> Self {
        let without_allows = document(256, |json| {
            push_statement(json, "Allow", "", []);
            push_statement(json, "Deny", stage, denied.iter().map(AsRef::as_ref));
        });
        Self { bytes: max_bytes.saturating_sub(without_allows.0.len()), stage, guard, guarded: false }
    }

    /// Takes the bytes of an allowed resource of this length and, if it is the first with a `*`, of
    /// the guard.
    /// Returns `false` if they are not available.
    fn spend(&mut self, length: usize, has_wildcard: bool) -> bool {
        let needs_guard = !self.guarded && !self.guard.is_empty() && has_wildcard;
        // A route has no character that JSON escapes.
        let arn = self.stage.len() + length;
        let cost = arn + r#""","#.len() + if needs_guard { self.guard.len() } else { 0 };
        if arn > MAX_RESOURCE || cost > self.bytes {
            return false;
        }
        self.bytes -= cost;
        self.guarded |= needs_guard;
        true
    }

    /// Takes the bytes of a denied resource, even if they are not available.
    fn spend_anyway(&mut self, resource: &str) {
        self.bytes = self.bytes.saturating_sub(self.stage.len() + resource.len() + "\"\",".len());
    }
}

/// A denied resource that has at most [`MAX_RESOURCE`] characters after `stage`. A longer one
/// becomes a prefix with `*`, which denies more, never less.
fn shortened<'r>(resource: &'r str, stage: &str) -> Cow<'r, str> {
    let room = MAX_RESOURCE.saturating_sub(stage.len());
    if resource.chars().count() <= room {
        return resource.into();
    }
    resource.chars().take(room.saturating_sub(1)).chain(['*']).collect()
}

/// A caller's text as a pattern that matches it and little else: `*` and `$`, which IAM reads as a
/// wildcard and as the start of a variable, become `?`, any one character. Without this, a request
/// for `/*` would put a Deny of everything into the cached policy.
fn without_wildcards(text: &str) -> String {
    text.replace(['*', '$'], "?")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::{
        evaluate::Resources,
        path_guard::{PATTERNS, PATTERNS_WITH_END},
        rules,
        wildcard::matches,
    };

    const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod";
    const OPTIONS: PolicyOptions = PolicyOptions { max_bytes: 32_768, path_guard: true };
    const ALLOW_RULE: RuleName = RuleName { line: 1, effect: rules::Effect::Allow, name: None };
    const DENY_RULE: RuleName = RuleName { line: 9, effect: rules::Effect::Deny, name: None };

    fn arn(tail: &str) -> MethodArn {
        MethodArn::parse(&format!("{STAGE}/{tail}")).unwrap()
    }

    fn resources<'t>(list: impl IntoIterator<Item = (&'t str, &'static RuleName)>) -> Resources<'static> {
        let mut resources = Resources::default();
        for (tail, rule) in list {
            resources.push(rule, PathGuard::of(tail), |text| text.push_str(tail), |_| true);
        }
        resources
    }

    fn grants(allow: &[&str], deny: &[&str]) -> Grants<'static> {
        let list = |tails: &[&str], rule: &'static RuleName| resources(tails.iter().map(|tail| (*tail, rule)));
        Grants { allow: list(allow, &ALLOW_RULE), deny: list(deny, &DENY_RULE), ..Grants::default() }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
    enum Effect {
        Allow,
        Deny,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Statement {
        effect: Effect,
        resource: Vec<String>,
    }

    fn statements(policy: &Policy) -> Vec<Statement> {
        let document: Value = serde_json::from_str(policy.document.json()).unwrap();
        serde_json::from_value(document["Statement"].clone()).unwrap()
    }

    /// The document as (effect, resource's tail), without the guard.
    fn rows(policy: &Policy) -> Vec<(Effect, String)> {
        let tail = |resource: &str| resource.strip_prefix(STAGE).unwrap().strip_prefix('/').unwrap().to_owned();
        statements(policy)
            .iter()
            .flat_map(|statement| statement.resource.iter().map(|resource| (statement.effect, tail(resource))))
            .filter(|(_, tail)| !PATTERNS.contains(&tail.as_str()) && !PATTERNS_WITH_END.contains(&tail.as_str()))
            .collect()
    }

    fn row(effect: Effect, tail: &str) -> (Effect, String) {
        (effect, tail.to_owned())
    }

    use Effect::{Allow, Deny};

    #[test]
    fn a_text_is_escaped_as_in_json() {
        for text in ["", "GET/a b~", "\"", "\\", "a\"b\\c", "\n", "\u{7f}", "\u{e9}"] {
            assert_eq!(format!("\"{}\"", escaped(text)), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn one_allow_statement_has_everything_that_is_granted() {
        let policy = render(&grants(&["GET/a", "GET/b", "PUT/a"], &[]), &arn("GET/b"), OPTIONS);
        let expected = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Action":["execute-api:Invoke"],"Effect":"Allow","Resource":["{STAGE}/GET/a","{STAGE}/GET/b","{STAGE}/PUT/a"]}}]}}"#
        );
        assert_eq!(policy.document.json(), expected);
        assert_eq!((policy.verdict, policy.allowed, policy.omitted), (Verdict::Allowed { rule: ALLOW_RULE }, 3, 0));
    }

    #[test]
    fn a_request_that_is_not_granted_is_denied_by_name() {
        let policy = render(&grants(&["GET/a"], &[]), &arn("GET/b:c"), OPTIONS);
        assert_eq!(rows(&policy), [row(Allow, "GET/a"), row(Deny, "GET/b:c")]);
        assert_eq!(policy.verdict, Verdict::NotGranted);
    }

    #[test]
    fn a_token_that_is_granted_nothing_is_denied_the_stage() {
        let policy = render(&grants(&[], &["GET/x"]), &arn("GET/b"), OPTIONS);
        assert_eq!(rows(&policy), [row(Deny, "*")]);
        assert_eq!(policy.verdict, Verdict::NotGranted);
    }

    #[test]
    fn a_deny_rule_wins_over_an_allow_rule() {
        let policy = render(&grants(&["GET/a/*"], &["GET/a/b"]), &arn("GET/a/b"), OPTIONS);
        assert_eq!(rows(&policy), [row(Allow, "GET/a/*"), row(Deny, "GET/a/b")]);
        assert_eq!(policy.verdict, Verdict::DeniedByRule { rule: DENY_RULE });
    }

    #[test]
    fn a_deny_that_cannot_be_written_denies_the_stage() {
        let grants = Grants { deny_all: Some(&DENY_RULE), ..grants(&["GET/a"], &[]) };
        let policy = render(&grants, &arn("GET/a"), OPTIONS);
        assert_eq!(rows(&policy), [row(Deny, "*")]);
        assert_eq!(policy.verdict, Verdict::DeniedByRule { rule: DENY_RULE });
    }

    #[test]
    fn a_policy_with_a_wildcard_has_the_guard_and_others_do_not() {
        let guarded = |tail: &str, path_guard| {
            let options = PolicyOptions { path_guard, ..OPTIONS };
            statements(&render(&grants(&[tail], &[]), &arn("GET/a/b"), options))
                .iter()
                .any(|statement| statement.effect == Deny && statement.resource.contains(&format!("{STAGE}/*/../*")))
        };
        assert!(guarded("GET/a/*", true));
        assert!(!guarded("GET/a/b", true));
        assert!(!guarded("GET/a/*", false));
    }

    #[test]
    fn a_guarded_path_is_denied_although_a_wildcard_covers_it() {
        let verdict = |path: &str, path_guard| {
            let options = PolicyOptions { path_guard, ..OPTIONS };
            render(&grants(&["GET/t/acme/*"], &[]), &arn(path), options).verdict
        };
        assert_eq!(verdict("GET/t/acme/../umbra", true), Verdict::PathGuard);
        assert_eq!(verdict("GET/t/acme/../umbra", false), Verdict::Allowed { rule: ALLOW_RULE });
        assert_eq!(verdict("GET/t/acme/umbra", true), Verdict::Allowed { rule: ALLOW_RULE });
    }

    #[test]
    fn a_request_with_wildcards_denies_nothing_that_is_granted() {
        let policy = render(&grants(&["GET/apps"], &[]), &arn("GET/*"), OPTIONS);
        assert_eq!(rows(&policy), [row(Allow, "GET/apps"), row(Deny, "GET/?")]);
        assert!(matches(&format!("{STAGE}/GET/?"), arn("GET/*").text()));
        assert!(!matches(&format!("{STAGE}/GET/?"), arn("GET/apps").text()));
    }

    #[test]
    fn a_deny_that_would_hit_what_is_granted_is_not_written() {
        let denied = |allow: &[&str], asked: &str| {
            let policy = render(&grants(allow, &[]), &arn(asked), PolicyOptions { path_guard: false, ..OPTIONS });
            assert_eq!(policy.verdict, Verdict::NotGranted, "{asked}");
            rows(&policy).into_iter().filter(|(effect, _)| *effect == Deny).map(|(_, tail)| tail).collect::<Vec<_>>()
        };
        for (allow, asked, written) in [
            (&["GET/idps/0oa1"][..], "GET/idps/****", ""),
            (&["GET/idps/0oa1"], "GET/idps/*****", "GET/idps/?????"),
            (&["GET/idps/0oa1"], "GET/idps/$$$$", ""),
            (&["GET/idps/0oa1"], "GET/idps/0oa?", ""),
            (&["GET/idps/0oa1"], "GET/idps/0ob*", "GET/idps/0ob?"),
            (&["GET/x", "GET/t/a/*"], "GET/t/*/y", ""),
            (&["GET/x", "GET/t/a/*"], "GET/t/*", "GET/t/?"),
            (&["GET/x", "GET/t/a/*"], "GET/t/*/", ""),
            (&["GET/x", "GET/t/a/*"], "PUT/t/*/y", "PUT/t/?/y"),
        ] {
            let expected: Vec<_> = [written].into_iter().filter(|written| !written.is_empty()).collect();
            assert_eq!(denied(allow, asked), expected, "{asked}");
        }
        // The prefix of a request that is too long.
        let longest = format!("GET/{}", "a".repeat(MAX_RESOURCE - STAGE.len() - 5));
        assert_eq!(denied(&[&longest], &format!("{longest}b")), [""; 0]);
        assert_eq!(denied(&[&longest], &longest.replace("aa", "ab")).len(), 1);
    }

    #[test]
    fn a_request_whose_allow_does_not_fit_is_denied_by_name() {
        let too_long = format!("GET/{}", "a".repeat(MAX_RESOURCE));
        let policy = render(&grants(&["GET/x", &too_long], &[]), &arn(&too_long), OPTIONS);
        assert_eq!(rows(&policy).len(), 2);
        assert_eq!(policy.verdict, Verdict::NotGranted);
    }

    #[test]
    fn a_request_that_a_rule_denies_is_not_denied_twice() {
        let policy = render(&grants(&["GET/x"], &["GET/a/*"]), &arn("GET/a/b"), OPTIONS);
        assert_eq!(rows(&policy), [row(Allow, "GET/x"), row(Deny, "GET/a/*")]);
    }

    #[test]
    fn a_wildcard_in_the_middle_is_enforced_as_iam_does() {
        let policy =
            |asked: &str| render(&grants(&["GET/o/*/invoice", "GET/x"], &["GET/o/*/9/*"]), &arn(asked), OPTIONS);
        for (asked, verdict) in [
            ("GET/o/7/invoice", "allowed"),
            ("GET/o/7/lines/2/invoice", "allowed"),
            ("GET/o//invoice", "allowed"),
            ("GET/o/7/9/invoice", "denied_by_rule"),
            ("GET/o/7/../invoice", "path_guard"),
            ("GET/o/7/refund%3f/invoice", "path_guard"),
            ("GET/o/7/refund%23/invoice", "path_guard"),
            ("GET/o/7/%3a/invoice", "allowed"),
            ("GET/o/7", "not_granted"),
            ("GET/o/invoice", "not_granted"),
            ("GET/o/7/invoices", "not_granted"),
            ("PUT/o/7/invoice", "not_granted"),
        ] {
            assert_eq!(policy(asked).verdict.name(), verdict, "{asked}");
            assert_eq!(policy("GET/x").document.allows(&arn(asked)), verdict == "allowed", "{asked}");
        }
        // Only what hits nothing that is granted is denied by name.
        let denied = |asked: &str| rows(&policy(asked)).pop().filter(|(_, tail)| tail != "GET/o/*/9/*");
        assert_eq!(denied("GET/o/7/pay"), Some(row(Deny, "GET/o/7/pay")));
        assert_eq!(denied("GET/o/*/pay"), Some(row(Deny, "GET/o/?/pay")));
        assert_eq!(denied("GET/o/7/invoic*"), None);
        assert_eq!(denied("GET/p/*/pay"), Some(row(Deny, "GET/p/?/pay")));
    }

    #[test]
    fn a_wildcard_at_the_end_lets_encoded_ends_of_paths_through() {
        for (allow, expected) in [("GET/f/*", "allowed"), ("GET/*", "allowed"), ("GET/*/C%23", "path_guard")] {
            for others in [[].as_slice(), &["GET/g/*"], &["GET/h"]] {
                let policy = render(&grants(&[&[allow], others].concat(), &[]), &arn("GET/f/C%23"), OPTIONS);
                assert_eq!(policy.verdict.name(), expected, "{allow} {others:?}");
                assert_eq!(policy.document.allows(&arn("GET/f/C%23")), expected == "allowed");
            }
        }
    }

    #[test]
    fn a_document_allows_what_it_allows_and_does_not_deny() {
        let cached = render(&grants(&["GET/a", "GET/t/*"], &["GET/t/x"]), &arn("GET/a"), OPTIONS).document;
        for (request, expected) in [
            ("GET/a", true),
            ("GET/t/y", true),
            ("GET/t/x", false),
            ("GET/t/../a", false),
            ("GET/b", false),
            ("PUT/a", false),
        ] {
            assert_eq!(cached.allows(&arn(request)), expected, "{request}");
        }
        assert!(!cached.allows(&MethodArn::parse(&format!("{STAGE}x/GET/a")).unwrap()));
        assert!(!PolicyDocument::deny_stage(&arn("GET/a")).allows(&arn("GET/a")));
    }

    #[test]
    fn the_first_rule_of_the_file_decides() {
        let rule = |effect, number| -> &'static RuleName {
            Box::leak(Box::new(RuleName { line: 10 * number, effect, name: None }))
        };
        let list = |effect, tails: &[(&str, u32)]| {
            resources(tails.iter().map(|(tail, number)| (*tail, rule(effect, *number))))
        };
        let decided = |allow: &[(&str, u32)], deny: &[(&str, u32)], deny_all: Option<u32>| {
            let grants = Grants {
                allow: list(rules::Effect::Allow, allow),
                deny: list(rules::Effect::Deny, deny),
                deny_all: deny_all.map(|number| rule(rules::Effect::Deny, number)),
                ..Grants::default()
            };
            let verdict = render(&grants, &arn("GET/a/b"), OPTIONS).verdict;
            (verdict.name(), verdict.rule().map(ToString::to_string))
        };
        let by = |name: &str| Some(name.to_owned());
        let allow = [("GET/*", 3), ("GET/a/*", 2), ("GET/a/b", 4), ("GET/x", 1)];
        assert_eq!(decided(&allow, &[], None), ("allowed", by("line 20")));
        let deny = [("GET/*", 3), ("GET/a/b", 2), ("GET/x", 1)];
        assert_eq!(decided(&allow, &deny, None), ("denied_by_rule", by("line 20")));
        assert_eq!(decided(&allow, &deny, Some(4)), ("denied_by_rule", by("line 20")));
        assert_eq!(decided(&allow, &deny, Some(1)), ("denied_by_rule", by("line 10")));
        assert_eq!(decided(&[("GET/x", 1)], &[], None), ("not_granted", None));
        let guarded = render(&grants(&["GET/*"], &[]), &arn("GET/a/../b"), OPTIONS).verdict;
        assert_eq!((guarded.name(), guarded.rule()), ("path_guard", None));
    }

    #[test]
    fn a_deny_rule_that_is_too_long_denies_by_its_prefix() {
        let long = format!("GET/{}", "a".repeat(MAX_RESOURCE));
        let policy = render(&grants(&["GET/*"], &[&long]), &arn(&long.replace("aaaa", "aaab")), OPTIONS);
        let policy_of_another = render(&grants(&["GET/*"], &[&long]), &arn("GET/aab"), OPTIONS);
        assert_eq!(policy.verdict, Verdict::Allowed { rule: ALLOW_RULE });
        assert_eq!(policy_of_another.verdict, Verdict::Allowed { rule: ALLOW_RULE });
        let policy = render(&grants(&["GET/*"], &[&long]), &arn(&format!("{long}b")), OPTIONS);
        assert_eq!(policy.verdict, Verdict::DeniedByRule { rule: DENY_RULE });
    }

    #[test]
    fn a_request_that_is_too_long_is_denied_by_its_prefix() {
        let long = format!("GET/{}", "é".repeat(600));
        let policy = render(&grants(&["GET/apps"], &[]), &arn(&long), OPTIONS);
        let denied = &statements(&policy)[1].resource[0];
        assert_eq!(denied.chars().count(), MAX_RESOURCE);
        assert!(matches(denied, arn(&long).text()) && denied.ends_with("é*"));
    }

    #[test]
    fn a_resource_over_512_characters_is_omitted() {
        let tail = |more| format!("GET/{}", "a".repeat(MAX_RESOURCE - STAGE.len() - 5 + more));
        let policy = |more| render(&grants(&["GET/x", &tail(more)], &[]), &arn("GET/x"), OPTIONS);
        assert_eq!(policy(0).omitted, 0);
        assert_eq!(policy(1).omitted, 1);
        assert_eq!(rows(&policy(1)), [row(Allow, "GET/x")]);
    }

    #[test]
    fn a_policy_is_whole_if_it_fits_and_truncated_otherwise() {
        let escaped = "GET/".to_owned() + &"\"\\\n\t\u{8}\u{1}\u{1b}é".repeat(4);
        for asked in ["GET/t/1/x", "GET/other", &escaped] {
            for path_guard in [true, false] {
                let grants = grants(&["GET/a", "GET/t/1/*", "GET/t/2/*"], &["GET/d"]);
                let policy = |max_bytes| render(&grants, &arn(asked), PolicyOptions { max_bytes, path_guard });
                let whole = policy(32_768);
                assert_eq!(whole.omitted, 0);
                let bytes = whole.document.json().len();
                // The budget counts a comma after the last Allow, which is not written.
                let fits = bytes + 1;
                assert_eq!(policy(fits), whole, "{asked}");
                assert_eq!(policy(fits - 1).omitted, 1, "{asked}");
                // Its buffer did not grow.
                assert_eq!(whole.document.0.capacity(), fits, "{asked}");
            }
        }
    }

    #[test]
    fn a_request_of_512_characters_is_denied_whole() {
        let asked = format!("GET/{}", "a".repeat(MAX_RESOURCE - STAGE.len() - 5));
        assert_eq!(STAGE.len() + 1 + asked.len(), MAX_RESOURCE);
        assert_eq!(rows(&render(&grants(&["GET/x"], &[]), &arn(&asked), OPTIONS)).pop(), Some(row(Deny, &asked)));
    }

    #[test]
    fn a_truncated_policy_keeps_what_covers_the_request() {
        let tails: Vec<String> = (0..500).map(|n| format!("GET/t/{n:03}/*")).collect();
        let tails: Vec<&str> = tails.iter().map(String::as_str).collect();
        for max_bytes in [1_024, 2_000, 3_000, 4_000, 5_000, 10_000] {
            for path_guard in [true, false] {
                let policy =
                    render(&grants(&tails, &["GET/d"]), &arn("GET/t/321/x"), PolicyOptions { max_bytes, path_guard });
                let bytes = policy.document.json().len();
                assert!(bytes <= max_bytes, "{bytes} in {max_bytes}");
                let kept = rows(&policy).iter().filter(|(effect, _)| *effect == Allow).count();
                assert_eq!((policy.omitted, policy.allowed), (500 - kept, kept));
                if kept == 0 {
                    assert_eq!((&policy.verdict, rows(&policy)), (&Verdict::NotGranted, vec![row(Deny, "*")]));
                } else {
                    assert_eq!(policy.verdict, Verdict::Allowed { rule: ALLOW_RULE });
                    assert!(rows(&policy).contains(&row(Allow, "GET/t/321/*")));
                    assert!(bytes + 200 > max_bytes, "{bytes} bytes leave too much of {max_bytes}");
                }
            }
        }
        let cut =
            render(&grants(&tails, &[]), &arn("GET/other"), PolicyOptions { max_bytes: 4_000, path_guard: false });
        assert!(rows(&cut).contains(&row(Deny, "GET/other")) && cut.omitted > 0);
    }
}
