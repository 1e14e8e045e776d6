//! `cargo bench --bench fleet`: what a fleet of instances costs Okta and the table, scenario by
//! scenario.
//!
//! Instances are key stores in this process, on simulated time. The table is a `DynamoDB` emulator
//! and Okta is a server, both on loopback. The request counts are exact, and the tests in this
//! folder assert them for small fleets. The times depend on the machine.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench panics")]

mod bad_day;
#[expect(dead_code, reason = "the tests use the other faults")]
mod fault_proxy;
mod scenarios;

use std::{future::Future, time::Instant};

use bad_day::{minute_without_keys, okta_faults, waits};
use scenarios::{Fleet, Report, cold_start, flood, outage, rotation, table_down, withdrawal};

#[tokio::main]
async fn main() {
    println!(
        "| scenario | instances | requests to Okta | requests to the table | valid calls refused | all have the keys after | run time |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for instances in [1, 10, 100, 1_000] {
        row("all start at once, the table is empty", instances, cold_start(instances)).await;
        row("a rotation", instances, rotation(instances)).await;
        row("a withdrawn key", instances, withdrawal(instances)).await;
        let mut medians = String::new();
        let flooded = async {
            let (report, [before, during]) = flood(instances, 100_000).await;
            medians = format!("a valid call's median: {before:?} before the flood, {during:?} during it");
            report
        };
        row("100,000 forged kids in a minute", instances, flooded).await;
        let mut ends = String::new();
        let down = async {
            let (report, after_a_day, okta_is_back) = outage(instances).await;
            ends = format!("after 24 h: {after_a_day:?}; Okta is back: {okta_is_back:?}");
            report
        };
        row("Okta is down for 24 h", instances, down).await;
        row("the table is down", instances, table_down(instances)).await;
        println!("<!-- {instances}: {medians}; {ends} -->");
    }
    bad_day().await;
}

/// A minute without keys, and how long calls wait while Okta hangs.
async fn bad_day() {
    println!("\n| no keys, 3,000 calls in a minute | Okta | requests to Okta | to the table | longest other call |");
    println!("|---|---|---:|---:|---:|");
    for (name, reply) in okta_faults() {
        for (table, instances, calls) in [("no table, 1 instance", 1, 50), ("a table, 8 instances", 8, 6)] {
            let fleet = if instances == 1 { Fleet::without_table(1).await } else { Fleet::new(instances).await };
            let minute = minute_without_keys(&fleet, reply.clone(), calls).await;
            let (okta, table_requests, longest) = (minute.okta_requests, minute.table_requests, minute.longest_call);
            println!("| {table} | {name} | {okta} | {table_requests} | {longest:.1?} |");
        }
    }
    let waits = waits().await;
    println!("\n| Okta hangs | time |\n|---|---:|");
    for (what, time) in [
        ("start of a process without keys", waits.start),
        ("the first call after it", waits.first_call),
        ("a call that asks Okta, with a slow table", waits.with_slow_table),
        ("longest call with due keys", waits.due),
        ("Okta is back: until the next success", waits.recovery),
    ] {
        println!("| {what} | {time:.1?} |");
    }
}

async fn row(scenario: &str, instances: usize, run: impl Future<Output = Report>) {
    let start = Instant::now();
    let report = run.await;
    let seconds = report.all_have_keys_after.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s"));
    println!(
        "| {scenario} | {instances} | {} | {} | {} | {seconds} | {:.1?} |",
        report.okta_requests,
        report.table_requests,
        report.refused_valid,
        start.elapsed()
    );
}
