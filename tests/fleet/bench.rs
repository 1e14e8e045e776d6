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

use std::fmt::Write;

use bad_day::{minute_without_keys, okta_faults, waits};
use scenarios::{Fleet, Report, cold_start, flood, outage, rotation, table_down, withdrawal};

const INSTANCES: [usize; 3] = [10, 100, 1_000];

#[tokio::main]
async fn main() {
    println!(
        "| requests to Okta / requests to the table / valid calls refused | instances: {} |",
        INSTANCES.map(|n| n.to_string()).join(" | ")
    );
    println!("|---|---:|---:|---:|");
    let mut rows: [String; 7] = [
        "all start at once, the table is empty",
        "a rotation",
        "a withdrawn key, and the time until nobody uses it",
        "100,000 forged kids in a minute",
        "median of a valid call before that, and during it",
        "Okta is down for 24 h",
        "the table is down",
    ]
    .map(|name| format!("| {name} |"));
    for instances in INSTANCES {
        let withdrawn = withdrawal(instances).await;
        let seconds = withdrawn.all_have_keys_after.unwrap();
        let (flooded, [before, during]) = flood(instances, 100_000).await;
        let cells = [
            cost(&cold_start(instances).await),
            cost(&rotation(instances).await),
            format!("{}, {seconds} s", cost(&withdrawn)),
            cost(&flooded),
            format!("{before:?}, {during:?}"),
            cost(&outage(instances).await.0),
            cost(&table_down(instances).await),
        ];
        for (row, cell) in rows.iter_mut().zip(cells) {
            write!(row, " {cell} |").unwrap();
        }
    }
    println!("{}\n", rows.join("\n"));
    bad_day().await;
}

fn cost(report: &Report) -> String {
    format!("{} / {} / {}", report.okta_requests, report.table_requests, report.refused_valid)
}

/// A minute without keys, and how long calls wait while Okta hangs.
async fn bad_day() {
    println!(
        "| no keys, 3,000 calls in a minute; Okta says | without a table, 1 instance | with a table, 8 instances |"
    );
    println!("|---|---:|---:|");
    for (name, reply) in okta_faults() {
        let (alone, fleet) = (Fleet::without_table(1).await, Fleet::new(8).await);
        let alone = minute_without_keys(&alone, reply.clone(), 50).await;
        let fleet = minute_without_keys(&fleet, reply, 6).await;
        let [alone, fleet] = [alone, fleet].map(|minute| {
            let (okta, table, longest) = (minute.okta_requests, minute.table_requests, minute.longest_call);
            format!("{okta} / {table}, {longest:.1?}")
        });
        println!("| {name} | {alone} | {fleet} |");
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
