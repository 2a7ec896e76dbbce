//! What a ceremony image does, and a signer's image cannot: it makes a validator's key, or takes one in, and gives it out
//! encrypted under a KMS key that its measured policy names.
//!
//! The way of a key: `entropy` of three sources → the key → `operations::Encrypt` (or an `envelope` under a data key) → opened once
//! more by KMS, as a signer will have it opened, and compared → a statement about it, bound to an attestation document. Only then is there
//! an answer; whatever fails before leaves nothing but an error. The key itself is in no answer, log or error.
//!
//! What the parent may choose is bounded by `order`: the measured policy must name KMS keys, accounts and regions.
#![forbid(unsafe_code)]

mod entropy;
mod envelope;
mod operations;
mod order;
mod proof;
mod rewrap;

use enclave::ceremony::{Ceremonies, Room, refused};
use enclave::kms::Recipient;
use evidence::{Ceremony as Said, Offer, Statement};
use order::Order;
use sha2::{Digest, Sha256};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::control::{Answer, Attested, Ceremony, Failure, KeyOrder, Made, Task};
use zeroize::Zeroizing;

/// The work of a ceremony image.
#[derive(Default)]
pub struct Workshop {
    /// The last offer: whoever asks for another one makes it void.
    offer: Mutex<Option<LastOffer>>,
}

/// A one-time key, and how often something that did not open was brought to it.
struct LastOffer {
    recipient: sealing::Recipient,
    failed: u32,
}

/// So often a stranger may bring nonsense before the owner has to seal again.
const MAX_FAILED: u32 = 8;

impl Ceremonies for Workshop {
    fn perform(&self, room: &Room, ceremony: Ceremony, progress: &dyn Fn(String)) -> Result<Answer, Failure> {
        let Ceremony { task, nonce, sealed, credentials } = ceremony;
        let order = |key| Order::check(key, room.policy());
        match &task {
            Task::Offer => self.offer(room, &nonce),
            Task::Generate { key } => {
                let order = order(key)?;
                let credentials = credentials.ok_or_else(order::no_credentials)?;
                progress(format!(
                    "randomness of KMS, the security module and the kernel, for a key of {}",
                    order.chain
                ));
                let recipient = recipient()?;
                let secret = entropy::secret(room, &order, &credentials, &recipient)?;
                let made = Making { room, order: &order, credentials: &credentials, recipient: &recipient };
                made.give_out(&secret[..], "generated", &nonce, progress)
            }
            Task::Import { key, public_key } => {
                let order = order(key)?;
                let credentials = credentials.ok_or_else(order::no_credentials)?;
                progress(format!("opening the sealed key of {}", order.chain));
                let secret = self.open(key, public_key, &sealed)?;
                order.expect(&secret, public_key)?;
                let made = Making { room, order: &order, credentials: &credentials, recipient: &recipient()? };
                made.give_out(&secret, "imported", &nonce, progress)
            }
            Task::Rewrap { key, public_key, from } => {
                let order = order(key)?;
                let credentials = credentials.ok_or_else(order::no_credentials)?;
                progress(format!("having it decrypted under {}", from.key_arn));
                let recipient = recipient()?;
                let secret = rewrap::opened(room, &order, (from, public_key), &sealed, (&credentials, &recipient))?;
                order.expect(&secret, public_key)?;
                let made = Making { room, order: &order, credentials: &credentials, recipient: &recipient };
                made.give_out(&secret, "rewrapped", &nonce, progress)
            }
        }
    }
}

impl Workshop {
    /// A new one-time key, attested. The one before is forgotten.
    fn offer(&self, room: &Room, nonce: &[u8]) -> Result<Answer, Failure> {
        let recipient =
            sealing::Recipient::generate().map_err(|error| refused("offer", error.to_string(), "ask again"))?;
        let statement = Statement::Offer(Offer {
            software: room.software(),
            life: room.life().to_owned(),
            policy_sha256: room.policy().sha256().to_owned(),
            kms: room.kms(),
            suite: sealing::SUITE.to_owned(),
            seal_to: base64(recipient.public_key()),
        });
        let document = room.attest(&statement, nonce)?;
        *self.last() = Some(LastOffer { recipient, failed: 0 });
        Ok(Answer::Attested(Box::new(Attested { statement: statement.text(), document: base64(&document) })))
    }

    /// The offer is used up by what opens, and by too much that does not.
    fn open(&self, key: &KeyOrder, public_key: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let remedy = "ask for a new offer (`tmkms nitro import-key offer`), and seal the key to that";
        let mut last = self.last();
        let offer = last.as_mut().ok_or_else(|| {
            refused("sealed", "there is no offer: each is good for one key, and for one life of the enclave", remedy)
        })?;
        let intent = sealing::Intent {
            chain_id: &key.chain_id,
            purpose: &key.purpose,
            algorithm: &key.algorithm,
            key_arn: &key.key_arn,
            method: &key.method,
            public_key,
        };
        let opened = offer.recipient.open(&intent, sealed);
        offer.failed += u32::from(opened.is_err());
        if opened.is_ok() || offer.failed >= MAX_FAILED {
            *last = None;
        }
        opened.map_err(|error| refused("sealed", error.to_string(), remedy))
    }

    fn last(&self) -> MutexGuard<'_, Option<LastOffer>> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn base64(bytes: &[u8]) -> String {
    <base64ct::Base64 as base64ct::Encoding>::encode_string(bytes)
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
        secret: &[u8],
        origin: &str,
        nonce: &[u8],
        progress: &dyn Fn(String),
    ) -> Result<Answer, Failure> {
        let Self { room, order, .. } = self;
        let public_key = order.public_key(secret)?;
        order.check_pin(room.policy(), &public_key)?;
        let context = order.context(room.policy(), &public_key)?;
        progress(format!("encrypting under {}", order.key_arn));
        let ciphertext = match order.method {
            order::Method::KmsEncrypt => self.encrypt(secret, &context)?,
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
            kms: room.kms(),
            encryption_context: context,
            ciphertext_sha256: Sha256::digest(&ciphertext).iter().map(|byte| format!("{byte:02x}")).collect(),
        });
        let document = room.attest(&statement, nonce)?;
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
