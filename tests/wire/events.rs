//! Every event gets an answer, and the process goes on.

use std::array;

use okta_authorizer_testkit::{
    API, Failures, arn,
    env::{AWS_SECRET, Env},
    event, event_for, keys, now,
    runtime_api::{Answer, Authorizer, Delivery},
    token::{bearer, claims},
};
use serde_json::{Value, json};
use tokio::sync::oneshot::error::TryRecvError;

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

/// A line of the log about an event without an answer.
const UNREADABLE: &str =
    "an event gets no answer, because one of its headers, such as the client context, is unreadable";

/// Ways in which the Runtime API can deliver an event. `true`: `lambda_runtime` can read the
/// headers, so the event is answered.
fn odd_deliveries() -> Vec<(String, Delivery, bool)> {
    let mut deliveries = Vec::new();
    let (client_context, identity) = ("lambda-runtime-client-context", "lambda-runtime-cognito-identity");
    let nested = "[".repeat(8_000);
    // (value, readable as a client context, readable as an identity)
    for (value, is_context, is_identity) in [
        (r#"{"custom":{"a":"b"}}"#, true, false),
        (r#"{"custom":{"a":{"b":1}}}"#, false, false),
        (r#"{"client":5}"#, false, false),
        (r#"{"identityId":5}"#, true, false),
        (r#"{"identityId":"a","identityPoolId":"b"}"#, true, true),
        ("{}", true, false),
        ("[]", true, false),
        ("null", false, false),
        ("7", false, false),
        ("{", false, false),
        ("not json", false, false),
        ("", true, true),
        ("\u{e9}", false, false),
        ("\u{1f600}", false, false),
        (&nested, false, false),
    ] {
        for (name, readable) in [(client_context, is_context), (identity, is_identity)] {
            deliveries.push((format!("{name}: {value:.40}"), Delivery::default().with(name, value), readable));
        }
    }
    let odd = [b"".as_slice(), b"-1", b"soon", b"99999999999999999999999", b"\xff\xfe"];
    // (name, whether it may be absent, readable values)
    for (name, may_be_absent, readable) in [
        ("lambda-runtime-deadline-ms", false, &odd[..0]),
        ("lambda-runtime-invoked-function-arn", true, &odd[..4]),
        ("lambda-runtime-trace-id", true, &odd),
        ("lambda-runtime-aws-tenant-id", true, &odd),
        ("lambda-runtime-invocation-id", true, &odd),
        ("content-type", true, &odd),
    ] {
        if may_be_absent {
            deliveries.push((format!("no {name}"), Delivery::default().without(name), true));
        }
        for value in odd {
            let text = String::from_utf8_lossy(value);
            deliveries.push((
                format!("{name}: {text}"),
                Delivery::default().with(name, value),
                readable.contains(&value),
            ));
        }
    }
    let no_id = Delivery::default().with("lambda-runtime-aws-request-id", b"\xff\xfe");
    deliveries.push(("a request id that is not ASCII".to_owned(), no_id, false));
    deliveries
}

#[tokio::test]
async fn after_an_unreadable_header_the_next_event_is_answered() {
    let good = event(&bearer(&json!({})));
    for concurrency in ["1", "4"] {
        let authorizer = Authorizer::start(&concurrent(pinned(), concurrency)).await;
        let mut failures = Failures::default();
        let (mut decisions, mut unreadable) = (0, 0);
        for (name, delivery, readable) in odd_deliveries() {
            // As many as there are workers. The payload is good.
            let sent: [_; 4] = array::from_fn(|_| authorizer.send(delivery.clone(), good.clone()));
            let after = authorizer.invoke(good.clone()).await;
            failures.check(after.allows(&arn("GET /apps")), || format!("after {name}: {after:?}"));
            decisions += 1;
            for mut answered in sent {
                if readable {
                    let answer = answered.await.ok();
                    failures.check(answer.as_ref() == Some(&after), || format!("{name}: {answer:?}"));
                    decisions += 1;
                } else {
                    let answer = answered.try_recv();
                    failures.check(answer == Err(TryRecvError::Empty), || format!("{name}: {answer:?}"));
                    unreadable += 1;
                }
            }
        }
        failures.report();
        authorizer.wait_for_polls(concurrency.parse().unwrap()).await;
        let lines = authorizer.stop().await;
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!((count(r#""outcome":"allow""#), count(UNREADABLE)), (decisions, unreadable));
        // lambda_runtime says this once a minute.
        assert_eq!(count("Ignoring malformed Lambda runtime invocation ID header"), 1);
        assert_eq!(lines.len(), decisions + unreadable + 2, "the start, and no other lines: {lines:#?}");
    }
}

#[tokio::test]
async fn a_hundred_unreadable_events_in_a_row_end_the_process() {
    let good = event(&bearer(&json!({})));
    let unreadable = Delivery::default().with("lambda-runtime-client-context", r#"{"client":5}"#);
    let authorizer = Authorizer::start(&pinned()).await;
    for _ in 0..2 {
        for _ in 0..99 {
            authorizer.send(unreadable.clone(), good.clone());
        }
        assert!(authorizer.invoke(good.clone()).await.allows(&arn("GET /apps")));
    }
    for _ in 0..99 {
        authorizer.send(unreadable.clone(), good.clone());
    }
    let ended = authorizer.end_by(unreadable, good).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    // The line does not quote the header.
    assert_eq!(ended.lines.last().unwrap(), "the runtime stopped: 100 unreadable events in a row");
    assert_eq!(ended.lines.len(), 3 * 99 + 2 + 3, "{ended:#?}");
}

#[tokio::test]
async fn an_answer_that_is_not_an_event_ends_the_process() {
    let good = event(&bearer(&json!({})));
    let no_id = |delivery: Delivery| delivery.without("lambda-runtime-aws-request-id");
    for (name, delivery, problem) in [
        ("403", no_id(Delivery::status(403)), "missing lambda-runtime-aws-request-id header"),
        ("500", no_id(Delivery::status(500)), "missing lambda-runtime-aws-request-id header"),
        ("no id", no_id(Delivery::default()), "missing lambda-runtime-aws-request-id header"),
        (
            "no deadline",
            Delivery::default().without("lambda-runtime-deadline-ms"),
            "missing lambda-runtime-deadline-ms header",
        ),
    ] {
        for concurrency in ["1", "4"] {
            let authorizer = Authorizer::start(&concurrent(pinned(), concurrency)).await;
            assert!(authorizer.invoke(good.clone()).await.allows(&arn("GET /apps")), "the control of {name}");
            let ended = authorizer.end_by(delivery.clone(), good.clone()).await;
            assert!(!ended.status.success(), "{name}: {ended:#?}");
            // lambda_runtime panics. Only a debug build writes a line after that.
            assert!(ended.lines.iter().any(|line| line.contains(problem)), "{name}: {ended:#?}");
        }
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
async fn all_workers_wait_together_for_a_late_runtime_api() {
    let env = concurrent(pinned(), "4");
    let authorizer = Authorizer::start_before_its_api(&env).await;
    authorizer.wait_for_polls(4).await;
    assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
    let lines = authorizer.stop().await;
    assert_eq!(lines.len(), 3, "the start, the wait and the decision: {lines:#?}");

    let ended = Authorizer::start_without_api(&env).await;
    let [_start, wait, end] = &ended.lines[..] else { panic!("three lines: {:#?}", ended.lines) };
    assert!(wait.contains("the Runtime API refuses connections"), "{wait}");
    assert!(end.starts_with("the runtime stopped: client error (Connect): tcp connect error: "), "{end}");
    assert_eq!(ended.status.code(), Some(1));
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
