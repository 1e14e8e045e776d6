//! A JWKS document: whatever is used of it is an RSA key for RS256, of the right size, alone under its kid; and a key of
//! anybody's making is safe to verify with.
#![no_main]

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    keys::KeySet,
    token::{BearerToken, Refusal, UnverifiedToken, verify},
};
use okta_authorizer_fuzz::sample::{EXPECTATIONS, NOW, payload};
use serde_json::Value;

fuzz_target!(|document: &[u8]| {
    let Ok(keys) = KeySet::parse(document) else { return };
    assert_eq!(keys.json().as_bytes(), document);
    // A key that is skipped may hold what is JSON by its grammar, and no value: a lone surrogate, 1e999.
    let Ok(document) = serde_json::from_slice::<Value>(document) else { return };
    let all = document["keys"].as_array().unwrap();
    assert!(all.len() <= KeySet::MAX_KEYS);
    let kids: HashSet<&str> = all.iter().filter_map(|key| key["kid"].as_str()).collect();
    let used: Vec<&str> = kids.into_iter().filter(|kid| keys.key(kid).is_some()).collect();
    assert_eq!(used.len(), keys.len());
    for kid in &used {
        let candidates: Vec<&Value> = all.iter().filter(|key| key["kid"] == **kid && is_for_rs256(key)).collect();
        let [first, others @ ..] = &candidates[..] else { panic!("{kid} is no key for RS256") };
        let same = |other: &&Value| ["n", "e"].iter().all(|name| number(other, name) == number(first, name));
        assert!(others.iter().all(same) || has_duplicates(keys.json(), all), "{kid} is ambiguous");
    }
    // One of them is enough, and 8192 bits are slow.
    if let Some(kid) = used.first() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k"}"#);
        let signature = URL_SAFE_NO_PAD.encode([0x5a; 256]);
        let token = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload("")));
        let bearer = BearerToken::from_header_value(&token).unwrap();
        let verified = verify(UnverifiedToken::decode(&bearer).unwrap(), keys.key(kid).unwrap(), &EXPECTATIONS, NOW);
        assert_eq!(verified.unwrap_err(), Refusal::BadSignature);
    }
});

fn is_for_rs256(key: &Value) -> bool {
    let absent_or = |name: &str, wanted: &str| key[name].is_null() || key[name] == wanted;
    let operations = &key["key_ops"];
    let modulus = number(key, "n");
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    key["kty"] == "RSA"
        && key["kid"].as_str().is_some_and(|kid| !kid.is_empty())
        && absent_or("use", "sig")
        && absent_or("alg", "RS256")
        && (operations.is_null() || operations.as_array().is_some_and(|all| all.contains(&"verify".into())))
        && (2_048..=8_192).contains(&bits)
        && modulus.last().is_some_and(|last| last % 2 == 1)
        && [&[3][..], &[1, 0, 1]].contains(&&number(key, "e")[..])
}

/// Whether a member may stand twice in some key, which is then skipped; a [`Value`] just has the last one.
fn has_duplicates(text: &str, keys: &[Value]) -> bool {
    let stands_twice = |name: &&str| {
        let written = text.matches(&format!("\"{name}\"")).count();
        written != keys.iter().filter(|key| key.get(*name).is_some()).count()
    };
    text.contains("\\u") || ["kty", "kid", "use", "key_ops", "alg", "n", "e"].iter().any(stands_twice)
}

/// Without leading zeros.
fn number(key: &Value, name: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default()).unwrap_or_default();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}
