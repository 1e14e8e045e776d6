//! The rules for keys, to the second: the lease, one lookup for many calls, refresh, cooldowns and
//! Retry-After.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use okta_authorizer::keys::{KeyStore, RefreshPolicy};
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

/// Looks `kid` up, and drops the lookup during its request to Okta, as if the instance died.
async fn die_while_refreshing(fixture: &Fixture, instance: &KeyStore, kid: &str, now: u64) {
    fixture.okta.answer(Reply::Silence);
    let before = fixture.okta.requests();
    tokio::select! {
        answer = fixture.key(instance, kid, now) => panic!("Okta answered: {answer:?}"),
        () = fixture.okta.wait_for_requests(before + 1) => {}
    }
    fixture.okta.answer(only_main());
    fixture.new_requests();
}

#[tokio::test]
async fn an_unknown_kid_does_not_bypass_the_lease_of_another() {
    let fixture = Fixture::new("warm").await;
    let [owner, other] = [fixture.started(START).await, fixture.started(START).await];
    die_while_refreshing(&fixture, &owner, "main", DUE).await;
    fixture.expect(&other, &[("main", DUE + 1, (FOUND, 0, 2)), ("new", DUE + 5, (UNKNOWN, 0, 2))]).await;
}

#[tokio::test]
async fn a_dead_owners_lease_expires_after_30_seconds() {
    let fixture = Fixture::new("warm").await;
    let dead = fixture.started(START).await;
    let [early, late, later] =
        [fixture.started(START).await, fixture.started(START).await, fixture.started(START).await];
    die_while_refreshing(&fixture, &dead, "main", DUE).await;
    fixture.expect(&early, &[("main", DUE + 1, (FOUND, 0, 2))]).await;
    fixture.expect(&late, &[("main", DUE + 29, (FOUND, 0, 2))]).await;
    fixture.expect(&later, &[("main", DUE + 30, (FOUND, 1, 3))]).await;
    fixture.expect(&early, &[("main", DUE + 31, (FOUND, 0, 1))]).await;
    // The instance whose lookup was dropped can do lookups again.
    fixture.expect(&dead, &[("main", DUE + 31, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn without_keys_a_dead_owners_lease_is_taken_over_at_once() {
    let fixture = Fixture::new("cold").await;
    die_while_refreshing(&fixture, &fixture.instance(), "main", START).await;
    fixture.expect(&fixture.instance(), &[("main", START + 4, (FOUND, 1, 4))]).await;
}

#[tokio::test]
async fn one_instance_takes_over_a_lease_after_all_have_waited() {
    let fixture = Fixture::new("cold").await;
    die_while_refreshing(&fixture, &fixture.instance(), "main", START).await;
    let instances = [fixture.instance(), fixture.instance(), fixture.instance()];
    let okta_requests = fixture.okta.requests();
    fixture.new_requests();
    let take_over = async {
        fixture.okta.wait_for_requests(okta_requests + 1).await;
        // Before that, every instance has read the item and tried to acquire the lease, and at
        // least one has waited: it has read the item again, and tried to take the lease over.
        let (_, table) = fixture.new_requests();
        assert!(table >= instances.len() * 2 + 2, "{table} requests to the table");
    };
    let calls = join_all(instances.iter().map(|instance| fixture.key(&instance, "main", START)));
    let (answers, ()) = tokio::join!(calls, take_over);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.okta.requests(), okta_requests + 1);
}

#[tokio::test]
async fn without_keys_an_instance_waits_for_the_owners_keys() {
    let fixture = Fixture::new("cold").await;
    fixture.okta.answer(only_main().after(Duration::from_millis(400)));
    let instances = [fixture.instance(), fixture.instance()];
    let answers = join_all(instances.iter().map(|instance| fixture.key(&instance, "main", START))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.new_requests().0, 1);
}

#[tokio::test]
async fn a_lease_further_ahead_than_any_valid_one_is_ignored() {
    let mut failures = Failures::default();
    let cases = [
        ("no lease", None, (FOUND, 1, 3)),
        ("expired", Some(DUE), (FOUND, 1, 3)),
        ("expires in a second", Some(DUE + 1), (FOUND, 0, 2)),
        ("just acquired", Some(DUE + 30), (FOUND, 0, 2)),
        ("the longest Retry-After", Some(DUE + 335), (FOUND, 0, 2)),
        ("a second longer than that", Some(DUE + 336), (FOUND, 1, 3)),
        ("forever", Some(u64::MAX), (FOUND, 1, 3)),
    ];
    for (name, lease_until, expected) in cases {
        let fixture = Fixture::new(name).await;
        let item = without(&fixture.item(&[keys::main()], START), "lease_until");
        let leased = lease_until.map(|until| with(&item, &json!({ "lease_until": { "N": until.to_string() } })));
        fixture.table.put(&leased.unwrap_or(item));
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
    assert_eq!(fixture.stored_at(), Some(DUE + 1));
}

#[tokio::test]
async fn concurrent_calls_share_one_lookup() {
    let mut failures = Failures::default();
    let cases: [(&str, Reply, bool, Call); 6] = [
        ("an unknown kid, Okta up", only_main(), true, (UNKNOWN, 1, 3)),
        ("an unknown kid, Okta down", Reply::HangUp, true, (UNKNOWN, 1, 2)),
        ("an unknown kid, Okta silent", Reply::Silence, true, (UNKNOWN, 1, 2)),
        ("no keys, Okta up", only_main(), false, (UNKNOWN, 1, 3)),
        ("no keys, Okta down", Reply::HangUp, false, (UNAVAILABLE, 1, 2)),
        ("no keys, Okta silent", Reply::Silence, false, (UNAVAILABLE, 1, 2)),
    ];
    for (name, reply, warm, expected) in cases {
        let fixture = Fixture::new(name).await;
        let instance = if warm { fixture.started(START).await } else { fixture.instance() };
        fixture.okta.answer(reply);
        let answers = join_all((0..100).map(|call| {
            let instance = &instance;
            async move { fixture.key(&instance, &format!("forged-{call}"), START + 100).await.map(drop) }
        }))
        .await;
        let (okta, table) = fixture.new_requests();
        failures.check(answers.iter().all(|answer| *answer == expected.0), || format!("{name}: {answers:?}"));
        failures.check((okta, table) == (expected.1, expected.2), || {
            format!("{name}: {okta} to Okta, {table} to the table")
        });
    }
    failures.report();
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
async fn a_call_with_a_cached_key_never_waits_for_a_lookup() {
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
        assert_eq!((result.map(drop), fixture.new_requests()), (expected, (1, 2)));
    }
}

/// A 429 with `Retry-After`. Its keys must not be used.
fn rate_limited(seconds: impl std::fmt::Display) -> Reply {
    Reply::status(format!("429 Too Many Requests\r\nretry-after: {seconds}\r\n"), jwks(&[keys::attacker()]).to_string())
}

#[tokio::test]
async fn a_retry_after_applies_to_the_whole_fleet() {
    // The header's value, and the number of seconds without a request.
    for (value, seconds) in [("100", 100), (" 2 ", 2), ("300", 300), ("301", 300), ("99999999999", 300), ("0", 1)] {
        let fixture = Fixture::new(format!("cold, {value:?}")).await;
        fixture.okta.answer(rate_limited(value));
        let (first, second, third) = (fixture.instance(), fixture.instance(), fixture.instance());
        fixture.expect(&first, &[("main", START, (UNAVAILABLE, 1, 3))]).await;
        fixture.okta.answer(only_main());
        let last = START + seconds - 1;
        fixture.expect(&first, &[("main", last, (UNAVAILABLE, 0, 1))]).await;
        fixture.expect(&second, &[("main", last, (UNAVAILABLE, 0, 2))]).await;
        fixture.expect(&second, &[("main", last + 1, (FOUND, 1, 4))]).await;
        fixture.expect(&first, &[("main", last + 1, (FOUND, 0, 1))]).await;
        fixture.expect(&third, &[("main", last + 1, (FOUND, 0, 1))]).await;
    }
}

#[tokio::test]
async fn a_retry_after_refuses_no_call_with_a_cached_key() {
    let fixture = Fixture::new("warm").await;
    let (first, second) = (fixture.started(START).await, fixture.started(START).await);
    fixture.okta.answer(rate_limited(100));
    fixture.expect(&first, &[("main", DUE, (FOUND, 1, 3)), ("main", DUE + 50, (FOUND, 0, 1))]).await;
    let other_calls =
        [("main", DUE + 20, (FOUND, 0, 2)), ("forged", DUE + 60, (UNKNOWN, 0, 2)), ("main", DUE + 99, (FOUND, 0, 2))];
    fixture.expect(&second, &other_calls).await;
    // A new instance uses the keys in the table.
    fixture.expect(&fixture.instance(), &[("main", DUE + 70, (FOUND, 0, 2))]).await;
    fixture.okta.answer(only_main());
    fixture.expect(&second, &[("main", DUE + 135, (FOUND, 1, 3))]).await;
    fixture.expect(&first, &[("main", DUE + 136, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn without_the_table_a_retry_after_applies_to_one_instance() {
    let fixture = Fixture::new("table down").await;
    fixture.proxy.set(TableFault::HangUp);
    fixture.okta.answer(rate_limited(100));
    let instance = fixture.instance();
    fixture.expect(&instance, &[("main", START, (UNAVAILABLE, 1, 1)), ("main", START + 99, (UNAVAILABLE, 0, 1))]).await;
    fixture.okta.answer(only_main());
    fixture.expect(&instance, &[("main", START + 100, (FOUND, 1, 1))]).await;
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
    fixture.expect(first, &[("main", DUE, (UNKNOWN, 1, 3)), ("main", DUE + 9, (UNKNOWN, 0, 1))]).await;
    fixture.expect(second, &[("main", DUE, (UNKNOWN, 0, 1)), ("second", DUE, (FOUND, 0, 0))]).await;
    fixture.expect(third, &[("second", DUE + 5, (FOUND, 0, 1)), ("main", DUE + 5, (UNKNOWN, 0, 0))]).await;
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
        ("main", START + 900, (FOUND, 1, 2)),
        ("main", START + 1_799, (FOUND, 1, 2)),
        ("main", START + 1_840, (UNAVAILABLE, 1, 2)),
    ];
    fixture.expect(&strict, &calls).await;
    let lax = fixture.instance_with(RefreshPolicy { refresh_seconds: 7_200, max_stale_seconds: 172_800 });
    // The limits in the item also apply.
    fixture.expect(&lax, &[("main", START + 3_599, (FOUND, 0, 1)), ("main", START + 3_600, (FOUND, 1, 2))]).await;
    fixture.expect(&lax, &[("main", START + 86_400, (UNAVAILABLE, 1, 2))]).await;
}

#[tokio::test]
async fn an_item_newer_than_the_cache_replaces_it_at_a_lookup() {
    let fixture = Fixture::new("newer").await;
    let instance = fixture.started(START).await;
    fixture.table.put(&fixture.item(&[keys::second()], START + 50));
    let calls = [
        ("main", START + 51, (FOUND, 0, 0)),
        ("second", START + 52, (FOUND, 0, 1)),
        ("main", START + 53, (UNKNOWN, 0, 1)),
    ];
    fixture.expect(&instance, &calls[..2]).await;
    // The cooldown of lookups for a kid applies whether the kid was found or not.
    fixture.expect(&instance, &[("main", START + 53, (UNKNOWN, 0, 0)), ("main", START + 62, (UNKNOWN, 0, 1))]).await;
    // The item's `fetched_at` determines when the keys are due.
    fixture
        .expect(&instance, &[("second", START + 3_649, (FOUND, 0, 0)), ("main", START + 3_650, (FOUND, 1, 3))])
        .await;
}

#[tokio::test]
async fn an_item_older_than_the_cache_is_ignored() {
    let fixture = Fixture::new("older").await;
    let instance = fixture.started(START).await;
    fixture.table.put(&without(&fixture.item(&[keys::second()], START - 1), "lease_until"));
    let calls = [
        ("second", START + 10, (UNKNOWN, 0, 1)),
        ("main", START + 10, (FOUND, 0, 0)),
        // This instance asks Okta and replaces the item.
        ("second", START + 30, (UNKNOWN, 1, 3)),
    ];
    fixture.expect(&instance, &calls).await;
    assert_eq!(fixture.stored_at(), Some(START + 30));
}

#[tokio::test]
async fn cooldowns_end_at_their_exact_second() {
    let fixture = Fixture::new("cooldowns").await;
    let instance = fixture.started(START).await;
    let forged = [
        // Okta is not asked for a kid within 30 s of a refresh. The table is read every 10 s.
        ("f0", START, (UNKNOWN, 0, 1)),
        ("f1", START + 9, (UNKNOWN, 0, 0)),
        ("f2", START + 10, (UNKNOWN, 0, 1)),
        ("f3", START + 20, (UNKNOWN, 0, 1)),
        ("f4", START + 29, (UNKNOWN, 0, 0)),
        ("f5", START + 30, (UNKNOWN, 1, 3)),
        ("f6", START + 39, (UNKNOWN, 0, 0)),
        ("f7", START + 40, (UNKNOWN, 0, 1)),
        ("f8", START + 59, (UNKNOWN, 0, 1)),
        ("f9", START + 69, (UNKNOWN, 1, 3)),
        ("main", START + 70, (FOUND, 0, 0)),
    ];
    fixture.expect(&instance, &forged).await;
    // Failed requests have the same cooldown.
    fixture.okta.answer(Reply::HangUp);
    let failing = [
        ("f0", START + 99, (UNKNOWN, 1, 2)),
        ("f1", START + 108, (UNKNOWN, 0, 0)),
        ("f2", START + 109, (UNKNOWN, 0, 1)),
        ("f3", START + 119, (UNKNOWN, 0, 1)),
        ("f4", START + 128, (UNKNOWN, 0, 0)),
        ("f5", START + 129, (UNKNOWN, 1, 2)),
        ("main", START + 130, (FOUND, 0, 0)),
    ];
    fixture.expect(&instance, &failing).await;
}

#[tokio::test]
async fn a_rotation_is_picked_up_within_40_seconds() {
    // The seconds after the start of the first call with the new kid, and of the first that finds
    // it.
    for (first, found) in [(30, 30), (31, 31), (29, 39), (20, 30), (21, 31), (0, 30)] {
        let fixture = Fixture::new(format!("first call after {first} s")).await;
        let instance = fixture.started(START).await;
        fixture.okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])));
        let mut calls = Vec::new();
        for second in first..=found {
            let reads_table = (second - first) % 10 == 0;
            calls.push(("second", START + second, (UNKNOWN, 0, usize::from(reads_table))));
        }
        *calls.last_mut().unwrap() = ("second", START + found, (FOUND, 1, 3));
        calls.push(("second", START + found, (FOUND, 0, 0)));
        fixture.expect(&instance, &calls).await;
    }
}

#[tokio::test]
async fn issuers_do_not_touch_each_others_items_in_the_table() {
    let fixture = Fixture::new("two issuers").await;
    let other = Okta::start(Reply::keys(&jwks(&[keys::second()]))).await;
    let (one, two) = (fixture.instance(), fixture.instance_of(&other.keys_endpoint(), REFRESH_POLICY));
    let item_of_two = || fixture.table.item(&other.keys_endpoint());
    fixture.expect(&one, &[("main", START, (FOUND, 1, 3)), ("second", START, (UNKNOWN, 0, 1))]).await;
    assert_eq!(item_of_two(), None);
    fixture.expect(&two, &[("second", START + 1, (FOUND, 0, 3)), ("main", START + 1, (UNKNOWN, 0, 1))]).await;
    assert_eq!((fixture.stored_at(), other.requests()), (Some(START), 1));
    let untouched = item_of_two().unwrap();

    // A dead owner's lease, a Retry-After and an unusable item of one issuer do not affect the
    // other.
    die_while_refreshing(&fixture, &one, "main", DUE).await;
    fixture.expect(&two, &[("second", DUE + 1, (FOUND, 0, 3))]).await;
    assert_eq!(other.requests(), 2);
    assert_ne!(item_of_two().unwrap(), untouched);
    let untouched = item_of_two().unwrap();

    fixture.okta.answer(rate_limited(300));
    fixture.expect(&one, &[("main", DUE + 40, (FOUND, 1, 3))]).await;
    assert_eq!(item_of_two().unwrap(), untouched);
    fixture.expect(&two, &[("forged", DUE + 41, (UNKNOWN, 0, 3))]).await;
    assert_eq!(other.requests(), 3);

    let unusable: Value =
        with(&item(&fixture.okta.keys_endpoint(), &jwks(&[keys::second()]), DUE, 0), &json!({ "keys": { "S": "" } }));
    fixture.table.put(&unusable);
    let new = fixture.instance_of(&other.keys_endpoint(), REFRESH_POLICY);
    fixture.expect(&new, &[("second", DUE + 50, (FOUND, 0, 1))]).await;
}
