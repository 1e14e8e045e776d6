//! A header's value, as it comes: whatever is accepted was signed, for nobody can forge.
#![no_main]

use std::{collections::HashSet, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use okta_authorizer_fuzz::sample::accept;
use serde_json::Value;

/// What the sample key has signed: the tokens of `events/`, which are the seeds as well.
static SIGNED: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let events = [
        include_str!("../../events/machine-read.json"),
        include_str!("../../events/machine-write.json"),
        include_str!("../../events/own-resource.json"),
        include_str!("../../events/superuser.json"),
        include_str!("../../events/tenant-admin.json"),
    ];
    let token = |event| {
        let event: Value = serde_json::from_str(event).unwrap();
        event["authorizationToken"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
    };
    events.into_iter().map(token).collect()
});

fuzz_target!(|value: &str| {
    if let Ok(claims) = accept(value) {
        let (_, token) = value.rsplit_once(' ').unwrap_or(("", value));
        assert!(SIGNED.contains(token), "accepted, and never signed");
        assert!(!claims.subject().is_empty() && !claims.principal().is_empty());
    }
});
