//! `tmkms nitro import-key seal`: on the machine that has the key. It needs no network.
use super::{FORMAT, SealedKey};
use crate::commands::nitro::ceremony::{Method, Purpose};
use crate::commands::nitro::{new_file, verify};
use crate::commands::state;
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use clap::{Args, ValueEnum};
use evidence::Statement;
use signer::keys::{Algorithm, ConsensusKey, IdentityKey, KeyFileError, KeyFormat, PublicKey};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const EXAMPLES: &str = "\
The offer's attestation is checked: it must be of the ceremony image of --measurements, under AWS's root, and have your nonce. Then the key \
is sealed to it (HPKE: X25519, HKDF-SHA256, AES-256-GCM), bound to chain, purpose, KMS key and its own public half.

A key without its state can sign twice. So a statement about it is needed: the other signer's file (--state, with --state-from), a height that \
nothing at or below will be signed (--height), or that it has never signed (--never-signed). The state is made in the same folder, for \
`tmkms nitro persist`. Stop the other signer for good before you copy its state: what it signs afterwards is not in it.

Examples:
  tmkms nitro import-key seal --offer offer.json --measurements ceremony-measurements.json --nonce 'of today, 77ab12' \\
      --chain-id cosmoshub-4 --key arn:aws:kms:eu-central-1:111122223333:key/… \\
      --state ~/.gaia/data/priv_validator_state.json --state-from filepv --out sealed ~/.gaia/config/priv_validator_key.json";

/// On the machine with the key: seal it, and make its signing state
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Seal {
    /// The key's file
    #[arg(value_name = "KEY-FILE")]
    key_file: PathBuf,
    /// How it is written
    #[arg(short, long, value_enum, default_value = "json")]
    format: Form,
    /// Of a file that does not say its own [default: ed25519]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<Algorithm>,
    /// What the enclave offered
    #[arg(long, value_name = "FILE")]
    offer: PathBuf,
    /// The ceremony image's measurements, as a build of your own printed them
    #[arg(long, value_name = "FILE")]
    measurements: PathBuf,
    /// Believe this root certificate (PEM) instead of AWS's: of a simulated module, for tests
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Accept this KMS instead of AWS's own, word for word as the offer names it
    #[arg(long, value_name = "TEXT")]
    kms: Option<String>,
    /// The nonce that you chose for the offer
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// The chain
    #[arg(long, value_name = "ID")]
    chain_id: String,
    /// The KMS key to encrypt it under
    #[arg(long, value_name = "ARN")]
    key: String,
    /// What it is for
    #[arg(long, value_enum, default_value_t = Purpose::Consensus)]
    purpose: Purpose,
    /// How it is encrypted under KMS
    #[arg(long, value_enum, default_value_t = Method::KmsEncrypt)]
    method: Method,
    #[command(flatten)]
    signed: Signed,
    /// Who wrote the file of --state
    #[arg(long, value_name = "FORMAT", value_parser = ["filepv", "tmkms", "ours"], requires = "state")]
    state_from: Option<String>,
    /// Write into this folder, which must not be there yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
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

impl Seal {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.nonce.is_none() {
            writeln!(
                out,
                "note: without --nonce this offer may be an old one, whose enclave has ended: what is sealed to it can never be opened"
            )?;
        }
        self.check_statement()?;
        let seal_to = self.offered()?;
        let (secret, public) = self.secret()?;
        let (public_key, algorithm) = (public.base64(), public.algorithm().name());
        let intent = sealing::Intent {
            chain_id: &self.chain_id,
            purpose: self.purpose.name(),
            algorithm,
            key_arn: &self.key,
            method: self.method.name(),
            public_key: &public_key,
        };
        let sealed = sealing::seal(&seal_to, &intent, &secret)
            .map_err(|error| Failure::new(Exit::Key, format!("cannot seal it: {error}"), ""))?;
        drop(secret);
        let sealed = SealedKey {
            format: FORMAT.to_owned(),
            chain_id: self.chain_id.clone(),
            purpose: self.purpose.name().to_owned(),
            algorithm: algorithm.to_owned(),
            key_arn: self.key.clone(),
            method: self.method.name().to_owned(),
            public_key,
            sealed: Base64::encode_string(&sealed),
        };
        self.write(&sealed, &public, out)
    }

    /// An identity signs no votes, and has no state.
    fn check_statement(&self) -> Result<(), Failure> {
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

    /// The one-time key of an offer that is proven to be that image's.
    fn offered(&self) -> Result<Vec<u8>, Failure> {
        let evidence = verify::read(&self.offer)?;
        verify::Checker::new(&self.measurements, self.root.as_deref(), self.kms.as_deref())?
            .check_as(&evidence, self.nonce.as_deref())?;
        let wrong = |what: String| {
            let help = "ask for one with `tmkms nitro import-key offer`";
            Failure::new(Exit::Usage, format!("--offer {}: {what}", self.offer.display()), help)
        };
        let Statement::Offer(offer) = evidence.statement else {
            return Err(wrong(format!("expected an offer, got a {:?}", evidence.statement.kind())));
        };
        if offer.suite != sealing::SUITE {
            return Err(wrong(format!(
                "suite: expected {:?}, got {:?}",
                sealing::SUITE,
                super::asking::plain(&offer.suite)
            )));
        }
        Base64::decode_vec(&offer.seal_to).map_err(|_| wrong("its key is not base64".to_owned()))
    }

    /// The file's bytes, and the public half of what is in it. The file must be its owner's alone, as for signing with it.
    fn secret(&self) -> Result<(Zeroizing<Vec<u8>>, PublicKey), Failure> {
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

    fn write(&self, sealed: &SealedKey, public: &PublicKey, out: &mut dyn Write) -> Result<(), Failure> {
        let folder = &self.out;
        fs::create_dir(folder).map_err(|error| {
            let help = "take another name; what is there is left as it is";
            Failure::new(Exit::Usage, format!("--out {}: {error}", folder.display()), help)
        })?;
        let done = self.fill(folder, sealed, public, out);
        if done.is_err() {
            // It holds nothing that is not elsewhere.
            let _ = fs::remove_dir_all(folder);
        }
        done
    }

    fn fill(&self, folder: &Path, sealed: &SealedKey, public: &PublicKey, out: &mut dyn Write) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(sealed).unwrap_or_default() + "\n";
        if matches!(self.purpose, Purpose::Consensus) {
            self.bring_state(folder, public, out)?;
        }
        new_file(&folder.join("sealed-key.json"), text.as_bytes())?;
        writeln!(out, "sealed the {} key of {}: {public}", sealed.purpose, sealed.chain_id)?;
        writeln!(out, "  address  {}", public.address())?;
        writeln!(out, "  folder   {}", folder.display())?;
        write!(out, "{}", next_steps(self.purpose))?;
        Ok(out.flush()?)
    }

    /// By the same commands that make every state.
    fn bring_state(&self, folder: &Path, public: &PublicKey, out: &mut dyn Write) -> Result<(), Failure> {
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
}

fn next_steps(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Identity => "\nNext, on the parent: tmkms nitro import-key send --sealed sealed-key.json …\n",
        Purpose::Consensus => {
            "\nBefore this key signs in an enclave, the old signer must never sign with it again:\n  \
             1. it is stopped, and its service disabled, on every machine that has it (a sentry's, a standby's, horcrux's cosigners);\n  \
             2. its key file is moved away from where it starts from (priv_validator_key.json; a node makes a new one, which is no validator's);\n  \
             3. its state was copied after it stopped: if it ran since, seal again with the state as it is now;\n  \
             4. two blocks are seen without its signature.\n\
             Next, on the parent: the state file into persist's folder, then\n  \
             tmkms nitro import-key send --sealed sealed-key.json …\n\
             When the enclave signs: destroy the key's copies, or keep one offline on purpose. A copy is a second signer.\n"
        }
    }
}
