//! Algorithm confusion, `none`, and signatures of other kinds under the name `RS256`.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use okta_authorizer_testkit::keys::{self, encode, jwks};
use serde_json::json;

use crate::table::{HEADER, Rows, parts};

fn header(alg: &str) -> String {
    format!(r#"{{"alg":{},"kid":"main"}}"#, json!(alg))
}

/// The reason for a bad signature whose header claims `alg`.
fn reason(alg: &str) -> &'static str {
    if alg == "RS256" { "bad_signature" } else { "wrong_algorithm" }
}

pub fn alg_is_exactly_rs256(rows: &mut Rows) {
    const NAME: &str = "RFC 7515 §4.1.1";
    for (source, algs) in [
        (NAME, &["", "RS256,none", "RS2567", "RS25", "RSA256", "SHA256withRSA"][..]),
        ("RFC 7515 §4.1.1: case-sensitive", &["rs256", "Rs256"]),
        ("RFC 7515 §5.3", &["RS256 ", " RS256", "RS256\n", "RS256\0"]),
        ("RFC 7515 §5.3: no normalization", &["ＲＳ256"]),
        ("RFC 7518 §4.1", &["RSA-OAEP", "dir"]),
        ("IANA JOSE registry: prohibited", &["RS1"]),
        ("RFC 8725 §3.1", &["RS384", "RS512", "PS256", "PS384", "ES256", "EdDSA", "HS256"]),
        ("RFC 8725 §3.2", &["none"]),
    ] {
        for alg in algs {
            rows.header(source, header(alg), "wrong_algorithm", HEADER);
        }
    }
    for json in ["null", "256", "true", "false", r#"["RS256"]"#, r#"["none","RS256"]"#, r#"{"RS256":1}"#] {
        rows.header(NAME, format!(r#"{{"alg":{json},"kid":"main"}}"#), "wrong_algorithm", HEADER);
    }
    for other in [
        [r#"{"alg":{"toString":"RS256"},"kid":"main"}"#, r#"{"alg":{"RS256":{}},"kid":"main"}"#],
        [r#"{"kid":"main"}"#, r#"{"Alg":"RS256","kid":"main"}"#],
        [r#"{"algorithm":"RS256","kid":"main"}"#, "{}"],
    ]
    .concat()
    {
        rows.header(NAME, other, "wrong_algorithm", HEADER);
    }
}

pub fn a_token_must_be_signed(rows: &mut Rows) {
    let good = rows.good();
    for alg in ["none", "None", "NONE", "nOnE", "none ", "none\0", "null", "undefined", ""] {
        let input = rows.signing_input(&header(alg));
        for tail in [".", ".AA", ".bm9uZQ"] {
            let name = format!("{alg:?}, then {tail}");
            rows.token("RFC 8725 §3.2; CVE-2022-23540", name, format!("{input}{tail}"), "wrong_algorithm", &good);
        }
        rows.token("RFC 7515 §7.1", format!("{alg:?}, two parts"), input, "not_three_parts", &good);
    }
    let unsigned = format!("{}.", rows.signing_input(HEADER));
    rows.token("CVE-2020-28042", "RS256, unsigned", unsigned, "bad_signature", good);
}

/// What an attacker knows of the key, in the forms that confused verifiers have used as an HMAC
/// secret.
fn public_secrets() -> Vec<(&'static str, Vec<u8>)> {
    let pem = |label: &str, der: &[u8], width| {
        let digits = STANDARD.encode(der);
        let lines: Vec<_> = digits.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let key = keys::main();
    let der = key.public_der();
    let pkcs1 = der[24..].to_vec();
    let spki = pem("PUBLIC KEY", &der, 64);
    vec![
        ("the PEM", spki.clone().into_bytes()),
        ("the PEM without its last line break", spki.trim_end().as_bytes().to_vec()),
        ("the PEM after a space", format!(" {spki}").into_bytes()),
        ("the PEM with one long line", pem("PUBLIC KEY", &der, usize::MAX).into_bytes()),
        ("the PKCS#1 PEM", pem("RSA PUBLIC KEY", &pkcs1, usize::MAX).into_bytes()),
        ("the DER", der),
        ("the PKCS#1 DER", pkcs1),
        ("the modulus", key.modulus()),
        ("the modulus in base64url", encode(key.modulus()).into_bytes()),
        ("the JWK", key.jwk().to_string().into_bytes()),
        ("the JWKS", jwks(&[key]).to_string().into_bytes()),
        ("the kid", b"main".to_vec()),
        ("an empty text", Vec::new()),
        ("a zero byte", vec![0]),
    ]
}

pub fn a_public_key_is_not_an_hmac_secret(rows: &mut Rows) {
    const SOURCE: &str = "RFC 8725 §2.1; CVE-2015-9235, CVE-2016-5431, CVE-2022-29217, CVE-2023-48223";
    let good = rows.good();
    for (name, secret) in public_secrets() {
        for (alg, algorithm) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
            ("RS256", hmac::HMAC_SHA256),
        ] {
            let input = rows.signing_input(&header(alg));
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), input.as_bytes());
            let name = format!("{alg}, {name} as the secret");
            rows.token(SOURCE, name, format!("{input}.{}", encode(tag)), reason(alg), &good);
        }
    }
}

pub fn another_scheme_of_the_same_key_is_not_rs256(rows: &mut Rows) {
    let good = rows.good();
    let schemes: [(&str, &'static dyn signature::RsaEncoding, &str); 5] = [
        ("RS384", &signature::RSA_PKCS1_SHA384, "RFC 7518 §3.3"),
        ("RS512", &signature::RSA_PKCS1_SHA512, "RFC 7518 §3.3"),
        ("PS256", &signature::RSA_PSS_SHA256, "RFC 7518 §3.5; RFC 8017 §8.1"),
        ("PS384", &signature::RSA_PSS_SHA384, "RFC 7518 §3.5; RFC 8017 §8.1"),
        ("PS512", &signature::RSA_PSS_SHA512, "RFC 7518 §3.5; RFC 8017 §8.1"),
    ];
    for (alg, encoding, source) in schemes {
        for claimed in [alg, "RS256"] {
            let attack = keys::main().seal_as(encoding, &rows.signing_input(&header(claimed)));
            rows.token(source, format!("{alg} under the name {claimed}"), attack, reason(claimed), &good);
        }
    }
    let ec = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    for (alg, source) in
        [("ES256", "RFC 7518 §3.1"), ("EdDSA", "RFC 7518 §3.1"), ("ES256 with r = s = 0", "CVE-2022-21449")]
    {
        for claimed in [&alg[..5], "RS256"] {
            let input = rows.signing_input(&header(claimed));
            let signature = match alg {
                "ES256" => ec.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec(),
                "EdDSA" => ed.sign(input.as_bytes()).as_ref().to_vec(),
                _ => vec![0; 64],
            };
            let attack = format!("{input}.{}", encode(signature));
            rows.token(source, format!("{alg} under the name {claimed}"), attack, reason(claimed), &good);
        }
    }
}

pub fn the_header_that_names_the_algorithm_is_signed(rows: &mut Rows) {
    let good = rows.good();
    let [protected, payload, signature] = parts(&good);
    let none = rows.signing_input(&header("none"));
    let respelled = encode(HEADER.replace(',', ", "));
    let general =
        json!({ "payload": payload, "signatures": [{ "protected": protected, "signature": signature }] }).to_string();
    let flattened = json!({ "payload": payload, "protected": protected, "signature": signature }).to_string();
    let jwe = [r#"{"alg":"dir","enc":"A128GCM"}"#.as_bytes(), b"", &[0; 12], &[0; 9], &[0; 16]].map(encode).join(".");
    for (source, name, attack, reason) in [
        ("RFC 7515 §5.2", "the header of none", format!("{none}.{signature}"), "wrong_algorithm"),
        ("RFC 7515 §5.2 step 8", "another spelling", format!("{respelled}.{payload}.{signature}"), "bad_signature"),
        ("RFC 7515 §7.2.1; RFC 7519 §3", "the general JSON serialization", general, "not_three_parts"),
        ("RFC 7515 §7.2.2; RFC 7519 §3", "the flattened JSON serialization", flattened, "not_three_parts"),
        ("RFC 7516 §3.1", "the five parts of a JWE", jwe, "encrypted_token"),
    ] {
        rows.token(source, name, attack, reason, &good);
    }
}
