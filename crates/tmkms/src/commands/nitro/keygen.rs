//! `tmkms nitro keygen`: has a ceremony enclave make a key.
use super::ceremony::{Method, Place, Purpose, Work};
use crate::failure::Failure;
use clap::Args;
use std::io::Write;
use wire::control::{KeyOrder, Task};

const EXAMPLES: &str = "\
The enclave of -i must run the ceremony image (cargo xtask image --ceremony --policy policy.toml), whose measured policy names the KMS key. \
The key is made in it of the randomness of KMS, the security module and its kernel, encrypted under the KMS key, bound to its chain, purpose \
and public key, and opened once for proof. It leaves the enclave in no other form.

The folder then holds the ciphertext, the public key in all its forms, the attestation document that binds both, and lines for tmkms.toml and \
for the signer's measured policy. With --measurements the document is checked at once; without, do it on another machine: a \
parent could have exchanged what the enclave gave.

KMS is asked with the credentials that AWS's own tools would take here: the environment, AWS_PROFILE, the container's or the instance's role.

Examples:
  tmkms nitro keygen -i 16 --chain-id cosmoshub-4 --key arn:aws:kms:eu-central-1:111122223333:key/… \\
      --measurements ceremony-measurements.json --out cosmoshub-4
  tmkms nitro keygen -i 16 --chain-id cosmoshub-4 --purpose identity --key arn:… --out cosmoshub-4-identity";

/// Have a ceremony enclave make a key that nobody has seen
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Keygen {
    #[command(flatten)]
    place: Place,
    /// The chain that it is for
    #[arg(long, value_name = "ID")]
    chain_id: String,
    /// The KMS key to encrypt it under
    #[arg(long, value_name = "ARN")]
    key: String,
    /// ed25519 or secp256k1
    #[arg(long, value_name = "NAME", default_value = "ed25519")]
    algorithm: String,
    /// What it is for
    #[arg(long, value_enum, default_value_t = Purpose::Consensus)]
    purpose: Purpose,
    /// How it is encrypted
    #[arg(long, value_enum, default_value_t = Method::KmsEncrypt)]
    method: Method,
}

impl Keygen {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let order = KeyOrder {
            chain_id: self.chain_id.clone(),
            purpose: self.purpose.name().to_owned(),
            algorithm: self.algorithm.clone(),
            key_arn: self.key.clone(),
            method: self.method.name().to_owned(),
            kms_proxy_port: self.place.kms_proxy_port,
        };
        let task = Task::Generate { key: order.clone() };
        self.place.perform(Work { task, order, sealed: Vec::new(), origin: "generated", public_key: None }, out)
    }
}
