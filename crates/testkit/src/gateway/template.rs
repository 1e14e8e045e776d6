//! The demo API: its routes, and the settings of its authorizer and of its gateway responses, which
//! every API has here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use okta_policy::{
    api::{self, Api, BasePath, node::Node},
    report::File,
};
use regex_lite::Regex;
use serde_json::json;

use super::Error;

/// The template of the demo API.
const TEMPLATE: &str = include_str!("../../../../examples/demo/template.yaml");

type Headers = Vec<(HeaderName, HeaderValue)>;

/// The routes of the demo API.
///
/// # Errors
/// The template cannot be read.
pub fn demo_api() -> Result<Api, Error> {
    let file = File { name: "examples/demo/template.yaml".to_owned(), text: TEMPLATE.to_owned() };
    Ok(api::parse(&Arc::new(file), BasePath::Ignore, &|_| None).map_err(|stop| stop.to_string())?)
}

/// What the demo API says about its authorizer and its gateway responses.
pub struct Settings {
    /// API Gateway invokes the authorizer only for `Authorization` headers that match.
    pub validation: Regex,
    /// How long API Gateway caches a policy. A parameter has its default.
    pub reauthorize_every: Duration,
    /// The headers of the answer to a CORS preflight request.
    pub preflight: Headers,
    responses: HashMap<&'static str, GatewayResponse>,
}

/// The type of a response that API Gateway makes itself.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayResponseType {
    /// There is no token, or the authorizer refused it.
    Unauthorized,
    /// The policy does not allow the request.
    AccessDenied,
    /// There is no such route.
    MissingAuthenticationToken,
    /// The authorizer failed. AWS does not document exactly when it uses this type or the next one.
    /// Both are 500, and the template gives both the same body.
    AuthorizerFailure,
    /// The authorizer's response is not a policy.
    AuthorizerConfigurationError,
}

struct GatewayResponse {
    status: StatusCode,
    headers: Headers,
    template: String,
}

impl Settings {
    /// Reads the template of the demo API.
    ///
    /// # Errors
    /// It has no such setting, or uses a feature that this reader does not support.
    pub fn of_demo() -> Result<Self, Error> {
        let template = api::node::parse(TEMPLATE, false)
            .map_err(|(problem, span)| format!("{problem}, at byte {}", span.start))?;
        let demo = template.at(&["Resources", "DemoApi", "Properties"]).ok_or("the template has no DemoApi")?;
        let find = |keys: &[&str]| demo.at(keys).ok_or_else(|| format!("DemoApi has no {}", keys.join(".")));
        let identity = |key| find(&["Auth", "Authorizers", "Okta", "Identity", key]);
        let ttl = identity("ReauthorizeEvery")?;
        let default = ttl.get("Ref").and_then(|name| template.at(&["Parameters", name.text()?, "Default"]));
        let mut responses = HashMap::new();
        for response_type in GatewayResponseType::ALL {
            let name = response_type.name();
            let response = GatewayResponse::of(find(&["GatewayResponses", name])?);
            responses.insert(name, response.map_err(|error| format!("{name}: {error}"))?);
        }
        let cors = |header, key| Ok::<_, Error>((header, text(find(&["Cors", key])?)?));
        Ok(Self {
            validation: Regex::new(text(identity("ValidationExpression")?)?)?,
            reauthorize_every: Duration::from_secs(text(default.unwrap_or(ttl))?.parse()?),
            // SAM writes these methods for a path with any method.
            preflight: headers([
                cors("Access-Control-Allow-Origin", "AllowOrigin")?,
                cors("Access-Control-Allow-Headers", "AllowHeaders")?,
                cors("Access-Control-Max-Age", "MaxAge")?,
                ("Access-Control-Allow-Methods", "'DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT'"),
            ])?,
            responses,
        })
    }

    /// The template's response of this type. `message` is `$context.error.message`.
    pub fn respond(&self, response_type: GatewayResponseType, message: Option<&str>) -> Response {
        let mut answer = Response::new(Body::empty());
        let Some(response) = self.responses.get(response_type.name()) else { return answer };
        let body = response.template.replace("$context.error.messageString", &json!(message).to_string());
        *answer.body_mut() = Body::from(body.replace("$context.error.responseType", response_type.name()));
        *answer.status_mut() = response.status;
        answer.headers_mut().extend(response.headers.iter().cloned());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

impl GatewayResponseType {
    const ALL: [Self; 5] = [
        Self::Unauthorized,
        Self::AccessDenied,
        Self::MissingAuthenticationToken,
        Self::AuthorizerFailure,
        Self::AuthorizerConfigurationError,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::MissingAuthenticationToken => "MISSING_AUTHENTICATION_TOKEN",
            Self::AuthorizerFailure => "AUTHORIZER_FAILURE",
            Self::AuthorizerConfigurationError => "AUTHORIZER_CONFIGURATION_ERROR",
        }
    }
}

impl GatewayResponse {
    fn of(response: &Node) -> Result<Self, Error> {
        let status = response.get("StatusCode").and_then(Node::text).ok_or("no StatusCode")?;
        let template = response.at(&["ResponseTemplates", "application/json"]).and_then(Node::text);
        let template = template.ok_or("no template for JSON")?;
        let rest = template.replace("$context.error.messageString", "").replace("$context.error.responseType", "");
        if rest.contains(['$', '#']) {
            return Err(format!("unsupported variables in {template}").into());
        }
        let own = response.at(&["ResponseParameters", "Headers"]).map(Node::entries).unwrap_or_default();
        let own = own.iter().map(|header| Ok((header.key.as_str(), text(&header.node)?)));
        Ok(Self {
            status: StatusCode::from_bytes(status.as_bytes())?,
            headers: headers(own.collect::<Result<Vec<_>, Error>>()?)?,
            template: template.to_owned(),
        })
    }
}

fn text(node: &Node) -> Result<&str, Error> {
    Ok(node.text().ok_or("a value in the template is not text")?)
}

/// Headers in API Gateway's notation, in which literal text is in single quotes.
fn headers<'t>(headers: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<Headers, Error> {
    let header = |(name, value): (&str, &str)| {
        let text = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
        let text = text.ok_or_else(|| format!("the header {name} is not text in single quotes"))?;
        Ok((HeaderName::try_from(name.to_lowercase())?, HeaderValue::try_from(text)?))
    };
    headers.into_iter().map(header).collect()
}
