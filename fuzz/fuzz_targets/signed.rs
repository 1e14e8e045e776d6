//! A header and a payload on two lines, with a valid signature. The token must be accepted exactly
//! if RFC 7519 and `docs/design.md` accept it. Then the whole answer is compared as well.
#![no_main]

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    authorizer::Authorizer,
    decision::Outcome,
    token::{BearerToken, UnverifiedToken},
};
use okta_authorizer_fuzz::{
    STAGE,
    json::{Object, object, raw, read, string},
    policy_of,
    sample::{AUDIENCE, ISSUER, KID, NOW, SKEW, assert_on_the_wire, authorizer, sign},
};
use serde_json::{json, value::to_raw_value};

static AUTHORIZER: LazyLock<Authorizer> =
    LazyLock::new(|| authorizer(&[("API_KEY_CLAIM", "cid"), ("CONTEXT_CLAIMS", "email,sub,level")]));

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (header, payload) = (&input[..end], &input[end + 1..]);
    // Most inputs are not JSON. A signature is a thousand times slower than this check.
    let unsigned = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let Ok(bearer) = BearerToken::from_header_value(&unsigned) else { return };
    if UnverifiedToken::decode(&bearer).is_err() {
        return;
    }
    let token = sign(header, payload);
    let event = json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": format!("{STAGE}/GET/apps") });
    let decision = AUTHORIZER.decide(&to_raw_value(&event).unwrap(), NOW).now_or_never().unwrap();
    let (header, payload) = (object(header).unwrap(), object(payload).unwrap());
    let is_good = token.len() <= BearerToken::MAX_BYTES && is_good(&header, &payload);
    match &decision.outcome {
        Outcome::Evaluated(evaluated) => {
            assert!(is_good, "a bad token was accepted");
            assert!(evaluated.is_allowed(), "the rules allow GET /apps for every token");
        }
        Outcome::Refused(refusal) => {
            assert!(!is_good, "a good token was refused: {refusal}");
            return;
        }
        Outcome::Fault(fault) => panic!("{fault}"),
    }

    let response = AUTHORIZER.respond(decision).unwrap();
    let present = |name| string(&payload, name).filter(|text| !text.is_empty());
    assert_eq!(Some(&response.principal_id), present("uid").or_else(|| present("sub")).as_ref());
    assert_eq!(response.usage_identifier_key, present("cid"));
    assert_eq!(response.context, context(&payload));
    policy_of(&response.policy_document, STAGE, 32_768);
    assert_on_the_wire(&response);
});

/// Whether a token with this header and payload must be accepted.
fn is_good(header: &Object<'_>, payload: &Object<'_>) -> bool {
    let is_absent_or = |object: &Object<'_>, name: &str, holds: &dyn Fn(&str) -> bool| {
        !object.contains_key(name) || string(object, name).is_some_and(|text| holds(&text))
    };
    let is_for_jwt = |typ: &str| ["jwt", "at+jwt", "application/at+jwt"].contains(&&*typ.to_ascii_lowercase());
    let is_for_us = string(payload, "aud").is_some_and(|audience| audience == AUDIENCE)
        || read::<Vec<String>>(payload, "aud").is_some_and(|all| all.iter().any(|audience| audience == AUDIENCE));
    let (now, skew) = (1_800_000_000.0, f64::from(SKEW));
    let time = |name| read::<f64>(payload, name);
    string(header, "alg").is_some_and(|alg| alg == "RS256")
        && string(header, "kid").is_some_and(|kid| kid == KID)
        && !header.contains_key("crit")
        && is_absent_or(header, "typ", &is_for_jwt)
        && string(payload, "iss").is_some_and(|issuer| issuer == ISSUER)
        && is_for_us
        && time("exp").is_some_and(|expires| now - skew < expires)
        && time("iat").is_some_and(|issued| issued <= now + skew)
        && (!payload.contains_key("nbf") || time("nbf").is_some_and(|not_before| not_before <= now + skew))
        && !payload.contains_key("cnf")
        && string(payload, "sub").is_some_and(|subject| !subject.is_empty())
        && ["uid", "cid", "jti"].iter().all(|claim| is_absent_or(payload, claim, &|_| true))
}

/// The `context` of the answer.
fn context(payload: &Object<'_>) -> BTreeMap<Cow<'static, str>, String> {
    let text = |name| raw(payload, name).map(|json| string(payload, name).unwrap_or_else(|| json.to_owned()));
    let texts = |name| read::<Vec<String>>(payload, name);
    let is_scalar = |json: &&str| !json.starts_with(['[', '{']);
    let list = |name| texts(name).or_else(|| Some(vec![raw(payload, name).filter(is_scalar).and(text(name))?]));
    let json_list = |name| list(name).map(|texts| json!(texts).to_string());
    let scopes = if raw(payload, "scp").is_some() { "scp" } else { "scope" };
    let scopes_of = |text: String| text.split(' ').filter(|scope| !scope.is_empty()).collect::<Vec<_>>().join(" ");
    [
        ("uid", text("uid")),
        ("sub", text("sub")),
        ("cid", text("cid")),
        ("email", text("email")),
        ("level", text("level")),
        ("scopes", texts(scopes).map(|texts| texts.join(" ")).or_else(|| string(payload, scopes).map(scopes_of))),
        ("groups", json_list("groups")),
        ("tenants", json_list("tenants")),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name.into(), text?)))
    .collect()
}
