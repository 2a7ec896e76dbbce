//! Whether verified facts and a statement are what somebody expects.
use crate::statement::{AWS_KMS, hex};
use crate::{Facts, Statement};
use std::collections::BTreeMap;
use std::fmt;

/// What somebody expects of evidence. What is left empty is not asked for; the measurements always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The image's registers. Without register 0 nothing is proven, and that is a problem.
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    /// The bytes that the asker chose.
    pub nonce: Option<Vec<u8>>,
    /// How old it may be.
    pub freshness: Option<Freshness>,
    /// Public keys that must be held, or be the one that was made, in base64.
    pub public_keys: Vec<String>,
    /// The chain that must be one of those that are served, or the one that the key was made for. With it, the public keys must be that chain's.
    pub chain_id: Option<String>,
    /// Where a ceremony's key must be from; "generated" if nothing is said, for another one may have a copy.
    pub origin: Option<String>,
    /// Which KMS a ceremony must have asked; [`AWS_KMS`] if nothing is said, for another one may have kept the key.
    pub kms: Option<String>,
}

/// A time, and how much older the document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// The most, in milliseconds.
    pub max_age_ms: u64,
}

/// How far a document may be ahead of the verifier's clock, in milliseconds.
const MAX_AHEAD_MS: u64 = 60_000;

/// What keeps evidence from proving what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The measurements are zeros: memory and console of the enclave can be read.
    Debug,
    /// No PCR0 was expected.
    NothingExpected,
    /// A register has another value.
    Pcr {
        /// Which.
        index: u8,
        /// In hexadecimal.
        expected: String,
        /// In hexadecimal; none if it is not there.
        got: Option<String>,
    },
    /// The document holds a public key: it was made for KMS, which encrypts to that key, and states nothing.
    ForKms,
    /// The document says nothing.
    SaysNothing,
    /// The document binds another statement, or another kind of one.
    Statement {
        /// What it would have to say.
        expected: String,
        /// What it says.
        got: String,
    },
    /// The document has another nonce.
    Nonce {
        /// What was chosen.
        expected: String,
        /// The document's; none if it has none.
        got: Option<String>,
    },
    /// The document is older than it may be.
    Old {
        /// The most, in seconds.
        max_seconds: u64,
        /// In seconds.
        got_seconds: u64,
    },
    /// The document was made in the future, by the verifier's clock.
    Ahead {
        /// By how much, in seconds.
        got_seconds: u64,
    },
    /// A key is not among those of the statement.
    PublicKey {
        /// In base64.
        expected: String,
        /// Those that are there.
        got: Vec<String>,
    },
    /// A ceremony's key is from somewhere else.
    Origin {
        /// "generated", or what was asked for.
        expected: String,
        /// The statement's.
        got: String,
    },
    /// A ceremony asked another KMS.
    Kms {
        /// [`AWS_KMS`], or what was asked for.
        expected: String,
        /// The statement's.
        got: String,
    },
    /// The chain is not among those of the statement.
    Chain {
        /// The chain.
        expected: String,
        /// Those that are there.
        got: Vec<String>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = "none".to_owned();
        match self {
            Self::Debug => f.write_str(
                "PCR0 is zeros: an enclave in debug mode, whose memory the parent can read and change. It proves nothing",
            ),
            Self::NothingExpected => f.write_str("no PCR0 was given to compare with: any image could have said this"),
            Self::Pcr { index, expected, got } => {
                write!(f, "PCR{index}: expected {expected}, got {}", got.as_ref().unwrap_or(&none))
            }
            Self::ForKms => f.write_str(
                "the document holds a public key: it was made for KMS, to have a secret encrypted to that key, and states nothing",
            ),
            Self::SaysNothing => f.write_str("the document has no user_data: the enclave stated nothing in it"),
            Self::Statement { expected, got } => {
                write!(f, "the document does not bind this statement: its user_data would be {expected:?}, it is {got:?}")
            }
            Self::Nonce { expected, got } => {
                write!(f, "nonce: expected {expected:?}, got {:?}", got.as_ref().unwrap_or(&none))
            }
            Self::Old { max_seconds, got_seconds } => {
                write!(f, "the document is too old: expected at most {max_seconds} s, got {got_seconds} s")
            }
            Self::Ahead { got_seconds } => {
                write!(f, "the document was made {got_seconds} s in the future: compare this machine's clock")
            }
            Self::PublicKey { expected, got } => {
                write!(f, "public key: expected {expected}, got {}", listed(got))
            }
            Self::Origin { expected, got } => write!(
                f,
                "the key's origin: expected {expected}, got {got}; whoever had a key before may have it still, or have chosen it"
            ),
            Self::Kms { expected, got } => write!(
                f,
                "KMS: expected {expected}, got {got}; what is not AWS's own KMS saw the key in clear when it encrypted it, and may have kept it"
            ),
            Self::Chain { expected, got } => write!(f, "chain: expected {expected}, got {}", listed(got)),
        }
    }
}

impl std::error::Error for Problem {}

fn listed(got: &[String]) -> String {
    if got.is_empty() { "none".to_owned() } else { got.join(", ") }
}

/// Everything in which verified facts and a statement differ from what is expected; nothing if they prove it.
#[must_use]
pub fn judge(facts: &Facts, statement: &Statement, expected: &Expected) -> Vec<Problem> {
    let mut found = Vec::new();
    measurements(facts, expected, &mut found);
    if facts.public_key.is_some() {
        found.push(Problem::ForKms);
    }
    match &facts.user_data {
        None => found.push(Problem::SaysNothing),
        Some(got) if *got != statement.user_data() => {
            found.push(Problem::Statement { expected: shown(&statement.user_data()), got: shown(got) });
        }
        Some(_) => {}
    }
    if let Some(nonce) = expected.nonce.as_ref().filter(|nonce| facts.nonce.as_ref() != Some(nonce)) {
        found.push(Problem::Nonce { expected: shown(nonce), got: facts.nonce.as_deref().map(shown) });
    }
    if let Some(freshness) = expected.freshness {
        age(facts.timestamp_ms, freshness, &mut found);
    }
    keys(statement, expected, &mut found);
    origin(statement, expected, &mut found);
    found
}

/// Keys and chains belong together: one chain's key is none for another chain.
fn keys(statement: &Statement, expected: &Expected, found: &mut Vec<Problem>) {
    let named = named(statement);
    if let Some(chain) = expected.chain_id.as_ref().filter(|chain| named.iter().all(|(_, named)| named != *chain)) {
        let got = named.iter().map(|(_, chain)| chain.clone()).collect();
        found.push(Problem::Chain { expected: chain.clone(), got });
    }
    let is_asked_for = |chain: &String| expected.chain_id.as_ref().is_none_or(|asked| asked == chain);
    let got: Vec<_> = named.iter().filter(|(_, chain)| is_asked_for(chain)).map(|(key, _)| key.clone()).collect();
    for key in expected.public_keys.iter().filter(|key| !got.contains(key)) {
        found.push(Problem::PublicKey { expected: key.clone(), got: got.clone() });
    }
}

fn origin(statement: &Statement, expected: &Expected, found: &mut Vec<Problem>) {
    let kms = match statement {
        Statement::Signer(_) => return,
        Statement::Offer(offer) => &offer.kms,
        Statement::Ceremony(made) => {
            let origin = expected.origin.as_deref().unwrap_or("generated");
            if made.origin != origin {
                found.push(Problem::Origin { expected: origin.to_owned(), got: made.origin.clone() });
            }
            &made.kms
        }
    };
    let wanted = expected.kms.as_deref().unwrap_or(AWS_KMS);
    if kms != wanted {
        found.push(Problem::Kms { expected: wanted.to_owned(), got: kms.clone() });
    }
}

fn measurements(facts: &Facts, expected: &Expected, found: &mut Vec<Problem>) {
    if facts.is_debug() {
        return found.push(Problem::Debug);
    }
    // A file of zeros, as of a debug image, would make every debug enclave right.
    if expected.pcrs.get(&0).is_none_or(|value| value.iter().all(|byte| *byte == 0)) {
        found.push(Problem::NothingExpected);
    }
    for (index, value) in &expected.pcrs {
        let got = facts.pcrs.get(index);
        if got != Some(value) {
            found.push(Problem::Pcr { index: *index, expected: hex(value), got: got.map(|got| hex(got)) });
        }
    }
}

fn age(made_ms: u64, Freshness { now_ms, max_age_ms }: Freshness, found: &mut Vec<Problem>) {
    let ahead_ms = made_ms.saturating_sub(now_ms);
    let age_ms = now_ms.saturating_sub(made_ms);
    if ahead_ms > MAX_AHEAD_MS {
        found.push(Problem::Ahead { got_seconds: ahead_ms / 1000 });
    } else if age_ms > max_age_ms {
        found.push(Problem::Old { max_seconds: max_age_ms / 1000, got_seconds: age_ms / 1000 });
    }
}

/// The public keys that a statement names, each with its chain.
fn named(statement: &Statement) -> Vec<(String, String)> {
    match statement {
        Statement::Signer(signer) => {
            signer.chains.iter().map(|chain| (chain.public_key.clone(), chain.chain_id.clone())).collect()
        }
        Statement::Offer(_) => Vec::new(),
        Statement::Ceremony(made) => vec![(made.public_key.clone(), made.chain_id.clone())],
    }
}

/// Bytes as text where they are plain ASCII, otherwise in hexadecimal; at most what a line can show.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 160;
    let is_plain = !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let text = if is_plain { String::from_utf8_lossy(bytes).into_owned() } else { hex(bytes) };
    text.chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::signer;

    const NOW: u64 = 1_800_000_000_000;

    fn facts() -> Facts {
        Facts {
            module_id: "i-0-enc0".to_owned(),
            timestamp_ms: NOW,
            pcrs: (0..3).map(|index| (index, vec![index + 1; 48])).collect(),
            public_key: None,
            user_data: Some(signer().user_data()),
            nonce: Some(b"12345678".to_vec()),
        }
    }

    fn expected() -> Expected {
        Expected {
            pcrs: facts().pcrs,
            nonce: Some(b"12345678".to_vec()),
            freshness: Some(Freshness { now_ms: NOW + 1_000, max_age_ms: 60_000 }),
            public_keys: vec!["AAAA".to_owned()],
            chain_id: Some("a-1".to_owned()),
            origin: None,
            kms: None,
        }
    }

    fn problems(facts: &Facts, expected: &Expected) -> Vec<String> {
        judge(facts, &signer(), expected).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_as_expected_has_no_problem_and_what_is_not_asked_for_is_none() {
        assert_eq!(problems(&facts(), &expected()), Vec::<String>::new());
        let only = Expected { pcrs: facts().pcrs, ..Expected::default() };
        assert_eq!(problems(&facts(), &only), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_a_problem_with_both_values() {
        let other = |change: &dyn Fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            let found = problems(&facts, &expected());
            assert_eq!(found.len(), 1, "{found:?}");
            found.concat()
        };
        let text = other(&|facts| facts.pcrs.values_mut().for_each(|value| value.fill(0)));
        assert!(text.contains("debug mode"), "{text}");
        let text = other(&|facts| drop(facts.pcrs.insert(1, vec![9; 48])));
        assert_eq!(text, format!("PCR1: expected {}, got {}", "02".repeat(48), "09".repeat(48)));
        let text = other(&|facts| drop(facts.pcrs.remove(&2)));
        assert!(text.ends_with("got none"), "{text}");
        let text = other(&|facts| facts.public_key = Some(vec![1]));
        assert!(text.contains("made for KMS"), "{text}");
        let text = other(&|facts| facts.user_data = None);
        assert!(text.contains("stated nothing"), "{text}");
        let text = other(&|facts| facts.user_data = Some(vec![0xff; 48]));
        assert!(text.contains("tmkms signer attestation v1") && text.contains(&"ff".repeat(48)), "{text}");
        let text = other(&|facts| facts.nonce = Some(b"other nonce".to_vec()));
        assert_eq!(text, "nonce: expected \"12345678\", got \"other nonce\"");
        let text = other(&|facts| facts.nonce = None);
        assert_eq!(text, "nonce: expected \"12345678\", got \"none\"");
        let text = other(&|facts| facts.timestamp_ms = NOW - 60_000);
        assert_eq!(text, "the document is too old: expected at most 60 s, got 61 s");
        let text = other(&|facts| facts.timestamp_ms = NOW + 62_000);
        assert!(text.contains("61 s in the future"), "{text}");
    }

    #[test]
    fn swapped_registers_are_two_problems() {
        let mut facts = facts();
        let (first, second) = (facts.pcrs[&1].clone(), facts.pcrs[&2].clone());
        facts.pcrs.extend([(1, second), (2, first)]);
        assert_eq!(problems(&facts, &expected()).len(), 2);
    }

    #[test]
    fn expecting_no_image_or_one_of_zeros_is_a_problem_of_its_own() {
        for pcrs in [BTreeMap::new(), BTreeMap::from([(0, vec![0; 48])])] {
            let found = problems(&facts(), &Expected { pcrs, ..Expected::default() });
            assert!(found[0].contains("no PCR0 was given"), "{found:?}");
        }
    }

    #[test]
    fn another_key_and_another_chain_are_named_beside_those_that_are_there() {
        let asked = Expected {
            public_keys: vec!["AAAA".to_owned(), "BBBB".to_owned()],
            chain_id: Some("b-1".to_owned()),
            ..expected()
        };
        assert_eq!(
            problems(&facts(), &asked),
            [
                "chain: expected b-1, got a-1",
                "public key: expected AAAA, got none",
                "public key: expected BBBB, got none"
            ]
        );
    }

    #[test]
    fn a_key_of_one_chain_is_none_of_another() {
        let Statement::Signer(mut held) = signer() else { unreachable!() };
        let mut other = held.chains[0].clone();
        (other.chain_id, other.public_key) = ("b-1".to_owned(), "BBBB".to_owned());
        held.chains.push(other);
        let statement = Statement::Signer(held);
        let facts = Facts { user_data: Some(statement.user_data()), ..facts() };
        let ask = |key: &str, chain: &str| {
            let expected =
                Expected { public_keys: vec![key.to_owned()], chain_id: Some(chain.to_owned()), ..expected() };
            judge(&facts, &statement, &expected).len()
        };
        assert_eq!((ask("AAAA", "a-1"), ask("BBBB", "b-1"), ask("AAAA", "b-1"), ask("BBBB", "a-1")), (0, 0, 1, 1));
    }

    #[test]
    fn a_ceremony_s_key_is_generated_and_its_kms_is_aws_s_unless_something_else_is_asked_for() {
        let made = |origin: &str, kms: &str| {
            let Statement::Signer(signer) = signer() else { unreachable!() };
            Statement::Ceremony(crate::Ceremony {
                software: signer.software,
                life: signer.life,
                policy_sha256: String::new(),
                origin: origin.to_owned(),
                purpose: "consensus".to_owned(),
                chain_id: "a-1".to_owned(),
                algorithm: "ed25519".to_owned(),
                public_key: "AAAA".to_owned(),
                method: "kms-encrypt".to_owned(),
                key_arn: "arn:x".to_owned(),
                kms: kms.to_owned(),
                encryption_context: BTreeMap::new(),
                ciphertext_sha256: String::new(),
            })
        };
        let ask = |origin: &str, kms: &str, expected: Expected| {
            let statement = made(origin, kms);
            let facts = Facts { user_data: Some(statement.user_data()), ..facts() };
            judge(&facts, &statement, &expected).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(ask("generated", "aws", expected()), "");
        let text = ask("imported", "aws", expected());
        assert!(text.starts_with("the key's origin: expected generated, got imported"), "{text}");
        let text = ask("rewrapped", "aws", expected());
        assert!(text.contains("got rewrapped"), "{text}");
        let text = ask("generated", "localhost, roots 00", expected());
        assert!(text.starts_with("KMS: expected aws, got localhost, roots 00"), "{text}");
        let asked = Expected { origin: Some("imported".to_owned()), kms: Some("localhost".to_owned()), ..expected() };
        assert_eq!(ask("imported", "localhost", asked.clone()), "");
        assert!(ask("generated", "localhost", asked).contains("expected imported, got generated"));
    }

    #[test]
    fn a_statement_of_another_kind_with_the_same_hash_is_not_bound() {
        let Statement::Signer(signer) = signer() else { unreachable!() };
        let text = Statement::Signer(signer.clone()).text();
        let mut facts = facts();
        facts.user_data = Some(crate::user_data("tmkms key ceremony v1", &text));
        let found = judge(&facts, &Statement::Signer(signer), &expected());
        assert!(matches!(found[..], [Problem::Statement { .. }]), "{found:?}");
    }
}
