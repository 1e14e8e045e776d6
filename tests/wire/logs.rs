//! What the process logs, and what it never logs.

use okta_authorizer_testkit::{
    arn,
    env::{AWS_SECRET, Env},
    event, event_for,
    keys::{self, encode, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::{Authorizer, Delivery},
    table::closed_port,
    temp_file::TempFile,
    token::{bearer, claims, claims_of, token},
    with,
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
        "# Rules\n[[allow]]\nroutes = [\"GET /a\"]\n\
        [[allow]]\nname = \"a 'name', of two (2)\"\nroutes = [\"GET /a\", \"GET /b\", \"GET /t/*\"]\n\
        [[deny]]\nwhen = { groups = \"X\" }\nroutes = [\"GET /a\"]\n\
        [[deny]]\nname = \"the last\"\nwhen = { groups = \"{g}Y\" }\nroutes = [\"GET /b\", \"GET /{g}\"]\n",
    );
    let rows = [
        (json!({}), "GET /a", "allowed", Some("line 2")),
        (json!({}), "GET /b", "allowed", Some("a 'name', of two (2)")),
        (json!({ "groups": ["X"] }), "GET /a", "denied_by_rule", Some("line 7")),
        (json!({ "groups": ["zY"] }), "GET /b", "denied_by_rule", Some("the last")),
        // A Deny that cannot be written denies everything.
        (json!({ "groups": ["*Y"] }), "GET /a", "denied_by_rule", Some("the last")),
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
        assert_eq!(lines.len(), 3, "the start and two decisions: {lines:#?}");
        for (line, level, fields) in [
            (
                &lines[1].replace(r#"rule="line 24""#, r#"rule="…""#),
                "INFO",
                [
                    r#"outcome="allow""#,
                    r#"reason="allowed""#,
                    r#"rule="…""#,
                    r#"method="GET""#,
                    r#"path="/apps""#,
                    r#"uid="00uada""#,
                ]
                .as_slice(),
            ),
            (
                &lines[2].replace(r#"detail="methodArn is not an ARN of execute-api""#, r#"detail="…""#),
                "ERROR",
                &[r#"outcome="fault""#, r#"reason="MethodArnUnusable""#, r#"detail="…""#, r#"kid="main""#],
            ),
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

/// Texts of 8,000 characters that take much room on a line.
fn hostile_texts() -> [String; 5] {
    ["k", "\"", "\\", "\u{1f600}", "\n"].map(|text| text.repeat(8_000 / text.len()))
}

#[tokio::test]
async fn no_line_is_longer_than_2_kib_whatever_a_caller_sends() {
    for format in ["JSON", "Text"] {
        let env = pinned().with("AWS_LAMBDA_LOG_FORMAT", format).with("AWS_LAMBDA_FUNCTION_NAME", "f".repeat(64));
        let authorizer = Authorizer::start(&env).await;
        let mut sent = 0;
        for text in hostile_texts() {
            let header = |member: &Value| {
                let header = with(&json!({ "alg": "RS256", "kid": text }), member);
                keys::main().sign(header.to_string(), claims().to_string())
            };
            let path = arn(&format!("GET /{}", "\u{1f600}\"\n".repeat(1_000)));
            let many = (0..300).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect::<Vec<_>>();
            // The header, and then the claims, of which `cid` alone is long.
            let tokens = [
                text.clone(),
                header(&json!({})),
                header(&json!({ "alg": text })),
                header(&json!({ "typ": text })),
                token(&json!({ "iss": text })),
                token(&json!({ "aud": [text, text] })),
                token(&json!({ "uid": text.get(..400), "cid": text.get(..400), "jti": text.get(..400) })),
                token(&json!({ "uid": text.get(..100), "jti": text.get(..100), "tenants": many })),
                token(&json!({ "cnf": text })),
            ];
            let delivery = Delivery::default()
                .with("lambda-runtime-trace-id", format!("Root={}", "\"".repeat(4_000)))
                .with("lambda-runtime-aws-request-id", "r".repeat(2_000));
            for token in tokens {
                authorizer.invoke_as(&delivery, event_for(&format!("Bearer {token}"), &path)).await;
                authorizer.invoke_as(&delivery, event_for(&token, "arn:aws:nonsense")).await;
                sent += 2;
            }
        }
        let control = authorizer.invoke(event(&bearer(&json!({})))).await;
        assert!(control.allows(&arn("GET /apps")), "{control:?}");
        let (cuts, lines): (Vec<_>, Vec<_>) =
            authorizer.stop().await.into_iter().partition(|line| line.contains("policy_cut"));
        assert!(!cuts.is_empty() && cuts.iter().all(|line| line.len() <= 2_048), "{cuts:#?}");
        assert_eq!(lines.len(), 1 + sent + 1, "the start, and one line for each decision");
        let longest = lines.iter().max_by_key(|line| line.len()).unwrap();
        assert!(longest.len() <= 2_048, "{} bytes: {longest}", longest.len());
        // The path, the request id and the trace id alone are longer in each event.
        assert!(lines[1..=sent].iter().all(|line| line.matches('…').count() >= 2), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("resources_left_out")), "the policy was cut");
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_wrong() {
    let authorizer = Authorizer::start(&pinned().with("OKTA_ALLOWED_CLIENT_IDS", "0oaclient")).await;
    let header = |header: &Value| keys::main().sign(header.to_string(), claims().to_string());
    let good = token(&json!({}));
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let cases = [
        (
            token(&json!({ "iss": "https://x.example" })),
            "unknown_issuer",
            "iss is not a configured issuer: https://x.example",
        ),
        (token(&json!({ "iss": "a\n\"b\"" })), "unknown_issuer", "iss is not a configured issuer: a\\u{a}\"b\""),
        (token(&json!({ "iss": 7 })), "wrong_claim_type", "the claim iss has the wrong type"),
        (token(&json!({ "aud": "api://x" })), "wrong_audience", "aud contains no accepted audience: api://x"),
        (token(&json!({ "aud": ["a", "b"] })), "wrong_audience", "aud contains no accepted audience: a, b"),
        (token(&json!({ "cid": "0oaother" })), "wrong_client", "cid is not an accepted client: 0oaother"),
        (token(&json!({ "exp": 1_000_000_000 })), "expired", "the token expired … s ago, at 1000000000"),
        (
            token(&json!({ "nbf": 4_000_000_000_u64 })),
            "not_yet_valid",
            "the token is not valid before 4000000000, which is in … s",
        ),
        (
            token(&json!({ "iat": 4_000_000_000_u64 })),
            "issued_in_the_future",
            "the token was issued at 4000000000, which is in … s",
        ),
        (
            header(&json!({ "alg": "RS256", "kid": "main", "typ": "dpop+jwt" })),
            "wrong_type",
            "typ is not that of an access token: dpop+jwt",
        ),
        (header(&json!({ "alg": "none", "kid": "main" })), "wrong_algorithm", "alg is not RS256: none"),
        (header(&json!({ "kid": "main" })), "wrong_algorithm", "alg is not RS256: absent"),
        (
            format!("{head}.{payload}.{payload}.{payload}.{signature}"),
            "encrypted_token",
            "the token has the five parts of an encrypted one",
        ),
        (
            format!("{head}..{payload}.{payload}.{signature}"),
            "encrypted_token",
            "the token has the five parts of an encrypted one",
        ),
        (format!("{head}.{payload}"), "not_three_parts", "the token has 2 parts, and not three"),
        (format!("{good},{good}"), "not_three_parts", "the token has 5 parts, and not three"),
        ("a".repeat(16_385), "too_long", "the token has 16385 bytes; at most 16384 are accepted"),
        (keys::attacker().token(&claims()), "unknown_kid", "the issuer has no key with this kid"),
    ];
    for (token, ..) in &cases {
        assert!(authorizer.invoke(event(token)).await.is_unauthorized(), "{token}");
    }
    assert!(authorizer.invoke(event(&good)).await.allows(&arn("GET /apps")));
    let lines = authorizer.stop().await;
    let decisions = decisions(&lines);
    assert_eq!(decisions.len(), cases.len() + 1, "{lines:#?}");
    for (line, (_, reason, detail)) in decisions.iter().zip(&cases) {
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("refused"), &json!(reason)), "{line:?}");
        let found = line["detail"].as_str().unwrap();
        match detail.split_once('…') {
            None => assert_eq!(found, *detail),
            Some((before, after)) => {
                let seconds = found.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                let seconds: u64 =
                    seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("{found}"));
                let time = if *reason == "expired" { 1_000_000_000 } else { 4_000_000_000 };
                assert!(now().abs_diff(time).abs_diff(seconds) < 60, "{found}");
            }
        }
    }
    let last = decisions.last().unwrap();
    assert_eq!((&last["outcome"], last.get("detail")), (&json!("allow"), None), "{last:?}");
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
