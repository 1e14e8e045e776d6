//! The header's value around the token, and events that are not TOKEN events.

use okta_authorizer::{
    decision::{Fault, Outcome},
    token::Refusal,
};
use serde_json::{Value, json};

use crate::table::{NOW, Row, STAGE, authorizer, decide, good, hold, said};

#[test]
pub fn the_header_value_is_bearer_and_one_token_or_a_bare_token() {
    const SOURCE: &str = "RFC 6750 §2.1; RFC 9110 §11.4";
    let good = good();
    let three = Refusal::NotThreeParts;
    let part = |part| Refusal::BadBase64 { part };
    let mut rows = Vec::new();
    let twins =
        ["Bearer ", "bearer ", "BEARER ", "bEaReR  ", "Bearer       ", ""].map(|scheme| format!("{scheme}{good}"));
    let mut row = |bad: String, refusal: Refusal| {
        let twin = twins[rows.len() % twins.len()].clone();
        rows.push(Row::new(SOURCE, bad.replace(&good, "JWT"), bad, refusal, twin));
    };
    for missing in ["", "Bearer", "bearer", "BEARER", "Bearer ", "Bearer    "] {
        row(missing.to_owned(), Refusal::MissingToken);
    }
    for scheme in [
        "Basic",
        "Token",
        "JWT",
        "DPoP",
        "Digest",
        "Negotiate",
        "AWS4-HMAC-SHA256",
        "Bearer:",
        "Bearer,",
        "Bearer=",
        "Bear",
        "Bearers",
        "\"Bearer\"",
        "Authorization:",
        "Bеarer",
        "Ｂearer",
        "Bearer\u{200b}",
        "\u{feff}Bearer",
        "\0Bearer",
        "Bearer\t",
        "Bearer\n",
        "",
    ] {
        row(format!("{scheme} {good}"), Refusal::NotBearer);
    }
    row(format!(" Bearer {good}"), Refusal::NotBearer);
    row(format!("\tBearer {good}"), Refusal::NotBearer);
    row(format!("\nBearer {good}"), Refusal::NotBearer);
    row(format!("{good} "), Refusal::NotBearer);
    row(format!("{good} {good}"), Refusal::NotBearer);
    row(format!("{good} Bearer"), Refusal::NotBearer);
    row(format!("{good}, Bearer {good}"), Refusal::NotBearer);
    row(" ".to_owned(), Refusal::NotBearer);
    // No space: it is all one token, which is bad base64 or has the wrong number of parts.
    for separator in [":", ",", "=", "\t", "\n", "\r\n", "\u{a0}", "\u{2003}", "\0", "+", "%20"] {
        row(format!("Bearer{separator}{good}"), part("header"));
    }
    row(format!("Bearer{good}"), Refusal::BadJson { part: "header" });
    row(format!("Bearer \t{good}"), part("header"));
    row(format!("Bearer \u{a0}{good}"), part("header"));
    row(format!("Bearer \"{good}\""), part("header"));
    row(format!("Bearer <{good}>"), part("header"));
    row(format!("Bearer Bearer {good}"), part("header"));
    row(format!("Bearer x {good}"), part("header"));
    row(format!("Bearer access_token={good}"), part("header"));
    for behind in [" ", "  ", "\t", "\n", "\r\n", "\0", "\u{a0}", ",", ";", " x", "é", "\"", "=", "#", "?x"] {
        row(format!("Bearer {good}{behind}"), Refusal::BadSignature);
    }
    row(format!("Bearer {good} {good}"), three.clone());
    row(format!("Bearer {good},Bearer {good}"), three.clone());
    row(format!("Bearer {good}\r\nX-Other: 1.2"), three.clone());
    for word in ["null", "undefined", "None", "[object Object]", "true", "{}", "-", "é", "\u{1f600}"] {
        row(format!("Bearer {word}"), three.clone());
    }
    row("null".to_owned(), three.clone());
    row("${jndi:ldap://evil.example/x}".to_owned(), three.clone());
    hold(&authorizer(), rows);
}

#[test]
pub fn an_event_that_is_none_is_refused() {
    // Source: API Gateway developer guide, "Input to an API Gateway Lambda authorizer".
    let good = good();
    let arn = format!("{STAGE}/GET/apps");
    let of = |kind: Value| json!({ "type": kind, "authorizationToken": good, "methodArn": arn });
    let lacking = |token: Value| json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": arn });
    let request = json!({
        "type": "REQUEST", "methodArn": arn, "resource": "/apps", "path": "/apps", "httpMethod": "GET",
        "headers": { "Authorization": format!("Bearer {good}") }, "identitySource": good,
    });
    let http_api = json!({
        "version": "2.0", "type": "REQUEST", "routeArn": arn, "identitySource": [good], "routeKey": "GET /apps",
        "headers": { "authorization": good },
    });
    let not = Refusal::NotATokenEvent;
    let none = Refusal::MissingToken;
    let texts = [
        (of(json!("TOKEN")), None),
        (json!({ "authorizationToken": good, "methodArn": arn, "x": [{}] }), None),
        (request, Some(not.clone())),
        (http_api, Some(not.clone())),
        (of(json!("token")), Some(not.clone())),
        (of(json!("TOKEN ")), Some(not.clone())),
        (of(json!("")), Some(not.clone())),
        (of(json!(null)), Some(not.clone())),
        (of(json!(["TOKEN"])), Some(not.clone())),
        (of(json!({ "TOKEN": 1 })), Some(not.clone())),
        (of(json!(1)), Some(not.clone())),
        (json!([of(json!("TOKEN"))]), Some(not.clone())),
        (json!(["TOKEN", good, arn]), Some(not.clone())),
        (json!(good), Some(not.clone())),
        (json!(of(json!("TOKEN")).to_string()), Some(not.clone())),
        (json!(null), Some(not.clone())),
        (json!(5), Some(not.clone())),
        (json!(true), Some(not.clone())),
        (json!([]), Some(not.clone())),
        (json!({}), Some(none.clone())),
        (json!({ "source": "serverless-plugin-warmup" }), Some(none.clone())),
        (json!({ "Records": [{ "body": good }] }), Some(none.clone())),
        (json!({ "type": "TOKEN", "AuthorizationToken": good, "methodArn": arn }), Some(none.clone())),
        (json!({ "type": "TOKEN", "authorization": good, "methodArn": arn }), Some(none.clone())),
        (lacking(json!(null)), Some(none.clone())),
        (lacking(json!(5)), Some(none.clone())),
        (lacking(json!([good])), Some(none.clone())),
        (lacking(json!({ "token": good })), Some(none.clone())),
        (lacking(json!("")), Some(none.clone())),
    ];
    let texts = texts.map(|(event, refusal)| (event.to_string(), refusal));
    let with = |members: &str| of(json!("TOKEN")).to_string().replacen('{', &format!("{{{members},"), 1);
    // RFC 8259 §4: what a reader makes of a name that stands twice is its own affair; here it chooses between no two.
    let more = [
        (with(r#""x":1,"x":2,"y":1e400,"z":"\ud800""#), None),
        (with(&format!(r#""x":{}{}"#, "[".repeat(9_999), "]".repeat(9_999))), None),
        (with(r#""type":"TOKEN""#), Some(not.clone())),
        (with(r#""\u0074ype":"TOKEN""#), Some(not.clone())),
        (with(r#""authorizationToken":"Bearer x""#), Some(not.clone())),
        (with(r#""methodArn":null"#), Some(not.clone())),
        (format!(" \n{}\t ", of(json!("TOKEN"))), None),
        (r#"{"type":"TOKEN","authorizationToken":"\ud800","methodArn":"x"}"#.to_owned(), Some(not)),
        (r#"{"type":"TOKEN","authorizationToken":"\u0042earer ","methodArn":"x"}"#.to_owned(), Some(none)),
    ];
    let authorizer = authorizer();
    let mut wrong = Vec::new();
    for (event, refusal) in texts.into_iter().chain(more) {
        let outcome = decide(&authorizer, &event, NOW).outcome;
        let right = match (&outcome, &refusal) {
            (Outcome::Evaluated(evaluated), None) => evaluated.is_allowed(),
            (Outcome::Refused(refused), Some(refusal)) => refused == refusal,
            _ => false,
        };
        if !right {
            wrong.push(format!("{}: {} instead of {refusal:?}", event.replace(&good, "JWT"), said(&outcome)));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
pub fn a_good_token_for_an_arn_that_is_none_is_a_fault_and_a_bad_one_a_refusal() {
    // Source: service authorization reference, "Resource types defined by Amazon API Gateway".
    let authorizer = authorizer();
    let good = good();
    let mut wrong = Vec::new();
    let arns: Vec<Value> = [
        "",
        "*",
        "arn",
        "GET/apps",
        "/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012",
        "arn:aws:execute-api:eu-west-1:123456789012:",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod//apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3//GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:/prod/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:*/prod/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/*/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/get/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/pr?d/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/${stageVariables.x}/GET/apps",
        "arn:aws:execute-api:eu-west-1:*:a1b2c3/prod/GET/apps",
        "arn:aws:execute-api:*:123456789012:a1b2c3/prod/GET/apps",
        "arn:aws:execute-api:eu-west-1::a1b2c3/prod/GET/apps",
        "arn:*:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
        "arn:aws:*:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
        "arn:aws:s3:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
        "arn:aws:lambda:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod /GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prод/GET/apps",
        "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod\n/GET/apps",
        " arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
        "Arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
    ]
    .map(Value::from)
    .into_iter()
    .chain([json!(null), json!(5), json!([format!("{STAGE}/GET/apps")]), json!({})])
    .collect();
    for arn in arns {
        let event = |token: &str| json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": arn }).to_string();
        let outcome = decide(&authorizer, &event(&good), NOW).outcome;
        if !matches!(outcome, Outcome::Fault(Fault::MethodArnUnusable)) {
            wrong.push(format!("{arn}: {}", said(&outcome)));
        }
        let outcome = decide(&authorizer, &event("Bearer x.y.z"), NOW).outcome;
        if !matches!(&outcome, Outcome::Refused(Refusal::BadBase64 { part: "header" })) {
            wrong.push(format!("{arn}, bad token: {}", said(&outcome)));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
