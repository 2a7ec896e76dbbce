//! One connection to a node: where to dial, the socket, and what is spoken on it.
mod deadline;
mod endpoint;
mod socket;

pub use deadline::{Deadline, Timeouts};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use socket::Socket;

use crate::keys::IdentityKey;
use crate::secret_connection::{PeerId, Received, SecretStream};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// How much is read from a Unix socket at once, in bytes: any request but one with a large extension.
const INBOX_BYTES: usize = 8 * 1024;

/// How long things may take. The defaults follow a CometBFT node's own times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Name resolution aside, the longest wait for a connection.
    pub connect: Duration,
    /// The longest handshake of a secret connection. A node that already has a signer accepts a second one's TCP
    /// connection but lets its handshake wait, so this is long.
    pub handshake: Duration,
    /// The longest silence: a node pings every 3.33 s, so this is four pings and a bit. Also the longest time
    /// that one request may take to arrive.
    pub idle: Duration,
    /// The longest time that the node may take to accept an answer; it gives up itself after 5 s.
    pub write: Duration,
}

impl Timing {
    /// For a node that may take `timeout` for a handshake and be silent for `silence`; the shorter limits of the
    /// signer's own stay.
    #[must_use]
    pub fn of_node(timeout: Duration, silence: Duration) -> Self {
        let own = Self::default();
        Self { connect: own.connect.min(timeout), handshake: timeout, idle: silence, write: own.write.min(timeout) }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(15),
            idle: Duration::from_secs(15),
            write: Duration::from_secs(5),
        }
    }
}

/// An open connection: raw bytes, or a secret connection.
pub struct Connection {
    wire: Wire,
    timing: Timing,
}

enum Wire {
    /// `unix://`, or a port of the parent: whoever the file system, or the parent, lets in is trusted.
    Raw {
        socket: Socket,
        /// What the last read brought.
        inbox: Box<[u8]>,
    },
    /// `tcp://`, or a port of the parent.
    Secret(SecretStream<Socket>),
}

impl Connection {
    /// Makes a dialled socket ready for requests; where the endpoint is secret this is the handshake, which needs `identity`.
    ///
    /// # Errors
    /// As [`SecretStream::handshake`]; [`io::ErrorKind::InvalidInput`] without an identity on a secret endpoint.
    pub fn over(
        mut socket: Socket,
        endpoint: &Endpoint,
        identity: Option<&IdentityKey>,
        timing: &Timing,
    ) -> io::Result<Self> {
        let timing = *timing;
        let wire = match endpoint {
            Endpoint::Unix { .. } | Endpoint::Vsock { secret: false, .. } => {
                socket.set_timeouts(timing.idle, timing.write)?;
                Wire::Raw { socket, inbox: vec![0; INBOX_BYTES].into_boxed_slice() }
            }
            Endpoint::Tcp { peer_id, .. } | Endpoint::Vsock { secret: true, peer_id, .. } => {
                let key = identity.ok_or(io::ErrorKind::InvalidInput)?;
                let deadline = Instant::now() + timing.handshake;
                let mut stream = SecretStream::handshake(socket, key, *peer_id, deadline)
                    .map_err(|error| explain_handshake(error, timing.handshake))?;
                stream.io_mut().set_timeouts(timing.idle, timing.write)?;
                Wire::Secret(stream)
            }
        };
        Ok(Self { wire, timing })
    }

    /// Waits for bytes: one read of the socket.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`] after [`Timing::idle`] of silence;
    /// [`io::ErrorKind::InvalidData`] when the encryption does not check out.
    pub fn receive(&mut self) -> io::Result<Received<'_>> {
        match &mut self.wire {
            Wire::Raw { socket, inbox } => Ok(match socket.read(inbox)? {
                0 => Received::End,
                length => Received::Data(&inbox[..length]),
            }),
            Wire::Secret(stream) => stream.receive(),
        }
    }

    /// Sends a whole answer: one write to the socket unless the node is slow.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the node takes longer than twice [`Timing::write`]; whatever the socket says.
    /// The connection cannot be used any more.
    pub fn send(&mut self, answer: &[u8]) -> io::Result<()> {
        let timing = self.timing;
        match &mut self.wire {
            Wire::Raw { socket, .. } => write_whole(socket, answer, timing),
            Wire::Secret(stream) => stream.send(answer, |socket, sealed| write_whole(socket, sealed, timing)),
        }
    }

    /// The node's proven identity; none on a raw connection.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerId> {
        match &self.wire {
            Wire::Raw { .. } => None,
            Wire::Secret(stream) => Some(stream.peer()),
        }
    }

    /// How long things may take on it.
    #[must_use]
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }
}

/// What an operator can make of a handshake that did not come to its end.
fn explain_handshake(error: io::Error, limit: Duration) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::TimedOut => format!(
            "the node did not answer the handshake within {} s; it may have another signer already",
            limit.as_secs_f32()
        ),
        io::ErrorKind::UnexpectedEof => "the node closed the connection during the handshake".to_owned(),
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// One write. Only if the node takes a part of it, the rest is written under one deadline, so that a node that takes
/// a byte now and then does not hold us.
fn write_whole(socket: &mut Socket, bytes: &[u8], timing: Timing) -> io::Result<()> {
    let written = socket.write(bytes)?;
    if written < bytes.len() {
        Deadline::new(socket, Instant::now() + timing.write).write_all(&bytes[written..])?;
        socket.set_timeouts(timing.idle, timing.write)?;
    }
    Ok(())
}
