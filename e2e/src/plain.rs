//! A node's side of privval on a Unix socket, in this process: for tests with more connections than anyone would start processes for.
use crate::protobuf::find_bytes;
use crate::vote::varint;
use crate::{Sandbox, until};
use anyhow::{Context, Result, ensure};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// The largest answer that is read, in bytes: the cap of most nodes.
const MAX_ANSWER_BYTES: usize = 10_240;
/// An undelimited ping request.
pub const PING: [u8; 2] = [0x3a, 0x00];
/// The field of `SignedVoteResponse` in a message.
const SIGNED_VOTE_RESPONSE: u64 = 4;
/// The field of the signature in a vote.
const SIGNATURE: u64 = 8;

/// A listener for one signer connection.
pub struct PlainNode {
    listener: UnixListener,
    path: PathBuf,
    stream: Option<UnixStream>,
}

impl PlainNode {
    /// Listens at `NAME.sock` in the sandbox.
    ///
    /// # Errors
    /// When it cannot.
    pub fn listen(sandbox: &Sandbox, name: &str) -> Result<Self> {
        Self::listen_at(sandbox.dir().join(format!("{name}.sock")))
    }

    /// Listens at that path.
    ///
    /// # Errors
    /// When it cannot.
    pub fn listen_at(path: PathBuf) -> Result<Self> {
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path, stream: None })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Takes a connection if one is waiting.
    ///
    /// # Errors
    /// When the listener is broken.
    pub fn try_accept(&mut self) -> Result<bool> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                stream.set_write_timeout(Some(Duration::from_secs(10)))?;
                self.stream = Some(stream);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// When none comes `within`.
    pub fn accept(&mut self, within: Duration) -> Result<()> {
        let what = format!("a connection at {}", self.path.display());
        until(&what, within, || Ok(self.try_accept()?.then_some(())))
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.stream = None;
    }

    /// Sends one undelimited message and reads the answer, undelimited.
    ///
    /// # Errors
    /// When the connection breaks or the answer passes the node's cap.
    pub fn request(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        let stream = self.stream.as_mut().context("not connected")?;
        let mut frame = Vec::with_capacity(message.len() + 4);
        varint(&mut frame, message.len() as u64);
        frame.extend_from_slice(message);
        stream.write_all(&frame)?;
        let mut length = 0;
        for shift in [0, 7, 14] {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        ensure!(length <= MAX_ANSWER_BYTES, "an answer of {length} bytes, more than {MAX_ANSWER_BYTES}");
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    /// Pings.
    ///
    /// # Errors
    /// When the answer is anything but a pong.
    pub fn ping(&mut self) -> Result<()> {
        let answer = self.request(&PING)?;
        ensure!(answer == [0x42, 0x00], "no pong: {answer:02x?}");
        Ok(())
    }

    /// Asks for a vote; whether the answer is a vote with a signature and no error. The signature is not verified.
    ///
    /// # Errors
    /// When the answer is no `SignedVoteResponse`.
    pub fn is_signed(&mut self, request: &[u8]) -> Result<bool> {
        let answer = self.request(request)?;
        let response = find_bytes(&answer, SIGNED_VOTE_RESPONSE)?;
        let response = response.with_context(|| format!("no signed vote response: {answer:02x?}"))?;
        let vote = find_bytes(response, 1)?.unwrap_or_default();
        let signature = find_bytes(vote, SIGNATURE)?.unwrap_or_default();
        Ok(find_bytes(response, 2)?.is_none() && !signature.is_empty())
    }
}
