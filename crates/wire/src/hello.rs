//! The first words on every channel. **The enclave speaks first**: what a parent sends before an emulated enclave has
//! accepted is lost.
use crate::PROTOCOL_VERSION;
use std::fmt;
use std::io::{self, Read, Write};

/// How every hello begins.
const MAGIC: [u8; 4] = *b"tmkw";
/// The bytes before the software's version: magic, protocol, channel, nonce and length.
const FIXED_BYTES: usize = 4 + 2 + 1 + 32 + 1;

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The parent asks the enclave.
    Control,
    /// The enclave asks the parent for its signing records.
    State,
}

impl Channel {
    const fn code(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::State => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Control),
            2 => Some(Self::State),
            _ => None,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::State => "state",
        })
    }
}

/// A hello: `"tmkw"`, version (u16), channel (u8), nonce (32 bytes), length (u8) and text of the software's version.
/// Its form never changes, so that any two versions can tell each other theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version of the protocol.
    pub protocol: u16,
    /// The channel.
    pub channel: Channel,
    /// Fresh random bytes of the speaker: proofs of the other side are bound to them.
    pub nonce: [u8; 32],
    /// The speaker's version, such as `0.1.0`: printable ASCII.
    pub software: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The enclave.
    Enclave,
    /// The parent.
    Parent,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Enclave => Self::Parent,
            Self::Parent => Self::Enclave,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enclave => "the enclave",
            Self::Parent => "the parent",
        })
    }
}

/// Why a channel cannot be used.
#[derive(Debug)]
pub enum HelloError {
    /// The stream failed, or took too long.
    Io(io::Error),
    /// Whoever is there does not speak this at all.
    NotOurs,
    /// Another protocol version; the text says which side to upgrade.
    Version {
        /// Who we are.
        us: Side,
        /// Our version.
        ours: u16,
        /// Our software's version.
        our_software: String,
        /// Their version.
        theirs: u16,
        /// Their software's version.
        software: String,
    },
    /// A channel for something else: two ports were mixed up.
    Channel {
        /// What was expected.
        expected: Channel,
        /// What is there.
        got: Channel,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => f.write_str(
                "the other side hung up before it said hello: see its log, and whether this is the right port",
            ),
            Self::Io(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => f
                .write_str(
                    "the other side did not say hello in time: see whether it runs, and whether this is the right port",
                ),
            Self::Io(error) => write!(f, "no hello from the other side: {error}"),
            Self::NotOurs => f.write_str("what answers on this port is no tmkms: see that no two ports were mixed up"),
            Self::Version { us, ours, our_software, theirs, software } => {
                let them = us.other();
                let (older, remedy) = if ours < theirs { (*us, us) } else { (them, &them) };
                let remedy = match remedy {
                    Side::Enclave => "build its image anew from the parent's version, and start that",
                    Side::Parent => "install the tmkms on it that the enclave's image was built from",
                };
                write!(
                    f,
                    "{us} speaks protocol {ours} (tmkms {our_software}), {them} protocol {theirs} (tmkms {software}): \
                     upgrade {older}; {remedy}"
                )
            }
            Self::Channel { expected, got } => write!(
                f,
                "expected the {expected} channel, got the {got} channel: two ports were mixed up (`-p` and state_vsock_port)"
            ),
        }
    }
}

impl std::error::Error for HelloError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for HelloError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Hello {
    /// As bytes. A software's version is cut at 255 bytes, and what is not printable ASCII in it becomes `?`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let software = printable(&self.software);
        let length = u8::try_from(software.len()).unwrap_or(u8::MAX);
        let mut bytes = Vec::with_capacity(FIXED_BYTES + software.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.protocol.to_be_bytes());
        bytes.push(self.channel.code());
        bytes.extend_from_slice(&self.nonce);
        bytes.push(length);
        bytes.extend_from_slice(software.as_bytes());
        bytes
    }
}

/// At most 255 characters of printable ASCII.
fn printable(text: &str) -> String {
    let is_printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    text.chars().take(255).map(|c| Some(c).filter(is_printable).unwrap_or('?')).collect()
}

/// A hello of any version: only the channel's code may mean nothing to us.
struct Foreign {
    protocol: u16,
    channel: u8,
    nonce: [u8; 32],
    software: String,
}

impl Foreign {
    fn read(stream: &mut impl Read) -> Result<Self, HelloError> {
        let mut magic = [0; 4];
        stream.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(HelloError::NotOurs);
        }
        let (mut protocol, mut channel, mut nonce, mut length) = ([0; 2], [0], [0; 32], [0]);
        let mut fixed = [0; FIXED_BYTES - 4];
        stream.read_exact(&mut fixed)?;
        let mut fields = fixed.as_slice();
        for field in [protocol.as_mut_slice(), &mut channel, &mut nonce, &mut length] {
            fields.read_exact(field)?;
        }
        let mut software = vec![0; usize::from(length[0])];
        stream.read_exact(&mut software)?;
        let software = String::from_utf8(software).map_err(|_| HelloError::NotOurs)?;
        if printable(&software) != software {
            return Err(HelloError::NotOurs);
        }
        Ok(Self { protocol: u16::from_be_bytes(protocol), channel: channel[0], nonce, software })
    }

    fn check(self, us: Side, ours: &Hello) -> Result<Hello, HelloError> {
        if self.protocol != ours.protocol {
            return Err(HelloError::Version {
                us,
                ours: ours.protocol,
                our_software: ours.software.clone(),
                theirs: self.protocol,
                software: self.software,
            });
        }
        let channel = Channel::from_code(self.channel).ok_or(HelloError::NotOurs)?;
        if channel != ours.channel {
            return Err(HelloError::Channel { expected: ours.channel, got: channel });
        }
        Ok(Hello { protocol: self.protocol, channel, nonce: self.nonce, software: self.software })
    }
}

/// Exchanges hellos in the right order (the enclave's first) and checks the other's.
///
/// A parent answers a hello of any version and channel with its own before it gives up, so that both sides can say what
/// is wrong; to what is no hello it says nothing.
///
/// # Errors
/// [`HelloError`]. Time-outs are the caller's, set on the stream.
pub fn exchange<S: Read + Write>(
    stream: &mut S,
    us: Side,
    channel: Channel,
    nonce: [u8; 32],
    software: &str,
) -> Result<Hello, HelloError> {
    let ours = Hello { protocol: PROTOCOL_VERSION, channel, nonce, software: software.to_owned() };
    exchange_as(stream, us, &ours)
}

fn exchange_as<S: Read + Write>(stream: &mut S, us: Side, ours: &Hello) -> Result<Hello, HelloError> {
    let theirs = match us {
        Side::Enclave => {
            stream.write_all(&ours.encode())?;
            Foreign::read(stream)?
        }
        Side::Parent => {
            let theirs = Foreign::read(stream)?;
            stream.write_all(&ours.encode())?;
            theirs
        }
    };
    theirs.check(us, ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;

    fn hello(protocol: u16, channel: Channel, software: &str) -> Hello {
        Hello { protocol, channel, nonce: [7; 32], software: software.to_owned() }
    }

    /// What both sides make of each other.
    fn meet(enclave: Hello, parent: &Hello) -> [Result<Hello, HelloError>; 2] {
        let (mut left, mut right) = UnixStream::pair().unwrap();
        let there = thread::spawn(move || exchange_as(&mut left, Side::Enclave, &enclave));
        let here = exchange_as(&mut right, Side::Parent, parent);
        [there.join().unwrap(), here]
    }

    #[test]
    fn both_sides_learn_the_others_hello() {
        let (enclave, parent) = (hello(1, Channel::State, "0.1.0"), hello(1, Channel::State, "0.1.1"));
        let [there, here] = meet(enclave.clone(), &parent);
        assert_eq!((there.unwrap(), here.unwrap()), (parent, enclave));
    }

    #[test]
    fn the_side_with_the_lower_protocol_is_to_be_upgraded_whoever_says_it() {
        let met = meet(hello(1, Channel::Control, "0.1.0"), &hello(2, Channel::Control, "0.9.0"));
        for outcome in met {
            let text = outcome.unwrap_err().to_string();
            for part in ["protocol 1 (tmkms 0.1.0)", "protocol 2 (tmkms 0.9.0)", "upgrade the enclave; build its image"]
            {
                assert!(text.contains(part), "{text}");
            }
        }
        for outcome in meet(hello(3, Channel::Control, "1"), &hello(2, Channel::Control, "0")) {
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains("upgrade the parent; install"), "{text}");
        }
    }

    #[test]
    fn another_channel_is_named_on_both_sides() {
        let [there, here] = meet(hello(1, Channel::State, "x"), &hello(1, Channel::Control, "x"));
        assert!(there.unwrap_err().to_string().contains("expected the state channel, got the control channel"));
        assert!(here.unwrap_err().to_string().contains("expected the control channel, got the state channel"));
    }

    #[test]
    fn a_channel_of_a_later_version_is_a_matter_of_the_version() {
        let mut bytes = hello(2, Channel::State, "0.9.0").encode();
        bytes[6] = 77;
        let read = Foreign::read(&mut bytes.as_slice()).unwrap();
        let error = read.check(Side::Parent, &hello(1, Channel::State, "0.1.0")).unwrap_err();
        assert!(matches!(error, HelloError::Version { theirs: 2, .. }), "{error}");
        bytes[5] = 1;
        let read = Foreign::read(&mut bytes.as_slice()).unwrap();
        assert!(matches!(read.check(Side::Parent, &hello(1, Channel::State, "")), Err(HelloError::NotOurs)));
    }

    #[test]
    fn what_is_no_hello_is_told_apart_from_silence() {
        let not_ours = Foreign::read(&mut b"HTTP/1.1 400 Bad Request".as_slice()).err().unwrap();
        assert!(matches!(not_ours, HelloError::NotOurs));
        let bytes = hello(1, Channel::State, "0.1.0").encode();
        for length in 0..bytes.len() {
            let cut = Foreign::read(&mut &bytes[..length]).err().unwrap();
            assert!(matches!(cut, HelloError::Io(_)), "{length} bytes");
            assert!(cut.to_string().contains("hung up"), "{cut}");
        }
    }

    #[test]
    fn a_version_that_could_play_with_a_terminal_is_no_hello_and_is_never_sent() {
        let mut bytes = hello(1, Channel::State, "0.1.0").encode();
        let last = bytes.len() - 1;
        for wrong in [0x1b, b'\n', 0x80, 0x7f] {
            bytes[last] = wrong;
            assert!(matches!(Foreign::read(&mut bytes.as_slice()), Err(HelloError::NotOurs)), "{wrong:#x}");
        }
        let odd = hello(1, Channel::State, &("\u{1b}ü".to_owned() + &"x".repeat(300)));
        let read = Foreign::read(&mut odd.encode().as_slice()).unwrap();
        assert_eq!((read.software.len(), &read.software[..3]), (255, "??x"));
    }
}
