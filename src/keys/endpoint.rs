//! An issuer's keys endpoint at Okta, asked over HTTPS.

use reqwest::{Response, StatusCode, Url, header::CACHE_CONTROL};

use super::{KeySet, KeySetError};
use crate::{
    https::{ClientBuildError, HttpsClient, RequestError},
    rate_limit, running_time,
};

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
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("HTTP status {0}")]
    Status(StatusCode),
    /// Status 429, or 503 with a time: Okta is not asked again before `not_before` (epoch seconds).
    #[error("HTTP status {status}, not again before {not_before}")]
    NotBefore { status: StatusCode, not_before: u64 },
    #[error("{0}")]
    InvalidKeySet(#[from] KeySetError),
}

impl KeysEndpoint {
    /// The endpoint at `url`, reached through `client`.
    #[must_use]
    pub fn new(url: Url, client: &HttpsClient) -> Self {
        // Requests are rare, so a connection of the last one is most likely dead.
        Self { url, client: client.always_connecting() }
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Sends one request, which takes 2 s at most. It follows no redirect, accepts only status 200,
    /// and reads at most [`KeySet::MAX_BYTES`] of the body. `now` returns the epoch second in which
    /// the response arrives.
    pub(super) async fn fetch(&self, now: impl Fn() -> u64) -> Result<FetchedKeys, FetchError> {
        let request = running_time::within(HttpsClient::TIMEOUT, self.request(now));
        request.await.unwrap_or(Err(RequestError::TimedOut.into()))
    }

    async fn request(&self, now: impl Fn() -> u64) -> Result<FetchedKeys, FetchError> {
        let client = self.client.client()?;
        let response = client.get(self.url.clone()).send().await.map_err(RequestError::from)?;
        check_status(&response, now)?;
        let max_age = max_age(&response);
        let body = HttpsClient::read_limited(response, KeySet::MAX_BYTES).await.map_err(RequestError::from)?;
        Ok(FetchedKeys { keys: KeySet::parse(&body.ok_or(KeySetError::TooLarge)?)?, max_age })
    }
}

fn check_status(response: &Response, now: impl Fn() -> u64) -> Result<(), FetchError> {
    /// How long a 429 counts if it names no time.
    const DEFAULT_SECONDS: u64 = 30;
    let status = response.status();
    let not_before = match status {
        StatusCode::OK => return Ok(()),
        StatusCode::TOO_MANY_REQUESTS => {
            let now = now();
            Some(rate_limit::not_before(response.headers(), now).unwrap_or(now + DEFAULT_SECONDS))
        }
        StatusCode::SERVICE_UNAVAILABLE => rate_limit::not_before(response.headers(), now()),
        _ => None,
    };
    Err(match not_before {
        Some(not_before) => FetchError::NotBefore { status, not_before },
        None => FetchError::Status(status),
    })
}

/// The first `max-age` directive of `Cache-Control`, in seconds.
fn max_age(response: &Response) -> Option<u64> {
    let directives = response.headers().get(CACHE_CONTROL)?.to_str().ok()?.split(',');
    directives
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim_matches('"').parse().ok())
}
