//! What API Gateway receives. A decision becomes an answer on the wire here and nowhere else.

use std::{borrow::Cow, collections::BTreeMap};

use aws_lambda_events::event::apigw::ApiGatewayCustomAuthorizerPolicy;
use lambda_runtime::Diagnostic;
use serde::{Serialize, Serializer, ser::Error};
use serde_json::value::RawValue;

use crate::{
    config::InvalidTokenResponse,
    decision::{Decision, Evaluated, Outcome},
    policy::{ClaimSet, PolicyDocument},
    token::Claims,
};

/// The authorizer's response.
///
/// Source: API Gateway developer guide, "Output from an API Gateway Lambda authorizer".
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The principal: `uid`, else `sub`.
    pub principal_id: String,
    /// `$context.authorizer.*`. API Gateway takes strings, numbers and booleans; these are all
    /// strings.
    pub context: BTreeMap<Cow<'static, str>, String>,
    /// The caller's API key, for usage plans of an API that takes the key from its authorizer.
    pub usage_identifier_key: Option<String>,
    /// What the principal may call.
    pub policy_document: PolicyDocument,
}

/// The members before the policy document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShortMembers<'a> {
    principal_id: &'a str,
    context: &'a BTreeMap<Cow<'static, str>, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_identifier_key: Option<&'a str>,
}

impl Serialize for Response {
    /// Makes the whole text first, and gives it to the runtime in one piece. The runtime's buffer
    /// starts with 128 bytes. With several pieces, it would grow and be copied several times.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.policy_document.json();
        let mut json = Vec::with_capacity(document.len() + 1_024);
        let short = ShortMembers {
            principal_id: &self.principal_id,
            context: &self.context,
            usage_identifier_key: self.usage_identifier_key.as_deref(),
        };
        serde_json::to_writer(&mut json, &short).map_err(S::Error::custom)?;
        json.pop(); // The closing brace.
        for text in [r#","policyDocument":"#, document, "}"] {
            json.extend_from_slice(text.as_bytes());
        }
        let json = str::from_utf8(&json).map_err(S::Error::custom)?;
        serde_json::from_str::<&RawValue>(json).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// How decisions are answered.
#[derive(Debug)]
pub(crate) struct ResponseOptions {
    /// The answer to a refused token.
    pub(crate) invalid_token_response: InvalidTokenResponse,
    /// The claim that becomes `usageIdentifierKey`.
    pub(crate) api_key_claim: Option<String>,
    /// Claims for `context` in addition to the standard ones.
    pub(crate) context_claims: Vec<String>,
}

impl Response {
    /// The policy document as the AWS crate's type, for callers of the library. The Lambda itself
    /// does not need it: it sends the JSON.
    ///
    /// # Errors
    /// If the JSON is not a policy. `render` does not make such a document.
    pub fn typed_policy(&self) -> serde_json::Result<ApiGatewayCustomAuthorizerPolicy> {
        serde_json::from_str(self.policy_document.json())
    }
}

impl ResponseOptions {
    /// The decision as the Runtime API takes it.
    pub(crate) fn respond(&self, decision: Decision) -> Result<Response, Diagnostic> {
        match decision.outcome {
            Outcome::Evaluated(evaluated) => Ok(self.response(evaluated)),
            Outcome::Refused(refusal) => match (self.invalid_token_response, decision.context.method_arn) {
                // API Gateway caches a policy, so a temporary refusal must not become one.
                (InvalidTokenResponse::Deny, Some(requested)) if !refusal.is_temporary() => Ok(Response {
                    principal_id: "unauthenticated".to_owned(),
                    policy_document: PolicyDocument::deny_stage(&requested),
                    context: BTreeMap::new(),
                    usage_identifier_key: None,
                }),
                // API Gateway answers 401 for this error message only, and 500 for every other.
                _ => Err(diagnostic("Unauthorized", "Unauthorized".to_owned())),
            },
            Outcome::Fault(fault) => Err(diagnostic(fault.name(), fault.to_string())),
        }
    }

    fn response(&self, evaluated: Evaluated) -> Response {
        let claims = &evaluated.claims;
        let api_key = |claim: &String| single_value(claims.all(), claim);
        Response {
            principal_id: claims.principal().to_owned(),
            context: context(claims, &self.context_claims),
            usage_identifier_key: self.api_key_claim.as_ref().and_then(api_key),
            policy_document: evaluated.document,
        }
    }
}

fn context(claims: &Claims, further: &[String]) -> BTreeMap<Cow<'static, str>, String> {
    let all = claims.all();
    let further = further.iter().map(|name| (Cow::Owned(name.clone()), all.context_text(name)));
    let list = |name| all.values(name).ok().flatten();
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
    // The standard entries come last, so that a further claim with the same name cannot replace
    // them.
    further.chain(standard).filter_map(|(name, text)| Some((name, text?))).collect()
}

fn single_value(claims: &ClaimSet, claim: &str) -> Option<String> {
    let [value] = <[_; 1]>::try_from(claims.values(claim).ok().flatten()?).ok()?;
    Some(value.into_owned()).filter(|value| !value.is_empty())
}

fn diagnostic(error_type: &str, error_message: String) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::MethodArn;

    #[test]
    fn a_response_is_one_json_object() {
        let requested = MethodArn::parse("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/a").unwrap();
        let mut response = Response {
            principal_id: "a\"b".to_owned(),
            policy_document: PolicyDocument::deny_stage(&requested),
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
        assert_eq!(response.typed_policy().unwrap().statement.len(), 1);
    }
}
