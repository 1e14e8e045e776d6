//! Rules as a structure, their TOML text, and what they say about literal claim values: a reading of design 4 that shares nothing
//! with the program under test, by brute force.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::iam::METHODS;

#[derive(Debug, Clone)]
pub struct Rule {
    pub denies: bool,
    /// A claim, and the patterns of which any may match.
    pub when: Vec<(String, Vec<Vec<Piece>>)>,
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone)]
pub struct Route {
    /// One of the seven, or `ANY`.
    pub method: &'static str,
    /// Without the star.
    pub segments: Vec<Vec<Piece>>,
    pub star: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text(String),
    Capture(&'static str),
}

/// Captured values by name.
pub type Bindings = BTreeMap<&'static str, String>;

pub fn toml(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        writeln!(text, "[[{}]]", if rule.denies { "deny" } else { "allow" }).unwrap();
        for (index, (claim, any_of)) in rule.when.iter().enumerate() {
            if index == 0 {
                text.push_str("when = { ");
            }
            let patterns: Vec<_> = any_of.iter().map(|pattern| quoted(&written(pattern))).collect();
            let value = if patterns.len() == 1 { patterns.concat() } else { format!("[{}]", patterns.join(", ")) };
            write!(text, "{} = {value}", quoted(claim)).unwrap();
            text.push_str(if index + 1 == rule.when.len() { " }\n" } else { ", " });
        }
        let routes: Vec<_> = rule.routes.iter().map(|route| quoted(&route.text())).collect();
        writeln!(text, "routes = [{}]\n", routes.join(", ")).unwrap();
    }
    text
}

/// A TOML basic string; it shares JSON's escapes.
fn quoted(text: &str) -> String {
    json!(text).to_string().replace('\u{7f}', "\\u007f")
}

fn written(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Capture(name) => format!("{{{name}}}"),
        })
        .collect()
}

impl Route {
    fn text(&self) -> String {
        format!("{} {}", self.method, self.path(|pieces| Some(written(pieces))).unwrap())
    }

    fn path(&self, segment: impl Fn(&[Piece]) -> Option<String>) -> Option<String> {
        let mut segments = self.segments.iter().map(|pieces| segment(pieces)).collect::<Option<Vec<_>>>()?;
        if self.star {
            segments.push("*".to_owned());
        }
        Some(format!("/{}", segments.join("/")))
    }

    /// The segments with every capture's value in its place, whatever that value is.
    pub fn bound(&self, bindings: &Bindings) -> Option<Vec<String>> {
        let value = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::Capture(name) => bindings.get(name).cloned(),
        };
        self.segments.iter().map(|pieces| pieces.iter().map(value).collect()).collect()
    }

    pub fn captures(&self) -> impl Iterator<Item = &'static str> {
        self.segments.iter().flatten().filter_map(|piece| match piece {
            Piece::Capture(name) => Some(*name),
            Piece::Text(_) => None,
        })
    }

    fn has_method(&self, method: &str) -> bool {
        if self.method == "ANY" { METHODS.contains(&method) } else { self.method == method }
    }

    /// Whether a granted route is the request's: segment by segment, so that no value reaches across a slash.
    fn grants(&self, bindings: &Bindings, path: &str) -> bool {
        let (Some(wanted), Some(path)) = (self.bound(bindings), path.strip_prefix('/')) else { return false };
        let found: Vec<_> = path.split('/').collect();
        if self.star {
            found.len() > wanted.len() && wanted.iter().zip(&found).all(|(wanted, found)| wanted == found)
        } else if wanted.is_empty() {
            path.is_empty()
        } else {
            wanted == found
        }
    }

    /// Whether a denied route is the request's: as text, so that a value with a slash in it denies what it spells.
    fn denies(&self, bindings: &Bindings, path: &str) -> bool {
        let Some(segments) = self.bound(bindings) else { return false };
        let text = format!("/{}", segments.join("/"));
        match (self.star, segments.is_empty()) {
            (true, true) => path.starts_with('/'),
            (true, false) => path.starts_with(&format!("{text}/")),
            (false, _) => path == text,
        }
    }
}

/// A claim as a list of strings; `None` where it is there and cannot be read as one.
pub fn values(claims: &Value, name: &str) -> Option<Vec<String>> {
    if name == "scopes" {
        let name = if claims["scp"].is_null() { "scope" } else { "scp" };
        return match &claims[name] {
            Value::String(text) => Some(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()),
            other => list(other),
        };
    }
    match &claims[name] {
        Value::Bool(_) | Value::Number(_) => Some(vec![claims[name].to_string()]),
        Value::String(text) => Some(vec![text.clone()]),
        other => list(other),
    }
}

fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Every way of splitting a value by a pattern; a capture takes one character or more.
fn splits(pattern: &[Piece], value: &str) -> Vec<Bindings> {
    let Some((piece, rest)) = pattern.split_first() else {
        return if value.is_empty() { vec![Bindings::new()] } else { Vec::new() };
    };
    match piece {
        Piece::Text(text) => value.strip_prefix(text.as_str()).map_or_else(Vec::new, |value| splits(rest, value)),
        Piece::Capture(name) => {
            let ends = value.char_indices().map(|(at, _)| at).skip(1).chain((!value.is_empty()).then_some(value.len()));
            ends.flat_map(|end| {
                splits(rest, &value[end..]).into_iter().map(move |mut bindings| {
                    bindings.insert(name, value[..end].to_owned());
                    bindings
                })
            })
            .collect()
        }
    }
}

fn is_safe(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~@+=,:!".contains(c);
    (1..=128).contains(&value.chars().count()) && value.chars().all(allowed) && value != "." && value != ".."
}

impl Rule {
    /// Every way in which the claims match, with what one value says; `only_sure` leaves out values that say two things.
    pub fn matches(&self, claims: &Value, only_sure: bool) -> Vec<Bindings> {
        let mut all = vec![Bindings::new()];
        for (claim, any_of) in &self.when {
            let values = values(claims, claim).unwrap_or_default();
            let found: Vec<_> = values
                .iter()
                .flat_map(|value| any_of.iter().map(|pattern| splits(pattern, value)))
                .filter(|splits| !only_sure || splits.len() == 1)
                .flatten()
                .collect();
            let join = |known: &Bindings| {
                let known = known.clone();
                found.iter().map(move |more| known.clone().into_iter().chain(more.clone()).collect::<Bindings>())
            };
            all = all.iter().flat_map(join).collect();
        }
        all
    }

    fn is_writable(&self, bindings: &Bindings) -> bool {
        self.routes.iter().flat_map(Route::captures).all(|name| bindings.get(name).is_some_and(|value| is_safe(value)))
    }

    fn grants(&self, claims: &Value, method: &str, path: &str) -> bool {
        let matches = self.matches(claims, true);
        let writable: Vec<_> = matches.iter().filter(|bindings| self.is_writable(bindings)).collect();
        let routes = self.routes.iter().filter(|route| route.has_method(method));
        !self.denies && routes.into_iter().any(|route| writable.iter().any(|bindings| route.grants(bindings, path)))
    }

    fn denies(&self, claims: &Value, method: &str, path: &str) -> bool {
        let matches = self.matches(claims, false);
        let mut routes = self.routes.iter().filter(|route| route.has_method(method));
        self.denies && routes.any(|route| matches.iter().any(|bindings| route.denies(bindings, path)))
    }

    /// Whether a value that this Deny speaks of is unreadable, says two things or cannot be written: then it may deny more
    /// than it says.
    fn may_deny_all(&self, claims: &Value) -> bool {
        let unreadable = self.when.iter().any(|(claim, _)| values(claims, claim).is_none());
        let unsure = self.matches(claims, false).len() != self.matches(claims, true).len();
        let unwritable = self.matches(claims, false).iter().any(|bindings| !self.is_writable(bindings));
        // Of one claim alone, in a rule whose others do not match.
        let parts = self.when.iter().map(|one| Self { when: vec![one.clone()], ..self.clone() });
        let partly = self.when.len() > 1 && parts.into_iter().any(|part| part.unsure_or_unsafe(claims));
        self.denies && (unreadable || unsure || unwritable || partly)
    }

    fn unsure_or_unsafe(&self, claims: &Value) -> bool {
        let all = self.matches(claims, false);
        all.len() != self.matches(claims, true).len()
            || all.iter().any(|bindings| !bindings.values().all(|value| is_safe(value)))
    }
}

/// Whether any rule grants the request to a token with these claims.
pub fn granted(rules: &[Rule], claims: &Value, method: &str, path: &str) -> bool {
    rules.iter().any(|rule| rule.grants(claims, method, path))
}

/// Whether any rule denies it.
pub fn denied(rules: &[Rule], claims: &Value, method: &str, path: &str) -> bool {
    rules.iter().any(|rule| rule.denies(claims, method, path))
}

/// Whether a Deny may say more than its words.
pub fn may_deny_all(rules: &[Rule], claims: &Value) -> bool {
    rules.iter().any(|rule| rule.may_deny_all(claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn tenants() -> Rule {
        let pattern = vec![Piece::Capture("x"), text(":"), Piece::Capture("y")];
        Rule {
            denies: false,
            when: vec![("tenants".to_owned(), vec![pattern])],
            routes: vec![Route {
                method: "GET",
                segments: vec![vec![text("t")], vec![Piece::Capture("y")]],
                star: true,
            }],
        }
    }

    #[test]
    fn rules_are_written_as_the_readme_writes_them() {
        let expected = "[[allow]]\nwhen = { \"tenants\" = \"{x}:{y}\" }\nroutes = [\"GET /t/{y}/*\"]\n\n";
        assert_eq!(toml(&[tenants()]), expected);
    }

    #[test]
    fn a_rule_grants_what_its_words_say() {
        let claims = json!({ "tenants": ["1:acme", "2:um/bra", "3:a:b", "4:.."] });
        for (method, path, expected) in [
            ("GET", "/t/acme/", true),
            ("GET", "/t/acme/x/y", true),
            ("PUT", "/t/acme/x", false),
            ("GET", "/t/acme", false),
            ("GET", "/t/um/bra/x", false),
            ("GET", "/t/b/x", false),
            ("GET", "/t/../x", false),
        ] {
            assert_eq!(granted(&[tenants()], &claims, method, path), expected, "{method} {path}");
        }
        let denies = Rule { denies: true, ..tenants() };
        assert!(denied(std::slice::from_ref(&denies), &claims, "GET", "/t/um/bra/x"));
        assert!(denied(&[denies], &claims, "GET", "/t/b/x"));
    }
}
