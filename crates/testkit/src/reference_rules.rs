//! A second implementation of the rules language: slow, written from the documentation, and without
//! the authorizer's code.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Map, Value, json};

use crate::METHODS;

/// A rule as it is written in TOML.
#[derive(Clone, Debug)]
pub struct Rule {
    pub denies: bool,
    /// Claim names with their patterns. One of the patterns must match.
    pub when: Vec<(String, Vec<String>)>,
    /// `GET /tenants/{name}/*`.
    pub routes: Vec<String>,
}

/// Captured values by the capture's name.
pub type Bindings = BTreeMap<String, String>;

/// The TOML text of these rules.
pub fn toml(rules: &[Rule]) -> String {
    let mut toml = String::new();
    for rule in rules {
        toml += if rule.denies { "[[deny]]\n" } else { "[[allow]]\n" };
        for (claim, patterns) in &rule.when {
            let _ = writeln!(toml, "when.{} = {}", quoted(&json!(claim)), quoted(&json!(patterns)));
        }
        let _ = writeln!(toml, "routes = {}", quoted(&json!(rule.routes)));
    }
    toml
}

/// JSON as TOML. Strings have the same escapes, but TOML requires one for the DEL character.
fn quoted(json: &Value) -> String {
    json.to_string().replace('\u{7f}', "\\u007f")
}

/// Requests that a rule grants or denies.
#[derive(Debug, PartialEq)]
pub struct Scope {
    pub method: String,
    /// Literal, without wildcards. Ends with a slash if `includes_below` is set.
    pub path: String,
    /// Every path that starts with `path`.
    pub includes_below: bool,
}

impl Scope {
    /// Compares literally, because a claim value has no special characters.
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.method == method && if self.includes_below { path.starts_with(&self.path) } else { path == self.path }
    }
}

/// The meaning of rules for one token's claims.
#[derive(Debug, Default)]
pub struct Meaning {
    pub allow: Vec<Scope>,
    pub deny: Vec<Scope>,
    /// A Deny rule uses a claim value that cannot be used, so everything is denied.
    pub deny_all: bool,
}

impl Meaning {
    pub fn allows(&self, method: &str, path: &str) -> bool {
        self.grants(method, path) && !self.denies(method, path)
    }

    /// Whether an Allow rule covers the request. A Deny rule may still deny it.
    pub fn grants(&self, method: &str, path: &str) -> bool {
        self.allow.iter().any(|scope| scope.covers(method, path))
    }

    pub fn denies(&self, method: &str, path: &str) -> bool {
        self.deny_all || self.deny.iter().any(|scope| scope.covers(method, path))
    }
}

/// The meaning of valid rules for these claims. `None` if there are too many combinations for this
/// slow implementation.
pub fn read(rules: &[Rule], claims: &Map<String, Value>) -> Option<Meaning> {
    let mut meaning = Meaning::default();
    for rule in rules {
        rule.read(claims, &mut meaning)?;
    }
    Some(meaning)
}

impl Rule {
    fn read(&self, claims: &Map<String, Value>, meaning: &mut Meaning) -> Option<()> {
        const MAX_COMBINATIONS: usize = 1_000;
        let is_in_a_route = |name: &str| self.routes.iter().any(|route| route.contains(&format!("{{{name}}}")));
        let mut combinations = vec![Bindings::new()];
        let mut unusable = false;
        for (claim, patterns) in &self.when {
            let mut matched = Vec::new();
            let mut unusable_here = false;
            match values(claims, claim) {
                None => unusable_here = true,
                Some(values) => {
                    for (value, pattern) in pairs(&values, patterns) {
                        match &splits(pattern, value)[..] {
                            [] => {}
                            [bindings] => {
                                let mut used = bindings.clone();
                                used.retain(|name, _| is_in_a_route(name));
                                if used.values().all(|value| is_safe(value)) {
                                    matched.push(used);
                                } else {
                                    unusable_here = true;
                                }
                            }
                            // The value can be split in more than one way.
                            _ => unusable_here = true,
                        }
                    }
                }
            }
            if matched.is_empty() && !unusable_here {
                return Some(());
            }
            unusable |= unusable_here;
            if combinations.len() * matched.len() > MAX_COMBINATIONS {
                return None;
            }
            combinations = joined(&combinations, &matched);
        }
        meaning.deny_all |= self.denies && unusable;
        let scopes = if self.denies { &mut meaning.deny } else { &mut meaning.allow };
        for (bindings, route) in combinations.iter().flat_map(|one| self.routes.iter().map(move |route| (one, route))) {
            let (method, template) = route.split_once(' ').unwrap();
            let (above, includes_below) = template.strip_suffix("/*").map_or((template, false), |above| (above, true));
            let mut path = fill(above, bindings);
            if includes_below {
                path.push('/');
            }
            for method in METHODS.into_iter().filter(|one| method == "ANY" || method == *one) {
                scopes.push(Scope { method: method.to_owned(), path: path.clone(), includes_below });
            }
        }
        Some(())
    }

    /// Bindings of every match, also of values that cannot be used. A value that can be split in
    /// more than one way gives two of them.
    pub fn all_bindings(&self, claims: &Map<String, Value>) -> Vec<Bindings> {
        self.when.iter().fold(vec![Bindings::new()], |combinations, (claim, patterns)| {
            let values = values(claims, claim).unwrap_or_default();
            let matched: Vec<_> =
                pairs(&values, patterns).flat_map(|(value, pattern)| splits(pattern, value)).collect();
            joined(&combinations, &matched)
        })
    }
}

fn pairs<'p>(values: &'p [String], patterns: &'p [String]) -> impl Iterator<Item = (&'p String, &'p String)> {
    values.iter().flat_map(move |value| patterns.iter().map(move |pattern| (value, pattern)))
}

fn joined(combinations: &[Bindings], matched: &[Bindings]) -> Vec<Bindings> {
    let join = |one: &Bindings, other: &Bindings| one.clone().into_iter().chain(other.clone()).collect();
    combinations.iter().flat_map(|one| matched.iter().map(move |other| join(one, other))).collect()
}

/// `template` with every capture replaced by its value. A capture without a value stays as it is.
pub fn fill(template: &str, bindings: &Bindings) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        filled.push_str(before);
        match bindings.get(name) {
            Some(value) => filled.push_str(value),
            None => drop(write!(filled, "{{{name}}}")),
        }
        rest = after;
    }
    filled + rest
}

/// A claim as a list of strings. `None` if it is something else.
pub fn values(claims: &Map<String, Value>, claim: &str) -> Option<Vec<String>> {
    let present = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let strings = |items: &[Value]| items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    if claim == "scopes" {
        return match present("scp").or_else(|| present("scope")) {
            None => Some(Vec::new()),
            Some(Value::String(text)) => {
                Some(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
            }
            Some(Value::Array(items)) => strings(items),
            Some(_) => None,
        };
    }
    match present(claim) {
        None => Some(Vec::new()),
        Some(Value::String(text)) => Some(vec![text.clone()]),
        Some(Value::Array(items)) => strings(items),
        Some(Value::Object(_)) => None,
        Some(other) => Some(vec![other.to_string()]),
    }
}

/// The ways to split `value` by `pattern`, at most two of them. A capture takes one or more
/// characters.
fn splits(pattern: &str, value: &str) -> Vec<Bindings> {
    let Some(first) = pattern.chars().next() else {
        return if value.is_empty() { vec![Bindings::new()] } else { Vec::new() };
    };
    if first != '{' {
        return value.strip_prefix(first).map_or_else(Vec::new, |value| splits(&pattern[first.len_utf8()..], value));
    }
    let (name, rest) = pattern[1..].split_once('}').unwrap();
    let mut found = Vec::new();
    let ends = value.char_indices().skip(1).map(|(end, _)| end).chain((!value.is_empty()).then_some(value.len()));
    for (taken, left) in ends.map(|end| value.split_at(end)) {
        for mut bindings in splits(rest, left) {
            bindings.insert(name.to_owned(), taken.to_owned());
            found.push(bindings);
            if found.len() == 2 {
                return found;
            }
        }
    }
    found
}

/// Whether a captured value may be part of a resource.
fn is_safe(value: &str) -> bool {
    const SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~@+=,:!";
    (1..=128).contains(&value.len()) && value.chars().all(|c| SAFE.contains(c)) && value != "." && value != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> Rule {
        Rule {
            denies: false,
            when: vec![("tenants".to_owned(), vec!["{x}:{y}".to_owned()])],
            routes: vec!["GET /t/{y}/*".to_owned()],
        }
    }

    fn claims(claims: &Value) -> Map<String, Value> {
        claims.as_object().unwrap().clone()
    }

    #[test]
    fn rules_are_written_as_toml() {
        let expected = "[[allow]]\nwhen.\"tenants\" = [\"{x}:{y}\"]\nroutes = [\"GET /t/{y}/*\"]\n";
        assert_eq!(toml(&[tenants()]), expected);
    }

    #[test]
    fn a_rule_grants_exactly_its_routes() {
        let claims = claims(&json!({ "tenants": ["1:acme", "2:um/bra", "3:a:b", "4:.."] }));
        let meaning = read(&[tenants()], &claims).unwrap();
        for (method, path, expected) in [
            ("GET", "/t/acme/", true),
            ("GET", "/t/acme/x/y", true),
            ("PUT", "/t/acme/x", false),
            ("GET", "/t/acme", false),
            ("GET", "/t/um/bra/x", false),
            ("GET", "/t/b/x", false),
            ("GET", "/t/../x", false),
        ] {
            assert_eq!(meaning.allows(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_deny_rule_with_an_unusable_value_denies_everything() {
        let denies = || Rule { denies: true, ..tenants() };
        let usable = read(&[denies()], &claims(&json!({ "tenants": "1:acme" }))).unwrap();
        assert!(usable.denies("GET", "/t/acme/x") && !usable.denies("GET", "/other"));
        for tenants in [json!("2:um/bra"), json!("3:a:b"), json!("4:.."), json!({}), json!([7])] {
            let meaning = read(&[denies()], &claims(&json!({ "tenants": tenants }))).unwrap();
            assert!(meaning.denies("GET", "/other"), "{tenants}");
        }
    }

    #[test]
    fn captures_are_filled_once() {
        let bindings = Bindings::from([("a".to_owned(), "{b}".to_owned()), ("b".to_owned(), "x".to_owned())]);
        assert_eq!(fill("/{a}/{b}/{c}/}", &bindings), "/{b}/x/{c}/}");
    }
}
