//! The target: a Unix socket, or a TCP address whose name is looked up for each connection.
use rustix::net::sockopt;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};
use wire::endpoint::{Stream, connect_unix};

/// How long all addresses of a name may take together, as a multiple of one address's limit.
const ALL_ADDRESSES: u32 = 3;
/// After this silence a TCP peer is asked whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How many may stay unanswered.
const KEEPALIVE_COUNT: u32 = 3;
/// The longest host name, in bytes (RFC 1035, 2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// Where a proxy's connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp {
        /// A name, looked up for each connection, or an IP address.
        host: String,
        /// The port.
        port: u16,
    },
}

/// A text that is no `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTarget(String);

impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTarget {}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let wrong = |what: &str| InvalidTarget(format!("expected HOST:PORT, {what}; got {text:?}"));
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("such as 127.0.0.1:26659"))?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port > 0);
        let port = port.ok_or_else(|| wrong("with a port from 1 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => host,
            Some(_) => return Err(wrong("with an IPv6 address in the brackets")),
            None if host.contains(':') => return Err(wrong("with an IPv6 address in brackets, [::1]:443")),
            None => host,
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.len() > MAX_NAME_BYTES || !host.bytes().all(is_name) {
            return Err(wrong("with a name of letters, digits, dots and dashes"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Target {
    /// Connects; each address of a name may take `limit`.
    pub(super) fn dial(&self, limit: Duration) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => connect_unix(path, limit),
            Self::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(address) => dial_one(&(address, *port).into(), limit),
                Err(_) => dial_any(&look_up(host, *port)?, limit),
            },
        }
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| io::Error::new(error.kind(), format!("the name is not found: {error}")))?;
    Ok(found.collect())
}

fn dial_one(address: &SocketAddr, limit: Duration) -> io::Result<Stream> {
    TcpStream::connect_timeout(address, limit).and_then(prepared)
}

/// Tries the addresses in the resolver's order.
fn dial_any(addresses: &[SocketAddr], limit: Duration) -> io::Result<Stream> {
    let until = Instant::now() + limit * ALL_ADDRESSES;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match dial_one(address, limit.min(left)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

fn prepared(stream: TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_COUNT)?;
    Ok(OwnedFd::from(stream).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in ["kms.eu-central-1.amazonaws.com:443", "127.0.0.1:26659", "[::1]:1", "my_node:65535"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_target_is_refused_with_what_was_expected() {
        let wrong =
            ["", "host", ":443", "host:", "host:0", "host:65536", "host:+1", "::1:443", "[::1", "[x]:1", "a b:1"];
        for text in wrong {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with("expected HOST:PORT, ") && error.contains("got"), "{text:?}: {error}");
        }
        assert!(format!("{}:1", "x".repeat(254)).parse::<Target>().is_err());
    }

    #[test]
    fn every_address_is_tried_and_the_last_error_names_its_own() {
        let alive = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(dial_any(&[dead, alive.local_addr().unwrap()], Duration::from_secs(3)).is_ok());
        let error = dial_any(&[dead], Duration::from_secs(3)).err().unwrap();
        assert!(error.to_string().contains(&dead.to_string()), "{error}");
        assert!(dial_any(&[], Duration::from_secs(3)).err().unwrap().to_string().contains("no address"));
    }
}
