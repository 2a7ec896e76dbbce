//! The parameter `Recipient`: an attestation document that is genuine and fresh, and the key that it names.
use super::error::{Answer, invalid};
use super::policy::Context;
use super::sigv4::hex;
use base64ct::{Base64, Encoding as _};
use serde_json::Value;
use std::collections::BTreeMap;

/// The oldest document that is taken, by the time that stands in it.
const MAX_AGE_SECONDS: i64 = 300;
/// How far its time may lie ahead of ours.
const MAX_AHEAD_SECONDS: i64 = 300;
/// AWS's limit for the parameter.
const MAX_DOCUMENT_BYTES: usize = 262_144;

/// What a verified document says.
pub struct Evidence {
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    /// DER SubjectPublicKeyInfo.
    pub public_key: Option<Vec<u8>>,
    /// Milliseconds since 1970.
    pub timestamp_millis: u64,
}

/// Who tells a genuine document from another.
pub trait Verifier: Send + Sync {
    /// Parses and verifies a document as of `now` (seconds since 1970).
    ///
    /// # Errors
    /// Why it is not genuine.
    fn verify(&self, document: &[u8], now: i64) -> Result<Evidence, String>;
}

/// A recipient that may be answered.
pub struct Recipient {
    pub public_key: Vec<u8>,
    pcrs: BTreeMap<u8, Vec<u8>>,
}

impl Recipient {
    /// Reads and checks the parameter of a request; nothing if the request has none.
    ///
    /// # Errors
    /// `ValidationException` with what is wrong.
    pub fn of(request: &Value, verifier: &dyn Verifier, now: i64) -> Answer<Option<Self>> {
        let recipient = match request.get("Recipient") {
            None | Some(Value::Null) => return Ok(None),
            Some(recipient) => recipient,
        };
        if recipient["KeyEncryptionAlgorithm"] != "RSAES_OAEP_SHA_256" {
            return Err(invalid("Recipient.KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256"));
        }
        let text = recipient["AttestationDocument"].as_str().unwrap_or_default();
        let document = Base64::decode_vec(text).map_err(|_| invalid("Recipient.AttestationDocument is not base64"))?;
        if document.is_empty() || document.len() > MAX_DOCUMENT_BYTES {
            let got = document.len();
            return Err(invalid(format!(
                "Recipient.AttestationDocument: 1 to {MAX_DOCUMENT_BYTES} bytes expected, got {got}"
            )));
        }
        let evidence = verifier.verify(&document, now);
        let evidence =
            evidence.map_err(|reason| invalid(format!("The attestation document is not valid: {reason}")))?;
        let age = now - i64::try_from(evidence.timestamp_millis / 1000).unwrap_or(i64::MAX);
        if age > MAX_AGE_SECONDS {
            return Err(invalid(format!(
                "The attestation document has expired: {age} s old, at most {MAX_AGE_SECONDS} s"
            )));
        }
        if age < -MAX_AHEAD_SECONDS {
            return Err(invalid(format!("The attestation document is {} s ahead of the service's clock", -age)));
        }
        let public_key = evidence.public_key.filter(|key| !key.is_empty());
        let public_key = public_key.ok_or_else(|| invalid("The attestation document has no public key"))?;
        // Sealed to once, to nothing, so that a key of another kind is told before the policy is asked.
        super::cms::seal(&public_key, b"", super::cms::Form::Chunks)
            .map_err(|_| invalid("The attestation document's public key is not RSA-2048 as SubjectPublicKeyInfo"))?;
        Ok(Some(Self { public_key, pcrs: evidence.pcrs }))
    }

    /// Sets the condition keys of the document.
    pub fn describe(&self, context: &mut Context) {
        for (number, value) in &self.pcrs {
            context.set(&format!("kms:RecipientAttestation:PCR{number}"), hex(value));
        }
        if let Some(image) = self.pcr0() {
            context.set("kms:RecipientAttestation:ImageSha384", image);
        }
    }

    /// The image's measurement, lower-case hexadecimal.
    pub fn pcr0(&self) -> Option<String> {
        self.pcrs.get(&0).map(|value| hex(value))
    }
}
