//! `tmkms softsign`: keys in files.
mod import;
mod keygen;

use crate::failure::{Exit, Failure};
use crate::permissions;
use clap::{Subcommand, ValueEnum};
use signer::keys::{Algorithm, KeyFileError, PublicKey};
use std::io::Write;
use std::path::Path;

/// Make and import key files
#[derive(Debug, Subcommand)]
pub enum Softsign {
    Keygen(keygen::Keygen),
    Import(import::Import),
}

impl Softsign {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Keygen(command) => command.run(out),
            Self::Import(command) => command.run(out),
        }
    }
}

/// The algorithms, as the command line and the configuration name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlgorithmName {
    /// Nearly every chain's
    Ed25519,
    /// ECDSA with SHA-256
    Secp256k1,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Ed25519 => Self::Ed25519,
            AlgorithmName::Secp256k1 => Self::Secp256k1,
        }
    }
}

/// A key file's trouble as a command's: the text of each problem ends with its remedy, but for permissions.
pub(crate) fn failure(error: &KeyFileError) -> Failure {
    Failure::new(Exit::Key, error.to_string(), permissions::help_for_key(error).unwrap_or_default())
}

/// Makes a new key file.
pub(crate) fn write_new_key(path: &Path, algorithm: Algorithm) -> Result<PublicKey, Failure> {
    signer::keys::generate(path, algorithm).map_err(|error| failure(&error))
}

/// What a person needs to know of a key that was just written.
fn describe(key: &PublicKey, path: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "wrote {} ({})", path.display(), key.algorithm())?;
    writeln!(out, "  address  {}", key.address())?;
    writeln!(out, "  json     {}", key.comet_json())
}
