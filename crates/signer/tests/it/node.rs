//! A scripted node: it listens, accepts the signer, asks, and checks what it is answered.
use crate::wire::{self, Sum};
use signer::connection::{Socket, Timeouts};
use signer::keys::IdentityKey;
use signer::secret_connection::{Received, SecretStream};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that is removed with its value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("signer-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

enum Socks {
    Unix { listener: UnixListener, folder: Folder },
    Tcp { listener: TcpListener, key: IdentityKey },
}

/// A node's `priv_validator_laddr`.
pub struct Listener(Socks);

impl Listener {
    pub fn unix() -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.0.join("node.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(Socks::Unix { listener, folder })
    }

    pub fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(Socks::Tcp { listener, key: IdentityKey::random().ok().unwrap() })
    }

    /// Both kinds, for tests that hold on either.
    pub fn both() -> [Self; 2] {
        [Self::unix(), Self::tcp()]
    }

    pub fn address(&self) -> String {
        match &self.0 {
            Socks::Unix { folder, .. } => format!("unix://{}/node.sock", folder.0.display()),
            Socks::Tcp { listener, .. } => format!("tcp://{}", listener.local_addr().unwrap()),
        }
    }

    /// The next connection, before any handshake.
    pub fn accept_raw(&self) -> Socket {
        self.try_accept_raw(PATIENCE).expect("the signer dials")
    }

    pub fn try_accept_raw(&self, limit: Duration) -> Option<Socket> {
        let deadline = Instant::now() + limit;
        loop {
            let accepted = match &self.0 {
                Socks::Unix { listener, .. } => listener.accept().map(|(stream, _)| {
                    stream.set_nonblocking(false).unwrap();
                    Socket::Unix(Arc::new(stream))
                }),
                Socks::Tcp { listener, .. } => listener.accept().map(|(stream, _)| {
                    stream.set_nonblocking(false).unwrap();
                    Socket::Tcp(Arc::new(stream))
                }),
            };
            match accepted {
                Ok(socket) => return Some(socket),
                Err(_) if Instant::now() > deadline => return None,
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub fn accept(&self) -> Node {
        self.handshake(self.accept_raw())
    }

    pub fn handshake(&self, mut socket: Socket) -> Node {
        let wire = match &self.0 {
            Socks::Unix { .. } => {
                socket.set_timeouts(PATIENCE, PATIENCE).unwrap();
                Wire::Plain(socket)
            }
            Socks::Tcp { key, .. } => {
                let mut stream = SecretStream::handshake(socket, key, None, Instant::now() + PATIENCE).unwrap();
                stream.io_mut().set_timeouts(PATIENCE, PATIENCE).unwrap();
                Wire::Secret(Box::new(stream))
            }
        };
        Node { wire, frames: privval::FrameDecoder::new() }
    }
}

enum Wire {
    Plain(Socket),
    Secret(Box<SecretStream<Socket>>),
}

/// A node that a signer is connected to.
pub struct Node {
    wire: Wire,
    frames: privval::FrameDecoder,
}

impl Node {
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(bytes),
            Wire::Secret(stream) => stream.send(bytes, |socket, sealed| socket.write_all(sealed)),
        }
    }

    /// The next answer; none if the signer closed the connection.
    pub fn receive(&mut self) -> Option<Sum> {
        loop {
            if let Some(message) = self.frames.next().unwrap() {
                assert!(message.len() + 3 <= privval::MAX_ANSWER_BYTES);
                return Some(wire::decode(message));
            }
            let mut buffer = [0; 4096];
            let received = match &mut self.wire {
                Wire::Plain(socket) => socket.read(&mut buffer).map(|length| match length {
                    0 => Received::End,
                    length => Received::Data(&buffer[..length]),
                }),
                Wire::Secret(stream) => stream.receive(),
            };
            match received {
                Ok(Received::End) => return None,
                Ok(Received::Part) => {}
                Ok(Received::Data(bytes)) => self.frames.push(bytes),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    /// Bytes below the encryption, where there is one.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(bytes),
            Wire::Secret(stream) => stream.io_mut().write_all(bytes),
        }
    }

    pub fn ask(&mut self, request: Sum) -> Sum {
        self.send(&wire::delimited(request));
        self.receive().expect("an answer, not the end of the connection")
    }

    pub fn ping(&mut self) {
        assert_eq!(self.ask(Sum::Ping(wire::Empty {})), Sum::Pong(wire::Empty {}));
    }

    /// The signed vote, or the error's text.
    pub fn ask_vote(&mut self, chain_id: &str, vote: wire::Vote) -> Result<wire::Vote, String> {
        let Sum::SignedVote(answer) = self.ask(wire::sign_vote(chain_id, vote)) else { panic!("no vote's answer") };
        match answer.error {
            Some(error) => Err(error.description),
            None => Ok(answer.vote.unwrap()),
        }
    }

    pub fn ask_proposal(&mut self, chain_id: &str, proposal: wire::Proposal) -> Result<wire::Proposal, String> {
        let request = wire::sign_proposal(chain_id, proposal);
        let Sum::SignedProposal(answer) = self.ask(request) else { panic!("no proposal's answer") };
        match answer.error {
            Some(error) => Err(error.description),
            None => Ok(answer.proposal.unwrap()),
        }
    }

    pub fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }
}
