//! Signatures that are not the one that RFC 8017 §8.2.2 takes, made by `fixtures/forge.py` with keys that were thrown away: the
//! private exponent raised over messages that are not encoded right, representatives out of range, and cube roots.

use okta_authorizer::token::Refusal;
use serde_json::Value;

use crate::table::{Row, authorizer_of, hold};

#[test]
pub fn a_signature_is_the_one_that_the_key_makes_of_the_one_encoding() {
    let made: Value = serde_json::from_str(include_str!("fixtures/forgeries.json")).unwrap();
    let text = |object: &Value, member: &str| object[member].as_str().unwrap().to_owned();
    let mut rows = Vec::new();
    for group in made["groups"].as_array().unwrap() {
        let input = text(group, "signing_input");
        let twin = format!("{input}.{}", text(group, "right"));
        for forged in group["forged"].as_array().unwrap() {
            let bad = format!("{input}.{}", text(forged, "signature"));
            let (source, name) = (text(forged, "source"), text(forged, "name"));
            rows.push(Row::new(&source, name, bad, Refusal::BadSignature, twin.clone()));
        }
    }
    assert_eq!(rows.len(), 163, "the fixtures were made anew");
    hold(&authorizer_of(&made["jwks"], &[]), rows);
}
