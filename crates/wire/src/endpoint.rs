//! Where the other side is, and how it is reached: vsock, or Unix sockets in Firecracker's convention.
//!
//! In that convention an enclave has one base path `U`. A connection that the enclave makes to the parent's port `P`
//! arrives at the Unix socket `U_P`; the parent reaches the enclave's port `P` by connecting to `U` and sending
//! `CONNECT P\n`, which is answered by `OK <number>\n`. `vhost-device-vsock` gives an emulated Nitro Enclave such sockets; where each
//! has `FOLDER/CID` for a base path, `CID@FOLDER` names it.
mod listener;
mod unix;
mod vsock;

pub use listener::{Listener, Stopper};

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// A connected stream. A vsock connection is one, too: reading, writing, time-outs and shutting down are the same
/// calls on any stream socket. (Its `peer_addr` is meaningless.)
pub type Stream = UnixStream;

/// The parent's CID on Nitro.
pub const PARENT_CID: u32 = 3;

/// The CID under which a machine reaches its own ports, where its kernel has a loopback (`VMADDR_CID_LOCAL`).
const LOOPBACK_CID: u32 = 1;

/// The longest base path `U`, in bytes: a socket's path has 107, and `_4294967295` may follow.
pub const MAX_BASE_BYTES: usize = 107 - 11;

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
    /// An emulated enclave by its CID: `CID@FOLDER`, where its sockets are. Its base path is `FOLDER/CID`.
    Emulated {
        /// Its context id, which is also its sockets' name.
        cid: u32,
        /// The folder, as it was written; a relative one is meant from where the program runs.
        folder: PathBuf,
    },
    /// A process that plays the enclave, or an emulated one by its base path: `unix:PATH`.
    Unix {
        /// `U`.
        base: PathBuf,
    },
}

impl Default for Parent {
    fn default() -> Self {
        Self::Vsock { cid: PARENT_CID }
    }
}

impl Parent {
    /// Connects to a port of the parent.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::TimedOut`] after `limit`.
    pub fn connect(&self, port: u32, limit: Duration) -> io::Result<Stream> {
        match self {
            Self::Vsock { cid } => vsock::connect(*cid, port, limit),
            Self::Unix { base } => unix::connect(&unix::port_path(base, port), limit),
        }
    }
}

impl Enclave {
    /// Connects to a port of the enclave.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::TimedOut`] after `limit`; [`io::ErrorKind::ConnectionRefused`] where an emulated enclave
    /// does not listen on that port.
    pub fn connect(&self, port: u32, limit: Duration) -> io::Result<Stream> {
        match self {
            Self::Vsock { cid } => vsock::connect(*cid, port, limit),
            Self::Emulated { cid, folder } => unix::connect_through(&emulated_base(*cid, folder), port, limit),
            Self::Unix { base } => unix::connect_through(base, port, limit),
        }
    }

    /// Where the parent itself finds the ports that it listens on for this enclave. Over vsock that needs a kernel with a loopback, and
    /// says no more than that somebody listens: the parent's listeners close a connection that is not of an enclave.
    #[must_use]
    pub fn ports_of_parent(&self) -> Parent {
        match self {
            Self::Vsock { .. } => Parent::Vsock { cid: LOOPBACK_CID },
            Self::Emulated { cid, folder } => Parent::Unix { base: emulated_base(*cid, folder) },
            Self::Unix { base } => Parent::Unix { base: base.clone() },
        }
    }
}

/// `FOLDER/CID`.
fn emulated_base(cid: u32, folder: &Path) -> PathBuf {
    folder.join(cid.to_string())
}

/// Whose vsock connection this is, by the kernel's word. None where there are Unix sockets: an emulated enclave has no CID that a
/// connection would tell.
#[must_use]
pub fn peer_cid(stream: &Stream) -> Option<u32> {
    vsock::peer(stream)
}

/// When a limit is over. No limit is longer than a day, so that the sum exists.
fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit.min(Duration::from_hours(24))
}

/// Connects to a Unix socket of this machine, waiting at most `limit` where the listener's queue is full.
///
/// # Errors
/// The system's; [`io::ErrorKind::TimedOut`] after `limit`.
pub fn connect_unix(path: &Path, limit: Duration) -> io::Result<Stream> {
    unix::connect(path, limit)
}

/// A text that names no parent or enclave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEndpoint(String);

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidEndpoint {}

impl FromStr for Enclave {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(base) = base(text)? {
            return Ok(Self::Unix { base });
        }
        // The first @: a folder's name may have more of them.
        match text.split_once('@') {
            None => Ok(Self::Vsock { cid: enclave_cid(text)? }),
            Some((cid, folder)) => emulated(enclave_cid(cid)?, folder),
        }
    }
}

fn enclave_cid(text: &str) -> Result<u32, InvalidEndpoint> {
    let expected = "an enclave's CID (see `nitro-cli describe-enclaves`), or CID@FOLDER of an emulated one";
    let cid = number(text, expected)?;
    match not_an_enclave(cid) {
        None => Ok(cid),
        Some(reason) => Err(InvalidEndpoint(format!(
            "CID {cid} is {reason}: expected an enclave's CID, 4 or higher (see `nitro-cli describe-enclaves`)"
        ))),
    }
}

fn emulated(cid: u32, folder: &str) -> Result<Enclave, InvalidEndpoint> {
    if folder.is_empty() || folder.contains('\0') {
        let text = format!("expected the folder of the emulated enclave's sockets after {cid}@, got {folder:?}");
        return Err(InvalidEndpoint(text));
    }
    let folder = PathBuf::from(folder);
    let base = emulated_base(cid, &folder);
    check_length(&base, &format!("the socket {} of {cid}@{}", base.display(), folder.display()))?;
    Ok(Enclave::Emulated { cid, folder })
}

impl FromStr for Parent {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        if let Some(base) = base(text)? {
            return Ok(Self::Unix { base });
        }
        let cid = number(text, "the parent's CID (3 on Nitro)")?;
        match cid {
            0 | 1 | u32::MAX => {
                let reason = not_an_enclave(cid).unwrap_or("not a machine");
                Err(InvalidEndpoint(format!("CID {cid} is {reason}: expected the parent's CID (3 on Nitro)")))
            }
            cid => Ok(Self::Vsock { cid }),
        }
    }
}

/// Whose CID it is, if it cannot be an enclave's.
pub(crate) const fn not_an_enclave(cid: u32) -> Option<&'static str> {
    match cid {
        0 => Some("the hypervisor's"),
        1 => Some("the loopback's"),
        2 => Some("the host's"),
        PARENT_CID => Some("the parent's own"),
        u32::MAX => Some("the wildcard"),
        _ => None,
    }
}

fn number(text: &str, expected: &str) -> Result<u32, InvalidEndpoint> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| InvalidEndpoint(format!("expected {expected}, or unix:PATH; got {text:?}")))
}

fn base(text: &str) -> Result<Option<PathBuf>, InvalidEndpoint> {
    let Some(path) = text.strip_prefix("unix:") else { return Ok(None) };
    if path.is_empty() || path.contains('\0') {
        return Err(InvalidEndpoint(format!("expected a path after unix:, got {path:?}")));
    }
    let base = PathBuf::from(path);
    check_length(&base, &format!("the path of unix:{path}"))?;
    Ok(Some(base))
}

fn check_length(base: &Path, what: &str) -> Result<(), InvalidEndpoint> {
    let length = base.as_os_str().as_bytes().len();
    if length > MAX_BASE_BYTES {
        let text = format!("{what} is too long: expected at most {MAX_BASE_BYTES} bytes, got {length}");
        return Err(InvalidEndpoint(text));
    }
    Ok(())
}

impl fmt::Display for Enclave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vsock { cid } => cid.fmt(f),
            Self::Emulated { cid, folder } => write!(f, "{cid}@{}", folder.display()),
            Self::Unix { base } => write!(f, "unix:{}", base.display()),
        }
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vsock { cid } => cid.fmt(f),
            Self::Unix { base } => write!(f, "unix:{}", base.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enclaves_and_parents_are_read_as_they_are_written() {
        let enclaves = [
            "16",
            "4",
            "4294967294",
            "unix:/run/enclave",
            "unix:relative",
            "16@/run/vm",
            "4@relative/../x",
            "16@a@b",
            "5@.",
        ];
        for text in enclaves {
            assert_eq!(text.parse::<Enclave>().unwrap().to_string(), text);
        }
        for text in ["3", "2", "unix:/run/enclave"] {
            assert_eq!(text.parse::<Parent>().unwrap().to_string(), text);
        }
        assert_eq!(Parent::default(), Parent::Vsock { cid: 3 });
    }

    #[test]
    fn cids_that_are_no_enclave_are_refused_with_whose_they_are() {
        let whose =
            [("0", "hypervisor"), ("1", "loopback"), ("2", "host"), ("3", "parent"), ("4294967295", "wildcard")];
        for (text, reason) in whose {
            let error = text.parse::<Enclave>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("describe-enclaves"), "{error}");
        }
        for text in ["0", "1", "4294967295"] {
            assert!(text.parse::<Parent>().is_err(), "{text}");
        }
        // An emulated one has no other CIDs.
        let error = "3@/run/vm".parse::<Enclave>().unwrap_err().to_string();
        assert!(error.contains("CID 3 is the parent's own"), "{error}");
    }

    #[test]
    fn an_emulated_enclave_is_a_cid_and_the_folder_of_its_sockets() {
        let folder = PathBuf::from("/run/vm");
        assert_eq!(emulated_base(16, &folder), PathBuf::from("/run/vm/16"));
        assert_eq!("16@/run/vm".parse(), Ok(Enclave::Emulated { cid: 16, folder }));
        assert_eq!("016@x".parse(), Ok(Enclave::Emulated { cid: 16, folder: "x".into() }));
        let error = "16@".parse::<Enclave>().unwrap_err().to_string();
        assert!(error.contains("expected the folder of the emulated enclave's sockets after 16@"), "{error}");
        for text in ["@/run/vm", "x@/run/vm", "-16@/run/vm", "16 @/run/vm", "16@a\0b", "4294967296@/run/vm"] {
            assert!(text.parse::<Enclave>().is_err(), "{text:?}");
        }
        // `FOLDER/16` may have 96 bytes.
        let longest = format!("16@/{}", "x".repeat(92));
        assert!(longest.parse::<Enclave>().is_ok());
        let error = format!("{longest}x").parse::<Enclave>().unwrap_err().to_string();
        assert!(error.contains("at most 96 bytes, got 97"), "{error}");
        // The other side has no such form: the parent is not emulated.
        assert!("3@/run/vm".parse::<Parent>().is_err());
    }

    #[test]
    fn the_parents_own_ports_are_at_its_loopback_or_beside_the_enclaves_socket() {
        let ports = |text: &str| text.parse::<Enclave>().unwrap().ports_of_parent();
        assert_eq!(ports("16"), Parent::Vsock { cid: 1 });
        assert_eq!(ports("16@/run/vm"), Parent::Unix { base: "/run/vm/16".into() });
        assert_eq!(ports("unix:/run/vm/x"), Parent::Unix { base: "/run/vm/x".into() });
    }

    #[test]
    fn what_is_neither_a_number_nor_a_path_is_refused() {
        for text in ["", "+16", " 16", "-1", "4294967296", "sixteen", "unix:", "unix:a\0b", "tcp://x"] {
            assert!(text.parse::<Enclave>().is_err(), "{text:?}");
            assert!(text.parse::<Parent>().is_err(), "{text:?}");
        }
        let long = format!("unix:/{}", "x".repeat(96));
        assert!(long.parse::<Enclave>().unwrap_err().to_string().contains("at most 96 bytes, got 97"));
        assert!(long[..long.len() - 1].parse::<Enclave>().is_ok());
    }
}
