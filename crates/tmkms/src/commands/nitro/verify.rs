//! `tmkms nitro verify`: checks evidence of an enclave, offline, and says in words what it proves and what it does not.
mod key;
mod words;

use super::asking::{plain, plain_json};
use super::attest;
use crate::failure::{Exit, Failure, Problem};
use crate::measurements::{Measurements, read_bytes};
use attest_document::{Document, Fingerprint, Roots};
use clap::Args;
use evidence::{Evidence, Expected, Facts, Freshness, MAX_EVIDENCE_BYTES, Statement, judge};
pub(super) use key::GivenKey;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::attest as attest_document;

const EXAMPLES: &str = "\
FILE is what `tmkms nitro attest` or a key ceremony wrote. It is checked offline: the signature (COSE, ES384), the certificates up to \
AWS's root for Nitro Enclaves, whose fingerprint is compiled in and printed, all as of the document's own time; the measurements; \
that the enclave was not in debug mode; and that the document binds the statement.

The measurements are the whole point: take them from a build of your own (docs/reproducible.md), not from the operator. Give the operator \
a nonce of your choice beforehand, or the file may be an old one.

Exits with 0 if everything that was asked for is proven, with 1 if not.

Examples:
  tmkms nitro verify attestation.json --measurements measurements.json --nonce 'delegator 7, 2026-11-29, 4f1c9a'
  tmkms nitro verify attestation.json --measurements measurements.json --max-age 10m \\
      --pub-key 'dnmLMz2ZVQyzxRzptqAoPd7DNy8wuTkACslXxqJQskU=' --ceremony ceremony/attestation.json \\
      --ceremony-measurements ceremony-measurements.json
  tmkms nitro verify attestation.json --measurements measurements.json --json | jq .verdict";

/// Check what an enclave attested to
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Verify {
    /// The evidence
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The image's measurements, as a build of your own printed them
    #[arg(long, value_name = "FILE")]
    measurements: PathBuf,
    /// The consensus key that must be held: base64, hexadecimal, or the JSON of a node or a chain. May be given several times
    #[arg(long, value_name = "KEY")]
    pub_key: Vec<GivenKey>,
    /// The chain that must be served
    #[arg(long, value_name = "ID")]
    chain_id: Option<String>,
    /// The nonce that you chose
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    /// How old it may be, such as 90s, 10m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = age)]
    max_age: Option<Duration>,
    /// The evidence of the ceremony in which the key was made
    #[arg(long, value_name = "FILE", requires = "ceremony_measurements")]
    ceremony: Option<PathBuf>,
    /// The measurements of the ceremony's image
    #[arg(long, value_name = "FILE", requires = "ceremony")]
    ceremony_measurements: Option<PathBuf>,
    /// Of a ceremony's evidence: the ciphertext (base64) that it must be of
    #[arg(long, value_name = "FILE")]
    ciphertext: Option<PathBuf>,
    /// Of a ceremony's evidence: where its key may be from, "generated" there if nothing is said
    #[arg(long, value_name = "ORIGIN", value_parser = ["generated", "imported", "rewrapped"])]
    origin: Option<String>,
    /// Of a ceremony's evidence: the KMS that was asked, if not AWS's own, word for word as the evidence names it
    #[arg(long, value_name = "TEXT")]
    kms: Option<String>,
    /// Believe this root certificate (PEM) instead of AWS's: of a simulated module, for tests
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is believed.
struct Trust {
    roots: Roots,
    /// The file of a root that is not AWS's.
    other: Option<PathBuf>,
}

/// A piece of evidence whose document somebody signed that is believed.
struct Checked {
    statement: Statement,
    facts: Facts,
    problems: Vec<String>,
}

impl Verify {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if let Some(nonce) = &self.nonce {
            attest::check(nonce)?;
        }
        let trust = Trust::of(self.root.as_deref())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let expected = self.expected(now_ms)?;
        let mut checked = check(&self.file, &trust, &expected)?;
        let ceremony = self.ceremony(&trust, &checked.statement)?;
        if let Some(ceremony) = &ceremony {
            checked.problems.extend(ceremony.problems.iter().map(|problem| format!("the ceremony: {problem}")));
        }
        if let Some(path) = &self.ciphertext {
            checked.problems.extend(other_ciphertext(path, &checked.statement)?);
        }
        let page =
            words::Page { trust: &trust, expected: &expected, checked: &checked, ceremony: ceremony.as_ref(), now_ms };
        if self.json {
            writeln!(out, "{}", plain_json(&format!("{:#}", page.json())))?;
        } else {
            page.write(out, &self.file, &self.measurements)?;
        }
        out.flush()?;
        refuse(&checked.problems)
    }

    fn expected(&self, now_ms: u64) -> Result<Expected, Failure> {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Ok(Expected {
            pcrs: Measurements::read(&self.measurements)?.pcrs,
            nonce: self.nonce.as_ref().map(|nonce| nonce.clone().into_bytes()),
            freshness: self.max_age.map(|age| Freshness { now_ms, max_age_ms: millis(age) }),
            public_keys: self.pub_key.iter().map(|key| key.0.clone()).collect(),
            chain_id: self.chain_id.clone(),
            origin: self.origin.clone(),
            kms: self.kms.clone(),
        })
    }

    /// The ceremony's evidence must be of one of the keys that are held, and of the same chain.
    fn ceremony(&self, trust: &Trust, held: &Statement) -> Result<Option<Checked>, Failure> {
        let (Some(path), Some(measurements)) = (&self.ceremony, &self.ceremony_measurements) else { return Ok(None) };
        let pcrs = Measurements::read(measurements)?.pcrs;
        let mut checked = check(
            path,
            trust,
            &Expected { pcrs, origin: self.origin.clone(), kms: self.kms.clone(), ..Expected::default() },
        )?;
        match (&checked.statement, held) {
            (Statement::Ceremony(made), Statement::Signer(signer)) => {
                let is_it = |chain: &evidence::ChainKey| {
                    (&chain.public_key, &chain.chain_id) == (&made.public_key, &made.chain_id)
                };
                if !signer.chains.iter().any(is_it) {
                    let (key, chain) = (plain(&made.public_key), plain(&made.chain_id));
                    let text = format!("it made the key {key} of chain {chain}, which the enclave does not hold");
                    checked.problems.push(text);
                }
                self.is_the_one(made, signer, &mut checked.problems);
                if made.purpose != "consensus" {
                    checked.problems.push(format!("purpose: expected consensus, got {}", plain(&made.purpose)));
                }
            }
            (Statement::Signer(_), _) => {
                checked.problems.push("its file is a signer's attestation, no ceremony's".to_owned());
            }
            (Statement::Offer(_), _) => {
                checked.problems.push("its file is an offer for an import, no ceremony's evidence of a key".to_owned());
            }
            (Statement::Ceremony(_), Statement::Ceremony(_) | Statement::Offer(_)) => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "--ceremony is for a signer's attestation: {} is a ceremony's evidence itself",
                        self.file.display()
                    ),
                    "leave out --ceremony",
                ));
            }
        }
        Ok(Some(checked))
    }
}

impl Verify {
    /// A ceremony of one chain's key says nothing about another's.
    fn is_the_one(&self, made: &evidence::Ceremony, signer: &evidence::Signer, problems: &mut Vec<String>) {
        let (key, chain) = (plain(&made.public_key), plain(&made.chain_id));
        if !self.pub_key.is_empty() && !self.pub_key.iter().any(|asked| asked.0 == made.public_key) {
            problems.push(format!("it made the key {key}, which is not the one of --pub-key"));
        }
        if let Some(asked) = self.chain_id.as_ref().filter(|asked| **asked != made.chain_id) {
            problems.push(format!("it made a key of {chain}, which is not the chain {asked} of --chain-id"));
        }
        if signer.chains.len() > 1 && self.pub_key.is_empty() && self.chain_id.is_none() {
            problems.push(
                "the enclave holds several keys: name the one that it is about with --chain-id or --pub-key".to_owned(),
            );
        }
    }
}

/// Checks evidence that was just made: for `keygen`.
pub(super) struct Checker {
    trust: Trust,
    expected: Expected,
}

impl Checker {
    pub(super) fn new(measurements: &Path, root: Option<&Path>, kms: Option<&str>) -> Result<Self, Failure> {
        let (pcrs, kms) = (Measurements::read(measurements)?.pcrs, kms.map(str::to_owned));
        Ok(Self { trust: Trust::of(root)?, expected: Expected { pcrs, kms, ..Expected::default() } })
    }

    /// Of a key from there.
    pub(super) fn of(mut self, origin: &str) -> Self {
        self.expected.origin = Some(origin.to_owned());
        self
    }

    /// Fails unless all of it is proven.
    pub(super) fn check(&self, evidence: &Evidence, nonce: &str) -> Result<(), Failure> {
        self.check_as(evidence, Some(nonce))
    }

    /// The same, with a nonce only where one was chosen.
    pub(super) fn check_as(&self, evidence: &Evidence, nonce: Option<&str>) -> Result<(), Failure> {
        let expected = Expected { nonce: nonce.map(|nonce| nonce.as_bytes().to_vec()), ..self.expected.clone() };
        let checked = check_evidence(evidence.clone(), Path::new("what the enclave gave"), &self.trust, &expected)?;
        refuse(&checked.problems)
    }
}

/// A ciphertext in base64 in a file.
pub(super) fn ciphertext(path: &Path, option: &str) -> Result<Vec<u8>, Failure> {
    use base64ct::{Base64, Encoding};
    let unusable = |what: String| Failure::new(Exit::Usage, format!("{option} {}: {what}", path.display()), "");
    let bytes = read_bytes(path, 64 << 10).map_err(|error| unusable(error.to_string()))?;
    let text: String = String::from_utf8_lossy(&bytes).split_ascii_whitespace().collect();
    Base64::decode_vec(&text).map_err(|_| unusable("expected base64".to_owned()))
}

/// What is wrong if a file does not hold the ciphertext of which the statement is.
fn other_ciphertext(path: &Path, statement: &Statement) -> Result<Option<String>, Failure> {
    use sha2::{Digest, Sha256};
    let Statement::Ceremony(made) = statement else {
        return Ok(Some("--ciphertext is for a ceremony's evidence, and this is a signer's".to_owned()));
    };
    let bytes = ciphertext(path, "--ciphertext")?;
    let got: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = &made.ciphertext_sha256;
    Ok((got != *expected).then(|| format!("the ciphertext's SHA-256: expected {}, got {got}", plain(expected))))
}

/// Reads, verifies and judges.
fn check(path: &Path, trust: &Trust, expected: &Expected) -> Result<Checked, Failure> {
    check_evidence(read(path)?, path, trust, expected)
}

/// Reads a file of evidence, and believes nothing of it.
pub(super) fn read(path: &Path) -> Result<Evidence, Failure> {
    let help = "ask for the file that `tmkms nitro attest --out FILE` or the ceremony wrote, unchanged";
    let unusable = |what: &str| Failure::new(Exit::Runtime, format!("{}: {what}", path.display()), help);
    let bytes = read_bytes(path, MAX_EVIDENCE_BYTES as u64).map_err(|error| unusable(&error.to_string()))?;
    Evidence::parse(&bytes).map_err(|error| unusable(&format!("no evidence: {}", plain(&error.0))))
}

fn check_evidence(evidence: Evidence, path: &Path, trust: &Trust, expected: &Expected) -> Result<Checked, Failure> {
    let unusable = |what: &str, help: &str| Failure::new(Exit::Runtime, format!("{}: {what}", path.display()), help);
    let help = "ask for the file that `tmkms nitro attest --out FILE` or the ceremony wrote, unchanged";
    let Evidence { statement, document } = evidence;
    let document = Document::parse(&document).map_err(|error| unusable(&plain(&error.to_string()), help))?;
    let verified = document.verify(&trust.roots, document.made_at()).map_err(|error| {
        let reason = plain(&error.to_string());
        let help = match (&error, &trust.other) {
            (attest_document::Untrusted::Root { .. }, None) => {
                "no Nitro enclave of AWS made it. A simulated module's is verified with --root, and proves nothing to others"
            }
            (attest_document::Untrusted::Root { .. }, Some(_)) => "for a document of AWS, leave out --root",
            _ => "it was changed, or never made by such a module: believe nothing of it",
        };
        unusable(&format!("NOT PROVEN: {reason}"), help)
    })?;
    let facts = Facts::from(&verified);
    let problems = judge(&facts, &statement, expected).iter().map(|problem| plain(&problem.to_string())).collect();
    Ok(Checked { statement, facts, problems })
}

fn refuse(problems: &[String]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let problem = |text: &String| Problem { message: format!("NOT PROVEN: {text}"), help: String::new() };
    let mut problems: Vec<_> = problems.iter().map(problem).collect();
    if let Some(last) = problems.last_mut() {
        "believe nothing of this file before all of it is explained".clone_into(&mut last.help);
    }
    Err(Failure { exit: Exit::Runtime, problems })
}

impl Trust {
    /// AWS's root, or that of a file.
    fn of(root: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = root else { return Ok(Self { roots: Roots::aws(), other: None }) };
        let wrong = |what: String| {
            let help = "give a file that begins with -----BEGIN CERTIFICATE-----; for AWS's root, leave --root out";
            Failure::new(Exit::Usage, format!("--root {}: {what}", path.display()), help)
        };
        let bytes = read_bytes(path, 64 << 10).map_err(|error| wrong(error.to_string()))?;
        let roots = Roots::of(&der(&bytes).ok_or_else(|| wrong("expected one certificate in PEM".to_owned()))?);
        let other = (roots != Roots::aws()).then(|| path.to_owned());
        Ok(Self { roots, other })
    }

    fn fingerprint(&self) -> Fingerprint {
        self.roots.pinned()
    }
}

/// The only certificate of a PEM file, in DER.
fn der(pem: &[u8]) -> Option<Vec<u8>> {
    use base64ct::{Base64, Encoding};
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, rest) = rest.split_once("-----END CERTIFICATE-----")?;
    if rest.contains("-----BEGIN") {
        return None;
    }
    let body: String = body.split_ascii_whitespace().collect();
    Base64::decode_vec(&body).ok().filter(|der| !der.is_empty())
}

fn age(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?.parse::<u64>().ok()?, seconds)));
    let seconds = found.and_then(|(number, seconds)| number.checked_mul(*seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("expected a time such as 90s, 10m, 24h or 7d, got {text:?}"))
}

/// A document's fields, for those who read JSON.
fn facts_json(facts: &Facts) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let nonce = facts.nonce.as_deref().map(|nonce| match std::str::from_utf8(nonce) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => hex(nonce),
    });
    let pcrs: serde_json::Map<_, _> =
        facts.pcrs.iter().map(|(index, value)| (format!("PCR{index}"), hex(value).into())).collect();
    serde_json::json!({
        "module_id": facts.module_id,
        "timestamp_ms": facts.timestamp_ms,
        "nonce": nonce,
        "pcrs": pcrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "10", "m", "-1m", "1.5h", "1y", "99999999999999999999s", "9999999999999999999d"] {
            assert!(age(text).unwrap_err().contains("90s"), "{text}");
        }
    }

    #[test]
    fn one_certificate_is_read_and_nothing_else() {
        let one = "text\n-----BEGIN CERTIFICATE-----\nAQID\nBA==\n-----END CERTIFICATE-----\n";
        assert_eq!(der(one.as_bytes()), Some(vec![1, 2, 3, 4]));
        for other in ["", "AQID", &format!("{one}{one}"), &one.replace("AQID", "A"), &one.replace("AQID\nBA==\n", "")] {
            assert_eq!(der(other.as_bytes()), None, "{other}");
        }
    }
}
