//! Whom TLS trusts: roots compiled in, or those of `SSL_CERT_FILE`, for Okta and `DynamoDB` alike.

use aws_smithy_http_client::tls::TrustStore;
use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memmem::find;
use reqwest::Certificate;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// The certification authorities that a server's certificate must lead to.
#[derive(Debug, Clone)]
pub enum Roots {
    /// Mozilla's, compiled in: nothing is read or decoded at start that is not needed.
    Embedded,
    /// The certificates of a PEM bundle, and no others.
    Bundle(String),
}

impl Roots {
    /// Checks a PEM bundle.
    ///
    /// # Errors
    /// When it has no certificate, or one that is malformed: what is wrong, as text.
    pub fn from_pem(pem: String) -> Result<Self, String> {
        let mut certificates = 0;
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| "holds malformed PEM".to_owned())?;
            // As a client does that takes it apart, and without the client.
            webpki::anchor_from_trusted_cert(&der).map_err(|_| "holds a malformed certificate".to_owned())?;
            certificates += 1;
        }
        if certificates == 0 { Err("holds no certificate".to_owned()) } else { Ok(Self::Bundle(pem)) }
    }

    pub(super) fn for_okta(&self) -> Vec<Certificate> {
        match self {
            Self::Embedded => TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| Certificate::from_der(der).ok()).collect(),
            Self::Bundle(pem) => Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default(),
        }
    }

    /// The SDK reads PEM alone, one certificate after the other, at start: for AWS it gets the few roots that AWS's
    /// certificates lead to, for `any_endpoint` all of them.
    ///
    /// Source: Amazon Trust Services repository, the list of root CAs.
    #[must_use]
    pub fn for_dynamodb(&self, any_endpoint: bool) -> TrustStore {
        let mut store = TrustStore::empty();
        match self {
            Self::Bundle(pem) => store.add_pem_certificate(pem.as_bytes()),
            Self::Embedded => TLS_SERVER_ROOT_CERTS
                .iter()
                .filter(|der| any_endpoint || is_amazons(der))
                .fold(&mut store, |store, der| store.add_pem_certificate(pem(der))),
        };
        store
    }
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

fn is_amazons(der: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"Amazon Root CA", b"Starfield Services Root Certificate Authority"];
    names.iter().any(|name| find(der, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_roots_are_among_those_compiled_in() {
        assert_eq!(TLS_SERVER_ROOT_CERTS.iter().filter(|der| is_amazons(der)).count(), 5);
    }

    #[test]
    fn a_bundle_must_hold_certificates() {
        let root = pem(&TLS_SERVER_ROOT_CERTS[0]);
        assert!(matches!(Roots::from_pem(root), Ok(Roots::Bundle(_))));
        for (pem, problem) in [
            ("", "holds no certificate"),
            ("hello", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "holds malformed PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a malformed certificate"),
        ] {
            assert_eq!(Roots::from_pem(pem.to_owned()).unwrap_err(), problem, "{pem}");
        }
    }
}
