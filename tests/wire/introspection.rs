//! Issue 3: whether a verified token is still active, asked of Okta (RFC 7662), and calls that are under way at the same
//! time, of which most wait for Okta.

use std::{
    ffi::OsString,
    net::SocketAddr,
    os::unix::ffi::OsStringExt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use okta_authorizer_testkit::{
    API, Failures, arn,
    env::Env,
    event, event_for,
    keys::{self, Key, jwks},
    now,
    okta::{IntrospectionRequest, Okta, Reply, ReservedPort},
    runtime_api::{Answer, Authorizer},
    table::{Table, item},
    temp_file::TempFile,
    tls::{Authority, Certificate, TlsFront},
    token::claims_of,
    with, without,
};
use serde_json::{Map, Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

const CLIENT: &str = "0oagateway";
const ACTIVE: &str = r#"{"active":true}"#;
const INACTIVE: &str = r#"{"active":false}"#;

/// A request has 2 s; what is more is the machine's and not the program's.
const TWO_SECONDS_AND_SOME: Duration = Duration::from_secs(5);

/// An Okta that publishes the main key and says this of every token.
async fn okta_that_says(answer: &str) -> Okta {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    okta.introspects(Reply::text(answer));
    okta
}

/// Introspection as a public client.
fn introspecting(env: Env) -> Env {
    env.with("OKTA_INTROSPECT", "true").with("OKTA_CLIENT_ID", CLIENT)
}

/// A good token of this issuer.
fn token_of(issuer: &str) -> String {
    keys::main().token(&claims_of(issuer))
}

async fn ask(authorizer: &Authorizer, okta: &Okta) -> Answer {
    authorizer.invoke(event(&format!("Bearer {}", token_of(&okta.issuer())))).await
}

fn passes(answer: &Answer) -> bool {
    answer.allows(&arn("GET /apps"))
}

/// The fault that says so, and nothing that the gateway would take for a decision.
fn is_unavailable(answer: &Answer) -> bool {
    answer.is_fault() && matches!(answer, Answer::Error { kind, .. } if kind == "IntrospectionUnavailable")
}

/// The last thing that Okta was asked about a token.
fn last_question(okta: &Okta) -> IntrospectionRequest {
    okta.introspection_requests().pop().expect("a question")
}

fn form(members: &[(&str, &str)]) -> Vec<(String, String)> {
    members.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The members of each decision line.
fn decisions(lines: &[String]) -> Vec<Map<String, Value>> {
    let objects = lines.iter().filter_map(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    objects.filter(|object| object.contains_key("outcome")).collect()
}

#[tokio::test]
async fn a_public_client_names_itself_in_the_form() {
    let okta = okta_that_says(ACTIVE).await;
    let ids = [CLIENT, "0oa gate&way=+%2B/é"];
    for id in ids {
        // An empty secret is none.
        let env = introspecting(Env::okta(&[&okta])).with("OKTA_CLIENT_ID", id).with("OKTA_CLIENT_SECRET", "");
        let authorizer = Authorizer::start(&env).await;
        assert!(okta.introspection_requests().len() < ids.len(), "init asks nothing");
        let token = token_of(&okta.issuer());
        assert!(passes(&authorizer.invoke(event(&format!("Bearer {token}"))).await));
        let asked = last_question(&okta);
        assert_eq!(asked.target, "POST /oauth2/default/v1/introspect");
        assert_eq!(asked.headers("content-type"), ["application/x-www-form-urlencoded"]);
        assert_eq!(asked.headers("authorization"), [""; 0]);
        assert_eq!(
            asked.form(),
            form(&[("client_id", id), ("token", token.as_str()), ("token_type_hint", "access_token")])
        );
    }
    assert_eq!((okta.introspection_requests().len(), okta.unexpected_requests()), (2, 0));
}

#[tokio::test]
async fn a_confidential_client_authenticates_by_http_basic() {
    let okta = okta_that_says(ACTIVE).await;
    // RFC 6749 §2.3.1: each part is form-encoded before they are joined, so that a colon in the id separates nothing.
    for (id, secret, joined) in [
        (CLIENT, "plainsecret-_.*", "0oagateway:plainsecret-_.*"),
        (CLIENT, "a:b/c+d e&f=g%h", "0oagateway:a%3Ab%2Fc%2Bd+e%26f%3Dg%25h"),
        ("0oa:gate", "~é\"'", "0oa%3Agate:%7E%C3%A9%22%27"),
    ] {
        let env = introspecting(Env::okta(&[&okta])).with("OKTA_CLIENT_ID", id).with("OKTA_CLIENT_SECRET", secret);
        let authorizer = Authorizer::start(&env).await;
        let token = token_of(&okta.issuer());
        assert!(passes(&authorizer.invoke(event(&format!("Bearer {token}"))).await));
        let asked = last_question(&okta);
        assert_eq!(asked.target, "POST /oauth2/default/v1/introspect");
        assert_eq!(asked.headers("content-type"), ["application/x-www-form-urlencoded"]);
        assert_eq!(asked.headers("authorization"), [format!("Basic {}", STANDARD.encode(joined))], "{joined}");
        assert_eq!(asked.form(), form(&[("token", token.as_str()), ("token_type_hint", "access_token")]));
    }
    assert_eq!((okta.introspection_requests().len(), okta.unexpected_requests()), (3, 0));
}

#[tokio::test]
async fn the_token_is_asked_about_alone_however_it_was_sent() {
    let okta = okta_that_says(ACTIVE).await;
    let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    let claims = claims_of(&okta.issuer());
    let short = keys::main().token(&claims);
    let long = keys::main().token(&with(&claims, &json!({ "pad": "x".repeat(11_000) })));
    assert!((14_000..16_384).contains(&long.len()), "{}", long.len());
    for token in [short, long] {
        for scheme in ["Bearer ", "bearer ", "BEARER    ", ""] {
            assert!(passes(&authorizer.invoke(event(&format!("{scheme}{token}"))).await), "{scheme:?}");
            assert_eq!(last_question(&okta).token(), token, "{scheme:?}");
        }
    }
    assert_eq!(okta.introspection_requests().len(), 8);
}

#[tokio::test]
async fn an_active_token_gets_the_policy_that_it_would_get_anyway() {
    let okta = okta_that_says(ACTIVE).await;
    let asking = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    let plain = Authorizer::start(&Env::okta(&[&okta])).await;
    let claims = claims_of(&okta.issuer());
    for members in [json!({}), json!({ "groups": ["SUPERUSERS"] }), json!({ "tenants": ["0oidp:acme:G"] })] {
        for route in ["GET /apps", "POST /tenants", "GET /idps/0oidp"] {
            let body = event_for(&format!("Bearer {}", keys::main().token(&with(&claims, &members))), &arn(route));
            let expected = plain.invoke(body.clone()).await;
            // Everything but `active` is for others to read.
            for answer in [ACTIVE, r#"{"active":true,"scope":"all","sub":"eve@example.com","groups":["SUPERUSERS"]}"#] {
                okta.introspects(Reply::text(answer));
                let found = asking.invoke(body.clone()).await;
                assert_eq!(found.policy(&arn(route)), expected.policy(&arn(route)));
                assert_eq!(found, expected, "{members}, {route}");
            }
        }
    }
    assert_eq!(okta.introspection_requests().len(), 18);
}

#[tokio::test]
async fn an_inactive_token_is_refused_and_the_log_says_why() {
    let okta = okta_that_says(ACTIVE).await;
    let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    let no = [INACTIVE, " {\n\t\"active\" : false } ", r#"{"active":false,"scope":"all","exp":99999999999}"#];
    for answer in no {
        okta.introspects(Reply::text(ACTIVE));
        assert!(passes(&ask(&authorizer, &okta).await));
        okta.introspects(Reply::text(answer));
        assert!(ask(&authorizer, &okta).await.is_unauthorized(), "{answer}");
    }
    let lines = authorizer.stop().await;
    let decisions = decisions(&lines);
    assert_eq!(decisions.len(), 2 * no.len(), "{lines:#?}");
    for line in decisions.iter().skip(1).step_by(2) {
        assert_eq!((&line["outcome"], &line["reason"]), (&json!("refused"), &json!("inactive")), "{line:?}");
        // Whose token it was is verified, and worth knowing.
        assert_eq!((&line["uid"], &line["jti"]), (&json!("00uada"), &json!("AT.0123456789")), "{line:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("ERROR")), "a refusal is no error: {lines:#?}");
}

#[tokio::test]
async fn the_deny_mode_denies_an_inactive_token_and_leaves_a_fault_a_fault() {
    let okta = okta_that_says(INACTIVE).await;
    let env = introspecting(Env::okta(&[&okta])).with("INVALID_TOKEN_RESPONSE", "deny");
    let authorizer = Authorizer::start(&env).await;
    let refused = ask(&authorizer, &okta).await;
    assert_eq!(refused.response()["principalId"], "unauthenticated");
    let policy = refused.policy(&arn("GET /apps"));
    assert_eq!((policy.allow, policy.deny), (vec![], vec![format!("{API}/*")]));
    okta.introspects(Reply::HangUp);
    let fault = ask(&authorizer, &okta).await;
    assert!(is_unavailable(&fault), "{fault:?}");
    okta.introspects(Reply::text(ACTIVE));
    assert!(passes(&ask(&authorizer, &okta).await));
}

#[tokio::test]
async fn every_call_asks_once_and_a_revocation_counts_at_once() {
    let okta = okta_that_says(ACTIVE).await;
    let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    let body = event(&format!("Bearer {}", token_of(&okta.issuer())));
    for number in 1..=5 {
        assert!(passes(&authorizer.invoke(body.clone()).await));
        assert_eq!(okta.introspection_requests().len(), number);
    }
    okta.introspects(Reply::text(INACTIVE));
    for number in 6..=8 {
        assert!(authorizer.invoke(body.clone()).await.is_unauthorized());
        assert_eq!(okta.introspection_requests().len(), number);
    }
    // The keys were fetched at init, and no question has made them due.
    assert_eq!((okta.requests(), okta.unexpected_requests()), (1, 0));
}

#[tokio::test]
async fn only_a_verified_token_is_asked_about() {
    let okta = okta_that_says(ACTIVE).await;
    let env = introspecting(Env::okta(&[&okta])).with("OKTA_CLIENT_IDS", "0oaclient");
    let authorizer = Authorizer::start(&env).await;
    let claims = claims_of(&okta.issuer());
    let by_us = |members: Value| keys::main().token(&with(&claims, &members));
    let unsigned = json!({ "alg": "none", "kid": "main" }).to_string();
    let good = by_us(json!({}));
    let bad = [
        ("forged", keys::attacker().named("main").token(&claims)),
        ("by an unknown key", keys::attacker().token(&claims)),
        ("unsigned", keys::main().sign(unsigned, claims.to_string())),
        ("cut off", good.split_at(good.len() - 4).0.to_owned()),
        ("expired", by_us(json!({ "iat": now() - 7200, "exp": now() - 3600 }))),
        ("not yet valid", by_us(json!({ "nbf": now() + 3600 }))),
        ("for another audience", by_us(json!({ "aud": "api://other" }))),
        ("of another client", by_us(json!({ "cid": "0oaother" }))),
        ("of an unknown issuer", by_us(json!({ "iss": "https://evil.example/oauth2/default" }))),
        ("sender-constrained", by_us(json!({ "cnf": { "jkt": "x" } }))),
        ("without a subject", keys::main().token(&without(&claims, "sub"))),
        ("no token", "x".to_owned()),
        ("nothing", String::new()),
    ];
    for (name, token) in bad {
        let answer = authorizer.invoke(event(&format!("Bearer {token}"))).await;
        assert!(answer.is_unauthorized(), "{name}: {answer:?}");
        assert_eq!(okta.introspection_requests().len(), 0, "{name}");
    }
    assert!(authorizer.invoke("{}").await.is_unauthorized());
    assert!(passes(&authorizer.invoke(event(&format!("Bearer {good}"))).await));
    assert_eq!((okta.introspection_requests().len(), okta.unexpected_requests()), (1, 0));
}

/// White space and then the text, `size` bytes in all.
fn padded(text: &str, size: usize) -> String {
    format!("{}{text}", " ".repeat(size - text.len()))
}

/// Answers that do not say whether a token is active. As many as can say all the same that it is.
fn no_answers(elsewhere: &Okta) -> Vec<(&'static str, Reply)> {
    let status = |head: &str| Reply::status(format!("{head}\r\n"), ACTIVE);
    let location = format!("{}/v1/introspect", elsewhere.issuer());
    let redirect = |code: &str| Reply::status(format!("{code}\r\nlocation: {location}\r\n"), ACTIVE);
    let whole_and_then_some = format!("{ACTIVE}{}", " ".repeat(2 * ACTIVE.len()));
    vec![
        ("hang-up", Reply::HangUp),
        ("silence", Reply::Silence),
        ("a body that drips", Reply::Drip(padded(ACTIVE, 60))),
        ("half a body, and more to come", Reply::HalfABody(whole_and_then_some.clone())),
        ("half a body, and no more", Reply::CutOff(whole_and_then_some)),
        ("201", status("201 Created")),
        ("202", status("202 Accepted")),
        ("204", Reply::status("204 No Content\r\n", "")),
        ("206", status("206 Partial Content")),
        ("301", redirect("301 Moved Permanently")),
        ("302", redirect("302 Found")),
        ("303", redirect("303 See Other")),
        ("307", redirect("307 Temporary Redirect")),
        ("308", redirect("308 Permanent Redirect")),
        ("400", status("400 Bad Request")),
        ("401", status("401 Unauthorized")),
        ("403", status("403 Forbidden")),
        ("404", status("404 Not Found")),
        ("429", status("429 Too Many Requests")),
        ("500", status("500 Internal Server Error")),
        ("503", status("503 Service Unavailable")),
        ("an error that says no", Reply::status("401 Unauthorized\r\n", INACTIVE)),
        ("HTML", Reply::text("<!doctype html><title>Sign in</title>")),
        ("nothing", Reply::text("")),
        ("no member active", Reply::text("{}")),
        ("another member", Reply::text(r#"{"Active":true,"is_active":true}"#)),
        ("a member further down", Reply::text(r#"{"token":{"active":true}}"#)),
        ("active as text", Reply::text(r#"{"active":"true"}"#)),
        ("active as a number", Reply::text(r#"{"active":1}"#)),
        ("active as null", Reply::text(r#"{"active":null}"#)),
        ("active as a list", Reply::text(r#"{"active":[true]}"#)),
        ("inactive as text", Reply::text(r#"{"active":"false"}"#)),
        ("inactive as a number", Reply::text(r#"{"active":0}"#)),
        ("true", Reply::text("true")),
        ("null", Reply::text("null")),
        ("a list of true", Reply::text("[true]")),
        ("a list of an answer", Reply::text(r#"[{"active":true}]"#)),
        ("cut-off JSON", Reply::text(r#"{"active":true"#)),
        ("JSON and more", Reply::text(r#"{"active":true}{"active":true}"#)),
        ("a raw control character", Reply::text("{\"active\":true,\"x\":\"\u{0}\"}")),
        ("a byte over 64 KiB", Reply::text(padded(ACTIVE, 64 * 1024 + 1))),
        ("8 MiB", Reply::text(padded(ACTIVE, 8 * 1024 * 1024))),
    ]
}

#[tokio::test]
async fn no_answer_is_a_fault_and_neither_a_refusal_nor_consent() {
    let elsewhere = okta_that_says(ACTIVE).await;
    let cases = no_answers(&elsewhere).into_iter().map(|(name, reply)| async move {
        let mut failures = Failures::default();
        let okta = okta_that_says(ACTIVE).await;
        let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
        okta.introspects(reply);
        let asked = Instant::now();
        let answer = ask(&authorizer, &okta).await;
        failures.check(is_unavailable(&answer), || format!("{name}: {answer:?}"));
        failures.check(asked.elapsed() < TWO_SECONDS_AND_SOME, || format!("{name}: {:?}", asked.elapsed()));
        failures.check(okta.introspection_requests().len() == 1, || {
            format!("{name}: asked {} times", okta.introspection_requests().len())
        });
        okta.introspects(Reply::text(ACTIVE));
        let answer = ask(&authorizer, &okta).await;
        failures.check(passes(&answer), || format!("{name}, and then active: {answer:?}"));
        okta.introspects(Reply::text(INACTIVE));
        let answer = ask(&authorizer, &okta).await;
        failures.check(answer.is_unauthorized(), || format!("{name}, and then inactive: {answer:?}"));
        failures.check(okta.unexpected_requests() == 0 && okta.introspection_requests().len() == 3, || {
            format!("{name}: asked again or astray")
        });
        failures
    });
    Failures::of(cases).await.report();
    let told = (elsewhere.introspection_requests().len(), elsewhere.requests(), elsewhere.unexpected_requests());
    assert_eq!(told, (0, 0, 0), "a redirect was followed");
}

#[tokio::test]
async fn an_endpoint_that_is_down_is_a_fault_until_it_is_up() {
    let closed = ReservedPort::new();
    let pinned = Env::pinned(&jwks(&[keys::main()])).with("OKTA_ISSUER", closed.issuer());
    let authorizer = Authorizer::start(&introspecting(pinned)).await;
    let body = event(&format!("Bearer {}", token_of(&closed.issuer())));
    for _ in 0..2 {
        let answer = authorizer.invoke(body.clone()).await;
        assert!(is_unavailable(&answer), "{answer:?}");
    }
    let okta = closed.open(Reply::HangUp);
    okta.introspects(Reply::text(ACTIVE));
    assert!(passes(&authorizer.invoke(body.clone()).await));
    okta.introspects(Reply::text(INACTIVE));
    assert!(authorizer.invoke(body).await.is_unauthorized());
}

#[tokio::test]
async fn a_fault_is_one_error_in_the_log() {
    let okta = okta_that_says("{}").await;
    let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    assert!(is_unavailable(&ask(&authorizer, &okta).await));
    okta.introspects(Reply::text(ACTIVE));
    assert!(passes(&ask(&authorizer, &okta).await));
    let lines = authorizer.stop().await;
    let errors: Vec<_> = lines.iter().filter(|line| line.contains("ERROR")).cloned().collect();
    let [error] = &decisions(&errors)[..] else { panic!("one line: {lines:#?}") };
    assert_eq!((&error["outcome"], &error["reason"]), (&json!("fault"), &json!("IntrospectionUnavailable")));
    assert_eq!(errors.len(), 1, "{lines:#?}");
}

#[tokio::test]
async fn an_answer_within_its_time_and_bounds_is_taken() {
    let late = |text| Reply::text(text).after(Duration::from_millis(500));
    let typed = |text: &str| Reply::Body { headers: "cache-control: no-store\r\n".to_owned(), body: text.to_owned() };
    let okta = okta_that_says(ACTIVE).await;
    let authorizer = Authorizer::start(&introspecting(Env::okta(&[&okta]))).await;
    let edge = 64 * 1024;
    for (yes, no) in [
        (late(ACTIVE), late(INACTIVE)),
        (typed(ACTIVE), typed(INACTIVE)),
        (Reply::text(padded(ACTIVE, edge)), Reply::text(padded(INACTIVE, edge))),
    ] {
        let name = format!("{yes:.60?}");
        okta.introspects(yes);
        assert!(passes(&ask(&authorizer, &okta).await), "{name}");
        okta.introspects(no);
        assert!(ask(&authorizer, &okta).await.is_unauthorized(), "{name}");
    }
}

/// Hands connections on to whoever is behind it at the time.
struct Relay {
    address: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
    server: JoinHandle<()>,
}

impl Relay {
    async fn start(first: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(Mutex::new(first));
        let next = behind.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut outer, _) = listener.accept().await.unwrap();
                let address = *next.lock().unwrap();
                tokio::spawn(async move {
                    let mut inner = TcpStream::connect(address).await.unwrap();
                    // Either end may hang up; that is its right.
                    let _ = copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Self { address, behind, server }
    }

    fn lead_to(&self, address: SocketAddr) {
        *self.behind.lock().unwrap() = address;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn address_of(front: &TlsFront) -> SocketAddr {
    let origin = front.origin();
    let (_, port) = origin.rsplit_once(':').unwrap();
    SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
}

#[tokio::test]
async fn whom_tls_does_not_trust_is_told_nothing() {
    let okta = okta_that_says(ACTIVE).await;
    let (ours, other) = (Authority::new(), Authority::new());
    let bundle = TempFile::new("bundle.pem", &ours.pem);
    let good = TlsFront::start(&ours, Certificate::Good, okta.address).await;
    let relay = Relay::start(okta.address).await;
    let issuer = format!("https://localhost:{}/oauth2/default", relay.address.port());
    let env = introspecting(Env::pinned(&jwks(&[keys::main()])))
        .with("OKTA_ISSUER", issuer.clone())
        .with("OKTA_CLIENT_SECRET", "hush")
        .with("SSL_CERT_FILE", bundle.path());
    let authorizer = Authorizer::start(&env).await;
    let body = event(&format!("Bearer {}", token_of(&issuer)));
    let answer = authorizer.invoke(body.clone()).await;
    assert!(is_unavailable(&answer), "no TLS: {answer:?}");
    assert_eq!((okta.introspection_requests().len(), okta.unexpected_requests()), (0, 0), "no TLS");

    for (name, authority, certificate) in [
        ("of another name", &ours, Certificate::OfAnotherName),
        ("expired", &ours, Certificate::Expired),
        ("by another authority", &other, Certificate::Good),
    ] {
        let bad = TlsFront::start(authority, certificate, okta.address).await;
        let before = okta.introspection_requests().len();
        relay.lead_to(address_of(&bad));
        let answer = authorizer.invoke(body.clone()).await;
        assert!(is_unavailable(&answer), "{name}: {answer:?}");
        assert_eq!((okta.introspection_requests().len(), okta.unexpected_requests()), (before, 0), "{name}");
        relay.lead_to(address_of(&good));
        let answer = authorizer.invoke(body.clone()).await;
        assert!(passes(&answer), "after {name}: {answer:?}");
        assert_eq!(okta.introspection_requests().len(), before + 1, "after {name}");
    }
}

#[tokio::test]
async fn each_issuer_on_a_host_is_asked_at_its_own_endpoint() {
    let okta = Okta::start(Reply::HangUp).await;
    let origin = format!("http://{}", okta.address);
    let issuers = ["/oauth2/aus1", "/oauth2/aus2", "/oauth2/aus3/", ""].map(|path| format!("{origin}{path}"));
    let endpoints =
        ["/oauth2/aus1/v1/introspect", "/oauth2/aus2/v1/introspect", "/oauth2/aus3/v1/introspect", "/v1/introspect"];
    let env = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_ISSUER", issuers.join(","));
    let authorizer = Authorizer::start(&env).await;
    for knowing in endpoints {
        for endpoint in endpoints {
            okta.introspects_at(endpoint, Reply::text(if endpoint == knowing { ACTIVE } else { INACTIVE }));
        }
        for (issuer, endpoint) in issuers.iter().zip(endpoints) {
            let token = token_of(issuer);
            let answer = authorizer.invoke(event(&format!("Bearer {token}"))).await;
            let as_said = if endpoint == knowing { passes(&answer) } else { answer.is_unauthorized() };
            assert!(as_said, "{issuer}, where {knowing} says yes: {answer:?}");
            let asked = last_question(&okta);
            assert_eq!((&asked.target, asked.token()), (&format!("POST {endpoint}"), token));
        }
    }
    assert_eq!((okta.introspection_requests().len(), okta.requests(), okta.unexpected_requests()), (16, 0, 0));
}

/// What the process wrote that refused to start, in one line.
async fn refused(env: &Env) -> String {
    let ended = Authorizer::refuse(env).await.unwrap_or_else(|output| panic!("it started: {output:?}"));
    assert!(!ended.status.success(), "{:?}", ended.lines);
    let [line] = &ended.lines[..] else { panic!("one line: {:#?}", ended.lines) };
    assert!(!line.contains("panicked"), "{line}");
    line.clone()
}

async fn starts(env: &Env) {
    assert!(Authorizer::start(env).await.invoke(event("Bearer x")).await.is_unauthorized());
}

#[tokio::test]
async fn issuers_on_several_hosts_would_be_told_each_others_secret() {
    let base = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_CLIENT_SECRET", "hush-hush");
    for issuers in [
        "https://one.okta.com/oauth2/default,https://two.okta.com/oauth2/default",
        "https://one.okta.com/a,https://one.okta.com/b,https://two.okta.com/a",
        "https://one.okta.com/a,https://one.okta.com.example/a",
        "https://one.okta.com/a,https://one.okta.com:8443/a",
        "http://127.0.0.1:9/a,http://127.0.0.1:10/a",
    ] {
        let env = base.clone().with("OKTA_ISSUER", issuers);
        let line = refused(&env).await;
        assert!(line.contains("OKTA_INTROSPECT") && !line.contains("hush"), "{issuers}: {line}");
        let line = refused(&env.clone().without("OKTA_CLIENT_SECRET")).await;
        assert!(line.contains("OKTA_INTROSPECT"), "{issuers}: {line}");
        starts(&env.with("OKTA_INTROSPECT", "false")).await;
    }
    for issuers in [
        "https://one.okta.com/oauth2/aus1,https://one.okta.com/oauth2/aus2",
        "https://one.okta.com/a, https://one.okta.com:443/b,https://ONE.okta.com/c",
        "http://127.0.0.1:9/a,http://127.0.0.1:9/b",
    ] {
        starts(&base.clone().with("OKTA_ISSUER", issuers)).await;
    }
}

#[tokio::test]
async fn introspection_needs_a_client_and_says_so() {
    let base = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_CLIENT_SECRET", "hush-hush");
    for env in [base.clone().without("OKTA_CLIENT_ID"), base.clone().with("OKTA_CLIENT_ID", "")] {
        for env in [env.clone(), env.clone().without("OKTA_CLIENT_SECRET")] {
            let line = refused(&env).await;
            assert!(line.contains("OKTA_CLIENT_ID") && !line.contains("hush"), "{line}");
        }
        starts(&env.with("OKTA_INTROSPECT", "false")).await;
    }
    for choice in ["TRUE", "yes", "1", "on", "truefalse"] {
        let line = refused(&base.clone().with("OKTA_INTROSPECT", choice)).await;
        assert!(line.contains("OKTA_INTROSPECT") && !line.contains("hush"), "{line}");
    }
    let broken = OsString::from_vec(b"hush-hush\xff".to_vec());
    let line = refused(&base.clone().with("OKTA_CLIENT_SECRET", broken)).await;
    assert!(line.contains("OKTA_CLIENT_SECRET") && !line.contains("hush"), "{line}");
    for choice in ["", "false", "true"] {
        starts(&base.clone().with("OKTA_INTROSPECT", choice)).await;
    }
}

#[tokio::test]
async fn nothing_is_asked_unless_it_is_switched_on() {
    let okta = okta_that_says(INACTIVE).await;
    let env = introspecting(Env::okta(&[&okta])).with("OKTA_CLIENT_SECRET", "hush");
    let off = [env.clone().with("OKTA_INTROSPECT", "false"), env.clone().with("OKTA_INTROSPECT", "")];
    for env in off.into_iter().chain([env.clone().without("OKTA_INTROSPECT"), Env::okta(&[&okta])]) {
        let authorizer = Authorizer::start(&env).await;
        assert!(passes(&ask(&authorizer, &okta).await));
    }
    assert_eq!((okta.introspection_requests().len(), okta.unexpected_requests()), (0, 0));
    let on = Authorizer::start(&env).await;
    assert!(ask(&on, &okta).await.is_unauthorized());
    assert_eq!(okta.introspection_requests().len(), 1);
}

#[tokio::test]
async fn pinned_keys_verify_and_okta_is_asked_all_the_same() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::attacker()]))).await;
    let env = introspecting(Env::okta(&[&okta])).with("OKTA_JWKS", jwks(&[keys::main()]).to_string());
    let authorizer = Authorizer::start(&env).await;
    for (reply, holds) in [
        (Reply::text(ACTIVE), passes as fn(&Answer) -> bool),
        (Reply::text(INACTIVE), Answer::is_unauthorized),
        (Reply::HangUp, is_unavailable),
        (Reply::text(ACTIVE), passes),
    ] {
        okta.introspects(reply.clone());
        let answer = ask(&authorizer, &okta).await;
        assert!(holds(&answer), "{reply:?}: {answer:?}");
        let forged = keys::attacker().token(&claims_of(&okta.issuer()));
        assert!(authorizer.invoke(event(&forged)).await.is_unauthorized());
    }
    assert_eq!((okta.introspection_requests().len(), okta.requests(), okta.unexpected_requests()), (4, 0, 0));
}

#[tokio::test]
async fn neither_secret_nor_token_is_in_a_log_line_or_an_answer() {
    const SECRET: &str = "a secret/that+must:not%be logged";
    const ENCODED: &str = "a+secret%2Fthat%2Bmust%3Anot%25be+logged";
    let okta = okta_that_says(ACTIVE).await;
    let elsewhere = okta_that_says(ACTIVE).await;
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
            .with("OKTA_CLIENT_SECRET", secret)
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
        let [yes, no, faults @ ..] = &answers[..] else { panic!("{answers:?}") };
        assert!(passes(yes) && no.is_unauthorized() && faults.iter().all(is_unavailable), "{answers:?}");
        let lines = authorizer.stop().await;
        assert!(lines.len() >= answers.len(), "a test of nothing: {lines:#?}");
        let said = lines.into_iter().chain(answers.iter().map(|answer| format!("{answer:?}")));
        for line in said {
            for hidden in &hidden {
                assert!(!line.contains(hidden.as_str()), "{hidden} in {line}");
            }
        }
    }
    assert_eq!((elsewhere.introspection_requests().len(), elsewhere.unexpected_requests()), (0, 0));
}

/// An environment with room for so many calls at the same time.
fn at_once(env: Env, calls: &str) -> Env {
    env.with("AWS_LAMBDA_MAX_CONCURRENCY", calls)
}

#[tokio::test]
async fn the_runtime_polls_for_as_many_events_as_it_may_have_under_way() {
    let okta = okta_that_says(ACTIVE).await;
    for (configured, polls) in [("4", 4), ("", 1), ("0", 1), ("1", 1), ("four", 1)] {
        let authorizer = Authorizer::start(&at_once(Env::okta(&[&okta]), configured)).await;
        authorizer.polled(polls).await;
        let answers = join_all((0..20).map(|_| ask(&authorizer, &okta))).await;
        assert!(answers.iter().all(passes), "{configured:?}: {answers:?}");
        authorizer.polled(polls).await;
        assert_eq!(authorizer.polls().most, polls, "{configured:?}");
    }
}

#[tokio::test]
async fn calls_that_wait_for_introspection_hold_up_no_other() {
    let okta = okta_that_says(ACTIVE).await;
    let authorizer = Authorizer::start(&at_once(introspecting(Env::okta(&[&okta])), "4")).await;
    let gate = watch::Sender::new(false);
    let waiting = async {
        okta.introspects(Reply::text(ACTIVE).when_open(&gate));
        join_all((0..3).map(|_| ask(&authorizer, &okta))).await
    };
    let others = async {
        okta.wait_for_introspections(3).await;
        for _ in 0..5 {
            okta.introspects(Reply::text(ACTIVE));
            assert!(passes(&ask(&authorizer, &okta).await));
            okta.introspects(Reply::text(INACTIVE));
            assert!(ask(&authorizer, &okta).await.is_unauthorized());
            assert!(authorizer.invoke(event("Bearer x")).await.is_unauthorized());
        }
        assert!(!gate.send_replace(true), "nobody else opens it");
    };
    let (waited, ()) = tokio::join!(waiting, others);
    assert!(waited.iter().all(passes), "{waited:?}");
    assert_eq!((okta.introspection_requests().len(), okta.requests()), (13, 1));
}

#[tokio::test]
async fn four_calls_are_under_way_and_a_fifth_waits_its_turn() {
    let okta = okta_that_says(ACTIVE).await;
    let authorizer = Authorizer::start(&at_once(introspecting(Env::okta(&[&okta])), "4")).await;
    let gate = watch::Sender::new(false);
    okta.introspects(Reply::text(ACTIVE).when_open(&gate));
    let calls = join_all((0..5).map(|_| ask(&authorizer, &okta)));
    let opening = async {
        okta.wait_for_introspections(4).await;
        assert_eq!((authorizer.polls().now, okta.introspection_requests().len()), (0, 4));
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(calls, opening);
    assert!(answers.iter().all(passes), "{answers:?}");
    assert_eq!(okta.introspection_requests().len(), 5);
}

#[tokio::test]
async fn calls_at_the_same_time_each_hear_of_their_own_token() {
    let okta = Okta::start(Reply::HangUp).await;
    let issuers = ["one", "two", "three"].map(|name| format!("http://{}/oauth2/{name}", okta.address));
    for (name, reply) in [("one", Reply::text(ACTIVE)), ("two", Reply::text(INACTIVE)), ("three", Reply::text("{}"))] {
        okta.introspects_at(&format!("/oauth2/{name}/v1/introspect"), reply);
    }
    let env = introspecting(Env::pinned(&jwks(&[keys::main()]))).with("OKTA_ISSUER", issuers.join(","));
    let authorizer = Authorizer::start(&at_once(env, "4")).await;
    let calls = (0..45).map(|number: usize| {
        let (authorizer, which) = (&authorizer, number % 3);
        let uid = format!("00u{number}");
        let token = keys::main().token(&with(&claims_of(&issuers[which]), &json!({ "uid": uid })));
        async move {
            let answer = authorizer.invoke(event(&token)).await;
            match which {
                0 => assert_eq!((passes(&answer), &answer.response()["principalId"]), (true, &json!(uid))),
                1 => assert!(answer.is_unauthorized(), "{answer:?}"),
                _ => assert!(is_unavailable(&answer), "{answer:?}"),
            }
            token
        }
    });
    let mut tokens = join_all(calls).await;
    let mut asked: Vec<_> = okta.introspection_requests().iter().map(IntrospectionRequest::token).collect();
    tokens.sort();
    asked.sort();
    assert_eq!(asked, tokens, "each once");
}

/// Sends the tokens of these keys at once, and opens the gate when all of them are under way and the main key has served
/// others all the while.
async fn under_way_behind(gate: &watch::Sender<bool>, okta: &Okta, keys: &[Key], env: &Env) -> Vec<Answer> {
    let authorizer = Authorizer::start(&at_once(env.clone(), &(keys.len() + 1).to_string())).await;
    authorizer.polled(keys.len() + 1).await;
    let before = okta.requests();
    let claims = claims_of(&okta.issuer());
    let calls = join_all(keys.iter().map(|key| authorizer.invoke(event(&key.token(&claims)))));
    let others = async {
        authorizer.polled(1).await;
        okta.wait_for_requests(before + 1).await;
        for _ in 0..5 {
            assert!(passes(&ask(&authorizer, okta).await), "a known key waits for nobody");
        }
        gate.send_replace(true);
    };
    tokio::join!(calls, others).0
}

#[tokio::test]
async fn a_new_key_that_several_calls_carry_at_once_is_looked_for_once() {
    let gate = watch::Sender::new(false);
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main(), keys::second()])).when_open(&gate)).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    let answers = under_way_behind(&gate, &okta, &[keys::second(); 4], &env).await;
    assert!(answers.iter().all(passes), "{answers:?}");
    // Init's, and one for them all.
    assert_eq!((okta.requests(), table.reads()), (1, 2));
}

#[tokio::test]
async fn several_unknown_keys_at_once_are_looked_for_once() {
    let gate = watch::Sender::new(false);
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()])).when_open(&gate)).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let env = Env::okta(&[&okta]).table(&table.endpoint);
    let forged = ["f0", "f1", "f2", "f3"].map(|kid| keys::attacker().named(kid));
    let answers = under_way_behind(&gate, &okta, &forged, &env).await;
    assert!(answers.iter().all(Answer::is_unauthorized), "{answers:?}");
    assert_eq!((okta.requests(), table.reads()), (1, 2));
}

/// Sends four good tokens at once while there are no keys, and lets Okta answer when all of them are under way. Returns how
/// often Okta was asked for keys meanwhile.
async fn without_keys(reply: Reply) -> (Vec<Answer>, usize) {
    let okta = Okta::start(Reply::HangUp).await;
    let authorizer = Authorizer::start(&at_once(Env::okta(&[&okta]), "5")).await;
    authorizer.polled(5).await;
    let init = okta.requests();
    let gate = watch::Sender::new(false);
    okta.answer(reply.when_open(&gate));
    let calls = join_all((0..4).map(|_| ask(&authorizer, &okta)));
    let opening = async {
        authorizer.polled(1).await;
        okta.wait_for_requests(init + 1).await;
        for _ in 0..5 {
            assert!(authorizer.invoke(event("Bearer x")).await.is_unauthorized(), "it needs no key");
        }
        gate.send_replace(true);
    };
    let (answers, ()) = tokio::join!(calls, opening);
    (answers, okta.requests() - init)
}

#[tokio::test]
async fn without_keys_calls_at_the_same_time_fetch_them_once() {
    let (answers, requests) = without_keys(Reply::keys(&jwks(&[keys::main()]))).await;
    assert!(answers.iter().all(passes), "{answers:?}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn without_keys_calls_at_the_same_time_share_one_failure() {
    let (answers, requests) = without_keys(Reply::HangUp).await;
    let faults = answers.iter().all(|answer| matches!(answer, Answer::Error { kind, .. } if kind == "KeysUnavailable"));
    assert!(faults, "{answers:?}");
    assert_eq!(requests, 1);
}
