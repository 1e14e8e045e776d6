//! The gateway itself: routing, the authorizer's policies and their cache, and the mock
//! integration.

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
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::template::{Api, GatewayResponseType};
use crate::{
    iam::{Document, Verdict},
    runtime_api::{Answer, Authorizer},
};

/// The ARN of the API, without the stage.
const API_ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:localgw000";

/// The function's timeout in `template.yaml`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The header that says where the policy came from: `asked`, `cached` or `not asked`. API Gateway
/// does not send it.
pub const SOURCE_HEADER: &str = "x-local-authorizer";

/// The clock of the policy cache.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The API with its authorizer.
pub struct Gateway {
    api: Api,
    authorizer: Authorizer,
    ttl: Duration,
    clock: Clock,
    /// By the value of the whole `Authorization` header, as in API Gateway.
    cache: Mutex<HashMap<String, Cached>>,
}

#[derive(Clone)]
struct Cached {
    policy: Arc<Policy>,
    until: Instant,
}

/// The members of an authorizer's response that API Gateway uses.
struct Policy {
    principal_id: String,
    document: Document,
    context: Map<String, Value>,
}

impl Policy {
    fn read(mut response: Value) -> Option<Self> {
        Some(Self {
            principal_id: response["principalId"].as_str()?.to_owned(),
            document: Document::read(&response["policyDocument"]).ok()?,
            context: match response["context"].take() {
                Value::Null => Map::new(),
                context => context.as_object()?.clone(),
            },
        })
    }
}

impl Gateway {
    /// `ttl` is how long a policy is cached. With zero, every request invokes the authorizer.
    pub fn new(api: Api, authorizer: Authorizer, ttl: Duration, clock: Clock) -> Self {
        Self { api, authorizer, ttl, clock, cache: Mutex::default() }
    }

    /// Serves requests until the returned task is aborted.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        let router = Router::new().fallback(answer).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await })
    }

    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// The token's policy, and whether it was cached. Errors are not cached.
    async fn policy(
        &self,
        token: &str,
        method_arn: &str,
    ) -> Result<(Arc<Policy>, bool), (GatewayResponseType, Option<String>)> {
        let now = (self.clock)();
        let cached = self.cache.lock().unwrap().get(token).filter(|cached| now < cached.until).cloned();
        if let Some(cached) = cached {
            return Ok((cached.policy, true));
        }
        let event = json!({ "type": "TOKEN", "authorizationToken": token, "methodArn": method_arn });
        let response = match self.authorizer.try_invoke(event.to_string(), TIMEOUT).await {
            Some(Answer::Response(response)) => response,
            Some(Answer::Error { message, .. }) if message == "Unauthorized" => {
                return Err((GatewayResponseType::Unauthorized, Some(message)));
            }
            Some(Answer::Error { .. }) | None => return Err((GatewayResponseType::AuthorizerFailure, None)),
        };
        let policy = Policy::read(response).ok_or((GatewayResponseType::AuthorizerConfigurationError, None))?;
        let policy = Arc::new(policy);
        let cached = Cached { policy: Arc::clone(&policy), until: now + self.ttl };
        self.cache.lock().unwrap().insert(token.to_owned(), cached);
        Ok((policy, false))
    }

    /// The `Authorization` header, if it matches the template's `ValidationExpression`.
    fn token<'r>(&self, headers: &'r HeaderMap) -> Option<&'r str> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?;
        self.api.validation.is_match(token).then_some(token)
    }

    async fn answer(&self, request: &Parts) -> (Response, &'static str) {
        let not_asked = |response, message| (self.api.respond(response, message), "not asked");
        let method = request.method.as_str();
        let path = request.uri.path();
        let path = path.strip_prefix('/').and_then(|path| path.strip_prefix(&self.api.stage)).unwrap_or_default();
        let Some(route) = self.api.route(method, path) else {
            return not_asked(GatewayResponseType::MissingAuthenticationToken, Some("Missing Authentication Token"));
        };
        if method == "OPTIONS" {
            // SAM adds this method. It has no authorizer.
            return (HeaderMap::from_iter(self.api.preflight.clone()).into_response(), "not asked");
        }
        let Some(token) = self.token(&request.headers) else {
            return not_asked(GatewayResponseType::Unauthorized, Some("Unauthorized"));
        };
        let method_arn = format!("{API_ARN}/{}/{method}{path}", self.api.stage);
        let (policy, cached) = match self.policy(token, &method_arn).await {
            Ok(policy) => policy,
            Err((response, message)) => return (self.api.respond(response, message.as_deref()), "asked"),
        };
        let message = "User is not authorized to access this resource";
        let response = match policy.document.verdict(&method_arn) {
            Verdict::Allowed => echo(method, &route.resource, &policy),
            Verdict::ExplicitDeny => {
                self.api.respond(GatewayResponseType::AccessDenied, Some(&format!("{message} with an explicit deny")))
            }
            Verdict::ImplicitDeny => self.api.respond(GatewayResponseType::AccessDenied, Some(message)),
        };
        (response, if cached { "cached" } else { "asked" })
    }
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (mut response, source) = gateway.answer(&request.into_parts().0).await;
    response.headers_mut().insert(SOURCE_HEADER, HeaderValue::from_static(source));
    response
}

/// The response of the template's mock integration `Echo` to an allowed request.
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
