//! Random pairs of rules files. What `diff` does not report, random tokens and requests do not find
//! either. `OKTA_POLICY_PAIRS` is the number of pairs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot continue must show where and stop"
)]

use std::{collections::BTreeMap, env, sync::Arc};

use okta_authorizer_policy::{ClaimSet, MethodArn, PolicyOptions, Rules, render};
use okta_authorizer_testkit::{
    iam::{Document, Verdict},
    random::Random,
};
use okta_policy::{
    diff::{CANNOT_TELL, CANNOT_TELL_LOSS, GAIN, LOSS, diff},
    report::{File, Finding, Witness},
};
use serde_json::{Map, Value, json};

/// A rule as the lines of its TOML.
type Lines = Vec<String>;

fn rule(random: &mut Random) -> Lines {
    let is_deny = random.below(4) == 0;
    let mut lines = vec![if is_deny { "[[deny]]" } else { "[[allow]]" }.to_owned()];
    if random.below(12) == 0 {
        lines.push(format!("stage = '{}'", random.word(&["dev", "test"])));
    }
    let mut captures = Vec::new();
    let mut conditions = BTreeMap::new();
    for _ in 0..random.below(3) {
        let claim = random.word(&["groups", "tenants", "uid", "'/app/r'", "scopes"]);
        if conditions.contains_key(claim) {
            continue;
        }
        conditions.insert(claim, condition(random, claim, &mut captures));
    }
    if !conditions.is_empty() {
        let conditions: Vec<_> = conditions.iter().map(|(claim, test)| format!("{claim} = {test}")).collect();
        lines.push(format!("when = {{ {} }}", conditions.join(", ")));
    }
    let count = 1 + random.below(2);
    let routes: Vec<_> = (0..count).map(|_| format!("'{}'", route(random, &captures))).collect();
    lines.push(format!("routes = [{}]", routes.join(", ")));
    lines
}

fn condition(random: &mut Random, claim: &str, captures: &mut Vec<&'static str>) -> String {
    const LITERALS: [&str; 4] = ["A", "B", "A_x", "a"];
    match random.below(8) {
        0 => format!("{{ present = {} }}", random.word(&["true", "false"])),
        1 => format!("['{}', '{}']", random.word(&LITERALS), random.word(&["C", "B"])),
        2 if claim != "uid" => format!("{{ all = ['{}', 'B'] }}", random.word(&["A", "C"])),
        3 | 4 => {
            let name = *random.of(&["n", "m"]);
            captures.push(name);
            let pattern = random.word(&["{N}", "{N}_x", "A_{N}", "{N}-{k}", "{N}:{k}"]);
            match random.below(10) {
                0 | 1 => format!("['{{{name}}}_x', '{{{name}}}-x']"),
                // A value that both read is ambiguous, and it is not for one of them alone.
                2 => format!("['{{{name}}}_{{k}}', '{{k}}_{{{name}}}']"),
                3 => format!("'{{{name}}}_{{k}}'"),
                _ => format!("'{}'", pattern.replace('N', name)),
            }
        }
        _ => format!("'{}'", random.word(&LITERALS)),
    }
}

fn route(random: &mut Random, captures: &[&str]) -> String {
    let mut path = String::new();
    for _ in 0..random.below(4) {
        path.push('/');
        match random.below(8) {
            0 | 1 => path.push('*'),
            2..=4 if !captures.is_empty() => path.extend(["{", random.word(captures), "}"]),
            5 if random.below(8) == 0 => path.push_str("q%2fq"),
            6 if !captures.is_empty() && random.below(4) == 0 => {
                path.extend([".{", random.word(captures), "}"]);
            }
            _ => path.push_str(random.word(&["a", "b", "A"])),
        }
    }
    if path.is_empty() || random.below(10) == 0 {
        path.push('/');
    }
    format!("{} {path}", random.word(&["GET", "GET", "PUT", "ANY"]))
}

/// The same rules with a change: one that is small, so that most of both files is the same.
fn changed(random: &mut Random, rules: &[Lines]) -> Vec<Lines> {
    let mut changed = rules.to_vec();
    for _ in 0..=random.below(2) {
        let place = random.below(changed.len());
        match random.below(7) {
            0 => changed.push(rule(random)),
            1 if changed.len() > 1 => drop(changed.remove(place)),
            2 => changed[place] = rule(random),
            // Lines of two rules in one.
            3 => {
                let other = rule(random);
                let routes = other.last().unwrap().clone();
                if !routes.contains('{') {
                    *changed[place].last_mut().unwrap() = routes;
                }
            }
            4 => changed[place].retain(|line| !line.starts_with("stage")),
            // One pattern of a list.
            5 => {
                for line in &mut changed[place] {
                    *line = line.replace("['{n}_{k}', '{k}_{n}']", "'{n}_{k}'").replace("'{m}_x', ", "");
                }
            }
            _ => changed.reverse(),
        }
    }
    changed
}

fn parse(rules: &[Lines]) -> Option<(Rules, Arc<File>)> {
    let text = rules.iter().map(|lines| lines.join("\n")).collect::<Vec<_>>().join("\n\n");
    let rules = Rules::parse(&text).ok()?;
    Some((rules, Arc::new(File { name: "policy.toml".to_owned(), text })))
}

fn claims(random: &mut Random) -> Map<String, Value> {
    const VALUES: [&str; 19] = [
        "A", "B", "C", "a", "b", "A_x", "a_x", "A_a", "a:b", "A-b", "a-b-c", "A_x-x", "a@b", "a/b_x", "A_%", "A-x",
        "..@a", "@a", "a_b",
    ];
    let value = |random: &mut Random| match random.below(12) {
        0 => json!([["A"]]),
        1 => json!({ "A": 1 }),
        2..=6 => json!(random.word(&VALUES)),
        _ => (0..=random.below(3)).map(|_| json!(random.word(&VALUES))).collect(),
    };
    let mut claims = Map::new();
    for claim in ["groups", "tenants", "scp"] {
        if random.below(3) > 0 {
            claims.insert(claim.to_owned(), value(random));
        }
    }
    if random.below(3) > 0 {
        claims.insert("uid".to_owned(), json!(random.word(&VALUES)));
    }
    if random.below(3) == 0 {
        claims.insert("app".to_owned(), json!({ "r": value(random) }));
    }
    claims
}

fn request(random: &mut Random) -> String {
    let mut path = String::new();
    for _ in 0..random.below(4) {
        path.push('/');
        path.push_str(random.word(&[
            "a", "b", "A", "a", "b", "A", "x", "", "a%40b", "a@b", "q%2fq", "q%23q", "..", "%61", "..%40a", ".%40a",
        ]));
    }
    if path.is_empty() || random.below(10) == 0 {
        path.push('/');
    }
    format!("{}{path}", random.word(&["GET", "PUT", "DELETE"]))
}

/// The answer of the real evaluation, by the independent IAM evaluator.
fn is_allowed(rules: &Rules, claims: &Map<String, Value>, api: &str, stage: &str, request: &str) -> bool {
    let mut all = json!({ "iss": "https://example.okta.com", "aud": "api", "sub": "s", "iat": 1, "exp": 2 });
    all.as_object_mut().unwrap().extend(claims.clone());
    let claims = ClaimSet::parse(all.to_string().as_bytes()).unwrap();
    let arn = format!("arn:aws:execute-api:us-east-1:123456789012:{api}/{stage}/{request}");
    let requested = MethodArn::parse(&arn).unwrap();
    let options = PolicyOptions { max_bytes: 1_000_000, path_guard: true };
    let policy = render(&rules.grants(&claims, &requested), &requested, options);
    let document = serde_json::from_str(policy.document.json()).unwrap();
    Document::read(&document).unwrap().verdict(&arn) == Verdict::Allowed
}

fn is_allowed_witness(rules: &Rules, witness: &Witness) -> bool {
    let claims: Map<String, Value> = serde_json::from_str(&witness.claims).unwrap();
    is_allowed(rules, &claims, &witness.api, &witness.stage, &witness.request.replacen(' ', "", 1))
}

fn count(findings: &[Finding], kind: &str) -> usize {
    findings.iter().filter(|finding| finding.kind == kind).count()
}

#[test]
fn what_is_not_reported_is_not_found() {
    const SCENES: usize = 125;
    let pairs = env::var("OKTA_POLICY_PAIRS").map_or(2_000, |pairs| pairs.parse().unwrap());
    let mut random = Random(17);
    let (mut tried, mut differing, mut unknown, mut known) = (0, 0, 0, 0);
    while tried < pairs {
        let rules: Vec<_> = (0..=random.below(4)).map(|_| rule(&mut random)).collect();
        let after = changed(&mut random, &rules);
        let (Some((old, old_file)), Some((new, new_file))) = (parse(&rules), parse(&after)) else { continue };
        tried += 1;
        let findings = diff((&old, &old_file), (&new, &new_file), None);
        let show = || {
            let texts: Vec<_> = findings.iter().map(Finding::text).collect();
            format!("--- old\n{}\n--- new\n{}\n--- findings\n{}", old_file.text, new_file.text, texts.join("\n"))
        };
        for finding in &findings {
            let Some(witness) = &finding.witness else { continue };
            let answers = (is_allowed_witness(&old, witness), is_allowed_witness(&new, witness));
            let expected = if finding.kind == GAIN { (false, true) } else { (true, false) };
            assert_eq!(answers, expected, "{}\n{}", finding.text(), show());
        }
        unknown += usize::from(count(&findings, CANNOT_TELL) > 0);
        known += usize::from(count(&findings, GAIN) > 0);
        for _ in 0..SCENES {
            let (claims, request) = (claims(&mut random), request(&mut random));
            let stage = random.word(&["prod", "dev", "test"]);
            let was = is_allowed(&old, &claims, "abcdef1234", stage, &request);
            let is = is_allowed(&new, &claims, "abcdef1234", stage, &request);
            differing += usize::from(was != is);
            let kinds: &[&str] = match (was, is) {
                (false, true) => &[GAIN, CANNOT_TELL],
                (true, false) => &[LOSS, CANNOT_TELL_LOSS],
                _ => continue,
            };
            assert!(
                findings.iter().any(|finding| kinds.contains(&finding.kind)),
                "{} {request} at {stage}: was {was}, is {is}\n{}",
                Value::from(claims),
                show()
            );
        }
    }
    println!("{pairs} pairs, {known} with a gain, {unknown} with cannot-tell, {differing} random differences");
    assert!(differing > pairs && unknown * 20 < pairs, "{differing} differences, {unknown} unknown of {pairs}");
}

/// What `diff` reports of two files, as kinds.
fn kinds(old: &str, new: &str) -> Vec<&'static str> {
    let file = |text: &str| Arc::new(File { name: "policy.toml".to_owned(), text: text.to_owned() });
    let (old_rules, new_rules) = (Rules::parse(old).unwrap(), Rules::parse(new).unwrap());
    diff((&old_rules, &file(old)), (&new_rules, &file(new)), None).iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_difference_that_is_hard_to_see_is_reported() {
    let star = "[[allow]]\nroutes = ['GET /f/*']";
    let doubled = "[[allow]]\nwhen = { uid = '{n}' }\nroutes = ['GET /{n}/{n}']";
    for (name, old, new, claims, request) in [
        (
            "two patterns with exchanged captures make a value ambiguous",
            "[[allow]]\nwhen = { t = ['{a}_{b}', '{b}_{a}'] }\nroutes = ['GET /{a}']".to_owned(),
            "[[allow]]\nwhen = { t = '{a}_{b}' }\nroutes = ['GET /{a}']".to_owned(),
            json!({ "t": "p_q" }),
            "GET/p",
        ),
        (
            "the value of a capture that is twice in a route",
            format!("{doubled}\n[[deny]]\nroutes = ['GET /*/b']"),
            doubled.to_owned(),
            json!({ "uid": "b" }),
            "GET/b/b",
        ),
        (
            "two spellings of one value in a route",
            format!("{doubled}\n[[deny]]\nroutes = ['GET /a@b/a%40b']"),
            doubled.to_owned(),
            json!({ "uid": "a@b" }),
            "GET/a@b/a%40b",
        ),
        (
            "the path guard refuses a value after a dot",
            format!("[[allow]]\nwhen = {{ uid = '{{n}}' }}\nroutes = ['GET /a/.{{n}}']\n{star}"),
            "[[allow]]\nwhen = { uid = '{n}' }\nroutes = ['GET /a/.{n}']".to_owned(),
            json!({ "uid": "@a" }),
            "GET/a/.%40a",
        ),
        (
            "a captured value must be usable in another route of the rule",
            "[[allow]]\nwhen = { uid = '{n}' }\nroutes = ['GET /a', 'GET /{n}']".to_owned(),
            "[[allow]]\nwhen = { uid = '{n}' }\nroutes = ['GET /a']".to_owned(),
            json!({ "uid": "a/b" }),
            "GET/a",
        ),
        (
            "a text that a capture cannot use",
            "[[allow]]\nwhen = { t = '{n}' }\nroutes = ['GET /a', 'GET /{n}']".to_owned(),
            "[[allow]]\nwhen = { t = 'x/y' }\nroutes = ['GET /a']".to_owned(),
            json!({ "t": "x/y" }),
            "GET/a",
        ),
        (
            "a denial that reads one claim less",
            "[[allow]]\nroutes = ['GET /b']\n[[deny]]\nwhen = { t = 'A', s = 'B' }\nroutes = ['GET /a']".to_owned(),
            "[[allow]]\nroutes = ['GET /b']\n[[deny]]\nwhen = { t = 'A' }\nroutes = ['GET /a']".to_owned(),
            json!({ "t": "A", "s": [["x"]] }),
            "GET/b",
        ),
        (
            "a denial that no longer writes a value",
            "[[allow]]\nroutes = ['GET /b']\n[[deny]]\nwhen = { t = '{n}-x' }\nroutes = ['PUT /{n}']".to_owned(),
            "[[allow]]\nroutes = ['GET /b']\n[[deny]]\nwhen = { t = '{n}-x' }\nroutes = ['PUT /*']".to_owned(),
            json!({ "t": "a/b-x" }),
            "GET/b",
        ),
        (
            "a denial whose claims must agree now",
            "[[allow]]\nroutes = ['GET /b']\n[[deny]]\nwhen = { g = '{n}', t = '{m}' }\nroutes = ['GET /a/{n}/{m}']"
                .to_owned(),
            "[[allow]]\nroutes = ['GET /b']\n[[deny]]\nwhen = { g = '{n}', t = '{n}' }\nroutes = ['GET /*']".to_owned(),
            json!({ "g": "a/b", "t": "c" }),
            "GET/b",
        ),
    ] {
        let claims = claims.as_object().unwrap();
        let answer = |rules: &str| is_allowed(&Rules::parse(rules).unwrap(), claims, "abcdef1234", "prod", request);
        assert_eq!((answer(&old), answer(&new)), (false, true), "{name}");
        let (forward, backward) = (kinds(&old, &new), kinds(&new, &old));
        assert!(forward.iter().any(|kind| [GAIN, CANNOT_TELL].contains(kind)), "{name}: {forward:?}");
        assert!(backward.iter().any(|kind| [LOSS, CANNOT_TELL_LOSS].contains(kind)), "{name}: {backward:?}");
    }
}

#[test]
fn equal_rules_have_no_difference() {
    let allow = |when: &str, routes: &str| format!("[[allow]]\nwhen = {{ {when} }}\nroutes = [{routes}]\n");
    let deny = |body: &str| {
        format!("[[allow]]\nwhen = {{ uid = '{{u}}' }}\nroutes = ['GET /*', 'PUT /u/{{u}}']\n\n[[deny]]\n{body}\n")
    };
    let of_each_method = |path: &str| {
        let methods = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"];
        methods.map(|method| format!("'{method} {path}'")).join(", ")
    };
    for (name, one, other) in [
        (
            "exchanged captures",
            allow("t = ['{a}_{b}', '{b}_{a}']", "'GET /{a}'"),
            allow("t = ['{d}_{c}', '{c}_{d}']", "'GET /{d}'"),
        ),
        ("a pointer to a claim", allow("t = 'A'", "'GET /a'"), allow("'/t' = 'A'", "'GET /a'")),
        ("the order of a list", allow("t = ['A', 'B']", "'GET /a'"), allow("t = ['B', 'A']", "'GET /a'")),
        (
            "a list as two rules",
            allow("t = ['A', 'B']", "'GET /a'"),
            allow("t = 'A'", "'GET /a'") + &allow("t = 'B'", "'GET /a'"),
        ),
        (
            "routes as two rules",
            allow("t = '{a}'", "'GET /a/{a}', 'PUT /b/{a}'"),
            allow("t = '{x}'", "'GET /a/{x}'") + &allow("t = '{y}'", "'PUT /b/{y}'"),
        ),
        ("each method", allow("t = 'A'", "'ANY /a'"), allow("t = 'A'", &of_each_method("/a"))),
        (
            "the order of all",
            allow("t = { all = ['{a}_x', '{b}_x'] }", "'GET /{a}/{b}'"),
            allow("t = { all = ['{b}_x', '{a}_x'] }", "'GET /{a}/{b}'"),
        ),
        (
            "a list of a denial as two rules",
            deny("when = { t = ['A', 'B'] }\nroutes = ['GET /*']"),
            deny("when = { t = 'A' }\nroutes = ['GET /*']\n[[deny]]\nwhen = { t = 'B' }\nroutes = ['GET /*']"),
        ),
        (
            "routes of a denial as two rules",
            deny("when = { t = '{n}-x' }\nroutes = ['GET /{n}', 'GET /b/{n}']"),
            deny(
                "when = { t = '{n}-x' }\nroutes = ['GET /{n}']\n[[deny]]\nwhen = { t = '{m}-x' }\nroutes = ['GET /b/{m}']",
            ),
        ),
        (
            "each method of a denial",
            deny("when = { t = '{n}-x' }\nroutes = ['ANY /{n}']"),
            deny(&format!("when = {{ t = '{{m}}-x' }}\nroutes = [{}]", of_each_method("/{m}"))),
        ),
        (
            "a denial with a slash at its end",
            deny("when = { t = 'A' }\nroutes = ['GET /a']"),
            deny("when = { t = 'A' }\nroutes = ['GET /a/']"),
        ),
    ] {
        assert_eq!(kinds(&one, &other), [""; 0], "{name}");
        assert_eq!(kinds(&other, &one), [""; 0], "{name}");
    }
}
