//! Test cases of a rules file: claims, and what a token with them may call and may not call.

use okta_authorizer_policy::{Rules, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::{claims, request};

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
    /// One line for each request that did not get the expected verdict.
    pub failures: Vec<String>,
}

/// Tries every case on the rules. An error means that the cases themselves are wrong, and names the
/// line.
pub fn run(rules: &Rules, toml: &str) -> Result<Outcome, String> {
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
        let allow = case.allow.iter().map(|text| (text, true));
        let deny = case.deny.iter().map(|text| (text, false));
        for (text, expected) in allow.chain(deny) {
            let request = request::parse(text).map_err(in_case)?;
            let verdict = request::policy_for(&rules.grants(&claims, &request), &request).verdict;
            outcome.tried += 1;
            if matches!(verdict, Verdict::Allowed { .. }) != expected {
                let expected = if expected { "allowed" } else { "denied" };
                let actual = request::describe(verdict);
                outcome.failures.push(in_case(format!("{text} should be {expected}, and is {actual}")));
            }
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EXAMPLE_RULES;

    fn run_cases(toml: &str) -> Result<Outcome, String> {
        run(&Rules::parse(EXAMPLE_RULES).unwrap(), toml)
    }

    #[test]
    fn a_rule_on_a_claim_of_every_token_applies_to_each_case() {
        let rules =
            "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nwhen = { sub = '{who}@example.com' }\nroutes = ['ANY /*']";
        let tests = "[[case]]\nname = 'x'\nclaims = { uid = '00u1' }\nallow = ['GET /a']\n";
        let outcome = run(&Rules::parse(rules).unwrap(), tests).unwrap();
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
"#;
        let outcome = run_cases(tests).unwrap();
        assert_eq!(outcome.tried, 7);
        assert_eq!(
            outcome.failures,
            [
                "line 8: the case \"bad\": GET /t/acme/x should be allowed, and is denied by the rule deny[1]:8",
                "line 8: the case \"bad\": GET /other should be allowed, and is denied: no rule grants it",
                "line 8: the case \"bad\": GET /apps should be denied, and is allowed by the rule allow[2]:5",
            ]
        );
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
                "line 5: unknown field `alow`, expected one of `name`, `claims`, `allow`, `deny`",
            ),
            (String::new(), "line 1: missing field `case`"),
        ] {
            assert_eq!(run_cases(&tests).unwrap_err(), error, "{tests}");
        }
        assert_eq!(run_cases(&case("claims = {}\nallow = [\"GET /apps\"]")).unwrap().tried, 1);
    }
}
