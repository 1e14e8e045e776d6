//! The rules language: what each of its parts grants, which files it refuses, and the cookbook of
//! docs/rules.md.
//!
//! A rules file of these tests has its cases in comments:
//!
//! ```text
//! # {"groups":["STAFF"]} at a1b2c3d4e5/prod may GET /orders/7, not PUT /orders/7
//! ```
//!
//! A token with these claims, and no `uid`, asks at this API and stage (else at [`API`]). It may
//! call the routes after `may`, and not those after `not`. After `has` is the complete list of the
//! policy's allowed resources, or `nothing`. API Gateway caches the policy of any first request, so each request
//! is judged under the policies that were made for all of them.

use okta_authorizer_testkit::{
    API, Failures, arn, event_for,
    iam::Verdict,
    keys,
    runtime_api::{Authorizer, Ended, Log},
    temp_file::TempFile,
    token::claims,
    with, without,
};
use serde_json::{Deserializer, Value, json};

use crate::{pinned, policy};

/// What one line of comments promises.
struct Case {
    claims: Value,
    /// The ARN of the API and stage.
    stage: String,
    allowed: Vec<String>,
    denied: Vec<String>,
    resources: Option<Vec<String>>,
}

impl Case {
    /// Reads the line after `# `. Panics if it has another form.
    fn read(line: &str) -> Self {
        let mut values = Deserializer::from_str(line).into_iter::<Value>();
        let claims = values.next().unwrap().unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut rest = line[values.byte_offset()..].trim_start();
        let mut stage = API.to_owned();
        if let Some(after) = rest.strip_prefix("at ") {
            let (api_and_stage, after) = after.split_once(' ').unwrap();
            let (account, _) = API.rsplit_once(':').unwrap();
            stage = format!("{account}:{api_and_stage}");
            rest = after;
        }
        let mut case = Self { claims, stage, allowed: Vec::new(), denied: Vec::new(), resources: None };
        let mut list = "";
        for item in rest.split(", ") {
            let mut route = item;
            for word in ["has", "may", "not"] {
                if let Some(after) = item.strip_prefix(word) {
                    (list, route) = (word, after.trim_start());
                }
            }
            let resources = (list == "has").then(|| case.resources.get_or_insert_default());
            if route == "nothing" {
                continue;
            }
            let (method, path) = route.split_once(' ').unwrap_or_else(|| panic!("no route: {line}"));
            let arn = format!("{}/{method}{path}", case.stage);
            match (list, resources) {
                (_, Some(resources)) => resources.push(arn),
                ("may", None) => case.allowed.push(arn),
                ("not", None) => case.denied.push(arn),
                _ => panic!("neither has, may nor not: {line}"),
            }
        }
        if let Some(resources) = &mut case.resources {
            resources.sort();
        }
        case
    }

    fn all(rules: &str) -> Vec<Self> {
        rules.lines().filter(|line| line.starts_with("# {")).map(|line| Self::read(&line[2..])).collect()
    }

    /// Judges each request under the policy of each request.
    async fn check(&self, authorizer: &Authorizer, need: &str, failures: &mut Failures) {
        let Self { claims: members, stage, allowed, denied, resources } = self;
        let token = keys::main().token(&with(&without(&claims(), "uid"), members));
        let any = format!("{stage}/GET/asked-by-no-case");
        for asked in allowed.iter().chain(denied).chain([&any]) {
            let answer = authorizer.invoke(event_for(&format!("Bearer {token}"), asked)).await;
            let policy = answer.policy(asked);
            let of = format!("{need}: {members}, the policy for {asked}");
            for request in allowed {
                let verdict = policy.verdict(request);
                failures.check(verdict == Verdict::Allowed, || format!("{of}: {request} is {verdict:?}"));
            }
            for request in denied {
                failures.check(!policy.allows(request), || format!("{of}: {request} is allowed"));
            }
            if let Some(resources) = resources {
                failures.check(policy.allow == *resources, || format!("{of}: has {:#?}", policy.allow));
            }
        }
    }
}

async fn start(rules: &str) -> Result<Authorizer, Ended> {
    let file = TempFile::new("rules.toml", rules);
    Authorizer::try_start(&pinned().with("POLICY_FILE", file.path()), Log::Captured).await
}

/// Starts the process with these rules and checks the cases. `need` names the rules in failures.
async fn check(need: &str, rules: &str, cases: &[Case], failures: &mut Failures) {
    match start(rules).await {
        Err(ended) => failures.check(false, || format!("{need}: does not start: {:#?}", ended.lines)),
        Ok(authorizer) => {
            for case in cases {
                case.check(&authorizer, need, failures).await;
            }
        }
    }
}

/// What the language can say, one need each.
const NEEDS: [(&str, &str); 27] = [
    (
        "a star is any whole segment",
        r#"
# {"groups":["STAFF"]} has GET /orders/*/invoice
# {"groups":["STAFF"]} may GET /orders/7/invoice, GET /orders/7/lines/2/invoice
# {"groups":["STAFF"]} not GET /orders/7, GET /orders/7/pay, GET /orders/invoice, GET /orders/7/invoices
# {"groups":["STAFF"]} not POST /orders/7/invoice, GET /orders/7/invoice/x, GET /x/orders/7/invoice
# {"groups":["STAFF"]} not GET /orders/../x/invoice, GET /orders/%2e%2e/invoice, GET /orders/7%2Finvoice
# {"groups":["GUESTS"]} has nothing, not GET /orders/7/invoice
[[allow]]
when   = { groups = "STAFF" }
routes = ["GET /orders/*/invoice"]
"#,
    ),
    (
        "several stars, and a star first",
        r#"
# {} has GET /*/a/*/b, GET /c/*/d/*, may GET /1/a/2/b, GET /1/2/a/3/4/b, GET /c/1/d/, GET /c/1/d/2/3
# {} not GET /a/2/b, GET /1/a/b, GET /c/1/d, GET /c/d/2, GET /1/a/../b
[[allow]]
routes = ["GET /*/a/*/b", "GET /c/*/d/*"]
"#,
    ),
    (
        "a star beside a capture, and a denied one",
        r#"
# {"uid":"00u1"} may GET /users/00u1/a/logo, not GET /users/00u2/a/logo, GET /users/00u1/b/logo/
# {"uid":"00u1"} not GET /users/00u1/secret/x/key, GET /users/00u1/secret/x/key/
[[allow]]
when   = { uid = "{uid}" }
routes = ["GET /users/{uid}/*/logo", "GET /users/{uid}/*/key"]

[[deny]]
when   = { uid = "{uid}" }
routes = ["GET /users/{uid}/secret/*/key"]
"#,
    ),
    (
        "all of several scopes",
        r#"
# {"scp":["x","pii:read","orders:read"]} may GET /a, not GET /b
# {"scope":"orders:read pii:read"} may GET /a
# {"scp":["orders:read"]} not GET /a
# {"scp":["pii:read"]} not GET /a
# {"scp":["orders:read pii:read"]} not GET /a
# {"scp":["orders:read","pii:readx"]} not GET /a
# {} not GET /a
[[allow]]
when   = { scopes = { all = ["orders:read", "pii:read"] } }
routes = ["GET /a"]
"#,
    ),
    (
        "all of several groups, with one capture",
        r#"
# {"groups":["team-red","team-blue","lead-red","lead-green"]} has GET /teams/red, not GET /teams/blue
# {"groups":["team-red","lead-blue"]} not GET /teams/red, GET /teams/blue
# {"groups":["team-red","team-blue","lead-red","lead-blue"]} has GET /teams/red, GET /teams/blue
[[allow]]
when   = { groups = { all = ["team-{t}", "lead-{t}"] } }
routes = ["GET /teams/{t}"]
"#,
    ),
    (
        "all of several groups, with different captures",
        r#"
# {"groups":["tenant-acme","tenant-umbra","role-admin"]} has GET /acme/admin, GET /umbra/admin
# {"groups":["tenant-acme","role-a","role-b"]} has GET /acme/a, GET /acme/b, not GET /a/acme
# {"groups":["tenant-acme"]} not GET /acme/acme
[[allow]]
when   = { groups = { all = ["tenant-{t}", "role-{r}"] } }
routes = ["GET /{t}/{r}"]
"#,
    ),
    (
        "all of a capture and a text",
        r#"
# {"groups":["tenant-acme","ADMIN"]} has GET /acme, not GET /umbra
# {"groups":["tenant-acme"]} not GET /acme
# {"groups":["ADMIN"]} not GET /acme
[[allow]]
when   = { groups = { all = ["tenant-{t}", "ADMIN"] } }
routes = ["GET /{t}"]
"#,
    ),
    (
        "a denial for all of several groups",
        r#"
# {"groups":["A"]} may GET /a
# {"groups":["B","C"]} may GET /a
# {"groups":["B","A"]} not GET /a
# {"groups":["A",null]} not GET /a
# {"groups":"A"} may GET /a
[[allow]]
routes = ["GET /a"]

[[deny]]
when   = { groups = { all = ["A", "B"] } }
routes = ["ANY /*"]
"#,
    ),
    (
        "a claim is absent, or is there",
        r#"
# {} has GET /machines, not GET /departments
# {"uid":"00u1","department":null} has nothing, not GET /machines
# {"uid":"00u1","department":"x"} has GET /departments
# {"uid":"00u1","department":[]} has GET /departments
# {"uid":"00u1","department":{"unreadable":[null]}} has GET /departments
# {"uid":"00u1","department":false} has GET /departments
# {"department":""} has GET /departments, GET /machines
[[allow]]
when   = { uid = { present = false } }
routes = ["GET /machines"]

[[allow]]
when   = { department = { present = true } }
routes = ["GET /departments"]
"#,
    ),
    (
        "numbers and booleans, alone and in arrays",
        r#"
# {"tenant_ids":[5,10]} has GET /t/5, GET /t/10, not GET /t/1, GET /t/51
# {"tenant_ids":5} has GET /t/5
# {"tenant_ids":["5",10,true,0.5]} has GET /t/5, GET /t/10, GET /t/true, GET /t/0.5
# {"tenant_ids":[5,null]} has nothing, not GET /t/5
# {"tenant_ids":[5,[10]]} has nothing, not GET /t/5, GET /t/10
# {"level":5,"admin":true} has GET /level
# {"level":[4,5],"admin":[false,true]} has GET /level
# {"level":55,"admin":true} not GET /level
# {"level":5,"admin":false} not GET /level
[[allow]]
when   = { tenant_ids = "{id}" }
routes = ["GET /t/{id}"]

[[allow]]
when   = { level = "5", admin = "true" }
routes = ["GET /level"]
"#,
    ),
    (
        "a denial on numbers denies whom it names",
        r#"
# {"risk":[1,2]} may GET /a
# {"risk":[]} may GET /a
# {} may GET /a
# {"risk":[2,3]} not GET /a
# {"risk":3} not GET /a
# {"risk":[1,null]} not GET /a
[[allow]]
routes = ["GET /a"]

[[deny]]
when   = { risk = "3" }
routes = ["ANY /*"]
"#,
    ),
    (
        "two claims that must agree",
        r#"
# {"groups":["acme_admins"],"tenants":["1:acme:x","2:umbra:x"]} has GET /t/acme/1, not GET /t/umbra/2
# {"groups":["acme_admins"],"tenants":["2:umbra:x"]} has nothing, not GET /t/acme/2, GET /t/umbra/2
# {"groups":["acme_admins","umbra_admins"],"tenants":["1:acme:x","2:umbra:x"]} has GET /t/acme/1, GET /t/umbra/2
# {"groups":["acme_admins"]} not GET /t/acme/1
# {"groups":["Acme_admins"],"tenants":["1:acme:x"]} has nothing, not GET /t/acme/1, GET /t/Acme/1
[[allow]]
when   = { groups = "{t}_admins", tenants = "{id}:{t}:{g}" }
routes = ["GET /t/{t}/{id}"]
"#,
    ),
    (
        "two claims that need not agree are combined",
        r#"
# {"a":["1","2","*"],"b":["3","/"]} has GET /m/1/3, GET /m/2/3
# {"a":1,"b":false} has GET /m/1/false
# {"a":["1"]} has nothing, not GET /m/1/1
[[allow]]
when   = { a = "{x}", b = "{y}" }
routes = ["GET /m/{x}/{y}"]
"#,
    ),
    (
        "a denial on claims that agree",
        r#"
# {"groups":["acme_admins"],"barred":["acme"]} not GET /t/acme, GET /t/acme/, may GET /t/umbra
# {"groups":["acme_admins"],"barred":["umbra"]} may GET /t/acme, GET /t/umbra
# {"groups":["a/b_admins"],"barred":["a/b"]} not GET /t/acme, GET /t/umbra
# {"groups":["a/b_admins"],"barred":["c/d","acme"]} may GET /t/acme, GET /t/umbra
# {"groups":["acme_admins"],"barred":["acme",null]} not GET /t/acme, GET /t/umbra
# {"groups":["acme"],"barred":["acme",null]} may GET /t/acme, GET /t/umbra
[[allow]]
routes = ["GET /t/*"]

[[deny]]
when   = { groups = "{t}_admins", barred = "{t}" }
routes = ["GET /t/{t}"]
"#,
    ),
    (
        "nested claims",
        r#"
# {"app":{"roles":["reader","admin"]}} has GET /admin, not GET /first
# {"app":{"roles":["first","x"]}} has GET /first
# {"app":{"roles":["reader"]}} has nothing, not GET /admin
# {"app":{"roles":"admin"}} has GET /admin
# {"app":["admin"]} has nothing, not GET /admin
# {"app":null} has nothing, not GET /admin
# {"/app/roles":"admin"} has nothing, not GET /admin
# {"a/b":{"c~d":"acme"}} has GET /t/acme
# {"a":{"b":{"c~d":"acme"}}} has nothing, not GET /t/acme
# {"app":{"tier":{"x":1}}} has nothing, not GET /gold
# {"app":{"tier":"gold"}} has GET /gold
# {"a/b":{}} has nothing
[[allow]]
when   = { "/app/roles" = "admin" }
routes = ["GET /admin"]

[[allow]]
when   = { "/app/roles/0" = "first" }
routes = ["GET /first"]

[[allow]]
when   = { "/a~1b/c~0d" = "{t}" }
routes = ["GET /t/{t}"]

[[allow]]
when   = { "/app/tier" = "gold" }
routes = ["GET /gold"]
"#,
    ),
    (
        "a denial on a nested claim",
        r#"
# {"app":{"state":"ok"}} may GET /a
# {"app":{}} may GET /a
# {} may GET /a
# {"app":{"state":"barred"}} not GET /a
# {"app":{"state":{"x":"ok"}}} not GET /a
[[allow]]
routes = ["GET /a"]

[[deny]]
when   = { "/app/state" = "barred" }
routes = ["ANY /*"]
"#,
    ),
    (
        "rules for one stage or API",
        r#"
# {"groups":["ADMINS"]} at a1b2c3d4e5/prod has GET /all, GET /api, GET /both, GET /lists, GET /stage
# {"groups":["ADMINS"]} at a1b2c3d4e5/test has GET /all, GET /api, GET /lists, not GET /stage, GET /both
# {"groups":["ADMINS"]} at z9y8x7w6v5/prod has GET /all, GET /lists, GET /stage, not GET /api, GET /both
# {"groups":["ADMINS"]} at z9y8x7w6v5/test has GET /all, GET /lists, not GET /stage
# {"groups":["ADMINS"]} at a1b2c3d4e5/Prod has GET /all, GET /api, not GET /stage, GET /lists
# {"groups":["ADMINS"]} at a1b2c3d4e/prod has GET /all, GET /stage, not GET /api, GET /lists
# {"groups":["GUESTS"]} at a1b2c3d4e5/prod has GET /all, not GET /api
[[allow]]
routes = ["GET /all"]

[[allow]]
when   = { groups = "ADMINS" }
stage  = "prod"
routes = ["GET /stage"]

[[allow]]
when   = { groups = "ADMINS" }
api    = ["a1b2c3d4e5"]
routes = ["GET /api"]

[[allow]]
when   = { groups = "ADMINS" }
stage  = ["prod"]
api    = "a1b2c3d4e5"
routes = ["GET /both"]

[[allow]]
when   = { groups = "ADMINS" }
stage  = ["prod", "test"]
api    = ["a1b2c3d4e5", "z9y8x7w6v5"]
routes = ["GET /lists"]
"#,
    ),
    (
        "a denial for one stage",
        r#"
# {} at abcdef1234/prod not DELETE /a, may GET /a
# {} at abcdef1234/test may DELETE /a, GET /a
# {"barred":["a/b"]} at abcdef1234/prod not GET /a
# {"barred":["a/b"]} at abcdef1234/test may GET /a, DELETE /a
[[allow]]
routes = ["ANY /a"]

[[deny]]
stage  = "prod"
routes = ["DELETE /*"]

[[deny]]
when   = { barred = "{b}" }
stage  = "prod"
routes = ["GET /{b}"]
"#,
    ),
    (
        "captures as API Gateway names them",
        r#"
# {"uid":"00u1","cid":"0oa1"} has GET /users/00u1/apps/0oa1/00u1-0oa1.json
[[allow]]
when   = { uid = "{userId}", cid = "{App_2}" }
routes = ["GET /users/{userId}/apps/{App_2}/{userId}-{App_2}.json"]
"#,
    ),
    (
        "the spellings of two values are combined",
        r#"
# {"a":"x@y","b":"1:2"} has GET /x@y/1:2, GET /x@y/1%3A2, GET /x%40y/1:2, GET /x%40y/1%3A2
# {"a":"x@y","b":"1:2"} not GET /x%40y/1%3a2, GET /%78@y/1:2, GET /x%2540y/1:2
# {"a":"Smith & Sons (UK)","b":"b"} has GET /Smith%20%26%20Sons%20(UK)/b
# {"a":"Smith & Sons (UK)","b":"b"} not GET /Smith+&+Sons+(UK)/b, GET /Smith%20&%20Sons%20(UK)/b
[[allow]]
when   = { a = "{a}", b = "{b}" }
routes = ["GET /{a}/{b}"]
"#,
    ),
    (
        "a denial denies each spelling, with and without a slash",
        r#"
# {"barred":["a@b"]} may GET /p/a, GET /q/a@b
# {"barred":["a@b"]} not GET /p/a@b, GET /p/a%40b, GET /p/a@b/, GET /p/a%40b/
# {"barred":["J D"]} may GET /p/J, not GET /p/J%20D, GET /p/J%20D/
# {"barred":["a/b"]} not GET /p/a, GET /q/x
[[allow]]
routes = ["GET /p/*", "GET /q/*"]

[[deny]]
when   = { barred = "{b}" }
routes = ["GET /p/{b}"]
"#,
    ),
    (
        "a slash at the end",
        r#"
# {"uid":"00u1"} has GET /hello/00u1/, GET /plain, not GET /hello/00u1, GET /plain/
[[allow]]
when   = { uid = "{uid}" }
routes = ["GET /hello/{uid}/", "GET /plain"]
"#,
    ),
    (
        "a denied slash at the end",
        r#"
# {"uid":"00u1"} not GET /a, GET /a/, GET /b, GET /b/, may GET /a/x, GET /c, GET /
[[allow]]
routes = ["GET /*"]

[[deny]]
routes = ["GET /a", "GET /b/"]
"#,
    ),
    (
        "one text or one capture of a list, and a part of a segment",
        r#"
# {"list":["green","red"],"uid":"00u1"} has POST /c/00u1/part-00u1.json
# {"list":"red","uid":"*"} has nothing, not POST /c/*/part-*.json
# {"list":"blue","uid":"00u1"} not POST /c/00u1/part-00u1.json
# {"pair":["q::r","q::r::s"]} has DELETE /p/q/r/*, GET /p/q/r/*, HEAD /p/q/r/*, OPTIONS /p/q/r/*, PATCH /p/q/r/*, POST /p/q/r/*, PUT /p/q/r/*
[[allow]]
when   = { list = ["red", "green"], uid = "{u}" }
routes = ["POST /c/{u}/part-{u}.json"]

[[allow]]
when   = { pair = "{l}::{r}" }
routes = ["ANY /p/{l}/{r}/*"]
"#,
    ),
    (
        "a value that two patterns read in two ways grants nothing",
        r#"
# {"roles":["evil:r@umbra"]} has nothing, not GET /evil/r@umbra, GET /umbra/evil:r, GET /evil/r%40umbra
# {"roles":["evil:r@umbra","acme:r"]} has GET /acme/r
# {"roles":["r@acme"]} has GET /acme/r
# {"teams":["team-red"]} has nothing, not GET /teams/red, GET /teams/team-red
# {"teams":["red"]} has GET /teams/red
[[allow]]
when   = { roles = ["{tenant}:{role}", "{role}@{tenant}"] }
routes = ["GET /{tenant}/{role}"]

[[allow]]
when   = { teams = ["team-{t}", "{t}"] }
routes = ["GET /teams/{t}"]
"#,
    ),
    (
        "a value that two patterns read in two ways denies everything",
        r#"
# {"roles":["evil:r@umbra"]} not GET /t/acme, GET /t/evil
# {"roles":["acme:r"]} not GET /t/acme, GET /t/acme/, may GET /t/evil
# {"roles":["r@acme"]} not GET /t/acme, may GET /t/umbra
# {"roles":["acme"]} may GET /t/acme
[[allow]]
routes = ["GET /t/*"]

[[deny]]
when   = { roles = ["{tenant}:{role}", "{role}@{tenant}"] }
routes = ["GET /t/{tenant}"]
"#,
    ),
    (
        "a denied group with a beginning",
        r#"
# {"groups":["STAFF"]} may GET /a
# {"groups":["STAFF","SUSPENDED-FRAUD"]} not GET /a
# {"groups":["STAFF","SUSPENDED-*"]} not GET /a
# {"groups":["STAFF","SUSPENDED-"]} may GET /a
# {"groups":["STAFF","SUSPENDED"]} may GET /a
[[allow]]
routes = ["GET /a"]

[[deny]]
when   = { groups = "SUSPENDED-{reason}" }
routes = ["ANY /*"]
"#,
    ),
];

#[tokio::test]
async fn the_rules_grant_what_each_need_says() {
    let mut failures = Failures::default();
    for (need, rules) in NEEDS {
        check(need, rules, &Case::all(rules), &mut failures).await;
    }
    failures.report();
}

/// Values and their spellings in a path, as `encodeURIComponent` of JavaScript writes them.
#[tokio::test]
async fn a_value_has_its_spellings_or_grants_nothing() {
    const ALLOW: &str = "[[allow]]\nwhen = { v = '{v}' }\nroutes = ['GET /p/{v}']\n";
    const DENY: &str =
        "[[allow]]\nroutes = ['GET /open', 'GET /p/*']\n[[deny]]\nwhen = { v = '{v}' }\nroutes = ['GET /p/{v}']\n";
    let longest = "a".repeat(128);
    let longest_spaced = format!("{}b", "a ".repeat(63) + "a");
    let usable: [(&str, &[&str]); 19] = [
        ("acme", &["acme"]),
        ("...", &["..."]),
        ("A-z.0_9~", &["A-z.0_9~"]),
        ("!'()", &["!'()"]),
        ("alice@example.com", &["alice%40example.com", "alice@example.com"]),
        ("a+b", &["a%2Bb", "a+b"]),
        ("a=b", &["a%3Db", "a=b"]),
        ("a,b", &["a%2Cb", "a,b"]),
        ("a:b", &["a%3Ab", "a:b"]),
        ("a&b", &["a%26b", "a&b"]),
        ("&", &["%26", "&"]),
        ("O'Brien", &["O'Brien"]),
        ("Acme Corp", &["Acme%20Corp"]),
        ("a b c", &["a%20b%20c"]),
        ("Smith & Sons (UK)", &["Smith%20%26%20Sons%20(UK)"]),
        ("..a@x", &["..a%40x", "..a@x"]),
        ("...@x", &["...%40x", "...@x"]),
        (&longest, &[&longest]),
        (&longest_spaced, &[&longest_spaced.replace(' ', "%20")]),
    ];
    let too_long = "a".repeat(129);
    let unusable = [
        "",
        " ",
        " a",
        "a ",
        "a  b",
        "a\tb",
        "a\u{a0}b",
        ".",
        "..",
        "..@x",
        ".@x",
        ". x",
        "..+",
        "/",
        "a/b",
        "\\",
        "a\\b",
        "%",
        "%41",
        "*",
        "a*",
        "?",
        "a?",
        "$",
        "${aws:username}",
        "#",
        "a#b",
        "acme;x",
        "\"",
        "<",
        ">",
        "[",
        "]",
        "^",
        "`",
        "{",
        "|",
        "}",
        "a\n",
        "\0",
        "\u{7f}",
        "é",
        "\u{ff41}cme",
        "\u{202e}a",
        &too_long,
    ];
    let mut failures = Failures::default();
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    for (value, spellings) in usable {
        let granted: Vec<_> = spellings.iter().map(|spelling| format!("GET /p/{spelling}")).collect();
        let claims = json!({ "v": value });
        allow.push(Case::read(&format!("{claims} has {}", granted.join(", "))));
        let denied = granted.iter().flat_map(|route| [route.clone(), format!("{route}/")]).collect::<Vec<_>>();
        deny.push(Case::read(&format!("{claims} may GET /open, GET /p/other, not {}", denied.join(", "))));
    }
    for value in unusable {
        allow.push(Case::read(&format!("{} has GET /p/ok", json!({ "v": ["ok", value] }))));
        // An empty text has no capture, so it does not match.
        let verdict = if value.is_empty() { "may" } else { "not" };
        deny.push(Case::read(&format!("{} {verdict} GET /open, GET /p/other", json!({ "v": value }))));
    }
    check("allowed values", ALLOW, &allow, &mut failures).await;
    check("denied values", DENY, &deny, &mut failures).await;
    failures.report();
}

/// IAM has no exact name for a request with `*`, `?` or `$`. Its Deny has `?` instead, and must not
/// hit a route that a star within the path grants.
#[tokio::test]
async fn a_request_with_wildcards_denies_nothing_under_a_star() {
    let rules = "[[allow]]\nroutes = ['GET /orders/*/invoice', 'GET /*/status']\n";
    let authorizer = start(rules).await.unwrap();
    let mut failures = Failures::default();
    for (asked, granted, expected) in [
        ("GET /******/7/invoice", "GET /orders/7/invoice", Verdict::ImplicitDeny),
        ("GET /orders?/7/invoice", "GET /orders//7/invoice", Verdict::ImplicitDeny),
        ("GET /a/statu$", "GET /a/status", Verdict::ImplicitDeny),
        ("GET /orders/7/invoic$", "GET /orders/7/invoice", Verdict::ImplicitDeny),
        ("GET /orders/?/pay/invoic?", "GET /orders/1/pay/invoice", Verdict::ImplicitDeny),
        // These hit nothing that is granted, so they are denied by name.
        ("GET /*****/7/invoice", "GET /orders/7/invoice", Verdict::ExplicitDeny),
        ("GET /orders/*/pay", "GET /orders/7/invoice", Verdict::ExplicitDeny),
        ("GET /a/*/states", "GET /a/status", Verdict::ExplicitDeny),
        ("POST /orders/*/invoice", "GET /orders/7/invoice", Verdict::ExplicitDeny),
        // A star in a request is a character of the segment.
        ("GET /orders/*/invoice", "GET /orders/7/invoice", Verdict::Allowed),
    ] {
        let policy = policy(&authorizer, &json!({}), asked).await;
        let verdicts = [asked, granted].map(|route| policy.verdict(&arn(route)));
        failures.check(verdicts == [expected, Verdict::Allowed], || format!("{asked}: {verdicts:?}"));
    }
    failures.report();
}

/// A rules file that stops the start, and the nearest one that does not.
struct Refused {
    bad: &'static str,
    /// All mistakes of the bad file, as the one line has them.
    mistakes: &'static str,
    good: &'static str,
}

const REFUSED: [Refused; 34] = [
    Refused {
        bad: "[[allow]]\nroutes = ['ANY /*']\n[[deny]]\nwhen = { groups = 'SUSPENDED-*' }\nroutes = ['ANY /*']",
        mistakes: "line 4: `when.groups` pattern `SUSPENDED-*` has a `*`, and values are compared whole; for any text, write a capture, such as \"SUSPENDED-{any}\"",
        good: "[[allow]]\nroutes = ['ANY /*']\n[[deny]]\nwhen = { groups = 'SUSPENDED-{any}' }\nroutes = ['ANY /*']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { groups = ['STAFF', '*'] }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.groups` pattern `*` has a `*`, and values are compared whole; for any value, write { present = true }",
        good: "[[allow]]\nwhen = { groups = { present = true } }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { groups = { all = ['A', 'B*'] } }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.groups` pattern `B*` has a `*`, and values are compared whole; for any text, write a capture, such as \"B{any}\"",
        good: "[[allow]]\nwhen = { groups = { all = ['A', 'B{any}'] } }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { groups = 'ORDERS_.*' }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.groups` pattern `ORDERS_.*` looks like a regular expression, and values are compared whole; use text and captures, such as `team-{name}`, and a list for alternatives",
        good: "[[allow]]\nwhen = { groups = 'ORDERS_.{any}' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { groups = '^ORDERS$' }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.groups` pattern `^ORDERS$` looks like a regular expression, and values are compared whole; use text and captures, such as `team-{name}`, and a list for alternatives",
        good: "[[allow]]\nwhen = { groups = 'ORDERS' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['ANY /*']\n[[deny]]\nwhen = { groups = 'SUSPENDED|FRAUD' }\nroutes = ['ANY /*']",
        mistakes: "line 4: `when.groups` pattern `SUSPENDED|FRAUD` looks like a regular expression, and values are compared whole; use text and captures, such as `team-{name}`, and a list for alternatives",
        good: "[[allow]]\nroutes = ['ANY /*']\n[[deny]]\nwhen = { groups = ['SUSPENDED', 'FRAUD'] }\nroutes = ['ANY /*']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { groups = 'A', groups = 'B' }\nroutes = ['GET /a']",
        mistakes: "line 2: a name is there twice; if all of several values of a claim are needed, write { all = [\"A\", \"B\"] }",
        good: "[[allow]]\nwhen = { groups = { all = ['A', 'B'] } }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { scope = 'orders:read' }\nroutes = ['GET /a']",
        mistakes: "line 2: the claim `scope` is not a name that can be used; write `scopes`, which is `scp` or else `scope`",
        good: "[[allow]]\nwhen = { scopes = 'orders:read' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { scp = 'orders:read' }\nroutes = ['GET /a']",
        mistakes: "line 2: the claim `scp` is not a name that can be used; write `scopes`, which is `scp` or else `scope`",
        good: "[[allow]]\nwhen = { scopes = 'orders:read' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET /files/{proxy+}']",
        mistakes: "line 2: the route `GET /files/{proxy+}` has `{proxy+}`, as API Gateway writes it; write `*`",
        good: "[[allow]]\nroutes = ['GET /files/*']",
    },
    Refused {
        bad: "[[allow]]\nstage = 'prod'\nroutes = ['GET /prod/orders']",
        mistakes: "line 3: the route `GET /prod/orders` starts with the rule's stage; a path has no stage, so write `GET /orders`",
        good: "[[allow]]\nstage = 'test'\nroutes = ['GET /prod/orders']",
    },
    Refused {
        bad: "[[allow]]\nstage = ['test', 'prod']\nroutes = ['GET /prod']",
        mistakes: "line 3: the route `GET /prod` starts with the rule's stage; a path has no stage, so write `GET /`",
        good: "[[allow]]\nroutes = ['GET /prod']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET /a//b']",
        mistakes: "line 2: the route `GET /a//b` has an empty segment; write one `/` between two segments",
        good: "[[allow]]\nroutes = ['GET /a/b/']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET /a/../b']",
        mistakes: "line 2: the route `GET /a/../b` has the segment `..`; clients and servers remove it, so write the path without it",
        good: "[[allow]]\nroutes = ['GET /a/..x/b']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET /a/%2e%2E/b']",
        mistakes: "line 2: the route `GET /a/%2e%2E/b` has the segment `%2e%2E`; clients and servers remove it, so write the path without it",
        good: "[[allow]]\nroutes = ['GET /a/%2e%2Ex/b']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET  /a']",
        mistakes: "line 2: the route `GET  /a` has more white space than the one space after the method; write one route in each string, and %20 for a space in a path",
        good: "[[allow]]\nroutes = ['GET /a%20']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['/a']",
        mistakes: "line 2: the route `/a` has no method; write a method, one space and the path, such as `GET /orders`",
        good: "[[allow]]\nroutes = ['ANY /a']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET https://x/a']",
        mistakes: "line 2: the route `GET https://x/a` has the path `https://x/a`, which does not start with `/`; write the path without scheme and host",
        good: "[[allow]]\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET /orders*']",
        mistakes: "line 2: the route `GET /orders*` has a `*` that is only a part of a segment; a `*` is a whole segment, such as `/files/*`, and a part of one is a capture, such as `/files/{name}.pdf`",
        good: "[[allow]]\nroutes = ['GET /orders/*']",
    },
    Refused {
        bad: "[[allow]]\nroutes = ['GET /orders/{id}']",
        mistakes: "line 2: the route `GET /orders/{id}` uses `{id}`, which no pattern in `when` captures; for any value write `*`, or capture it, such as uid = \"{id}\"",
        good: "[[allow]]\nwhen = { orders = '{id}' }\nroutes = ['GET /orders/{id}']",
    },
    Refused {
        bad: "[allow]\nroutes = ['GET /a']",
        mistakes: "line 1: `[allow]` has one bracket too few; a rule begins with [[allow]]",
        good: "[[allow]]\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nroutes = 'GET /a'",
        mistakes: "line 2: `routes` is a string; write a list: routes = [\"GET /a\"]",
        good: "[[allow]]\nroutes = [\"GET /a\"]",
    },
    Refused {
        bad: "[[allow]]\nwhen = { uid = {uid} }\nroutes = ['GET /a']",
        mistakes: "line 2: a value is in quotes; write \"{uid}\" instead of {uid}",
        good: "[[allow]]\nwhen = { uid = \"{uid}\" }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { uid = '{user-id}' }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.uid` pattern `{user-id}` has the capture `{user-id}`; a capture's name has letters, digits and _, and starts with a letter",
        good: "[[allow]]\nwhen = { uid = '{userId}' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { '/app~/roles' = 'admin' }\nroutes = ['GET /a']",
        mistakes: "line 2: the claim `/app~/roles` has a `~` that is not `~0` (a `~`) or `~1` (a `/`), see RFC 6901",
        good: "[[allow]]\nwhen = { '/app~0/roles' = 'admin' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { app = { roles = 'admin' } }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.app` has `roles`; expected a pattern, a list, { all = […] } or { present = … }; a claim inside of a claim is \"/app/roles\"",
        good: "[[allow]]\nwhen = { '/app/roles' = 'admin' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { tenant_id = 5 }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.tenant_id` is an integer; write it as text: \"5\"",
        good: "[[allow]]\nwhen = { tenant_id = '5' }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { uid = { present = 'no' } }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.uid` `present` is a string; expected true or false",
        good: "[[allow]]\nwhen = { uid = { present = false } }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nwhen = { groups = ['{team}', '{role}'] }\nroutes = ['GET /a']",
        mistakes: "line 2: `when.groups` lists patterns with different captures; write a rule for each",
        good: "[[allow]]\nwhen = { groups = { all = ['{team}', '{role}'] } }\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nname = 'a'\nroutes = ['GET /a']\n[[deny]]\nname = 'a'\nroutes = ['GET /b']",
        mistakes: "line 5: the name `a` is used twice; the log could not tell the rules apart",
        good: "[[allow]]\nname = 'a'\nroutes = ['GET /a']\n[[deny]]\nname = 'A'\nroutes = ['GET /b']",
    },
    Refused {
        bad: "[[allow]]\nname = 'café'\nroutes = ['GET /a']",
        mistakes: "line 2: the name `café` cannot be used; expected 1 to 64 printable characters of ASCII without `\"` and `\\`, and not `line` with a number",
        good: "[[allow]]\nname = 'cafe'\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nname = 'line 7'\nroutes = ['GET /a']",
        mistakes: "line 2: the name `line 7` cannot be used; expected 1 to 64 printable characters of ASCII without `\"` and `\\`, and not `line` with a number",
        good: "[[allow]]\nname = 'lines 7'\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\nstage = 'prod*'\nroutes = ['GET /a']",
        mistakes: "line 2: `stage` has `prod*`; expected names of stages, such as \"prod\", compared whole",
        good: "[[allow]]\nstage = 'prod'\nroutes = ['GET /a']",
    },
    Refused {
        bad: "[[allow]]\napi = []\nroutes = ['GET /a']",
        mistakes: "line 2: `api` is an empty list; expected ids of APIs, such as \"a1b2c3d4e5\"",
        good: "[[allow]]\napi = ['a1b2c3d4e5']\nroutes = ['GET /a']",
    },
];

/// Requires that the process with this rules file ends with one line, which has these mistakes.
async fn check_refused(rules: impl AsRef<[u8]>, mistakes: &str, failures: &mut Failures) {
    let file = TempFile::new("refused.toml", &rules);
    let expected = format!(
        "POLICY_FILE names `{}`, which is wrong in {mistakes}; accepted: the path of a rules file, see docs/rules.md",
        file.path().display()
    );
    let rules = String::from_utf8_lossy(rules.as_ref());
    match Authorizer::refuse(&pinned().with("POLICY_FILE", file.path())).await {
        Err(_) => failures.check(false, || format!("{rules}\nstarts, and not: {mistakes}")),
        Ok(ended) => {
            failures.check(ended.status.code() == Some(1), || format!("{rules}\n{:?}", ended.status));
            failures
                .check(ended.lines == [expected.clone()], || format!("{rules}\n{expected}, but\n{:#?}", ended.lines));
        }
    }
}

#[tokio::test]
async fn a_file_that_means_something_else_is_refused() {
    let mut failures = Failures::default();
    for Refused { bad, mistakes, good } in REFUSED {
        check_refused(bad, mistakes, &mut failures).await;
        if let Err(ended) = start(good).await {
            failures.check(false, || format!("{good}\ndoes not start: {:#?}", ended.lines));
        }
    }
    failures.report();
}

#[tokio::test]
async fn all_mistakes_of_a_file_are_reported_at_once() {
    let mut failures = Failures::default();
    let rules = "\
[[allow]]
when   = { scope = 'a', groups = 'B*' }
routes = ['GET /a//b', 'GET /b', 'FETCH /c']

[[allow]]
route  = ['GET /d']

[[deny]]
when   = { uid = '{uid' }
routes = 'ANY /*'

[[denied]]

[other]
";
    let mistakes = [
        "line 2: the claim `scope` is not a name that can be used; write `scopes`, which is `scp` or else `scope`",
        "line 2: `when.groups` pattern `B*` has a `*`, and values are compared whole; for any text, write a capture, such as \"B{any}\"",
        "line 3: the route `GET /a//b` has an empty segment; write one `/` between two segments",
        "line 3: the route `FETCH /c` has the method `FETCH`; expected one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, ANY",
        "line 5: the rule has no `routes`; expected one `METHOD /path` or more",
        "line 6: unknown key `route`; write `routes`",
        "line 9: `when.uid` pattern `{uid` has a brace that is not closed or not opened; expected text and {capture}s",
        "line 10: `routes` is a string; write a list: routes = [\"ANY /*\"]",
        "line 12: unknown key `denied`; a file has [[allow]] and [[deny]] rules",
        "line 14: unknown key `other`; a file has [[allow]] and [[deny]] rules",
    ];
    check_refused(rules, &mistakes.join("; "), &mut failures).await;
    // A bracket too few hides no mistake of the rule.
    let mistakes = [
        "line 1: `[allow]` has one bracket too few; a rule begins with [[allow]]",
        "line 2: the route `GET /a//b` has an empty segment; write one `/` between two segments",
    ];
    check_refused("[allow]\nroutes = ['GET /a//b']\n", &mistakes.join("; "), &mut failures).await;
    failures.report();
}

/// PowerShell's `>` and `Out-File` write UTF-16 by default in its old version.
#[tokio::test]
async fn a_file_in_another_encoding_is_refused_with_its_name() {
    const UTF_16: &str = "line 1: the file is UTF-16, as PowerShell writes it; save it as UTF-8 (in PowerShell: Out-File -Encoding utf8)";
    let rules = "[[allow]]\r\nroutes = [\"GET /caf%C3%A9\"] # caf\u{e9}\r\n";
    let little: Vec<u8> = rules.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = rules.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin_1: Vec<u8> = rules.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let mut failures = Failures::default();
    check_refused([&[0xff, 0xfe], &little[..]].concat(), UTF_16, &mut failures).await;
    check_refused([&[0xfe, 0xff], &big[..]].concat(), UTF_16, &mut failures).await;
    check_refused(little, UTF_16, &mut failures).await;
    check_refused(latin_1, "line 1: the file is not UTF-8; save it as UTF-8", &mut failures).await;
    for good in [rules.to_owned(), format!("\u{feff}{rules}")] {
        if let Err(ended) = start(&good).await {
            failures.check(false, || format!("{good}\ndoes not start: {:#?}", ended.lines));
        }
    }
    failures.report();
}

/// The lines at WARN.
fn warnings(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["level"] == "WARN").collect()
}

#[tokio::test]
async fn a_policy_that_is_cut_is_a_warning() {
    let tenants: Vec<_> = (0..60).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect();
    let many = json!({ "tenants": tenants });
    let few = json!({ "tenants": tenants[..2] });
    let of = |tenant: usize| format!("PUT /tenants/tenant-{tenant}/admins/x");
    let whole = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", "1000000")).await;
    let all = policy(&whole, &many, &of(0)).await.allow;
    let authorizer = Authorizer::start(&pinned()).await;
    let first = policy(&authorizer, &many, &of(0)).await;
    assert_eq!([0, 59].map(|tenant| first.allows(&arn(&of(tenant)))), [true, false], "the cached policy is cut");
    let last = policy(&authorizer, &many, &of(59)).await;
    assert!(last.allows(&arn(&of(59))), "without a cache, no request is refused");
    policy(&authorizer, &few, &of(0)).await;
    let found: Vec<_> = warnings(&authorizer.stop().await)
        .iter()
        .map(|line| ["message", "routes", "resources_left_out"].map(|name| line[name].clone()))
        .collect();
    let expected = [&first, &last]
        .map(|policy| [json!("policy_cut"), json!(policy.allow.len()), json!(all.len() - policy.allow.len())]);
    assert_eq!(found, expected);
    assert_eq!(warnings(&whole.stop().await), Vec::<Value>::new(), "a larger policy is not cut");
    let rules = "[[allow]]\nwhen = { tenants = '{id}:{name}:{group}' }\nroutes = ['PUT /tenants/{name}/*']\n";
    let fewer = start(rules).await.unwrap();
    let found = policy(&fewer, &many, &of(0)).await;
    assert!((0..60).all(|tenant| found.allows(&arn(&of(tenant)))));
    assert_eq!(warnings(&fewer.stop().await), Vec::<Value>::new(), "fewer routes fit");
}

#[tokio::test]
async fn a_cut_policy_is_a_warning_in_text_too() {
    let env = pinned().with("AWS_LAMBDA_LOG_FORMAT", "Text").with("POLICY_MAX_BYTES", "8192");
    let authorizer = Authorizer::start(&env).await;
    let tenants: Vec<_> = (0..60).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect();
    let routes = policy(&authorizer, &json!({ "tenants": tenants }), "GET /apps").await.allow.len();
    let lines = authorizer.stop().await;
    let [_start, decision, cut] = &lines[..] else { panic!("{lines:#?}") };
    let left_out = decision.split(' ').find(|member| member.starts_with("resources_left_out=")).unwrap();
    let (_, after_the_time) = cut.split_once(' ').unwrap();
    let id = "00000000-0000-4000-8000-000000000001";
    let expected = format!("WARN policy_cut policies_cut=1 routes={routes} {left_out} request_id=\"{id}\"");
    assert_eq!(after_the_time.trim_start(), expected);
}

/// The stanzas of the cookbook. Each begins with a line `# need | path in API Gateway`.
fn cookbook() -> Vec<String> {
    let page = include_str!("../../docs/rules.md");
    let (_, cookbook) = page.split_once("\n## Cookbook").unwrap();
    let (cookbook, _) = cookbook.split_once("\n## ").unwrap();
    let mut stanzas: Vec<Vec<&str>> = Vec::new();
    for line in blocks(cookbook).iter().flat_map(|block| block.lines()) {
        if line.starts_with("# ") && line.contains(" | ") {
            stanzas.push(Vec::new());
        }
        stanzas.last_mut().expect("a block begins with a need").push(line);
    }
    stanzas.into_iter().map(|lines| lines.join("\n")).collect()
}

/// The blocks of TOML in Markdown.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// A file needs a rule that allows. Some examples only deny.
fn with_an_allow(rules: &str) -> String {
    if rules.contains("[[allow]]") { rules.to_owned() } else { format!("{rules}\n[[allow]]\nroutes = ['ANY /*']\n") }
}

#[tokio::test]
async fn the_cookbook_says_what_its_rules_do() {
    let stanzas = cookbook();
    let mut failures = Failures::default();
    assert!(stanzas.len() > 30, "{} needs", stanzas.len());
    for stanza in &stanzas {
        let need = stanza.lines().next().unwrap();
        let (_, path) = need.split_once(" | ").unwrap();
        failures.check(path.starts_with('/'), || format!("{need}: no path"));
        let cases = Case::all(stanza);
        let has = |list: fn(&Case) -> &Vec<String>| cases.iter().any(|case| !list(case).is_empty());
        failures.check(has(|case| &case.allowed) && has(|case| &case.denied), || {
            format!("{need}: needs an allowed and a denied request")
        });
        check(need, &with_an_allow(stanza), &cases, &mut failures).await;
    }
    failures.report();
}

#[tokio::test]
async fn every_rules_file_in_the_documents_starts() {
    let mut failures = Failures::default();
    for (page, text) in [
        ("docs/rules.md", include_str!("../../docs/rules.md")),
        ("docs/design.md", include_str!("../../docs/design.md")),
        ("README.md", include_str!("../../README.md")),
    ] {
        for rules in blocks(text).into_iter().filter(|block| !block.contains("[[case]]")) {
            if let Err(ended) = start(&with_an_allow(rules)).await {
                failures.check(false, || format!("{page}: {rules}{:#?}", ended.lines));
            }
        }
    }
    failures.report();
}
