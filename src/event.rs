//! The TOKEN authorizer event that API Gateway sends.

use std::{borrow::Cow, fmt};

use aws_lambda_events::event::apigw::ApiGatewayCustomAuthorizerRequest;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

/// What the function was invoked with. If it is not JSON, it becomes `null`, which is refused like
/// everything that is not a TOKEN event.
#[derive(Debug)]
pub struct Payload(pub Box<RawValue>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::deserialize(deserializer).unwrap_or_else(|_| RawValue::NULL.to_owned())))
    }
}

/// A TOKEN authorizer event. Its `Debug` shows nothing of the token.
///
/// Source: API Gateway developer guide, "Input to an API Gateway Lambda authorizer".
pub struct TokenEvent<'a> {
    /// The value of the identity source: the `Authorization` header.
    pub unverified_token: Option<Cow<'a, str>>,
    /// The ARN of the method that the request calls, as text.
    pub method_arn: Option<Cow<'a, str>>,
}

impl fmt::Debug for TokenEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEvent").field("method_arn", &self.method_arn).finish_non_exhaustive()
    }
}

/// The fields that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent<'a> {
    #[serde(borrow, default)]
    r#type: RawField<'a>,
    #[serde(borrow, default)]
    authorization_token: RawField<'a>,
    #[serde(borrow, default)]
    method_arn: RawField<'a>,
}

/// A string (borrowed if it has no escapes), another JSON value, or no field.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum RawField<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
    #[default]
    #[serde(skip)]
    Absent,
}

impl<'a> RawField<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) | Self::Absent => None,
        }
    }
}

impl<'a> TokenEvent<'a> {
    /// Reads an event; `None` if the JSON is not a TOKEN event.
    ///
    /// A missing `type` means `TOKEN`. A token or an ARN that is not a string counts as missing. If
    /// one of the three fields occurs twice, the event is rejected. Other fields are ignored.
    #[must_use]
    pub fn parse(payload: &'a RawValue) -> Option<Self> {
        // Only an object: serde would also read a struct from an array.
        if !payload.get().starts_with('{') {
            return None;
        }
        let event: RawEvent<'a> = serde_json::from_str(payload.get()).ok()?;
        match event.r#type {
            RawField::Absent => {}
            RawField::Text(kind) if kind == "TOKEN" => {}
            RawField::Text(_) | RawField::Other(_) => return None,
        }
        Some(Self { unverified_token: event.authorization_token.text(), method_arn: event.method_arn.text() })
    }

    /// The same view of an event that the caller has as the AWS crate's type. The Lambda itself
    /// reads the JSON, because that type does not reject duplicate fields.
    ///
    /// Returns `None` if `type` is neither missing nor `TOKEN`.
    #[must_use]
    pub fn from_request(request: &'a ApiGatewayCustomAuthorizerRequest) -> Option<Self> {
        let is_token = request.type_.as_deref().is_none_or(|kind| kind == "TOKEN");
        is_token.then(|| Self {
            unverified_token: request.authorization_token.as_deref().map(Cow::Borrowed),
            method_arn: request.method_arn.as_deref().map(Cow::Borrowed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Option<(Option<String>, Option<String>)> {
        let payload = serde_json::from_str::<Box<RawValue>>(json).unwrap();
        let event = TokenEvent::parse(&payload)?;
        Some((event.unverified_token.map(Cow::into_owned), event.method_arn.map(Cow::into_owned)))
    }

    #[test]
    fn reads_only_a_token_event() {
        let both = (Some("t".to_owned()), Some("a".to_owned()));
        assert_eq!(event(r#"{"type":"TOKEN","authorizationToken":"t","methodArn":"a"}"#), Some(both.clone()));
        assert_eq!(event(r#"{"authorizationToken":"t","methodArn":"a","more":[1]}"#), Some(both));
        assert_eq!(event("{}"), Some((None, None)));
        assert_eq!(event(r#"{"authorizationToken":7,"methodArn":["a"]}"#), Some((None, None)));
        // serde_json uses this name for its own raw values. In an event it is an ordinary object.
        let raw = r#"{"$serde_json::private::RawValue":"\"t\""}"#;
        assert_eq!(event(&format!(r#"{{"authorizationToken":{raw},"x":{raw}}}"#)), Some((None, None)));
        for other in [
            "null",
            "7",
            "[]",
            r#"["TOKEN","t","a"]"#,
            r#""TOKEN""#,
            r#"{"type":"REQUEST"}"#,
            r#"{"type":7}"#,
            r#"{"type":null}"#,
            r#"{"authorizationToken":"t","authorizationToken":"u","methodArn":"a"}"#,
        ] {
            assert_eq!(event(other), None, "{other}");
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let event = TokenEvent { unverified_token: Some("secret".into()), method_arn: None };
        assert!(!format!("{event:?}").contains("secret"));
    }

    #[test]
    fn a_typed_event_is_read_like_its_json() {
        let typed = |json: &str| serde_json::from_str::<ApiGatewayCustomAuthorizerRequest>(json).unwrap();
        let request = typed(r#"{"type":"TOKEN","authorizationToken":"t","methodArn":"a"}"#);
        let event = TokenEvent::from_request(&request).unwrap();
        assert_eq!((event.unverified_token.as_deref(), event.method_arn.as_deref()), (Some("t"), Some("a")));
        assert!(TokenEvent::from_request(&typed(r#"{"authorizationToken":"t"}"#)).is_some());
        assert!(TokenEvent::from_request(&typed(r#"{"type":"REQUEST"}"#)).is_none());
    }
}
