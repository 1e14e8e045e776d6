//! The decision about one event. The authorizer makes it; `response` and `telemetry` read it.

use crate::{
    policy::{MethodArn, PolicyDocument, Verdict},
    token::{Claims, IntrospectionError, Refusal},
};

/// Why no decision could be made. The client sees 500, and nothing is granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
pub enum Fault {
    /// There are no usable keys of the token's issuer.
    #[error("there are no usable keys of the issuer")]
    KeysUnavailable,
    /// Introspection is on, but Okta does not say whether the token is active. The source is for
    /// the log.
    #[error("Okta does not say whether the token is active")]
    IntrospectionUnavailable(#[source] IntrospectionError),
    /// Introspection is on, but Okta has limited the requests. The source is for the log.
    #[error("Okta limits the requests that ask whether a token is active")]
    IntrospectionRateLimited(#[source] IntrospectionError),
    /// The event's `methodArn` is missing, or it is not an ARN of execute-api.
    #[error("methodArn is not an ARN of execute-api")]
    MethodArnUnusable,
}

impl Fault {
    /// The stable name of the fault: `errorType` in the answer, and the reason in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// The decision about one event, and what the log may say about it.
#[derive(Debug)]
pub struct Decision {
    /// What was decided.
    pub outcome: Outcome,
    /// What is known about the token and the request.
    pub context: DecisionContext,
}

/// The three kinds of decision.
#[derive(Debug)]
pub enum Outcome {
    /// The token is good. The policy says what it may call, and it can deny this request.
    Evaluated(Evaluated),
    /// The token is not good. The client sees 401.
    Refused(Refusal),
    /// No decision could be made. The client sees 500.
    Fault(Fault),
}

/// The policy for a good token.
#[derive(Debug)]
pub struct Evaluated {
    /// Whose token it is.
    pub claims: Claims,
    /// What the token may call.
    pub document: PolicyDocument,
    /// What the document says about this request, and which rule decided.
    pub verdict: Verdict,
    /// How many granted resources are in the policy.
    pub routes: usize,
    /// How many granted resources, or ways to grant them, are not in the policy because there were
    /// too many.
    pub omitted_resources: usize,
    /// How often a rule could not use a claim value, because it has an unsupported type, is
    /// ambiguous or is not allowed in a route.
    pub unusable_values: usize,
}

impl Evaluated {
    /// Whether API Gateway lets this request through.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allowed { .. })
    }
}

/// What is known about a token and its request, in addition to the outcome. The log shows it.
#[derive(Debug, Default)]
pub struct DecisionContext {
    /// Unverified if the token was refused, or if its signature could not be checked.
    pub kid: Option<String>,
    /// From verified claims: the user.
    pub uid: Option<String>,
    /// From verified claims: the client.
    pub cid: Option<String>,
    /// From verified claims: the token's id.
    pub jti: Option<String>,
    /// Age of the issuer's cached keys in seconds, even if they are expired. `None` for pinned
    /// keys, for an empty cache, and if the keys were not looked at.
    pub keys_age_seconds: Option<u64>,
    /// The request, if its ARN could be read.
    pub method_arn: Option<MethodArn>,
}
