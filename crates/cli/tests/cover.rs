//! Each kind of finding of `cover` with the nearest good pair of rules and API.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot continue must show where and stop"
)]

use std::{fs, path::Path, process::Command, sync::Arc};

use okta_authorizer_policy::Rules;
use okta_policy::{
    api::{self, Api, BasePath},
    cover::{Target, WILDCARD_REACH, cover},
    report::File,
};
use serde_json::{Value, json};

fn file(name: &str, text: &str) -> Arc<File> {
    Arc::new(File { name: name.to_owned(), text: text.to_owned() })
}

/// An API with these operations. One that ends with `!` has no authorizer.
fn openapi(operations: &[&str]) -> String {
    let mut paths = json!({});
    for operation in operations {
        let (method, path) = operation.split_once(' ').unwrap();
        let method = if method == "ANY" { "x-amazon-apigateway-any-method".to_owned() } else { method.to_lowercase() };
        let (path, value) = match path.strip_suffix('!') {
            Some(path) => (path, json!({})),
            None => (path, json!({ "security": [{ "okta": [] }] })),
        };
        paths[path][method] = value;
    }
    let okta = json!({ "type": "apiKey", "x-amazon-apigateway-authorizer": { "type": "token" } });
    let schemes = json!({ "securitySchemes": { "okta": okta } });
    json!({ "openapi": "3.0.1", "paths": paths, "components": schemes }).to_string()
}

fn parse(text: &str) -> Api {
    let Ok(api) = api::parse(&file("api.yaml", text), BasePath::Ignore, &|_| None) else { panic!("{text}") };
    api
}

/// Kind and place of each finding, except for the notes on what a `*` reaches.
fn findings(rules: &str, api: &str, target: Target<'_>) -> Vec<String> {
    let (parsed, api) = (Rules::parse(rules).unwrap(), parse(api));
    let found = cover(&parsed, &file("policy.toml", rules), &api, target);
    let found = found.iter().filter(|found| found.finding.kind != WILDCARD_REACH);
    found.map(|found| format!("{} {}", found.finding.kind, found.on)).collect()
}

fn allow(when: &str, routes: &[&str]) -> String {
    format!("[[allow]]\nwhen = {{ {when} }}\nroutes = {routes:?}\n\n")
}

fn deny(routes: &[&str]) -> String {
    format!("[[deny]]\nroutes = {routes:?}\n\n")
}

fn all(routes: &[&str]) -> String {
    format!("[[allow]]\nroutes = {routes:?}\n\n")
}

#[test]
fn each_finding_has_a_good_pair_next_to_it() {
    let owner = "uid = '{u}'";
    for (name, operations, rules, expected) in [
        // ungranted-operation
        ("granted", &["GET /a"] as &[&str], all(&["GET /a"]), &[] as &[&str]),
        ("no rule", &["GET /a", "GET /b"], all(&["GET /a"]), &["ungranted-operation GET /b"]),
        (
            "always denied",
            &["GET /a", "GET /b"],
            all(&["GET /*"]) + &deny(&["GET /b"]),
            &["ungranted-operation GET /b"],
        ),
        (
            "denied to some",
            &["GET /a", "GET /b"],
            all(&["GET /*"]) + "[[deny]]\nwhen = { groups = 'A' }\nroutes = ['GET /b']",
            &[],
        ),
        ("another method", &["GET /a", "PUT /a"], all(&["GET /a"]), &["ungranted-operation PUT /a"]),
        ("ANY, one method of it", &["ANY /a"], all(&["GET /a"]), &[]),
        ("the rest of ANY", &["GET /a", "ANY /a"], all(&["GET /a"]), &["ungranted-operation ANY /a"]),
        (
            "a literal next to a parameter",
            &["GET /users/me", "GET /users/{id}"],
            all(&["GET /users/me"]),
            &["ungranted-operation GET /users/{id}"],
        ),
        ("both", &["GET /users/me", "GET /users/{id}"], all(&["GET /users/me", "GET /users/*"]), &[]),
        ("a capture is twice", &["GET /a/{id}"], allow(owner, &["GET /{u}/{u}"]), &[]),
        (
            "a shorter path takes the request of a proxy",
            &["PUT /f/{id}", "GET /f/{proxy+}"],
            all(&["PUT /f/*", "GET /f/*"]),
            &[],
        ),
        (
            "nobody can call it",
            &["GET /{id}", "GET /{id}/{proxy+}", "GET /{proxy+}!"],
            all(&["GET /*"]),
            &["reached-across-slash GET /{id}/{proxy+}"],
        ),
        // unreached-route
        ("no path", &["GET /a"], all(&["GET /a", "GET /b"]), &["unreached-route GET /b"]),
        ("denied path", &["GET /a"], all(&["GET /a"]) + &deny(&["GET /b"]), &["unreached-route GET /b"]),
        ("wrong method", &["GET /a"], all(&["GET /a", "PUT /a"]), &["unreached-route PUT /a"]),
        ("one of ANY", &["GET /a"], all(&["ANY /a"]), &[]),
        (
            "a literal that has only another method",
            &["GET /u/{id}", "PUT /u/me"],
            all(&["GET /u/*", "PUT /u/me", "GET /u/me"]),
            &["unreached-route GET /u/me"],
        ),
        ("a path that is called like the filler", &["GET /{id}", "PUT /x"], all(&["GET /*", "PUT /x"]), &[]),
        ("a slash at the end", &["GET /a"], all(&["GET /a/"]), &[]),
        // open-operation
        ("open", &["GET /a", "GET /b!"], all(&["GET /a"]), &["open-operation GET /b"]),
        ("a preflight", &["GET /a", "OPTIONS /a!"], all(&["GET /a"]), &[]),
        ("open ANY", &["GET /a", "ANY /b!"], all(&["GET /a"]), &["open-operation ANY /b"]),
        ("one operation", &["GET /a!"], all(&["GET /a"]), &["open-operation GET /a"]),
        ("all open", &["GET /a!", "GET /b!", "OPTIONS /b!"], all(&["GET /a"]), &["open-operation ANY /*"]),
        // reached-across-slash
        (
            "a slash in the star",
            &["GET /o/{id}", "GET /o/{id}/lines"],
            all(&["GET /o/*"]),
            &["reached-across-slash GET /o/{id}/lines"],
        ),
        ("nothing in the star", &["GET /o", "GET /o/{id}"], all(&["GET /o/*"]), &["reached-across-slash GET /o"]),
        (
            "an inner star",
            &["GET /o/{id}/pdf", "GET /o/{id}/l/{line}/pdf"],
            all(&["GET /o/*/pdf"]),
            &["reached-across-slash GET /o/{id}/l/{line}/pdf"],
        ),
        ("a proxy", &["GET /o/{proxy+}"], all(&["GET /o/*"]), &[]),
        (
            "a proxy below another one",
            &["GET /o/{id}", "GET /o/{id}/{proxy+}"],
            all(&["GET /o/*"]),
            &["reached-across-slash GET /o/{id}/{proxy+}"],
        ),
        (
            "the same rule grants it",
            &["GET /o", "GET /o/{id}", "GET /o/{id}/lines"],
            all(&["GET /o", "GET /o/*", "GET /o/*/lines"]),
            &[],
        ),
        (
            "another rule grants it to the same tokens",
            &["GET /o", "GET /o/{id}"],
            allow("groups = 'A'", &["GET /o/*"]) + &allow("groups = ['A', 'B']", &["GET /o"]),
            &[],
        ),
        (
            "another rule grants it to some of them",
            &["GET /o", "GET /o/{id}"],
            allow("groups = ['A', 'B']", &["GET /o/*"]) + &allow("groups = 'A'", &["GET /o"]),
            &["reached-across-slash GET /o"],
        ),
        (
            "denied there",
            &["GET /o/{id}", "GET /o/{id}/lines"],
            all(&["GET /o/*"]) + &deny(&["GET /o/*/lines"]),
            &["ungranted-operation GET /o/{id}/lines"],
        ),
        ("the owner's route", &["GET /o/{id}/lines"], allow(owner, &["GET /o/{u}/*"]), &[]),
    ] {
        assert_eq!(findings(&rules, &openapi(operations), Target::default()), expected, "{name}");
    }
}

#[test]
fn rules_of_other_stages_and_apis_do_not_count() {
    let api = openapi(&["GET /a"]);
    let at = |stage, api| Target { stage, api };
    let of_prod = "[[allow]]\nstage = ['prod', 'dev']\napi = 'abcdef1234'\nroutes = ['GET /a']\n";
    let denied_at_dev = "[[allow]]\nroutes = ['GET /a']\n[[deny]]\nstage = 'dev'\nroutes = ['ANY /*']\n";
    let ungranted = ["ungranted-operation GET /a"];
    for (rules, target, expected) in [
        (of_prod, at(None, None), &[] as &[&str]),
        (of_prod, at(Some("dev"), Some("abcdef1234")), &[]),
        (of_prod, at(Some("test"), None), &ungranted),
        (of_prod, at(Some("prod"), Some("zzzzzz9999")), &ungranted),
        (denied_at_dev, at(None, None), &[]),
        (denied_at_dev, at(Some("prod"), None), &[]),
        (denied_at_dev, at(Some("dev"), None), &ungranted),
    ] {
        assert_eq!(findings(rules, &api, target), expected, "{target:?} {rules}");
    }
}

#[test]
fn a_template_is_covered_too() {
    let sam = r"
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      Auth:
        DefaultAuthorizer: okta
        Authorizers:
          okta:
            FunctionArn: !GetAtt Authorizer.Arn
  Orders:
    Type: AWS::Serverless::Function
    Properties:
      Events:
        Read:
          Type: Api
          Properties: { RestApiId: !Ref Api, Path: /orders, Method: get }
        Health:
          Type: Api
          Properties: { RestApiId: !Ref Api, Path: /health, Method: get, Auth: { Authorizer: NONE } }
";
    let good = findings(&all(&["GET /orders"]), sam, Target::default());
    assert_eq!(good, ["open-operation GET /health"]);
    let bad = findings(&all(&["GET /order"]), sam, Target::default());
    assert_eq!(bad, ["open-operation GET /health", "ungranted-operation GET /orders", "unreached-route GET /order"]);
}

fn run(test: &str, api: &str, rules: &str, tests: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cover_{test}"));
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("api.json", api), ("policy.toml", rules), ("policy.tests.toml", tests)] {
        fs::write(folder.join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_okta-policy"));
    command.current_dir(folder).env_remove("POLICY_FILE").args(["cover", "--api", "api.json"]).args(more);
    let output = command.output().unwrap();
    let utf8 = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), utf8(output.stdout), utf8(output.stderr))
}

#[test]
fn expected_findings_are_silent_and_stale_ones_are_not() {
    let api = openapi(&["GET /o", "GET /o/{id}", "GET /health!", "GET /none"]);
    let rules = all(&["GET /o/*", "GET /old"]);
    let expected =
        |finding: &str, on: &str| format!("[[expected]]\nfinding = '{finding}'\non = {on}\nreason = 'r'\n\n");
    let each = [
        expected("ungranted-operation", "'GET /none'"),
        expected("unreached-route", "'GET /old'"),
        expected("open-operation", "'GET /health'"),
        expected("reached-across-slash", "['GET /o']"),
    ];
    let kinds = |tests: &str| -> Vec<String> {
        let (code, out, error) = run("expected", &api, &rules, tests, &["--format", "json"]);
        let report: Value = serde_json::from_str(&out).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let kinds: Vec<_> = findings.map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect();
        let kinds: Vec<_> = kinds.into_iter().filter(|kind| kind != WILDCARD_REACH).collect();
        assert_eq!((code, error.as_str()), (Some(i32::from(!kinds.is_empty())), ""));
        assert_eq!(report["good"], kinds.is_empty());
        kinds
    };
    assert_eq!(kinds(&each.concat()), [""; 0]);
    for (number, kind) in
        ["ungranted-operation", "unreached-route", "open-operation", "reached-across-slash"].iter().enumerate()
    {
        let others: Vec<_> = each.iter().enumerate().filter(|(other, _)| *other != number).collect();
        let others: String = others.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(kinds(&others), [*kind]);
        let stale = each.concat() + &expected(kind, "'GET /gone'");
        assert_eq!(kinds(&stale), ["stale-expected"]);
    }
    let (code, out, error) = run("unknown", &api, &rules, &expected("open-operations", "'GET /health'"), &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(error.contains("`open-operations` cannot be expected; expected one of ungranted-operation,"), "{error}");
}

#[test]
fn a_file_without_an_authorizer_is_one_finding() {
    let api = openapi(&["GET /a!", "GET /b!"]);
    let rules = all(&["GET /a"]);
    let (code, out, _) = run("whole", &api, &rules, "", &["--format", "github"]);
    assert_eq!(code, Some(2), "an empty tests file is a mistake: {out}");
    for (on, expected_code) in [("'ANY /*'", 0), ("['GET /a', 'GET /b']", 0), ("'GET /a'", 1)] {
        let tests = format!("[[expected]]\nfinding = 'open-operation'\non = {on}\nreason = 'r'\n");
        let (code, out, _) = run("whole", &api, &rules, &tests, &["--format", "github"]);
        assert_eq!(code, Some(expected_code), "{on}: {out}");
        let errors = out.lines().filter(|line| line.starts_with("::error title=open-operation,file=api.json,line=1"));
        assert_eq!(i32::try_from(errors.count()).unwrap(), expected_code, "{out}");
        assert!(expected_code == 0 || out.contains("API Gateway ignores `security` at document level"), "{out}");
    }
}

#[test]
fn rules_have_no_effect_on_operations_of_another_authorizer() {
    let tests = "[[expected]]\nfinding = 'open-operation'\non = 'GET /health'\nreason = 'r'\n";
    let api = |of_orders: &str| {
        format!(
            r#"{{"openapi": "3.0.1", "components": {{"securitySchemes": {{
                "okta": {{"type": "apiKey", "x-amazon-apigateway-authorizer": {{"type": "token"}}}},
                "pool": {{"type": "apiKey", "x-amazon-apigateway-authorizer": {{"type": "cognito_user_pools"}}}}}}}},
              "paths": {{"/orders": {{"get": {{"security": [{{"{of_orders}": []}}]}}}},
                "/items": {{"get": {{"security": [{{"pool": []}}]}}}}, "/health": {{"get": {{}}}}}}}}"#
        )
    };
    let (code, out, _) = run("other", &api("okta"), &all(&["GET /orders"]), tests, &[]);
    assert_eq!(code, Some(0), "{out}");
    let (code, out, error) = run("other", &api("pool"), &all(&["GET /orders"]), tests, &[]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(error.contains("api.json: no operation has this authorizer, which is of type token"), "{error}");
}

#[test]
fn arguments_that_cannot_be_are_refused() {
    let (api, rules) = (openapi(&["GET /a"]), all(&["GET /a"]));
    let tests = "[[case]]\nname = 'a'\nclaims = {}\nallow = ['GET /a']\n";
    for (more, code) in [
        (&[] as &[&str], 0),
        (&["--stage", "prod", "--api-id", "abcdef1234"], 0),
        (&["--stage", "a/b"], 2),
        (&["--api-id", "a/b"], 2),
        (&["--tests", "none.toml"], 2),
        (&["--base-path", "other"], 2),
        (&["--base-path", "prepend"], 0),
    ] {
        let (found, out, error) = run("arguments", &api, &rules, tests, more);
        assert_eq!((found, error.is_empty()), (Some(code), code == 0), "{more:?}: {out}{error}");
    }
}
