//! A JWKS document. Each key that is used must be an RSA key for RS256 of the right size, alone
//! under its `kid`. Verifying with such a key must be safe, whoever made it.
#![no_main]

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use okta_authorizer::{
    keys::KeySet,
    token::{BearerToken, Refusal, UnverifiedToken, verify},
};
use okta_authorizer_fuzz::{
    json::{Object, object, raw, read, string},
    sample::{EXPECTATIONS, HEADER, NOW, payload},
};
use serde_json::value::RawValue;

fuzz_target!(|document: &[u8]| {
    let Ok(keys) = KeySet::parse(document) else { return };
    assert_eq!(keys.json().as_bytes(), document);
    let items: Vec<&RawValue> = read(&object(document).unwrap(), "keys").unwrap();
    assert!(items.len() <= KeySet::MAX_KEYS);
    let all: Vec<Object<'_>> = items.iter().filter_map(|key| object(key.get().as_bytes())).collect();
    let kids: HashSet<String> = all.iter().filter_map(|key| string(key, "kid")).collect();
    let used: Vec<String> = kids.into_iter().filter(|kid| keys.key(kid).is_some()).collect();
    assert_eq!(used.len(), keys.len());
    for kid in &used {
        let has_kid = |key: &&Object<'_>| string(key, "kid").as_ref() == Some(kid);
        let candidates: Vec<_> = all.iter().filter(has_kid).filter(|key| is_for_rs256(key)).collect();
        let [first, others @ ..] = &candidates[..] else { panic!("{kid} is not a key for RS256") };
        let same = |other: &&Object<'_>| ["n", "e"].iter().all(|name| number(other, name) == number(first, name));
        assert!(others.iter().all(same) || has_duplicates(keys.json(), &all), "{kid} is ambiguous");
    }
    // One key is enough, because 8192 bits are slow.
    if let Some(kid) = used.first() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signature = URL_SAFE_NO_PAD.encode([0x5a; 256]);
        let token = format!("{}.{}.{signature}", encode(HEADER), encode(&payload("")));
        let bearer = BearerToken::from_header_value(&token).unwrap();
        let verified = verify(UnverifiedToken::decode(&bearer).unwrap(), keys.key(kid).unwrap(), &EXPECTATIONS, NOW);
        assert_eq!(verified.unwrap_err(), Refusal::BadSignature);
    }
});

fn is_for_rs256(key: &Object<'_>) -> bool {
    let absent_or = |name, wanted| raw(key, name).is_none() || string(key, name).is_some_and(|text| text == wanted);
    let verifies = |operations: Vec<String>| operations.iter().any(|operation| operation == "verify");
    let modulus = number(key, "n");
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    string(key, "kty").is_some_and(|kty| kty == "RSA")
        && string(key, "kid").is_some_and(|kid| !kid.is_empty())
        && absent_or("use", "sig")
        && absent_or("alg", "RS256")
        && (raw(key, "key_ops").is_none() || read(key, "key_ops").is_some_and(verifies))
        && (2_048..=8_192).contains(&bits)
        && modulus.last().is_some_and(|last| last % 2 == 1)
        && [&[3][..], &[1, 0, 1]].contains(&&number(key, "e")[..])
}

/// Whether some key may have a member twice. Such a key is skipped, but an [`Object`] has its last
/// member.
fn has_duplicates(text: &str, keys: &[Object<'_>]) -> bool {
    let occurs_twice = |name: &&str| {
        let occurrences = text.matches(&format!("\"{name}\"")).count();
        occurrences != keys.iter().filter(|key| key.contains_key(*name)).count()
    };
    text.contains("\\u") || ["kty", "kid", "use", "key_ops", "alg", "n", "e"].iter().any(occurs_twice)
}

/// A number as its bytes without leading zeros.
fn number(key: &Object<'_>, name: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(string(key, name).unwrap_or_default()).unwrap_or_default();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}
