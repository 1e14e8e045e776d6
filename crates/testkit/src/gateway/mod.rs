//! A local API Gateway that serves the demo API of `examples/demo` with the real authorizer.
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

/// Why the local gateway cannot start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
