//! Whoever floods ports: threads that connect again and again, with garbage, slowly, or to hang up at once. Everything they do any process of
//! the parent can do.
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is flooded.
#[derive(Clone, Debug)]
pub enum Target {
    /// A port of the enclave, through the base path of its vsock.
    Enclave(PathBuf, u32),
    /// A Unix socket, as which a port of the parent stands.
    Parent(PathBuf),
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 64 KiB of noise, and whatever is answered is read for a moment.
    Garbage,
    /// A byte every 200 ms for five seconds.
    Slow,
    /// Connects and hangs up.
    HangUp,
    /// Connects, and reads nothing and says nothing for two seconds.
    Silent,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Garbage, Self::Slow, Self::HangUp, Self::Silent];
}

/// A flood. It ends when it is dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// How long one connection may take to be made, and a piece to be written or read.
const LIMIT: Duration = Duration::from_millis(500);

impl Flood {
    /// Begins: a thread for each target in each manner.
    #[must_use]
    pub fn begin(targets: &[Target], manners: &[Manner]) -> Self {
        let (stop, connections, bytes) = (Arc::default(), Arc::default(), Arc::default());
        let mut flood = Self { stop, connections, bytes, threads: Vec::new() };
        for target in targets {
            for manner in manners {
                flood.add(target.clone(), *manner);
            }
        }
        flood
    }

    fn add(&mut self, target: Target, manner: Manner) {
        let (stop, connections, bytes) =
            (Arc::clone(&self.stop), Arc::clone(&self.connections), Arc::clone(&self.bytes));
        self.threads.push(thread::spawn(move || {
            let noise = noise();
            while !stop.load(Relaxed) {
                if let Ok(stream) = connect(&target) {
                    connections.fetch_add(1, Relaxed);
                    // Being hung up on is what a flooder has to expect.
                    let _ = send(&stream, manner, &noise, &stop, &bytes);
                }
                thread::sleep(Duration::from_millis(5));
            }
        }));
    }

    /// Connections that were made and bytes that were taken so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.connections.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// Ends it; gives its counts.
    #[must_use]
    pub fn end(mut self) -> (u64, u64) {
        self.join();
        self.counts()
    }

    fn join(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.join();
    }
}

fn connect(target: &Target) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path(target))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    if let Target::Enclave(_, port) = target {
        (&stream).write_all(format!("CONNECT {port}\n").as_bytes())?;
        let mut answer = [0; 3];
        (&stream).read_exact(&mut answer)?;
    }
    Ok(stream)
}

fn path(target: &Target) -> &Path {
    match target {
        Target::Enclave(path, _) | Target::Parent(path) => path,
    }
}

fn send(mut stream: &UnixStream, manner: Manner, noise: &[u8], stop: &AtomicBool, bytes: &AtomicU64) -> io::Result<()> {
    let begun = Instant::now();
    let goes_on = |limit| begun.elapsed() < limit && !stop.load(Relaxed);
    match manner {
        Manner::HangUp => {}
        Manner::Garbage => {
            let mut rest = noise;
            while !rest.is_empty() && !stop.load(Relaxed) {
                let written = stream.write(rest)?;
                bytes.fetch_add(written as u64, Relaxed);
                rest = &rest[written..];
            }
            while goes_on(LIMIT) && stream.read(&mut [0; 4096])? > 0 {}
        }
        Manner::Slow => {
            for byte in noise {
                if !goes_on(LIMIT * 10) {
                    break;
                }
                stream.write_all(&[*byte])?;
                bytes.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_millis(200));
            }
        }
        Manner::Silent => {
            while goes_on(LIMIT * 4) {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Ok(())
}

/// Bytes without a pattern that a parser could like (SplitMix64).
fn noise() -> Vec<u8> {
    let mut state = 0x5eed_u64;
    let mut noise = Vec::with_capacity(64 << 10);
    while noise.len() < 64 << 10 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        noise.extend((mixed ^ (mixed >> 27)).to_le_bytes());
    }
    noise
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_flood_comes_in_every_manner_and_ends() {
        let sandbox = Sandbox::new("flood").unwrap();
        let path = sandbox.dir().join("f");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let flood = Flood::begin(&[Target::Parent(path)], &Manner::ALL);
        let begun = Instant::now();
        let mut accepted = Vec::new();
        while accepted.len() < 8 && begun.elapsed() < Duration::from_secs(10) {
            accepted.extend(listener.accept().ok());
            thread::sleep(Duration::from_millis(1));
        }
        drop(accepted);
        let (connections, bytes) = flood.end();
        assert!(connections >= 8 && bytes > 0, "{connections} connections, {bytes} bytes");
    }
}
