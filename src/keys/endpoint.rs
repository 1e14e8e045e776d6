//! An issuer's keys endpoint at Okta, asked over HTTPS.

use reqwest::{Response, StatusCode, Url, header};

use super::{KeySet, KeySetError};
use crate::https::{ClientBuildError, HttpsClient};

/// The URL at which one issuer publishes its JWKS (RFC 7517 §5).
///
/// Source: Okta developer documentation, "Custom Authorization Server", `/v1/keys`:
/// <https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS/>.
#[derive(Debug)]
pub struct KeysEndpoint {
    url: Url,
    client: HttpsClient,
}

/// A JWKS from Okta.
#[derive(Debug)]
pub(super) struct FetchedKeys {
    pub(super) keys: KeySet,
    /// `Cache-Control: max-age`, in seconds (RFC 9111 §5.2.2.1). `None` if it is missing or not a
    /// number.
    pub(super) max_age: Option<u64>,
}

/// Why a request for the JWKS failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    ClientBuild(#[from] ClientBuildError),
    #[error("could not connect, or could not verify the server's certificate")]
    ConnectionFailed,
    #[error("timed out")]
    TimedOut,
    /// Neither of the two above. The usual cause is a connection that closed too early.
    #[error("the request failed, or the response is incomplete")]
    RequestFailed,
    #[error("HTTP status {0}")]
    Status(u16),
    /// Status 429 with `Retry-After` as a number of seconds (RFC 6585 §4, RFC 9110 §10.2.3).
    #[error("HTTP status 429 with Retry-After: {seconds}")]
    RetryAfter { seconds: u64 },
    #[error("{0}")]
    InvalidKeySet(#[from] KeySetError),
}

impl KeysEndpoint {
    /// The endpoint at `url`, reached through `client`.
    #[must_use]
    pub fn new(url: Url, client: HttpsClient) -> Self {
        Self { url, client }
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Sends one request. It follows no redirect, accepts only status 200, and reads at most
    /// [`KeySet::MAX_BYTES`] of the body.
    pub(super) async fn fetch(&self) -> Result<FetchedKeys, FetchError> {
        let client = self.client.client()?;
        let response = client.get(self.url.clone()).send().await.map_err(|error| classify(&error))?;
        check_status(&response)?;
        let max_age = max_age(&response);
        let body = HttpsClient::read_limited(response, KeySet::MAX_BYTES).await.map_err(|error| classify(&error))?;
        Ok(FetchedKeys { keys: KeySet::parse(&body.ok_or(KeySetError::TooLarge)?)?, max_age })
    }
}

fn check_status(response: &Response) -> Result<(), FetchError> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    if status == StatusCode::TOO_MANY_REQUESTS
        && let Some(seconds) = header_value(response, &header::RETRY_AFTER).and_then(|value| value.parse().ok())
    {
        return Err(FetchError::RetryAfter { seconds });
    }
    Err(FetchError::Status(status.as_u16()))
}

/// The first `max-age` directive of `Cache-Control`, in seconds.
fn max_age(response: &Response) -> Option<u64> {
    header_value(response, &header::CACHE_CONTROL)?
        .split(',')
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok())
}

/// The first header of this name, without surrounding white space. `None` if it is missing or not
/// visible ASCII.
fn header_value<'r>(response: &'r Response, name: &header::HeaderName) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok().map(str::trim)
}

fn classify(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::TimedOut
    } else if error.is_connect() {
        FetchError::ConnectionFailed
    } else {
        FetchError::RequestFailed
    }
}
