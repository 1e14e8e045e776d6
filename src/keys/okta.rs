//! The issuer's keys endpoint.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, StatusCode, Url, header, redirect};

use super::{KeySet, KeySetError, roots::Roots};

/// Where one issuer publishes its JWKS. The client is built when it is first needed, which most starts never do.
#[derive(Debug)]
pub struct KeysEndpoint {
    url: Url,
    roots: Roots,
    client: OnceLock<Client>,
}

/// A JWKS as Okta answered it.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// `Cache-Control: max-age`, in seconds (RFC 9111 §5.2.2.1).
    pub(super) max_age: Option<u64>,
}

/// Why there is no JWKS to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the client cannot be built")]
    NoClient,
    #[error("no connection, or none that TLS trusts")]
    NoConnection,
    #[error("no answer within the time allowed")]
    TimedOut,
    #[error("the answer broke off")]
    BrokenOff,
    #[error("the answer is {status}")]
    Status {
        status: u16,
        /// `Retry-After` in seconds (RFC 9110 §10.2.3), where it came with a 429 or 503.
        retry_after: Option<u64>,
    },
    #[error("{0}")]
    NoKeySet(#[from] KeySetError),
}

impl KeysEndpoint {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    const TIMEOUT: Duration = Duration::from_secs(2);

    /// An endpoint whose certificate must lead to one of `roots`.
    #[must_use]
    pub fn new(url: Url, roots: Roots) -> Self {
        Self { url, roots, client: OnceLock::new() }
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// One request: no redirect is followed, and the body is bounded while it is read.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let mut response = self.client()?.get(self.url.clone()).send().await.map_err(|error| kind(&error))?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            let retry_after = number(&response, header::RETRY_AFTER, str::parse);
            let limited = matches!(status, 429 | 503);
            return Err(FetchError::Status { status, retry_after: retry_after.filter(|_| limited) });
        }
        let max_age = number(&response, header::CACHE_CONTROL, |value| {
            let directives = value.split(',').filter_map(|directive| directive.trim().split_once('='));
            let mut ages = directives.filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
            ages.next().map_or("", |(_, age)| age.trim_matches('"')).parse()
        });
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| kind(&error))? {
            if body.len() + chunk.len() > KeySet::MAX_BYTES {
                return Err(KeySetError::TooLarge.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { keys: KeySet::parse(&body)?, max_age })
    }

    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .tls_certs_only(self.roots.for_okta())
            .connect_timeout(Self::CONNECT_TIMEOUT)
            .timeout(Self::TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("okta-authorizer/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| FetchError::NoClient)?;
        Ok(self.client.get_or_init(|| client))
    }
}

fn kind(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::TimedOut
    } else if error.is_connect() {
        FetchError::NoConnection
    } else {
        FetchError::BrokenOff
    }
}

fn number(
    response: &reqwest::Response,
    name: header::HeaderName,
    parse: impl Fn(&str) -> Result<u64, std::num::ParseIntError>,
) -> Option<u64> {
    response.headers().get(name)?.to_str().ok().and_then(|value| parse(value.trim()).ok())
}
