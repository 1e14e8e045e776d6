//! What `okta-policy init` writes for an API passes `check`, `test` and `cover`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test helper that cannot continue must show where and stop"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use okta_policy::api::{self, Access, Api, BasePath};
use serde_json::{Map, Value, json};

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The exit code and both outputs.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okta-policy"));
    command.args(arguments).current_dir(folder).env_remove("POLICY_FILE").env_remove("POLICY_MAX_BYTES");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// The same operations, each with the authorizer.
fn protected(api: &Api) -> Value {
    let mut paths = Map::new();
    for operation in &api.operations {
        let method = match operation.method.as_str() {
            "ANY" => "x-amazon-apigateway-any-method".to_owned(),
            method => method.to_ascii_lowercase(),
        };
        let content = json!({ "security": [{ "Okta": [] }], "x-okta-scopes": operation.scopes });
        paths.entry(operation.path.clone()).or_insert_with(|| json!({}))[method] = content;
    }
    let okta = json!({ "type": "apiKey", "x-amazon-apigateway-authorizer": { "type": "token" } });
    json!({ "openapi": "3.0.0", "paths": paths, "components": { "securitySchemes": { "Okta": okta } } })
}

#[test]
fn rules_for_apis_of_other_people_pass_every_command() {
    // Rules, and what a `*` reaches of another rule. No change of these rules mends that.
    let expected: [(&str, usize, &[&str]); 6] = [
        (
            "dialogporten.json",
            4,
            &[
                "`GET /api/v1/serviceowner/dialogs/*` reaches `GET /api/v1/serviceowner/dialogs` by a slash at the end of the path",
            ],
        ),
        ("podman.yaml", 1, &[]),
        ("rclone.yaml", 1, &[]),
        ("readme.json", 1, &[]),
        ("shipengine.yaml", 1, &[]),
        ("star-trek.yaml", 1, &[]),
    ];
    let found = expected.map(|(name, ..)| found(name));
    let found: Vec<_> = found.iter().map(|(name, rules, across)| (*name, *rules, across.join("\n"))).collect();
    let expected: Vec<_> = expected.iter().map(|(name, rules, across)| (*name, *rules, across.join("\n"))).collect();
    assert_eq!(found, expected);
}

/// The number of rules for a file, and the errors of `cover`. The other commands are good.
fn found(name: &str) -> (&str, usize, Vec<String>) {
    let folder = folder(&format!("init_{name}"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apis").join(name);
    let api = api::read(&path, BasePath::Ignore).unwrap_or_else(|_| panic!("{name} is not read"));
    if !api.operations.iter().any(|operation| operation.access == Access::Authorizer) {
        let (code, text) = run(&folder, &["init", "--api", path.to_str().unwrap()]);
        assert!(code == Some(2) && text.contains(": no operation has the authorizer, so"), "{text}");
    }
    fs::write(folder.join("api.json"), protected(&api).to_string()).unwrap();

    let (code, text) = run(&folder, &["init", "--api", "api.json"]);
    assert_eq!(code, Some(0), "{name}: {text}");
    fs::write(folder.join("policy.toml"), &text).unwrap();
    let long: Vec<_> = text.lines().filter(|line| line.len() > 100 && line.contains(' ')).collect();
    assert_eq!(long, [""; 0], "{name}");
    let count = text.matches("\n[[allow]]\n").count();

    assert_eq!(run(&folder, &["check", "--strict"]), (Some(0), "policy.toml: good\n".to_owned()), "{name}");

    let (code, text) = run(&folder, &["cover", "--api", "api.json", "--format", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let errors = report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == "error");
    let errors: Vec<_> = errors.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(code, Some(i32::from(!errors.is_empty())), "{name}");

    let (code, text) = run(&folder, &["init", "--api", "api.json", "--tests"]);
    assert_eq!(code, Some(0), "{name}: {text}");
    fs::write(folder.join("policy.tests.toml"), text).unwrap();
    let (code, text) = run(&folder, &["test", "--strict"]);
    assert_eq!(code, Some(0), "{name}: {text}");
    (name, count, errors)
}

const SMALL: &str = r#"openapi: 3.0.0
components:
  securitySchemes:
    Okta: { type: apiKey, x-amazon-apigateway-authorizer: { type: token } }
    Pool: { type: apiKey, x-amazon-apigateway-authorizer: { type: cognito_user_pools } }
paths:
  /orders:
    get: { security: [{ Okta: [] }], x-okta-scopes: [orders:read] }
    post: { security: [{ Okta: [] }], x-okta-scopes: [[orders:write, pii], [admin]] }
    x-amazon-apigateway-any-method: { security: [{ Okta: [] }], x-okta-scopes: [admin] }
  /orders/{id}:
    get: { security: [{ Okta: [] }], x-okta-scopes: [orders:read] }
  /orders/export:
    get: { security: [{ Okta: [] }], x-okta-scopes: [admin] }
  /orders/{id}/lines/{line}:
    get: { security: [{ Okta: [] }], x-okta-scopes: [admin] }
  /files/{path+}:
    x-amazon-apigateway-any-method: { security: [{ Okta: [] }] }
  /a*b:
    get: { security: [{ Okta: [] }], x-okta-scopes: [orders:read] }
  /quoted:
    get: { security: [{ Okta: [] }], x-okta-scopes: ["say \"hi\" \\ there"] }
  /pattern:
    get: { security: [{ Okta: [] }], x-okta-scopes: ["orders:*"] }
  "/x\n[[allow]]":
    get: {}
  /open:
    get: {}
    put: { security: [{ Pool: [] }] }
    options: {}
"#;

const SMALL_RULES: &str = r#"# Starter rules for api.yaml, written by `okta-policy init`.
# Each `*` is a path parameter of the API. A `*` is any characters, slashes included. If a value
# must be the caller's own, capture it: add uid = "{uid}" to `when`, and write {uid} instead of
# the `*`. These rules are for every API and stage of the function. See docs/rules.md.

[[allow]]
when = { scopes = "orders:read" }
routes = [
  "GET /orders",
  "GET /orders/*", # any {id}, or the caller's own?
  # Careful: its `*` also grants these, which need other scopes. Check those in the backend:
  #   GET /orders/export
  #   GET /orders/{id}/lines/{line}
  # GET /a*b: the route `GET /a*b` has a `*` that is only a part of a segment; a `*` is a whole segment, such as `/files/*`, and a part of one is a capture, such as `/files/{name}.pdf`
]

# okta-policy: allow(inner-wildcard) path parameters of the API, to be looked at
[[allow]]
when = { scopes = "admin" }
routes = [
  "POST /orders",
  "DELETE /orders",
  "HEAD /orders",
  "OPTIONS /orders",
  "PATCH /orders",
  "PUT /orders",
  "GET /orders/export",
  "GET /orders/*/lines/*", # any {id} and {line}, or the caller's own?
]

[[allow]]
when = { scopes = { all = ["orders:write", "pii"] } }
routes = [
  "POST /orders",
]

# The API file names no scopes for these operations, so any valid token may call them.
[[allow]]
routes = [
  "ANY /files/*", # any {path+}, or the caller's own?
]

# This rule cannot be written, because none of its operations can be a route:
#   when = { scopes = "say \"hi\" \\ there" }
#   GET /quoted: `when.scopes` pattern `say "hi" \ there` has white space, and no scope has any

# This rule cannot be written, because none of its operations can be a route:
#   when = { scopes = "orders:*" }
#   GET /pattern: `when.scopes` pattern `orders:*` has a `*`, and values are compared whole; for any text, write a capture, such as "orders:{any}"

# Rules have no effect on these operations, because they do not have this authorizer:
#   open, because it has no `security`:
#     GET /x\n[[allow]]
#     GET /open
#     OPTIONS /open
#   a Cognito user pool:
#     PUT /open
"#;

const SMALL_TESTS: &str = r#"# Test cases for api.yaml, written by `okta-policy init --tests`.
# Run them with `okta-policy test`.

[[case]]
name   = "orders:read"
claims = { uid = "00u1", scp = ["orders:read"] }
allow  = [
  "GET /orders",
  "GET /orders/x1",
]

[[case]]
name   = "admin"
claims = { uid = "00u1", scp = ["admin"] }
allow  = [
  "DELETE /orders",
  "GET /orders/export",
  "GET /orders/x1/lines/x1",
  "HEAD /orders",
  "OPTIONS /orders",
  "PATCH /orders",
  "POST /orders",
  "PUT /orders",
]

[[case]]
name   = "orders:write and pii"
claims = { uid = "00u1", scp = ["orders:write", "pii"] }
allow  = [
  "POST /orders",
]

[[case]]
name   = "any valid token"
claims = { uid = "00u1" }
allow  = [
  "DELETE /files/x1",
  "GET /files/x1",
  "HEAD /files/x1",
  "OPTIONS /files/x1",
  "PATCH /files/x1",
  "POST /files/x1",
  "PUT /files/x1",
]

[[expected]]
finding = "open-operation"
on      = "GET /x\n[[allow]]"
reason  = "open in the API file; write here why it may be"

[[expected]]
finding = "open-operation"
on      = "GET /open"
reason  = "open in the API file; write here why it may be"
"#;

#[test]
fn rules_and_tests_of_a_small_api() {
    let folder = folder("init_small");
    fs::write(folder.join("api.yaml"), SMALL).unwrap();
    assert_eq!(run(&folder, &["init", "--api", "api.yaml"]), (Some(0), SMALL_RULES.to_owned()));
    assert_eq!(run(&folder, &["init", "--api", "api.yaml", "--tests"]), (Some(0), SMALL_TESTS.to_owned()));
}
