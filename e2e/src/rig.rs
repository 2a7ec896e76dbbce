//! A chain whose first validator signs with the signer under test: the usual arrangement of a test.
use crate::signer::SignerChain;
use crate::{Chain, ChainSpec, Sandbox, Signer, SignerSpec};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How long a chain may take from the start to its first blocks.
const FIRST_BLOCKS: Duration = Duration::from_secs(60);

/// A running chain and its signer.
pub struct Rig {
    /// The chain.
    pub chain: Chain,
    /// The signer of its validator 0.
    pub signer: Signer,
    /// The signer's configuration.
    pub signer_spec: SignerSpec,
}

impl Rig {
    /// Makes homes, keys and state, starts the signer, then the nodes, and waits for the second block.
    ///
    /// # Errors
    /// When something does not start, or no block is made.
    pub fn start(sandbox: &Sandbox, name: &str, spec: ChainSpec) -> Result<Self> {
        Self::start_with(sandbox, name, spec, &[])
    }

    /// The same, with more `[[validator]]` connections of the same chain and key.
    ///
    /// # Errors
    /// As [`Rig::start`].
    pub fn start_with(sandbox: &Sandbox, name: &str, spec: ChainSpec, more: &[&str]) -> Result<Self> {
        let chain = Chain::prepare(sandbox, name, spec)?;
        let mut entry = SignerChain::new(&chain.spec.id, chain.signer_addr());
        entry.key = chain.key();
        entry.connections.extend(more.iter().map(|addr| (*addr).to_owned()));
        let signer_spec = SignerSpec::of(vec![entry]);
        let signer = Signer::prepare(sandbox, &format!("{name}-signer"), &signer_spec)?;
        let mut rig = Self { chain, signer, signer_spec };
        rig.signer.start()?;
        rig.chain.start()?;
        let begun = rig.chain.reach(2, FIRST_BLOCKS);
        rig.signer.process()?.check()?;
        begun.context("the chain does not begin")?;
        Ok(rig)
    }

    /// Fails unless the signer's signature is in the commit of at least `share` (0 to 1) of the blocks `from..=to`.
    ///
    /// # Errors
    /// When it is in fewer, with the heights that lack it.
    #[allow(clippy::cast_precision_loss)]
    pub fn expect_signed(&self, from: u64, to: u64, share: f64) -> Result<usize> {
        let signed = self.chain.signed_heights(from, to)?;
        let missing: Vec<u64> = (from..=to).filter(|height| !signed.contains(height)).collect();
        let all = to + 1 - from;
        ensure!(
            signed.len() as f64 >= share * all as f64,
            "no signature in the commits of heights {missing:?} of {from}..={to}"
        );
        Ok(signed.len())
    }

    /// Fails when the signer ever panicked or a node ever saw a double sign.
    ///
    /// # Errors
    /// With what was found.
    pub fn expect_clean(&mut self) -> Result<()> {
        // Of every life, not of the last one alone.
        let log = self.signer.process()?.whole_log_text();
        ensure!(!log.contains("panicked"), "the signer panicked");
        self.chain.expect_no_evidence()
    }
}
