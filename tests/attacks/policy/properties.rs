//! The properties. `PROPTEST_CASES` says how many cases are tried, `PROPTEST_RNG_SEED` which.

use std::{cell::Cell, env};

use okta_authorizer::decision::{Evaluated, Outcome};
use okta_authorizer_testkit::{
    backend_path::{as_a_backend_reads_it, has_dot_segments},
    iam::{Policy, Verdict, matches},
    reference_rules::{Meaning, read, toml},
};
use proptest::test_runner::{Config as Settings, RngSeed, TestCaseError, TestRunner};
use serde_json::{Map, Value};

use super::generate::{Case, case};
use crate::{
    table::{NOW, STAGE, authorizer_ruled_by, decide, event_for, good, good_claims, said},
    test_keys,
};

/// Cases that are the same in every run, unless the environment says otherwise: a red CI should be
/// so for everybody. Nothing is written to disk.
pub fn settings(cases: u32) -> Settings {
    let seed =
        if env::var_os("PROPTEST_RNG_SEED").is_some() { Settings::default().rng_seed } else { RngSeed::Fixed(1) };
    let cases = if env::var_os("PROPTEST_CASES").is_some() { Settings::default().cases } else { cases };
    Settings { cases, rng_seed: seed, failure_persistence: None, max_shrink_iters: 20_000, ..Settings::default() }
}

/// What was asked, and the policy that was made for it.
pub struct Answered {
    pub method: String,
    pub path: String,
    pub arn: String,
    pub evaluated: Evaluated,
    pub document: Value,
    pub policy: Policy,
}

/// The claims of the case's token.
fn claims(case: &Case) -> Map<String, Value> {
    let mut claims = good_claims().as_object().unwrap().clone();
    claims.extend(case.claims.clone());
    claims
}

/// Asks for each of the case's requests, with one token, an authorizer of the case's rules.
pub fn answers(case: &Case) -> Result<Vec<Answered>, String> {
    let claims = claims(case);
    let rules = toml(&case.rules);
    let max_bytes = case.max_bytes.to_string();
    let path_guard = if case.path_guard { "on" } else { "off" };
    let authorizer = authorizer_ruled_by(&rules, &[("POLICY_MAX_BYTES", &max_bytes), ("PATH_GUARD", path_guard)])
        .map_err(|error| format!("{error}\n{rules}"))?;
    let token = test_keys::main().token(&Value::Object(claims.clone()));
    let answer = |(method, path): (String, String)| {
        let arn = format!("{STAGE}/{method}{path}");
        let Outcome::Evaluated(evaluated) = decide(&authorizer, &event_for(&token, &arn), NOW).outcome else {
            return Err(format!("a good token is refused: {claims:?}"));
        };
        let document = serde_json::from_str(evaluated.document.json()).unwrap();
        let policy = Policy::read(&document, STAGE, case.max_bytes).map_err(|wrong| format!("{wrong}: {document}"))?;
        Ok(Answered { method, path, arn, evaluated, document, policy })
    };
    case.requests.iter().map(|request| answer(request.to(&case.rules, &claims))).collect()
}

#[derive(Default)]
struct Seen {
    pairs: Cell<u32>,
    allowed: Cell<u32>,
    allowed_by_a_star: Cell<u32>,
    denied_by_a_rule: Cell<u32>,
    hostile_and_granted: Cell<u32>,
    left_out: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

#[test]
fn no_policy_allows_what_the_rules_do_not_and_each_is_right_for_every_route() {
    let seen = Seen::default();
    let cases = settings(2_500);
    let (tried, mut runner) = (cases.cases, TestRunner::new(cases));
    let result = runner.run(&case(), |case| check(&case, &seen).map_err(TestCaseError::fail));
    if let Err(fault) = result {
        panic!("{fault}");
    }
    println!(
        "{tried} cases, {} pairs of policy and request: {} allowed, {} of them by a wildcard; {} that a rule denies; {} hostile \
         paths under a granted wildcard; {} with resources left out",
        seen.pairs.get(),
        seen.allowed.get(),
        seen.allowed_by_a_star.get(),
        seen.denied_by_a_rule.get(),
        seen.hostile_and_granted.get(),
        seen.left_out.get()
    );
    // A generator that hits nothing shows nothing.
    for cell in [&seen.allowed, &seen.allowed_by_a_star, &seen.denied_by_a_rule, &seen.hostile_and_granted] {
        assert!(cell.get() > tried / 10, "the cases have become too tame");
    }
    assert!(seen.left_out.get() > 0 || tried < 500, "the cases have become too tame");
}

fn check(case: &Case, seen: &Seen) -> Result<(), String> {
    let claims = claims(case);
    let answers = answers(case)?;
    let meaning: Meaning = read(&case.rules, &claims).expect("a case has few claim values");
    for made in &answers {
        if made.evaluated.omitted_resources > 0 {
            count(&seen.left_out);
        }
        if made.evaluated.is_allowed() != (made.policy.verdict(&made.arn) == Verdict::Allowed) {
            return Err(format!("{:?} for {}: {}", made.evaluated.verdict, made.arn, made.document));
        }
        if made.policy.verdict(&made.arn) == Verdict::ImplicitDeny {
            return Err(format!("silence about {}: {}", made.arn, made.document));
        }
        // The gateway caches this policy for every route.
        for asked in &answers {
            count(&seen.pairs);
            let fault = |what: &str| {
                Err(format!(
                    "{what}: {} by the policy made for {}\n{}\n{claims:?}\n{}",
                    asked.arn,
                    made.arn,
                    toml(&case.rules),
                    made.document
                ))
            };
            let verdict = made.policy.verdict(&asked.arn);
            let is_granted = meaning.grants(&asked.method, &asked.path);
            let is_denied = meaning.denies(&asked.method, &asked.path);
            if is_denied {
                count(&seen.denied_by_a_rule);
            }
            if verdict == Verdict::Allowed {
                count(&seen.allowed);
                if !is_granted {
                    return fault("allowed, and no rule grants it");
                }
                if is_denied {
                    return fault("allowed, and a rule denies it");
                }
                if case.path_guard && !stays_inside(&made.policy, asked) {
                    return fault("allowed, and leaves what was granted");
                }
                if made.policy.covering(&asked.arn).any(|resource| resource.ends_with('*')) {
                    count(&seen.allowed_by_a_star);
                }
                continue;
            }
            if is_granted && (0..=2).any(|times| has_dot_segments(&asked.path, times)) {
                count(&seen.hostile_and_granted);
            }
            let expected = is_granted && !is_denied && made.evaluated.omitted_resources == 0;
            if expected && is_tame(&asked.path) && !names(made, &asked.arn) {
                return fault("granted, and not allowed");
            }
        }
    }
    Ok(())
}

/// Whether no way of reading the path leads out of the granted prefix that lets it through.
fn stays_inside(policy: &Policy, asked: &Answered) -> bool {
    let path_of = |resource: &str| {
        let tail = resource.strip_prefix(STAGE).unwrap();
        tail[1..].find('/').map(|at| tail[1 + at..].to_owned()).unwrap()
    };
    (0..=2).all(|times| {
        let read = as_a_backend_reads_it(&asked.path, times);
        policy.covering(&asked.arn).any(|resource| {
            let granted = path_of(resource);
            match granted.strip_suffix('*') {
                // It is the request, word for word: its dots, if any, are the rules' own.
                None => true,
                Some(prefix) => read.starts_with(&as_a_backend_reads_it(prefix, times)),
            }
        })
    })
}

/// No path that the guard could mean.
fn is_tame(path: &str) -> bool {
    let escapes =
        path.split('%').skip(1).all(|behind| ["20", "C3", "A9"].iter().any(|digits| behind.starts_with(digits)));
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    let segments = !path.split('/').any(dots);
    let encoded = path.contains("/.%") || path.contains("/..%");
    escapes && segments && !encoded && !path.contains('\\')
}

/// Whether the policy's own Deny of the request it was made for, which could not be written to the
/// letter, names another one.
fn names(made: &Answered, arn: &str) -> bool {
    let pattern = made.arn.replace(['*', '$'], "?");
    let long = made.arn.chars().count() > 512;
    !made.evaluated.is_allowed() && (long || (pattern.contains('?') && matches(&pattern, arn)))
}

#[test]
fn no_spelling_of_a_dot_segment_leaves_a_granted_prefix() {
    let authorizer = authorizer_ruled_by("[[allow]]\nroutes = ['GET /t/acme/*']\n", &[]).unwrap();
    let arn = |path: &str| format!("{STAGE}/GET{path}");
    let decision = decide(&authorizer, &event_for(&good(), &arn("/t/acme/x")), NOW);
    let Outcome::Evaluated(evaluated) = decision.outcome else { panic!("{}", said(&decision.outcome)) };
    let document = serde_json::from_str(evaluated.document.json()).unwrap();
    let policy = Policy::read(&document, STAGE, 32_768).unwrap();
    assert_eq!(policy.verdict(&arn("/t/acme/a.b/..c/x...y/%20")), Verdict::Allowed);

    let dots = spellings('.');
    let slashes = [spellings('/'), spellings('\\')].concat();
    let starts = [vec!["/".to_owned()], slashes.clone()].concat();
    let mut tried = 0;
    let mut wrong = Vec::new();
    let mut attempt = |path: String| {
        tried += 1;
        let leaves = (0..=2).any(|times| !as_a_backend_reads_it(&path, times).starts_with(b"/t/acme/"));
        if leaves && policy.verdict(&arn(&path)) == Verdict::Allowed {
            wrong.push(path);
        }
    };
    for (one, two) in dots.iter().flat_map(|one| dots.iter().map(move |two| (one, two))) {
        for start in &starts {
            for end in ["", "/", "\\", "%2f", ";x", "%3b/", "%253B"] {
                attempt(format!("/t/acme{start}{one}{two}{end}"));
                attempt(format!("/t/acme/x{start}{one}{two}{end}{one}{two}/y"));
            }
        }
        for end in &slashes {
            attempt(format!("/t/acme/{one}{two}{end}umbra"));
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} get through:\n{}", wrong.len(), wrong.join("\n"));
    println!("{tried} paths");
}

/// A character as itself, percent-encoded once, and with any part of that encoded once more.
fn spellings(character: char) -> Vec<String> {
    let code = u32::from(character);
    let mut all = vec![character.to_string()];
    for once in [format!("%{code:02x}"), format!("%{code:02X}")] {
        for subset in 0..8_u32 {
            let twice = once.chars().enumerate().map(|(index, c)| {
                if subset >> index & 1 == 1 { format!("%{:02x}", u32::from(c)) } else { c.to_string() }
            });
            all.push(twice.collect());
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}
