//! What the process logs at start, and the level of each line.

use std::{collections::BTreeSet, fs, process::Command};

use okta_authorizer_testkit::{
    RULES_FILE,
    env::{Env, PINNED_ISSUER},
    event, event_for,
    keys::{self, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    table::{TABLE, Table, closed_port, item},
    temp_file::TempFile,
    token::claims_of,
};
use serde_json::{Map, Value, json};

use crate::pinned;

type Line = Map<String, Value>;

/// The lines of a process that starts and gets these events.
async fn lines(env: &Env, events: &[String]) -> Vec<String> {
    let authorizer = Authorizer::start(env).await;
    for event in events {
        authorizer.invoke(event.clone()).await;
    }
    authorizer.stop().await
}

/// The first line of a process, in JSON.
async fn first_line(env: &Env) -> Line {
    serde_json::from_str(&lines(env, &[]).await.remove(0)).unwrap()
}

#[tokio::test]
async fn the_first_line_says_what_runs_with_which_settings() {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let table = Table::start().await;
    let rules = TempFile::new("rules.toml", "[[allow]]\nroutes = [\"GET /x\"]\n");
    let sum = |file: &str| {
        let output = Command::new("sha256sum").arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    };
    let path = rules.path().to_str().unwrap();
    let package = concat!(env!("CARGO_TARGET_TMPDIR"), "/package");
    let packaged = format!("{package}/policy.toml");
    fs::create_dir_all(package).unwrap();
    fs::write(&packaged, "[[allow]]\nroutes = [\"GET /packaged\"]\n").unwrap();
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/policy.toml");
    let (url, of_okta) = (okta.keys_endpoint(), Env::okta(&[&okta]));
    for (env, expected) in [
        (pinned(), json!({ "issuers": [PINNED_ISSUER], "keys_source": "pinned", "policy_file": RULES_FILE })),
        (
            of_okta.clone().with("POLICY_FILE", path),
            json!({ "issuers": [okta.issuer()], "keys_source": "okta", "keys_endpoints": [url], "policy_file": path }),
        ),
        (
            pinned().without("POLICY_FILE").with("LAMBDA_TASK_ROOT", package),
            json!({ "issuers": [PINNED_ISSUER], "keys_source": "pinned", "policy_file": packaged }),
        ),
        (
            of_okta.table(&table.endpoint).without("POLICY_FILE"),
            json!({
                "issuers": [okta.issuer()], "keys_source": "table", "keys_table": TABLE,
                "keys_endpoints": [url], "policy_file": "policy.toml, compiled in",
            }),
        ),
    ] {
        let mut line = first_line(&env).await;
        let mut text = |name: &str| line.remove(name).unwrap().as_str().unwrap().to_owned();
        assert_eq!((&*text("level"), &*text("message")), ("INFO", "started"));
        assert_eq!(text("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(text("function_name"), "okta-authorizer");
        let commit = text("commit");
        let hash = commit.strip_suffix("-dirty").unwrap_or(&commit);
        let is_hash = hash.len() >= 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        // `.ci/run` names the commit for the binary that is deployed.
        let is_deployed = std::env::var_os("BOOTSTRAP").is_some();
        assert!(is_hash || (commit == "unknown" && !is_deployed), "{commit}");
        let file = expected["policy_file"].as_str().filter(|file| file.contains('/')).unwrap_or(embedded);
        assert_eq!(text("policy_sha256"), sum(file), "{file}");
        text("timestamp");
        assert_eq!(Value::Object(line), expected);
    }
}

#[tokio::test]
async fn the_format_and_the_level_are_read_in_any_case() {
    for (format, is_json) in
        [("JSON", true), ("json", true), ("Json", true), ("Text", false), ("TEXT", false), ("", false)]
    {
        let env = pinned().with("AWS_LAMBDA_LOG_FORMAT", format);
        let [line] = &lines(&env, &[]).await[..] else { panic!("{format}: not one line") };
        assert_eq!(serde_json::from_str::<Line>(line).is_ok(), is_json, "{format}: {line}");
        let start = format!(r#" INFO started version="{}" commit=""#, env!("CARGO_PKG_VERSION"));
        let issuers =
            format!(r#" issuers=["{PINNED_ISSUER}"] keys_source="pinned" policy_file="{RULES_FILE}" policy_sha256=""#);
        assert!(is_json || (line.contains(&start) && line.contains(&issuers)), "{format}: {line}");
    }
    for (level, count) in [("INFO", 1), ("info", 1), ("Debug", 1), ("trace", 1), ("WARN", 0), ("warn", 0), ("Fatal", 0)]
    {
        assert_eq!(lines(&pinned().with("AWS_LAMBDA_LOG_LEVEL", level), &[]).await.len(), count, "{level}");
    }
}

/// What identifies a line: its fields if they are promised, else its message.
fn name(line: &Line) -> String {
    let text = |name: &str| line.get(name).and_then(Value::as_str);
    match (text("keys_source"), text("result"), text("outcome")) {
        (Some(source), Some(result), _) => format!("{source} {result}"),
        (_, _, Some(outcome)) => outcome.to_owned(),
        _ => text("message").unwrap().chars().take(25).collect(),
    }
}

/// The names and levels of all lines at this level.
async fn names_and_levels(level: &str) -> BTreeSet<(String, String)> {
    let okta = Okta::start(Reply::keys(&jwks(&[keys::main()]))).await;
    let broken = Okta::start(Reply::status("503 Service Unavailable", "")).await;
    let table = Table::start().await;
    table.put(&item(&okta.keys_endpoint(), &jwks(&[keys::main()]), now(), 100));
    let good = keys::sample().token(&claims_of(PINNED_ISSUER));
    let events = [event("Bearer x"), event(&good), event_for(&good, "arn:aws:nonsense")];
    let mut all = BTreeSet::new();
    for (env, events) in [
        (Env::pinned(&jwks(&[keys::sample()])), &events[..]),
        (Env::okta(&[&okta]).table(&closed_port().await), &[]),
        (Env::okta(&[&okta]).table(&table.endpoint), &[]),
        (Env::okta(&[&broken]), &[]),
    ] {
        let lines = lines(&env.with("AWS_LAMBDA_LOG_LEVEL", level), events).await;
        let objects: Vec<_> = lines.iter().map(|line| serde_json::from_str::<Line>(line).unwrap()).collect();
        for line in &objects {
            let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
            assert_eq!((text("function_name"), text("timestamp").len()), ("okta-authorizer", 27), "{line:?}");
        }
        all.extend(
            objects.iter().map(|line| (name(line), line.get("level").and_then(Value::as_str).unwrap().to_owned())),
        );
    }
    all
}

#[tokio::test]
async fn each_line_has_its_level_and_is_written_from_there_on() {
    let expected = [
        ("started", "INFO"),
        ("OKTA_JWKS has the public s", "WARN"),
        ("allow", "INFO"),
        ("refused", "INFO"),
        ("fault", "ERROR"),
        ("okta ok", "INFO"),
        ("okta failed", "WARN"),
        ("table ok", "INFO"),
        ("table failed", "WARN"),
    ];
    for (level, written) in [
        ("TRACE", ["INFO", "WARN", "ERROR"].as_slice()),
        ("INFO", &["INFO", "WARN", "ERROR"]),
        ("WARN", &["WARN", "ERROR"]),
        ("ERROR", &["ERROR"]),
        ("FATAL", &[]),
    ] {
        let expected = expected.iter().filter(|(_, level)| written.contains(level));
        let expected = expected.map(|(name, level)| (name.chars().take(25).collect(), (*level).to_owned())).collect();
        assert_eq!(names_and_levels(level).await, expected, "{level}");
    }
}

#[tokio::test]
async fn the_public_sample_key_is_a_warning_outside_of_sam_local() {
    let sample = |kid: &'static str| Env::pinned(&jwks(&[keys::main(), keys::sample().named(kid)]));
    for (env, is_warned) in [
        (sample("sample"), true),
        (sample("another-kid"), true),
        (sample("sample").with("AWS_SAM_LOCAL", "false"), true),
        (sample("sample").with("AWS_SAM_LOCAL", "true"), false),
        (Env::pinned(&jwks(&[keys::main().named("sample")])), false),
    ] {
        let lines = lines(&env, &[]).await;
        let is_warning =
            |line: &&String| line.contains(r#""level":"WARN""#) && line.contains("anybody can sign with it");
        let count = lines.iter().filter(is_warning).count();
        assert_eq!((count, lines.len()), (usize::from(is_warned), 1 + usize::from(is_warned)), "{lines:#?}");
    }
}
