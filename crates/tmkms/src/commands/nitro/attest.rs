//! `tmkms nitro attest`: what a serving enclave says of itself, signed by its security module, in a file for others.
use super::asking::{self, EnclaveOption};
use super::new_file;
use crate::failure::{Exit, Failure};
use base64ct::{Base64, Encoding};
use clap::Args;
use evidence::{Evidence, Statement};
use std::io::Write;
use std::path::PathBuf;
use wire::control::{Answer, Attested, MAX_NONCE_BYTES, MIN_NONCE_BYTES, Request};

const EXAMPLES: &str = "\
The file holds a statement (the consensus keys that the enclave holds now, the hashes of its measured policy and its configuration, a random \
name of this life of the enclave) and the attestation document that binds it to the enclave's measurements. Nothing in it is secret. \
Whoever gets it checks it with `tmkms nitro verify`, on any machine, and believes nobody but AWS.

Whoever wants to be sure that it is fresh chooses the nonce and tells it to the operator: 8 to 256 characters. Without --nonce a random \
one is taken, which proves nothing to others.

Examples:
  tmkms nitro attest -i 16 --nonce 'delegator 7, 2026-11-29, 4f1c9a' --out attestation.json
  tmkms nitro attest -i 16 > attestation.json";

/// Have the enclave attest to the keys that it holds
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Attest {
    #[command(flatten)]
    enclave: EnclaveOption,
    /// What the document's nonce shall be, as whoever will verify it chose it
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// Write to this file, which must not be there yet, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Attest {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let nonce = chosen_or_random(self.nonce.as_deref())?;
        let evidence = match self.enclave.ask(&Request::Attest { nonce: nonce.clone().into_bytes() }, None)? {
            Answer::Attested(attested) => read_or_refuse(&attested, &nonce)?,
            Answer::Failed(failure) => return Err(asking::failed(&failure)),
            _ => return Err(asking::unexpected()),
        };
        let Some(path) = &self.out else {
            write!(out, "{}", evidence.text())?;
            return Ok(out.flush()?);
        };
        new_file(path, evidence.text().as_bytes())?;
        writeln!(out, "wrote {}", path.display())?;
        writeln!(out, "  nonce   {nonce}")?;
        writeln!(
            out,
            "  verify  tmkms nitro verify {} --measurements measurements.json --nonce '{nonce}'",
            path.display()
        )?;
        Ok(out.flush()?)
    }
}

pub(super) fn check(nonce: &str) -> Result<(), Failure> {
    let got = nonce.len();
    if (MIN_NONCE_BYTES..=MAX_NONCE_BYTES).contains(&got) {
        return Ok(());
    }
    let message = format!("--nonce: expected {MIN_NONCE_BYTES} to {MAX_NONCE_BYTES} bytes, got {got}");
    Err(Failure::new(
        Exit::Usage,
        message,
        "choose a text that nobody could foresee, such as a date and some random digits",
    ))
}

fn random_nonce() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    let failed = |error: getrandom::Error| Failure::new(Exit::Runtime, format!("no random bytes: {error}"), "");
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A nonce that fits, or a random one.
pub(super) fn chosen_or_random(nonce: Option<&str>) -> Result<String, Failure> {
    let Some(chosen) = nonce else { return random_nonce() };
    check(chosen).map(|()| chosen.to_owned())
}

pub(super) fn read_or_refuse(attested: &Attested, nonce: &str) -> Result<Evidence, Failure> {
    read(&attested.statement, &attested.document, nonce).map_err(|what| {
        let help = "compare `tmkms version` here and in the enclave (`tmkms nitro status`)";
        Failure::new(Exit::Runtime, format!("the enclave's attestation cannot be used: {what}"), help)
    })
}

/// A statement and its document (in base64), if they are what they should be: nobody shall hand on what cannot be verified.
pub(super) fn read(statement: &str, document: &str, nonce: &str) -> Result<Evidence, String> {
    let document = Base64::decode_vec(document).map_err(|_| "its document is not base64".to_owned())?;
    let read: Statement = serde_json::from_str(statement)
        .map_err(|error| format!("its statement is not one of this version: {}", asking::plain(&error.to_string())))?;
    if read.text() != statement {
        return Err("its statement is written in another way than this version writes it".to_owned());
    }
    let holds = |bytes: &[u8]| document.windows(bytes.len()).any(|window| window == bytes);
    if !holds(&read.user_data()) {
        return Err("its document does not hold the statement's hash".to_owned());
    }
    if !holds(nonce.as_bytes()) {
        return Err("its document does not hold the nonce".to_owned());
    }
    Ok(Evidence { statement: read, document })
}
