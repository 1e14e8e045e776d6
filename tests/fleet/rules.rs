//! The rules for keys, to the second: the lease, one lookup for many calls, refresh, cooldowns and
//! Retry-After.

use std::{
    cell::RefCell,
    io,
    sync::Once,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use okta_authorizer::keys::{KeyStore, RefreshPolicy};
use okta_authorizer_testkit::{
    Failures,
    keys::{self, jwks},
    okta::{Okta, Reply},
    table::item,
    with, without,
};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;

use crate::{
    fixture::{Call, FOUND, Fixture, REFRESH_POLICY, UNAVAILABLE, UNKNOWN, main_alone},
    proxies::TableFault,
    scenarios::START,
};

/// When keys of [`START`] are due.
const DUE: u64 = START + 3_600;

/// Looks `kid` up, and drops the lookup while its request to Okta is under way, as if the instance
/// died.
async fn die_while_refreshing(fixture: &Fixture, instance: &KeyStore, kid: &str, now: u64) {
    fixture.okta.answer(Reply::Silence);
    let before = fixture.okta.requests();
    tokio::select! {
        answer = instance.key(kid, now) => panic!("Okta was not to answer: {answer:?}"),
        () = fixture.okta.wait_for_requests(before + 1) => {}
    }
    fixture.okta.answer(main_alone());
    fixture.asked();
}

#[tokio::test]
async fn a_lease_lapses_30_seconds_after_its_owner_took_it_and_died() {
    let fixture = Fixture::new("warm").await;
    let dead = fixture.started(START).await;
    let [early, late, later] =
        [fixture.started(START).await, fixture.started(START).await, fixture.started(START).await];
    die_while_refreshing(&fixture, &dead, "main", DUE).await;
    fixture.expect(&early, &[("main", DUE + 1, (FOUND, 0, 2))]).await;
    fixture.expect(&late, &[("main", DUE + 29, (FOUND, 0, 2))]).await;
    fixture.expect(&later, &[("main", DUE + 30, (FOUND, 1, 3))]).await;
    fixture.expect(&early, &[("main", DUE + 31, (FOUND, 0, 1))]).await;
    // Whoever was refreshing in an instance is not stuck in it either.
    fixture.expect(&dead, &[("main", DUE + 31, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn a_lease_whose_owner_died_is_taken_over_at_once_by_who_has_no_keys() {
    let fixture = Fixture::new("cold").await;
    die_while_refreshing(&fixture, &fixture.instance(), "main", START).await;
    fixture.expect(&fixture.instance(), &[("main", START + 4, (FOUND, 1, 4))]).await;
}

#[tokio::test]
async fn a_lease_whose_owner_may_be_at_work_is_waited_for_a_second_and_taken_over_by_one() {
    let fixture = Fixture::new("cold").await;
    die_while_refreshing(&fixture, &fixture.instance(), "main", START).await;
    let instances: Vec<_> = (0..10).map(|_| fixture.instance()).collect();
    let started = Instant::now();
    let answers = join_all(instances.iter().map(|instance| instance.key("main", START))).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.asked().0, 1);
}

#[tokio::test]
async fn who_loses_the_lease_without_keys_has_the_winners() {
    let fixture = Fixture::new("cold").await;
    fixture.okta.answer(main_alone().after(Duration::from_millis(400)));
    let instances = [fixture.instance(), fixture.instance()];
    let answers = join_all(instances.iter().map(|instance| instance.key("main", START))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.asked().0, 1);
}

#[tokio::test]
async fn a_lease_further_off_than_any_hold_is_none() {
    let mut failures = Failures::default();
    let cases = [
        ("nobody's", None, (FOUND, 1, 3)),
        ("lapsed", Some(DUE), (FOUND, 1, 3)),
        ("about to lapse", Some(DUE + 1), (FOUND, 0, 2)),
        ("just taken", Some(DUE + 30), (FOUND, 0, 2)),
        ("the longest hold", Some(DUE + 335), (FOUND, 0, 2)),
        ("longer than that", Some(DUE + 336), (FOUND, 1, 3)),
        ("for ever", Some(u64::MAX), (FOUND, 1, 3)),
    ];
    for (name, lease_until, expected) in cases {
        let fixture = Fixture::new(name).await;
        let item = without(&fixture.item(&[keys::main()], START), "lease_until");
        let leased = lease_until.map(|until| with(&item, &json!({ "lease_until": { "N": until.to_string() } })));
        fixture.table.put(&leased.unwrap_or(item));
        fixture.walk(&mut failures, &fixture.instance(), &[("main", DUE, expected)]).await;
    }
    failures.report();
}

/// The log of this thread from INFO up. Every test has its own thread. There is one subscriber for
/// all threads, because a scoped subscriber does not see events whose call sites another thread has
/// disabled before.
struct Log;

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Log {
    fn start() {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| {
            tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false).with_writer(|| Log).init();
        });
    }

    /// The authorizer's lines since the last call of this function.
    fn lines() -> Vec<String> {
        let text = String::from_utf8(LOGGED.take()).unwrap();
        text.lines().filter(|line| line.contains("okta_authorizer")).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|log| log.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_lost_race_logs_nothing_above_debug() {
    Log::start();
    let fixture = Fixture::new("log").await;
    let [winner, loser, dead] =
        [fixture.started(START).await, fixture.started(START).await, fixture.started(START).await];
    assert!(!Log::lines().is_empty(), "a test of nothing");

    die_while_refreshing(&fixture, &dead, "main", DUE).await;
    Log::lines();
    fixture.expect(&loser, &[("main", DUE + 1, (FOUND, 0, 2)), ("new", DUE + 5, (UNKNOWN, 0, 2))]).await;
    assert_eq!(Log::lines(), [""; 0], "the lease was lost");

    // The write is lost as well: somebody with a better clock put newer keys there meanwhile.
    fixture.okta.answer(main_alone().after(Duration::from_millis(100)));
    let before = fixture.okta.requests();
    let newer = async {
        fixture.okta.wait_for_requests(before + 1).await;
        fixture.table.put(&fixture.item(&[keys::main(), keys::second()], DUE + 32));
    };
    let (answer, ()) = tokio::join!(winner.key("main", DUE + 31), newer);
    assert_eq!(answer.map(drop), FOUND);
    assert_eq!(fixture.stored_at(), Some(DUE + 32), "newer keys were written over");
    let lines = Log::lines();
    assert!(matches!(&lines[..], [line] if line.contains("keys refreshed")), "{lines:#?}");
}

#[tokio::test]
async fn a_fault_of_the_table_is_a_warning() {
    Log::start();
    let fixture = Fixture::new("log").await;
    let instance = fixture.started(START).await;
    Log::lines();
    fixture.proxy.set(TableFault::Error(400, "AccessDeniedException"));
    fixture.expect(&instance, &[("main", DUE, (FOUND, 1, 1))]).await;
    let lines = Log::lines();
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains("AccessDeniedException")), "{lines:#?}");
}

#[tokio::test]
async fn calls_at_the_same_time_make_one_look() {
    let mut failures = Failures::default();
    let cases: [(&str, Reply, bool, Call); 6] = [
        ("an unknown kid, Okta up", main_alone(), true, (UNKNOWN, 1, 3)),
        ("an unknown kid, Okta down", Reply::HangUp, true, (UNKNOWN, 1, 2)),
        ("an unknown kid, Okta hanging", Reply::Silence, true, (UNKNOWN, 1, 2)),
        ("no keys, Okta up", main_alone(), false, (UNKNOWN, 1, 3)),
        ("no keys, Okta down", Reply::HangUp, false, (UNAVAILABLE, 1, 2)),
        ("no keys, Okta hanging", Reply::Silence, false, (UNAVAILABLE, 1, 2)),
    ];
    for (name, reply, warm, expected) in cases {
        let fixture = Fixture::new(name).await;
        let instance = if warm { fixture.started(START).await } else { fixture.instance() };
        fixture.okta.answer(reply);
        let answers = join_all((0..100).map(|call| {
            let instance = &instance;
            async move { instance.key(&format!("forged-{call}"), START + 100).await.map(drop) }
        }))
        .await;
        let (okta, table) = fixture.asked();
        failures.check(answers.iter().all(|answer| *answer == expected.0), || format!("{name}: {answers:?}"));
        failures.check((okta, table) == (expected.1, expected.2), || {
            format!("{name}: {okta} to Okta, {table} to the table")
        });
    }
    failures.report();
}

#[tokio::test]
async fn calls_with_a_new_key_at_the_same_time_make_one_look_and_all_have_it() {
    let fixture = Fixture::new("rotation").await;
    let instance = fixture.started(START).await;
    fixture.okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])).after(Duration::from_millis(100)));
    let answers = join_all((0..100).map(|_| instance.key("second", START + 100))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.asked(), (1, 3));
}

#[tokio::test]
async fn calls_with_a_known_key_do_not_wait_for_its_refresh() {
    let fixture = Fixture::new("due").await;
    let instance = fixture.started(START).await;
    fixture.okta.answer(Reply::Silence);
    let refreshing = instance.key("main", DUE);
    let others = async {
        fixture.okta.wait_for_requests(2).await;
        for _ in 0..100 {
            assert_eq!(instance.key("main", DUE).await.map(drop), FOUND);
        }
    };
    tokio::pin!(refreshing);
    tokio::select! {
        // Okta has two seconds.
        _ = &mut refreshing => panic!("the others came after the one that refreshes"),
        () = others => {}
    }
    assert_eq!(refreshing.await.map(drop), FOUND);
    assert_eq!(fixture.asked(), (1, 2));
}

fn patience(seconds: impl std::fmt::Display) -> Reply {
    Reply::status(format!("429 Too Many Requests\r\nretry-after: {seconds}\r\n"), jwks(&[keys::attacker()]).to_string())
}

#[tokio::test]
async fn a_retry_after_holds_for_the_whole_fleet() {
    // What Okta says, and for how many seconds it is honoured.
    for (said, held) in [("100", 100), (" 2 ", 2), ("300", 300), ("301", 300), ("99999999999", 300), ("0", 1)] {
        let fixture = Fixture::new(format!("cold, {said:?}")).await;
        fixture.okta.answer(patience(said));
        let (asked, other, third) = (fixture.instance(), fixture.instance(), fixture.instance());
        fixture.expect(&asked, &[("main", START, (UNAVAILABLE, 1, 3))]).await;
        fixture.okta.answer(main_alone());
        let last = START + held - 1;
        fixture.expect(&asked, &[("main", last, (UNAVAILABLE, 0, 1))]).await;
        fixture.expect(&other, &[("main", last, (UNAVAILABLE, 0, 2))]).await;
        fixture.expect(&other, &[("main", last + 1, (FOUND, 1, 4))]).await;
        fixture.expect(&asked, &[("main", last + 1, (FOUND, 0, 1))]).await;
        fixture.expect(&third, &[("main", last + 1, (FOUND, 0, 1))]).await;
    }
}

#[tokio::test]
async fn a_retry_after_costs_a_fleet_with_keys_nothing() {
    let fixture = Fixture::new("warm").await;
    let (asked, other) = (fixture.started(START).await, fixture.started(START).await);
    fixture.okta.answer(patience(100));
    fixture.expect(&asked, &[("main", DUE, (FOUND, 1, 3)), ("main", DUE + 50, (FOUND, 0, 1))]).await;
    let held =
        [("main", DUE + 20, (FOUND, 0, 2)), ("forged", DUE + 60, (UNKNOWN, 0, 2)), ("main", DUE + 99, (FOUND, 0, 2))];
    fixture.expect(&other, &held).await;
    // Keys are in the table, so that a new instance has something to go on with as well.
    fixture.expect(&fixture.instance(), &[("main", DUE + 70, (FOUND, 0, 2))]).await;
    fixture.okta.answer(main_alone());
    fixture.expect(&other, &[("main", DUE + 135, (FOUND, 1, 3))]).await;
    fixture.expect(&asked, &[("main", DUE + 136, (FOUND, 0, 1))]).await;
}

#[tokio::test]
async fn a_retry_after_holds_an_instance_that_has_no_table_to_tell() {
    let fixture = Fixture::new("table down").await;
    fixture.proxy.set(TableFault::HangUp);
    fixture.okta.answer(patience(100));
    let instance = fixture.instance();
    fixture.expect(&instance, &[("main", START, (UNAVAILABLE, 1, 1)), ("main", START + 99, (UNAVAILABLE, 0, 1))]).await;
    fixture.okta.answer(main_alone());
    fixture.expect(&instance, &[("main", START + 100, (FOUND, 1, 1))]).await;
}

#[tokio::test]
async fn a_withdrawn_key_is_dead_in_every_instance_after_the_refresh() {
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
async fn max_age_shortens_the_refresh_to_a_minute_at_least_and_never_lengthens_it() {
    let cases = [
        ("no header", "", 3_600, 3_600),
        ("ten minutes", "cache-control: max-age=600\r\n", 3_600, 600),
        ("among others", "cache-control: public, Max-Age=\"600\", must-revalidate\r\n", 3_600, 600),
        ("a minute", "cache-control: max-age=60\r\n", 3_600, 60),
        ("too short", "cache-control: max-age=59\r\n", 3_600, 60),
        ("none at all", "cache-control: max-age=0\r\n", 3_600, 60),
        ("longer than configured", "cache-control: max-age=86400\r\n", 3_600, 3_600),
        ("longer than configured, again", "cache-control: max-age=301\r\n", 300, 300),
        ("of no sense", "cache-control: max-age=soon\r\n", 3_600, 3_600),
        ("of no use", "cache-control: no-store\r\n", 3_600, 3_600),
    ];
    let mut failures = Failures::default();
    for (name, headers, refresh_seconds, expected) in cases {
        let fixture = Fixture::new(name).await;
        let body = jwks(&[keys::main()]).to_string();
        fixture.okta.answer(Reply::Body { headers: headers.to_owned(), body });
        let refresh_policy = RefreshPolicy { refresh_seconds, ..REFRESH_POLICY };
        let (one, other) = (fixture.instance_with(refresh_policy), fixture.instance_with(refresh_policy));
        let due = START + expected;
        fixture.walk(&mut failures, &one, &[("main", START, (FOUND, 1, 3)), ("main", due - 1, (FOUND, 0, 0))]).await;
        // Who has them from the table has their age along with them.
        fixture
            .walk(&mut failures, &other, &[("main", START + 30, (FOUND, 0, 1)), ("main", due - 1, (FOUND, 0, 0))])
            .await;
        fixture.walk(&mut failures, &other, &[("main", due, (FOUND, 1, 3))]).await;
        fixture.walk(&mut failures, &one, &[("main", due, (FOUND, 0, 1)), ("main", due + 1, (FOUND, 0, 0))]).await;
    }
    failures.report();
}

#[tokio::test]
async fn an_instance_keeps_to_its_own_limits_whatever_the_item_allows() {
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
    // The item's own times are as good a limit.
    fixture.expect(&lax, &[("main", START + 3_599, (FOUND, 0, 1)), ("main", START + 3_600, (FOUND, 1, 2))]).await;
    fixture.expect(&lax, &[("main", START + 86_400, (UNAVAILABLE, 1, 2))]).await;
}

#[tokio::test]
async fn an_item_that_is_newer_than_memory_is_adopted_at_the_next_look() {
    let fixture = Fixture::new("newer").await;
    let instance = fixture.started(START).await;
    fixture.table.put(&fixture.item(&[keys::second()], START + 50));
    let calls = [
        ("main", START + 51, (FOUND, 0, 0)),
        ("second", START + 52, (FOUND, 0, 1)),
        ("main", START + 53, (UNKNOWN, 0, 1)),
    ];
    fixture.expect(&instance, &calls[..2]).await;
    // The look for a kid has its cooldown, found or not.
    fixture.expect(&instance, &[("main", START + 53, (UNKNOWN, 0, 0)), ("main", START + 62, (UNKNOWN, 0, 1))]).await;
    // It is as fresh as it says.
    fixture
        .expect(&instance, &[("second", START + 3_649, (FOUND, 0, 0)), ("main", START + 3_650, (FOUND, 1, 3))])
        .await;
}

#[tokio::test]
async fn an_item_that_is_older_than_memory_is_not_adopted() {
    let fixture = Fixture::new("older").await;
    let instance = fixture.started(START).await;
    fixture.table.put(&without(&fixture.item(&[keys::second()], START - 1), "lease_until"));
    let calls = [
        ("second", START + 10, (UNKNOWN, 0, 1)),
        ("main", START + 10, (FOUND, 0, 0)),
        // Its turn to put the table right.
        ("second", START + 30, (UNKNOWN, 1, 3)),
    ];
    fixture.expect(&instance, &calls).await;
    assert_eq!(fixture.stored_at(), Some(START + 30));
}

#[tokio::test]
async fn cooldowns_hold_to_the_second() {
    let fixture = Fixture::new("cooldowns").await;
    let instance = fixture.started(START).await;
    let forged = [
        // What was refreshed less than 30 s ago is not refreshed for a kid; the table may be asked
        // every 10 s.
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
        // What failed counts as well.
        ("main", START + 70, (FOUND, 0, 0)),
    ];
    fixture.expect(&instance, &forged).await;
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
async fn a_rotation_is_picked_up_at_once_or_within_40_seconds() {
    // When the first call with the new kid comes, and when it is found.
    for (first, found) in [(30, 30), (31, 31), (29, 39), (20, 30), (21, 31), (0, 30)] {
        let fixture = Fixture::new(format!("first asked after {first} s")).await;
        let instance = fixture.started(START).await;
        fixture.okta.answer(Reply::keys(&jwks(&[keys::main(), keys::second()])));
        let mut calls = Vec::new();
        for second in first..=found {
            let looks = (second - first) % 10 == 0;
            calls.push(("second", START + second, (UNKNOWN, 0, usize::from(looks))));
        }
        *calls.last_mut().unwrap() = ("second", START + found, (FOUND, 1, 3));
        calls.push(("second", START + found, (FOUND, 0, 0)));
        fixture.expect(&instance, &calls).await;
    }
}

#[tokio::test]
async fn several_issuers_share_a_table_without_touching_each_others_item() {
    let fixture = Fixture::new("two issuers").await;
    let other = Okta::start(Reply::keys(&jwks(&[keys::second()]))).await;
    let (one, two) = (fixture.instance(), fixture.instance_of(&other.keys_endpoint(), REFRESH_POLICY));
    let item_of_two = || fixture.table.item(&other.keys_endpoint());
    fixture.expect(&one, &[("main", START, (FOUND, 1, 3)), ("second", START, (UNKNOWN, 0, 1))]).await;
    assert_eq!(item_of_two(), None);
    fixture.expect(&two, &[("second", START + 1, (FOUND, 0, 3)), ("main", START + 1, (UNKNOWN, 0, 1))]).await;
    assert_eq!((fixture.stored_at(), other.requests()), (Some(START), 1));
    let untouched = item_of_two().unwrap();

    // A lease, a dead owner, a hold and a spoilt item of one are nothing to the other.
    die_while_refreshing(&fixture, &one, "main", DUE).await;
    fixture.expect(&two, &[("second", DUE + 1, (FOUND, 0, 3))]).await;
    assert_eq!(other.requests(), 2);
    assert_ne!(item_of_two().unwrap(), untouched);
    let untouched = item_of_two().unwrap();

    fixture.okta.answer(patience(300));
    fixture.expect(&one, &[("main", DUE + 40, (FOUND, 1, 3))]).await;
    assert_eq!(item_of_two().unwrap(), untouched);
    fixture.expect(&two, &[("forged", DUE + 41, (UNKNOWN, 0, 3))]).await;
    assert_eq!(other.requests(), 3);

    let spoilt: Value =
        with(&item(&fixture.okta.keys_endpoint(), &jwks(&[keys::second()]), DUE, 0), &json!({ "keys": { "S": "" } }));
    fixture.table.put(&spoilt);
    let new = fixture.instance_of(&other.keys_endpoint(), REFRESH_POLICY);
    fixture.expect(&new, &[("second", DUE + 50, (FOUND, 0, 1))]).await;
}
