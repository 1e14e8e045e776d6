//! The metrics in the log lines follow `CloudWatch`'s embedded metric format.
//! `.ci/check_metrics.py` validates the same lines with the schema that AWS published.

use std::collections::BTreeMap;

use okta_authorizer_testkit::{
    arn,
    env::Env,
    event, event_for,
    keys::{self, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    table::{Table, closed_port, item},
    token::{bearer, claims_of},
};
use serde_json::{Map, Value, json};

use crate::pinned;

type Line = Map<String, Value>;

/// The name and the dimensions of each metric in a line. Panics if the line breaks the
/// specification, for example if it has no value of the right type for a name.
fn metrics_of(line: &Line) -> Vec<(&str, Vec<&str>)> {
    let is_name = |value: &Value| (1..=1024).contains(&value.as_str().unwrap().chars().count());
    let metadata = line["_aws"].as_object().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"], "{line:?}");
    assert!(metadata["Timestamp"].as_u64().unwrap().abs_diff(now() * 1_000) < 60_000, "milliseconds: {line:?}");
    let mut metrics = Vec::new();
    for directive in metadata["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "okta-authorizer");
        let sets = directive["Dimensions"].as_array().unwrap();
        assert_eq!(sets.first(), Some(&json!(["function_name"])), "in all: {line:?}");
        assert!(sets.len() <= 2 && sets.get(1) != sets.first(), "{line:?}");
        let dimensions = sets.last().unwrap().as_array().unwrap();
        assert!((1..=30).contains(&dimensions.len()), "{line:?}");
        for dimension in dimensions {
            assert!(is_name(dimension) && is_name(&line[dimension.as_str().unwrap()]), "{dimension} of {line:?}");
        }
        let [metric] = directive["Metrics"].as_array().unwrap().as_slice() else { panic!("{line:?}") };
        assert!(matches!(metric["Unit"].as_str(), Some("Count" | "Seconds")), "{line:?}");
        let name = metric["Name"].as_str().unwrap();
        assert!(is_name(&metric["Name"]) && line[name].is_number(), "{name} of {line:?}");
        metrics.push((name, dimensions.iter().map(|dimension| dimension.as_str().unwrap()).collect()));
    }
    metrics
}

/// Stops the authorizer, checks its metrics, and prints their lines for `.ci/check_metrics.py`.
/// Returns the sum of each metric. A key is the metric's name and the values of its dimensions,
/// without the function's name.
async fn sums(authorizer: Authorizer) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let lines = authorizer.stop().await;
    let objects: Vec<Line> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for line in objects.iter().filter(|line| line.contains_key("_aws")) {
        println!("{}", json!(line));
        for (name, dimensions) in metrics_of(line) {
            assert_eq!(dimensions.first(), Some(&"function_name"));
            assert_eq!(line["function_name"], "okta-authorizer");
            let values = dimensions.iter().skip(1).map(|dimension| line[*dimension].as_str().unwrap());
            let series = [name].into_iter().chain(values).collect::<Vec<_>>().join(" ");
            *sums.entry(series).or_default() += line[name].as_u64().unwrap();
        }
    }
    sums
}

fn expected<const N: usize>(sums: [(&str, u64); N]) -> BTreeMap<String, u64> {
    sums.map(|(series, sum)| (series.to_owned(), sum)).into()
}

#[tokio::test]
async fn decisions_are_counted_by_outcome_and_reason() {
    let authorizer = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", "8192")).await;
    let good = bearer(&json!({}));
    authorizer.invoke(event_for(&good, &arn("GET /apps"))).await;
    authorizer.invoke(event_for(&good, &arn("GET /apps/0oa1"))).await;
    authorizer.invoke(event_for(&good, &arn("GET /tenants"))).await;
    authorizer.invoke(event("Bearer nonsense")).await;
    authorizer.invoke(event("Basic eDp5")).await;
    authorizer.invoke(event("Basic eDp5")).await;
    authorizer.invoke(event_for(&good, "arn:aws:nonsense")).await;
    let odd = bearer(&json!({ "tenants": ["0oidp:acme:G", "0oidp:*:G", "0oidp:a/b:G"] }));
    authorizer.invoke(event_for(&odd, &arn("GET /apps"))).await;
    let many: Vec<_> = (0..100).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect();
    authorizer.invoke(event_for(&bearer(&json!({ "tenants": many })), &arn("GET /apps"))).await;
    assert_eq!(
        sums(authorizer).await,
        expected([
            ("decisions allow", 4),
            ("decisions deny", 1),
            ("decisions refused", 3),
            ("decisions fault", 1),
            ("refusals not_three_parts", 1),
            ("refusals not_bearer", 2),
            ("faults MethodArnUnusable", 1),
            ("unusable_values", 2),
            ("policies_cut", 1),
        ])
    );
}

#[tokio::test]
async fn key_refreshes_are_counted_with_the_age_of_the_keys() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let good = || event(&keys::main().token(&claims_of(&okta.issuer())));
    let table = Table::start().await;
    let from_okta = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(from_okta.invoke(good()).await.allows(&arn("GET /apps")));
    let found = sums(from_okta).await;
    assert_eq!((found["key_refreshes okta ok"], found["decisions allow"]), (1, 1), "{found:?}");
    assert!(found["keys_age_seconds"] < 30, "{found:?}");

    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 1_000));
    let from_table = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(from_table.invoke(good()).await.allows(&arn("GET /apps")));
    let found = sums(from_table).await;
    assert_eq!(found["key_refreshes table ok"], 1, "{found:?}");
    assert!((1_000..1_030).contains(&found["keys_age_seconds"]), "{found:?}");
    assert!(!found.contains_key("key_refreshes okta ok"), "{found:?}");
}

#[tokio::test]
async fn failed_refreshes_are_counted_by_source() {
    let okta = Okta::start(Reply::status("503 Service Unavailable", "")).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&closed_port().await)).await;
    assert!(authorizer.invoke(event(&keys::main().token(&claims_of(&okta.issuer())))).await.is_fault());
    assert_eq!(
        sums(authorizer).await,
        expected([
            ("key_refreshes table failed", 1), // at init; the call does not try again at once
            ("key_refreshes okta failed", 1),
            ("decisions fault", 1),
            ("faults KeysUnavailable", 1),
        ])
    );
}
