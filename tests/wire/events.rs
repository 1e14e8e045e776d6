//! Every event gets an answer, and the process goes on.

use okta_authorizer_testkit::{
    API, Failures, arn,
    env::{AWS_SECRET, Env},
    event, event_for, keys,
    runtime_api::{Answer, Authorizer},
    token::{bearer, claims},
};
use serde_json::{Value, json};

use crate::pinned;

/// Sends every event and checks its answer. A good event follows each of them.
async fn assert_all(env: &Env, events: &[String], expected: &str, is_expected: fn(&Answer) -> bool) {
    let authorizer = Authorizer::start(env).await;
    let good = event(&bearer(&json!({})));
    let mut failures = Failures::default();
    for event in events {
        let answer = authorizer.invoke(event.clone()).await;
        failures.check(is_expected(&answer), || format!("{event:.300}: not {expected}: {answer:?}"));
        let after = authorizer.invoke(good.clone()).await;
        failures.check(after.allows(&arn("GET /apps")), || format!("after {event:.300}: {after:?}"));
    }
    failures.report();
}

#[tokio::test]
async fn an_event_that_is_not_json_is_an_error() {
    let events = [
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        r#"{"a":"#.repeat(100_000),
        String::new(),
        "not json".to_owned(),
        "{}{}".to_owned(),
        r#"{"authorizationToken":"\ud800"}"#.to_owned(),
    ];
    assert_all(&pinned(), &events, "an error", |answer| matches!(answer, Answer::Error { .. })).await;
}

#[tokio::test]
async fn a_fault_contains_nothing_of_the_token() {
    let authorizer = Authorizer::start(&pinned()).await;
    let good = bearer(&json!({}));
    let Answer::Error { kind, message } = authorizer.invoke(event_for(&good, "arn:aws:nonsense")).await else {
        panic!("the method ARN was accepted");
    };
    for secret in good.split([' ', '.']).chain(["00uada", "ada@example.com", AWS_SECRET]) {
        assert!(!kind.contains(secret) && !message.contains(secret), "{kind}: {message}");
    }
}

#[tokio::test]
async fn deny_mode_denies_a_bad_token_the_whole_stage() {
    let authorizer = Authorizer::start(&pinned().with("INVALID_TOKEN_RESPONSE", "deny")).await;
    let forged = keys::attacker().named("main").token(&claims());
    let mut events = ["", "Bearer", "Bearer x", "Basic x", &forged].map(event).to_vec();
    events.push(json!({ "type": "TOKEN", "methodArn": arn("GET /apps") }).to_string());
    for event in events {
        let answer = authorizer.invoke(event).await;
        let response: &Value = answer.response();
        assert_eq!(response["principalId"], "unauthenticated", "{response}");
        let policy = answer.policy(&arn("GET /apps"));
        assert_eq!((policy.allow, policy.deny), (vec![], vec![format!("{API}/*")]));
    }
    // A fault is still a fault. Without a usable method ARN there is no stage to deny.
    assert!(authorizer.invoke(event_for(&bearer(&json!({})), "arn:aws:nonsense")).await.is_fault());
    let neither = authorizer.invoke(event_for("Bearer x", "arn:aws:nonsense")).await;
    assert!(matches!(neither, Answer::Error { .. }), "{neither:?}");
    assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
}
