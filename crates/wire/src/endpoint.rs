//! Where the other side is, and how it is reached: vsock, or Unix sockets in Firecracker's convention.
//!
//! In that convention an enclave has one base path `U`. A connection that the enclave makes to the parent's port `P`
//! arrives at the Unix socket `U_P`; the parent reaches the enclave's port `P` by connecting to `U` and sending
//! `CONNECT P\n`, which is answered by `OK <number>\n`.
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// A connected stream. A vsock connection is one, too: reading, writing, time-outs and shutting down are the same
/// calls on any stream socket.
pub type Stream = UnixStream;

/// The parent's CID on Nitro.
pub const PARENT_CID: u32 = 3;

/// The parent, as the enclave sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Over vsock; CID 3 on Nitro.
    Vsock {
        /// The parent's context id.
        cid: u32,
    },
    /// An emulated enclave: the base path `U`.
    Unix {
        /// `U`: the parent's port `P` is the socket `U_P`.
        base: PathBuf,
    },
}

/// An enclave, as its parent sees it: what `-i` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enclave {
    /// Over vsock, by its CID.
    Vsock {
        /// The enclave's context id, as `nitro-cli describe-enclaves` shows it.
        cid: u32,
    },
    /// An emulated enclave: `unix:PATH`.
    Unix {
        /// `U`.
        base: PathBuf,
    },
}

impl Parent {
    /// Connects to a port of the parent.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::TimedOut`] after `limit`.
    pub fn connect(&self, port: u32, limit: Duration) -> io::Result<Stream> {
        let _ = (port, limit);
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Enclave {
    /// Connects to a port of the enclave.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::TimedOut`] after `limit`.
    pub fn connect(&self, port: u32, limit: Duration) -> io::Result<Stream> {
        let _ = (port, limit);
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A port that is listened on, by either side.
pub struct Listener {}

impl Listener {
    /// The enclave's side: `port` on vsock, for connections of the parent's CID only; or the base path itself.
    ///
    /// # Errors
    /// The system's.
    pub fn in_enclave(parent: &Parent, port: u32) -> io::Result<Self> {
        let _ = (parent, port);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The parent's side: `port` on vsock, for connections of `only`'s CID where that is given, never of loopback; or
    /// the socket `U_P`, mode 0600.
    ///
    /// # Errors
    /// The system's.
    pub fn on_parent(enclave: Option<&Enclave>, port: u32) -> io::Result<Self> {
        let _ = (enclave, port);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits for a connection from a peer that is allowed; others are closed and counted.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<Stream> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
