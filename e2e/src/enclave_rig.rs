//! A chain whose first validator's key lives in an enclave (a process or the emulator): the usual arrangement of its tests and of the soak.
use crate::enclave::{Enclave, EnclaveChain, Machine};
use crate::{Chain, ChainSpec, Sandbox, until};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

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
        Self::start_on(sandbox, spec, more, None, before)
    }

    /// The same with an enclave that is an image in the emulator.
    ///
    /// # Errors
    /// As [`EnclaveRig::start`].
    pub fn start_emulated(
        sandbox: &Sandbox,
        spec: ChainSpec,
        more: &[&str],
        machine: Machine,
        before: impl FnOnce(&mut Enclave) -> Result<()>,
    ) -> Result<Self> {
        Self::start_on(sandbox, spec, more, Some(machine), before)
    }

    fn start_on(
        sandbox: &Sandbox,
        spec: ChainSpec,
        more: &[&str],
        machine: Option<Machine>,
        before: impl FnOnce(&mut Enclave) -> Result<()>,
    ) -> Result<Self> {
        let chain = Chain::prepare(sandbox, "chain", spec)?;
        let mut entry = EnclaveChain::new(&chain.spec.id, chain.signer_addr()).with_key(chain.key());
        entry.nodes.extend(more.iter().map(|node| (*node).to_owned()));
        let mut enclave = match machine {
            None => Enclave::prepare(sandbox, "tmkms", vec![entry])?,
            Some(machine) => Enclave::prepare_emulated(sandbox, "tmkms", vec![entry], machine)?,
        };
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

    /// Waits for so many more blocks and asks for the validator's signature in the commit of each.
    ///
    /// # Errors
    /// When they do not come, or with the heights whose commits lack it.
    pub fn every_commit_signed(&mut self, blocks: u64) -> Result<u64> {
        let from = self.chain.height()?;
        // The commit of the last block is in the next one.
        let to = self.grow(blocks + 1)? - 1;
        let signed = self.chain.signed_heights(from, to)?;
        let missing: Vec<u64> = (from..=to).filter(|height| !signed.contains(height)).collect();
        ensure!(missing.is_empty(), "no signature in the commits of heights {missing:?} of {from}..={to}");
        Ok(to - from + 1)
    }

    /// Waits until the validator's signature is in the commits of four blocks in a row that are made from now on. A chain
    /// whose other validators suffice goes on without it.
    ///
    /// # Errors
    /// When it is not back `within`, with the enclave's status.
    pub fn signs_again(&mut self, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        until("the node to answer", RECOVERY, || Ok(self.chain.height().ok()))?;
        let from = self.chain.height()?;
        let signing = until("the validator's signature in four commits", within, || {
            std::thread::sleep(Duration::from_millis(100));
            let Some(last) = self.chain.height().ok().filter(|height| *height >= from + 5) else { return Ok(None) };
            Ok((self.chain.signed_heights(last - 4, last - 1)?.len() == 4).then_some(()))
        });
        signing.with_context(|| format!("{:?}", self.enclave.status()))?;
        Ok(begun.elapsed())
    }

    /// Nothing ever panicked, and no node ever saw a double sign.
    ///
    /// # Errors
    /// With what was found.
    pub fn expect_clean(&mut self) -> Result<()> {
        for (name, bytes) in self.enclave.logs() {
            ensure!(!String::from_utf8_lossy(&bytes).contains("panicked"), "{name}: panicked");
        }
        self.chain.expect_no_evidence()
    }
}
