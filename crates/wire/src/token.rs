//! The control token: set by the first push, and proven by whoever pushes again, reads logs or keeps the state.
//!
//! A proof is HMAC-SHA-256, under the token, of
//! `length of domain (u32) ‖ domain ‖ nonce (32 bytes) ‖ length of message (u64) ‖ message`: the verifier's nonce makes it
//! worth nothing on another connection, the domain on another channel. The token itself is sent only in a push.
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 random bytes. No `Debug`, no `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Token(Box<[u8; 32]>);

/// A proof: 32 bytes.
pub type Proof = [u8; 32];

/// What [`Token::is`] compares by.
const SAME_DOMAIN: &str = "tmkms token comparison v1";

impl Token {
    /// From its bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Box::new(*bytes))
    }

    /// Its bytes. Each use is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, in constant time.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let nonce = [0; 32];
        self.verify(SAME_DOMAIN, &nonce, &[], &other.prove(SAME_DOMAIN, &nonce, &[]))
    }

    /// Proves that a message of `domain` for that nonce comes from a holder of the token.
    #[must_use]
    pub fn prove(&self, domain: &str, nonce: &[u8; 32], message: &[u8]) -> Proof {
        self.mac(domain, nonce, message).finalize().into_bytes().into()
    }

    /// Checks a proof in constant time.
    #[must_use]
    pub fn verify(&self, domain: &str, nonce: &[u8; 32], message: &[u8], proof: &Proof) -> bool {
        self.mac(domain, nonce, message).verify(proof.into()).is_ok()
    }

    fn mac(&self, domain: &str, nonce: &[u8; 32], message: &[u8]) -> Hmac<Sha256> {
        // A key of one block's length: HMAC pads a shorter key with zeros, so this is HMAC under the 32 bytes.
        let mut key = zeroize::Zeroizing::new([0; 64]);
        key[..32].copy_from_slice(&*self.0);
        let mut mac = Hmac::<Sha256>::new((&*key).into());
        mac.update(&u32::try_from(domain.len()).unwrap_or(u32::MAX).to_be_bytes());
        mac.update(domain.as_bytes());
        mac.update(nonce);
        mac.update(&u64::try_from(message.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(message);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_proof_is_hmac_sha_256_as_python_computes_it() {
        // hmac.new(bytes([7])*32, struct.pack(">I",3)+b"abc"+bytes([9])*32+struct.pack(">Q",2)+b"hi", "sha256").hexdigest()
        let proof = Token::new(&[7; 32]).prove("abc", &[9; 32], b"hi");
        assert_eq!(hex(&proof), "d1235286b1d367604fbb62b08c770f7bc3305572365f28ddea82edd397eb874e");
    }

    #[test]
    fn a_proof_holds_for_its_domain_nonce_message_and_token_alone() {
        let token = Token::new(&[1; 32]);
        let proof = token.prove("domain", &[2; 32], b"message");
        assert!(token.verify("domain", &[2; 32], b"message", &proof));
        assert!(!token.verify("domaim", &[2; 32], b"message", &proof));
        assert!(!token.verify("domain", &[3; 32], b"message", &proof));
        assert!(!token.verify("domain", &[2; 32], b"massage", &proof));
        assert!(!Token::new(&[4; 32]).verify("domain", &[2; 32], b"message", &proof));
        assert!(!token.verify("domain", &[2; 32], b"message", &[0; 32]));
    }

    #[test]
    fn bytes_cannot_move_between_domain_nonce_and_message() {
        let token = Token::new(&[1; 32]);
        let (zeros, mut shifted) = ([0; 32], [0; 32]);
        shifted[31] = b'x';
        assert_ne!(token.prove("ab", &zeros, b""), token.prove("a", &zeros, b"b"));
        assert_ne!(token.prove("a", &zeros, b"xy"), token.prove("a", &shifted, b"y"));
        assert_ne!(token.prove("a", &zeros, b""), token.prove("a", &zeros, b"\0"));
    }

    #[test]
    fn tokens_are_the_same_only_if_all_bytes_are() {
        let token = Token::new(&[1; 32]);
        assert!(token.is(&Token::new(&[1; 32])));
        for index in 0..32 {
            let mut other = [1; 32];
            other[index] ^= 0x80;
            assert!(!token.is(&Token::new(&other)), "byte {index}");
        }
    }
}
