//! Random messages for differential tests: honest requests, odd fields, odd structure, odd bytes. Seeded.
use crate::tree::{Node, bytes, encode, message, number};

/// SplitMix64: a few lines, the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn signed(&mut self) -> i64 {
        self.next().cast_signed() >> self.below(64)
    }
}

/// A message, undelimited. `oddity` 0 is honest, 1 has odd values, 2 odd structure too, 3 odd bytes too.
pub(crate) fn message_of(random: &mut Random, oddity: usize) -> Vec<u8> {
    let mut nodes = vec![request(random, oddity > 0)];
    if oddity > 1 {
        for _ in 0..=random.below(3) {
            disturb(random, &mut nodes);
        }
    }
    let mut bytes = encode(&nodes);
    if oddity > 2 {
        for _ in 0..=random.below(3) {
            corrupt(random, &mut bytes);
        }
    }
    bytes
}

fn request(random: &mut Random, odd: bool) -> Node {
    match random.below(20) {
        0 => message(7, vec![]),
        1 => message(1, vec![bytes(1, chain_id(random, odd))]),
        2 if odd => message(9, vec![bytes(1, random.bytes(5)), bytes(2, [1, 2, 3])]),
        3 if odd => message(random.pick(&[2, 4, 6, 8, 10, 11, 300]), vec![]),
        4..=8 => {
            let proposal = message(1, proposal(random, odd));
            message(5, vec![proposal, bytes(2, chain_id(random, odd))])
        }
        _ => {
            let vote = message(1, vote(random, odd));
            let mut fields = vec![vote, bytes(2, chain_id(random, odd))];
            fields.extend(random.one_in(4).then(|| number(3, 1)));
            message(3, fields)
        }
    }
}

fn chain_id(random: &mut Random, odd: bool) -> Vec<u8> {
    match random.below(if odd { 8 } else { 4 }) {
        0 => b"test_chain_id".to_vec(),
        1 => "chaîne-鎖".as_bytes().to_vec(),
        2 => b"c".repeat(50),
        3 => b"x".repeat(1 + random.below(49)),
        4 => vec![],
        5 => b"c".repeat(51 + random.below(200)),
        6 => random.bytes(8),
        _ => b"test_chain_id".to_vec(),
    }
}

fn height(random: &mut Random, odd: bool) -> i64 {
    match random.below(if odd { 6 } else { 4 }) {
        0 => 1,
        1 => i64::MAX,
        2 | 3 => random.signed().checked_abs().unwrap_or(1).max(1),
        4 => random.pick(&[0, -1, i64::MIN]),
        _ => random.signed(),
    }
}

fn round(random: &mut Random, odd: bool) -> i64 {
    match random.below(if odd { 7 } else { 4 }) {
        0 => 0,
        1 => i64::from(i32::MAX),
        2 | 3 => i64::try_from(random.below(20)).unwrap(),
        4 => random.pick(&[-1, i64::from(i32::MIN)]),
        // Beyond 32 bits: cut off by both.
        5 => random.signed(),
        _ => 1,
    }
}

fn timestamp(random: &mut Random, tag: u32, odd: bool) -> Vec<Node> {
    let (seconds, nanos) = match random.below(if odd { 9 } else { 6 }) {
        0 => return vec![],
        1 => (0, 0),
        2 => random.pick(&[(-62_135_596_800, 0), (253_402_300_799, 999_999_999), (-1, 999_999_999)]),
        3..=5 => (1_570_983_284 + i64::try_from(random.below(1 << 30)).unwrap(), random.below(1_000_000_000)),
        6 => random.pick(&[(-62_135_596_801, 0), (253_402_300_800, 0), (0, 1_000_000_000), (i64::MIN, 0)]),
        7 => (random.signed(), random.below(1_000_000_000)),
        _ => (0, usize::try_from(random.next() >> 1).unwrap()),
    };
    let fields = [(1, seconds), (2, i64::try_from(nanos).unwrap())];
    let fields = fields.into_iter().filter(|(_, value)| *value != 0 || odd);
    vec![message(tag, fields.map(|(tag, value)| number(tag, value)).collect())]
}

fn hash(random: &mut Random, odd: bool) -> Vec<u8> {
    let length = if odd && random.one_in(3) { random.pick(&[0, 1, 20, 31, 33, 64]) } else { 32 };
    random.bytes(length)
}

fn block_id(random: &mut Random, tag: u32, may_be_nil: bool, odd: bool) -> Vec<Node> {
    if (may_be_nil || odd) && random.one_in(4) {
        return random.pick(&[vec![], vec![message(tag, vec![])], vec![message(tag, vec![message(2, vec![])])]]);
    }
    let total =
        if odd && random.one_in(5) { random.signed() } else { 1 + i64::try_from(random.below(70_000)).unwrap() };
    let parts = vec![number(1, total), bytes(2, hash(random, odd))];
    let mut fields = vec![bytes(1, hash(random, odd)), message(2, parts)];
    if odd && random.one_in(8) {
        fields.remove(random.below(2));
    }
    vec![message(tag, fields)]
}

fn vote(random: &mut Random, odd: bool) -> Vec<Node> {
    let kind =
        if odd && random.one_in(5) { random.pick(&[0, 3, 32, -1, 1 << 32 | 1]) } else { random.pick(&[1, 2, 2]) };
    let mut fields = vec![number(1, kind), number(2, height(random, odd)), number(3, round(random, odd))];
    let block_id = block_id(random, 4, true, odd);
    let takes_extension = kind == 2 && !block_id.is_empty();
    fields.extend(block_id);
    fields.extend(timestamp(random, 5, odd));
    let address = if odd && random.one_in(6) { random.pick(&[0, 19, 21, 100]) } else { 20 };
    fields.extend([bytes(6, random.bytes(address)), number(7, random.signed() >> 33)]);
    fields.extend((odd && random.one_in(6)).then(|| bytes(8, random.bytes(64))));
    if (takes_extension || odd) && random.one_in(2) {
        let length = random.pick(&[0, 1, 9, 127, 128, 300, 12_000]);
        fields.push(bytes(9, random.bytes(length)));
        fields.extend((odd && random.one_in(2)).then(|| bytes(10, random.bytes(64))));
    }
    fields.extend((odd && random.one_in(8)).then(|| bytes(11, random.bytes(30))));
    fields.extend((odd && random.one_in(8)).then(|| bytes(12, random.bytes(64))));
    fields
}

fn proposal(random: &mut Random, odd: bool) -> Vec<Node> {
    let kind = if odd && random.one_in(8) { random.pick(&[0, 1, 2, -1]) } else { 32 };
    let round = round(random, odd);
    let below = usize::try_from(round.clamp(0, 1000)).unwrap();
    let pol_round = match random.below(if odd { 5 } else { 3 }) {
        0 => -1,
        1 | 2 => i64::try_from(random.below(below + 1)).unwrap() - 1,
        3 => random.signed(),
        _ => round,
    };
    let mut fields = vec![number(1, kind), number(2, height(random, odd)), number(3, round), number(4, pol_round)];
    fields.extend(block_id(random, 5, false, odd));
    fields.extend(timestamp(random, 6, odd));
    fields.extend((odd && random.one_in(6)).then(|| bytes(7, random.bytes(64))));
    fields
}

/// A change of structure somewhere in the tree.
fn disturb(random: &mut Random, nodes: &mut Vec<Node>) {
    let inside: Vec<usize> = (0..nodes.len()).filter(|at| matches!(nodes[*at], Node::Message(..))).collect();
    if !inside.is_empty() && random.below(4) > 0 {
        let at = random.pick(&inside);
        if let Node::Message(_, fields) = &mut nodes[at] {
            return disturb(random, fields);
        }
    }
    let at = random.below(nodes.len() + 1);
    match random.below(9) {
        0 if at < nodes.len() => drop(nodes.remove(at)),
        1 if at < nodes.len() => nodes.insert(0, nodes[at].clone()),
        2 if at < nodes.len() => nodes.swap(0, at),
        3 => {
            let other = request(random, true);
            nodes.insert(at, other);
        }
        4 if at < nodes.len() => pad(random, &mut nodes[at]),
        5 if at < nodes.len() => {
            // The same content under another tag, known or not.
            if let Node::Varint(tag, ..) | Node::Bytes(tag, _) | Node::Message(tag, _) = &mut nodes[at] {
                *tag = u32::try_from(1 + random.below(20)).unwrap();
            }
        }
        _ => {
            let node = unknown(random, 0);
            nodes.insert(at, node);
        }
    }
}

fn pad(random: &mut Random, node: &mut Node) {
    if let Node::Varint(_, _, padding) = node {
        *padding = random.below(12);
    }
}

/// A field that is known nowhere, or known under another wire type.
fn unknown(random: &mut Random, depth: usize) -> Node {
    let tags = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 100, 1 << 20, (1 << 29) - 1];
    let tag = if random.one_in(3) { random.pick(&tags) } else { random.pick(&tags[12..]) };
    match random.below(if depth > 3 { 5 } else { 7 }) {
        0 => Node::Varint(tag, random.next() >> random.below(64), random.below(3)),
        1 => Node::Fixed64(tag, random.next()),
        2 => Node::Fixed32(tag, 7),
        3 | 4 => {
            let length = random.below(20);
            bytes(tag, random.bytes(length))
        }
        5 => Node::Group(tag, (0..random.below(3)).map(|_| unknown(random, depth + 1)).collect()),
        _ => Node::Raw(random.pick(&[
            vec![0x00, 0x01],
            vec![0x6c],
            vec![0x6b],
            vec![0x6b, 0x74],
            vec![0x6e, 0x00],
            vec![0x6a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            vec![0xe8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0x05],
            vec![0x68, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ])),
    }
}

fn corrupt(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return bytes.push(random.next().to_le_bytes()[0]);
    }
    // Mostly near the front, where the structure is.
    let reach = if random.one_in(2) { bytes.len().min(40) } else { bytes.len() };
    let at = random.below(reach);
    let byte = random.next().to_le_bytes()[0];
    match random.below(5) {
        0 => bytes[at] = byte,
        1 => bytes[at] ^= 1 << (byte % 8),
        2 => bytes.insert(at, byte),
        3 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
}
