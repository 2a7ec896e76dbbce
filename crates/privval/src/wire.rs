//! The protobuf messages of privval, of every line in one, as `prost` reads and writes them.
//!
//! From CometBFT's `proto/tendermint/privval/types.proto` and `types/types.proto` (v0.34 to v0.40) and
//! `cometbft/privval/v1`, `types/v1`, `v2`. Two things follow Go's gogoproto instead of protobuf's book:
//! a chain id is bytes here, because Go does not check that it is UTF-8, and a timestamp that comes twice is
//! replaced, not merged, so it is kept encoded and read afterwards.
use prost::bytes::Bytes;

/// Go's zero `time.Time`, year 1: what Go decodes when the field is absent.
pub(crate) const GO_ZERO_TIME: Timestamp = Timestamp { seconds: -62_135_596_800, nanos: 0 };

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PartSetHeader {
    #[prost(uint32, tag = "1")]
    pub(crate) total: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) hash: Vec<u8>,
}

/// Also CanonicalBlockID, which has the same fields.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BlockId {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) hash: Vec<u8>,
    /// Go writes it always: see [`BlockId::complete`].
    #[prost(message, optional, tag = "2")]
    pub(crate) part_set_header: Option<PartSetHeader>,
}

impl BlockId {
    /// With the part set header that Go has in any case.
    pub(crate) fn complete(mut self) -> Self {
        self.part_set_header.get_or_insert_default();
        self
    }

    pub(crate) fn parts(&self) -> (u32, &[u8]) {
        self.part_set_header.as_ref().map_or((0, &[]), |parts| (parts.total, &parts.hash))
    }

    /// Whether this stands for "no block": nothing in it is set (`BlockID.IsNil` of CometBFT's `types/block.go`).
    pub(crate) fn is_nil(&self) -> bool {
        self.hash.is_empty() && matches!(self.parts(), (0, []))
    }
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Vote {
    #[prost(int32, tag = "1")]
    pub(crate) r#type: i32,
    #[prost(int64, tag = "2")]
    pub(crate) height: i64,
    #[prost(int32, tag = "3")]
    pub(crate) round: i32,
    #[prost(message, optional, tag = "4")]
    pub(crate) block_id: Option<BlockId>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(crate) timestamp: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) validator_address: Vec<u8>,
    #[prost(int32, tag = "7")]
    pub(crate) validator_index: i32,
    #[prost(bytes = "vec", tag = "8")]
    pub(crate) signature: Vec<u8>,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) extension: Bytes,
    #[prost(bytes = "vec", tag = "10")]
    pub(crate) extension_signature: Vec<u8>,
    /// v2 and Polygon: an extension without replay protection. Echoed, never signed.
    #[prost(bytes = "bytes", tag = "11")]
    pub(crate) non_rp_extension: Bytes,
    #[prost(bytes = "bytes", tag = "12")]
    pub(crate) non_rp_extension_signature: Bytes,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Proposal {
    #[prost(int32, tag = "1")]
    pub(crate) r#type: i32,
    #[prost(int64, tag = "2")]
    pub(crate) height: i64,
    #[prost(int32, tag = "3")]
    pub(crate) round: i32,
    #[prost(int32, tag = "4")]
    pub(crate) pol_round: i32,
    #[prost(message, optional, tag = "5")]
    pub(crate) block_id: Option<BlockId>,
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(crate) timestamp: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) signature: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PubKeyRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) chain_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SignVoteRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) chain_id: Vec<u8>,
    /// v1 and v2 only.
    #[prost(bool, tag = "3")]
    pub(crate) skip_extension_signing: bool,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SignProposalRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) proposal: Option<Proposal>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) chain_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RemoteSignerError {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) description: String,
}

/// A oneof on the wire; at most one is set.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PublicKey {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) ed25519: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) secp256k1: Option<Vec<u8>>,
}

/// v0.34 to v0.40 read fields 1 and 2, v1 and v2 read 2, 3 and 4; each skips what it does not know.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PubKeyResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) pub_key: Option<PublicKey>,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<RemoteSignerError>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) pub_key_bytes: Vec<u8>,
    #[prost(string, tag = "4")]
    pub(crate) pub_key_type: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SignedVoteResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<RemoteSignerError>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SignedProposalResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) proposal: Option<Proposal>,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<RemoteSignerError>,
}

/// v1's SignBytesResponse and Celestia's SignedRawBytesResponse: the same fields under the same tag.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SignedRawResponse {
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<RemoteSignerError>,
}

/// The responses of privval's `Message`, a oneof on the wire; exactly one is set.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "2")]
    pub(crate) pub_key: Option<PubKeyResponse>,
    #[prost(message, optional, tag = "4")]
    pub(crate) vote: Option<SignedVoteResponse>,
    #[prost(message, optional, tag = "6")]
    pub(crate) proposal: Option<SignedProposalResponse>,
    #[prost(message, optional, tag = "8")]
    pub(crate) pong: Option<Empty>,
    #[prost(message, optional, tag = "10")]
    pub(crate) raw: Option<SignedRawResponse>,
}
