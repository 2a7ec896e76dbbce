//! Where copies of a secret are in memory, seen from outside: another process's memory is searched for it.
#![allow(clippy::unwrap_used)]
mod key_folder;

use base64ct::{Base64, Encoding};
use guard::{ChainId, Committed, Guard, Height, Identity, Permit, Position, Record, Statement, Store, StoreError};
use key_folder::KeyFolder;
use sha2::{Digest, Sha512};
use signer::keys::{Algorithm, ConsensusKey, KeyFormat};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The subject's name as a test, and the variables that tell it what to read.
const SUBJECT: &str = "subject_that_holds_a_key";
const PATH: &str = "KEYS_IN_MEMORY_PATH";
const ALGORITHM: &str = "KEYS_IN_MEMORY_ALGORITHM";

/// Reads a key, signs, drops it, and waits after each step for a line on its standard input. Run by the tests below,
/// in a process of its own that never sees the secret but through the code under test.
#[test]
#[ignore = "run by the other tests in a process of its own"]
fn subject_that_holds_a_key() {
    let Ok(path) = std::env::var(PATH) else { return };
    let algorithm = std::env::var(ALGORITHM).unwrap().parse().ok();
    let key = ConsensusKey::read(Path::new(&path), KeyFormat::Base64, algorithm).ok().unwrap();
    wait_after("read");
    let _ = std::hint::black_box(key.sign(permit(&key)).unwrap());
    wait_after("signed");
    drop(key);
    wait_after("dropped");
}

fn wait_after(step: &str) {
    println!("\n@{step}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A store that says what the guard wants to hear.
struct Yes;

impl Store for Yes {
    fn recover(&mut self) -> Result<Record, StoreError> {
        Ok(Record::floor(0, Position::end_of(Height::ZERO)))
    }

    fn commit(&mut self, _previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        Ok(Committed::durably(next))
    }
}

/// For a nil precommit at height 3, round 2 (a vector of the golden files).
fn permit(key: &ConsensusKey) -> Permit {
    let hex = "2b08021103000000000000001902000000000000002a0608f49a8ded05320d746573745f636861696e5f6964";
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let identity = Identity {
        chain_id: ChainId::try_from("test_chain_id").unwrap(),
        public_key: key.public_key().as_bytes().into(),
    };
    Guard::new(identity, Yes).authorize(Statement::parse(&bytes).unwrap(), None).unwrap()
}

/// The subject's process, ended with this value.
struct Subject(Child, BufReader<std::process::ChildStdout>);

impl Subject {
    fn start(path: &Path, algorithm: Algorithm) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", SUBJECT, "--ignored", "--nocapture", "--test-threads=1"])
            .envs([(PATH, path.to_str().unwrap()), (ALGORITHM, algorithm.name())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self(child, output)
    }

    fn reaches(&mut self, step: &str) {
        let mark = format!("@{step}");
        let mut line = String::new();
        while line.trim_end() != mark {
            line.clear();
            assert_ne!(self.1.read_line(&mut line).unwrap(), 0, "the subject ended before {step}");
        }
    }

    fn goes_on(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// The mappings in which `secret` is found, one entry for each place.
    fn places_of(&self, secret: &[u8]) -> Vec<String> {
        let process = Path::new("/proc").join(self.0.id().to_string());
        let memory = File::open(process.join("mem")).unwrap();
        let maps = std::fs::read_to_string(process.join("maps")).unwrap();
        let writable = maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")));
        writable.flat_map(|mapping| places_in(&memory, mapping, secret)).collect()
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn places_in(memory: &File, mapping: &str, secret: &[u8]) -> Vec<String> {
    let (start, end) = mapping.split(' ').next().unwrap().split_once('-').unwrap();
    let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    if memory.read_exact_at(&mut bytes, start).is_err() {
        return Vec::new(); // Kernel pages, such as [vvar].
    }
    let found = bytes.windows(secret.len()).enumerate().filter(|(_, window)| *window == secret);
    found.map(|(offset, _)| format!("{mapping} at {offset:#x} of {:#x}", bytes.len())).collect()
}

/// What the test looks for, 16 bytes at a time: half a secret betrays as much as a whole one.
struct Pattern {
    name: &'static str,
    bytes: [u8; 16],
    /// How often it may be found while the key lives.
    while_alive: usize,
}

fn pattern(name: &'static str, bytes: &[u8], while_alive: usize) -> Pattern {
    Pattern { name, bytes: *bytes.first_chunk().unwrap(), while_alive }
}

fn examine(algorithm: Algorithm, patterns: impl Fn(&[u8]) -> Vec<Pattern>) {
    let folder = KeyFolder::new();
    let path = folder.path("a.key");
    signer::keys::generate(&path, algorithm).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut patterns = patterns(&Base64::decode_vec(&text).unwrap());
    patterns.push(pattern("the file's text", text.as_bytes(), 0));
    patterns.push(pattern("the file's text, its end", &text.as_bytes()[24..], 0));

    let mut subject = Subject::start(&path, algorithm);
    for (step, is_alive) in [("read", true), ("signed", true), ("dropped", false)] {
        subject.reaches(step);
        for Pattern { name, bytes, while_alive } in &patterns {
            let places = subject.places_of(bytes);
            let expected = if is_alive { *while_alive } else { 0 };
            assert_eq!(places.len(), expected, "{step}: {name} is in memory at {places:#?}");
        }
        subject.goes_on();
    }
}

#[test]
fn an_ed25519_seed_is_once_in_memory_and_gone_with_its_key() {
    examine(Algorithm::Ed25519, |seed| {
        // RFC 8032, 5.1.5: the scalar (whose first and last byte are changed) and the prefix of every nonce.
        let expanded = Sha512::digest(seed);
        vec![
            pattern("the seed", seed, 1),
            pattern("the seed, its second half", &seed[16..], 1),
            pattern("the scalar", &expanded[1..], 0),
            pattern("the nonce prefix", &expanded[32..], 0),
            pattern("the nonce prefix, its second half", &expanded[48..], 0),
        ]
    });
}

#[test]
fn a_secp256k1_scalar_is_once_in_memory_and_gone_with_its_key() {
    examine(Algorithm::Secp256k1, |scalar| {
        // k256 holds it as an integer, which on the machines that we serve has its least byte first.
        let integer: Vec<u8> = scalar.iter().rev().copied().collect();
        vec![
            pattern("the scalar", &integer, 1),
            pattern("the scalar, its second half", &integer[16..], 1),
            pattern("the scalar's bytes", scalar, 0),
            pattern("the scalar's bytes, their second half", &scalar[16..], 0),
        ]
    });
}
