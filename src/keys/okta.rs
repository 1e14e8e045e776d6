//! An issuer's keys endpoint at Okta.

use reqwest::{Response, StatusCode, Url, header};
use tracing::{Instrument, field, info_span};

use super::{HttpsClient, KeySet, KeySetError, https::NoClient};

/// Where one issuer publishes its JWKS.
#[derive(Debug)]
pub struct KeysEndpoint {
    url: Url,
    client: HttpsClient,
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
    #[error("{0}")]
    NoClient(#[from] NoClient),
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

impl KeysEndpoint {
    /// The endpoint at `url`, asked through `client`.
    #[must_use]
    pub fn new(url: Url, client: HttpsClient) -> Self {
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
        let client = self.client.client()?;
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
        let body = HttpsClient::bounded_body(response, KeySet::MAX_BYTES).await.map_err(|error| kind(&error))?;
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
