//! Keys, as KMS releases them: the seam where tests put a KMS of their own, and the real one behind it.
use crate::desk::Desk;
use crate::kms::{self, KmsError, Recipient, Region};
use crate::nsm::Nsm;
use crate::plan::KmsKey;
use crate::policy::MeasuredEndpoint;
use crate::trouble::kms_code;
use crate::unseal::envelope::Envelope;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use wire::control::Credentials;
use wire::endpoint::Parent;
use zeroize::Zeroizing;

/// Why a key was not released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// A short fixed name.
    pub code: &'static str,
    /// What is wrong and what to do. No secret is in it.
    pub reason: String,
}

/// Whoever releases keys to this enclave.
pub trait Kms: Send {
    /// Makes beforehand what a batch of releases needs.
    fn prepare(&mut self);

    /// Has one ciphertext decrypted, through the parent's proxy at that port.
    ///
    /// # Errors
    /// [`Withheld`].
    fn release(
        &mut self,
        proxy_port: u32,
        key: &KmsKey,
        credentials: &Credentials,
    ) -> Result<Zeroizing<Vec<u8>>, Withheld>;

    /// The batch is over: whatever could open its answers is forgotten.
    fn finish(&mut self);
}

/// AWS KMS, or the one that the measured policy names.
pub(crate) struct AwsKms {
    nsm: Arc<dyn Nsm>,
    parent: Parent,
    endpoint: Option<MeasuredEndpoint>,
    recipient: Option<Recipient>,
    desk: Arc<Desk>,
}

impl AwsKms {
    pub(crate) fn new(nsm: Arc<dyn Nsm>, parent: Parent, endpoint: Option<MeasuredEndpoint>, desk: Arc<Desk>) -> Self {
        Self { nsm, parent, endpoint, recipient: None, desk }
    }

    fn client(&self, region: &Region, proxy_port: u32) -> Result<kms::Client, Withheld> {
        client(self.endpoint.as_ref(), &self.parent, &self.desk, region, proxy_port)
    }
}

/// A client of AWS KMS in a region, or of the one that the measured policy names, through the parent's proxy at that port.
pub(crate) fn client(
    endpoint: Option<&MeasuredEndpoint>,
    parent: &Parent,
    desk: &Arc<Desk>,
    region: &Region,
    proxy_port: u32,
) -> Result<kms::Client, Withheld> {
    let endpoint = match endpoint {
        None => kms::Endpoint::aws(region, proxy_port),
        Some(measured) => kms::Endpoint::measured(&measured.host, proxy_port, &measured.roots)
            .map_err(|error| Withheld { code: "policy", reason: error.to_string() })?,
    };
    let (parent, desk) = (parent.clone(), Arc::clone(desk));
    let dial = move |limit| {
        let stream = parent.connect(proxy_port, limit)?;
        desk.waits_for(&stream).map(|()| stream)
    };
    Ok(kms::Client::new(endpoint, Box::new(dial)))
}

impl Kms for AwsKms {
    fn prepare(&mut self) {
        if self.recipient.is_none() {
            let begun = Instant::now();
            // What is missing is said where it is needed.
            self.recipient = Recipient::generate().ok();
            log::info!("an RSA key for KMS' answers was made in {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
        }
    }

    fn release(
        &mut self,
        proxy_port: u32,
        key: &KmsKey,
        credentials: &Credentials,
    ) -> Result<Zeroizing<Vec<u8>>, Withheld> {
        let region = Region::find(&key.region)
            .map_err(|error| Withheld { code: "kms-region", reason: format!("aws_region: {error}") })?;
        self.prepare();
        let recipient = self.recipient.as_ref().ok_or_else(|| withheld(&KmsError::NoRecipient))?;
        let envelope = Envelope::parse(&key.ciphertext);
        let request = kms::DecryptRequest {
            region,
            ciphertext: envelope.map_or(&key.ciphertext[..], |envelope| envelope.data_key),
            key_arn: key.key_arn.as_deref(),
            encryption_context: &key.encryption_context,
        };
        let credentials = copied(credentials);
        let client = self.client(region, proxy_port)?;
        let released = client.decrypt(&*self.nsm, recipient, &credentials, &request, SystemTime::now());
        self.desk.waits_no_more();
        let released = released.map_err(|error| withheld(&error))?;
        match envelope {
            None => Ok(released),
            Some(envelope) => envelope
                .open(&released, &key.encryption_context)
                .map_err(|error| Withheld { code: "kms-ciphertext", reason: error.to_string() }),
        }
    }

    fn finish(&mut self) {
        self.recipient = None;
    }
}

fn withheld(error: &KmsError) -> Withheld {
    Withheld { code: kms_code(error), reason: error.to_string() }
}

/// For one call; zeroized after it.
pub(crate) fn copied(credentials: &Credentials) -> kms::Credentials {
    kms::Credentials {
        access_key_id: credentials.access_key_id.to_string(),
        secret_access_key: credentials.secret_access_key.to_string(),
        session_token: credentials.session_token.as_ref().map(|token| token.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nsm::{AttestationRequest, Description, NsmError};
    use signer::keys::Algorithm;
    use std::collections::BTreeMap;
    use std::os::unix::net::UnixListener;
    use std::thread;
    use std::time::{Duration, Instant};

    struct Module;

    impl Nsm for Module {
        fn describe(&self) -> Result<Description, NsmError> {
            Ok(Description { module_id: "i-0-enc0".to_owned(), max_pcrs: 32, digest: "SHA384".to_owned() })
        }

        fn attest(&self, _: &AttestationRequest<'_>) -> Result<Vec<u8>, NsmError> {
            Ok(vec![1; 64])
        }

        fn pcrs(&self) -> Result<BTreeMap<u8, Vec<u8>>, NsmError> {
            Ok(BTreeMap::new())
        }

        fn random(&self, _: &mut [u8]) -> Result<(), NsmError> {
            Ok(())
        }
    }

    #[test]
    fn the_end_does_not_wait_for_a_kms_that_is_silent() {
        let base = std::env::temp_dir().join(format!("enclave-release-{}", std::process::id()));
        let proxy = base.with_file_name(format!("enclave-release-{}_800", std::process::id()));
        let _ = std::fs::remove_file(&proxy);
        let listener = UnixListener::bind(&proxy).unwrap();
        let desk = Arc::new(Desk::default());
        let mut kms = AwsKms::new(Arc::new(Module), Parent::Unix { base }, None, Arc::clone(&desk));
        let key = KmsKey {
            ciphertext: Arc::new(Zeroizing::new(vec![1; 200])),
            region: "eu-west-1".to_owned(),
            algorithm: Algorithm::Ed25519,
            key_arn: None,
            encryption_context: BTreeMap::new(),
            public_key: None,
            credentials: None,
        };
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let credentials = Credentials {
            access_key_id: secret("AKIDEXAMPLE"),
            secret_access_key: secret("a-secret"),
            session_token: None,
            expires_at: None,
            source: String::new(),
        };
        let code = |result: Result<Zeroizing<Vec<u8>>, Withheld>| result.err().unwrap().code;
        thread::scope(|scope| {
            let ender = scope.spawn(|| {
                let (_silent, _) = listener.accept().unwrap();
                thread::sleep(Duration::from_millis(50));
                let ended = Instant::now();
                desk.end();
                (_silent, ended)
            });
            assert_eq!(code(kms.release(800, &key, &credentials)), "kms-no-route");
            let (_, ended) = ender.join().unwrap();
            assert!(ended.elapsed() < Duration::from_secs(5), "an attempt takes 10 s");
        });
        assert_eq!(code(kms.release(800, &key, &credentials)), "kms-no-route", "no other one is begun");
        let _ = std::fs::remove_file(&proxy);
    }
}
