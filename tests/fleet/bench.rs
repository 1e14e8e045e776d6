//! `cargo bench --bench fleet`: what a fleet of instances costs Okta and the table, scenario by
//! scenario.
//!
//! Instances are key stores in this process, on simulated time. The table is a `DynamoDB` emulator
//! and Okta is a server, both on loopback. The request counts are exact, and the tests in this
//! folder assert them for small fleets. The times depend on the machine.

#![expect(clippy::unwrap_used, reason = "a bench panics")]

mod scenarios;

use std::{future::Future, time::Instant};

use scenarios::{Report, cold_start, flood, outage, rotation, table_down, withdrawal};

#[tokio::main]
async fn main() {
    println!("| scenario | instances | to Okta | to the table | valid refused | known everywhere after | this took |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for instances in [1, 10, 100, 1_000] {
        row("all start on an empty table", instances, cold_start(instances)).await;
        row("a rotation", instances, rotation(instances)).await;
        row("a withdrawn key", instances, withdrawal(instances)).await;
        let mut medians = String::new();
        let flooded = async {
            let flood = flood(instances, 100_000).await;
            medians =
                format!("a valid call's median: {:?} before the flood, {:?} during it", flood.before, flood.during);
            flood.report
        };
        row("100,000 forged kids in a minute", instances, flooded).await;
        let mut ends = String::new();
        let down = async {
            let (report, beyond, back) = outage(instances).await;
            ends = format!("after 24 h: {beyond:?}; Okta back: {back:?}");
            report
        };
        row("Okta down for 24 h", instances, down).await;
        row("the table down", instances, table_down(instances)).await;
        println!("<!-- {instances}: {medians}; {ends} -->");
    }
}

async fn row(scenario: &str, instances: usize, run: impl Future<Output = Report>) {
    let start = Instant::now();
    let report = run.await;
    let known = report.known_everywhere_after.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s"));
    println!(
        "| {scenario} | {instances} | {} | {} | {} | {known} | {:.1?} |",
        report.okta_requests,
        report.table_requests,
        report.refused_valid,
        start.elapsed()
    );
}
