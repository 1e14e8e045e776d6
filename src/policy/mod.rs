//! What may the token do? From verified claims and `policy.toml` to an IAM policy.
//!
//! Pure: no clock, no network.

mod document;
mod pattern;
mod route;
mod rules;
mod wildcard;

pub use document::{Bounds, Policy, Verdict, deny_stage, policy};
pub use rules::{Grant, Grants, Rules, RulesError};
