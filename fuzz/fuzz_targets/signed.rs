//! A header and a payload, one behind the other and a line between them, that the issuer really signed: what is granted
//! is what RFC 7519 and the contract want, read with nothing but `serde_json`.
#![no_main]

use std::{io, sync::LazyLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    authorizer::{Authorizer, Outcome},
    config::Config,
    https::{HttpsClient, TrustAnchors},
    token::{BearerToken, UnverifiedToken},
};
use okta_authorizer_fuzz::{
    policy_of,
    sample::{AUDIENCE, ISSUER, JWKS, KID, NOW, SKEW, STAGE, sign},
};
use serde_json::{Value, json, value::to_raw_value};

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(|| {
    let variable = |name: &str| match name {
        "OKTA_ISSUER" => Some(ISSUER.into()),
        "OKTA_JWKS" => Some(JWKS.as_str().into()),
        "API_KEY_CLAIM" => Some("cid".into()),
        "CONTEXT_CLAIMS" => Some("email,sub,level".into()),
        _ => None,
    };
    let config = Config::load(variable, |_| Err(io::ErrorKind::NotFound.into())).unwrap();
    Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded))
});

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (header, payload) = (&input[..end], &input[end + 1..]);
    // A signature costs a thousand times what it costs to see that it is not worth it.
    let unsigned = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let Ok(bearer) = BearerToken::from_header_value(&unsigned) else { return };
    if UnverifiedToken::decode(&bearer).is_err() {
        return;
    }
    let token = sign(header, payload);
    let event = json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": format!("{STAGE}/GET/apps") });
    let decision = AUTHORIZER.decide(&to_raw_value(&event).unwrap(), NOW).now_or_never().unwrap();
    let Outcome::Granted(granted) = &decision.outcome else { return };
    assert!(granted.is_allowed(), "GET /apps is for everybody");
    let header: Value = serde_json::from_slice(header).unwrap();
    let payload: Value = serde_json::from_slice(payload).unwrap();
    assert_good(&header, &payload);

    let response = AUTHORIZER.answer(decision).unwrap();
    policy_of(&response.policy_document, STAGE, 32_768);
    let subject = payload["sub"].as_str().unwrap();
    assert_eq!(response.context["sub"], subject);
    let uid = payload["uid"].as_str().filter(|uid| !uid.is_empty());
    assert_eq!(response.principal_id, uid.unwrap_or(subject));
    assert_eq!(response.context.get("cid").map(String::as_str), payload["cid"].as_str());
    let cid = payload["cid"].as_str().filter(|cid| !cid.is_empty());
    assert_eq!(response.usage_identifier_key.as_deref(), cid);
    let mut wire = json!({ "principalId": response.principal_id, "context": response.context });
    wire["policyDocument"] = serde_json::from_str(response.policy_document.json()).unwrap();
    if let Some(key) = cid {
        wire["usageIdentifierKey"] = key.into();
    }
    assert_eq!(serde_json::from_str::<Value>(&serde_json::to_string(&response).unwrap()).unwrap(), wire);
});

fn assert_good(header: &Value, payload: &Value) {
    assert_eq!((&header["alg"], &header["kid"]), (&json!("RS256"), &json!(KID)));
    assert!(header.get("crit").is_none());
    let typ = header.get("typ").map(|typ| typ.as_str().unwrap().to_ascii_lowercase());
    assert!(typ.is_none_or(|typ| ["jwt", "at+jwt", "application/at+jwt"].contains(&typ.as_str())));

    assert_eq!(payload["iss"], ISSUER);
    let audience = &payload["aud"];
    assert!(audience == AUDIENCE || audience.as_array().is_some_and(|all| all.contains(&json!(AUDIENCE))));
    let (now, skew) = (1_800_000_000.0, f64::from(SKEW));
    assert!(payload["exp"].as_f64().unwrap() > now - skew);
    assert!(payload["iat"].as_f64().unwrap() <= now + skew);
    assert!(payload.get("nbf").is_none_or(|not_before| not_before.as_f64().unwrap() <= now + skew));
    assert!(payload.get("cnf").is_none());
    assert_ne!(payload["sub"].as_str().unwrap(), "");
    for claim in ["uid", "cid", "jti"] {
        assert!(payload.get(claim).is_none_or(Value::is_string), "{claim}");
    }
}
