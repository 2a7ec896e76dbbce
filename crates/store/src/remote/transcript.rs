//! What an answer's proof is bound to, besides itself: everything that the enclave said on its connection so far.
//!
//! A proof over a nonce and an answer alone would let whoever stands between the two exchange the question: open the
//! record of another key that the same parent keeps, and pass its honest answers on. So in the place of the nonce stands
//! a hash over the nonce and each request since, in order; both sides have it only if they saw the same requests.
use sha2::{Digest, Sha256};

const DOMAIN: &[u8] = b"tmkms state transcript v1";

/// The greeting's nonce of the enclave and the requests since, as 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    /// Begins with the nonce of the enclave's hello.
    #[must_use]
    pub const fn new(enclave_nonce: [u8; 32]) -> Self {
        Self(enclave_nonce)
    }

    /// Takes in a request's frame, as it is sent.
    pub fn absorb(&mut self, request: &[u8]) {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(self.0);
        hash.update(request);
        self.0 = hash.finalize().into();
    }

    /// What [`wire::state::Answer::encode`] and [`wire::token::Token::verify`] take as the nonce.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Transcript;

    #[test]
    fn another_nonce_request_or_order_makes_another_transcript() {
        let after = |nonce: u8, requests: &[&[u8]]| {
            let mut transcript = Transcript::new([nonce; 32]);
            requests.iter().for_each(|request| transcript.absorb(request));
            transcript
        };
        let one = after(1, &[b"open", b"recover"]);
        assert_eq!(one, after(1, &[b"open", b"recover"]));
        for other in [after(2, &[b"open", b"recover"]), after(1, &[b"recover", b"open"]), after(1, &[b"openrecover"])] {
            assert_ne!(one, other);
        }
    }
}
