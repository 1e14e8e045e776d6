//! Tables of attacks: what is sent, why it must be refused, and a twin that must pass.

use std::cell::RefCell;

use futures_util::FutureExt;
use okta_authorizer::{
    authorizer::Authorizer,
    config::{Config, ConfigError},
    decision::{Decision, Outcome},
    https::{HttpsClient, TrustAnchors},
    token::Refusal,
};
use serde_json::{Value, json, value::RawValue};

use crate::test_keys::{self, Key};
use okta_authorizer_testkit::RULES;
pub use okta_authorizer_testkit::{event_for, with, without};

/// Time is an argument: it is this, unless a row says otherwise.
pub const NOW: u64 = 1_800_000_000;
pub const ISSUER: &str = "https://example.okta.com/oauth2/default";
pub const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod";
pub const HEADER: &str = r#"{"alg":"RS256","kid":"main"}"#;

/// One attack.
pub struct Row {
    /// The section of the RFC that forbids it, or the CVE of a program that fell for it.
    pub source: String,
    pub name: String,
    /// The `Authorization` header's value.
    pub bad: String,
    pub refusal: Refusal,
    /// Differs in nothing else, and passes.
    pub twin: String,
    pub now: u64,
}

impl Row {
    pub fn new(source: &str, name: impl Into<String>, bad: String, refusal: Refusal, twin: String) -> Self {
        Self { source: source.to_owned(), name: name.into(), bad, refusal, twin, now: NOW }
    }

    /// Two JOSE headers over the same good claims.
    pub fn header(source: &str, bad: impl AsRef<[u8]>, refusal: Refusal, twin: impl AsRef<[u8]>) -> Self {
        let sign = |header: &[u8]| test_keys::main().sign(header, good_claims().to_string());
        let name = String::from_utf8_lossy(bad.as_ref()).into_owned();
        Self::new(source, name, sign(bad.as_ref()), refusal, sign(twin.as_ref()))
    }

    /// Two payloads under the same good header.
    pub fn payload(source: &str, bad: impl AsRef<[u8]>, refusal: Refusal, twin: impl AsRef<[u8]>) -> Self {
        let sign = |payload: &[u8]| test_keys::main().sign(HEADER, payload);
        let name = String::from_utf8_lossy(bad.as_ref()).into_owned();
        Self::new(source, name, sign(bad.as_ref()), refusal, sign(twin.as_ref()))
    }

    pub fn at(self, now: u64) -> Self {
        Self { now, ..self }
    }
}

/// Holds the authorizer to a table, to its end, so that one run shows every fault.
pub fn hold(authorizer: &Authorizer, rows: Vec<Row>) {
    assert!(!rows.is_empty(), "a test of nothing");
    let mut wrong = Vec::new();
    for Row { source, name, bad, refusal, twin, now } in rows {
        let mut name: String = name.escape_debug().take(200).collect();
        name = format!("{name} ({source})");
        match decide(authorizer, &event(&bad), now).outcome {
            Outcome::Refused(refused) if refused == refusal => {}
            other => wrong.push(format!("{name}: {} instead of {refusal:?}", said(&other))),
        }
        match decide(authorizer, &event(&twin), now).outcome {
            Outcome::Evaluated(evaluated) if evaluated.is_allowed() => {}
            other => wrong.push(format!("{name}: its twin: {}", said(&other))),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

pub fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Evaluated(evaluated) => format!("granted, {}", evaluated.verdict.name()),
        Outcome::Refused(refusal) => format!("refused, {refusal:?}"),
        Outcome::Fault(fault) => format!("fault, {fault:?}"),
    }
}

/// An authorizer of [`ISSUER`] whose keys are pinned.
pub fn authorizer_of(jwks: &Value, variables: &[(&str, &str)]) -> Authorizer {
    load(jwks, variables, None).unwrap()
}

/// One with these rules, and the key `main`.
pub fn authorizer_ruled_by(rules: &str, variables: &[(&str, &str)]) -> Result<Authorizer, ConfigError> {
    load(&test_keys::jwks(&[test_keys::main()]), variables, Some(rules))
}

fn load(jwks: &Value, variables: &[(&str, &str)], rules: Option<&str>) -> Result<Authorizer, ConfigError> {
    let jwks = jwks.to_string();
    let variable = |name: &str| {
        let set = variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let otherwise = match name {
            "OKTA_ISSUER" => Some(ISSUER),
            "OKTA_JWKS" => Some(jwks.as_str()),
            "POLICY_FILE" => Some("/opt/policy.toml"),
            _ => None,
        };
        set.or(otherwise).map(Into::into)
    };
    let config = Config::load(variable, |_| Ok(rules.unwrap_or(RULES).to_owned()))?;
    Ok(Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded)))
}

/// With the keys `main` and `second`.
pub fn authorizer() -> Authorizer {
    authorizer_of(&test_keys::jwks(&[test_keys::main(), test_keys::second()]), &[])
}

thread_local! {
    static RECORD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Every event that is decided about while `tables` are held.
pub fn recorded(tables: impl FnOnce()) -> Vec<String> {
    RECORD.replace(Some(Vec::new()));
    tables();
    RECORD.take().unwrap()
}

/// The decision about any JSON.
pub fn decide(authorizer: &Authorizer, event: &str, now: u64) -> Decision {
    RECORD.with_borrow_mut(|record| record.iter_mut().for_each(|events| events.push(event.to_owned())));
    let payload: Box<RawValue> = serde_json::from_str(event).unwrap();
    authorizer.decide(&payload, now).now_or_never().expect("pinned keys wait for nothing")
}

/// A TOKEN event for `GET /apps`, which any valid token may call.
pub fn event(header_value: &str) -> String {
    event_for(header_value, &format!("{STAGE}/GET/apps"))
}

/// Claims that are good at [`NOW`].
pub fn good_claims() -> Value {
    json!({
        "ver": 1,
        "jti": "AT.0123456789",
        "iss": ISSUER,
        "aud": "api://default",
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "cid": "0oaclient",
        "uid": "00uada",
        "sub": "ada@example.com",
    })
}

/// A good token.
pub fn good() -> String {
    test_keys::main().token(&good_claims())
}

/// The good claims by another key, under that key's name or another.
pub fn by(key: Key, header: &Value) -> String {
    key.sign(header.to_string(), good_claims().to_string())
}

/// `object`, a JSON text, with one more member written first.
pub fn spliced(member: &str, object: &str) -> String {
    format!("{{{member},{}", object.strip_prefix('{').unwrap())
}
