//! An AWS Lambda TOKEN authorizer for API Gateway REST APIs behind Okta.
//!
//! ```text
//! event ─► bearer token ─► key (memory ─► DynamoDB ─► Okta) ─► verified claims ─► rules ─► IAM policy
//!             │ refused                  │ fault                                    │
//!             ▼                          ▼                                          ▼
//!       401 "Unauthorized"         500, nothing granted                     200 or 403 at the gateway
//! ```
//!
//! [`authorizer`] runs these steps in order. Each step is a module: [`token`] decides whether a
//! token is good, [`keys`] finds the key that verifies it, [`policy`] evaluates the rules, and
//! [`response`] turns the [`decision`] into the answer on the wire.
//!
//! Only [`keys`], the introspection in [`token`], [`https`] and [`runtime_api`] use the network.
//! The time of a call is an argument. Decision lines and key lines are written
//! only after [`telemetry::init`]. Settings come from the caller, except the proxy variables,
//! which the HTTPS client reads.

pub mod authorizer;
pub mod config;
pub mod decision;
pub mod event;
pub mod https;
pub mod keys;
mod rate_limit;
pub mod response;
mod running_time;
pub mod runtime_api;
pub mod telemetry;
pub mod token;

/// From claims and a rules file to an IAM policy document. A crate of its own, because it is pure.
pub use okta_authorizer_policy as policy;
