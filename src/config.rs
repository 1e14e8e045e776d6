//! The configuration: all environment variables, parsed once at start.

use std::{ffi::OsString, fmt, io};

use url::{Host, Url};

use crate::{
    keys::{KeySet, RefreshPolicy},
    policy::{PolicyOptions, Rules},
    token::ClientCredentials,
};

/// The rules that are compiled in. `POLICY_FILE` replaces them.
const EMBEDDED_POLICY: &str = include_str!("../policy.toml");

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `OKTA_ISSUER`: the accepted issuers. Never empty.
    pub issuers: Vec<Issuer>,
    /// `OKTA_AUDIENCE`: the accepted audiences. Never empty.
    pub audiences: Vec<String>,
    /// `OKTA_CLIENT_IDS`: the accepted values of `cid`. If empty, any is accepted.
    pub client_ids: Vec<String>,
    /// `OKTA_JWKS`: pinned keys for every issuer. If set, no keys are fetched.
    pub pinned_keys: Option<KeySet>,
    /// `KEYS_TABLE_NAME`: the shared table.
    pub keys_table: Option<String>,
    /// `KEYS_REFRESH_SECONDS` and `KEYS_MAX_STALE_SECONDS`.
    pub refresh_policy: RefreshPolicy,
    /// `CLOCK_SKEW_SECONDS`: the leeway for `exp`, `nbf` and `iat`.
    pub clock_skew_seconds: u32,
    /// The rules of `POLICY_FILE`, or those that are compiled in.
    pub rules: Rules,
    /// `POLICY_MAX_BYTES` and `PATH_GUARD`.
    pub policy_options: PolicyOptions,
    /// `INVALID_TOKEN_RESPONSE`.
    pub invalid_token_response: InvalidTokenResponse,
    /// `API_KEY_CLAIM`: the claim that becomes `usageIdentifierKey`.
    pub api_key_claim: Option<String>,
    /// `CONTEXT_CLAIMS`: further claims for the response's `context`.
    pub context_claims: Vec<String>,
    /// `OKTA_CLIENT_ID` and `OKTA_CLIENT_SECRET`, if `OKTA_INTROSPECT` is `true`.
    pub introspection: Option<ClientCredentials>,
    /// The PEM bundle that `SSL_CERT_FILE` names. It replaces the trust anchors that are compiled
    /// in.
    pub ca_bundle: Option<String>,
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

/// A variable is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What was wrong. It has no secret and no line break.
    pub problem: String,
    /// What is accepted.
    pub accepted: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; accepted: {}", self.variable, self.problem, self.accepted)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads every variable through `variable`, and the files that they name through `read`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn load(
        variable: impl Fn(&str) -> Option<OsString>,
        read: impl Fn(&str) -> io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let env = Environment { variable, read };
        let issuers = env.issuers()?;
        let audiences = env.list("OKTA_AUDIENCE")?.unwrap_or_else(|| vec!["api://default".to_owned()]);
        Ok(Self {
            audiences,
            client_ids: env.list("OKTA_CLIENT_IDS")?.unwrap_or_default(),
            pinned_keys: env.pinned_keys()?,
            keys_table: env.value("KEYS_TABLE_NAME")?,
            refresh_policy: RefreshPolicy {
                refresh_seconds: env.seconds("KEYS_REFRESH_SECONDS", 3_600)?,
                max_stale_seconds: env.seconds("KEYS_MAX_STALE_SECONDS", 86_400)?,
            },
            clock_skew_seconds: env.number(
                "CLOCK_SKEW_SECONDS",
                60,
                0..=300,
                "a whole number of seconds from 0 to 300",
            )?,
            rules: env.rules()?,
            policy_options: PolicyOptions {
                max_bytes: env.number(
                    "POLICY_MAX_BYTES",
                    32_768,
                    1_024..=1_048_576,
                    "a whole number of bytes from 1024 to 1048576",
                )?,
                path_guard: env.choice("PATH_GUARD", "`on` or `off`", &[("on", true), ("off", false)])?,
            },
            invalid_token_response: env.choice(
                "INVALID_TOKEN_RESPONSE",
                "`unauthorized` or `deny`",
                &[("unauthorized", InvalidTokenResponse::Unauthorized), ("deny", InvalidTokenResponse::Deny)],
            )?,
            api_key_claim: env.value("API_KEY_CLAIM")?,
            context_claims: env.list("CONTEXT_CLAIMS")?.unwrap_or_default(),
            introspection: env.introspection(&issuers)?,
            issuers,
            ca_bundle: env.ca_bundle()?,
        })
    }
}

struct Environment<V, R> {
    variable: V,
    read: R,
}

impl<V: Fn(&str) -> Option<OsString>, R: Fn(&str) -> io::Result<String>> Environment<V, R> {
    /// The value of a variable; an empty one counts as not set. A blank one is an error, because a
    /// blank `OKTA_CLIENT_IDS` that counts as not set would accept every client.
    fn value(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = (self.variable)(name) else { return Ok(None) };
        let value = value.into_string().map_err(|_| error(name, "is not Unicode", "text in UTF-8"))?;
        if !value.is_empty() && value.trim().is_empty() {
            return Err(error(name, "is blank", "a value, or none at all"));
        }
        Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
    }

    fn list(&self, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let items: Vec<_> = value.split(',').map(|item| item.trim().to_owned()).collect();
        if items.iter().any(String::is_empty) {
            return Err(error(name, "has an empty item", "one value, or several separated by commas"));
        }
        Ok(Some(items))
    }

    fn number<N: std::str::FromStr + PartialOrd>(
        &self,
        name: &'static str,
        default: N,
        range: std::ops::RangeInclusive<N>,
        accepted: &'static str,
    ) -> Result<N, ConfigError> {
        let Some(value) = self.value(name)? else { return Ok(default) };
        // `parse` accepts a plus sign.
        let number = value.parse().ok().filter(|number| range.contains(number) && !value.starts_with('+'));
        number.ok_or_else(|| error(name, &format!("is {}", quoted(&value)), accepted))
    }

    fn seconds(&self, name: &'static str, default: u64) -> Result<u64, ConfigError> {
        self.number(name, default, 1..=31_536_000, "a whole number of seconds from 1 to 31536000")
    }

    /// One of these words. The first is the default.
    fn choice<T: Copy>(
        &self,
        name: &'static str,
        accepted: &'static str,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let value = self.value(name)?;
        let chosen = match &value {
            None => choices.first(),
            Some(value) => choices.iter().find(|(word, _)| word == value),
        };
        let problem = || format!("is {}", quoted(value.as_deref().unwrap_or_default()));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| error(name, &problem(), accepted))
    }

    fn issuers(&self) -> Result<Vec<Issuer>, ConfigError> {
        const ACCEPTED: &str =
            "an https URL such as https://example.okta.com/oauth2/default, or several separated by commas";
        let issuers = self.list("OKTA_ISSUER")?.ok_or_else(|| error("OKTA_ISSUER", "is not set", ACCEPTED))?;
        let endpoint = self.keys_endpoint()?;
        if endpoint.is_some() && issuers.len() > 1 {
            return Err(error(
                "OKTA_KEYS_ENDPOINT",
                "is set, but there are several issuers",
                "a value for a single issuer only",
            ));
        }
        issuers
            .into_iter()
            .map(|issuer| {
                let issuer_error = |problem: &str| error("OKTA_ISSUER", problem, ACCEPTED);
                url(&issuer).map_err(issuer_error)?;
                let endpoint_at =
                    |path: &str| url(&format!("{}{path}", issuer.trim_end_matches('/'))).map_err(issuer_error);
                let keys_endpoint = endpoint.clone().map_or_else(|| endpoint_at("/v1/keys"), Ok)?;
                let introspection_endpoint = endpoint_at("/v1/introspect")?;
                Ok(Issuer { issuer, keys_endpoint, introspection_endpoint })
            })
            .collect()
    }

    fn keys_endpoint(&self) -> Result<Option<Url>, ConfigError> {
        let accepted = "an https URL";
        self.value("OKTA_KEYS_ENDPOINT")?
            .map(|text| {
                // Okta's org authorization server accepts a query: `?client_id=…`.
                let (path, _) = text.split_once('?').unwrap_or((&text, ""));
                url(path).map_err(|problem| error("OKTA_KEYS_ENDPOINT", problem, accepted))?;
                Url::parse(&text).map_err(|_| error("OKTA_KEYS_ENDPOINT", "is not a URL", accepted))
            })
            .transpose()
    }

    fn pinned_keys(&self) -> Result<Option<KeySet>, ConfigError> {
        let jwks_error = |problem: String| error("OKTA_JWKS", &problem, "a JWKS as JSON with an RSA key for RS256");
        self.value("OKTA_JWKS")?
            .map(|json| KeySet::parse(json.as_bytes()).map_err(|reason| jwks_error(format!("is unusable: {reason}"))))
            .transpose()
    }

    fn rules(&self) -> Result<Rules, ConfigError> {
        let file_error = |problem: &str| error("POLICY_FILE", problem, "the path of a rules file, see README.md");
        let Some(path) = self.value("POLICY_FILE")? else {
            return Rules::parse(EMBEDDED_POLICY).map_err(|reason| {
                file_error(&format!("is not set, and the compiled-in policy.toml is wrong in {reason}"))
            });
        };
        let text = (self.read)(&path)
            .map_err(|reason| file_error(&format!("names {}, which cannot be read: {reason}", quoted(&path))))?;
        Rules::parse(&text)
            .map_err(|reason| file_error(&format!("names {}, which is wrong in {reason}", quoted(&path))))
    }

    fn introspection(&self, issuers: &[Issuer]) -> Result<Option<ClientCredentials>, ConfigError> {
        if !self.choice("OKTA_INTROSPECT", "`true` or `false`", &[("false", false), ("true", true)])? {
            return Ok(None);
        }
        let missing =
            || error("OKTA_CLIENT_ID", "is not set, but OKTA_INTROSPECT is `true`", "the id of a client of the issuer");
        let mut hosts = issuers.iter().map(|issuer| issuer.introspection_endpoint.authority());
        let first = hosts.next();
        if hosts.any(|host| Some(host) != first) {
            let problem = "is set, but the issuers are on several hosts, which would all receive the client's secret";
            return Err(error("OKTA_INTROSPECT", problem, "`true` if all issuers are on one host"));
        }
        let id = self.value("OKTA_CLIENT_ID")?.ok_or_else(missing)?;
        Ok(Some(ClientCredentials { id, secret: self.value("OKTA_CLIENT_SECRET")? }))
    }

    fn ca_bundle(&self) -> Result<Option<String>, ConfigError> {
        let Some(path) = self.value("SSL_CERT_FILE")? else { return Ok(None) };
        let file_error =
            |problem: String| error("SSL_CERT_FILE", &problem, "the path of a bundle of certificates in PEM");
        (self.read)(&path)
            .map(Some)
            .map_err(|reason| file_error(format!("names {}, which cannot be read: {reason}", quoted(&path))))
    }
}

/// Parses an `https` URL with a host. `http` is accepted for loopback hosts only.
fn url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("is a URL without a host"),
    };
    // `Url::parse` silently repairs `https:/host`, `https:///host`, line breaks and backslashes. So look
    // at the text itself.
    let is_protected = text.starts_with("https://") || (loopback && text.starts_with("http://"));
    if !is_protected {
        return Err("is not https");
    }
    if text.contains(":///") || text.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err("is not a URL");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("has credentials, a query or a fragment");
    }
    Ok(url)
}

fn error(variable: &'static str, problem: &str, accepted: &'static str) -> ConfigError {
    ConfigError { variable, problem: problem.replace(char::is_control, " "), accepted }
}

/// A value for an error message: quoted, on one line, at most 100 characters.
fn quoted(value: &str) -> String {
    let start: String = value.chars().take(100).collect();
    format!("`{}`", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: (&str, &str) = ("OKTA_ISSUER", "https://example.okta.com/oauth2/default");

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variable = |name: &str| {
            let set = variables.iter().rev().find(|(other, _)| *other == name);
            set.or((name == ISSUER.0).then_some(&ISSUER)).map(|(_, value)| OsString::from(*value))
        };
        let read = |path: &str| match path {
            "/opt/policy.toml" => Ok("[[allow]]\nroutes = ['GET /a']\n".to_owned()),
            "/opt/bad.toml" => Ok("[[allow]]\nroutes = ['GET a']\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        Config::load(variable, read)
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
        assert_eq!(config.refresh_policy, RefreshPolicy { refresh_seconds: 3_600, max_stale_seconds: 86_400 });
        assert_eq!(config.clock_skew_seconds, 60);
        assert_eq!(config.policy_options, PolicyOptions { max_bytes: 32_768, path_guard: true });
        assert_eq!(config.invalid_token_response, InvalidTokenResponse::Unauthorized);
    }

    #[test]
    fn an_empty_value_means_unset() {
        let variable = |name: &str| Some(OsString::from(if name == ISSUER.0 { ISSUER.1 } else { "" }));
        let empty = Config::load(variable, |_| Err(io::Error::from(io::ErrorKind::NotFound))).unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", load(&[]).unwrap()));
    }

    #[test]
    fn every_variable_is_read() {
        let config = load(&[
            ("OKTA_ISSUER", "https://a.okta.com, http://localhost:8080/x/"),
            ("OKTA_AUDIENCE", "a,b"),
            ("OKTA_CLIENT_IDS", "c"),
            ("KEYS_TABLE_NAME", "t"),
            ("KEYS_REFRESH_SECONDS", "60"),
            ("KEYS_MAX_STALE_SECONDS", "120"),
            ("CLOCK_SKEW_SECONDS", "0"),
            ("POLICY_FILE", "/opt/policy.toml"),
            ("POLICY_MAX_BYTES", "1024"),
            ("PATH_GUARD", "off"),
            ("INVALID_TOKEN_RESPONSE", "deny"),
            ("API_KEY_CLAIM", "cid"),
            ("CONTEXT_CLAIMS", "x, y"),
        ])
        .unwrap();
        assert_eq!(config.issuers[0].keys_endpoint.as_str(), "https://a.okta.com/v1/keys");
        assert_eq!(config.issuers[1].issuer, "http://localhost:8080/x/");
        assert_eq!(config.issuers[1].keys_endpoint.as_str(), "http://localhost:8080/x/v1/keys");
        assert_eq!(config.audiences, ["a", "b"]);
        assert_eq!((config.client_ids.len(), config.context_claims.len()), (1, 2));
        assert_eq!(config.refresh_policy, RefreshPolicy { refresh_seconds: 60, max_stale_seconds: 120 });
        assert_eq!(config.policy_options, PolicyOptions { max_bytes: 1_024, path_guard: false });
        assert_eq!(config.invalid_token_response, InvalidTokenResponse::Deny);
        let client = [("OKTA_INTROSPECT", "true"), ("OKTA_CLIENT_ID", "c"), ("OKTA_CLIENT_SECRET", "hush")];
        let credentials = load(&client).unwrap().introspection.unwrap();
        assert_eq!((credentials.id.as_str(), credentials.secret.as_deref()), ("c", Some("hush")));
        assert!(!format!("{credentials:?}").contains("hush"));
        assert!(load(&client[1..]).unwrap().introspection.is_none());
        let endpoint = load(&[("OKTA_KEYS_ENDPOINT", "https://example.okta.com/oauth2/v1/keys")]).unwrap();
        assert_eq!(endpoint.issuers[0].keys_endpoint.as_str(), "https://example.okta.com/oauth2/v1/keys");
        let explicit = load(&[("INVALID_TOKEN_RESPONSE", "unauthorized"), ("PATH_GUARD", "on")]).unwrap();
        assert_eq!(explicit.invalid_token_response, InvalidTokenResponse::Unauthorized);
        assert!(explicit.policy_options.path_guard);
    }

    #[test]
    fn good_values_are_accepted() {
        for (name, values) in [
            (
                "OKTA_ISSUER",
                [
                    "https://example.okta.com",
                    "https://login.example.com:8443/oauth2/aus1",
                    "http://127.0.0.1:9/oauth2/default",
                    "http://[::1]:9/oauth2/default",
                    "https://a.okta.com,https://b.okta.com",
                ]
                .as_slice(),
            ),
            ("OKTA_KEYS_ENDPOINT", &["http://localhost:9/keys", "https://a.okta.com/oauth2/v1/keys?client_id=0oa1"]),
            ("KEYS_REFRESH_SECONDS", &["1", "86400", "31536000"]),
            ("KEYS_MAX_STALE_SECONDS", &["1", "604800", "31536000"]),
            ("CLOCK_SKEW_SECONDS", &["0", "300"]),
            ("POLICY_MAX_BYTES", &["1024", "1048576"]),
        ] {
            for value in values {
                assert!(load(&[(name, value)]).is_ok(), "{name} {value}");
            }
        }
    }

    /// `sam local invoke --env-vars` can only set variables that the template declares.
    #[test]
    fn the_template_declares_every_variable() {
        let read = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let variable = |name: &str| {
            read.borrow_mut().insert(name.to_owned());
            let given = [ISSUER, ("OKTA_INTROSPECT", "true"), ("OKTA_CLIENT_ID", "0oaclient")];
            given.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        };
        Config::load(variable, |_| Err(io::Error::from(io::ErrorKind::NotFound))).unwrap();
        let mut read = read.into_inner();
        // The template does not declare this one: a Lambda layer that has a CA bundle sets it.
        assert!(read.remove("SSL_CERT_FILE"));
        let (_, variables) = include_str!("../template.yaml").split_once("        Variables:\n").unwrap();
        let lines = variables.lines().map_while(|line| line.strip_prefix("          "));
        let declared = lines.map(|line| line.split_once(':').unwrap().0.to_owned()).collect();
        assert_eq!(read, declared);
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
            (&["POLICY_MAX_BYTES"], &["0", "1023", "1048577"]),
            (&["PATH_GUARD"], &["On", "maybe", "offf", "0n", "on off"]),
            (&["INVALID_TOKEN_RESPONSE"], &["403", "401", "allow", "unauthorised", "deny,unauthorized"]),
            (&["OKTA_INTROSPECT"], &["yes"]),
        ] {
            for (name, value) in names.iter().flat_map(|name| values.iter().map(move |value| (*name, *value))) {
                let error = load(&[(name, value)]).unwrap_err();
                assert_eq!((error.variable, error.problem), (name, format!("is `{value}`")));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_unicode_is_rejected() {
        use std::os::unix::ffi::OsStringExt;
        for name in [
            "OKTA_ISSUER",
            "OKTA_AUDIENCE",
            "OKTA_CLIENT_IDS",
            "OKTA_JWKS",
            "CLOCK_SKEW_SECONDS",
            "PATH_GUARD",
            "POLICY_FILE",
        ] {
            let variable = |other: &str| match other {
                _ if other == name => Some(OsString::from_vec(vec![b'x', 0xff, b'x'])),
                _ => (other == ISSUER.0).then(|| ISSUER.1.into()),
            };
            let error = Config::load(variable, |_| Ok(String::new())).unwrap_err();
            assert_eq!((error.variable, error.problem.as_str()), (name, "is not Unicode"));
        }
    }

    #[test]
    fn an_error_names_the_variable_and_the_problem() {
        for (name, value, problem) in [
            ("OKTA_ISSUER", "", "is not set"),
            ("OKTA_ISSUER", "example.okta.com", "is not a URL"),
            ("OKTA_ISSUER", " ", "is blank"),
            ("OKTA_ISSUER", ",", "has an empty item"),
            ("OKTA_ISSUER", "//example.okta.com/oauth2/default", "is not a URL"),
            ("OKTA_ISSUER", "http://localhost.example.com/oauth2/default", "is not https"),
            ("OKTA_ISSUER", "http://10.0.0.1/oauth2/default", "is not https"),
            ("OKTA_ISSUER", "http://169.254.169.254/oauth2/default", "is not https"),
            ("OKTA_ISSUER", "http://localhost@example.com/oauth2/default", "is not https"),
            ("OKTA_ISSUER", "ftp://example.okta.com/oauth2/default", "is not https"),
            ("OKTA_ISSUER", "file:///etc/passwd", "is a URL without a host"),
            ("OKTA_ISSUER", "https://a.okta.com,nonsense", "is not a URL"),
            ("OKTA_ISSUER", "https://a.okta.com,http://b.okta.com", "is not https"),
            ("OKTA_ISSUER", "http://example.okta.com", "is not https"),
            ("OKTA_ISSUER", "https:/example.okta.com", "is not https"),
            ("OKTA_ISSUER", "HTTPS://example.okta.com", "is not https"),
            ("OKTA_ISSUER", "http://127.0.0.1.example.com", "is not https"),
            ("OKTA_ISSUER", "https://", "is not a URL"),
            ("OKTA_ISSUER", "https:///oauth2/default", "is not a URL"),
            ("OKTA_ISSUER", "https://exam\tple.okta.com", "is not a URL"),
            ("OKTA_ISSUER", "https://example.okta.com\\x", "is not a URL"),
            ("OKTA_ISSUER", "https://u:p@example.okta.com", "has credentials, a query or a fragment"),
            ("OKTA_ISSUER", "https://example.okta.com?x", "has credentials, a query or a fragment"),
            ("OKTA_ISSUER", "https://a.okta.com,,https://b.okta.com", "has an empty item"),
            ("OKTA_AUDIENCE", ",", "has an empty item"),
            ("OKTA_AUDIENCE", " , ", "has an empty item"),
            ("OKTA_CLIENT_IDS", " ", "is blank"),
            ("OKTA_CLIENT_IDS", ",", "has an empty item"),
            ("OKTA_CLIENT_IDS", " , ", "has an empty item"),
            ("OKTA_KEYS_ENDPOINT", "ftp://example.okta.com", "is not https"),
            ("OKTA_KEYS_ENDPOINT", "http://example.okta.com/v1/keys", "is not https"),
            ("OKTA_KEYS_ENDPOINT", "/v1/keys", "is not a URL"),
            ("OKTA_KEYS_ENDPOINT", "nonsense", "is not a URL"),
            ("OKTA_KEYS_ENDPOINT", "https://", "is not a URL"),
            ("OKTA_JWKS", "{", "is unusable: not a JSON object with an array `keys`"),
            ("OKTA_JWKS", r#"{"keys":[]}"#, "is unusable: the JWKS has no RSA key for RS256 with a unique kid"),
            ("POLICY_FILE", "/opt/none", "names `/opt/none`, which cannot be read: entity not found"),
            (
                "POLICY_FILE",
                "/opt/bad.toml",
                "names `/opt/bad.toml`, which is wrong in line 2: the route `GET a` is not `METHOD /path`",
            ),
            ("SSL_CERT_FILE", "/opt/none", "names `/opt/none`, which cannot be read: entity not found"),
        ] {
            let error = load(&[(name, value)]).unwrap_err();
            assert_eq!((error.variable, error.problem.as_str()), (name, problem), "{value}");
            assert!(error.to_string().starts_with(name) && !error.to_string().contains('\n'));
        }
        assert_eq!(load(&[("OKTA_INTROSPECT", "true")]).unwrap_err().variable, "OKTA_CLIENT_ID");
        let several = |issuers| [("OKTA_INTROSPECT", "true"), ("OKTA_CLIENT_ID", "c"), ("OKTA_ISSUER", issuers)];
        let two_hosts = several("https://a.okta.com/x,https://b.okta.com/x");
        assert_eq!(load(&two_hosts).unwrap_err().variable, "OKTA_INTROSPECT");
        assert!(load(&several("https://a.okta.com/x,https://a.okta.com/y")).is_ok());
        let both =
            [("OKTA_ISSUER", "https://a.okta.com,https://b.okta.com"), ("OKTA_KEYS_ENDPOINT", "https://a.okta.com")];
        assert_eq!(load(&both).unwrap_err().variable, "OKTA_KEYS_ENDPOINT");
    }
}
