//! From claims and rules to a policy. [`Case`] describes the input.
//!
//! Properties, checked by a reference evaluator of IAM and one of the rules:
//!
//! - The policy allows only what an `[[allow]]` rule grants for the claims' literal values.
//! - It allows nothing that a `[[deny]]` rule denies.
//! - It allows no path that a backend may interpret as one that is not granted.
//! - Our own reading of the policy is that of the reference evaluator.
//! - It allows or denies the requested route explicitly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use okta_authorizer_fuzz::{STAGE, assert_agrees, case::Case, policy_of};
use okta_authorizer_policy::{ClaimSet, MethodArn, PolicyOptions, Rules, Verdict, render};
use okta_authorizer_testkit::{
    backend_path::as_a_backend_reads_it,
    reference_rules::{Meaning, Scope, matches, toml},
};

/// What is appended to every route that a policy allows, and put in the place of its wildcards.
const ATTACKS: [&str; 21] = [
    "",
    "x",
    "/x",
    "/../x",
    "/..",
    "%2e%2e/x",
    "..%2fx",
    "%252e%252e%252fx",
    "..\\x",
    "..;/x",
    ".;x",
    "*",
    "?",
    "/..#x",
    "/.. ",
    "/.\t./x",
    "/..\0",
    "/",
    "x%23",
    "x%3f",
    "x%2523",
];

fuzz_target!(|input: &str| {
    let case = Case::parse(input);
    let Ok(rules) = Rules::parse(&toml(&case.rules)) else { return };
    let Some(meaning) = case.meaning() else { return };
    let asked = case.requests.first().copied().unwrap_or("GET/apps");
    let Some(requested) = MethodArn::parse(&format!("{STAGE}/{asked}")) else { return };
    let Some(claims) = ClaimSet::parse(&serde_json::to_vec(&case.claims).unwrap()) else { return };

    let options = PolicyOptions { max_bytes: case.max_bytes, path_guard: case.path_guard };
    let made = render(&rules.grants(&claims, &requested), &requested, options);
    let policy = policy_of(&made.document, STAGE, options.max_bytes);

    assert_agrees(&policy, requested.text(), &made.verdict);
    let is_allowed = matches!(made.verdict, Verdict::Allowed { .. });
    let (method, path) = split(asked);
    let odd = path.contains(['%', '\\', ';', '#', ' ', '\t', '\n', '\r', '\0'])
        || path.split('/').any(|segment| matches!(segment, "." | ".."));
    if made.omitted == 0 && !odd {
        assert_eq!(is_allowed, meaning.allows(method, path), "{asked}: {made:?}, {meaning:?}");
    }

    let mut paths: Vec<String> = case.requests.iter().take(8).map(|&request| request.to_owned()).collect();
    for arn in paths.iter().filter_map(|tail| MethodArn::parse(&format!("{STAGE}/{tail}"))) {
        assert_eq!(made.document.allows(&arn), policy.allows(arn.text()), "{arn:?}: {made:?}");
    }
    let scopes =
        meaning.allow.iter().chain(&meaning.deny).take(4).map(|scope| format!("{}{}", scope.method, scope.path));
    let allowed = policy.allow.iter().take(4).map(|resource| resource[STAGE.len() + 1..].to_owned());
    for route in scopes.chain(allowed) {
        let above = route.trim_end_matches('*').replace('*', "x");
        paths.extend(ATTACKS.iter().map(|attack| format!("{above}{attack}")));
        if route.contains('*') {
            paths.extend(ATTACKS.iter().map(|attack| route.replace('*', attack)));
        }
    }
    for tail in &paths {
        if policy.allows(&format!("{STAGE}/{tail}")) {
            let (method, path) = split(tail);
            assert!(meaning.allows(method, path), "{tail} is allowed: {made:?}, {meaning:?}");
            if case.path_guard {
                assert_stays(&meaning, method, path);
            }
        }
    }
});

fn split(tail: &str) -> (&str, &str) {
    tail.split_at(tail.find('/').unwrap_or(tail.len()))
}

/// Asserts that every interpretation of the path by a backend is granted.
fn assert_stays(meaning: &Meaning, method: &str, path: &str) {
    let covering: Vec<&Scope> = meaning.allow.iter().filter(|scope| scope.covers(method, path)).collect();
    if covering.iter().any(|scope| !scope.path.contains('*')) {
        return; // granted literally
    }
    for times in 0..=2 {
        let read = as_a_backend_reads_it(path, times);
        // Decoding does not change a wildcard.
        let stays = covering.iter().any(|scope| matches(&as_a_backend_reads_it(&scope.path, times), &read));
        assert!(stays, "{method} {path} leaves what is granted: {}", String::from_utf8_lossy(&read));
    }
}
