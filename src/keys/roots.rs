//! Whom TLS trusts: roots compiled in, or those of `SSL_CERT_FILE`, for Okta and `DynamoDB` alike.

use std::sync::Arc;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use webpki_roots::TLS_SERVER_ROOTS;

/// The certification authorities that a server's certificate must lead to.
#[derive(Debug, Clone)]
pub enum Roots {
    /// Mozilla's, compiled in: nothing is read or decoded at start.
    Embedded,
    /// The certificates of a PEM bundle, and no others.
    Bundle(Arc<RootCertStore>),
}

impl Roots {
    /// The roots of a PEM bundle.
    ///
    /// # Errors
    /// When it has no certificate, or one that is malformed: what is wrong, as text.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| "holds malformed PEM".to_owned())?;
            store.add(der).map_err(|_| "holds a malformed certificate".to_owned())?;
        }
        if store.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(Self::Bundle(Arc::new(store))) }
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        match self {
            Self::Embedded => Arc::new(TLS_SERVER_ROOTS.iter().cloned().collect()),
            Self::Bundle(store) => Arc::clone(store),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_must_hold_certificates() {
        for (pem, problem) in [
            ("", "holds no certificate"),
            ("hello", "holds no certificate"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "holds malformed PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a malformed certificate"),
        ] {
            assert_eq!(Roots::from_pem(pem).unwrap_err(), problem, "{pem}");
        }
    }

    #[test]
    fn a_bundle_is_taken_with_all_its_certificates() {
        let [one, other] = [(), ()].map(|()| {
            let key = rcgen::KeyPair::generate().unwrap();
            rcgen::CertificateParams::new([]).unwrap().self_signed(&key).unwrap().pem()
        });
        let roots = Roots::from_pem(&format!("{one}{other}")).unwrap();
        assert_eq!(roots.store().len(), 2);
        assert!(Roots::Embedded.store().len() > 100);
    }
}
