//! What API Gateway asks: the TOKEN authorizer event and its method ARN.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// A TOKEN authorizer event, as its sender wrote it. Its `Debug` shows nothing of the token.
///
/// Source: API Gateway developer guide, "Input to an API Gateway Lambda authorizer".
pub struct TokenEvent<'a> {
    /// The identity source's value: the `Authorization` header.
    pub unverified_token: Option<Cow<'a, str>>,
    /// What the caller asks for.
    pub method_arn: Option<Cow<'a, str>>,
}

impl fmt::Debug for TokenEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEvent").field("method_arn", &self.method_arn).finish_non_exhaustive()
    }
}

/// What is read of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow, default)]
    r#type: Member<'a>,
    #[serde(borrow, default)]
    authorization_token: Member<'a>,
    #[serde(borrow, default)]
    method_arn: Member<'a>,
}

/// A string, borrowed where nothing in it is escaped, or anything else, or nothing.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Member<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
    #[default]
    #[serde(skip)]
    Absent,
}

impl<'a> Member<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) | Self::Absent => None,
        }
    }
}

impl<'a> TokenEvent<'a> {
    /// Reads any JSON; `None` where it is no TOKEN event. An absent `type` passes for `TOKEN`; a token or an ARN that is
    /// no string is as good as absent. None of these three may stand there twice; what else there is does not matter.
    #[must_use]
    pub fn parse(payload: &'a RawValue) -> Option<Self> {
        // serde would take an array for a struct as well, its members in their order.
        if !payload.get().starts_with('{') {
            return None;
        }
        let members: Members<'a> = serde_json::from_str(payload.get()).ok()?;
        match members.r#type {
            Member::Absent => {}
            Member::Text(kind) if kind == "TOKEN" => {}
            Member::Text(_) | Member::Other(_) => return None,
        }
        Some(Self { unverified_token: members.authorization_token.text(), method_arn: members.method_arn.text() })
    }
}

/// `arn:{partition}:execute-api:{region}:{account}:{apiId}/{stage}/{METHOD}/{path…}`.
///
/// Everything before the method is API Gateway's word and free of wildcards; the path is the caller's and untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodArn {
    text: String,
    stage_len: usize,
    method_len: usize,
}

impl MethodArn {
    /// `None` where a field is missing, or has characters that AWS would not put there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(6, ':');
        let head = [fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?];
        let [arn, partition, service, region, account] = head;
        let mut segments = fields.next()?.splitn(4, '/');
        let (api, stage, method) = (segments.next()?, segments.next()?, segments.next()?);
        let plain = |field: &str| {
            (1..=128).contains(&field.len())
                && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let good = arn == "arn"
            && service == "execute-api"
            && [partition, region, account, api, stage].into_iter().all(plain)
            && (1..=16).contains(&method.len())
            && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let stage_len = head.iter().map(|field| field.len() + 1).sum::<usize>() + api.len() + 1 + stage.len();
        good.then(|| Self { text: text.to_owned(), stage_len, method_len: method.len() })
    }

    /// The whole ARN, as it came.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `arn:…:{apiId}/{stage}`: what every resource of the policy starts with. No wildcard can stand in it.
    #[must_use]
    pub fn stage(&self) -> &str {
        self.text.get(..self.stage_len).unwrap_or_default()
    }

    /// `GET`, say. A method that the API has in upper case; not necessarily one that HTTP knows.
    #[must_use]
    pub fn method(&self) -> &str {
        self.text.get(self.stage_len + 1..self.stage_len + 1 + self.method_len).unwrap_or_default()
    }

    /// The request's path with its `/`, untrusted; empty where the ARN ends with the method.
    #[must_use]
    pub fn untrusted_path(&self) -> &str {
        self.text.get(self.stage_len + 1 + self.method_len..).unwrap_or_default()
    }

    /// `{METHOD}/{path}`, untrusted: what the ARN says behind the stage.
    #[must_use]
    pub fn tail(&self) -> &str {
        self.text.get(self.stage_len + 1..).unwrap_or_default()
    }

    /// A resource on this API and stage: `tail` is `{METHOD}/{path}`.
    #[must_use]
    pub fn resource(&self, tail: &str) -> String {
        [self.stage(), "/", tail].concat()
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
    fn reads_a_token_event_and_nothing_else() {
        let both = (Some("t".to_owned()), Some("a".to_owned()));
        assert_eq!(event(r#"{"type":"TOKEN","authorizationToken":"t","methodArn":"a"}"#), Some(both.clone()));
        assert_eq!(event(r#"{"authorizationToken":"t","methodArn":"a","more":[1]}"#), Some(both));
        assert_eq!(event("{}"), Some((None, None)));
        assert_eq!(event(r#"{"authorizationToken":7,"methodArn":["a"]}"#), Some((None, None)));
        // By this name serde_json knows JSON text that it has read itself; out of an event it is an object like any.
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
    fn takes_a_method_arn_apart() {
        let arn = MethodArn::parse("arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2/v1_x-y/GET/a:b//c*").unwrap();
        assert_eq!(arn.stage(), "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2/v1_x-y");
        assert_eq!((arn.method(), arn.untrusted_path()), ("GET", "/a:b//c*"));
        assert_eq!(arn.resource("GET/x"), "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2/v1_x-y/GET/x");
        let bare = MethodArn::parse("arn:aws:execute-api:eu-west-1:1:a/s/GET").unwrap();
        assert_eq!((bare.method(), bare.untrusted_path()), ("GET", ""));
        let root = MethodArn::parse("arn:aws:execute-api:eu-west-1:1:a/s/GET/").unwrap();
        assert_eq!((root.method(), root.untrusted_path()), ("GET", "/"));
    }

    #[test]
    fn refuses_what_aws_would_not_send() {
        for bad in [
            "",
            "arn",
            "arn:aws:execute-api:eu-west-1:1",
            "arn:aws:execute-api:eu-west-1:1:",
            "arn:aws:execute-api:eu-west-1:1:a",
            "arn:aws:execute-api:eu-west-1:1:a/s",
            "arn:aws:execute-api:eu-west-1:1:a/s/",
            "arn:aws:execute-api:eu-west-1:1:a/s//x",
            "arn:aws:execute-api:eu-west-1:1:a//GET/x",
            "arn:aws:execute-api:eu-west-1:1:*/s/GET/x",
            "arn:aws:execute-api:eu-west-1:1:a/*/GET/x",
            "arn:aws:execute-api:eu-west-1:1:a/s/*/x",
            "arn:aws:execute-api:eu-west-1:1:a/s/get/x",
            "arn:aws:execute-api:eu-west-1:1:a/s/G?T/x",
            "arn:aws:execute-api:*:1:a/s/GET/x",
            "arn:aws:execute-api::1:a/s/GET/x",
            "arn:aws:execute-api:eu-west-1:${x}:a/s/GET/x",
            "arn::execute-api:eu-west-1:1:a/s/GET/x",
            "arn:aws:lambda:eu-west-1:1:a/s/GET/x",
            "ARN:aws:execute-api:eu-west-1:1:a/s/GET/x",
            " arn:aws:execute-api:eu-west-1:1:a/s/GET/x",
        ] {
            assert_eq!(MethodArn::parse(bad), None, "{bad}");
        }
    }
}
