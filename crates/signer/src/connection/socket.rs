//! A dialled socket: connected within a limit, kept alive, and able to be woken from another thread.
use super::{Endpoint, Timeouts};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::endpoint::Parent;

/// How many addresses of a name are tried in one dial.
const MAX_ADDRESSES: usize = 8;

/// A silent TCP connection is probed after 5 s, every 2 s, and given up after 3 probes: together less than the
/// longest silence that a session allows.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_PROBES: u32 = 3;

/// A connected socket. Clones are the same socket: one reads and writes, another can wake it.
#[derive(Clone, Debug)]
pub enum Socket {
    /// A Unix socket, or a vsock connection: every call on it is the same.
    Unix(Arc<UnixStream>),
    /// A TCP socket.
    Tcp(Arc<TcpStream>),
}

impl Socket {
    /// Dials a node. Names are resolved each time; `limit` is for the connection, not for the resolution, which
    /// has the resolver's own limits.
    ///
    /// # Errors
    /// What the last address tried said, or [`io::ErrorKind::NotFound`] if a name has no address; for a port of the
    /// parent [`io::ErrorKind::Unsupported`], as there is no parent.
    pub fn dial(endpoint: &Endpoint, limit: Duration) -> io::Result<Self> {
        Self::dial_from(None, endpoint, limit)
    }

    /// The same from an enclave, whose parent's ports can be dialled.
    ///
    /// # Errors
    /// As [`Socket::dial`], and as [`Parent::connect`].
    pub fn dial_from(parent: Option<&Parent>, endpoint: &Endpoint, limit: Duration) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix { path } => dial_unix(path, limit).map(|stream| Self::Unix(Arc::new(stream))),
            Endpoint::Tcp { host, port, .. } => {
                let stream = dial_tcp((host.as_str(), *port), limit)?;
                stream.set_nodelay(true)?;
                keep_alive(&stream)?;
                Ok(Self::Tcp(Arc::new(stream)))
            }
            Endpoint::Vsock { port, .. } => {
                let parent = parent.ok_or_else(no_parent)?;
                parent.connect(*port, limit).map(|stream| Self::Unix(Arc::new(stream)))
            }
        }
    }

    /// Wakes a read that waits, now and from here on, while what is being written can still be finished.
    pub fn stop_reading(&self) {
        // An error says that the socket is closed already, which wakes its reader too.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Read),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Read),
        };
    }
}

fn no_parent() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "a vsock port can only be dialled from inside an enclave")
}

fn dial_tcp(address: (&str, u16), limit: Duration) -> io::Result<TcpStream> {
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    let addresses = address.to_socket_addrs()?.take(MAX_ADDRESSES);
    let deadline = Instant::now() + limit;
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        result = TcpStream::connect_timeout(&address, left).and_then(|stream| refuse_itself(stream, address));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Dialling a local port that nobody listens on can, once in some ten thousand times, connect the socket to itself
/// (TCP's simultaneous open), and then keep the node from taking its port.
fn refuse_itself(stream: TcpStream, address: SocketAddr) -> io::Result<TcpStream> {
    if stream.local_addr()? == address { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(stream) }
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

/// As `UnixStream::connect`, but with a limit: a full backlog makes a connect wait, and a socket's send time-out
/// is what ends that wait (unix(7)).
fn dial_unix(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(limit))?;
    net::connect(&socket, &SocketAddrUnix::new(path)?).map_err(|error| match error {
        rustix::io::Errno::AGAIN => io::Error::new(io::ErrorKind::TimedOut, "the node accepts no connections"),
        _ => error.into(),
    })?;
    Ok(UnixStream::from(socket))
}

/// A signal makes a read with a time-out return early (signal(7)): that is neither data nor the end.
fn uninterrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Unix(stream) => (&**stream).read(buffer),
            Self::Tcp(stream) => (&**stream).read(buffer),
        })
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Self::Unix(stream) => (&**stream).write(bytes),
            Self::Tcp(stream) => (&**stream).write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Timeouts for Socket {
    fn set_timeouts(&mut self, read: Duration, write: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(read))?;
                stream.set_write_timeout(Some(write))
            }
        }
    }
}
