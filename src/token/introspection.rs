//! Asks Okta whether a verified token is still active. Optional: for deployers who need a revoked
//! token to be refused at once.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use reqwest::{RequestBuilder, StatusCode, Url};
use tokio::time::timeout;
use url::form_urlencoded::byte_serialize;

use super::BearerToken;
use crate::{
    https::{ClientBuildError, HttpsClient, RequestError, send},
    policy::JsonObject,
    rate_limit,
};

/// The OAuth client that the authorizer uses at Okta. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// The client id, from `OKTA_INTROSPECTION_CLIENT_ID`.
    pub id: String,
    /// The client secret, from `OKTA_INTROSPECTION_CLIENT_SECRET`. `None` for a public client.
    pub secret: Option<String>,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An introspection endpoint (RFC 7662), and until when it must not be asked.
#[derive(Debug)]
pub struct Introspection {
    url: Url,
    credentials: ClientCredentials,
    https: HttpsClient,
    /// For the second try.
    always_connecting: HttpsClient,
    /// In epoch seconds, as Okta has said it with status 429.
    not_before: AtomicU64,
}

/// Introspection failed, so it is unknown whether the token is active. The text contains nothing of
/// the request or the response but the status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntrospectionError {
    /// The HTTPS client could not be built.
    #[error("could not build the HTTPS client")]
    ClientBuild,
    /// There was no complete response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Another status than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// Okta has answered with 429. It is not asked before the time that it named.
    #[error("HTTP status 429, so Okta is not asked again before {not_before}, which is in {} s", not_before.saturating_sub(*now))]
    RateLimited {
        /// In epoch seconds.
        not_before: u64,
        /// The time of the call. It is before `not_before`.
        now: u64,
    },
    /// The response is longer than 64 KiB.
    #[error("the response is longer than {} bytes", Introspection::MAX_BYTES)]
    TooLong,
    /// The response is not a JSON object with a boolean `active`.
    #[error("the response is not a JSON object with a boolean `active`")]
    NotAnAnswer,
}

impl From<ClientBuildError> for IntrospectionError {
    fn from(_: ClientBuildError) -> Self {
        Self::ClientBuild
    }
}

impl Introspection {
    /// The size limit of a response: 64 KiB.
    const MAX_BYTES: usize = 64 * 1024;

    /// How long Okta is not asked after a 429 that names no time. Okta names one, so this 429 comes
    /// from something between, or from a limit of requests at the same time, which ends when those
    /// are done. Each of these seconds is an outage, so there are few.
    const UNNAMED_SECONDS: u64 = 2;

    /// The endpoint at `url`, reached through `https`, with these `credentials`.
    #[must_use]
    pub fn new(url: Url, credentials: ClientCredentials, https: HttpsClient) -> Self {
        let always_connecting = https.always_connecting();
        Self { url, credentials, https, always_connecting, not_before: AtomicU64::new(0) }
    }

    /// Where it is. What it has said about its limits holds for every issuer that uses it.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the token is active, in 2 s at most. `now` is in epoch seconds.
    ///
    /// A client with a secret authenticates with HTTP Basic (RFC 6749 §2.3.1). A public client
    /// sends its id in the form, because Okta requires it.
    ///
    /// Source: Okta developer documentation, "Custom Authorization Server", `/v1/introspect`:
    /// <https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS/>.
    ///
    /// # Errors
    /// [`IntrospectionError`] unless the response has status 200 and is a JSON object with a
    /// boolean `active`.
    pub async fn is_active(&self, token: &BearerToken<'_>, now: u64) -> Result<bool, IntrospectionError> {
        let not_before = self.not_before.load(Ordering::Relaxed);
        if now < not_before {
            return Err(IntrospectionError::RateLimited { not_before, now });
        }
        let exchange = timeout(HttpsClient::TIMEOUT, self.exchange(token, now));
        let response = exchange.await.unwrap_or(Err(RequestError::TimedOut.into()))?;
        // RFC 7662 §2.2: only `active` is required.
        match JsonObject::parse(&response).ok_or(IntrospectionError::NotAnAnswer)?.raw("active") {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(IntrospectionError::NotAnAnswer),
        }
    }

    /// Sends the request, and returns the body of the response. To ask twice does no harm, because
    /// the question changes nothing.
    async fn exchange(&self, token: &BearerToken<'_>, now: u64) -> Result<Vec<u8>, IntrospectionError> {
        let response = match send(self.request(&self.https, token)?).await {
            Err(failure) if failure.is_stale_connection => send(self.request(&self.always_connecting, token)?).await,
            first => first,
        };
        let response = response.map_err(|failure| failure.error)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                let not_before = rate_limit::not_before(response.headers(), now).unwrap_or(now + Self::UNNAMED_SECONDS);
                // Another call may have been told a later time.
                self.not_before.fetch_max(not_before, Ordering::Relaxed);
                return Err(IntrospectionError::RateLimited { not_before, now });
            }
            status => return Err(IntrospectionError::Status(status.as_u16())),
        }
        let body = HttpsClient::read_limited(response, Self::MAX_BYTES).await.map_err(RequestError::from)?;
        body.ok_or(IntrospectionError::TooLong)
    }

    fn request(&self, https: &HttpsClient, token: &BearerToken<'_>) -> Result<RequestBuilder, ClientBuildError> {
        let mut form = vec![("token", token.as_str()), ("token_type_hint", "access_token")];
        let request = https.client()?.post(self.url.clone());
        let request = if let Some(secret) = &self.credentials.secret {
            // RFC 6749 §2.3.1: id and secret are form-encoded before they are used in HTTP Basic.
            let form_encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            request.basic_auth(form_encoded(&self.credentials.id), Some(form_encoded(secret)))
        } else {
            form.push(("client_id", &self.credentials.id));
            request
        };
        Ok(request.form(&form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_the_secret() {
        let credentials = ClientCredentials { id: "0oa1".to_owned(), secret: Some("hidden".to_owned()) };
        assert_eq!(format!("{credentials:?}"), r#"ClientCredentials { id: "0oa1", .. }"#);
    }
}
