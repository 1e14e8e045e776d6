//! Design 2: every event gets an answer, whatever it is, and the process lives on.

use okta_authorizer_testkit::{
    API, Failures, arn,
    env::{AWS_SECRET, Env},
    event, event_for,
    keys::{self, jwks},
    runtime_api::{Answer, Authorizer},
    token::{bearer, claims},
};
use serde_json::{Value, json};

fn pinned() -> Env {
    Env::pinned(&jwks(&[keys::main()]))
}

/// Sends every body, checks its answer, and sends a good event after it.
async fn hold(env: &Env, bodies: &[String], expected: &str, holds: fn(&Answer) -> bool) {
    let authorizer = Authorizer::start(env).await;
    let good = event(&bearer(&json!({})));
    let mut failures = Failures::default();
    for body in bodies {
        let answer = authorizer.invoke(body.clone()).await;
        failures.check(holds(&answer), || format!("{body:.300}: not {expected}: {answer:?}"));
        let after = authorizer.invoke(good.clone()).await;
        failures.check(after.allows(&arn("GET /apps")), || format!("after {body:.300}: {after:?}"));
    }
    failures.report();
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().map(Value::to_string).collect()
}

#[tokio::test]
async fn an_event_without_a_token_is_unauthorized() {
    let method_arn = arn("GET /apps");
    let good = bearer(&json!({}));
    let mut bodies = texts(&[
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
        json!({ "type": "TOKEN", "methodArn": method_arn }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorizationToken": null }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorizationToken": 5 }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorizationToken": true }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorizationToken": [good] }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorizationToken": { "token": good } }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorizationToken": "" }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "AuthorizationToken": good }),
        json!({ "type": "TOKEN", "methodArn": method_arn, "authorization_token": good }),
        json!({ "event": { "type": "TOKEN", "methodArn": method_arn, "authorizationToken": good } }),
        json!({ "type": "REQUEST", "methodArn": method_arn, "headers": { "Authorization": good } }),
        json!({ "version": "2.0", "routeArn": method_arn, "identitySource": [good] }),
        json!({ "Records": [{ "eventSource": "aws:s3" }] }),
        json!({ "x": "y".repeat(1_000_000) }),
    ]);
    bodies.push(format!("{}{}", "[".repeat(100), "]".repeat(100)));
    bodies.push(format!("{}5{}", r#"{"a":"#.repeat(100), "}".repeat(100)));
    hold(&pinned(), &bodies, "Unauthorized", Answer::is_unauthorized).await;
}

#[tokio::test]
async fn an_event_that_is_hardly_json_is_an_error_and_no_more() {
    let bodies = vec![
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        r#"{"a":"#.repeat(100_000),
        String::new(),
        "not json".to_owned(),
        "{}{}".to_owned(),
        r#"{"authorizationToken":"\ud800"}"#.to_owned(),
    ];
    hold(&pinned(), &bodies, "an error", |answer| matches!(answer, Answer::Error { .. })).await;
}

/// No method ARN that a policy could be made for.
fn bad_method_arns() -> Vec<Value> {
    let region = "arn:aws:execute-api:us-east-1";
    vec![
        json!(null),
        json!(5),
        json!(["x"]),
        json!({}),
        json!(""),
        json!("*"),
        json!("arn"),
        json!("x"),
        json!("GET /apps"),
        json!(":::::"),
        json!("arn:aws:execute-api:us-east-1:123456789012"),
        json!(format!("{region}:123456789012:")),
        json!(format!("{region}:123456789012:abcdef1234")),
        json!(format!("{region}:123456789012:abcdef1234/")),
        json!(format!("{region}:123456789012:abcdef1234/prod")),
        json!(format!("{region}:123456789012:abcdef1234/prod/")),
        json!(format!("{region}:123456789012:/prod/GET/apps")),
        json!(format!("{region}:123456789012:abcdef1234//GET/apps")),
        json!(format!("{region}:123456789012:abcdef1234/prod//apps")),
        json!(format!("{region}:123456789012:*/prod/GET/apps")),
        json!(format!("{region}:123456789012:abc*/prod/GET/apps")),
        json!(format!("{region}:123456789012:abcdef1234/*/GET/apps")),
        json!(format!("{region}:123456789012:abcdef1234/pro?/GET/apps")),
        json!(format!("{region}:123456789012:abcdef1234/${{aws:username}}/GET/apps")),
        json!(format!("{region}:*:abcdef1234/prod/GET/apps")),
        json!(format!("{region}::abcdef1234/prod/GET/apps")),
        json!("arn:aws:execute-api:*:123456789012:abcdef1234/prod/GET/apps"),
        json!("arn:aws:execute-api::123456789012:abcdef1234/prod/GET/apps"),
        json!("arn:aws:*:us-east-1:123456789012:abcdef1234/prod/GET/apps"),
        json!("arn:aws:lambda:us-east-1:123456789012:function/prod/GET/apps"),
        json!("arn:aws:s3:us-east-1:123456789012:abcdef1234/prod/GET/apps"),
        json!("arn:*:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps"),
        json!("arn::execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps"),
        json!("ARN:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps"),
        json!("urn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps"),
        json!(format!(" {API}/GET/apps")),
    ]
}

#[tokio::test]
async fn an_unusable_method_arn_is_a_fault_for_a_good_token() {
    let good = bearer(&json!({ "groups": ["SUPERUSERS"] }));
    let body = |arn: Value| json!({ "type": "TOKEN", "authorizationToken": good, "methodArn": arn });
    let mut bodies = bad_method_arns().into_iter().map(body).map(|body| body.to_string()).collect::<Vec<_>>();
    bodies.push(json!({ "type": "TOKEN", "authorizationToken": good }).to_string());
    hold(&pinned(), &bodies, "a fault", Answer::is_fault).await;
}

#[tokio::test]
async fn a_fault_says_nothing_of_the_token() {
    let authorizer = Authorizer::start(&pinned()).await;
    let good = bearer(&json!({}));
    let Answer::Error { kind, message } = authorizer.invoke(event_for(&good, "arn:aws:nonsense")).await else {
        panic!("an answer for an ARN that is none");
    };
    for secret in good.split([' ', '.']).chain(["00uada", "ada@example.com", AWS_SECRET]) {
        assert!(!kind.contains(secret) && !message.contains(secret), "{kind}: {message}");
    }
}

#[tokio::test]
async fn a_bad_token_is_unauthorized_whatever_the_method_arn() {
    let bad = format!("Bearer {}", keys::attacker().named("main").token(&claims()));
    let body = |arn| json!({ "type": "TOKEN", "authorizationToken": bad, "methodArn": arn });
    let bodies = bad_method_arns().into_iter().map(body).map(|body| body.to_string()).collect::<Vec<_>>();
    hold(&pinned(), &bodies, "Unauthorized", Answer::is_unauthorized).await;
}

#[tokio::test]
async fn the_deny_mode_answers_a_bad_token_with_a_deny_of_the_whole_stage() {
    let authorizer = Authorizer::start(&pinned().with("INVALID_TOKEN_RESPONSE", "deny")).await;
    for bad in ["", "Bearer", "Bearer x", "Basic x", &keys::attacker().named("main").token(&claims())] {
        let answer = authorizer.invoke(event(bad)).await;
        let response = answer.response();
        assert_eq!(response["principalId"], "unauthenticated", "{response}");
        let policy = answer.policy(&arn("GET /apps"));
        assert_eq!((policy.allow, policy.deny), (vec![], vec![format!("{API}/*")]));
    }
    let missing = json!({ "type": "TOKEN", "methodArn": arn("GET /apps") }).to_string();
    assert_eq!(authorizer.invoke(missing).await.response()["principalId"], "unauthenticated");
    assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
    // Faults stay faults, and where there is no stage to deny there is no policy.
    assert!(authorizer.invoke(event_for(&bearer(&json!({})), "arn:aws:nonsense")).await.is_fault());
    let neither = authorizer.invoke(event_for("Bearer x", "arn:aws:nonsense")).await;
    assert!(matches!(neither, Answer::Error { .. }), "{neither:?}");
    assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
}

#[tokio::test]
async fn the_unauthorized_mode_is_the_default_by_name_too() {
    let authorizer = Authorizer::start(&pinned().with("INVALID_TOKEN_RESPONSE", "unauthorized")).await;
    assert!(authorizer.invoke(event("Bearer x")).await.is_unauthorized());
    assert!(authorizer.invoke(event(&bearer(&json!({})))).await.allows(&arn("GET /apps")));
}
