//! What the commands share that have a ceremony enclave work: the order, the wait, the check of what comes back, the folder.
mod folder;

use super::asking::{self, EnclaveOption, plain};
use super::{attest, verify};
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use clap::{Args, ValueEnum};
use evidence::{Ceremony as Said, Evidence, Statement};
pub(super) use folder::Brought;
use folder::Folder;
use host::control_client::Client;
use host::credentials::{self, Variables};
use sha2::{Digest, Sha256};
use signer::keys::{Algorithm, PublicKey};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use wire::control::{Answer, Ceremony, KeyOrder, Made, Request, Task};

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Purpose {
    /// It signs votes
    Consensus,
    /// It answers a node's challenge where the node is reached over TCP
    Identity,
}

impl Purpose {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Identity => "identity",
        }
    }
}

/// How it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Method {
    /// By kms:Encrypt
    KmsEncrypt,
    /// With AES-256-GCM under a data key of KMS: needs kms:GenerateDataKey, which a key policy can bind to a measurement, and no kms:Encrypt
    DataKey,
}

impl Method {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KmsEncrypt => "kms-encrypt",
            Self::DataKey => "data-key",
        }
    }
}

/// Where it is done, and where what comes of it goes.
#[derive(Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    pub(super) enclave: EnclaveOption,
    /// The parent's port of the proxy to KMS
    #[arg(long, value_name = "PORT", default_value_t = 8000, value_parser = clap::value_parser!(u32).range(1..=4_294_967_294))]
    pub(super) kms_proxy_port: u32,
    /// The ceremony image's measurements: check the document at once
    #[arg(long, value_name = "FILE")]
    measurements: Option<PathBuf>,
    /// Believe this root certificate (PEM) instead of AWS's: of a simulated module, for tests
    #[arg(long, value_name = "FILE", requires = "measurements")]
    root: Option<PathBuf>,
    /// Accept this KMS instead of AWS's own, word for word as the enclave names it: a development KMS, or a private endpoint
    #[arg(long, value_name = "TEXT", requires = "measurements")]
    kms: Option<String>,
    /// What the document's nonce shall be; otherwise random
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// Write into this folder, which must not be there yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// What is wanted, and what the answer must then say.
pub(super) struct Work {
    pub(super) task: Task,
    pub(super) order: KeyOrder,
    pub(super) sealed: Vec<u8>,
    pub(super) origin: &'static str,
    /// In base64, where it is known before.
    pub(super) public_key: Option<String>,
}

/// How long KMS may take, three requests and their repetitions.
const PATIENCE: Duration = Duration::from_secs(120);

impl Place {
    /// Has it done, checks it, and lays it down.
    pub(super) fn perform(&self, work: Work, out: &mut dyn Write) -> Result<(), Failure> {
        let chain = &work.order.chain_id;
        guard::ChainId::try_from(chain.as_str())
            .map_err(|error| Failure::new(Exit::Usage, format!("chain id {:?}: {error}", plain(chain)), ""))?;
        // Before anything is made: a key that cannot be laid down would be lost.
        let folder = Folder::prepare(&self.out)?;
        let nonce = attest::chosen_or_random(self.nonce.as_deref())?;
        let checker = |file: &PathBuf| verify::Checker::new(file, self.root.as_deref(), self.kms.as_deref());
        let trust = self.measurements.as_ref().map(checker).transpose()?.map(|trust| trust.of(work.origin));
        let found = credentials::find(&Variables::of_process());
        let credentials = found.map_err(|error| Failure::new(Exit::Runtime, error.to_string(), error.remedy()))?;
        writeln!(out, "credentials of {}", credentials.source)?;
        let Work { task, order, sealed, origin, public_key } = work;
        let request = Request::Ceremony(Box::new(Ceremony {
            task,
            nonce: nonce.clone().into_bytes(),
            sealed,
            credentials: Some(credentials),
        }));
        let made = self.ask(&request, out)?;
        let key = Key::read(&made, &order, origin, &nonce)?;
        if let Some(expected) = public_key.filter(|expected| *expected != key.said.public_key) {
            return Err(wrong(&format!(
                "public key: expected {}, got {}",
                plain(&expected),
                plain(&key.said.public_key)
            )));
        }
        if let Some(trust) = &trust {
            trust.check(&key.evidence, &nonce).map_err(|mut failure| {
                if let Some(last) = failure.problems.last_mut() {
                    "nothing was written, and what was made is of no use: order again when all of it is explained"
                        .clone_into(&mut last.help);
                }
                failure
            })?;
        }
        folder.write(&key, &nonce)?;
        let Said { origin, purpose, chain_id, public_key, .. } = &key.said;
        let algorithm = key.public.algorithm().name();
        writeln!(out, "{origin} {purpose} key of {}: {public_key} ({algorithm})", plain(chain_id))?;
        writeln!(out, "  address   {}", key.public.address())?;
        writeln!(out, "  folder    {}", self.out.display())?;
        if trust.is_some() {
            writeln!(
                out,
                "  checked: the document is genuine, of this image, and binds this public key and ciphertext"
            )?;
        } else {
            let (folder, said) = (self.out.display(), &key.said);
            writeln!(
                out,
                "  NOT CHECKED: this machine could have exchanged it. Before you use it, on another one:\n    \
                 tmkms nitro verify {folder}/attestation.json --measurements MEASUREMENTS.json --nonce '{nonce}' \\\n      \
                 --chain-id {} --pub-key {} --ciphertext {folder}/{}{}",
                said.chain_id,
                said.public_key,
                folder::CIPHERTEXT,
                more_options(said)
            )?;
        }
        Ok(out.flush()?)
    }

    /// Sends it, shows where the enclave is, and gives what it made.
    fn ask(&self, request: &Request, out: &mut dyn Write) -> Result<Made, Failure> {
        let mut client = Client::connect(&self.enclave.target()).map_err(|error| asking::unreachable(&error))?;
        client.send(request, None).map_err(|error| asking::unreachable(&error))?;
        loop {
            match client.next(Some(PATIENCE)).map_err(|error| asking::unreachable(&error))? {
                Some(Answer::Progress(progress)) => {
                    writeln!(out, "{}", plain(&progress.detail))?;
                    out.flush()?;
                }
                Some(Answer::Made(made)) => return Ok(*made),
                Some(Answer::Failed(failure)) => return Err(asking::failed(&failure)),
                _ => return Err(asking::unexpected()),
            }
        }
    }
}

/// A key that was made, as far as it may be seen.
struct Key {
    said: Said,
    public: PublicKey,
    ciphertext: Vec<u8>,
    evidence: Evidence,
}

impl Key {
    /// What the enclave gave, if it is what was ordered and the pieces are of one whole.
    fn read(made: &Made, order: &KeyOrder, origin: &str, nonce: &str) -> Result<Self, Failure> {
        let wrong = |what: String| wrong(&what);
        let evidence = attest::read(&made.statement, &made.document, nonce).map_err(wrong)?;
        let Statement::Ceremony(said) = evidence.statement.clone() else {
            return Err(wrong("its statement is not one of a ceremony".to_owned()));
        };
        let ciphertext =
            Base64::decode_vec(&made.ciphertext).map_err(|_| wrong("its ciphertext is not base64".to_owned()))?;
        let digest: String = Sha256::digest(&ciphertext).iter().map(|byte| format!("{byte:02x}")).collect();
        let differs = [
            ("the ciphertext's SHA-256", said.ciphertext_sha256.as_str(), digest.as_str()),
            ("chain", &said.chain_id, &order.chain_id),
            ("purpose", &said.purpose, &order.purpose),
            ("algorithm", &said.algorithm, &order.algorithm),
            ("KMS key", &said.key_arn, &order.key_arn),
            ("method", &said.method, &order.method),
            ("origin", &said.origin, origin),
        ];
        if let Some((what, got, expected)) = differs.into_iter().find(|(_, got, expected)| got != expected) {
            return Err(wrong(format!("{what}: expected {}, got {}", plain(expected), plain(got))));
        }
        let public =
            public_key(&said).ok_or_else(|| wrong(format!("its public key is none: {}", plain(&said.public_key))))?;
        Ok(Self { said, public, ciphertext, evidence })
    }
}

/// The public key of a ceremony's statement.
pub(super) fn public_key(said: &Said) -> Option<PublicKey> {
    let bytes = Base64::decode_vec(&said.public_key).ok()?;
    match said.algorithm.parse().ok()? {
        Algorithm::Ed25519 => bytes.try_into().ok().map(PublicKey::Ed25519),
        Algorithm::Secp256k1 => bytes.try_into().ok().map(PublicKey::Secp256k1),
    }
}

/// What `verify` must be told to accept, besides.
fn more_options(said: &Said) -> String {
    let mut more = String::new();
    if said.origin != "generated" {
        more += &format!(" --origin {}", said.origin);
    }
    if said.kms != evidence::AWS_KMS {
        more += &format!(" --kms '{}'", said.kms);
    }
    more
}

fn wrong(what: &str) -> Failure {
    let help = "nothing was written. Compare `tmkms version` here and there, and order again; if it happens again, something stands between";
    Failure::new(Exit::Runtime, format!("what came from the enclave cannot be used: {what}"), help)
}
