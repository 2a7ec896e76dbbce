//! Whom the enclave takes for KMS: a host name and the roots that its certificate must lead to.
use super::region::Region;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use std::fmt;
use std::sync::Arc;

/// Amazon Trust Services' roots (amazontrust.com/repository), valid until 2037 and later.
const AMAZON_ROOTS: [&[u8]; 5] = [
    include_bytes!("roots/amazon-root-ca-1.der"),
    include_bytes!("roots/amazon-root-ca-2.der"),
    include_bytes!("roots/amazon-root-ca-3.der"),
    include_bytes!("roots/amazon-root-ca-4.der"),
    include_bytes!("roots/starfield-services-root-g2.der"),
];

/// A KMS that is trusted with attestation documents, and whose answers are taken for keys.
#[derive(Clone)]
pub struct Endpoint {
    host: String,
    proxy_port: u32,
    roots: Arc<RootCertStore>,
}

impl Endpoint {
    /// AWS's KMS of a region. `proxy_port` is the vsock port of the parent's proxy (8000 by default).
    #[must_use]
    pub fn aws(region: &Region, proxy_port: u32) -> Self {
        Self { host: region.host().to_owned(), proxy_port, roots: Arc::new(amazon_roots()) }
    }

    /// As [`Endpoint::aws`], with FIPS 140 validated cryptography. None where the region has no such host.
    #[must_use]
    pub fn aws_fips(region: &Region, proxy_port: u32) -> Option<Self> {
        let host = region.fips_host()?.to_owned();
        Some(Self { host, proxy_port, roots: Arc::new(amazon_roots()) })
    }

    /// What the **measured** policy names, and nothing else may: a private endpoint (no roots: Amazon's hold), or a
    /// development KMS with roots of its own, which then are the only ones. `roots` are certificates in DER.
    ///
    /// # Errors
    /// The host is no DNS name or IP address, or a root is no certificate.
    pub fn measured(host: &str, proxy_port: u32, roots: &[Vec<u8>]) -> Result<Self, InvalidEndpoint> {
        if ServerName::try_from(host).is_err() {
            return Err(InvalidEndpoint::Host(super::shown(host, 256)));
        }
        let mut store = RootCertStore::empty();
        for (index, root) in roots.iter().enumerate() {
            store
                .add(CertificateDer::from_slice(root).into_owned())
                .map_err(|error| InvalidEndpoint::Root { index, error: error.to_string() })?;
        }
        let store = if roots.is_empty() { amazon_roots() } else { store };
        Ok(Self { host: host.to_owned(), proxy_port, roots: Arc::new(store) })
    }

    /// The host's name, which its certificate must have.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The vsock port of the parent's proxy to that host.
    #[must_use]
    pub const fn proxy_port(&self) -> u32 {
        self.proxy_port
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }
}

/// A root that cannot be read is left out: then no certificate leads to it, and a test says that all can be read.
fn amazon_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(AMAZON_ROOTS.map(CertificateDer::from_slice));
    store
}

/// What the measured policy says of a KMS and cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidEndpoint {
    /// The host, as it can be shown.
    Host(String),
    /// A root.
    Root {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        error: String,
    },
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(got) => write!(
                f,
                "the KMS host of the measured policy is no host name: expected for instance kms.us-east-1.amazonaws.com, without \
                 https:// and port, got {got}"
            ),
            Self::Root { index, error } => write!(
                f,
                "TLS root {} of the measured policy is no certificate: {error}; expected an X.509 certificate",
                index + 1
            ),
        }
    }
}

impl std::error::Error for InvalidEndpoint {}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest;

    /// As Amazon Trust Services publishes them, in the order above.
    const FINGERPRINTS: [&str; 5] = [
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ];

    #[test]
    fn the_compiled_roots_are_amazons_five_and_no_other() {
        let digests = AMAZON_ROOTS.map(|root| super::super::sigv4::hex(digest::digest(&digest::SHA256, root).as_ref()));
        assert_eq!(digests, FINGERPRINTS);
        assert_eq!(amazon_roots().len(), AMAZON_ROOTS.len());
    }

    #[test]
    fn an_endpoint_of_a_region_has_its_host_and_amazons_roots() {
        let region = Region::find("eu-central-1").unwrap();
        let endpoint = Endpoint::aws(region, 8000);
        assert_eq!((endpoint.host(), endpoint.proxy_port(), endpoint.roots().len()), (region.host(), 8000, 5));
        assert_eq!(Endpoint::aws_fips(region, 1).unwrap().host(), "kms-fips.eu-central-1.amazonaws.com");
        assert!(Endpoint::aws_fips(Region::find("cn-north-1").unwrap(), 1).is_none());
    }

    #[test]
    fn a_measured_root_replaces_amazons() {
        let certified = rcgen::generate_simple_self_signed(["kms.test".to_owned()]).unwrap();
        let root = certified.cert.der().to_vec();
        assert_eq!(Endpoint::measured("kms.test", 1, &[root]).ok().unwrap().roots().len(), 1);
        assert_eq!(
            Endpoint::measured("vpce-1.kms.us-east-1.vpce.amazonaws.com", 1, &[]).ok().unwrap().roots().len(),
            5
        );
    }

    #[test]
    fn hosts_and_roots_that_are_none_are_refused() {
        for host in ["", "https://kms.test", "kms.test:443", "a b", "a\r\nb"] {
            assert!(matches!(Endpoint::measured(host, 1, &[]), Err(InvalidEndpoint::Host(_))), "{host:?}");
        }
        let error = Endpoint::measured("kms.test", 1, &[vec![1, 2, 3]]).err().unwrap();
        assert!(error.to_string().contains("root 1"), "{error}");
    }
}
