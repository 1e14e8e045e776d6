//! What may the token do? From verified claims and `policy.toml` to an IAM policy.
//!
//! Pure: no clock, no network.

mod document;
mod grants;
mod pattern;
mod route;
mod rules;
mod wildcard;

pub use document::{Bounds, Document, MAX_RESOURCE, Policy, Verdict, deny_stage, policy};
pub use grants::{Applied, Grant, Grants, Unusable, Values, Way, Why};
pub use rules::{Effect, Rules, RulesError};
