//! The configuration: all environment variables, parsed once at start.

mod env;
mod urls;

use std::{
    borrow::Cow,
    collections::HashSet,
    ffi::OsString,
    fmt::{self, Write},
    io,
};

use aws_lc_rs::digest::{SHA256, digest};
use tracing::level_filters::LevelFilter;
use url::Url;

use crate::{
    keys::{KeySet, RefreshPolicy},
    policy::{PolicyOptions, Rules, RulesErrors},
    telemetry::{LogFormat, start::StartLine},
    token::ClientCredentials,
};
use env::Environment;

/// The rules that are compiled in. `POLICY_FILE`, or a `policy.toml` in the deployment package,
/// replaces them.
const EMBEDDED_POLICY: &str = include_str!("../policy.toml");

/// The modulus of the key in `tests/sample-key.pem`, as in a JWK. Anybody can sign with that key.
const SAMPLE_MODULUS: &str = concat!(
    "ulKipmhJpUPYH13dJvW7GbDT3rNm6DarKkNRidJvz849vztSkbKXg2IeV6qoQnrnPC7Vsxk3xv1LUXKMhOe3D6",
    "yWmm3tfOE6RlP9K0BG5EnveqHKmC7c6PmYRF-vEadJSEnJS7p9xNVv0pg53E7eiatojt0jIcXyyB7YAY4jMCPI",
    "-EYUthQ1TF-u8o4g2AoYFz6fDvBOmWxkugV5yYfuriHHlG9yVEeSR39gnMx_qByzJ5AJ6BiPNAu77461p2t3Ya",
    "AMUDyOkQSg5UDL9R9OEjEvjxRgx4Bu7nzbfaCVFLcHtdvBIBGLbb4RA2VD2dYue2T-gvGHJ1B4eUNpzo9bZw",
);

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `OKTA_ISSUER`: the accepted issuers. Never empty.
    pub issuers: Vec<Issuer>,
    /// `OKTA_AUDIENCE`: the accepted audiences. Never empty.
    pub audiences: Vec<String>,
    /// `OKTA_ALLOWED_CLIENT_IDS`: the accepted values of `cid`. If empty, any is accepted.
    pub client_ids: Vec<String>,
    /// `OKTA_JWKS`: pinned keys for every issuer. If set, no keys are fetched.
    pub pinned_keys: Option<KeySet>,
    /// Whether the pinned keys contain the public sample key, outside of `sam local`.
    pub trusts_sample_key: bool,
    /// `KEYS_TABLE_NAME`: the shared table. `None` with pinned keys.
    pub keys_table: Option<String>,
    /// `KEYS_REFRESH_SECONDS` and `KEYS_MAX_STALE_SECONDS`.
    pub refresh_policy: RefreshPolicy,
    /// `CLOCK_SKEW_SECONDS`: the leeway for `exp`, `nbf` and `iat`.
    pub clock_skew_seconds: u32,
    /// The rules of `POLICY_FILE`, or else of `policy.toml` in the deployment package
    /// (`LAMBDA_TASK_ROOT`), or else those that are compiled in.
    pub rules: Rules,
    /// The path of the rules file. `None` if the rules are compiled in.
    pub policy_file: Option<String>,
    /// The SHA-256 of the rules file, in hex.
    pub policy_sha256: String,
    /// `POLICY_MAX_BYTES` and `PATH_GUARD`.
    pub policy_options: PolicyOptions,
    /// `INVALID_TOKEN_RESPONSE`.
    pub invalid_token_response: InvalidTokenResponse,
    /// `API_KEY_CLAIM`: the claim that becomes `usageIdentifierKey`.
    pub api_key_claim: Option<String>,
    /// `CONTEXT_CLAIMS`: further claims for the response's `context`.
    pub context_claims: Vec<String>,
    /// `OKTA_INTROSPECTION_CLIENT_ID` and `OKTA_INTROSPECTION_CLIENT_SECRET`, if the first is set.
    pub introspection: Option<ClientCredentials>,
    /// The PEM bundle that `SSL_CERT_FILE` names. It replaces the trust anchors that are compiled
    /// in.
    pub ca_bundle: Option<String>,
    /// `AWS_LAMBDA_LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `AWS_LAMBDA_LOG_LEVEL`: the least severe level that is written.
    pub log_level: LevelFilter,
}

/// One issuer of access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The value of `iss`. It is compared byte for byte.
    pub issuer: String,
    /// The URL of its JWKS.
    pub keys_endpoint: Url,
    /// The URL of its introspection (RFC 7662).
    pub introspection_endpoint: Url,
}

/// The answer to a refused token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidTokenResponse {
    /// The error `Unauthorized`: 401. API Gateway does not cache it.
    Unauthorized,
    /// A Deny of the whole stage: 403. API Gateway caches it.
    Deny,
}

/// A variable is missing, malformed or unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub variable: Cow<'static, str>,
    /// What was wrong. It has no secret and no line break.
    pub problem: String,
    /// What is accepted.
    pub accepted: Cow<'static, str>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; accepted: {}", self.variable, self.problem, self.accepted)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration from the variables of the environment, all of them, and from the
    /// files that they name, through `read`. If a name comes twice, the later one counts.
    ///
    /// # Errors
    /// The first variable that is missing, malformed or unknown.
    pub fn load<N: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (N, V)>,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, ConfigError> {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let env = Environment::new(variables.collect(), read)?;
        let issuers = env.issuers()?;
        let pinned_keys = env.pinned_keys()?;
        let has_sample_key = pinned_keys.as_ref().is_some_and(|keys| keys.has_modulus(SAMPLE_MODULUS));
        let (rules, policy_file, policy_sha256) = env.rules()?;
        env.check_proxies()?;
        Ok(Self {
            audiences: env.names("OKTA_AUDIENCE")?.unwrap_or_else(|| vec!["api://default".to_owned()]),
            client_ids: env.names("OKTA_ALLOWED_CLIENT_IDS")?.unwrap_or_default(),
            trusts_sample_key: has_sample_key && env.value("AWS_SAM_LOCAL")?.as_deref() != Some("true"),
            keys_table: env.keys_table(pinned_keys.is_some())?,
            pinned_keys,
            refresh_policy: env.refresh_policy()?,
            clock_skew_seconds: env.number(
                "CLOCK_SKEW_SECONDS",
                60,
                0..=300,
                "a whole number of seconds from 0 to 300",
            )?,
            rules,
            policy_file,
            policy_sha256,
            policy_options: PolicyOptions {
                max_bytes: env.number(
                    "POLICY_MAX_BYTES",
                    32_768,
                    8_192..=1_048_576,
                    "a whole number of bytes from 8192 to 1048576",
                )?,
                path_guard: env.choice("PATH_GUARD", "`on` or `off`", &[("on", true), ("off", false)])?,
            },
            invalid_token_response: env.choice(
                "INVALID_TOKEN_RESPONSE",
                "`unauthorized` or `deny`",
                &[("unauthorized", InvalidTokenResponse::Unauthorized), ("deny", InvalidTokenResponse::Deny)],
            )?,
            api_key_claim: env.name("API_KEY_CLAIM")?,
            context_claims: env.names("CONTEXT_CLAIMS")?.unwrap_or_default(),
            introspection: env.introspection(&issuers)?,
            issuers,
            ca_bundle: env.ca_bundle()?,
            log_format: env.choice_in_any_case(
                "AWS_LAMBDA_LOG_FORMAT",
                "`Text` or `JSON`",
                &[("Text", LogFormat::Text), ("JSON", LogFormat::Json)],
            )?,
            log_level: env.log_level()?,
        })
    }

    /// What the log says at start.
    #[must_use]
    pub fn start_line(&self) -> StartLine<'_> {
        StartLine {
            issuers: self.issuers.iter().map(|issuer| issuer.issuer.as_str()).collect(),
            keys_source: match (&self.pinned_keys, &self.keys_table) {
                (Some(_), _) => "pinned",
                (None, Some(_)) => "table",
                (None, None) => "okta",
            },
            keys_table: self.keys_table.as_deref(),
            keys_endpoints: match self.pinned_keys {
                Some(_) => Vec::new(),
                None => self.issuers.iter().map(|issuer| issuer.keys_endpoint.as_str()).collect(),
            },
            policy_file: self.policy_file.as_deref().unwrap_or("policy.toml, compiled in"),
            policy_sha256: &self.policy_sha256,
        }
    }
}

impl<R: Fn(&str) -> io::Result<Vec<u8>>> Environment<R> {
    fn issuers(&self) -> Result<Vec<Issuer>, ConfigError> {
        let texts =
            self.list("OKTA_ISSUER")?.ok_or_else(|| error("OKTA_ISSUER", "is not set", urls::ACCEPTED_ISSUER))?;
        let mut seen = HashSet::new();
        for issuer in &texts {
            urls::check_issuer(issuer).map_err(|(problem, accepted)| error("OKTA_ISSUER", &problem, accepted))?;
            if !seen.insert(issuer) {
                return Err(error("OKTA_ISSUER", &format!("has {} twice", quoted(issuer)), "each issuer once"));
            }
        }
        let keys_endpoint = self.keys_endpoint()?;
        if keys_endpoint.is_some() && texts.len() > 1 {
            return Err(error(
                "OKTA_KEYS_ENDPOINT",
                "is set, but there are several issuers",
                "a value for a single issuer only",
            ));
        }
        let introspection_endpoint = self.introspection_endpoint()?;
        for (name, endpoint, path) in [
            ("OKTA_KEYS_ENDPOINT", &keys_endpoint, "/v1/keys"),
            ("OKTA_INTROSPECTION_ENDPOINT", &introspection_endpoint, "/v1/introspect"),
        ] {
            if let Some(issuer) = texts.iter().find(|issuer| endpoint.as_ref().map(Url::as_str) == Some(issuer)) {
                let accepted = quoted(&format!("{issuer}{path}"));
                return Err(error(name, "is an issuer, and not an endpoint of it", accepted));
            }
        }
        let issuer = |issuer: String| {
            let endpoint_at = |path: &str| {
                Url::parse(&format!("{issuer}{path}"))
                    .map_err(|_| error("OKTA_ISSUER", "is not a URL", urls::ACCEPTED_ISSUER))
            };
            Ok(Issuer {
                keys_endpoint: keys_endpoint.clone().map_or_else(|| endpoint_at("/v1/keys"), Ok)?,
                introspection_endpoint: introspection_endpoint
                    .clone()
                    .map_or_else(|| endpoint_at("/v1/introspect"), Ok)?,
                issuer,
            })
        };
        texts.into_iter().map(issuer).collect()
    }

    fn keys_endpoint(&self) -> Result<Option<Url>, ConfigError> {
        let endpoint = |text: String| {
            // Okta's org authorization server accepts a query: `?client_id=…`.
            urls::endpoint_with_query(&text).map_err(|problem| {
                error(
                    "OKTA_KEYS_ENDPOINT",
                    &problem,
                    "the https URL of a JWKS, such as https://example.okta.com/oauth2/default/v1/keys",
                )
            })
        };
        self.value("OKTA_KEYS_ENDPOINT")?.map(endpoint).transpose()
    }

    fn introspection_endpoint(&self) -> Result<Option<Url>, ConfigError> {
        let endpoint = |text: String| {
            urls::endpoint(&text).map_err(|problem| {
                error(
                    "OKTA_INTROSPECTION_ENDPOINT",
                    &problem,
                    "an https URL such as https://example.okta.com/oauth2/default/v1/introspect",
                )
            })
        };
        self.value("OKTA_INTROSPECTION_ENDPOINT")?.map(endpoint).transpose()
    }

    fn pinned_keys(&self) -> Result<Option<KeySet>, ConfigError> {
        let jwks_error = |problem: String| error("OKTA_JWKS", &problem, "a JWKS as JSON with an RSA key for RS256");
        self.value("OKTA_JWKS")?
            .map(|json| KeySet::parse(json.as_bytes()).map_err(|reason| jwks_error(format!("is unusable: {reason}"))))
            .transpose()
    }

    /// The table's name, if a table is used: not with pinned keys.
    fn keys_table(&self, keys_are_pinned: bool) -> Result<Option<String>, ConfigError> {
        let Some(name) = self.value("KEYS_TABLE_NAME")? else { return Ok(None) };
        // Source: Amazon DynamoDB developer guide, "Naming rules". An ARN has more.
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_name = (3..=255).contains(&name.len()) && name.chars().all(is_of_name);
        let is_arn = name.starts_with("arn:")
            && name.contains(":dynamodb:")
            && name.contains(":table/")
            && name.chars().all(|c| is_of_name(c) || matches!(c, ':' | '/'));
        if !is_name && !is_arn {
            let accepted = "the name of a DynamoDB table (3 to 255 letters, digits, `_`, `-` and `.`) or its ARN";
            return Err(error("KEYS_TABLE_NAME", &format!("is {}", quoted(&name)), accepted));
        }
        if keys_are_pinned {
            return Ok(None);
        }
        self.check_table_endpoints()?;
        Ok(Some(name))
    }

    /// Checks the endpoints that the AWS SDK reads: whoever answers there can choose the keys.
    fn check_table_endpoints(&self) -> Result<(), ConfigError> {
        for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
            let accepted = "an https URL, or http on a loopback host; remove the variable for AWS's own endpoint";
            match self.exact_value(name)? {
                Some(text) => {
                    urls::endpoint(text).map_err(|problem| error(name, &problem, accepted))?;
                }
                // The SDK takes an empty value as an endpoint.
                None if self.is_present(name) => return Err(error(name, "is empty", accepted)),
                None => {}
            }
        }
        Ok(())
    }

    fn refresh_policy(&self) -> Result<RefreshPolicy, ConfigError> {
        let seconds = |name: &'static str, default: u64| {
            self.number(name, default, 1..=31_536_000, "a whole number of seconds from 1 to 31536000")
        };
        let refresh_seconds = seconds("KEYS_REFRESH_SECONDS", 3_600)?;
        let max_stale_seconds = seconds("KEYS_MAX_STALE_SECONDS", 86_400)?;
        if max_stale_seconds < refresh_seconds {
            let problem = format!(
                "is {max_stale_seconds}, and KEYS_REFRESH_SECONDS is {refresh_seconds}, so keys would expire before they are refreshed"
            );
            return Err(error("KEYS_MAX_STALE_SECONDS", &problem, "a value that is not below KEYS_REFRESH_SECONDS"));
        }
        Ok(RefreshPolicy { refresh_seconds, max_stale_seconds })
    }

    /// The rules, the path of their file, and its SHA-256.
    fn rules(&self) -> Result<(Rules, Option<String>, String), ConfigError> {
        const ACCEPTED: &str = "the path of a rules file, see docs/rules.md";
        let file_error = |problem: &str| error("POLICY_FILE", problem, ACCEPTED);
        let (path, bytes, problem) = if let Some(path) = self.value("POLICY_FILE")? {
            let bytes = self.file("POLICY_FILE", &path, ACCEPTED)?;
            let problem = format!("names {}, which is wrong", quoted(&path));
            (Some(path), bytes, problem)
        } else if let Some((path, bytes)) = self.packaged_rules(ACCEPTED)? {
            let problem = format!("is not set, and {} in the deployment package is wrong", quoted(&path));
            (Some(path), bytes, problem)
        } else {
            (None, EMBEDDED_POLICY.into(), "is not set, and the compiled-in policy.toml is wrong".to_owned())
        };
        let wrong = |errors: RulesErrors| file_error(&format!("{problem} in {errors}"));
        let text = Rules::text(bytes).map_err(wrong)?;
        let rules = Rules::parse(&text).map_err(wrong)?;
        Ok((rules, path, sha256(&text)))
    }

    /// The path and the bytes of `policy.toml` in the deployment package, if it has one.
    fn packaged_rules(&self, accepted: &'static str) -> Result<Option<(String, Vec<u8>)>, ConfigError> {
        let Some(root) = self.value("LAMBDA_TASK_ROOT")? else { return Ok(None) };
        let path = format!("{root}/policy.toml");
        match self.read(&path) {
            Ok(bytes) => Ok(Some((path, bytes))),
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(reason) => {
                let problem = format!("is not set, and {} cannot be read: {reason}", quoted(&path));
                Err(error("POLICY_FILE", &problem, accepted))
            }
        }
    }

    fn introspection(&self, issuers: &[Issuer]) -> Result<Option<ClientCredentials>, ConfigError> {
        const ID: &str = "OKTA_INTROSPECTION_CLIENT_ID";
        let secret = self.value("OKTA_INTROSPECTION_CLIENT_SECRET")?;
        let endpoint = self.value("OKTA_INTROSPECTION_ENDPOINT")?;
        let Some(id) = self.name(ID)? else {
            let others = [
                ("OKTA_INTROSPECTION_CLIENT_SECRET", secret.is_some()),
                ("OKTA_INTROSPECTION_ENDPOINT", endpoint.is_some()),
            ];
            return match others.into_iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => {
                    let problem = format!("is not set, and {name} is, so introspection would be off");
                    Err(error(ID, &problem, "the id of the client that asks Okta, or none of these variables"))
                }
                None => Ok(None),
            };
        };
        if ["true", "false", "on", "off"].iter().any(|word| id.eq_ignore_ascii_case(word)) {
            let problem = format!("is {}, which is no client", quoted(&id));
            return Err(error(ID, &problem, "the id of the client that asks Okta; without it, introspection is off"));
        }
        let mut hosts = issuers.iter().map(|issuer| issuer.introspection_endpoint.authority());
        let first = hosts.next();
        if hosts.any(|host| Some(host) != first) {
            let problem = "is set, but the issuers are on several hosts, which would all receive the client's secret";
            let accepted = "issuers on one host, or one endpoint for all of them in OKTA_INTROSPECTION_ENDPOINT";
            return Err(error(ID, problem, accepted));
        }
        Ok(Some(ClientCredentials { id, secret }))
    }

    fn ca_bundle(&self) -> Result<Option<String>, ConfigError> {
        const ACCEPTED: &str = "the path of a bundle of certificates in PEM";
        let Some(path) = self.value("SSL_CERT_FILE")? else { return Ok(None) };
        let bytes = self.file("SSL_CERT_FILE", &path, ACCEPTED)?;
        let not_text = |_| error("SSL_CERT_FILE", &format!("names {}, which is not text", quoted(&path)), ACCEPTED);
        String::from_utf8(bytes).map(Some).map_err(not_text)
    }

    /// Checks the variables from which the HTTP client takes its proxy.
    fn check_proxies(&self) -> Result<(), ConfigError> {
        const ACCEPTED: &str = "a URL such as http://proxy.example.com:3128";
        for (upper, lower) in [("HTTPS_PROXY", "https_proxy"), ("HTTP_PROXY", "http_proxy"), ("ALL_PROXY", "all_proxy")]
        {
            let values = [self.exact_value(upper)?, self.exact_value(lower)?];
            for (name, value) in [upper, lower].into_iter().zip(values) {
                if let Some(text) = value {
                    urls::check_proxy(text).map_err(|problem| error(name, problem, ACCEPTED))?;
                }
            }
            // The client reads the first one, even if it is empty. Others prefer the second.
            if self.is_present(upper) && self.is_present(lower) && values.first() != values.last() {
                return Err(error(
                    upper,
                    &format!("is another value than {lower}"),
                    "the same value in both, or one of them",
                ));
            }
        }
        Ok(())
    }

    /// Source: AWS Lambda developer guide, "Log-level filtering". FATAL is above ERROR, and nothing
    /// here is that severe.
    fn log_level(&self) -> Result<LevelFilter, ConfigError> {
        self.choice_in_any_case(
            "AWS_LAMBDA_LOG_LEVEL",
            "`TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`",
            &[
                ("INFO", LevelFilter::INFO),
                ("TRACE", LevelFilter::TRACE),
                ("DEBUG", LevelFilter::DEBUG),
                ("WARN", LevelFilter::WARN),
                ("ERROR", LevelFilter::ERROR),
                ("FATAL", LevelFilter::OFF),
            ],
        )
    }
}

fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn error(variable: impl Into<Cow<'static, str>>, problem: &str, accepted: impl Into<Cow<'static, str>>) -> ConfigError {
    ConfigError {
        variable: variable.into(),
        problem: problem.replace(char::is_control, " "),
        accepted: accepted.into(),
    }
}

/// A value for an error message: quoted, on one line, at most 100 characters.
fn quoted(value: &str) -> String {
    let start: String = value.chars().take(100).collect();
    format!("`{}`", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use okta_authorizer_testkit::keys;

    use super::*;

    const ISSUER: (&str, &str) = ("OKTA_ISSUER", "https://example.okta.com/oauth2/default");
    const TWO_HOSTS: (&str, &str) =
        ("OKTA_ISSUER", "https://a.okta.com/oauth2/default,https://b.okta.com/oauth2/default");

    /// The configuration of these variables and an issuer. Later ones count.
    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let read = |path: &str| match path {
            "/opt/policy.toml" => Ok(b"[[allow]]\nroutes = ['GET /a']\n".to_vec()),
            "/task/policy.toml" => Ok(b"[[allow]]\nroutes = ['GET /task']\n".to_vec()),
            "/denied/policy.toml" => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            "/opt/bad.toml" | "/bad/policy.toml" => Ok(b"[[allow]]\nroutes = ['GET a']\n".to_vec()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Config::load([ISSUER].iter().chain(variables).copied(), read)
    }

    #[test]
    fn the_rules_are_those_of_the_variable_or_of_the_package_or_compiled_in() {
        let (file, root) = (("POLICY_FILE", "/opt/policy.toml"), ("LAMBDA_TASK_ROOT", "/task"));
        for (variables, expected) in [
            (vec![], None),
            (vec![("LAMBDA_TASK_ROOT", "/empty")], None),
            (vec![root], Some("/task/policy.toml")),
            (vec![root, ("POLICY_FILE", "")], Some("/task/policy.toml")),
            (vec![root, file], Some("/opt/policy.toml")),
            (vec![("LAMBDA_TASK_ROOT", "/bad"), file], Some("/opt/policy.toml")),
        ] {
            assert_eq!(load(&variables).unwrap().policy_file.as_deref(), expected, "{variables:?}");
        }
        for (root, problem) in [
            (
                "/bad",
                "is not set, and `/bad/policy.toml` in the deployment package is wrong in line 2: the route `GET a` has the path `a`, which does not start with `/`; write `/a`",
            ),
            ("/denied", "is not set, and `/denied/policy.toml` cannot be read: permission denied"),
        ] {
            let wrong = load(&[("LAMBDA_TASK_ROOT", root)]).unwrap_err();
            assert_eq!((wrong.variable.as_ref(), wrong.problem.as_str()), ("POLICY_FILE", problem));
        }
    }

    #[test]
    fn the_issuer_is_the_only_required_variable() {
        let config = load(&[]).unwrap();
        assert_eq!(config.issuers.len(), 1);
        assert_eq!(config.issuers[0].issuer, ISSUER.1);
        assert_eq!(config.issuers[0].keys_endpoint.as_str(), "https://example.okta.com/oauth2/default/v1/keys");
        assert_eq!(config.audiences, ["api://default"]);
        assert!(config.client_ids.is_empty() && config.context_claims.is_empty());
        assert!(config.pinned_keys.is_none() && config.keys_table.is_none() && config.api_key_claim.is_none());
        assert!(config.introspection.is_none() && config.policy_file.is_none() && !config.trusts_sample_key);
        assert_eq!(config.refresh_policy, RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 });
        assert_eq!(config.clock_skew_seconds, 60);
        assert_eq!(config.policy_options, PolicyOptions { max_bytes: 32_768, path_guard: true });
        assert_eq!(config.invalid_token_response, InvalidTokenResponse::Unauthorized);
        assert_eq!((config.log_format, config.log_level), (LogFormat::Text, LevelFilter::INFO));
        let missing = Config::load([("PATH", "/bin")], |_| Ok(Vec::new())).unwrap_err();
        assert_eq!((&*missing.variable, &*missing.problem), ("OKTA_ISSUER", "is not set"));
    }

    #[test]
    fn an_empty_value_means_unset() {
        let others = ["SSL_CERT_FILE", "AWS_LAMBDA_LOG_FORMAT", "HTTPS_PROXY", "OKTA_CLIENT_IDS", "OKTA_UNKNOWN"];
        let empty: Vec<_> = env::KNOWN.into_iter().chain(others).map(|name| (name, "")).chain([ISSUER]).collect();
        assert_eq!(format!("{:?}", load(&empty).unwrap()), format!("{:?}", load(&[]).unwrap()));
    }

    #[test]
    fn every_variable_is_read() {
        let config = load(&[
            ("OKTA_ISSUER", "https://a.okta.com/oauth2/aus1, http://localhost:8080/x"),
            ("OKTA_AUDIENCE", "a,b"),
            ("OKTA_ALLOWED_CLIENT_IDS", "c"),
            ("KEYS_TABLE_NAME", "keys"),
            ("KEYS_REFRESH_SECONDS", "60"),
            ("KEYS_MAX_STALE_SECONDS", "120"),
            ("CLOCK_SKEW_SECONDS", "0"),
            ("POLICY_FILE", "/opt/policy.toml"),
            ("POLICY_MAX_BYTES", "8192"),
            ("PATH_GUARD", "off"),
            ("INVALID_TOKEN_RESPONSE", "deny"),
            ("API_KEY_CLAIM", "cid"),
            ("CONTEXT_CLAIMS", "x, y"),
            ("AWS_LAMBDA_LOG_FORMAT", "json"),
            ("AWS_LAMBDA_LOG_LEVEL", "warn"),
        ])
        .unwrap();
        assert_eq!(config.issuers[0].keys_endpoint.as_str(), "https://a.okta.com/oauth2/aus1/v1/keys");
        assert_eq!(config.issuers[1].issuer, "http://localhost:8080/x");
        assert_eq!(config.issuers[1].keys_endpoint.as_str(), "http://localhost:8080/x/v1/keys");
        assert_eq!(config.audiences, ["a", "b"]);
        assert_eq!((config.client_ids.len(), config.context_claims.len()), (1, 2));
        assert_eq!(config.keys_table.as_deref(), Some("keys"));
        assert_eq!(config.refresh_policy, RefreshPolicy { refresh_seconds: 60, max_stale_seconds: 120 });
        assert_eq!(config.policy_options, PolicyOptions { max_bytes: 8_192, path_guard: false });
        assert_eq!(config.invalid_token_response, InvalidTokenResponse::Deny);
        assert_eq!((config.log_format, config.log_level), (LogFormat::Json, LevelFilter::WARN));
        let endpoint = load(&[("OKTA_KEYS_ENDPOINT", "https://example.okta.com/oauth2/v1/keys")]).unwrap();
        assert_eq!(endpoint.issuers[0].keys_endpoint.as_str(), "https://example.okta.com/oauth2/v1/keys");
        let explicit = load(&[("INVALID_TOKEN_RESPONSE", "unauthorized"), ("PATH_GUARD", "on")]).unwrap();
        assert_eq!(explicit.invalid_token_response, InvalidTokenResponse::Unauthorized);
        assert!(explicit.policy_options.path_guard);
    }

    #[test]
    fn a_client_id_turns_introspection_on() {
        let client = [("OKTA_INTROSPECTION_CLIENT_ID", "c"), ("OKTA_INTROSPECTION_CLIENT_SECRET", "hush"), TWO_HOSTS];
        let credentials = load(&client[..2]).unwrap().introspection.unwrap();
        assert_eq!((credentials.id.as_str(), credentials.secret.as_deref()), ("c", Some("hush")));
        assert!(!format!("{credentials:?}").contains("hush"));
        let error = load(&client[1..2]).unwrap_err();
        assert_eq!(error.variable, "OKTA_INTROSPECTION_CLIENT_ID");
        assert!(!error.to_string().contains("hush"), "{error}");

        let endpoint = ("OKTA_INTROSPECTION_ENDPOINT", "https://a.okta.com/oauth2/default/v1/introspect");
        let issuers = load(&[&client[..], &[endpoint]].concat()).unwrap().issuers;
        assert!(issuers.iter().all(|issuer| issuer.introspection_endpoint.as_str() == endpoint.1));
        assert_eq!(load(&client).unwrap_err().variable, "OKTA_INTROSPECTION_CLIENT_ID");
        assert_eq!(load(&[endpoint]).unwrap_err().variable, "OKTA_INTROSPECTION_CLIENT_ID");
        assert!(load(&[("OKTA_ISSUER", "https://a.okta.com/oauth2/x,https://a.okta.com/oauth2/y"), client[0]]).is_ok());
    }

    #[test]
    fn good_values_are_accepted() {
        for (name, values) in [
            ("OKTA_AUDIENCE", ["api://default", "a, https://example.com/x?y=1"].as_slice()),
            ("OKTA_KEYS_ENDPOINT", &["http://localhost:9/keys", "https://a.okta.com/oauth2/v1/keys?client_id=0oa1"]),
            ("KEYS_TABLE_NAME", &["abc", "A-1_b.c", "arn:aws:dynamodb:eu-west-1:123456789012:table/keys"]),
            ("KEYS_REFRESH_SECONDS", &["1", "86400"]),
            ("KEYS_MAX_STALE_SECONDS", &["3600", "604800", "31536000"]),
            ("CLOCK_SKEW_SECONDS", &["0", "300"]),
            ("POLICY_MAX_BYTES", &["8192", "1048576"]),
            ("CONTEXT_CLAIMS", &["https://example.com/claims/email", "größe"]),
            ("AWS_LAMBDA_LOG_FORMAT", &["JSON", "Text", "TEXT", "json"]),
            ("AWS_LAMBDA_LOG_LEVEL", &["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "info"]),
        ] {
            for value in values {
                assert_eq!(load(&[(name, value)]).err(), None, "{name} {value}");
            }
        }
    }

    /// `sam local invoke --env-vars` can only set variables that the template declares.
    #[test]
    fn the_template_declares_every_variable() {
        let (_, variables) = include_str!("../template.yaml").split_once("        Variables:\n").unwrap();
        let lines = variables.lines().map_while(|line| line.strip_prefix("          "));
        let names = lines.filter(|line| !line.starts_with([' ', '#'])).map(|line| line.split_once(':').unwrap().0);
        let declared: HashSet<_> = names.collect();
        assert_eq!(declared, env::KNOWN.into());
    }

    #[test]
    fn text_that_is_not_a_number_or_a_choice_is_rejected() {
        let not_numbers = ["x", "-1", "+1", "1.5", "1e3", "60s", "0x10", "99999999999999999999999999", "１"];
        for (names, values) in [
            (
                ["KEYS_REFRESH_SECONDS", "KEYS_MAX_STALE_SECONDS", "CLOCK_SKEW_SECONDS", "POLICY_MAX_BYTES"].as_slice(),
                not_numbers.as_slice(),
            ),
            (&["KEYS_REFRESH_SECONDS", "KEYS_MAX_STALE_SECONDS"], &["0", "31536001"]),
            (&["CLOCK_SKEW_SECONDS"], &["301", "3600", "18446744073709551615"]),
            (&["POLICY_MAX_BYTES"], &["0", "1024", "8191", "1048577"]),
            (&["PATH_GUARD"], &["On", "maybe", "offf", "0n", "on off"]),
            (&["INVALID_TOKEN_RESPONSE"], &["403", "401", "allow", "unauthorised", "deny,unauthorized"]),
            (&["KEYS_TABLE_NAME"], &["ab", "my table", "my-table!", "t;u", "a,b"]),
            (&["AWS_LAMBDA_LOG_FORMAT"], &["XML", "plain", "JSON,Text"]),
            (&["AWS_LAMBDA_LOG_LEVEL"], &["LOUD", "WARNING", "OFF", "3", "info,debug"]),
        ] {
            for (name, value) in names.iter().flat_map(|name| values.iter().map(move |value| (*name, *value))) {
                let error = load(&[(name, value)]).unwrap_err();
                assert_eq!((&*error.variable, error.problem), (name, format!("is `{value}`")));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_unicode_is_rejected() {
        use std::os::unix::ffi::OsStringExt;
        for name in env::KNOWN.into_iter().chain(["AWS_LAMBDA_LOG_LEVEL", "HTTPS_PROXY", "SSL_CERT_FILE"]) {
            let variables = [(ISSUER.0, ISSUER.1.into()), (name, OsString::from_vec(vec![b'x', 0xff, b'x']))];
            let error = Config::load(variables, |_| Ok(Vec::new())).unwrap_err();
            assert_eq!((&*error.variable, error.problem.as_str()), (name, "is not Unicode"));
        }
    }

    #[test]
    fn an_error_names_the_variable_and_the_problem() {
        for (name, value, problem) in [
            ("OKTA_ISSUER", "", "is not set"),
            ("OKTA_ISSUER", " ", "is blank"),
            ("OKTA_ISSUER", ",", "has an empty item"),
            ("OKTA_ISSUER", "https://a.okta.com/oauth2/x,nonsense", "is not a URL"),
            ("OKTA_ISSUER", "https://a.okta.com/oauth2/x,,https://b.okta.com/oauth2/x", "has an empty item"),
            (
                "OKTA_ISSUER",
                "https://a.okta.com/oauth2/x,https://a.okta.com/oauth2/x",
                "has `https://a.okta.com/oauth2/x` twice",
            ),
            ("OKTA_AUDIENCE", ",", "has an empty item"),
            ("OKTA_AUDIENCE", " , ", "has an empty item"),
            ("OKTA_AUDIENCE", "a b", r"has white space or an invisible character (\u{20})"),
            ("OKTA_AUDIENCE", "'a'", "has a quotation mark"),
            ("OKTA_ALLOWED_CLIENT_IDS", " ", "is blank"),
            ("OKTA_ALLOWED_CLIENT_IDS", ",", "has an empty item"),
            ("OKTA_ALLOWED_CLIENT_IDS", "0oa1;0oa2", "has a semicolon"),
            ("OKTA_INTROSPECTION_CLIENT_ID", "0oa1,0oa2", "has a comma"),
            ("OKTA_INTROSPECTION_ENDPOINT", "http://example.okta.com/x", "is not https"),
            ("OKTA_INTROSPECTION_ENDPOINT", "https://{yourOktaDomain}/v1/introspect", "has a placeholder"),
            ("OKTA_KEYS_ENDPOINT", "ftp://example.okta.com", "is not https"),
            ("OKTA_KEYS_ENDPOINT", "http://example.okta.com/v1/keys", "is not https"),
            ("OKTA_KEYS_ENDPOINT", "/v1/keys", "is not a URL"),
            ("OKTA_KEYS_ENDPOINT", "https://", "is not a URL"),
            ("OKTA_KEYS_ENDPOINT", "https://${yourOktaDomain}/oauth2/v1/keys", "has a placeholder"),
            ("OKTA_JWKS", "{", "is unusable: not a JSON object with an array `keys`"),
            ("OKTA_JWKS", r#"{"keys":[]}"#, "is unusable: the JWKS has no RSA key for RS256 with a unique kid"),
            ("POLICY_FILE", "/opt/none", "names `/opt/none`, which cannot be read: entity not found"),
            (
                "POLICY_FILE",
                "/opt/bad.toml",
                "names `/opt/bad.toml`, which is wrong in line 2: the route `GET a` has the path `a`, which does not start with `/`; write `/a`",
            ),
            ("API_KEY_CLAIM", "cid,uid", "has a comma"),
            ("API_KEY_CLAIM", "\"cid\"", "has a quotation mark"),
            ("CONTEXT_CLAIMS", "email level", r"has white space or an invisible character (\u{20})"),
            ("SSL_CERT_FILE", "/opt/none", "names `/opt/none`, which cannot be read: entity not found"),
            ("HTTPS_PROXY", "nonsense", "is not a URL"),
            ("all_proxy", "socks5://proxy.example:1080", "is neither http nor https"),
            ("OKTA_AUDIENCES", "x", "is unknown, so it would have no effect"),
        ] {
            let error = load(&[(name, value)]).unwrap_err();
            assert_eq!((&*error.variable, error.problem.as_str()), (name, problem), "{value}");
            assert!(error.to_string().starts_with(name) && !error.to_string().contains('\n'));
        }
        let both = [TWO_HOSTS, ("OKTA_KEYS_ENDPOINT", "https://a.okta.com/v1/keys")];
        assert_eq!(load(&both).unwrap_err().variable, "OKTA_KEYS_ENDPOINT");
    }

    #[test]
    fn keys_do_not_expire_before_they_are_refreshed() {
        let load =
            |refresh, max_stale| load(&[("KEYS_REFRESH_SECONDS", refresh), ("KEYS_MAX_STALE_SECONDS", max_stale)]);
        assert_eq!(load("60", "60").err(), None);
        for (refresh, max_stale, numbers) in
            [("61", "60", (60, 61)), ("", "60", (60, 3_600)), ("86401", "", (86_400, 86_401))]
        {
            let error = load(refresh, max_stale).unwrap_err();
            let (is, other) = numbers;
            let start = format!("KEYS_MAX_STALE_SECONDS is {is}, and KEYS_REFRESH_SECONDS is {other}, so ");
            assert!(error.to_string().starts_with(&start), "{error}");
        }
    }

    #[test]
    fn the_tables_endpoint_is_checked_if_there_is_a_table() {
        let jwks = keys::jwks(&[keys::main()]).to_string();
        for (name, value, problem) in [
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://dynamodb.example:8000", "is not https"),
            ("AWS_ENDPOINT_URL", "http://10.0.0.1:8000", "is not https"),
            ("AWS_ENDPOINT_URL", "dynamodb.eu-west-1.amazonaws.com", "is not a URL"),
            ("AWS_ENDPOINT_URL", "https://user:hush@example.com", "has credentials, a query or a fragment"),
            (
                "AWS_ENDPOINT_URL_DYNAMODB",
                " https://example.com",
                r"has white space or an invisible character (\u{20})",
            ),
            ("AWS_ENDPOINT_URL_DYNAMODB", "", "is empty"),
        ] {
            let table = ("KEYS_TABLE_NAME", "keys");
            let error = load(&[table, (name, value)]).unwrap_err();
            assert_eq!((&*error.variable, error.problem.as_str()), (name, problem));
            assert!(!error.to_string().contains("hush"));
            assert_eq!(load(&[(name, value)]).err(), None);
            assert_eq!(load(&[table, (name, value), ("OKTA_JWKS", &jwks)]).err(), None);
            for good in ["https://vpce-1.dynamodb.example", "http://127.0.0.1:8000", "http://localhost:8000"] {
                assert_eq!(load(&[table, (name, good)]).err(), None);
            }
        }
    }

    #[test]
    fn two_spellings_of_a_proxy_are_equal() {
        const PROXY: &str = "http://proxy.example:3128";
        for (upper, lower) in [("", PROXY), (PROXY, ""), (PROXY, "http://other.example:3128")] {
            let error = load(&[("HTTPS_PROXY", upper), ("https_proxy", lower)]).unwrap_err();
            assert_eq!((&*error.variable, &*error.problem), ("HTTPS_PROXY", "is another value than https_proxy"));
        }
        for variables in [&[("https_proxy", PROXY)] as &[_], &[("HTTPS_PROXY", PROXY), ("https_proxy", PROXY)]] {
            assert_eq!(load(variables).err(), None);
        }
        let error = load(&[("HTTPS_PROXY", "ftp://user:hush@proxy.example")]).unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
    }

    #[test]
    fn the_sample_key_is_known_by_its_modulus() {
        let (sample, main) = (keys::jwks(&[keys::main(), keys::sample().named("k")]), keys::jwks(&[keys::main()]));
        let trusts = |jwks: &serde_json::Value, sam_local: &str| {
            load(&[("OKTA_JWKS", &jwks.to_string()), ("AWS_SAM_LOCAL", sam_local)]).unwrap().trusts_sample_key
        };
        assert!(trusts(&sample, "") && trusts(&sample, "false"));
        assert!(!trusts(&main, "") && !trusts(&sample, "true"));
    }

    #[test]
    fn the_start_line_says_where_keys_and_rules_come_from() {
        let jwks = keys::jwks(&[keys::main()]).to_string();
        let (table, pinned) = (("KEYS_TABLE_NAME", "keys"), ("OKTA_JWKS", jwks.as_str()));
        for (variables, source, keys_table, endpoints) in [
            (vec![], "okta", None, 1),
            (vec![table], "table", Some("keys"), 1),
            (vec![pinned], "pinned", None, 0),
            (vec![table, pinned], "pinned", None, 0),
        ] {
            let config = load(&variables).unwrap();
            let line = config.start_line();
            assert_eq!((line.keys_source, line.keys_table, line.keys_endpoints.len()), (source, keys_table, endpoints));
            assert_eq!((line.issuers, line.policy_file), (vec![ISSUER.1], "policy.toml, compiled in"));
        }
        let config = load(&[("POLICY_FILE", "/opt/policy.toml")]).unwrap();
        let line = config.start_line();
        // printf "[[allow]]\nroutes = ['GET /a']\n" | sha256sum
        assert_eq!(
            (line.policy_file, line.policy_sha256),
            ("/opt/policy.toml", "66fe34a693e6267282085db5166dfd5bf91375276e6eb74428a849720917657b")
        );
    }
}
