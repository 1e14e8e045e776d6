//! From event to answer. [`Refusal`] and [`Fault`] become wire answers here and nowhere else.

use std::{borrow::Cow, collections::BTreeMap};

use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use crate::{
    config::{Config, InvalidTokenResponse},
    event::{MethodArn, TokenEvent},
    https::HttpsClient,
    keys::{KeyError, KeyStore, KeysEndpoint, KeysTable},
    policy::{Bounds, Document, Rules, Verdict, deny_stage, policy},
    token::{BearerToken, Claims, Expectations, Introspection, IntrospectionError, Refusal, UnverifiedToken, verify},
};

/// Answers TOKEN events.
#[derive(Debug)]
pub struct Authorizer {
    issuers: Vec<Issuer>,
    rules: Rules,
    bounds: Bounds,
    invalid_token_response: InvalidTokenResponse,
    api_key_claim: Option<String>,
    context_claims: Vec<String>,
}

/// An issuer's expectations beside its own keys: no key of another issuer verifies its tokens.
#[derive(Debug)]
struct Issuer {
    expectations: Expectations,
    keys: KeyStore,
    introspection: Option<Introspection>,
}

/// Why no decision could be made. The client sees 500, and nothing is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No usable keys of the token's issuer are known.
    #[error("no usable keys of the issuer are known")]
    KeysUnavailable,
    /// Introspection is asked for, and Okta does not say whether the token is active.
    #[error("Okta does not say whether the token is active")]
    IntrospectionUnavailable,
    /// The event's `methodArn` is missing or none of execute-api.
    #[error("methodArn is no ARN of execute-api")]
    MethodArnUnusable,
}

impl Fault {
    /// The `errorType` on the wire, and the name in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeysUnavailable => "KeysUnavailable",
            Self::IntrospectionUnavailable => "IntrospectionUnavailable",
            Self::MethodArnUnusable => "MethodArnUnusable",
        }
    }
}

/// What was decided about one event, and all that the log may say about it.
#[derive(Debug)]
pub struct Decision {
    /// The decision.
    pub outcome: Outcome,
    /// Whose token it is, as far as it was read.
    pub about: About,
}

/// The three kinds of decision.
#[derive(Debug)]
pub enum Outcome {
    /// The token is good: the policy says what it may call.
    Granted(Granted),
    /// The token is not good.
    Refused(Refusal),
    /// Nobody can say.
    Fault(Fault),
}

/// A policy for a good token.
#[derive(Debug)]
pub struct Granted {
    /// What goes over the wire.
    pub response: Response,
    /// What the policy says about the request.
    pub verdict: Verdict,
    /// Granted resources that found no room in the policy.
    pub left_out: usize,
    /// Claim values that granted nothing because they are ambiguous or cannot be written into a route.
    pub unusable_values: usize,
}

impl Granted {
    /// Whether the gateway lets the request through.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allowed { .. })
    }
}

/// What the log says about a token and its request, besides the outcome.
#[derive(Debug, Default)]
pub struct About {
    /// Unverified where the token was refused.
    pub kid: Option<String>,
    /// From verified claims, like the two below.
    pub uid: Option<String>,
    /// The client.
    pub cid: Option<String>,
    /// The token's id.
    pub jti: Option<String>,
    /// Age of the issuer's cached keys in seconds, even if they have expired. `None` for pinned keys,
    /// an empty cache, or a token that was refused before its keys were needed.
    pub keys_age_seconds: Option<u64>,
    /// What was asked for, where it could be read.
    pub method_arn: Option<MethodArn>,
}

/// The authorizer's response.
///
/// Source: API Gateway developer guide, "Output from an API Gateway Lambda authorizer".
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// Whom the policy speaks of.
    pub principal_id: String,
    /// What it says.
    pub policy_document: Document,
    /// `$context.authorizer.*`: strings only.
    pub context: BTreeMap<Cow<'static, str>, String>,
    /// The API key of the caller's usage plan, where the API takes it from the authorizer.
    pub usage_identifier_key: Option<String>,
}

/// In one piece: the buffer that the runtime writes it into starts small, and would be moved while it grows.
impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Caller<'r> {
            principal_id: &'r str,
            context: &'r BTreeMap<Cow<'static, str>, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            usage_identifier_key: Option<&'r str>,
        }
        let caller = Caller {
            principal_id: &self.principal_id,
            context: &self.context,
            usage_identifier_key: self.usage_identifier_key.as_deref(),
        };
        let policy = self.policy_document.json();
        let mut json = Vec::with_capacity(policy.len() + 1_024);
        serde_json::to_writer(&mut json, &caller).map_err(S::Error::custom)?;
        json.pop(); // the brace behind the members, of which one is always there
        for part in [",\"policyDocument\":", policy, "}"] {
            json.extend_from_slice(part.as_bytes());
        }
        serde_json::from_slice::<&RawValue>(&json).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl Authorizer {
    /// Wires a configuration's issuers to their keys. Nothing is fetched yet.
    #[must_use]
    pub fn new(config: Config, table: Option<&KeysTable>, https: &HttpsClient) -> Self {
        let issuers = config.issuers.into_iter().map(|issuer| Issuer {
            expectations: Expectations {
                issuer: issuer.issuer,
                audiences: config.audiences.clone(),
                client_ids: config.client_ids.clone(),
                clock_skew_seconds: config.clock_skew_seconds,
            },
            keys: match &config.pinned_keys {
                Some(keys) => KeyStore::pinned(keys.clone()),
                None => KeyStore::remote(
                    KeysEndpoint::new(issuer.keys_endpoint, https.clone()),
                    table.cloned(),
                    config.refresh_policy,
                ),
            },
            introspection: config
                .introspection
                .clone()
                .map(|credentials| Introspection::new(issuer.introspection_endpoint, credentials, https.clone())),
        });
        Self {
            issuers: issuers.collect(),
            rules: config.rules,
            bounds: config.bounds,
            invalid_token_response: config.invalid_token_response,
            api_key_claim: config.api_key_claim,
            context_claims: config.context_claims,
        }
    }

    /// Loads every issuer's keys. Never fails: what is missing is looked for again by the first call that needs it.
    pub async fn load_keys(&self, now: u64) {
        join_all(self.issuers.iter().map(|issuer| issuer.keys.load(now))).await;
    }

    /// Decides about one event, whatever JSON it is. `now` is in epoch seconds.
    pub async fn decide(&self, payload: &RawValue, now: u64) -> Decision {
        let mut about = About::default();
        let outcome = match self.claims(payload, now, &mut about).await {
            Err(no) => no.into(),
            // A refusal needs no ARN; a policy does.
            Ok(claims) => match &about.method_arn {
                None => Outcome::Fault(Fault::MethodArnUnusable),
                Some(requested) => Outcome::Granted(self.grant(&claims, requested)),
            },
        };
        Decision { outcome, about }
    }

    async fn claims(&self, payload: &RawValue, now: u64, about: &mut About) -> Result<Claims, NoClaims> {
        let event = TokenEvent::parse(payload).ok_or(Refusal::NotATokenEvent)?;
        about.method_arn = event.method_arn.as_deref().and_then(MethodArn::parse);
        let header_value = event.unverified_token.as_deref().ok_or(Refusal::MissingToken)?;
        let bearer = BearerToken::from_header_value(header_value)?;
        let token = UnverifiedToken::decode(&bearer)?;
        about.kid = Some(token.unverified_kid().to_owned());
        let unverified_issuer = token.unverified_issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.expectations.issuer == unverified_issuer);
        let issuer = issuer.ok_or(Refusal::UnknownIssuer)?;
        let key = issuer.keys.key(token.unverified_kid(), now).await;
        about.keys_age_seconds = issuer.keys.age_seconds(now);
        let key = key?;
        let claims = verify(token, &key, &issuer.expectations, now)?;
        about.uid = claims.uid().map(str::to_owned);
        about.cid = claims.client_id().map(str::to_owned);
        about.jti = claims.token_id().map(str::to_owned);
        if let Some(introspection) = &issuer.introspection
            && !introspection.is_active(&bearer).await?
        {
            return Err(Refusal::Inactive.into());
        }
        Ok(claims)
    }

    fn grant(&self, claims: &Claims, requested: &MethodArn) -> Granted {
        let grants = self.rules.grants(claims, requested);
        let policy = policy(&grants, requested, self.bounds);
        let response = Response {
            principal_id: claims.principal().to_owned(),
            policy_document: policy.document,
            context: self.context(claims),
            usage_identifier_key: self.api_key_claim.as_deref().and_then(|claim| only_value(claims, claim)),
        };
        Granted {
            response,
            verdict: policy.verdict,
            left_out: policy.left_out + grants.left_out,
            unusable_values: grants.unusable_values,
        }
    }

    fn context(&self, claims: &Claims) -> BTreeMap<Cow<'static, str>, String> {
        let chosen = self.context_claims.iter().map(|name| (Cow::Owned(name.clone()), claims.text(name)));
        let list = |name| claims.values(name).ok().flatten();
        let json = |name| list(name).and_then(|values| serde_json::to_string(&values).ok());
        let standard = [
            ("uid", claims.uid().map(str::to_owned)),
            ("sub", Some(claims.subject().to_owned())),
            ("cid", claims.client_id().map(str::to_owned)),
            ("scopes", list("scopes").map(|scopes| scopes.join(" "))),
            ("groups", json("groups")),
            ("tenants", json("tenants")),
        ]
        .map(|(name, text)| (Cow::Borrowed(name), text));
        // The standard ones last: a claim of the same name does not take their place.
        chosen.chain(standard).filter_map(|(name, text)| Some((name, text?))).collect()
    }

    /// The decision as the Runtime API takes it.
    ///
    /// # Errors
    /// `Unauthorized` for a refusal, which API Gateway turns into 401; the fault's name for a fault, which it turns
    /// into 500.
    pub fn answer(&self, decision: Decision) -> Result<Response, Diagnostic> {
        match decision.outcome {
            Outcome::Granted(granted) => Ok(granted.response),
            Outcome::Refused(_) => match (self.invalid_token_response, decision.about.method_arn) {
                (InvalidTokenResponse::Deny, Some(requested)) => Ok(Response {
                    principal_id: "unauthenticated".to_owned(),
                    policy_document: deny_stage(&requested),
                    context: BTreeMap::new(),
                    usage_identifier_key: None,
                }),
                _ => Err(diagnostic("Unauthorized", "Unauthorized".to_owned())),
            },
            Outcome::Fault(fault) => Err(diagnostic(fault.name(), fault.to_string())),
        }
    }
}

fn diagnostic(error_type: &str, error_message: String) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message }
}

fn only_value(claims: &Claims, claim: &str) -> Option<String> {
    let mut values = claims.values(claim).ok().flatten()?;
    values.pop().filter(|value| values.is_empty() && !value.is_empty())
}

/// Why there are no claims: the token's fault, or ours.
enum NoClaims {
    Refusal(Refusal),
    Fault(Fault),
}

impl From<Refusal> for NoClaims {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<KeyError> for NoClaims {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownKid => Self::Refusal(Refusal::UnknownKid),
            KeyError::Unavailable => Self::Fault(Fault::KeysUnavailable),
        }
    }
}

impl From<IntrospectionError> for NoClaims {
    fn from(_: IntrospectionError) -> Self {
        Self::Fault(Fault::IntrospectionUnavailable)
    }
}

impl From<NoClaims> for Outcome {
    fn from(no: NoClaims) -> Self {
        match no {
            NoClaims::Refusal(refusal) => Self::Refused(refusal),
            NoClaims::Fault(fault) => Self::Fault(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_one_json_object() {
        let requested = MethodArn::parse("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/a").unwrap();
        let mut response = Response {
            principal_id: "a\"b".to_owned(),
            policy_document: deny_stage(&requested),
            context: BTreeMap::from([("sub".into(), "é\n".to_owned()), ("own".into(), "x".to_owned())]),
            usage_identifier_key: None,
        };
        let policy = response.policy_document.json().to_owned();
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            format!(r#"{{"principalId":"a\"b","context":{{"own":"x","sub":"é\n"}},"policyDocument":{policy}}}"#)
        );
        response.context.clear();
        response.usage_identifier_key = Some("k".to_owned());
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            format!(r#"{{"principalId":"a\"b","context":{{}},"usageIdentifierKey":"k","policyDocument":{policy}}}"#)
        );
    }
}
