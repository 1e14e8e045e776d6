//! The tables through the library. The time is an argument here, so the limits can be exact.

use std::fs;

use futures_util::FutureExt;
use okta_authorizer::{
    authorizer::Authorizer,
    config::{Config, ConfigError},
    decision::{Decision, Outcome},
    https::{HttpsClient, TrustAnchors},
    token::Refusal,
};
use okta_authorizer_testkit::{
    Failures,
    env::Env,
    event,
    keys::{self, jwks},
};
use serde_json::value::RawValue;

use crate::table::{good_claims, tables};

pub const NOW: u64 = 1_800_000_000;

/// A configuration with pinned keys. `rules` replaces the rules file.
pub fn config(env: &Env, rules: Option<&str>) -> Result<Config, ConfigError> {
    let read = |path: &str| rules.map_or_else(|| fs::read(path), |rules| Ok(rules.as_bytes().to_vec()));
    Config::load(env.iter(), read)
}

/// An authorizer with this configuration.
pub fn authorizer(env: &Env, rules: Option<&str>) -> Result<Authorizer, ConfigError> {
    config(env, rules).map(of_config)
}

pub fn of_config(config: Config) -> Authorizer {
    Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded))
}

/// The decision about any JSON.
pub fn decide(authorizer: &Authorizer, event: &str, now: u64) -> Decision {
    let payload: Box<RawValue> = serde_json::from_str(event).unwrap();
    authorizer.decide(&payload, now).now_or_never().expect("pinned keys need no network")
}

/// The outcome as the rows write it.
pub fn written(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Evaluated(evaluated) => evaluated.verdict.name().to_owned(),
        Outcome::Fault(fault) => fault.name().to_owned(),
        Outcome::Refused(refusal) => match refusal {
            Refusal::BadBase64 { part } | Refusal::BadJson { part } => format!("{} {part}", refusal.name()),
            Refusal::MissingClaim { claim } | Refusal::WrongClaimType { claim } => {
                format!("{} {claim}", refusal.name())
            }
            Refusal::TooLong { bytes } => format!("{} {bytes}", refusal.name()),
            _ => refusal.name().to_owned(),
        },
    }
}

#[test]
fn every_attack_is_refused_and_every_control_allowed() {
    let mut failures = Failures::default();
    let mut count = 0;
    for table in tables() {
        let authorizer = authorizer(&table.env, None).unwrap();
        for row in table.rows(NOW) {
            count += 1;
            for (event, expected) in [(&row.attack, &*row.reason), (&row.control, "allowed")] {
                let outcome = written(&decide(&authorizer, event, row.now.unwrap_or(NOW)).outcome);
                failures.check(outcome == expected, || format!("{}: {row}: {outcome}, not {expected}", table.name));
            }
        }
    }
    failures.report();
    assert!(count >= 1_395, "only {count} rows are left");
}

#[test]
fn no_bit_of_a_token_can_be_changed() {
    let good = keys::main().token(&good_claims(NOW));
    let authorizer = authorizer(&Env::pinned(&jwks(&[keys::main(), keys::second()])), None).unwrap();
    let mut failures = Failures::default();
    for at in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let outcome = decide(&authorizer, &event(&String::from_utf8(bytes).unwrap()), NOW).outcome;
            let refused = matches!(outcome, Outcome::Refused(_));
            failures.check(refused, || format!("bit {bit} of byte {at}: {}", written(&outcome)));
        }
    }
    failures.report();
}
