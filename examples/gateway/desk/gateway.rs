//! The gateway: routes, the authorizer's policy and its cache, the mock integrations' echo.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    iam::{Document, Verdict},
    lambda::{Answer, Lambda},
    template::{Api, Refusal},
};

/// Where the API would live. The stage follows.
const API_ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:deskdesk00";

/// Says where the policy came from: `asked`, `cached` or `not asked`. The only thing that API Gateway would not send.
pub const SOURCE_HEADER: &str = "x-desk-authorizer";

/// Tells the time, for the cache alone.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The API with its authorizer.
pub struct Gateway {
    api: Api,
    lambda: Lambda,
    ttl: Duration,
    clock: Clock,
    /// By the whole of the header's value, as API Gateway keeps them.
    cache: Mutex<HashMap<String, Cached>>,
}

#[derive(Clone)]
struct Cached {
    policy: Arc<Policy>,
    until: Instant,
}

/// What API Gateway takes of an authorizer's response.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    principal_id: String,
    #[serde(rename = "policyDocument")]
    document: Document,
    #[serde(default)]
    context: Map<String, Value>,
}

impl Gateway {
    /// `ttl` is how long a token's policy is kept: zero asks the authorizer on every call.
    pub fn new(api: Api, lambda: Lambda, ttl: Duration, clock: Clock) -> Self {
        Self { api, lambda, ttl, clock, cache: Mutex::default() }
    }

    /// Answers whoever comes.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        let router = Router::new().fallback(answer).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await })
    }

    pub fn lambda(&self) -> &Lambda {
        &self.lambda
    }

    /// The token's policy and whether it was kept.
    async fn policy(&self, token: &str, method_arn: &str) -> Result<(Arc<Policy>, bool), (Refusal, Option<String>)> {
        let now = (self.clock)();
        let cached = self.cache.lock().unwrap().get(token).filter(|cached| now < cached.until).cloned();
        if let Some(cached) = cached {
            return Ok((cached.policy, true));
        }
        let event = json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": method_arn });
        let response = match self.lambda.invoke(&event).await {
            Answer::Response(response) => response,
            // Errors are not kept.
            Answer::Error(message) if message == "Unauthorized" => {
                return Err((Refusal::Unauthorized, Some(message)));
            }
            Answer::Error(_) | Answer::None => return Err((Refusal::AuthorizerFailure, None)),
        };
        let policy: Policy =
            serde_json::from_value(response).map_err(|_| (Refusal::AuthorizerConfigurationError, None))?;
        let policy = Arc::new(policy);
        let cached = Cached { policy: Arc::clone(&policy), until: now + self.ttl };
        self.cache.lock().unwrap().insert(token.to_owned(), cached);
        Ok((policy, false))
    }

    /// The token, if it looks like one.
    fn token<'r>(&self, headers: &'r HeaderMap) -> Option<&'r str> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?;
        self.api.validation.is_match(token).then_some(token)
    }

    async fn answer(&self, request: &Parts) -> (Response, &'static str) {
        let not_asked = |refusal, message| (self.api.refuse(refusal, message), "not asked");
        let method = request.method.as_str();
        let path = request.uri.path();
        let path = path.strip_prefix('/').and_then(|path| path.strip_prefix(&self.api.stage)).unwrap_or_default();
        let Some(route) = self.api.route(method, path) else {
            return not_asked(Refusal::MissingAuthenticationToken, Some("Missing Authentication Token"));
        };
        if method == "OPTIONS" {
            // SAM's own method beside the template's, without an authorizer.
            return (HeaderMap::from_iter(self.api.preflight.clone()).into_response(), "not asked");
        }
        let Some(token) = self.token(&request.headers) else {
            return not_asked(Refusal::Unauthorized, Some("Unauthorized"));
        };
        let method_arn = format!("{API_ARN}/{}/{method}{path}", self.api.stage);
        let (policy, cached) = match self.policy(token, &method_arn).await {
            Ok(policy) => policy,
            Err((refusal, message)) => return (self.api.refuse(refusal, message.as_deref()), "asked"),
        };
        let no = "User is not authorized to access this resource";
        let response = match policy.document.verdict(&method_arn) {
            Verdict::Allowed => echo(method, &route.resource, &policy),
            Verdict::ExplicitDeny => {
                self.api.refuse(Refusal::AccessDenied, Some(&format!("{no} with an explicit deny")))
            }
            Verdict::ImplicitDeny => self.api.refuse(Refusal::AccessDenied, Some(no)),
        };
        (response, if cached { "cached" } else { "asked" })
    }
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (mut response, source) = gateway.answer(&request.into_parts().0).await;
    response.headers_mut().insert(SOURCE_HEADER, HeaderValue::from_static(source));
    response
}

/// What the template's mapping `Echo` says of a request that was let through.
fn echo(method: &str, resource: &str, policy: &Policy) -> Response {
    #[derive(Serialize)]
    struct Echo<'e> {
        method: &'e str,
        resource: &'e str,
        authorizer: Map<String, Value>,
    }
    let mut authorizer = policy.context.clone();
    authorizer.insert("principalId".to_owned(), json!(policy.principal_id));
    ([("access-control-allow-origin", "*")], Json(Echo { method, resource, authorizer })).into_response()
}
