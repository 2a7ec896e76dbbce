//! Listening: who may connect, and how waiting ends.
use super::{Enclave, Parent, Stream, emulated_base, not_an_enclave, unix, vsock};
use log::debug;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How many connections may wait to be accepted.
pub(super) const BACKLOG: i32 = 128;

/// A port that is listened on, by either side.
pub struct Listener {
    socket: OwnedFd,
    kind: Kind,
    refused: AtomicU64,
    stop: Stopper,
}

enum Kind {
    /// vsock, and who may connect.
    Vsock(Peers),
    /// The base path `U` of an emulated enclave: whoever connects says which port it wants.
    Base { port: u32, _place: unix::Place },
    /// A socket `U_P`.
    Port { _place: unix::Place },
}

/// Who may connect over vsock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    Only(u32),
    AnyEnclave,
}

impl Peers {
    const fn allow(self, cid: u32) -> bool {
        match self {
            Self::Only(only) => cid == only,
            Self::AnyEnclave => not_an_enclave(cid).is_none(),
        }
    }
}

/// Ends a listener's waiting, from any thread.
#[derive(Clone)]
pub struct Stopper {
    flag: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
}

impl Stopper {
    fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { flag: Arc::new(AtomicBool::new(false)), wake: Arc::new(wake) })
    }

    /// From now on nothing is accepted: every [`Listener::accept`], also one that waits, fails.
    pub fn stop(&self) {
        self.flag.store(true, SeqCst);
        // It cannot fail: nothing reads the counter, which stays far from its end.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }

    /// Whether it was stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.flag.load(SeqCst)
    }
}

impl Listener {
    /// The enclave's side: `port` on vsock, for connections of the parent's CID only; or the base path itself.
    ///
    /// # Errors
    /// The system's.
    pub fn in_enclave(parent: &Parent, port: u32) -> io::Result<Self> {
        match parent {
            Parent::Vsock { cid } => Self::on_vsock(port, Peers::Only(*cid)),
            Parent::Unix { base } => {
                let (socket, place) = unix::listen(base)?;
                Self::over(socket, Kind::Base { port, _place: place })
            }
        }
    }

    /// The parent's side: `port` on vsock, for connections of `only`'s CID where that is given, never of loopback; or
    /// the socket `U_P`, mode 0600.
    ///
    /// # Errors
    /// The system's.
    pub fn on_parent(only: Option<&Enclave>, port: u32) -> io::Result<Self> {
        match only {
            None => Self::on_vsock(port, Peers::AnyEnclave),
            Some(Enclave::Vsock { cid }) => Self::on_vsock(port, Peers::Only(*cid)),
            Some(Enclave::Emulated { cid, folder }) => Self::on_unix(&emulated_base(*cid, folder), port),
            Some(Enclave::Unix { base }) => Self::on_unix(base, port),
        }
    }

    fn on_unix(base: &Path, port: u32) -> io::Result<Self> {
        let (socket, place) = unix::listen(&unix::port_path(base, port))?;
        Self::over(socket, Kind::Port { _place: place })
    }

    fn on_vsock(port: u32, peers: Peers) -> io::Result<Self> {
        Self::over(vsock::listen(port)?, Kind::Vsock(peers))
    }

    fn over(socket: OwnedFd, kind: Kind) -> io::Result<Self> {
        // A connection can be gone between poll and accept, which would then wait for the next one, deaf to `stop`.
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, kind, refused: AtomicU64::new(0), stop: Stopper::new()? })
    }

    /// What ends the waiting.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stop.clone()
    }

    /// How many connections were refused because of who made them, or what they asked for.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(SeqCst)
    }

    /// Waits for a connection from a peer that is allowed; others are closed and counted.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotConnected`] once it was stopped, see [`Stopper::is_stopped`].
    pub fn accept(&self) -> io::Result<Stream> {
        loop {
            if let Some(stream) = self.accept_until(None)? {
                return Ok(stream);
            }
        }
    }

    /// The same, for at most `limit`; then none.
    ///
    /// # Errors
    /// As [`Listener::accept`].
    pub fn accept_within(&self, limit: Duration) -> io::Result<Option<Stream>> {
        self.accept_until(Some(super::deadline(limit)))
    }

    fn accept_until(&self, until: Option<Instant>) -> io::Result<Option<Stream>> {
        loop {
            if self.stop.is_stopped() {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "the listener was stopped"));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
            let mut waited = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&*self.stop.wake, PollFlags::IN)];
            match poll(&mut waited, left.as_ref()) {
                Ok(0) => return Ok(None),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.stop.is_stopped() {
                continue;
            }
            match self.take() {
                Ok(Some(stream)) => return Ok(Some(stream)),
                Ok(None) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the connection that waits; none if it is refused.
    fn take(&self) -> io::Result<Option<Stream>> {
        let (mut stream, cid) = match &self.kind {
            Kind::Vsock(_) => vsock::accept(&self.socket)?,
            Kind::Base { .. } | Kind::Port { .. } => {
                (rustix::net::accept_with(&self.socket, rustix::net::SocketFlags::CLOEXEC)?.into(), None)
            }
        };
        match &self.kind {
            Kind::Vsock(peers) => match cid {
                Some(cid) if peers.allow(cid) => Ok(Some(stream)),
                _ => Ok(self.refuse(&format!("a connection of CID {cid:?}, expected {peers:?}"))),
            },
            Kind::Base { port, .. } => match unix::answer(&mut stream, *port) {
                Ok(true) => Ok(Some(stream)),
                Ok(false) => Ok(self.refuse(&format!("a connection that does not ask for port {port}"))),
                Err(error) => Ok(self.refuse(&format!("a connection that asks for no port: {error}"))),
            },
            Kind::Port { .. } => Ok(Some(stream)),
        }
    }

    fn refuse(&self, what: &str) -> Option<Stream> {
        let count = self.refused.fetch_add(1, SeqCst) + 1;
        debug!("refused {what}; {count} so far");
        None
    }
}

/// Whether an accept failed because of that one connection, or of nothing.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_cid_or_any_possible_enclave_may_connect() {
        assert!(Peers::Only(16).allow(16) && !Peers::Only(16).allow(17) && !Peers::Only(16).allow(1));
        for cid in [0, 1, 2, 3, u32::MAX] {
            assert!(!Peers::AnyEnclave.allow(cid), "{cid}");
        }
        assert!(Peers::AnyEnclave.allow(4) && Peers::AnyEnclave.allow(16));
    }
}
