//! Runs `okta-policy table`.

#![expect(clippy::unwrap_used, reason = "a test helper that cannot continue must show where and stop")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const API: &str = r"openapi: 3.0.0
components:
  securitySchemes:
    Okta: { type: apiKey, x-amazon-apigateway-authorizer: { type: token } }
    Pool: { type: apiKey, x-amazon-apigateway-authorizer: { type: cognito_user_pools } }
paths:
  /tenants/{id}:
    x-amazon-apigateway-any-method: { security: [{ Okta: [] }] }
  /apps/{app}:
    get: { security: [{ Okta: [] }] }
  /apps:
    get: { security: [{ Okta: [] }] }
    post: { security: [{ Okta: [] }] }
  /open:
    get: {}
    put: { security: [{ Pool: [] }] }
";

const RULES: &str = r#"[[allow]]
routes = ["GET /apps", "GET /apps/*"]

[[allow]]
when   = { tenants = "{id}" }
routes = ["GET /tenants/{id}", "PUT /tenants/{id}"]

[[deny]]
name   = "no secrets"
when   = { uid = "guest" }
routes = ["GET /apps/secret", "GET /apps"]

[[deny]]
when   = { uid = "gone" }
routes = ["ANY /*"]
"#;

const CASES: &str = r#"[[case]]
name   = "a | b"
claims = { uid = "u1", tenants = ["t1", "t2"] }
allow  = ["GET /apps"]

[[case]]
name   = "guest"
claims = { uid = "guest", tenants = ["a", "b", "c", "d", "e"] }
deny   = ["GET /apps"]

[[case]]
name   = "gone"
claims = { uid = "gone" }
deny   = ["GET /apps"]
"#;

const TABLE: &str = r#"<!-- Written by `okta-policy table`. -->

| operation | a \| b | guest | gone |
| --- | --- | --- | --- |
| `GET /apps` | allowed | denied by the rule "no secrets" | denied by the rule in line 13 |
| `POST /apps` | denied | denied | denied by the rule in line 13 |
| `GET /apps/{app}` | allowed | allowed, except `/apps/secret`, `/apps/secret/` | denied by the rule in line 13 |
| `GET /open` | open | open | open |
| `PUT /open` | not by this authorizer | not by this authorizer | not by this authorizer |
| `DELETE, HEAD, OPTIONS, PATCH, POST /tenants/{id}` | denied | denied | denied by the rule in line 13 |
| `GET, PUT /tenants/{id}` | allowed: `/tenants/t1`, `/tenants/t2` | allowed: `/tenants/a`, `/tenants/b`, `/tenants/c` and 2 more | denied by the rule in line 13 |
"#;

fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("api.yaml", API), ("policy.toml", RULES), ("policy.tests.toml", CASES)] {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

/// The exit code and both outputs.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okta-policy"));
    command.args(["table", "--api", "api.yaml"]).args(arguments).current_dir(folder).env_remove("POLICY_FILE");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_table_says_who_may_call_what() {
    let folder = folder("table");
    assert_eq!(run(&folder, &[]), (Some(0), TABLE.to_owned(), String::new()));
}

#[test]
fn the_order_of_the_operations_does_not_matter() {
    let folder = folder("table_sorted");
    let apps = "  /apps:\n    get: { security: [{ Okta: [] }] }\n    post: { security: [{ Okta: [] }] }\n";
    let first = API.replace(apps, "").replace("paths:\n", &format!("paths:\n{apps}"));
    assert_ne!(first, API);
    fs::write(folder.join("api.yaml"), first).unwrap();
    assert_eq!(run(&folder, &[]), (Some(0), TABLE.to_owned(), String::new()));
}

#[test]
fn a_committed_table_is_checked() {
    let folder = folder("table_check");
    let check = |text: &str| {
        fs::write(folder.join("access.md"), text).unwrap();
        run(&folder, &["--check", "access.md"])
    };
    let crlf = |text: &str| text.replace('\n', "\r\n");
    for good in [TABLE, &crlf(TABLE), TABLE.trim_end()] {
        assert_eq!(check(good), (Some(0), "access.md: good\n".to_owned(), String::new()));
    }
    let stale = TABLE.replace("GET /open", "GET /shut");
    let start: String = TABLE.split_inclusive('\n').take(4).collect();
    let cases = [
        (stale.clone(), " --> access.md:8:1\n", "the line must be: | `GET /open` | open | open | open |\n"),
        (crlf(&stale), " --> access.md:8:1\n", "the line must be: | `GET /open` | open | open | open |\n"),
        (
            start,
            " --> access.md:5:1\n",
            "the line must be: | `GET /apps` | allowed | denied by the rule \"no secrets\" |",
        ),
        (format!("{TABLE}more\n"), " --> access.md:12:1\n", "the line must be: (none)\n"),
    ];
    for (text, place, line) in cases {
        let (code, found, errors) = check(&text);
        assert_eq!((code, errors.as_str()), (Some(1), ""), "{found}");
        assert!(found.contains(place) && found.contains(line), "{found}");
    }
}

#[test]
fn a_missing_file_and_no_cases_are_refused() {
    let folder = folder("table_refused");
    let missing = (Some(2), String::new(), "none.md: there is no such file\n".to_owned());
    assert_eq!(run(&folder, &["--check", "none.md"]), missing);
    fs::write(folder.join("policy.tests.toml"), "").unwrap();
    let (code, text, errors) = run(&folder, &[]);
    assert_eq!((code, text.as_str()), (Some(2), ""));
    assert!(errors.starts_with("error[mistake]: there is no case; "), "{errors}");
}
