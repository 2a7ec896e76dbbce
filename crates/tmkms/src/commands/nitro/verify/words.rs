//! What evidence proves and what it does not, in words for whoever delegates to a validator.
use super::{Checked, Trust, facts_json};
use crate::commands::nitro::asking::plain;
use crate::commands::nitro::status::duration;
use attest_document::Timestamp;
use evidence::{Expected, Statement};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use ::attest as attest_document;

/// Everything that the words are about.
pub(super) struct Page<'a> {
    pub(super) trust: &'a Trust,
    pub(super) expected: &'a Expected,
    pub(super) checked: &'a Checked,
    pub(super) ceremony: Option<&'a Checked>,
    pub(super) now_ms: u64,
}

impl Page<'_> {
    fn is_proven(&self) -> bool {
        self.checked.problems.is_empty()
    }

    pub(super) fn json(&self) -> Value {
        let is_aws = self.trust.other.is_none();
        let verdict = match (self.is_proven(), is_aws) {
            (true, true) => "proven",
            (true, false) => "proven under another root than AWS's",
            (false, _) => "not proven",
        };
        let (proven, open) = if self.is_proven() { (self.proven(), self.open()) } else { Default::default() };
        json!({
            "verdict": verdict,
            "aws": is_aws,
            "root_sha256": self.trust.fingerprint().to_string(),
            "problems": self.checked.problems,
            "proven": proven,
            "not_proven": open,
            "document": facts_json(&self.checked.facts),
            "statement": self.checked.statement,
            "ceremony": self.ceremony.map(|ceremony| json!({
                "document": facts_json(&ceremony.facts),
                "statement": ceremony.statement,
            })),
        })
    }

    pub(super) fn write(&self, out: &mut dyn Write, file: &Path, measurements: &Path) -> io::Result<()> {
        let facts = &self.checked.facts;
        let made = Timestamp(facts.timestamp_ms / 1000);
        writeln!(out, "{}: an attestation document, whose signature holds", file.display())?;
        writeln!(out, "  made          {made} ({})", self.age())?;
        writeln!(out, "  by            {}", plain(&facts.module_id))?;
        if let Statement::Ceremony(made) = &self.checked.statement {
            let (origin, purpose, chain) = (plain(&made.origin), plain(&made.purpose), plain(&made.chain_id));
            writeln!(out, "  key           {origin} {purpose} key of {chain}: {}", plain(&made.public_key))?;
        }
        match &self.trust.other {
            None => writeln!(out, "  root          AWS Nitro Enclaves, SHA-256 {}", self.trust.fingerprint())?,
            Some(path) => {
                writeln!(out, "  root          NOT AWS: {}, SHA-256 {}", path.display(), self.trust.fingerprint())?;
            }
        }
        for (index, value) in facts.pcrs.iter().filter(|(_, value)| value.iter().any(|byte| *byte != 0)) {
            let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            let is_expected = self.expected.pcrs.get(index) == Some(value);
            let mark = if is_expected { format!("  as in {}", measurements.display()) } else { String::new() };
            writeln!(out, "  {:<13} {hex}{mark}", format!("PCR{index}"))?;
        }
        if !self.is_proven() {
            return writeln!(out, "\nNOT PROVEN: see below");
        }
        let head = if self.trust.other.is_some() {
            "PROVEN, if that root is believed, which is not AWS's:"
        } else {
            "PROVEN:"
        };
        writeln!(out, "\n{head}")?;
        self.proven().iter().try_for_each(|line| bullet(out, line))?;
        writeln!(out, "\nNOT PROVEN by this:")?;
        self.open().iter().try_for_each(|line| bullet(out, line))
    }

    fn age(&self) -> String {
        let apart = self.now_ms.abs_diff(self.checked.facts.timestamp_ms);
        let apart = duration(Duration::from_millis(apart).as_secs_f64());
        if self.now_ms >= self.checked.facts.timestamp_ms {
            format!("{apart} ago")
        } else {
            format!("in {apart}, by this clock")
        }
    }

    fn proven(&self) -> Vec<String> {
        let maker = if self.trust.other.is_some() { "A module under that root" } else { "A Nitro enclave of AWS" };
        let mut lines = Vec::new();
        match &self.checked.statement {
            Statement::Signer(signer) => {
                lines.push(format!(
                    "{maker}, not in debug mode, ran the image of these measurements, and said the following of itself."
                ));
                for chain in &signer.chains {
                    let (id, key) = (plain(&chain.chain_id), plain(&chain.public_key));
                    let (algorithm, address) = (plain(&chain.algorithm), plain(&chain.address));
                    lines.push(format!("It held the consensus key of {id}: {key} ({algorithm}), validator {address}."));
                }
                lines.push(match &signer.policy_sha256 {
                    Some(hash) => format!("It obeyed a measured policy, whose SHA-256 is {}.", plain(hash)),
                    None => {
                        "It had no measured policy: the machine around it chose its chains and KMS keys.".to_owned()
                    }
                });
                lines.push(format!("Its configuration's SHA-256 is {}.", plain(&signer.config_sha256)));
            }
            Statement::Ceremony(_) => lines.extend(made(self.checked, maker)),
            Statement::Offer(offer) => lines.push(format!(
                "{maker}, not in debug mode, ran the ceremony image of these measurements, and offers that a key be sealed to {}.",
                plain(&offer.seal_to)
            )),
        }
        if self.expected.nonce.is_some() {
            lines.push("The nonce is yours: it was said after you chose it.".to_owned());
        } else if let Some(freshness) = self.expected.freshness {
            let most = duration(Duration::from_millis(freshness.max_age_ms).as_secs_f64());
            lines.push(format!("It was said at most {most} ago."));
        }
        lines.extend(self.ceremony.iter().flat_map(|ceremony| made(ceremony, maker)));
        lines
    }

    fn open(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let origin = self.ceremony.unwrap_or(self.checked);
        match &origin.statement {
            Statement::Ceremony(made) if made.origin == "generated" => lines.push(
                "That nobody else had the key released since it was made: who may is what the KMS key's policy says, then and now.".to_owned(),
            ),
            Statement::Ceremony(made) if made.origin == "rewrapped" => lines.push(
                "Where the key is from: it was encrypted anew. The evidence of the ceremony before, of the same public key, says it.".to_owned(),
            ),
            Statement::Offer(_) => {}
            Statement::Ceremony(_) => lines.push(
                "That no copy of the key is anywhere else: it was made outside and imported, and whoever had it may have it still.".to_owned(),
            ),
            Statement::Signer(_) => lines.push(
                "That no copy of the key is anywhere else. Where it was generated in an enclave, the archived evidence of that ceremony shows \
                 it: --ceremony."
                    .to_owned(),
            ),
        }
        if let (Some(Statement::Ceremony(made)), Statement::Signer(signer)) =
            (self.ceremony.map(|ceremony| &ceremony.statement), &self.checked.statement)
        {
            let others: Vec<_> = signer.chains.iter().filter(|chain| chain.public_key != made.public_key).collect();
            if !others.is_empty() {
                let names: Vec<_> = others.iter().map(|chain| plain(&chain.chain_id)).collect();
                lines.push(format!(
                    "That no copy of the keys of {} is anywhere else: the ceremony was not of them.",
                    names.join(", ")
                ));
            }
        }
        lines.push(
            "What the KMS key's policy says. Have it read from AWS on another machine than the validator's: `aws kms get-key-policy`."
                .to_owned(),
        );
        lines.push(
            "What the image does. The measurements say which one it is; its source says what it does: docs/reproducible.md has the way from the \
             one to the other."
                .to_owned(),
        );
        if matches!(self.checked.statement, Statement::Signer(_))
            && self.expected.nonce.is_none()
            && self.expected.freshness.is_none()
        {
            lines.push(
                "That it is so now: it was so at that time. Choose a nonce (--nonce), or ask for an age (--max-age)."
                    .to_owned(),
            );
        }
        if self.trust.other.is_some() {
            lines.push("Anything about a Nitro enclave: the root is not AWS's.".to_owned());
        }
        lines
    }
}

/// What a ceremony's statement says.
fn made(ceremony: &Checked, maker: &str) -> Vec<String> {
    let Statement::Ceremony(made) = &ceremony.statement else { return Vec::new() };
    let at = Timestamp(ceremony.facts.timestamp_ms / 1000);
    let (chain, key, algorithm) = (plain(&made.chain_id), plain(&made.public_key), plain(&made.algorithm));
    let purpose = plain(&made.purpose);
    let came = match made.origin.as_str() {
        "generated" => "was generated inside it",
        "rewrapped" => "was opened inside it and encrypted anew",
        _ => "was brought into it from outside",
    };
    vec![
        format!("{maker}, not in debug mode, ran the ceremony image of these measurements at {at}."),
        format!("The {purpose} key of {chain}, {key} ({algorithm}), {came}."),
        format!(
            "It left that enclave only encrypted under the KMS key {} ({}) by {}, bound to {}; the ciphertext's SHA-256 is {}.",
            plain(&made.key_arn),
            plain(&made.method),
            if made.kms == evidence::AWS_KMS {
                "AWS KMS".to_owned()
            } else {
                format!("the KMS {}, which is not AWS's own", plain(&made.kms))
            },
            made.encryption_context
                .iter()
                .map(|(name, value)| format!("{}={}", plain(name), plain(value)))
                .collect::<Vec<_>>()
                .join(", "),
            plain(&made.ciphertext_sha256)
        ),
        format!("That enclave obeyed a measured policy, whose SHA-256 is {}.", plain(&made.policy_sha256)),
    ]
}

/// A line of a list, wrapped.
fn bullet(out: &mut dyn Write, text: &str) -> io::Result<()> {
    const WIDTH: usize = 110;
    let mut line = "  *".to_owned();
    for word in text.split(' ') {
        if line.len() > 3 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            line = "   ".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}")
}
