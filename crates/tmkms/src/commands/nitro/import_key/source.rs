//! A key that somebody has, and what is said about its past: what every way of bringing one needs.
use crate::commands::nitro::ceremony::Purpose;
use crate::commands::state;
use crate::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use signer::keys::{Algorithm, ConsensusKey, IdentityKey, KeyFileError, KeyFormat, PublicKey};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The key, what it becomes, and its state.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// The key's file
    #[arg(value_name = "KEY-FILE")]
    key_file: PathBuf,
    /// How it is written
    #[arg(short, long, value_enum, default_value = "json")]
    format: Form,
    /// Of a file that does not say its own [default: ed25519]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<Algorithm>,
    /// The chain
    #[arg(long, value_name = "ID")]
    pub(super) chain_id: String,
    /// The KMS key to encrypt it under
    #[arg(long, value_name = "ARN")]
    pub(super) key: String,
    /// What it is for
    #[arg(long, value_enum, default_value_t = Purpose::Consensus)]
    pub(super) purpose: Purpose,
    #[command(flatten)]
    signed: Signed,
    /// Who wrote the file of --state
    #[arg(long, value_name = "FORMAT", value_parser = ["filepv", "tmkms", "ours"], requires = "state")]
    state_from: Option<String>,
    /// Write into this folder, which must not be there yet
    #[arg(long, value_name = "FOLDER")]
    pub(super) out: PathBuf,
}

/// What the key has signed.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Signed {
    /// The other signer's state file: FilePV's (horcrux's too), tmkms's, or one of this program
    #[arg(long, value_name = "FILE", requires = "state_from")]
    state: Option<PathBuf>,
    /// Nothing at or below this height will be signed: at or above the chain's height
    #[arg(long, value_name = "H")]
    height: Option<String>,
    /// The key has never signed anywhere
    #[arg(long)]
    never_signed: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// CometBFT's or Tendermint's priv_validator_key.json
    Json,
    /// Base64 of the secret, as tmkms writes it
    Base64,
    /// The secret's bytes
    Raw,
}

impl From<Form> for KeyFormat {
    fn from(form: Form) -> Self {
        match form {
            Form::Json => Self::Json,
            Form::Base64 => Self::Base64,
            Form::Raw => Self::Raw,
        }
    }
}

impl Source {
    /// An identity signs no votes, and has no state.
    pub(super) fn check_statement(&self) -> Result<(), Failure> {
        let Signed { state, height, never_signed } = &self.signed;
        let is_said = state.is_some() || height.is_some() || *never_signed;
        match self.purpose {
            Purpose::Consensus if !is_said => Err(Failure::new(
                Exit::Usage,
                "nothing is said about what this key has signed: without its state it could sign twice",
                "give the other signer's state (--state FILE --state-from filepv), or --height H, or, only if it never signed, --never-signed",
            )),
            Purpose::Identity if is_said => {
                Err(Failure::new(Exit::Usage, "an identity key signs no votes, and has no state", "leave it out"))
            }
            _ => Ok(()),
        }
    }

    /// The file's bytes, and the public half of what is in it. The file must be its owner's alone, as for signing with it.
    pub(super) fn secret(&self) -> Result<(Zeroizing<Vec<u8>>, PublicKey), Failure> {
        let path = &self.key_file;
        let failed = |error: &KeyFileError| crate::commands::softsign::failure(error);
        let checked = match self.purpose {
            Purpose::Consensus => ConsensusKey::read(path, self.format.into(), self.algorithm)
                .map(|key| *key.public_key())
                .map_err(|error| failed(&error))?,
            Purpose::Identity => {
                IdentityKey::read(path).map(|key| *key.public_key()).map_err(|error| failed(&error))?
            }
        };
        let cannot = |what: String| Failure::new(Exit::Key, format!("key file {}: {what}", path.display()), "");
        let mut bytes = Zeroizing::new(Vec::with_capacity(sealing::MAX_SECRET_BYTES + 1));
        let file = fs::File::open(path).map_err(|error| cannot(error.to_string()))?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, sealing::MAX_SECRET_BYTES as u64 + 1), &mut bytes)
            .map_err(|error| cannot(error.to_string()))?;
        // What is sealed is what was read now.
        let again = match self.purpose {
            Purpose::Consensus => {
                ConsensusKey::decode(&bytes, self.format.into(), self.algorithm).map(|key| *key.public_key())
            }
            Purpose::Identity => IdentityKey::decode(&bytes).map(|key| *key.public_key()),
        };
        match again {
            Ok(again) if again == checked => Ok((bytes, checked)),
            _ => Err(cannot("it changed while it was read".to_owned())),
        }
    }

    /// The folder, filled by that; taken away again if it fails, for it holds nothing that is not elsewhere.
    pub(super) fn fill(&self, fill: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let folder = &self.out;
        fs::DirBuilder::new().mode(0o700).create(folder).map_err(|error| {
            let help = "take another name; what is there is left as it is";
            Failure::new(Exit::Usage, format!("--out {}: {error}", folder.display()), help)
        })?;
        let done = fill(folder);
        if done.is_err() {
            let _ = fs::remove_dir_all(folder);
        }
        done
    }

    /// By the same commands that make every state.
    pub(super) fn bring_state(&self, folder: &Path, public: &PublicKey, out: &mut dyn Write) -> Result<(), Failure> {
        let file = folder.join(format!("{}_priv_validator_state.json", self.chain_id));
        let (file, key) = (file.display().to_string(), public.base64());
        let named = ["--file", &file, "--chain-id", &self.chain_id, "--public-key", &key];
        let words: Vec<String> = match &self.signed {
            Signed { state: Some(state), .. } => {
                let from = self.state_from.as_deref().unwrap_or_default();
                let source = state.display().to_string();
                [&["import"], &named[..], &["--from", from, &source]].concat().into_iter().map(str::to_owned).collect()
            }
            Signed { height: Some(height), .. } => {
                [&["init"], &named[..], &["--height", height]].concat().into_iter().map(str::to_owned).collect()
            }
            _ => [&["init"], &named[..], &["--new-validator"]].concat().into_iter().map(str::to_owned).collect(),
        };
        state::run_words(&words, out)
    }

    /// What has to happen before it signs in an enclave.
    pub(super) fn next_steps(&self, next: &str) -> String {
        match self.purpose {
            Purpose::Identity => format!("\nNext: {next}\n"),
            Purpose::Consensus => format!(
                "\nBefore this key signs in an enclave, the old signer must never sign with it again:\n  \
             1. it is stopped, and its service disabled, on every machine that has it (a sentry's, a standby's, horcrux's cosigners);\n  \
             2. its key file is moved away from where it starts from (priv_validator_key.json; a node makes a new one, which is no validator's);\n  \
             3. its state was copied after it stopped: if it ran since, seal again with the state as it is now;\n  \
             4. two blocks are seen without its signature.\n\
             Next: the state file into persist's folder on the parent, and {next}\n\
             When the enclave signs: destroy the key's copies, or keep one offline on purpose. A copy is a second signer.\n"
            ),
        }
    }
}
