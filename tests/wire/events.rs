//! Every event gets an answer, and the process goes on.

use futures_util::future::join_all;
use okta_authorizer_testkit::{
    API, Failures, arn,
    env::{AWS_SECRET, Env},
    event, event_for, keys, now,
    runtime_api::{Answer, Authorizer, Delivery},
    token::{bearer, claims},
};
use serde_json::{Value, json};

use crate::{concurrency::concurrent, pinned};

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

/// Ways in which the Runtime API can deliver an event that must not matter. `lambda_runtime` ends
/// the process for most of them.
fn odd_deliveries() -> Vec<(String, Delivery)> {
    let mut deliveries = Vec::new();
    // An object of objects of strings is expected in the first, two strings in the second.
    for name in ["lambda-runtime-client-context", "lambda-runtime-cognito-identity"] {
        for value in [
            r#"{"custom":{"a":{"b":1}}}"#,
            r#"{"client":5}"#,
            r#"{"identityId":5}"#,
            "{}",
            "[]",
            "null",
            "7",
            "{",
            "not json",
            "",
            "\u{e9}",
            "\u{1f600}",
            &"[".repeat(8_000),
        ] {
            deliveries.push((format!("{name}: {value:.40}"), Delivery::default().with(name, value)));
        }
    }
    for name in [
        "lambda-runtime-deadline-ms",
        "lambda-runtime-invoked-function-arn",
        "lambda-runtime-trace-id",
        "lambda-runtime-aws-tenant-id",
        "lambda-runtime-invocation-id",
        "content-type",
    ] {
        deliveries.push((format!("no {name}"), Delivery::default().without(name)));
        for value in [b"".as_slice(), b"-1", b"soon", b"99999999999999999999999", b"\xff\xfe"] {
            let text = String::from_utf8_lossy(value);
            deliveries.push((format!("{name}: {text}"), Delivery::default().with(name, value)));
        }
    }
    deliveries
}

#[tokio::test]
async fn no_header_that_a_caller_can_choose_ends_the_process() {
    let good = event(&bearer(&json!({})));
    for concurrency in ["1", "4"] {
        let authorizer = Authorizer::start(&concurrent(pinned(), concurrency)).await;
        let mut failures = Failures::default();
        let mut decisions = 0;
        for (name, delivery) in odd_deliveries() {
            // As many as there are workers. The event itself is good, so it gets its policy.
            let answers = join_all((0..4).map(|_| authorizer.invoke_as(&delivery, good.clone()))).await;
            let after = authorizer.invoke(good.clone()).await;
            failures.check(answers.iter().all(|answer| *answer == after), || format!("{name}: {answers:?}"));
            failures.check(after.allows(&arn("GET /apps")), || format!("after {name}: {after:?}"));
            decisions += 5;
        }
        failures.report();
        let polls: usize = concurrency.parse().unwrap();
        authorizer.wait_for_polls(polls).await;
        let lines = authorizer.stop().await;
        assert_eq!(lines.iter().filter(|line| line.contains(r#""outcome":"allow""#)).count(), decisions);
        assert_eq!(lines.len(), 1 + decisions, "only the start and the decisions: {lines:#?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_an_event_ends_the_process() {
    let good = event(&bearer(&json!({})));
    let no_id = || Delivery::default().without("lambda-runtime-aws-request-id");
    for (name, delivery, problem) in [
        ("403", Delivery::status(403), "the Runtime API does not give an event: 403 Forbidden"),
        ("500", Delivery::status(500), "the Runtime API does not give an event: 500 Internal Server Error"),
        ("no id", no_id(), "the Runtime API gave an event without a readable request id"),
        (
            "not ASCII",
            no_id().with("lambda-runtime-aws-request-id", "\u{e9}"),
            "the Runtime API gave an event without a readable request id",
        ),
        (
            "empty",
            no_id().with("lambda-runtime-aws-request-id", ""),
            "the Runtime API gave an event without a readable request id",
        ),
    ] {
        for concurrency in ["1", "4"] {
            let authorizer = Authorizer::start(&concurrent(pinned(), concurrency)).await;
            assert!(authorizer.invoke(good.clone()).await.allows(&arn("GET /apps")), "the control of {name}");
            let ended = authorizer.end_by(delivery.clone(), good.clone()).await;
            assert_eq!(ended.status.code(), Some(1), "{name}: {ended:#?}");
            let [_start, decision, end] = &ended.lines[..] else { panic!("{name}: {:#?}", ended.lines) };
            assert!(decision.contains(r#""outcome":"allow""#), "{name}: {decision}");
            assert_eq!(*end, format!("the runtime stopped: {problem}"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_rejected_answer_is_a_line_and_the_process_goes_on() {
    let authorizer = Authorizer::start(&pinned()).await;
    let good = event(&bearer(&json!({})));
    for status in [400, 403, 410, 413, 500] {
        for event in [&good, "{}"] {
            authorizer.invoke_as(&Delivery::rejecting(status), event).await;
            assert!(authorizer.invoke(good.clone()).await.allows(&arn("GET /apps")), "after {status}");
        }
    }
    let lines = authorizer.stop().await;
    let errors: Vec<_> = lines.iter().filter(|line| line.contains("ERROR")).collect();
    assert_eq!((errors.len(), lines.len()), (10, 31), "{lines:#?}");
    assert!(errors.iter().all(|line| line.contains("the Runtime API rejected the answer")), "{errors:#?}");
}

#[tokio::test]
async fn while_there_is_no_event_the_process_asks_again() {
    for concurrency in ["1", "4"] {
        let authorizer = Authorizer::start(&concurrent(pinned(), concurrency)).await;
        for _ in 0..8 {
            authorizer.send_no_event();
        }
        assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
        let lines = authorizer.stop().await;
        assert_eq!(lines.len(), 2, "the start and one decision: {lines:#?}");
    }
}

#[tokio::test]
async fn a_process_without_its_runtime_api_ends() {
    for concurrency in ["1", "4"] {
        let authorizer = Authorizer::start(&concurrent(pinned(), concurrency)).await;
        assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
        authorizer.wait_for_polls(concurrency.parse().unwrap()).await;
        let ended = authorizer.end_api().await;
        assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
        let end = ended.lines.last().unwrap();
        assert!(end.starts_with("the runtime stopped: client error (SendRequest)"), "{ended:#?}");
        assert_eq!(ended.lines.len(), 3, "the start, the decision and the end: {ended:#?}");
    }
}

#[tokio::test]
async fn with_snapstart_the_first_event_comes_after_the_restore() {
    for (kind, restores) in [("snap-start", 1), ("on-demand", 0)] {
        let authorizer = Authorizer::start(&pinned().with("AWS_LAMBDA_INITIALIZATION_TYPE", kind)).await;
        assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
        assert_eq!(authorizer.restores(), restores, "{kind}");
    }
}

#[tokio::test]
async fn an_event_that_is_not_json_is_refused() {
    let events = [
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        r#"{"a":"#.repeat(100_000),
        String::new(),
        "not json".to_owned(),
        "{}{}".to_owned(),
        r#"{"authorizationToken":"\ud800"}"#.to_owned(),
    ];
    assert_all(&pinned(), &events, "refused", Answer::is_unauthorized).await;
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
    let expired = bearer(&json!({ "exp": 1_000_000_000 }));
    let mut events = ["", "Bearer", "Bearer x", "Basic x", &forged, &expired].map(event).to_vec();
    events.push(json!({ "type": "TOKEN", "methodArn": arn("GET /apps") }).to_string());
    for event in events {
        let answer = authorizer.invoke(event).await;
        let response: &Value = answer.response();
        assert_eq!(response["principalId"], "unauthenticated", "{response}");
        let policy = answer.policy(&arn("GET /apps"));
        assert_eq!((policy.allow, policy.deny), (vec![], vec![format!("{API}/*")]));
    }
    // API Gateway would cache the Deny of a token that is good a moment later.
    for (name, token) in [
        ("unknown_kid", keys::attacker().token(&claims())),
        ("not_yet_valid", bearer(&json!({ "nbf": now() + 3600 }))),
        ("issued_in_the_future", bearer(&json!({ "iat": now() + 3600 }))),
    ] {
        let answer = authorizer.invoke(event(&token)).await;
        assert!(answer.is_unauthorized(), "{name}: {answer:?}");
    }
    // A fault is still a fault. Without a usable method ARN there is no stage to deny.
    assert!(authorizer.invoke(event_for(&bearer(&json!({})), "arn:aws:nonsense")).await.is_fault());
    let neither = authorizer.invoke(event_for("Bearer x", "arn:aws:nonsense")).await;
    assert!(matches!(neither, Answer::Error { .. }), "{neither:?}");
    assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
}
