//! Which attestation documents are believed: those of trusted roots, by crate `attest`, and those that a test vouches for.
use super::recipient::{Evidence, Verifier};
use attest::{Document, Roots, Timestamp, Verified};
use std::sync::{PoisonError, RwLock};

type Also = Box<dyn Fn(&[u8], i64) -> Result<Evidence, String> + Send + Sync>;

/// Believes nothing until it is told what to.
#[derive(Default)]
pub struct Documents {
    roots: RwLock<Vec<Roots>>,
    also: RwLock<Vec<Also>>,
}

impl Documents {
    /// Trusts a root certificate, in DER.
    pub fn trust(&self, der: &[u8]) {
        self.roots.write().unwrap_or_else(PoisonError::into_inner).push(Roots::of(der));
    }

    /// Trusts what this says.
    pub fn also(&self, verifier: Also) {
        self.also.write().unwrap_or_else(PoisonError::into_inner).push(verifier);
    }

    fn by_roots(&self, document: &[u8], at: Timestamp) -> Result<Verified, String> {
        let document = Document::parse(document).map_err(|malformed| malformed.to_string())?;
        let mut reason = "no root certificate is trusted".to_owned();
        for roots in self.roots.read().unwrap_or_else(PoisonError::into_inner).iter() {
            match document.verify(roots, at) {
                Ok(verified) => return Ok(verified),
                Err(untrusted) => reason = untrusted.to_string(),
            }
        }
        Err(reason)
    }
}

impl Verifier for Documents {
    fn verify(&self, document: &[u8], now: i64) -> Result<Evidence, String> {
        let at = Timestamp(u64::try_from(now).unwrap_or_default());
        let reason = match self.by_roots(document, at) {
            Ok(verified) => return Ok(evidence(&verified)),
            Err(reason) => reason,
        };
        // Each one's reason: which of them was meant cannot be known.
        let mut reasons = vec![reason];
        for verifier in self.also.read().unwrap_or_else(PoisonError::into_inner).iter() {
            match verifier(document, now) {
                Ok(evidence) => return Ok(evidence),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }
}

fn evidence(verified: &Verified) -> Evidence {
    Evidence {
        pcrs: verified.pcrs().clone(),
        public_key: verified.public_key().map(<[u8]>::to_vec),
        timestamp_millis: verified.timestamp_ms(),
    }
}
