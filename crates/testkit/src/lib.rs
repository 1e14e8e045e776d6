//! Everything around the authorizer that tests, benches, fuzz targets and the local gateway need.
//!
//! The loopback servers ([`okta`], [`table`], [`runtime_api`]) run the real binary and look at it
//! from outside. The reference evaluators ([`iam`], [`reference_rules`], [`backend_path`]) are
//! second implementations. They share no code with the authorizer, so that a mistake in one of them
//! does not hide a mistake in the other.

pub mod backend_path;
pub mod iam;
pub mod random;
pub mod reference_rules;

#[cfg(feature = "loopback")]
pub mod env;
#[cfg(feature = "loopback")]
mod failures;
#[cfg(feature = "loopback")]
pub mod gateway;
#[cfg(feature = "loopback")]
pub mod keys;
#[cfg(feature = "loopback")]
pub mod okta;
#[cfg(feature = "loopback")]
pub mod routing_proxy;
#[cfg(feature = "loopback")]
pub mod runtime_api;
#[cfg(feature = "loopback")]
pub mod table;
#[cfg(feature = "loopback")]
pub mod temp_file;
#[cfg(feature = "loopback")]
pub mod tls;
#[cfg(feature = "loopback")]
pub mod token;

#[cfg(feature = "loopback")]
pub use failures::Failures;

#[cfg(feature = "loopback")]
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The HTTP methods that a rule can name, and that API Gateway accepts.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The rules of the tests. The policy.toml in the root is the user's, so no test depends on it.
pub const RULES: &str = include_str!("../rules.toml");

/// The path of the file with [`RULES`].
pub const RULES_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules.toml");

/// The ARN of the API and stage in the tests' events.
pub const API: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod";

/// The end of a program's `main`. It prints an error as text; `main` itself would print its
/// `Debug`.
#[cfg(feature = "loopback")]
pub fn exit_code(result: Result<(), gateway::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The current time in epoch seconds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The method ARN of `METHOD /path` on [`API`].
pub fn arn(route: &str) -> String {
    let (method, path) = route.split_once(' ').unwrap();
    format!("{API}/{method}{path}")
}

/// A TOKEN event that requests `GET /apps`, which every valid token may call.
pub fn event(authorization: &str) -> String {
    event_for(authorization, &arn("GET /apps"))
}

/// A TOKEN event as JSON text.
pub fn event_for(authorization: &str, method_arn: &str) -> String {
    json!({ "type": "TOKEN", "authorizationToken": authorization, "methodArn": method_arn }).to_string()
}

/// `text` after so many spaces that it has `size` bytes. As JSON it has the same value.
pub fn padded(text: &str, size: usize) -> String {
    format!("{}{text}", " ".repeat(size - text.len()))
}

/// A copy of `object` in which each of `members` is set.
pub fn with(object: &Value, members: &Value) -> Value {
    let mut changed = object.clone();
    let members = members.as_object().unwrap().clone();
    changed.as_object_mut().unwrap().extend(members);
    changed
}

/// A copy of `object` without `member`. Panics if `object` does not have it.
pub fn without(object: &Value, member: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().unwrap().remove(member).expect("the object has this member");
    changed
}
