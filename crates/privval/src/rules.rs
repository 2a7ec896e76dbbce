//! The input rules that votes and proposals share: what an honest node never asks for.
//!
//! They are what CometBFT's `ValidateBasic` of votes, proposals and block ids refuses (`types/vote.go`, `proposal.go`,
//! `block.go`), and Go's range of timestamps. Other signers sign or die on some of these.
use crate::wire::{BlockId, Timestamp};
use crate::{InvalidRequest, MAX_CHAIN_ID_BYTES};

/// `tmhash.Size`: SHA-256.
const HASH_BYTES: usize = 32;

/// Seconds of year 1 and of the end of year 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Whatever is signed has these.
pub(crate) fn check_place(chain_id: &str, height: i64, round: i32, timestamp: Timestamp) -> Result<(), InvalidRequest> {
    if height < 1 {
        return Err(InvalidRequest::Height { got: height });
    }
    if round < 0 {
        return Err(InvalidRequest::Round { got: round });
    }
    let Timestamp { seconds, nanos } = timestamp;
    if !TIMESTAMP_SECONDS.contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(InvalidRequest::Timestamp { seconds, nanos });
    }
    match chain_id.len() {
        0 => Err(InvalidRequest::ChainIdEmpty),
        1..=MAX_CHAIN_ID_BYTES => Ok(()),
        got => Err(InvalidRequest::ChainIdTooLong { got }),
    }
}

/// Makes sure that a block id is nil or complete. A complete one has hashes of 32 bytes and at least one part.
pub(crate) fn check_block_id(block_id: &BlockId) -> Result<(), InvalidRequest> {
    let (parts_total, parts_hash) = block_id.parts();
    let (hash, parts_hash) = (block_id.hash.len(), parts_hash.len());
    if ![0, HASH_BYTES].contains(&hash) {
        return Err(InvalidRequest::BlockHash { got: hash });
    }
    if ![0, HASH_BYTES].contains(&parts_hash) {
        return Err(InvalidRequest::PartsHash { got: parts_hash });
    }
    let is_complete = hash == HASH_BYTES && parts_hash == HASH_BYTES && parts_total > 0;
    if is_complete || block_id.is_nil() {
        Ok(())
    } else {
        Err(InvalidRequest::BlockIdIncomplete { hash, parts_total, parts_hash })
    }
}
