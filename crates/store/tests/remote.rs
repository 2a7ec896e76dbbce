//! The record on a parent whose disk is slow: a recovery syncs twice, and has the time for it.
#![cfg(feature = "remote")]
#![allow(clippy::unwrap_used)]

use guard::{ChainId, Identity, Record, Store, Trouble};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use store::remote::{ANSWER_LIMIT, RECOVERY_LIMIT, RemoteStore, Transcript};
use wire::frame::{self, MAX_STATE_BYTES};
use wire::hello::{self, Channel, Side};
use wire::state::{Answer, Request};
use wire::token::Token;

/// TEST TOKEN.
const TOKEN: [u8; 32] = [7; 32];

fn parent(mut stream: UnixStream, opening: Duration, recovery: Duration) {
    let hello = hello::exchange(&mut stream, Side::Parent, Channel::State, [2; 32], "0.1.0").unwrap();
    let mut transcript = Transcript::new(hello.nonce);
    while let Ok(Some(frame)) = frame::read(&mut stream, MAX_STATE_BYTES) {
        transcript.absorb(&frame);
        let (number, request) = Request::decode(&frame).unwrap();
        let (wait, answer) = match request {
            Request::Open { .. } => (opening, Answer::Opened { epoch: 1 }),
            Request::Recover => (recovery, Answer::Recovered { record: Record::never_signed() }),
            Request::Commit { .. } => panic!("nothing is committed here"),
        };
        thread::sleep(wait);
        if frame::write(&mut stream, &answer.encode(number, &Token::new(&TOKEN), transcript.nonce())).is_err() {
            return;
        }
    }
}

fn store(opening: Duration, recovery: Duration) -> RemoteStore {
    let identity = Identity { chain_id: ChainId::try_from("slow-1").unwrap(), public_key: [9; 32][..].into() };
    let connect = move || {
        let (ours, theirs) = UnixStream::pair()?;
        thread::spawn(move || parent(theirs, opening, recovery));
        Ok(ours)
    };
    let token = Arc::new(Token::new(&TOKEN));
    RemoteStore::new(identity, Box::new(connect), token, [3; 16], "0.1.0", Box::new(|| Ok([1; 32])))
}

#[test]
fn a_recovery_may_take_two_syncs_and_a_commit_one() {
    let syncs = Duration::from_millis(1_700);
    assert!(ANSWER_LIMIT < syncs && syncs < RECOVERY_LIMIT);
    assert_eq!(store(Duration::ZERO, syncs).recover().unwrap(), Record::never_signed());
}

#[test]
fn opening_and_recovering_together_end_within_one_limit() {
    let mut store = store(Duration::from_millis(900), Duration::from_millis(1_900));
    let begun = Instant::now();
    assert_eq!(store.recover().unwrap_err().trouble, Trouble::Unknown);
    let took = begun.elapsed();
    assert!(took >= RECOVERY_LIMIT && took < Duration::from_millis(2_700), "{took:?}");
}
