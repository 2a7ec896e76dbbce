//! Someone in the middle of a channel between enclave and parent: passes bytes on, or cuts, delays, duplicates and truncates them.
use anyhow::{Context, Result};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What is done to what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// Each piece closes its connection instead of arriving.
    Cut,
    /// Each piece arrives that much later.
    Delay(Duration),
    /// Each piece arrives twice.
    Duplicate,
    /// Half of each piece arrives, then the connection ends.
    Truncate,
}

/// The one in the middle. It ends when it is dropped; connections that are open then end with their peers.
pub struct Tamper {
    shared: Arc<Shared>,
}

struct Shared {
    mode: Mutex<Mode>,
    done: AtomicBool,
    tampered: AtomicU64,
}

impl Tamper {
    /// Listens at one Unix socket and passes on to another.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(listen: &Path, target: &Path) -> Result<Self> {
        let listener = UnixListener::bind(listen).with_context(|| format!("cannot listen on {}", listen.display()))?;
        listener.set_nonblocking(true)?;
        let (done, tampered) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Pass), done, tampered });
        let (target, accepting) = (target.to_owned(), Arc::clone(&shared));
        thread::spawn(move || {
            while !accepting.done.load(SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => drop(pass(stream, &target, &accepting)),
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Ok(Self { shared })
    }

    /// What is done from now on, on open connections, too.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// How many pieces were tampered with.
    #[must_use]
    pub fn tampered(&self) -> u64 {
        self.shared.tampered.load(SeqCst)
    }
}

impl Drop for Tamper {
    fn drop(&mut self) {
        self.shared.done.store(true, SeqCst);
    }
}

/// Two threads, one a direction. Whoever the target does not take sees its connection closed.
fn pass(near: UnixStream, target: &Path, shared: &Arc<Shared>) -> io::Result<()> {
    near.set_nonblocking(false)?;
    let far = UnixStream::connect(target)?;
    for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = copy(&from, &to, &shared);
            let _ = to.shutdown(Shutdown::Write);
            let _ = from.shutdown(Shutdown::Read);
        });
    }
    Ok(())
}

fn copy(mut from: &UnixStream, mut to: &UnixStream, shared: &Shared) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        let mode = *shared.mode.lock().unwrap_or_else(PoisonError::into_inner);
        if mode != Mode::Pass {
            shared.tampered.fetch_add(1, SeqCst);
        }
        let bytes = &piece[..length];
        match mode {
            Mode::Pass => to.write_all(bytes)?,
            Mode::Delay(time) => {
                thread::sleep(time);
                to.write_all(bytes)?;
            }
            Mode::Duplicate => {
                to.write_all(bytes)?;
                to.write_all(bytes)?;
            }
            Mode::Cut => return hang_up(from, to),
            Mode::Truncate => {
                to.write_all(&bytes[..length / 2])?;
                return hang_up(from, to);
            }
        }
    }
}

fn hang_up(from: &UnixStream, to: &UnixStream) -> io::Result<()> {
    let _ = from.shutdown(Shutdown::Both);
    to.shutdown(Shutdown::Both)
}
