//! Claims and rules to a policy, on tokens that are really signed. [`Case`] says how a case is written.
//!
//! What must hold, as an IAM and a reading of the rules find it that know nothing of the authorizer's code:
//! nothing is allowed but what an `[[allow]]` rule says for the claims' literal values; nothing that a `[[deny]]` rule
//! says; nothing that leaves its granted prefix in a backend's reading; what is asked is answered, and never by silence.
#![no_main]

use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    event::MethodArn,
    policy::{Bounds, Rules, Verdict, policy},
};
use okta_authorizer_fuzz::{
    iam::{Answer, Policy, allowed, assert_well_formed},
    sample::{AUDIENCE, HEADER, ISSUER, NOW, STAGE, accept, sign},
    second_reading::{Case, Meant, Reading, as_a_backend_may_read},
};
use serde_json::json;

/// What is tried below, above and beside every route that a policy allows.
const BEHIND: [&str; 13] =
    ["", "x", "/x", "/../x", "/..", "%2e%2e/x", "..%2fx", "%252e%252e%252fx", "..\\x", "..;/x", ".;x", "*", "?"];

fuzz_target!(|input: &str| {
    let mut case = Case::parse(input);
    let Ok(rules) = Rules::parse(&case.toml()) else { return };
    case.claims.entry("sub").or_insert(json!("s"));
    for (name, value) in
        [("iss", json!(ISSUER)), ("aud", json!(AUDIENCE)), ("iat", json!(NOW)), ("exp", json!(NOW + 9))]
    {
        case.claims.insert(name.to_owned(), value);
    }
    let Some(reading) = case.read() else { return };
    let asked = case.requests.first().copied().unwrap_or("GET/apps");
    let Some(requested) = MethodArn::parse(&format!("{STAGE}/{asked}")) else { return };
    let payload = serde_json::to_vec(&case.claims).unwrap();
    let Ok(claims) = accept(&sign(HEADER.as_bytes(), &payload)) else { return };

    let bounds = Bounds { max_bytes: case.max_bytes, path_guard: case.guarded };
    let made = policy(&rules.grants(&claims, &requested), &requested, bounds);
    assert_well_formed(&made.document, STAGE, bounds.max_bytes);
    let iam = Policy::of(&made.document);

    let is_allowed = matches!(made.verdict, Verdict::Allowed { .. });
    let answer = if is_allowed { Answer::Allow } else { Answer::ExplicitDeny };
    assert_eq!(iam.answer(requested.text()), answer, "{made:?}");
    let (method, path) = split(asked);
    let odd = path.contains(['%', '\\', ';']) || path.split('/').any(|segment| matches!(segment, "." | ".."));
    if made.left_out == 0 && !odd {
        assert_eq!(is_allowed, is_meant(&reading, method, path), "{asked}: {made:?}, {reading:?}");
    }

    let mut paths: Vec<String> = case.requests.iter().take(8).map(|&request| request.to_owned()).collect();
    let reach =
        reading.allow.iter().chain(&reading.deny).take(4).map(|meant| format!("{}{}", meant.method, meant.path));
    let routes = allowed(&made.document, STAGE).into_iter().take(4).map(|tail| tail.trim_end_matches('*').to_owned());
    for route in reach.chain(routes) {
        paths.extend(BEHIND.iter().map(|behind| format!("{route}{behind}")));
    }
    for tail in &paths {
        if iam.answer(&format!("{STAGE}/{tail}")) == Answer::Allow {
            let (method, path) = split(tail);
            assert!(is_meant(&reading, method, path), "{tail} is allowed: {made:?}, {reading:?}");
            if case.guarded {
                assert_stays(&reading.allow, method, path);
            }
        }
    }
});

fn split(tail: &str) -> (&str, &str) {
    tail.split_at(tail.find('/').unwrap_or(tail.len()))
}

fn is_meant(reading: &Reading, method: &str, path: &str) -> bool {
    let covered = |list: &[Meant]| list.iter().any(|meant| meant.covers(method, path));
    !reading.deny_all && covered(&reading.allow) && !covered(&reading.deny)
}

/// However a backend reads the path, it is one that is granted.
fn assert_stays(allow: &[Meant], method: &str, path: &str) {
    if allow.iter().any(|meant| !meant.and_below && meant.covers(method, path)) {
        return; // granted in these very characters
    }
    for times in 0..=2 {
        let read = as_a_backend_may_read(path, times);
        let stays = allow.iter().filter(|meant| meant.and_below && meant.covers(method, path)).any(|meant| {
            let prefix = as_a_backend_may_read(&meant.path, times);
            read.starts_with(&prefix)
        });
        assert!(stays, "{method} {path} leaves what is granted: {}", String::from_utf8_lossy(&read));
    }
}
