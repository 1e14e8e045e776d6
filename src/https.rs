//! The HTTPS client for Okta and, through the AWS SDK, for `DynamoDB`; and the certificates that it
//! trusts.

use std::{
    cell::Cell,
    error::Error,
    io, iter,
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
use reqwest::{Body, Client, Request, RequestBuilder, Response, redirect};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::task_local;
use tower::util::MapResponseLayer;
use webpki_roots::TLS_SERVER_ROOTS;

/// The certification authorities that a server's certificate must lead to.
#[derive(Debug, Clone)]
pub enum TrustAnchors {
    /// Mozilla's list, compiled in. It is decoded only when the first client is built.
    Embedded,
    /// Only the certificates of a PEM bundle.
    Bundle(Arc<RootCertStore>),
}

impl TrustAnchors {
    /// The certificates of a PEM bundle (RFC 7468).
    ///
    /// # Errors
    /// The problem as text, if the bundle has no certificate or a malformed one.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| "contains malformed PEM".to_owned())?;
            store.add(der).map_err(|_| "contains a malformed certificate".to_owned())?;
        }
        if store.is_empty() { Err("contains no certificate".to_owned()) } else { Ok(Self::Bundle(Arc::new(store))) }
    }

    fn store(&self) -> Arc<RootCertStore> {
        match self {
            Self::Embedded => Arc::new(TLS_SERVER_ROOTS.iter().cloned().collect()),
            Self::Bundle(store) => Arc::clone(store),
        }
    }
}

/// An HTTPS client that is built on first use. With pinned keys it is never built. Clones share the
/// same connections.
#[derive(Debug, Clone)]
pub struct HttpsClient {
    trust_anchors: TrustAnchors,
    /// Ignore `HTTPS_PROXY` and the other proxy variables.
    bypass_proxy: bool,
    /// Use a connection for one request only.
    always_connect: bool,
    client: Arc<OnceLock<Client>>,
}

/// Why a request failed before there was a complete response. It has no part of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The host has no address.
    #[error("the host's name was not found")]
    NameNotFound,
    /// Nothing listens there.
    #[error("connection refused")]
    ConnectionRefused,
    /// The proxy of `HTTPS_PROXY` does not connect to the host.
    #[error("the proxy failed: {0}")]
    Proxy(String),
    /// For example, the server's certificate is not trusted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// It took too long.
    #[error("timed out")]
    TimedOut,
    /// There was no connection for another reason.
    #[error("could not connect")]
    ConnectionFailed,
    /// The usual cause is a connection that closed too early.
    #[error("the response is incomplete")]
    Incomplete,
}

impl From<reqwest::Error> for RequestError {
    fn from(error: reqwest::Error) -> Self {
        let causes = || iter::successors(error.source(), |cause| (*cause).source());
        // The type of a proxy's error is private, so only its text tells.
        if let Some(text) =
            causes().find_map(|cause| cause.to_string().strip_prefix("tunnel error: ").map(str::to_owned))
        {
            return Self::Proxy(text);
        }
        let mut io = causes().filter_map(|cause| cause.downcast_ref::<io::Error>());
        if let Some(tls) = io.clone().find_map(tls_error) {
            return Self::Tls(tls.to_string().chars().take(200).collect());
        }
        if error.is_timeout() {
            Self::TimedOut
        } else if error.is_dns() {
            Self::NameNotFound
        } else if io.any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused) {
            Self::ConnectionRefused
        } else if error.is_connect() {
            Self::ConnectionFailed
        } else {
            Self::Incomplete
        }
    }
}

/// The TLS library's error in an I/O error, which can be in another one.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_error(inner.downcast_ref()?))
}

/// The HTTPS client could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("could not build the HTTPS client")]
pub(crate) struct ClientBuildError;

impl HttpsClient {
    /// For a whole request to Okta, from the connection to the end of the body. The client has no
    /// limit of its own: its users know whether the time of a freeze counts.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

    /// A client that trusts servers with a certificate under one of `trust_anchors`.
    #[must_use]
    pub fn new(trust_anchors: TrustAnchors) -> Self {
        Self { trust_anchors, bypass_proxy: false, always_connect: false, client: Arc::default() }
    }

    /// A client of the same kind that uses each connection for one request only.
    pub(crate) fn always_connecting(&self) -> Self {
        Self { always_connect: true, client: Arc::default(), ..self.clone() }
    }

    /// The client, built on the first call. It follows no redirect.
    pub(crate) fn client(&self) -> Result<&Client, ClientBuildError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| ClientBuildError)?
            .with_root_certificates(self.trust_anchors.store())
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .connector_layer(MapResponseLayer::new(note_connection))
            .user_agent(concat!("okta-authorizer/", env!("CARGO_PKG_VERSION")));
        let builder = if self.bypass_proxy { builder.no_proxy() } else { builder };
        let builder = if self.always_connect { builder.pool_max_idle_per_host(0) } else { builder };
        let client = builder.build().map_err(|_| ClientBuildError)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// A client of the same kind for the AWS SDK, so that the program has one TLS stack and one set
    /// of trust anchors. It ignores the proxy variables, because requests for a machine's AWS
    /// credentials must not go through a proxy. The SDK's default client would use them.
    #[must_use]
    pub fn aws_sdk_client(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Self {
            trust_anchors: self.trust_anchors.clone(),
            bypass_proxy: true,
            always_connect: false,
            client: Arc::default(),
        });
        http_client_fn(move |_, _| connector.clone())
    }

    /// The whole body, or `None` if it is longer than `max_bytes`. The buffer never holds more than
    /// `max_bytes`.
    pub(crate) async fn read_limited(mut response: Response, max_bytes: usize) -> reqwest::Result<Option<Vec<u8>>> {
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

task_local! {
    /// Whether a connection was made in this scope.
    static CONNECTED: Cell<bool>;
}

/// Called with each new connection, by the task that asked for it.
fn note_connection<C>(connection: C) -> C {
    // A connection can also be finished in the background, when no request needs it any more.
    let _ = CONNECTED.try_with(|connected| connected.set(true));
    connection
}

/// A request got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) error: RequestError,
    /// The connection had carried another request before, and was lost before the head of an answer
    /// had arrived. A server closes idle connections when it likes, and can do so while the request
    /// is on its way.
    pub(crate) is_stale_connection: bool,
}

/// Sends a request. hyper tries again by itself if the connection was closed before it had written
/// anything, but not later, because it does not know whether the request may be sent twice.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, SendError> {
    let send = async {
        request.send().await.map_err(|error| {
            let is_reused = !CONNECTED.with(Cell::get);
            SendError { is_stale_connection: is_reused && is_connection_lost(&error), error: error.into() }
        })
    };
    CONNECTED.scope(Cell::new(false), send).await
}

fn is_connection_lost(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_connect() {
        return false;
    }
    iter::successors(error.source(), |cause| (*cause).source())
        .any(|cause| cause.is::<io::Error>() || cause.downcast_ref().is_some_and(hyper::Error::is_incomplete_message))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_must_contain_valid_certificates() {
        for (pem, problem) in [
            ("", "contains no certificate"),
            ("hello", "contains no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "contains malformed PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "contains a malformed certificate"),
        ] {
            assert_eq!(TrustAnchors::from_pem(pem).unwrap_err(), problem, "{pem}");
        }
    }

    #[test]
    fn all_certificates_of_a_bundle_are_trusted() {
        let [one, other] = [(), ()].map(|()| {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new([]).unwrap().self_signed(&key).unwrap().pem()
        });
        let anchors = TrustAnchors::from_pem(&format!("{one}{other}")).unwrap();
        assert_eq!(anchors.store().len(), 2);
        assert!(TrustAnchors::Embedded.store().len() > 100);
    }
}
