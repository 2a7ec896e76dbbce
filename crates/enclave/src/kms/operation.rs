//! What an enclave asks of KMS: one kind of request, and how its answer is read. Here is Decrypt; an image that makes keys has others.
use super::answer::{self, Asked};
use super::client::DecryptRequest;
use super::error::KmsError;
use super::recipient::Recipient;
use super::region::Region;
use super::request::Attested;
use crate::nsm::Nsm;
use base64ct::{Base64, Encoding};
use serde::Serialize;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Who has to allow an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedBy {
    /// The key's policy, to a measurement.
    KeyPolicyForMeasurement,
    /// The key's policy, to a principal: AWS has no condition on a measurement for it.
    KeyPolicy,
    /// IAM: there is no key.
    Iam,
}

/// One kind of request.
pub trait Operation {
    /// What its answer is good for.
    type Output;

    /// KMS's name of it.
    const NAME: &'static str;
    /// Who has to allow it.
    const ALLOWED_BY: AllowedBy;

    /// The region that is asked: part of the signature.
    fn region(&self) -> &'static Region;

    /// The key that is asked, where it is known.
    fn key_arn(&self) -> Option<&str>;

    /// What makes it useless to ask.
    ///
    /// # Errors
    /// What is wrong with the request itself.
    fn check(&self) -> Result<(), KmsError>;

    /// The JSON, made anew for each attempt: documents live for minutes.
    ///
    /// # Errors
    /// The security module gives no document.
    fn body(&self, nsm: &dyn Nsm) -> Result<Zeroizing<Vec<u8>>, KmsError>;

    /// The answer to it.
    ///
    /// # Errors
    /// The answer is not well formed, or not for what was asked.
    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Self::Output, KmsError>;

    /// Whether a text of KMS repeats what must not be shown.
    fn is_in(&self, text: &str) -> bool;
}

/// Has a ciphertext decrypted for a recipient.
pub(super) struct Decrypt<'a> {
    pub(super) recipient: &'a Recipient,
    pub(super) wanted: &'a DecryptRequest<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    ciphertext_blob: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    encryption_context: &'a BTreeMap<String, String>,
    encryption_algorithm: &'static str,
    recipient: Attested,
}

impl Operation for Decrypt<'_> {
    type Output = Zeroizing<Vec<u8>>;

    const NAME: &'static str = "Decrypt";
    const ALLOWED_BY: AllowedBy = AllowedBy::KeyPolicyForMeasurement;

    fn region(&self) -> &'static Region {
        self.wanted.region
    }

    fn key_arn(&self) -> Option<&str> {
        self.wanted.key_arn
    }

    fn check(&self) -> Result<(), KmsError> {
        if (1..=super::MAX_CIPHERTEXT_BYTES).contains(&self.wanted.ciphertext.len()) {
            return Ok(());
        }
        Err(KmsError::CiphertextLength { got_bytes: self.wanted.ciphertext.len() })
    }

    fn body(&self, nsm: &dyn Nsm) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let body = Body {
            ciphertext_blob: Base64::encode_string(self.wanted.ciphertext),
            key_id: self.wanted.key_arn,
            encryption_context: self.wanted.encryption_context,
            encryption_algorithm: "SYMMETRIC_DEFAULT",
            recipient: self.recipient.attested(nsm, Self::NAME, self.wanted.ciphertext)?,
        };
        // Texts and maps of texts: there is nothing in it that JSON cannot say.
        Ok(Zeroizing::new(serde_json::to_vec(&body).unwrap_or_default()))
    }

    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Self::Output, KmsError> {
        self.recipient.open_envelope(&answer::decrypted(body, asked)?)
    }

    /// Whether it repeats a piece of the ciphertext in base64, as error messages of JSON services do. What all ciphertexts of a key begin with
    /// says nothing: the piece is from its end, where the encrypted key is.
    fn is_in(&self, text: &str) -> bool {
        let encoded = Base64::encode_string(self.wanted.ciphertext);
        let tail = &encoded[encoded.len().saturating_sub(24)..];
        text.contains(&encoded) || (tail.len() >= 16 && text.contains(tail))
    }
}
