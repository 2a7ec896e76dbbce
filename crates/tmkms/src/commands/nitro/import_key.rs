//! `tmkms nitro import-key`: a key that exists already, on its way into a ceremony enclave, sealed so that nobody on the way sees it.
mod encrypt;
mod seal;
mod source;

use super::asking::{self, EnclaveOption};
use super::ceremony::{Place, Work};
use super::{attest, new_file};
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use clap::{Args, Subcommand};
use host::control_client::Client;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use wire::control::{Answer, Ceremony, KeyOrder, Request, Task};

const ABOUT: &str = "\
Three steps, on two machines. On the parent, whose enclave runs the ceremony image, `offer` has it publish an attested one-time public key. On \
the machine that has the key, which needs no network, `seal` checks that attestation and seals the key to it, together with what it is to \
become, and makes the signing state. On the parent again, `send` has the enclave open it and encrypt it under KMS.

Without an enclave, `encrypt` has AWS's command line encrypt it, on a machine that has the key and AWS credentials.

A key that was imported may have a copy: only one that was made by `tmkms nitro keygen` was never seen by anybody.";

/// Bring an existing key into a ceremony enclave
#[derive(Debug, Args)]
#[command(long_about = ABOUT)]
pub struct ImportKey {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, Subcommand)]
enum Step {
    Offer(Offer),
    Seal(seal::Seal),
    Send(Send),
    Encrypt(encrypt::Encrypt),
}

/// On the parent: have the enclave offer a key to seal to
#[derive(Debug, Args)]
struct Offer {
    #[command(flatten)]
    enclave: EnclaveOption,
    /// What the document's nonce shall be, as whoever will seal chose it; otherwise random
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// Write to this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// On the parent again: have the enclave take the sealed key in
#[derive(Debug, Args)]
struct Send {
    #[command(flatten)]
    place: Place,
    /// The sealed key
    #[arg(long, value_name = "FILE")]
    sealed: PathBuf,
}

/// What is carried from the machine with the key to the parent. Nothing in it is secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedKey {
    format: String,
    chain_id: String,
    purpose: String,
    algorithm: String,
    key_arn: String,
    method: String,
    public_key: String,
    sealed: String,
}

const FORMAT: &str = "tmkms sealed key v1";

impl ImportKey {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match &self.step {
            Step::Offer(offer) => offer.run(out),
            Step::Seal(seal) => seal.run(out),
            Step::Send(send) => send.run(out),
            Step::Encrypt(encrypt) => encrypt.run(out),
        }
    }
}

impl Offer {
    fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let nonce = attest::chosen_or_random(self.nonce.as_deref())?;
        let ceremony =
            Ceremony { task: Task::Offer, nonce: nonce.clone().into_bytes(), sealed: Vec::new(), credentials: None };
        let mut client = Client::connect(&self.enclave.target()).map_err(|error| asking::unreachable(&error))?;
        client.send(&Request::Ceremony(Box::new(ceremony)), None).map_err(|error| asking::unreachable(&error))?;
        let evidence = loop {
            match client.next(Some(Duration::from_secs(60))).map_err(|error| asking::unreachable(&error))? {
                Some(Answer::Progress(_)) => {}
                Some(Answer::Attested(attested)) => break attest::read_or_refuse(&attested, &nonce)?,
                Some(Answer::Failed(failure)) => return Err(asking::failed(&failure)),
                _ => return Err(asking::unexpected()),
            }
        };
        new_file(&self.out, evidence.text().as_bytes())?;
        writeln!(out, "wrote {}", self.out.display())?;
        writeln!(out, "  nonce  {nonce}")?;
        writeln!(out, "  good for one key, until another offer is asked for or the enclave ends")?;
        writeln!(out, "  next   bring it to the machine with the key, and run `tmkms nitro import-key seal` there")?;
        Ok(out.flush()?)
    }
}

impl Send {
    fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let unusable = |what: String| {
            let help = "give the sealed-key.json that `tmkms nitro import-key seal` wrote, unchanged";
            Failure::new(Exit::Usage, format!("--sealed {}: {what}", self.sealed.display()), help)
        };
        let bytes =
            crate::measurements::read_bytes(&self.sealed, 64 << 10).map_err(|error| unusable(error.to_string()))?;
        let key: SealedKey =
            serde_json::from_slice(&bytes).map_err(|error| unusable(asking::plain(&error.to_string())))?;
        if key.format != FORMAT {
            return Err(unusable(format!("format: expected {FORMAT:?}, got {:?}", asking::plain(&key.format))));
        }
        let sealed = Base64::decode_vec(&key.sealed).map_err(|_| unusable("sealed: expected base64".to_owned()))?;
        let order = KeyOrder {
            chain_id: key.chain_id,
            purpose: key.purpose,
            algorithm: key.algorithm,
            key_arn: key.key_arn,
            method: key.method,
            kms_proxy_port: self.place.kms_proxy_port,
        };
        let public_key = Some(key.public_key.clone());
        let task = Task::Import { key: order.clone(), public_key: key.public_key };
        self.place.perform(Work { task, order, sealed, origin: "imported", public_key }, out)
    }
}
