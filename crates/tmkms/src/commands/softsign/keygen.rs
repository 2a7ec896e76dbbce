//! `tmkms softsign keygen`: a new key in a new file.
use super::{AlgorithmName, describe, write_new_key};
use crate::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use signer::keys::Algorithm;
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
The file holds base64 of the secret, has mode 0600, and is never written over another. Keep a copy of a consensus key \
offline: whoever has it can sign, and nobody without it can. An identity key (secret_key of [[validator]]) is a consensus \
key of its own.

Exits with 5 if the file exists or cannot be written.

Examples:
  tmkms softsign keygen -t consensus secrets/cosmoshub-4-consensus.key
  tmkms softsign keygen -t consensus secrets/kms-identity.key
  tmkms softsign keygen -t account secrets/account.key";

/// Make a new key
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Keygen {
    /// What the key is for: an account key is always secp256k1
    #[arg(short = 't', long = "type", value_enum, default_value = "consensus")]
    key_type: KeyType,
    /// The algorithm [default: ed25519 for a consensus key, secp256k1 for an account key]
    #[arg(long, value_enum)]
    algorithm: Option<AlgorithmName>,
    /// The new file
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeyType {
    /// Signs votes, or identifies this signer to a node
    Consensus,
    /// Signs transactions, elsewhere
    Account,
}

impl Keygen {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let key = write_new_key(&self.path, self.algorithm()?)?;
        describe(&key, &self.path, out)?;
        Ok(())
    }

    fn algorithm(&self) -> Result<Algorithm, Failure> {
        match (self.key_type, self.algorithm) {
            (KeyType::Consensus, named) => Ok(named.map_or(Algorithm::Ed25519, Algorithm::from)),
            (KeyType::Account, None | Some(AlgorithmName::Secp256k1)) => Ok(Algorithm::Secp256k1),
            (KeyType::Account, Some(AlgorithmName::Ed25519)) => Err(Failure::new(
                Exit::Usage,
                "--algorithm: an account key is secp256k1, got ed25519",
                "leave --algorithm out, or make a consensus key",
            )),
        }
    }
}
