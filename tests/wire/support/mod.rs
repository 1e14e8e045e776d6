//! The world around the binary, and what the tests say again and again.

pub mod env;
pub mod file;
pub mod iam;
pub mod keys;
pub mod okta;
pub mod runtime_api;
pub mod table;
pub mod tls;
pub mod token;

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

/// The API and stage that the tests' events are about.
pub const API: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod";

/// Epoch seconds, now.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The method ARN of `METHOD /path` on [`API`].
pub fn arn(route: &str) -> String {
    let (method, path) = route.split_once(' ').unwrap();
    format!("{API}/{method}{path}")
}

/// A TOKEN event that asks for `GET /apps`, which any valid token may call.
pub fn event(authorization: &str) -> String {
    event_for(authorization, &arn("GET /apps"))
}

/// A TOKEN event.
pub fn event_for(authorization: &str, method_arn: &str) -> String {
    json!({ "type": "TOKEN", "authorizationToken": authorization, "methodArn": method_arn }).to_string()
}

/// `object` with each of `members` set.
pub fn with(object: &Value, members: &Value) -> Value {
    let mut changed = object.clone();
    let members = members.as_object().unwrap().clone();
    changed.as_object_mut().unwrap().extend(members);
    changed
}

/// `object` with `member` taken out.
pub fn without(object: &Value, member: &str) -> Value {
    let mut changed = object.clone();
    changed.as_object_mut().unwrap().remove(member).expect("the member was there");
    changed
}

/// What went wrong in a table of cases. A table is run to its end, so that one run shows every fault.
#[derive(Default)]
pub struct Faults(Vec<String>);

impl Faults {
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }

    /// Runs cases that mostly wait, a few at a time: with all at once, a table that has 500 ms to answer would miss them.
    pub async fn of(cases: impl IntoIterator<Item = impl Future<Output = Self>>) -> Self {
        let faults: Vec<Self> = stream::iter(cases).buffer_unordered(4).collect().await;
        Self(faults.into_iter().flat_map(|case| case.0).collect())
    }

    /// Panics with all of them, if there are any.
    pub fn report(self) {
        assert!(self.0.is_empty(), "{} wrong:\n{}", self.0.len(), self.0.join("\n"));
    }
}
