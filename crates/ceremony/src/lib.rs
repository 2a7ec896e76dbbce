//! What a ceremony image does, and a signer's image cannot: it makes a validator's key, or takes one in, and gives it out
//! encrypted under a KMS key that its measured policy names.
//!
//! The way of a key: [`entropy`] of three sources → the key → [`operations::Encrypt`] (or an [`envelope`] under a data key) → opened once
//! more by KMS, as a signer will have it opened, and compared → a statement about it, bound to an attestation document. Only then is there
//! an answer; whatever fails before leaves nothing but an error. The key itself is in no answer, log or error.
//!
//! What the parent may choose is bounded by [`order`]: the measured policy must name KMS keys, accounts and regions.
#![forbid(unsafe_code)]

mod entropy;
mod envelope;
mod operations;
mod order;
mod proof;

use enclave::ceremony::{Ceremonies, Room, refused};
use enclave::kms::Recipient;
use evidence::{Ceremony as Said, Statement};
use order::Order;
use sha2::{Digest, Sha256};
use wire::control::{Answer, Ceremony, Failure, Made, Task};
use zeroize::Zeroizing;

/// The work of a ceremony image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Workshop;

impl Ceremonies for Workshop {
    fn perform(&self, room: &Room, ceremony: Ceremony, progress: &dyn Fn(String)) -> Result<Answer, Failure> {
        let Ceremony { task, nonce, sealed: _, credentials } = ceremony;
        match task {
            Task::Generate { key } => {
                let order = Order::check(&key, room.policy())?;
                let credentials = credentials.ok_or_else(order::no_credentials)?;
                progress(format!(
                    "randomness of KMS, the security module and the kernel, for a key of {}",
                    order.chain
                ));
                let recipient = recipient()?;
                let secret = entropy::secret(room, &order, &credentials, &recipient)?;
                let made = Making { room, order: &order, credentials: &credentials, recipient: &recipient };
                made.give_out(&secret, "generated", &nonce, progress)
            }
            Task::Offer | Task::Import { .. } => {
                Err(refused("not-yet", "this version takes in no keys: it makes them", "use `tmkms nitro keygen`"))
            }
        }
    }
}

fn recipient() -> Result<Recipient, Failure> {
    Recipient::generate().map_err(|error| refused("memory", error.to_string(), "give the enclave more memory"))
}

/// What the way out of a key needs.
struct Making<'a> {
    room: &'a Room,
    order: &'a Order,
    credentials: &'a wire::control::Credentials,
    recipient: &'a Recipient,
}

impl Making<'_> {
    /// Encrypts, has it opened once, and states what came of it.
    fn give_out(
        &self,
        secret: &Zeroizing<[u8; 32]>,
        origin: &str,
        nonce: &[u8],
        progress: &dyn Fn(String),
    ) -> Result<Answer, Failure> {
        let Self { room, order, .. } = self;
        let public_key = order.public_key(secret)?;
        let context = order.context(room.policy(), &public_key)?;
        progress(format!("encrypting under {}", order.key_arn));
        let ciphertext = match order.method {
            order::Method::KmsEncrypt => self.encrypt(&secret[..], &context)?,
            order::Method::DataKey => envelope::seal(self, secret, &context)?,
        };
        progress("having it decrypted once, as a signer will".to_owned());
        proof::opens(self, &ciphertext, &context, secret)?;
        let statement = Statement::Ceremony(Said {
            software: room.software(),
            life: room.life().to_owned(),
            policy_sha256: room.policy().sha256().to_owned(),
            origin: origin.to_owned(),
            purpose: order.role.of_context().to_owned(),
            chain_id: order.chain.to_string(),
            algorithm: order.algorithm.name().to_owned(),
            public_key: public_key.base64(),
            method: order.method.name().to_owned(),
            key_arn: order.key_arn.clone(),
            encryption_context: context,
            ciphertext_sha256: Sha256::digest(&ciphertext).iter().map(|byte| format!("{byte:02x}")).collect(),
        });
        let document = room.attest(&statement, nonce)?;
        let base64 = |bytes: &[u8]| <base64ct::Base64 as base64ct::Encoding>::encode_string(bytes);
        Ok(Answer::Made(Box::new(Made {
            ciphertext: base64(&ciphertext),
            statement: statement.text(),
            document: base64(&document),
        })))
    }

    fn encrypt(
        &self,
        plaintext: &[u8],
        context: &std::collections::BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Failure> {
        let wanted = operations::Encrypt {
            region: self.order.region,
            key_arn: &self.order.key_arn,
            plaintext,
            encryption_context: context,
        };
        self.room.ask(self.order.kms_proxy_port, self.credentials, &wanted)
    }
}
