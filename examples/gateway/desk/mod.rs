//! API Gateway on the desk: what stands around the authorizer on AWS, small enough for one process on loopback.
//! `examples/gateway/main.rs` serves it, `tests/gateway.rs` asks it.
//!
//! ```text
//! curl ─► gateway ─► lambda ─► the real binary ─► issuer /v1/keys
//!            │ template: routes, gateway responses
//!            └ iam: what a policy says about a route
//! ```

pub mod gateway;
mod iam;
pub mod issuer;
pub mod lambda;
pub mod template;

/// Whatever stops the desk from being set up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The variables of `events/env.json`: a pinned key, and no network.
///
/// # Errors
/// Where the file is not what `sam local invoke --env-vars` takes.
pub fn sample_environment() -> Result<Vec<(String, String)>, Error> {
    let files: serde_json::Value = serde_json::from_str(include_str!("../../../events/env.json"))?;
    let variables = files.get("Parameters").and_then(serde_json::Value::as_object);
    let variables = variables.ok_or("events/env.json has no \"Parameters\"")?;
    Ok(variables.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}
