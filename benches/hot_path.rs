//! `cargo bench --bench hot_path`: the time of a warm call, of its parts, and of refusals, without
//! the Lambda runtime.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench panics")]

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput};
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use okta_authorizer::{
    authorizer::Authorizer,
    config::Config,
    https::{HttpsClient, TrustAnchors},
    keys::KeySet,
    policy::{MethodArn, PolicyOptions, Rules, render},
    token::{BearerToken, Claims, Expectations, UnverifiedToken, verify},
};
use okta_authorizer_testkit::{RULES, RULES_FILE, arn, env::PINNED_ISSUER, event_for, keys, now, token};
use serde_json::{json, value::RawValue};

/// The policies are those of admins of so many tenants. The second number is `POLICY_MAX_BYTES`:
/// its largest value, and the default, to which the last policy is cut.
const POLICIES: [(&str, usize, usize); 7] = [
    ("0", 0, 1_048_576),
    ("1", 1, 1_048_576),
    ("10", 10, 1_048_576),
    ("30", 30, 1_048_576),
    ("100", 100, 1_048_576),
    ("300", 300, 1_048_576),
    ("100, cut", 100, 32_768),
];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    calls(&mut criterion);
    parts(&mut criterion);
    criterion.final_summary();
}

/// From the event to the answer. A refused token must not take longer than an accepted one.
fn calls(criterion: &mut Criterion) {
    let authorizer = authorizer();
    let answer = |event: &RawValue| {
        let decision = authorizer.decide(event, now()).now_or_never().unwrap();
        authorizer.respond(decision)
    };
    let good = token::bearer(&json!({}));
    let (head, _) = good.rsplit_once('.').unwrap();
    let events = [
        ("accepted", good.clone()),
        ("forged signature", format!("{head}.{}", keys::encode([7; 256]))),
        ("expired", token::bearer(&json!({ "exp": 1_000_000_000 }))),
        ("unknown kid", format!("Bearer {}", keys::attacker().token(&token::claims()))),
        ("junk", "Bearer junk".to_owned()),
        // API Gateway's quota for all headers of a REST API is 10,240 bytes. The authorizer reads
        // at most 16 KiB.
        ("10 KB of junk", format!("Bearer {}", "a.".repeat(5_000))),
        ("16 KiB of junk", format!("Bearer {}", "a.".repeat(8_192))),
        ("accepted, of 16 KiB", token::bearer(&json!({ "padding": "x".repeat(11_600) }))),
    ];
    let mut group = criterion.benchmark_group("call");
    for (name, authorization) in events {
        let event: Box<RawValue> = serde_json::from_str(&event_for(&authorization, &arn("GET /apps"))).unwrap();
        assert_eq!(answer(&event).is_ok(), name.starts_with("accepted"), "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| answer(black_box(&event))));
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let plain = token::token(&json!({}));
    let key_set = KeySet::parse(keys::jwks(&[keys::main()]).to_string().as_bytes()).unwrap();
    let rules = Rules::parse(RULES).unwrap();
    let requested = MethodArn::parse(&arn("GET /apps")).unwrap();

    let mut group = criterion.benchmark_group("part");
    let jwk = keys::main().jwk();
    let key = DecodingKey::from_rsa_components(jwk["n"].as_str().unwrap(), jwk["e"].as_str().unwrap()).unwrap();
    let (message, signature) = plain.rsplit_once('.').unwrap();
    group.bench_function("bare RSA-2048 verification", |bencher| {
        bencher.iter(|| crypto::verify(black_box(signature), message.as_bytes(), &key, Algorithm::RS256).unwrap());
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| black_box(UnverifiedToken::decode(&BearerToken::from_header_value(&plain).unwrap()).unwrap()));
    });
    group.bench_function("parse and verify", |bencher| bencher.iter(|| claims(black_box(&plain), &key_set)));
    group.finish();

    let mut group = criterion.benchmark_group("policy");
    for (name, tenants, max_bytes) in POLICIES {
        let tenants: Vec<_> = (0..tenants).map(|n| format!("0oidp{n}:tenant-{n}:ADMINS")).collect();
        let claims = claims(&token::token(&json!({ "tenants": tenants })), &key_set);
        let options = PolicyOptions { max_bytes, path_guard: true };
        let policy = || render(&rules.grants(claims.all(), &requested), &requested, options);
        assert_eq!(policy().omitted > 0, name.ends_with("cut"), "{name}");
        group.throughput(Throughput::Bytes(policy().document.json().len() as u64));
        group.bench_function(name, |bencher| bencher.iter(policy));
    }
    group.finish();
}

fn authorizer() -> Authorizer {
    let jwks = keys::jwks(&[keys::main()]).to_string();
    let variables = [("OKTA_ISSUER", PINNED_ISSUER), ("OKTA_JWKS", &jwks), ("POLICY_FILE", RULES_FILE)];
    Authorizer::new(
        Config::load(variables, |path| std::fs::read(path)).unwrap(),
        None,
        &HttpsClient::new(TrustAnchors::Embedded),
    )
}

fn claims(token: &str, keys: &KeySet) -> Claims {
    let expected = Expectations {
        issuer: PINNED_ISSUER.to_owned(),
        audiences: vec!["api://default".to_owned()],
        client_ids: Vec::new(),
        clock_skew_seconds: 60,
    };
    let bearer = BearerToken::from_header_value(token).unwrap();
    let token = UnverifiedToken::decode(&bearer).unwrap();
    let key = keys.key(token.unverified_kid()).unwrap();
    verify(token, key, &expected, now()).unwrap()
}
