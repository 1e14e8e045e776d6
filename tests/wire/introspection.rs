//! Introspection (RFC 7662): the authorizer asks Okta in every call whether a verified token is
//! still active.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    time::{Duration, Instant, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use okta_authorizer_testkit::{
    API, Failures, arn,
    env::Env,
    event, event_for,
    keys::{self, jwks},
    now,
    okta::{IntrospectionRequest, Okta, Reply, ReservedPort},
    padded,
    routing_proxy::RoutingProxy,
    runtime_api::{Answer, Authorizer},
    temp_file::TempFile,
    tls::{Authority, Certificate, TlsFront},
    token::claims_of,
    with, without,
};
use serde_json::{Map, Value, json};

const CLIENT: &str = "0oagateway";
pub const ACTIVE: &str = r#"{"active":true}"#;
pub const INACTIVE: &str = r#"{"active":false}"#;

/// Introspection as a public client.
pub fn introspecting(env: Env) -> Env {
    env.with("OKTA_INTROSPECTION_CLIENT_ID", CLIENT)
}

/// An Okta that publishes the main key and finds every token active.
pub async fn okta_with_active_tokens() -> Okta {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    okta.introspects(Reply::text(ACTIVE));
    okta
}

/// An authorizer that uses introspection, and its Okta, which finds every token active.
async fn start() -> (Okta, Authorizer) {
    let okta = okta_with_active_tokens().await;
    let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    (okta, authorizer)
}

/// A valid token of this issuer.
fn token_of(issuer: &str) -> String {
    keys::main().token(&claims_of(issuer))
}

/// The answer to a valid token.
pub async fn answer(authorizer: &Authorizer, okta: &Okta) -> Answer {
    authorizer.invoke(event(&format!("Bearer {}", token_of(&okta.issuer())))).await
}

/// The answer to a valid token if Okta sends `reply`.
async fn answer_after(reply: Reply, authorizer: &Authorizer, okta: &Okta) -> Answer {
    okta.introspects(reply);
    answer(authorizer, okta).await
}

pub fn is_allowed(answer: &Answer) -> bool {
    answer.allows(&arn("GET /apps"))
}

pub fn is_unavailable(answer: &Answer) -> bool {
    answer.is_fault() && matches!(answer, Answer::Error { kind, .. } if kind == "IntrospectionUnavailable")
}

pub fn is_rate_limited(answer: &Answer) -> bool {
    answer.is_fault() && matches!(answer, Answer::Error { kind, .. } if kind == "IntrospectionRateLimited")
}

/// A time in epoch seconds as an HTTP-date (RFC 9110 §5.6.7).
fn http_date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn last_request(okta: &Okta) -> IntrospectionRequest {
    okta.introspection_requests().pop().expect("Okta was asked")
}

/// The numbers of introspection requests and of unexpected ones.
fn requests(okta: &Okta) -> (usize, usize) {
    (okta.introspection_requests().len(), okta.unexpected_requests())
}

/// The members of each decision line.
fn decisions_of(lines: &[String]) -> Vec<Map<String, Value>> {
    let objects = lines.iter().filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    objects.filter(|object| object.contains_key("outcome")).collect()
}

#[tokio::test]
async fn a_client_authenticates_by_its_id_or_by_http_basic() {
    let okta = okta_with_active_tokens().await;
    // RFC 6749, section 2.3.1: the id and the secret are form-encoded before they are joined by a
    // colon.
    let clients = [
        (CLIENT, "", None),
        ("0oagate&way=+%2B/é", "", None),
        (CLIENT, "plainsecret-_.*", Some("0oagateway:plainsecret-_.*")),
        (CLIENT, "a:b/c+d e&f=g%h", Some("0oagateway:a%3Ab%2Fc%2Bd+e%26f%3Dg%25h")),
        ("0oa:gate", "~é\"'", Some("0oa%3Agate:%7E%C3%A9%22%27")),
    ];
    for (number, (id, secret, credentials)) in clients.into_iter().enumerate() {
        let env = Env::okta(&[&okta])
            .with("OKTA_INTROSPECTION_CLIENT_ID", id)
            .with("OKTA_INTROSPECTION_CLIENT_SECRET", secret);
        let authorizer = Authorizer::start(&env).await;
        assert_eq!(requests(&okta), (number, 0), "init sends no request");
        let token = token_of(&okta.issuer());
        assert!(is_allowed(&authorizer.invoke(event(&format!("Bearer {token}"))).await), "{id}");
        let request = last_request(&okta);
        assert_eq!(request.target, "POST /oauth2/default/v1/introspect");
        assert_eq!(request.headers("content-type"), ["application/x-www-form-urlencoded"]);
        let basic = credentials.map(|credentials| format!("Basic {}", STANDARD.encode(credentials)));
        assert_eq!(request.headers("authorization"), basic.as_slice(), "{id}");
        let client_id = basic.is_none().then_some(("client_id", id));
        let form = client_id.into_iter().chain([("token", &*token), ("token_type_hint", "access_token")]);
        let form: Vec<_> = form.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(request.form(), form, "{id}");
    }
    assert_eq!(requests(&okta), (clients.len(), 0));
}

#[tokio::test]
async fn the_form_has_the_token_without_its_scheme() {
    let (okta, authorizer) = start().await;
    let claims = claims_of(&okta.issuer());
    let short = keys::main().token(&claims);
    let long = keys::main().token(&with(&claims, &json!({ "pad": "x".repeat(11_000) })));
    assert!((14_000..16_384).contains(&long.len()), "{}", long.len());
    for token in [short, long] {
        for scheme in ["Bearer ", "bearer ", "BEARER    ", ""] {
            assert!(is_allowed(&authorizer.invoke(event(&format!("{scheme}{token}"))).await), "{scheme:?}");
            assert_eq!(last_request(&okta).token(), token, "{scheme:?}");
        }
    }
    assert_eq!(requests(&okta), (8, 0));
}

#[tokio::test]
async fn an_active_token_gets_the_answer_of_a_verified_one() {
    let (okta, authorizer) = start().await;
    let without_introspection = Authorizer::start(&Env::okta(&[&okta])).await;
    let claims = claims_of(&okta.issuer());
    for members in [json!({}), json!({ "groups": ["SUPERUSERS"] }), json!({ "tenants": ["0oidp:acme:G"] })] {
        for route in ["GET /apps", "POST /tenants", "GET /idps/0oidp"] {
            let body = event_for(&format!("Bearer {}", keys::main().token(&with(&claims, &members))), &arn(route));
            let expected = without_introspection.invoke(body.clone()).await;
            // Members other than `active` are ignored.
            for reply in [ACTIVE, r#"{"active":true,"scope":"all","sub":"eve@example.com","groups":["SUPERUSERS"]}"#] {
                okta.introspects(Reply::text(reply));
                let answer = authorizer.invoke(body.clone()).await;
                assert_eq!(answer.policy(&arn(route)), expected.policy(&arn(route)));
                assert_eq!(answer, expected, "{members}, {route}");
            }
        }
    }
    assert_eq!(requests(&okta), (18, 0));
}

#[tokio::test]
async fn each_answer_has_one_decision_line_with_its_reason() {
    type Check = fn(&Answer) -> bool;
    const ALLOWED: (Check, &str, &str) = (is_allowed, "allow", "allowed");
    const REFUSED: (Check, &str, &str) = (Answer::is_unauthorized, "refused", "inactive");
    let (okta, authorizer) = start().await;
    let replies = [
        (ACTIVE, ALLOWED),
        (INACTIVE, REFUSED),
        (" {\n\t\"active\" : false } ", REFUSED),
        (ACTIVE, ALLOWED),
        (r#"{"active":false,"scope":"all","exp":99999999999}"#, REFUSED),
        ("{}", (is_unavailable, "fault", "IntrospectionUnavailable")),
        (ACTIVE, ALLOWED),
    ];
    for (reply, (check, ..)) in replies {
        let answer = answer_after(Reply::text(reply), &authorizer, &okta).await;
        assert!(check(&answer), "{reply}: {answer:?}");
    }
    let lines = authorizer.stop().await;
    let decisions = decisions_of(&lines);
    assert_eq!(decisions.len(), replies.len(), "{lines:#?}");
    for (line, (reply, (_, outcome, reason))) in decisions.iter().zip(replies) {
        assert_eq!((&line["outcome"], &line["reason"]), (&json!(outcome), &json!(reason)), "{reply}: {line:?}");
        // The token is verified, so the line has its claims.
        assert_eq!((&line["uid"], &line["jti"]), (&json!("00uada"), &json!("AT.0123456789")), "{reply}: {line:?}");
    }
    let errors: Vec<_> = lines.into_iter().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && decisions_of(&errors)[0]["outcome"] == "fault", "{errors:#?}");
}

#[tokio::test]
async fn in_deny_mode_an_inactive_token_is_denied() {
    let okta = okta_with_active_tokens().await;
    let env = introspecting(Env::okta(&[&okta])).with("INVALID_TOKEN_RESPONSE", "deny");
    let authorizer = Authorizer::start(&env).await;
    let denied = answer_after(Reply::text(INACTIVE), &authorizer, &okta).await;
    assert_eq!(denied.response()["principalId"], "unauthenticated");
    let policy = denied.policy(&arn("GET /apps"));
    assert_eq!((policy.allow, policy.deny), (vec![], vec![format!("{API}/*")]));
    let fault = answer_after(Reply::HangUp, &authorizer, &okta).await;
    assert!(is_unavailable(&fault), "a fault stays a fault: {fault:?}");
    assert!(is_allowed(&answer_after(Reply::text(ACTIVE), &authorizer, &okta).await));
}

#[tokio::test]
async fn every_call_asks_okta_so_a_revocation_applies_at_once() {
    let (okta, authorizer) = start().await;
    let body = event(&format!("Bearer {}", token_of(&okta.issuer())));
    for number in 1..=8 {
        let is_active = number <= 5;
        okta.introspects(Reply::text(if is_active { ACTIVE } else { INACTIVE }));
        let answer = authorizer.invoke(body.clone()).await;
        assert_eq!((is_allowed(&answer), answer.is_unauthorized()), (is_active, !is_active), "{number}: {answer:?}");
        assert_eq!(requests(&okta), (number, 0));
    }
    assert_eq!(okta.requests(), 1, "the keys were loaded at init");
}

#[tokio::test]
async fn only_a_verified_token_is_sent_to_okta() {
    let okta = okta_with_active_tokens().await;
    let env = introspecting(Env::okta(&[&okta])).with("OKTA_ALLOWED_CLIENT_IDS", "0oaclient");
    let authorizer = Authorizer::start(&env).await;
    let claims = claims_of(&okta.issuer());
    let signed = |members: Value| keys::main().token(&with(&claims, &members));
    let unsigned = json!({ "alg": "none", "kid": "main" }).to_string();
    let good = signed(json!({}));
    let bad = [
        ("forged", keys::attacker().named("main").token(&claims)),
        ("unknown kid", keys::attacker().token(&claims)),
        ("alg none", keys::main().sign(unsigned, claims.to_string())),
        ("truncated", good.split_at(good.len() - 4).0.to_owned()),
        ("expired", signed(json!({ "iat": now() - 7200, "exp": now() - 3600 }))),
        ("not yet valid", signed(json!({ "nbf": now() + 3600 }))),
        ("another audience", signed(json!({ "aud": "api://other" }))),
        ("another client", signed(json!({ "cid": "0oaother" }))),
        ("unknown issuer", signed(json!({ "iss": "https://evil.example/oauth2/default" }))),
        ("sender-constrained", signed(json!({ "cnf": { "jkt": "x" } }))),
        ("without a subject", keys::main().token(&without(&claims, "sub"))),
        ("not a token", "x".to_owned()),
        ("empty", String::new()),
    ];
    for (name, token) in bad {
        let answer = authorizer.invoke(event(&format!("Bearer {token}"))).await;
        assert!(answer.is_unauthorized(), "{name}: {answer:?}");
        assert_eq!(requests(&okta), (0, 0), "{name}");
    }
    assert!(authorizer.invoke("{}").await.is_unauthorized());
    assert!(is_allowed(&authorizer.invoke(event(&format!("Bearer {good}"))).await));
    assert_eq!(requests(&okta), (1, 0));
}

/// Replies that do not tell whether a token is active, and what the log says about them. Most of
/// them contain `"active":true`.
fn unusable_replies(elsewhere: &Okta) -> Vec<(&'static str, Reply, &'static str)> {
    const LOST: &str = "the response is incomplete";
    const NOT_AN_ANSWER: &str = "the response is not a JSON object with a boolean `active`";
    const TOO_LONG: &str = "the response is longer than 65536 bytes";
    let status = |head: &str| Reply::status(format!("{head}\r\n"), ACTIVE);
    let location = format!("{}/v1/introspect", elsewhere.issuer());
    let redirect = |code: &str| Reply::status(format!("{code}\r\nlocation: {location}\r\n"), ACTIVE);
    let longer = format!("{ACTIVE}{}", " ".repeat(2 * ACTIVE.len()));
    vec![
        ("down", Reply::HangUp, LOST),
        ("a reset", Reply::Reset, LOST),
        ("silent", Reply::Silence, "timed out"),
        ("takes 5 s", Reply::text(ACTIVE).after(Duration::from_secs(5)), "timed out"),
        ("a byte every 100 ms", Reply::Drip(padded(ACTIVE, 60)), "timed out"),
        ("half a body, connection open", Reply::HalfABody(longer.clone()), "timed out"),
        ("half a body, connection closed", Reply::CutOff(longer), LOST),
        ("201", status("201 Created"), "HTTP status 201"),
        ("202", status("202 Accepted"), "HTTP status 202"),
        ("204", Reply::status("204 No Content\r\n", ""), "HTTP status 204"),
        ("206", status("206 Partial Content"), "HTTP status 206"),
        ("301", redirect("301 Moved Permanently"), "HTTP status 301"),
        ("302", redirect("302 Found"), "HTTP status 302"),
        ("303", redirect("303 See Other"), "HTTP status 303"),
        ("307", redirect("307 Temporary Redirect"), "HTTP status 307"),
        ("308", redirect("308 Permanent Redirect"), "HTTP status 308"),
        ("400", status("400 Bad Request"), "HTTP status 400"),
        ("401", status("401 Unauthorized"), "HTTP status 401"),
        ("403", status("403 Forbidden"), "HTTP status 403"),
        ("404", status("404 Not Found"), "HTTP status 404"),
        ("500", status("500 Internal Server Error"), "HTTP status 500"),
        ("503", status("503 Service Unavailable"), "HTTP status 503"),
        // Only 429 is heeded, because a 503 that is over must not be an outage any longer.
        ("503 with a time", status("503 Service Unavailable\r\nretry-after: 60"), "HTTP status 503"),
        ("401 with an inactive token", Reply::status("401 Unauthorized\r\n", INACTIVE), "HTTP status 401"),
        ("HTML", Reply::text("<!doctype html><title>Sign in</title>"), NOT_AN_ANSWER),
        ("empty", Reply::text(""), NOT_AN_ANSWER),
        ("no member active", Reply::text("{}"), NOT_AN_ANSWER),
        ("another member", Reply::text(r#"{"Active":true,"is_active":true}"#), NOT_AN_ANSWER),
        ("a nested member", Reply::text(r#"{"token":{"active":true}}"#), NOT_AN_ANSWER),
        ("active as text", Reply::text(r#"{"active":"true"}"#), NOT_AN_ANSWER),
        ("active as a number", Reply::text(r#"{"active":1}"#), NOT_AN_ANSWER),
        ("active as null", Reply::text(r#"{"active":null}"#), NOT_AN_ANSWER),
        ("active as an array", Reply::text(r#"{"active":[true]}"#), NOT_AN_ANSWER),
        ("inactive as text", Reply::text(r#"{"active":"false"}"#), NOT_AN_ANSWER),
        ("inactive as a number", Reply::text(r#"{"active":0}"#), NOT_AN_ANSWER),
        ("true", Reply::text("true"), NOT_AN_ANSWER),
        ("null", Reply::text("null"), NOT_AN_ANSWER),
        ("an array of true", Reply::text("[true]"), NOT_AN_ANSWER),
        ("an array of an answer", Reply::text(r#"[{"active":true}]"#), NOT_AN_ANSWER),
        ("truncated JSON", Reply::text(r#"{"active":true"#), NOT_AN_ANSWER),
        ("more after the JSON", Reply::text(r#"{"active":true}{"active":true}"#), NOT_AN_ANSWER),
        ("a raw control character", Reply::text("{\"active\":true,\"x\":\"\u{0}\"}"), NOT_AN_ANSWER),
        ("a byte over 64 KiB", Reply::text(padded(ACTIVE, 64 * 1024 + 1)), TOO_LONG),
        ("8 MiB", Reply::text(padded(ACTIVE, 8 * 1024 * 1024)), TOO_LONG),
    ]
}

#[tokio::test]
async fn without_a_usable_reply_the_call_is_a_fault() {
    let elsewhere = okta_with_active_tokens().await;
    let cases = unusable_replies(&elsewhere).into_iter().map(|(name, reply, detail)| async move {
        let mut failures = Failures::default();
        let (okta, authorizer) = start().await;
        for (number, (reply, check)) in [
            (reply, is_unavailable as fn(&Answer) -> bool),
            (Reply::text(ACTIVE), is_allowed),
            (Reply::text(INACTIVE), Answer::is_unauthorized),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = answer_after(reply, &authorizer, &okta).await;
            failures.check(check(&answer), || format!("{name}, call {number}: {answer:?}"));
            let requests = requests(&okta);
            failures.check(requests == (number + 1, 0), || format!("{name}, call {number}: {requests:?} requests"));
        }
        let decisions = decisions_of(&authorizer.stop().await);
        failures.check(decisions[0]["detail"] == detail, || format!("{name}: {:?}", decisions[0]));
        failures
    });
    Failures::run(cases).await.report();
    assert_eq!((requests(&elsewhere), elsewhere.requests()), ((0, 0), 0), "a redirect was followed");
}

/// A 429 with these header lines, each ended by a line break.
fn too_many_requests(headers: &str) -> Reply {
    Reply::status(format!("429 Too Many Requests\r\n{headers}"), ACTIVE)
}

#[tokio::test]
async fn after_429_okta_is_not_asked_before_the_time_it_named() {
    // How long each form asks to wait, at least. A time in whole seconds may be up to 1 s nearer.
    let date = |seconds| http_date(now() + seconds);
    let cases = [
        ("seconds", "retry-after: 2\r\n".to_owned(), 2_000),
        ("a date", format!("retry-after: {}\r\n", date(3)), 2_000),
        ("Okta's header", format!("x-rate-limit-reset: {}\r\n", now() + 3), 2_000),
        ("twice", format!("x-rate-limit-reset: {}\r\nx-rate-limit-reset: 1\r\n", now() + 3), 2_000),
        ("no time", String::new(), 1_000),
        ("an unreadable time", "retry-after: soon\r\n".to_owned(), 1_000),
    ];
    let cases = cases.into_iter().map(|(name, headers, milliseconds)| async move {
        let mut failures = Failures::default();
        let (okta, authorizer) = start().await;
        let mut refused = 0;
        okta.introspects(too_many_requests(&headers));
        let first = answer(&authorizer, &okta).await;
        let asked = Instant::now();
        failures.check(is_rate_limited(&first), || format!("{name}: {first:?}"));
        okta.introspects(Reply::text(ACTIVE));
        let last = loop {
            let answer = answer(&authorizer, &okta).await;
            if !is_rate_limited(&answer) {
                break answer;
            }
            refused += 1;
            failures.check(requests(&okta) == (1, 0), || format!("{name}: {:?} requests", requests(&okta)));
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let waited = asked.elapsed();
        failures.check(is_allowed(&last), || format!("{name}: {last:?}"));
        failures.check(waited.as_millis() >= milliseconds, || format!("{name}: asked again after {waited:?}"));
        failures.check(requests(&okta) == (2, 0), || format!("{name}: {:?} requests", requests(&okta)));
        failures.check(refused > 0, || format!("{name}: no call in between"));
        let decisions = decisions_of(&authorizer.stop().await);
        for line in &decisions[..=refused] {
            let detail = line["detail"].as_str().unwrap();
            let says = line["reason"] == "IntrospectionRateLimited"
                && detail.starts_with("HTTP status 429, so Okta is not asked again before 1");
            failures.check(says, || format!("{name}: {line:?}"));
        }
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn issuers_with_one_endpoint_share_what_it_says_about_its_limits() {
    let okta = Okta::start(Reply::HangUp).await;
    let issuers = ["one", "two"].map(|name| format!("http://{}/oauth2/{name}", okta.address));
    let env = introspecting(Env::pinned(&jwks(&[keys::main()])))
        .with("OKTA_ISSUER", issuers.join(","))
        .with("OKTA_INTROSPECTION_ENDPOINT", format!("{}/v1/introspect", okta.issuer()));
    let authorizer = Authorizer::start(&env).await;
    for (reply, check) in [
        (Reply::text(ACTIVE), is_allowed as fn(&Answer) -> bool),
        (too_many_requests("retry-after: 60\r\n"), is_rate_limited),
        (Reply::text(ACTIVE), is_rate_limited),
    ] {
        okta.introspects(reply);
        for issuer in &issuers {
            let answer = authorizer.invoke(event(&token_of(issuer))).await;
            assert!(check(&answer), "{issuer}: {answer:?}");
        }
    }
    assert_eq!(requests(&okta), (3, 0), "one for each token, and the one that was told to wait");
}

#[tokio::test]
async fn a_429_counts_for_its_endpoint_only_and_for_300_s_at_most() {
    let okta = Okta::start(Reply::HangUp).await;
    let issuers = ["one", "two"].map(|name| format!("http://{}/oauth2/{name}", okta.address));
    let env = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_ISSUER", issuers.join(","));
    let authorizer = Authorizer::start(&env).await;
    okta.introspects_at("/oauth2/one/v1/introspect", too_many_requests("retry-after: 86400\r\n"));
    okta.introspects_at("/oauth2/two/v1/introspect", Reply::text(ACTIVE));
    for _ in 0..3 {
        for (issuer, check) in issuers.iter().zip([is_rate_limited as fn(&Answer) -> bool, is_allowed]) {
            let answer = authorizer.invoke(event(&token_of(issuer))).await;
            assert!(check(&answer), "{issuer}: {answer:?}");
        }
    }
    assert_eq!(requests(&okta), (4, 0));
    // A forged token is still a refusal. It is not asked about.
    let forged = keys::attacker().named("main").token(&claims_of(&issuers[0]));
    assert!(authorizer.invoke(event(&forged)).await.is_unauthorized());
    let decisions = decisions_of(&authorizer.stop().await);
    let detail = decisions[0]["detail"].as_str().unwrap();
    assert!(detail.ends_with("which is in 300 s"), "{detail}");
}

#[tokio::test]
async fn a_request_on_a_stale_connection_is_sent_once_more() {
    type Check = fn(&Answer) -> bool;
    let late = |reply: Reply| reply.after(Duration::from_millis(1_500));
    let kept = |later| Reply::kept_alive(ACTIVE, later);
    // The reply to the second call is that of the connection of the first. If it is lost before
    // the answer, a new connection is made, and the next reply is `first` again.
    let cases: [(_, _, Check, &[usize]); 9] = [
        ("stays open", kept(Reply::KeptAlive(ACTIVE.to_owned())), is_allowed, &[0, 0]),
        ("closed", kept(Reply::HangUp), is_allowed, &[0, 0, 1]),
        ("reset", kept(Reply::Reset), is_allowed, &[0, 0, 1]),
        ("closed late", kept(late(Reply::HangUp)), is_allowed, &[0, 0, 1]),
        ("an error", kept(Reply::status("500 Internal Server Error\r\n", ACTIVE)), is_unavailable, &[0, 0]),
        ("half an answer", kept(Reply::CutOff(padded(ACTIVE, 60))), is_unavailable, &[0, 0]),
        ("no HTTP", kept(Reply::Raw("nonsense\r\n\r\n".to_owned())), is_unavailable, &[0, 0]),
        ("no answer in time", kept(Reply::Silence), is_unavailable, &[0, 0]),
        ("inactive", kept(Reply::text(INACTIVE)), Answer::is_unauthorized, &[0, 0]),
    ];
    let cases = cases.into_iter().map(|(name, reply, check, connections)| async move {
        let mut failures = Failures::default();
        let (okta, authorizer) = start().await;
        okta.introspects(reply);
        for (call, check) in [is_allowed, check].into_iter().enumerate() {
            let answer = answer(&authorizer, &okta).await;
            failures.check(check(&answer), || format!("{name}, call {call}: {answer:?}"));
        }
        // The keys were asked for on a connection of their own.
        let asked: Vec<_> = okta.introspection_requests().iter().map(|request| request.connection - 1).collect();
        failures.check(asked == connections, || format!("{name}: {asked:?}"));
        let tokens = okta.introspection_requests();
        let same = tokens[1..].windows(2).all(|pair| pair[0].form() == pair[1].form());
        failures.check(same, || format!("{name}: another question"));
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn a_stale_connection_over_tls_is_replaced_too() {
    let okta = okta_with_active_tokens().await;
    let authority = Authority::new();
    let bundle = TempFile::new("stale.pem", &authority.pem);
    let front = TlsFront::start(&authority, Certificate::Good, okta.address).await;
    let issuer = format!("{}/oauth2/default", front.origin());
    // With a reset, TLS ends without its own closing message.
    for (later, connections) in [(Reply::HangUp, [0, 0, 1]), (Reply::Reset, [2, 2, 3])] {
        let env = introspecting(Env::pinned(&jwks(&[keys::main()])))
            .with("OKTA_ISSUER", issuer.clone())
            .with("SSL_CERT_FILE", bundle.path());
        let authorizer = Authorizer::start(&env).await;
        let before = okta.introspection_requests().len();
        okta.introspects(Reply::kept_alive(ACTIVE, later));
        for _ in 0..2 {
            let answer = authorizer.invoke(event(&token_of(&issuer))).await;
            assert!(is_allowed(&answer), "{answer:?}");
        }
        let requests = okta.introspection_requests();
        let asked: Vec<_> = requests[before..].iter().map(|request| request.connection).collect();
        assert_eq!(asked, connections);
    }
}

#[tokio::test]
async fn the_second_try_is_the_last_and_within_the_2_s_of_the_first() {
    let late = |reply: Reply| reply.after(Duration::from_millis(1_500));
    for (name, second, check) in [
        ("lost again", Reply::HangUp, is_unavailable as fn(&Answer) -> bool),
        ("late as well", late(Reply::text(ACTIVE)), is_unavailable),
        ("in time", Reply::text(ACTIVE), is_allowed),
    ] {
        let (okta, authorizer) = start().await;
        okta.introspects(Reply::kept_alive(ACTIVE, late(Reply::HangUp)));
        assert!(is_allowed(&answer(&authorizer, &okta).await), "{name}");
        let second_call = answer(&authorizer, &okta);
        let change = async {
            okta.wait_for_introspections(2).await;
            okta.introspects(second);
        };
        let (answer, ()) = tokio::join!(second_call, change);
        assert!(check(&answer), "{name}: {answer:?}");
        assert_eq!(requests(&okta), (3, 0), "{name}");
    }
}

#[tokio::test]
async fn while_the_endpoint_is_down_calls_are_faults() {
    let port = ReservedPort::new();
    let pinned = Env::pinned(&jwks(&[keys::main()])).with("OKTA_ISSUER", port.issuer());
    let authorizer = Authorizer::start(&introspecting(pinned)).await;
    let body = event(&format!("Bearer {}", token_of(&port.issuer())));
    for _ in 0..2 {
        let answer = authorizer.invoke(body.clone()).await;
        assert!(is_unavailable(&answer), "{answer:?}");
    }
    let okta = port.open(Reply::HangUp);
    okta.introspects(Reply::text(ACTIVE));
    assert!(is_allowed(&authorizer.invoke(body.clone()).await));
    okta.introspects(Reply::text(INACTIVE));
    assert!(authorizer.invoke(body).await.is_unauthorized());
}

#[tokio::test]
async fn a_reply_within_its_time_and_size_limits_is_accepted() {
    let late = |text| Reply::text(text).after(Duration::from_millis(500));
    let with_header =
        |text: &str| Reply::Body { headers: "cache-control: no-store\r\n".to_owned(), body: text.to_owned() };
    let longest = |text| Reply::text(padded(text, 64 * 1024));
    let (okta, authorizer) = start().await;
    for (name, active, inactive) in [
        ("late", late(ACTIVE), late(INACTIVE)),
        ("with a header", with_header(ACTIVE), with_header(INACTIVE)),
        ("longest", longest(ACTIVE), longest(INACTIVE)),
    ] {
        assert!(is_allowed(&answer_after(active, &authorizer, &okta).await), "{name}");
        assert!(answer_after(inactive, &authorizer, &okta).await.is_unauthorized(), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_tls_does_not_trust_gets_no_request() {
    let okta = okta_with_active_tokens().await;
    let (trusted, untrusted) = (Authority::new(), Authority::new());
    let bundle = TempFile::new("bundle.pem", &trusted.pem);
    let good = TlsFront::start(&trusted, Certificate::Good, okta.address).await;
    let proxy = RoutingProxy::start(okta.address).await;
    let issuer = format!("https://localhost:{}/oauth2/default", proxy.port);
    let env = introspecting(Env::pinned(&jwks(&[keys::main()])))
        .with("OKTA_ISSUER", issuer.clone())
        .with("OKTA_INTROSPECTION_CLIENT_SECRET", "hush")
        .with("SSL_CERT_FILE", bundle.path());
    let authorizer = Authorizer::start(&env).await;
    let body = event(&format!("Bearer {}", token_of(&issuer)));
    let fronts = [
        ("another name", &trusted, Certificate::OfAnotherName),
        ("expired", &trusted, Certificate::Expired),
        ("untrusted authority", &untrusted, Certificate::Good),
    ];
    let answer = authorizer.invoke(body.clone()).await;
    assert!(is_unavailable(&answer), "no TLS: {answer:?}");
    assert_eq!(requests(&okta), (0, 0), "no TLS");
    for (number, (name, authority, certificate)) in fronts.into_iter().enumerate() {
        let bad = TlsFront::start(authority, certificate, okta.address).await;
        proxy.route_to(bad.address);
        let answer = authorizer.invoke(body.clone()).await;
        assert!(is_unavailable(&answer), "{name}: {answer:?}");
        assert_eq!(requests(&okta), (number, 0), "{name}");
        proxy.route_to(good.address);
        let answer = authorizer.invoke(body.clone()).await;
        assert!(is_allowed(&answer), "after {name}: {answer:?}");
        assert_eq!(requests(&okta), (number + 1, 0), "after {name}");
    }
}

#[tokio::test]
async fn each_issuer_has_its_own_introspection_endpoint() {
    let okta = Okta::start(Reply::HangUp).await;
    let paths = [
        ("/oauth2/aus1", "/oauth2/aus1/v1/introspect"),
        ("/oauth2/aus2", "/oauth2/aus2/v1/introspect"),
        ("/oauth2/aus3", "/oauth2/aus3/v1/introspect"),
        ("", "/v1/introspect"),
    ];
    let issuer = |path: &str| format!("http://{}{path}", okta.address);
    let issuers = paths.map(|(path, _)| issuer(path)).join(",");
    let env = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_ISSUER", issuers);
    let authorizer = Authorizer::start(&env).await;
    for (_, active) in paths {
        for (_, endpoint) in paths {
            okta.introspects_at(endpoint, Reply::text(if endpoint == active { ACTIVE } else { INACTIVE }));
        }
        for (path, endpoint) in paths {
            let token = token_of(&issuer(path));
            let answer = authorizer.invoke(event(&format!("Bearer {token}"))).await;
            let is_active = endpoint == active;
            assert_eq!((is_allowed(&answer), answer.is_unauthorized()), (is_active, !is_active), "{path}: {answer:?}");
            let request = last_request(&okta);
            assert_eq!((request.target.as_str(), request.token()), (&*format!("POST {endpoint}"), token));
        }
    }
    assert_eq!((requests(&okta), okta.requests()), ((16, 0), 0));
}

/// Asserts that the process rejects this environment with one line about `variable`, without the
/// secret.
async fn assert_rejected(env: &Env, variable: &str) {
    let line = Authorizer::rejection(env).await;
    assert!(line.contains(variable) && !line.contains("hush"), "{variable}: {line}");
}

async fn assert_starts(env: &Env) {
    assert!(Authorizer::start(env).await.invoke(event("Bearer x")).await.is_unauthorized());
}

/// Introspection with a secret and pinned keys.
fn with_a_secret() -> Env {
    introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_INTROSPECTION_CLIENT_SECRET", "hush-hush")
}

#[tokio::test]
async fn several_hosts_need_one_introspection_endpoint() {
    const ID: &str = "OKTA_INTROSPECTION_CLIENT_ID";
    let endpoint = "https://one.okta.com/oauth2/default/v1/introspect";
    // Without it, each host would receive the client's secret for the others.
    for issuers in [
        "https://one.okta.com/oauth2/default,https://two.okta.com/oauth2/default",
        "https://one.okta.com/oauth2/a,https://one.okta.com/oauth2/b,https://two.okta.com/oauth2/a",
        "https://one.okta.com/oauth2/a,https://one.okta.com.example/oauth2/a",
        "https://one.okta.com/oauth2/a,https://one.okta.com:8443/oauth2/a",
        "http://127.0.0.1:9/a,http://127.0.0.1:10/a",
    ] {
        let env = with_a_secret().with("OKTA_ISSUER", issuers);
        assert_rejected(&env, ID).await;
        assert_rejected(&env.clone().without("OKTA_INTROSPECTION_CLIENT_SECRET"), ID).await;
        assert_starts(&env.clone().with("OKTA_INTROSPECTION_ENDPOINT", endpoint)).await;
        assert_starts(&env.without(ID).without("OKTA_INTROSPECTION_CLIENT_SECRET")).await;
    }
    for issuers in [
        "https://one.okta.com/oauth2/aus1,https://one.okta.com/oauth2/aus2",
        "http://127.0.0.1:9/a,http://127.0.0.1:9/b",
    ] {
        assert_starts(&with_a_secret().with("OKTA_ISSUER", issuers)).await;
    }
}

/// An org's own domain and its custom domain: the server of one knows the tokens of both.
#[tokio::test]
async fn one_endpoint_is_asked_for_the_tokens_of_all_issuers() {
    let (own, custom) = (okta_with_active_tokens().await, okta_with_active_tokens().await);
    let env = with_a_secret()
        .with("OKTA_ISSUER", format!("{},{}", own.issuer(), custom.issuer()))
        .with("OKTA_INTROSPECTION_ENDPOINT", format!("{}/v1/introspect", own.issuer()));
    let authorizer = Authorizer::start(&env).await;
    for (number, okta) in [&own, &custom].into_iter().enumerate() {
        assert!(is_allowed(&answer(&authorizer, okta).await));
        assert_eq!((requests(&own), requests(&custom)), ((number + 1, 0), (0, 0)));
    }
    own.introspects(Reply::text(INACTIVE));
    assert!(answer(&authorizer, &custom).await.is_unauthorized());
}

#[tokio::test]
async fn introspection_needs_a_client_id_and_valid_variables() {
    const ID: &str = "OKTA_INTROSPECTION_CLIENT_ID";
    let base = with_a_secret();
    for env in [base.clone().without(ID), base.clone().with(ID, "")] {
        assert_rejected(&env, ID).await;
        let public = env.without("OKTA_INTROSPECTION_CLIENT_SECRET");
        assert_rejected(&public.clone().with("OKTA_INTROSPECTION_ENDPOINT", "https://one.okta.com/x"), ID).await;
        assert_starts(&public).await;
    }
    let not_utf_8 = OsString::from_vec(b"hush-hush\xff".to_vec());
    for secret in [not_utf_8, " ".into()] {
        let env = base.clone().with("OKTA_INTROSPECTION_CLIENT_SECRET", secret);
        assert_rejected(&env, "OKTA_INTROSPECTION_CLIENT_SECRET").await;
    }
    assert_starts(&base).await;
    assert_starts(&base.with("OKTA_INTROSPECTION_CLIENT_SECRET", "")).await;
}

#[tokio::test]
async fn okta_is_asked_only_if_introspection_is_on() {
    let okta = okta_with_active_tokens().await;
    okta.introspects(Reply::text(INACTIVE));
    let on = introspecting(Env::okta(&[&okta])).with("OKTA_INTROSPECTION_CLIENT_SECRET", "hush");
    for off in [Env::okta(&[&okta]), Env::okta(&[&okta]).with("OKTA_INTROSPECTION_CLIENT_ID", "")] {
        assert!(is_allowed(&answer(&Authorizer::start(&off).await, &okta).await));
    }
    assert_eq!(requests(&okta), (0, 0));
    assert!(answer(&Authorizer::start(&on).await, &okta).await.is_unauthorized());
    assert_eq!(requests(&okta), (1, 0));
}

#[tokio::test]
async fn with_pinned_keys_okta_is_asked_as_well() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let env = introspecting(Env::okta(&[&okta])).with("OKTA_JWKS", jwks(&[keys::main()]).to_string());
    let authorizer = Authorizer::start(&env).await;
    for (reply, check) in [
        (Reply::text(ACTIVE), is_allowed as fn(&Answer) -> bool),
        (Reply::text(INACTIVE), Answer::is_unauthorized),
        (Reply::HangUp, is_unavailable),
        (Reply::text(ACTIVE), is_allowed),
    ] {
        let answer = answer_after(reply.clone(), &authorizer, &okta).await;
        assert!(check(&answer), "{reply:?}: {answer:?}");
        let forged = keys::attacker().token(&claims_of(&okta.issuer()));
        assert!(authorizer.invoke(event(&forged)).await.is_unauthorized());
    }
    assert_eq!((requests(&okta), okta.requests()), ((4, 0), 0));
}

#[tokio::test]
async fn no_log_line_and_no_answer_has_the_secret_or_the_token() {
    const SECRET: &str = "a secret/that+must:not%be logged";
    const ENCODED: &str = "a+secret%2Fthat%2Bmust%3Anot%25be+logged";
    let okta = okta_with_active_tokens().await;
    let elsewhere = okta_with_active_tokens().await;
    let echo = |token: &str| json!({ "active": token, "token": token, "client_secret": SECRET }).to_string();
    let mut hidden: Vec<String> = vec![
        SECRET.to_owned(),
        ENCODED.to_owned(),
        STANDARD.encode(SECRET),
        STANDARD.encode(format!("{CLIENT}:{SECRET}")),
        STANDARD.encode(format!("{CLIENT}:{ENCODED}")),
    ];
    for (format, secret) in [("JSON", SECRET), ("Text", SECRET), ("JSON", "")] {
        let env = introspecting(Env::okta(&[&okta]))
            .with("OKTA_INTROSPECTION_CLIENT_SECRET", secret)
            .with("AWS_LAMBDA_LOG_LEVEL", "TRACE")
            .with("AWS_LAMBDA_LOG_FORMAT", format)
            .with("RUST_LOG", "trace");
        let authorizer = Authorizer::start(&env).await;
        let token = token_of(&okta.issuer());
        hidden.extend(token.split('.').map(str::to_owned));
        let redirect = format!("302 Found\r\nlocation: {}/?token={token}\r\n", elsewhere.issuer());
        let mut answers = Vec::new();
        for reply in [
            Reply::text(ACTIVE),
            Reply::text(INACTIVE),
            Reply::text(echo(&token)),
            Reply::status("401 Unauthorized\r\n", echo(&token)),
            Reply::status(redirect, echo(&token)),
            Reply::CutOff(echo(&token)),
            Reply::HangUp,
            Reply::Silence,
        ] {
            okta.introspects(reply);
            answers.push(authorizer.invoke(event(&format!("Bearer {token}"))).await);
        }
        let [allowed, refused, faults @ ..] = &answers[..] else { panic!("{answers:?}") };
        let as_expected = is_allowed(allowed) && refused.is_unauthorized() && faults.iter().all(is_unavailable);
        assert!(as_expected, "{answers:?}");
        let lines = authorizer.stop().await;
        assert!(lines.len() >= answers.len(), "the test does not see the log: {lines:#?}");
        for text in lines.into_iter().chain(answers.iter().map(|answer| format!("{answer:?}"))) {
            for hidden in &hidden {
                assert!(!text.contains(hidden.as_str()), "{hidden} in {text}");
            }
        }
    }
    assert_eq!(requests(&elsewhere), (0, 0));
}
