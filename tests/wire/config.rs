//! Design 1: configuration that the process refuses, each beside one that it takes.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use okta_authorizer_testkit::{
    Failures,
    env::Env,
    event,
    keys::{self, jwks},
    runtime_api::Authorizer,
    with,
};
use serde_json::json;

const ISSUER: &str = "https://example.okta.com/oauth2/default";

/// A value, and whether the process starts with it.
type Case = (&'static str, OsString);

/// Starts the process with each value: it must end with one line that names the variable.
async fn refuses(base: &Env, cases: Vec<Case>) {
    let mut failures = Failures::default();
    for (variable, value) in cases {
        let env = base.clone().with(variable, value.clone());
        let value = value.display();
        match Authorizer::refuse(&env).await {
            Ok(ended) => {
                let said = ended.lines.join("\n");
                failures.check(!ended.status.success(), || format!("{variable}={value}: exit code 0"));
                failures.check(ended.lines.len() == 1, || format!("{variable}={value}: not one line: {said}"));
                failures.check(said.contains(variable), || format!("{variable}={value}: not its name: {said}"));
                failures.check(!said.contains("panicked"), || format!("{variable}={value}: {said}"));
            }
            Err(output) => failures.check(false, || format!("{variable}={value} was accepted: {output:?}")),
        }
    }
    failures.report();
}

/// Starts the process with each value: it must come up and answer.
async fn takes(base: &Env, cases: Vec<Case>) {
    for (variable, value) in cases {
        let authorizer = Authorizer::start(&base.clone().with(variable, value.clone())).await;
        let answer = authorizer.invoke(event("Bearer x")).await;
        assert!(answer.is_unauthorized(), "{variable}={}: {answer:?}", value.display());
    }
}

fn cases(variable: &'static str, values: &[&str]) -> Vec<Case> {
    values.iter().map(|value| (variable, OsString::from(value))).collect()
}

fn pinned() -> Env {
    Env::pinned(&jwks(&[keys::main()]))
}

#[tokio::test]
async fn the_issuer_is_required_and_an_https_url_or_loopback() {
    let base = pinned();
    let bad = [
        "",
        " ",
        ",",
        "nonsense",
        "example.okta.com/oauth2/default",
        "//example.okta.com/oauth2/default",
        "https://",
        "https:///oauth2/default",
        "http://example.okta.com/oauth2/default",
        "http://localhost.example.com/oauth2/default",
        "http://127.0.0.1.example.com/oauth2/default",
        "http://10.0.0.1/oauth2/default",
        "http://169.254.169.254/oauth2/default",
        "http://localhost@example.com/oauth2/default",
        "ftp://example.okta.com/oauth2/default",
        "file:///etc/passwd",
        "https://example.okta.com/oauth2/default,nonsense",
        "https://example.okta.com/oauth2/default,http://other.okta.com/oauth2/default",
    ];
    refuses(&base, cases("OKTA_ISSUER", &bad)).await;
    let absent = Authorizer::refuse(&base.clone().without("OKTA_ISSUER")).await;
    let ended = absent.unwrap_or_else(|output| panic!("started without an issuer: {output:?}"));
    assert!(!ended.status.success());
    assert!(ended.lines.len() == 1 && ended.lines[0].contains("OKTA_ISSUER"), "{:?}", ended.lines);

    let good = [
        ISSUER,
        "https://example.okta.com",
        "https://login.example.com:8443/oauth2/aus1",
        "http://localhost:9/oauth2/default",
        "http://127.0.0.1:9/oauth2/default",
        "http://[::1]:9/oauth2/default",
        "https://one.okta.com/oauth2/default,https://two.okta.com/oauth2/default",
        "https://one.okta.com/oauth2/default, https://two.okta.com/oauth2/default",
    ];
    takes(&base, cases("OKTA_ISSUER", &good)).await;
}

#[tokio::test]
async fn the_keys_endpoint_is_a_url_of_a_single_issuer() {
    let base = pinned();
    let bad = [
        "nonsense",
        "http://example.okta.com/oauth2/default/v1/keys",
        "ftp://example.okta.com/keys",
        "/v1/keys",
        "https://",
    ];
    refuses(&base, cases("OKTA_KEYS_ENDPOINT", &bad)).await;
    let two =
        base.clone().with("OKTA_ISSUER", "https://one.okta.com/oauth2/default,https://two.okta.com/oauth2/default");
    refuses(&two, cases("OKTA_KEYS_ENDPOINT", &["https://example.okta.com/oauth2/v1/keys"])).await;
    let good = ["", "https://example.okta.com/oauth2/v1/keys", "http://localhost:9/keys"];
    takes(&base, cases("OKTA_KEYS_ENDPOINT", &good)).await;
}

#[tokio::test]
async fn a_pinned_jwks_is_json_with_a_usable_key() {
    let base = pinned();
    let key = keys::main().jwk();
    let bad = [
        "nonsense".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"keys":{}}"#.to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        key.to_string(),
        json!({ "keys": [with(&key, &json!({ "use": "enc" }))] }).to_string(),
        json!({ "keys": [with(&key, &json!({ "n": "AQAB" }))] }).to_string(),
        format!("{}x", jwks(&[keys::main()])),
    ];
    refuses(&base, cases("OKTA_JWKS", &bad.each_ref().map(String::as_str))).await;
    let good = [jwks(&[keys::main()]).to_string(), json!({ "keys": [5, key], "x": 1 }).to_string()];
    takes(&base, cases("OKTA_JWKS", &good.each_ref().map(String::as_str))).await;
}

#[tokio::test]
async fn numbers_are_whole_and_within_their_bounds() {
    let base = pinned();
    let nonsense = ["x", "-1", "1.5", "1e3", "60s", "0x10", "99999999999999999999999999", "１"];
    let mut bad = Vec::new();
    for variable in ["KEYS_REFRESH_SECONDS", "KEYS_MAX_STALE_SECONDS", "CLOCK_SKEW_SECONDS", "POLICY_MAX_BYTES"] {
        bad.extend(cases(variable, &nonsense));
    }
    bad.extend(cases("CLOCK_SKEW_SECONDS", &["301", "3600", "18446744073709551615"]));
    bad.extend(cases("POLICY_MAX_BYTES", &["0"]));
    refuses(&base, bad).await;
    let mut good = cases("CLOCK_SKEW_SECONDS", &["", "0", "60", "300"]);
    good.extend(cases("KEYS_REFRESH_SECONDS", &["", "60", "3600", "86400"]));
    good.extend(cases("KEYS_MAX_STALE_SECONDS", &["", "3600", "86400", "604800"]));
    good.extend(cases("POLICY_MAX_BYTES", &["", "8192", "32768"]));
    takes(&base, good).await;
}

#[tokio::test]
async fn a_choice_is_one_of_its_words() {
    let base = pinned();
    let mut bad = cases("PATH_GUARD", &["maybe", "offf", "0n", "on off"]);
    bad.extend(cases("INVALID_TOKEN_RESPONSE", &["allow", "unauthorised", "401", "deny,unauthorized"]));
    refuses(&base, bad).await;
    let mut good = cases("PATH_GUARD", &["", "on", "off"]);
    good.extend(cases("INVALID_TOKEN_RESPONSE", &["", "unauthorized"]));
    takes(&base, good).await;
}

/// A list of nothing would mean "any" to a careless reader, and it is the accepted clients that it would be read of.
#[tokio::test]
async fn a_list_holds_something() {
    let base = pinned();
    let mut bad = cases("OKTA_AUDIENCE", &[",", " , "]);
    bad.extend(cases("OKTA_CLIENT_IDS", &[",", " , "]));
    refuses(&base, bad).await;
    let mut good = cases("OKTA_AUDIENCE", &["", "api://default", "api://one,api://two"]);
    good.extend(cases("OKTA_CLIENT_IDS", &["", "0oaweb", "0oaweb,0oacli"]));
    good.extend(cases("CONTEXT_CLAIMS", &["", "email", "email,level"]));
    good.extend(cases("API_KEY_CLAIM", &["", "cid"]));
    takes(&base, good).await;
}

#[tokio::test]
async fn a_value_that_is_not_unicode_is_refused_by_name() {
    let base = pinned();
    let broken = || OsString::from_vec(vec![b'x', 0xff, b'x']);
    let variables =
        ["OKTA_ISSUER", "OKTA_AUDIENCE", "OKTA_CLIENT_IDS", "OKTA_JWKS", "CLOCK_SKEW_SECONDS", "PATH_GUARD"];
    refuses(&base, variables.into_iter().map(|variable| (variable, broken())).collect()).await;
}

#[tokio::test]
async fn an_empty_value_means_unset() {
    let mut env = pinned();
    for variable in [
        "OKTA_AUDIENCE",
        "OKTA_CLIENT_IDS",
        "OKTA_KEYS_ENDPOINT",
        "KEYS_TABLE_NAME",
        "KEYS_REFRESH_SECONDS",
        "KEYS_MAX_STALE_SECONDS",
        "CLOCK_SKEW_SECONDS",
        "POLICY_FILE",
        "POLICY_MAX_BYTES",
        "PATH_GUARD",
        "INVALID_TOKEN_RESPONSE",
        "API_KEY_CLAIM",
        "CONTEXT_CLAIMS",
    ] {
        env = env.with(variable, "");
    }
    let authorizer = Authorizer::start(&env).await;
    let good = okta_authorizer_testkit::token::bearer(&json!({}));
    assert!(authorizer.invoke(event(&good)).await.allows(&okta_authorizer_testkit::arn("GET /apps")));
}

#[tokio::test]
async fn a_runtime_api_that_listens_late_is_waited_for() {
    let authorizer = Authorizer::start_before_its_api(&pinned()).await;
    let answer = authorizer.invoke(event("Bearer x")).await;
    assert!(answer.is_unauthorized(), "{answer:?}");
    let lines = authorizer.stop().await;
    assert_eq!(lines.len(), 2, "the wait, and the decision: {lines:#?}");
}

#[tokio::test]
async fn a_runtime_api_that_never_listens_ends_the_process() {
    let ended = Authorizer::start_without_api(&pinned()).await;
    let [wait, end] = &ended.lines[..] else { panic!("two lines: {:#?}", ended.lines) };
    assert!(wait.contains("the Runtime API refuses connections"), "{wait}");
    assert!(end.starts_with("the runtime stopped: client error (Connect): tcp connect error: "), "{end}");
    assert_eq!(ended.status.code(), Some(1));
}
