//! The flow of one call: event, bearer token, key, verified claims, policy.

use std::sync::Arc;

use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde_json::value::RawValue;

use crate::{
    config::Config,
    decision::{Decision, DecisionContext, Evaluated, Fault, Outcome},
    event::TokenEvent,
    https::HttpsClient,
    keys::{KeyError, KeyStore, KeysEndpoint, KeysTable, system_clock},
    policy::{MethodArn, PolicyOptions, Rules, render},
    response::{Response, ResponseOptions},
    token::{BearerToken, Claims, Expectations, Introspection, IntrospectionError, Refusal, UnverifiedToken, verify},
};

/// Answers TOKEN events.
#[derive(Debug)]
pub struct Authorizer {
    issuers: Vec<Issuer>,
    rules: Rules,
    policy_options: PolicyOptions,
    response_options: ResponseOptions,
}

/// What the tokens of one issuer must say, with the issuer's own keys. A key of one issuer never
/// verifies a token of another.
#[derive(Debug)]
struct Issuer {
    expectations: Expectations,
    keys: KeyStore,
    introspection: Option<Arc<Introspection>>,
}

impl Authorizer {
    /// Connects the issuers of a configuration with their keys. Nothing is fetched yet.
    #[must_use]
    pub fn new(config: Config, table: Option<&KeysTable>, https: &HttpsClient) -> Self {
        // Issuers with one endpoint share what it says about its limits.
        let mut endpoints: Vec<Arc<Introspection>> = Vec::new();
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
                    KeysEndpoint::new(issuer.keys_endpoint, https),
                    table.cloned(),
                    config.refresh_policy,
                    system_clock(),
                ),
            },
            introspection: config.introspection.as_ref().map(|credentials| {
                let known = endpoints.iter().find(|known| *known.url() == issuer.introspection_endpoint);
                known.cloned().unwrap_or_else(|| {
                    let url = issuer.introspection_endpoint;
                    let endpoint = Arc::new(Introspection::new(url, credentials.clone(), https.clone()));
                    endpoints.push(Arc::clone(&endpoint));
                    endpoint
                })
            }),
        });
        Self {
            issuers: issuers.collect(),
            rules: config.rules,
            policy_options: config.policy_options,
            response_options: ResponseOptions {
                invalid_token_response: config.invalid_token_response,
                api_key_claim: config.api_key_claim,
                context_claims: config.context_claims,
            },
        }
    }

    /// Loads the keys of every issuer. It does not fail: the calls that follow look again when Okta
    /// may be asked. `now` is in epoch seconds.
    pub async fn load_keys(&self, now: u64) {
        join_all(self.issuers.iter().map(|issuer| issuer.keys.load(now))).await;
    }

    /// Decides about an event, whatever JSON it is. `now` is in epoch seconds.
    pub async fn decide(&self, payload: &RawValue, now: u64) -> Decision {
        match TokenEvent::parse(payload) {
            Some(event) => self.decide_event(&event, now).await,
            None => {
                Decision { outcome: Outcome::Refused(Refusal::NotATokenEvent), context: DecisionContext::default() }
            }
        }
    }

    /// Decides about a TOKEN event. `now` is in epoch seconds.
    pub async fn decide_event(&self, event: &TokenEvent<'_>, now: u64) -> Decision {
        let mut context = DecisionContext {
            method_arn: event.method_arn.as_deref().and_then(MethodArn::parse),
            ..DecisionContext::default()
        };
        let outcome = match self.authenticate(event, now, &mut context).await {
            Err(AuthenticationError::Refusal(refusal)) => Outcome::Refused(refusal),
            Err(AuthenticationError::Fault(fault)) => Outcome::Fault(fault),
            // A refusal needs no ARN, but a policy does.
            Ok(claims) => match &context.method_arn {
                None => Outcome::Fault(Fault::MethodArnUnusable),
                Some(requested) => Outcome::Evaluated(self.authorize(claims, requested)),
            },
        };
        Decision { outcome, context }
    }

    /// The decision as the Runtime API takes it.
    ///
    /// # Errors
    /// `Unauthorized` for a refusal, and the fault's name for a fault.
    pub fn respond(&self, decision: Decision) -> Result<Response, Diagnostic> {
        self.response_options.respond(decision)
    }

    async fn authenticate(
        &self,
        event: &TokenEvent<'_>,
        now: u64,
        context: &mut DecisionContext,
    ) -> Result<Claims, AuthenticationError> {
        let header_value = event.unverified_token.as_deref().ok_or(Refusal::MissingToken)?;
        let bearer = BearerToken::from_header_value(header_value)?;
        let token = UnverifiedToken::decode(&bearer)?;
        context.kid = Some(token.unverified_kid().to_owned());
        let unverified_issuer = token.unverified_issuer()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.expectations.issuer == unverified_issuer);
        let unknown = || Refusal::UnknownIssuer { issuer: unverified_issuer.into_owned() };
        let issuer = issuer.ok_or_else(unknown)?;
        let key = issuer.keys.key(token.unverified_kid(), now).await;
        // Before `?`, so that the line of a refused token has the age too.
        context.keys_age_seconds = issuer.keys.age_seconds(now);
        let claims = verify(token, &key?, &issuer.expectations, now)?;
        context.uid = claims.uid().map(str::to_owned);
        context.cid = claims.client_id().map(str::to_owned);
        context.jti = claims.token_id().map(str::to_owned);
        if let Some(introspection) = &issuer.introspection
            && !introspection.is_active(&bearer, now).await?
        {
            return Err(Refusal::Inactive.into());
        }
        Ok(claims)
    }

    /// Evaluates the rules. `Claims` proves that the token is verified; the rules see only data.
    fn authorize(&self, claims: Claims, requested: &MethodArn) -> Evaluated {
        let grants = self.rules.grants(claims.all(), requested);
        let policy = render(&grants, requested, self.policy_options);
        Evaluated {
            claims,
            document: policy.document,
            verdict: policy.verdict,
            routes: policy.allowed,
            omitted_resources: policy.omitted.saturating_add(grants.omitted),
            unusable_values: grants.unusable_values,
        }
    }
}

/// Why there are no verified claims: the token is bad (401), or it could not be checked (500).
enum AuthenticationError {
    Refusal(Refusal),
    Fault(Fault),
}

impl From<Refusal> for AuthenticationError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<KeyError> for AuthenticationError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownKid => Self::Refusal(Refusal::UnknownKid),
            KeyError::Unavailable => Self::Fault(Fault::KeysUnavailable),
        }
    }
}

impl From<IntrospectionError> for AuthenticationError {
    fn from(error: IntrospectionError) -> Self {
        Self::Fault(match error {
            IntrospectionError::RateLimited { .. } => Fault::IntrospectionRateLimited(error),
            _ => Fault::IntrospectionUnavailable(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::https::TrustAnchors;

    #[test]
    fn issuers_with_one_introspection_endpoint_share_its_limits() {
        let variables = [
            ("OKTA_ISSUER", "https://x.okta.com/oauth2/a,https://x.okta.com/oauth2/b,https://x.okta.com/oauth2/c"),
            ("OKTA_INTROSPECTION_CLIENT_ID", "0oa1"),
        ];
        let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let mut config = Config::load(variables, |_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
        let [first, _, third] = &mut config.issuers[..] else { panic!("three issuers") };
        third.introspection_endpoint = first.introspection_endpoint.clone();
        let authorizer = Authorizer::new(config, None, &HttpsClient::new(TrustAnchors::Embedded));
        let of = |number: usize| authorizer.issuers[number].introspection.as_ref().unwrap();
        assert!(Arc::ptr_eq(of(0), of(2)));
        assert!(!Arc::ptr_eq(of(0), of(1)));
    }
}
