//! The sample events say what their names promise.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]

use std::{fs, path::Path};

use okta_authorizer::{
    authorizer::{Authorizer, Outcome},
    config::Config,
    https::{HttpsClient, TrustAnchors},
    policy::Verdict,
    token::Refusal,
};
use serde_json::{Value, value::RawValue};

/// Any time after the samples were made and before they expire, in 2099.
const NOW: u64 = 1_800_000_000;

fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(name)).unwrap()
}

async fn outcome(name: &str) -> Outcome {
    let environment: Value = serde_json::from_str(&sample("env.json")).unwrap();
    let variable = |name: &str| Some(environment["Parameters"].get(name)?.as_str()?.into());
    let config = Config::load(variable, |path| fs::read_to_string(path)).unwrap();
    let event: Box<RawValue> = serde_json::from_str(&sample(name)).unwrap();
    Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded)).decide(&event, NOW).await.outcome
}

#[tokio::test]
async fn good_tokens_are_answered_as_their_rules_say() {
    for (name, verdict) in [
        ("machine-read.json", "allowed"),
        ("machine-write-with-read-scope.json", "not_granted"),
        ("machine-write.json", "allowed"),
        ("others-resource.json", "not_granted"),
        ("own-resource.json", "allowed"),
        ("scope-missing.json", "not_granted"),
        ("scope-present.json", "allowed"),
        ("superuser.json", "allowed"),
        ("tenant-admin-escaping.json", "path_guard"),
        ("tenant-admin-of-another.json", "not_granted"),
        ("tenant-admin.json", "allowed"),
    ] {
        let Outcome::Granted(granted) = outcome(name).await else { panic!("{name} was refused") };
        assert_eq!(Verdict::name(granted.verdict), verdict, "{name}");
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_for_their_own_reason() {
    for (name, reason) in [
        ("expired.json", Refusal::Expired),
        ("missing-token.json", Refusal::MissingToken),
        ("no-bearer.json", Refusal::NotBearer),
        ("tampered.json", Refusal::BadSignature),
        ("wrong-audience.json", Refusal::WrongAudience),
    ] {
        let Outcome::Refused(refusal) = outcome(name).await else { panic!("{name} was accepted") };
        assert_eq!(refusal, reason, "{name}");
    }
}

#[test]
fn every_sample_is_in_one_of_the_tables() {
    let samples = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("events")).unwrap();
    assert_eq!(samples.count(), 11 + 5 + 1, "a new sample wants a row above");
}

#[test]
fn every_name_that_the_log_gives_a_reason_is_in_the_readme() {
    let sources = [
        include_str!("../src/token/mod.rs"),
        include_str!("../src/authorizer.rs"),
        include_str!("../src/policy/document.rs"),
    ];
    let arms = sources.iter().flat_map(|source| source.lines()).filter_map(|line| line.split_once("=> \""));
    let names: Vec<_> = arms.filter_map(|(_, name)| name.strip_suffix("\",")).collect();
    assert_eq!(names.len(), 23 + 3 + 4, "{names:?}");
    let readme = include_str!("../README.md");
    let table = readme.split("### Every reason by name").nth(1).unwrap().split("###").next().unwrap();
    let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next()).collect();
    for name in names {
        assert!(rows.iter().any(|row| row.contains(&format!("`{name}`"))), "{name} is not in README.md");
    }
}
