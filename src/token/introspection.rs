//! Is a verified token still active? Asked of Okta, where the deployer wants revocations to count at once.

use std::fmt;

use reqwest::{StatusCode, Url};
use url::form_urlencoded::byte_serialize;

use super::{BearerToken, json::Object};
use crate::keys::HttpsClient;

/// How the authorizer names itself to Okta. Its `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// `OKTA_CLIENT_ID`.
    pub id: String,
    /// `OKTA_CLIENT_SECRET`; a public client has none.
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
    client: HttpsClient,
}

/// There is no answer that says whether the token is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

impl Introspection {
    /// The largest answer that is read: 64 KiB.
    const MAX_BYTES: usize = 64 * 1024;

    /// The endpoint at `url`, asked through `client` in the name of `credentials`.
    #[must_use]
    pub fn new(url: Url, credentials: ClientCredentials, client: HttpsClient) -> Self {
        Self { url, credentials, client }
    }

    /// Asks once, for 2 s at most. A confidential client authenticates by HTTP Basic (RFC 6749 §2.3.1), a public one
    /// names itself in the form, as Okta wants it.
    ///
    /// # Errors
    /// [`NoAnswer`] for anything but a 200 with a boolean `active`.
    pub async fn is_active(&self, token: &BearerToken<'_>) -> Result<bool, NoAnswer> {
        let answer = self.ask(token).await?;
        // RFC 7662 §2.2: `active` is required, everything else optional.
        match Object::parse(&answer).ok_or(NoAnswer)?.member("active") {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(NoAnswer),
        }
    }

    async fn ask(&self, token: &BearerToken<'_>) -> Result<Vec<u8>, NoAnswer> {
        let mut form = vec![("token", token.as_str()), ("token_type_hint", "access_token")];
        let request = self.client.client().map_err(|_| NoAnswer)?.post(self.url.clone());
        let request = if let Some(secret) = &self.credentials.secret {
            let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            request.basic_auth(encoded(&self.credentials.id), Some(encoded(secret)))
        } else {
            form.push(("client_id", &self.credentials.id));
            request
        };
        let response = request.form(&form).send().await.map_err(|_| NoAnswer)?;
        if response.status() != StatusCode::OK {
            return Err(NoAnswer);
        }
        HttpsClient::bounded_body(response, Self::MAX_BYTES).await.ok().flatten().ok_or(NoAnswer)
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
