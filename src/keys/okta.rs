//! Okta: the client for it, and an issuer's keys endpoint.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use tracing::{Instrument, field, info_span};

use super::{KeySet, KeySetError, roots::Roots};

/// The client for Okta, shared by all that ask it something, and built when it is first needed: most starts never do.
#[derive(Debug)]
pub struct OktaClient {
    roots: Roots,
    client: OnceLock<Client>,
}

/// Where one issuer publishes its JWKS.
#[derive(Debug)]
pub struct KeysEndpoint {
    url: Url,
    client: Arc<OktaClient>,
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
    #[error("the answer is {0}")]
    Status(u16),
    #[error("the answer is 429, to be asked again in {seconds} s")]
    RetryAfter {
        /// `Retry-After` (RFC 6585 §4).
        seconds: u64,
    },
    #[error("{0}")]
    NoKeySet(#[from] KeySetError),
}

impl OktaClient {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    /// For a whole request, its body included.
    const TIMEOUT: Duration = Duration::from_secs(2);

    /// A client that trusts servers whose certificate leads to one of `roots`.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self { roots, client: OnceLock::new() }
    }

    /// Follows no redirect, and gives up after 2 s.
    pub(crate) fn client(&self) -> reqwest::Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .tls_certs_only(self.roots.for_okta())
            .connect_timeout(Self::CONNECT_TIMEOUT)
            .timeout(Self::TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("okta-authorizer/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The whole body, or `None` where it is longer than `max_bytes`: no more than that is ever held.
    pub(crate) async fn bounded_body(mut response: Response, max_bytes: usize) -> reqwest::Result<Option<Vec<u8>>> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > max_bytes {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

impl KeysEndpoint {
    /// The endpoint at `url`, asked through `client`.
    #[must_use]
    pub fn new(url: Url, client: Arc<OktaClient>) -> Self {
        Self { url, client }
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// One request: no redirect is followed, and the body is bounded while it is read.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let span = info_span!("Okta keys", failed = field::Empty);
        let fetched = self.request().instrument(span.clone()).await;
        span.record("failed", fetched.is_err());
        fetched
    }

    async fn request(&self) -> Result<Fetched, FetchError> {
        let client = self.client.client().map_err(|_| FetchError::NoClient)?;
        let response = client.get(self.url.clone()).send().await.map_err(|error| kind(&error))?;
        match response.status() {
            StatusCode::OK => {}
            other => {
                let limited = other == StatusCode::TOO_MANY_REQUESTS;
                let seconds = number(&response, header::RETRY_AFTER, str::parse).filter(|_| limited);
                let status = FetchError::Status(other.as_u16());
                return Err(seconds.map_or(status, |seconds| FetchError::RetryAfter { seconds }));
            }
        }
        let max_age = number(&response, header::CACHE_CONTROL, |value| {
            let directives = value.split(',').filter_map(|directive| directive.trim().split_once('='));
            let mut ages = directives.filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
            ages.next().map_or("", |(_, age)| age.trim_matches('"')).parse()
        });
        let body = OktaClient::bounded_body(response, KeySet::MAX_BYTES).await.map_err(|error| kind(&error))?;
        Ok(Fetched { keys: KeySet::parse(&body.ok_or(KeySetError::TooLarge)?)?, max_age })
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
    response: &Response,
    name: header::HeaderName,
    parse: impl Fn(&str) -> Result<u64, std::num::ParseIntError>,
) -> Option<u64> {
    response.headers().get(name)?.to_str().ok().and_then(|value| parse(value.trim()).ok())
}
