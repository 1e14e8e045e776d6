//! Random APIs and rules. What `cover` and `diff --api` do not report, random tokens and requests do
//! not find either. `OKTA_POLICY_APIS` is the number of APIs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must show where and stop")]

use std::{collections::BTreeMap, env, fmt::Write, sync::Arc};

use okta_authorizer_policy::{ClaimSet, MAX_RESOURCE, MethodArn, PolicyOptions, Rules, render};
use okta_authorizer_testkit::{
    iam::{Document, Verdict},
    random::Random,
};
use okta_policy::{
    api::{self, Access, Api, BasePath, Operation, Segment},
    cover::{
        Found, OPEN_OPERATION, REACHED_ACROSS_SLASH, Target, UNGRANTED_OPERATION, UNREACHED_ROUTE, WILDCARD_REACH,
        cover,
    },
    diff::{CANNOT_TELL, CANNOT_TELL_LOSS, GAIN, LOSS, diff},
    report::{File, Finding, Witness},
};
use serde_json::{Map, Value, json};

fn file(name: &str, text: String) -> Arc<File> {
    Arc::new(File { name: name.to_owned(), text })
}

fn api(random: &mut Random) -> Api {
    let mut paths: BTreeMap<String, BTreeMap<&str, bool>> = BTreeMap::new();
    for _ in 0..=random.below(5) {
        let mut path = String::new();
        let length = random.below(4);
        for number in 0..length {
            let is_last = number + 1 == length;
            path.push('/');
            match random.below(8) {
                0..=2 => write!(path, "{{p{number}}}").unwrap(),
                3 | 4 if is_last => path.push_str("{proxy+}"),
                _ => path.push_str(random.word(&["a", "b", "A"])),
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        let methods = paths.entry(path).or_default();
        for _ in 0..=random.below(2) {
            let method = *random.of(&["get", "put", "get", "x-amazon-apigateway-any-method"]);
            methods.insert(method, random.below(8) > 0);
        }
    }
    let operation =
        |has_authorizer: bool| if has_authorizer { json!({ "security": [{ "okta": [] }] }) } else { json!({}) };
    let paths: Map<String, Value> = paths
        .into_iter()
        .map(|(path, methods)| {
            let methods: Map<String, Value> =
                methods.into_iter().map(|(method, has)| (method.to_owned(), operation(has))).collect();
            (path, methods.into())
        })
        .collect();
    let okta = json!({ "type": "apiKey", "x-amazon-apigateway-authorizer": { "type": "token" } });
    let schemes = json!({ "securitySchemes": { "okta": okta } });
    let document = json!({ "openapi": "3.0.1", "paths": paths, "components": schemes });
    let Ok(api) = api::parse(&file("api.json", document.to_string()), BasePath::Ignore, &|_| None) else {
        panic!("{document}")
    };
    api
}

fn rule(random: &mut Random) -> String {
    let is_deny = random.below(5) == 0;
    let head = if is_deny { "[[deny]]" } else { "[[allow]]" };
    let stage = if random.below(10) == 0 { "stage = 'dev'\n" } else { "" };
    let (when, names): (&str, &[&str]) = *random.of(&[
        ("", &[] as &[&str]),
        ("", &[]),
        ("when = { groups = 'A' }\n", &[]),
        ("when = { groups = ['A', 'B'] }\n", &[]),
        ("when = { groups = { present = true } }\n", &[]),
        ("when = { groups = { present = false } }\n", &[]),
        ("when = { uid = '{n}' }\n", &["n"]),
        ("when = { uid = '{n}', groups = 'A' }\n", &["n"]),
        ("when = { tenants = '{k}:{n}' }\n", &["n", "k"]),
        ("when = { tenants = ['{n}:x', '{n}-x'] }\n", &["n"]),
    ]);
    let routes: Vec<_> = (0..=random.below(3)).map(|_| format!("'{}'", route(random, names))).collect();
    format!("{head}\n{stage}{when}routes = [{}]\n", routes.join(", "))
}

fn route(random: &mut Random, captures: &[&str]) -> String {
    let mut path = String::new();
    for _ in 0..random.below(5) {
        path.push('/');
        match random.below(8) {
            0..=2 => path.push('*'),
            3 | 4 if !captures.is_empty() => write!(path, "{{{}}}", random.of(captures)).unwrap(),
            _ => path.push_str(random.word(&["a", "b", "A"])),
        }
    }
    if path.is_empty() || random.below(10) == 0 {
        path.push('/');
    }
    format!("{} {path}", random.word(&["GET", "GET", "PUT", "ANY"]))
}

fn rules(random: &mut Random) -> (Rules, Arc<File>) {
    loop {
        let text: Vec<_> = (0..=random.below(4)).map(|_| rule(random)).collect();
        let text = text.join("\n");
        if let Ok(rules) = Rules::parse(&text) {
            return (rules, file("policy.toml", text));
        }
    }
}

/// The same rules with one of them left out, added or exchanged.
fn changed(random: &mut Random, old: &str) -> (Rules, Arc<File>) {
    loop {
        let mut rules: Vec<String> = old.split("\n\n").map(|rule| rule.trim_end().to_owned() + "\n").collect();
        let place = random.below(rules.len());
        match random.below(4) {
            0 => rules.push(rule(random)),
            1 if rules.len() > 1 => drop(rules.remove(place)),
            2 => {
                let rule = rules.get_mut(place).unwrap();
                *rule = rule.replacen("/a", "/*", 1).replacen("GET", "ANY", 1);
            }
            _ => *rules.get_mut(place).unwrap() = rule(random),
        }
        let text = rules.join("\n");
        if let Ok(rules) = Rules::parse(&text) {
            return (rules, file("policy.toml", text));
        }
    }
}

struct Scene {
    claims: ClaimSet,
    json: String,
    arn: String,
    requested: MethodArn,
}

impl Scene {
    fn new(claims: &Map<String, Value>, api: &str, stage: &str, request: &str) -> Self {
        let mut all = json!({ "iss": "https://example.okta.com", "aud": "api", "sub": "s", "iat": 1, "exp": 2 });
        all.as_object_mut().unwrap().extend(claims.clone());
        let arn = format!("arn:aws:execute-api:us-east-1:123456789012:{api}/{stage}/{request}");
        let claims = ClaimSet::parse(all.to_string().as_bytes()).unwrap();
        Self { claims, json: all.to_string(), requested: MethodArn::parse(&arn).unwrap(), arn }
    }

    fn of(witness: &Witness) -> Self {
        let claims = serde_json::from_str(&witness.claims).unwrap();
        Self::new(&claims, &witness.api, &witness.stage, &witness.request.replacen(' ', "", 1))
    }

    fn random(random: &mut Random) -> Self {
        const VALUES: [&str; 8] = ["A", "B", "a", "b", "a:b", "b:A", "a-x", "A:x"];
        let mut claims = Map::new();
        for claim in ["groups", "tenants"] {
            if random.below(3) > 0 {
                claims.insert(claim.to_owned(), json!([random.word(&VALUES), random.word(&VALUES)]));
            }
        }
        if random.below(3) > 0 {
            claims.insert("uid".to_owned(), json!(random.word(&["a", "b", "A", "x"])));
        }
        let mut path = String::new();
        for _ in 0..random.below(5) {
            path.push('/');
            path.push_str(random.word(&["a", "b", "A", "a", "b", "A", "x"]));
        }
        if path.is_empty() || random.below(8) == 0 {
            path.push('/');
        }
        let request = format!("{}{path}", random.word(&["GET", "GET", "PUT", "DELETE"]));
        Self::new(&claims, "abcdef1234", random.word(&["prod", "dev"]), &request)
    }

    /// By the independent IAM evaluator, of the policy that the evaluation makes.
    fn is_allowed(&self, rules: &Rules) -> bool {
        let options = PolicyOptions { max_bytes: 1_000_000, path_guard: true };
        let policy = render(&rules.grants(&self.claims, &self.requested), &self.requested, options);
        let document = serde_json::from_str(policy.document.json()).unwrap();
        let is_allowed = Document::read(&document).unwrap().verdict(&self.arn) == Verdict::Allowed;
        assert_eq!(is_allowed, matches!(policy.verdict, okta_authorizer_policy::Verdict::Allowed { .. }));
        is_allowed
    }

    fn operation<'a>(&self, api: &'a Api) -> Option<&'a Operation> {
        api.operation_for(self.requested.method(), self.requested.untrusted_path())
    }

    /// The path of the request as an operation's.
    fn segments(&self) -> Vec<Segment> {
        let path = self.requested.untrusted_path().trim_matches('/');
        path.split('/').filter(|_| !path.is_empty()).map(|text| Segment::Literal(text.to_owned())).collect()
    }

    /// Whether the token is granted a route that has an operation at its own place in the path.
    fn has_at_its_place(&self, rules: &Rules, segments: &[Segment]) -> bool {
        let grants = rules.grants(&self.claims, &self.requested);
        let mut routes = grants.allow.iter().filter(|(resource, _)| resource.len() < MAX_RESOURCE);
        routes.any(|(resource, _)| {
            let (method, path) = resource.split_once('/').unwrap();
            ["*", self.requested.method()].contains(&method) && is_at_its_place(path, segments)
        })
    }
}

/// Whether a route's path without the slash at its start, in which each `*` is one segment, has a
/// path of the operation.
fn is_at_its_place(path: &str, segments: &[Segment]) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let own: Vec<_> = path.split('/').filter(|_| !path.is_empty()).collect();
    let is_proxy = matches!(segments.last(), Some(Segment::Proxy(_)));
    let has_length = if is_proxy { own.len() >= segments.len() } else { own.len() == segments.len() };
    let fits = |(own, segment): (&&str, &Segment)| match segment {
        Segment::Literal(text) => own == text || *own == "*",
        Segment::Parameter(_) | Segment::Proxy(_) => !own.is_empty(),
    };
    has_length && own.iter().zip(segments).all(fits)
}

fn is_reported(found: &[Found], kind: &str, on: &str) -> bool {
    found.iter().any(|found| found.finding.kind == kind && found.on == on)
}

/// Each witness is what its finding says.
fn hold(found: &Found, rules: &Rules, api: &Api, show: &dyn Fn() -> String) {
    let finding = &found.finding;
    let Some(witness) = &finding.witness else {
        panic!("no witness\n{}\n{}", finding.text(), show());
    };
    let scene = Scene::of(witness);
    let operation = scene.operation(api);
    let is_on = || operation.is_some_and(|operation| operation.name() == found.on);
    let is_good = match finding.kind {
        OPEN_OPERATION => operation.is_some_and(|operation| matches!(operation.access, Access::Open(_))),
        UNGRANTED_OPERATION => is_on() && !scene.is_allowed(rules),
        UNREACHED_ROUTE => operation.is_none(),
        REACHED_ACROSS_SLASH => is_on() && scene.is_allowed(rules) && !scene.has_at_its_place(rules, &scene.segments()),
        WILDCARD_REACH => operation.is_some(),
        other => panic!("{other}"),
    };
    let says_allowed = witness.answer.starts_with("allowed");
    let is_answer = finding.kind == OPEN_OPERATION || says_allowed == scene.is_allowed(rules);
    assert!(is_good && is_answer, "{}\n{}", finding.text(), show());
}

/// The same rules with another route, which no random request is in, in place of the unreached ones.
fn without_unreached(text: &str, found: &[Found]) -> Rules {
    let unreached = found.iter().filter(|found| found.finding.kind == UNREACHED_ROUTE);
    let mut spans: Vec<_> = unreached.map(|found| found.finding.places.first().unwrap().span.clone()).collect();
    spans.sort_by_key(|span| span.start);
    let mut text = text.to_owned();
    for span in spans.into_iter().rev() {
        text.replace_range(span, "'GET /never'");
    }
    Rules::parse(&text).unwrap()
}

#[test]
fn what_is_not_reported_is_not_found() {
    const SCENES: usize = 300;
    let apis = env::var("OKTA_POLICY_APIS").map_or(350, |apis| apis.parse().unwrap());
    let mut random = Random(29);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..apis {
        let api = api(&mut random);
        let (old, old_file) = rules(&mut random);
        let (new, new_file) = changed(&mut random, &old_file.text);
        let found = cover(&old, &old_file, &api, Target::default());
        let differences = diff((&old, &old_file), (&new, &new_file), Some(&api));
        let show = || {
            let texts = found.iter().map(|found| &found.finding).chain(&differences).map(Finding::text);
            let texts: Vec<_> = texts.collect();
            let operations: Vec<_> = api.operations.iter().map(Operation::name).collect();
            format!(
                "{}\n--- old\n{}\n--- new\n{}\n---\n{}",
                operations.join("\n"),
                old_file.text,
                new_file.text,
                texts.join("\n")
            )
        };
        for found in &found {
            *counts.entry(found.finding.kind).or_default() += 1;
            hold(found, &old, &api, &show);
        }
        let kept = without_unreached(&old_file.text, &found);
        for finding in &differences {
            *counts.entry(finding.kind).or_default() += 1;
            let Some(witness) = &finding.witness else { continue };
            let scene = Scene::of(witness);
            let answers = (scene.is_allowed(&old), scene.is_allowed(&new));
            assert_eq!(answers, (finding.kind == LOSS, finding.kind == GAIN), "{}\n{}", finding.text(), show());
            assert!(scene.operation(&api).is_some(), "{}\n{}", finding.text(), show());
        }
        for _ in 0..SCENES {
            let scene = Scene::random(&mut random);
            let Some(operation) = scene.operation(&api) else { continue };
            *counts.entry("scenes at an operation").or_default() += 1;
            let (was, is) = (scene.is_allowed(&old), scene.is_allowed(&new));
            let say = |what: &str| -> String { format!("{what}: {} {}\n{}", scene.json, scene.arn, show()) };
            let name = operation.name();
            if was && operation.access == Access::Authorizer {
                *counts.entry("allowed scenes").or_default() += 1;
                assert!(!is_reported(&found, UNGRANTED_OPERATION, &name), "{}", say("ungranted"));
                let is_across = !scene.has_at_its_place(&old, &operation.segments);
                *counts.entry("across").or_default() += usize::from(is_across);
                assert!(!is_across || is_reported(&found, REACHED_ACROSS_SLASH, &name), "{}", say("across"));
            }
            assert_eq!(scene.is_allowed(&kept), was, "{}", say("unreached"));
            let kinds: &[&str] = match (was, is) {
                (false, true) => &[GAIN, CANNOT_TELL],
                (true, false) => &[LOSS, CANNOT_TELL_LOSS],
                _ => continue,
            };
            *counts.entry("random differences").or_default() += 1;
            let is_known = differences.iter().any(|finding| kinds.contains(&finding.kind));
            assert!(is_known, "{}", say("difference"));
        }
    }
    println!("{apis} APIs: {counts:?}");
    let count = |kind| counts.get(kind).copied().unwrap_or_default();
    assert!(count("across") * 2 > apis && count("random differences") > apis, "{counts:?}");
    assert!(count("allowed scenes") > apis && (count(CANNOT_TELL) + count(CANNOT_TELL_LOSS)) * 5 < apis, "{counts:?}");
}
