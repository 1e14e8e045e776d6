//! The rules for keys, to the second: the lease, one lookup for many calls, refresh, pauses and
//! Retry-After.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use okta_authorizer::keys::RefreshPolicy;
use okta_authorizer_testkit::{
    Failures,
    keys::{self, jwks},
    okta::{Okta, Reply},
    table::item,
    with, without,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    fault_proxy::TableFault,
    fixture::{Call, FOUND, Fixture, REFRESH_POLICY, UNAVAILABLE, UNKNOWN, only_main},
    scenarios::START,
};

/// When keys that were fetched at [`START`] are due for a refresh.
const DUE: u64 = START + 3_600;

/// The attributes of a claim whose owner died at once.
fn claimed_at(seconds: u64) -> Value {
    json!({ "lease_until": { "N": (seconds + 3).to_string() }, "asked_at": { "N": seconds.to_string() } })
}

#[tokio::test]
async fn calls_with_due_keys_do_not_wait_for_another_owner() {
    let fixture = Fixture::new("warm").await;
    let [early, late, later] =
        [fixture.started(START).await, fixture.started(START).await, fixture.started(START).await];
    fixture.table.put(&with(&fixture.item(&[keys::main()], START), &claimed_at(DUE)));
    let calls = [("main", DUE + 1, (FOUND, 0, 1)), ("main", DUE + 3, (FOUND, 0, 0)), ("main", DUE + 4, (FOUND, 0, 1))];
    fixture.expect(&early, &calls).await;
    // The owner is dead: 30 s after its claim another instance asks.
    fixture.expect(&late, &[("main", DUE + 29, (FOUND, 0, 1))]).await;
    fixture.expect(&later, &[("main", DUE + 30, (FOUND, 1, 3))]).await;
    fixture.expect(&early, &[("main", DUE + 31, (FOUND, 0, 1)), ("main", DUE + 32, (FOUND, 0, 0))]).await;
}

#[tokio::test]
async fn without_keys_a_dead_owner_costs_a_pause() {
    let fixture = Fixture::new("cold").await;
    let claim = without(&fixture.item(&[keys::main()], START), "keys");
    fixture.table.put(&with(&claim, &claimed_at(START)));
    let calls = [
        ("main", START + 3, (UNAVAILABLE, 0, 1)),
        ("main", START + 5, (UNAVAILABLE, 0, 0)),
        ("main", START + 6, (FOUND, 1, 3)),
    ];
    fixture.expect(&fixture.instance(), &calls).await;
    fixture.expect(&fixture.instance(), &[("main", START + 6, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn without_keys_an_instance_waits_for_the_owners_keys() {
    let fixture = Fixture::new("cold").await;
    fixture.okta.answer(only_main().after(Duration::from_millis(400)));
    let instances = [fixture.instance(), fixture.instance()];
    let answers = join_all(instances.iter().map(|instance| fixture.key(instance, "main", START))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.new_requests().0, 1);
}

#[tokio::test]
async fn an_item_limits_requests_within_reason() {
    let number = |seconds: u64| json!({ "N": seconds.to_string() });
    let (asks, waits) = ((FOUND, 1, 3), (FOUND, 0, 1));
    let cases = [
        ("nothing", json!({}), asks),
        ("an owner at work", claimed_at(DUE), waits),
        ("an owner whose clock is 5 s ahead", claimed_at(DUE + 5), waits),
        ("an owner whose clock is 6 s ahead", claimed_at(DUE + 6), asks),
        ("a failure 29 s ago", json!({ "asked_at": number(DUE - 29) }), waits),
        ("a failure 30 s ago", json!({ "asked_at": number(DUE - 30) }), asks),
        ("a failure in the far future", json!({ "asked_at": number(u64::MAX) }), asks),
        ("a second too early for Okta", json!({ "not_before": number(DUE + 1) }), waits),
        ("a fraction of a second too early", json!({ "not_before": { "N": format!("{DUE}.5") } }), waits),
        ("Okta's own time has come", json!({ "not_before": number(DUE) }), asks),
        ("as far ahead as possible", json!({ "not_before": number(DUE + 305) }), waits),
        ("further ahead", json!({ "not_before": number(DUE + 306) }), asks),
        ("a lease of an earlier version", json!({ "lease_until": number(DUE + 2) }), asks),
        ("an endless lease", with(&claimed_at(DUE - 40), &json!({ "lease_until": number(u64::MAX) })), asks),
        (
            "text",
            json!({ "asked_at": { "S": "now" }, "not_before": { "S": "never" }, "lease_until": { "S": "" } }),
            asks,
        ),
        ("a negative number", json!({ "asked_at": { "N": "-1" }, "not_before": { "N": "-1" } }), asks),
    ];
    let mut failures = Failures::default();
    for (name, attributes, expected) in cases {
        let fixture = Fixture::new(name).await;
        let item = without(&fixture.item(&[keys::main()], START), "lease_until");
        fixture.table.put(&with(&item, &attributes));
        fixture.check(&mut failures, &fixture.instance(), &[("main", DUE, expected)]).await;
    }
    failures.report();
}

#[tokio::test]
async fn a_refresh_does_not_overwrite_newer_keys_in_the_table() {
    let fixture = Fixture::new("slow Okta").await;
    let instance = fixture.started(START).await;
    let gate = watch::Sender::new(false);
    fixture.okta.answer(only_main().when_open(&gate));
    let newer_keys = async {
        fixture.okta.wait_for_requests(2).await;
        fixture.table.put(&fixture.item(&[keys::main(), keys::second()], DUE + 1));
        gate.send_replace(true);
    };
    let (result, ()) = tokio::join!(fixture.key(&instance, "main", DUE), newer_keys);
    assert_eq!(result.map(drop), FOUND);
    instance.lookup_ended().await;
    assert_eq!(fixture.stored_at(), Some(DUE + 1));
}

#[tokio::test]
async fn concurrent_calls_share_one_lookup() {
    let mut failures = Failures::default();
    let cases: [(&str, Reply, bool, Call); 6] = [
        ("an unknown kid, Okta up", only_main(), true, (UNKNOWN, 1, 3)),
        ("an unknown kid, Okta down", Reply::HangUp, true, (UNKNOWN, 1, 3)),
        ("an unknown kid, Okta silent", Reply::Silence, true, (UNKNOWN, 1, 3)),
        ("no keys, Okta up", only_main(), false, (UNKNOWN, 1, 3)),
        ("no keys, Okta down", Reply::HangUp, false, (UNAVAILABLE, 1, 3)),
        ("no keys, Okta silent", Reply::Silence, false, (UNAVAILABLE, 1, 3)),
    ];
    for (name, reply, warm, expected) in cases {
        let fixture = Fixture::new(name).await;
        let instance = if warm { fixture.started(START).await } else { fixture.instance() };
        fixture.okta.answer(reply);
        let answers = join_all((0..100).map(|_| {
            let (fixture, instance) = (&fixture, &instance);
            async move { fixture.key(instance, "forged", START + 100).await.map(drop) }
        }))
        .await;
        instance.lookup_ended().await;
        let (okta, table) = fixture.new_requests();
        failures.check(answers.iter().all(|answer| *answer == expected.0), || format!("{name}: {answers:?}"));
        failures.check((okta, table) == (expected.1, expected.2), || {
            format!("{name}: {okta} to Okta, {table} to the table")
        });
    }
    failures.report();
}

#[tokio::test]
async fn concurrent_calls_with_many_kids_have_the_budget_of_unknown_kids() {
    let fixture = Fixture::new("many kids").await;
    let instance = fixture.started(START).await;
    let answers = join_all((0..100).map(|call| {
        let (fixture, instance) = (&fixture, &instance);
        async move { fixture.key(instance, &format!("forged-{call}"), START + 100).await.map(drop) }
    }))
    .await;
    instance.lookup_ended().await;
    assert!(answers.iter().all(|answer| *answer == UNKNOWN), "{answers:?}");
    assert_eq!(fixture.new_requests(), (2, 8), "two lookups with a request, and two with a read only");
}

#[tokio::test]
async fn a_new_kid_is_found_also_during_a_lookup_for_another_one() {
    // The lookup that runs already: for due keys, and for a forged kid.
    for (kid, now, expected) in [("main", DUE, FOUND), ("forged", START + 100, UNKNOWN)] {
        let fixture = Fixture::new(kid).await;
        let instance = fixture.started(START).await;
        let gate = watch::Sender::new(false);
        fixture.okta.answer(only_main().when_open(&gate));
        let rotated = async {
            fixture.okta.wait_for_requests(2).await;
            // Okta rotates after it has answered the first request.
            fixture.okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])));
            let call = fixture.key(&instance, "second", now);
            tokio::join!(call, async { gate.send_replace(true) }).0
        };
        let (first, rotated) = tokio::join!(fixture.key(&instance, kid, now), rotated);
        assert_eq!((first.map(drop), rotated.map(drop)), (expected, FOUND), "{kid}");
        instance.lookup_ended().await;
        assert_eq!(fixture.new_requests(), (2, 6), "{kid}");
    }
}

#[tokio::test]
async fn concurrent_calls_with_a_new_kid_share_one_lookup() {
    let fixture = Fixture::new("rotation").await;
    let instance = fixture.started(START).await;
    fixture.okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])).after(Duration::from_millis(100)));
    let answers = join_all((0..100).map(|_| fixture.key(&instance, "second", START + 100))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.new_requests(), (1, 3));
}

#[tokio::test]
async fn a_call_with_a_cached_key_does_not_wait_for_another_call() {
    let fixture = Fixture::new("silent Okta").await;
    let instance = fixture.started(START).await;
    fixture.okta.answer(Reply::Silence);
    for (kid, now, expected) in [("forged", START + 100, UNKNOWN), ("main", DUE, FOUND)] {
        let okta_requests = fixture.okta.requests();
        let others = async {
            fixture.okta.wait_for_requests(okta_requests + 1).await;
            for _ in 0..100 {
                let result = fixture.key(&instance, "main", now).now_or_never().expect("the call does not wait");
                assert_eq!(result.map(drop), FOUND);
            }
        };
        let (result, ()) = tokio::join!(fixture.key(&instance, kid, now), others);
        instance.lookup_ended().await;
        assert_eq!((result.map(drop), fixture.new_requests()), (expected, (1, 3)));
    }
}

#[tokio::test]
async fn a_refresh_of_due_keys_goes_on_after_the_call() {
    let fixture = Fixture::new("slow Okta").await;
    let instance = fixture.started(START).await;
    let gate = watch::Sender::new(false);
    fixture.okta.answer(Reply::keys(&jwks(&[keys::second()])).when_open(&gate));
    // Okta does not answer before the call has returned.
    assert_eq!(fixture.key(&instance, "main", DUE).await.map(drop), FOUND);
    assert_eq!(fixture.stored_at(), Some(START));
    gate.send_replace(true);
    instance.lookup_ended().await;
    assert_eq!((fixture.new_requests(), fixture.stored_at()), ((1, 3), Some(DUE)));
    fixture.expect(&instance, &[("second", DUE + 1, (FOUND, 0, 0))]).await;
}

/// A refusal with these header lines. Its keys must not be used.
fn refusal(status: &str, headers: &str) -> Reply {
    Reply::status(format!("{status}\r\n{headers}"), jwks(&[keys::attacker()]).to_string())
}

fn rate_limited(seconds: u64) -> Reply {
    refusal("429 Too Many Requests", &format!("retry-after: {seconds}\r\n"))
}

#[tokio::test]
async fn oktas_own_time_applies_to_the_whole_fleet() {
    const LIMITED: &str = "429 Too Many Requests";
    const UNAVAILABLE_NOW: &str = "503 Service Unavailable";
    let reset = |seconds: u64| format!("x-rate-limit-reset: {}\r\n", START + seconds);
    // START is Fri, 15 Jan 2027 08:00:00 GMT. The last column: seconds without a request.
    let cases = [
        (LIMITED, String::new(), 30),
        (LIMITED, "retry-after: 100\r\n".to_owned(), 101),
        (LIMITED, "retry-after:  2 \r\n".to_owned(), 6),
        (LIMITED, "retry-after: 0\r\n".to_owned(), 6),
        (LIMITED, "retry-after: 300\r\n".to_owned(), 300),
        (LIMITED, "retry-after: 99999999999\r\n".to_owned(), 300),
        (LIMITED, "retry-after: soon\r\n".to_owned(), 30),
        (LIMITED, "retry-after: Fri, 15 Jan 2027 08:00:50 GMT\r\n".to_owned(), 50),
        (LIMITED, "retry-after: Fri, 15 Jan 2027 07:00:00 GMT\r\n".to_owned(), 6),
        (LIMITED, reset(40), 40),
        (LIMITED, reset(20) + &reset(45), 45),
        (LIMITED, reset(9_999), 300),
        (UNAVAILABLE_NOW, reset(40), 40),
        (UNAVAILABLE_NOW, "retry-after: 100\r\n".to_owned(), 101),
        (UNAVAILABLE_NOW, String::new(), 6),
        ("500 Internal Server Error", reset(40), 6),
        ("404 Not Found", String::new(), 6),
    ];
    let cases = cases.into_iter().map(|(status, headers, seconds)| async move {
        let mut failures = Failures::default();
        let fixture = Fixture::new(format!("{status}, {headers:?}")).await;
        fixture.okta.answer(refusal(status, &headers));
        let (first, second, third) = (fixture.instance(), fixture.instance(), fixture.instance());
        fixture.check(&mut failures, &first, &[("main", START, (UNAVAILABLE, 1, 3))]).await;
        fixture.okta.answer(only_main());
        let last = START + seconds - 1;
        fixture.check(&mut failures, &first, &[("main", last, (UNAVAILABLE, 0, 1))]).await;
        fixture.check(&mut failures, &second, &[("main", last, (UNAVAILABLE, 0, 1))]).await;
        fixture.check(&mut failures, &second, &[("main", last + 1, (FOUND, 1, 3))]).await;
        fixture.check(&mut failures, &first, &[("main", last + 1, (FOUND, 0, 1))]).await;
        fixture.check(&mut failures, &third, &[("main", last + 1, (FOUND, 0, 1))]).await;
        failures
    });
    Failures::run(cases).await.report();
}

#[tokio::test]
async fn a_retry_after_refuses_no_call_with_a_cached_key() {
    let fixture = Fixture::new("warm").await;
    let (first, second) = (fixture.started(START).await, fixture.started(START).await);
    fixture.okta.answer(rate_limited(100));
    fixture.expect(&first, &[("main", DUE, (FOUND, 1, 3)), ("main", DUE + 50, (FOUND, 0, 1))]).await;
    let other_calls =
        [("main", DUE + 20, (FOUND, 0, 1)), ("forged", DUE + 60, (UNKNOWN, 0, 1)), ("main", DUE + 99, (FOUND, 0, 1))];
    fixture.expect(&second, &other_calls).await;
    // A new instance uses the keys in the table.
    fixture.expect(&fixture.instance(), &[("main", DUE + 70, (FOUND, 0, 1))]).await;
    fixture.okta.answer(only_main());
    fixture.expect(&second, &[("main", DUE + 109, (FOUND, 1, 3))]).await;
    fixture.expect(&first, &[("main", DUE + 110, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn without_the_table_a_retry_after_applies_to_one_instance() {
    let fixture = Fixture::new("table down").await;
    fixture.proxy.set(TableFault::HangUp);
    fixture.okta.answer(rate_limited(100));
    let instance = fixture.instance();
    fixture
        .expect(&instance, &[("main", START, (UNAVAILABLE, 1, 1)), ("main", START + 100, (UNAVAILABLE, 0, 1))])
        .await;
    fixture.okta.answer(only_main());
    fixture.expect(&instance, &[("main", START + 101, (FOUND, 1, 1))]).await;
}

#[tokio::test]
async fn after_a_refresh_every_instance_refuses_a_withdrawn_key() {
    let fixture = Fixture::new("withdrawal").await;
    let fleet = [fixture.started(START).await, fixture.started(START).await, fixture.started(START).await];
    fixture.okta.answer(Reply::keys(&jwks(&[keys::second()])));
    for instance in &fleet {
        fixture.expect(instance, &[("main", DUE - 1, (FOUND, 0, 0))]).await;
    }
    let [first, second, third] = &fleet;
    fixture.expect(first, &[("main", DUE, (UNKNOWN, 1, 3))]).await;
    // The withdrawn kid is an unknown one now, and has their budget.
    fixture.expect(second, &[("main", DUE, (UNKNOWN, 1, 3)), ("second", DUE, (FOUND, 0, 0))]).await;
    fixture.expect(third, &[("second", DUE + 5, (FOUND, 0, 1)), ("main", DUE + 5, (UNKNOWN, 1, 3))]).await;
    for instance in &fleet {
        let (answer, okta, _) = fixture.call(instance, "main", DUE + 9).await;
        assert_eq!((answer, okta), (UNKNOWN, 0));
    }
}

#[tokio::test]
async fn max_age_shortens_the_refresh_to_at_least_a_minute() {
    let cases = [
        ("no header", "", 3_600, 3_600),
        ("ten minutes", "cache-control: max-age=600\r\n", 3_600, 600),
        ("among others", "cache-control: public, Max-Age=\"600\", must-revalidate\r\n", 3_600, 600),
        ("a minute", "cache-control: max-age=60\r\n", 3_600, 60),
        ("too short", "cache-control: max-age=59\r\n", 3_600, 60),
        ("zero", "cache-control: max-age=0\r\n", 3_600, 60),
        ("longer than configured", "cache-control: max-age=86400\r\n", 3_600, 3_600),
        ("a second longer than configured", "cache-control: max-age=301\r\n", 300, 300),
        ("a word", "cache-control: max-age=soon\r\n", 3_600, 3_600),
        ("negative", "cache-control: max-age=-1\r\n", 3_600, 3_600),
        ("another directive", "cache-control: no-store\r\n", 3_600, 3_600),
    ];
    let mut failures = Failures::default();
    for (name, headers, refresh_seconds, expected) in cases {
        let fixture = Fixture::new(name).await;
        let body = jwks(&[keys::main()]).to_string();
        fixture.okta.answer(Reply::Body { headers: headers.to_owned(), body });
        let refresh_policy = RefreshPolicy { refresh_seconds, ..REFRESH_POLICY };
        let (one, other) = (fixture.instance_with(refresh_policy), fixture.instance_with(refresh_policy));
        let due = START + expected;
        fixture.check(&mut failures, &one, &[("main", START, (FOUND, 1, 3)), ("main", due - 1, (FOUND, 0, 0))]).await;
        // An instance that has the keys from the table refreshes them at the same time.
        fixture
            .check(&mut failures, &other, &[("main", START + 30, (FOUND, 0, 1)), ("main", due - 1, (FOUND, 0, 0))])
            .await;
        fixture.check(&mut failures, &other, &[("main", due, (FOUND, 1, 3))]).await;
        fixture.check(&mut failures, &one, &[("main", due, (FOUND, 0, 1)), ("main", due + 1, (FOUND, 0, 0))]).await;
    }
    failures.report();
}

#[tokio::test]
async fn an_instance_applies_its_own_limits_to_an_item() {
    let fixture = Fixture::new("limits").await;
    fixture.table.put(&fixture.item(&[keys::main()], START));
    fixture.okta.answer(Reply::HangUp);
    let strict = fixture.instance_with(RefreshPolicy { refresh_seconds: 900, max_stale_seconds: 1_800 });
    let calls = [
        ("main", START + 100, (FOUND, 0, 1)),
        ("main", START + 899, (FOUND, 0, 0)),
        ("main", START + 900, (FOUND, 1, 3)),
        ("main", START + 1_799, (FOUND, 1, 3)),
        ("main", START + 1_840, (UNAVAILABLE, 1, 3)),
    ];
    fixture.expect(&strict, &calls).await;
    let lax = fixture.instance_with(RefreshPolicy { refresh_seconds: 7_200, max_stale_seconds: 172_800 });
    // The limits in the item also apply.
    fixture.expect(&lax, &[("main", START + 3_599, (FOUND, 0, 1)), ("main", START + 3_600, (FOUND, 1, 3))]).await;
    fixture.expect(&lax, &[("main", START + 86_400, (UNAVAILABLE, 1, 3))]).await;
}

#[tokio::test]
async fn an_item_newer_than_the_cache_replaces_it_at_a_lookup() {
    let fixture = Fixture::new("newer").await;
    let instance = fixture.started(START).await;
    fixture.okta.answer(Reply::HangUp);
    fixture.table.put(&fixture.item(&[keys::second()], START + 50));
    let calls = [
        ("main", START + 51, (FOUND, 0, 0)),
        ("second", START + 52, (FOUND, 0, 1)),
        ("main", START + 53, (UNKNOWN, 1, 3)),
        // The item's `fetched_at` determines when the keys are due.
        ("second", START + 3_649, (FOUND, 0, 0)),
        ("second", START + 3_650, (FOUND, 1, 3)),
    ];
    fixture.expect(&instance, &calls).await;
}

#[tokio::test]
async fn an_item_older_than_the_cache_is_ignored() {
    let fixture = Fixture::new("older").await;
    let instance = fixture.started(START).await;
    fixture.table.put(&without(&fixture.item(&[keys::second()], START - 1), "lease_until"));
    let calls = [
        // This instance asks Okta and replaces the item.
        ("second", START + 10, (UNKNOWN, 1, 3)),
        ("main", START + 10, (FOUND, 0, 0)),
    ];
    fixture.expect(&instance, &calls).await;
    assert_eq!(fixture.stored_at(), Some(START + 10));
}

#[tokio::test]
async fn unknown_kids_have_a_budget_of_3_requests_a_minute() {
    let fixture = Fixture::new("budget").await;
    let instance = fixture.started(START).await;
    let forged = [
        // Two requests at once, then one in 31 s. Four lookups at once, then one in 10 s.
        ("f0", START, (UNKNOWN, 1, 3)),
        ("f1", START, (UNKNOWN, 1, 3)),
        ("f2", START, (UNKNOWN, 0, 1)),
        ("f3", START, (UNKNOWN, 0, 1)),
        ("f4", START, (UNKNOWN, 0, 0)),
        ("f5", START + 9, (UNKNOWN, 0, 0)),
        ("f6", START + 10, (UNKNOWN, 0, 1)),
        ("f7", START + 30, (UNKNOWN, 0, 1)),
        ("f8", START + 31, (UNKNOWN, 1, 3)),
        ("f9", START + 61, (UNKNOWN, 0, 1)),
        ("f10", START + 62, (UNKNOWN, 1, 3)),
        ("main", START + 63, (FOUND, 0, 0)),
    ];
    fixture.expect(&instance, &forged).await;
    // The budget is the fleet's: a new instance has none.
    fixture.expect(&fixture.instance(), &[("f11", START + 64, (UNKNOWN, 0, 1))]).await;
    // A failure has a pause of 5.5 s as well.
    fixture.okta.answer(Reply::HangUp);
    let failing = [
        ("f0", START + 200, (UNKNOWN, 1, 3)),
        ("f1", START + 205, (UNKNOWN, 0, 1)),
        ("f2", START + 206, (UNKNOWN, 1, 3)),
        ("f3", START + 230, (UNKNOWN, 0, 1)),
        ("f4", START + 231, (UNKNOWN, 1, 3)),
        ("main", START + 232, (FOUND, 0, 0)),
    ];
    fixture.expect(&instance, &failing).await;
}

#[tokio::test]
async fn a_rotation_is_accepted_by_the_first_call_after_a_forged_kid() {
    for (with_table, calls) in [(true, [(1, 3), (1, 3), (0, 0)]), (false, [(1, 0), (1, 0), (0, 0)])] {
        let fixture = Fixture::new(format!("table: {with_table}")).await;
        let instance = if with_table { fixture.instance() } else { fixture.instance_without_table() };
        assert_eq!(fixture.call(&instance, "main", START).await.0, FOUND);
        let [forged, rotated, again] = calls;
        fixture.expect(&instance, &[("forged", START + 1, (UNKNOWN, forged.0, forged.1))]).await;
        fixture.okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])));
        let calls =
            [("second", START + 1, (FOUND, rotated.0, rotated.1)), ("second", START + 1, (FOUND, again.0, again.1))];
        fixture.expect(&instance, &calls).await;
    }
}

#[tokio::test]
async fn issuers_do_not_touch_each_others_items_in_the_table() {
    let fixture = Fixture::new("two issuers").await;
    let other = Okta::start(Reply::keys(&jwks(&[keys::second()]))).await;
    let (one, two) = (fixture.instance(), fixture.instance_of(&other.keys_endpoint(), REFRESH_POLICY));
    let item_of_two = || fixture.table.item(&other.keys_endpoint());
    fixture.expect(&one, &[("main", START, (FOUND, 1, 3))]).await;
    assert_eq!(item_of_two(), None);
    fixture.expect(&two, &[("second", START + 1, (FOUND, 0, 3)), ("main", START + 1, (UNKNOWN, 0, 3))]).await;
    assert_eq!((fixture.stored_at(), other.requests()), (Some(START), 2));
    let untouched = item_of_two().unwrap();

    // A claim, a Retry-After and an unusable item of one issuer do not affect the other.
    fixture.table.put(&with(&fixture.item(&[keys::main()], START), &claimed_at(DUE + 1)));
    fixture.expect(&two, &[("second", DUE + 2, (FOUND, 0, 3))]).await;
    assert_eq!(other.requests(), 3);
    assert_ne!(item_of_two().unwrap(), untouched);
    let untouched = item_of_two().unwrap();

    fixture.okta.answer(rate_limited(300));
    fixture.expect(&one, &[("main", DUE + 40, (FOUND, 1, 3))]).await;
    assert_eq!(item_of_two().unwrap(), untouched);
    fixture.expect(&two, &[("forged", DUE + 41, (UNKNOWN, 0, 3))]).await;
    assert_eq!(other.requests(), 4);

    let unusable: Value =
        with(&item(&fixture.okta.keys_endpoint(), &jwks(&[keys::second()]), DUE, 0), &json!({ "keys": { "S": "" } }));
    fixture.table.put(&unusable);
    let new = fixture.instance_of(&other.keys_endpoint(), REFRESH_POLICY);
    fixture.expect(&new, &[("second", DUE + 50, (FOUND, 0, 1))]).await;
}
