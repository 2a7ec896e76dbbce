//! What only a ceremony asks of KMS.
use base64ct::{Base64, Encoding};
use enclave::kms::answer::{Asked, check_key, envelope_bytes, no_plaintext};
use enclave::kms::{AllowedBy, Attested, KmsError, MAX_CIPHERTEXT_BYTES, Operation, Recipient, Region};
use enclave::nsm::Nsm;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

type Context = BTreeMap<String, String>;

/// 32 random bytes, for this enclave alone.
pub(crate) struct GenerateRandom<'a> {
    pub(crate) region: &'static Region,
    pub(crate) recipient: &'a Recipient,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RandomBody {
    number_of_bytes: u32,
    recipient: Attested,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RandomAnswer {
    ciphertext_for_recipient: Option<String>,
    plaintext: Option<String>,
}

impl Operation for GenerateRandom<'_> {
    type Output = Zeroizing<Vec<u8>>;

    const NAME: &'static str = "GenerateRandom";
    const ALLOWED_BY: AllowedBy = AllowedBy::Iam;

    fn region(&self) -> &'static Region {
        self.region
    }

    fn key_arn(&self) -> Option<&str> {
        None
    }

    fn check(&self) -> Result<(), KmsError> {
        Ok(())
    }

    fn body(&self, nsm: &dyn Nsm) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let recipient = self.recipient.attested(nsm, Self::NAME, b"")?;
        Ok(json(&RandomBody { number_of_bytes: 32, recipient }, 16 << 10))
    }

    fn read(&self, body: &[u8], _: &Asked<'_>) -> Result<Self::Output, KmsError> {
        let answer: RandomAnswer = serde_json::from_slice(body)
            .map_err(|_| KmsError::Malformed("its body is not the JSON of GenerateRandom"))?;
        no_plaintext(answer.plaintext)?;
        let text = answer.ciphertext_for_recipient.ok_or(KmsError::Malformed("CiphertextForRecipient is missing"))?;
        self.recipient.open_envelope(&envelope_bytes(&text)?)
    }

    fn is_in(&self, _: &str) -> bool {
        false
    }
}

/// A ciphertext of the secret. No condition on a measurement can be set for it: the measured policy names the key.
pub(crate) struct Encrypt<'a> {
    pub(crate) region: &'static Region,
    pub(crate) key_arn: &'a str,
    pub(crate) plaintext: &'a [u8],
    pub(crate) encryption_context: &'a Context,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptBody<'a> {
    key_id: &'a str,
    plaintext: &'a str,
    encryption_context: &'a Context,
    encryption_algorithm: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EncryptAnswer {
    key_id: Option<String>,
    ciphertext_blob: Option<String>,
}

impl Encrypt<'_> {
    fn base64(&self) -> Zeroizing<String> {
        Zeroizing::new(Base64::encode_string(self.plaintext))
    }
}

impl Operation for Encrypt<'_> {
    type Output = Vec<u8>;

    const NAME: &'static str = "Encrypt";
    const ALLOWED_BY: AllowedBy = AllowedBy::KeyPolicy;

    fn region(&self) -> &'static Region {
        self.region
    }

    fn key_arn(&self) -> Option<&str> {
        Some(self.key_arn)
    }

    fn check(&self) -> Result<(), KmsError> {
        Ok(())
    }

    fn body(&self, _: &dyn Nsm) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let plaintext = self.base64();
        let body = EncryptBody {
            key_id: self.key_arn,
            plaintext: &plaintext,
            encryption_context: self.encryption_context,
            encryption_algorithm: "SYMMETRIC_DEFAULT",
        };
        Ok(json(&body, 32 << 10))
    }

    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Self::Output, KmsError> {
        let answer: EncryptAnswer =
            serde_json::from_slice(body).map_err(|_| KmsError::Malformed("its body is not the JSON of Encrypt"))?;
        check_key(&answer.key_id.ok_or(KmsError::Malformed("KeyId is missing"))?, asked)?;
        blob(answer.ciphertext_blob)
    }

    /// Whether any piece of it stands there: texts of KMS are cut before they are looked at.
    fn is_in(&self, text: &str) -> bool {
        const PIECE: usize = 12;
        self.base64().as_bytes().windows(PIECE).any(|piece| text.as_bytes().windows(PIECE).any(|shown| shown == piece))
    }
}

/// A data key for this enclave alone, and its ciphertext.
pub(crate) struct GenerateDataKey<'a> {
    pub(crate) region: &'static Region,
    pub(crate) key_arn: &'a str,
    pub(crate) encryption_context: &'a Context,
    pub(crate) recipient: &'a Recipient,
}

/// What came of it.
pub(crate) struct DataKey {
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) ciphertext: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DataKeyBody<'a> {
    key_id: &'a str,
    key_spec: &'static str,
    encryption_context: &'a Context,
    recipient: Attested,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DataKeyAnswer {
    key_id: Option<String>,
    ciphertext_blob: Option<String>,
    ciphertext_for_recipient: Option<String>,
    plaintext: Option<String>,
}

impl Operation for GenerateDataKey<'_> {
    type Output = DataKey;

    const NAME: &'static str = "GenerateDataKey";
    const ALLOWED_BY: AllowedBy = AllowedBy::KeyPolicyForMeasurement;

    fn region(&self) -> &'static Region {
        self.region
    }

    fn key_arn(&self) -> Option<&str> {
        Some(self.key_arn)
    }

    fn check(&self) -> Result<(), KmsError> {
        Ok(())
    }

    fn body(&self, nsm: &dyn Nsm) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let recipient = self.recipient.attested(nsm, Self::NAME, self.key_arn.as_bytes())?;
        let (key_id, encryption_context) = (self.key_arn, self.encryption_context);
        Ok(json(&DataKeyBody { key_id, key_spec: "AES_256", encryption_context, recipient }, 16 << 10))
    }

    fn read(&self, body: &[u8], asked: &Asked<'_>) -> Result<Self::Output, KmsError> {
        let answer: DataKeyAnswer = serde_json::from_slice(body)
            .map_err(|_| KmsError::Malformed("its body is not the JSON of GenerateDataKey"))?;
        no_plaintext(answer.plaintext)?;
        check_key(&answer.key_id.ok_or(KmsError::Malformed("KeyId is missing"))?, asked)?;
        let text = answer.ciphertext_for_recipient.ok_or(KmsError::Malformed("CiphertextForRecipient is missing"))?;
        let plaintext = self.recipient.open_envelope(&envelope_bytes(&text)?)?;
        Ok(DataKey { plaintext, ciphertext: blob(answer.ciphertext_blob)? })
    }

    fn is_in(&self, _: &str) -> bool {
        false
    }
}

fn blob(text: Option<String>) -> Result<Vec<u8>, KmsError> {
    let text = text.ok_or(KmsError::Malformed("CiphertextBlob is missing"))?;
    let bytes = Base64::decode_vec(&text).map_err(|_| KmsError::Malformed("CiphertextBlob is not base64"))?;
    if (1..=MAX_CIPHERTEXT_BYTES).contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(KmsError::Malformed("CiphertextBlob has a length that no ciphertext has"))
}

/// JSON in a buffer that does not grow while it is written: growing leaves copies behind.
fn json(body: &impl Serialize, room: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    // Texts and maps of texts, into memory: there is nothing that fails.
    let _ = serde_json::to_writer(&mut *out, body);
    out
}
