//! Design 3: what a token must be. Keys are pinned, so one process takes a whole table.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use okta_authorizer_testkit::{
    Failures, arn,
    env::{Env, PINNED_ISSUER},
    event,
    keys::{self, encode, jwks},
    now,
    okta::{Okta, Reply},
    runtime_api::Authorizer,
    token::{claims, token},
    with, without,
};
use serde_json::{Value, json};

/// An `Authorization` header's value that must be refused, and one that differs in that alone and must pass.
struct Pair {
    name: String,
    bad: String,
    good: String,
}

impl Pair {
    fn new(name: impl Into<String>, bad: impl Into<String>, good: impl Into<String>) -> Self {
        Self { name: name.into(), bad: bad.into(), good: good.into() }
    }

    /// Two JOSE headers over the same good claims.
    fn header(name: &str, bad: &str, good: &str) -> Self {
        let claims = claims().to_string();
        Self::new(name, keys::main().sign(bad, &claims), keys::main().sign(good, &claims))
    }

    /// Two payloads under the same good header.
    fn payload(name: &str, bad: impl AsRef<[u8]>, good: &str) -> Self {
        Self::new(name, keys::main().sign(HEADER, bad), keys::main().sign(HEADER, good))
    }
}

const HEADER: &str = r#"{"alg":"RS256","kid":"main"}"#;

fn pinned() -> Env {
    Env::pinned(&jwks(&[keys::main(), keys::second()]))
}

/// Sends every pair, the good one last, so that it also shows that the process lived on.
async fn hold(env: &Env, pairs: Vec<Pair>) {
    let authorizer = Authorizer::start(env).await;
    let mut failures = Failures::default();
    for Pair { name, bad, good } in pairs {
        let refused = authorizer.invoke(event(&bad)).await;
        failures.check(refused.is_unauthorized(), || format!("{name}: bad one: {refused:?}"));
        let passed = authorizer.invoke(event(&good)).await;
        failures.check(passed.allows(&arn("GET /apps")), || format!("{name}: good twin: {passed:?}"));
    }
    failures.report();
}

/// Sends header values that must all pass.
async fn pass(env: &Env, values: Vec<(&str, String)>) {
    let authorizer = Authorizer::start(env).await;
    let mut failures = Failures::default();
    for (name, value) in values {
        let passed = authorizer.invoke(event(&value)).await;
        failures.check(passed.allows(&arn("GET /apps")), || format!("{name}: {passed:?}"));
    }
    failures.report();
}

/// `text`, a JSON object, with one more member written first.
fn spliced(member: &str, text: &str) -> String {
    format!("{{{member},{}", text.strip_prefix('{').unwrap())
}

#[tokio::test]
async fn the_header_value_is_bearer_and_one_token_or_a_bare_token() {
    let good = token(&json!({}));
    let bearer = format!("Bearer {good}");
    let bad = [
        String::new(),
        " ".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer    ".to_owned(),
        format!("Basic {good}"),
        format!("Token {good}"),
        format!("JWT {good}"),
        format!("DPoP {good}"),
        format!("Bearer: {good}"),
        format!("Bearer={good}"),
        format!("Bearer,{good}"),
        format!("Bearer{good}"),
        format!("Bearer\t{good}"),
        format!("Bearer \t{good}"),
        format!("Bearer\n{good}"),
        format!("Bearer\u{a0}{good}"),
        format!("Bearer\u{2003}{good}"),
        format!("Bearer\0{good}"),
        format!("Bearer {good} {good}"),
        format!("Bearer {good} x"),
        format!("Bearer x {good}"),
        format!("Bearer Bearer {good}"),
        format!("Bearer {good},Bearer {good}"),
        format!("Bearer \"{good}\""),
        format!("\"{bearer}\""),
        format!(" {bearer}"),
        format!("\t{bearer}"),
        format!("{bearer} "),
        format!("{bearer}\t"),
        format!("{bearer}\n"),
        format!("{bearer}\r\n"),
        format!("{bearer}\0"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("\u{feff}{bearer}"),
        format!("Bеarer {good}"), // the second letter is Cyrillic
        format!("Bearer {good}é"),
        "Bearer null".to_owned(),
        "Bearer undefined".to_owned(),
        "null".to_owned(),
    ];
    let pairs = bad.into_iter().map(|bad| Pair::new(format!("{:?}", bad.replace(&good, "JWT")), bad, &bearer));
    hold(&pinned(), pairs.collect()).await;
}

#[tokio::test]
async fn bearer_is_taken_in_any_case_and_after_any_run_of_spaces() {
    let good = token(&json!({}));
    let prefixes = ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer  ", "BEARER   ", ""];
    pass(&pinned(), prefixes.map(|prefix| (prefix, format!("{prefix}{good}"))).to_vec()).await;
}

#[tokio::test]
async fn a_token_has_three_parts() {
    let good = token(&json!({}));
    let [header, payload, signature] = parts(&good);
    let bad = [
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "a.b.c".to_owned(),
        header.to_owned(),
        format!("{header}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!(".{good}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{good}.."),
        format!("{good}.{payload}.{signature}"),
        format!("{header}.{header}.{payload}.{signature}"),
        format!("{header}.{payload}~{signature}"),
        format!("{payload}.{header}.{signature}"),
        keys::main().seal(&format!("{header}.{payload}.{payload}")),
        keys::main().seal(&encode(claims().to_string())),
        keys::main().seal(&format!("{header}.")),
        keys::main().seal(&format!(".{payload}")),
    ];
    let pairs = bad.into_iter().map(|bad| Pair::new(bad.clone(), bad, &good));
    hold(&pinned(), pairs.collect()).await;
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().unwrap()
}

#[tokio::test]
async fn base64url_is_unpadded_canonical_and_of_its_own_alphabet() {
    // Both texts end in a group of one byte, which would be padded, and whose last digit has four bits to spare. Both hold
    // digits in which the alphabets differ.
    let header = one_over(r#"{"alg":"RS256","kid":"main","x":"?????>>>>>"}"#);
    let payload = one_over(&with(&claims(), &json!({ "x": "?????>>>>>" })).to_string());
    let (h, p) = (encode(&header), encode(&payload));
    let good = keys::main().sign(&header, &payload);
    let signature = parts(&good)[2];
    let standard = |digits: &str| digits.replace('-', "+").replace('_', "/");
    assert!(standard(&h) != h && standard(&p) != p && standard(signature) != signature);

    let seal = |input: String| keys::main().seal(&input);
    let bad = [
        ("padded header", seal(format!("{h}==.{p}"))),
        ("padded payload", seal(format!("{h}.{p}=="))),
        ("padded signature", format!("{good}==")),
        ("half padded header", seal(format!("{h}=.{p}"))),
        ("half padded payload", seal(format!("{h}.{p}="))),
        ("half padded signature", format!("{good}=")),
        ("padded throughout", format!("{}==", seal(format!("{h}==.{p}==")))),
        ("percent-encoded padding", seal(format!("{h}.{p}%3D%3D"))),
        ("standard alphabet in the header", seal(format!("{}.{p}", standard(&h)))),
        ("standard alphabet in the payload", seal(format!("{h}.{}", standard(&p)))),
        ("standard alphabet in the signature", format!("{h}.{p}.{}", standard(signature))),
        ("plain standard base64", seal(format!("{}.{}", STANDARD.encode(&header), STANDARD.encode(&payload)))),
        ("spare bits set in the header", seal(format!("{}.{p}", smudged(&h)))),
        ("spare bits set in the payload", seal(format!("{h}.{}", smudged(&p)))),
        ("spare bits set in the signature", format!("{h}.{p}.{}", smudged(signature))),
        ("one digit too many in the header", seal(format!("{}A.{p}", encode(format!("{header} "))))),
        ("a newline in the header", seal(format!("{}\n{}.{p}", &h[..4], &h[4..]))),
        ("a space in the payload", seal(format!("{h}.{} {}", &p[..4], &p[4..]))),
        ("a newline in the payload", seal(format!("{h}.{}\r\n{}", &p[..64], &p[64..]))),
        ("a newline in the signature", format!("{h}.{p}.{}\n{}", &signature[..64], &signature[64..])),
        ("a NUL in the payload", seal(format!("{h}.{p}\0"))),
        ("a letter that is not ASCII", seal(format!("{h}.{p}ü"))),
    ];
    let pairs = bad.into_iter().map(|(name, bad)| Pair::new(name, bad, &good));
    hold(&pinned(), pairs.collect()).await;
}

/// `text`, an object, with a member more, so that its length is one over a multiple of three.
fn one_over(text: &str) -> String {
    (0..3)
        .map(|pad| spliced(&format!(r#""pad":"{}""#, "a".repeat(pad)), text))
        .find(|text| text.len() % 3 == 1)
        .unwrap()
}

/// The same bytes to a decoder that does not look at the spare bits of the last digit.
fn smudged(digits: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.find(digits.chars().next_back().unwrap()).unwrap();
    format!("{}{}", &digits[..digits.len() - 1], &ALPHABET[last + 1..last + 2])
}

#[tokio::test]
async fn the_algorithm_is_rs256_and_nothing_else() {
    let claims = claims().to_string();
    let input = |alg: &str| format!("{}.{}", encode(format!(r#"{{"alg":"{alg}","kid":"main"}}"#)), encode(&claims));
    let good = keys::main().sign(HEADER, &claims);
    let mut pairs: Vec<_> = [
        r#"{"kid":"main"}"#,
        r#"{"alg":null,"kid":"main"}"#,
        r#"{"alg":"","kid":"main"}"#,
        r#"{"alg":256,"kid":"main"}"#,
        r#"{"alg":true,"kid":"main"}"#,
        r#"{"alg":["RS256"],"kid":"main"}"#,
        r#"{"alg":{"RS256":{}},"kid":"main"}"#,
        r#"{"alg":"rs256","kid":"main"}"#,
        r#"{"alg":"Rs256","kid":"main"}"#,
        r#"{"alg":"RS256 ","kid":"main"}"#,
        r#"{"alg":" RS256","kid":"main"}"#,
        r#"{"alg":"RS256\u0000","kid":"main"}"#,
        r#"{"alg":"RSA256","kid":"main"}"#,
        r#"{"alg":"SHA256withRSA","kid":"main"}"#,
        r#"{"alg":"RS384","kid":"main"}"#,
        r#"{"alg":"PS256","kid":"main"}"#,
        r#"{"alg":"HS256","kid":"main"}"#,
        r#"{"alg":"none","kid":"main"}"#,
        r#"{"Alg":"RS256","kid":"main"}"#,
    ]
    .into_iter()
    .map(|bad| Pair::header(bad, bad, HEADER))
    .collect();

    for none in ["none", "None", "NONE", "nOnE", "none ", ""] {
        pairs.push(Pair::new(format!("{none:?}, unsigned"), format!("{}.", input(none)), &good));
    }
    pairs.push(Pair::new("RS256, unsigned", format!("{}.", input("RS256")), &good));
    for (alg, encoding) in [
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("RS256", &signature::RSA_PKCS1_SHA384),
        ("RS256", &signature::RSA_PKCS1_SHA512),
    ] {
        pairs.push(Pair::new(format!("{alg} by {encoding:?}"), keys::main().seal_as(encoding, &input(alg)), &good));
    }
    for (alg, encoding) in [
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("RS256", &signature::RSA_PSS_SHA256),
    ] {
        pairs.push(Pair::new(format!("{alg} by {encoding:?}"), keys::main().seal_as(encoding, &input(alg)), &good));
    }
    for (name, secret) in public_secrets() {
        for (alg, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512), ("RS256", hmac::HMAC_SHA256)]
        {
            let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), input(alg).as_bytes());
            pairs.push(Pair::new(
                format!("{alg}, {name} as the secret"),
                format!("{}.{}", input(alg), encode(tag)),
                &good,
            ));
        }
    }
    let ec = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    for alg in ["ES256", "RS256"] {
        let signature = ec.sign(&SystemRandom::new(), input(alg).as_bytes()).unwrap();
        pairs.push(Pair::new(format!("{alg} by ECDSA"), format!("{}.{}", input(alg), encode(signature)), &good));
    }
    hold(&pinned(), pairs).await;
}

/// What an attacker knows of the key, in the shapes that confused verifiers have taken for an HMAC secret.
fn public_secrets() -> Vec<(&'static str, Vec<u8>)> {
    let der = keys::main().public_der();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    vec![
        ("the PEM", pem.into_bytes()),
        ("the DER", der),
        ("the modulus", keys::main().modulus()),
        ("the modulus in base64url", encode(keys::main().modulus()).into_bytes()),
        ("the JWK", keys::main().jwk().to_string().into_bytes()),
        ("nothing", Vec::new()),
    ]
}

#[tokio::test]
async fn the_key_is_named_by_a_kid_that_the_issuer_has() {
    let bad = [
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"RS256","kid":null}"#,
        r#"{"alg":"RS256","kid":""}"#,
        r#"{"alg":"RS256","kid":5}"#,
        r#"{"alg":"RS256","kid":true}"#,
        r#"{"alg":"RS256","kid":["main"]}"#,
        r#"{"alg":"RS256","kid":{"main":1}}"#,
        r#"{"alg":"RS256","kid":"unknown"}"#,
        r#"{"alg":"RS256","kid":"Main"}"#,
        r#"{"alg":"RS256","kid":"main "}"#,
        r#"{"alg":"RS256","kid":" main"}"#,
        r#"{"alg":"RS256","kid":"main\u0000"}"#,
        r#"{"alg":"RS256","kid":"mai"}"#,
        r#"{"alg":"RS256","kid":"*"}"#,
        r#"{"alg":"RS256","kid":"../main"}"#,
        r#"{"alg":"RS256","kid":"' OR '1'='1"}"#,
        r#"{"alg":"RS256","kid":"second"}"#,
        r#"{"alg":"RS256","Kid":"main"}"#,
    ];
    hold(&pinned(), bad.map(|bad| Pair::header(bad, bad, HEADER)).into()).await;
}

#[tokio::test]
async fn a_critical_extension_is_refused_whatever_it_says() {
    let bad = [
        r#"{"alg":"RS256","kid":"main","crit":["exp"],"exp":4102444800}"#,
        r#"{"alg":"RS256","kid":"main","crit":["b64"],"b64":true}"#,
        r#"{"alg":"RS256","kid":"main","crit":["x"],"x":1}"#,
        r#"{"alg":"RS256","kid":"main","crit":["alg"]}"#,
        r#"{"alg":"RS256","kid":"main","crit":["typ"],"typ":"JWT"}"#,
        r#"{"alg":"RS256","kid":"main","crit":[]}"#,
        r#"{"alg":"RS256","kid":"main","crit":"exp"}"#,
        r#"{"alg":"RS256","kid":"main","crit":null}"#,
        r#"{"alg":"RS256","kid":"main","crit":{}}"#,
        r#"{"alg":"RS256","kid":"main","crit":false}"#,
    ];
    let good = r#"{"alg":"RS256","kid":"main","x":1}"#;
    hold(&pinned(), bad.map(|bad| Pair::header(bad, bad, good)).into()).await;
}

#[tokio::test]
async fn the_type_is_absent_or_an_access_tokens() {
    let header = |typ: &str| format!(r#"{{"alg":"RS256","kid":"main","typ":{typ}}}"#);
    let bad = [
        r#""""#,
        "null",
        "5",
        "true",
        r#"["JWT"]"#,
        "{}",
        r#""JWS""#,
        r#""JWE""#,
        r#""JOSE""#,
        r#""jwt ""#,
        r#"" JWT""#,
        r#""at+jwt;v=1""#,
        r#""at""#,
        r#""id+jwt""#,
        r#""dpop+jwt""#,
        r#""logout+jwt""#,
        r#""secevent+jwt""#,
        r#""application/jwt""#,
        r#""application/dpop+jwt""#,
        r#""text/at+jwt""#,
    ];
    let good = [
        r#""JWT""#,
        r#""jwt""#,
        r#""Jwt""#,
        r#""at+jwt""#,
        r#""AT+JWT""#,
        r#""application/at+jwt""#,
        r#""Application/At+Jwt""#,
    ];
    let pairs = bad.iter().zip(good.iter().cycle());
    let pairs = pairs.map(|(bad, good)| Pair::header(&format!("{bad} beside {good}"), &header(bad), &header(good)));
    hold(&pinned(), pairs.collect()).await;
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_never_fetched_and_never_used() {
    let elsewhere = Okta::start(Reply::keys(&jwks(&[keys::attacker(), keys::main()]))).await;
    let url = elsewhere.keys_endpoint();
    let brought = [
        ("jwk", keys::attacker().named("main").jwk()),
        ("jwk", json!(5)),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!([STANDARD.encode(keys::attacker().public_der())])),
        ("x5t", json!("AAAA")),
    ];
    let claims = claims().to_string();
    let mut pairs = Vec::new();
    for (name, value) in brought {
        for kid in ["main", "attacker"] {
            let bad = json!({ "alg": "RS256", "kid": kid, name: value }).to_string();
            let good = json!({ "alg": "RS256", "kid": "main", name: value }).to_string();
            let (bad, good) = (keys::attacker().sign(bad, &claims), keys::main().sign(good, &claims));
            pairs.push(Pair::new(format!("{name}: {value}, kid {kid}"), bad, good));
        }
    }
    hold(&pinned(), pairs).await;
    assert_eq!((elsewhere.requests(), elsewhere.unexpected_requests()), (0, 0));
}

#[tokio::test]
async fn the_signature_is_of_the_named_key_and_of_these_very_bytes() {
    let good = token(&json!({}));
    let [header, payload, signature] = parts(&good);
    let other = token(&json!({ "uid": "00ueve" }));
    let claims = claims();
    let mut pairs = vec![
        Pair::new("another key's", keys::second().named("main").token(&claims), &good),
        Pair::new("a stranger's", keys::attacker().named("main").token(&claims), &good),
        Pair::new("another token's", format!("{header}.{payload}.{}", parts(&other)[2]), &good),
        Pair::new("another payload", format!("{header}.{}.{signature}", parts(&other)[1]), &good),
        Pair::new("another header", format!("{}.{payload}.{signature}", encode(HEADER.replace(',', ", "))), &good),
        Pair::new("a zero", format!("{header}.{payload}.{}", encode([0; 256])), &good),
        Pair::new("a one", format!("{header}.{payload}.{}", encode([&[0; 255][..], &[1]].concat())), &good),
        Pair::new("the modulus", format!("{header}.{payload}.{}", encode(keys::main().modulus())), &good),
        Pair::new("short", format!("{header}.{payload}.{}", &signature[..signature.len() - 2]), &good),
        Pair::new("long", format!("{header}.{payload}.AA{signature}"), &good),
        Pair::new("twice", format!("{header}.{payload}.{signature}{signature}"), &good),
    ];
    for position in [0, 1, 100, 170, 255] {
        let mut bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[position] ^= 1;
        pairs.push(Pair::new(format!("bit {position}"), format!("{header}.{payload}.{}", encode(bytes)), &good));
    }
    hold(&pinned(), pairs).await;
}

#[tokio::test]
async fn the_header_is_one_json_object_without_duplicates() {
    let bad: Vec<(&str, Vec<u8>)> = not_one_object(HEADER)
        .into_iter()
        .chain([
            ("alg twice", br#"{"alg":"RS256","alg":"RS256","kid":"main"}"#.to_vec()),
            ("alg twice, first bad", br#"{"alg":"none","alg":"RS256","kid":"main"}"#.to_vec()),
            ("kid twice", br#"{"alg":"RS256","kid":"main","kid":"main"}"#.to_vec()),
            ("kid twice, first bad", br#"{"alg":"RS256","kid":"second","kid":"main"}"#.to_vec()),
            ("kid twice, once escaped", br#"{"alg":"RS256","kid":"main","\u006bid":"main"}"#.to_vec()),
            ("an unknown member twice", br#"{"alg":"RS256","kid":"main","x":1,"x":1}"#.to_vec()),
            ("an empty name twice", br#"{"alg":"RS256","kid":"main","":1,"":2}"#.to_vec()),
            ("a member of a member twice", br#"{"alg":"RS256","kid":"main","x":[{"y":1,"y":1}]}"#.to_vec()),
        ])
        .collect();
    let claims = claims().to_string();
    let good = keys::main().sign(HEADER, &claims);
    let pairs = bad.into_iter().map(|(name, bad)| Pair::new(name, keys::main().sign(bad, &claims), &good));
    hold(&pinned(), pairs.collect()).await;
}

#[tokio::test]
async fn the_payload_is_one_json_object_without_duplicates() {
    let good = claims().to_string();
    let twice = |name: &str| spliced(&format!("{}:{}", json!(name), claims()[name]), &good).into_bytes();
    let bad: Vec<(&str, Vec<u8>)> = not_one_object(&good)
        .into_iter()
        .chain([
            ("iss twice", twice("iss")),
            ("aud twice", twice("aud")),
            ("exp twice", twice("exp")),
            ("sub twice", twice("sub")),
            ("uid twice", twice("uid")),
            ("uid twice, first another", spliced(r#""uid":"00ueve""#, &good).into_bytes()),
            ("exp twice, first past", spliced(r#""exp":1"#, &good).into_bytes()),
            ("sub twice, once escaped", spliced(r#""\u0073ub":"ada@example.com""#, &good).into_bytes()),
            ("groups twice", spliced(r#""groups":["A"],"groups":["SUPERUSERS"]"#, &good).into_bytes()),
            ("an unknown member twice", spliced(r#""x":1,"x":2"#, &good).into_bytes()),
            ("a member of a member twice", spliced(r#""x":{"y":[{"z":1,"z":2}]}"#, &good).into_bytes()),
        ])
        .collect();
    let pairs = bad.into_iter().map(|(name, bad)| Pair::payload(name, bad, &good));
    hold(&pinned(), pairs.collect()).await;
}

/// Texts around `object` that are not exactly one JSON object.
fn not_one_object(object: &str) -> Vec<(&'static str, Vec<u8>)> {
    let open = object.strip_suffix('}').unwrap();
    vec![
        ("empty", Vec::new()),
        ("an array", format!("[{object}]").into_bytes()),
        ("an array of values", br#"["RS256","main"]"#.to_vec()),
        ("an empty array", b"[]".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("a string", json!(object).to_string().into_bytes()),
        ("a number", b"5".to_vec()),
        ("null", b"null".to_vec()),
        ("true", b"true".to_vec()),
        ("text", b"hello".to_vec()),
        ("not closed", open.as_bytes().to_vec()),
        ("closed twice", format!("{object}}}").into_bytes()),
        ("two objects", format!("{object}{object}").into_bytes()),
        ("a letter after it", format!("{object}x").into_bytes()),
        ("a NUL after it", format!("{object}\0").into_bytes()),
        ("a comma after it", format!("{object},").into_bytes()),
        ("a comma before its end", format!("{open},}}").into_bytes()),
        ("a comment", format!("{open}/**/}}").into_bytes()),
        ("a comment after it", format!("{object}//").into_bytes()),
        ("a byte order mark", format!("\u{feff}{object}").into_bytes()),
        ("single quotes", object.replace('"', "'").into_bytes()),
        ("NaN", format!(r#"{open},"x":NaN}}"#).into_bytes()),
        ("a leading zero", format!(r#"{open},"x":01}}"#).into_bytes()),
        ("a bare control character", format!("{open},\"x\":\"\u{1}\"}}").into_bytes()),
        ("UTF-16", object.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("Latin-1", [open.as_bytes(), br#","x":"caf"#, &[0xe9], br#""}"#].concat()),
        ("an overlong slash", [open.as_bytes(), br#","x":""#, &[0xc0, 0xaf], br#""}"#].concat()),
        ("a surrogate in UTF-8", [open.as_bytes(), br#","x":""#, &[0xed, 0xa0, 0x80], br#""}"#].concat()),
    ]
}

#[tokio::test]
async fn each_claim_is_of_its_type_and_says_what_it_must() {
    let mut pairs = Vec::new();
    for (claim, bad, good) in names().into_iter().chain(times()) {
        let set = |value: &Value| with(&claims(), &json!({ claim: value })).to_string();
        for (value, twin) in bad.iter().zip(good.iter().map(Some).chain(std::iter::once(None)).cycle()) {
            let name = format!("{claim}: {value} beside {twin:?}");
            pairs.push(Pair::payload(&name, set(value), &twin.map_or_else(|| claims().to_string(), set)));
        }
    }
    for claim in ["iss", "aud", "exp", "iat", "sub"] {
        let bad = without(&claims(), claim).to_string();
        pairs.push(Pair::payload(&format!("no {claim}"), bad, &claims().to_string()));
    }
    // Names are not folded: this is a token without `sub`.
    let bad = without(&claims(), "sub").to_string();
    pairs.push(Pair::payload("SUB", spliced(r#""SUB":"ada""#, &bad), &claims().to_string()));
    // JSON's numbers have no bound, ours have.
    let bad = without(&claims(), "exp").to_string();
    pairs.push(Pair::payload("exp: 1e400", spliced(r#""exp":1e400"#, &bad), &claims().to_string()));
    pairs.push(Pair::payload("exp: -1e400", spliced(r#""exp":-1e400"#, &bad), &claims().to_string()));
    hold(&pinned(), pairs).await;
}

/// A claim, values of it that must be refused, values that must pass beside that of [`claims`].
type Row = (&'static str, Vec<Value>, Vec<Value>);

fn times() -> Vec<Row> {
    let now = now();
    vec![
        (
            "exp",
            vec![
                json!(null),
                json!("4102444800"),
                json!((now + 3600).to_string()),
                json!(true),
                json!([now + 3600]),
                json!({}),
                json!(0),
                json!(-1),
                json!(1),
                json!(now - 3600),
                json!(now - 90),
                json!(f64::from(u32::try_from(now - 90).unwrap()) + 0.5),
                json!(-4_102_444_800_i64),
            ],
            vec![json!(now + 3600), json!(4_102_444_800_u64), json!(now - 20), json!(4_102_444_800.5), json!(4.1e9)],
        ),
        (
            "iat",
            vec![
                json!(null),
                json!(""),
                json!(now.to_string()),
                json!(true),
                json!([now]),
                json!({}),
                json!(now + 120),
                json!(now + 3600),
                json!(4_102_444_800.5),
            ],
            vec![json!(now), json!(now - 3600), json!(now + 20), json!(0), json!(1_700_000_000.25)],
        ),
        (
            "nbf",
            vec![
                json!(null),
                json!(""),
                json!((now - 10).to_string()),
                json!(false),
                json!([now - 10]),
                json!({}),
                json!(now + 120),
                json!(now + 3600),
                json!(4_102_444_800_u64),
            ],
            vec![json!(now - 10), json!(now + 20), json!(0), json!(1_700_000_000.25)],
        ),
    ]
}

fn names() -> Vec<Row> {
    let issuer = PINNED_ISSUER;
    vec![
        (
            "iss",
            vec![
                json!(null),
                json!(5),
                json!([issuer]),
                json!({ "iss": issuer }),
                json!(""),
                json!(format!("{issuer}/")),
                json!(format!("{issuer} ")),
                json!(issuer.to_uppercase()),
                json!(issuer.replace("https", "http")),
                json!(issuer.trim_end_matches("default")),
                json!(issuer.replace("pinned", "evil")),
                json!(issuer.replace(".example", ".example:443")),
                json!(format!("{issuer},{issuer}")),
            ],
            vec![json!(issuer)],
        ),
        (
            "aud",
            vec![
                json!(null),
                json!(5),
                json!(true),
                json!({}),
                json!({ "api://default": true }),
                json!(""),
                json!([]),
                json!([""]),
                json!("other"),
                json!(["other", "another"]),
                json!([["api://default"]]),
                json!([5]),
                json!(["api://default", 5]),
                json!(["api://default", null]),
                json!([null, "api://default"]),
                json!(["api://default", ["x"]]),
                json!("API://default"),
                json!("api://default/"),
                json!("api://default "),
                json!("api://defaul"),
                json!("api://default,other"),
                json!("api://default other"),
                json!("*"),
            ],
            vec![
                json!("api://default"),
                json!(["api://default"]),
                json!(["other", "api://default"]),
                json!(["api://default", "api://default"]),
            ],
        ),
        (
            "sub",
            vec![json!(null), json!(""), json!(5), json!(true), json!(["ada@example.com"]), json!({ "id": "ada" })],
            vec![json!("ada@example.com"), json!("0oaclient")],
        ),
        ("uid", vec![json!(null), json!(5), json!(true), json!(["00uada"]), json!({})], vec![json!("00uada")]),
        ("cid", vec![json!(null), json!(5), json!(true), json!(["0oaclient"]), json!({})], vec![json!("0oaclient")]),
        (
            "cnf",
            vec![
                json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" }),
                json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" }),
                json!({}),
                json!("x"),
                json!(5),
                json!([]),
                json!(false),
                json!(null),
            ],
            // No value of it passes.
            vec![],
        ),
    ]
}

#[tokio::test]
async fn uid_and_cid_may_be_absent_and_what_we_do_not_know_is_ignored() {
    let object = claims();
    let values = vec![
        ("no uid", without(&object, "uid")),
        ("no cid", without(&object, "cid")),
        ("neither", without(&without(&object, "uid"), "cid")),
        ("unknown claims", with(&object, &json!({ "x": { "y": [1, { "z": null }] }, "": "", "ж": [] }))),
    ];
    let sign = |(name, claims)| (name, keys::main().token(&claims));
    let mut values: Vec<_> = values.into_iter().map(sign).collect();
    let spaced = " { \"alg\" : \"RS256\" ,\n\t\"kid\" : \"main\" } ";
    values.push(("whitespace between tokens", keys::main().sign(spaced, object.to_string())));
    values.push(("escapes", keys::main().sign(r#"{"\u0061lg":"\u0052S256","kid":"m\u0061in"}"#, object.to_string())));
    values.push((
        "unknown header members",
        keys::main().sign(r#"{"alg":"RS256","kid":"main","x":[{}],"cty":"x"}"#, object.to_string()),
    ));
    pass(&pinned(), values).await;
}

#[tokio::test]
async fn a_token_is_at_most_16_kib() {
    let good = sized(16 * 1024);
    let bad = [16 * 1024 + 1, 16 * 1024 + 2, 20_000, 65_536, 1_000_000];
    let mut pairs: Vec<_> = bad.map(|size| Pair::new(format!("{size} bytes"), sized(size), &good)).into();
    pairs.push(Pair::new("a long nothing", "x".repeat(100_000), &good));
    pairs.push(Pair::new("many dots", ".".repeat(100_000), &good));
    pairs.push(Pair::new("many spaces", format!("Bearer{}", " ".repeat(100_000)), &good));
    hold(&pinned(), pairs).await;
}

/// A good token of exactly `size` bytes.
fn sized(size: usize) -> String {
    let members = |pad: usize| with(&claims(), &json!({ "pad": "a".repeat(pad) })).to_string();
    // Base64 knows no length of 4n + 1, so the header has to give way too.
    (0..3)
        .find_map(|header_pad| {
            let header = json!({ "alg": "RS256", "kid": "main", "x": "a".repeat(header_pad) }).to_string();
            let room = size - encode(&header).len() - 2 - encode([0; 256]).len();
            let pad = (room * 3 / 4).checked_sub(members(0).len())?;
            let token = keys::main().sign(header, members(pad));
            (token.len() == size).then_some(token)
        })
        .unwrap()
}

#[tokio::test]
async fn deep_nesting_does_not_end_the_process() {
    let authorizer = Authorizer::start(&pinned()).await;
    for depth in [100, 1000, 5000] {
        let nested = |open: &str, close: &str| format!(r#""x":{}1{}"#, open.repeat(depth), close.repeat(depth));
        for member in [nested("[", "]"), format!(r#""x":{}"#, "[".repeat(depth))] {
            authorizer.invoke(event(&keys::main().sign(HEADER, spliced(&member, &claims().to_string())))).await;
            authorizer.invoke(event(&keys::main().sign(spliced(&member, HEADER), claims().to_string()))).await;
        }
    }
    assert!(authorizer.invoke(event(&token(&json!({})))).await.allows(&arn("GET /apps")));
}

#[tokio::test]
async fn several_audiences_are_accepted_and_only_those() {
    let env = pinned().with("OKTA_AUDIENCE", "api://one, api://two");
    let of = |audience: Value| token(&json!({ "aud": audience }));
    let pairs = vec![
        Pair::new("the default no longer", of(json!("api://default")), of(json!("api://one"))),
        Pair::new("a third", of(json!("api://three")), of(json!("api://two"))),
        Pair::new("the variable's own text", of(json!("api://one, api://two")), of(json!(["api://two"]))),
        Pair::new("none of ours in an array", of(json!(["x", "y"])), of(json!(["x", "api://one"]))),
        Pair::new("empty", of(json!("")), of(json!(["api://one", "api://two"]))),
    ];
    hold(&env, pairs).await;
}

#[tokio::test]
async fn with_client_ids_configured_the_client_must_be_one_of_them() {
    let env = pinned().with("OKTA_CLIENT_IDS", "0oaweb,0oacli");
    let of = |client: Value| token(&json!({ "cid": client }));
    let absent = keys::main().token(&without(&claims(), "cid"));
    let pairs = vec![
        Pair::new("absent", absent, of(json!("0oaweb"))),
        Pair::new("another", of(json!("0oaother")), of(json!("0oacli"))),
        Pair::new("other case", of(json!("0OAWEB")), of(json!("0oaweb"))),
        Pair::new("a prefix", of(json!("0oawe")), of(json!("0oaweb"))),
        Pair::new("the variable's own text", of(json!("0oaweb,0oacli")), of(json!("0oaweb"))),
        Pair::new("empty", of(json!("")), of(json!("0oaweb"))),
        Pair::new("null", of(json!(null)), of(json!("0oaweb"))),
        Pair::new("an array", of(json!(["0oaweb"])), of(json!("0oaweb"))),
    ];
    hold(&env, pairs).await;
}

#[tokio::test]
async fn the_clock_skew_is_what_was_configured() {
    for (skew, margin) in [("0", 0), ("300", 300)] {
        let env = pinned().with("CLOCK_SKEW_SECONDS", skew);
        let now = now();
        let of = |members: Value| token(&members);
        let pairs = vec![
            Pair::new("exp", of(json!({ "exp": now - margin - 5 })), of(json!({ "exp": now - margin + 60 }))),
            Pair::new("nbf", of(json!({ "nbf": now + margin + 60 })), of(json!({ "nbf": now + margin }))),
            Pair::new("iat", of(json!({ "iat": now + margin + 60 })), of(json!({ "iat": now + margin }))),
        ];
        hold(&env, pairs).await;
    }
}

#[tokio::test]
async fn keys_that_are_not_for_rs256_signatures_verify_nothing() {
    let jwk = |kid, members: Value| with(&keys::main().named(kid).jwk(), &members);
    let unusable = [
        ("for-encryption", json!({ "use": "enc" })),
        ("use-of-wrong-type", json!({ "use": 5 })),
        ("for-rs384", json!({ "alg": "RS384" })),
        ("for-ps256", json!({ "alg": "PS256" })),
        ("for-oaep", json!({ "alg": "RSA-OAEP" })),
        ("ops-without-verify", json!({ "key_ops": ["encrypt"] })),
        ("ops-to-sign", json!({ "key_ops": ["sign"] })),
        ("ops-empty", json!({ "key_ops": [] })),
        ("no-rsa", json!({ "kty": "EC" })),
        ("oct", json!({ "kty": "oct", "k": "AAAA" })),
        ("bad-modulus", json!({ "n": "***" })),
        ("no-modulus", json!({ "n": "" })),
        ("no-exponent", json!({ "e": "" })),
    ];
    let usable = [
        ("plain", json!({})),
        ("for-signatures", json!({ "use": "sig" })),
        ("ops-with-verify", json!({ "key_ops": ["verify"] })),
        ("ops-with-more", json!({ "key_ops": ["sign", "verify"] })),
        ("with-a-certificate", json!({ "x5c": ["AAAA"], "x5t": "AAAA", "status": "ACTIVE" })),
    ];
    let bare = json!({ "kty": "RSA", "kid": "bare", "n": encode(keys::main().modulus()), "e": "AQAB" });
    let mut published = vec![json!(5), json!(null), json!([]), json!({}), without(&keys::main().jwk(), "kid"), bare];
    published.extend(unusable.iter().chain(&usable).map(|(kid, members)| jwk(kid, members.clone())));
    // Two keys under one name: neither. One key twice under one name: that key.
    published.extend([keys::main().named("disputed").jwk(), keys::second().named("disputed").jwk()]);
    published.extend([keys::main().named("repeated").jwk(), keys::main().named("repeated").jwk()]);

    let of = |kid| keys::main().named(kid).token(&claims());
    let goods = ["bare", "repeated"].into_iter().chain(usable.iter().map(|(kid, _)| *kid)).cycle();
    let bads = unusable.iter().map(|(kid, _)| *kid).chain(["disputed"]);
    let mut pairs: Vec<_> = bads.zip(goods).map(|(bad, good)| Pair::new(bad, of(bad), of(good))).collect();
    let disputed = keys::second().named("disputed").token(&claims());
    pairs.push(Pair::new("disputed, the other", disputed, of("plain")));
    hold(&Env::pinned(&json!({ "keys": published })), pairs).await;
}

/// RSA keys of sizes and exponents that our own maker refuses to make, and a token by each, made once with OpenSSL. They are
/// signed right, for the pinned issuer, and expire in 2100.
#[tokio::test]
async fn a_modulus_has_2048_to_8192_bits_and_an_exponent_is_3_or_65537() {
    let made: Vec<Value> = serde_json::from_str(include_str!("fixtures/unusual_keys.json")).unwrap();
    let text = |entry: &Value| entry["token"].as_str().unwrap().to_owned();
    let goods: Vec<_> = made.iter().filter(|entry| entry["usable"] == true).collect();
    let bads = made.iter().filter(|entry| entry["usable"] == false);
    let pairs = bads.zip(goods.iter().cycle());
    let pairs = pairs.map(|(bad, good)| Pair::new(bad["jwk"]["kid"].to_string(), text(bad), text(good)));
    let published: Vec<_> = made.iter().map(|entry| entry["jwk"].clone()).collect();
    hold(&Env::pinned(&json!({ "keys": published })), pairs.collect()).await;
}
