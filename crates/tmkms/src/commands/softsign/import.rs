//! `tmkms softsign import`: a key from elsewhere into a file of tmkms's form.
use super::{AlgorithmName, describe, failure};
use crate::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use signer::keys::{Algorithm, KeyFileError, KeyFormat, Problem};
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
        let key = imported.map_err(|error| refused(&error))?;
        describe(&key, &self.destination, out)?;
        Ok(())
    }
}

/// What is wrong with the source, in this command's words instead of the configuration's.
fn refused(error: &KeyFileError) -> Failure {
    let (what, help) = match error.problem() {
        Problem::Missing => ("it does not exist".to_owned(), "correct the path".to_owned()),
        Problem::OtherFormat { format, shape } => {
            let help = match shape.format() {
                Some(right) => format!("give -f {right}"),
                None => "convert the secret to base64, and give -f base64".to_owned(),
            };
            (format!("it looks like {shape}, and is read with -f {format}"), help)
        }
        Problem::Base64 => (
            "it is not base64".to_owned(),
            "-f base64 reads the base64 of a secret and nothing else, as tmkms writes it; for CometBFT's \
             priv_validator_key.json give -f json, for the secret's bytes -f raw"
                .to_owned(),
        ),
        Problem::JsonShape { line, column } => (
            format!("line {line}, column {column}: it is JSON, but not a priv_validator_key.json"),
            "expected address, pub_key and priv_key, the latter two with type and value".to_owned(),
        ),
        Problem::JsonSyntax { line, column } => (
            format!("line {line}, column {column}: it is not JSON"),
            "-f json, the default, reads CometBFT's priv_validator_key.json; for the base64 of a secret, as tmkms writes it, \
             give -f base64, for the secret's bytes -f raw"
                .to_owned(),
        ),
        Problem::NotAScalar => (
            "the 32 bytes are no secp256k1 secret: expected a number from 1 to the order of the curve".to_owned(),
            "if it is an ed25519 key, give --algorithm ed25519".to_owned(),
        ),
        Problem::OtherAlgorithm { expected, found } => (
            format!("the key is of another algorithm: expected {expected}, got {found}"),
            format!("give --algorithm {found}, or correct the path"),
        ),
        Problem::Length { algorithm, got } => {
            let expected = match algorithm {
                Algorithm::Ed25519 => "32 or 64",
                Algorithm::Secp256k1 => "32",
            };
            (
                format!("expected {expected} bytes of a secret of {algorithm}, got {got}"),
                "take an undamaged copy; -f says how the file is written, --algorithm of what its secret is".to_owned(),
            )
        }
        _ => return failure(error),
    };
    Failure::new(Exit::Key, format!("key file {}: {what}", error.path().display()), help)
}
