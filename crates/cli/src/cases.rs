//! Test cases of a rules file: claims, and what a token with them may call and may not call.

use std::path::{Path, PathBuf};

use clap::Args;
use okta_authorizer_policy::{PolicyOptions, Rules};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::{
    arguments::{DEFAULT_RULES, DEFAULT_TESTS, FormatOption, POLICY_FILE, PolicySize, variable},
    claims,
    files::{self, Stop},
    request::{self, DEFAULT_API, DEFAULT_STAGE, FirstRequest, Stage},
};

/// Runs the test cases of a rules file
#[derive(Debug, Args)]
#[command(after_help = "A case:
  [[case]]
  name   = \"a user sees only their own account\"
  claims = { uid = \"00u1\" }
  allow  = [\"GET /users/00u1\"]
  deny   = [\"GET /users/00u2\"]
A case can have `stage` and `api` too, for rules that have them.

Each request is also judged under the policies that are made for the other requests of its case,
because API Gateway caches the policy of the first one.

Examples:
  okta-policy test
  okta-policy test my-policy.tests.toml --rules my-policy.toml")]
pub struct Arguments {
    /// The file with the test cases
    #[arg(default_value = DEFAULT_TESTS)]
    tests: PathBuf,
    /// The rules file. Without it, policy.toml in the folder of the tests
    #[arg(long, value_name = "FILE", env = variable(POLICY_FILE))]
    rules: Option<PathBuf>,
    #[command(flatten)]
    size: PolicySize,
    /// How findings are printed
    #[command(flatten)]
    pub format: FormatOption,
}

/// The failures, and whether there is none.
///
/// # Errors
/// If a file cannot be read.
pub fn run(arguments: &Arguments) -> Result<(String, bool), Stop> {
    let beside = || arguments.tests.parent().unwrap_or(Path::new("")).join(DEFAULT_RULES);
    let (rules, _) = files::rules(&arguments.rules.clone().unwrap_or_else(beside))?;
    let tests = files::read(&arguments.tests)?;
    let name = &tests.name;
    let outcome =
        run_cases(&rules, arguments.size.options(), &tests.text).map_err(|error| format!("{name}, {error}"))?;
    if outcome.failures.is_empty() {
        return Ok((format!("{name}: {} requests as expected", outcome.tried), true));
    }
    let failures: Vec<_> = outcome.failures.iter().map(|failure| format!("{name}, {failure}")).collect();
    let (failed, tried) = (failures.len(), outcome.tried);
    Ok((format!("{}\n{failed} of {tried} requests not as expected", failures.join("\n")), false))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Spanned<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    claims: Map<String, Value>,
    api: Option<String>,
    stage: Option<String>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

/// The result of all cases.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many requests were tried.
    pub tried: usize,
    /// One line for each request that did not get the expected verdict, or that gets another one
    /// under the policy that was made for another request of its case.
    pub failures: Vec<String>,
}

/// Tries every case on the rules. An error means that the cases themselves are wrong, and names the
/// line.
pub fn run_cases(rules: &Rules, options: PolicyOptions, toml: &str) -> Result<Outcome, String> {
    let line_of = |offset: usize| 1 + toml.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let file: File = toml::from_str(toml).map_err(|error| {
        let line = line_of(error.span().unwrap_or_default().start);
        format!("line {line}: {}", error.message().replace('\n', " "))
    })?;
    let mut outcome = Outcome::default();
    for case in file.case {
        let line = line_of(case.span().start);
        let case = case.into_inner();
        let in_case = |text: String| format!("line {line}: the case \"{}\": {text}", case.name);
        if case.allow.is_empty() && case.deny.is_empty() {
            return Err(in_case("expects nothing; give `allow` or `deny` a request such as `GET /apps`".to_owned()));
        }
        let json = serde_json::to_string(&case.claims).map_err(|error| in_case(error.to_string()))?;
        let claims = claims::from_json(&json).map_err(in_case)?;
        let api = case.api.as_deref().unwrap_or(DEFAULT_API);
        let stage = Stage::new(api, case.stage.as_deref().unwrap_or(DEFAULT_STAGE)).map_err(in_case)?;
        let mut requests = Vec::new();
        for text in case.allow.iter().chain(&case.deny) {
            requests.push(FirstRequest::new(rules, &claims, options, stage.request(text).map_err(in_case)?));
        }
        outcome.tried += requests.len();
        for (number, request) in requests.iter().enumerate() {
            let should_be_allowed = number < case.allow.len();
            let text = request.text();
            if request.is_allowed() != should_be_allowed {
                let expected = if should_be_allowed { "allowed" } else { "denied" };
                let actual = request::describe(&request.policy.verdict);
                outcome.failures.push(in_case(format!("{text} should be {expected}, and is {actual}")));
            } else if let Some(difference) = request.difference(&requests) {
                outcome.failures.push(in_case(format!("{text} is {difference}")));
            }
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEFAULT_OPTIONS, EXAMPLE_RULES, TENANT_RULES, tenants};

    fn run_on_example(toml: &str) -> Result<Outcome, String> {
        run_cases(&Rules::parse(EXAMPLE_RULES).unwrap(), DEFAULT_OPTIONS, toml)
    }

    #[test]
    fn a_rule_on_a_claim_of_every_token_applies_to_each_case() {
        let rules =
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { sub = '{who}@example.com' }\nroutes = ['ANY /*']";
        let tests = "[[case]]\nname = 'x'\nclaims = { uid = '00u1' }\nallow = ['GET /a']\n";
        let outcome = run_cases(&Rules::parse(rules).unwrap(), DEFAULT_OPTIONS, tests).unwrap();
        assert_eq!(outcome.failures.len(), 1, "{:?}", outcome.failures);
    }

    #[test]
    fn an_unexpected_verdict_is_reported_with_its_rule() {
        let tests = r#"
[[case]]
name   = "good"
claims = { tenants = ["1:acme"] }
allow  = ["GET /apps", "GET /t/acme/x"]
deny   = ["GET /t/umbra/x"]

[[case]]
name   = "bad"
claims = { tenants = ["1:acme"], groups = ["acme-SUSPENDED"] }
allow  = ["GET /t/acme/x", "GET /other"]
deny   = ["GET /apps", "GET /t/acme/../x"]

[[case]]
name   = "named"
claims = { tenants = ["1:acme"] }
deny   = ["GET /t/acme/x"]
"#;
        let outcome = run_on_example(tests).unwrap();
        assert_eq!(outcome.tried, 8);
        assert_eq!(
            outcome.failures,
            [
                "line 8: the case \"bad\": GET /t/acme/x should be allowed, and is denied by the rule in line 9",
                "line 8: the case \"bad\": GET /other should be allowed, and is denied: no rule grants it",
                "line 8: the case \"bad\": GET /apps should be denied, and is allowed by the rule in line 6",
                "line 14: the case \"named\": GET /t/acme/x should be denied, and is allowed by the rule \"tenant members\"",
            ]
        );
    }

    #[test]
    fn a_request_that_another_policy_leaves_out_is_a_failure() {
        let outcome = |count: usize| {
            let tests = format!(
                "[[case]]\nname = 'many'\nclaims = {{ tenants = {} }}
allow = ['GET /000/x', 'GET /498/x', 'GET /499/x']\ndeny = ['GET /499', 'GET /x/../y']\n",
                tenants(count)
            );
            run_cases(&Rules::parse(TENANT_RULES).unwrap(), DEFAULT_OPTIONS, &tests).unwrap()
        };
        let left_out = |tenant| {
            format!(
                "line 1: the case \"many\": GET /{tenant}/x is denied under the policy that was made for GET /000/x \
                 (83 routes left out), and under 3 more; see \"A policy that does not fit\" in docs/rules.md"
            )
        };
        assert_eq!(outcome(500).failures, ["498", "499"].map(left_out));
        assert_eq!(outcome(500).tried, 5);
        // A few tenants fit, so that only what is not granted fails.
        let not_granted = |tenant| {
            format!("line 1: the case \"many\": GET /{tenant}/x should be allowed, and is denied: no rule grants it")
        };
        assert_eq!(outcome(10).failures, ["498", "499"].map(not_granted));
    }

    /// The policy of the first request has no `*`, because it does not fit, so it has no path guard.
    #[test]
    fn a_request_that_another_policy_allows_is_a_failure() {
        let rules = "[[allow]]\nwhen = { tenants = '{id}' }\nroutes = ['GET /{id}']
[[allow]]\nroutes = ['GET /z/%5c', 'GET /z/*']\n";
        let tests = |count, allow| {
            let tenants = tenants(count);
            format!(
                "[[case]]\nname = 'x'\nclaims = {{ tenants = {tenants} }}\nallow = [{allow}]\ndeny = ['GET /z/%5c']\n"
            )
        };
        let failures = |count, allow| {
            run_cases(&Rules::parse(rules).unwrap(), DEFAULT_OPTIONS, &tests(count, allow)).unwrap().failures
        };
        let other = "under the policy that was made for GET /000 (1 route left out); \
                     see \"A policy that does not fit\" in docs/rules.md";
        assert_eq!(
            failures(450, "'GET /000', 'GET /z/x'"),
            [
                format!("line 1: the case \"x\": GET /z/x is denied {other}"),
                format!("line 1: the case \"x\": GET /z/%5c is allowed {other}"),
            ]
        );
        assert_eq!(failures(10, "'GET /000', 'GET /z/x'"), [""; 0]);
        assert_eq!(failures(450, ""), [""; 0]);
    }

    #[test]
    fn a_case_can_have_a_stage_and_an_api() {
        let outcome = |place: &str, list: &str| {
            run_on_example(&format!(
                "[[case]]\nname = 'x'\nclaims = {{ uid = '00u1' }}\n{place}\n{list} = ['GET /orders/7/invoice']\n"
            ))
            .unwrap()
        };
        for (place, list) in [
            ("stage = 'dev'", "allow"),
            ("stage = 'test'\napi = 'abcdef1234'", "allow"),
            ("", "deny"),
            ("stage = 'prod'", "deny"),
            ("stage = 'dev'\napi = 'zyxwvu9876'", "deny"),
        ] {
            assert_eq!((outcome(place, list).tried, outcome(place, list).failures), (1, vec![]), "{place}");
            let other = if list == "allow" { "deny" } else { "allow" };
            assert_eq!(outcome(place, other).failures.len(), 1, "{place}");
        }
    }

    #[test]
    fn nested_claims_and_numbers_in_arrays_are_claims() {
        let rules = "[[allow]]\nwhen = { '/app/roles' = 'admin', ids = '{id}' }\nroutes = ['GET /t/{id}']\n";
        let tests = "[[case]]\nname = 'x'\nclaims = { app = { roles = ['admin'] }, ids = [5, 10] }
allow = ['GET /t/5', 'GET /t/10']\ndeny = ['GET /t/7']\n";
        let outcome = run_cases(&Rules::parse(rules).unwrap(), DEFAULT_OPTIONS, tests).unwrap();
        assert_eq!((outcome.tried, outcome.failures), (3, vec![]));
    }

    #[test]
    fn a_case_that_tests_nothing_or_is_wrong_is_an_error() {
        let case = |rest: &str| format!("\n[[case]]\nname = \"x\"\n{rest}\n");
        for (tests, error) in [
            (
                case("claims = {}"),
                "line 2: the case \"x\": expects nothing; give `allow` or `deny` a request such as `GET /apps`",
            ),
            (
                case("claims = {}\nallow = [\"ANY /apps\"]"),
                "line 2: the case \"x\": `ANY /apps` is not a request: expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, a space, and a path",
            ),
            (
                case("claims = { uid = 7 }\nallow = [\"GET /apps\"]"),
                "line 2: the case \"x\": a token with these claims is refused: the claim uid has the wrong type",
            ),
            (
                case("claims = {}\nalow = []"),
                "line 5: unknown field `alow`, expected one of `name`, `claims`, `api`, `stage`, `allow`, `deny`",
            ),
            (
                case("claims = {}\nstage = \"a/b\"\nallow = [\"GET /apps\"]"),
                "line 2: the case \"x\": `a/b` is not the name of a stage: expected 1 to 128 letters, digits, `-` and `_`",
            ),
            (
                case("claims = {}\napi = \"\"\nallow = [\"GET /apps\"]"),
                "line 2: the case \"x\": `` is not the id of an API: expected 1 to 128 letters, digits, `-` and `_`",
            ),
            (String::new(), "line 1: missing field `case`"),
        ] {
            assert_eq!(run_on_example(&tests).unwrap_err(), error, "{tests}");
        }
        assert_eq!(run_on_example(&case("claims = {}\nallow = [\"GET /apps\"]")).unwrap().tried, 1);
    }
}
