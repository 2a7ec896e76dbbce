//! Votes and proposals as the Go harness takes them, and privval requests encoded by hand, so that nothing here rests on the code under test.
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// A prevote's type.
pub const PREVOTE: i32 = 1;
/// A precommit's type.
pub const PRECOMMIT: i32 = 2;
/// A proposal's type.
pub const PROPOSAL: i32 = 32;

/// A block id; hashes as lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockId {
    /// The header's hash.
    pub hash: String,
    /// How many parts the block has.
    pub parts_total: u32,
    /// The hash of the part set.
    pub parts_hash: String,
}

impl BlockId {
    /// A block id whose hashes consist of one byte.
    #[must_use]
    pub fn of(byte: u8) -> Self {
        Self { hash: hex(&[byte; 32]), parts_total: 1, parts_hash: hex(&[byte.wrapping_add(1); 32]) }
    }
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: i64,
}

impl Timestamp {
    /// The time of day.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: i64::try_from(since.as_secs()).unwrap_or(0), nanos: i64::from(since.subsec_nanos()) }
    }
}

/// A vote to ask a signature for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// [`PREVOTE`], [`PRECOMMIT`], or something that should be refused.
    #[serde(rename = "type")]
    pub kind: i32,
    /// The height.
    pub height: i64,
    /// The round.
    pub round: i32,
    /// The block, or nil.
    pub block_id: Option<BlockId>,
    /// The time.
    pub timestamp: Timestamp,
    /// 20 bytes, hex.
    pub validator_address: String,
    /// The validator's place in the set.
    pub validator_index: i32,
    /// The vote extension, hex.
    pub extension: String,
}

impl Vote {
    /// A vote for [`BlockId::of`] `block` in round 0, now.
    #[must_use]
    pub fn new(kind: i32, height: i64, block: u8) -> Self {
        Self {
            kind,
            height,
            round: 0,
            block_id: Some(BlockId::of(block)),
            timestamp: Timestamp::now(),
            validator_address: hex(&[7; 20]),
            validator_index: 0,
            extension: String::new(),
        }
    }

    /// [`Vote::new`] of a prevote.
    #[must_use]
    pub fn prevote(height: i64, block: u8) -> Self {
        Self::new(PREVOTE, height, block)
    }

    /// [`Vote::new`] of a precommit.
    #[must_use]
    pub fn precommit(height: i64, block: u8) -> Self {
        Self::new(PRECOMMIT, height, block)
    }

    /// The undelimited privval `SignVoteRequest` for it.
    #[must_use]
    pub fn request(&self, chain_id: &str) -> Vec<u8> {
        let mut vote = Vec::new();
        int(&mut vote, 1, i64::from(self.kind));
        int(&mut vote, 2, self.height);
        int(&mut vote, 3, i64::from(self.round));
        let mut block = Vec::new();
        let mut parts = Vec::new();
        if let Some(id) = &self.block_id {
            bytes(&mut block, 1, &unhex(&id.hash));
            int(&mut parts, 1, i64::from(id.parts_total));
            bytes(&mut parts, 2, &unhex(&id.parts_hash));
        }
        message(&mut block, 2, &parts);
        message(&mut vote, 4, &block);
        let mut time = Vec::new();
        int(&mut time, 1, self.timestamp.seconds);
        int(&mut time, 2, self.timestamp.nanos);
        message(&mut vote, 5, &time);
        bytes(&mut vote, 6, &unhex(&self.validator_address));
        int(&mut vote, 7, i64::from(self.validator_index));
        bytes(&mut vote, 9, &unhex(&self.extension));
        let mut request = Vec::new();
        message(&mut request, 1, &vote);
        bytes(&mut request, 2, chain_id.as_bytes());
        let mut out = Vec::new();
        message(&mut out, 3, &request);
        out
    }
}

/// A proposal to ask a signature for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// [`PROPOSAL`].
    #[serde(rename = "type")]
    pub kind: i32,
    /// The height.
    pub height: i64,
    /// The round.
    pub round: i32,
    /// The round of the proof of lock, or −1.
    pub pol_round: i32,
    /// The block.
    pub block_id: Option<BlockId>,
    /// The time.
    pub timestamp: Timestamp,
}

impl Proposal {
    /// A proposal of [`BlockId::of`] `block` in round 0, now.
    #[must_use]
    pub fn new(height: i64, block: u8) -> Self {
        Self {
            kind: PROPOSAL,
            height,
            round: 0,
            pol_round: -1,
            block_id: Some(BlockId::of(block)),
            timestamp: Timestamp::now(),
        }
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a hex text; what is not hex ends it.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map_while(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
}

/// Appends an unsigned LEB128 number.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)]
    out.push(value as u8);
}

/// Appends a protobuf integer field (two's complement, as int32 and int64 are), left out when 0.
#[allow(clippy::cast_sign_loss)]
fn int(out: &mut Vec<u8>, field: u64, value: i64) {
    if value != 0 {
        varint(out, field << 3);
        varint(out, value as u64);
    }
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    if !value.is_empty() {
        message(out, field, value);
    }
}

fn message(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
