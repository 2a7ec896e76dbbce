//! The bytes of every message, committed: whoever changes them changes the protocol's version, too.
#![allow(clippy::unwrap_used)]
mod samples;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use wire::PROTOCOL_VERSION;
use wire::hello::{Channel, Hello};
use wire::state;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn all() -> BTreeMap<String, Vec<u8>> {
    let mut all: BTreeMap<_, _> = samples::frames().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    for channel in [Channel::Control, Channel::State] {
        let hello = Hello { protocol: 1, channel, nonce: samples::NONCE, software: "0.1.0".to_owned() };
        all.insert(format!("hello-{channel}"), hello.encode());
    }
    all.insert("record-digest".to_owned(), state::digest(&samples::record()).to_vec());
    all.insert("record-digest-floor".to_owned(), state::digest(&samples::floor()).to_vec());
    let mut framed = Vec::new();
    wire::frame::write(&mut framed, b"content").unwrap();
    all.insert("frame".to_owned(), framed);
    all
}

/// With WIRE_GOLDEN=write in its environment it writes the file of this protocol's version instead, and the fuzz seeds.
#[test]
fn the_bytes_of_every_message_are_those_of_this_protocol_version() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{PROTOCOL_VERSION}.txt"));
    let text: String = all().iter().fold(String::new(), |mut text, (name, bytes)| {
        writeln!(text, "{name} {}", hex(bytes)).unwrap();
        text
    });
    if std::env::var_os("WIRE_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&file, &text).unwrap();
        write_seeds();
    }
    let golden = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; write it with WIRE_GOLDEN=write", file.display()));
    for (ours, golden) in text.lines().zip(golden.lines()) {
        assert_eq!(ours, golden, "the bytes changed: raise PROTOCOL_VERSION, and keep the old file");
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "a message was added or removed");
}

fn write_seeds() {
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (name, bytes) in all() {
        let target = match name.split_once('-') {
            Some(("control", _)) => "wire_control",
            Some(("state", _)) => "wire_state",
            Some(("hello", _)) => "wire_hello",
            _ => continue,
        };
        let folder = seeds.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}
