//! The token that rules: that of the first push that was applied.
use crate::lock;
use std::sync::{Arc, Mutex};
use wire::control::REQUEST_DOMAIN;
use wire::token::{Proof, Token};

/// The token that rules, once there is one.
///
/// A push that fails sets none: an operator who mends a mistake may come with another token file. Until then the log is
/// read with the token of the last push.
#[derive(Default)]
pub(crate) struct RulingToken(Mutex<Tokens>);

#[derive(Default)]
struct Tokens {
    ruling: Option<Arc<Token>>,
    last: Option<Arc<Token>>,
}

impl RulingToken {
    /// Whether a push with that token may be taken.
    pub(crate) fn admits(&self, token: &Token) -> bool {
        lock(&self.0).ruling.as_ref().is_none_or(|ruling| ruling.is(token))
    }

    /// A push came with that token, and proved it.
    pub(crate) fn saw(&self, token: &Token) {
        let mut tokens = lock(&self.0);
        if tokens.ruling.is_none() {
            tokens.last = Some(Arc::new(Token::new(token.expose())));
        }
    }

    /// A push with that token is applied.
    pub(crate) fn rule(&self, token: &Arc<Token>) {
        let mut tokens = lock(&self.0);
        tokens.ruling.get_or_insert_with(|| Arc::clone(token));
        tokens.last = None;
    }

    /// Whether a request that carries no token is proven.
    pub(crate) fn verifies(&self, nonce: &[u8; 32], message: &[u8], proof: &Proof) -> bool {
        let tokens = lock(&self.0);
        let token = tokens.ruling.as_ref().or(tokens.last.as_ref());
        token.is_some_and(|token| token.verify(REQUEST_DOMAIN, nonce, message, proof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_applied_push_sets_the_token_and_a_failed_one_only_lets_the_log_be_read() {
        let (one, two) = (Token::new(&[1; 32]), Arc::new(Token::new(&[2; 32])));
        let ruling = RulingToken::default();
        let proven = |token: &Token| ruling.verifies(&[0; 32], b"x", &token.prove(REQUEST_DOMAIN, &[0; 32], b"x"));
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
}
