//! The platform configuration registers of a simulated enclave, derived as the real ones are.
use aws_lc_rs::digest::{SHA384, digest};
use std::collections::BTreeMap;

/// The bytes of a SHA-384 register.
pub const PCR_BYTES: usize = 48;
/// Registers 0 to 15 are the platform's, locked, and in every document; those that nothing was measured into are zeros.
const PLATFORM_PCRS: u8 = 16;

/// What is measured: register values by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurements {
    pcrs: BTreeMap<u8, Vec<u8>>,
}

impl Measurements {
    /// The registers of an enclave whose image consists of these contents, in this order (the measured policy and the
    /// binary, say): PCR0 = SHA384(48 zero bytes ‖ SHA384(contents, one after the other)). The rest is zeros.
    #[must_use]
    pub fn of_files<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let image: Vec<u8> = contents.into_iter().flatten().copied().collect();
        Self::of_pcr0(extend(digest(&SHA384, &image).as_ref()))
    }

    /// The registers of an enclave with that PCR0. The rest is zeros.
    #[must_use]
    pub fn of_pcr0(pcr0: [u8; PCR_BYTES]) -> Self {
        let zeros = (0..PLATFORM_PCRS).map(|index| (index, vec![0; PCR_BYTES])).collect();
        Self { pcrs: zeros }.with(0, pcr0)
    }

    /// One register set to a value.
    #[must_use]
    pub fn with(mut self, index: u8, value: [u8; PCR_BYTES]) -> Self {
        self.pcrs.insert(index, value.to_vec());
        self
    }

    /// PCR3: the ARN of the role of the parent instance.
    #[must_use]
    pub fn with_parent_role(self, arn: &str) -> Self {
        self.with(3, extend(arn.as_bytes()))
    }

    /// PCR4: the identifier of the parent instance.
    #[must_use]
    pub fn with_parent_instance(self, id: &str) -> Self {
        self.with(4, extend(id.as_bytes()))
    }

    /// The same enclave in debug mode: every register reads as zeros.
    #[must_use]
    pub fn in_debug_mode(mut self) -> Self {
        self.pcrs.values_mut().for_each(|value| value.fill(0));
        self
    }

    /// The register values by index.
    #[must_use]
    pub const fn pcrs(&self) -> &BTreeMap<u8, Vec<u8>> {
        &self.pcrs
    }

    /// PCR0 as key policies write it: 96 lower-case hex characters.
    #[must_use]
    pub fn image_sha384(&self) -> String {
        self.pcrs.get(&0).into_iter().flatten().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One extension of a fresh register: SHA384(48 zero bytes ‖ data).
fn extend(data: &[u8]) -> [u8; PCR_BYTES] {
    let mut value = [0; PCR_BYTES];
    value.copy_from_slice(digest(&SHA384, &[&[0; PCR_BYTES], data].concat()).as_ref());
    value
}
