//! Failures of the table and of Okta, with and without cached keys: the results of calls, their
//! requests, and the recovery.

use std::time::Duration;

use okta_authorizer_testkit::{
    Failures,
    keys::{self, jwks},
    okta::{Okta, Reply},
    padded,
    routing_proxy::RoutingProxy,
    table::unusable_items,
    tls::{Authority, Certificate, TlsFront},
    with, without,
};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::{
    fault_proxy::TableFault,
    fixture::{FOUND, Fixture, REFRESH_POLICY, UNAVAILABLE, UNKNOWN, authority, only_main},
    scenarios::START,
};

/// When keys that were fetched at [`START`] are due for a refresh.
const DUE: u64 = START + 3_600;
/// When keys that were fetched at [`START`] expire.
const EXPIRED: u64 = START + 86_400;

/// The ways in which the table can fail.
const TABLE_FAULTS: [(&str, TableFault); 9] = [
    ("hanging up", TableFault::HangUp),
    ("silent", TableFault::Silence),
    ("takes 700 ms", TableFault::Slow(Duration::from_millis(700))),
    ("throttling", TableFault::Error(400, "ProvisionedThroughputExceededException")),
    ("denying access", TableFault::Error(400, "AccessDeniedException")),
    ("missing", TableFault::Error(400, "ResourceNotFoundException")),
    ("broken", TableFault::Error(500, "InternalServerError")),
    ("HTML", TableFault::Body("<!doctype html><title>Sign in</title>")),
    ("invalid JSON", TableFault::Body(r#"{"Item":"#)),
];

#[tokio::test]
async fn a_failing_table_costs_one_request_and_refuses_no_call() {
    let cases = TABLE_FAULTS.into_iter().map(|(name, fault)| async move {
        let mut failures = Failures::default();
        let fixture = Fixture::new(name).await;
        fixture.proxy.set(fault);
        let instance = fixture.instance();
        let cold_and_warm = [
            ("main", START, (FOUND, 1, 1)),
            ("main", START + 1, (FOUND, 0, 0)),
            ("forged", START + 100, (UNKNOWN, 1, 1)),
            ("main", START + 3_700, (FOUND, 1, 1)),
        ];
        fixture.check(&mut failures, &instance, &cold_and_warm).await;
        failures.check(fixture.stored_at().is_none(), || format!("{name}: an item was written"));

        fixture.proxy.set(TableFault::None);
        fixture.check(&mut failures, &instance, &[("main", START + 7_300, (FOUND, 1, 3))]).await;
        fixture.check(&mut failures, &fixture.instance(), &[("main", START + 7_300, (FOUND, 0, 1))]).await;
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn a_table_that_takes_200_ms_is_waited_for() {
    let fixture = Fixture::new("200 ms").await;
    fixture.proxy.set(TableFault::Slow(Duration::from_millis(200)));
    fixture.expect(&fixture.instance(), &[("main", START, (FOUND, 1, 3))]).await;
    fixture.expect(&fixture.instance(), &[("main", START, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn a_read_only_table_refuses_no_call() {
    let refused = TableFault::Error(400, "AccessDeniedException");
    let fixture = Fixture::new("read only").await;
    fixture.proxy.set_for("UpdateItem", refused);
    // The claim could have been written although its answer is an error, so the write is tried.
    fixture.expect(&fixture.instance(), &[("main", START, (FOUND, 1, 3))]).await;
    fixture.expect(&fixture.instance(), &[("main", START + 10, (FOUND, 1, 3))]).await;
    assert_eq!(fixture.stored_at(), None);

    fixture.table.put(&fixture.item(&[keys::main()], START));
    let reader = fixture.instance();
    fixture.expect(&reader, &[("main", START + 20, (FOUND, 0, 1)), ("main", DUE, (FOUND, 1, 3))]).await;
    fixture.proxy.set(TableFault::None);
    fixture.expect(&reader, &[("main", DUE + 3_600, (FOUND, 1, 3))]).await;
    assert_eq!(fixture.stored_at(), Some(DUE + 3_600));
}

#[tokio::test]
async fn after_a_claim_without_an_answer_the_keys_are_written() {
    let fixture = Fixture::new("late answers").await;
    fixture.proxy.set_for("UpdateItem", TableFault::SlowAnswer(Duration::from_millis(700)));
    fixture.expect(&fixture.instance(), &[("main", START, (FOUND, 1, 3))]).await;
    assert_eq!(fixture.stored_at(), Some(START));
    fixture.expect(&fixture.instance(), &[("main", START, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn a_read_that_fails_during_a_wait_is_tried_again() {
    let fixture = Fixture::new("throttled").await;
    let gate = watch::Sender::new(false);
    fixture.okta.answer(only_main().when_open(&gate));
    let [owner, other] = [fixture.instance(), fixture.instance()];
    let reads = fixture.table.reads();
    let throttled = async {
        fixture.okta.wait_for_requests(1).await;
        // Two reads of each instance: the first, and one of the instance that waits.
        while fixture.table.reads() < reads + 3 {
            sleep(Duration::from_millis(5)).await;
        }
        fixture.proxy.set_for("GetItem", TableFault::Error(400, "ProvisionedThroughputExceededException"));
        sleep(Duration::from_millis(300)).await;
        fixture.proxy.set(TableFault::None);
        gate.send_replace(true);
    };
    let calls = async { tokio::join!(fixture.key(&owner, "main", START), fixture.key(&other, "main", START)) };
    let ((first, second), ()) = tokio::join!(calls, throttled);
    assert!(first.is_ok() && second.is_ok(), "{first:?}, {second:?}");
    assert_eq!(fixture.okta.requests(), 1);
}

#[tokio::test]
async fn a_failed_request_counts_also_if_the_table_fails_after_it() {
    let fixture = Fixture::new("both").await;
    let instance = fixture.instance();
    fixture.okta.answer(Reply::HangUp);
    fixture.expect(&instance, &[("main", START, (UNAVAILABLE, 1, 3))]).await;
    fixture.proxy.set(TableFault::HangUp);
    fixture.okta.answer(only_main());
    fixture.expect(&instance, &[("main", START + 5, (UNAVAILABLE, 0, 1)), ("main", START + 6, (FOUND, 1, 1))]).await;
}

#[tokio::test]
async fn an_unknown_kid_asks_okta_only_if_the_table_fails_again() {
    let fixture = Fixture::new("overloaded").await;
    let instance = fixture.started(START).await;
    fixture.proxy.set(TableFault::HangUp);
    let calls = [("forged", START + 100, (UNKNOWN, 0, 1)), ("forged", START + 101, (UNKNOWN, 1, 1))];
    fixture.expect(&instance, &calls).await;
}

#[tokio::test]
async fn a_claim_is_not_written_if_the_item_has_changed() {
    let number = |value: u64| json!({ "N": value.to_string() });
    // The change, and the requests to Okta and to the table after it.
    let cases = [
        ("nothing", json!({}), (1, 3)),
        ("fetched_at", json!({ "fetched_at": number(START + 1) }), (1, 4)),
        ("lease_until", json!({ "lease_until": number(DUE + 1) }), (1, 4)),
        ("asked_at", json!({ "asked_at": number(DUE) }), (0, 2)),
        ("not_before", json!({ "not_before": number(DUE + 9) }), (0, 2)),
        ("kid_budget_until", json!({ "kid_budget_until": number(DUE + 9) }), (1, 4)),
    ];
    let cases = cases.into_iter().map(|(name, change, expected)| async move {
        let mut failures = Failures::default();
        let fixture = Fixture::new(name).await;
        let instance = fixture.started(START).await;
        let item = fixture.table.item(&fixture.okta.keys_endpoint()).unwrap();
        fixture.proxy.set_for("UpdateItem", TableFault::Slow(Duration::from_millis(200)));
        let reads = fixture.table.reads();
        let changed = async {
            while fixture.table.reads() == reads {
                sleep(Duration::from_millis(5)).await;
            }
            fixture.table.put(&with(&item, &change));
        };
        let (call, ()) = tokio::join!(fixture.call(&instance, "main", DUE), changed);
        failures.check(call == (FOUND, expected.0, expected.1), || format!("{name}: {call:?}"));
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn an_unusable_item_is_ignored_and_replaced() {
    let cases = unusable_items(START).into_iter().map(|(name, item)| async move {
        let mut failures = Failures::default();
        let fixture = Fixture::new(name).await;
        let endpoint = fixture.okta.keys_endpoint();

        fixture.table.put_for(&endpoint, &item);
        let instance = fixture.instance();
        fixture.check(&mut failures, &instance, &[("main", START, (FOUND, 1, 3))]).await;
        failures.check(fixture.stored_at() == Some(START), || format!("{name}: not replaced, cold"));
        fixture.check(&mut failures, &fixture.instance(), &[("main", START, (FOUND, 0, 1))]).await;

        // An instance with cached keys does not use the item either.
        fixture.table.put_for(&endpoint, &item);
        fixture.check(&mut failures, &instance, &[("attacker", START + 30, (UNKNOWN, 1, 3))]).await;
        failures.check(fixture.stored_at() == Some(START + 30), || format!("{name}: not replaced, warm"));

        // The item is not used while Okta is down either.
        fixture.table.put_for(&endpoint, &item);
        fixture.okta.answer(Reply::HangUp);
        let cold = fixture.instance();
        fixture.check(&mut failures, &cold, &[("attacker", START, (UNAVAILABLE, 1, 3))]).await;
        fixture.check(&mut failures, &instance, &[("attacker", START + 62, (UNKNOWN, 1, 3))]).await;
        fixture.okta.answer(only_main());
        fixture.check(&mut failures, &cold, &[("main", START + 90, (FOUND, 1, 3))]).await;
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn an_item_is_accepted_within_its_time_limits() {
    let cases = [
        ("fresh", START, 86_400, (FOUND, 0, 1)),
        ("fetched 5 s in the future", START + 5, 86_400, (FOUND, 0, 1)),
        ("fetched 6 s in the future", START + 6, 86_400, (UNAVAILABLE, 1, 3)),
        ("about to expire", START - 10, 11, (FOUND, 0, 1)),
        ("expired", START - 10, 10, (UNAVAILABLE, 1, 3)),
        ("due", START - 3_600, 86_400, (FOUND, 1, 3)),
        ("a second less than a day old", START - 86_399, 86_401, (FOUND, 1, 3)),
        ("a day old", START - 86_400, 86_401, (UNAVAILABLE, 1, 3)),
    ];
    let mut failures = Failures::default();
    for (name, fetched_at, expires_in, expected) in cases {
        let fixture = Fixture::new(name).await;
        let item = without(&fixture.item(&[keys::main()], fetched_at), "lease_until");
        let expires_at = (fetched_at + expires_in).to_string();
        fixture.table.put(&with(&item, &json!({ "expires_at": { "N": expires_at } })));
        fixture.okta.answer(Reply::HangUp);
        fixture.check(&mut failures, &fixture.instance(), &[("main", START, expected)]).await;
    }
    failures.report();
}

/// Replies that are not a JWKS with usable keys. Most of them contain valid keys, which must not be
/// used.
fn okta_faults(elsewhere: &Okta) -> Vec<(&'static str, Reply)> {
    let good = jwks(&[keys::main()]);
    let text = good.to_string();
    let jwk = keys::main().jwk();
    let many: Vec<_> = (0..101).map(|n| with(&jwk, &json!({ "kid": format!("k{n}") }))).collect();
    let status = |head: &str| Reply::status(format!("{head}\r\n"), &text);
    let redirect = |code: &str| Reply::status(format!("{code}\r\nlocation: {}\r\n", elsewhere.keys_endpoint()), &text);
    vec![
        ("down", Reply::HangUp),
        ("silent", Reply::Silence),
        ("takes 5 s", Reply::keys(&good).after(Duration::from_secs(5))),
        ("a byte every 100 ms", Reply::Drip(text.clone())),
        ("half a body", Reply::HalfABody(text.clone())),
        ("201", status("201 Created")),
        ("204", Reply::status("204 No Content\r\n", "")),
        ("206", status("206 Partial Content")),
        ("429", status("429 Too Many Requests")),
        ("429, retry-after is a word", status("429 Too Many Requests\r\nretry-after: soon")),
        ("429, retry-after is a date", status("429 Too Many Requests\r\nretry-after: Fri, 31 Dec 2027 23:59:59 GMT")),
        ("500", status("500 Internal Server Error")),
        ("503 with retry-after", status("503 Service Unavailable\r\nretry-after: 100")),
        ("503", status("503 Service Unavailable")),
        ("401", status("401 Unauthorized")),
        ("404", status("404 Not Found")),
        ("301", redirect("301 Moved Permanently")),
        ("302", redirect("302 Found")),
        ("307", redirect("307 Temporary Redirect")),
        ("308", redirect("308 Permanent Redirect")),
        ("HTML", Reply::text("<!doctype html><title>Sign in</title>")),
        ("truncated", Reply::text(text.split_at(text.len() / 2).0)),
        ("empty", Reply::text("")),
        ("no keys", Reply::text(r#"{"keys":[]}"#)),
        ("no usable key", Reply::keys(&json!({ "keys": [with(&jwk, &json!({ "use": "enc" }))] }))),
        ("an array", Reply::text(json!([jwk]).to_string())),
        ("no member `keys`", Reply::text("{}")),
        ("`keys` is a string", Reply::text(r#"{"keys":"main"}"#)),
        ("more after the JSON", Reply::text(format!("{text}x"))),
        ("257 KiB", Reply::text(padded(&text, 257 * 1024))),
        ("8 MiB", Reply::text(padded(&text, 8 * 1024 * 1024))),
        ("101 keys", Reply::keys(&json!({ "keys": many }))),
    ]
}

#[tokio::test]
async fn a_failing_okta_is_a_fault_only_without_cached_keys() {
    let elsewhere = Okta::start(only_main()).await;
    let cases = okta_faults(&elsewhere).into_iter().map(|(name, reply)| async move {
        let mut failures = Failures::default();
        let fixture = Fixture::new(name).await;
        fixture.okta.answer(reply.clone());
        let cold = fixture.instance();
        fixture.check(&mut failures, &cold, &[("main", START, (UNAVAILABLE, 1, 3))]).await;
        fixture.okta.answer(only_main());
        // Every time that Okta can ask for is over. `rules` has the exact times.
        let back = START + 310;
        let calls = [("main", back, (FOUND, 1, 3)), ("main", back, (FOUND, 0, 0))];
        fixture.check(&mut failures, &cold, &calls).await;

        let due = DUE + 310;
        fixture.okta.answer(reply);
        let warm = [
            ("main", due - 1, (FOUND, 0, 0)),
            ("main", due, (FOUND, 1, 3)),
            ("main", due + 9, (FOUND, 0, 0)),
            ("main", due + 10, (FOUND, 0, 1)),
            ("main", due + 20, (FOUND, 0, 1)),
            ("main", due + 29, (FOUND, 0, 0)),
        ];
        fixture.check(&mut failures, &cold, &warm).await;
        failures.check(fixture.stored_at() == Some(back), || format!("{name}: the item was overwritten"));
        fixture.okta.answer(only_main());
        let calls = [("main", due + 310, (FOUND, 1, 3)), ("main", due + 311, (FOUND, 0, 0))];
        fixture.check(&mut failures, &cold, &calls).await;
        failures
    });
    Failures::run(cases).await.report();
    assert_eq!((elsewhere.requests(), elsewhere.unexpected_requests()), (0, 0), "a redirect was followed");
}

#[tokio::test]
async fn a_jwks_at_its_size_limits_is_accepted() {
    let unusable = (0..99).map(|n| json!({ "kty": "EC", "kid": format!("ec{n}") }));
    let hundred_keys: Vec<_> = unusable.chain([keys::main().jwk()]).collect();
    for (name, body) in [
        ("256 KiB", padded(&jwks(&[keys::main()]).to_string(), 256 * 1024)),
        ("100 keys", json!({ "keys": hundred_keys }).to_string()),
    ] {
        let fixture = Fixture::new(name).await;
        fixture.okta.answer(Reply::text(body));
        fixture.expect(&fixture.instance(), &[("main", START, (FOUND, 1, 3))]).await;
    }
}

#[tokio::test]
async fn keys_are_used_until_the_second_in_which_they_expire() {
    let fixture = Fixture::new("a day").await;
    let instance = fixture.started(START).await;
    fixture.okta.answer(Reply::HangUp);
    let calls = [
        ("main", DUE, (FOUND, 1, 3)),
        ("main", EXPIRED - 1, (FOUND, 1, 3)),
        // Without keys the pause after a failure is shorter than with due keys.
        ("main", EXPIRED + 4, (UNAVAILABLE, 0, 1)),
        ("main", EXPIRED + 5, (UNAVAILABLE, 1, 3)),
        ("forged", EXPIRED + 50, (UNAVAILABLE, 1, 3)),
    ];
    fixture.expect(&instance, &calls).await;
    fixture.expect(&fixture.instance(), &[("main", EXPIRED + 100, (UNAVAILABLE, 1, 3))]).await;
    fixture.okta.answer(only_main());
    fixture.expect(&instance, &[("main", EXPIRED + 200, (FOUND, 1, 3))]).await;
}

#[tokio::test]
async fn an_untrusted_certificate_is_the_same_as_okta_down() {
    let untrusted = Authority::new();
    let cases = [
        (authority(), Certificate::OfAnotherName),
        (authority(), Certificate::Expired),
        (&untrusted, Certificate::Good),
    ];
    let mut failures = Failures::default();
    for (signed_by, certificate) in cases {
        let fixture = Fixture::new(format!("{certificate:?}")).await;
        let bad = TlsFront::start(signed_by, certificate, fixture.okta.address).await;
        let good = TlsFront::start(authority(), Certificate::Good, fixture.okta.address).await;
        let routing = RoutingProxy::start(bad.address).await;
        let endpoint = format!("https://localhost:{}/oauth2/default/v1/keys", routing.port);
        let instance = fixture.instance_of(&endpoint, REFRESH_POLICY);
        fixture.check(&mut failures, &instance, &[("main", START, (UNAVAILABLE, 0, 3))]).await;
        routing.route_to(good.address);
        fixture.check(&mut failures, &instance, &[("main", START + 30, (FOUND, 1, 3))]).await;
        routing.route_to(bad.address);
        let due = DUE + 30;
        let warm =
            [("main", due, (FOUND, 0, 3)), ("forged", due + 1, (UNKNOWN, 0, 1)), ("main", due + 10, (FOUND, 0, 1))];
        fixture.check(&mut failures, &instance, &warm).await;
        routing.route_to(good.address);
        fixture.check(&mut failures, &instance, &[("main", due + 30, (FOUND, 1, 3))]).await;
    }
    failures.report();
}

#[tokio::test]
async fn with_okta_and_table_down_only_cached_keys_are_found() {
    let [hanging_up, silent, ..] = TABLE_FAULTS;
    let down = ("down", Reply::HangUp);
    // The slowest cases start first, because the others finish meanwhile.
    let slowest = [(silent, ("hanging", Reply::Silence)), (hanging_up, ("HTML", Reply::text("<!doctype html>")))];
    let cases = slowest.into_iter().chain(TABLE_FAULTS.map(|table| (table, down.clone()))).map(
        |((table, fault), (okta, reply))| async move {
            let mut failures = Failures::default();
            let fixture = Fixture::new(format!("table {table}, Okta {okta}")).await;
            let warm = fixture.started(START).await;
            fixture.proxy.set(fault);
            fixture.okta.answer(reply.clone());
            let cold = fixture.instance();
            let calls = [("main", DUE, (UNAVAILABLE, 1, 1)), ("main", DUE, (UNAVAILABLE, 0, 0))];
            fixture.check(&mut failures, &cold, &calls).await;
            let calls = [
                ("main", DUE, (FOUND, 1, 1)),
                ("main", DUE + 9, (FOUND, 0, 0)),
                ("main", DUE + 10, (FOUND, 0, 1)),
                ("forged", DUE + 15, (UNKNOWN, 1, 1)),
            ];
            fixture.check(&mut failures, &warm, &calls).await;

            // The table recovers first. Its keys are usable.
            fixture.proxy.set(TableFault::None);
            fixture.check(&mut failures, &cold, &[("main", DUE + 20, (FOUND, 1, 3))]).await;
            fixture.okta.answer(only_main());
            fixture.check(&mut failures, &cold, &[("main", DUE + 50, (FOUND, 1, 3))]).await;
            let calls = [("main", DUE + 51, (FOUND, 0, 1)), ("main", DUE + 52, (FOUND, 0, 0))];
            fixture.check(&mut failures, &warm, &calls).await;
            failures
        },
    );
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn without_a_table_an_instance_asks_okta_itself() {
    let fixture = Fixture::new("no table").await;
    let instance = fixture.instance_without_table();
    fixture.okta.answer(Reply::HangUp);
    let calls = [("main", START, (UNAVAILABLE, 1, 0)), ("main", START + 5, (UNAVAILABLE, 0, 0))];
    fixture.expect(&instance, &calls).await;
    fixture.okta.answer(only_main());
    let calls = [
        ("main", START + 6, (FOUND, 1, 0)),
        ("forged", START + 20, (UNKNOWN, 1, 0)),
        ("forged", START + 30, (UNKNOWN, 1, 0)),
        ("forged", START + 50, (UNKNOWN, 0, 0)),
        ("forged", START + 51, (UNKNOWN, 1, 0)),
        ("main", START + 3_650, (FOUND, 0, 0)),
        ("main", START + 3_651, (FOUND, 1, 0)),
    ];
    fixture.expect(&instance, &calls).await;
}
