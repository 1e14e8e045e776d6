//! A rules file, as somebody wrote it: it is taken whole or refused with its line, and what is taken grants nothing but
//! well-formed routes, to friendly and hostile claims alike.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    event::MethodArn,
    policy::{Bounds, Rules, Verdict, policy},
    token::Claims,
};
use okta_authorizer_fuzz::{
    policy_of,
    sample::{HEADER, STAGE, accept, payload, sign},
};
use okta_authorizer_testkit::iam;

static CLAIMS: LazyLock<Vec<Claims>> = LazyLock::new(|| {
    [
        "",
        r#","uid":"00u1","scp":["api:read","api:admin"],"groups":["SUPERUSERS"],"tenants":["0oa1:acme:00g1"]"#,
        r#","uid":"*","scope":"api:read premium_api/write","groups":"SUSPENDED","tenants":["1:..:g","1:a:b:g","::"]"#,
        r#","uid":"../${x}","groups":[],"tenants":[":a:",""],"a":["1","2","3"],"b":["p-q","r-s"],"n":7,"o":{},"t":true"#,
    ]
    .map(|more| accept(&sign(HEADER.as_bytes(), payload(more).as_bytes())).unwrap())
    .into()
});

static REQUESTS: LazyLock<Vec<MethodArn>> = LazyLock::new(|| {
    let tails = ["GET/apps", "PUT/tenants/acme/admins/../x", "GET/*", "GET/"];
    tails.map(|tail| MethodArn::parse(&format!("{STAGE}/{tail}")).unwrap()).into()
});

fuzz_target!(|toml: &str| {
    let rules = match Rules::parse(toml) {
        Ok(rules) => rules,
        Err(error) => {
            assert!((1..=toml.lines().count() + 1).contains(&error.line), "{error}");
            assert!(!error.reason.contains('\n') && !error.reason.is_empty(), "{error}");
            return;
        }
    };
    for (claims, requested) in CLAIMS.iter().flat_map(|claims| REQUESTS.iter().map(move |asked| (claims, asked))) {
        let bounds = Bounds { max_bytes: 4_096, path_guard: true };
        let policy = policy(&rules.grants(claims, requested), requested, bounds);
        let allowed = matches!(policy.verdict, Verdict::Allowed { .. });
        let verdict = if allowed { iam::Verdict::Allowed } else { iam::Verdict::ExplicitDeny };
        assert_eq!(
            policy_of(&policy.document, STAGE, bounds.max_bytes).verdict(requested.text()),
            verdict,
            "{policy:?}"
        );
    }
});
