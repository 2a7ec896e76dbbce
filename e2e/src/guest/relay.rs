//! A way from where an emulated enclave looks for a port of its parent to a parent that is a guest: a Unix socket outside, a forwarded TCP port,
//! and in the guest `guest-relay`, which leads to the Unix socket where the parent's program listens.
use anyhow::{Context, Result};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The end outside.
pub struct Relay {
    socket: PathBuf,
    over: Arc<AtomicBool>,
}

impl Relay {
    /// From the Unix socket `from` to the port `port` of this machine's loopback, whether anybody is there yet or not.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(from: &Path, port: u16) -> Result<Self> {
        // What a parent that was here before has left.
        let _ = fs::remove_file(from);
        let listener = UnixListener::bind(from).with_context(|| format!("cannot listen at {}", from.display()))?;
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // Nobody there: the enclave's connection ends, which is what a parent without a listener looks like.
                std::thread::spawn(move || {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|guest| join(&stream, &guest))
                });
            }
        });
        Ok(Self { socket: from.to_path_buf(), over })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = UnixStream::connect(&self.socket);
        let _ = fs::remove_file(&self.socket);
    }
}

/// Carries bytes both ways until both ends are done, each end in its own time.
///
/// # Errors
/// When a connection cannot be shared by two threads.
pub fn join(unix: &UnixStream, tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*unix, &mut &*tcp);
            let _ = tcp.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &*tcp, &mut &*unix);
        let _ = unix.shutdown(Shutdown::Write);
    });
    Ok(())
}
