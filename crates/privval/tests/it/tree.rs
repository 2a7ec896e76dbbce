//! Protobuf messages as trees of fields, written with code of the tests' own, so that anything odd can be written too.

/// One field, or bytes that stand where a field should.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// A number; the second is how many needless bytes it takes.
    Varint(u32, u64, usize),
    Fixed64(u32, u64),
    Fixed32(u32, u32),
    Bytes(u32, Vec<u8>),
    Message(u32, Vec<Self>),
    Group(u32, Vec<Self>),
    Raw(Vec<u8>),
}

pub(crate) fn number(tag: u32, value: i64) -> Node {
    Node::Varint(tag, value.cast_unsigned(), 0)
}

pub(crate) fn bytes(tag: u32, value: impl AsRef<[u8]>) -> Node {
    Node::Bytes(tag, value.as_ref().to_vec())
}

pub(crate) fn message(tag: u32, fields: Vec<Node>) -> Node {
    Node::Message(tag, fields)
}

pub(crate) fn encode(nodes: &[Node]) -> Vec<u8> {
    let mut out = Vec::new();
    nodes.iter().for_each(|node| write(node, &mut out));
    out
}

/// With its length in front.
pub(crate) fn delimited(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(message.len() as u64, 0, &mut out);
    out.extend_from_slice(message);
    out
}

fn write(node: &Node, out: &mut Vec<u8>) {
    let key = |tag: &u32, wire: u64, out: &mut Vec<u8>| varint(u64::from(*tag) << 3 | wire, 0, out);
    match node {
        Node::Varint(tag, value, padding) => {
            key(tag, 0, out);
            varint(*value, *padding, out);
        }
        Node::Fixed64(tag, value) => {
            key(tag, 1, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Node::Bytes(tag, value) => {
            key(tag, 2, out);
            out.extend_from_slice(&delimited(value));
        }
        Node::Message(tag, fields) => {
            key(tag, 2, out);
            out.extend_from_slice(&delimited(&encode(fields)));
        }
        Node::Group(tag, fields) => {
            key(tag, 3, out);
            out.extend_from_slice(&encode(fields));
            key(tag, 4, out);
        }
        Node::Fixed32(tag, value) => {
            key(tag, 5, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Node::Raw(value) => out.extend_from_slice(value),
    }
}

pub(crate) fn varint(mut value: u64, padding: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    if padding == 0 {
        out.push(value.to_le_bytes()[0]);
    } else {
        out.push(value.to_le_bytes()[0] | 0x80);
        out.extend(std::iter::repeat_n(0x80, padding - 1));
        out.push(0);
    }
}

/// The top-level fields of a well-formed message: tag, and the bytes of key and value.
pub(crate) fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    let mut out = Vec::new();
    while !message.is_empty() {
        let whole = message;
        let key = read_varint(&mut message);
        let length = match key & 7 {
            0 => {
                read_varint(&mut message);
                0
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut message)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        message = &message[length..];
        out.push((key >> 3, &whole[..whole.len() - message.len()]));
    }
    out
}

/// The content of the only field of a message, a message itself.
pub(crate) fn inner(message: &[u8]) -> (u64, &[u8]) {
    let (mut content, fields) = (message, fields(message));
    assert_eq!(fields.len(), 1, "fields");
    read_varint(&mut content);
    read_varint(&mut content);
    (fields[0].0, content)
}

/// A frame without its length.
pub(crate) fn undelimited(mut frame: &[u8]) -> &[u8] {
    let length = read_varint(&mut frame);
    assert_eq!(length, frame.len() as u64, "length prefix");
    frame
}

fn read_varint(input: &mut &[u8]) -> u64 {
    let end = input.iter().position(|byte| byte & 0x80 == 0).expect("a varint ends") + 1;
    let (number, rest) = input.split_at(end);
    *input = rest;
    number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

/// A vote, by default the precommit of CometBFT's `msgs_test.go` without an extension.
#[derive(Clone, Debug)]
pub(crate) struct Vote {
    pub(crate) kind: i32,
    pub(crate) height: i64,
    pub(crate) round: i32,
    pub(crate) block_id: Option<BlockId>,
    pub(crate) timestamp: Option<(i64, i64)>,
    pub(crate) address: Vec<u8>,
    pub(crate) index: i32,
    pub(crate) signature: Vec<u8>,
    pub(crate) extension: Vec<u8>,
    pub(crate) extension_signature: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct BlockId {
    pub(crate) hash: Vec<u8>,
    pub(crate) total: u32,
    pub(crate) parts_hash: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) kind: i32,
    pub(crate) height: i64,
    pub(crate) round: i32,
    pub(crate) pol_round: i32,
    pub(crate) block_id: Option<BlockId>,
    pub(crate) timestamp: Option<(i64, i64)>,
    pub(crate) signature: Vec<u8>,
}

pub(crate) const CHAIN: &str = "test_chain_id";

/// 2019-10-13T16:14:44Z.
pub(crate) const TIME: (i64, i64) = (1_570_983_284, 0);

impl Default for BlockId {
    fn default() -> Self {
        Self { hash: vec![0xab; 32], total: 1_000_000, parts_hash: vec![0xcd; 32] }
    }
}

impl Default for Vote {
    fn default() -> Self {
        Self {
            kind: 2,
            height: 3,
            round: 2,
            block_id: Some(BlockId::default()),
            timestamp: Some(TIME),
            address: vec![0x5a; 20],
            index: 56789,
            signature: vec![],
            extension: vec![],
            extension_signature: vec![],
        }
    }
}

impl Default for Proposal {
    fn default() -> Self {
        Self {
            kind: 32,
            height: 3,
            round: 2,
            pol_round: -1,
            block_id: Some(BlockId::default()),
            timestamp: Some(TIME),
            signature: vec![],
        }
    }
}

fn timestamp(tag: u32, (seconds, nanos): (i64, i64)) -> Node {
    let fields = [(1, seconds), (2, nanos)].into_iter().filter(|(_, value)| *value != 0);
    message(tag, fields.map(|(tag, value)| number(tag, value)).collect())
}

impl BlockId {
    fn node(&self, tag: u32) -> Node {
        let parts = vec![number(1, self.total.into()), bytes(2, &self.parts_hash)];
        message(tag, vec![bytes(1, &self.hash), message(2, parts)])
    }
}

impl Vote {
    pub(crate) fn fields(&self) -> Vec<Node> {
        let mut fields = vec![number(1, self.kind.into()), number(2, self.height), number(3, self.round.into())];
        fields.extend(self.block_id.iter().map(|block_id| block_id.node(4)));
        fields.extend(self.timestamp.iter().map(|time| timestamp(5, *time)));
        fields.extend([bytes(6, &self.address), number(7, self.index.into())]);
        let optional = [(8, &self.signature), (9, &self.extension), (10, &self.extension_signature)];
        fields.extend(optional.into_iter().filter(|(_, v)| !v.is_empty()).map(|(tag, v)| bytes(tag, v)));
        fields
    }

    /// The request, undelimited.
    pub(crate) fn request(&self, chain_id: impl AsRef<[u8]>, skip_extension_signing: bool) -> Vec<u8> {
        let mut request = vec![message(1, self.fields()), bytes(2, chain_id)];
        request.extend(skip_extension_signing.then(|| number(3, 1)));
        encode(&[message(3, request)])
    }
}

impl Proposal {
    pub(crate) fn fields(&self) -> Vec<Node> {
        let mut fields = vec![number(1, self.kind.into()), number(2, self.height), number(3, self.round.into())];
        fields.push(number(4, self.pol_round.into()));
        fields.extend(self.block_id.iter().map(|block_id| block_id.node(5)));
        fields.extend(self.timestamp.iter().map(|time| timestamp(6, *time)));
        fields.extend((!self.signature.is_empty()).then(|| bytes(7, &self.signature)));
        fields
    }

    /// The request, undelimited.
    pub(crate) fn request(&self, chain_id: impl AsRef<[u8]>) -> Vec<u8> {
        encode(&[message(5, vec![message(1, self.fields()), bytes(2, chain_id)])])
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "hex: {text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
