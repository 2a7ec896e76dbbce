//! What in a message is read otherwise by Go's gogoproto, or otherwise by different lines, and may be.
//!
//! Everything here is a difference on purpose; two readings that differ without one of these are a mistake.
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quirk {
    /// A number whose tenth byte has more than one bit: Go drops the rest, we refuse.
    LongVarint,
    /// A field number over 2^29 - 1: Go wraps it round, we refuse.
    LargeKey,
    /// Proto2's groups: Go does not compare their ends, we do.
    Group,
    /// A field of a newer line under a wrong wire type: the older lines skip it, we refuse.
    NewerField,
    /// A response where a request belongs: Go reads it, we refuse.
    Response,
    /// Raw bytes (tag 9): v0.34 to v0.40 skip it, v1 decodes it, we only recognize it.
    Raw,
    /// Two timestamps in one message: Go checks each, we the one that counts.
    TwoTimestamps,
    /// Two requests in one message: Go checks the timestamps of both, we those of the one that counts.
    TwoRequests,
    /// `skip_extension_signing`, which v0.34 to v0.40 skip.
    SkipExtension,
    /// An extension, which v0.34 and v0.37 skip.
    Extension,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Schema {
    Message,
    PubKey,
    SignVote,
    SignProposal,
    Vote,
    Proposal,
    BlockId,
    Leaf,
}

impl Schema {
    fn of(self, tag: u64) -> Option<Self> {
        match (self, tag) {
            (Self::Message, 1) => Some(Self::PubKey),
            (Self::Message, 3) => Some(Self::SignVote),
            (Self::Message, 5) => Some(Self::SignProposal),
            (Self::Message, 7) | (Self::Vote, 5) | (Self::Proposal, 6) | (Self::BlockId, 2) => Some(Self::Leaf),
            (Self::SignVote, 1) => Some(Self::Vote),
            (Self::SignProposal, 1) => Some(Self::Proposal),
            (Self::Vote, 4) | (Self::Proposal, 5) => Some(Self::BlockId),
            _ => None,
        }
    }
}

pub(crate) fn quirks(message: &[u8]) -> BTreeSet<Quirk> {
    let mut found = Found::default();
    walk(message, Schema::Message, &mut found);
    found.quirks
}

#[derive(Default)]
struct Found {
    quirks: BTreeSet<Quirk>,
    /// In the whole message: a vote may come in two pieces.
    timestamps: usize,
}

impl Found {
    fn insert(&mut self, quirk: Quirk) {
        self.quirks.insert(quirk);
    }
}

/// Stops where nobody could read on.
fn walk(mut input: &[u8], schema: Schema, found: &mut Found) -> Option<()> {
    let mut requests = 0;
    while !input.is_empty() {
        let key = varint(&mut input, found)?;
        if key > u64::from(u32::MAX) {
            found.insert(Quirk::LargeKey);
        }
        let (tag, wire) = (key >> 3, key & 7);
        note_field(schema, tag, wire, found);
        found.timestamps += usize::from(matches!((schema, tag), (Schema::Vote, 5) | (Schema::Proposal, 6)));
        if found.timestamps > 1 {
            found.insert(Quirk::TwoTimestamps);
        }
        requests += usize::from(schema == Schema::Message && matches!(tag, 1..=10));
        if requests > 1 {
            found.insert(Quirk::TwoRequests);
        }
        match wire {
            0 => drop(varint(&mut input, found)?),
            1 => input = input.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut input, found)?).ok()?;
                let content = input.get(..length)?;
                input = &input[length..];
                if let Some(schema) = schema.of(tag) {
                    walk(content, schema, found);
                }
            }
            5 => input = input.get(4..)?,
            3 => {
                found.insert(Quirk::Group);
                skip_group(&mut input, found)?;
            }
            _ => return None,
        }
    }
    Some(())
}

/// As Go skips a group: any end closes the innermost one.
fn skip_group(input: &mut &[u8], found: &mut Found) -> Option<()> {
    let mut depth = 1;
    while depth > 0 {
        let key = varint(input, found)?;
        if key > u64::from(u32::MAX) {
            found.insert(Quirk::LargeKey);
        }
        match key & 7 {
            0 => drop(varint(input, found)?),
            1 => *input = input.get(8..)?,
            2 => {
                let length = usize::try_from(varint(input, found)?).ok()?;
                *input = input.get(length..)?;
            }
            3 => depth += 1,
            4 => depth -= 1,
            5 => *input = input.get(4..)?,
            _ => return None,
        }
    }
    Some(())
}

fn note_field(schema: Schema, tag: u64, wire: u64, found: &mut Found) {
    let (quirk, known_as) = match (schema, tag) {
        (Schema::Message, 2 | 4 | 6 | 8 | 10) => (Quirk::Response, wire),
        (Schema::Message, 9) => (Quirk::Raw, 2),
        (Schema::SignVote, 3) => (Quirk::SkipExtension, 0),
        (Schema::Vote, 9..=12) => (Quirk::Extension, 2),
        _ => return,
    };
    found.insert(quirk);
    if wire != known_as {
        found.insert(Quirk::NewerField);
    }
}

fn varint(input: &mut &[u8], found: &mut Found) -> Option<u64> {
    let end = input.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = input.split_at(end);
    *input = rest;
    if end == 10 && number[9] > 1 {
        found.insert(Quirk::LongVarint);
    }
    Some(number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}
