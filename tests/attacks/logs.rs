//! What the log shows of attacks: no secret, and no line that a caller wrote.

use std::collections::BTreeSet;

use okta_authorizer_testkit::{
    arn,
    env::Env,
    event, event_for,
    keys::{self, jwks},
    token::{claims, token},
};
use serde_json::{Value, json};

use crate::over_the_wire::Run;

/// Checks every line that the binary wrote during these runs. Returns how many parts of tokens it
/// has searched for.
pub fn check_log<'a>(runs: impl Iterator<Item = &'a Run>) -> usize {
    let (mut log, mut parts) = (String::new(), BTreeSet::new());
    for run in runs {
        for line in &run.lines {
            assert!(line.chars().all(|c| matches!(c, ' '..='~' | '…')), "{line}");
            log.extend([line, "\n"]);
        }
        for event in &run.events {
            let event: Value = serde_json::from_str(event).unwrap_or_default();
            let token = event["authorizationToken"].as_str().unwrap_or_default();
            let is_digit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            // No line may contain the first 40 characters of a part.
            let starts = token.split(|c| !is_digit(c)).filter_map(|part| part.get(..40));
            parts.extend(starts.map(str::to_owned));
        }
    }
    assert!(!log.contains(claims()["sub"].as_str().unwrap()), "a sub");
    assert!(!log.contains("authorizationToken"), "an event");
    let logged: Vec<_> = parts.iter().filter(|part| log.contains(part.as_str())).collect();
    assert!(logged.is_empty(), "{logged:#?}");
    parts.len()
}

/// Characters that would change how a line reads. All of them must be escaped.
const UNPRINTABLE: [&str; 12] = [
    "\u{202e}",
    "\u{2066}",
    "\u{200f}",
    "\u{200b}",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\u{1b}[2K",
    "\r\n",
    "\0",
    "\u{7f}",
    "\u{1f600}",
];

#[tokio::test]
async fn no_text_of_a_caller_can_forge_a_line() {
    let good = token(&json!({}));
    let mut events = Vec::new();
    for unprintable in UNPRINTABLE {
        let text = format!("x{unprintable}{{\"outcome\":\"allow\"}}");
        let header = json!({ "alg": "RS256", "kid": text }).to_string();
        events.extend([
            event(&token(&json!({ "uid": text, "cid": text, "jti": text }))),
            event_for(&good, &arn(&format!("GET /apps/{text}"))),
            event_for(&good, &arn(&format!("DELETE /apps/{text}"))),
            event_for(&good, &text),
            event(&keys::main().sign(header, claims().to_string())),
        ]);
    }
    let run = Run::send(&Env::pinned(&jwks(&[keys::main()])), events).await;
    let decisions = run.decisions();
    let outcomes: BTreeSet<_> = decisions.iter().filter_map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, BTreeSet::from(["allow", "deny", "fault", "refused"]));
    assert!(check_log(std::iter::once(&run)) > 0);
}
