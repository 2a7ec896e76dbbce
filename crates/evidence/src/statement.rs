//! What an enclave says of itself.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A statement; its kind is its first field, and so a part of what is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Statement {
    /// Of an enclave that signs: what it holds now.
    #[serde(rename = "tmkms signer attestation v1")]
    Signer(Signer),
    /// Of a ceremony enclave: what it made of which key.
    #[serde(rename = "tmkms key ceremony v1")]
    Ceremony(Ceremony),
    /// Of a ceremony enclave: to what a key can be sealed, once.
    #[serde(rename = "tmkms sealed import v1")]
    Offer(Offer),
}

/// Which build it is, by its own account; the measurements say it better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Software {
    /// Its version.
    pub version: String,
    /// The source's commit, where the build knew it.
    pub commit: String,
}

/// What a serving signer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// Which build.
    pub software: Software,
    /// A random name of this life of the enclave, in hexadecimal: another one after each start.
    pub life: String,
    /// The SHA-256 of the measured policy's text, in hexadecimal; none without a policy.
    pub policy_sha256: Option<String>,
    /// The SHA-256 of the configuration's text that is applied, in hexadecimal. The text holds the keys' ciphertexts: nobody can
    /// guess it by its hash.
    pub config_sha256: String,
    /// The consensus keys that are held now, in the configuration's order.
    pub chains: Vec<ChainKey>,
}

/// A consensus key, by its public half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainKey {
    /// The chain.
    pub chain_id: String,
    /// The key's algorithm: "ed25519" or "secp256k1".
    pub algorithm: String,
    /// The public key's bytes in base64.
    pub public_key: String,
    /// The validator's address, in upper-case hexadecimal.
    pub address: String,
}

/// What a ceremony enclave offers to whoever brings a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Which build.
    pub software: Software,
    /// A random name of this life of the enclave, in hexadecimal.
    pub life: String,
    /// The SHA-256 of the measured policy's text, in hexadecimal.
    pub policy_sha256: String,
    /// Which KMS what is sealed will go to, as in [`Ceremony::kms`].
    pub kms: String,
    /// The HPKE suite.
    pub suite: String,
    /// The one-time public key in base64.
    pub seal_to: String,
}

/// What a ceremony enclave says of a key that it encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ceremony {
    /// Which build.
    pub software: Software,
    /// A random name of this life of the enclave, in hexadecimal.
    pub life: String,
    /// The SHA-256 of the measured policy's text, in hexadecimal.
    pub policy_sha256: String,
    /// Where the key is from: "generated" in this enclave, where nobody has seen it; "imported", where somebody may have; "rewrapped" from
    /// another ciphertext, whose own evidence says it.
    pub origin: String,
    /// What it is for: "consensus" or "identity".
    pub purpose: String,
    /// The chain.
    pub chain_id: String,
    /// The key's algorithm: "ed25519" or "secp256k1".
    pub algorithm: String,
    /// The public key's bytes in base64.
    pub public_key: String,
    /// How it is encrypted: "kms-encrypt", or "data-key" for AES-256-GCM under a data key of KMS.
    pub method: String,
    /// The KMS key that it is encrypted under.
    pub key_arn: String,
    /// Which KMS was asked: [`AWS_KMS`], or what the measured policy's endpoint names in its place.
    pub kms: String,
    /// The pairs that the ciphertext is bound to.
    pub encryption_context: BTreeMap<String, String>,
    /// The SHA-256 of the ciphertext's bytes, in hexadecimal.
    pub ciphertext_sha256: String,
}

/// AWS's own KMS: a host of the compiled table of regions, under Amazon's roots. Any other sees the key, if it wants to.
pub const AWS_KMS: &str = "aws";

impl Statement {
    /// Its kind, as `user_data` begins.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Signer(_) => "tmkms signer attestation v1",
            Self::Ceremony(_) => "tmkms key ceremony v1",
            Self::Offer(_) => "tmkms sealed import v1",
        }
    }

    /// The text that is hashed: JSON in one line, the fields in their order here, without spaces.
    #[must_use]
    pub fn text(&self) -> String {
        // Texts, lists and maps of texts: there is nothing in it that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What binds it to a document: see [`user_data`].
    #[must_use]
    pub fn user_data(&self) -> Vec<u8> {
        user_data(self.kind(), &self.text())
    }
}

/// The bytes of `user_data` for a statement's text: `KIND sha256 HEX`, in ASCII.
#[must_use]
pub fn user_data(kind: &str, text: &str) -> Vec<u8> {
    format!("{kind} sha256 {}", sha256(text.as_bytes())).into_bytes()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn signer() -> Statement {
        Statement::Signer(Signer {
            software: Software { version: "0.1.0".to_owned(), commit: String::new() },
            life: "00".repeat(16),
            policy_sha256: None,
            config_sha256: "11".repeat(32),
            chains: vec![ChainKey {
                chain_id: "a-1".to_owned(),
                algorithm: "ed25519".to_owned(),
                public_key: "AAAA".to_owned(),
                address: "AB".to_owned(),
            }],
        })
    }

    /// Golden: whoever checks evidence with other tools (`jq -cj .statement | sha256sum`) hashes these bytes.
    #[test]
    fn the_text_that_is_hashed_is_this() {
        let text = signer().text();
        let expected = format!(
            "{{\"kind\":\"tmkms signer attestation v1\",\"software\":{{\"version\":\"0.1.0\",\"commit\":\"\"}},\"life\":\"{}\",\
             \"policy_sha256\":null,\"config_sha256\":\"{}\",\"chains\":[{{\"chain_id\":\"a-1\",\"algorithm\":\"ed25519\",\
             \"public_key\":\"AAAA\",\"address\":\"AB\"}}]}}",
            "00".repeat(16),
            "11".repeat(32)
        );
        assert_eq!(text, expected);
        let data = String::from_utf8(signer().user_data()).unwrap();
        assert_eq!(data, format!("tmkms signer attestation v1 sha256 {}", sha256(text.as_bytes())));
        assert!(data.len() <= 512);
    }

    #[test]
    fn a_statement_is_read_back_and_one_with_a_field_more_or_of_another_kind_is_not() {
        let text = signer().text();
        assert_eq!(serde_json::from_str::<Statement>(&text).unwrap(), signer());
        for changed in [
            text.replace("\"life\"", "\"extra\":1,\"life\""),
            text.replace("attestation v1", "attestation v2"),
            text.replace("\"address\"", "\"more\":1,\"address\""),
        ] {
            assert!(serde_json::from_str::<Statement>(&changed).is_err(), "{changed}");
        }
    }
}
