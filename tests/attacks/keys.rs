//! Keys that a token brings or points to, names of keys, and keys that must not be used.

use base64::{Engine, engine::general_purpose::STANDARD};
use okta_authorizer_testkit::{
    arn,
    env::Env,
    event,
    keys::{self, Key, encode, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    with, without,
};
use serde_json::{Value, json};

use crate::table::{HEADER, Rows, good_claims};

fn signed_by(key: Key, header: &Value, now: u64) -> String {
    key.sign(header.to_string(), good_claims(now).to_string())
}

pub fn a_key_in_the_token_is_ignored(rows: &mut Rows) {
    let stranger = keys::attacker();
    let certificate = json!([STANDARD.encode(stranger.public_der())]);
    let own = "RFC 7515 §4.1.3; CVE-2018-0114, CVE-2026-27962";
    let url = "RFC 7515 §4.1.2; RFC 8725 §3.10";
    let now = rows.now;
    let by = |key, header: Value| signed_by(key, &header, now);
    for (member, value, source) in [
        ("jwk", stranger.jwk(), own),
        ("jwk", stranger.named("main").jwk(), own),
        ("jwk", json!({ "kty": "oct", "kid": "main", "k": "AAAA" }), own),
        ("jwk", json!("null"), own),
        ("jwk", json!(5), own),
        ("jku", json!("https://evil.example/keys"), url),
        ("jku", json!("https://pinned.okta.example.evil.example/oauth2/default/v1/keys"), url),
        ("jku", json!("https://pinned.okta.example@evil.example/v1/keys"), url),
        ("jku", json!("file:///proc/self/environ"), url),
        ("jku", json!("http://169.254.170.2/v2/credentials"), url),
        ("x5u", json!("https://evil.example/chain.pem"), "RFC 7515 §4.1.5; RFC 8725 §3.10"),
        ("x5c", certificate, "RFC 7515 §4.1.6"),
        ("x5c", json!("not even an array"), "RFC 7515 §4.1.6"),
        ("x5t", json!(encode([0; 20])), "RFC 7515 §4.1.7"),
        ("x5t", json!("AAAA"), "RFC 7515 §4.1.7"),
        ("x5t#S256", json!(encode([0; 32])), "RFC 7515 §4.1.8"),
    ] {
        let name = format!("{member}: {value}");
        let control = by(keys::main(), json!({ "alg": "RS256", "kid": "main", member: value }));
        for (kid, reason) in
            [(json!("main"), "bad_signature"), (json!("attacker"), "unknown_kid"), (json!(null), "bad_kid")]
        {
            let attack = by(stranger, json!({ "alg": "RS256", "kid": kid, member: value }));
            rows.token(source, format!("{name}, kid {kid}"), attack, reason, &control);
        }
        let nameless = by(stranger, json!({ "alg": "RS256", member: value }));
        rows.token(source, format!("{name}, no kid"), nameless, "bad_kid", control);
    }
}

/// Over the wire only, because it counts the requests of the real binary.
#[tokio::test]
async fn a_url_in_the_token_is_never_requested() {
    let elsewhere = Okta::start(Reply::keys(&jwks(&[keys::attacker(), keys::main()]))).await;
    let authorizer = Authorizer::start(&Env::pinned(&jwks(&[keys::main()]))).await;
    for member in ["jku", "x5u"] {
        for kid in ["main", "attacker"] {
            let header = json!({ "alg": "RS256", "kid": kid, member: elsewhere.keys_endpoint() });
            let refused = authorizer.invoke(event(&signed_by(keys::attacker(), &header, now()))).await;
            assert!(refused.is_unauthorized(), "{member}, {kid}: {refused:?}");
        }
        let header = json!({ "alg": "RS256", "kid": "main", member: elsewhere.keys_endpoint() });
        let passed = authorizer.invoke(event(&signed_by(keys::main(), &header, now()))).await;
        assert!(passed.allows(&arn("GET /apps")), "{member}: {passed:?}");
    }
    assert_eq!((elsewhere.requests(), elsewhere.unexpected_requests()), (0, 0));
}

pub fn kid_is_only_compared(rows: &mut Rows) {
    for kid in ["null", r#""""#, "5", "0", "true", r#"["main"]"#, r#"{"main":1}"#] {
        rows.header("RFC 7515 §4.1.4", format!(r#"{{"alg":"RS256","kid":{kid}}}"#), "bad_kid", HEADER);
    }
    for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"RS256","Kid":"main"}"#, r#"{"alg":"RS256","KID":"main"}"#] {
        rows.header("RFC 7515 §4.1.4", header, "bad_kid", HEADER);
    }
    let long = "k".repeat(10_000);
    for kid in [
        ["unknown", "Main", "MAIN", "main "],
        [" main", "main\n", "main\0", "main\0x"],
        ["mai", "mainx", "ma\u{200b}in", "ｍain"],
        ["*", "%", "_ain", "m?in"],
        [".*", "../main", "../../../../../../dev/null", "/dev/null"],
        ["/proc/sys/kernel/randomize_va_space", "file:///dev/null", "https://evil.example/key", "' OR '1'='1"],
        ["main' OR '1'='1", "x' UNION SELECT 'AAAA", "main\"; --", "$(id)"],
        ["|id", "${jndi:ldap://evil.example/x}", "{{7*7}}", "<script>"],
        ["JWKS#https://pinned.okta.example/oauth2/default/v1/keys", "__proto__", "constructor", "[object Object]"],
        ["undefined", "null", "0", &long],
    ]
    .concat()
    {
        let header = json!({ "alg": "RS256", "kid": kid }).to_string();
        rows.header("RFC 8725 §3.10", header, "unknown_kid", HEADER);
    }
    let second = r#"{"alg":"RS256","kid":"second"}"#;
    rows.header("RFC 7515 §6: one key by its name", second, "bad_signature", HEADER);
    let swapped = keys::second().named("main").token(&rows.claims());
    rows.token("RFC 7515 §6", "the second key under the name main", swapped, "bad_signature", rows.good());
}

/// Members that make a JWK unusable for RS256 signatures.
fn unusable() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("enc", json!({ "use": "enc" }), "RFC 7517 §4.2"),
        ("use-list", json!({ "use": ["sig"] }), "RFC 7517 §4.2"),
        ("use-number", json!({ "use": 5 }), "RFC 7517 §4.2"),
        ("use-case", json!({ "use": "SIG" }), "RFC 7517 §4.2"),
        ("ops-encrypt", json!({ "key_ops": ["encrypt"] }), "RFC 7517 §4.3"),
        ("ops-sign", json!({ "key_ops": ["sign"] }), "RFC 7517 §4.3"),
        ("ops-none", json!({ "key_ops": [] }), "RFC 7517 §4.3"),
        ("ops-text", json!({ "key_ops": "verify" }), "RFC 7517 §4.3"),
        ("alg-ps256", json!({ "alg": "PS256" }), "RFC 7517 §4.4; RFC 8725 §3.1"),
        ("alg-rs384", json!({ "alg": "RS384" }), "RFC 7517 §4.4; RFC 8725 §3.1"),
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
        ("e-empty", json!({ "e": "" }), "RFC 8017 §3.1"),
        ("n-1", json!({ "n": "AQ" }), "RFC 7518 §3.3: 2048 bits or more"),
        ("n-empty", json!({ "n": "" }), "RFC 7518 §3.3: 2048 bits or more"),
        ("n-asterisks", json!({ "n": "***" }), "RFC 7518 §2"),
        ("n-padded", json!({ "n": format!("{}==", encode(keys::main().modulus())) }), "RFC 7518 §2"),
        ("n-number", json!({ "n": 5 }), "RFC 7518 §6.3.1.1"),
    ]
}

/// Members that do not.
fn usable() -> Vec<(&'static str, Value)> {
    vec![
        ("plain", json!({})),
        ("for-signatures", json!({ "use": "sig" })),
        ("ops-with-verify", json!({ "key_ops": ["verify"] })),
        ("ops-with-more", json!({ "key_ops": ["sign", "verify"] })),
        ("with-a-certificate", json!({ "x5c": ["AAAA"], "x5t": "AAAA", "status": "ACTIVE" })),
    ]
}

/// Pins usable and unusable keys together.
pub fn mixed() -> Env {
    let (main, second) = (keys::main(), keys::second());
    let bare = json!({ "kty": "RSA", "kid": "bare", "n": encode(main.modulus()), "e": "AQAB" });
    let mut published = vec![json!(5), json!(null), json!([]), json!({}), without(&main.jwk(), "kid"), bare];
    // Two keys with one kid: neither is used. One key twice: it is used.
    published.extend([second.named("rival").jwk(), main.named("repeated").jwk(), main.named("repeated").jwk()]);
    published.extend(unusable().into_iter().map(|(kid, members, _)| with(&main.named(kid).jwk(), &members)));
    published.extend(usable().into_iter().map(|(kid, members)| with(&main.named(kid).jwk(), &members)));
    published.extend([main.named("rival").jwk(), main.jwk()]);
    Env::pinned(&json!({ "keys": published }))
}

pub fn only_keys_for_rs256_signatures_are_used(rows: &mut Rows) {
    let claims = rows.claims();
    let controls = usable().into_iter().map(|(kid, _)| kid).chain(["main", "bare", "repeated"]);
    let controls: Vec<_> = controls.map(|kid| keys::main().named(kid).token(&claims)).collect();
    let mut attacks: Vec<_> = unusable()
        .into_iter()
        .map(|(kid, members, source)| (source, format!("{kid}: {members}"), keys::main().named(kid)))
        .collect();
    for key in [keys::main(), keys::second()] {
        attacks.push(("RFC 7517 §4.5", format!("two keys with one kid, by {}", key.kid), key.named("rival")));
    }
    for ((source, name, key), control) in attacks.into_iter().zip(controls.iter().cycle()) {
        rows.token(source, name, key.token(&claims), "unknown_kid", control);
    }
}

/// RSA keys that the tests cannot generate, and a valid token by each, made once with OpenSSL. The
/// tokens expire in 2100.
fn unusual_keys() -> Vec<Value> {
    serde_json::from_str(include_str!("fixtures/unusual_keys.json")).unwrap()
}

pub fn unusual() -> Env {
    let published: Vec<_> = unusual_keys().into_iter().map(|made| made["jwk"].clone()).collect();
    Env::pinned(&json!({ "keys": published }))
}

pub fn a_key_has_2048_to_8192_bits_and_a_usual_exponent(rows: &mut Rows) {
    let (usable, unusable): (Vec<_>, Vec<_>) = unusual_keys().into_iter().partition(|made| made["usable"] == true);
    let token = |made: &Value| made["token"].as_str().unwrap().to_owned();
    for (attack, control) in unusable.iter().zip(usable.iter().cycle()) {
        let name = attack["jwk"]["kid"].to_string();
        rows.token("RFC 7518 §3.3; RFC 8017 §3.1", name, token(attack), "unknown_kid", token(control));
    }
}

/// The only published key is `second`.
pub fn only_published_keys_are_used(rows: &mut Rows) {
    let (good, renamed) = (rows.good(), keys::main().named("second").token(&rows.claims()));
    let control = keys::second().token(&rows.claims());
    rows.token("RFC 7515 §5.2", "a withdrawn key", good, "unknown_kid", &control);
    rows.token("RFC 7515 §5.2", "a withdrawn key under another name", renamed, "bad_signature", control);
}
