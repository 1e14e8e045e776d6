//! A case of rules, claims and requests.
//!
//! A case is text with one item per line, so that most mutations of a case are also cases:
//!
//! ```text
//! allow tenants={id}:{name}:{group} scopes=a|b > GET /tenants/{name}/* > PUT /idps/{id}
//! deny groups=SUSPENDED > ANY /*
//! allow scopes&=a|b uid+ dept- > GET /a         all of them; a claim is there; a claim is not there
//! allow @prod @test #a1b2c3 !name > GET /a      stages, APIs and the rule's name
//! tenants: 0oa1:acme:00g1 | 0oa2:umbra:00g2     a claim: a string, or with ` | ` several strings
//! level:= 7                                     a claim as JSON
//! ? GET/tenants/acme/domains                    a request; the policy is made for the first one
//! max 2048                                      POLICY_MAX_BYTES
//! guard off                                     PATH_GUARD
//! ```
//!
//! Every request is to the API `a1b2c3` and its stage `prod`.

use okta_authorizer_testkit::reference_rules::{Condition, Meaning, Rule, read, values};
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
        const MAX_PATTERNS: usize = 4;
        const MAX_CAPTURES: usize = 3;
        const MAX_ROUTES: usize = 8;
        const MAX_BYTES: usize = 30_000;
        let captures = |text: &String| text.matches('{').count();
        for rule in &self.rules {
            if rule.routes.len() > MAX_ROUTES || rule.routes.iter().any(|route| captures(route) > MAX_CAPTURES) {
                return None;
            }
            for (claim, condition) in &rule.when {
                let (Condition::Any(patterns) | Condition::All(patterns)) = condition else { continue };
                let values = values(&self.claims, claim).unwrap_or_default();
                let is_long = values.iter().any(|value| value.chars().count() > MAX_VALUE_LENGTH);
                let is_complex = patterns.iter().any(|pattern| captures(pattern) > MAX_CAPTURES);
                if values.len() > MAX_VALUES || is_long || is_complex || patterns.len() > MAX_PATTERNS {
                    return None;
                }
            }
        }
        read(&self.rules, &self.claims, "a1b2c3", "prod").filter(|meaning| meaning.bytes() <= MAX_BYTES)
    }
}

fn rule(denies: bool, text: &str) -> Rule {
    let mut parts = text.split(" > ");
    let mut rule = Rule { denies, ..Rule::default() };
    for part in parts.next().unwrap_or_default().split(' ') {
        if let Some(stage) = part.strip_prefix('@') {
            rule.stage.push(stage.to_owned());
        } else if let Some(api) = part.strip_prefix('#') {
            rule.api.push(api.to_owned());
        } else if let Some(name) = part.strip_prefix('!') {
            rule.name = Some(name.to_owned());
        } else if let Some((claim, condition)) = condition(part)
            && rule.when.iter().all(|(known, _)| known != claim)
        {
            rule.when.push((claim.to_owned(), condition));
        }
    }
    rule.routes = parts.map(str::to_owned).collect();
    rule
}

fn condition(text: &str) -> Option<(&str, Condition)> {
    if let Some((claim, patterns)) = text.split_once('=') {
        let patterns = patterns.split('|').map(str::to_owned).collect();
        return Some(match claim.strip_suffix('&') {
            Some(claim) => (claim, Condition::All(patterns)),
            None => (claim, Condition::Any(patterns)),
        });
    }
    let present = |claim| (claim, Condition::Present(true));
    text.strip_suffix('+').map(present).or_else(|| Some((text.strip_suffix('-')?, Condition::Present(false))))
}
