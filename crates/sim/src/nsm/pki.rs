//! A certificate authority with the shape of AWS's: root, regional, zonal and instance certificates, leaves of three hours.
use super::SimulationError;
use attest::Roots;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The root's certificate in a folder: what a KMS is given to trust.
pub const ROOT_CERTIFICATE_FILE: &str = "TEST-nsm-root.pem";
/// The root's key in a folder: whoever has it is a module.
pub const ROOT_KEY_FILE: &str = "TEST-nsm-root.key.pem";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// How long a leaf lives, as AWS's do.
pub const LEAF_LIFETIME: Duration = HOUR.saturating_mul(3);
/// Certificates begin a little early, as AWS's do: clocks of two processes may differ.
const EARLY: Duration = Duration::from_secs(60);

/// The root of a simulated PKI: a TEST authority, made at run time.
pub struct TestRoot {
    certificate: Vec<u8>,
    key: KeyPair,
}

impl TestRoot {
    /// A fresh root, valid for thirty years.
    ///
    /// # Errors
    /// No key or certificate can be made.
    pub fn generate() -> Result<Self, SimulationError> {
        let key = p384()?;
        let params = authority(0, SystemTime::now(), DAY * 365 * 30);
        Ok(Self { certificate: params.self_signed(&key)?.der().to_vec(), key })
    }

    /// Writes [`ROOT_CERTIFICATE_FILE`] and, for the user alone, [`ROOT_KEY_FILE`] into a folder, over what was there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), SimulationError> {
        fs::create_dir_all(folder).map_err(|error| SimulationError::file(folder, error))?;
        let certificate = pem::encode("CERTIFICATE", &self.certificate);
        write(&folder.join(ROOT_KEY_FILE), &self.key.serialize_pem(), 0o600)?;
        write(&folder.join(ROOT_CERTIFICATE_FILE), &certificate, 0o644)
    }

    /// Reads what [`TestRoot::save`] wrote.
    ///
    /// # Errors
    /// A file is missing, or is none of these.
    pub fn load(folder: &Path) -> Result<Self, SimulationError> {
        let path = folder.join(ROOT_KEY_FILE);
        let text = fs::read_to_string(&path).map_err(|error| SimulationError::file(&path, error))?;
        Ok(Self { certificate: Self::load_certificate(folder)?, key: KeyPair::from_pem(&text)? })
    }

    /// The root in a folder; a fresh one is made and saved where there is none.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn load_or_generate(folder: &Path) -> Result<Self, SimulationError> {
        if folder.join(ROOT_KEY_FILE).exists() {
            return Self::load(folder);
        }
        let root = Self::generate()?;
        root.save(folder)?;
        Ok(root)
    }

    /// Only the certificate of the root in a folder, in DER: all that a verifier needs, for `attest::Roots::of`.
    ///
    /// # Errors
    /// The file is missing, or no certificate.
    pub fn load_certificate(folder: &Path) -> Result<Vec<u8>, SimulationError> {
        let path = folder.join(ROOT_CERTIFICATE_FILE);
        let text = fs::read(&path).map_err(|error| SimulationError::file(&path, error))?;
        let certificate = CertificateDer::from_pem_slice(&text);
        Ok(certificate.map_err(|error| SimulationError::Certificate { path, reason: error.to_string() })?.to_vec())
    }

    /// The certificate in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// What a verifier believes that believes this root.
    #[must_use]
    pub fn roots(&self) -> Roots {
        Roots::of(&self.certificate)
    }
}

/// A leaf's key, and the certificates that lead to it.
pub struct Chain {
    pub certificate: Vec<u8>,
    pub cabundle: Vec<Vec<u8>>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    key: EcdsaKeyPair,
}

impl Chain {
    /// A chain whose leaf lives for three hours from then on.
    pub fn issue(root: &TestRoot, module_id: &str, from: SystemTime) -> Result<Self, SimulationError> {
        let usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        Self::issue_for(root, module_id, from, usages)
    }

    /// The same, whose leaf's key is for something else.
    pub fn issue_for(
        root: &TestRoot,
        module_id: &str,
        from: SystemTime,
        usages: Vec<KeyUsagePurpose>,
    ) -> Result<Self, SimulationError> {
        let mut cabundle = vec![root.certificate.clone()];
        // What the root says of itself is its name; its dates are in its certificate.
        let mut params = authority(0, from, DAY);
        let mut signer = None;
        for (level, lifetime) in [(1, DAY * 20), (2, DAY * 5), (3, DAY)] {
            let (own, key) = (authority(level, from, lifetime), p384()?);
            let issuer = Issuer::from_params(&params, signer.as_ref().unwrap_or(&root.key));
            cabundle.push(own.signed_by(&key, &issuer)?.der().to_vec());
            (params, signer) = (own, Some(key));
        }
        let key = p384()?;
        let leaf = leaf(module_id, from, usages);
        let issuer = Issuer::from_params(&params, signer.as_ref().unwrap_or(&root.key));
        let certificate = leaf.signed_by(&key, &issuer)?.der().to_vec();
        let signing = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, key.serialized_der());
        let key = signing.map_err(|_| SimulationError::Key)?;
        Ok(Self { certificate, cabundle, not_before: from - EARLY, not_after: from + LEAF_LIFETIME, key })
    }

    /// r and s of ES384, 48 bytes each.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimulationError> {
        let signature = self.key.sign(&SystemRandom::new(), message).map_err(|_| SimulationError::Key)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// The names and constraints of the authorities, by their distance from the root.
fn authority(level: u8, from: SystemTime, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name =
        ["TEST.nitro-enclaves", "regional.TEST.nitro-enclaves", "zonal.TEST.nitro-enclaves", "i-TEST.nitro-enclaves"];
    params.distinguished_name = distinguished(name.get(usize::from(level)).copied().unwrap_or("TEST"));
    params.is_ca = IsCa::Ca(match level {
        0 => BasicConstraints::Unconstrained,
        level => BasicConstraints::Constrained(3_u8.saturating_sub(level)),
    });
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = level > 0;
    dates(params, from, lifetime)
}

fn leaf(module_id: &str, from: SystemTime, usages: Vec<KeyUsagePurpose>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(module_id);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = usages;
    dates(params, from, LEAF_LIFETIME)
}

fn distinguished(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "TEST, not Amazon");
    name.push(DnType::CommonName, common);
    name
}

fn dates(mut params: CertificateParams, from: SystemTime, lifetime: Duration) -> CertificateParams {
    let since_1970 = from.duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since_1970.as_secs());
    (params.not_before, params.not_after) = (begin - EARLY, begin + lifetime);
    params
}

fn p384() -> Result<KeyPair, SimulationError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), SimulationError> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| SimulationError::file(path, error))
}

/// PEM, with a word of warning above it that readers of PEM skip.
mod pem {
    use base64ct::{Base64, Encoding};

    pub fn encode(label: &str, der: &[u8]) -> String {
        let base64 = Base64::encode_string(der);
        let lines: Vec<&str> = base64.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!(
            "TEST ONLY: a simulated root, not Amazon's.\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    }
}
