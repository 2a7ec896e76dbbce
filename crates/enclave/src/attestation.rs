//! What the enclave says of itself to anyone who asks: which keys it holds now, bound to its measurements.
//!
//! Whoever asks chooses the nonce and nothing else; `public_key` stays null, so that no document of this module can be used with KMS.
use crate::board::Board;
use crate::nsm::{AttestationRequest, Nsm};
use crate::trouble::failure;
use base64ct::{Base64, Encoding};
use evidence::{Signer, Software, Statement};
use signer::Build;
use std::sync::{Arc, OnceLock};
use wire::control::{Attested, Failure, Phase};

/// The length of a life's name, in bytes.
const LIFE_BYTES: usize = 16;

/// Makes attestations.
pub(crate) struct Attestation {
    nsm: Arc<dyn Nsm>,
    build: Build,
    policy_sha256: Option<String>,
    life: OnceLock<[u8; LIFE_BYTES]>,
}

impl Attestation {
    pub(crate) fn new(nsm: Arc<dyn Nsm>, build: Build, policy_sha256: Option<String>) -> Self {
        Self { nsm, build, policy_sha256, life: OnceLock::new() }
    }

    /// A document over what is served, with that nonce.
    ///
    /// # Errors
    /// Nothing is served, or the module gives no document.
    pub(crate) fn of_what_is_served(&self, board: &Board, nonce: &[u8]) -> Result<Attested, Failure> {
        let phase = board.phase();
        let Some((config_sha256, chains)) = board.held() else {
            let remedy = "push a configuration: `tmkms nitro push-config`, and see `tmkms nitro status`";
            let reason = "there is nothing to attest to: no configuration is applied";
            return Err(failure(phase, "not-serving", reason, remedy));
        };
        let statement = Statement::Signer(Signer {
            software: Software { version: self.build.version.to_owned(), commit: self.build.commit.to_owned() },
            life: self.life().map_err(|error| failure(phase, "randomness", error.to_string(), "ask again"))?,
            policy_sha256: self.policy_sha256.clone(),
            config_sha256,
            chains,
        });
        let document = bound(&*self.nsm, &statement, nonce, phase)?;
        Ok(Attested { statement: statement.text(), document: Base64::encode_string(&document) })
    }

    /// The same for as long as the enclave lives.
    fn life(&self) -> Result<String, getrandom::Error> {
        if let Some(life) = self.life.get() {
            return Ok(crate::way::self_check::hex(life));
        }
        let mut life = [0; LIFE_BYTES];
        getrandom::fill(&mut life)?;
        Ok(crate::way::self_check::hex(self.life.get_or_init(|| life)))
    }
}

/// A document that binds a statement, with the asker's bytes in its nonce and nowhere else, and no public key.
pub(crate) fn bound(nsm: &dyn Nsm, statement: &Statement, nonce: &[u8], phase: Phase) -> Result<Vec<u8>, Failure> {
    let user_data = statement.user_data();
    let request = AttestationRequest { public_key: None, nonce: Some(nonce), user_data: Some(&user_data) };
    nsm.attest(&request).map_err(|error| {
        failure(phase, "module", format!("the security module gave no document: {error}"), "ask again")
    })
}
