//! TLS for a development server: an authority of its own, kept in the folder so that clients can go on trusting it, and certificates made at start.
use super::faults::Faults;
use super::keys::write_private;
use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const WRONG_NAME: &str = "another-name.invalid";

/// The authority's certificate, as clients are given it.
pub fn ca_path(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// Makes the server's configuration for these names, and writes the authority to `ca.pem`.
///
/// # Errors
/// The folder can't be written, or its key is damaged.
pub fn configure(folder: &Path, names: &[String], faults: Arc<Faults>) -> Result<Arc<ServerConfig>> {
    let authority = authority(folder)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let resolver = Certificates {
        right: certificate(&authority, names)?,
        wrong: certificate(&authority, &[WRONG_NAME.to_owned()])?,
        faults,
    };
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(Arc::new(config.with_cert_resolver(Arc::new(resolver))))
}

fn authority(folder: &Path) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let key_path = folder.join("ca-key.pem");
    let known = key_path.exists();
    let key = if known {
        KeyPair::from_pem(&std::fs::read_to_string(&key_path)?)
            .with_context(|| format!("{}: not a key; remove it and ca.pem to get new ones", key_path.display()))?
    } else {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Simulated KMS, development only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // The same name, key and dates at each start: a client that trusts an earlier copy trusts this one too.
    let issuer = CertifiedIssuer::self_signed(params, key)?;
    if !known {
        write_private(&key_path, issuer.key().serialize_pem().as_bytes()).context("cannot write ca-key.pem")?;
    }
    if !known || !ca_path(folder).exists() {
        std::fs::write(ca_path(folder), issuer.pem()).context("cannot write ca.pem")?;
    }
    Ok(issuer)
}

fn certificate(authority: &CertifiedIssuer<'static, KeyPair>, names: &[String]) -> Result<Arc<CertifiedKey>> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("kms", String::as_str));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, authority)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = aws_lc_rs::sign::any_supported_type(&private)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)))
}

struct Certificates {
    right: Arc<CertifiedKey>,
    wrong: Arc<CertifiedKey>,
    faults: Arc<Faults>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wrong = self.faults.take_certificate();
        Some(Arc::clone(if wrong { &self.wrong } else { &self.right }))
    }
}
