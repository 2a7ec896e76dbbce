//! A secret connection over a socket: the handshake under a deadline, then bytes in and bytes out.
use super::{AUTH_SIG_BYTES, AuthSig, FRAME_BYTES, HELLO_BYTES, Handshake, Opener, PeerFault, PeerId, Sealer};
use crate::connection::{Deadline, Timeouts};
use crate::keys::IdentityKey;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::time::Instant;
use zeroize::Zeroizing;

/// How much is read from the socket at once, in bytes. A vote's request is one frame; a proposal's too.
const INBOX_BYTES: usize = 8 * FRAME_BYTES;

/// The node at the other end is not the one that is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongPeer {
    /// The id in the configured address.
    pub expected: PeerId,
    /// The id of the key that the peer proved.
    pub got: PeerId,
}

impl std::fmt::Display for WrongPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "wrong peer id in addr: expected {}, got {} (a stock node makes a new key at every start: leave the id out, \
             unless something in front of the node keeps one)",
            self.expected, self.got
        )
    }
}

impl std::error::Error for WrongPeer {}

impl From<PeerFault> for io::Error {
    fn from(fault: PeerFault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// What one read of a connection brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'data> {
    /// Bytes of the peer's stream, at least one.
    Data(&'data [u8]),
    /// A piece of an encrypted frame that is not whole yet.
    Part,
    /// The peer closed its end, between two frames.
    End,
}

/// An encrypted and authenticated stream of bytes.
///
/// What it authenticates is the peer's identity key, which a stock node makes anew at every start: without a pin
/// it protects from listeners, not from someone who stands in for the node.
pub struct SecretStream<Io> {
    io: Io,
    peer: PeerId,
    opener: Opener,
    sealer: Sealer,
    inbox: Inbox,
    outbox: Vec<u8>,
}

impl<Io: Read + Write + Timeouts> SecretStream<Io> {
    /// Runs the handshake, as a whole before `deadline`: a peer that sends a byte now and then gains nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] at the deadline; [`io::ErrorKind::InvalidData`] with a [`PeerFault`] or a
    /// [`WrongPeer`] inside; and whatever the socket says.
    pub fn handshake(mut io: Io, key: &IdentityKey, pinned: Option<PeerId>, deadline: Instant) -> io::Result<Self> {
        let mut timed = Deadline::new(&mut io, deadline);
        let handshake = Handshake::new(&random()?);
        timed.write_all(&handshake.hello())?;
        let mut hello = [0; HELLO_BYTES];
        timed.read_exact(&mut hello)?;
        let mut secrets = handshake.agree(&hello)?;

        let ours = AuthSig { public_key: key.public_bytes(), signature: key.sign_challenge(&secrets.challenge) };
        let mut outbox = Vec::with_capacity(FRAME_BYTES);
        secrets.sealer.seal(&ours.encode(), &mut outbox)?;
        timed.write_all(&outbox)?;

        let mut inbox = Inbox::new();
        let mut theirs = [0; AUTH_SIG_BYTES];
        inbox.read_exact(&mut timed, &mut secrets.opener, &mut theirs)?;
        let peer = identify(&AuthSig::decode(&theirs)?, &secrets.challenge, &ours, pinned)?;
        Ok(Self { io, peer, opener: secrets.opener, sealer: secrets.sealer, inbox, outbox })
    }
}

impl<Io: Read + Write> SecretStream<Io> {
    /// Waits for data and returns what one frame carries: 1 to 1024 bytes.
    ///
    /// At most one read of the socket, none if a frame is still there from the last one. A frame that comes in pieces
    /// is [`Received::Part`] until it is whole, so that the caller decides how long that may take.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] with a [`PeerFault`] inside, and whatever the socket says.
    pub fn receive(&mut self) -> io::Result<Received<'_>> {
        self.inbox.next_data(&mut self.io, &mut self.opener)
    }

    /// Seals `data` into as few frames as it takes and gives them to `write` in one piece.
    ///
    /// # Errors
    /// What `write` says; the connection cannot be used any more.
    pub fn send(&mut self, data: &[u8], write: impl FnOnce(&mut Io, &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.outbox.clear();
        self.sealer.seal(data, &mut self.outbox)?;
        write(&mut self.io, &self.outbox)
    }

    /// Who proved to be at the other end.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The socket.
    pub const fn io_mut(&mut self) -> &mut Io {
        &mut self.io
    }
}

fn random() -> io::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(io::Error::other)?;
    Ok(bytes)
}

fn identify(theirs: &AuthSig, challenge: &[u8; 32], ours: &AuthSig, pinned: Option<PeerId>) -> io::Result<PeerId> {
    if theirs.public_key == ours.public_key {
        return Err(PeerFault::OwnIdentity.into());
    }
    let got = theirs.verify(challenge)?;
    match pinned {
        Some(expected) if expected != got => {
            Err(io::Error::new(io::ErrorKind::InvalidData, WrongPeer { expected, got }))
        }
        _ => Ok(got),
    }
}

/// Bytes that came from the socket: data of the last opened frame, then frames that are not opened yet.
struct Inbox {
    wire: Box<[u8]>,
    /// Data of the opened frame that was not handed out yet.
    data: Range<usize>,
    /// What was read and not opened.
    sealed: Range<usize>,
}

impl Inbox {
    fn new() -> Self {
        Self { wire: vec![0; INBOX_BYTES].into_boxed_slice(), data: 0..0, sealed: 0..0 }
    }

    /// Hands out what is left of the opened frame, or opens the next one, after one read if it is not there yet.
    fn next_data(&mut self, io: &mut impl Read, opener: &mut Opener) -> io::Result<Received<'_>> {
        if self.data.is_empty() {
            if self.sealed.len() < FRAME_BYTES && self.read(io)? == 0 {
                return if self.sealed.is_empty() {
                    Ok(Received::End)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            if self.sealed.len() < FRAME_BYTES {
                return Ok(Received::Part);
            }
            self.open_frame(opener)?;
        }
        Ok(Received::Data(&self.wire[std::mem::take(&mut self.data)]))
    }

    /// Fills `target` from one or more frames; what the last one carries beyond it stays.
    fn read_exact(&mut self, io: &mut impl Read, opener: &mut Opener, target: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < target.len() {
            if self.data.is_empty() && !self.open_next(io, opener)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = self.data.len().min(target.len() - filled);
            let end = self.data.start + length;
            target[filled..filled + length].copy_from_slice(&self.wire[self.data.start..end]);
            self.data.start = end;
            filled += length;
        }
        Ok(())
    }

    /// Whether another frame was opened; not at the end of the stream, if that falls between two frames.
    fn open_next(&mut self, io: &mut impl Read, opener: &mut Opener) -> io::Result<bool> {
        while self.sealed.len() < FRAME_BYTES {
            if self.read(io)? == 0 {
                return if self.sealed.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
        self.open_frame(opener).map(|()| true)
    }

    /// Opens the first sealed frame, which is whole.
    fn open_frame(&mut self, opener: &mut Opener) -> io::Result<()> {
        let start = self.sealed.start;
        self.sealed.start += FRAME_BYTES;
        let frame = self.wire[start..].first_chunk_mut().ok_or(PeerFault::Frame)?;
        let data = opener.open(frame)?;
        self.data = start + data.start..start + data.end;
        Ok(())
    }

    fn read(&mut self, io: &mut impl Read) -> io::Result<usize> {
        self.wire.copy_within(self.sealed.clone(), 0);
        self.sealed = 0..self.sealed.len();
        let read = io.read(&mut self.wire[self.sealed.end..])?;
        self.sealed.end += read;
        Ok(read)
    }
}
