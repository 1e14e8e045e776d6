//! The rules read a second time: slowly, from the README's words, and without a look at the authorizer's own code.
//!
//! A case is text, so that a mutation of it is still a case, line by line:
//!
//! ```text
//! allow tenants={id}:{name}:{group} scopes=a|b > GET /tenants/{name}/* > PUT /idps/{id}
//! deny groups=SUSPENDED > ANY /*
//! tenants: 0oa1:acme:00g1 | 0oa2:umbra:00g2       a claim: a string, or with a `|` an array of strings
//! level:= 7                                       a claim as JSON
//! ? GET/tenants/acme/domains                      a request; the first is the one that the policy is made for
//! max 2048                                        POLICY_MAX_BYTES
//! guard off                                       PATH_GUARD
//! ```

use std::fmt::Write;

use serde_json::{Map, Value, json};

pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

pub struct Case<'t> {
    pub rules: Vec<Rule<'t>>,
    pub claims: Map<String, Value>,
    pub requests: Vec<&'t str>,
    pub max_bytes: usize,
    pub guarded: bool,
}

pub struct Rule<'t> {
    pub denies: bool,
    pub when: Vec<(&'t str, Vec<&'t str>)>,
    pub routes: Vec<&'t str>,
}

/// What one rule grants or denies: a method, a path without any wildcard in it, and whether every path below it is meant.
#[derive(Debug, PartialEq)]
pub struct Meant {
    pub method: String,
    pub path: String,
    pub and_below: bool,
}

impl Meant {
    /// Compares literally: a claim's value means its own characters and nothing else.
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.method == method && if self.and_below { path.starts_with(&self.path) } else { path == self.path }
    }
}

#[derive(Debug, Default)]
pub struct Reading {
    pub allow: Vec<Meant>,
    pub deny: Vec<Meant>,
    pub deny_all: bool,
}

impl<'t> Case<'t> {
    pub fn parse(text: &'t str) -> Self {
        let mut case =
            Self { rules: Vec::new(), claims: Map::new(), requests: Vec::new(), max_bytes: 32_768, guarded: true };
        for line in text.lines().take(40) {
            if let Some(rule) = line.strip_prefix("allow") {
                case.rules.push(Rule::parse(false, rule));
            } else if let Some(rule) = line.strip_prefix("deny") {
                case.rules.push(Rule::parse(true, rule));
            } else if let Some(request) = line.strip_prefix("? ") {
                case.requests.push(request);
            } else if let Some(bytes) = line.strip_prefix("max ") {
                case.max_bytes = bytes.parse().unwrap_or(32_768).clamp(1_024, 1_048_576);
            } else if line == "guard off" {
                case.guarded = false;
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

    /// The rules as TOML.
    pub fn toml(&self) -> String {
        let mut toml = String::new();
        for rule in &self.rules {
            toml += if rule.denies { "[[deny]]\n" } else { "[[allow]]\n" };
            for (claim, any_of) in &rule.when {
                let _ = writeln!(toml, "when.{} = {}", json!(claim), json!(any_of));
            }
            let _ = writeln!(toml, "routes = {}", json!(rule.routes));
        }
        toml
    }

    /// What the rules say about the claims; the rules must be good ones. `None` where there is too much to read slowly.
    pub fn read(&self) -> Option<Reading> {
        let mut reading = Reading::default();
        for rule in &self.rules {
            rule.read(&self.claims, &mut reading)?;
        }
        Some(reading)
    }
}

impl<'t> Rule<'t> {
    fn parse(denies: bool, text: &'t str) -> Self {
        let mut parts = text.split(" > ");
        let conditions = parts.next().unwrap_or_default().split(' ').filter_map(|text| text.split_once('='));
        let mut when: Vec<(&str, Vec<&str>)> = Vec::new();
        for (claim, patterns) in conditions {
            if when.iter().all(|(known, _)| *known != claim) {
                when.push((claim, patterns.split('|').collect()));
            }
        }
        Self { denies, when, routes: parts.collect() }
    }

    fn read(&self, claims: &Map<String, Value>, reading: &mut Reading) -> Option<()> {
        const MOST_VALUES: usize = 16;
        const LONGEST_VALUE: usize = 140;
        const MOST_CAPTURES: usize = 3;
        const MOST_WAYS: usize = 1_000;
        let named = |name: &str| self.routes.iter().any(|route| route.contains(&format!("{{{name}}}")));
        let mut ways: Vec<Vec<(String, String)>> = vec![Vec::new()];
        let mut lost = false;
        for (claim, any_of) in &self.when {
            let mut found = Vec::new();
            let mut lost_here = false;
            match values(claims, claim) {
                None => lost_here = true,
                Some(values) => {
                    let captures = any_of.iter().map(|pattern| pattern.matches('{').count()).max().unwrap_or_default();
                    let long = values.iter().any(|value| value.chars().count() > LONGEST_VALUE);
                    if values.len() > MOST_VALUES || long || captures > MOST_CAPTURES {
                        return None;
                    }
                    for (value, pattern) in values.iter().flat_map(|value| any_of.iter().map(move |p| (value, p))) {
                        match &splits(&pattern.chars().collect::<Vec<_>>(), &value.chars().collect::<Vec<_>>())[..] {
                            [] => {}
                            [split] => {
                                let used: Vec<_> = split.iter().filter(|(name, _)| named(name)).cloned().collect();
                                if used.iter().all(|(_, value)| is_plain(value)) {
                                    found.push(used);
                                } else {
                                    lost_here = true;
                                }
                            }
                            _ => lost_here = true,
                        }
                    }
                }
            }
            if found.is_empty() && !lost_here {
                return Some(());
            }
            lost |= lost_here;
            ways = ways.iter().flat_map(|way| found.iter().map(|more| [&way[..], more].concat())).collect();
            if ways.len() > MOST_WAYS {
                return None;
            }
        }
        reading.deny_all |= self.denies && lost;
        let meant = if self.denies { &mut reading.deny } else { &mut reading.allow };
        for (way, route) in ways.iter().flat_map(|way| self.routes.iter().map(move |route| (way, route))) {
            let (method, template) = route.split_once(' ').unwrap();
            let (above, and_below) = template.strip_suffix("/*").map_or((template, false), |above| (above, true));
            let mut path = above.to_owned();
            for (name, value) in way {
                // No value has a brace, so none is filled in twice.
                path = path.replace(&format!("{{{name}}}"), value);
            }
            if and_below {
                path.push('/');
            }
            for method in METHODS.into_iter().filter(|known| method == "ANY" || method == *known) {
                meant.push(Meant { method: method.to_owned(), path: path.clone(), and_below });
            }
        }
        Some(())
    }
}

/// A claim as a list of strings; `None` where it is something else.
fn values(claims: &Map<String, Value>, claim: &str) -> Option<Vec<String>> {
    let present = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let strings = |items: &[Value]| items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    if claim == "scopes" {
        return match present("scp").or_else(|| present("scope")) {
            None => Some(Vec::new()),
            Some(Value::String(text)) => Some(text.split_ascii_whitespace().map(str::to_owned).collect()),
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

/// Every way to split the value, two at most.
fn splits(pattern: &[char], value: &[char]) -> Vec<Vec<(String, String)>> {
    let Some((first, rest)) = pattern.split_first() else {
        return if value.is_empty() { vec![Vec::new()] } else { Vec::new() };
    };
    if *first != '{' {
        return if value.first() == Some(first) { splits(rest, &value[1..]) } else { Vec::new() };
    }
    let end = rest.iter().position(|c| *c == '}').unwrap();
    let name: String = rest[..end].iter().collect();
    let mut ways = Vec::new();
    for taken in 1..=value.len() {
        for mut way in splits(&rest[end + 1..], &value[taken..]) {
            way.insert(0, (name.clone(), value[..taken].iter().collect()));
            ways.push(way);
            if ways.len() == 2 {
                return ways;
            }
        }
    }
    ways
}

fn is_plain(value: &str) -> bool {
    const PLAIN: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~@+=,:!";
    (1..=128).contains(&value.len()) && value.chars().all(|c| PLAIN.contains(c)) && value != "." && value != ".."
}

/// A path as a backend may read it that decodes percent signs `times` times, takes a backslash for a slash and `..;x` for
/// `..`, and resolves dot segments.
pub fn as_a_backend_may_read(path: &str, times: usize) -> Vec<u8> {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..times {
        bytes = decoded(&bytes);
    }
    let mut resolved: Vec<Vec<u8>> = Vec::new();
    let segments: Vec<Vec<u8>> = bytes.split(|byte| matches!(byte, b'/' | b'\\')).map(<[u8]>::to_vec).collect();
    for segment in segments {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"." => {}
            b".." => drop(resolved.pop()),
            _ => resolved.push(segment),
        }
    }
    resolved.join(&b'/')
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        rest = after;
        if let (b'%', [high, low, behind @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high * 16 + low);
            rest = behind;
        } else {
            out.push(*first);
        }
    }
    out
}
