//! Key agreement of a secret connection: two ephemeral keys in, two frame keys and a challenge out.
use super::{Opener, PeerFault, Sealer};
use hkdf::Hkdf;
use merlin::Transcript;
use sha2::Sha256;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

/// Size of the first message: a delimited `google.protobuf.BytesValue` with 32 bytes.
pub const HELLO_BYTES: usize = 35;

/// Length 34, then field 1, then length 32.
const HELLO_PREFIX: [u8; 3] = [0x22, 0x0a, 0x20];

const TRANSCRIPT_LABEL: &[u8] = b"TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH";
const KEY_INFO: &[u8] = b"TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN";

/// Our half of a handshake, used once.
pub struct Handshake {
    secret: StaticSecret,
    public: PublicKey,
}

/// What both sides hold after the ephemeral keys were exchanged.
pub struct Secrets {
    /// Seals what we send.
    pub sealer: Sealer,
    /// Opens what we receive.
    pub opener: Opener,
    /// What both identity keys sign.
    pub challenge: [u8; 32],
}

impl Handshake {
    /// Starts from 32 random bytes, which must never be used again.
    #[must_use]
    pub fn new(random: &Zeroizing<[u8; 32]>) -> Self {
        let secret = StaticSecret::from(**random);
        let public = PublicKey::from(&secret);
        Self { secret, public }
    }

    /// Our first message.
    #[must_use]
    pub fn hello(&self) -> [u8; HELLO_BYTES] {
        let mut hello = [0; HELLO_BYTES];
        hello[..3].copy_from_slice(&HELLO_PREFIX);
        hello[3..].copy_from_slice(self.public.as_bytes());
        hello
    }

    /// Takes the peer's first message.
    ///
    /// Every implementation sends the same three bytes before its key, so nothing else is read as a hello.
    ///
    /// # Errors
    /// A [`PeerFault`] if it is no hello, or if its key is ours or has a low order.
    pub fn agree(self, peer_hello: &[u8; HELLO_BYTES]) -> Result<Secrets, PeerFault> {
        let Some(key) = peer_hello.strip_prefix(&HELLO_PREFIX).and_then(|key| <[u8; 32]>::try_from(key).ok()) else {
            return Err(PeerFault::Hello);
        };
        let ours = *self.public.as_bytes();
        if key == ours {
            return Err(PeerFault::EchoedKey);
        }
        let shared = self.secret.diffie_hellman(&PublicKey::from(key));
        if !shared.was_contributory() {
            return Err(PeerFault::LowOrderKey);
        }
        Ok(derive(&ours, &key, &shared))
    }
}

fn derive(ours: &[u8; 32], theirs: &[u8; 32], shared: &SharedSecret) -> Secrets {
    let (lower, upper) = if ours < theirs { (ours, theirs) } else { (theirs, ours) };
    let mut transcript = Transcript::new(TRANSCRIPT_LABEL);
    transcript.append_message(b"EPHEMERAL_LOWER_PUBLIC_KEY", lower);
    transcript.append_message(b"EPHEMERAL_UPPER_PUBLIC_KEY", upper);
    transcript.append_message(b"DH_SECRET", shared.as_bytes());
    let mut challenge = [0; 32];
    transcript.challenge_bytes(b"SECRET_CONNECTION_MAC", &mut challenge);

    let [first, second] = frame_keys(shared.as_bytes());
    let (receive, send) = if lower == ours { (first, second) } else { (second, first) };
    Secrets { sealer: Sealer::new(&send), opener: Opener::new(&receive), challenge }
}

/// Two keys from HKDF-SHA256. Go derives 96 bytes and ignores the last 32, a challenge of an older protocol.
fn frame_keys(shared: &[u8; 32]) -> [Zeroizing<[u8; 32]>; 2] {
    let mut bytes = Zeroizing::new([0_u8; 64]);
    let expanded = Hkdf::<Sha256>::new(None, shared).expand(KEY_INFO, bytes.as_mut());
    debug_assert!(expanded.is_ok(), "64 bytes are within HKDF-SHA256's 8160");
    let (first, second) = bytes.split_at(32);
    [first, second].map(|half| {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(half);
        key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    /// CometBFT's own file: secret, whether the local key is the lower one, receive key, send key, and the challenge
    /// of an older protocol.
    #[test]
    fn frame_keys_are_those_of_go() {
        let golden = include_str!("../../tests/data/TestDeriveSecretsAndChallengeGolden.golden");
        let mut cases = 0;
        for line in golden.lines().filter(|line| !line.is_empty()) {
            let [secret, is_lower, receive, send, _] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("a line has five columns: {line}")
            };
            let [first, second] = frame_keys(&bytes(secret));
            let (ours, theirs) = if is_lower == "true" { (first, second) } else { (second, first) };
            assert_eq!((*ours, *theirs), (bytes(receive), bytes(send)));
            cases += 1;
        }
        assert_eq!(cases, 32);
    }
}
