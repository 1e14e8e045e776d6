//! Asks Okta whether a verified token is still active. Optional: for deployers who need a revoked
//! token to be refused at once.

use std::fmt;

use reqwest::{StatusCode, Url};
use url::form_urlencoded::byte_serialize;

use super::BearerToken;
use crate::{https::HttpsClient, policy::JsonObject};

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

/// One issuer's introspection endpoint (RFC 7662).
#[derive(Debug)]
pub struct Introspection {
    url: Url,
    credentials: ClientCredentials,
    https: HttpsClient,
}

/// Introspection failed, so it is unknown whether the token is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntrospectionError;

impl Introspection {
    /// The size limit of a response: 64 KiB.
    const MAX_BYTES: usize = 64 * 1024;

    /// The endpoint at `url`, reached through `https`, with these `credentials`.
    #[must_use]
    pub fn new(url: Url, credentials: ClientCredentials, https: HttpsClient) -> Self {
        Self { url, credentials, https }
    }

    /// Whether the token is active, in one request of at most 2 s.
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
    pub async fn is_active(&self, token: &BearerToken<'_>) -> Result<bool, IntrospectionError> {
        let response = self.request(token).await?;
        // RFC 7662 §2.2: only `active` is required.
        match JsonObject::parse(&response).ok_or(IntrospectionError)?.raw("active") {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(IntrospectionError),
        }
    }

    /// Sends the request, and returns the body of the response.
    async fn request(&self, token: &BearerToken<'_>) -> Result<Vec<u8>, IntrospectionError> {
        let mut form = vec![("token", token.as_str()), ("token_type_hint", "access_token")];
        let request = self.https.client().map_err(|_| IntrospectionError)?.post(self.url.clone());
        let request = if let Some(secret) = &self.credentials.secret {
            // RFC 6749 §2.3.1: id and secret are form-encoded before they are used in HTTP Basic.
            let form_encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            request.basic_auth(form_encoded(&self.credentials.id), Some(form_encoded(secret)))
        } else {
            form.push(("client_id", &self.credentials.id));
            request
        };
        let response = request.form(&form).send().await.map_err(|_| IntrospectionError)?;
        if response.status() != StatusCode::OK {
            return Err(IntrospectionError);
        }
        HttpsClient::read_limited(response, Self::MAX_BYTES).await.ok().flatten().ok_or(IntrospectionError)
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
