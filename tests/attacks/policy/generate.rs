//! Random rules, claims and requests over the whole rules language. Characters with a meaning in
//! IAM, in a URL or in a path are frequent. So are requests that the rules are about, because
//! others show little.

use okta_authorizer_testkit::{
    METHODS,
    reference_rules::{Bindings, Condition, Rule, encode_uri_component, fill},
};
use proptest::{
    bool::weighted,
    collection::vec,
    option,
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
pub struct Request {
    pub api: &'static str,
    pub stage: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Anything.
    Random { method: &'static str, path: String },
    /// What a rule grants or denies for some bindings, and perhaps a change to it.
    Aimed {
        rule: Index,
        route: Index,
        bindings: Index,
        method: Index,
        /// How each captured value is written.
        spellings: Vec<Spelling>,
        /// What is in the place of the route's wildcards.
        wild: Vec<String>,
        /// Whether a slash at the end is added or removed.
        other_end: bool,
        change: Option<(Index, String, bool)>,
    },
}

#[derive(Debug, Clone, Copy)]
enum Spelling {
    AsItIs,
    /// As `encodeURIComponent` writes it.
    Encoded,
    /// Like `Encoded`, but the digits are in lower case. No rule grants this.
    LowerCase,
    /// Every character is encoded. No rule grants this.
    All,
}

/// Two of each, because a rule may be for one of them.
const APIS: [&str; 2] = ["abcdef1234", "zyxwvu9876"];
const STAGES: [&str; 2] = ["prod", "test"];
const CLAIMS: [&str; 11] = [
    "uid",
    "groups",
    "tenants",
    "scopes",
    "dept",
    "x y\"z",
    "app",
    "/app/roles",
    "/app/own~1er",
    "/app/ids/0",
    "/groups/1",
];
const CAPTURES: [&str; 4] = ["a", "b_2", "userId", "Z"];
const WORDS: [&str; 6] = ["a", "b", "acme", "umbra", "7", "A"];
const SEPARATORS: [&str; 8] = [":", "-", "a", "::", "_", ".", "@", " "];

/// Values as tokens have them, which go into a route in one or two spellings, or not at all.
const PEOPLE: [&str; 12] = [
    "alice@example.com",
    "Smith & Sons (UK)",
    "O'Neil",
    "a b",
    "a  b",
    " a",
    "b ",
    "x+y=z",
    "7:acme",
    "acme;x",
    "ａcme",
    "acme@a",
];

/// The longest value that a capture accepts. Four of them make a resource that is too long for IAM.
const LONG: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// The parts of a claim's value.
#[rustfmt::skip] // one item per line otherwise
const IN_VALUES: [&str; 46] = [
    LONG, "xxxxxxxx", "a", "a", "b", "acme", "umbra", "7", "A", ":", ":", ":", "-", "_", ".", "..", "*", "?", "$",
    "${aws:username}", "${*}", "/", "//", "/*", "\\", "%", "%2e", "%2F", "%2a", " ", " ", "+", "@", "@", "é",
    "\u{202e}", "\0", "\n", "\"", "'", "{a}", "~", "=,!", ";", "&", "()",
];

/// The parts of a route's text: everything that the language accepts.
const IN_ROUTES: [&str; 23] = [
    LONG, "a", "a", "b", "acme", "umbra", "7", "A", ".", "..", "-", "_", "~", "@", "+", "=", ",", ":", "!", "%20",
    "%C3%A9", "(&)", "';",
];

/// The parts of a path.
#[rustfmt::skip] // one item per line otherwise
const IN_PATHS: [&str; 87] = [
    "/", "/", "/", "/", "/", "/", "a", "a", "b", "acme", "umbra", "7", "A", ":", "-", ".", ".", "..", "..", "/../",
    "/./", "/..", "/.", "...", "\\", "\\..\\", "*", "?", "$", "${*}", "%", "%%", "2", "5", "e", "E", "f", "c", "2e",
    "2F", "%2e", "%2E", "%2f", "%2F", "%5c", "%5C", "%25", "%252e", "%252E", "%252f", "%255c", "%32", "%65", "%45",
    "%66", "%09", "%0D", "%250a", "%30", "%c0%ae", "%C1%9C", "%25%32%65", "%00", "%09", "%20", "%C3%A9", ";", "..;",
    ".;", "%3b", "é", "~", " ", "#", "..#", "/..#", "%23", ".. ", "%3F", "%40", "%26", "%2523", "%33", "\t", "\r", "\n", "\0",
];

fn of(parts: &'static [&'static str], count: std::ops::Range<usize>) -> impl Strategy<Value = String> + Clone {
    vec(select(parts), count).prop_map(|parts| parts.concat())
}

pub fn case() -> impl Strategy<Value = Case> {
    let rules = vec(rule(), 1..5).prop_map(|mut rules| {
        rules[0].denies = false;
        for (place, rule) in rules.iter_mut().enumerate() {
            // Names are used once.
            rule.name = rule.name.take().map(|name| format!("{name} {place}"));
        }
        rules
    });
    let max_bytes = prop_oneof![6 => Just(32_768_usize), 1 => Just(1_024_usize), 1 => 1_024..6_000_usize];
    (rules, claims(), vec(request(), 6), max_bytes, weighted(0.9)).prop_map(
        |(rules, claims, requests, max_bytes, path_guard)| Case { rules, claims, requests, max_bytes, path_guard },
    )
}

fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let text = || prop_oneof![3 => of(&IN_VALUES, 0..6), 1 => select(&PEOPLE[..]).prop_map(str::to_owned)];
    let value = || {
        prop_oneof![
            5 => text().prop_map(Value::from),
            8 => vec(text(), 0..4).prop_map(Value::from),
            1 => any::<i32>().prop_map(Value::from),
            1 => select(vec![
                json!(null), json!(true), json!(1.5), json!({ "a": "b" }), json!(["a", 7]), json!([7, 1.5, false]),
                json!([["a"]]), json!(["a", null]), json!(["b", {}]),
            ]),
        ]
    };
    // Values like those of okta-dac, most of them well-formed.
    let tenant = (select(&WORDS[..]), select(&WORDS[..]), of(&IN_VALUES, 0..3))
        .prop_map(|(id, name, users)| format!("{id}:{name}:{users}"));
    let pair = (select(&WORDS[..]), select(&SEPARATORS[..]), select(&WORDS[..]))
        .prop_map(|(one, between, other)| format!("{one}{between}{other}"));
    let tenants = prop_oneof![vec(tenant, 1..4).prop_map(Value::from), vec(pair, 1..4).prop_map(Value::from), value()];
    let words = || vec(select(&WORDS[..]), 1..4);
    let people = || vec(select(&PEOPLE[..]), 1..3);
    let groups = || prop_oneof![3 => words().prop_map(Value::from), 1 => people().prop_map(Value::from), 2 => value()];
    let scopes = prop_oneof![
        words().prop_map(|scopes| json!({ "scp": scopes })),
        words().prop_map(|scopes| json!({ "scope": scopes.join(" ") })),
        value().prop_map(|value| json!({ "scope": value, "scp": null })),
        (value(), value()).prop_map(|(scp, scope)| json!({ "scp": scp, "scope": scope })),
    ];
    let uid = prop_oneof![
        2 => select(&WORDS[..]).prop_map(str::to_owned),
        3 => select(&PEOPLE[..]).prop_map(str::to_owned),
        1 => of(&IN_VALUES, 0..4),
    ];
    let app = prop_oneof![
        6 => (groups(), value(), groups()).prop_map(|(roles, owner, ids)| {
            json!({ "roles": roles, "own/er": owner, "ids": ids })
        }),
        1 => value(),
    ];
    (option::weighted(0.9, uid), groups(), tenants, scopes, value(), app, value()).prop_map(
        |(uid, groups, tenants, scopes, dept, app, odd)| {
            let Value::Object(mut claims) = scopes else { unreachable!("scopes are objects") };
            let others = [("groups", groups), ("tenants", tenants), ("dept", dept), ("app", app), ("x y\"z", odd)];
            let uid = uid.map(|uid| ("uid", json!(uid)));
            claims.extend(others.into_iter().chain(uid).map(|(name, value)| (name.to_owned(), value)));
            claims
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let claims = prop_oneof![
        6 => subsequence(&CLAIMS[..4], 0..=2),
        3 => subsequence(&CLAIMS[..], 0..=2),
        1 => subsequence(&CLAIMS[..], 3),
    ];
    let names =
        |all: &'static [&'static str], weight| prop_oneof![weight => Just(vec![]), 1 => subsequence(all, 1..=2)];
    let name = option::weighted(0.3, select(vec!["line 1", "tenant's admins", "a.b (c)"]));
    let routes = vec(route_parts(), 1..4);
    (weighted(0.25), name, claims, vec(condition(), 3), names(&STAGES, 8), names(&APIS, 8), routes).prop_map(
        |(denies, name, claims, conditions, stage, api, routes)| {
            let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            let mut known: Vec<&str> = Vec::new();
            let mut when = Vec::new();
            for (claim, (mut condition, captures)) in claims.into_iter().zip(conditions) {
                known.extend(captures);
                if let (true, Condition::Any(patterns) | Condition::All(patterns)) = (claim == "scopes", &mut condition)
                {
                    // No scope has a blank.
                    for pattern in patterns {
                        *pattern = pattern.replace(' ', ":");
                    }
                }
                when.push((claim.to_owned(), condition));
            }
            let routes = routes.into_iter().map(|parts| route(&known, parts)).collect();
            Rule { denies, name: name.map(str::to_owned), when, stage: owned(stage), api: owned(api), routes }
        },
    )
}

/// A condition and its captures. Several claims often have the same ones.
fn condition() -> impl Strategy<Value = (Condition, Vec<&'static str>)> {
    let names =
        || prop_oneof![2 => Just(vec![]), 4 => subsequence(&CAPTURES[..2], 1), 3 => subsequence(&CAPTURES[..], 1..=3)];
    let any_of = (names(), vec(pattern_parts(), 1..4)).prop_map(|(names, patterns)| {
        let patterns = patterns.into_iter().map(|parts| pattern(&names, parts)).collect();
        (Condition::Any(patterns), names)
    });
    let all_of = vec((names(), pattern_parts()), 1..4).prop_map(|patterns| {
        let names = patterns.iter().flat_map(|(names, _)| names.clone()).collect();
        let patterns = patterns.into_iter().map(|(names, parts)| pattern(&names, parts)).collect();
        (Condition::All(patterns), names)
    });
    let present = any::<bool>().prop_map(|present| (Condition::Present(present), Vec::new()));
    prop_oneof![7 => any_of, 2 => all_of, 1 => present]
}

/// The text before, between and after the captures, and whether the captures are reversed.
type PatternParts = (String, Vec<&'static str>, String, bool);

fn pattern_parts() -> impl Strategy<Value = PatternParts> {
    let edge = || {
        prop_oneof![
            6 => Just(String::new()),
            1 => select(&WORDS[..]).prop_map(str::to_owned),
            1 => select(&SEPARATORS[..]).prop_map(str::to_owned),
        ]
    };
    (edge(), vec(prop_oneof![4 => Just(":"), 1 => select(&SEPARATORS[..])], 3), edge(), weighted(0.2))
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
    // The language accepts no empty pattern, and no blank at its ends.
    let pattern = pattern.trim();
    if pattern.is_empty() { "acme".to_owned() } else { pattern.to_owned() }
}

/// A method, the pieces of each segment, or none for a wildcard, and the end of the path.
type RouteParts = (&'static str, Vec<Option<Vec<(String, Option<Index>)>>>, &'static str);

fn route_parts() -> impl Strategy<Value = RouteParts> {
    let method = prop_oneof![4 => Just("GET"), 2 => Just("ANY"), 2 => select(&METHODS[..])];
    let piece = (
        prop_oneof![9 => of(&IN_ROUTES, 0..2), 9 => of(&IN_ROUTES, 0..4), 1 => of(&[LONG], 2..4)],
        option::weighted(0.5, any::<Index>()),
    );
    let segment = option::weighted(0.88, vec(piece, 1..3));
    let end = prop_oneof![5 => Just(""), 4 => Just("/*"), 1 => Just("/")];
    (method, vec(segment, 0..4), end)
}

fn route(known: &[&str], (method, segments, end): RouteParts) -> String {
    let segment = |parts: Option<Vec<(String, Option<Index>)>>| {
        let Some(parts) = parts else { return "*".to_owned() };
        let mut segment = String::new();
        for (text, capture) in parts {
            segment.push_str(&text);
            if let Some(index) = capture.filter(|_| !known.is_empty()) {
                segment.extend(["{", index.get::<&str>(known), "}"]);
            }
        }
        // The language accepts none of these.
        let is_like_express =
            segment.strip_prefix(':').is_some_and(|name| name.starts_with(|c: char| c.is_alphabetic()));
        if matches!(segment.as_str(), "" | "." | "..") {
            "a".to_owned()
        } else if is_like_express {
            format!("a{segment}")
        } else {
            segment
        }
    };
    let mut path = segments.into_iter().map(|parts| format!("/{}", segment(parts))).collect::<Vec<_>>().concat();
    path.push_str(end);
    // Neither is a longer route accepted. With captured values, a path can still be too long.
    let is_good = (1..=500).contains(&path.len());
    format!("{method} {}", if is_good { &path } else { "/" })
}

fn request() -> impl Strategy<Value = Request> {
    let method = prop_oneof![6 => Just("GET"), 3 => select(&METHODS[..]), 1 => select(vec!["TRACE", "ANY", "X"])];
    let path = prop_oneof![20 => of(&IN_PATHS, 0..8), 1 => of(&IN_PATHS, 150..400)];
    // An ARN may end with the method.
    let path = prop_oneof![30 => path.prop_map(|path| format!("/{path}")), 1 => Just(String::new())];
    let random = (method, path).prop_map(|(method, path)| Kind::Random { method, path });
    let change = (any::<Index>(), of(&IN_PATHS, 1..4), any::<bool>());
    let wild = prop_oneof![2 => select(&WORDS[..]).prop_map(str::to_owned), 3 => of(&IN_PATHS, 0..6)];
    let spelling = prop_oneof![
        4 => Just(Spelling::AsItIs),
        4 => Just(Spelling::Encoded),
        1 => select(vec![Spelling::LowerCase, Spelling::All])
    ];
    let index = || any::<Index>();
    let places = (index(), index(), index(), index());
    let aimed = (places, vec(spelling, 4), vec(wild, 2), weighted(0.1), option::weighted(0.3, change)).prop_map(
        |((rule, route, bindings, method), spellings, wild, other_end, change)| Kind::Aimed {
            rule,
            route,
            bindings,
            method,
            spellings,
            wild,
            other_end,
            change,
        },
    );
    // Most requests are to one API and stage, because the others have another policy.
    let target = prop_oneof![8 => Just((APIS[0], STAGES[0])), 1 => (select(&APIS[..]), select(&STAGES[..]))];
    (target, prop_oneof![1 => random, 3 => aimed]).prop_map(|((api, stage), kind)| Request { api, stage, kind })
}

impl Request {
    /// The method and the path.
    pub fn to(&self, rules: &[Rule], claims: &Map<String, Value>) -> (String, String) {
        let (rule, route, bindings, method, spellings, wild, other_end, change) = match &self.kind {
            Kind::Random { method, path } => return ((*method).to_owned(), path.clone()),
            Kind::Aimed { rule, route, bindings, method, spellings, wild, other_end, change } => {
                (rule, route, bindings, method, spellings, wild, other_end, change)
            }
        };
        let rule = rule.get(rules);
        let route = route.get(&rule.routes);
        let matches = rule.all_bindings(claims);
        // If the claims do not match, the path has the values of another user.
        let bound = if matches.is_empty() { Bindings::new() } else { bindings.get(&matches).clone() };
        let (route_method, template) = route.split_once(' ').unwrap();
        let method = if route_method == "ANY" { *method.get(&METHODS) } else { route_method };
        let mut wild = wild.iter().cycle();
        let segments = template.split('/').map(|one| if one == "*" { wild.next().unwrap() } else { one });
        let template = segments.collect::<Vec<_>>().join("/");
        let mut spellings = spellings.iter().cycle();
        let mut path = fill(&template, &complete(bound), |value| spelled(value, *spellings.next().unwrap()));
        if *other_end && path.len() > 1 {
            path = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
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

fn spelled(value: &str, spelling: Spelling) -> String {
    match spelling {
        Spelling::AsItIs => value.to_owned(),
        Spelling::Encoded => encode_uri_component(value),
        Spelling::LowerCase => {
            let changed = |c: char| {
                if c.is_ascii_alphanumeric() {
                    c.to_string()
                } else {
                    encode_uri_component(&c.to_string()).to_lowercase()
                }
            };
            value.chars().map(changed).collect()
        }
        Spelling::All => value.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat(),
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
