//! What the process logs, and what it never logs.

use okta_authorizer_testkit::{
    arn,
    env::{AWS_SECRET, Env},
    event, event_for,
    keys::{self, encode, jwks},
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    table::closed_port,
    temp_file::TempFile,
    token::{bearer, claims, claims_of, token},
};
use serde_json::{Map, Value, json};

use crate::pinned;

/// The members of each decision line.
fn decisions(lines: &[String]) -> Vec<Map<String, Value>> {
    let objects = lines.iter().filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    objects.filter(|object| object.contains_key("outcome")).collect()
}

fn count(lines: &[String], level: &str) -> usize {
    lines.iter().filter(|line| line.contains(level)).count()
}

#[tokio::test]
async fn every_call_is_one_decision_line() {
    let authorizer = Authorizer::start(&pinned()).await;
    let good = bearer(&json!({}));
    authorizer.invoke(event_for(&good, &arn("GET /apps/0oa1"))).await;
    authorizer.invoke(event_for(&good, &arn("DELETE /tenants/acme"))).await;
    authorizer.invoke(event("Bearer nonsense")).await;
    authorizer.invoke(event(&keys::attacker().named("main").token(&claims()))).await;
    authorizer.invoke("{}").await;
    let before_the_fault = authorizer.invoke(event(&good)).await;
    assert!(before_the_fault.allows(&arn("GET /apps")));
    assert!(authorizer.invoke(event_for(&good, "arn:aws:nonsense")).await.is_fault());
    let lines = authorizer.stop().await;

    let decisions = decisions(&lines);
    let expected = [
        ("allow", "INFO"),
        ("deny", "INFO"),
        ("refused", "INFO"),
        ("refused", "INFO"),
        ("refused", "INFO"),
        ("allow", "INFO"),
        ("fault", "ERROR"),
    ];
    let text = |index: usize, name: &str| decisions[index][name].as_str().unwrap();
    let outcomes: Vec<_> = (0..decisions.len()).map(|index| (text(index, "outcome"), text(index, "level"))).collect();
    assert_eq!(outcomes, expected, "{lines:#?}");
    assert_eq!(count(&lines, "ERROR"), 1, "{lines:#?}");
    for (name, value) in [("kid", "main"), ("uid", "00uada"), ("cid", "0oaclient"), ("jti", "AT.0123456789")] {
        assert_eq!(text(0, name), value);
    }
    assert_eq!((text(0, "method"), text(0, "path")), ("GET", "/apps/0oa1"));
    assert_eq!((text(1, "method"), text(1, "path")), ("DELETE", "/tenants/acme"));
    assert_eq!(text(0, "xray_trace_id"), "1-5759e988-bd862e3fe1be46a994272793");
}

#[tokio::test]
async fn a_line_names_the_rule_that_decided() {
    let rules = TempFile::new(
        "named.toml",
        "# Rules\n[[allow]]\nroutes = [\"GET /a\"]\n[[allow]]\nroutes = [\"GET /a\", \"GET /b\", \"GET /t/*\"]\n\
        [[deny]]\nwhen = { groups = \"X\" }\nroutes = [\"GET /a\"]\n\
        [[deny]]\nwhen = { groups = \"{g}Y\" }\nroutes = [\"GET /b\", \"GET /{g}\"]\n",
    );
    let rows = [
        (json!({}), "GET /a", "allowed", Some("allow[1]:2")),
        (json!({}), "GET /b", "allowed", Some("allow[2]:4")),
        (json!({ "groups": ["X"] }), "GET /a", "denied_by_rule", Some("deny[1]:6")),
        (json!({ "groups": ["zY"] }), "GET /b", "denied_by_rule", Some("deny[2]:9")),
        // A Deny that cannot be written denies everything.
        (json!({ "groups": ["*Y"] }), "GET /a", "denied_by_rule", Some("deny[2]:9")),
        (json!({}), "GET /c", "not_granted", None),
        (json!({}), "GET /t/../c", "path_guard", None),
    ];
    let authorizer = Authorizer::start(&pinned().with("POLICY_FILE", rules.path())).await;
    for (members, route, ..) in &rows {
        authorizer.invoke(event_for(&bearer(members), &arn(route))).await;
    }
    authorizer.invoke(event("Bearer nonsense")).await;
    let lines = authorizer.stop().await;
    let text = |line: &Map<String, Value>, name: &str| line.get(name).map(|value| value.as_str().unwrap().to_owned());
    let seen: Vec<_> = decisions(&lines).iter().map(|line| [text(line, "reason"), text(line, "rule")]).collect();
    let mut expected: Vec<_> =
        rows.iter().map(|(_, _, reason, rule)| [Some((*reason).to_owned()), rule.map(str::to_owned)]).collect();
    expected.push([Some("not_three_parts".to_owned()), None]);
    assert_eq!(seen, expected, "{lines:#?}");
}

#[tokio::test]
async fn a_text_line_is_a_decision_without_metrics() {
    for format in ["Text", ""] {
        let authorizer = Authorizer::start(&pinned().with("AWS_LAMBDA_LOG_FORMAT", format)).await;
        let good = bearer(&json!({}));
        authorizer.invoke(event(&good)).await;
        authorizer.invoke(event_for(&good, "arn:aws:nonsense")).await;
        let lines = authorizer.stop().await;
        assert_eq!(lines.len(), 2, "{lines:#?}");
        for (line, level, fields) in [
            (
                &lines[0],
                "INFO",
                [r#"outcome="allow""#, r#"reason="allowed""#, r#"method="GET""#, r#"path="/apps""#, r#"uid="00uada""#]
                    .as_slice(),
            ),
            (&lines[1], "ERROR", &[r#"outcome="fault""#, r#"reason="MethodArnUnusable""#, r#"kid="main""#]),
        ] {
            let words: Vec<_> = line.split_whitespace().collect();
            let [timestamp, found_level, "decision", members @ ..] = &words[..] else { panic!("{line}") };
            assert!(timestamp.starts_with("20") && timestamp.ends_with('Z') && timestamp.contains('T'), "{line}");
            assert_eq!(*found_level, level, "{line}");
            assert!(members.iter().all(|member| member.contains('=')), "{line}");
            assert_eq!(members[..2], fields[..2], "the outcome and the reason come first: {line}");
            assert!(fields.iter().all(|field| members.contains(field)), "{fields:?} in {line}");
            assert!(!line.contains("_aws") && !line.contains("CloudWatchMetrics"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_failing_table_is_a_warning() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let broken = Okta::start(Reply::text("")).await;
    broken.introspects_at("/", Reply::status("503 Service Unavailable\r\n", "{}"));
    for endpoint in [format!("http://{}", broken.address), closed_port().await] {
        let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&endpoint)).await;
        let good = event(&keys::main().token(&claims_of(&okta.issuer())));
        assert!(authorizer.invoke(good).await.allows(&arn("GET /apps")));
        let lines = authorizer.stop().await;
        assert!(count(&lines, "WARN") > 0, "{lines:#?}");
        assert_eq!(count(&lines, "ERROR"), 0, "{lines:#?}");
    }
    assert!(!broken.introspection_requests().is_empty(), "the process called the table");
}

#[tokio::test]
async fn no_log_level_shows_a_token_or_a_secret() {
    for (level, format) in ["TRACE", "DEBUG", "INFO", "trace"].into_iter().flat_map(|l| [(l, "JSON"), (l, "Text")]) {
        let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
        let env = Env::okta(&[&okta])
            .with("AWS_LAMBDA_LOG_LEVEL", level)
            .with("AWS_LAMBDA_LOG_FORMAT", format)
            .with("RUST_LOG", "trace");
        let authorizer = Authorizer::start(&env).await;
        let claims = claims_of(&okta.issuer());
        let tokens = [
            format!("Bearer {}", keys::main().token(&claims)),
            format!("Bearer {}", keys::attacker().named("main").token(&claims)),
            format!("Bearer {}", keys::attacker().token(&claims)),
            format!("Bearer {}.x", keys::main().token(&claims)),
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
        assert!(lines.len() > tokens.len(), "too few lines: {lines:#?}");
        let parts = tokens.iter().flat_map(|token| token.split([' ', '.'])).filter(|part| part.len() > 8);
        for secret in parts.chain([AWS_SECRET, "authorizationToken"]) {
            let shown: Vec<_> = lines.iter().filter(|line| line.contains(secret)).collect();
            assert!(shown.is_empty(), "{secret} in {shown:#?}");
        }
    }
}

#[tokio::test]
async fn a_callers_text_cannot_forge_or_break_a_line() {
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
async fn a_long_value_is_cut() {
    let authorizer = Authorizer::start(&pinned()).await;
    let header = json!({ "alg": "RS256", "kid": "k".repeat(10_000) }).to_string();
    assert!(authorizer.invoke(event(&keys::main().sign(header, claims().to_string()))).await.is_unauthorized());
    let lines = authorizer.stop().await;
    assert_eq!(decisions(&lines).len(), 1, "{lines:#?}");
    assert!(lines.iter().all(|line| line.len() < 8192), "a caller can fill the log: {lines:#?}");
}

#[tokio::test]
async fn omitted_resources_and_unusable_values_are_counted() {
    let many = json!({ "tenants": (0..100).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect::<Vec<_>>() });
    let unusable = json!({ "tenants": ["0oidp:acme:G", "0oidp:*:G", "0oidp:a/b:G"] });
    let mut allowed = Vec::new();
    let mut counted = Vec::new();
    for max_bytes in ["8192", "1000000"] {
        let authorizer = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", max_bytes)).await;
        allowed.push(crate::policy(&authorizer, &many, "GET /apps").await.allow.len() as u64);
        crate::policy(&authorizer, &unusable, "GET /apps").await;
        crate::policy(&authorizer, &json!({ "tenants": ["0oidp:acme:G"] }), "GET /apps").await;
        let lines = authorizer.stop().await;
        let count = |line: &Map<String, Value>, name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
        let lines = decisions(&lines);
        counted.push(
            lines
                .iter()
                .map(|line| ["resources_left_out", "unusable_values"].map(|name| count(line, name)))
                .collect::<Vec<_>>(),
        );
    }
    assert!(allowed[1] > allowed[0], "nothing was omitted");
    assert_eq!(counted, [[[allowed[1] - allowed[0], 0], [0, 2], [0, 0]], [[0, 0], [0, 2], [0, 0]]]);
}
