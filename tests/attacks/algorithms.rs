//! Algorithm confusion, `none`, and signatures of other kinds under `RS256`.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use okta_authorizer::token::Refusal;
use serde_json::{Value, json};

use crate::{
    table::{HEADER, Row, authorizer, good, good_claims, hold},
    test_keys::{self, encode},
};

fn input(header: &str) -> String {
    format!("{}.{}", encode(header), encode(good_claims().to_string()))
}

fn header(alg: &str) -> String {
    format!(r#"{{"alg":{alg},"kid":"main"}}"#)
}

#[test]
pub fn the_algorithm_is_rs256_to_the_letter() {
    let values = [
        ("null", "RFC 7515 §4.1.1"),
        (r#""""#, "RFC 7515 §4.1.1"),
        ("256", "RFC 7515 §4.1.1"),
        ("true", "RFC 7515 §4.1.1"),
        ("false", "RFC 7515 §4.1.1"),
        (r#"["RS256"]"#, "RFC 7515 §4.1.1"),
        (r#"["none","RS256"]"#, "RFC 7515 §4.1.1"),
        (r#"{"RS256":1}"#, "RFC 7515 §4.1.1"),
        (r#"{"toString":"RS256"}"#, "RFC 7515 §4.1.1"),
        (r#""rs256""#, "RFC 7515 §4.1.1: case-sensitive"),
        (r#""Rs256""#, "RFC 7515 §4.1.1: case-sensitive"),
        (r#""RS256 ""#, "RFC 7515 §5.3"),
        (r#"" RS256""#, "RFC 7515 §5.3"),
        (r#""RS256\n""#, "RFC 7515 §5.3"),
        (r#""RS256\u0000""#, "RFC 7515 §5.3"),
        (r#""RS256,none""#, "RFC 7515 §4.1.1"),
        (r#""ＲＳ256""#, "RFC 7515 §5.3: no normalization"),
        (r#""RS2567""#, "RFC 7515 §4.1.1"),
        (r#""RS25""#, "RFC 7515 §4.1.1"),
        (r#""RSA-OAEP""#, "RFC 7518 §4.1"),
        (r#""dir""#, "RFC 7518 §4.1"),
        (r#""RS1""#, "IANA JOSE registry: prohibited"),
        (r#""RS384""#, "RFC 8725 §3.1"),
        (r#""RS512""#, "RFC 8725 §3.1"),
        (r#""PS256""#, "RFC 8725 §3.1"),
        (r#""PS384""#, "RFC 8725 §3.1"),
        (r#""ES256""#, "RFC 8725 §3.1"),
        (r#""EdDSA""#, "RFC 8725 §3.1"),
        (r#""HS256""#, "RFC 8725 §3.1"),
        (r#""none""#, "RFC 8725 §3.2"),
    ];
    let mut rows: Vec<_> = values
        .into_iter()
        .map(|(alg, source)| Row::header(source, header(alg), Refusal::WrongAlgorithm, HEADER))
        .collect();
    for other in [r#"{"kid":"main"}"#, r#"{"Alg":"RS256","kid":"main"}"#, r#"{"algorithm":"RS256","kid":"main"}"#] {
        rows.push(Row::header("RFC 7515 §4.1.1", other, Refusal::WrongAlgorithm, HEADER));
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn a_token_without_a_signature_is_no_token() {
    let mut rows = Vec::new();
    let spellings = ["none", "None", "NONE", "nOnE", "none ", "none\\u0000", "null", "undefined", ""];
    for alg in spellings.map(|none| header(&format!("\"{none}\""))) {
        for tail in [".", ".AA", ".bm9uZQ"] {
            let bad = format!("{}{tail}", input(&alg));
            rows.push(Row::new(
                "RFC 8725 §3.2; CVE-2022-23540",
                format!("{alg}{tail}"),
                bad,
                Refusal::WrongAlgorithm,
                good(),
            ));
        }
        rows.push(Row::new("RFC 7515 §7.1", format!("{alg}, two parts"), input(&alg), Refusal::NotThreeParts, good()));
    }
    let unsigned = format!("{}.", input(HEADER));
    rows.push(Row::new("CVE-2020-28042", "RS256, unsigned", unsigned, Refusal::BadSignature, good()));
    hold(&authorizer(), rows);
}

/// What an attacker knows of the key, in the shapes that confused verifiers have taken for an HMAC secret.
fn public_secrets() -> Vec<(&'static str, Vec<u8>)> {
    let der = test_keys::main().public_der();
    let pkcs1 = &der[24..];
    let digits = STANDARD.encode(&der);
    let lines = digits.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
    let lines = lines.collect::<Vec<_>>().join("\n");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n");
    let pkcs1_pem =
        format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(pkcs1));
    vec![
        ("the PEM", pem.clone().into_bytes()),
        ("the PEM without its last line break", pem.trim_end().as_bytes().to_vec()),
        ("the PEM with a space in front", format!(" {pem}").into_bytes()),
        ("the PKCS#1 PEM", pkcs1_pem.into_bytes()),
        ("the DER", der.clone()),
        ("the PKCS#1 DER", pkcs1.to_vec()),
        ("the modulus", test_keys::main().modulus()),
        ("the modulus in base64url", encode(test_keys::main().modulus()).into_bytes()),
        ("the JWK", test_keys::main().jwk().to_string().into_bytes()),
        ("the JWKS", test_keys::jwks(&[test_keys::main()]).to_string().into_bytes()),
        ("the kid", b"main".to_vec()),
        ("nothing", Vec::new()),
        ("a zero byte", vec![0]),
    ]
}

#[test]
pub fn the_public_key_is_no_hmac_secret() {
    const SOURCE: &str = "RFC 8725 §2.1; CVE-2015-9235, CVE-2016-5431, CVE-2022-29217, CVE-2023-48223";
    let mut rows = Vec::new();
    for (name, secret) in public_secrets() {
        for (alg, algorithm, refusal) in [
            ("HS256", hmac::HMAC_SHA256, Refusal::WrongAlgorithm),
            ("HS384", hmac::HMAC_SHA384, Refusal::WrongAlgorithm),
            ("HS512", hmac::HMAC_SHA512, Refusal::WrongAlgorithm),
            ("RS256", hmac::HMAC_SHA256, Refusal::BadSignature),
        ] {
            let input = input(&header(&format!("\"{alg}\"")));
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), input.as_bytes());
            let bad = format!("{input}.{}", encode(tag));
            rows.push(Row::new(SOURCE, format!("{alg}, {name} as the secret"), bad, refusal, good()));
        }
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn the_named_key_and_another_scheme_is_no_rs256() {
    let mut rows = Vec::new();
    let schemes: [(&str, &'static dyn signature::RsaEncoding, &str); 5] = [
        ("RS384", &signature::RSA_PKCS1_SHA384, "RFC 7518 §3.3"),
        ("RS512", &signature::RSA_PKCS1_SHA512, "RFC 7518 §3.3"),
        ("PS256", &signature::RSA_PSS_SHA256, "RFC 7518 §3.5; RFC 8017 §8.1"),
        ("PS384", &signature::RSA_PSS_SHA384, "RFC 7518 §3.5; RFC 8017 §8.1"),
        ("PS512", &signature::RSA_PSS_SHA512, "RFC 7518 §3.5; RFC 8017 §8.1"),
    ];
    for (alg, encoding, source) in schemes {
        for (claimed, refusal) in [(alg, Refusal::WrongAlgorithm), ("RS256", Refusal::BadSignature)] {
            let bad = test_keys::main().seal_as(encoding, &input(&header(&format!("\"{claimed}\""))));
            rows.push(Row::new(source, format!("{alg} called {claimed}"), bad, refusal, good()));
        }
    }
    let ec = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    for (alg, claimed, refusal) in [
        ("ES256", "ES256", Refusal::WrongAlgorithm),
        ("ES256", "RS256", Refusal::BadSignature),
        ("EdDSA", "EdDSA", Refusal::WrongAlgorithm),
        ("EdDSA", "RS256", Refusal::BadSignature),
    ] {
        let input = input(&header(&format!("\"{claimed}\"")));
        let signature = match alg {
            "ES256" => ec.sign(&SystemRandom::new(), input.as_bytes()).unwrap().as_ref().to_vec(),
            _ => ed.sign(input.as_bytes()).as_ref().to_vec(),
        };
        let bad = format!("{input}.{}", encode(signature));
        rows.push(Row::new("RFC 7518 §3.1", format!("{alg} called {claimed}"), bad, refusal, good()));
    }
    for (claimed, refusal) in [("ES256", Refusal::WrongAlgorithm), ("RS256", Refusal::BadSignature)] {
        let bad = format!("{}.{}", input(&header(&format!("\"{claimed}\""))), encode([0; 64]));
        rows.push(Row::new("CVE-2022-21449", format!("r = s = 0 called {claimed}"), bad, refusal, good()));
    }
    hold(&authorizer(), rows);
}

#[test]
pub fn the_header_that_chose_the_algorithm_is_the_one_that_is_signed() {
    let [rs256, none] = [HEADER, r#"{"alg":"none","kid":"main"}"#].map(input);
    let good = test_keys::main().seal(&rs256);
    let signature = good.rsplit('.').next().unwrap();
    let general: Value = json!({
        "payload": encode(good_claims().to_string()),
        "signatures": [{ "protected": encode(HEADER), "signature": signature }],
    });
    let flattened: Value = json!({
        "payload": encode(good_claims().to_string()), "protected": encode(HEADER), "signature": signature,
    });
    let rows = vec![
        Row::new(
            "RFC 7515 §5.2",
            "none's header, RS256's signature",
            format!("{none}.{signature}"),
            Refusal::WrongAlgorithm,
            good.clone(),
        ),
        Row::new(
            "RFC 7515 §5.2 step 8",
            "a header that reads the same, with another spelling",
            format!("{}.{}.{signature}", encode(HEADER.replace(',', ", ")), encode(good_claims().to_string())),
            Refusal::BadSignature,
            good.clone(),
        ),
        Row::new(
            "RFC 7515 §7.2.1; RFC 7519 §3",
            "the general JSON serialization",
            general.to_string(),
            Refusal::NotThreeParts,
            good.clone(),
        ),
        Row::new(
            "RFC 7515 §7.2.2; RFC 7519 §3",
            "the flattened JSON serialization",
            flattened.to_string(),
            Refusal::NotThreeParts,
            good.clone(),
        ),
        Row::new(
            "RFC 7516 §3.1",
            "a JWE's five parts",
            format!(
                "{}..{}.{}.{}",
                encode(r#"{"alg":"dir","enc":"A128GCM"}"#),
                encode([0; 12]),
                encode([0; 9]),
                encode([0; 16])
            ),
            Refusal::NotThreeParts,
            good.clone(),
        ),
    ];
    hold(&authorizer(), rows);
}
