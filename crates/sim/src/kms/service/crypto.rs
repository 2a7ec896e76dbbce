//! Encrypt, Decrypt, GenerateRandom, GenerateDataKey.
use super::call::{Call, constraint, usable};
use crate::kms::error::{Answer, fail};
use crate::kms::keys::key_of;
use aws_lc_rs::rand;
use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// AWS's limits.
const MAX_PLAINTEXT_BYTES: usize = 4096;
const MAX_CIPHERTEXT_BYTES: usize = 6144;
const MAX_RANDOM_BYTES: u64 = 1024;

impl Call<'_> {
    pub fn encrypt(&mut self) -> Answer<Value> {
        self.check_algorithm()?;
        let plaintext = self.bytes("Plaintext", MAX_PLAINTEXT_BYTES)?;
        let context = self.encryption_context()?;
        let keys = self.service.keys();
        let key = keys.find(self.text("KeyId")?)?;
        self.authorize(key, &context)?;
        usable(key)?;
        let blob = key.encrypt(&plaintext, &context)?;
        Ok(json!({
            "KeyId": key.arn,
            "CiphertextBlob": Base64::encode_string(&blob),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }))
    }

    pub fn decrypt(&mut self) -> Answer<Value> {
        self.check_algorithm()?;
        let blob = self.bytes("CiphertextBlob", MAX_CIPHERTEXT_BYTES)?;
        let context = self.encryption_context()?;
        self.take_recipient()?;
        let keys = self.service.keys();
        let id = key_of(&blob);
        if let Some(name) = self.optional_text("KeyId")? {
            let named = keys.find(name)?;
            // Of a ciphertext that is none, the caller learns only after the policy was asked.
            if id.as_ref().is_some_and(|id| *id != named.id) {
                self.authorize(named, &context)?;
                let text = "The key ID in the request does not identify a CMK that can perform this operation.";
                return Err(fail("IncorrectKeyException", text));
            }
        }
        let id = id.ok_or_else(|| fail("InvalidCiphertextException", ""))?;
        let key = keys.get(&id).ok_or_else(|| self.no_such_ciphertext())?;
        self.authorize(key, &context)?;
        usable(key)?;
        let plaintext = key.decrypt(&blob, &context)?;
        let mut answer = json!({ "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" });
        self.hand_out(&mut answer, &plaintext)?;
        Ok(answer)
    }

    pub fn generate_random(&mut self) -> Answer<Value> {
        let count = self.optional_number("NumberOfBytes")?;
        let count = count.ok_or_else(|| constraint("NumberOfBytes", "Member must not be null"))?;
        self.take_recipient()?;
        self.authorize_without_key()?;
        let bytes = random(count)?;
        let mut answer = json!({});
        self.hand_out(&mut answer, &bytes)?;
        Ok(answer)
    }

    /// GenerateDataKey, and its form without a plaintext.
    pub fn generate_data_key(&mut self, with_plaintext: bool) -> Answer<Value> {
        let count = match (self.optional_text("KeySpec")?, self.optional_number("NumberOfBytes")?) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (None, Some(count)) => count,
            (Some("AES_256" | "AES_128"), Some(_)) | (None, None) => {
                let text = "Please specify either number of bytes or key spec.";
                return Err(fail("ValidationException", text));
            }
            (Some(_), _) => {
                return Err(constraint("KeySpec", "Member must satisfy enum value set: [AES_256, AES_128]"));
            }
        };
        let context = self.encryption_context()?;
        if with_plaintext {
            self.take_recipient()?;
        }
        let keys = self.service.keys();
        let key = keys.find(self.text("KeyId")?)?;
        self.authorize(key, &context)?;
        usable(key)?;
        let data_key = random(count)?;
        let blob = key.encrypt(&data_key, &context)?;
        let mut answer = json!({ "KeyId": key.arn, "CiphertextBlob": Base64::encode_string(&blob) });
        if with_plaintext {
            self.hand_out(&mut answer, &data_key)?;
        }
        Ok(answer)
    }
}

fn random(count: u64) -> Answer<Zeroizing<Vec<u8>>> {
    if !(1..=MAX_RANDOM_BYTES).contains(&count) {
        let bound = if count == 0 { "greater than or equal to 1" } else { "less than or equal to 1024" };
        return Err(constraint("NumberOfBytes", &format!("Member must have value {bound}")));
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(count).unwrap_or_default()]);
    rand::fill(&mut bytes).map_err(|_| fail("KMSInternalException", "no randomness"))?;
    Ok(bytes)
}
