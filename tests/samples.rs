//! The sample events in `events/` get the decisions that their names promise, and `docs/operations.md` names
//! every reason in the log.

#![expect(clippy::unwrap_used, reason = "a test panics")]

use std::{fs, path::Path};

use okta_authorizer::{
    authorizer::Authorizer,
    config::Config,
    decision::{Fault, Outcome},
    https::{HttpsClient, TrustAnchors},
    policy::Verdict,
    token::Refusal,
};
use okta_authorizer_testkit::{RULES_FILE, keys};
use serde_json::value::RawValue;
use strum::VariantNames;

/// A time after the samples were made and before they expire in 2099.
const NOW: u64 = 1_800_000_000;

async fn outcome(name: &str) -> Outcome {
    // Not events/env.json, because a user may put own keys and rules there.
    let jwks = keys::jwks(&[keys::sample()]).to_string();
    let issuer = "https://example.okta.com/oauth2/default";
    let variables = [("OKTA_ISSUER", issuer), ("OKTA_JWKS", &jwks), ("POLICY_FILE", RULES_FILE)];
    let config = Config::load(variables, |path| fs::read(path)).unwrap();
    let event = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(name)).unwrap();
    let event: Box<RawValue> = serde_json::from_str(&event).unwrap();
    Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded)).decide(&event, NOW).await.outcome
}

#[tokio::test]
async fn good_sample_tokens_get_the_verdict_of_their_rules() {
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
        let Outcome::Evaluated(evaluated) = outcome(name).await else { panic!("{name} was refused") };
        assert_eq!(Verdict::name(&evaluated.verdict), verdict, "{name}");
    }
}

#[tokio::test]
async fn bad_sample_tokens_are_refused_for_their_own_reason() {
    for (name, reason) in [
        ("expired.json", "expired"),
        ("missing-token.json", "missing_token"),
        ("no-bearer.json", "not_bearer"),
        ("tampered.json", "bad_signature"),
        ("wrong-audience.json", "wrong_audience"),
    ] {
        let Outcome::Refused(refusal) = outcome(name).await else { panic!("{name} was accepted") };
        assert_eq!(refusal.name(), reason, "{name}");
    }
}

#[test]
fn every_sample_is_in_one_of_the_tables() {
    let samples = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("events")).unwrap();
    assert_eq!(samples.count(), 11 + 5 + 1, "add a row above for a new sample");
}

#[test]
fn operations_md_names_every_reason_in_the_log() {
    let names = [Refusal::VARIANTS, Fault::VARIANTS, Verdict::NAMES.as_slice()].concat();
    assert_eq!(names.len(), 24 + 4 + 4, "{names:?}");
    let page = include_str!("../docs/operations.md");
    let table = page.split("## Every reason by name").nth(1).unwrap().split("## ").next().unwrap();
    let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next()).collect();
    for name in names {
        assert!(rows.iter().any(|row| row.contains(&format!("`{name}`"))), "{name} is not in docs/operations.md");
    }
}
