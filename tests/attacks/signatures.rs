//! Signatures of other bytes, and signatures that are not the one that RFC 8017 §8.2.2 accepts.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use okta_authorizer_testkit::{
    env::Env,
    keys::{self, encode},
    with,
};
use serde_json::{Value, json};

use crate::table::{HEADER, Rows, parts};

pub fn the_signature_covers_these_bytes(rows: &mut Rows) {
    const SOURCE: &str = "RFC 7515 §5.2 step 8";
    let (good, claims) = (rows.good(), rows.claims());
    let [header, payload, signature] = parts(&good);
    let other = keys::main().token(&with(&claims, &json!({ "uid": "00ueve" })));
    let by = |signature: String| format!("{header}.{payload}.{signature}");
    let mut attacks = vec![
        ("of the second key".to_owned(), keys::second().named("main").token(&claims)),
        ("of a stranger's key".to_owned(), keys::attacker().named("main").token(&claims)),
        ("of another token".to_owned(), by(parts(&other)[2].to_owned())),
        ("over another payload".to_owned(), format!("{header}.{}.{signature}", parts(&other)[1])),
        ("over another header".to_owned(), format!("{}.{payload}.{signature}", encode(HEADER.replace(',', ", ")))),
        ("0".to_owned(), by(encode([0; 256]))),
        ("1".to_owned(), by(encode([&[0; 255][..], &[1]].concat()))),
        ("the modulus".to_owned(), by(encode(keys::main().modulus()))),
        ("short".to_owned(), by(signature[..signature.len() - 2].to_owned())),
        ("long".to_owned(), by(format!("AA{signature}"))),
        ("twice".to_owned(), by(signature.repeat(2))),
    ];
    for position in [0, 1, 100, 170, 255] {
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[position] ^= 1;
        attacks.push((format!("a bit of byte {position}"), by(encode(bytes))));
    }
    for (name, attack) in attacks {
        rows.token(SOURCE, name, attack, "bad_signature", &good);
    }
}

/// Made by `fixtures/forge.py` with keys that were deleted: the private exponent applied to
/// messages that are not encoded correctly, numbers out of range, and cube roots.
fn forgeries() -> Value {
    serde_json::from_str(include_str!("fixtures/forgeries.json")).unwrap()
}

pub fn forgery_env() -> Env {
    Env::pinned(&forgeries()["jwks"]).with("OKTA_ISSUER", "https://example.okta.com/oauth2/default")
}

pub fn only_the_one_encoding_of_the_digest_is_accepted(rows: &mut Rows) {
    let mut count = 0;
    for group in forgeries()["groups"].as_array().unwrap() {
        let token =
            |signature: &Value| format!("{}.{}", group["signing_input"].as_str().unwrap(), signature.as_str().unwrap());
        for forged in group["forged"].as_array().unwrap() {
            let (source, name) = (forged["source"].as_str().unwrap(), forged["name"].as_str().unwrap());
            rows.token(source, name, token(&forged["signature"]), "bad_signature", token(&group["right"]));
            count += 1;
        }
    }
    assert_eq!(count, 163, "the fixtures were made anew");
}
