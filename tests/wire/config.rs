//! Which configurations start, and how the others end. `src/config.rs` has more values.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::symlink},
};

use okta_authorizer_testkit::{
    Failures, RULES_FILE,
    env::{Env, PINNED_ISSUER},
    event,
    keys::{self, jwks},
    okta::{Okta, Reply},
    runtime_api::{Authorizer, Log},
    table::closed_port,
    temp_file::TempFile,
    tls::Authority,
    token::bearer,
};
use serde_json::json;

use crate::pinned;

/// A value that stops the start with one line, and the nearest value that does not.
struct Row {
    variable: &'static str,
    bad: OsString,
    /// How the line goes on after the variable's name.
    problem: String,
    good: OsString,
}

fn row(variable: &'static str, bad: impl Into<OsString>, problem: &str, good: impl Into<OsString>) -> Row {
    Row { variable, bad: bad.into(), problem: problem.to_owned(), good: good.into() }
}

/// Starts the process with the bad and with the good value of each row, and with `env` otherwise.
async fn check(env: &Env, rows: Vec<Row>) {
    let mut failures = Failures::default();
    for Row { variable, bad, problem, good } in rows {
        let expected = format!("{variable} {problem}");
        match Authorizer::refuse(&env.clone().with(variable, bad)).await {
            Err(lines) => failures.check(false, || format!("{expected}, but was accepted: {lines:#?}")),
            Ok(ended) => {
                failures.check(ended.status.code() == Some(1), || format!("{expected}: {:?}", ended.status));
                let is_one =
                    matches!(&ended.lines[..], [line] if line.starts_with(&expected) && line.contains("; accepted: "));
                failures.check(is_one, || format!("{expected}: {:#?}", ended.lines));
                let shows = ended.lines.iter().any(|line| line.contains("hush"));
                failures.check(!shows, || format!("{expected}: shows a secret: {:#?}", ended.lines));
            }
        }
        match Authorizer::try_start(&env.clone().with(variable, &good), Log::Captured).await {
            Err(ended) => failures.check(false, || format!("{variable} is {}: {ended:#?}", good.display())),
            Ok(authorizer) => {
                let answer = authorizer.invoke(event("Bearer x")).await;
                failures.check(answer.is_unauthorized(), || format!("{variable} is {}: {answer:?}", good.display()));
            }
        }
    }
    failures.report();
}

#[tokio::test]
async fn a_bad_variable_ends_the_process_with_one_line() {
    let bad_rules = TempFile::new("bad.toml", "[[allow]]\nroutes = [\n  \"GET /x\",\n  \"FETCH /x\",\n]\n");
    let not_utf8 = TempFile::new("latin-1.pem", b"caf\xe9");
    let bundle = TempFile::new("bundle.pem", &Authority::new().pem);
    let folder = env!("CARGO_TARGET_TMPDIR");
    let missing = format!("{folder}/missing");
    let path = |file: &TempFile| file.path().to_str().unwrap().to_owned();
    let unreadable = |file: &str| format!("names `{file}`, which cannot be read: ");
    let jwks = jwks(&[keys::main()]).to_string();
    let blank = "has white space or an invisible character";
    let rows = vec![
        row("OKTA_AUDIENCE", ",", "has an empty item", "api://a,api://b"),
        row("OKTA_AUDIENCE", OsString::from_vec(vec![b'x', 0xff, b'x']), "is not Unicode", "x"),
        row("OKTA_AUDIENCE", "api://a api://b", blank, "api://a, api://b"),
        row("OKTA_AUDIENCE", "api://a;api://b", "has a semicolon", "api://a,api://b"),
        row("OKTA_AUDIENCE", "\"api://a\"", "has a quotation mark", "api://a"),
        row("OKTA_ALLOWED_CLIENT_IDS", " ", "is blank", "0oa1"),
        row("OKTA_ALLOWED_CLIENT_IDS", "0oa1\u{a0}0oa2", blank, "0oa1,0oa2"),
        row("OKTA_ALLOWED_CLIENT_IDS", "'0oa1','0oa2'", "has a quotation mark", "0oa1,0oa2"),
        row("OKTA_ALLOWED_CLIENT_IDS", "{clientId}", "has a placeholder", "0oa1"),
        row("OKTA_KEYS_ENDPOINT", PINNED_ISSUER, "is an issuer", "https://pinned.okta.example/oauth2/default/v1/keys"),
        row("OKTA_KEYS_ENDPOINT", "nonsense", "is not a URL", "https://a.okta.com/oauth2/default/v1/keys"),
        row("OKTA_KEYS_ENDPOINT", "https://{yourOktaDomain}/keys", "has a placeholder", "https://a.okta.com/keys"),
        row("OKTA_JWKS", "{}", "is unusable: ", jwks),
        row("KEYS_TABLE_NAME", " ", "is blank", "okta-keys"),
        row("KEYS_TABLE_NAME", "my table!", "is `my table!`", "my-table"),
        row("KEYS_TABLE_NAME", "\"okta-keys\"", r#"is `\"okta-keys\"`"#, "okta-keys"),
        row("KEYS_REFRESH_SECONDS", "60s", "is `60s`", "60"),
        row("KEYS_MAX_STALE_SECONDS", "-1", "is `-1`", "3600"),
        row("CLOCK_SKEW_SECONDS", "301", "is `301`", "300"),
        row("POLICY_FILE", &missing, &unreadable(&missing), RULES_FILE),
        row("POLICY_FILE", folder, &unreadable(folder), RULES_FILE),
        row(
            "POLICY_FILE",
            path(&bad_rules),
            &format!("names `{}`, which is wrong in line 4: ", path(&bad_rules)),
            RULES_FILE,
        ),
        row("POLICY_MAX_BYTES", "8191", "is `8191`", "8192"),
        row("PATH_GUARD", "0n", "is `0n`", "on"),
        row("INVALID_TOKEN_RESPONSE", "allow", "is `allow`", "unauthorized"),
        row("API_KEY_CLAIM", " ", "is blank", "cid"),
        row("API_KEY_CLAIM", "cid,uid", "has a comma", "cid"),
        row("API_KEY_CLAIM", "client id", blank, "cid"),
        row("CONTEXT_CLAIMS", "email,,level", "has an empty item", "email,level"),
        row("CONTEXT_CLAIMS", "email;level", "has a semicolon", "email,level"),
        row("CONTEXT_CLAIMS", "`email`", "has a quotation mark", "https://example.com/claims/email"),
        row("OKTA_INTROSPECTION_CLIENT_ID", "0oa1 0oa2", blank, "0oa1"),
        row("SSL_CERT_FILE", &missing, &unreadable(&missing), bundle.path()),
        row("SSL_CERT_FILE", path(&bad_rules), "contains no certificate", bundle.path()),
        row(
            "SSL_CERT_FILE",
            path(&not_utf8),
            &format!("names `{}`, which is not text", path(&not_utf8)),
            bundle.path(),
        ),
        row("AWS_LAMBDA_LOG_LEVEL", "LOUD", "is `LOUD`", "debug"),
        row("AWS_LAMBDA_LOG_LEVEL", "warning", "is `warning`", "warn"),
        row("AWS_LAMBDA_LOG_LEVEL", "OFF", "is `OFF`", "FATAL"),
        row("AWS_LAMBDA_LOG_FORMAT", "logfmt", "is `logfmt`", "text"),
    ];
    check(&pinned(), rows).await;

    let ended = Authorizer::refuse(&pinned().without("OKTA_ISSUER")).await.expect("it does not start");
    let [line] = &ended.lines[..] else { panic!("{:#?}", ended.lines) };
    assert!(!ended.status.success() && line.starts_with("OKTA_ISSUER is not set"), "{line}");
}

#[tokio::test]
async fn an_issuer_that_no_access_token_has_ends_the_process() {
    const GOOD: &str = "https://example.okta.com/oauth2/default";
    const ORG: &str = "is an Okta org and not a custom authorization server, so its access tokens are for Okta's own APIs; accepted: a custom authorization server, such as https://";
    let rows = [
        ("", "is not set", GOOD),
        ("http://example.okta.com/oauth2/default", "is not https", GOOD),
        ("https://example.okta.com/oauth2/default/", &format!("ends in a slash; accepted: `{GOOD}`"), GOOD),
        ("https://example.okta.com/oauth2/default/v1/keys", "is an endpoint of an issuer", GOOD),
        ("https://example.okta.com/oauth2/default/v1/token", "is an endpoint of an issuer", GOOD),
        ("https://example.okta.com/oauth2/aus1/v1/authorize", "is an endpoint of an issuer", GOOD),
        ("https://example.okta.com/oauth2/aus1/.well-known/openid-configuration", "is an endpoint of an issuer", GOOD),
        ("https://{yourOktaDomain}/oauth2/default", "has a placeholder", GOOD),
        ("https://${yourOktaDomain}/oauth2/default", "has a placeholder", GOOD),
        ("https://<domain>/oauth2/default", "has a placeholder", GOOD),
        ("https://YOUR_OKTA_DOMAIN/oauth2/default", "has a placeholder", GOOD),
        ("https://example-admin.okta.com/oauth2/default", "is the host of the admin console", GOOD),
        (
            "https://example-admin.oktapreview.com/oauth2/default",
            "is the host of the admin console",
            "https://example.oktapreview.com/oauth2/default",
        ),
        ("https://example.okta.com", &format!("{ORG}example.okta.com/oauth2/default"), GOOD),
        ("https://example.okta.com/", ORG, GOOD),
        ("https://example.okta.com/oauth2/v1/keys", ORG, GOOD),
        ("https://example.oktapreview.com", ORG, "https://example.oktapreview.com/oauth2/aus1"),
        ("https://example.okta-emea.com", ORG, "https://example.okta-emea.com/oauth2/aus1"),
        ("https://example.okta-gov.com", ORG, "https://example.okta-gov.com/oauth2/aus1"),
        ("https://example.okta.mil/oauth2", ORG, "https://example.okta.mil/oauth2/aus1"),
        ("https://login.example.com", ORG, "https://login.example.com/oauth2/default"),
        ("https://EXAMPLE.okta.com/oauth2/default", "is not in its normal form", GOOD),
        (&format!("\"{GOOD}\""), "has a quotation mark", GOOD),
        (
            "https://a.okta.com/oauth2/x;https://b.okta.com/oauth2/x",
            "has a semicolon",
            "https://a.okta.com/oauth2/x,https://b.okta.com/oauth2/x",
        ),
        (
            "https://a.okta.com/oauth2/x https://b.okta.com/oauth2/x",
            "has white space",
            "https://a.okta.com/oauth2/x, https://b.okta.com/oauth2/x",
        ),
        (
            "https://a.okta.com/oauth2/x, https://a.okta.com/oauth2/x",
            "has `https://a.okta.com/oauth2/x` twice",
            "https://a.okta.com/oauth2/x, https://a.okta.com/oauth2/y",
        ),
        ("http://127.0.0.1:9/", "ends in a slash", "http://127.0.0.1:9"),
    ];
    check(&pinned(), rows.map(|(bad, problem, good)| row("OKTA_ISSUER", bad, problem, good)).into()).await;
}

/// Variables that are good alone, and not with the others.
#[tokio::test]
async fn variables_that_contradict_each_other_end_the_process() {
    const ID: &str = "OKTA_INTROSPECTION_CLIENT_ID";
    let stale = "KEYS_MAX_STALE_SECONDS";
    let with_a_secret = pinned().with("OKTA_INTROSPECTION_CLIENT_SECRET", "hush");
    check(&with_a_secret, vec![row(ID, "", "is not set, and OKTA_INTROSPECTION_CLIENT_SECRET is", "0oa1")]).await;
    let with_an_endpoint = pinned().with("OKTA_INTROSPECTION_ENDPOINT", "https://a.okta.com/oauth2/x/v1/introspect");
    check(&with_an_endpoint, vec![row(ID, "", "is not set, and OKTA_INTROSPECTION_ENDPOINT is", "0oa1")]).await;
    let due_after = |seconds: &str| pinned().with("KEYS_REFRESH_SECONDS", seconds);
    check(&due_after("3600"), vec![row(stale, "3599", "is 3599, and KEYS_REFRESH_SECONDS is 3600", "3600")]).await;
    check(&due_after("90000"), vec![row(stale, "", "is 86400, and KEYS_REFRESH_SECONDS is 90000", "90000")]).await;
    let two_issuers = pinned().with("OKTA_ISSUER", "https://a.okta.com/oauth2/x,https://b.okta.com/oauth2/x");
    let problem = "is set, but there are several issuers";
    check(&two_issuers, vec![row("OKTA_KEYS_ENDPOINT", "https://a.okta.com/oauth2/x/v1/keys", problem, "")]).await;
    let problem = "is set, but the issuers are on several hosts";
    check(&two_issuers, vec![row(ID, "0oa1", problem, "")]).await;
}

/// Whoever answers at the table's endpoint chooses the keys.
#[tokio::test]
async fn the_tables_endpoint_is_https_or_loopback() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let closed = closed_port().await;
    let with_a_table = Env::okta(&[&okta]).with("KEYS_TABLE_NAME", "okta-keys").with("AWS_ENDPOINT_URL", &closed);
    let dynamodb = "AWS_ENDPOINT_URL_DYNAMODB";
    let rows = vec![
        row(dynamodb, "http://dynamodb.example:8000", "is not https", &closed),
        row(dynamodb, "http://169.254.169.254", "is not https", "http://localhost:1"),
        row(dynamodb, "dynamodb.eu-west-1.amazonaws.com", "is not a URL", "http://[::1]:1"),
        row(dynamodb, "", "is empty", &closed),
    ];
    check(&with_a_table, rows).await;
    let with_a_table = with_a_table.with(dynamodb, &closed);
    check(&with_a_table, vec![row("AWS_ENDPOINT_URL", "http://aws.example", "is not https", &closed)]).await;
    let without_a_table = pinned().with(dynamodb, "http://dynamodb.example").with("KEYS_TABLE_NAME", "okta-keys");
    let answer = Authorizer::start(&without_a_table).await.invoke(event("Bearer x")).await;
    assert!(answer.is_unauthorized(), "pinned keys use no table: {answer:?}");
}

/// A proxy that the HTTP client cannot read is no proxy: it would connect directly.
#[tokio::test]
async fn a_proxy_is_a_url() {
    let good = "http://user:hush@proxy.example:3128";
    let rows = vec![
        row("HTTPS_PROXY", "nonsense", "is not a URL", "proxy.example:3128"),
        row("HTTPS_PROXY", "not-a-proxy://user:hush@x", "is neither http nor https", good),
        row("https_proxy", "http//user:hush@proxy.example", "is not a URL", good),
        row("ALL_PROXY", "socks5://user:hush@proxy.example:1080", "is neither http nor https", good),
        row("all_proxy", "http://user:hush@proxy.example:port", "is not a URL", good),
        row("HTTP_PROXY", " ", "is blank", good),
        row(
            "http_proxy",
            "http://user:hush@proxy.example:3128/x",
            "has a path",
            "http://user:hush@proxy.example:3128/",
        ),
    ];
    check(&pinned(), rows).await;
    let both = pinned().with("https_proxy", good);
    check(&both, vec![row("HTTPS_PROXY", "", "is another value than https_proxy", good)]).await;
}

#[tokio::test]
async fn a_name_that_nobody_reads_ends_the_process() {
    let unknown =
        |nearest: &str| format!("is unknown, so it would have no effect; accepted: the nearest name, {nearest}, ");
    let renamed = |new: &str| format!("has a new name; accepted: {new}");
    let rows = [
        ("OKTA_CLIENT_IDS", renamed("OKTA_ALLOWED_CLIENT_IDS, ")),
        (
            "OKTA_CLIENT_ID",
            renamed("OKTA_INTROSPECTION_CLIENT_ID for the client that asks Okta, or OKTA_ALLOWED_CLIENT_IDS "),
        ),
        ("OKTA_CLIENT_SECRET", renamed("OKTA_INTROSPECTION_CLIENT_SECRET, ")),
        ("OKTA_INTROSPECT", renamed("OKTA_INTROSPECTION_CLIENT_ID, ")),
        ("OKTA_AUDIENCES", unknown("OKTA_AUDIENCE")),
        ("OKTA_ISSUERS", unknown("OKTA_ISSUER")),
        ("okta_audience", unknown("OKTA_AUDIENCE")),
        ("OKTA_ALLOWED_CLIENTS", unknown("OKTA_ALLOWED_CLIENT_IDS")),
        ("OKTA_API_TOKEN", "is unknown, so it would have no effect; accepted: the nearest name, ".to_owned()),
        ("KEYS_TABLE", unknown("KEYS_TABLE_NAME")),
        ("KEYS_MAX_STALE", unknown("KEYS_MAX_STALE_SECONDS")),
        ("POLICY_PATH", unknown("POLICY_FILE")),
        ("PATH_GAURD", unknown("PATH_GUARD")),
        ("OKAT_CLIENT_IDS", unknown("OKTA_ALLOWED_CLIENT_IDS")),
        ("CLIENT_IDS", unknown("OKTA_ALLOWED_CLIENT_IDS")),
        ("OktaAllowedClientIds", unknown("OKTA_ALLOWED_CLIENT_IDS")),
    ];
    // An empty variable is not set, whatever its name.
    check(&pinned(), rows.map(|(name, problem)| row(name, "hush", &problem, "")).into()).await;
    let others = pinned().with("MY_OKTA_ISSUER_URL", "x").with("KEYSTORE", "x").with("PATH", "/bin").with("TZ", ":UTC");
    assert!(Authorizer::start(&others).await.invoke(event("Bearer x")).await.is_unauthorized());
    // It is the first thing that is said, because it is why the right one is missing.
    let line = Authorizer::rejection(&pinned().without("OKTA_ISSUER").with("OKTA_ISSUERS", "x")).await;
    assert!(line.starts_with("OKTA_ISSUERS is unknown"), "{line}");
}

/// The rules are those that are compiled in, so what they grant is not known here.
#[tokio::test]
async fn an_empty_variable_is_not_set() {
    let mut env = pinned();
    for variable in [
        "OKTA_AUDIENCE",
        "OKTA_ALLOWED_CLIENT_IDS",
        "OKTA_KEYS_ENDPOINT",
        "OKTA_INTROSPECTION_CLIENT_ID",
        "OKTA_INTROSPECTION_CLIENT_SECRET",
        "OKTA_INTROSPECTION_ENDPOINT",
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
        "SSL_CERT_FILE",
        "HTTPS_PROXY",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_LEVEL",
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
    assert_eq!(lines.len(), 3, "the start, the wait and the decision: {lines:#?}");
}

#[tokio::test]
async fn a_runtime_api_that_never_listens_ends_the_process() {
    let ended = Authorizer::start_without_api(&pinned()).await;
    let [_start, wait, end] = &ended.lines[..] else { panic!("three lines: {:#?}", ended.lines) };
    assert!(wait.contains("the Runtime API refuses connections") && wait.contains(r#""level":"WARN""#), "{wait}");
    assert!(wait.contains(r#""runtime_api":"127.0.0.1:"#), "{wait}");
    assert!(end.starts_with("the runtime stopped: client error (Connect): tcp connect error: "), "{end}");
    assert_eq!(ended.status.code(), Some(1));
}

#[tokio::test]
async fn a_link_to_nothing_is_not_an_absent_rules_file() {
    let folder = |name: &str| format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    let (broken, good) = (folder("broken-link"), folder("good-link"));
    for (package, target) in [(&broken, "missing.toml"), (&good, RULES_FILE)] {
        fs::remove_dir_all(package).ok();
        fs::create_dir_all(package).unwrap();
        symlink(target, format!("{package}/policy.toml")).unwrap();
    }
    let env = pinned().without("POLICY_FILE");
    let expected = format!(
        "POLICY_FILE is not set, and `{broken}/policy.toml` cannot be read: it is a symbolic link to a file that does not exist; accepted: "
    );
    let ended = Authorizer::refuse(&env.clone().with("LAMBDA_TASK_ROOT", &broken)).await.unwrap();
    assert!(matches!(&ended.lines[..], [line] if line.starts_with(&expected)), "{ended:#?}");
    Authorizer::try_start(&env.with("LAMBDA_TASK_ROOT", &good), Log::Captured).await.unwrap();
}
