//! Framing without I/O: an unsigned varint length, then the message.
use crate::MAX_REQUEST_BYTES;
use std::fmt;

/// The most bytes that one [`FrameDecoder::push`] may bring. Read less than this at a time, and take all frames out
/// before the next push.
pub const MAX_PUSH_BYTES: usize = 64 << 10;

/// A varint of 64 bits takes at most this many bytes.
const MAX_PREFIX_BYTES: usize = 10;

/// What an honest caller can have in the buffer: a frame that is not yet whole, and one more push.
const MAX_BUFFERED_BYTES: usize = MAX_PREFIX_BYTES + MAX_REQUEST_BYTES + MAX_PUSH_BYTES;

/// A buffer that grew beyond this for a large frame is given back afterwards: there may be hundreds of connections.
const KEPT_CAPACITY_BYTES: usize = 16 << 10;

/// Bytes that cannot be cut into frames. The stream is lost: nothing that follows could be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame that announces no bytes. No message is empty.
    Empty,
    /// A frame that announces more than [`MAX_REQUEST_BYTES`].
    TooLong {
        /// The most that is read, bytes.
        max: usize,
        /// What was announced, bytes.
        got: u64,
    },
    /// A length prefix that does not end where a number of 64 bits must, or is larger.
    Prefix {
        /// The most that a prefix can take, bytes.
        max: usize,
    },
    /// More was pushed than a decoder holds: the caller did not keep to [`MAX_PUSH_BYTES`].
    Overrun {
        /// The most that is held, bytes.
        max: usize,
        /// What would have had to be held, bytes.
        got: usize,
    },
}

impl FrameError {
    /// A short name that stays the same, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "frame_empty",
            Self::TooLong { .. } => "frame_too_long",
            Self::Prefix { .. } => "frame_prefix",
            Self::Overrun { .. } => "frame_overrun",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty frame: expected a length of at least 1 byte, got 0"),
            Self::TooLong { max, got } => write!(f, "frame too long: expected at most {max} bytes, got {got}"),
            Self::Prefix { max } => {
                write!(f, "frame length: expected a number of 64 bits in at most {max} bytes, got more")
            }
            Self::Overrun { max, got } => write!(f, "too much unread: expected at most {max} bytes, got {got}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Cuts a byte stream into messages.
///
/// It allocates for bytes that arrived, never for a length that was only announced, and holds at most
/// one unfinished frame and one push. After an error it stays in that error.
///
/// ```
/// let mut frames = privval::FrameDecoder::new();
/// frames.push(&[2, 0x3a]);
/// assert_eq!(frames.next()?, None);
/// frames.push(&[0]);
/// assert_eq!(frames.next()?, Some(&[0x3a, 0][..]));
/// # Ok::<(), privval::FrameError>(())
/// ```
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Where the first byte stands that was not yet handed out.
    unread_at: usize,
    failed: Option<FrameError>,
}

impl FrameDecoder {
    /// A decoder at the beginning of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), unread_at: 0, failed: None }
    }

    /// Takes what was read from the stream, at most [`MAX_PUSH_BYTES`].
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.forget_read();
        let held = self.buffer.len().saturating_add(bytes.len());
        if held > MAX_BUFFERED_BYTES {
            self.fail(FrameError::Overrun { max: MAX_BUFFERED_BYTES, got: held });
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole message, without its length prefix, or none if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`], and again at every further call: close the connection.
    #[expect(clippy::should_implement_trait, reason = "it lends from the decoder, which an iterator cannot")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match split(&self.buffer[self.unread_at..]) {
            Err(error) => Err(self.fail(error)),
            Ok(None) => Ok(None),
            Ok(Some(Split { prefix, length })) => {
                let start = self.unread_at + prefix;
                self.unread_at = start + length;
                Ok(Some(&self.buffer[start..self.unread_at]))
            }
        }
    }

    /// Whether the stream could end here: nothing of a further frame has arrived.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.failed.is_none() && self.unread_at == self.buffer.len()
    }

    fn fail(&mut self, error: FrameError) -> FrameError {
        self.buffer = Vec::new();
        self.unread_at = 0;
        self.failed = Some(error);
        error
    }

    fn forget_read(&mut self) {
        self.buffer.drain(..self.unread_at);
        self.unread_at = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY_BYTES {
            self.buffer = Vec::new();
        }
    }
}

/// How long the prefix and the message at the front are.
struct Split {
    prefix: usize,
    length: usize,
}

/// Reads the prefix as Go's `binary.ReadUvarint` does, which does not insist on the shortest form.
fn split(unread: &[u8]) -> Result<Option<Split>, FrameError> {
    let prefix = unread.iter().take(MAX_PREFIX_BYTES).position(|byte| byte & 0x80 == 0).map(|last| last + 1);
    let Some(prefix) = prefix else {
        let is_open = unread.len() < MAX_PREFIX_BYTES;
        return if is_open { Ok(None) } else { Err(FrameError::Prefix { max: MAX_PREFIX_BYTES }) };
    };
    if prefix == MAX_PREFIX_BYTES && unread[prefix - 1] > 1 {
        return Err(FrameError::Prefix { max: MAX_PREFIX_BYTES });
    }
    let length = unread[..prefix].iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    match usize::try_from(length) {
        Ok(0) => Err(FrameError::Empty),
        Ok(length) if length <= MAX_REQUEST_BYTES => {
            Ok((unread.len() - prefix >= length).then_some(Split { prefix, length }))
        }
        _ => Err(FrameError::TooLong { max: MAX_REQUEST_BYTES, got: length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grown_by_a_large_frame_is_given_back() {
        let mut frames = FrameDecoder::new();
        let length = 1_u32 << 20;
        frames.push(&[0x80, 0x80, 0x40]);
        for _ in 0..16 {
            frames.push(&[7; MAX_PUSH_BYTES]);
            assert!(frames.buffer.capacity() <= 2 * (frames.buffer.len() + MAX_PUSH_BYTES));
        }
        assert_eq!(frames.next().unwrap().map(<[u8]>::len), Some(length as usize));
        frames.push(&[2]);
        assert!(frames.buffer.capacity() <= KEPT_CAPACITY_BYTES);
    }

    #[test]
    fn an_announced_length_alone_allocates_nothing() {
        let mut frames = FrameDecoder::new();
        frames.push(&[0xff, 0xff, 0x3f]);
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.buffer.capacity() < 64);
    }

    #[test]
    fn a_caller_who_never_takes_frames_out_cannot_fill_the_memory() {
        let mut frames = FrameDecoder::new();
        for _ in 0..1000 {
            frames.push(&[1; MAX_PUSH_BYTES]);
            assert!(frames.buffer.capacity() <= 2 * MAX_BUFFERED_BYTES);
        }
        assert!(matches!(frames.next(), Err(FrameError::Overrun { max: MAX_BUFFERED_BYTES, .. })));
    }
}
