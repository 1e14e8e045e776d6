//! Tests of a rules file: claims, and what a token with them may call and may not.

use okta_authorizer::policy::{Rules, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::{
    claims,
    route::{answer, requested, told},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Spanned<Case>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    claims: Map<String, Value>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

/// How the cases came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many routes were tried.
    pub tried: usize,
    /// One line for each that did not come out as expected.
    pub failures: Vec<String>,
}

/// Tries every case on the rules. An error says what is wrong with the cases themselves, and on which line.
pub fn run(rules: &Rules, toml: &str) -> Result<Outcome, String> {
    let line = |at: usize| 1 + toml.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let file: File = toml::from_str(toml).map_err(|error| {
        format!("line {}: {}", line(error.span().unwrap_or_default().start), error.message().replace('\n', " "))
    })?;
    let mut outcome = Outcome::default();
    for case in file.case {
        let at = line(case.span().start);
        let case = case.into_inner();
        let wrong = |reason: String| format!("line {at}: the case \"{}\": {reason}", case.name);
        if case.allow.is_empty() && case.deny.is_empty() {
            return Err(wrong("expects nothing; give `allow` or `deny` a request such as `GET /apps`".to_owned()));
        }
        let claims = claims::proven(case.claims.clone()).map_err(wrong)?;
        let expected = case.allow.iter().map(|route| (route, true)).chain(case.deny.iter().map(|route| (route, false)));
        for (route, expected) in expected {
            let requested = requested(route).map_err(wrong)?;
            let verdict = answer(&rules.grants(&claims, &requested), &requested).verdict;
            outcome.tried += 1;
            if matches!(verdict, Verdict::Allowed { .. }) != expected {
                let expected = if expected { "allowed" } else { "denied" };
                let found = told(verdict);
                outcome.failures.push(wrong(format!("{route} should be {expected}, and is {found}")));
            }
        }
    }
    Ok(outcome)
}
