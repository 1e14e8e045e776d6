//! An event, as it comes, to the answer on the wire. `@0` to `@4` stand for tokens, so that good ones get past the
//! fuzzer's knowledge of RSA.
#![no_main]

use std::{collections::BTreeMap, io, sync::LazyLock};

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    authorizer::{Authorizer, Outcome},
    config::Config,
    https::{HttpsClient, TrustAnchors},
};
use okta_authorizer_fuzz::{
    policy_of,
    sample::{HEADER, ISSUER, JWKS, NOW, payload, sign},
};
use okta_authorizer_testkit::iam;
use serde_json::value::RawValue;

const MAX_BYTES: usize = 2_048;

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
    ["unauthorized", "deny"].map(|answer| {
        let variable = |name: &str| match name {
            "OKTA_ISSUER" => Some(ISSUER.into()),
            "OKTA_JWKS" => Some(JWKS.as_str().into()),
            "POLICY_MAX_BYTES" => Some(MAX_BYTES.to_string().into()),
            "INVALID_TOKEN_RESPONSE" => Some(answer.into()),
            _ => None,
        };
        let config = Config::load(variable, |_| Err(io::ErrorKind::NotFound.into())).unwrap();
        Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded))
    })
});

fuzz_target!(|input: &str| {
    let mut text = input.to_owned();
    for (number, token) in TOKENS.iter().enumerate() {
        text = text.replace(&format!("@{number}"), token);
    }
    let Ok(event) = serde_json::from_str::<Box<RawValue>>(&text) else { return };
    for (authorizer, denies) in AUTHORIZERS.iter().zip([false, true]) {
        let decision = authorizer.decide(&event, NOW).now_or_never().unwrap();
        let allowed = match &decision.outcome {
            Outcome::Granted(granted) => Some(granted.is_allowed()),
            Outcome::Refused(_) => None,
            Outcome::Fault(fault) => {
                let name = fault.name();
                assert_eq!(authorizer.answer(decision).unwrap_err().error_type, name);
                continue;
            }
        };
        let requested = decision.about.method_arn.as_ref().map(|arn| arn.text().to_owned());
        match authorizer.answer(decision) {
            Err(error) => {
                assert_eq!((allowed, error.error_type.as_str()), (None, "Unauthorized"));
                assert_eq!(error.error_message, "Unauthorized");
                assert!(!denies || requested.is_none());
            }
            Ok(response) => {
                assert!(allowed.is_some() || denies);
                assert_eq!(allowed.is_none(), response.principal_id == "unauthenticated");
                let requested = requested.unwrap();
                let policy = policy_of(&response.policy_document, stage(&text, &requested), MAX_BYTES);
                let verdict = if allowed == Some(true) { iam::Verdict::Allowed } else { iam::Verdict::ExplicitDeny };
                assert_eq!(policy.verdict(&requested), verdict);
            }
        }
    }
});

/// `arn:…:{apiId}/{stage}`, and that the event has asked for it.
fn stage<'r>(event: &str, requested: &'r str) -> &'r str {
    // What else it holds may be more than a `Value` takes: 1e400, say.
    let event: BTreeMap<String, &RawValue> = serde_json::from_str(event).unwrap();
    assert_eq!(serde_json::from_str::<String>(event["methodArn"].get()).unwrap(), requested);
    let slashes = requested.match_indices('/').map(|(at, _)| at);
    &requested[..slashes.take(2).last().unwrap()]
}
