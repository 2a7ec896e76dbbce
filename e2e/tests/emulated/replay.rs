//! A recorded attestation document in the hands of the parent, which has the credentials, the ciphertext and a way to KMS.
use anyhow::{Context, Result, ensure};
use e2e::EnclaveRig;
use e2e::enclave::{ACCESS_KEY, SECRET_KEY};
use enclave::kms::{Client, Credentials, DecryptRequest, Endpoint, KmsError, Recipient, Region};
use enclave::nsm::{AttestationRequest, Description, Nsm, NsmError};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::SystemTime;

/// A security module that has but one document, which it recorded elsewhere.
struct Recorded<'a>(&'a [u8]);

impl Nsm for Recorded<'_> {
    fn describe(&self) -> Result<Description, NsmError> {
        Err(NsmError::Malformed("a recorded document is no module"))
    }

    fn attest(&self, _: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
        Ok(self.0.to_vec())
    }

    fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
        Ok(BTreeMap::new())
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), NsmError> {
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(buffer)).map_err(NsmError::Io)
    }
}

/// KMS believes it, for it is genuine and fresh, and names the right image; but what it answers is encrypted to a key that was only ever in
/// the enclave, and is gone there, too.
pub fn a_recorded_document_opens_nothing(rig: &EnclaveRig, document: &[u8]) -> Result<()> {
    let sealed = rig.enclave.sealed_key(0)?;
    let root = CertificateDer::from_pem_file(rig.enclave.kms().ca_pem_path())?;
    let endpoint = Endpoint::measured("localhost", 1, &[root.to_vec()]).map_err(|error| anyhow::anyhow!("{error}"))?;
    let proxy = rig.enclave.kms_proxy_socket();
    let client = Client::new(endpoint, Box::new(move |_| UnixStream::connect(&proxy)));
    let credentials = Credentials {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: SECRET_KEY.to_owned(),
        session_token: None,
    };
    let wanted = DecryptRequest {
        region: Region::find(rig.enclave.kms().region()).map_err(|error| anyhow::anyhow!("{error}"))?,
        ciphertext: &sealed.ciphertext,
        key_arn: Some(&sealed.arn),
        encryption_context: &sealed.context,
    };
    let recipient = Recipient::generate().map_err(|error| anyhow::anyhow!("{error}"))?;
    let released = client.decrypt(&Recorded(document), &recipient, &credentials, &wanted, SystemTime::now());
    let error = released.err().context("a recorded document released the key")?;
    ensure!(matches!(error, KmsError::UnreadableEnvelope), "it failed for another reason: {error}");
    let last = rig.enclave.kms().requests().pop().context("KMS was not asked")?;
    let pcr0 = &rig.enclave.image()?.measured.pcr0;
    ensure!(last.outcome == "ok" && last.pcr0.as_ref() == Some(pcr0), "KMS did not believe it: {last:?}");
    e2e::say(&format!("a recorded document: KMS answers, and nobody can read it ({error})"));
    Ok(())
}
