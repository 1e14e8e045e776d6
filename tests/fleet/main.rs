//! Many instances that share one table and one Okta. These tests run the scenarios of the bench
//! `fleet` with small fleets and exact request counts, and every failure of the table or Okta. Time
//! is simulated: a day of outage takes milliseconds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]

mod faults;
mod fixture;
mod proxies;
mod rules;
mod scenarios;

use std::time::Duration;

use scenarios::{Round, cold_start, flood, outage, rotation, table_down, withdrawal};

const FLEET: usize = 20;

#[tokio::test]
async fn all_that_start_at_once_on_an_empty_table_cause_one_request() {
    let report = cold_start(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (1, 0));
}

#[tokio::test]
async fn a_rotation_refuses_nobody_and_causes_one_request() {
    let report = rotation(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (1, 0));
    assert_eq!(report.known_everywhere_after, Some(0));
}

#[tokio::test]
async fn a_withdrawn_key_is_dead_soon_after_the_refresh_is_due() {
    let report = withdrawal(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (1, 0));
    assert!(report.known_everywhere_after.is_some_and(|seconds| seconds <= 3), "{report:?}");
}

#[tokio::test]
async fn a_flood_of_forged_kids_causes_three_requests_and_refuses_nobody() {
    let flood = flood(FLEET, 2_000).await;
    assert!((1..=3).contains(&flood.report.okta_requests), "{:?}", flood.report);
    assert_eq!(flood.report.refused_valid, 0);
    let limit = Duration::from_millis(100);
    assert!(flood.before < limit && flood.during < limit, "valid calls wait: {:?}, {:?}", flood.before, flood.during);
}

#[tokio::test]
async fn an_outage_of_okta_refuses_nobody_for_a_day_then_is_a_fault_and_ends_by_itself() {
    let (report, beyond, back) = outage(FLEET).await;
    assert_eq!(report.refused_valid, 0);
    assert_eq!(beyond, Round { unavailable: FLEET, ..Round::default() });
    assert_eq!(back, Round { found: FLEET, ..Round::default() });
}

#[tokio::test]
async fn without_the_table_every_instance_asks_okta_once() {
    let report = table_down(FLEET).await;
    assert_eq!((report.okta_requests, report.refused_valid), (FLEET, 0));
}
