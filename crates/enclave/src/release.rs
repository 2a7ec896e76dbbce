//! Keys, as KMS releases them: the seam where tests put a KMS of their own, and the real one behind it.
use crate::kms::{self, KmsError, Recipient, Region};
use crate::nsm::Nsm;
use crate::plan::KmsKey;
use crate::policy::MeasuredEndpoint;
use crate::trouble::kms_code;
use std::sync::Arc;
use std::time::SystemTime;
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
}

impl AwsKms {
    pub(crate) fn new(nsm: Arc<dyn Nsm>, parent: Parent, endpoint: Option<MeasuredEndpoint>) -> Self {
        Self { nsm, parent, endpoint, recipient: None }
    }

    fn client(&self, region: &Region, proxy_port: u32) -> Result<kms::Client, Withheld> {
        let endpoint = match &self.endpoint {
            None => kms::Endpoint::aws(region, proxy_port),
            Some(measured) => kms::Endpoint::measured(&measured.host, proxy_port, &measured.roots)
                .map_err(|error| Withheld { code: "policy", reason: error.to_string() })?,
        };
        let parent = self.parent.clone();
        Ok(kms::Client::new(endpoint, Box::new(move |limit| parent.connect(proxy_port, limit))))
    }
}

impl Kms for AwsKms {
    fn prepare(&mut self) {
        if self.recipient.is_none() {
            // What is missing is said where it is needed.
            self.recipient = Recipient::generate().ok();
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
        let request = kms::DecryptRequest {
            region,
            ciphertext: &key.ciphertext,
            key_arn: key.key_arn.as_deref(),
            encryption_context: &key.encryption_context,
        };
        let credentials = copied(credentials);
        let client = self.client(region, proxy_port)?;
        let released = client.decrypt(&*self.nsm, recipient, &credentials, &request, SystemTime::now());
        released.map_err(|error| withheld(&error))
    }

    fn finish(&mut self) {
        self.recipient = None;
    }
}

fn withheld(error: &KmsError) -> Withheld {
    Withheld { code: kms_code(error), reason: error.to_string() }
}

/// For one call; zeroized after it.
fn copied(credentials: &Credentials) -> kms::Credentials {
    kms::Credentials {
        access_key_id: credentials.access_key_id.to_string(),
        secret_access_key: credentials.secret_access_key.to_string(),
        session_token: credentials.session_token.as_ref().map(|token| token.to_string()),
    }
}
