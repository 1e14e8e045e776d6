//! A second implementation of the rules language: slow, written from `docs/rules.md`, and without
//! the authorizer's code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::{Map, Value, json};

use crate::METHODS;

/// A rule as it is written in TOML.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub denies: bool,
    pub name: Option<String>,
    /// Claim names with their conditions. All of them must match.
    pub when: Vec<(String, Condition)>,
    /// Empty: every stage.
    pub stage: Vec<String>,
    /// Empty: every API.
    pub api: Vec<String>,
    /// `GET /tenants/{name}/*`.
    pub routes: Vec<String>,
}

#[derive(Clone, Debug)]
pub enum Condition {
    /// A value matches one of the patterns.
    Any(Vec<String>),
    /// Each of the patterns is matched by a value.
    All(Vec<String>),
    /// The claim is there, or it is not.
    Present(bool),
}

/// Captured values by the capture's name.
pub type Bindings = BTreeMap<String, String>;

/// The TOML text of these rules.
pub fn toml(rules: &[Rule]) -> String {
    // Both forms: one text, and a list.
    let list = |texts: &[String]| if let [text] = texts { json!(text) } else { json!(texts) };
    let mut toml = String::new();
    for rule in rules {
        toml += if rule.denies { "[[deny]]\n" } else { "[[allow]]\n" };
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(toml, "{key} = {value}");
        };
        if let Some(name) = &rule.name {
            line("name", &quoted(&json!(name)));
        }
        for (key, names) in [("stage", &rule.stage), ("api", &rule.api)] {
            if !names.is_empty() {
                line(key, &quoted(&list(names)));
            }
        }
        for (claim, condition) in &rule.when {
            let condition = match condition {
                Condition::Any(patterns) => quoted(&list(patterns)),
                Condition::All(patterns) => format!("{{ all = {} }}", quoted(&json!(patterns))),
                Condition::Present(present) => format!("{{ present = {present} }}"),
            };
            line(&format!("when.{}", quoted(&json!(claim))), &condition);
        }
        line("routes", &quoted(&json!(rule.routes)));
    }
    toml
}

/// JSON as TOML. Strings have the same escapes, but TOML requires one for the DEL character.
fn quoted(json: &Value) -> String {
    json.to_string().replace('\u{7f}', "\\u007f")
}

/// Requests that a rule grants or denies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The place of the rule in the file.
    pub rule: usize,
    pub method: String,
    /// A `*` is any characters. It is always the rule's own, because no claim value has one.
    pub path: String,
}

impl Scope {
    pub fn covers(&self, method: &str, path: &str) -> bool {
        self.method == method && matches(self.path.as_bytes(), path.as_bytes())
    }
}

/// Whether all of `text` matches `pattern`, in which a `*` is any characters, also slashes and none.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // The lengths of the starts of `text` that the pattern has matched so far, ascending.
    let mut lengths = vec![0];
    for expected in pattern {
        let Some(shortest) = lengths.first() else { return false };
        lengths = if *expected == b'*' {
            (*shortest..=text.len()).collect()
        } else {
            lengths.iter().filter(|at| text.get(**at) == Some(expected)).map(|at| at + 1).collect()
        };
    }
    lengths.last() == Some(&text.len())
}

/// The meaning of rules for one token's claims, at one API and stage.
#[derive(Debug, Default)]
pub struct Meaning {
    /// In the order of the rules, without duplicates.
    pub allow: BTreeSet<Scope>,
    pub deny: BTreeSet<Scope>,
    /// The first Deny rule that uses a claim value that cannot be used, so everything is denied.
    pub denies_all: Option<usize>,
    /// Whether any rule met a value that cannot be used.
    pub has_unusable: bool,
}

impl Meaning {
    pub fn allows(&self, method: &str, path: &str) -> bool {
        self.grants(method, path).is_some() && self.denies(method, path).is_none()
    }

    /// The first Allow rule that covers the request. A Deny rule may still deny it.
    pub fn grants(&self, method: &str, path: &str) -> Option<usize> {
        first(&self.allow, method, path)
    }

    /// How many bytes the paths have together. The authorizer's work for one token has bounds, which
    /// this implementation does not know.
    pub fn bytes(&self) -> usize {
        self.allow.iter().chain(&self.deny).map(|scope| scope.path.len()).sum()
    }

    /// The first Deny rule that denies the request.
    pub fn denies(&self, method: &str, path: &str) -> Option<usize> {
        self.denies_all.into_iter().chain(first(&self.deny, method, path)).min()
    }
}

fn first(scopes: &BTreeSet<Scope>, method: &str, path: &str) -> Option<usize> {
    scopes.iter().find(|scope| scope.covers(method, path)).map(|scope| scope.rule)
}

/// The meaning of valid rules for these claims and requests to this API and stage. `None` if there
/// are too many combinations for this slow implementation.
pub fn read(rules: &[Rule], claims: &Map<String, Value>, api: &str, stage: &str) -> Option<Meaning> {
    let mut meaning = Meaning::default();
    for (place, rule) in rules.iter().enumerate() {
        let is_named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
        if is_named(&rule.api, api) && is_named(&rule.stage, stage) {
            rule.read(place, claims, &mut meaning)?;
        }
    }
    Some(meaning)
}

/// What one condition finds in the claims. Each pattern of `all` is a condition of its own.
#[derive(Debug, Default)]
struct Found {
    /// The captures of each value that is read in exactly one way.
    matched: Vec<Bindings>,
    /// The claim is unreadable, or a value is read in several ways.
    unreadable: bool,
}

impl Rule {
    fn read(&self, place: usize, claims: &Map<String, Value>, meaning: &mut Meaning) -> Option<()> {
        let found = self.found(claims);
        if found.iter().any(|one| one.matched.is_empty() && !one.unreadable) {
            return Some(());
        }
        // Captures that no route uses only have to match.
        let used = |name: &str| self.routes.iter().any(|route| route.contains(&format!("{{{name}}}")));
        let ways: BTreeSet<Bindings> =
            ways(&found)?.into_iter().map(|way| way.into_iter().filter(|(name, _)| used(name)).collect()).collect();
        let (usable, unusable): (Vec<_>, Vec<_>) =
            ways.into_iter().partition(|way: &Bindings| way.values().all(|value| is_usable(value)));
        if !unusable.is_empty() || found.iter().any(|one| one.unreadable) {
            meaning.has_unusable = true;
            if self.denies {
                meaning.denies_all.get_or_insert(place);
            }
        }
        let scopes = if self.denies { &mut meaning.deny } else { &mut meaning.allow };
        for (way, route) in usable.iter().flat_map(|way| self.routes.iter().map(move |route| (way, route))) {
            let (method, template) = route.split_once(' ').unwrap();
            for path in fill_all(template, way).into_iter().flat_map(|path| spellings_of_end(self.denies, path)) {
                for method in METHODS.into_iter().filter(|one| method == "ANY" || method == *one) {
                    scopes.insert(Scope { rule: place, method: method.to_owned(), path: path.clone() });
                }
            }
        }
        Some(())
    }

    fn found(&self, claims: &Map<String, Value>) -> Vec<Found> {
        let mut found = Vec::new();
        for (claim, condition) in &self.when {
            match condition {
                Condition::Any(patterns) => found.push(any_of(claims, claim, patterns)),
                Condition::All(patterns) => {
                    found.extend(patterns.iter().map(|one| any_of(claims, claim, std::slice::from_ref(one))));
                }
                Condition::Present(expected) => {
                    let is_there = value(claims, claim).is_some();
                    let matched = if is_there == *expected { vec![Bindings::new()] } else { Vec::new() };
                    found.push(Found { matched, unreadable: false });
                }
            }
        }
        found
    }

    /// Bindings of every match, also of values that cannot be used, and of values that do not
    /// agree. A value that can be read in more than one way gives two of them.
    pub fn all_bindings(&self, claims: &Map<String, Value>) -> Vec<Bindings> {
        const ENOUGH: usize = 50;
        let mut all = vec![Bindings::new()];
        for (claim, condition) in &self.when {
            let patterns = match condition {
                Condition::Any(patterns) => vec![&patterns[..]],
                Condition::All(patterns) => patterns.iter().map(std::slice::from_ref).collect(),
                Condition::Present(_) => Vec::new(),
            };
            for patterns in patterns {
                let values = values(claims, claim).unwrap_or_default();
                let matched: Vec<_> = values.iter().flat_map(|value| readings(patterns, value)).collect();
                let join = |one: &Bindings, other: &Bindings| one.clone().into_iter().chain(other.clone()).collect();
                all =
                    all.iter().flat_map(|one| matched.iter().map(move |other| join(one, other))).take(ENOUGH).collect();
            }
        }
        all
    }
}

fn any_of(claims: &Map<String, Value>, claim: &str, patterns: &[String]) -> Found {
    let Some(values) = values(claims, claim) else { return Found { matched: Vec::new(), unreadable: true } };
    let mut found = Found::default();
    for value in &values {
        let mut readings = readings(patterns, value);
        if readings.len() > 1 {
            found.unreadable = true;
        } else {
            found.matched.extend(readings.pop_first());
        }
    }
    found
}

/// The different ways in which a value is read by one of the patterns. Not all if there are more
/// than one.
fn readings(patterns: &[String], value: &str) -> BTreeSet<Bindings> {
    patterns.iter().flat_map(|pattern| splits(pattern, value)).collect()
}

/// Every combination of one match for each condition in which equal names have equal values.
fn ways(found: &[Found]) -> Option<Vec<Bindings>> {
    const MAX_WAYS: usize = 1_000;
    let mut ways = vec![Bindings::new()];
    for one in found {
        let agree = |way: &Bindings, more: &Bindings| {
            more.iter().all(|(name, value)| way.get(name).is_none_or(|known| known == value))
        };
        let mut longer = Vec::new();
        for way in &ways {
            for more in one.matched.iter().filter(|more| agree(way, more)) {
                longer.push(way.clone().into_iter().chain(more.clone()).collect());
            }
        }
        if longer.len() > MAX_WAYS {
            return None;
        }
        ways = longer;
    }
    Some(ways)
}

/// A path of an Allow as it is; a path of a Deny with and without a slash at its end. The root has
/// one spelling, and a `*` at the end matches the slash too.
fn spellings_of_end(denies: bool, path: String) -> Vec<String> {
    if !denies || path == "/" || path.ends_with('*') {
        return vec![path];
    }
    let without = path.strip_suffix('/').unwrap_or(&path).to_owned();
    vec![format!("{without}/"), without]
}

/// `template` with every capture replaced by what `spelling` makes of its value. A capture without
/// a value stays as it is.
pub fn fill(template: &str, bindings: &Bindings, mut spelling: impl FnMut(&str) -> String) -> String {
    let text_of = |piece| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Capture(name) => bindings.get(name).map_or_else(|| format!("{{{name}}}"), |value| spelling(value)),
    };
    pieces(template).into_iter().map(text_of).collect()
}

/// `template` with every combination of the spellings of its captures.
fn fill_all(template: &str, bindings: &Bindings) -> Vec<String> {
    pieces(template).into_iter().fold(vec![String::new()], |paths, piece| {
        let ends = match piece {
            Piece::Text(text) => vec![text.to_owned()],
            Piece::Capture(name) => spellings(&bindings[name]),
        };
        paths.iter().flat_map(|path| ends.iter().map(move |end| format!("{path}{end}"))).collect()
    })
}

enum Piece<'t> {
    Text(&'t str),
    Capture(&'t str),
}

fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        pieces.extend([Piece::Text(before), Piece::Capture(name)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// How clients write a usable value.
fn spellings(value: &str) -> Vec<String> {
    let mut spellings = vec![encode_uri_component(value)];
    if !value.contains(' ') && spellings[0] != value {
        spellings.push(value.to_owned());
    }
    spellings
}

/// What JavaScript's function of this name does (ECMA-262, `encodeURIComponent`).
pub fn encode_uri_component(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A claim as a list of texts. `None` if it is unreadable.
pub fn values(claims: &Map<String, Value>, claim: &str) -> Option<Vec<String>> {
    let is_scopes = claim == "scopes";
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) if !is_scopes => Some(value.to_string()),
        _ => None,
    };
    match value(claims, claim) {
        None => Some(Vec::new()),
        Some(Value::String(text)) if is_scopes => {
            Some(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
        }
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(value) => text(value).map(|text| vec![text]),
    }
}

/// The value that a name in `when` means. `None` if it is absent or null.
fn value<'c>(claims: &'c Map<String, Value>, claim: &str) -> Option<&'c Value> {
    let present = |value: Option<&'c Value>| value.filter(|value| !value.is_null());
    match claim {
        "scopes" => present(claims.get("scp")).or_else(|| present(claims.get("scope"))),
        pointer if pointer.starts_with('/') => present(at_pointer(claims, pointer)),
        name => present(claims.get(name)),
    }
}

/// The value at a JSON Pointer (RFC 6901, section 4).
fn at_pointer<'c>(claims: &'c Map<String, Value>, pointer: &str) -> Option<&'c Value> {
    let mut tokens = pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&tokens.next()?)?;
    tokens.try_fold(first, |value, token| match value {
        Value::Object(members) => members.get(&token),
        Value::Array(items) => {
            let is_index = token == "0" || !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit());
            items.get(token.parse::<usize>().ok().filter(|_| is_index)?)
        }
        _ => None,
    })
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
fn is_usable(value: &str) -> bool {
    const USABLE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~@+=,:!&'() ";
    (1..=128).contains(&value.len())
        && value.chars().all(|c| USABLE.contains(c))
        && !matches!(value, "." | "..")
        // Encoded, these start with dots and a `%`.
        && !"@+=,:& ".chars().any(|c| value.starts_with(&format!(".{c}")) || value.starts_with(&format!("..{c}")))
        && !value.starts_with(' ')
        && !value.ends_with(' ')
        && !value.contains("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn any(patterns: &[&str]) -> Condition {
        Condition::Any(texts(patterns))
    }

    fn all(patterns: &[&str]) -> Condition {
        Condition::All(texts(patterns))
    }

    fn rule<const N: usize>(when: [(&str, Condition); N], routes: &[&str]) -> Rule {
        let when = when.map(|(claim, condition)| (claim.to_owned(), condition)).into();
        Rule { when, routes: texts(routes), ..Rule::default() }
    }

    fn read_at(rules: &[Rule], claims: &Value, api: &str, stage: &str) -> Meaning {
        read(rules, claims.as_object().unwrap(), api, stage).unwrap()
    }

    fn meaning(rule: &Rule, claims: &Value) -> Meaning {
        read_at(std::slice::from_ref(rule), claims, "a1", "prod")
    }

    /// The granted paths, and whether a value cannot be used.
    fn paths(rule: &Rule, claims: &Value) -> (Vec<String>, bool) {
        let meaning = meaning(rule, claims);
        (meaning.allow.iter().map(|scope| scope.path.clone()).collect(), meaning.has_unusable)
    }

    /// Asserts the paths that a rule grants, and whether a Deny of the same form denies all.
    #[track_caller]
    fn assert_paths(rule: &Rule, claims: &Value, expected: &[&str], unusable: bool) {
        assert_eq!(paths(rule, claims), (texts(expected), unusable), "{claims}");
        let denies = meaning(&Rule { denies: true, ..rule.clone() }, claims);
        assert_eq!(denies.denies_all, unusable.then_some(0), "{claims}");
    }

    #[test]
    fn rules_are_written_as_toml() {
        let full = Rule {
            denies: true,
            name: Some("a \"b\"".to_owned()),
            stage: texts(&["prod"]),
            api: texts(&["a1", "a2"]),
            ..rule(
                [
                    ("tenants", any(&["{x}:{y}"])),
                    ("groups", any(&["a", "b"])),
                    ("scopes", all(&["c"])),
                    ("/app/x y", Condition::Present(false)),
                ],
                &["GET /t/{y}/*"],
            )
        };
        let expected = r#"[[deny]]
name = "a \"b\""
stage = "prod"
api = ["a1","a2"]
when."tenants" = "{x}:{y}"
when."groups" = ["a","b"]
when."scopes" = { all = ["c"] }
when."/app/x y" = { present = false }
routes = ["GET /t/{y}/*"]
[[allow]]
routes = ["GET /"]
"#;
        assert_eq!(toml(&[full, rule([], &["GET /"])]), expected);
    }

    #[test]
    fn a_rule_grants_exactly_its_routes() {
        let tenants = rule([("tenants", any(&["{x}:{y}"]))], &["GET /t/{y}/*", "PUT /o/*/{y}", "ANY /e/"]);
        let meaning = meaning(&tenants, &json!({ "tenants": ["1:acme", "2:um/bra", "3:a:b", "4:..", "5:A"] }));
        assert!(meaning.has_unusable);
        for (method, path, expected) in [
            ("GET", "/t/acme/", true),
            ("GET", "/t/acme/x/y", true),
            ("PUT", "/t/acme/x", false),
            ("GET", "/t/acme", false),
            ("GET", "/t/um/bra/x", false),
            ("GET", "/t/b/x", false),
            ("GET", "/t/../x", false),
            ("GET", "/t/A/*", true),
            ("PUT", "/o/1/acme", true),
            ("PUT", "/o//acme", true),
            ("PUT", "/o/1/2/acme", true),
            ("PUT", "/o/acme", false),
            ("PUT", "/o/1/acme/", false),
            ("PUT", "/o/1/acme/2", false),
            ("PATCH", "/e/", true),
            ("PATCH", "/e", false),
            ("TRACE", "/e/", false),
        ] {
            assert_eq!(meaning.allows(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_star_is_any_characters() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("a", "", false),
            ("", "a", false),
            ("a", "a*", false),
            ("*", "", true),
            ("a*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcb", false),
            ("a*b*c", "aXbXbXc", true),
            ("ab*bc", "abc", false),
            ("/*/a/*", "/a/a/", true),
            ("/*/a/*", "/a/b", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn values_are_what_the_claims_table_says() {
        let claims = json!({
            "text": "a b", "number": 1.5, "flag": true, "list": ["a", 5, false], "null": null, "empty": [],
            "object": {}, "bad": ["a", null], "nested": [["a"]], "scope": " a  b ",
            "app": { "roles": ["r", 7], "o/w~n": "me", "": "none" }, "/app": "not a pointer",
        });
        let claims = claims.as_object().unwrap();
        for (name, expected) in [
            ("text", Some(&["a b"][..])),
            ("number", Some(&["1.5"])),
            ("flag", Some(&["true"])),
            ("list", Some(&["a", "5", "false"])),
            ("null", Some(&[])),
            ("absent", Some(&[])),
            ("empty", Some(&[])),
            ("object", None),
            ("bad", None),
            ("nested", None),
            ("scopes", Some(&["a", "b"])),
            ("app", None),
            ("/app", None),
            ("/app/roles", Some(&["r", "7"])),
            ("/app/roles/0", Some(&["r"])),
            ("/app/roles/1", Some(&["7"])),
            ("/app/roles/00", Some(&[])),
            ("/app/roles/+0", Some(&[])),
            ("/app/roles/2", Some(&[])),
            ("/app/roles/-", Some(&[])),
            ("/app/roles/", Some(&[])),
            ("/app/o~1w~0n", Some(&["me"])),
            ("/app/", Some(&["none"])),
            ("/text/0", Some(&[])),
            ("/null/a", Some(&[])),
            ("/", Some(&[])),
            ("/scopes", Some(&[])),
            ("/scope", Some(&[" a  b "])),
            ("/~1app", Some(&["not a pointer"])),
        ] {
            assert_eq!(values(claims, name), expected.map(texts), "{name}");
        }
        for (scopes, expected) in [
            (json!({ "scp": ["a b", ""], "scope": "c" }), Some(&["a b", ""][..])),
            (json!({ "scp": null, "scope": "c" }), Some(&["c"])),
            (json!({ "scp": ["a", 7] }), None),
            (json!({ "scp": 7 }), None),
            (json!({ "scp": true, "scope": "c" }), None),
        ] {
            assert_eq!(values(scopes.as_object().unwrap(), "scopes"), expected.map(texts), "{scopes}");
        }
    }

    #[test]
    fn every_pattern_of_all_is_matched_by_a_value() {
        let both = rule([("groups", all(&["a", "{x}-b"]))], &["GET /{x}"]);
        assert_paths(&both, &json!({ "groups": ["a", "1-b", "2-b"] }), &["/1", "/2"], false);
        assert_paths(&both, &json!({ "groups": ["1-b"] }), &[], false);
        assert_paths(&both, &json!({ "groups": ["a", "b"] }), &[], false);
        assert_paths(&both, &json!({ "groups": {} }), &[], true);
        let agree = rule([("groups", all(&["{x}-a", "{x}-b", "{y}-c"]))], &["GET /{x}/{y}"]);
        let claims = json!({ "groups": ["1-a", "1-b", "2-a", "3-b", "4-c", "5-c"] });
        assert_paths(&agree, &claims, &["/1/4", "/1/5"], false);
        assert_paths(&agree, &json!({ "groups": ["1-a", "2-b", "3-c"] }), &[], false);
    }

    #[test]
    fn present_and_absent_ask_only_whether_a_claim_is_there() {
        let present = rule([("uid", Condition::Present(true))], &["GET /"]);
        let absent = rule([("uid", Condition::Present(false))], &["GET /"]);
        for (claims, is_there) in [
            (json!({}), false),
            (json!({ "uid": null }), false),
            (json!({ "uid": "" }), true),
            (json!({ "uid": [] }), true),
            (json!({ "uid": {} }), true),
            (json!({ "uid": [null] }), true),
        ] {
            assert_paths(&present, &claims, if is_there { &["/"] } else { &[] }, false);
            assert_paths(&absent, &claims, if is_there { &[] } else { &["/"] }, false);
        }
        let scopes = rule([("scopes", Condition::Present(true))], &["GET /"]);
        assert_paths(&scopes, &json!({ "scope": 7 }), &["/"], false);
        assert_paths(&scopes, &json!({ "scopes": "a" }), &[], false);
    }

    #[test]
    fn a_capture_has_the_same_value_in_every_claim() {
        let same = rule([("a", any(&["{t}:{x}"])), ("b", any(&["{t}_admins"]))], &["GET /{t}"]);
        assert_paths(&same, &json!({ "a": ["1:x", "2:x"], "b": ["2_admins", "3_admins"] }), &["/2"], false);
        assert_paths(&same, &json!({ "a": ["1:x"], "b": ["2_admins"] }), &[], false);
        // Values that do not agree are no way, so it does not matter that they cannot be used.
        assert_paths(&same, &json!({ "a": ["*:x"], "b": ["?_admins"] }), &[], false);
        assert_paths(&same, &json!({ "a": ["*:x"], "b": ["*_admins"] }), &[], true);
        // The agreement is on texts: another spelling is another value.
        assert_paths(&same, &json!({ "a": ["@:x"], "b": ["%40_admins"] }), &[], false);
        // No route uses `x`.
        assert_paths(&same, &json!({ "a": ["1:*"], "b": ["1_admins"] }), &["/1"], false);
        // What is ambiguous or unreadable could agree.
        assert_paths(&same, &json!({ "a": ["1:2:3"], "b": ["9_admins"] }), &[], true);
        assert_paths(&same, &json!({ "a": ["1:2:3", "9:x"], "b": ["9_admins"] }), &["/9"], true);
        assert_paths(&same, &json!({ "a": {}, "b": [null] }), &[], true);
        assert_paths(&same, &json!({ "a": {}, "b": ["x"] }), &[], false);
    }

    #[test]
    fn a_value_with_two_readings_by_one_list_is_ambiguous() {
        let two = rule([("a", any(&["{t}:{r}", "{r}@{t}"]))], &["GET /{t}"]);
        assert_paths(&two, &json!({ "a": ["evil:r@umbra"] }), &[], true);
        assert_paths(&two, &json!({ "a": ["evil:r", "r@umbra"] }), &["/evil", "/umbra"], false);
        // Two patterns, but one reading.
        let same = rule([("a", any(&["{t}:x", "{t}:x"]))], &["GET /{t}"]);
        assert_paths(&same, &json!({ "a": ["1:x"] }), &["/1"], false);
    }

    #[test]
    fn usable_values_have_one_or_two_spellings() {
        for (value, expected) in [
            ("acme", &["acme"][..]),
            ("alice@example.com", &["alice%40example.com", "alice@example.com"]),
            ("Smith & Sons (UK)", &["Smith%20%26%20Sons%20(UK)"]),
            ("a+b=c,d:e!f'g~h-i_j", &["a%2Bb%3Dc%2Cd%3Ae!f'g~h-i_j", "a+b=c,d:e!f'g~h-i_j"]),
            ("...", &["..."]),
        ] {
            assert!(is_usable(value), "{value}");
            assert_eq!(spellings(value), expected, "{value}");
        }
        let long = "x".repeat(129);
        for value in [
            "", ".", "..", " a", "a ", "a  b", "a/b", "a;b", "é", "\u{ff41}", "a\tb", "%41", "*", "$", "#", "?", "\\",
            &long,
        ] {
            assert!(!is_usable(value), "{value}");
        }
        assert!(is_usable(&long[1..]));
    }

    #[test]
    fn each_capture_of_a_route_has_its_own_spelling() {
        let twice = rule([("a", any(&["{x}"])), ("b", any(&["{userId}"]))], &["GET /{x}/{userId}.{x}"]);
        let expected = ["/%40/c.%40", "/%40/c.@", "/@/c.%40", "/@/c.@"];
        assert_paths(&twice, &json!({ "a": "@", "b": "c" }), &expected, false);
    }

    #[test]
    fn a_path_is_denied_with_and_without_a_slash_at_its_end() {
        let routes = ["GET /a", "GET /b/", "GET /c/*", "GET /d/*/", "GET /"];
        let denied = meaning(&Rule { denies: true, ..rule([], &routes) }, &json!({}));
        let paths: Vec<_> = denied.deny.iter().map(|scope| &*scope.path).collect();
        assert_eq!(paths, ["/", "/a", "/a/", "/b", "/b/", "/c/*", "/d/*", "/d/*/"]);
        assert_eq!(denied.denies_all, None);
    }

    #[test]
    fn a_rule_applies_only_to_its_stages_and_apis() {
        let one = Rule { stage: texts(&["prod"]), api: texts(&["a1", "a2"]), ..rule([], &["GET /one"]) };
        let deny = Rule { denies: true, stage: texts(&["test"]), ..rule([("x", any(&["y"]))], &["GET /one"]) };
        let rules = [one, rule([], &["GET /two"]), deny];
        for (api, stage, one, two, denied) in [
            ("a1", "prod", Some(0), Some(1), None),
            ("a2", "prod", Some(0), Some(1), None),
            ("a3", "prod", None, Some(1), None),
            ("a1", "Prod", None, Some(1), None),
            ("a1", "test", None, Some(1), Some(2)),
        ] {
            let meaning = read_at(&rules, &json!({ "x": {} }), api, stage);
            let found = (meaning.grants("GET", "/one"), meaning.grants("GET", "/two"), meaning.denies("GET", "/other"));
            assert_eq!(found, (one, two, denied), "{api} {stage}");
        }
    }

    #[test]
    fn a_deny_rule_with_an_unusable_value_denies_everything() {
        let denies = || Rule { denies: true, ..rule([("tenants", any(&["{x}:{y}"]))], &["GET /t/{y}/*"]) };
        let usable = meaning(&denies(), &json!({ "tenants": "1:acme" }));
        assert_eq!(usable.denies("GET", "/t/acme/x"), Some(0));
        assert_eq!(usable.denies("GET", "/other"), None);
        for tenants in [json!("2:um/bra"), json!("3:a:b"), json!("4:.."), json!({}), json!([null])] {
            let meaning = meaning(&denies(), &json!({ "tenants": tenants }));
            assert_eq!(meaning.denies("GET", "/other"), Some(0), "{tenants}");
        }
        // The first rule in the file counts.
        let rules = [Rule { denies: true, ..rule([], &["GET /a"]) }, denies()];
        let both = read_at(&rules, &json!({ "tenants": {} }), "a1", "prod");
        assert_eq!([both.denies("GET", "/a"), both.denies("GET", "/b")], [Some(0), Some(1)]);
    }

    #[test]
    fn captures_are_filled_once() {
        let bindings = Bindings::from([("a".to_owned(), "{b}".to_owned()), ("b".to_owned(), "x".to_owned())]);
        assert_eq!(fill("/{a}/{b}/{c}/}", &bindings, str::to_owned), "/{b}/x/{c}/}");
    }
}
