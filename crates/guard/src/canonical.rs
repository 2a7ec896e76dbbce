//! Canonical sign bytes, read strictly: what exactly would be signed?
//!
//! The layout is CometBFT's `proto/tendermint/types/canonical.proto` (v0.34 to v0.40; v1 is the same), as
//! length-delimited protobuf. `privval` writes these bytes; this module reads them again without sharing a line
//! with it, so that a mistake on either side is found before a signature exists. Only the one encoding that
//! CometBFT itself produces is read: fields in order, minimal numbers, no defaults written out, nothing unknown.
use crate::{Height, Position, Round, Step};
use std::fmt;
use std::ops::Range;

/// The longest sign bytes of a vote or proposal: every field at its largest, see the test.
const MAX_STATEMENT_BYTES: usize = 192;

/// Seconds of year 1 and of the end of year 9999, the range of protobuf's `Timestamp`.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Bytes that are not a canonical message of CometBFT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCanonical {
    what: &'static str,
}

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not canonical sign bytes: {}", self.what)
    }
}

impl std::error::Error for NotCanonical {}

const fn not(what: &'static str) -> NotCanonical {
    NotCanonical { what }
}

/// A point in time as protobuf has it. The rule never compares it with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC; years 1 to 9999.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

/// A complete block id: what a vote is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockId {
    /// The block header's hash.
    pub hash: [u8; 32],
    /// How many parts the block has; at least 1.
    pub parts_total: u32,
    /// The root over the parts.
    pub parts_hash: [u8; 32],
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.hash)?;
        write!(f, ":{}:", self.parts_total)?;
        write_hex(f, &self.parts_hash[..6])
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
}

/// What a message says, without position, time and chain: the evidence in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// The block, or none for nil.
    pub block_id: Option<BlockId>,
    /// A proposal's proof-of-lock round, -1 for none.
    pub pol_round: Option<i64>,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.block_id {
            Some(block_id) => write!(f, "block {block_id}")?,
            None => f.write_str("nil")?,
        }
        match self.pol_round {
            Some(round) => write!(f, " with pol_round {round}"),
            None => Ok(()),
        }
    }
}

/// A vote or proposal, parsed from the exact bytes that would be signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    bytes: Box<[u8]>,
    /// Where the whole timestamp field (tag, length, content) stands in `bytes`.
    timestamp_at: Range<usize>,
    body_at: usize,
    position: Position,
    content: Content,
    timestamp: Timestamp,
    chain_id: Box<str>,
}

impl Statement {
    /// Parses length-delimited `CanonicalVote` or `CanonicalProposal` bytes.
    ///
    /// # Errors
    /// [`NotCanonical`] for anything that CometBFT would not itself produce for a prevote, precommit or proposal
    /// of a known type, with a height of at least 1 and a block id that is nil or complete.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotCanonical> {
        if bytes.len() > MAX_STATEMENT_BYTES {
            return Err(not("longer than any vote or proposal"));
        }
        let mut input = Reader::delimited(bytes)?;
        let body_at = input.at;
        let step = match input.varint_field(1)? {
            Some(1) => Step::Prevote,
            Some(2) => Step::Precommit,
            Some(32) => Step::Proposal,
            _ => return Err(not("the type is none of prevote (1), precommit (2), proposal (32)")),
        };
        let is_proposal = step == Step::Proposal;
        let height = input.fixed64_field(2)?.ok_or(not("height is 0"))?;
        let round = input.fixed64_field(3)?.unwrap_or(0);
        let pol_round = if is_proposal { Some(input.varint_field(4)?.unwrap_or(0)) } else { None };
        let shift = u8::from(is_proposal);
        let block_id = input.bytes_field(4 + shift)?.map(parse_block_id).transpose()?;
        if is_proposal && block_id.is_none() {
            return Err(not("a proposal without a block"));
        }
        let timestamp_start = input.at;
        let timestamp = input.bytes_field(5 + shift)?.ok_or(not("no timestamp"))?;
        let timestamp_at = timestamp_start..input.at;
        let chain_id = input.text_field(6 + shift)?.ok_or(not("no chain id"))?;
        input.finish()?;
        let height = Height::try_from(height).map_err(|_| not("negative height"))?;
        let round = Round::try_from(round).map_err(|_| not("round is not within 0 to 2^31 - 1"))?;
        if pol_round.is_some_and(|pol| pol < -1 || pol >= i64::from(round.get())) {
            return Err(not("pol_round is not within -1 to round - 1"));
        }
        Ok(Self {
            timestamp: parse_timestamp(timestamp)?,
            chain_id: chain_id.into(),
            bytes: bytes.into(),
            timestamp_at,
            body_at,
            position: Position { height, round, step },
            content: Content { block_id, pol_round },
        })
    }

    /// The exact bytes, length prefix included.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The position that these bytes are for.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The timestamp in these bytes.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The block, or nil, and a proposal's `pol_round`.
    #[must_use]
    pub const fn content(&self) -> Content {
        self.content
    }

    /// The chain id in these bytes.
    #[must_use]
    pub const fn chain_id(&self) -> &str {
        &self.chain_id
    }

    /// Whether both messages are the same but for their timestamps: everything before and after the timestamp
    /// field is compared byte by byte (the length prefix, which counts it, aside).
    #[must_use]
    pub fn equals_but_for_time(&self, other: &Self) -> bool {
        let before = |s: &Self| s.body_at..s.timestamp_at.start;
        self.bytes[before(self)] == other.bytes[before(other)]
            && self.bytes[self.timestamp_at.end..] == other.bytes[other.timestamp_at.end..]
    }

    /// Whether a vote extension belongs to this message: only to a precommit for a block.
    #[must_use]
    pub fn takes_extension(&self) -> bool {
        self.position.step == Step::Precommit && self.content.block_id.is_some()
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Statement({} {} at {}.{:09} on {})",
            self.position, self.content, self.timestamp.seconds, self.timestamp.nanos, self.chain_id
        )
    }
}

/// A vote extension, parsed from the exact bytes that would be signed (`CanonicalVoteExtension`).
#[derive(Clone, PartialEq, Eq)]
pub struct Extension {
    bytes: Box<[u8]>,
    height: Height,
    round: Round,
    chain_id: Box<str>,
}

impl Extension {
    /// Parses length-delimited `CanonicalVoteExtension` bytes. Their length is bounded by the frame they came in.
    ///
    /// # Errors
    /// [`NotCanonical`] for anything that CometBFT would not itself produce.
    pub fn parse(bytes: Box<[u8]>) -> Result<Self, NotCanonical> {
        let mut input = Reader::delimited(&bytes)?;
        if input.bytes_field(1)?.is_some_and(|extension| extension.bytes.is_empty()) {
            return Err(not("an empty extension is written out"));
        }
        let height = input.fixed64_field(2)?.ok_or(not("height is 0"))?;
        let round = input.fixed64_field(3)?.unwrap_or(0);
        let chain_id = input.text_field(4)?.ok_or(not("no chain id"))?;
        input.finish()?;
        Ok(Self {
            height: Height::try_from(height).map_err(|_| not("negative height"))?,
            round: Round::try_from(round).map_err(|_| not("round is not within 0 to 2^31 - 1"))?,
            chain_id: chain_id.into(),
            bytes,
        })
    }

    /// The exact bytes, length prefix included.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether this is an extension of that vote.
    pub(crate) fn belongs_to(&self, vote: &Statement) -> bool {
        let Position { height, round, .. } = vote.position();
        (self.height, self.round, &*self.chain_id) == (height, round, vote.chain_id())
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extension({} bytes at {}/{})", self.bytes.len(), self.height, self.round)
    }
}

fn parse_block_id(mut input: Reader<'_>) -> Result<BlockId, NotCanonical> {
    let hash = input.bytes_field(1)?.ok_or(not("block id without a hash"))?.hash()?;
    let mut parts = input.bytes_field(2)?.ok_or(not("block id without a part set header"))?;
    input.finish()?;
    let total = parts.varint_field(1)?.ok_or(not("block id with no parts"))?;
    let parts_hash = parts.bytes_field(2)?.ok_or(not("part set header without a hash"))?.hash()?;
    parts.finish()?;
    let parts_total = u32::try_from(total).map_err(|_| not("more than 2^32 - 1 parts"))?;
    Ok(BlockId { hash, parts_total, parts_hash })
}

fn parse_timestamp(mut input: Reader<'_>) -> Result<Timestamp, NotCanonical> {
    let seconds = input.varint_field(1)?.unwrap_or(0);
    let nanos = input.varint_field(2)?.unwrap_or(0);
    input.finish()?;
    match u32::try_from(nanos) {
        Ok(nanos) if nanos < 1_000_000_000 && TIMESTAMP_SECONDS.contains(&seconds) => Ok(Timestamp { seconds, nanos }),
        _ => Err(not("the timestamp is outside the years 1 to 9999")),
    }
}

/// Reads protobuf fields in the order in which they are asked for.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const WIRE_VARINT: u8 = 0;
    const WIRE_FIXED64: u8 = 1;
    const WIRE_BYTES: u8 = 2;

    /// Everything after a length prefix that counts exactly the rest.
    fn delimited(bytes: &'a [u8]) -> Result<Self, NotCanonical> {
        let mut input = Self { bytes, at: 0 };
        let length = input.varint()?;
        if usize::try_from(length).ok() == Some(bytes.len() - input.at) {
            Ok(input)
        } else {
            Err(not("the length prefix does not count the rest"))
        }
    }

    fn rest(self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn hash(self) -> Result<[u8; 32], NotCanonical> {
        self.rest().try_into().map_err(|_| not("a hash is not of 32 bytes"))
    }

    fn finish(self) -> Result<(), NotCanonical> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(not("an unknown or misplaced field")) }
    }

    /// Consumes the tag if the next field is that one. All field numbers here take one byte.
    fn tag(&mut self, field: u8, wire: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&(field << 3 | wire));
        self.at += usize::from(found);
        found
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], NotCanonical> {
        let end = self.at.checked_add(length).ok_or(not("a length overflows"))?;
        let taken = self.bytes.get(self.at..end).ok_or(not("truncated"))?;
        self.at = end;
        Ok(taken)
    }

    /// A base-128 number in its shortest form.
    fn varint(&mut self) -> Result<u64, NotCanonical> {
        let mut value = 0_u64;
        for index in 0..10_u32 {
            let byte = *self.bytes.get(self.at).ok_or(not("truncated"))?;
            self.at += 1;
            let low = u64::from(byte & 0x7f);
            if index == 9 && low > 1 {
                return Err(not("a number has more than 64 bits"));
            }
            value |= low << (7 * index);
            if byte & 0x80 == 0 {
                return if byte == 0 && index > 0 {
                    Err(not("a number is not in its shortest form"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(not("a number has more than 64 bits"))
    }

    fn varint_field(&mut self, field: u8) -> Result<Option<i64>, NotCanonical> {
        if !self.tag(field, Self::WIRE_VARINT) {
            return Ok(None);
        }
        match self.varint()? {
            0 => Err(not("a zero is written out")),
            value => Ok(Some(value.cast_signed())),
        }
    }

    fn fixed64_field(&mut self, field: u8) -> Result<Option<i64>, NotCanonical> {
        if !self.tag(field, Self::WIRE_FIXED64) {
            return Ok(None);
        }
        let bytes: [u8; 8] = self.take(8)?.try_into().map_err(|_| not("truncated"))?;
        match i64::from_le_bytes(bytes) {
            0 => Err(not("a zero is written out")),
            value => Ok(Some(value)),
        }
    }

    fn bytes_field(&mut self, field: u8) -> Result<Option<Reader<'a>>, NotCanonical> {
        if !self.tag(field, Self::WIRE_BYTES) {
            return Ok(None);
        }
        let length = usize::try_from(self.varint()?).map_err(|_| not("a length overflows"))?;
        Ok(Some(Reader { bytes: self.take(length)?, at: 0 }))
    }

    /// A text that is not empty.
    fn text_field(&mut self, field: u8) -> Result<Option<&'a str>, NotCanonical> {
        let Some(found) = self.bytes_field(field)? else { return Ok(None) };
        match std::str::from_utf8(found.rest()) {
            Ok("") => Err(not("an empty text is written out")),
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(not("the chain id is not UTF-8")),
        }
    }
}
