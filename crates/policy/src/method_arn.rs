//! The ARN of the method that a request calls.

/// `arn:{partition}:execute-api:{region}:{account}:{apiId}/{stage}/{METHOD}/{path…}`.
///
/// API Gateway writes everything before the method, and it contains no wildcard. The path is the
/// caller's and untrusted. It can contain `:`, `*` and any other character.
///
/// Source: API Gateway developer guide, "Input to an API Gateway Lambda authorizer".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodArn {
    text: String,
    stage_len: usize,
    method_len: usize,
}

impl MethodArn {
    /// Returns `None` if a field is missing, or has characters that AWS does not use there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(6, ':');
        let head = [fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?];
        let [arn, partition, service, region, account] = head;
        let mut segments = fields.next()?.splitn(4, '/');
        let (api, stage, method) = (segments.next()?, segments.next()?, segments.next()?);
        let is_plain = |field: &str| {
            (1..=128).contains(&field.len())
                && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let is_valid = arn == "arn"
            && service == "execute-api"
            && [partition, region, account, api, stage].into_iter().all(is_plain)
            && (1..=16).contains(&method.len())
            && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let stage_len = head.iter().map(|field| field.len() + 1).sum::<usize>() + api.len() + 1 + stage.len();
        is_valid.then(|| Self { text: text.to_owned(), stage_len, method_len: method.len() })
    }

    /// The whole ARN as API Gateway sent it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `arn:…:{apiId}/{stage}`, the start of every resource of the policy. It has no wildcard.
    #[must_use]
    pub fn stage_arn(&self) -> &str {
        self.text.get(..self.stage_len).unwrap_or_default()
    }

    /// The API's id.
    #[must_use]
    pub fn api(&self) -> &str {
        self.api_and_stage().0
    }

    /// The stage's name.
    #[must_use]
    pub fn stage(&self) -> &str {
        self.api_and_stage().1
    }

    fn api_and_stage(&self) -> (&str, &str) {
        let (_, api_and_stage) = self.stage_arn().rsplit_once(':').unwrap_or_default();
        api_and_stage.split_once('/').unwrap_or_default()
    }

    /// The method in upper case, for example `GET`. It may be a method that HTTP does not define.
    #[must_use]
    pub fn method(&self) -> &str {
        self.text.get(self.stage_len + 1..self.stage_len + 1 + self.method_len).unwrap_or_default()
    }

    /// The request's path with its first `/`, untrusted. Empty if the ARN ends with the method.
    #[must_use]
    pub fn untrusted_path(&self) -> &str {
        self.text.get(self.stage_len + 1 + self.method_len..).unwrap_or_default()
    }

    /// `{METHOD}/{path}`, untrusted: the ARN after the stage.
    #[must_use]
    pub fn method_and_path(&self) -> &str {
        self.text.get(self.stage_len + 1..).unwrap_or_default()
    }

    /// The resource `{METHOD}/{path}` on this API and stage.
    #[must_use]
    pub fn resource_arn(&self, method_and_path: &str) -> String {
        [self.stage_arn(), "/", method_and_path].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_method_arn() {
        let arn = MethodArn::parse("arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2/v1_x-y/GET/a:b//c*").unwrap();
        assert_eq!(arn.stage_arn(), "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2/v1_x-y");
        assert_eq!((arn.api(), arn.stage()), ("a1b2", "v1_x-y"));
        assert_eq!((arn.method(), arn.untrusted_path()), ("GET", "/a:b//c*"));
        assert_eq!(arn.resource_arn("GET/x"), "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2/v1_x-y/GET/x");
        let bare = MethodArn::parse("arn:aws:execute-api:eu-west-1:1:a/s/GET").unwrap();
        assert_eq!((bare.method(), bare.untrusted_path()), ("GET", ""));
        let root = MethodArn::parse("arn:aws:execute-api:eu-west-1:1:a/s/GET/").unwrap();
        assert_eq!((root.method(), root.untrusted_path()), ("GET", "/"));
    }

    #[test]
    fn rejects_what_aws_does_not_send() {
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
            "*",
            "x",
            "GET /apps",
            ":::::",
            "arn:aws:execute-api:eu-west-1:1:a/",
            "arn:aws:execute-api:eu-west-1:1:/s/GET/x",
            "arn:aws:execute-api:eu-west-1:1:a*/s/GET/x",
            "arn:aws:execute-api:eu-west-1:1:a/s?/GET/x",
            "arn:aws:execute-api:eu-west-1:1:a/${aws:username}/GET/x",
            "arn:aws:execute-api:eu-west-1:*:a/s/GET/x",
            "arn:aws:execute-api:eu-west-1::a/s/GET/x",
            "arn:aws:*:eu-west-1:1:a/s/GET/x",
            "arn:aws:s3:eu-west-1:1:a/s/GET/x",
            "arn:*:execute-api:eu-west-1:1:a/s/GET/x",
            "urn:aws:execute-api:eu-west-1:1:a/s/GET/x",
        ] {
            assert_eq!(MethodArn::parse(bad), None, "{bad}");
        }
    }
}
