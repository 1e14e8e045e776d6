//! The shipped rules do what `policy.tests.toml` says, and `examples/explain` tells the truth about rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where and stop")]

#[path = "../examples/explain/cases.rs"]
mod cases;
#[path = "../examples/explain/check.rs"]
mod check;
#[path = "../examples/explain/claims.rs"]
mod claims;
#[path = "../examples/explain/report.rs"]
mod report;
#[path = "../examples/explain/route.rs"]
mod route;

use okta_authorizer::policy::Rules;

const RULES: &str = include_str!("../policy.toml");
const TESTS: &str = include_str!("../policy.tests.toml");

const SMALL: &str = r#"[[allow]]
when   = { tenants = "{id}:{name}" }
routes = ["GET /t/{name}/*"]

[[allow]]
routes = ["GET /apps"]

[[deny]]
when   = { groups = "{banned}-SUSPENDED" }
routes = ["GET /t/{banned}/*"]
"#;

fn report(claims: &str, route: Option<&str>) -> String {
    let claims = claims::proven(claims::read(claims).unwrap()).unwrap();
    report::report(&Rules::parse(SMALL).unwrap(), SMALL, &claims, route).unwrap()
}

#[test]
fn the_shipped_rules_pass_the_tests_beside_them() {
    let outcome = cases::run(&Rules::parse(RULES).unwrap(), TESTS).unwrap();
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert!(outcome.tried > 40, "a test of little: {}", outcome.tried);
}

#[test]
fn a_verdict_that_was_not_expected_is_told_with_the_rule_that_gave_it() {
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
    let outcome = cases::run(&Rules::parse(SMALL).unwrap(), tests).unwrap();
    assert_eq!(outcome.tried, 7);
    assert_eq!(
        outcome.failures,
        [
            "line 8: the case \"bad\": GET /t/acme/x should be allowed, and is denied by the rule on line 8",
            "line 8: the case \"bad\": GET /other should be allowed, and is denied: no rule grants it",
            "line 8: the case \"bad\": GET /apps should be denied, and is allowed by the rule on line 5",
        ]
    );
}

#[test]
fn a_test_that_tests_nothing_or_cannot_be_read_is_an_error() {
    let rules = Rules::parse(SMALL).unwrap();
    let case = |rest: &str| format!("\n[[case]]\nname = \"x\"\n{rest}\n");
    for (tests, wrong) in [
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
        assert_eq!(cases::run(&rules, &tests).unwrap_err(), wrong, "{tests}");
    }
    assert_eq!(cases::run(&rules, &case("claims = {}\nallow = [\"GET /apps\"]")).unwrap().tried, 1);
}

#[test]
fn a_report_says_what_every_rule_made_of_the_token() {
    let long = "x".repeat(129);
    let claims = format!(r#"{{"tenants":["1:acme","a:b:c","1:*","1:{long}"],"groups":["STAFF"]}}"#);
    let said = report(&claims, Some("GET /t/acme/x"));
    for part in [
        "name = acme",
        "`a:b:c` can be split in more",
        "`1:*` cannot stand in a route",
        "GET /t/acme/*",
        "any valid token",
        "when   = { tenants = \"{id}:{name}\" }",
        "when   = { groups = \"{banned}-SUSPENDED\" }",
        "no: no value of groups matches",
        "of at most 32768 bytes",
        "GET /t/acme/x: allowed by the rule on line 1: [[allow]] when   = { tenants = \"{id}:{name}\" }",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let said = report("{}", Some("GET /t/acme/x"));
    assert!(said.contains("no: the claim tenants is absent"), "{said}");
    assert!(said.ends_with("GET /t/acme/x: denied: no rule grants it"), "{said}");
    let said = report(r#"{"groups":["a b-SUSPENDED"]}"#, None);
    assert!(said.contains("denies the whole"), "{said}");
    let said = report(r#"{"tenants":["1:\u001b[31m\u202e"]}"#, None);
    assert!(said.contains("`1:\\u{1b}[31m\\u{202e}`") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_resource_that_is_too_long_is_said_to_be_left_out() {
    let value = "x".repeat(128);
    let rules = "[[allow]]
when = { a = '{a}', b = '{b}', c = '{c}', d = '{d}' }
routes = ['GET /{a}/{b}/{c}/{d}', 'GET /{a}']
";
    let claims = format!(r#"{{"a":"{value}","b":"{value}","c":"{value}","d":"{value}"}}"#);
    let claims = claims::proven(claims::read(&claims).unwrap()).unwrap();
    let said = report::report(&Rules::parse(rules).unwrap(), rules, &claims, None).unwrap();
    assert!(said.contains("over 512") && said.contains("1 routes left out"), "{said}");
}

#[test]
fn a_token_is_explained_by_its_claims() {
    // {"alg":"RS256","kid":"x"}, {"tenants":["1:acme"],"iss":"https://x","sub":"s"}, and no signature worth the name
    let token =
        "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJ0ZW5hbnRzIjpbIjE6YWNtZSJdLCJpc3MiOiJodHRwczovL3giLCJzdWIiOiJzIn0.AAAA";
    for text in [token.to_owned(), format!("Bearer {token}")] {
        assert!(report(&text, None).contains("GET /t/acme/*"));
    }
    assert_eq!(claims::read("nonsense").unwrap_err(), "no access token: the token has not three parts");
    assert!(claims::read("{").unwrap_err().starts_with("the claims are not a JSON object: "));
}

#[test]
fn an_error_in_the_rules_is_shown_where_it_stands() {
    let toml = "[[allow]]\nroutes = [\n  \"GET /a\",\n  \"FETCH /b\",\n]\n";
    let error = Rules::parse(toml).unwrap_err();
    assert_eq!(
        check::pointed("policy.toml", toml, &error),
        "error: the route `FETCH /b` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY
 --> policy.toml:4:3
  |
4 |   \"FETCH /b\",
  |   ^^^^^^^^^^"
    );
}
