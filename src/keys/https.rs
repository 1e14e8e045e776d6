//! How all is reached that is asked over the network: Okta, and through the SDK the shared table.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_dynamodb::config::{
    SharedHttpClient,
    http::{HttpRequest, HttpResponse},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use reqwest::{Body, Client, Request, Response, redirect};
use rustls::{ClientConfig, crypto::aws_lc_rs};

use super::Roots;

/// An HTTPS client that is built when it is first needed: with pinned keys never. Clones share it.
#[derive(Debug, Clone)]
pub struct HttpsClient {
    roots: Roots,
    /// Whether `HTTPS_PROXY` and its like do not hold.
    direct: bool,
    client: Arc<OnceLock<Client>>,
}

/// The client cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client cannot be built")]
pub(crate) struct NoClient;

impl HttpsClient {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    /// For a whole request, its body included.
    const TIMEOUT: Duration = Duration::from_secs(2);

    /// A client that trusts servers whose certificate leads to one of `roots`.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        Self { roots, direct: false, client: Arc::default() }
    }

    /// Follows no redirect, and gives up after 2 s.
    pub(crate) fn client(&self) -> Result<&Client, NoClient> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| NoClient)?
            .with_root_certificates(self.roots.store())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(Self::CONNECT_TIMEOUT)
            .timeout(Self::TIMEOUT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("okta-authorizer/", env!("CARGO_PKG_VERSION")));
        let builder = if self.direct { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|_| NoClient)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// One like it as the AWS SDK takes it: no second TLS stack, and the same roots. What goes to AWS, or to where a machine
    /// has its credentials, goes through no proxy, as with the SDK's own client.
    #[must_use]
    pub fn for_aws(&self) -> SharedHttpClient {
        let connector =
            SharedHttpConnector::new(Self { roots: self.roots.clone(), direct: true, client: Arc::default() });
        http_client_fn(move |_, _| connector.clone())
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

impl HttpConnector for HttpsClient {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let https = self.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let request =
                Request::try_from(request.map(Body::wrap)).map_err(|error| ConnectorError::user(error.into()))?;
            let client = https.client().map_err(|error| ConnectorError::other(error.into(), None))?;
            let response = client.execute(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            let response = http::Response::from(response).map(SdkBody::from_body_1_x);
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
