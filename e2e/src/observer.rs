//! Remembers every signature of a run and fails on the second message at one position. It reads the canonical sign bytes by itself, and knows
//! nothing of the guard's code.
use crate::protobuf::{Value, next_field, number};
use crate::vote::{hex, unhex};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// (height, round, type of message), as the canonical bytes have them.
type Place = (i64, i64, u64);

/// What was signed, by key and place. One observer serves a whole run, across clients, nodes and restarts.
#[derive(Default)]
pub struct Observer {
    seen: Mutex<HashMap<(String, Place), Vec<u8>>>,
}

impl Observer {
    /// An observer that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note that `key` signed these canonical sign bytes (length prefix included, hex).
    ///
    /// # Errors
    /// When another message (timestamp aside) was signed at the same position: a double sign.
    pub fn saw(&self, key: &str, sign_bytes_hex: &str) -> Result<()> {
        let (place, message) =
            without_timestamp(&unhex(sign_bytes_hex)).context("these are no canonical sign bytes")?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.entry((key.to_owned(), place)).or_insert_with(|| message.clone());
        if *first != message {
            let (height, round, kind) = place;
            let (first, message) = (hex(first), hex(&message));
            bail!("DOUBLE SIGN at {height}/{round}/type {kind} by {key}:\n  {first}\n  {message}");
        }
        Ok(())
    }

    /// How many positions have been signed.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The position and the message with its timestamp taken out: field 5 of a vote, field 6 of a proposal (type 32).
fn without_timestamp(delimited: &[u8]) -> Result<(Place, Vec<u8>)> {
    let mut rest = delimited;
    let length = number(&mut rest)?;
    ensure!(length == rest.len() as u64, "the length prefix says {length}, there are {} bytes", rest.len());
    let (mut height, mut round, mut kind, mut kept) = (0, 0, 0, Vec::new());
    while !rest.is_empty() {
        let start = rest;
        let (field, value) = next_field(&mut rest)?;
        match value {
            Value::Number(n) if field == 1 => kind = n,
            Value::Fixed(n) if field == 2 => height = n,
            Value::Fixed(n) if field == 3 => round = n,
            _ => {}
        }
        if field != if kind == 32 { 6 } else { 5 } {
            kept.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    Ok(((height, round, kind), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTE: &str = "770802110300000000000000190200000000000000224a0a208b01023386c371778ecb6368573e539afc3cc860ec3a2f614e54fe5652f4fc80122608c0843d122072db3d959635dff1bb567bedaa70573392c5159666a3f8caf11e413aac52207a2a0608f49a8ded05320d746573745f636861696e5f6964";

    #[test]
    fn a_vote_with_another_timestamp_is_the_same_vote() {
        let observer = Observer::new();
        observer.saw("key", VOTE).unwrap();
        observer.saw("key", &VOTE.replace("2a0608f49a8ded05", "2a0608f59a8ded05")).unwrap();
        assert_eq!(observer.positions(), 1);
    }

    #[test]
    fn another_block_at_the_same_position_is_a_double_sign() {
        let observer = Observer::new();
        observer.saw("key", VOTE).unwrap();
        let other = VOTE.replace("8b010233", "8b010234");
        assert!(observer.saw("key", &other).unwrap_err().to_string().contains("DOUBLE SIGN at 3/2/type 2"));
        observer.saw("another key", &other).unwrap();
    }

    #[test]
    fn the_timestamp_of_a_proposal_is_its_sixth_field() {
        let proposal = "36082011393000000000000019010000000000000020ffffffffffffffffff01320608a0eff4a8063a0d746573745f636861696e5f6964";
        let observer = Observer::new();
        observer.saw("key", proposal).unwrap();
        observer.saw("key", &proposal.replace("320608a0", "320608a1")).unwrap();
        assert!(observer.saw("key", &proposal.replace("20ffffffffffffffffff01", "20feffffffffffffffff01")).is_err());
    }
}
