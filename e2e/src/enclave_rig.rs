//! A chain whose first validator's key lives in an emulated enclave: the usual arrangement of the enclave's tests and of the soak.
use crate::enclave::{Enclave, EnclaveChain};
use crate::{Chain, ChainSpec, Sandbox, until};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Generous: a node that lost its signer waits 3 s for each attempt.
const RECOVERY: Duration = Duration::from_secs(90);

/// A running chain and the enclave that signs for its validator 0.
pub struct EnclaveRig {
    /// The chain.
    pub chain: Chain,
    /// The enclave and its parent.
    pub enclave: Enclave,
}

impl EnclaveRig {
    /// Makes everything, starts it, and waits for the second block.
    ///
    /// # Errors
    /// When something does not start, or no block is made.
    pub fn start(sandbox: &Sandbox, spec: ChainSpec) -> Result<Self> {
        Self::start_with(sandbox, spec, &[])
    }

    /// The same, with more nodes that may ask the same key.
    ///
    /// # Errors
    /// As [`EnclaveRig::start`].
    pub fn start_with(sandbox: &Sandbox, spec: ChainSpec, more: &[&str]) -> Result<Self> {
        Self::start_as(sandbox, spec, more, |_| Ok(()))
    }

    /// The same, with something done to the enclave before anything of it runs.
    ///
    /// # Errors
    /// As [`EnclaveRig::start`].
    pub fn start_as(
        sandbox: &Sandbox,
        spec: ChainSpec,
        more: &[&str],
        before: impl FnOnce(&mut Enclave) -> Result<()>,
    ) -> Result<Self> {
        let chain = Chain::prepare(sandbox, "chain", spec)?;
        let mut entry = EnclaveChain::new(&chain.spec.id, chain.signer_addr()).with_key(chain.key());
        entry.nodes.extend(more.iter().map(|node| (*node).to_owned()));
        let mut enclave = Enclave::prepare(sandbox, "tmkms", vec![entry])?;
        before(&mut enclave)?;
        enclave.start()?;
        let mut rig = Self { chain, enclave };
        rig.chain.start()?;
        rig.chain
            .reach(2, RECOVERY)
            .with_context(|| format!("the chain does not begin: {:?}", rig.enclave.status()))?;
        Ok(rig)
    }

    /// Waits for more blocks.
    ///
    /// # Errors
    /// When they do not come, with the enclave's status.
    pub fn grow(&mut self, blocks: u64) -> Result<u64> {
        until("the node to answer", RECOVERY, || Ok(self.chain.height().ok()))?;
        let grown = self.chain.grow(blocks, RECOVERY);
        grown.with_context(|| format!("the chain stands still; {:?}", self.enclave.status()))
    }

    /// Nothing panicked, and the node holds no evidence of a double sign.
    ///
    /// # Errors
    /// With what was found.
    pub fn expect_clean(&mut self) -> Result<()> {
        for (name, bytes) in self.enclave.logs() {
            ensure!(!String::from_utf8_lossy(&bytes).contains("panicked"), "{name}: panicked");
        }
        let log = self.chain.node(0).process()?.log_text();
        let evidence =
            log.lines().find(|line| line.contains("double signing") || line.contains("DuplicateVoteEvidence"));
        ensure!(evidence.is_none(), "the node saw a double sign: {evidence:?}");
        Ok(())
    }
}
