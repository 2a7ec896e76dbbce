//! Canonical bytes: CometBFT's vectors are read, and nothing is read that CometBFT would not write.
#![allow(clippy::unwrap_used)]
mod world;

use guard::{Extension, Statement, Step};
use world::{Ask, delimited};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// CometBFT v0.38's own encoding of h3 r2, a full block id, 2019-10-13T16:14:44Z, chain test_chain_id.
const PRECOMMIT: &str = "770802110300000000000000190200000000000000224a0a208b01023386c371778ecb6368573e539afc3cc860ec3a2f614e54fe5652f4fc80122608c0843d122072db3d959635dff1bb567bedaa70573392c5159666a3f8caf11e413aac52207a2a0608f49a8ded05320d746573745f636861696e5f6964";
const NIL_PRECOMMIT: &str = "2b08021103000000000000001902000000000000002a0608f49a8ded05320d746573745f636861696e5f6964";
const EXTENSION: &str = "2c0a09657874656e73696f6e110300000000000000190200000000000000220d746573745f636861696e5f6964";
const EMPTY_EXTENSION: &str = "21110300000000000000190200000000000000220d746573745f636861696e5f6964";

#[test]
fn the_vectors_of_cometbft_are_read_whole() {
    let vote = Statement::parse(&hex(PRECOMMIT)).unwrap();
    assert_eq!(vote.position().to_string(), "3/2/precommit");
    assert_eq!(vote.content().block_id.unwrap().parts_total, 1_000_000);
    assert_eq!((vote.timestamp().seconds, vote.timestamp().nanos), (1_570_983_284, 0));
    assert_eq!(vote.chain_id(), "test_chain_id");
    assert!(vote.takes_extension());
    let nil = Statement::parse(&hex(NIL_PRECOMMIT)).unwrap();
    assert_eq!((nil.content().block_id, nil.takes_extension()), (None, false));
    for extension in [EXTENSION, EMPTY_EXTENSION] {
        assert_eq!(Extension::parse(hex(extension).into()).unwrap().bytes(), hex(extension));
    }
}

#[test]
fn the_longest_proposal_fits_and_one_more_byte_does_not() {
    // Every field at its largest: negative seconds of year 1 take ten bytes, the chain id has 50.
    let mut body = vec![0x08, 32, 0x11];
    body.extend(i64::MAX.to_le_bytes());
    body.push(0x19);
    body.extend(i64::from(i32::MAX).to_le_bytes());
    body.extend([0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    body.extend([0x2a, 76, 0x0a, 32]);
    body.extend([1; 32]);
    body.extend([0x12, 40, 0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x12, 32]);
    body.extend([2; 32]);
    body.extend([
        0x32, 17, 0x08, 0x80, 0x92, 0xb8, 0xc3, 0x98, 0xfe, 0xff, 0xff, 0xff, 0x01, 0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03,
    ]);
    body.extend([0x3a, 50]);
    body.extend([b'c'; 50]);
    let statement = Statement::parse(&delimited(&body)).unwrap();
    assert_eq!(statement.bytes().len(), 182);
    assert_eq!(statement.timestamp().nanos, 999_999_999);
    let too_long = Ask::new(1, 0, Step::Proposal, Some(1), 10).sign_bytes(&"c".repeat(100));
    assert!(Statement::parse(&too_long).unwrap_err().to_string().contains("longer"));
}

/// (what is wrong, what the error says, body without its length prefix); each differs in one thing from a
/// prevote of h1 r0 for nil on chain "c".
#[test]
fn what_cometbft_would_not_write_is_not_read() {
    let (time, chain) = ("2a02080a", "320163");
    let (head, tail) = ("0801110100000000000000", format!("{time}{chain}"));
    let good = format!("{head}{tail}");
    assert!(Statement::parse(&delimited(&hex(&good))).is_ok(), "the base of this test is wrong: {good}");
    for (wrong, says, body) in [
        ("an unknown type", "type", format!("0803110100000000000000{tail}")),
        ("no type", "type", format!("110100000000000000{tail}")),
        ("a type in long form", "shortest", format!("088100110100000000000000{tail}")),
        ("height 0", "height is 0", format!("0801{tail}")),
        ("height 0 written out", "zero", format!("0801110000000000000000{tail}")),
        ("a negative height", "negative height", format!("080111ffffffffffffffff{tail}")),
        ("a negative round", "round", format!("{head}19ffffffffffffffff{tail}")),
        ("a round over int32", "round", format!("{head}190000008000000000{tail}")),
        ("no timestamp", "no timestamp", format!("{head}{chain}")),
        ("no chain id", "no chain id", format!("{head}{time}")),
        ("fields out of order", "no timestamp", format!("{head}{chain}{time}")),
        ("an unknown field", "unknown", format!("{head}{tail}420100")),
        ("a twice given chain id", "misplaced", format!("{head}{tail}{chain}")),
        ("an empty block id", "without a hash", format!("{head}2200{tail}")),
        ("a short hash", "32 bytes", format!("{head}22040a020102{tail}")),
        ("too many nanoseconds", "years", format!("{head}2a06108094ebdc03{chain}")),
        ("year 10000", "years", format!("{head}2a07088083d1ffaf07{chain}")),
        ("an empty chain id", "empty", format!("{head}{time}3200")),
        ("a chain id that is no UTF-8", "UTF-8", format!("{head}{time}3201ff")),
        ("a length past the end", "truncated", format!("{head}2a7f080a{chain}")),
        ("a number of eleven bytes", "64 bits", format!("08ffffffffffffffffffff01{}", &tail)),
    ] {
        let error = Statement::parse(&delimited(&hex(&body))).expect_err(wrong).to_string();
        assert!(error.contains(says), "{wrong}: {error}");
    }
    for extension in ["0a0011010000000000000022 0163", "0a01ff220163", "11010000000000000022 00", "110100000000000000"]
    {
        let body = hex(&extension.replace(' ', ""));
        assert!(Extension::parse(delimited(&body).into()).is_err(), "the extension {extension} was read");
    }
    let mut prefixed = delimited(&hex(&good));
    prefixed.push(0);
    assert!(Statement::parse(&prefixed).is_err(), "a trailing byte was read");
    assert!(Statement::parse(&[]).is_err() && Statement::parse(&[0]).is_err());
}
