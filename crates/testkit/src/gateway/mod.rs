//! A local API Gateway that serves the demo API of `template.yaml` with the real authorizer.
//! `bin/gateway.rs` runs it and the root package's `tests/gateway.rs` tests it.
//!
//! ```text
//! curl ─► api_gateway ─► runtime_api ─► authorizer's binary ─► issuer /v1/keys
//!            │ template: routes, gateway responses
//!            └ iam: evaluates the policy for a route
//! ```

pub mod api_gateway;
pub mod issuer;
pub mod template;

use crate::env::Env;

/// Why the local gateway cannot start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The variables of `events/env.json`: pinned keys, and no network.
///
/// # Errors
/// The file does not have the form that `sam local invoke --env-vars` reads.
pub fn sample_env() -> Result<Env, Error> {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../../../events/env.json"))?;
    let variables = file.get("Parameters").and_then(serde_json::Value::as_object);
    let variables = variables.ok_or("events/env.json has no \"Parameters\"")?;
    Ok(variables.iter().fold(Env::lambda(), |env, (name, value)| env.with(name, value.as_str().unwrap_or_default())))
}
