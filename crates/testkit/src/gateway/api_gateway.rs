//! The gateway itself: routing, the authorizer's policies and their cache, and the mock
//! integration.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
};
use okta_policy::{
    DEFAULT_API, DEFAULT_STAGE,
    api::{self, Access, Api, BasePath},
    explain::Explainer,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Error,
    template::{GatewayResponseType, Settings, demo_api},
};
use crate::{
    iam::{Document, Verdict},
    runtime_api::{Answer, Authorizer},
};

/// The function's timeout in the template.
const TIMEOUT: Duration = Duration::from_secs(6);

/// The header that says who decided, and after a semicolon why. API Gateway does not send it.
pub const SOURCE_HEADER: &str = "x-local-authorizer";

/// The clock of the policy cache.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// An API with the authorizer.
pub struct Gateway {
    api: Api,
    settings: Settings,
    explainer: Explainer,
    authorizer: Authorizer,
    ttl: Duration,
    clock: Clock,
    /// By the value of the whole `Authorization` header, as in API Gateway.
    cache: Mutex<HashMap<String, Cached>>,
}

#[derive(Clone)]
struct Cached {
    policy: Arc<Policy>,
    /// The ARN of the request that it was made for.
    made_for: Arc<str>,
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

/// The name of the API's stage: the file's, or the default of `okta-policy`.
pub fn stage(api: &Api) -> &str {
    api.stage.as_deref().unwrap_or(DEFAULT_STAGE)
}

/// The API in a file. Without one, the demo.
///
/// # Errors
/// A line for each mistake in the file.
pub fn read_api(file: Option<&Path>) -> Result<Api, Error> {
    match file {
        Some(file) => Ok(api::read(file, BasePath::Ignore).map_err(|stop| stop.to_string())?),
        None => demo_api(),
    }
}

impl Gateway {
    /// `rules` is the authorizer's rules file. `ttl` is how long a policy is cached, without it as
    /// long as in the demo. With zero, every request invokes the authorizer.
    ///
    /// # Errors
    /// The rules or the template of the demo cannot be read.
    pub fn new(
        api: Api,
        rules: &Path,
        authorizer: Authorizer,
        ttl: Option<Duration>,
        clock: Clock,
    ) -> Result<Self, Error> {
        let settings = Settings::of_demo()?;
        let ttl = ttl.unwrap_or(settings.reauthorize_every);
        let explainer = Explainer::read(rules).map_err(|stop| stop.to_string())?;
        Ok(Self { api, settings, explainer, authorizer, ttl, clock, cache: Mutex::default() })
    }

    /// Serves requests until the returned task is aborted.
    pub fn serve(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
        let router = Router::new().fallback(answer).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await })
    }

    /// How long a policy is cached.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    pub fn authorizer(&self) -> &Authorizer {
        &self.authorizer
    }

    /// The policy for this `Authorization` header, and whether it was cached. Errors are not cached.
    async fn policy(
        &self,
        header: &str,
        method_arn: &str,
    ) -> Result<(Cached, bool), (GatewayResponseType, &'static str)> {
        let now = (self.clock)();
        let cached = self.cache.lock().unwrap().get(header).filter(|cached| now < cached.until).cloned();
        if let Some(cached) = cached {
            return Ok((cached, true));
        }
        let event = json!({ "type": "TOKEN", "authorizationToken": header, "methodArn": method_arn });
        let response = match self.authorizer.try_invoke(event.to_string(), TIMEOUT).await {
            Some(Answer::Response(response)) => response,
            Some(answer @ Answer::Error { .. }) if answer.is_unauthorized() => {
                return Err((GatewayResponseType::Unauthorized, "refused; the authorizer says why in its log"));
            }
            Some(Answer::Error { .. }) => {
                return Err((GatewayResponseType::AuthorizerFailure, "asked; it failed, and says why in its log"));
            }
            None => return Err((GatewayResponseType::AuthorizerFailure, "asked; it ended, or took too long")),
        };
        let policy = Policy::read(response)
            .ok_or((GatewayResponseType::AuthorizerConfigurationError, "asked; its answer is no policy"))?;
        let made = Cached { policy: Arc::new(policy), made_for: method_arn.into(), until: now + self.ttl };
        self.cache.lock().unwrap().insert(header.to_owned(), made.clone());
        Ok((made, false))
    }

    /// The `Authorization` header, or why it is 401 without the authorizer.
    fn header<'r>(&self, headers: &'r HeaderMap) -> Result<&'r str, String> {
        let header = headers.get(AUTHORIZATION).ok_or("refused; there is no header Authorization")?;
        let validation = &self.settings.validation;
        let matching = header.to_str().ok().filter(|header| validation.is_match(header));
        matching.ok_or_else(|| format!("refused; the header Authorization does not match {validation}"))
    }

    /// The response, and the value of [`SOURCE_HEADER`].
    async fn answer(&self, request: &Parts) -> (Response, String) {
        let respond = |response, message: &str| self.settings.respond(response, Some(message));
        let method = request.method.as_str();
        let stage = stage(&self.api);
        let path = request.uri.path().strip_prefix('/').and_then(|path| path.strip_prefix(stage));
        let path = path.map_or("", |path| if path.is_empty() { "/" } else { path });
        let Some(operation) = self.api.operation_for(method, path) else {
            let response = respond(GatewayResponseType::MissingAuthenticationToken, "Missing Authentication Token");
            return (response, "not asked; there is no such route".to_owned());
        };
        match &operation.access {
            Access::Authorizer => {}
            Access::Open(reason) => {
                let response = match method {
                    // A browser's preflight.
                    "OPTIONS" => HeaderMap::from_iter(self.settings.preflight.clone()).into_response(),
                    _ => echo(method, &operation.path, None),
                };
                return (response, format!("open; {reason}"));
            }
            Access::Other(kind) => {
                let message = format!("{kind} decides, and the local gateway does not have that");
                let body = Json(json!({ "message": message }));
                return ((StatusCode::NOT_IMPLEMENTED, body).into_response(), format!("not asked; {message}"));
            }
        }
        let header = match self.header(&request.headers) {
            Ok(header) => header,
            Err(source) => return (respond(GatewayResponseType::Unauthorized, "Unauthorized"), source),
        };
        let method_arn = format!("arn:aws:execute-api:us-east-1:123456789012:{DEFAULT_API}/{stage}/{method}{path}");
        let (Cached { policy, made_for, .. }, was_cached) = match self.policy(header, &method_arn).await {
            Ok(policy) => policy,
            Err((response, source)) => {
                let message = (response == GatewayResponseType::Unauthorized).then_some("Unauthorized");
                return (self.settings.respond(response, message), source.to_owned());
            }
        };
        let denied = "User is not authorized to access this resource";
        let verdict = policy.document.verdict(&method_arn);
        let response = match verdict {
            Verdict::Allowed => {
                let mut context = policy.context.clone();
                context.insert("principalId".to_owned(), json!(policy.principal_id));
                echo(method, &operation.path, Some(context))
            }
            Verdict::ExplicitDeny => {
                respond(GatewayResponseType::AccessDenied, &format!("{denied} with an explicit deny"))
            }
            Verdict::ImplicitDeny => respond(GatewayResponseType::AccessDenied, denied),
        };
        let source = if was_cached { "cached" } else { "asked" };
        let source = match self.explainer.explain(header, &made_for, &method_arn) {
            Some(explanation) if explanation.is_guarded => format!("guarded; {}", explanation.text),
            Some(explanation) => format!("{source}; {}", explanation.text),
            None => source.to_owned(),
        };
        (response, source)
    }
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (mut response, source) = gateway.answer(&request.into_parts().0).await;
    // A name in the API can have other characters.
    let source = source.replace(|character| !(' '..='~').contains(&character), "?");
    response
        .headers_mut()
        .extend(HeaderValue::try_from(source).ok().map(|source| (HeaderName::from_static(SOURCE_HEADER), source)));
    response
}

/// The response of a mock, as of the demo's integration `Echo`: `authorizer` is the context.
fn echo(method: &str, resource: &str, authorizer: Option<Map<String, Value>>) -> Response {
    #[derive(Serialize)]
    struct Echo<'e> {
        method: &'e str,
        resource: &'e str,
        authorizer: Option<Map<String, Value>>,
    }
    ([("access-control-allow-origin", "*")], Json(Echo { method, resource, authorizer })).into_response()
}

#[cfg(test)]
mod tests {
    use super::TIMEOUT;

    #[test]
    fn the_timeout_is_that_of_the_template() {
        let template = include_str!("../../../../template.yaml");
        assert!(template.contains(&format!("\n      Timeout: {}\n", TIMEOUT.as_secs())), "{TIMEOUT:?}");
    }
}
