//! TLS in front of a loopback server, with its own certificate authority.

use std::{net::SocketAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
};

/// Signs the servers' certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub pem: String,
}

/// The kind of certificate that a server presents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Certificate {
    Good,
    OfAnotherName,
    Expired,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn server_config(&self, certificate: Certificate) -> ServerConfig {
        let name = if certificate == Certificate::OfAnotherName { "okta.example" } else { "localhost" };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if certificate == Certificate::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap()
    }
}

/// Accepts TLS connections and forwards their content to a plain TCP server. Dropping it closes the
/// port.
pub struct TlsFront {
    pub address: SocketAddr,
    server: JoinHandle<()>,
}

impl TlsFront {
    pub async fn start(authority: &Authority, certificate: Certificate, upstream: SocketAddr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(authority.server_config(certificate)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(acceptor.clone(), stream, upstream));
            }
        });
        Self { address, server }
    }

    /// `https://localhost:{port}`.
    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(acceptor: TlsAcceptor, stream: TcpStream, upstream: SocketAddr) {
    // A client that does not trust the certificate closes the connection. Some tests expect that.
    let Ok(mut outer) = acceptor.accept(stream).await else { return };
    let mut inner = TcpStream::connect(upstream).await.unwrap();
    // Forward every write at once, because Nagle's algorithm and delayed acknowledgements together
    // cost 40 ms.
    for stream in [outer.get_ref().0, &inner] {
        stream.set_nodelay(true).unwrap();
    }
    let _ = copy_bidirectional(&mut outer, &mut inner).await;
}
