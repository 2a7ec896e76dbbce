//! The token that rules: that of the first push that was applied.
use crate::lock;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex};
use wire::control::REQUEST_DOMAIN;
use wire::token::{Proof, Token};

/// The token that rules, once there is one.
///
/// A push that fails sets none: an operator who mends a mistake may come with another token file. Until then the log is
/// read with the token of the last push. So up to the first push that is applied any process of the parent may come
/// with a token of its own, also after another one's push failed; where that must not be, the measured policy pins
/// the token (`[control] token_sha256`).
#[derive(Default)]
pub(crate) struct RulingToken {
    /// SHA-256 of the only token that may rule.
    pinned: Option<[u8; 32]>,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    ruling: Option<Arc<Token>>,
    last: Option<Arc<Token>>,
    /// Another number whenever another token verifies requests.
    generation: u64,
}

impl Tokens {
    fn verifying(&self) -> Option<&Arc<Token>> {
        self.ruling.as_ref().or(self.last.as_ref())
    }

    fn verify_by_another(&mut self, token: &Token) {
        if !self.verifying().is_some_and(|verifying| verifying.is(token)) {
            self.generation += 1;
        }
    }
}

impl RulingToken {
    /// Only the token with that SHA-256 may rule.
    pub(crate) fn pinned(pinned: Option<[u8; 32]>) -> Self {
        Self { pinned, tokens: Mutex::default() }
    }

    /// Whether a push with that token may be taken.
    pub(crate) fn admits(&self, token: &Token) -> bool {
        // Both are digests of 32 random bytes: how long the comparison takes tells nothing of the token.
        let is_pinned = self.pinned.is_none_or(|pinned| Sha256::digest(token.expose())[..] == pinned);
        is_pinned && lock(&self.tokens).ruling.as_ref().is_none_or(|ruling| ruling.is(token))
    }

    /// Whether the measured policy names the token.
    pub(crate) const fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    /// A push came with that token, and proved it.
    pub(crate) fn saw(&self, token: &Token) {
        let mut tokens = lock(&self.tokens);
        if tokens.ruling.is_none() {
            tokens.verify_by_another(token);
            tokens.last = Some(Arc::new(Token::new(token.expose())));
        }
    }

    /// A push with that token is applied.
    pub(crate) fn rule(&self, token: &Arc<Token>) {
        let mut tokens = lock(&self.tokens);
        if tokens.ruling.is_none() {
            tokens.verify_by_another(token);
            tokens.ruling = Some(Arc::clone(token));
        }
        tokens.last = None;
    }

    /// The token that rules.
    pub(crate) fn ruling(&self) -> Option<Arc<Token>> {
        lock(&self.tokens).ruling.clone()
    }

    /// Whether a request that carries no token is proven, and in which generation of tokens.
    pub(crate) fn verifies(&self, nonce: &[u8; 32], message: &[u8], proof: &Proof) -> Option<u64> {
        let tokens = lock(&self.tokens);
        let is_proven = tokens.verifying()?.verify(REQUEST_DOMAIN, nonce, message, proof);
        is_proven.then_some(tokens.generation)
    }

    /// Changes when what was proven before is worth nothing any more.
    pub(crate) fn generation(&self) -> u64 {
        lock(&self.tokens).generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(ruling: &RulingToken, token: &Token) -> Option<u64> {
        ruling.verifies(&[0; 32], b"x", &token.prove(REQUEST_DOMAIN, &[0; 32], b"x"))
    }

    #[test]
    fn the_first_applied_push_sets_the_token_and_a_failed_one_only_lets_the_log_be_read() {
        let (one, two) = (Token::new(&[1; 32]), Arc::new(Token::new(&[2; 32])));
        let ruling = RulingToken::default();
        let proven = |token: &Token| proven(&ruling, token).is_some();
        assert!(!proven(&one));
        ruling.saw(&one);
        assert!(proven(&one) && ruling.admits(&two));
        ruling.saw(&two);
        ruling.rule(&two);
        assert!(!proven(&one) && proven(&two));
        assert!(!ruling.admits(&one) && ruling.admits(&two));
        ruling.rule(&Arc::new(Token::new(&[3; 32])));
        assert!(ruling.admits(&two), "it is set once");
    }

    #[test]
    fn another_token_is_another_generation_and_the_same_is_not() {
        let [one, two] = [1, 2].map(|byte| Arc::new(Token::new(&[byte; 32])));
        let ruling = RulingToken::default();
        ruling.saw(&one);
        let first = proven(&ruling, &one).unwrap();
        ruling.saw(&one);
        assert_eq!(ruling.generation(), first);
        ruling.saw(&two);
        let second = ruling.generation();
        assert_ne!(first, second);
        ruling.rule(&two);
        ruling.rule(&one);
        ruling.saw(&one);
        assert_eq!((ruling.generation(), proven(&ruling, &one)), (second, None));
        ruling.rule(&two);
        assert_eq!(proven(&ruling, &two), Some(second));
    }

    #[test]
    fn a_pinned_token_is_the_only_one_that_is_admitted() {
        let ruling = RulingToken::pinned(Some(Sha256::digest([1; 32]).into()));
        assert!(ruling.admits(&Token::new(&[1; 32])) && !ruling.admits(&Token::new(&[2; 32])));
    }
}
