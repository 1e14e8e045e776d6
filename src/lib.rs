//! An AWS Lambda TOKEN authorizer for API Gateway REST APIs behind Okta.
//!
//! ```text
//! event ─► bearer token ─► key (memory ─► DynamoDB ─► Okta) ─► verified claims ─► policy.toml ─► IAM policy
//!             │ refused                  │ fault                                       │
//!             ▼                          ▼                                             ▼
//!       401 "Unauthorized"         500, nothing granted                        200 or 403 at the gateway
//! ```
//!
//! [`authorizer`] is the hall; its three wings answer one question each: [`keys`], whose key is it; [`token`], is the
//! token good; [`policy`], what may it do. Only [`keys`], introspection in [`token`] and [`xray`] know the network, and
//! nothing here reads the clock or the environment: they come in as arguments.

pub mod authorizer;
pub mod config;
pub mod event;
pub mod https;
pub mod keys;
pub mod policy;
pub mod telemetry;
pub mod token;
pub mod xray;
