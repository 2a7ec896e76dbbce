//! The floor of the benchmark: the least that a durable signer could do, without rule, checks or state.
//!
//! Reads a frame, writes 4 KiB in place, syncs, signs once with ed25519, answers. It protects from nothing and exists
//! only to be compared with: `floor SOCKET FILE`.
use anyhow::{Context, Result, bail};
use ed25519_dalek::{Signer, SigningKey};
use privval::{FrameDecoder, Request, answers};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(socket), Some(file)) = (args.next(), args.next()) else { bail!("usage: floor SOCKET FILE") };
    let state = std::fs::File::create(&file).with_context(|| format!("cannot create {file}"))?;
    state.write_all_at(&[b' '; 8192], 0)?;
    state.sync_all()?;
    // TEST KEY: a benchmark has nothing to protect.
    let key = SigningKey::from_bytes(&[7; 32]);
    let mut node = connect(&socket)?;
    let mut frames = FrameDecoder::new();
    let mut buffer = vec![0; 4096];
    let mut block = [b' '; 4096];
    let mut count = 0_u64;
    loop {
        let read = node.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        frames.push(&buffer[..read]);
        while let Some(message) = frames.next()? {
            let answer = match Request::decode(message)? {
                Request::Ping => answers::pong(),
                Request::PubKey { .. } => {
                    answers::pub_key(answers::PublicKeyRef::Ed25519(key.verifying_key().as_bytes()))
                }
                Request::SignVote(vote) => {
                    let vote = vote.check()?;
                    let bytes = vote.sign_bytes();
                    block[..bytes.len()].copy_from_slice(&bytes);
                    count += 1;
                    state.write_all_at(&block, (count % 2) * 4096)?;
                    state.sync_data()?;
                    // Read back out of the bytes: well under a microsecond.
                    let time = guard::Statement::parse(&bytes)?.timestamp();
                    vote.answer(&key.sign(&bytes).to_bytes(), None, (time.seconds, time.nanos))
                }
                _ => bail!("the floor signs votes only"),
            };
            node.write_all(&answer)?;
        }
    }
}

fn connect(socket: &str) -> Result<UnixStream> {
    for _ in 0..500 {
        if let Ok(node) = UnixStream::connect(socket) {
            return Ok(node);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing listens on {socket}")
}
