//! The metrics of the log lines, as `CloudWatch`'s embedded metric format has them. `.ci/emf` holds the same lines against the
//! schema that AWS published.

use std::{collections::BTreeMap, time::Duration};

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
use tokio::{net::UdpSocket, time::timeout};

type Line = Map<String, Value>;

/// Every line that has metrics, checked against the specification, and printed for `.ci/emf`.
fn metric_lines(lines: &[String]) -> Vec<Line> {
    let objects = lines.iter().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let with_metrics: Vec<_> = objects.filter(|line| line.contains_key("_aws")).collect();
    for line in &with_metrics {
        println!("{}", json!(line));
        directives(line);
    }
    with_metrics
}

/// The metric directives of a line that follows the specification: what a directive names is there, and of its type.
fn directives(line: &Line) -> Vec<(&str, Vec<&str>)> {
    let named = |value: &Value| (1..=1024).contains(&value.as_str().unwrap().chars().count());
    let metadata = line["_aws"].as_object().unwrap();
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"], "{line:?}");
    assert!(metadata["Timestamp"].as_u64().unwrap().abs_diff(now() * 1_000) < 60_000, "milliseconds: {line:?}");
    let mut found = Vec::new();
    for directive in metadata["CloudWatchMetrics"].as_array().unwrap() {
        assert_eq!(directive["Namespace"], "okta-authorizer");
        let sets = directive["Dimensions"].as_array().unwrap();
        assert_eq!(sets.first(), Some(&json!(["function_name"])), "in all: {line:?}");
        assert!(sets.len() <= 2 && sets.get(1) != sets.first(), "{line:?}");
        let dimensions = sets.last().unwrap().as_array().unwrap();
        assert!((1..=30).contains(&dimensions.len()), "{line:?}");
        for dimension in dimensions {
            assert!(named(dimension) && named(&line[dimension.as_str().unwrap()]), "{dimension} of {line:?}");
        }
        let [metric] = directive["Metrics"].as_array().unwrap().as_slice() else { panic!("{line:?}") };
        assert!(matches!(metric["Unit"].as_str(), Some("Count" | "Seconds")), "{line:?}");
        let name = metric["Name"].as_str().unwrap();
        assert!(named(&metric["Name"]) && line[name].is_number(), "{name} of {line:?}");
        found.push((name, dimensions.iter().map(|dimension| dimension.as_str().unwrap()).collect()));
    }
    found
}

/// The sum of each metric's values, by its dimensions' values without the function's name.
fn sums(lines: &[Line]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        for (name, dimensions) in directives(line) {
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
async fn every_decision_is_counted_by_outcome_and_what_went_wrong_by_reason() {
    let authorizer = Authorizer::start(&Env::pinned(&jwks(&[keys::main()])).with("POLICY_MAX_BYTES", "8192")).await;
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
    let lines = metric_lines(&authorizer.stop().await);
    assert_eq!(
        sums(&lines),
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
async fn key_refreshes_are_counted_by_source_and_result_and_the_keys_age_is_told() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let good = || event(&keys::main().token(&claims_of(&okta.issuer())));
    let table = Table::start().await;
    let from_okta = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(from_okta.invoke(good()).await.allows(&arn("GET /apps")));
    let lines = metric_lines(&from_okta.stop().await);
    let told = sums(&lines);
    assert_eq!((told["key_refreshes okta ok"], told["decisions allow"]), (1, 1), "{told:?}");
    assert!(told["keys_age_seconds"] < 30, "{told:?}");

    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 1_000));
    let from_table = Authorizer::start(&Env::okta(&[&okta]).table(&table.endpoint)).await;
    assert!(from_table.invoke(good()).await.allows(&arn("GET /apps")));
    let told = sums(&metric_lines(&from_table.stop().await));
    assert_eq!(told["key_refreshes table ok"], 1, "{told:?}");
    assert!((1_000..1_030).contains(&told["keys_age_seconds"]), "{told:?}");
    assert!(!told.contains_key("key_refreshes okta ok"), "{told:?}");
}

#[tokio::test]
async fn a_failed_refresh_is_counted_for_whoever_failed() {
    let okta = Okta::start(Reply::status("503 Service Unavailable", "")).await;
    let authorizer = Authorizer::start(&Env::okta(&[&okta]).table(&closed_port().await)).await;
    assert!(authorizer.invoke(event(&keys::main().token(&claims_of(&okta.issuer())))).await.is_fault());
    let told = sums(&metric_lines(&authorizer.stop().await));
    assert_eq!(
        told,
        expected([
            ("key_refreshes table failed", 2), // at init, and for the call
            ("key_refreshes okta failed", 2),
            ("decisions fault", 1),
            ("faults KeysUnavailable", 1),
        ])
    );
}

#[tokio::test]
async fn lines_in_text_have_no_metrics_and_are_for_people() {
    for format in ["Text", ""] {
        let env = Env::pinned(&jwks(&[keys::main()])).with("AWS_LAMBDA_LOG_FORMAT", format);
        let authorizer = Authorizer::start(&env).await;
        authorizer.invoke(event_for(&bearer(&json!({})), &arn("GET /apps"))).await;
        let lines = authorizer.stop().await;
        let [line] = lines.as_slice() else { panic!("{lines:#?}") };
        assert!(line.contains(r#" INFO decision outcome="allow" reason="allowed" kid="main" uid="00uada""#), "{line}");
        assert!(line.contains(r#"method="GET" path="/apps""#) && !line.contains("_aws"), "{line}");
    }
}

#[tokio::test]
async fn the_decision_line_names_the_trace() {
    let authorizer = Authorizer::start(&Env::pinned(&jwks(&[keys::main()]))).await;
    authorizer.invoke(event("Basic eDp5")).await;
    let lines = metric_lines(&authorizer.stop().await);
    assert_eq!(lines[0]["xray_trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
}

#[tokio::test]
async fn what_a_call_waits_for_is_sent_to_x_rays_daemon() {
    let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let okta = Okta::start(Reply::status("503 Service Unavailable", "")).await;
    let env = Env::okta(&[&okta])
        .table(&closed_port().await)
        .with("AWS_XRAY_DAEMON_ADDRESS", daemon.local_addr().unwrap().to_string());
    let authorizer = Authorizer::start(&env).await; // without keys, and without a trace
    okta.answer(Reply::keys(&jwks(&[keys::main()])));
    assert!(authorizer.invoke(event(&keys::main().token(&claims_of(&okta.issuer())))).await.allows(&arn("GET /apps")));
    let lines = authorizer.stop().await;
    assert!(lines.iter().all(|line| serde_json::from_str::<Line>(line).is_ok()), "{lines:#?}");

    let mut buffer = vec![0; 65_536];
    for (name, failed) in [("DynamoDB keys table", true), ("Okta keys", false)] {
        let length = timeout(Duration::from_secs(10), daemon.recv(&mut buffer)).await.unwrap().unwrap();
        let datagram = std::str::from_utf8(&buffer[..length]).unwrap();
        let (header, segment) = datagram.split_once('\n').unwrap();
        assert_eq!(header, r#"{"format":"json","version":1}"#);
        let segment: Value = serde_json::from_str(segment).unwrap();
        assert_eq!((segment["name"].as_str(), segment["fault"].as_bool()), (Some(name), Some(failed)), "{segment}");
        assert_eq!(segment["trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!((&segment["parent_id"], &segment["type"]), (&json!("53995c3f42cd8ad8"), &json!("subsegment")));
        let id = segment["id"].as_str().unwrap();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let [start, end] = ["start_time", "end_time"].map(|name| segment[name].as_f64().unwrap());
        let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!(start <= end && (seconds - 60.0..=seconds).contains(&end), "{segment}");
    }
    assert!(daemon.try_recv(&mut buffer).is_err(), "the start has no trace, and is told nowhere");
}
