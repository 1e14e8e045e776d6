//! From an event to the answer on the wire. `@0` to `@4` are replaced by signed tokens, because the
//! fuzzer cannot make a signature.
#![no_main]

use std::sync::LazyLock;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{authorizer::Authorizer, decision::Outcome};
use okta_authorizer_fuzz::{
    assert_agrees,
    json::{object, string},
    policy_of,
    sample::{HEADER, NOW, assert_on_the_wire, authorizer, payload, sign},
};
use okta_authorizer_testkit::iam;
use serde_json::value::RawValue;

static TOKENS: LazyLock<[String; 5]> = LazyLock::new(|| {
    [
        payload(""),
        payload(r#","uid":"00u1","scp":["api:read"]"#),
        payload(r#","uid":"00u2","groups":["SUPERUSERS"]"#),
        payload(r#","uid":"00u3","tenants":["0oa1:acme:00g1","0oa2:*:00g2"]"#),
        payload("").replace("api://default", "api://other"),
    ]
    .map(|payload| sign(HEADER.as_bytes(), payload.as_bytes()))
});

static AUTHORIZERS: LazyLock<[Authorizer; 2]> = LazyLock::new(|| {
    ["unauthorized", "deny"]
        .map(|response| authorizer(&[("POLICY_MAX_BYTES", "8192"), ("INVALID_TOKEN_RESPONSE", response)]))
});

fuzz_target!(|input: &str| {
    let mut text = input.to_owned();
    for (number, token) in TOKENS.iter().enumerate() {
        text = text.replace(&format!("@{number}"), token);
    }
    let Ok(event) = serde_json::from_str::<Box<RawValue>>(&text) else { return };
    for (authorizer, denies) in AUTHORIZERS.iter().zip([false, true]) {
        let decision = authorizer.decide(&event, NOW).now_or_never().unwrap();
        let is_temporary = matches!(&decision.outcome, Outcome::Refused(refusal) if refusal.is_temporary());
        let verdict = match &decision.outcome {
            Outcome::Evaluated(evaluated) => Some(evaluated.verdict.clone()),
            Outcome::Refused(_) => None,
            Outcome::Fault(fault) => {
                let name = fault.name();
                assert_eq!(authorizer.respond(decision).unwrap_err().error_type, name);
                continue;
            }
        };
        let requested = decision.context.method_arn.as_ref().map(|arn| arn.text().to_owned());
        match authorizer.respond(decision) {
            Err(error) => {
                assert_eq!((verdict, error.error_type.as_str()), (None, "Unauthorized"));
                assert_eq!(error.error_message, "Unauthorized");
                assert!(!denies || is_temporary || requested.is_none());
            }
            Ok(response) => {
                assert!(verdict.is_some() || (denies && !is_temporary));
                assert_eq!(verdict.is_none(), response.principal_id == "unauthenticated");
                let requested = requested.unwrap();
                assert_eq!(string(&object(text.as_bytes()).unwrap(), "methodArn").as_ref(), Some(&requested));
                let policy = policy_of(&response.policy_document, stage(&requested), 8_192);
                match verdict {
                    Some(verdict) => assert_agrees(&policy, &requested, &verdict),
                    None => assert_eq!(policy.verdict(&requested), iam::Verdict::ExplicitDeny),
                }
                assert_on_the_wire(&response);
            }
        }
    }
});

/// `arn:…:{apiId}/{stage}` of a method ARN.
fn stage(requested: &str) -> &str {
    let slashes = requested.match_indices('/').map(|(at, _)| at);
    &requested[..slashes.take(2).last().unwrap()]
}
