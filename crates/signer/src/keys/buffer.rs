//! Where secret bytes live: buffers of a fixed size that are zeroized when they go.
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The length of every secret here in bytes: an ed25519 seed (RFC 8032) or a secp256k1 scalar.
pub(super) const SECRET_BYTES: usize = 32;

/// The secret half of a key. On the heap, so that moving it moves a pointer and leaves no copy behind.
pub(super) struct Secret(Box<[u8; SECRET_BYTES]>);

impl Secret {
    /// Copies the secret out of a buffer of the caller's, who zeroizes that buffer.
    pub(super) fn copied_from(bytes: &[u8; SECRET_BYTES]) -> Self {
        let mut secret = Self(Box::new([0; SECRET_BYTES]));
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// Fresh random bytes of the operating system, written in place.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut secret = Self(Box::new([0; SECRET_BYTES]));
        getrandom::fill(secret.0.as_mut_slice())?;
        Ok(secret)
    }

    /// The secret bytes. Each use is a place to look at in a review.
    pub(super) fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

/// A file's contents: allocated once at its largest, never grown, zeroized whole.
pub(super) struct Contents {
    bytes: Zeroizing<Box<[u8]>>,
    filled: usize,
}

impl Contents {
    /// Reads to the end of `source` or until `capacity_bytes` are there, whichever comes first.
    pub(super) fn read(mut source: impl std::io::Read, capacity_bytes: usize) -> std::io::Result<Self> {
        let mut contents = Self { bytes: Zeroizing::new(vec![0; capacity_bytes].into_boxed_slice()), filled: 0 };
        while contents.filled < capacity_bytes {
            match source.read(&mut contents.bytes[contents.filled..]) {
                Ok(0) => break,
                Ok(count) => contents.filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(contents)
    }

    /// What was read.
    pub(super) fn expose(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

/// How much of the stack is cleared after work with secrets, in bytes. Copies were seen down to 3 KiB.
const CLEARED_STACK_BYTES: usize = 16 * 1024;

/// Does work with secrets in a frame of its own, and clears the stack that it used.
///
/// What is moved is copied, and the compiler leaves such copies where they were: of a secp256k1 scalar three were found
/// (tests/keys_in_memory.rs). The result must hold its secrets behind pointers, or the copy is made here.
pub(super) fn with_cleared_stack<T>(work: impl FnOnce() -> T) -> T {
    let result = in_own_frame(work);
    clear_stack();
    result
}

#[inline(never)]
fn in_own_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn clear_stack() {
    let mut stack = [0_u8; CLEARED_STACK_BYTES];
    stack.zeroize();
    std::hint::black_box(&mut stack);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_zeroized_on_drop<T: ZeroizeOnDrop>() {}

    #[test]
    fn every_key_type_is_zeroized_on_drop() {
        is_zeroized_on_drop::<Secret>();
        is_zeroized_on_drop::<Zeroizing<Box<[u8]>>>();
        is_zeroized_on_drop::<ed25519_dalek::SigningKey>();
        is_zeroized_on_drop::<k256::ecdsa::SigningKey>();
    }

    #[test]
    fn zeroizing_a_secret_clears_all_of_it() {
        let mut secret = Secret::copied_from(&[0xA5; SECRET_BYTES]);
        secret.zeroize();
        assert_eq!(secret.expose(), &[0; SECRET_BYTES]);
    }

    #[test]
    fn contents_are_read_in_place_and_never_beyond_the_capacity() {
        struct Dribble(u8);
        impl std::io::Read for Dribble {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.0 += 1;
                if self.0 == 2 {
                    return Err(std::io::ErrorKind::Interrupted.into());
                }
                buffer[0] = self.0;
                Ok(1)
            }
        }
        let contents = Contents::read(Dribble(0), 3).unwrap();
        assert_eq!(contents.expose(), [1, 3, 4]);
    }

    #[test]
    fn two_random_secrets_differ() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_ne!(one.expose(), &[0; SECRET_BYTES]);
    }
}
