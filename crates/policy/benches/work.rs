//! `cargo bench -p okta-authorizer-policy`: the CPU time of the policy of two ordinary tokens, and
//! a search for the token and the rules file that cost most.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a bench panics")]

use std::{fmt::Write, hint::black_box, time::Instant};

use okta_authorizer_policy::{ClaimSet, MethodArn, PolicyOptions, Rules, render};

/// The longest rules file.
const RULES_BYTES: usize = 100 * 1024;
/// The payload of a token of 16 KiB, with a short header and the signature.
const PAYLOAD_BYTES: usize = 11_900;
/// How many of the worst cases are printed.
const WORST: usize = 12;

fn main() {
    let ordinary = r#""iss":"https://example.okta.com","sub":"ada@example.com","uid":"00uada","cid":"0oaclient""#;
    let tenants: Vec<_> = (0..100).map(|n| format!("\"0oidp{n}:tenant-{n}:ADMINS\"")).collect();
    for (name, claims) in [
        ("plain user", format!("{{{ordinary}}}")),
        ("admin of 100 tenants", format!("{{{ordinary},\"tenants\":[{}]}}", tenants.join(","))),
    ] {
        let rules = Rules::parse(include_str!("../../testkit/rules.toml")).unwrap();
        println!("{:>9.1} µs  {name}", microseconds(&rules, &claims, "GET/apps", 32_768, 20_000));
    }
    // `ordinary`, or a part of the names of the cases to run. `cargo bench` adds `--bench`.
    let part = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    if part.as_deref() == Some("ordinary") {
        return;
    }
    let mut worst: Vec<(f64, String)> = Vec::new();
    let mut count = 0;
    let mut measure = |name: String, rules: &str, claims: &str, asked: &str| {
        if part.as_ref().is_some_and(|part| !name.contains(part.as_str())) {
            return;
        }
        let Ok(rules) = Rules::parse(rules) else { panic!("{name}: {rules:.300}") };
        count += 1;
        // Only what is near the top is measured again, because other programs disturb.
        let once = microseconds(&rules, claims, asked, 1_048_576, 1);
        let runs = if worst.len() < WORST || worst.last().is_some_and(|(last, _)| once > *last) { 5 } else { 1 };
        let time = once.min(microseconds(&rules, claims, asked, 1_048_576, runs));
        if part.is_some() {
            println!("{time:>9.1} µs  {name}");
        }
        worst.push((time, name));
        worst.sort_by(|(time, _), (other, _)| other.total_cmp(time));
        worst.truncate(WORST);
    };
    special(&mut measure);
    grid(&mut measure);
    println!("the worst of {count} cases:");
    for (time, name) in worst {
        println!("{time:>9.1} µs  {name}");
    }
}

/// The time from the payload to the policy: the shortest of several runs.
fn microseconds(rules: &Rules, claims: &str, asked: &str, max_bytes: usize, runs: usize) -> f64 {
    let stage = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod";
    let requested = MethodArn::parse(&format!("{stage}/{asked}")).unwrap();
    let run = || {
        let start = Instant::now();
        let claims = ClaimSet::parse(claims.as_bytes()).unwrap();
        black_box(render(
            &rules.grants(&claims, &requested),
            &requested,
            PolicyOptions { max_bytes, path_guard: true },
        ));
        start.elapsed()
    };
    (0..runs).map(|_| run()).min().unwrap().as_secs_f64() * 1e6
}

/// Takes a case: its name, its rules, its claims and the request.
type Measure<'m> = &'m mut dyn FnMut(String, &str, &str, &str);

/// `units` one after the other, as many as there is room for.
fn fill(bytes: usize, unit: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0.. {
        let next = unit(number);
        if text.len() + next.len() > bytes {
            return text;
        }
        text.push_str(&next);
    }
    text
}

/// A short text, different for each number, in an order that is not sorted.
fn word(number: usize) -> String {
    const DIGITS: &[u8; 36] = b"q7wertz0uiopa1sdf2ghj3kly4xc5vb6nm89";
    let mut number = number;
    let mut text = String::new();
    loop {
        text.push(char::from(*DIGITS.get(number % 36).unwrap()));
        number /= 36;
        if number == 0 {
            return text;
        }
    }
}

/// Every combination of a kind of value, a kind of pattern, a shape of the rules and a kind of
/// route.
fn grid(measure: Measure<'_>) {
    type Value = fn(usize) -> String;
    let values: [(&str, Value); 8] = [
        ("short", word),
        ("escaped", |n| format!("\\u0061{}", word(n))),
        ("paired", |n| format!("{}:{}", word(n), word(n * 7))),
        ("ambiguous", |n| format!("{}:a:b", word(n))),
        ("unsafe", |n| format!("{}*", word(n))),
        ("long", |n| format!("{}{}", "x".repeat(100), word(n))),
        ("huge", |n| format!("{}{}", "y".repeat(3_000), word(n))),
        ("same", |_| "a".to_owned()),
    ];
    let patterns = ["'?'", "'a'", "'{NAME}'", "'{NAME}:{NAMEx}'", "'{NAME}#{NAMEx}'"];
    let shapes = [(1, 1), (1, 13), (1, 2_000), (2_000, 10)];
    let routes =
        ["GET /a", "GET /{NAME}", "ANY /{NAME}/*", "ANY /{NAME}{NAME}{NAME}{NAME}{NAME}{NAME}", "ANY /LONG{NAME}"];
    for (value_name, value) in values {
        for claims in [1, 3] {
            let mut payload = r#"{"uid":"u""#.to_owned();
            for claim in 0..claims {
                let list = fill(PAYLOAD_BYTES / claims - 20, |n| format!("\"{}\",", value(n)));
                write!(payload, ",\"c{claim}\":[{}]", list.trim_end_matches(',')).unwrap();
            }
            payload.push('}');
            for pattern in patterns {
                let is_bound = |route: &str| pattern.contains("NAME") || !route.contains("NAME");
                for route in routes.into_iter().filter(|route| is_bound(route)) {
                    for ((patterns_each, routes_each), effect) in
                        shapes.into_iter().flat_map(|shape| ["allow", "deny"].map(|effect| (shape, effect)))
                    {
                        let name = format!(
                            "{claims} claims of {value_name} values, {effect} rules with {patterns_each} patterns {pattern} and {routes_each} routes {route}"
                        );
                        if let Some(rules) = rules(effect, claims, pattern, patterns_each, route, routes_each) {
                            measure(name, &rules, &payload, "GET/a");
                        }
                    }
                }
            }
        }
    }
}

/// A rules file with as many such rules as there is room for.
fn rules(effect: &str, claims: usize, pattern: &str, patterns: usize, route: &str, routes: usize) -> Option<String> {
    let when: Vec<_> = (0..claims)
        .map(|claim| {
            let pattern = pattern.replace("NAME", &format!("n{claim}"));
            format!("c{claim}=[{}]", [&*pattern].repeat(patterns).join(","))
        })
        .collect();
    let route = if route == "LONG" { format!("ANY /{}/{{NAME}}", "l".repeat(380)) } else { route.to_owned() };
    let routes: Vec<_> =
        (0..routes).map(|n| format!("'{}'", route.replace("NAME", &format!("n{}", n % claims)))).collect();
    let rule = format!("[[{effect}]]\nwhen={{{}}}\nroutes=[{}]\n", when.join(","), routes.join(","));
    let first = "[[allow]]\nroutes=['GET /a']\n";
    let all = first.to_owned() + &fill(RULES_BYTES - first.len(), |_| rule.clone());
    (all.len() > first.len()).then_some(all)
}

/// Cases that the grid does not have.
fn special(measure: Measure<'_>) {
    let texts = |count, prefix: &str| (0..count).map(|n| format!("\"{prefix}{n}\"")).collect::<Vec<_>>().join(",");
    let routes: Vec<_> = (0..13).map(|n| format!("'ANY /{n}/{{g}}/{{t}}/*'")).collect();
    let rule = format!("[[allow]]\nwhen={{groups='{{g}}',tenants='{{t}}'}}\nroutes=[{}]\n", routes.join(","));
    let payload = format!(r#"{{"groups":[{}],"tenants":[{}]}}"#, texts(100, "group-"), texts(100, "tenant-"));
    measure("issue 15".to_owned(), &rule.repeat(30), &payload, "GET/a");

    let members = |value: &str| object(&fill(PAYLOAD_BYTES, |n| format!("\"{}\":{value},", word(n))));
    let shuffled =
        format!("{{\"c\":[{}]}}", fill(PAYLOAD_BYTES, |n| format!("\"{}\",", word(n * 7_919))).trim_end_matches(','));
    for effect in ["allow", "deny"] {
        // The rules need an `[[allow]]`.
        let head = |text: &str| format!("[[allow]]\nroutes=['GET /a']\n[[{effect}]]\n{text}");
        let list = |head: String, item: &dyn Fn(usize) -> String| {
            let items = fill(RULES_BYTES - head.len() - 1, item);
            head + &items + "]"
        };

        // As many claims as there is room for in one rule, each captured and used.
        let names: Vec<_> = (0..1_200).map(word).collect();
        let when: Vec<_> = names.iter().map(|name| format!("{name}='{{x{name}}}'")).collect();
        let route = format!("{{x{}}}", names.join("}{x"));
        let rules = list(head(&format!("when={{{}}}\nroutes=[", when.join(","))), &|_| format!("'ANY /{route}',"));
        measure(format!("1,200 captures, {effect}"), &rules, &members("1"), "GET/a");

        let one_each = |rule: &dyn Fn(usize) -> String| {
            head("routes=['GET /']\n") + &fill(RULES_BYTES - 100, |n| format!("[[{effect}]]\n{}", rule(n)))
        };
        let rules = one_each(&|_| "routes=['ANY /']\n".to_owned());
        measure(format!("thousands of rules, {effect}"), &rules, "{}", "GET/");
        let rules = one_each(&|n| format!("when={{{}='{{x}}'}}\nroutes=['ANY /{{x}}']\n", word(n)));
        measure(format!("a rule for each claim, {effect}"), &rules, &members("1"), "GET/a");

        for (name, route) in [("the same", "ANY /"), ("the same with `*`", "ANY /*"), ("different", "ANY /#/*")] {
            let rules = list(head("routes=["), &|n| format!("'{}',", route.replace('#', &word(n))));
            measure(format!("thousands of routes, {name}, {effect}"), &rules, "{}", "GET/");
        }

        // Resources with a long common start, which are slow to sort and to compare.
        for length in [30, 120, 350] {
            let start = "l".repeat(length);
            let rule = head(&format!("when={{c='{{x}}'}}\nroutes=['ANY /{start}/{{x}}/*','ANY /{start}{{x}}']\n"));
            for asked in ["a", &"*".repeat(1_500), &"l".repeat(1_500), &"$".repeat(length)] {
                let name = format!("{length} common characters, {effect}, asked {asked:.3}");
                measure(name, &rule, &shuffled, &format!("GET/{asked}"));
            }
        }

        let captures: Vec<_> = (0..900).map(|n| format!("{{x{n}}}")).collect();
        let pattern = captures.join(":");
        let rules = list(head("routes=['ANY /a']\nwhen.c=["), &|_| format!("'{pattern}',"));
        for value in [":".repeat(11_000), "a:".repeat(1_000)] {
            let payload = format!("{{\"c\":[\"{value}\"]}}");
            measure(format!("900 captures in a pattern, {effect}, {value:.2}"), &rules, &payload, "GET/a");
        }
    }

    let guarded = "[[allow]]\nroutes=['GET /*']\n";
    for part in ["%", "/.", "%2", "\\", "*", "#"] {
        measure(format!("a path of `{part}`"), guarded, "{}", &format!("GET/{}", part.repeat(700)));
    }
    for (name, payload) in [
        ("nested arrays", format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120))),
        ("many members", members("1")),
        ("many objects", members("{\"a\":1}")),
        ("one object with many names", format!("{{\"a\":{}}}", members("1"))),
    ] {
        measure(name.to_owned(), guarded, &payload, "GET/a");
    }
}

fn object(members: &str) -> String {
    format!("{{{}}}", members.trim_end_matches(','))
}
