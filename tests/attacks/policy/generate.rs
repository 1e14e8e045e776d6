//! Random rules, claims and requests. Characters with a meaning in IAM, in a URL or in a path are
//! frequent. So are requests that the rules are about, because others show little.

use okta_authorizer_testkit::{
    METHODS,
    reference_rules::{Bindings, Rule, fill},
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
    sample::{Index, select, subsequence},
};
use serde_json::{Map, Value, json};

#[derive(Debug, Clone)]
pub struct Case {
    pub rules: Vec<Rule>,
    /// In addition to those that make a token valid.
    pub claims: Map<String, Value>,
    pub requests: Vec<Request>,
    pub max_bytes: usize,
    pub path_guard: bool,
}

/// How a request is made from rules and claims.
#[derive(Debug, Clone)]
pub enum Request {
    /// Anything.
    Random { method: &'static str, path: String },
    /// What a rule grants or denies for some bindings, and perhaps a change to it.
    Aimed {
        rule: Index,
        route: Index,
        bindings: Index,
        method: Index,
        /// The path below a route's wildcard.
        below: String,
        change: Option<(Index, String, bool)>,
    },
}

const CLAIMS: [&str; 6] = ["uid", "groups", "tenants", "scopes", "dept", "x y\"z"];
const CAPTURES: [&str; 4] = ["a", "b_2", "name", "z"];
const WORDS: [&str; 6] = ["a", "b", "acme", "umbra", "7", "A"];
const SEPARATORS: [&str; 6] = [":", "-", "a", "::", "_", "."];

/// The longest value that a capture accepts. Four of them make a resource that is too long for IAM.
const LONG: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// The parts of a claim's value.
#[rustfmt::skip] // one item per line otherwise
const IN_VALUES: [&str; 42] = [
    LONG, "xxxxxxxx", "a", "a", "b", "acme", "umbra", "7", "A", ":", ":", ":", "-", "_", ".", "..", "*", "?", "$",
    "${aws:username}", "${*}", "/", "//", "/*", "\\", "%", "%2e", "%2F", "%2a", " ", "+", "@", "é", "\u{202e}", "\0",
    "\n", "\"", "'", "{a}", "~", "=,!", ";",
];

/// The parts of a route's text: everything that the language accepts.
const IN_ROUTES: [&str; 23] = [
    LONG, "a", "a", "b", "acme", "umbra", "7", "A", ".", "..", "-", "_", "~", "@", "+", "=", ",", ":", "!", "%20",
    "%C3%A9", "(&)", "';",
];

/// The parts of a path.
#[rustfmt::skip] // one item per line otherwise
const IN_PATHS: [&str; 83] = [
    "/", "/", "/", "/", "/", "/", "a", "a", "b", "acme", "umbra", "7", "A", ":", "-", ".", ".", "..", "..", "/../",
    "/./", "/..", "/.", "...", "\\", "\\..\\", "*", "?", "$", "${*}", "%", "%%", "2", "5", "e", "E", "f", "c", "2e",
    "2F", "%2e", "%2E", "%2f", "%2F", "%5c", "%5C", "%25", "%252e", "%252E", "%252f", "%255c", "%32", "%65", "%45",
    "%66", "%09", "%0D", "%250a", "%30", "%c0%ae", "%C1%9C", "%25%32%65", "%00", "%09", "%20", "%C3%A9", ";", "..;",
    ".;", "%3b", "é", "~", " ", "#", "..#", "/..#", "%23", ".. ", "%3F", "\t", "\r", "\n", "\0",
];

fn of(parts: &'static [&'static str], count: std::ops::Range<usize>) -> impl Strategy<Value = String> + Clone {
    vec(select(parts), count).prop_map(|parts| parts.concat())
}

pub fn case() -> impl Strategy<Value = Case> {
    let rules = vec(rule(), 1..5).prop_map(|mut rules| {
        rules[0].denies = false;
        rules
    });
    let max_bytes = prop_oneof![6 => Just(32_768_usize), 1 => Just(1_024_usize), 1 => 1_024..6_000_usize];
    (rules, claims(), vec(request(), 6), max_bytes, proptest::bool::weighted(0.9)).prop_map(
        |(rules, claims, requests, max_bytes, path_guard)| Case { rules, claims, requests, max_bytes, path_guard },
    )
}

fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let value = || {
        let text = || of(&IN_VALUES, 0..6);
        prop_oneof![
            5 => text().prop_map(Value::from),
            8 => vec(text(), 0..5).prop_map(Value::from),
            1 => any::<i32>().prop_map(Value::from),
            1 => select(vec![json!(null), json!(true), json!(1.5), json!({ "a": "b" }), json!(["a", 7]), json!([["a"]])]),
        ]
    };
    // Values like those of okta-dac, most of them well-formed.
    let tenant = (select(&WORDS[..]), select(&WORDS[..]), of(&IN_VALUES, 0..3))
        .prop_map(|(id, name, users)| format!("{id}:{name}:{users}"));
    let tenants = prop_oneof![vec(tenant, 1..4).prop_map(Value::from), value()];
    let words = || vec(select(&WORDS[..]), 1..4);
    let groups = prop_oneof![words().prop_map(Value::from), value()];
    let scopes = prop_oneof![
        words().prop_map(|scopes| json!({ "scp": scopes })),
        words().prop_map(|scopes| json!({ "scope": scopes.join(" ") })),
        value().prop_map(|value| json!({ "scope": value, "scp": null })),
        (value(), value()).prop_map(|(scp, scope)| json!({ "scp": scp, "scope": scope })),
    ];
    let uid = prop_oneof![select(&WORDS[..]).prop_map(str::to_owned), of(&IN_VALUES, 0..4)];
    (uid, groups, tenants, scopes, value(), value()).prop_map(|(uid, groups, tenants, scopes, dept, odd)| {
        let Value::Object(mut claims) = scopes else { unreachable!("scopes are objects") };
        claims.extend(
            [("uid", json!(uid)), ("groups", groups), ("tenants", tenants), ("dept", dept), ("x y\"z", odd)]
                .map(|(name, value)| (name.to_owned(), value)),
        );
        claims
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let claims = subsequence(&CLAIMS[..], 0..=2);
    let conditions = vec((0..=3_usize, vec(pattern_parts(), 1..3)), 2);
    let routes = vec(route_parts(), 1..4);
    (proptest::bool::weighted(0.25), claims, conditions, routes).prop_map(|(denies, claims, conditions, routes)| {
        let mut free = CAPTURES.as_slice();
        let mut when = Vec::new();
        for (claim, (count, parts)) in claims.into_iter().zip(conditions) {
            let (names, rest) = free.split_at(count.min(free.len()));
            free = rest;
            when.push((claim.to_owned(), parts.into_iter().map(|parts| pattern(names, parts)).collect()));
        }
        let known = &CAPTURES[..CAPTURES.len() - free.len()];
        let routes = routes.into_iter().map(|parts| route(known, parts)).collect();
        Rule { denies, when, routes }
    })
}

/// The text before, between and after the captures, and whether the captures are reversed.
type PatternParts = (String, Vec<&'static str>, String, bool);

fn pattern_parts() -> impl Strategy<Value = PatternParts> {
    let edge = || prop_oneof![4 => Just(String::new()), 1 => select(&WORDS[..]).prop_map(str::to_owned), 1 => select(&SEPARATORS[..]).prop_map(str::to_owned)];
    (edge(), vec(prop_oneof![4 => Just(":"), 1 => select(&SEPARATORS[..])], 3), edge(), proptest::bool::weighted(0.2))
}

fn pattern(names: &[&str], (before, between, after, reversed): PatternParts) -> String {
    let mut names = names.to_vec();
    if reversed {
        names.reverse();
    }
    let mut pattern = before;
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            pattern.push_str(between[index - 1]);
        }
        pattern.extend(["{", name, "}"]);
    }
    pattern.push_str(&after);
    if pattern.is_empty() { "acme".to_owned() } else { pattern }
}

type RouteParts = (&'static str, Vec<Vec<(String, Option<Index>)>>, bool);

fn route_parts() -> impl Strategy<Value = RouteParts> {
    let method = prop_oneof![4 => Just("GET"), 2 => Just("ANY"), 2 => select(&METHODS[..])];
    let piece = (
        prop_oneof![9 => of(&IN_ROUTES, 1..2), 9 => of(&IN_ROUTES, 0..4), 1 => of(&[LONG], 3..5)],
        proptest::option::weighted(0.5, any::<Index>()),
    );
    (method, vec(vec(piece, 1..3), 0..4), proptest::bool::weighted(0.4))
}

fn route(known: &[&str], (method, segments, star): RouteParts) -> String {
    let segment = |parts: Vec<(String, Option<Index>)>| {
        let mut segment = String::new();
        for (text, capture) in parts {
            segment.push_str(&text);
            if let Some(index) = capture.filter(|_| !known.is_empty()) {
                segment.extend(["{", index.get::<&str>(known), "}"]);
            }
        }
        // The language accepts neither of these.
        if matches!(segment.as_str(), "" | "." | "..") { "a".to_owned() } else { segment }
    };
    let mut segments: Vec<_> = segments.into_iter().map(segment).collect();
    if star {
        segments.push("*".to_owned());
    }
    format!("{method} /{}", segments.join("/"))
}

pub fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![6 => Just("GET"), 3 => select(&METHODS[..]), 1 => select(vec!["TRACE", "ANY", "X"])];
    let path = prop_oneof![20 => of(&IN_PATHS, 0..8), 1 => of(&IN_PATHS, 150..400)];
    // An ARN may end with the method.
    let path = prop_oneof![30 => path.prop_map(|path| format!("/{path}")), 1 => Just(String::new())];
    let random = (method, path).prop_map(|(method, path)| Request::Random { method, path });
    let change = (any::<Index>(), of(&IN_PATHS, 1..4), any::<bool>());
    let below = of(&IN_PATHS, 0..6);
    let index = || any::<Index>();
    let aimed = (index(), index(), index(), index(), below, proptest::option::weighted(0.3, change)).prop_map(
        |(rule, route, bindings, method, below, change)| Request::Aimed {
            rule,
            route,
            bindings,
            method,
            below,
            change,
        },
    );
    prop_oneof![1 => random, 3 => aimed]
}

impl Request {
    /// The method and the path.
    pub fn to(&self, rules: &[Rule], claims: &Map<String, Value>) -> (String, String) {
        let (rule, route, bindings, method, below, change) = match self {
            Self::Random { method, path } => return ((*method).to_owned(), path.clone()),
            Self::Aimed { rule, route, bindings, method, below, change } => {
                (rule, route, bindings, method, below, change)
            }
        };
        let rule = rule.get(rules);
        let route = route.get(&rule.routes);
        let matches = rule.all_bindings(claims);
        // If the claims do not match, the path has the values of another user.
        let bound = if matches.is_empty() { Bindings::new() } else { bindings.get(&matches).clone() };
        let (route_method, template) = route.split_once(' ').unwrap();
        let method = if route_method == "ANY" { *method.get(&METHODS) } else { route_method };
        let (template, star) = template.strip_suffix('*').map_or((template, false), |above| (above, true));
        let mut path = fill(template, &complete(bound));
        if star {
            path = format!("{}/{below}", path.trim_end_matches('/'));
        }
        if let Some((at, text, replace)) = change {
            let places: Vec<_> = path.char_indices().map(|(at, _)| at).skip(1).chain([path.len()]).collect();
            let at = *at.get(&places);
            let end = if *replace { path[at..].chars().next().map_or(at, |c| at + c.len_utf8()) } else { at };
            path.replace_range(at..end, text);
        }
        (method.to_owned(), path)
    }
}

/// Adds a word for every capture without a value, because a route may use captures of a condition
/// that does not match.
fn complete(mut bindings: Bindings) -> Bindings {
    for (name, word) in CAPTURES.iter().zip(WORDS) {
        bindings.entry((*name).to_owned()).or_insert_with(|| word.to_owned());
    }
    bindings
}
