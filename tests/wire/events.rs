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
async fn an_event_without_a_token_is_unauthorized() {
    let arn = arn("GET /apps");
    let good = bearer(&json!({}));
    let mut events = [
        json!({}),
        json!([]),
        json!(null),
        json!(true),
        json!(5),
        json!(-0.5),
        json!("x"),
        json!(good),
        json!([good]),
        json!({ "type": "TOKEN" }),
        json!({ "type": "TOKEN", "methodArn": arn }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": null }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": 5 }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": true }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": [good] }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": { "token": good } }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": "" }),
        json!({ "type": "TOKEN", "methodArn": arn, "AuthorizationToken": good }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorization_token": good }),
        json!({ "event": { "type": "TOKEN", "methodArn": arn, "authorizationToken": good } }),
        json!({ "type": "REQUEST", "methodArn": arn, "headers": { "Authorization": good } }),
        json!({ "version": "2.0", "routeArn": arn, "identitySource": [good] }),
        json!({ "Records": [{ "eventSource": "aws:s3" }] }),
        json!({ "x": "y".repeat(1_000_000) }),
    ]
    .map(|event| event.to_string())
    .to_vec();
    events.push(format!("{}{}", "[".repeat(100), "]".repeat(100)));
    events.push(format!("{}5{}", r#"{"a":"#.repeat(100), "}".repeat(100)));
    assert_all(&pinned(), &events, "Unauthorized", Answer::is_unauthorized).await;
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

/// Events with method ARNs for which no policy can be made. The unit tests of `MethodArn` have
/// more.
fn events_with_bad_arns(authorization: &str) -> Vec<String> {
    let mut events: Vec<_> = [
        json!(null),
        json!(5),
        json!(["x"]),
        json!({}),
        json!(""),
        json!("*"),
        json!("GET /apps"),
        json!("arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod"),
        json!("arn:aws:execute-api:us-east-1:123456789012:abcdef1234/*/GET/apps"),
        json!("arn:aws:lambda:us-east-1:123456789012:function/prod/GET/apps"),
        json!(format!(" {API}/GET/apps")),
    ]
    .into_iter()
    .map(|arn| json!({ "type": "TOKEN", "authorizationToken": authorization, "methodArn": arn }).to_string())
    .collect();
    events.push(json!({ "type": "TOKEN", "authorizationToken": authorization }).to_string());
    events
}

#[tokio::test]
async fn a_bad_method_arn_is_a_fault_for_a_good_token() {
    let events = events_with_bad_arns(&bearer(&json!({ "groups": ["SUPERUSERS"] })));
    assert_all(&pinned(), &events, "a fault", Answer::is_fault).await;
}

#[tokio::test]
async fn a_bad_token_is_unauthorized_with_any_method_arn() {
    let forged = format!("Bearer {}", keys::attacker().named("main").token(&claims()));
    assert_all(&pinned(), &events_with_bad_arns(&forged), "Unauthorized", Answer::is_unauthorized).await;
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
