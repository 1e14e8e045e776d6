//! Runs TOKEN events through the library on embedded defaults, and prints what API Gateway's client would see.
//!
//! ```text
//! cargo run --example invoke            # every events/*.json
//! cargo run --example invoke -- FILE…   # those given
//! ```
//!
//! The configuration is `events/env.json`, which `sam local invoke --env-vars` takes as well.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use okta_authorizer::{
    authorizer::{Authorizer, Outcome},
    config::Config,
    https::{HttpsClient, TrustAnchors},
    policy::Verdict,
};
use serde_json::value::RawValue;

const ENVIRONMENT: &str = include_str!("../events/env.json");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let files: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(ENVIRONMENT)?;
    let variables = files.get("Parameters").ok_or("events/env.json has no \"Parameters\"")?;
    let config = Config::load(|name| variables.get(name).map(Into::into), |path| fs::read_to_string(path))?;
    let authorizer = Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded));

    let mut events: Vec<PathBuf> = env::args().skip(1).map(PathBuf::from).collect();
    if events.is_empty() {
        events = samples()?;
    }
    for file in events {
        let event = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let event: Box<RawValue> =
            serde_json::from_str(&event).map_err(|error| format!("{}: {error}", file.display()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let decision = authorizer.decide(&event, now).await;
        let (status, why) = as_the_client_sees_it(&decision.outcome);
        println!("{}: {status}, {why}", file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file).display());
        match authorizer.answer(decision) {
            Ok(response) => println!("{}\n", serde_json::to_string_pretty(&response.policy_document.parsed()?)?),
            Err(error) => println!("{}\n", serde_json::to_string(&error)?),
        }
    }
    Ok(())
}

fn samples() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let mut events = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "json") && !file.ends_with("env.json") {
            events.push(file);
        }
    }
    events.sort();
    Ok(events)
}

fn as_the_client_sees_it(outcome: &Outcome) -> (u16, String) {
    match outcome {
        Outcome::Refused(refusal) => (401, format!("{}: {refusal}", refusal.name())),
        Outcome::Fault(fault) => (500, format!("{}: {fault}", fault.name())),
        Outcome::Granted(granted) => match granted.verdict {
            Verdict::Allowed { rule } => (200, format!("allowed by the rule on line {rule} of policy.toml")),
            Verdict::DeniedByRule { rule } => (403, format!("denied by the rule on line {rule} of policy.toml")),
            Verdict::PathGuard => (403, "denied by the path guard".to_owned()),
            Verdict::NotGranted => (403, "no rule grants it".to_owned()),
        },
    }
}
