//! How a secret leaves: in the clear to a plain caller, sealed to an attested recipient, never both (but on demand).
use super::call::Call;
use crate::kms::cms::{self, Form};
use crate::kms::error::{Answer, fail};
use crate::kms::faults::Fault;
use base64ct::{Base64, Encoding as _};
use serde_json::Value;

impl Call<'_> {
    /// Puts `secret` into the answer.
    pub fn hand_out(&self, answer: &mut Value, secret: &[u8]) -> Answer<()> {
        let Some(recipient) = &self.recipient else {
            answer["Plaintext"] = Base64::encode_string(secret).into();
            return Ok(());
        };
        let forged = self.faults.iter().find_map(|fault| match fault {
            Fault::Forged { plaintext } => Some(plaintext.as_bytes()),
            _ => None,
        });
        let form = self.faults.iter().find_map(|fault| match fault {
            Fault::Envelope { form } => Some(*form),
            _ => None,
        });
        let form = form.unwrap_or(Form::Chunks);
        let sealed = cms::seal(&recipient.public_key, forged.unwrap_or(secret), form);
        let sealed = sealed.map_err(|_| fail("KMSInternalException", "sealing failed"))?;
        answer["CiphertextForRecipient"] = Base64::encode_string(&sealed).into();
        let beside = self.faults.contains(&Fault::PlaintextBeside);
        answer["Plaintext"] = if beside { Base64::encode_string(secret).into() } else { Value::Null };
        Ok(())
    }
}
