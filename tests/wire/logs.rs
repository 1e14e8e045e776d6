//! Design 6: what the process says, and what it never says.

use okta_authorizer_testkit::{
    arn,
    env::{AWS_SECRET, Env},
    event, event_for,
    keys::{self, encode, jwks},
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    table::closed_port,
    token::{bearer, claims, claims_of, token},
};
use serde_json::{Map, Value, json};

fn pinned() -> Env {
    Env::pinned(&jwks(&[keys::main()]))
}

/// The members of each decision line.
fn decisions(lines: &[String]) -> Vec<Map<String, Value>> {
    objects(lines).filter(|object| object.contains_key("outcome")).collect()
}

fn objects(lines: &[String]) -> impl Iterator<Item = Map<String, Value>> {
    lines.iter().filter_map(|line| serde_json::from_str(line).ok())
}

fn of_level(lines: &[String], level: &str) -> usize {
    lines.iter().filter(|line| line.contains(level)).count()
}

#[tokio::test]
async fn every_invocation_is_one_decision_line() {
    let authorizer = Authorizer::start(&pinned()).await;
    let good = bearer(&json!({}));
    authorizer.invoke(event_for(&good, &arn("GET /apps/0oa1"))).await;
    authorizer.invoke(event_for(&good, &arn("DELETE /tenants/acme"))).await;
    authorizer.invoke(event("Bearer nonsense")).await;
    authorizer.invoke(event(&keys::attacker().named("main").token(&claims()))).await;
    authorizer.invoke("{}").await;
    authorizer.invoke(event_for(&good, "arn:aws:nonsense")).await;
    let lines = authorizer.stop().await;

    let decisions = decisions(&lines);
    let outcomes: Vec<_> = decisions.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["allow", "deny", "refused", "refused", "refused", "fault"], "{lines:#?}");
    assert_eq!(decisions[0]["kid"], "main");
    assert_eq!(decisions[0]["uid"], "00uada");
    assert_eq!(decisions[0]["cid"], "0oaclient");
    assert_eq!(decisions[0]["jti"], "AT.0123456789");
    for (index, said) in [(0, "/apps/0oa1"), (1, "/tenants/acme")] {
        assert!(
            decisions[index].values().any(|value| value.as_str().is_some_and(|text| text.contains(said))),
            "{lines:#?}"
        );
    }
}

#[tokio::test]
async fn a_fault_is_one_error_and_a_refusal_is_none() {
    let refusing = Authorizer::start(&pinned()).await;
    refusing.invoke(event("Bearer nonsense")).await;
    refusing.invoke(event(&keys::attacker().named("main").token(&claims()))).await;
    refusing.invoke(event(&bearer(&json!({})))).await;
    let lines = refusing.stop().await;
    assert_eq!(of_level(&lines, "ERROR"), 0, "{lines:#?}");

    let faulting = Authorizer::start(&pinned()).await;
    assert!(faulting.invoke(event_for(&bearer(&json!({})), "arn:aws:nonsense")).await.is_fault());
    let lines = faulting.stop().await;
    assert_eq!(of_level(&lines, "ERROR"), 1, "{lines:#?}");
}

#[tokio::test]
async fn a_table_that_fails_is_warned_of_and_no_error() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let broken = Okta::start(Reply::text("")).await;
    broken.introspects_at("/", Reply::status("503 Service Unavailable\r\n", "{}"));
    for endpoint in [format!("http://{}", broken.address), closed_port().await] {
        let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&endpoint)).await;
        let good = event(&keys::main().token(&claims_of(&okta.issuer())));
        assert!(authorizer.invoke(good).await.allows(&arn("GET /apps")));
        let lines = authorizer.stop().await;
        assert!(of_level(&lines, "WARN") > 0, "{lines:#?}");
        assert_eq!(of_level(&lines, "ERROR"), 0, "{lines:#?}");
    }
    assert!(!broken.introspection_requests().is_empty(), "the table was asked");
}

/// What must not be in the log of a process that was sent `tokens`.
fn assert_discreet(lines: &[String], tokens: &[String]) {
    for line in lines {
        assert!(!line.contains(AWS_SECRET), "a secret: {line}");
        for token in tokens {
            for part in token.split([' ', '.']).filter(|part| part.len() > 8) {
                assert!(!line.contains(part), "{part} in {line}");
            }
        }
    }
}

#[tokio::test]
async fn no_level_of_logging_shows_a_token_or_a_secret() {
    for level in ["TRACE", "DEBUG", "INFO", "trace"] {
        for format in ["JSON", "Text"] {
            let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
            let env = Env::okta(&[&okta])
                .with("AWS_LAMBDA_LOG_LEVEL", level)
                .with("AWS_LAMBDA_LOG_FORMAT", format)
                .with("RUST_LOG", "trace");
            let authorizer = Authorizer::start(&env).await;
            let object = claims_of(&okta.issuer());
            let tokens = vec![
                format!("Bearer {}", keys::main().token(&object)),
                format!("Bearer {}", keys::attacker().named("main").token(&object)),
                format!("Bearer {}", keys::attacker().token(&object)),
                format!("Bearer {}.x", keys::main().token(&object)),
                "Bearer a-secret-that-someone-pasted".to_owned(),
                "Basic dXNlcjphLXNlY3JldC1wYXNzd29yZA==".to_owned(),
                format!("Bearer {}", encode(r#"{"alg":"RS256","kid":"main","x":"some-private-header"}"#)),
            ];
            for token in &tokens {
                authorizer.invoke(event(token)).await;
            }
            authorizer.invoke(event_for(&tokens[0], "arn:aws:nonsense")).await;
            assert!(authorizer.invoke(event(&tokens[0])).await.allows(&arn("GET /apps")));
            let lines = authorizer.stop().await;
            assert_discreet(&lines, &tokens);
            assert!(!lines.is_empty(), "a test of nothing");
            assert!(!lines.iter().any(|line| line.contains("authorizationToken")), "the event itself: {lines:#?}");
        }
    }
}

#[tokio::test]
async fn what_a_caller_writes_cannot_break_or_forge_a_line() {
    let authorizer = Authorizer::start(&pinned()).await;
    let forged = "x\n{\"outcome\":\"allow\",\"uid\":\"forged\"}\r\n\u{1b}[31m\u{0}\u{2028}\u{85}";
    let header = json!({ "alg": "RS256", "kid": forged }).to_string();
    authorizer.invoke(event(&keys::main().sign(header, claims().to_string()))).await;
    authorizer.invoke(event(&token(&json!({ "uid": forged, "cid": forged, "jti": forged, "sub": forged })))).await;
    authorizer.invoke(event_for(&bearer(&json!({})), &arn(&format!("GET /{forged}")))).await;
    authorizer.invoke(event(forged)).await;
    let lines = authorizer.stop().await;
    let outcomes: Vec<_> = decisions(&lines).iter().map(|line| line["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["refused", "allow", "deny", "refused"], "{lines:#?}");
    assert!(!lines.iter().any(|line| line.chars().any(char::is_control)), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with(r#"{"outcome":"allow","uid":"forged""#)), "{lines:#?}");
}

#[tokio::test]
async fn a_long_value_is_not_logged_at_length() {
    let authorizer = Authorizer::start(&pinned()).await;
    let long = "k".repeat(10_000);
    let header = json!({ "alg": "RS256", "kid": long }).to_string();
    assert!(authorizer.invoke(event(&keys::main().sign(header, claims().to_string()))).await.is_unauthorized());
    let lines = authorizer.stop().await;
    assert_eq!(decisions(&lines).len(), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() < 8192), "a caller can fill the log");
}

/// The value of a member that is a number, and not the time that it took.
fn counts(decision: &Map<String, Value>) -> Vec<(&String, u64)> {
    let numbers = decision.iter().filter_map(|(name, value)| Some((name, value.as_u64()?)));
    numbers.filter(|(name, _)| !name.contains("micro")).collect()
}

#[tokio::test]
async fn what_was_left_out_of_a_policy_is_counted() {
    let authorizer = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", "8192")).await;
    let roomy = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", "1000000")).await;
    let many: Vec<_> = (0..100).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect();
    let body = event(&bearer(&json!({ "tenants": many })));
    let kept = authorizer.invoke(body.clone()).await.policy(&arn("GET /apps")).allow.len();
    let all = roomy.invoke(body).await.policy(&arn("GET /apps")).allow.len();
    let left_out = u64::try_from(all - kept).unwrap();
    assert!(left_out > 0, "a test of nothing");
    let (bounded, whole) = (authorizer.stop().await, roomy.stop().await);
    let (bounded, whole) = (&decisions(&bounded)[0], &decisions(&whole)[0]);
    let counted = counts(bounded).into_iter().find(|(_, count)| *count == left_out);
    let (name, _) = counted.unwrap_or_else(|| panic!("{left_out} left out: {bounded:?}"));
    assert_eq!(whole.get(name).and_then(Value::as_u64).unwrap_or_default(), 0);
}

#[tokio::test]
async fn claim_values_that_grant_nothing_are_counted() {
    let authorizer = Authorizer::start(&pinned()).await;
    authorizer.invoke(event(&bearer(&json!({ "tenants": ["0oidp:acme:G"] })))).await;
    authorizer.invoke(event(&bearer(&json!({ "tenants": ["0oidp:acme:G", "0oidp:*:G", "0oidp:a/b:G"] })))).await;
    let lines = authorizer.stop().await;
    let decisions = decisions(&lines);
    let before = |name: &String| decisions[0].get(name).and_then(Value::as_u64).unwrap_or_default();
    let grown = counts(&decisions[1]).into_iter().any(|(name, count)| before(name) == 0 && count > 0);
    assert!(grown, "{lines:#?}");
}
