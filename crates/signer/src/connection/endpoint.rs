//! Where a node listens for its signer: `unix:///path`, `tcp://[peer-id@]host:port`, or, from an enclave, a vsock port
//! of its parent.
use crate::secret_connection::{InvalidPeerId, PeerId};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A node's `priv_validator_laddr`, seen from the signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket that the node listens on.
    Unix {
        /// The socket's path.
        path: PathBuf,
    },
    /// A TCP port; a secret connection is spoken there.
    Tcp {
        /// The only node that is accepted, if one is pinned.
        peer_id: Option<PeerId>,
        /// A name, resolved anew at each dial, or an address; without the brackets of IPv6.
        host: String,
        /// The port.
        port: u16,
    },
    /// A vsock port of the enclave's parent, where a proxy forwards to the node. It is never written as a text.
    Vsock {
        /// The parent's port.
        port: u32,
        /// Whether a secret connection is spoken there; else the bytes are raw, and whoever the parent lets in is trusted.
        secret: bool,
        /// The only node that is accepted on a secret connection, if one is pinned.
        peer_id: Option<PeerId>,
    },
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidEndpoint {
    /// Neither `unix://` nor `tcp://`.
    Scheme {
        /// The whole text.
        got: String,
    },
    /// `unix://` without a path, or with one that is too long for a socket.
    Path {
        /// What stands after `unix://`.
        got: String,
    },
    /// `tcp://` with a malformed peer id.
    PeerId(InvalidPeerId),
    /// `tcp://` without a host or without a port from 1 to 65535.
    HostPort {
        /// What stands after `tcp://` and the peer id.
        got: String,
    },
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme { got } => {
                write!(f, "unknown address: expected unix:///path or tcp://[peer-id@]host:port, got {got:?}")
            }
            Self::Path { got } => {
                write!(f, "no socket path: expected 1 to {} bytes after unix://, got {got:?}", Endpoint::MAX_PATH_BYTES)
            }
            Self::PeerId(error) => error.fmt(f),
            Self::HostPort { got } => {
                write!(f, "no host and port: expected host:port with a port from 1 to 65535, got {got:?}")
            }
        }
    }
}

impl std::error::Error for InvalidEndpoint {}

impl Endpoint {
    /// Whether a secret connection is spoken there, which needs an identity key.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Vsock { secret: true, .. })
    }

    /// The longest path that fits a socket address (`sun_path` of unix(7), with its closing zero byte).
    pub const MAX_PATH_BYTES: usize = 107;

    fn parse_unix(path: &str) -> Result<Self, InvalidEndpoint> {
        if path.is_empty() || path.len() > Self::MAX_PATH_BYTES || path.contains('\0') {
            return Err(InvalidEndpoint::Path { got: path.to_owned() });
        }
        Ok(Self::Unix { path: Path::new(path).to_owned() })
    }

    fn parse_tcp(address: &str) -> Result<Self, InvalidEndpoint> {
        let (peer_id, address) = match address.split_once('@') {
            Some((id, rest)) => (Some(id.parse().map_err(InvalidEndpoint::PeerId)?), rest),
            None => (None, address),
        };
        let invalid = || InvalidEndpoint::HostPort { got: address.to_owned() };
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0).ok_or_else(invalid)?;
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':')).ok_or_else(invalid)?,
            None if host.contains(':') => return Err(invalid()),
            None => host,
        };
        if bare.is_empty() || bare.contains(|c: char| c.is_whitespace() || c.is_control() || "/@[]?#".contains(c)) {
            return Err(invalid());
        }
        Ok(Self::Tcp { peer_id, host: bare.to_owned(), port })
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        match text.split_once("://") {
            Some(("unix", path)) => Self::parse_unix(path),
            Some(("tcp", address)) => Self::parse_tcp(address),
            _ => Err(InvalidEndpoint::Scheme { got: text.to_owned() }),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
            Self::Tcp { peer_id, host, port } => {
                f.write_str("tcp://")?;
                if let Some(peer_id) = peer_id {
                    write!(f, "{peer_id}@")?;
                }
                if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
            }
            Self::Vsock { port, peer_id: Some(peer_id), .. } => write!(f, "vsock://{peer_id}@{port}"),
            Self::Vsock { port, peer_id: None, .. } => write!(f, "vsock://{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [
            "unix:///run/node/privval.sock",
            "unix://relative.sock",
            "tcp://127.0.0.1:26658",
            "tcp://sentry-1.example.com:1",
            "tcp://[fd00::1]:26658",
            "tcp://f88883b673fc69d7869cab098de3bafc2ff76eb8@node:26658",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_port_of_the_parent_is_shown_with_the_node_that_is_pinned() {
        let peer_id = Some("f88883b673fc69d7869cab098de3bafc2ff76eb8".parse().unwrap());
        let shown = |secret, peer_id| Endpoint::Vsock { port: 5000, secret, peer_id }.to_string();
        assert_eq!(shown(false, None), "vsock://5000");
        assert_eq!(shown(true, peer_id), "vsock://f88883b673fc69d7869cab098de3bafc2ff76eb8@5000");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let long = format!("unix:///{}", "x".repeat(Endpoint::MAX_PATH_BYTES));
        for text in [
            "",
            "node:26658",
            "http://node:26658",
            "unix://",
            &long,
            "tcp://",
            "tcp://node",
            "tcp://node:",
            "tcp://node:0",
            "tcp://node:65536",
            "tcp://node:+5",
            "tcp://:26658",
            "tcp://fd00::1:26658",
            "tcp://[fd00::1:26658",
            "tcp://[node]:26658",
            "tcp://@node:26658",
            "tcp://f888@node:26658",
            "tcp://user@node:26658",
            "tcp://node:26658/",
            "tcp://no de:26658",
            "vsock://5000",
            "noise://f88883b673fc69d7869cab098de3bafc2ff76eb8@node:26658",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
