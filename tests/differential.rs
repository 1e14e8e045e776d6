//! 100,000 mutated tokens: if the authorizer accepts one, a second JOSE implementation accepts it
//! too and reads the same claims.
//!
//! The second implementation is jwt-compact with an RSA in pure Rust. It shares neither base64 nor
//! cryptography with the authorizer; only `serde_json` is common to both.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jwt_compact::{
    AlgorithmExt, UntrustedToken,
    alg::{Rsa, RsaPublicKey},
};
use okta_authorizer::{
    authorizer::Authorizer,
    config::Config,
    decision::Outcome,
    https::{HttpsClient, TrustAnchors},
    response::Response,
};
use okta_authorizer_testkit::{RULES_FILE, keys, random::Random};
use serde_json::{Map, Value, json, value::to_raw_value};

const MUTATIONS: usize = 100_000;
/// One in so many mutations is an edit that the issuer signs. Only such a token can have other
/// claims and be valid.
const SIGNED_ONE_IN: usize = 100;
const NOW: u64 = 1_800_000_000;
const SKEW: i64 = 60;
const ISSUER: &str = "https://example.okta.com/oauth2/default";
const AUDIENCE: &str = "api://default";

const HEADERS: [&str; 5] = [
    r#"{"alg":"RS256","kid":"sample"}"#,
    r#"{"typ":"JWT","alg":"RS256","kid":"sample"}"#,
    r#"{"kid":"sample","typ":"at+jwt","alg":"RS256"}"#,
    r#"{ "alg" : "RS256", "kid" : "sample", "typ" : "application/at+jwt" }"#,
    r#"{"alg":"RS256","kid":"sample","jku":"https://elsewhere.example/keys","x5u":"https://elsewhere.example/x"}"#,
];
const PAYLOADS: [&str; 5] = [
    r#"{"iss":"ISS","aud":"AUD","iat":1799999000,"exp":1800003600,"sub":"a@example.com","uid":"00u1","cid":"0oa1"}"#,
    r#"{"iss":"ISS","aud":["x","AUD"],"iat":1799999000,"exp":1800003600,"nbf":1799999000,"sub":"b","scp":["api:read"]}"#,
    r#"{"iss":"ISS","aud":"AUD","iat":1799999000,"exp":1800003600,"sub":"c","groups":["SUPERUSERS"],"jti":"AT.1"}"#,
    r#"{"iss":"ISS","aud":"AUD","iat":1799999000,"exp":1800003600,"sub":"d","tenants":["0oa1:acme:00g1"],"ver":1}"#,
    r#"{"iss":"ISS","aud":"AUD","iat":1799990000,"exp":1799999000,"sub":"expired"}"#,
];

#[tokio::test]
async fn an_accepted_mutation_is_accepted_and_read_alike_elsewhere() {
    let authorizer = authorizer();
    let mut signer = Signer::default();
    let mut reference = Reference::new();
    let mut random = Random(0x6f6b_7461);
    let good = signer.tokens();
    // By kind of mutation: the number made and the number accepted.
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();

    for number in 0..MUTATIONS {
        let (kind, header_value) = if number % SIGNED_ONE_IN == 0 {
            ("edited and signed", signer.edited(&mut random))
        } else {
            mutated(&good, &mut random)
        };
        let (made, accepted) = kinds.entry(kind).or_default();
        *made += 1;
        let Some(response) = answer(&authorizer, &header_value).await else { continue };
        *accepted += 1;
        let (_, token) = header_value.rsplit_once(' ').unwrap_or(("", &header_value));
        assert!(signer.signed.contains(&parts(token)), "{kind}: accepted with another meaning: {header_value}");
        let Some(claims) = reference.claims(token) else { panic!("{kind}: only we accept it: {header_value}") };
        assert_eq!(identity(&response), *claims, "{kind}: read in two ways: {header_value}");
    }

    println!("{kinds:#?}");
    assert_eq!(kinds.len(), KINDS.len() + 1);
    assert_eq!(kinds.values().map(|(made, _)| made).sum::<usize>(), MUTATIONS);
    for kind in ["edited and signed", "the scheme"] {
        assert!(kinds[kind].1 * 10 > kinds[kind].0, "too few accepted: {kinds:?}");
    }
}

fn authorizer() -> Authorizer {
    let jwks = keys::jwks(&[keys::sample()]).to_string();
    let variables = [("OKTA_ISSUER", ISSUER), ("OKTA_JWKS", &jwks), ("POLICY_FILE", RULES_FILE)];
    let config = Config::load(variables, |path| fs::read(path)).unwrap();
    Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded))
}

async fn answer(authorizer: &Authorizer, header_value: &str) -> Option<Response> {
    let event = json!({
        "type": "TOKEN",
        "authorizationToken": header_value,
        "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/apps",
    });
    let decision = authorizer.decide(&to_raw_value(&event).unwrap(), NOW).await;
    matches!(decision.outcome, Outcome::Evaluated(_)).then(|| authorizer.respond(decision).unwrap())
}

/// The claims in the authorizer's response.
fn identity(response: &Response) -> BTreeMap<String, String> {
    let names = ["sub", "uid", "cid", "groups", "tenants"];
    names.into_iter().filter_map(|name| Some((name.to_owned(), response.context.get(name)?.clone()))).collect()
}

/// A token's header and payload. `None` for each that is not JSON.
fn parts(token: &str) -> (Option<Value>, Option<Value>) {
    let mut parts = token.split('.');
    let mut json = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok();
    (json(), json())
}

/// jwt-compact, with the checks that its users must add to those of the signature.
struct Reference {
    key: RsaPublicKey,
    /// Results by token, because its RSA is slow in a debug build.
    results: HashMap<String, Option<BTreeMap<String, String>>>,
}

impl Reference {
    fn new() -> Self {
        // Only these members, because jwt-compact rejects `use`.
        let jwk = keys::sample().jwk();
        let key = json!({ "kty": "RSA", "n": jwk["n"], "e": jwk["e"] });
        let key: jwt_compact::jwk::JsonWebKey<'_> = serde_json::from_value(key).unwrap();
        Self { key: RsaPublicKey::try_from(&key).unwrap(), results: HashMap::new() }
    }

    fn claims(&mut self, token: &str) -> Option<&BTreeMap<String, String>> {
        let key = &self.key;
        self.results.entry(token.to_owned()).or_insert_with(|| verified(token, key)).as_ref()
    }
}

fn verified(token: &str, key: &RsaPublicKey) -> Option<BTreeMap<String, String>> {
    let token = UntrustedToken::new(token).ok().filter(|token| token.header().key_id.as_deref() == Some("sample"))?;
    let token = Rsa::rs256().validator::<Map<String, Value>>(key).validate(&token).ok()?;
    let claims = token.claims();
    let now = i64::try_from(NOW).unwrap();
    let audience = &claims.custom["aud"];
    let good = claims.expiration?.timestamp() + SKEW > now
        && claims.issued_at?.timestamp() - SKEW <= now
        && claims.not_before.is_none_or(|time| time.timestamp() - SKEW <= now)
        && claims.custom["iss"] == ISSUER
        && (audience == AUDIENCE || audience.as_array().is_some_and(|all| all.contains(&json!(AUDIENCE))));
    let text = |name: &str| claims.custom.get(name)?.as_str().map(str::to_owned);
    let list = |name: &str| match claims.custom.get(name)? {
        Value::String(value) => Some(json!([value]).to_string()),
        other => Some(other.to_string()),
    };
    let read = [
        ("sub", text("sub")),
        ("uid", text("uid")),
        ("cid", text("cid")),
        ("groups", list("groups")),
        ("tenants", list("tenants")),
    ];
    good.then(|| read.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?))).collect())
}

/// The issuer's key, and the meaning of every token that it signed.
#[derive(Default)]
struct Signer {
    signed: HashSet<(Option<Value>, Option<Value>)>,
}

impl Signer {
    fn sign(&mut self, header: &str, payload: &str) -> String {
        let token = keys::sample().sign(header, payload);
        self.signed.insert(parts(&token));
        token
    }

    /// A token of each header with each payload.
    fn tokens(&mut self) -> Vec<String> {
        let pairs = HEADERS.iter().flat_map(|header| PAYLOADS.iter().map(move |payload| (header, payload)));
        pairs.map(|(header, payload)| self.sign(header, &filled_in(payload))).collect()
    }

    fn edited(&mut self, random: &mut Random) -> String {
        let header = edited_header(random.word(&HEADERS), random);
        let payload = edited_payload(&filled_in(random.word(&PAYLOADS)), random);
        format!("Bearer {}", self.sign(&header, &payload))
    }
}

fn filled_in(payload: &str) -> String {
    payload.replace("ISS", ISSUER).replace("AUD", AUDIENCE)
}

type Mutation = fn(&str, &str, &mut Random) -> String;

/// Mutations of a token. Some use a second token.
const KINDS: [(&str, Mutation); 12] = [
    ("a bit", |token, _, random| {
        let mut bytes = token.as_bytes().to_vec();
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(7);
        String::from_utf8(bytes).unwrap()
    }),
    ("a byte", |token, _, random| {
        let at = random.below(token.len());
        let byte =
            random.word(&["A", "a", "0", "-", "_", "+", "/", "=", ".", " ", "\n", "\0", "\u{feff}", "é", "%2e", ""]);
        format!("{}{byte}{}", &token[..at], &token[at + 1..])
    }),
    ("truncated", |token, _, random| token[..random.below(token.len())].to_owned()),
    ("without its start", |token, _, random| token[random.below(token.len())..].to_owned()),
    ("a run cut or doubled", |token, _, random| {
        let (from, to) = random.range(token.len());
        let (kept, run) = (&token[..from], &token[from..to]);
        if random.below(2) == 0 {
            format!("{kept}{}", &token[to..])
        } else {
            format!("{kept}{run}{run}{}", &token[to..])
        }
    }),
    ("parts swapped", |token, _, random| {
        let parts: Vec<_> = token.split('.').collect();
        let count = 2 + random.below(3);
        (0..count).map(|_| *random.of(&parts)).collect::<Vec<_>>().join(".")
    }),
    ("two tokens spliced", |token, other, random| {
        if random.below(2) == 0 {
            let at = random.below(token.len().min(other.len()));
            return format!("{}{}", &token[..at], &other[at..]);
        }
        let parts = token.split('.').zip(other.split('.'));
        parts.map(|(one, two)| if random.below(2) == 0 { one } else { two }).collect::<Vec<_>>().join(".")
    }),
    ("the header edited", |token, _, random| with_part(token, 0, |header| edited_header(header, random))),
    ("the payload edited", |token, _, random| with_part(token, 1, |payload| edited_payload(payload, random))),
    ("the signature edited", |token, _, random| {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        match random.below(7) {
            0 => bytes.insert(0, 0),
            1 => bytes.push(0),
            2 => bytes.reverse(),
            3 => bytes.fill(0),
            4 => bytes.clear(),
            5 => drop(bytes.pop()),
            _ => {
                let at = random.below(bytes.len());
                bytes[at] = bytes[at].wrapping_add(1);
            }
        }
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes))
    }),
    ("base64 tricks", |token, _, random| {
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let part = random.below(3);
        let last = parts[part].pop().unwrap();
        let next = char::from(u8::try_from(last).unwrap() + 1);
        // Lenient decoders read these as the same bytes. The last one changes the unused bits after
        // the last byte.
        let end = match random.below(8) {
            0 => format!("{last}="),
            1 => format!("{last}=="),
            2 => format!("{last}A"),
            3 => format!("{last}\n"),
            4 => format!("{last}%3D"),
            _ => next.to_string(),
        };
        parts[part].push_str(&end);
        if random.below(8) == 0 {
            parts[part] = parts[part].replace('-', "+").replace('_', "/");
        }
        parts.join(".")
    }),
    ("the scheme", |token, _, random| {
        let scheme = random.word(&["", "Bearer ", "bearer ", "BEARER   ", "Bearer\t", "Basic ", "Bearer Bearer ", " "]);
        let end = random.word(&["", "", "", " ", "\n", ", Bearer x", "\0"]);
        format!("{scheme}{token}{end}")
    }),
];

fn mutated(good: &[String], random: &mut Random) -> (&'static str, String) {
    let (kind, mutation) = random.of(&KINDS);
    let token = mutation(random.of::<String>(good), random.of::<String>(good), random);
    let scheme = if *kind == "the scheme" { "" } else { "Bearer " };
    (kind, format!("{scheme}{token}"))
}

fn with_part(token: &str, number: usize, edit: impl FnOnce(&str) -> String) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(&parts[number]).unwrap()).unwrap();
    parts[number] = URL_SAFE_NO_PAD.encode(edit(&decoded));
    parts.join(".")
}

fn edited_header(header: &str, random: &mut Random) -> String {
    let with = |member: &str| header.replacen('{', &format!("{{{member},"), 1);
    match random.below(12) {
        0 => header.replace("RS256", random.word(&["none", "None", "HS256", "RS384", "PS256", "ES256", "rs256", ""])),
        1 => header.replace("sample", random.word(&["", "Sample", "sample ", "other", "../sample", "sam\\u0070le"])),
        2 => with(random.word(&[r#""crit":["b64"]"#, r#""b64":false"#, r#""zip":"DEF""#])),
        3 => with(random.word(&[r#""alg":"none""#, r#""kid":"other""#, r#""\u0061lg":"RS256""#, r#""typ":"JWT""#])),
        4 => with(r#""jwk":{"kty":"RSA","n":"AQAB","e":"AQAB"}"#),
        5 => header.replace("alg", "ALG"),
        6 => header.replace(',', " ,\r\n\t"),
        7 => format!("{header} "),
        8 => format!("{header}{}", random.word(&["x", "{}", "\0", "}"])),
        9 => format!("[{header}]"),
        _ => header.to_owned(),
    }
}

fn edited_payload(payload: &str, random: &mut Random) -> String {
    let with = |member: &str| payload.replacen('{', &format!("{{{member},"), 1);
    match random.below(16) {
        0 => {
            with(random.word(&[r#""uid":"00u9""#, r#""uid":7"#, r#""uid":"\u0000\u202e""#, r#""cid":"\ud83d\ude00""#]))
        }
        1 => with(random.word(&[r#""sub":"root""#, r#""iss":"x""#, r#""\u0073ub":"root""#, r#""Sub":"root""#])),
        2 => payload.replace("1800003600", random.word(&["1800003600.5", "1.8000036e9", "9999999999", "-1", "null"])),
        3 => payload.replace("1800003600", random.word(&["1799999941", "1799999940", "\"1800003600\"", "1e400"])),
        4 => payload.replace("1799999000", random.word(&["1800000060", "1800000061", "0", "true", "[]"])),
        5 => with(random.word(&[r#""nbf":1800000060"#, r#""nbf":1800000061"#, r#""nbf":"0""#, r#""nbf":0.5"#])),
        6 => with(random.word(&[r#""cnf":{"jkt":"x"}"#, r#""cnf":null"#, r#""act":{"sub":"x"}"#])),
        7 => payload.replace(AUDIENCE, random.word(&["api://other", "api://default/", "API://default", ""])),
        8 => payload.replace(ISSUER, random.word(&["https://elsewhere.example", "", "https://example.okta.com"])),
        9 => with(random.word(&[r#""groups":["A","é\n\"\\"]"#, r#""tenants":["a:b:c","*"]"#, r#""groups":"A""#])),
        10 => with(random.word(&[r#""x":{"a":1,"a":2}"#, r#""x":[[[[[[]]]]]]"#, r#""x":1e-9"#, r#""x":"\ud800""#])),
        11 => payload.replace(',', " ,\r\n\t"),
        12 => format!("{payload}{}", random.word(&["", " ", "\n", "x", "{}", "\0"])),
        13 => format!("{}{payload}", random.word(&["\u{feff}", " ", "[", "\n"])),
        _ => payload.to_owned(),
    }
}
