//! `tmkms nitro import-key seal`: on the machine that has the key. It needs no network.
use super::source::Source;
use super::{FORMAT, SealedKey};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::ceremony::{Method, Purpose};
use crate::commands::nitro::{new_file, verify};
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use clap::Args;
use evidence::Statement;
use signer::keys::PublicKey;
use std::io::Write;
use std::path::PathBuf;

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
    #[command(flatten)]
    source: Source,
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
    /// How it is encrypted under KMS
    #[arg(long, value_enum, default_value_t = Method::KmsEncrypt)]
    method: Method,
}

impl Seal {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.nonce.is_none() {
            writeln!(
                out,
                "note: without --nonce this offer may be an old one, whose enclave has ended: what is sealed to it can never be opened"
            )?;
        }
        self.source.check_statement()?;
        let seal_to = self.offered()?;
        let (secret, public) = self.source.secret()?;
        let (public_key, algorithm) = (public.base64(), public.algorithm().name());
        let intent = sealing::Intent {
            chain_id: &self.source.chain_id,
            purpose: self.source.purpose.name(),
            algorithm,
            key_arn: &self.source.key,
            method: self.method.name(),
            public_key: &public_key,
        };
        let sealed = sealing::seal(&seal_to, &intent, &secret)
            .map_err(|error| Failure::new(Exit::Key, format!("cannot seal it: {error}"), ""))?;
        drop(secret);
        let sealed = SealedKey {
            format: FORMAT.to_owned(),
            chain_id: self.source.chain_id.clone(),
            purpose: self.source.purpose.name().to_owned(),
            algorithm: algorithm.to_owned(),
            key_arn: self.source.key.clone(),
            method: self.method.name().to_owned(),
            public_key,
            sealed: Base64::encode_string(&sealed),
        };
        self.source.fill(|folder| self.write(folder, &sealed, &public, out))
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
            return Err(wrong(format!("suite: expected {:?}, got {:?}", sealing::SUITE, plain(&offer.suite))));
        }
        Base64::decode_vec(&offer.seal_to).map_err(|_| wrong("its key is not base64".to_owned()))
    }

    fn write(
        &self,
        folder: &std::path::Path,
        sealed: &SealedKey,
        public: &PublicKey,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(sealed).unwrap_or_default() + "\n";
        if matches!(self.source.purpose, Purpose::Consensus) {
            self.source.bring_state(folder, public, out)?;
        }
        new_file(&folder.join("sealed-key.json"), text.as_bytes())?;
        writeln!(out, "sealed the {} key of {}: {public}", sealed.purpose, sealed.chain_id)?;
        writeln!(out, "  address  {}", public.address())?;
        writeln!(out, "  folder   {}", folder.display())?;
        let next = "tmkms nitro import-key send --sealed sealed-key.json … there";
        write!(out, "{}", self.source.next_steps(next))?;
        Ok(out.flush()?)
    }
}
