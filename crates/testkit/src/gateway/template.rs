//! The demo API in `examples/demo`: its routes, its authorizer's settings and its gateway
//! responses.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use regex_lite::Regex;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use super::Error;
use crate::METHODS;

const ANY: &str = "x-amazon-apigateway-any-method";
const PROPERTIES: &str = "/Resources/DemoApi/Properties";

type Headers = Vec<(HeaderName, HeaderValue)>;

/// The demo API. Every template parameter has its default.
pub struct Api {
    pub stage: String,
    pub routes: Vec<Route>,
    /// API Gateway invokes the authorizer only for `Authorization` headers that match.
    pub validation: Regex,
    /// How long API Gateway caches a policy.
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

impl Api {
    /// Reads the template.
    ///
    /// # Errors
    /// The template has no demo API, or it uses a feature that this reader does not support.
    pub fn of(template: &str) -> Result<Self, Error> {
        let documents = Yaml::load_from_str(template)?;
        let template = json(documents.first().ok_or("the template is empty")?)?;
        let find = |path: &str| {
            let value = template.pointer(&format!("{PROPERTIES}{path}"));
            value.ok_or_else(|| format!("examples/demo/template.yaml has no {PROPERTIES}{path}"))
        };
        let text = |path: &str| {
            let value = find(path)?.as_str();
            value.map(str::to_owned).ok_or_else(|| format!("{PROPERTIES}{path} is not text"))
        };

        let ttl = resolved(&template, find("/Auth/Authorizers/Okta/Identity/ReauthorizeEvery")?)?;
        let paths = find("/DefinitionBody/paths")?.as_object().ok_or("the paths are not a mapping")?;
        let mut responses = HashMap::new();
        for response_type in GatewayResponseType::ALL {
            let path = format!("/GatewayResponses/{}", response_type.name());
            responses.insert(
                response_type.name(),
                GatewayResponse::of(find(&path)?).map_err(|error| format!("{path}: {error}"))?,
            );
        }
        Ok(Self {
            stage: text("/StageName")?,
            routes: paths.iter().map(|(path, item)| Route::of(path, item)).collect::<Result<_, _>>()?,
            validation: Regex::new(&text("/Auth/Authorizers/Okta/Identity/ValidationExpression")?)?,
            reauthorize_every: Duration::from_secs(ttl.as_u64().ok_or("ReauthorizeEvery is not a number")?),
            // SAM writes these methods for a path with any method.
            preflight: headers(&json!({
                "Access-Control-Allow-Origin": find("/Cors/AllowOrigin")?,
                "Access-Control-Allow-Headers": find("/Cors/AllowHeaders")?,
                "Access-Control-Max-Age": find("/Cors/MaxAge")?,
                "Access-Control-Allow-Methods": "'DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT'",
            }))?,
            responses,
        })
    }

    /// The route of a request. `path` is the raw path without the stage.
    pub fn route(&self, method: &str, path: &str) -> Option<&Route> {
        let fitting = self.routes.iter().filter(|route| route.matches(path));
        let most_specific = fitting.max_by(|one, other| one.segments.cmp(&other.segments))?;
        most_specific.methods.contains(&method).then_some(most_specific)
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
    fn of(response: &Value) -> Result<Self, Error> {
        let status = response.get("StatusCode").and_then(Value::as_u64).ok_or("no StatusCode")?;
        let template = response.pointer("/ResponseTemplates/application~1json").and_then(Value::as_str);
        let template = template.ok_or("no template for JSON")?;
        let rest = template.replace("$context.error.messageString", "").replace("$context.error.responseType", "");
        if rest.contains(['$', '#']) {
            return Err(format!("unsupported variables in {template}").into());
        }
        Ok(Self {
            status: StatusCode::from_u16(u16::try_from(status)?)?,
            headers: response.pointer("/ResponseParameters/Headers").map_or_else(|| Ok(Headers::new()), headers)?,
            template: template.to_owned(),
        })
    }
}

/// Headers in API Gateway's notation, in which literal text is in single quotes.
fn headers(mapping: &Value) -> Result<Headers, Error> {
    let header = |(name, value): (&String, &Value)| {
        let text = value.as_str().and_then(|value| value.strip_prefix('\'')?.strip_suffix('\''));
        let text = text.ok_or_else(|| format!("the header {name} is not text in single quotes"))?;
        Ok((HeaderName::try_from(name.to_lowercase())?, HeaderValue::try_from(text)?))
    };
    mapping.as_object().ok_or("the headers are not a mapping")?.iter().map(header).collect()
}

/// A path of the API.
pub struct Route {
    /// The path in the template, for example `/idps/{id}`.
    pub resource: String,
    segments: Vec<Segment>,
    methods: Vec<&'static str>,
}

/// In ascending order of API Gateway's preference.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// `{proxy+}`: the rest of the path.
    Rest,
    /// `{id}`: one segment.
    Parameter,
    Text(String),
}

impl Route {
    fn of(resource: &str, item: &Value) -> Result<Self, Error> {
        let methods = METHODS.into_iter().filter(|method| item.get(ANY).or(item.get(method.to_lowercase())).is_some());
        let segments = resource.strip_prefix('/').ok_or("a path begins with a slash")?.split('/');
        let segment = |text: &str| match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) if name.ends_with('+') => Segment::Rest,
            Some(_) => Segment::Parameter,
            None => Segment::Text(text.to_owned()),
        };
        Ok(Self {
            resource: resource.to_owned(),
            segments: segments.map(segment).collect(),
            methods: methods.collect(),
        })
    }

    fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Rest, Some(part)) => return !part.is_empty() || parts.next().is_some(),
                (Segment::Parameter, Some(part)) if !part.is_empty() => {}
                (Segment::Text(text), Some(part)) if text == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

/// The JSON form of a YAML template: `!Ref X` becomes `{"Ref": "X"}`.
fn json(yaml: &Yaml<'_>) -> Result<Value, Error> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => json!(value),
        Yaml::Value(Scalar::Integer(value)) => json!(value),
        Yaml::Value(Scalar::FloatingPoint(value)) => json!(value.into_inner()),
        Yaml::Value(Scalar::String(value)) => json!(value),
        Yaml::Sequence(items) => items.iter().map(json).collect::<Result<_, _>>()?,
        Yaml::Mapping(members) => {
            let member = |(name, value): (&Yaml<'_>, _)| {
                let name = name.as_str().ok_or("a name in the template is not text")?;
                Ok::<_, Error>((name.to_owned(), json(value)?))
            };
            Value::Object(members.iter().map(member).collect::<Result<Map<_, _>, _>>()?)
        }
        Yaml::Tagged(tag, value) => match tag.suffix.as_str() {
            name @ ("Ref" | "Condition") => json!({ name: json(value)? }),
            name => json!({ format!("Fn::{name}"): json(value)? }),
        },
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => {
            return Err(format!("unsupported YAML in the template: {yaml:?}").into());
        }
    })
}

/// The value, or the default of the parameter that it refers to.
fn resolved<'t>(template: &'t Value, value: &'t Value) -> Result<&'t Value, Error> {
    let Some(name) = value.get("Ref").and_then(Value::as_str) else { return Ok(value) };
    let default = template.pointer(&format!("/Parameters/{name}/Default"));
    default.ok_or_else(|| format!("the parameter {name} has no default").into())
}
