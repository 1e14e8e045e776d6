//! The tables against the real binary. `BOOTSTRAP` names the binary, if it is set.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use okta_authorizer_testkit::{
    Failures, arn,
    env::Env,
    now,
    runtime_api::{Answer, Authorizer},
};
use serde_json::{Map, Value};

use crate::{
    logs::check_log,
    table::{Row, Table, tables},
};

/// What one process was sent, what it answered, and what it logged.
pub struct Run {
    pub events: Vec<String>,
    pub answers: Vec<Answer>,
    pub lines: Vec<String>,
}

impl Run {
    pub async fn send(env: &Env, events: Vec<String>) -> Self {
        let authorizer = Authorizer::start(env).await;
        let mut answers = Vec::new();
        for event in &events {
            answers.push(authorizer.invoke(event.as_str()).await);
        }
        Self { events, answers, lines: authorizer.stop().await }
    }

    /// The decision lines: one for each event.
    pub fn decisions(&self) -> Vec<Map<String, Value>> {
        let objects = self.lines.iter().filter_map(|line| serde_json::from_str::<Map<_, _>>(line).ok());
        let decisions: Vec<_> = objects.filter(|object| object.contains_key("outcome")).collect();
        assert_eq!(decisions.len(), self.events.len(), "one line for each decision");
        decisions
    }
}

/// Runs the rows that need no clock of their own: each attack, and its control after it. So a
/// control also shows that the process survived the attack.
async fn run(table: &Table) -> (Vec<Row>, Run) {
    let mut rows = table.rows(now());
    rows.retain(|row| row.now.is_none());
    let events = rows.iter().flat_map(|row| [row.attack.clone(), row.control.clone()]).collect();
    let run = Run::send(&table.env, events).await;
    (rows, run)
}

/// The class of the answer, the outcome on the decision line, and the reason there.
fn seen<'a>(answer: &Answer, decision: &'a Map<String, Value>) -> [&'a str; 3] {
    let class = if answer.is_unauthorized() {
        "401"
    } else if answer.is_fault() {
        "500"
    } else if answer.allows(&arn("GET /apps")) {
        "allowed"
    } else {
        "denied"
    };
    [class, decision["outcome"].as_str().unwrap(), decision["reason"].as_str().unwrap()]
}

#[tokio::test]
async fn every_attack_is_refused_and_every_control_allowed() {
    let tables = tables();
    let runs: Vec<_> = stream::iter(&tables)
        .map(|table| async move { (table.name, run(table).await) })
        .buffer_unordered(4)
        .collect()
        .await;
    let mut failures = Failures::default();
    let (mut count, mut outcomes) = (0, BTreeSet::new());
    for (table, (rows, run)) in &runs {
        count += rows.len();
        let decisions = run.decisions();
        let seen: Vec<_> = run.answers.iter().zip(&decisions).map(|(answer, line)| seen(answer, line)).collect();
        outcomes.extend(seen.iter().map(|[_, outcome, _]| (*outcome).to_owned()));
        for (row, seen) in rows.iter().zip(seen.chunks(2)) {
            let reason = row.reason.split(' ').next().unwrap();
            let refused = if reason == "MethodArnUnusable" { ["500", "fault"] } else { ["401", "refused"] };
            failures
                .check(seen[0][..2] == refused && seen[0][2] == reason, || format!("{table}: {row}: {:?}", seen[0]));
            failures.check(seen[1][..2] == ["allowed", "allow"], || format!("{table}: {row}: control: {:?}", seen[1]));
        }
    }
    failures.report();
    assert!(count >= 1_365, "only {count} rows are left");
    assert_eq!(outcomes, BTreeSet::from(["allow", "fault", "refused"].map(str::to_owned)));
    let parts = check_log(runs.iter().map(|(_, (_, run))| run));
    assert!(parts > 500, "only {parts} parts of tokens");
}
