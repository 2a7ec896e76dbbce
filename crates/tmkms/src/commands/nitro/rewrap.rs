//! `tmkms nitro rewrap`: has a ceremony enclave encrypt a key anew: under another KMS key, in another region, by another method.
use super::asking::plain;
use super::ceremony::{Method, Place, Work};
use super::verify::{self, GivenKey};
use crate::failure::{Exit, Failure};
use clap::Args;
use evidence::Statement;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::PathBuf;
use wire::control::{KeyOrder, Task, Wrapped};

const EXAMPLES: &str = "\
FOLDER is what a ceremony wrote for this key: ciphertext, context and public key are read from it. The ceremony image's measured policy \
must name both KMS keys, and the policy of the old one allow Decrypt to its measurement. The key is opened in the enclave, encrypted anew, \
and opened once more for proof. The old folder stays as it is: keep its evidence, which says where the key is from.

The signing state does not change: it belongs to the key, not to its ciphertext. Push the new lines, and let the old KMS key go when the signer serves.

Examples:
  tmkms nitro rewrap -i 16 --from cosmoshub-4 --pub-key 'dnmL…' --key arn:aws:kms:eu-west-1:111122223333:key/… --from-proxy-port 800 \\
      --kms-proxy-port 801 --measurements ceremony-measurements.json --out cosmoshub-4-in-ireland";

/// Have a ceremony enclave encrypt a key under another KMS key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Rewrap {
    #[command(flatten)]
    place: Place,
    /// The folder of the ceremony that encrypted it
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// Its public key, from where you trust it: base64, hexadecimal, or the JSON of a node or a chain
    #[arg(long, value_name = "KEY")]
    pub_key: GivenKey,
    /// The KMS key to encrypt it under from now on
    #[arg(long, value_name = "ARN")]
    key: String,
    /// How it is encrypted from now on
    #[arg(long, value_enum, default_value_t = Method::KmsEncrypt)]
    method: Method,
    /// The parent's port of the proxy to the old key's KMS, if that is another region's [default: --kms-proxy-port]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1..=4_294_967_294))]
    from_proxy_port: Option<u32>,
}

impl Rewrap {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let evidence = verify::read(&self.from.join("attestation.json"))?;
        let Statement::Ceremony(said) = evidence.statement else {
            let message = format!("--from {}: its attestation.json is not a ceremony's", self.from.display());
            return Err(Failure::new(Exit::Usage, message, "name the folder that keygen, import-key or rewrap wrote"));
        };
        let sealed = verify::ciphertext(&self.from.join("ciphertext.b64"), "--from")?;
        let digest: String = Sha256::digest(&sealed).iter().map(|byte| format!("{byte:02x}")).collect();
        let differs = [
            ("public key", &self.pub_key.0, &said.public_key),
            ("SHA-256 of the ciphertext", &said.ciphertext_sha256, &digest),
        ];
        if let Some((what, expected, got)) = differs.into_iter().find(|(_, expected, got)| expected != got) {
            let message =
                format!("--from {}: {what}: expected {}, got {}", self.from.display(), plain(expected), plain(got));
            return Err(Failure::new(Exit::Key, message, "name the folder of this key, as the ceremony wrote it"));
        }
        let order = KeyOrder {
            chain_id: said.chain_id,
            purpose: said.purpose,
            algorithm: said.algorithm,
            key_arn: self.key.clone(),
            method: self.method.name().to_owned(),
            kms_proxy_port: self.place.kms_proxy_port,
        };
        let from = Wrapped {
            key_arn: said.key_arn,
            encryption_context: said.encryption_context,
            kms_proxy_port: self.from_proxy_port.unwrap_or(self.place.kms_proxy_port),
        };
        let public_key = said.public_key;
        let task = Task::Rewrap { key: order.clone(), public_key: public_key.clone(), from };
        let work = Work { task, order, sealed, origin: "rewrapped", public_key: Some(public_key) };
        self.place.perform(work, out)
    }
}
