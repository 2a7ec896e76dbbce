//! Frames of a secret connection: sealing and opening, with a counter as nonce.
use super::PeerFault;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use std::ops::Range;
use zeroize::Zeroizing;

/// The most that one frame carries, in bytes (`dataMaxSize` in Go).
pub const DATA_BYTES: usize = 1024;
/// A frame on the wire, in bytes: length, data with padding, tag.
pub const FRAME_BYTES: usize = PLAIN_BYTES + TAG_BYTES;

const LENGTH_BYTES: usize = 4;
const PLAIN_BYTES: usize = LENGTH_BYTES + DATA_BYTES;
const TAG_BYTES: usize = 16;

/// A frame key with its counter. Each key seals in one direction only, so a counter never repeats under it.
struct Cipher {
    aead: ChaCha20Poly1305,
    /// The next frame's number; none after the last one.
    counter: Option<u64>,
}

impl Cipher {
    fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self { aead: ChaCha20Poly1305::new((&**key).into()), counter: Some(0) }
    }

    /// Four zero bytes, then the counter as little-endian `u64`.
    fn next_nonce(&mut self) -> Result<Nonce, PeerFault> {
        let counter = self.counter.ok_or(PeerFault::Exhausted)?;
        self.counter = counter.checked_add(1);
        let mut nonce = Nonce::default();
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        Ok(nonce)
    }
}

/// Seals what is sent.
pub struct Sealer(Cipher);

impl Sealer {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(Cipher::new(key))
    }

    /// Appends `data` to `wire` in as few frames as it takes. Padding is zeroes.
    ///
    /// # Errors
    /// [`PeerFault::Exhausted`] after 2^64 frames.
    pub fn seal(&mut self, data: &[u8], wire: &mut Vec<u8>) -> Result<(), PeerFault> {
        data.chunks(DATA_BYTES).try_for_each(|chunk| self.seal_one(chunk, wire))
    }

    fn seal_one(&mut self, chunk: &[u8], wire: &mut Vec<u8>) -> Result<(), PeerFault> {
        let nonce = self.0.next_nonce()?;
        let start = wire.len();
        let length = u32::try_from(chunk.len()).map_err(|_| PeerFault::Exhausted)?;
        wire.extend_from_slice(&length.to_le_bytes());
        wire.extend_from_slice(chunk);
        wire.resize(start + PLAIN_BYTES, 0);
        let sealed = self.0.aead.encrypt_inout_detached(&nonce, &[], (&mut wire[start..]).into());
        let Ok(tag) = sealed else {
            wire.truncate(start);
            return Err(PeerFault::Exhausted);
        };
        wire.extend_from_slice(&tag);
        Ok(())
    }
}

/// Opens what is received.
pub struct Opener(Cipher);

impl Opener {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(Cipher::new(key))
    }

    /// Opens a frame where it stands and returns where in it the data is. The peer's padding is ignored, as Go
    /// does. A frame without data is refused: no implementation sends one, and a stream of them would keep us
    /// busy for nothing.
    ///
    /// # Errors
    /// [`PeerFault::Frame`] or [`PeerFault::FrameLength`]; the connection cannot be used any more.
    pub fn open(&mut self, frame: &mut [u8; FRAME_BYTES]) -> Result<Range<usize>, PeerFault> {
        let nonce = self.0.next_nonce()?;
        let (plain, tag) = frame.split_at_mut(PLAIN_BYTES);
        let tag = Tag::try_from(&*tag).map_err(|_| PeerFault::Frame)?;
        let opened = self.0.aead.decrypt_inout_detached(&nonce, &[], (&mut *plain).into(), &tag);
        opened.map_err(|_| PeerFault::Frame)?;
        let length = plain.first_chunk::<LENGTH_BYTES>().ok_or(PeerFault::Frame)?;
        let got = u32::from_le_bytes(*length);
        match usize::try_from(got) {
            Ok(length @ 1..=DATA_BYTES) => Ok(LENGTH_BYTES..LENGTH_BYTES + length),
            _ => Err(PeerFault::FrameLength { got }),
        }
    }
}
