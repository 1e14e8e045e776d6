//! The real binary, tested from outside: a Runtime API, a loopback Okta and a `DynamoDB` run in
//! this process.
//!
//! Nothing here calls the library. The tests assert what docs/design.md promises to clients, to API
//! Gateway and to readers of the log. Each rejected input has a control that differs only in the
//! tested property and is accepted, because a program that rejects everything must not pass.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]

mod bad_day;
mod concurrency;
mod config;
mod events;
mod introspection;
mod keys;
mod logs;
mod metrics;
mod policies;
mod rules;
mod start;
mod tls;

use okta_authorizer_testkit::{
    arn,
    env::Env,
    event_for,
    iam::Policy,
    keys::{jwks, main},
    runtime_api::Authorizer,
    token::bearer,
};
use serde_json::Value;

/// The environment for tests that need no network: the keys are pinned.
fn pinned() -> Env {
    Env::pinned(&jwks(&[main()]))
}

/// The policy for a good token with these claims that requests `route`.
async fn policy(authorizer: &Authorizer, members: &Value, route: &str) -> Policy {
    authorizer.invoke(event_for(&bearer(members), &arn(route))).await.policy(&arn(route))
}
