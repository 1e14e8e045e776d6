//! Many instances that share one table and one Okta. These tests run the scenarios of the bench
//! `fleet` with small fleets and exact request counts, and every failure of the table or Okta. Time
//! is simulated: a day of outage takes milliseconds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]

mod bad_day;
mod fault_proxy;
mod faults;
mod fixture;
mod rules;
mod scenarios;

use std::time::Duration;

use bad_day::{minute_without_keys, okta_faults, waits};
use okta_authorizer_testkit::Failures;
use scenarios::{Fleet, Round, cold_start, flood, outage, rotation, table_down, withdrawal};

const FLEET: usize = 20;

#[tokio::test]
async fn a_fleet_that_starts_at_once_asks_okta_once() {
    let report = cold_start(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (1, 0));
}

#[tokio::test]
async fn a_rotation_refuses_no_call_and_asks_okta_once() {
    let report = rotation(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (1, 0));
    assert_eq!(report.all_have_keys_after, Some(0));
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_3_seconds_after_the_refresh() {
    let report = withdrawal(FLEET).await;
    // The refresh, and two because the withdrawn kid is an unknown one now.
    assert_eq!((report.okta_requests, report.refused_valid), (3, 0));
    assert!(report.all_have_keys_after.is_some_and(|seconds| seconds <= 3), "{report:?}");
}

#[tokio::test]
async fn a_flood_of_forged_kids_neither_refuses_nor_delays_calls() {
    let (report, _) = flood(FLEET, 2_000).await;
    assert!((1..=3).contains(&report.okta_requests), "{report:?}");
    assert_eq!(report.refused_valid, 0);
}

#[tokio::test]
async fn an_outage_of_a_day_refuses_no_call_and_ends_by_itself() {
    let (report, after_a_day, okta_is_back) = outage(FLEET).await;
    assert_eq!(report.refused_valid, 0);
    assert_eq!(after_a_day, Round { unavailable: FLEET, ..Round::default() });
    assert_eq!(okta_is_back, Round { found: FLEET, ..Round::default() });
}

#[tokio::test]
async fn without_the_table_every_instance_asks_okta_once() {
    let report = table_down(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (FLEET, 0));
}

#[tokio::test]
async fn without_keys_a_fleet_asks_okta_once_in_5_seconds() {
    let cases = okta_faults().into_iter().flat_map(|case| [(case.clone(), false), (case, true)]);
    let cases = cases.map(|((name, reply), with_table)| async move {
        let mut failures = Failures::default();
        let fleet = if with_table { Fleet::new(3).await } else { Fleet::without_table(1).await };
        let minute = minute_without_keys(&fleet, reply, 2).await;
        // From the first second on every 6 s, because the clock has whole seconds.
        let expected = if name == "429" { 2 } else { 10 };
        failures.check(minute.okta_requests == expected && minute.faults == 120 * fleet.stores.len(), || {
            format!("{name}, table {with_table}: {minute:?}")
        });
        failures
    });
    Failures::run(cases).await.report();
}

/// The bounds are coarse: they tell a call that waits for Okta's timeout of 2 s from one that does
/// not. `cargo bench --bench fleet` prints the times.
#[tokio::test]
async fn no_call_waits_in_vain_while_okta_hangs() {
    let waits = waits().await;
    assert!(waits.start < Duration::from_millis(3_500), "{waits:?}");
    assert!(waits.first_call < Duration::from_millis(500), "{waits:?}");
    assert!(waits.with_slow_table < Duration::from_millis(3_500), "{waits:?}");
    assert!(waits.due < Duration::from_secs(1), "{waits:?}");
    assert!(waits.recovery < Duration::from_secs(7), "{waits:?}");
}
