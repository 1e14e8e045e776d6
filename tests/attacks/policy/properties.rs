//! The properties. `PROPTEST_CASES` is the number of cases, `PROPTEST_RNG_SEED` chooses them.

use std::{cell::Cell, env};

use okta_authorizer::decision::{Evaluated, Outcome};
use okta_authorizer_testkit::{
    API, Failures, arn,
    backend_path::{as_a_backend_reads_it, has_dot_segments},
    env::Env,
    event_for,
    iam::{Policy, Verdict, matches},
    keys::{self, jwks},
    reference_rules::{Meaning, read, toml},
};
use proptest::test_runner::{Config as Settings, RngSeed, TestCaseError, TestRunner};
use serde_json::{Map, Value};

use super::generate::{Case, case};
use crate::{
    in_process::{NOW, authorizer, config, decide, of_config, written},
    table::good_claims,
};

/// The same cases in every run, unless the environment chooses others, because a failure in CI
/// should be a failure everywhere. Nothing is written to disk.
pub fn settings(cases: u32) -> Settings {
    let seed =
        if env::var_os("PROPTEST_RNG_SEED").is_some() { Settings::default().rng_seed } else { RngSeed::Fixed(1) };
    let cases = if env::var_os("PROPTEST_CASES").is_some() { Settings::default().cases } else { cases };
    Settings { cases, rng_seed: seed, failure_persistence: None, max_shrink_iters: 20_000, ..Settings::default() }
}

/// A request, and the policy of the response to it.
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
    let mut claims = good_claims(NOW).as_object().unwrap().clone();
    claims.extend(case.claims.clone());
    claims
}

/// Sends the case's requests, all with one token, to an authorizer with the case's rules.
pub fn answers(case: &Case) -> Result<Vec<Answered>, String> {
    let claims = claims(case);
    let rules = toml(&case.rules);
    let env = Env::pinned(&jwks(&[keys::main()])).with("PATH_GUARD", if case.path_guard { "on" } else { "off" });
    let mut config = config(&env, Some(&rules)).map_err(|error| format!("{error}\n{rules}"))?;
    // `POLICY_MAX_BYTES` has a higher minimum, which the policies of these cases seldom reach.
    config.policy_options.max_bytes = case.max_bytes;
    let authorizer = of_config(config);
    let token = keys::main().token(&Value::Object(claims.clone()));
    let answer = |(method, path): (String, String)| {
        let arn = format!("{API}/{method}{path}");
        let Outcome::Evaluated(evaluated) = decide(&authorizer, &event_for(&token, &arn), NOW).outcome else {
            return Err(format!("a good token is refused: {claims:?}"));
        };
        let document = serde_json::from_str(evaluated.document.json()).unwrap();
        let policy = Policy::read(&document, API, case.max_bytes).map_err(|wrong| format!("{wrong}: {document}"))?;
        Ok(Answered { method, path, arn, evaluated, document, policy })
    };
    case.requests.iter().map(|request| answer(request.to(&case.rules, &claims))).collect()
}

/// Counts, because a generator that rarely hits the rules would show little.
#[derive(Debug, Default)]
struct Seen {
    pairs: Cell<u32>,
    allowed: Cell<u32>,
    allowed_by_a_wildcard: Cell<u32>,
    denied_by_a_rule: Cell<u32>,
    hostile_and_granted: Cell<u32>,
    omitted: Cell<u32>,
    silent: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

#[test]
fn a_policy_allows_exactly_what_the_rules_grant() {
    let seen = Seen::default();
    let settings = settings(2_500);
    let (cases, mut runner) = (settings.cases, TestRunner::new(settings));
    let result = runner.run(&case(), |case| check(&case, &seen).map_err(TestCaseError::fail));
    assert!(result.is_ok(), "{}", result.unwrap_err());
    println!("{cases} cases, pairs of policy and request: {seen:#?}");
    for cell in [&seen.allowed, &seen.allowed_by_a_wildcard, &seen.denied_by_a_rule, &seen.hostile_and_granted] {
        assert!(cell.get() > cases / 10, "the cases rarely hit the rules: {seen:#?}");
    }
    assert!(
        seen.omitted.get() > 0 && seen.silent.get() > 0 || cases < 500,
        "the cases rarely hit the rules: {seen:#?}"
    );
}

fn check(case: &Case, seen: &Seen) -> Result<(), String> {
    let claims = claims(case);
    let answers = answers(case)?;
    let meaning: Meaning = read(&case.rules, &claims).expect("a case has few claim values");
    for made in &answers {
        if made.evaluated.omitted_resources > 0 {
            count(&seen.omitted);
        }
        let verdict = made.policy.verdict(&made.arn);
        if made.evaluated.is_allowed() != (verdict == Verdict::Allowed) {
            return Err(format!("{:?} for {}: {}", made.evaluated.verdict, made.arn, made.document));
        }
        if verdict == Verdict::ImplicitDeny {
            if !denies_something_allowed(made) {
                return Err(format!("no statement for {}: {}", made.arn, made.document));
            }
            count(&seen.silent);
        }
        // API Gateway caches this policy and uses it for every route.
        for asked in &answers {
            count(&seen.pairs);
            let failure = |what: &str| {
                let (arn, rules) = (&asked.arn, toml(&case.rules));
                Err(format!("{what}: {arn} by the policy for {}\n{rules}\n{claims:?}\n{}", made.arn, made.document))
            };
            let is_granted = meaning.grants(&asked.method, &asked.path);
            let is_denied = meaning.denies(&asked.method, &asked.path);
            if is_denied {
                count(&seen.denied_by_a_rule);
            }
            if made.policy.verdict(&asked.arn) == Verdict::Allowed {
                count(&seen.allowed);
                if !is_granted {
                    return failure("allowed, but no rule grants it");
                }
                if is_denied {
                    return failure("allowed, but a rule denies it");
                }
                if case.path_guard && !stays_inside(&made.policy, asked) {
                    return failure("allowed, but it leaves what was granted");
                }
                if made.policy.covering(&asked.arn).any(|resource| resource.ends_with('*')) {
                    count(&seen.allowed_by_a_wildcard);
                }
                continue;
            }
            if is_granted && (0..=2).any(|times| has_dot_segments(&asked.path, times)) {
                count(&seen.hostile_and_granted);
            }
            let must_pass = is_granted && !is_denied && made.evaluated.omitted_resources == 0;
            if must_pass && is_harmless(&asked.path) {
                return failure("granted, but not allowed");
            }
        }
    }
    Ok(())
}

/// Whether the path stays below the granted prefix that allows it, however it is decoded.
fn stays_inside(policy: &Policy, asked: &Answered) -> bool {
    let path_of = |resource: &str| {
        let tail = resource.strip_prefix(API).unwrap();
        tail[1..].find('/').map(|at| tail[1 + at..].to_owned()).unwrap()
    };
    (0..=2).all(|times| {
        let read = as_a_backend_reads_it(&asked.path, times);
        policy.covering(&asked.arn).any(|resource| {
            let granted = path_of(resource);
            // Without a wildcard the resource is the request itself, and its dots are from the
            // rules.
            let prefix = granted.strip_suffix('*');
            prefix.is_none_or(|prefix| read.starts_with(&as_a_backend_reads_it(prefix, times)))
        })
    })
}

/// Whether the path guard has no reason to deny this path.
fn is_harmless(path: &str) -> bool {
    let escapes = path.split('%').skip(1).all(|rest| ["20", "C3", "A9"].iter().any(|digits| rest.starts_with(digits)));
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    let encoded = ["/.%", "/..%", "/. ", "/.. "].iter().any(|start| path.contains(start));
    escapes && !path.split('/').any(is_dots) && !encoded && !path.contains(['\\', '#', '\t', '\n', '\r', '\0'])
}

/// Whether a Deny of the policy's own request would also deny something that is allowed: IAM cannot
/// name a request with `*`, `?` or `$`, or a long one, exactly.
fn denies_something_allowed(made: &Answered) -> bool {
    let mut pattern: Vec<char> = made.arn.replace(['*', '$'], "?").chars().collect();
    if pattern.len() > 512 {
        pattern.truncate(511);
        pattern.push('*');
    }
    let pattern: String = pattern.into_iter().collect();
    made.evaluated.omitted_resources > 0
        || made.policy.allow.iter().any(|resource| {
            let start = resource.strip_suffix('*').unwrap_or(resource);
            let rest: String = pattern.chars().skip(start.chars().count()).collect();
            let longer = format!("{start}{}", rest.replace('?', "x").replace('*', ""));
            [start, &longer].into_iter().any(|text| matches(&pattern, text) && matches(resource, text))
        })
}

#[test]
fn no_spelling_of_dot_segments_leaves_a_granted_prefix() {
    let env = Env::pinned(&jwks(&[keys::main()]));
    let authorizer = authorizer(&env, Some("[[allow]]\nroutes = ['GET /t/acme/*']\n")).unwrap();
    let token = keys::main().token(&good_claims(NOW));
    let outcome = decide(&authorizer, &event_for(&token, &arn("GET /t/acme/x")), NOW).outcome;
    let name = written(&outcome);
    let Outcome::Evaluated(evaluated) = outcome else { panic!("{name}") };
    let document = serde_json::from_str(evaluated.document.json()).unwrap();
    let policy = Policy::read(&document, API, 32_768).unwrap();
    let allows = |path: &str| policy.verdict(&arn(&format!("GET {path}"))) == Verdict::Allowed;
    assert!(allows("/t/acme/a.b/..c/x...y/%20"));

    let dots = spellings('.');
    let slashes = [spellings('/'), spellings('\\')].concat();
    let starts = [vec!["/".to_owned()], slashes.clone()].concat();
    let mut tried = 0;
    let mut failures = Failures::default();
    let mut attempt = |path: String| {
        tried += 1;
        let leaves = (0..=2).any(|times| !as_a_backend_reads_it(&path, times).starts_with(b"/t/acme/"));
        failures.check(!leaves || !allows(&path), || path.clone());
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
    // What ends a path, and what is dropped from it.
    for dot in &dots {
        for start in &starts {
            for end in ["#", "#x", "%23", "%3f", " ", "%20", "\0", "\0x", "%00", "\t", "\r\n"] {
                attempt(format!("/t/acme{start}{dot}{dot}{end}"));
            }
            for dropped in ["\t", "\n", "\r", "%09", "%0A", "%0d", "%2509"] {
                attempt(format!("/t/acme{start}{dot}{dropped}{dot}/umbra"));
                attempt(format!("/t/acme{start}{dropped}{dot}{dot}{dropped}/umbra"));
            }
        }
    }
    println!("{tried} paths");
    failures.report();
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
