//! What `nitro-cli run-enclave` does while an enclave boots: it listens on the parent's port 9000 for one byte and sends it back. The init of an
//! enclave waits for that before it goes on (AWS's init.c `enclave_ready`, nitro-cli's `resource_manager.rs`).
use anyhow::{Context, Result};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The parent's port.
pub const HEARTBEAT_PORT: u32 = 9000;
/// The byte.
pub const HEARTBEAT: u8 = 0xb7;

/// How long one connection may take to send its byte.
const LIMIT: Duration = Duration::from_secs(5);

/// Listens until the first heartbeat came, or until it is stopped.
pub struct Heartbeat {
    path: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    came: AtomicBool,
    stopped: AtomicBool,
}

impl Heartbeat {
    /// Listens on `BASE_9000`, which an emulator that was killed may have left.
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub fn listen(base: &Path) -> Result<Self> {
        let mut path = base.as_os_str().to_owned();
        path.push(format!("_{HEARTBEAT_PORT}"));
        let path = PathBuf::from(path);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || shared.serve(&listener))?;
        Ok(Self { path, state })
    }

    /// Whether it came.
    #[must_use]
    pub fn came(&self) -> bool {
        self.state.came.load(Ordering::Acquire)
    }

    /// Stops listening and removes the socket.
    pub fn stop(&self) {
        if !self.state.stopped.swap(true, Ordering::AcqRel) {
            // Wakes the thread; after a heartbeat it has ended, and nobody answers.
            let _ = UnixStream::connect(&self.path);
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    fn serve(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            if stream.is_ok_and(|stream| answer(stream).is_ok()) {
                return self.came.store(true, Ordering::Release);
            }
        }
    }
}

fn answer(mut stream: UnixStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    if byte != [HEARTBEAT] {
        return Err(ErrorKind::InvalidData.into());
    }
    stream.write_all(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sandbox, until};

    #[test]
    fn the_first_right_byte_is_sent_back_and_nothing_else_is_taken_for_it() {
        let sandbox = Sandbox::new("heartbeat").unwrap();
        let base = sandbox.dir().join("16");
        let heartbeat = Heartbeat::listen(&base).unwrap();
        let port = sandbox.dir().join("16_9000");
        let mut wrong = UnixStream::connect(&port).unwrap();
        wrong.write_all(&[0]).unwrap();
        assert_eq!(wrong.read(&mut [0]).unwrap(), 0);
        assert!(!heartbeat.came());
        let mut right = UnixStream::connect(&port).unwrap();
        right.write_all(&[HEARTBEAT]).unwrap();
        let mut answer = [0];
        right.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [HEARTBEAT]);
        until("the heartbeat", LIMIT, || Ok(heartbeat.came().then_some(()))).unwrap();
        heartbeat.stop();
        assert!(!port.exists());
        // The next boot in the same folder listens again.
        Heartbeat::listen(&base).unwrap();
    }
}
