//! Random rules files. Each finding of `check` holds: its token and request are judged by the
//! evaluation and by the independent IAM evaluator, and what it says to remove is needless.
//! `OKTA_POLICY_FILES` is the number of files.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot continue must show where and stop"
)]

use std::{env, sync::Arc};

use okta_authorizer_policy::{ClaimSet, MethodArn, PolicyOptions, Rules, Verdict, render};
use okta_authorizer_testkit::{iam, random::Random};
use okta_policy::{
    diff::diff,
    lints::{
        DENY_UNDER_WILDCARD, EVERYTHING_FOR_EVERYONE, IDLE_DENY, INNER_WILDCARD, LINTS, NEEDLESS_ROUTE, NEEDLESS_RULE,
        NEEDLESS_SILENCER, OVERRIDDEN_ALLOW, REPEATED_ROUTE, lint,
    },
    report::{File, Finding, Witness},
};
use serde_json::{Map, Value, json};

fn file(text: &str) -> Arc<File> {
    Arc::new(File { name: "policy.toml".to_owned(), text: text.to_owned() })
}

fn findings(text: &str) -> Vec<Finding> {
    lint(&Rules::parse(text).unwrap(), &file(text))
}

fn rule(random: &mut Random) -> String {
    let is_deny = random.below(4) == 0;
    let head = if is_deny { "[[deny]]" } else { "[[allow]]" };
    let stage = if random.below(8) == 0 { "stage = 'dev'\n" } else { "" };
    let (when, has_capture) = *random.of(&[
        ("", false),
        ("", false),
        ("when = { groups = 'A' }\n", false),
        ("when = { groups = ['A', 'B'] }\n", false),
        ("when = { groups = { present = true } }\n", false),
        ("when = { groups = { present = false } }\n", false),
        ("when = { uid = '{n}' }\n", true),
        ("when = { uid = '{n}', groups = 'A' }\n", true),
        ("when = { tenants = '{k}:{n}' }\n", true),
        ("when = { tenants = ['{n}:x', '{n}-x'] }\n", true),
    ]);
    let routes: Vec<_> = (0..=random.below(3)).map(|_| format!("'{}'", route(random, has_capture))).collect();
    format!("{head}\n{stage}{when}routes = [{}]\n", routes.join(", "))
}

fn route(random: &mut Random, has_capture: bool) -> String {
    let mut path = String::new();
    for _ in 0..random.below(4) {
        let segments: &[&str] =
            if has_capture { &["/a", "/b", "/*", "/{n}", "/{n}"] } else { &["/a", "/b", "/a", "/*"] };
        path.push_str(random.word(segments));
    }
    if path.is_empty() || random.below(10) == 0 {
        path.push('/');
    }
    format!("{} {path}", random.word(&["GET", "GET", "PUT", "ANY"]))
}

/// The answer of the evaluation. The independent evaluator must agree whether the request is allowed.
fn verdict(rules: &Rules, witness: &Witness) -> Verdict {
    let mut all = json!({ "iss": "https://example.okta.com", "aud": "api", "sub": "s", "iat": 1, "exp": 2 });
    let claims: Map<String, Value> = serde_json::from_str(&witness.claims).unwrap();
    all.as_object_mut().unwrap().extend(claims);
    let claims = ClaimSet::parse(all.to_string().as_bytes()).unwrap();
    let (api, stage, request) = (&witness.api, &witness.stage, witness.request.replacen(' ', "", 1));
    let arn = format!("arn:aws:execute-api:us-east-1:123456789012:{api}/{stage}/{request}");
    let requested = MethodArn::parse(&arn).unwrap();
    let options = PolicyOptions { max_bytes: 1_000_000, path_guard: true };
    let policy = render(&rules.grants(&claims, &requested), &requested, options);
    let document = serde_json::from_str(policy.document.json()).unwrap();
    let is_allowed = iam::Document::read(&document).unwrap().verdict(&arn) == iam::Verdict::Allowed;
    assert_eq!(is_allowed, matches!(policy.verdict, Verdict::Allowed { .. }), "{arn}");
    policy.verdict
}

/// The text without the string of a route, or without the rule if it is the rule that is needless or
/// has no other route.
fn without(text: &str, finding: &Finding) -> Option<String> {
    let span = finding.places[0].span.clone();
    let rules: Vec<&str> = text.split_inclusive("\n\n").collect();
    let mut start = 0;
    let mut changed = String::new();
    for rule in rules {
        let place = span.start.checked_sub(start).filter(|at| *at < rule.len());
        start += rule.len();
        let Some(at) = place else {
            changed.push_str(rule);
            continue;
        };
        let route = span.len();
        if finding.kind == NEEDLESS_RULE || rule.matches(" /").count() == 1 {
            continue;
        }
        let (before, after) = (&rule[..at], &rule[at + route..]);
        let after = after.strip_prefix(", ");
        match after {
            Some(after) => changed.extend([before, after]),
            None => changed.extend([before.strip_suffix(", ")?, &rule[at + route..]]),
        }
    }
    changed.contains("[[allow]]").then_some(changed)
}

#[test]
fn each_finding_holds() {
    let files = env::var("OKTA_POLICY_FILES").map_or(1_500, |files| files.parse().unwrap());
    let mut random = Random(23);
    let mut counts = LINTS.map(|lint| (lint, 0));
    let (mut removed, mut tried) = (0, 0);
    while tried < files {
        let text = (0..=random.below(4)).map(|_| rule(&mut random)).collect::<Vec<_>>().join("\n");
        let Ok(rules) = Rules::parse(&text) else { continue };
        tried += 1;
        for finding in lint(&rules, &file(&text)) {
            counts.iter_mut().find(|(lint, _)| *lint == finding.kind).unwrap().1 += 1;
            let show = || format!("{}\n{text}", finding.text());
            let answer = finding.witness.as_ref().map(|witness| verdict(&rules, witness));
            let is_proven = match finding.kind {
                EVERYTHING_FOR_EVERYONE | INNER_WILDCARD | DENY_UNDER_WILDCARD => {
                    matches!(answer, Some(Verdict::Allowed { .. }))
                }
                OVERRIDDEN_ALLOW | IDLE_DENY => matches!(answer, Some(Verdict::DeniedByRule { .. })),
                _ => matches!(answer, Some(Verdict::Allowed { .. } | Verdict::DeniedByRule { .. })),
            };
            assert!(is_proven, "{answer:?} {}", show());
            // What a denial is for is not only its routes: it is of everything for some tokens.
            if ![NEEDLESS_ROUTE, NEEDLESS_RULE, REPEATED_ROUTE].contains(&finding.kind) {
                continue;
            }
            let Some(other) = without(&text, &finding) else { continue };
            removed += 1;
            let after = Rules::parse(&other).unwrap();
            let differences = diff((&rules, &file(&text)), (&after, &file(&other)), None);
            assert!(differences.is_empty(), "{}\n--- after\n{other}\n{}", show(), differences[0].text());
        }
    }
    println!("{counts:?}, {removed} removed");
    assert!(
        removed > files / 10 && counts.iter().all(|(_, count)| count * 200 > files),
        "{counts:?}, {removed} removed"
    );
}

#[test]
fn a_comment_silences_the_rule_below_it() {
    const COMMENT: &str = "# okta-policy: allow(inner-wildcard) the reason";
    const RULE: &str = "[[allow]]\nroutes = ['GET /a/*/b']\n";
    for (name, text, kinds) in [
        ("no comment", RULE.to_owned(), vec![INNER_WILDCARD]),
        ("a comment", format!("{COMMENT}\n{RULE}"), vec![]),
        ("no space after the mark", format!("#okta-policy:allow(inner-wildcard) x\n{RULE}"), vec![]),
        ("an indented comment", format!("  {COMMENT}\n{RULE}"), vec![]),
        ("an indented rule", format!("{COMMENT}\n  {RULE}"), vec![]),
        ("line ends of Windows", format!("{COMMENT}\n{RULE}").replace('\n', "\r\n"), vec![]),
        ("another comment between", format!("{COMMENT}\n# more\n{RULE}"), vec![]),
        ("spaces in the header", format!("{COMMENT}\n[[ allow ]]\nroutes = ['GET /a/*/b']\n"), vec![]),
        ("text that is not ASCII", format!("# größer ✓\n{COMMENT} ✓\n{RULE}"), vec![]),
        ("a blank line between", format!("{COMMENT}\n\n{RULE}"), vec![NEEDLESS_SILENCER, INNER_WILDCARD]),
        ("twice", format!("{COMMENT}\n{COMMENT}\n{RULE}"), vec![]),
        (
            "above a rule that is a comment",
            format!("{COMMENT}\n# [[allow]]\n# routes = ['GET /x']\n\n{RULE}"),
            vec![NEEDLESS_SILENCER, INNER_WILDCARD],
        ),
        ("below the rule", format!("{RULE}{COMMENT}\n"), vec![INNER_WILDCARD, NEEDLESS_SILENCER]),
        ("nothing to silence", format!("{COMMENT}\n[[allow]]\nroutes = ['GET /a']\n"), vec![NEEDLESS_SILENCER]),
        ("no reason", format!("# okta-policy: allow(inner-wildcard)\n{RULE}"), vec!["mistake", INNER_WILDCARD]),
        ("an unknown lint", format!("# okta-policy: allow(inner) x\n{RULE}"), vec!["mistake", INNER_WILDCARD]),
        ("another form", format!("# okta-policy: inner-wildcard\n{RULE}"), vec!["mistake", INNER_WILDCARD]),
    ] {
        let found: Vec<_> = findings(&text).iter().map(|finding| finding.kind).collect();
        assert_eq!(found, kinds, "{name}: {text}");
    }
}
