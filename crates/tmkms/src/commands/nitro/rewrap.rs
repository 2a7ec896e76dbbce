//! `tmkms nitro rewrap`: has a ceremony enclave encrypt a key anew: under another KMS key, in another region, by another method.
use super::ceremony::{Method, Place, Work};
use super::verify;
use crate::failure::{Exit, Failure};
use clap::Args;
use evidence::Statement;
use std::io::Write;
use std::path::PathBuf;
use wire::control::{KeyOrder, Task, Wrapped};

const EXAMPLES: &str = "\
FOLDER is what a ceremony wrote for this key: ciphertext, context and public key are read from it. The ceremony image's measured policy \
must name both KMS keys, and the policy of the old one allow Decrypt to its measurement. The key is opened in the enclave, encrypted anew, \
and opened once more for proof. The old folder stays as it is: keep its evidence, which says where the key is from.

The signing state does not change: it belongs to the key, not to its ciphertext. Push the new lines, and let the old KMS key go when the signer serves.

Examples:
  tmkms nitro rewrap -i 16 --from cosmoshub-4 --key arn:aws:kms:eu-west-1:111122223333:key/… --from-proxy-port 800 \\
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
