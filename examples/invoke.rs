//! Runs TOKEN events through the library, and prints what the client of API Gateway would see: each
//! answer, then a table of all.
//!
//! ```text
//! cargo run --example invoke            # every events/*.json
//! cargo run --example invoke -- FILE…   # these events
//! ```
//!
//! The configuration is `events/env.json`, which `sam local invoke --env-vars` reads too. Variables
//! of the environment win over it, also if they are empty, so that you can try your own. An empty
//! `OKTA_JWKS` makes it fetch the keys of `OKTA_ISSUER`. No table is used.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Error, Result};
use okta_authorizer::{
    authorizer::Authorizer,
    config::Config,
    decision::Outcome,
    https::{HttpsClient, TrustAnchors},
    policy::Verdict,
};
use serde_json::value::RawValue;

const ENVIRONMENT: &str = include_str!("../events/env.json");
const USAGE: &str = "\
usage: cargo run --example invoke [-- FILE…]

Answers TOKEN events, each a file such as
  {\"type\": \"TOKEN\", \"authorizationToken\": \"Bearer eyJ…\", \"methodArn\": \"arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/hello/00u1\"}
Without FILE: every event in events/. The configuration is events/env.json; variables of the environment win over it.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let events: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    if events.iter().any(|argument| ["--help", "-h"].map(Path::new).contains(&argument.as_path())) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(events).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}"); // with its causes, in one line
            ExitCode::FAILURE
        }
    }
}

async fn run(mut events: Vec<PathBuf>) -> Result<()> {
    let files: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(ENVIRONMENT)?;
    let variables = files.get("Parameters").context("events/env.json has no \"Parameters\"")?;
    let defaults = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let config = Config::load(defaults.chain(env::vars_os()), |path| fs::read(path))?;
    let rules_file = config.policy_file.clone().unwrap_or_else(|| "policy.toml".to_owned());
    if config.keys_table.is_some() {
        eprintln!("KEYS_TABLE_NAME has no effect here: keys come from the issuer");
    }
    let trust_anchors = config.ca_bundle.as_deref().map_or(Ok(TrustAnchors::Embedded), TrustAnchors::from_pem);
    let https = HttpsClient::new(trust_anchors.map_err(Error::msg).context("SSL_CERT_FILE")?);
    let authorizer = Authorizer::new(config, None, &https);

    if events.is_empty() {
        events = samples()?;
    }
    let mut table = Vec::new();
    for file in events {
        let event = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let event: Box<RawValue> = serde_json::from_str(&event).with_context(|| file.display().to_string())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let decision = authorizer.decide(&event, now).await;
        let (status, reason) = status_and_reason(&decision.outcome, &rules_file);
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&file).display().to_string();
        println!("{name}: {status}, {reason}");
        match authorizer.respond(decision) {
            Ok(response) => println!("{}\n", serde_json::to_string_pretty(&response.typed_policy()?)?),
            Err(error) => println!("{}\n", serde_json::to_string(&error)?),
        }
        table.push((name, status, reason));
    }
    let width = table.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    println!("{:width$}  status  reason", "event");
    for (name, status, reason) in table {
        println!("{name:width$}  {status:<6}  {reason}");
    }
    Ok(())
}

fn samples() -> Result<Vec<PathBuf>> {
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

/// The HTTP status that the client sees, and the reason, which it does not see.
fn status_and_reason(outcome: &Outcome, rules_file: &str) -> (u16, String) {
    match outcome {
        Outcome::Refused(refusal) => (401, format!("{}: {refusal}", refusal.name())),
        Outcome::Fault(fault) => (500, format!("{}: {fault}", fault.name())),
        Outcome::Evaluated(evaluated) => match &evaluated.verdict {
            Verdict::Allowed { rule } => (200, format!("allowed by the rule `{rule}` of {rules_file}")),
            Verdict::DeniedByRule { rule } => (403, format!("denied by the rule `{rule}` of {rules_file}")),
            Verdict::PathGuard => (403, "denied by the path guard".to_owned()),
            Verdict::NotGranted => (403, "no rule grants it".to_owned()),
        },
    }
}
