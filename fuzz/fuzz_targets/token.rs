//! The value of the `Authorization` header. Nobody can forge a signature, so only a token that the
//! sample key has signed may be accepted.
#![no_main]

use std::{collections::HashSet, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use okta_authorizer_fuzz::sample::accept;

/// The signed tokens among the seeds.
static SIGNED: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let seeds = [
        include_str!("../seeds/token/machine-read"),
        include_str!("../seeds/token/machine-write"),
        include_str!("../seeds/token/own-resource"),
        include_str!("../seeds/token/superuser"),
        include_str!("../seeds/token/tenant-admin"),
    ];
    for seed in seeds {
        assert!(accept(seed).is_ok(), "{seed}");
    }
    seeds.into_iter().map(token).collect()
});

fuzz_target!(|value: &str| {
    let signed = &*SIGNED;
    if let Ok(claims) = accept(value) {
        assert!(signed.contains(token(value)), "accepted, but never signed");
        assert!(!claims.subject().is_empty() && !claims.principal().is_empty());
    }
});

fn token(header_value: &str) -> &str {
    header_value.rsplit_once(' ').map_or(header_value, |(_, token)| token)
}
