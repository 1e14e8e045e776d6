//! A rules file. It must be accepted whole or rejected with a line for each mistake, and a policy that is made with
//! it must have only well-formed resources, whatever the claims are.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use okta_authorizer_fuzz::{STAGE, assert_agrees, policy_of};
use okta_authorizer_policy::{ClaimSet, MethodArn, PolicyOptions, Rules, render};

const OPTIONS: PolicyOptions = PolicyOptions { max_bytes: 4_096, path_guard: true };

static CLAIMS: LazyLock<[ClaimSet; 6]> = LazyLock::new(|| {
    [
        "{}",
        r#"{"uid":"00u1","scp":["api:read","api:admin"],"groups":["SUPERUSERS"],"tenants":["0oa1:acme:00g1"]}"#,
        r#"{"uid":"*","scope":"api:read premium_api/write","groups":"SUSPENDED","tenants":["1:..:g","1:a:b:g","::"]}"#,
        r#"{"uid":"../${x}","groups":[],"tenants":[":a:",""],"a":["1","2","3"],"b":["p-q","r-s"],"n":7,"o":{},"t":true}"#,
        r#"{"uid":"alice@example.com","groups":["a b","Smith & Sons (UK)"],"a":[1,true,2.5],"app":{"roles":["1","p-q"],"b":{}}}"#,
        r#"{"uid":"p-q","groups":["p-q","p-r"],"a":["1-p","p:1"],"b":"1","app":[["x"],null],"tenants":[null],"scp":[7]}"#,
    ]
    .map(|json| ClaimSet::parse(json.as_bytes()).unwrap())
});

static REQUESTS: LazyLock<[MethodArn; 5]> = LazyLock::new(|| {
    ["GET/apps", "PUT/tenants/acme/admins/../x", "GET/*", "GET/", "GET/p-q/1/"]
        .map(|request| MethodArn::parse(&format!("{STAGE}/{request}")).unwrap())
});

fuzz_target!(|toml: &str| {
    let rules = match Rules::parse(toml) {
        Ok(rules) => rules,
        Err(errors) => {
            assert!(!errors.0.is_empty());
            assert!(errors.0.is_sorted_by_key(|error| error.line), "{errors}");
            for error in &errors.0 {
                assert!((1..=toml.lines().count() + 1).contains(&(error.line as usize)), "{errors}");
                assert!(!error.reason.contains('\n') && !error.reason.is_empty(), "{errors}");
            }
            return;
        }
    };
    for claims in &*CLAIMS {
        for requested in &*REQUESTS {
            let made = render(&rules.grants(claims, requested), requested, OPTIONS);
            let policy = policy_of(&made.document, STAGE, OPTIONS.max_bytes);
            assert_agrees(&policy, requested.text(), &made.verdict);
        }
    }
});
