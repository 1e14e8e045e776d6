//! The properties. `PROPTEST_CASES` is the number of cases, `PROPTEST_RNG_SEED` chooses them.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
};

use okta_authorizer::{decision::Outcome, policy as ours};
use okta_authorizer_testkit::{
    API, Failures, arn,
    backend_path::{as_a_backend_reads_it, has_dot_segments},
    env::Env,
    event_for,
    iam::{Policy, Verdict},
    keys::{self, jwks},
    reference_rules::{self, Meaning, Scope, read, toml},
};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config as Settings, RngSeed, TestCaseError, TestRunner},
};
use serde_json::{Map, Value};

use super::generate::{Case, Request, case};
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

/// A request, and the policy of the answer to it.
pub struct Answered {
    /// The API and the stage. API Gateway keeps one policy for each of them.
    target: (&'static str, &'static str),
    pub method: String,
    pub path: String,
    pub arn: String,
    pub document: Value,
    pub policy: Policy,
    /// What the rules mean at this API and stage.
    meaning: Rc<Meaning>,
    ours: ours::PolicyDocument,
    is_allowed: bool,
    verdict: String,
    /// The line of the rule that decided.
    rule: Option<u32>,
    omitted: usize,
    unusable_values: usize,
}

/// The claims of the case's token.
fn claims(case: &Case) -> Map<String, Value> {
    let mut claims = good_claims(NOW).as_object().unwrap().clone();
    claims.extend(case.claims.clone());
    claims
}

/// `arn:…:abcdef1234/prod`.
fn stage_arn((api, stage): (&str, &str)) -> String {
    let (account, _) = API.rsplit_once(':').unwrap();
    format!("{account}:{api}/{stage}")
}

/// Asks the policy crate for each of the case's requests, all with one token. Leaves out requests
/// to an API and stage for which the rules grant so much that the work could reach its bounds.
pub fn answers(case: &Case) -> Result<Vec<Answered>, String> {
    const MAX_BYTES: usize = 30_000;
    let claims = claims(case);
    let toml = toml(&case.rules);
    let rules = ours::Rules::parse(&toml).map_err(|error| format!("{error}\n{toml}"))?;
    let payload = serde_json::to_vec(&claims).unwrap();
    let read = ours::ClaimSet::parse(&payload).ok_or("the claims are not read")?;
    let options = ours::PolicyOptions { max_bytes: case.max_bytes, path_guard: case.path_guard };
    let lines = lines(&toml);
    let mut meanings = BTreeMap::new();
    let answer = |request: &Request| {
        let target = (request.api, request.stage);
        let meaning = || Rc::new(meaning(case, &claims, target));
        let meaning = Rc::clone(meanings.entry(target).or_insert_with(meaning));
        if meaning.bytes() > MAX_BYTES {
            return Ok(None);
        }
        let (method, path) = request.to(&case.rules, &claims);
        let arn = format!("{}/{method}{path}", stage_arn(target));
        let requested = ours::MethodArn::parse(&arn).ok_or_else(|| format!("{arn} is not read"))?;
        let grants = rules.grants(&read, &requested);
        let evaluated = rules.evaluate(&read, &requested);
        agree(&grants, &meaning, &lines)
            .and_then(|()| each_rule_agrees(&evaluated, &meaning, &lines))
            .map_err(|wrong| format!("{wrong}, for {arn}\n{toml}\n{claims:?}"))?;
        let made = ours::render(&grants, &requested, options);
        let document = serde_json::from_str(made.document.json()).unwrap();
        let policy = Policy::read(&document, &stage_arn(target), case.max_bytes)
            .map_err(|wrong| format!("{wrong}: {document}"))?;
        Ok(Some(Answered {
            target,
            method,
            path,
            arn,
            document,
            policy,
            meaning,
            is_allowed: matches!(made.verdict, ours::Verdict::Allowed { .. }),
            verdict: made.verdict.name().to_owned(),
            rule: made.verdict.rule().map(|rule| rule.line),
            omitted: made.omitted,
            unusable_values: grants.unusable_values,
            ours: made.document,
        }))
    };
    case.requests.iter().map(answer).filter_map(Result::transpose).collect()
}

/// The lines on which the rules begin.
fn lines(toml: &str) -> Vec<u32> {
    (1..).zip(toml.lines()).filter(|(_, text)| text.starts_with("[[")).map(|(line, _)| line).collect()
}

fn meaning(case: &Case, claims: &Map<String, Value>, (api, stage): (&str, &str)) -> Meaning {
    read(&case.rules, claims, api, stage).expect("a case has few claim values")
}

/// Whether the evaluation is exactly the model's: the same resources, each by the same rule.
fn agree(grants: &ours::Grants<'_>, meaning: &Meaning, lines: &[u32]) -> Result<(), String> {
    if grants.omitted > 0 {
        return Err(format!("{} are left out, although a case is small", grants.omitted));
    }
    // The evaluation keeps only the start of a longer path.
    let is_short = |resource: &String| resource.len() <= 400;
    let of_model = |scopes: &BTreeSet<Scope>| {
        let mut resources = BTreeMap::new();
        for scope in scopes {
            resources.entry(format!("{}{}", scope.method, scope.path)).or_insert(lines[scope.rule]);
        }
        resources.retain(|resource, _| is_short(resource));
        resources
    };
    let of_ours = |resources: &ours::Resources<'_>| {
        let resources = resources.iter().map(|(resource, rule)| (resource.to_owned(), rule.line));
        resources.filter(|(resource, _)| is_short(resource)).collect::<BTreeMap<_, _>>()
    };
    for (what, grants, scopes) in [("allows", &grants.allow, &meaning.allow), ("denies", &grants.deny, &meaning.deny)] {
        let (found, expected) = (of_ours(grants), of_model(scopes));
        if found != expected {
            return Err(format!("{what} {found:?}, and the model {expected:?}"));
        }
    }
    let (found, expected) = (grants.deny_all.map(|rule| rule.line), meaning.denies_all.map(|rule| lines[rule]));
    if found != expected {
        return Err(format!("{found:?} denies all, and by the model {expected:?}"));
    }
    if (grants.unusable_values > 0) != meaning.has_unusable {
        return Err(format!("{} unusable values, and by the model {}", grants.unusable_values, meaning.has_unusable));
    }
    Ok(())
}

/// Whether each rule, as `okta-policy explain` shows it, is exactly the model's.
fn each_rule_agrees(rules: &[ours::RuleEvaluation<'_>], meaning: &Meaning, lines: &[u32]) -> Result<(), String> {
    for rule in rules {
        let line = rule.name().line;
        let of_model = meaning.allow.iter().chain(&meaning.deny).filter(|scope| lines[scope.rule] == line);
        let of_model: BTreeSet<_> = of_model.map(|scope| format!("{}{}", scope.method, scope.path)).collect();
        let of_ours: BTreeSet<_> = rule.bindings.iter().flat_map(|bindings| rule.resources(bindings)).collect();
        let (of_model, of_ours) = (shortened(&of_model), shortened(&of_ours));
        if of_ours != of_model {
            return Err(format!("line {line} has {of_ours:?}, and the model {of_model:?}; {:?}", rule.failed));
        }
    }
    Ok(())
}

/// The evaluation keeps only the start of a longer path.
fn shortened(resources: &BTreeSet<String>) -> BTreeSet<&str> {
    resources.iter().map(|resource| resource.get(..400).unwrap_or(resource)).collect()
}

/// Counts, because a generator that rarely hits the rules would show little.
#[derive(Debug, Default)]
struct Seen {
    pairs: AtomicU32,
    other_targets: AtomicU32,
    allowed: AtomicU32,
    allowed_by_a_wildcard: AtomicU32,
    allowed_by_a_wildcard_within: AtomicU32,
    allowed_in_another_spelling: AtomicU32,
    denied_by_a_rule: AtomicU32,
    denied_by_an_unusable_value: AtomicU32,
    hostile_and_granted: AtomicU32,
    omitted: AtomicU32,
    too_large: AtomicU32,
    silent: AtomicU32,
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Relaxed);
}

/// Runs `check` with random cases on several threads. Their number is fixed, because it decides
/// which cases there are.
fn run(settings: &Settings, check: impl Fn(&Case) -> Result<(), String> + Sync) {
    const THREADS: u32 = 4;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut settings = Settings { cases: settings.cases.div_ceil(THREADS), ..settings.clone() };
            if let RngSeed::Fixed(seed) = &mut settings.rng_seed {
                *seed = seed.wrapping_add(u64::from(thread));
            }
            let check = &check;
            scope.spawn(move || {
                let result = TestRunner::new(settings).run(&case(), |case| check(&case).map_err(TestCaseError::fail));
                assert!(result.is_ok(), "{}", result.unwrap_err());
            });
        }
    });
}

#[test]
fn a_policy_allows_exactly_what_the_rules_grant() {
    let seen = Seen::default();
    let settings = settings(2_500);
    let cases = settings.cases;
    run(&settings, |case| check(case, &seen));
    println!("{cases} cases, pairs of policy and request: {seen:#?}");
    for (counter, least) in [
        (&seen.allowed, cases / 10),
        (&seen.allowed_by_a_wildcard, cases / 10),
        (&seen.denied_by_a_rule, cases / 10),
        (&seen.hostile_and_granted, cases / 10),
        (&seen.allowed_by_a_wildcard_within, cases / 100),
        (&seen.allowed_in_another_spelling, cases / 100),
        (&seen.denied_by_an_unusable_value, cases / 100),
        (&seen.omitted, cases / 500),
        (&seen.silent, cases / 500),
    ] {
        assert!(counter.load(Relaxed) >= least, "the cases rarely hit the rules: {seen:#?}");
    }
    assert!(seen.too_large.load(Relaxed) <= cases / 20, "too many cases are left out: {seen:#?}");
}

fn check(case: &Case, seen: &Seen) -> Result<(), String> {
    let claims = claims(case);
    let toml = toml(&case.rules);
    let lines = lines(&toml);
    let answers = answers(case)?;
    if answers.len() < case.requests.len() {
        count(&seen.too_large);
    }
    for made in &answers {
        if made.omitted > 0 {
            count(&seen.omitted);
        }
        let meaning = &made.meaning;
        let failure = |what: &str, arn: &str| {
            Err(format!("{what}: {arn} by the policy for {}\n{toml}\n{claims:?}\n{}", made.arn, made.document))
        };
        let verdict = made.policy.verdict(&made.arn);
        if made.is_allowed != (verdict == Verdict::Allowed) {
            return failure(&made.verdict, &made.arn);
        }
        if verdict == Verdict::ImplicitDeny {
            if !denies_something_allowed(made) {
                return failure("no statement", &made.arn);
            }
            count(&seen.silent);
        }
        let is_granted = meaning.grants(&made.method, &made.path);
        let is_denied = meaning.denies(&made.method, &made.path);
        let decided = match &*made.verdict {
            "allowed" => is_granted,
            "denied_by_rule" => is_denied,
            _ => None,
        };
        // If something is left out, a later rule may allow what the first one would.
        let is_exact = made.omitted == 0 && !may_be_denied_by_a_cut_deny(&made.arn);
        if is_exact && made.rule != decided.map(|rule| lines[rule]) {
            return failure(&format!("{} by line {:?}, and not {decided:?}", made.verdict, made.rule), &made.arn);
        }
        // API Gateway caches this policy and uses it for every route.
        for asked in &answers {
            count(&seen.pairs);
            let verdict = made.policy.verdict(&asked.arn);
            let arn = ours::MethodArn::parse(&asked.arn).ok_or("it has been read before")?;
            if made.ours.allows(&arn) != (verdict == Verdict::Allowed) {
                return failure("our reading of our policy is not IAM's", &asked.arn);
            }
            if asked.target != made.target {
                count(&seen.other_targets);
                if verdict == Verdict::Allowed {
                    return failure("allowed on another API or stage", &asked.arn);
                }
                continue;
            }
            let failure = |what: &str| failure(what, &asked.arn);
            let is_granted = meaning.grants(&asked.method, &asked.path).is_some();
            let is_denied = meaning.denies(&asked.method, &asked.path).is_some();
            if is_denied {
                count(&seen.denied_by_a_rule);
                if meaning.denies_all.is_some() {
                    count(&seen.denied_by_an_unusable_value);
                }
            }
            if verdict == Verdict::Allowed {
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
                let mut covering = made.policy.covering(&asked.arn);
                if let Some(resource) = covering.find(|resource| resource.contains('*')) {
                    count(&seen.allowed_by_a_wildcard);
                    if resource.trim_end_matches("/*").contains('*') {
                        count(&seen.allowed_by_a_wildcard_within);
                    }
                } else if ["%40", "%26", "%2C", "%3A", "%2B"].iter().any(|code| asked.path.contains(code)) {
                    count(&seen.allowed_in_another_spelling);
                }
                continue;
            }
            if is_granted && (0..=2).any(|times| has_dot_segments(&asked.path, times)) {
                count(&seen.hostile_and_granted);
            }
            let must_pass = is_granted && !is_denied && made.omitted == 0 && is_harmless(&asked.path);
            if must_pass && !may_be_denied_by_a_cut_deny(&asked.arn) {
                return failure("granted, but not allowed");
            }
        }
    }
    Ok(())
}

/// The whole authorizer, from the event and the token's text, gives the same answers.
#[test]
fn the_authorizer_answers_with_these_policies() {
    let (settings, mut failures) = (settings(150), Failures::default());
    let (cases, mut runner) = (settings.cases.min(1_000), TestRunner::new(settings));
    for _ in 0..cases {
        let case = case().new_tree(&mut runner).unwrap().current();
        let claims = claims(&case);
        let env = Env::pinned(&jwks(&[keys::main()])).with("PATH_GUARD", if case.path_guard { "on" } else { "off" });
        let mut config = config(&env, Some(&toml(&case.rules))).unwrap();
        // `POLICY_MAX_BYTES` has a higher minimum, which the policies of these cases seldom reach.
        config.policy_options.max_bytes = case.max_bytes;
        let authorizer = of_config(config);
        let token = keys::main().token(&Value::Object(claims));
        for expected in answers(&case).unwrap() {
            let Outcome::Evaluated(found) = decide(&authorizer, &event_for(&token, &expected.arn), NOW).outcome else {
                panic!("a good token is refused: {:?}", case.claims);
            };
            let is_same = found.document == expected.ours
                && found.verdict.name() == expected.verdict
                && found.omitted_resources == expected.omitted
                && found.unusable_values == expected.unusable_values;
            failures.check(is_same, || format!("{found:?}, not {}", expected.document));
        }
    }
    failures.report();
}

/// A Deny that is longer than 512 characters is cut to 511 and a `*`, and so denies more.
fn may_be_denied_by_a_cut_deny(arn: &str) -> bool {
    arn.len() >= 511
}

/// Whether the path is still one that a granted resource allows, however a backend decodes it.
fn stays_inside(policy: &Policy, asked: &Answered) -> bool {
    let stage = stage_arn(asked.target);
    let path_of = |resource: &str| {
        let tail = resource.strip_prefix(&stage).unwrap();
        tail[1..].find('/').map(|at| tail[1 + at..].to_owned()).unwrap()
    };
    (0..=2).all(|times| {
        let read = as_a_backend_reads_it(&asked.path, times);
        policy.covering(&asked.arn).any(|resource| {
            let granted = path_of(resource);
            // Without a wildcard the resource is the request itself, and its dots are from the
            // rules. Decoding does not change a wildcard.
            !granted.contains('*') || reference_rules::matches(&as_a_backend_reads_it(&granted, times), &read)
        })
    })
}

/// Whether the path guard has no reason to deny this path.
fn is_harmless(path: &str) -> bool {
    const HARMLESS: [&str; 9] = ["20", "C3", "A9", "26", "2B", "2C", "3A", "3D", "40"];
    let escapes = path.split('%').skip(1).all(|rest| HARMLESS.iter().any(|digits| rest.starts_with(digits)));
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
    // Only the texts before the first and after the last wildcard of a resource are looked at.
    let may_match = |resource: &str| overlap(&pattern, &resource.chars().collect::<Vec<_>>());
    let allowed = |resource: &String| {
        let start = resource.find('*').map_or(resource.len(), |at| at + 1);
        may_match(&resource[..start]) && may_match(&resource[resource.rfind('*').unwrap_or(0)..])
    };
    made.omitted > 0 || made.policy.allow.iter().any(allowed)
}

/// Whether some text matches both patterns.
fn overlap(one: &[char], other: &[char]) -> bool {
    // `row[j]`: whether some text matches both `one[..i]` and `other[..j]`.
    let mut row: Vec<bool> = (0..=other.len()).map(|j| other[..j].iter().all(|c| *c == '*')).collect();
    for c in one {
        let mut next = vec![*c == '*' && row[0]];
        for (j, d) in other.iter().enumerate() {
            let is_star = *c == '*' || *d == '*';
            let is_same = c == d || *c == '?' || *d == '?';
            next.push(if is_star { next[j] || row[j + 1] } else { is_same && row[j] });
        }
        row = next;
    }
    row.last() == Some(&true)
}

/// The policy of a token that may call these routes.
fn policy_for(routes: &str) -> Policy {
    let env = Env::pinned(&jwks(&[keys::main()]));
    let authorizer = authorizer(&env, Some(&format!("[[allow]]\nroutes = [{routes}]\n"))).unwrap();
    let token = keys::main().token(&good_claims(NOW));
    let outcome = decide(&authorizer, &event_for(&token, &arn("GET /t/acme/x")), NOW).outcome;
    let name = written(&outcome);
    let Outcome::Evaluated(evaluated) = outcome else { unreachable!("a good token is refused: {name}") };
    let document = serde_json::from_str(evaluated.document.json()).unwrap();
    Policy::read(&document, API, 32_768).unwrap()
}

#[test]
fn no_spelling_of_dot_segments_leaves_a_granted_prefix() {
    let policy = policy_for("'GET /t/acme/*'");
    let allows = |path: &str| policy.allows(&arn(&format!("GET {path}")));
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

/// What ends a path early for a backend leaves the text after a `*` unread.
#[test]
fn no_spelling_of_an_end_leaves_a_route_with_a_wildcard_within() {
    let policy = policy_for("'GET /t/*/x'");
    let allows = |path: &str| policy.allows(&arn(&format!("GET {path}")));
    assert!(allows("/t/acme/x") && allows("/t/%20a%C3%A9/x"));

    let mut failures = Failures::default();
    let ends = ['#', '?', '\0', '\t', '\\', '/'].into_iter().flat_map(spellings).filter(|end| end != "?" && end != "/");
    for end in ends {
        for before in ["", "acme", "acme/", "acme/."] {
            for after in ["", "y", "/..", "/../.."] {
                let path = format!("/t/{before}{end}{after}/x");
                let is_read = |times| reference_rules::matches(b"/t/*/x", &as_a_backend_reads_it(&path, times));
                failures.check((0..=2).all(is_read) || !allows(&path), || path.clone());
            }
        }
    }
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
