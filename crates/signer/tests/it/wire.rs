//! The node's side of the privval wire, as far as the tests need it: written apart from the crate that is tested.
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PartSetHeader {
    #[prost(uint32, tag = "1")]
    pub total: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub hash: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BlockId {
    #[prost(bytes = "vec", tag = "1")]
    pub hash: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub parts: Option<PartSetHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Vote {
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    #[prost(int64, tag = "2")]
    pub height: i64,
    #[prost(int32, tag = "3")]
    pub round: i32,
    #[prost(message, optional, tag = "4")]
    pub block_id: Option<BlockId>,
    #[prost(message, optional, tag = "5")]
    pub timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "6")]
    pub validator_address: Vec<u8>,
    #[prost(int32, tag = "7")]
    pub validator_index: i32,
    #[prost(bytes = "vec", tag = "8")]
    pub signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    pub extension: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub extension_signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposal {
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    #[prost(int64, tag = "2")]
    pub height: i64,
    #[prost(int32, tag = "3")]
    pub round: i32,
    #[prost(int32, tag = "4")]
    pub pol_round: i32,
    #[prost(message, optional, tag = "5")]
    pub block_id: Option<BlockId>,
    #[prost(message, optional, tag = "6")]
    pub timestamp: Option<Timestamp>,
    #[prost(bytes = "vec", tag = "7")]
    pub signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PubKeyRequest {
    #[prost(string, tag = "1")]
    pub chain_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignVoteRequest {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(string, tag = "2")]
    pub chain_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignProposalRequest {
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<Proposal>,
    #[prost(string, tag = "2")]
    pub chain_id: String,
}

/// Also `SignedProposalResponse`, of which only the signature's place differs.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedVote {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SignedProposal {
    #[prost(message, optional, tag = "1")]
    pub proposal: Option<Proposal>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PubKeyResponse {
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteError>,
    #[prost(bytes = "vec", tag = "3")]
    pub bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RawResponse {
    #[prost(message, optional, tag = "2")]
    pub error: Option<RemoteError>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoteError {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub description: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    #[prost(oneof = "Sum", tags = "1, 2, 3, 4, 5, 6, 7, 8, 10")]
    pub sum: Option<Sum>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Sum {
    #[prost(message, tag = "1")]
    PubKeyRequest(PubKeyRequest),
    #[prost(message, tag = "2")]
    PubKeyResponse(PubKeyResponse),
    #[prost(message, tag = "3")]
    SignVote(SignVoteRequest),
    #[prost(message, tag = "4")]
    SignedVote(SignedVote),
    #[prost(message, tag = "5")]
    SignProposal(SignProposalRequest),
    #[prost(message, tag = "6")]
    SignedProposal(SignedProposal),
    #[prost(message, tag = "7")]
    Ping(Empty),
    #[prost(message, tag = "8")]
    Pong(Empty),
    #[prost(message, tag = "10")]
    RawResponse(RawResponse),
}

pub fn delimited(sum: Sum) -> Vec<u8> {
    Message { sum: Some(sum) }.encode_length_delimited_to_vec()
}

pub fn decode(message: &[u8]) -> Sum {
    Message::decode(message).unwrap().sum.unwrap()
}

pub fn block(tag: u8) -> Option<BlockId> {
    Some(BlockId { hash: vec![tag; 32], parts: Some(PartSetHeader { total: 1, hash: vec![!tag; 32] }) })
}

pub const PREVOTE: i32 = 1;
pub const PRECOMMIT: i32 = 2;

/// A vote for a block that `tag` stands for.
pub fn vote(r#type: i32, height: i64, round: i32, tag: u8) -> Vote {
    let timestamp = Some(Timestamp { seconds: 1_700_000_000 + height, nanos: 5 });
    let validator_address = vec![9; 20];
    Vote { r#type, height, round, block_id: block(tag), timestamp, validator_address, ..Vote::default() }
}

pub fn proposal(height: i64, round: i32, tag: u8) -> Proposal {
    let timestamp = Some(Timestamp { seconds: 1_700_000_000 + height, nanos: 5 });
    Proposal { r#type: 32, height, round, pol_round: -1, block_id: block(tag), timestamp, ..Proposal::default() }
}

pub fn sign_vote(chain_id: &str, vote: Vote) -> Sum {
    Sum::SignVote(SignVoteRequest { vote: Some(vote), chain_id: chain_id.to_owned() })
}

pub fn sign_proposal(chain_id: &str, proposal: Proposal) -> Sum {
    Sum::SignProposal(SignProposalRequest { proposal: Some(proposal), chain_id: chain_id.to_owned() })
}

pub fn ask_key(chain_id: &str) -> Sum {
    Sum::PubKeyRequest(PubKeyRequest { chain_id: chain_id.to_owned() })
}
