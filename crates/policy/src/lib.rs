//! What may a token call? From claims and a rules file to an IAM policy document.
//!
//! ```text
//! rules file ── Rules::parse ──► Rules ─┐
//! payload ─── ClaimSet::parse ─► claims ┼─ Rules::grants ─► Grants ─ render ─► Policy
//! methodArn ─ MethodArn::parse ► ARN ───┘
//! ```
//!
//! Everything here is pure: no clock, no environment, no network. Claims are data here. The caller
//! must have verified them.

mod claims;
mod document;
mod evaluate;
mod json;
mod method_arn;
mod path_guard;
mod pattern;
mod route;
mod rules;
mod wildcard;
mod work;

pub use claims::{ClaimName, ClaimSet, UnsupportedClaimType};
pub use document::{MAX_RESOURCE, Policy, PolicyDocument, PolicyOptions, Verdict, render};
pub use evaluate::{Bindings, Failed, Grants, Resources, RuleEvaluation, UnusableReason, UnusableValue};
pub use json::{JsonObject, NotAString};
pub use method_arn::MethodArn;
pub use path_guard::can_be_guarded;
pub use pattern::{Match, Pattern, Piece};
pub use route::{Route, RoutePiece, spellings};
pub use rules::{Condition, Effect, Rule, RuleName, Rules, RulesError, RulesErrors, Test, Use};
pub use wildcard::covers;
