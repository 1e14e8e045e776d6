//! A local API Gateway that serves an API with the real authorizer. `bin/gateway.rs` runs it and the
//! root package's `tests/gateway.rs` tests it.
//!
//! ```text
//! curl ─► api_gateway ─► runtime_api ─► authorizer's binary ─► issuer /v1/keys
//!            │ okta_policy: routes of the API, words for what the rules decide
//!            │ template: the authorizer's settings and the gateway responses of the demo API
//!            └ iam: evaluates the policy for a route
//! ```

pub mod api_gateway;
pub mod claims;
pub mod issuer;
pub mod template;

/// Why the local gateway cannot start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
