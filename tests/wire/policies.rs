//! What the tests' rules grant, as API Gateway enforces it. `rules.rs` has each part of the rules
//! language.

use okta_authorizer_testkit::{
    API, Failures, arn, event_for,
    iam::{Policy, Verdict},
    keys,
    runtime_api::Authorizer,
    temp_file::TempFile,
    token::{bearer, claims},
    with, without,
};
use serde_json::{Value, json};

use crate::{pinned, policy};

async fn start() -> Authorizer {
    Authorizer::start(&pinned()).await
}

const ACME: &str = "0oidp:acme:ACME_ADMINS";
/// The routes that any valid token may call.
const EVERYONE: [&str; 3] = ["GET /apps", "GET /apps/0oa1", "GET /apps/0oa1/users/00u1"];
/// The routes that the claim [`ACME`] adds.
const TENANT_ADMIN: [&str; 12] = [
    "GET /idps",
    "GET /idps/0oidp",
    "PUT /idps/0oidp",
    "GET /idps/0oidp/metadata.xml",
    "GET /tenants/acme",
    "GET /tenants/acme/domains",
    "POST /tenants/acme/domains",
    "GET /tenants/acme/domains/acme.example/verify",
    "PUT /tenants/acme/domains/acme.example",
    "DELETE /tenants/acme/domains/acme.example",
    "PUT /tenants/acme/admins/00u1/x",
    "PUT /tenants/acme/apps/0oa1",
];
/// The routes that the group `SUPERUSERS` adds. It also adds all other routes under `/tenants/`.
const SUPERUSERS: [&str; 11] = [
    "GET /tenants",
    "POST /tenants",
    "GET /tenants/umbra",
    "HEAD /tenants/acme",
    "POST /tenants/acme",
    "PUT /tenants/umbra",
    "PATCH /tenants/umbra",
    "DELETE /tenants/umbra",
    "OPTIONS /tenants/umbra",
    "PUT /tenants/umbra/admins/00u1",
    "PATCH /tenants/a/b/c/d",
];
/// The user's own resource, and routes for scopes.
const HELLO: &str = "GET /hello/00uada";
const BALANCE: &str = "GET /users/00uada/balance";
const READ: &str = "GET /home/premium";
const WRITE: &str = "POST /home/premium";
/// Routes that no claims of these tests grant.
const NOBODY: [&str; 24] = [
    "GET /",
    "GET /app",
    "GET /appsx",
    "GET /APPS",
    "GET //apps",
    "HEAD /apps",
    "DELETE /apps/0oa1",
    "GET /hello/",
    "GET /hello/00uadax",
    "GET /hello/00uada/x",
    "GET /hello/00ueve",
    "POST /hello/00uada",
    "GET /users/00uada/balance/x",
    "GET /users/00ueve/balance",
    "PUT /home/premium",
    "GET /home/premium/x",
    "POST /idps",
    "GET /idps/0oother",
    "DELETE /idps/0oidp",
    "GET /idps/0oidp/metadata.xml/x",
    "DELETE /tenants",
    "GET /tenantsx",
    "GET /acme",
    "GET /tenants/acme:x:y/z/../..",
];

/// API Gateway caches the policy of any first request for every route of the stage.
#[tokio::test]
async fn each_claim_grants_its_routes_whichever_is_requested() {
    let tenants = SUPERUSERS.into_iter().chain(TENANT_ADMIN).filter(|route| route.contains(" /tenants"));
    let superuser: Vec<_> = tenants.collect();
    let all = [&EVERYONE[..], &[HELLO, BALANCE, READ, WRITE], &TENANT_ADMIN, &SUPERUSERS, &NOBODY].concat();
    let authorizer = start().await;
    let mut failures = Failures::default();
    for (members, granted) in [
        (json!({}), vec![HELLO]),
        (json!({ "scp": ["openid", "api:read"] }), vec![HELLO, BALANCE]),
        (json!({ "scope": "openid api:read" }), vec![HELLO, BALANCE]),
        (json!({ "scp": ["premium_api/read", "premium_api/write"] }), vec![HELLO, READ, WRITE]),
        (json!({ "scp": ["premium_api/*", "api:readx", "API:READ"] }), vec![HELLO]),
        (json!({ "uid": "00ubob", "scp": "api:read" }), vec![]),
        (json!({ "groups": ["Everyone", "SUPERUSERS"] }), [&[HELLO][..], &superuser].concat()),
        (json!({ "groups": { "SUPERUSERS": true } }), vec![HELLO]),
        (json!({ "tenants": ACME }), [&[HELLO][..], &TENANT_ADMIN].concat()),
        // An unusable value does not affect the others. The last part is in no route.
        (json!({ "tenants": ["*:*:*", "0oidp:a/b:G", "0oidp:acme:G *"] }), [&[HELLO][..], &TENANT_ADMIN].concat()),
        (json!({ "tenants": ["0oidp:acme:G:H", "0oidp:acme"] }), vec![HELLO]),
        (
            json!({ "tenants": [ACME], "groups": ["SUPERUSERS"], "scp": ["api:read"] }),
            [&[HELLO, BALANCE][..], &TENANT_ADMIN, &superuser].concat(),
        ),
    ] {
        for requested in &all {
            let policy = policy(&authorizer, &members, requested).await;
            for route in &all {
                let expected = granted.contains(route) || EVERYONE.contains(route);
                let verdict = policy.verdict(&arn(route));
                failures.check(expected == (verdict == Verdict::Allowed), || {
                    format!("{members}, requested {requested}: {route} is {verdict:?}")
                });
            }
        }
    }
    failures.report();
}

#[tokio::test]
async fn a_policy_without_wildcards_has_no_guard() {
    let rules = TempFile::new("exact.toml", "[[allow]]\nroutes = [\"GET /\", \"PUT /a\"]\n");
    let authorizer = Authorizer::start(&pinned().with("POLICY_FILE", rules.path())).await;
    let granted = policy(&authorizer, &json!({}), "PUT /a").await;
    assert_eq!((granted.allow, granted.deny), (["GET /", "PUT /a"].map(arn).to_vec(), vec![]));
    let denied = policy(&authorizer, &json!({}), "GET /a").await;
    assert_eq!((denied.allow, denied.deny), (["GET /", "PUT /a"].map(arn).to_vec(), vec![arn("GET /a")]));
}

#[tokio::test]
async fn the_policy_is_for_the_events_api_and_stage() {
    let authorizer = start().await;
    for stage in [
        "arn:aws:execute-api:eu-central-1:000000000001:a1b2c3d4e5/v1",
        "arn:aws-cn:execute-api:cn-north-1:210987654321:zzzzzzzzzz/test-invoke-stage",
        "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:abcdef1234/Prod_2",
    ] {
        let requested = format!("{stage}/GET/apps");
        let policy = authorizer.invoke(event_for(&bearer(&json!({})), &requested)).await.policy(&requested);
        assert_eq!(policy.allow, ["apps", "apps/*", "hello/00uada"].map(|path| format!("{stage}/GET/{path}")));
        assert!(!policy.allows(&arn("GET /apps")));
    }
}

#[tokio::test]
async fn no_claim_can_widen_an_arn() {
    let authorizer = start().await;
    let base = policy(&authorizer, &json!({}), "GET /apps").await;
    let any_token = ["GET /apps", "GET /apps/*"].map(arn).to_vec();
    let mut failures = Failures::default();
    let (longest, too_long) = ("a".repeat(128), "a".repeat(129));
    for value in [
        "*",
        "00u?",
        "${aws:username}",
        "/",
        "../umbra",
        "..",
        "%2e%2e",
        "a  b",
        "a;b",
        "a\n",
        "\\",
        "\u{202e}a",
        &too_long,
    ] {
        for (members, expected) in [
            (json!({ "uid": value, "scp": ["api:read"] }), &any_token),
            (json!({ "groups": [value] }), &base.allow),
            (json!({ "groups": value }), &base.allow),
            (json!({ "scp": [value] }), &base.allow),
            (json!({ "scope": value }), &base.allow),
            (json!({ "tenants": [format!("0oidp:{value}:G")] }), &base.allow),
            (json!({ "tenants": [format!("{value}:acme:G")] }), &base.allow),
            (json!({ "tenants": [value] }), &base.allow),
            (json!({ "sub": value }), &base.allow),
            (json!({ "cid": value }), &base.allow),
            (json!({ (value.to_owned()): value }), &base.allow),
        ] {
            let policy = policy(&authorizer, &members, "GET /apps").await;
            failures.check(policy.allow == *expected, || format!("{members:.300}: {:#?}", policy.allow));
            failures.check(policy.deny == base.deny, || format!("{members:.300}: {:#?}", policy.deny));
        }
    }
    for value in ["a", "...", "ada@example.com", "00u1-._~@+=,!&'()", &longest] {
        let members = json!({ "uid": value, "tenants": [format!("{value}:{value}:G")] });
        let granted = policy(&authorizer, &members, "GET /apps").await;
        for route in ["GET /hello/{}", "GET /idps/{}", "PUT /idps/{}", "GET /tenants/{}", "PUT /tenants/{}/admins/*"] {
            let route = arn(&route.replace("{}", value));
            failures.check(granted.allow.contains(&route), || format!("{route} is missing from {:#?}", granted.allow));
        }
    }
    failures.report();
}

/// The unit tests of the path guard have more paths.
#[tokio::test]
async fn the_requested_path_denies_itself_at_most() {
    let authorizer = start().await;
    let long = format!("/other/{}", "a".repeat(2000));
    let mut failures = Failures::default();
    for members in [json!({}), json!({ "groups": ["SUPERUSERS"], "tenants": [ACME] })] {
        let cached = policy(&authorizer, &members, "GET /apps").await;
        let is_superuser = members != json!({});
        let guarded = [
            "/tenants/acme/../umbra",
            "/tenants/acme/.",
            "/apps/..",
            "/tenants/acme/%2E%2e/umbra",
            "/tenants/acme%2fumbra",
            "/tenants/acme/..\\umbra",
            "/tenants/acme/%252e%252E%252Fumbra",
            "/tenants/acme/%09../umbra",
            "/tenants/acme/%c0%ae%c0%ae/umbra",
            "/tenants/acme/..#x",
            "/tenants/acme#x",
            "/tenants/acme/.. ",
            "/tenants/acme/.\t./umbra",
            "/tenants/acme/..\r\n",
            "/tenants/acme/..\0x",
        ];
        let under_tenants =
            ["/tenants/*", "/tenants/acme/*", "/tenants/..a", "/tenants/acme/100%25", "/tenants/acme//é"];
        let others = [
            "/*",
            "/hello/*",
            "/hello/?",
            "/hello/${aws:username}",
            "/hello/00uada*",
            "/hello/00uada%20",
            "/hello/00uada\"\u{1}",
            "/hello/00uad*",
            "/hello/??????",
            "/idps/*****",
            "/idps/$$$$$",
            "/hello/\u{202e}",
            "/idps/0oidp/metadata.xml*",
            "/",
            "//",
            "/:::",
            "/arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps",
            &long,
        ];
        let is_granted = |path: &str| is_superuser && under_tenants.contains(&path);
        for path in guarded.into_iter().chain(under_tenants).chain(others) {
            let route = format!("GET {path}");
            let requested = policy(&authorizer, &members, &route).await;
            failures.check(requested.allow == cached.allow, || format!("{path:.100} is in {:#?}", requested.allow));
            let added = requested.deny.len() - cached.deny.len();
            failures.check(added <= 1, || format!("{path:.100} adds {added} resources to the Deny"));
            let denied = |granted: &&String| !granted.ends_with('*') && !requested.allows(granted);
            let denied: Vec<_> = requested.allow.iter().filter(denied).collect();
            failures.check(denied.is_empty(), || format!("{path:.100} denies {denied:?} too"));
            let verdict = requested.verdict(&arn(&route));
            failures.check(is_granted(path) == (verdict == Verdict::Allowed), || format!("{path:.100}: {verdict:?}"));
            failures.check(!is_granted(path) || requested == cached, || format!("{path}: {requested:#?}"));
            failures.check(is_granted(path) == cached.allows(&arn(&route)), || format!("{path:.100}, from the cache"));
        }
        for (path, method) in guarded.iter().flat_map(|path| ["GET", "PUT", "DELETE", "PATCH"].map(|m| (path, m))) {
            let verdict = cached.verdict(&arn(&format!("{method} {path}")));
            failures.check(verdict == Verdict::ExplicitDeny, || format!("{method} {path}: {verdict:?}"));
        }
    }
    failures.report();
}

/// IAM has no exact name for a request with `*`, `?` or `$`. The Deny of it must not hit a route
/// that the same policy allows, because the gateway caches the policy.
#[tokio::test]
async fn a_request_with_wildcards_denies_nothing_that_is_granted() {
    let authorizer = start().await;
    let members = json!({ "tenants": [ACME] });
    let mut failures = Failures::default();
    for (asked, granted, expected) in [
        ("GET /idps/*****", "GET /idps/0oidp", Verdict::ImplicitDeny),
        ("GET /idps/$$$$$", "GET /idps/0oidp", Verdict::ImplicitDeny),
        ("GET /idps/0oid?", "GET /idps/0oidp", Verdict::ImplicitDeny),
        ("GET /tenants/****/domains/x", "GET /tenants/acme/domains/x", Verdict::ImplicitDeny),
        // These hit nothing that is granted, so they are denied by name.
        ("GET /idps/****", "GET /idps/0oidp", Verdict::ExplicitDeny),
        ("GET /tenants/***/domains/x", "GET /tenants/acme/domains/x", Verdict::ExplicitDeny),
        ("GET /idps/0oidq", "GET /idps/0oidp", Verdict::ExplicitDeny),
    ] {
        let policy = policy(&authorizer, &members, asked).await;
        let verdicts = [asked, granted].map(|route| policy.verdict(&arn(route)));
        failures.check(verdicts == [expected, Verdict::Allowed], || format!("{asked}: {verdicts:?}"));
    }
    failures.report();
}

/// Thirty rules that combine a hundred groups with a hundred tenants have 27 million routes. The
/// unit tests of `crates/policy` count the work.
#[tokio::test]
async fn a_token_with_too_much_work_loses_allows_and_no_deny() {
    let routes: Vec<_> = (0..13).map(|n| format!("\"ANY /{n}/{{g}}/{{t}}/*\"")).collect();
    let when = "when = { groups = \"{g}\", tenants = \"{t}\" }";
    let rule = |effect: &str| format!("[[{effect}]]\n{when}\nroutes = [{}]\n", routes.join(","));
    let others = "[[allow]]\nroutes = [\"GET /apps\"]\n[[allow]]\nwhen = { uid = \"{u}\" }\nroutes = [\"GET /hello/{u}\"]\n\
        [[deny]]\nwhen = { groups = \"group-{n}\" }\nroutes = [\"GET /0/{n}/*\"]\n";
    let many = |name: &str| (0..100).map(|n| format!("{name}-{n}")).collect::<Vec<_>>();
    let (heavy, light) =
        (json!({ "groups": many("group"), "tenants": many("tenant") }), json!({ "groups": ["group-7"] }));

    let rules = TempFile::new("heavy.toml", &(rule("allow").repeat(30) + others));
    let authorizer = Authorizer::start(&pinned().with("POLICY_FILE", rules.path())).await;
    for members in [&heavy, &light] {
        for route in ["GET /apps", "GET /hello/00uada"] {
            let found = policy(&authorizer, members, route).await;
            assert!(found.allows(&arn(route)), "{route}");
            assert_eq!(found.verdict(&arn("GET /0/7/x")), Verdict::ExplicitDeny);
        }
    }
    let lines = authorizer.stop().await;
    assert_eq!(lines.iter().filter(|line| line.contains("\"policy_cut\"")).count(), 2, "{lines:#?}");

    let rules = TempFile::new("heavy-deny.toml", &(rule("deny") + others));
    let authorizer = Authorizer::start(&pinned().with("POLICY_FILE", rules.path())).await;
    let denied = policy(&authorizer, &heavy, "GET /apps").await;
    assert_eq!(denied.verdict(&arn("GET /apps")), Verdict::ExplicitDeny, "a lost Deny denies everything");
    assert!(policy(&authorizer, &light, "GET /apps").await.allows(&arn("GET /apps")));
}

#[tokio::test]
async fn a_rules_file_of_more_than_100_kib_stops_the_process() {
    let rules = "[[allow]]\nroutes = [\"GET /apps\"]\n#";
    let padded = |bytes: usize| rules.to_owned() + &"x".repeat(bytes - rules.len());
    let (longest, too_long) =
        (TempFile::new("longest.toml", padded(102_400)), TempFile::new("too-long.toml", padded(102_401)));
    let authorizer = Authorizer::start(&pinned().with("POLICY_FILE", longest.path())).await;
    assert!(policy(&authorizer, &json!({}), "GET /apps").await.allows(&arn("GET /apps")));
    let ended = Authorizer::refuse(&pinned().with("POLICY_FILE", too_long.path())).await.unwrap();
    let problem = "which is wrong in line 1: the file has 102401 bytes; at most 102400 are accepted";
    let [line] = &ended.lines[..] else { panic!("{:#?}", ended.lines) };
    assert!(line.starts_with("POLICY_FILE names ") && line.contains(problem), "{line}");
}

#[tokio::test]
async fn an_unknown_method_is_never_allowed() {
    let authorizer = start().await;
    let authorization = bearer(&json!({ "groups": ["SUPERUSERS"] }));
    for method in ["*", "?", "GE*", "G?T", "get", "FETCH", "GET,POST", "CONNECT", "TRACE"] {
        let requested = format!("{API}/{method}/tenants/acme");
        let answer = authorizer.invoke(event_for(&authorization, &requested)).await;
        assert!(!answer.allows(&requested) && !answer.is_unauthorized(), "{method}: {answer:?}");
    }
    let requested = arn("GET /tenants/acme");
    assert!(authorizer.invoke(event_for(&authorization, &requested)).await.allows(&requested));
}

#[tokio::test]
async fn path_guard_off_leaves_out_the_guard() {
    let members = json!({ "groups": ["SUPERUSERS"] });
    let route = "GET /tenants/acme%2fumbra";
    let off = policy(&Authorizer::start(&pinned().with("PATH_GUARD", "off")).await, &members, route).await;
    let on = policy(&start().await, &members, route).await;
    assert!(off.allows(&arn(route)));
    assert_eq!(off.deny, Vec::<String>::new());
    assert_eq!(on.verdict(&arn(route)), Verdict::ExplicitDeny);
    assert_eq!(on.allow, off.allow);
}

/// The claims of an administrator of a hundred tenants. Their policy has over a thousand resources.
fn hundred_tenants() -> Value {
    json!({ "tenants": (0..100).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_policy_that_is_too_long_keeps_what_is_requested() {
    let members = hundred_tenants();
    let whole = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", "1000000")).await;
    let whole = policy(&whole, &members, "GET /apps").await;
    assert!(whole.size > 65_536, "too few resources: {}", whole.size);
    let mut failures = Failures::default();
    for (max_bytes, variable) in [(32_768, ""), (65_536, "65536"), (8192, "8192")] {
        let authorizer = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", variable)).await;
        for (tenant, path) in [(0, ""), (57, "/domains/d.example"), (99, "/domains"), (99, "/domains/a/b")] {
            let route = format!("GET /tenants/tenant-{tenant}{path}");
            let policy = policy(&authorizer, &members, &route).await;
            let size = max_bytes / 2..=max_bytes;
            failures.check(size.contains(&policy.size), || format!("{max_bytes}: {} bytes", policy.size));
            failures.check(policy.allows(&arn(&route)), || format!("{max_bytes}: {route} is requested, but omitted"));
            let is_subset = policy.allow.iter().all(|resource| whole.allow.contains(resource));
            failures.check(is_subset, || format!("{max_bytes}: more than granted"));
            let guarded = policy.verdict(&arn("PUT /tenants/tenant-0/admins/../x"));
            failures.check(guarded == Verdict::ExplicitDeny, || format!("{max_bytes}: the guard is omitted"));
        }
        let denied = policy(&authorizer, &members, "GET /tenants/umbra").await;
        let verdict = denied.verdict(&arn("GET /tenants/umbra"));
        failures.check(denied.size <= max_bytes && verdict == Verdict::ExplicitDeny, || {
            format!("{max_bytes}: {verdict:?} in {} bytes", denied.size)
        });
    }
    failures.report();
}

#[tokio::test]
async fn the_response_has_the_principal_and_its_context() {
    let env = pinned().with("CONTEXT_CLAIMS", "email, level,admin,missing,roles").with("API_KEY_CLAIM", "cid");
    let authorizer = Authorizer::start(&env).await;
    let respond = async |members: Value| {
        let answer = authorizer.invoke(event_for(&keys::main().token(&members), &arn("GET /apps"))).await;
        (answer.policy(&arn("GET /apps")), answer.response().clone())
    };
    let full = json!({
        "scp": ["openid", "api:read"], "groups": ["Everyone", "x \"y\""], "tenants": ["0oidp:acme:G"],
        "email": "ada@example.com", "level": 5, "admin": true, "roles": ["a", "b"], "other": "x",
    });
    let (_, response) = respond(with(&claims(), &full)).await;
    assert_eq!(response["principalId"], "00uada");
    assert_eq!(response["usageIdentifierKey"], "0oaclient");
    let expected = json!({
        "uid": "00uada",
        "sub": "ada@example.com",
        "cid": "0oaclient",
        "scopes": "openid api:read",
        "groups": r#"["Everyone","x \"y\""]"#,
        "tenants": r#"["0oidp:acme:G"]"#,
        "email": "ada@example.com",
        "level": "5",
        "admin": "true",
        "roles": r#"["a","b"]"#,
    });
    assert_eq!(response["context"], expected);

    let bare = with(&without(&without(&claims(), "uid"), "cid"), &json!({ "scope": "a b" }));
    let (policy, response): (Policy, Value) = respond(bare).await;
    assert_eq!(policy.allow, ["GET /apps", "GET /apps/*"].map(arn), "nothing for an absent uid");
    assert_eq!(response["principalId"], "ada@example.com");
    assert_eq!(response["context"], json!({ "sub": "ada@example.com", "scopes": "a b" }));
    assert_eq!(response.get("usageIdentifierKey"), None);

    let plain = start().await.invoke(event_for(&bearer(&json!({ "email": "x" })), &arn("GET /apps"))).await;
    let plain = plain.response();
    assert_eq!(plain["context"], json!({ "uid": "00uada", "sub": "ada@example.com", "cid": "0oaclient" }));
    assert_eq!(plain.get("usageIdentifierKey"), None);
}

/// A backend trusts these entries, so a claim of the same name must not replace one.
#[tokio::test]
async fn a_claim_of_context_claims_replaces_no_standard_entry() {
    let standard = ["uid", "sub", "cid", "scopes", "groups", "tenants"];
    let forged = json!({ "scp": ["api:read"], "scopes": "api:admin", "groups": "one", "tenants": ["0oidp:acme:G"] });
    let respond = async |context_claims: String| {
        let authorizer = Authorizer::start(&pinned().with("CONTEXT_CLAIMS", context_claims)).await;
        authorizer.invoke(event_for(&bearer(&forged), &arn("GET /apps"))).await.response().clone()
    };
    let response = respond(standard.join(",")).await;
    let expected = json!({
        "uid": "00uada", "sub": "ada@example.com", "cid": "0oaclient", "scopes": "api:read",
        "groups": r#"["one"]"#, "tenants": r#"["0oidp:acme:G"]"#,
    });
    assert_eq!(response["context"], expected);
    assert_eq!(respond("scp".to_owned()).await["context"]["scp"], r#"["api:read"]"#, "another name is added");
}

#[tokio::test]
async fn the_same_event_gets_the_same_answer() {
    let authorizer = start().await;
    let event = event_for(&bearer(&hundred_tenants()), &arn("GET /idps/0oidp7"));
    let first = authorizer.invoke(event.clone()).await;
    assert!(first.allows(&arn("GET /idps/0oidp7")));
    for _ in 0..5 {
        assert_eq!(authorizer.invoke(event.clone()).await, first);
    }
}
