//! A case of rules, claims and requests.
//!
//! A case is text with one item per line, so that most mutations of a case are also cases:
//!
//! ```text
//! allow tenants={id}:{name}:{group} scopes=a|b > GET /tenants/{name}/* > PUT /idps/{id}
//! deny groups=SUSPENDED > ANY /*
//! tenants: 0oa1:acme:00g1 | 0oa2:umbra:00g2     a claim: a string, or with ` | ` several strings
//! level:= 7                                     a claim as JSON
//! ? GET/tenants/acme/domains                    a request; the policy is made for the first one
//! max 2048                                      POLICY_MAX_BYTES
//! guard off                                     PATH_GUARD
//! ```

use okta_authorizer_testkit::reference_rules::{Meaning, Rule, read, values};
use serde_json::{Map, Value, json};

pub struct Case<'t> {
    pub rules: Vec<Rule>,
    pub claims: Map<String, Value>,
    pub requests: Vec<&'t str>,
    pub max_bytes: usize,
    pub path_guard: bool,
}

impl<'t> Case<'t> {
    pub fn parse(text: &'t str) -> Self {
        let mut case =
            Self { rules: Vec::new(), claims: Map::new(), requests: Vec::new(), max_bytes: 32_768, path_guard: true };
        for line in text.lines().take(40) {
            if let Some(text) = line.strip_prefix("allow") {
                case.rules.push(rule(false, text));
            } else if let Some(text) = line.strip_prefix("deny") {
                case.rules.push(rule(true, text));
            } else if let Some(request) = line.strip_prefix("? ") {
                case.requests.push(request);
            } else if let Some(bytes) = line.strip_prefix("max ") {
                case.max_bytes = bytes.parse().unwrap_or(32_768).clamp(1_024, 1_048_576);
            } else if line == "guard off" {
                case.path_guard = false;
            } else if let Some((name, json)) = line.split_once(":= ") {
                case.claims.insert(name.to_owned(), serde_json::from_str(json).unwrap_or(Value::Null));
            } else if let Some((name, values)) = line.split_once(": ") {
                let values: Vec<_> = values.split(" | ").collect();
                let value = if let [value] = values[..] { json!(value) } else { json!(values) };
                case.claims.insert(name.to_owned(), value);
            }
        }
        case
    }

    /// What the rules say about the claims. The rules must be valid. `None` if that would take too
    /// long.
    pub fn meaning(&self) -> Option<Meaning> {
        const MAX_VALUES: usize = 16;
        const MAX_VALUE_LENGTH: usize = 140;
        const MAX_CAPTURES: usize = 3;
        for (claim, patterns) in self.rules.iter().flat_map(|rule| &rule.when) {
            let values = values(&self.claims, claim).unwrap_or_default();
            let is_long = values.iter().any(|value| value.chars().count() > MAX_VALUE_LENGTH);
            let is_complex = patterns.iter().any(|pattern| pattern.matches('{').count() > MAX_CAPTURES);
            if values.len() > MAX_VALUES || is_long || is_complex {
                return None;
            }
        }
        read(&self.rules, &self.claims)
    }
}

fn rule(denies: bool, text: &str) -> Rule {
    let mut parts = text.split(" > ");
    let conditions = parts.next().unwrap_or_default().split(' ').filter_map(|text| text.split_once('='));
    let mut when: Vec<(String, Vec<String>)> = Vec::new();
    for (claim, patterns) in conditions {
        if when.iter().all(|(known, _)| known != claim) {
            when.push((claim.to_owned(), patterns.split('|').map(str::to_owned).collect()));
        }
    }
    Rule { denies, when, routes: parts.map(str::to_owned).collect() }
}
