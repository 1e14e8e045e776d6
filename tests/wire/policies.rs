//! Design 2 and 4: what the shipped `policy.toml` grants, route by route, as the gateway would enforce it.

use okta_authorizer_testkit::{
    API, Failures, arn,
    env::Env,
    event_for,
    iam::{Policy, Verdict},
    keys::{self, jwks},
    runtime_api::{Answer, Authorizer},
    token::{bearer, claims},
    with, without,
};
use serde_json::{Value, json};

fn pinned() -> Env {
    Env::pinned(&jwks(&[keys::main()]))
}

/// The policy for a good token with these claims that asks for `route`.
async fn policy(authorizer: &Authorizer, members: &Value, route: &str) -> Policy {
    authorizer.invoke(event_for(&bearer(members), &arn(route))).await.policy(&arn(route))
}

const EVERYONE: [&str; 3] = ["GET /apps", "GET /apps/0oa1", "GET /apps/0oa1/users/00u1"];

/// What a token with a tenant `0oidp:acme:…` may call, beside what everyone may.
const ACME: [&str; 14] = [
    "GET /idps",
    "GET /idps/0oidp",
    "PUT /idps/0oidp",
    "GET /idps/0oidp/metadata.xml",
    "GET /tenants/acme",
    "GET /tenants/acme/domains",
    "POST /tenants/acme/domains",
    "GET /tenants/acme/domains/acme.example",
    "PUT /tenants/acme/domains/acme.example",
    "DELETE /tenants/acme/domains/acme.example",
    "GET /tenants/acme/domains/acme.example/verify",
    "PUT /tenants/acme/admins/00u1",
    "PUT /tenants/acme/admins/00u1/x",
    "PUT /tenants/acme/apps/0oa1",
];

const UMBRA: [&str; 6] = [
    "GET /idps",
    "GET /idps/0oumbra",
    "GET /tenants/umbra",
    "POST /tenants/umbra/domains",
    "PUT /tenants/umbra/admins/00u1",
    "PUT /tenants/umbra/apps/0oa1",
];

const SUPERUSERS: [&str; 12] = [
    "GET /tenants",
    "POST /tenants",
    "GET /tenants/acme",
    "HEAD /tenants/acme",
    "POST /tenants/acme",
    "PUT /tenants/umbra",
    "PATCH /tenants/umbra",
    "DELETE /tenants/umbra",
    "OPTIONS /tenants/umbra",
    "DELETE /tenants/acme/domains/acme.example",
    "PUT /tenants/acme/admins/00u1",
    "PATCH /tenants/a/b/c/d",
];

/// Routes that no claim of the table below grants.
const NOBODY: [&str; 40] = [
    "GET /",
    "GET /app",
    "GET /appsx",
    "GET /APPS",
    "GET //apps",
    "HEAD /apps",
    "POST /apps",
    "DELETE /apps/0oa1",
    "OPTIONS /apps",
    "GET /hello",
    "GET /hello/",
    "GET /hello/00u",
    "GET /hello/00uadax",
    "GET /hello/00uada/x",
    "GET /hello/00ueve",
    "POST /hello/00uada",
    "GET /users",
    "GET /users/00uada",
    "GET /users/00uada/balance/x",
    "GET /users/00ueve/balance",
    "PUT /users/00uada/balance",
    "GET /home",
    "PUT /home/premium",
    "GET /home/premium/x",
    "GET /idp",
    "POST /idps",
    "GET /idps/0oother",
    "DELETE /idps/0oidp",
    "PUT /idps/0oidp/metadata.xml",
    "GET /idps/0oidp/metadata",
    "GET /idps/0oidp/metadata.xml/x",
    "GET /idps/0oidp/users",
    "DELETE /tenants",
    "PUT /tenants",
    "GET /tenantsx",
    "GET /tenant/acme",
    "GET /acme",
    "GET /admins",
    "GET /tenants/acme:x:y/z/../..",
    "PATCH /idps/0oidp",
];

/// [`SUPERUSERS`], and under `/tenants/` whatever else the tests ask for.
fn superusers() -> Vec<&'static str> {
    let of_tenants = ACME.into_iter().chain(UMBRA).filter(|route| route.contains(" /tenants/"));
    SUPERUSERS.into_iter().chain(of_tenants).collect()
}

/// Claims, and what they grant beside [`EVERYONE`].
fn mappings() -> Vec<(Value, Vec<&'static str>)> {
    let hello = "GET /hello/00uada";
    let (balance, read, write) = ("GET /users/00uada/balance", "GET /home/premium", "POST /home/premium");
    let acme = "0oidp:acme:ACME_ADMINS";
    let umbra = "0oumbra:umbra:UMBRA_ADMINS";
    vec![
        (json!({}), vec![hello]),
        (json!({ "scp": [] }), vec![hello]),
        (json!({ "scp": ["openid", "profile"] }), vec![hello]),
        (json!({ "scp": ["api:read"] }), vec![hello, balance]),
        (json!({ "scp": "api:read" }), vec![hello, balance]),
        (json!({ "scope": "openid api:read" }), vec![hello, balance]),
        (json!({ "scp": ["openid"], "scope": "api:read" }), vec![hello]),
        (json!({ "scp": ["api:write", "api:rea", "api:readx", "API:READ", "api:read "] }), vec![hello]),
        (json!({ "scp": ["premium_api/read"] }), vec![hello, read]),
        (json!({ "scp": ["premium_api/write"] }), vec![hello, write]),
        (json!({ "scp": ["premium_api/read", "premium_api/write", "api:read"] }), vec![hello, read, write, balance]),
        (json!({ "scp": ["premium_api", "premium_api/", "premium_api/*"] }), vec![hello]),
        (json!({ "groups": ["SUPERUSERS"] }), [&[hello][..], &superusers()].concat()),
        (json!({ "groups": "SUPERUSERS" }), [&[hello][..], &superusers()].concat()),
        (json!({ "groups": ["Everyone", "SUPERUSERS", "x"] }), [&[hello][..], &superusers()].concat()),
        (json!({ "groups": ["superusers", "SUPERUSERS2", " SUPERUSERS", "SUPERUSER", "*"] }), vec![hello]),
        (json!({ "groups": { "SUPERUSERS": true } }), vec![hello]),
        (json!({ "groups": null }), vec![hello]),
        (json!({ "groups": 5 }), vec![hello]),
        (json!({ "tenants": [acme] }), [&[hello][..], &ACME].concat()),
        (json!({ "tenants": acme }), [&[hello][..], &ACME].concat()),
        (json!({ "tenants": [umbra] }), [&[hello][..], &UMBRA].concat()),
        (json!({ "tenants": [acme, umbra] }), [&[hello][..], &ACME, &UMBRA].concat()),
        // The third capture goes into no route, so it may hold what a route could not.
        (json!({ "tenants": ["0oidp:acme:ACME ADMINS *"] }), [&[hello][..], &ACME].concat()),
        (json!({ "tenants": [] }), vec![hello]),
        (json!({ "tenants": ["", "acme", "0oidp:acme", ":acme:", "0oidp::G", ":acme:G", "0oidp:acme:"] }), vec![hello]),
        // This could be split in three ways.
        (json!({ "tenants": ["0oidp:acme:G:H"] }), vec![hello]),
        (json!({ "tenants": ["0oidp:umbra:acme:G"] }), vec![hello]),
        // A bad value does not spoil its neighbours.
        (json!({ "tenants": ["*:*:*", "0oidp:a b:G", acme, "x"] }), [&[hello][..], &ACME].concat()),
        (
            json!({ "tenants": [acme], "groups": ["SUPERUSERS"], "scp": ["api:read"] }),
            [&[hello, balance][..], &ACME, &superusers()].concat(),
        ),
    ]
}

fn universe() -> Vec<&'static str> {
    let mut all = [&EVERYONE[..], &ACME, &UMBRA, &SUPERUSERS, &NOBODY].concat();
    all.extend(["GET /hello/00uada", "GET /users/00uada/balance", "GET /home/premium", "POST /home/premium"]);
    all
}

#[tokio::test]
async fn the_shipped_rules_grant_what_the_design_says_and_nothing_else() {
    let authorizer = Authorizer::start(&pinned()).await;
    let universe = universe();
    let mut failures = Failures::default();
    for (members, granted) in mappings() {
        let authorization = bearer(&members);
        for asked in &universe {
            let policy = authorizer.invoke(event_for(&authorization, &arn(asked))).await.policy(&arn(asked));
            // The gateway caches the policy for every route of the stage, so it must be right for all of them.
            for route in &universe {
                let expected = granted.contains(route) || EVERYONE.contains(route);
                let verdict = policy.verdict(&arn(route));
                failures.check(expected == (verdict == Verdict::Allowed), || {
                    format!("{members}, asked for {asked}: {route} is {verdict:?}")
                });
            }
        }
    }
    failures.report();
}

#[tokio::test]
async fn without_a_uid_nobodys_own_resource_is_granted() {
    let authorizer = Authorizer::start(&pinned()).await;
    let machine =
        without(&with(&claims(), &json!({ "sub": "0oaclient", "scp": ["api:read", "premium_api/read"] })), "uid");
    let asked = arn("GET /home/premium");
    let answer = authorizer.invoke(event_for(&keys::main().token(&machine), &asked)).await;
    assert_eq!(answer.policy(&asked).allow, ["GET /apps", "GET /apps/*", "GET /home/premium"].map(arn));
    assert_eq!(answer.response()["principalId"], "0oaclient");
}

#[tokio::test]
async fn the_allow_is_the_routes_of_the_rules_and_the_deny_what_was_asked_in_vain() {
    let authorizer = Authorizer::start(&pinned()).await;
    let own = policy(&authorizer, &json!({}), "GET /hello/00uada").await;
    assert_eq!(own.allow, ["GET /apps", "GET /apps/*", "GET /hello/00uada"].map(arn));
    assert!(!own.deny.contains(&arn("GET /hello/00uada")));

    let others = policy(&authorizer, &json!({}), "GET /hello/00ueve").await;
    assert_eq!(others.allow, own.allow);
    assert_eq!(others.verdict(&arn("GET /hello/00ueve")), Verdict::ExplicitDeny);
    assert!(others.deny.contains(&arn("GET /hello/00ueve")), "{others:#?}");
    let guard = |policy: &Policy| policy.deny.iter().filter(|resource| resource.contains("/*")).count();
    assert_eq!(guard(&own), guard(&others));
    assert_eq!(own.deny.len() + 1, others.deny.len());
}

#[tokio::test]
async fn any_is_written_out_as_seven_methods() {
    let authorizer = Authorizer::start(&pinned()).await;
    let policy = policy(&authorizer, &json!({ "groups": ["SUPERUSERS"] }), "GET /tenants").await;
    let mut expected = [
        "GET /apps",
        "GET /apps/*",
        "GET /hello/00uada",
        "GET /tenants",
        "POST /tenants",
        "DELETE /tenants/*",
        "GET /tenants/*",
        "HEAD /tenants/*",
        "OPTIONS /tenants/*",
        "PATCH /tenants/*",
        "POST /tenants/*",
        "PUT /tenants/*",
    ]
    .map(arn);
    expected.sort();
    assert_eq!(policy.allow, expected);
}

#[tokio::test]
async fn the_policy_is_of_the_events_own_partition_region_account_api_and_stage() {
    let authorizer = Authorizer::start(&pinned()).await;
    for stage in [
        "arn:aws:execute-api:eu-central-1:000000000001:a1b2c3d4e5/v1",
        "arn:aws-cn:execute-api:cn-north-1:210987654321:zzzzzzzzzz/test-invoke-stage",
        "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:abcdef1234/Prod_2",
    ] {
        let asked = format!("{stage}/GET/apps");
        let answer = authorizer.invoke(event_for(&bearer(&json!({})), &asked)).await;
        let policy = answer.policy(&asked);
        assert_eq!(policy.allow, ["apps", "apps/*", "hello/00uada"].map(|path| format!("{stage}/GET/{path}")));
        assert!(!policy.allows(&arn("GET /apps")));
    }
}

/// Values that would widen an ARN, break out of it, or end up in another place.
fn hostile_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "*",
        "**",
        "?",
        "00uad?",
        "00u*",
        "*:*",
        "$",
        "${aws:username}",
        "${*}",
        "$default",
        "/",
        "a/b",
        "../umbra",
        "..",
        ".",
        "%",
        "%2e",
        "%2e%2e",
        "%2E%2E%2F",
        "%252e%252e%252f",
        "%2a",
        " ",
        "a b",
        " a",
        "a ",
        "\t",
        "a\nb",
        "a\r\nb",
        "a\0b",
        "\"",
        "a\"b",
        "'",
        "\\",
        "a\\b",
        "a;b",
        "a#b",
        "a&b",
        "<a>",
        "[a]",
        "{a}",
        "{uid}",
        "a|b",
        "a^b",
        "a`b",
        "(a)",
        "é",
        "a\u{301}",
        "ａ",
        "＊",
        "\u{202e}a",
        "a\u{200b}",
        "a\u{a0}b",
        "💥",
    ]
    .map(String::from)
    .to_vec();
    values.push("a".repeat(129));
    values.push("a".repeat(5000));
    values
}

/// Values that go into an ARN as they are.
fn harmless_values() -> Vec<String> {
    let mut values: Vec<String> = [
        "a",
        "Z",
        "0",
        "a.b",
        "...",
        "..a",
        "a..",
        "-",
        "_",
        "~",
        "@",
        "+",
        "=",
        ",",
        "!",
        "ada@example.com",
        "00u1-._~@+=,!",
    ]
    .map(String::from)
    .to_vec();
    values.push("a".repeat(128));
    values
}

#[tokio::test]
async fn no_claim_of_the_shipped_rules_can_widen_an_arn() {
    let authorizer = Authorizer::start(&pinned()).await;
    let asked = arn("GET /apps");
    let base = policy(&authorizer, &json!({}), "GET /apps").await;
    let anonymous = ["GET /apps", "GET /apps/*"].map(arn);
    let mut failures = Failures::default();
    for value in hostile_values() {
        let cases = [
            (json!({ "uid": value, "scp": ["api:read"] }), anonymous.to_vec()),
            (json!({ "groups": [value] }), base.allow.clone()),
            (json!({ "groups": value }), base.allow.clone()),
            (json!({ "scp": [value] }), base.allow.clone()),
            (json!({ "scope": value }), base.allow.clone()),
            (json!({ "tenants": [format!("0oidp:{value}:G")] }), base.allow.clone()),
            (json!({ "tenants": [format!("{value}:acme:G")] }), base.allow.clone()),
            (json!({ "tenants": [value] }), base.allow.clone()),
            (json!({ "sub": value }), base.allow.clone()),
            (json!({ "cid": value }), base.allow.clone()),
            (json!({ (value.clone()): value }), base.allow.clone()),
        ];
        for (members, expected) in cases {
            let answer = authorizer.invoke(event_for(&bearer(&members), &asked)).await;
            let policy = answer.policy(&asked);
            failures.check(policy.allow == expected, || format!("{members:.300}: {:#?}", policy.allow));
            failures.check(policy.deny == base.deny, || format!("{members:.300}: {:#?}", policy.deny));
        }
    }
    for value in harmless_values() {
        let members = json!({ "uid": value, "tenants": [format!("{value}:{value}:G")] });
        let granted = policy(&authorizer, &members, "GET /apps").await;
        for route in ["GET /hello/{}", "GET /idps/{}", "PUT /idps/{}", "GET /tenants/{}", "PUT /tenants/{}/admins/*"] {
            let route = arn(&route.replace("{}", &value));
            failures.check(granted.allow.contains(&route), || format!("{route} is missing from {:#?}", granted.allow));
        }
    }
    failures.report();
}

/// Paths under `/tenants/acme` that a backend may take for others.
const DISGUISED: [&str; 41] = [
    "/tenants/acme/../umbra",
    "/tenants/acme/..",
    "/tenants/acme/../",
    "/tenants/../apps",
    "/tenants/..",
    "/tenants/./umbra",
    "/tenants/acme/.",
    "/tenants/acme/./",
    "/tenants/acme/domains/../../umbra",
    "/apps/../tenants/umbra",
    "/apps/..",
    "/tenants/acme/%2e%2e/umbra",
    "/tenants/acme/%2e%2e%2fumbra",
    "/tenants/acme/%2E%2E%2Fumbra",
    "/tenants/acme/%2e%2E/umbra",
    "/tenants/acme/%2E%2e/umbra",
    "/tenants/acme/.%2e/umbra",
    "/tenants/acme/%2e./umbra",
    "/tenants/acme/%2e",
    "/tenants/acme/%2e/umbra",
    "/tenants/acme/..%2fumbra",
    "/tenants/acme/..%2Fumbra",
    "/tenants/acme%2fumbra",
    "/tenants/acme%2Fumbra",
    "/tenants/acme/%252e%252e%252fumbra",
    "/tenants/acme/%252E%252E%252Fumbra",
    "/tenants/acme/%252e%252E/umbra",
    "/tenants/acme%252fumbra",
    "/tenants/acme%252Fumbra",
    "/tenants/acme/..%252fumbra",
    "/tenants/acme\\umbra",
    "/tenants/acme/..\\umbra",
    "/tenants/acme/%5cumbra",
    "/tenants/acme/..%5Cumbra",
    "/tenants/acme/%09../umbra",
    "/tenants/acme/%0D%0A../umbra",
    "/tenants/acme/%250a../umbra",
    "/tenants/acme/%00/../umbra",
    "/tenants/acme/%c0%ae%c0%ae/umbra",
    "/tenants/acme/%C0%AF/umbra",
    "/tenants/acme/%C1%9C/umbra",
];

/// Odd paths that say no more than they seem to. Granted to who is granted `/tenants/*`.
const PLAIN: [&str; 16] = [
    "/tenants/a.b",
    "/tenants/.well-known",
    "/tenants/..a",
    "/tenants/a..",
    "/tenants/...",
    "/tenants/a/...b/c",
    "/tenants/acme/file.tar.gz",
    "/tenants/acme/a%20b",
    "/tenants/acme/100%25",
    "/tenants/acme/2e2f",
    "/tenants/acme/a:b:c",
    "/tenants/acme/arn:aws:execute-api:us-east-1:123456789012:x/prod/GET/",
    "/tenants/acme/",
    "/tenants/acme//x",
    "/tenants/acme/é",
    "/tenants/acme/a&b=c;d,e@f!(g)'~_-+",
];

#[tokio::test]
async fn the_guard_denies_dot_segments_and_encoded_slashes_on_every_method_of_the_stage() {
    let authorizer = Authorizer::start(&pinned()).await;
    let members = json!({ "groups": ["SUPERUSERS"], "tenants": ["0oidp:acme:G"] });
    let cached = policy(&authorizer, &members, "GET /apps").await;
    let mut failures = Failures::default();
    for path in DISGUISED {
        for method in ["GET", "PUT", "DELETE", "PATCH"] {
            let verdict = cached.verdict(&arn(&format!("{method} {path}")));
            failures.check(verdict == Verdict::ExplicitDeny, || format!("{method} {path}: {verdict:?}"));
        }
        let asked = policy(&authorizer, &members, &format!("GET {path}")).await;
        failures.check(asked.verdict(&arn(&format!("GET {path}"))) == Verdict::ExplicitDeny, || path.to_owned());
        failures.check(asked.allow == cached.allow, || format!("{path} changed the Allow: {:#?}", asked.allow));
    }
    for path in PLAIN {
        let verdict = cached.verdict(&arn(&format!("GET {path}")));
        failures.check(verdict == Verdict::Allowed, || format!("{path}: {verdict:?}"));
        let asked = policy(&authorizer, &members, &format!("GET {path}")).await;
        failures.check(asked == cached, || format!("{path} changed the policy: {asked:#?}"));
    }
    failures.report();
}

#[tokio::test]
async fn a_request_path_is_never_echoed_into_an_allow() {
    let authorizer = Authorizer::start(&pinned()).await;
    let long = format!("/tenants/{}", "a".repeat(2000));
    let odd = [
        "/*",
        "/tenants/*",
        "/tenants/acme/*",
        "/hello/*",
        "/hello/?",
        "/hello/${aws:username}",
        "/hello/00uada*",
        "/hello/00uada ",
        "/hello/00uada%20",
        "/hello/00uada\"",
        "/hello/00uada\n",
        "/hello/00uada\0",
        "/hello/\u{202e}",
        "/hello/é",
        "/hello/00uada:x",
        "/idps/0oidp/metadata.xml*",
        "/",
        "//",
        "/:::",
        "/arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/GET/apps",
        &long,
    ];
    let mut failures = Failures::default();
    for members in [json!({}), json!({ "tenants": ["0oidp:acme:G"] })] {
        let canonical = policy(&authorizer, &members, "GET /apps").await;
        for path in odd.into_iter().chain(DISGUISED).chain(PLAIN) {
            let route = format!("GET {path}");
            let answer = authorizer.invoke(event_for(&bearer(&members), &arn(&route))).await;
            let policy = answer.policy(&arn(&route));
            failures.check(policy.allow == canonical.allow, || {
                format!("{path:.100} changed the Allow: {:#?}", policy.allow)
            });
            let expected = canonical.allows(&arn(&route));
            // A Deny of what was asked must not spread, in the gateway's cache, to what is granted.
            let spread = policy.allow.iter().filter(|granted| !granted.ends_with('*') && !policy.allows(granted));
            let spread: Vec<_> = spread.collect();
            failures.check(spread.is_empty(), || format!("{path:.100} denies {spread:?} too"));
            failures.check(policy.allows(&arn(&route)) == expected, || {
                format!("{path:.100}: {:?}", policy.verdict(&arn(&route)))
            });
        }
    }
    failures.report();
}

#[tokio::test]
async fn a_method_that_is_none_is_never_allowed() {
    let authorizer = Authorizer::start(&pinned()).await;
    let authorization = bearer(&json!({ "groups": ["SUPERUSERS"] }));
    for method in ["*", "?", "GE*", "G?T", "get", "FETCH", "GET,POST", "CONNECT", "TRACE"] {
        let asked = format!("{API}/{method}/tenants/acme");
        let answer = authorizer.invoke(event_for(&authorization, &asked)).await;
        assert!(!answer.allows(&asked) && !answer.is_unauthorized(), "{method}: {answer:?}");
    }
    assert!(
        authorizer.invoke(event_for(&authorization, &arn("GET /tenants/acme"))).await.allows(&arn("GET /tenants/acme"))
    );
}

#[tokio::test]
async fn the_guard_can_be_turned_off_and_on_is_its_default() {
    let off = Authorizer::start(&pinned().with("PATH_GUARD", "off")).await;
    let on = Authorizer::start(&pinned().with("PATH_GUARD", "on")).await;
    let unset = Authorizer::start(&pinned()).await;
    let members = json!({ "groups": ["SUPERUSERS"] });
    let asked = "GET /tenants/acme%2fumbra";
    let (off, on, unset) = (
        policy(&off, &members, asked).await,
        policy(&on, &members, asked).await,
        policy(&unset, &members, asked).await,
    );
    assert!(off.allows(&arn(asked)));
    assert_eq!(off.deny, Vec::<String>::new());
    assert_eq!(on, unset);
    assert_eq!(on.verdict(&arn(asked)), Verdict::ExplicitDeny);
    assert_eq!(on.allow, off.allow);
}

/// A token of a hundred tenants, whose policy has well over a thousand resources.
fn of_many_tenants() -> Value {
    json!({ "tenants": (0..100).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect::<Vec<_>>() })
}

#[tokio::test]
async fn the_document_keeps_within_its_bound_and_keeps_what_was_asked_for() {
    let members = of_many_tenants();
    let whole = {
        let roomy = Authorizer::start(&pinned().with("POLICY_MAX_BYTES", "1000000")).await;
        policy(&roomy, &members, "GET /apps").await
    };
    assert!(whole.size > 65_536, "a test of nothing: {}", whole.size);
    let mut failures = Failures::default();
    for (bound, env) in [
        (32_768, pinned()),
        (65_536, pinned().with("POLICY_MAX_BYTES", "65536")),
        (8192, pinned().with("POLICY_MAX_BYTES", "8192")),
    ] {
        let authorizer = Authorizer::start(&env).await;
        for (tenant, path) in [(0, ""), (57, "/domains/d.example"), (99, "/domains"), (99, "/domains/a/b")] {
            let asked = format!("GET /tenants/tenant-{tenant}{path}");
            let policy = policy(&authorizer, &members, &asked).await;
            failures.check(policy.size <= bound, || format!("{bound}: {} bytes", policy.size));
            failures.check(policy.size > bound / 2, || format!("{bound}: only {} bytes", policy.size));
            failures.check(policy.allows(&arn(&asked)), || format!("{bound}: {asked} was asked for and left out"));
            failures.check(policy.allow.iter().all(|one| whole.allow.contains(one)), || {
                format!("{bound}: more than granted")
            });
            let guarded = policy.verdict(&arn("PUT /tenants/tenant-0/admins/../x"));
            failures.check(guarded == Verdict::ExplicitDeny, || format!("{bound}: the guard was left out"));
        }
        let vain = policy(&authorizer, &members, "GET /tenants/umbra").await;
        failures.check(vain.size <= bound, || format!("{bound}: {} bytes with a Deny", vain.size));
        failures
            .check(vain.verdict(&arn("GET /tenants/umbra")) == Verdict::ExplicitDeny, || format!("{bound}: {vain:#?}"));
    }
    failures.report();
}

#[tokio::test]
async fn the_response_names_the_principal_and_its_context() {
    let authorizer = Authorizer::start(&pinned()).await;
    let asked = arn("GET /apps");
    let full = json!({ "scp": ["openid", "api:read"], "groups": ["Everyone", "x \"y\""], "tenants": ["0oidp:acme:G"] });
    let answer = authorizer.invoke(event_for(&bearer(&full), &asked)).await;
    answer.policy(&asked);
    let response = answer.response();
    assert_eq!(response["principalId"], "00uada");
    assert_eq!(
        response["context"],
        json!({
            "uid": "00uada",
            "sub": "ada@example.com",
            "cid": "0oaclient",
            "scopes": "openid api:read",
            "groups": r#"["Everyone","x \"y\""]"#,
            "tenants": r#"["0oidp:acme:G"]"#,
        })
    );
    assert_eq!(response.get("usageIdentifierKey"), None);

    let bare = without(&without(&claims(), "uid"), "cid");
    let answer = authorizer.invoke(event_for(&keys::main().token(&bare), &asked)).await;
    assert_eq!(answer.response()["principalId"], "ada@example.com");
    assert_eq!(answer.response()["context"], json!({ "sub": "ada@example.com" }));

    let answer = authorizer.invoke(event_for(&bearer(&json!({ "scope": "a b" })), &asked)).await;
    assert_eq!(answer.response()["context"]["scopes"], "a b");
}

#[tokio::test]
async fn further_claims_come_into_the_context_as_strings() {
    let authorizer = Authorizer::start(&pinned().with("CONTEXT_CLAIMS", "email, level,admin,missing,roles")).await;
    let members = json!({ "email": "ada@example.com", "level": 5, "admin": true, "roles": ["a", "b"], "other": "x" });
    let answer = authorizer.invoke(event_for(&bearer(&members), &arn("GET /apps"))).await;
    answer.policy(&arn("GET /apps"));
    let context = &answer.response()["context"];
    let read = |name: &str| context.get(name).cloned();
    assert_eq!(read("email"), Some(json!("ada@example.com")));
    assert_eq!(read("level"), Some(json!("5")));
    assert_eq!(read("admin"), Some(json!("true")));
    assert_eq!(read("roles"), Some(json!(r#"["a","b"]"#)));
    assert_eq!((read("missing"), read("other")), (None, None));
}

#[tokio::test]
async fn a_claim_can_name_the_usage_plans_key() {
    let authorizer = Authorizer::start(&pinned().with("API_KEY_CLAIM", "cid")).await;
    let asked = arn("GET /apps");
    let with_client = authorizer.invoke(event_for(&bearer(&json!({})), &asked)).await;
    assert_eq!(with_client.response()["usageIdentifierKey"], "0oaclient");
    let without_client = authorizer.invoke(event_for(&keys::main().token(&without(&claims(), "cid")), &asked)).await;
    assert_eq!(without_client.response().get("usageIdentifierKey"), None);
    assert!(without_client.allows(&asked));
}

#[tokio::test]
async fn the_answer_to_the_same_event_is_the_same() {
    let authorizer = Authorizer::start(&pinned()).await;
    let body = event_for(&bearer(&of_many_tenants()), &arn("GET /idps/0oidp7"));
    let first: Answer = authorizer.invoke(body.clone()).await;
    assert!(first.allows(&arn("GET /idps/0oidp7")));
    for _ in 0..5 {
        assert_eq!(authorizer.invoke(body.clone()).await, first);
    }
}
