//! Design 4: the rules language, with files of our own.

use std::path::PathBuf;

use okta_authorizer_testkit::{
    API, Failures, arn,
    env::Env,
    event_for,
    iam::{Policy, Verdict},
    keys::{self, jwks},
    runtime_api::Authorizer,
    temp_file::TempFile,
    token::bearer,
};
use serde_json::{Value, json};

/// A rules file on disk.
struct RulesFile(TempFile);

impl RulesFile {
    fn new(name: &str, text: &str) -> Self {
        Self(TempFile::new(&format!("{name}.toml"), text))
    }

    fn env(&self) -> Env {
        Env::pinned(&jwks(&[keys::main()])).with("POLICY_FILE", self.0.path())
    }
}

/// The policy for a good token with these claims that asks for `route`.
async fn policy(authorizer: &Authorizer, members: &Value, route: &str) -> Policy {
    authorizer.invoke(event_for(&bearer(members), &arn(route))).await.policy(&arn(route))
}

/// Asks for `/nothing` with each of the claims, and compares the whole Allow.
async fn hold(rules: &RulesFile, cases: Vec<(Value, Vec<&str>)>) {
    let authorizer = Authorizer::start(&rules.env()).await;
    let mut failures = Failures::default();
    for (members, granted) in cases {
        let mut expected: Vec<_> = granted.into_iter().map(arn).collect();
        expected.sort();
        let found = policy(&authorizer, &members, "GET /nothing").await;
        failures.check(found.allow == expected, || format!("{members:.300}: {:#?}", found.allow));
    }
    failures.report();
}

#[tokio::test]
async fn a_policy_without_wildcards_is_its_allow_and_nothing_more() {
    let rules =
        RulesFile::new("exact", "[[allow]]\nroutes = [\"GET /\", \"PUT /hello/{uid}\"]\nwhen = { uid = \"{uid}\" }\n");
    let authorizer = Authorizer::start(&rules.env()).await;
    let asked = arn("PUT /hello/00uada");
    let answer = authorizer.invoke(event_for(&bearer(&json!({})), &asked)).await;
    let found = answer.policy(&asked);
    assert_eq!((found.allow, found.deny), (vec![arn("GET /"), asked], vec![]));

    let vain = policy(&authorizer, &json!({}), "GET /hello/00uada").await;
    assert_eq!((vain.allow, vain.deny), (vec![arn("GET /"), arn("PUT /hello/00uada")], vec![arn("GET /hello/00uada")]));
}

#[tokio::test]
async fn a_token_that_is_granted_nothing_is_denied_the_stage() {
    let rules = RulesFile::new("nothing", "[[allow]]\nwhen = { groups = \"X\" }\nroutes = [\"GET /x\"]\n");
    let authorizer = Authorizer::start(&rules.env()).await;
    let nothing = policy(&authorizer, &json!({ "groups": ["Y"] }), "GET /x").await;
    assert_eq!(nothing.allow, Vec::<String>::new());
    assert!(nothing.deny.contains(&format!("{API}/*")));
    assert_eq!(policy(&authorizer, &json!({ "groups": ["X"] }), "GET /x").await.allow, [arn("GET /x")]);
}

#[tokio::test]
async fn every_way_that_the_claims_match_grants_once() {
    let rules = RulesFile::new(
        "ways",
        r#"
[[allow]]
when   = { a = "{x}", b = "{y}" }              # captures multiply out
routes = ["GET /m/{x}/{y}"]

[[allow]]
when   = { list = ["A:{n}", "B:{n}"] }         # any of
routes = ["GET /n/{n}"]

[[allow]]
when   = { list = ["red", "green"], uid = "{u}" }
routes = ["GET /c/{u}", "POST /c/{u}/part-{u}.json"]

[[allow]]
when   = { pair = "{l}-{r}" }
routes = ["GET /p/{l}.{r}"]

[[allow]]
when   = { level = "5", admin = "true" }
routes = ["GET /level"]

[[allow]]
when   = { list = "{a}::{b}" }
routes = ["ANY /any/{a}/{b}/*"]
"#,
    );
    let any = |path: &str| -> Vec<String> {
        ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
            .iter()
            .map(|method| format!("{method} {path}"))
            .collect()
    };
    let any = any("/any/p/q/*");
    let cases = vec![
        (json!({ "a": ["1", "2"], "b": ["3", "4"] }), vec!["GET /m/1/3", "GET /m/1/4", "GET /m/2/3", "GET /m/2/4"]),
        (json!({ "a": ["1", "1"], "b": "3" }), vec!["GET /m/1/3"]),
        (json!({ "a": ["1", "*"], "b": ["3", "/"] }), vec!["GET /m/1/3"]),
        (json!({ "a": ["1"] }), vec![]),
        (json!({ "a": ["1"], "b": [] }), vec![]),
        (json!({ "a": ["1"], "b": [""] }), vec![]),
        (json!({ "a": 1, "b": false }), vec!["GET /m/1/false"]),
        (json!({ "a": { "x": 1 }, "b": "3" }), vec![]),
        (json!({ "list": ["A:1", "B:2", "C:3", "A:", "xA:4", "a:5"] }), vec!["GET /n/1", "GET /n/2"]),
        (json!({ "list": ["A:1", "B:1"] }), vec!["GET /n/1"]),
        (json!({ "list": "red" }), vec!["GET /c/00uada", "POST /c/00uada/part-00uada.json"]),
        (json!({ "list": ["red", "green"] }), vec!["GET /c/00uada", "POST /c/00uada/part-00uada.json"]),
        (json!({ "list": ["Red", "greenish", " red"] }), vec![]),
        (json!({ "list": "red", "uid": "*" }), vec![]),
        (json!({ "pair": "a-b" }), vec!["GET /p/a.b"]),
        (json!({ "pair": "a-b-c" }), vec![]),
        (json!({ "pair": "a--b" }), vec![]),
        (json!({ "pair": ["a--b", "c-d", "-", "e-", "-f"] }), vec!["GET /p/c.d"]),
        (json!({ "level": 5, "admin": true }), vec!["GET /level"]),
        (json!({ "level": "5", "admin": "true" }), vec!["GET /level"]),
        (json!({ "level": 5, "admin": false }), vec![]),
        (json!({ "level": 55, "admin": true }), vec![]),
        (json!({ "level": [5], "admin": [[true]] }), vec![]),
        (json!({ "list": "p::q" }), any.iter().map(String::as_str).collect()),
        (json!({ "list": "p:::q" }), vec![]),
        (json!({ "list": "p::q::r" }), vec![]),
        (json!({}), vec![]),
    ];
    hold(&rules, cases).await;
}

#[tokio::test]
async fn a_capture_of_any_claim_goes_into_a_route_only_if_it_is_harmless() {
    let rules = RulesFile::new(
        "captures",
        r#"
[[allow]]
when = { sub = "{v}" }
routes = ["GET /sub/{v}"]
[[allow]]
when = { cid = "c-{v}" }
routes = ["GET /cid/{v}"]
[[allow]]
when = { groups = "team-{v}" }
routes = ["GET /team/{v}", "GET /fixed"]
[[allow]]
when = { scopes = "read:{v}" }
routes = ["GET /scope/x-{v}"]
[[allow]]
when = { org = "{v}" }
routes = ["PUT /org/{v}/*"]
"#,
    );
    let members = |value: &str| {
        json!({
            "sub": value,
            "cid": format!("c-{value}"),
            "groups": [format!("team-{value}")],
            "scp": [format!("read:{value}")],
            "org": value,
        })
    };
    let long = "a".repeat(129);
    let mut cases = Vec::new();
    let hostile = [
        "*",
        "?",
        "$",
        "/",
        "%",
        " ",
        "a*",
        "a?b",
        "a/b",
        "../x",
        "..",
        ".",
        "%2e%2e",
        "${aws:username}",
        "a\nb",
        "\0",
        "\"",
        "\\",
        "é",
        "{v}",
        "#",
        "a;b",
        "(a)",
        &long,
    ];
    cases.extend(hostile.map(|value| (members(value), vec![])));
    // The dots are harmless where they do not stand alone, but `when` knows nothing of where they will stand.
    let longest = "b".repeat(128);
    let harmless = ["a", "...", "a:b", "ada@example.com", "A-Z.a_z~0+=,!", &longest];
    let granted: Vec<Vec<String>> = harmless
        .iter()
        .map(|value| {
            ["GET /sub/{}", "GET /cid/{}", "GET /team/{}", "GET /fixed", "GET /scope/x-{}", "PUT /org/{}/*"]
                .map(|route| route.replace("{}", value))
                .to_vec()
        })
        .collect();
    for (value, routes) in harmless.iter().zip(&granted) {
        cases.push((members(value), routes.iter().map(String::as_str).collect()));
    }
    hold(&rules, cases).await;
}

#[tokio::test]
async fn scopes_are_scp_or_else_scope() {
    let rules = RulesFile::new("scopes", "[[allow]]\nwhen = { scopes = \"{s}\" }\nroutes = [\"GET /{s}\"]\n");
    let cases = vec![
        (json!({ "scp": ["a", "b"] }), vec!["GET /a", "GET /b"]),
        (json!({ "scp": "a" }), vec!["GET /a"]),
        (json!({ "scope": "a b" }), vec!["GET /a", "GET /b"]),
        (json!({ "scp": ["a"], "scope": "b" }), vec!["GET /a"]),
        (json!({ "scope": "" }), vec![]),
        (json!({ "scopes": ["a"] }), vec![]),
        (json!({}), vec![]),
    ];
    hold(&rules, cases).await;
}

#[tokio::test]
async fn a_deny_rule_wins_over_every_allow() {
    let rules = RulesFile::new(
        "deny",
        r#"
[[allow]]
routes = ["ANY /*", "GET /"]

[[deny]]
when   = { groups = "SUSPENDED" }
routes = ["ANY /*"]

[[deny]]
when   = { barred = "{area}" }
routes = ["GET /area/{area}", "GET /area/{area}/*"]
"#,
    );
    let authorizer = Authorizer::start(&rules.env()).await;
    let free = policy(&authorizer, &json!({}), "GET /area/51").await;
    for route in ["GET /", "GET /a/b", "PATCH /x", "HEAD /y"] {
        assert_eq!(free.verdict(&arn(route)), Verdict::Allowed, "{route}");
    }

    let suspended = policy(&authorizer, &json!({ "groups": ["SUSPENDED"] }), "GET /a").await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for path in ["/", "/a", "/a/b"] {
            assert_eq!(suspended.verdict(&arn(&format!("{method} {path}"))), Verdict::ExplicitDeny, "{method} {path}");
        }
    }

    let barred = policy(&authorizer, &json!({ "barred": ["51"] }), "GET /a").await;
    assert_eq!(barred.verdict(&arn("GET /area/51")), Verdict::ExplicitDeny);
    assert_eq!(barred.verdict(&arn("GET /area/51/x")), Verdict::ExplicitDeny);
    assert_eq!(barred.verdict(&arn("PUT /area/51")), Verdict::Allowed);
    assert_eq!(barred.verdict(&arn("GET /area/52")), Verdict::Allowed);

    // What cannot be written into a Deny must not lift it, for this value or for its neighbours.
    for area in ["*", "a/b", "..", " "] {
        let barred = policy(&authorizer, &json!({ "barred": [area, "51"] }), "GET /area/51").await;
        assert_eq!(barred.verdict(&arn("GET /area/51")), Verdict::ExplicitDeny, "{area}");
        assert_ne!(barred.verdict(&arn(&format!("GET /area/{area}"))), Verdict::Allowed, "{area}");
    }
}

#[tokio::test]
async fn a_resource_that_iam_has_no_room_for_is_left_out() {
    let rules = RulesFile::new(
        "long",
        "[[allow]]\nwhen = { a = \"{a}\" }\nroutes = [\"GET /{a}\", \"GET /{a}/{a}/{a}/{a}\"]\n",
    );
    let long = "a".repeat(128);
    let (short_route, long_route) = (format!("GET /{long}"), format!("GET /{0}/{0}/{0}/{0}", "a".repeat(100)));
    let hundred = format!("GET /{}", "a".repeat(100));
    let cases = vec![
        (json!({ "a": long }), vec![short_route.as_str()]),
        (json!({ "a": "a".repeat(100) }), vec![hundred.as_str(), long_route.as_str()]),
    ];
    hold(&rules, cases).await;
}

/// A good file of eight lines, one of which a case replaces.
const GOOD: [&str; 8] = [
    "# rules",
    "[[allow]]",
    r#"routes = ["GET /apps", "GET /apps/*", "GET /"]"#,
    "",
    "[[allow]]",
    r#"when   = { groups = "team-{team}", uid = "{uid}" }"#,
    r#"routes = ["GET /teams/{team}/x", "ANY /users/{uid}/*"]"#,
    "# end",
];

/// Line, what stands there, and the lines of the same rule, any of which the message may name.
fn bad_lines() -> Vec<(usize, &'static str, std::ops::RangeInclusive<usize>)> {
    let rule = 5..=7;
    vec![
        (5, "[[allow]", 5..=6),
        (5, "[[permit]]", 5..=7),
        (5, "[allow]", 5..=5),
        (8, "nonsense", 8..=8),
        (8, "version = 1", 5..=8),
        (8, "Routes = []", 5..=8),
        (8, "when = { x = \"y\" }", 6..=8),
        (6, r#"when = { groups = "team-{team}", uid = "{uid}" "#, 6..=7),
        (6, r#"when = { groups = 5, uid = "{uid}{team}" }"#, rule.clone()),
        (6, r#"when = { groups = { a = "{team}" }, uid = "{uid}" }"#, rule.clone()),
        (6, r#"when = { groups = [5], uid = "{uid}" }"#, rule.clone()),
        (6, r#"when = { groups = [], uid = "{uid}-{team}" }"#, rule.clone()),
        (6, r#"when = "everyone""#, rule.clone()),
        (6, r#"when = { groups = "{team}{uid}" }"#, rule.clone()),
        (6, r#"when = { groups = "team-{team", uid = "{uid}" }"#, rule.clone()),
        (6, r#"when = { groups = "team-team}", uid = "{uid}" }"#, rule.clone()),
        (6, r#"when = { groups = "team-{}", uid = "{uid}" }"#, rule.clone()),
        (6, r#"when = { groups = "team-{team}" }"#, rule.clone()),
        (6, "", rule.clone()),
        (6, r#"if = { groups = "team-{team}", uid = "{uid}" }"#, rule.clone()),
        (7, "", rule.clone()),
        (7, "routes = []", rule.clone()),
        (7, r#"routes = "GET /x""#, rule.clone()),
        (7, "routes = [5]", rule.clone()),
        (7, r#"route = ["GET /x"]"#, rule.clone()),
        (7, r#"routes = [""]"#, rule.clone()),
        (7, r#"routes = ["GET"]"#, rule.clone()),
        (7, r#"routes = ["/x"]"#, rule.clone()),
        (7, r#"routes = ["GET x"]"#, rule.clone()),
        (7, r#"routes = ["FETCH /x"]"#, rule.clone()),
        (7, r#"routes = ["get /x"]"#, rule.clone()),
        (7, r#"routes = ["* /x"]"#, rule.clone()),
        (7, r#"routes = ["GET,POST /x"]"#, rule.clone()),
        (7, r#"routes = ["GET /x y"]"#, rule.clone()),
        (7, r#"routes = ["GET /*/x"]"#, rule.clone()),
        (7, r#"routes = ["GET /x*"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/**"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/*y"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/?"]"#, rule.clone()),
        (7, r#"routes = ["GET *"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/{nobody}"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/{uid"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/uid}"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/{}"]"#, rule.clone()),
        (7, r#"routes = ["GET /x/${aws:username}"]"#, rule.clone()),
        (7, r#"routes = ["GET /x", "GET /apps/*/y"]"#, rule),
    ]
}

#[tokio::test]
async fn a_bad_rules_file_stops_the_process_with_its_name_and_line() {
    let good = RulesFile::new("good", &GOOD.join("\n"));
    Authorizer::start(&good.env()).await;
    let mut failures = Failures::default();
    for (index, (line, text, rule)) in bad_lines().into_iter().enumerate() {
        let mut lines = GOOD;
        lines[line - 1] = text;
        let file = RulesFile::new(&format!("bad-{index}"), &lines.join("\n"));
        let ended = match Authorizer::refuse(&file.env()).await {
            Ok(ended) => ended,
            Err(output) => {
                failures.check(false, || format!("line {line} {text:?} was accepted: {output:?}"));
                continue;
            }
        };
        let said = ended.lines.join("\n");
        failures.check(!ended.status.success(), || format!("{text:?}: exit code 0"));
        failures.check(ended.lines.len() == 1, || format!("{text:?}: more than a line: {said}"));
        failures.check(!said.contains("panicked"), || format!("{text:?}: {said}"));
        let name = file.0.path().to_str().unwrap();
        failures.check(said.contains(name), || format!("{text:?}: not the file's name: {said}"));
        // The name has digits of its own.
        let numbers = numbers(&said.replace(name, ""));
        failures
            .check(numbers.iter().any(|number| rule.contains(number)), || format!("{text:?}: not its line: {said}"));
    }
    failures.report();
}

fn numbers(text: &str) -> Vec<usize> {
    text.split(|character: char| !character.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[tokio::test]
async fn a_rules_file_that_cannot_be_read_stops_the_process_with_its_name() {
    let not_utf8 = TempFile::new("latin-1.toml", b"# caf\xe9\n[[allow]]\nroutes = [\"GET /x\"]\n");
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for path in [directory.join("there-is-no-such-file.toml"), directory, not_utf8.path().to_owned()] {
        let env = Env::pinned(&jwks(&[keys::main()])).with("POLICY_FILE", &path);
        let ended = Authorizer::refuse(&env).await.unwrap_or_else(|output| panic!("{path:?} was accepted: {output:?}"));
        assert!(!ended.status.success());
        let [line] = &ended.lines[..] else { panic!("one line: {:#?}", ended.lines) };
        assert!(line.contains(path.to_str().unwrap()) && line.contains("POLICY_FILE"), "{line}");
    }
}
