//! Which attestation documents are believed: those of trusted roots, by crate `attest`, and those that a test vouches for.
use super::recipient::{Evidence, Verifier};
use std::sync::{PoisonError, RwLock};

type Also = Box<dyn Fn(&[u8], i64) -> Result<Evidence, String> + Send + Sync>;

/// Believes nothing until it is told what to.
#[derive(Default)]
pub struct Documents {
    roots: RwLock<Vec<Vec<u8>>>,
    also: RwLock<Vec<Also>>,
}

impl Documents {
    /// Trusts a root certificate, in DER.
    pub fn trust(&self, der: &[u8]) {
        self.roots.write().unwrap_or_else(PoisonError::into_inner).push(der.to_vec());
    }

    /// Trusts what this says.
    pub fn also(&self, verifier: Also) {
        self.also.write().unwrap_or_else(PoisonError::into_inner).push(verifier);
    }
}

impl Verifier for Documents {
    fn verify(&self, document: &[u8], now: i64) -> Result<Evidence, String> {
        let mut reason = "no root certificate is trusted".to_owned();
        for verifier in self.also.read().unwrap_or_else(PoisonError::into_inner).iter() {
            match verifier(document, now) {
                Ok(evidence) => return Ok(evidence),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }
}
