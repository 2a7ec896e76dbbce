//! tmkms 0.15's state file (`src/chain/state.rs`; `consensus::State` of its `iq-cometbft` 0.1).
//!
//! `{"height":"1","round":"0","step":2,"block_id":{"hash":HEX,"parts":{"total":1,"hash":HEX}}}`: height and round are
//! strings, steps are 0 proposal, 1 prevote, 2 precommit, and no block is written as a block id with empty hashes and
//! no parts, and read as that or as `null`. Early versions wrote `total` as a string, and other steps (its library's
//! tests still read a 6).
use super::filepv::height_of;
use super::{Exported, Format, FormatError, Imported, Note, hex};
use guard::{BlockId, Height, Position, Record, Round, Step};
use serde::{Deserialize, Deserializer, Serialize};

/// The highest step that any version can have written: Tendermint's state machine has eight (6 is the precommit).
const MAX_OLD_STEP: i64 = 8;

/// The file's fields.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    height: String,
    round: String,
    step: i64,
    #[serde(deserialize_with = "present")]
    block_id: Option<BlockIdState>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BlockIdState {
    hash: String,
    #[serde(alias = "part_set_header")]
    parts: PartsState,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PartsState {
    total: Total,
    hash: String,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Total {
    Number(u32),
    Text(String),
}

/// An `Option` whose key must be there; serde takes a missing one for `None` otherwise.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<BlockIdState>, D::Error> {
    Option::deserialize(input)
}

pub(super) fn parse(bytes: &[u8]) -> Result<State, FormatError> {
    serde_json::from_slice(bytes)
        .map_err(|error| FormatError::Json { format: Format::Tmkms, reason: error.to_string() })
}

pub(super) fn import(bytes: &[u8]) -> Result<Imported, FormatError> {
    let state = parse(bytes)?;
    let height = height_of(&state.height)?;
    let round = round_of(&state.round)?;
    let mut notes = vec![Note::OwnerUnknown, Note::NeverSynced];
    let has_block = has_block(state.block_id.as_ref())?;
    let position = position(height, round, state.step, has_block, &mut notes)?;
    if has_block {
        notes.push(Note::BlockIdDropped);
    }
    if position.height != Height::ZERO {
        notes.push(Note::BytesMissing);
    }
    Ok(Imported { format: Format::Tmkms, position, statement: None, evidence: None, notes })
}

fn round_of(text: &str) -> Result<Round, FormatError> {
    let out = || FormatError::Range { field: "round", got: format!("{text:?}") };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(out());
    }
    text.parse().ok().and_then(|number: i64| Round::try_from(number).ok()).ok_or_else(out)
}

/// tmkms records each step before it signs it, so what it wrote is the last position that it signed, or was about to.
///
/// A proposal always has a block. Step 0 without one was not written by tmkms but by a person, who may have meant that
/// this height was signed, or that it was not; so it counts as signed.
fn position(
    height: Height,
    round: Round,
    step: i64,
    has_block: bool,
    notes: &mut Vec<Note>,
) -> Result<Position, FormatError> {
    if height == Height::ZERO {
        notes.push(Note::NothingSigned);
        return Ok(Position::end_of(Height::ZERO));
    }
    let step = match step {
        0 if !has_block => {
            notes.push(Note::StepUnclear { step });
            return Ok(Position::end_of(height));
        }
        0 => Step::Proposal,
        1 => Step::Prevote,
        2 => Step::Precommit,
        3..=MAX_OLD_STEP => {
            notes.push(Note::OldStep { step });
            Step::Precommit
        }
        _ => return Err(FormatError::Range { field: "step", got: step.to_string() }),
    };
    Ok(Position { height, round, step })
}

/// Whether the file names a block; only to check it and to say that it is dropped.
fn has_block(block_id: Option<&BlockIdState>) -> Result<bool, FormatError> {
    let Some(BlockIdState { hash, parts }) = block_id else { return Ok(false) };
    let total = match &parts.total {
        Total::Number(total) => *total,
        Total::Text(text) => {
            text.parse().map_err(|_| FormatError::Range { field: "block_id.parts.total", got: format!("{text:?}") })?
        }
    };
    let hash_bytes = |field, text: &str| match hex::parse(text).map(|bytes| bytes.len()) {
        Some(length @ (0 | 32)) => Ok(length),
        _ => Err(FormatError::Range { field, got: format!("{text:?}") }),
    };
    let hash = hash_bytes("block_id.hash", hash)?;
    let parts = hash_bytes("block_id.parts.hash", &parts.hash)?;
    Ok(hash + parts > 0 || total > 0)
}

/// tmkms compares block ids only, so what it would sign again at the recorded position must be harmless. Where the
/// block is known that is the same block with another timestamp, which is no evidence for slashing and what tmkms does
/// anyway. Where the record has no bytes, tmkms would sign nil there, though a block may have been signed; so such
/// a record is written as the next higher position.
pub(super) fn export(record: &Record) -> Result<Exported, FormatError> {
    let mut notes = vec![Note::OwnerDropped];
    let mut position = record.position();
    if position.height == Height::ZERO {
        notes.push(Note::NothingSigned);
        position = Position { height: Height::ZERO, round: Round::ZERO, step: Step::Proposal };
    } else if record.statement().is_none() {
        notes.push(Note::RaisedByOne);
        position = above(position).ok_or(FormatError::NoHigher)?;
    } else {
        notes.push(Note::BytesDropped);
    }
    let state = State {
        height: position.height.to_string(),
        round: position.round.to_string(),
        step: position.step as i64 - 1,
        block_id: Some(block_state(record.statement().and_then(|statement| statement.content().block_id))),
    };
    Ok(Exported { text: super::pretty(&state), notes })
}

fn block_state(block_id: Option<BlockId>) -> BlockIdState {
    match block_id {
        None => {
            BlockIdState { hash: String::new(), parts: PartsState { total: Total::Number(0), hash: String::new() } }
        }
        Some(BlockId { hash, parts_total, parts_hash }) => BlockIdState {
            hash: hex::upper(&hash),
            parts: PartsState { total: Total::Number(parts_total), hash: hex::upper(&parts_hash) },
        },
    }
}

/// The lowest position above.
fn above(Position { height, round, step }: Position) -> Option<Position> {
    let next_round = || Round::try_from(i64::from(round.get()) + 1).ok();
    let next_height = || i64::try_from(height.get()).ok()?.checked_add(1).and_then(|next| Height::try_from(next).ok());
    match step {
        Step::Proposal => Some(Position { height, round, step: Step::Prevote }),
        Step::Prevote => Some(Position { height, round, step: Step::Precommit }),
        Step::Precommit => match next_round() {
            Some(round) => Some(Position { height, round, step: Step::Proposal }),
            None => Some(Position { height: next_height()?, round: Round::ZERO, step: Step::Proposal }),
        },
    }
}
