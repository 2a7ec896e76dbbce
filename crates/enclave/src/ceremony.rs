//! Where an image that makes keys differs from one that signs: a seam, behind which the signer's image has nothing.
//!
//! Code that sends a key out is in crate `ceremony`, which the signer's build does not depend on. Here is what it works with: the
//! security module, KMS, the measured policy, and a statement's document.
use crate::desk::Desk;
use crate::kms::{self, Region};
use crate::nsm::Nsm;
use crate::policy::Policy;
use crate::release::{client, copied};
use crate::trouble::{failure, kms_code};
use evidence::{Software, Statement};
use signer::Build;
use std::sync::Arc;
use std::time::SystemTime;
use wire::control::{Answer, Ceremony, Credentials, Failure, Phase};
use wire::endpoint::Parent;

/// What a ceremony image does.
pub trait Ceremonies: Send + Sync {
    /// Does what is asked, to its end. `progress` tells whoever asked where it is.
    ///
    /// # Errors
    /// With the reason; nothing of a key has left the enclave then.
    fn perform(&self, room: &Room, ceremony: Ceremony, progress: &dyn Fn(String)) -> Result<Answer, Failure>;
}

/// What a ceremony works with.
pub struct Room {
    pub(crate) nsm: Arc<dyn Nsm>,
    pub(crate) parent: Parent,
    pub(crate) desk: Arc<Desk>,
    pub(crate) policy: Policy,
    pub(crate) build: Build,
    pub(crate) life: String,
}

impl Room {
    /// A room, if the policy is one for a ceremony: without a KMS key that the image names, whoever chose it would have the key.
    pub(crate) fn new(
        nsm: Arc<dyn Nsm>,
        (parent, desk): (Parent, Arc<Desk>),
        policy: Option<Policy>,
        debug: bool,
        build: Build,
    ) -> Result<Self, Failure> {
        let broken = |code: &str, reason: String, remedy: &str| failure(Phase::Broken, code, reason, remedy);
        let policy = policy.unwrap_or_default();
        policy.is_for_ceremony().map_err(|missing| {
            let remedy = "build the image with --policy; docs/ceremony.md has one";
            broken("policy", format!("a ceremony image works only under a measured policy: {missing}"), remedy)
        })?;
        if debug && policy.debug != Some(true) {
            let reason =
                "this enclave runs in debug mode: its measurements are zeros, and its memory and console can be read";
            return Err(broken("debug", reason.to_owned(), "start it without --debug-mode: no key is made here"));
        }
        let mut life = [0; 16];
        getrandom::fill(&mut life).map_err(|error| broken("randomness", error.to_string(), ""))?;
        Ok(Self { nsm, parent, desk, policy, build, life: crate::way::self_check::hex(&life) })
    }

    /// The security module.
    #[must_use]
    pub fn nsm(&self) -> &dyn Nsm {
        &*self.nsm
    }

    /// The measured policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Which build this is, for statements.
    #[must_use]
    pub fn software(&self) -> Software {
        Software { version: self.build.version.to_owned(), commit: self.build.commit.to_owned() }
    }

    /// Which KMS this image asks: AWS's own, or what the measured policy names in its place, with the digest of the roots that it is
    /// believed by.
    #[must_use]
    pub fn kms(&self) -> String {
        use sha2::{Digest, Sha256};
        let Some(endpoint) = &self.policy.kms.endpoint else { return evidence::AWS_KMS.to_owned() };
        if endpoint.roots.is_empty() {
            return format!("{}, Amazon's roots", endpoint.host);
        }
        let mut digest = Sha256::new();
        endpoint.roots.iter().for_each(|root| digest.update(root));
        format!("{}, roots {}", endpoint.host, crate::way::self_check::hex(&digest.finalize()))
    }

    /// A random name of this life of the enclave, in hexadecimal.
    #[must_use]
    pub fn life(&self) -> &str {
        &self.life
    }

    /// Asks KMS, through the parent's proxy at that port.
    ///
    /// # Errors
    /// KMS refuses, or cannot be reached.
    pub fn ask<O: kms::Operation>(
        &self,
        proxy_port: u32,
        credentials: &Credentials,
        operation: &O,
    ) -> Result<O::Output, Failure> {
        self.with_client(operation.region(), proxy_port, |client| {
            client.call(&*self.nsm, &copied(credentials), operation, SystemTime::now())
        })
    }

    /// Has KMS decrypt for a recipient, as a signer will.
    ///
    /// # Errors
    /// As [`Room::ask`].
    pub fn decrypt(
        &self,
        proxy_port: u32,
        credentials: &Credentials,
        recipient: &kms::Recipient,
        wanted: &kms::DecryptRequest<'_>,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Failure> {
        self.with_client(wanted.region, proxy_port, |client| {
            client.decrypt(&*self.nsm, recipient, &copied(credentials), wanted, SystemTime::now())
        })
    }

    fn with_client<T>(
        &self,
        region: &Region,
        proxy_port: u32,
        ask: impl FnOnce(&kms::Client) -> Result<T, kms::KmsError>,
    ) -> Result<T, Failure> {
        let fail = |code: &str, reason: String| failure(Phase::Releasing, code, reason, "");
        let endpoint = self.policy.kms.endpoint.as_ref();
        let client = client(endpoint, &self.parent, &self.desk, region, proxy_port)
            .map_err(|withheld| fail(withheld.code, withheld.reason))?;
        let answer = ask(&client);
        self.desk.waits_no_more();
        answer.map_err(|error| fail(kms_code(&error), error.to_string()))
    }

    /// A document that binds a statement, with the asker's bytes in its nonce.
    ///
    /// # Errors
    /// The security module gives none.
    pub fn attest(&self, statement: &Statement, nonce: &[u8]) -> Result<Vec<u8>, Failure> {
        crate::attestation::bound(&*self.nsm, statement, nonce, Phase::Releasing)
    }
}

/// A failure of a ceremony.
#[must_use]
pub fn refused(code: &str, reason: impl Into<String>, remedy: &str) -> Failure {
    failure(Phase::Checking, code, reason, remedy)
}
