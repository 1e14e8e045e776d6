//! Start and end of the process. `src/config.rs` tests which values each variable accepts.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use okta_authorizer_testkit::{Failures, event, runtime_api::Authorizer, temp_file::TempFile, token::bearer};
use serde_json::json;

use crate::pinned;

#[tokio::test]
async fn a_bad_variable_ends_the_process_with_one_line() {
    let not_utf8 = TempFile::new("latin-1.toml", b"# caf\xe9\n[[allow]]\nroutes = [\"GET /x\"]\n");
    let bad_rules = TempFile::new("bad.toml", "[[allow]]\nroutes = [\n  \"GET /x\",\n  \"FETCH /x\",\n]\n");
    let folder = env!("CARGO_TARGET_TMPDIR");
    let missing = format!("{folder}/missing");
    let path = |file: &TempFile| file.path().to_str().unwrap().to_owned();
    let mut failures = Failures::default();
    for (variable, value, problem) in [
        ("OKTA_ISSUER", "".into(), "is not set".to_owned()),
        ("OKTA_ISSUER", "http://example.okta.com/oauth2/default".into(), "is not https".to_owned()),
        ("OKTA_AUDIENCE", ",".into(), "has an empty item".to_owned()),
        ("OKTA_AUDIENCE", OsString::from_vec(vec![b'x', 0xff, b'x']), "is not Unicode".to_owned()),
        ("OKTA_CLIENT_IDS", " ".into(), "is blank".to_owned()),
        ("OKTA_KEYS_ENDPOINT", "nonsense".into(), "is not a URL".to_owned()),
        ("OKTA_JWKS", "{}".into(), "is unusable: ".to_owned()),
        ("KEYS_TABLE_NAME", " ".into(), "is blank".to_owned()),
        ("KEYS_REFRESH_SECONDS", "60s".into(), "is `60s`".to_owned()),
        ("KEYS_MAX_STALE_SECONDS", "-1".into(), "is `-1`".to_owned()),
        ("CLOCK_SKEW_SECONDS", "301".into(), "is `301`".to_owned()),
        ("POLICY_FILE", missing.clone().into(), format!("names `{missing}`, which cannot be read: ")),
        ("POLICY_FILE", folder.into(), format!("names `{folder}`, which cannot be read: ")),
        ("POLICY_FILE", path(&not_utf8).into(), format!("names `{}`, which cannot be read: ", path(&not_utf8))),
        ("POLICY_FILE", path(&bad_rules).into(), format!("names `{}`, which is wrong in line 4: ", path(&bad_rules))),
        ("POLICY_MAX_BYTES", "0".into(), "is `0`".to_owned()),
        ("PATH_GUARD", "0n".into(), "is `0n`".to_owned()),
        ("INVALID_TOKEN_RESPONSE", "allow".into(), "is `allow`".to_owned()),
        ("API_KEY_CLAIM", " ".into(), "is blank".to_owned()),
        ("CONTEXT_CLAIMS", "email,,level".into(), "has an empty item".to_owned()),
        ("OKTA_INTROSPECT", "yes".into(), "is `yes`".to_owned()),
        ("SSL_CERT_FILE", missing.clone().into(), format!("names `{missing}`, which cannot be read: ")),
    ] {
        let ended = match Authorizer::refuse(&pinned().with(variable, value)).await {
            Ok(ended) => ended,
            Err(lines) => {
                failures.check(false, || format!("{variable} {problem}, but was accepted: {lines:#?}"));
                continue;
            }
        };
        failures.check(ended.status.code() == Some(1), || format!("{variable} {problem}: {:?}", ended.status));
        let expected = format!("{variable} {problem}");
        let is_one = matches!(&ended.lines[..], [line] if line.starts_with(&expected) && line.contains("; accepted: "));
        failures.check(is_one, || format!("{expected}: {:#?}", ended.lines));
    }
    failures.report();

    let ended = Authorizer::refuse(&pinned().without("OKTA_ISSUER")).await.expect("it does not start");
    let [line] = &ended.lines[..] else { panic!("{:#?}", ended.lines) };
    assert!(!ended.status.success() && line.starts_with("OKTA_ISSUER is not set"), "{line}");
}

#[tokio::test]
async fn a_process_with_good_variables_starts() {
    let mut env = pinned();
    for (variable, value) in [
        ("OKTA_ISSUER", "https://one.okta.com/oauth2/default, https://two.okta.com/oauth2/default"),
        ("OKTA_AUDIENCE", "api://one,api://two"),
        ("OKTA_CLIENT_IDS", "0oaweb,0oacli"),
        ("KEYS_REFRESH_SECONDS", "60"),
        ("KEYS_MAX_STALE_SECONDS", "604800"),
        ("CLOCK_SKEW_SECONDS", "300"),
        ("POLICY_MAX_BYTES", "8192"),
        ("PATH_GUARD", "on"),
        ("INVALID_TOKEN_RESPONSE", "unauthorized"),
        ("API_KEY_CLAIM", "cid"),
        ("CONTEXT_CLAIMS", "email,level"),
    ] {
        env = env.with(variable, value);
    }
    let answer = Authorizer::start(&env).await.invoke(event("Bearer x")).await;
    assert!(answer.is_unauthorized(), "{answer:?}");
}

/// The rules are those that are compiled in, so what they grant is not known here.
#[tokio::test]
async fn an_empty_variable_is_not_set() {
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
        "OKTA_INTROSPECT",
        "SSL_CERT_FILE",
    ] {
        env = env.with(variable, "");
    }
    let authorizer = Authorizer::start(&env).await;
    assert_eq!(authorizer.invoke(event(&bearer(&json!({})))).await.response()["principalId"], "00uada");
    assert!(authorizer.invoke(event("Bearer x")).await.is_unauthorized());
}

#[tokio::test]
async fn the_process_waits_for_a_late_runtime_api() {
    let authorizer = Authorizer::start_before_its_api(&pinned()).await;
    let answer = authorizer.invoke(event("Bearer x")).await;
    assert!(answer.is_unauthorized(), "{answer:?}");
    let lines = authorizer.stop().await;
    assert_eq!(lines.len(), 2, "the wait and the decision: {lines:#?}");
}

#[tokio::test]
async fn a_runtime_api_that_never_listens_ends_the_process() {
    let ended = Authorizer::start_without_api(&pinned()).await;
    let [wait, end] = &ended.lines[..] else { panic!("two lines: {:#?}", ended.lines) };
    assert!(wait.contains("the Runtime API refuses connections"), "{wait}");
    assert!(end.starts_with("the runtime stopped: client error (Connect): tcp connect error: "), "{end}");
    assert_eq!(ended.status.code(), Some(1));
}
