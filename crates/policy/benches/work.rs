//! `cargo bench -p okta-authorizer-policy`: the CPU time of the policy of two ordinary tokens, and
//! a search for the token and the rules file that cost most.

#![expect(clippy::unwrap_used, reason = "a bench panics")]

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
        // Some are refused by now, because they cost too much.
        let Ok(rules) = Rules::parse(rules) else { return };
        count += 1;
        // Only what is near the top is measured again, because other programs disturb.
        let once = microseconds(&rules, claims, asked, 1_048_576, 1);
        // A case that takes so long needs no second look.
        let runs = if once > 200_000.0 {
            0
        } else if worst.len() < WORST || worst.last().is_some_and(|(last, _)| once > *last) {
            5
        } else {
            1
        };
        let again = || microseconds(&rules, claims, asked, 1_048_576, runs);
        let time = if runs == 0 { once } else { once.min(again()) };
        if part.is_some() {
            println!("{time:>9.1} µs  {name}");
        }
        worst.push((time, name));
        worst.sort_by(|(time, _), (other, _)| other.total_cmp(time));
        worst.truncate(WORST);
    };
    special(&mut measure);
    language(&mut measure);
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

/// Cases of what the language can say: spellings, agreement, pointers, `*` in the middle, long
/// texts.
#[expect(clippy::too_many_lines, reason = "one list of cases")]
fn language(measure: Measure<'_>) {
    let measure = |name: String, rules: &str, claims: &str, asked: &str| {
        measure(format!("language: {name}"), rules, claims, asked);
    };
    let mut measure = measure;
    let quoted = |bytes: usize, value: &dyn Fn(usize) -> String| {
        fill(bytes, |n| format!("\"{}\",", value(n))).trim_end_matches(',').to_owned()
    };
    let one = |value: &dyn Fn(usize) -> String| format!("{{\"c\":[{}]}}", quoted(PAYLOAD_BYTES, value));
    let two = |value: &dyn Fn(usize) -> String| {
        let list = quoted(PAYLOAD_BYTES / 2 - 20, value);
        format!("{{\"c\":[{list}],\"d\":[{list}]}}")
    };
    let long_at = |n: usize| format!("{}@{}", "x".repeat(120), word(n));
    for effect in ["allow", "deny"] {
        let head = |text: &str| format!("[[allow]]\nroutes=['GET /a']\n[[{effect}]]\n{text}");
        let with_routes = |when: &str, item: &dyn Fn(usize) -> String| {
            let head = head(&format!("when={{{when}}}\nroutes=["));
            let items = fill(RULES_BYTES - head.len() - 1, item);
            head + &items + "]"
        };
        let many_rules = |rule: &dyn Fn(usize) -> String| {
            let head = head("routes=['GET /']\n");
            let rules = fill(RULES_BYTES - head.len(), |n| format!("[[{effect}]]\n{}", rule(n)));
            head + &rules
        };

        // Values with two spellings.
        let rules = with_routes("c='{x}'", &|_| "'ANY /{x}',".to_owned());
        measure(format!("spellings: many routes, {effect}"), &rules, &one(&|n| format!("@{}", word(n))), "GET/a");
        measure(format!("spellings: many routes, long values, {effect}"), &rules, &one(&long_at), "GET/a");
        let rules = with_routes("c='{x}',d='{y}'", &|_| "'ANY /{x}/{y}',".to_owned());
        measure(format!("spellings: two claims, {effect}"), &rules, &two(&|n| format!("@{}", word(n))), "GET/a");
        for captures in [10, 100, 30_000] {
            let route = format!("ANY /{}", "{x}".repeat(captures));
            let rules = with_routes("c='{x}'", &|_| format!("'{route}',"));
            measure(format!("spellings: {captures} captures in a route, {effect}"), &rules, &one(&long_at), "GET/a");
        }

        // A literal that is far longer than a resource.
        let long = "l".repeat(90_000);
        let short_first = format!(
            "when={{c='{{x}}'}}\nroutes=['ANY /{{x}}']\n[[{effect}]]\nwhen={{c='{{x}}',d='{{y}}'}}\nroutes=['ANY /{{x}}/{{y}}/{long}']\n"
        );
        measure(format!("a route of 90,000 characters, {effect}"), &head(&short_first), &two(&|n| word(n)), "GET/a");

        // A `*` in the middle.
        for (segments, asked) in [(4, 1_500), (30, 1_500), (200, 1_500), (200, 8_000)] {
            let route = format!("GET /*/{}{{x}}", "a/".repeat(segments));
            let rules = head(&format!("when={{c='{{x}}'}}\nroutes=['{route}']\n"));
            let path = format!("GET/{}", "a/".repeat(asked / 2));
            measure(format!("a star, {segments} segments, asked {asked}, {effect}"), &rules, &one(&word), &path);
        }
        let rules = head("when={c='{x}'}\nroutes=['GET /*/{x}/*']\n");
        for asked in ["b/".repeat(4_000), "/".repeat(8_000), "*/".repeat(4_000)] {
            let name = format!("a star, a value and a star, asked {asked:.2}, {effect}");
            measure(name, &rules, &one(&word), &format!("GET/{asked}"));
        }

        // Many captures in one pattern, all of them used; agreement of them.
        for captures in [50, 300, 900] {
            let names: Vec<_> = (0..captures).map(|n| format!("{{x{n}}}")).collect();
            let (pattern, route) = (names.join(":"), names.concat());
            let rules = many_rules(&|_| format!("when.c='{pattern}'\nroutes=['GET /{route}']\n"));
            let value = |n: usize| format!("{}:{}", word(n), vec!["a"; captures - 1].join(":"));
            measure(format!("{captures} captures, all used, {effect}"), &rules, &one(&value), "GET/a");
            let rules = many_rules(&|_| format!("when={{c='{pattern}',d='{pattern}'}}\nroutes=['GET /{{x0}}']\n"));
            measure(format!("{captures} captures that agree, {effect}"), &rules, &two(&value), "GET/a");
            let rules = many_rules(&|_| format!("when={{c='{{y}}',d='{pattern}'}}\nroutes=['GET /{{y}}{route}']\n"));
            measure(format!("{captures} captures combined, {effect}"), &rules, &two(&value), "GET/a");
        }
        let rules = many_rules(&|_| "when={c='{t}',d='{t}'}\nroutes=['GET /{t}']\n".to_owned());
        measure(format!("1,000s of values that agree, {effect}"), &rules, &two(&word), "GET/a");
        measure(
            format!("1,000s of values that agree, escaped, {effect}"),
            &rules,
            &two(&|n| format!("\\u0061{}", word(n))),
            "GET/a",
        );
        let rules = many_rules(&|n| format!("when={{c='{{t}}{}',d='{{t}}'}}\nroutes=['GET /{{t}}']\n", word(n % 36)));
        measure(format!("values that agree a little, {effect}"), &rules, &two(&word), "GET/a");

        // `all`.
        for pattern in ["'{t}'", "'{t}#'", "'a'"] {
            let list = fill(90_000, |_| format!("{pattern},"));
            let route = if pattern.contains('t') { "GET /{t}" } else { "GET /x" };
            let rules = head(&format!("when.c={{all=[{list}]}}\nroutes=['{route}']\n"));
            measure(format!("all of many {pattern}, one value, {effect}"), &rules, r#"{"c":["b#","a"]}"#, "GET/a");
            measure(format!("all of many {pattern}, {effect}"), &rules, &one(&word), "GET/a");
        }
        let list = fill(90_000, |n| format!("'{{{}}}',", "z".to_owned() + &word(n)));
        let rules = head(&format!("when.c={{all=[{list}]}}\nroutes=['GET /x']\n"));
        measure(format!("all of many captures, {effect}"), &rules, &one(&word), "GET/a");

        // Separators.
        for (length, text) in [(90_000, "s"), (90_000, "st"), (1_000, "s"), (10, "s"), (2, "s")] {
            let separator = text.repeat(length / text.len());
            let list = fill(95_000, |_| format!("'{{a}}{separator}x{{b}}',"));
            let rules = head(&format!("routes=['GET /x']\nwhen.c=[{list}]\n"));
            let name = format!("separators of {length} {text}, {effect}");
            measure(format!("{name}, short values"), &rules, &one(&word), "GET/a");
            measure(format!("{name}, long value"), &rules, &one(&|_| text.repeat(11_000 / text.len())), "GET/a");
            measure(format!("{name}, values of 100"), &rules, &one(&|_| text.repeat(100)), "GET/a");
        }

        // Lists of patterns that are compared and do not match.
        for pattern in ["{a}#", "#{a}", "{a}:{b}#", "{a}####", "#"] {
            let list = fill(95_000, |_| format!("'{pattern}',"));
            let rules = head(&format!("routes=['GET /x']\nwhen.c=[{list}]\n"));
            measure(format!("compared with many {pattern}, {effect}"), &rules, &one(&word), "GET/a");
            let few = one(&|n| format!("{}{}", "x".repeat(200), word(n)));
            measure(format!("compared with many {pattern}, long values, {effect}"), &rules, &few, "GET/a");
        }

        // JSON Pointers.
        let deep = format!("{{\"c\":{}1{}}}", "{\"a\":".repeat(120), "}".repeat(120));
        let objects = fill(11_000, |_| "{\"a\":0},".to_owned());
        let nested = fill(11_000, |_| "{\"a\":{\"a\":{}}},".to_owned());
        let members = fill(11_000, |n| format!("\"{}\":0,", word(n)));
        let numbers = fill(11_000, |_| "1,".to_owned());
        let mixed = fill(11_000, |_| "\"\\n\",".to_owned());
        let array = |list: &str| format!("{{\"c\":[{}]}}", list.trim_end_matches(','));
        let inner = |list: &str| format!("{{\"c\":{{\"k\":[{}]}}}}", list.trim_end_matches(','));
        for (name, payload) in [
            ("deep", deep),
            ("objects", array(&objects)),
            ("objects within", inner(&objects)),
            ("nested objects", array(&nested)),
            ("nested objects within", inner(&nested)),
            ("members", format!("{{\"c\":{{{}}}}}", members.trim_end_matches(','))),
            ("numbers", array(&numbers)),
            ("numbers within", inner(&numbers)),
            ("mixed", array(&format!("{mixed}1"))),
            ("mixed within", inner(&format!("{mixed}1"))),
        ] {
            for (kind, pointer) in [
                ("elements", (|n| format!("/c/{n}")) as fn(usize) -> String),
                ("members", |n| format!("/c/k/{n}")),
                ("names", |n| format!("/c/{}", word(n))),
                ("deep", |n| format!("/c{}", "/a".repeat(n % 120))),
            ] {
                let rules = many_rules(&|n| format!("when={{'{}'='x'}}\nroutes=['GET /']\n", pointer(n)));
                measure(format!("pointers to {kind}, {name}, {effect}"), &rules, &payload, "GET/a");
                let rules = many_rules(&|n| format!("when={{'{}'={{present=false}}}}\nroutes=['GET /']\n", pointer(n)));
                measure(format!("pointers to absent {kind}, {name}, {effect}"), &rules, &payload, "GET/a");
            }
        }
        let rules = many_rules(&|n| format!("when={{'/{}{}'='x'}}\nroutes=['GET /']\n", "a/".repeat(400), word(n)));
        measure(format!("long pointers, {effect}"), &rules, "{}", "GET/a");
        let rules = many_rules(&|_| "when.c='{x}'\nroutes=['GET /{x}']\n".to_owned());
        measure(format!("arrays of numbers, {effect}"), &rules, &array(&fill(11_000, |n| format!("{n},"))), "GET/a");
        measure(format!("mixed arrays, {effect}"), &rules, &array(&format!("{mixed}1")), "GET/a");

        // Stages, APIs, `present`, denied twins.
        let rules = many_rules(&|_| "stage='x'\nroutes=['ANY /']\n".to_owned());
        measure(format!("rules of another stage, {effect}"), &rules, &one(&word), "GET/a");
        let names = fill(90_000, |n| format!("'{}',", word(n)));
        let rules = head(&format!("stage=[{names}'prod']\napi=['abcdef1234']\nroutes=['ANY /']\n"));
        measure(format!("a list of stages, {effect}"), &rules, &one(&word), "GET/a");
        let present = fill(90_000, |n| format!("{}={{present={}}},", word(n), n % 36 == 0));
        let rules = head(&format!("when={{{}}}\nroutes=['ANY /']\n", present.trim_end_matches(',')));
        measure(
            format!("many present, {effect}"),
            &rules,
            &object(&fill(PAYLOAD_BYTES, |n| format!("\"{}\":1,", word(n)))),
            "GET/a",
        );
        let rules = with_routes("c='{x}'", &|n| format!("'ANY /{}/{{x}}/',", word(n)));
        measure(format!("twins, {effect}"), &rules, &one(&word), "GET/a");

        // All budgets at once: pointers or comparisons, combinations, and long routes.
        let deep = format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120));
        let deep = fill(7_500, |_| format!("{deep},"));
        let lists = quoted(2_000, &|n| format!("\\u0061{}", word(n)));
        let payload = format!("{{\"o\":{{\"k\":[{}]}},\"c\":[{lists}],\"d\":[{lists}]}}", deep.trim_end_matches(','));
        let pointers = |count| {
            (0..count)
                .map(|n| format!("[[{effect}]]\nwhen={{'/o/x{n}'='x'}}\nroutes=['GET /']\n"))
                .collect::<Vec<_>>()
                .concat()
        };
        let write = |star: &str| {
            format!(
                "[[{effect}]]\nwhen={{c='{{x}}',d='{{y}}'}}\nroutes=['ANY /{}/{{x}}/{star}{{y}}','ANY /{{x}}/{{y}}']\n",
                "l".repeat(300)
            )
        };
        for (name, rules, asked) in [
            ("", pointers(70) + &write(""), "GET/a".to_owned()),
            (", a star", pointers(70) + &write("*/"), format!("GET/{}", "l".repeat(1_500))),
            (
                ", other stages",
                pointers(70) + &write("") + &fill(90_000, |_| "[[allow]]\nstage='x'\nroutes=['ANY /']\n".to_owned()),
                "GET/a".to_owned(),
            ),
        ] {
            let rules = head("routes=['GET /']\n") + &rules;
            measure(format!("all budgets{name}, {effect}"), &rules, &payload, &asked);
        }
    }
}

fn object(members: &str) -> String {
    format!("{{{}}}", members.trim_end_matches(','))
}
