//! `tmkms softsign import`: a key from elsewhere into a file of tmkms's form.
use super::{AlgorithmName, describe, failure};
use crate::failure::Failure;
use clap::{Args, ValueEnum};
use signer::keys::{Algorithm, KeyFormat};
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
The new file holds base64 of the secret, has mode 0600, and is never written over another. The source stays as it is: \
when this signer has signed, no other may use it any more. Bring its state too (tmkms state import), or a position that \
was signed before can be signed again.

Exits with 5 if a file is missing, unreadable, open to others, or exists already.

Examples:
  tmkms softsign import priv_validator_key.json secrets/cosmoshub-4-consensus.key
  tmkms softsign import -f raw --algorithm secp256k1 key.bin secrets/my-chain-consensus.key";

/// Import a key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    /// How the source is written
    #[arg(short, long, value_enum, default_value = "json")]
    format: Format,
    /// The algorithm of a source that does not say its own [default: ed25519]
    #[arg(long, value_enum)]
    algorithm: Option<AlgorithmName>,
    /// The source
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The new file
    #[arg(value_name = "DST")]
    destination: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// CometBFT's priv_validator_key.json
    Json,
    /// Base64 of the secret, as tmkms writes it
    Base64,
    /// The secret's bytes
    Raw,
}

impl From<Format> for KeyFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Base64 => Self::Base64,
            Format::Raw => Self::Raw,
        }
    }
}

impl Import {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let algorithm = self.algorithm.map(Algorithm::from);
        let imported = signer::keys::import(&self.source, self.format.into(), algorithm, &self.destination);
        let key = imported.map_err(|error| failure(&error))?;
        describe(&key, &self.destination, out)?;
        Ok(())
    }
}
