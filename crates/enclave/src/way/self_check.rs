//! What has to be right before the enclave listens to anybody.
use crate::board::{Board, Measured};
use crate::init::{self, Booted};
use crate::machine::Machine;
use crate::nsm::Nsm;
use crate::policy::Policy;
use crate::trouble::failure;
use log::warn;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wire::control::{Failure, Phase};
use wire::state::Life;

/// How many random bytes are drawn for the check, and given to the kernel.
const RANDOM_BYTES: usize = 64;

const NO_MODULE: &str = "this must run inside a Nitro enclave, with /dev/nsm";

/// What the self-checks found.
pub(crate) struct Self_ {
    pub(crate) measured: Measured,
    pub(crate) policy: Option<Policy>,
    /// Which life of an enclave this is, to whoever keeps its records.
    pub(crate) life: Life,
}

/// Randomness, the machine, measurements, measured policy. A failure here is not the parent's to mend. What was found is on the
/// board even if something after it fails.
pub(crate) fn check(
    nsm: &dyn Nsm,
    policy: Option<&Path>,
    booted: Option<&Booted>,
    board: &Board,
) -> Result<Self_, Failure> {
    randomness(nsm)?;
    // The image's first program: nobody has seeded the pool yet, and no key was made of it.
    if booted.is_some() {
        init::seed(nsm).map_err(|error| broken("randomness", error.to_string(), NO_MODULE))?;
    }
    let machine = Machine::look(nsm, booted)?;
    let attests_debug = machine.attests_debug;
    board.machine(machine);
    let mut measured = measurements(nsm, attests_debug)?;
    board.measured(measured.clone());
    let policy = read_policy(policy, std::env::current_exe);
    // One that cannot be read is not none: nobody is told that the parent chooses.
    measured.has_policy = policy.as_ref().map_or(true, Option::is_some);
    board.measured(measured.clone());
    let policy = policy?;
    Ok(Self_ { measured, policy, life: life(nsm)? })
}

fn broken(code: &str, reason: String, remedy: &str) -> Failure {
    failure(Phase::Broken, code, reason, remedy)
}

/// Two lives with one number would be one to persist, which then fences neither.
fn life(nsm: &dyn Nsm) -> Result<Life, Failure> {
    let mut life = Life::default();
    nsm.random(&mut life).map_err(|error| broken("randomness", error.to_string(), NO_MODULE))?;
    Ok(life)
}

/// Two draws that are neither equal nor constant: not proof of randomness, but of a source that is there.
fn randomness(nsm: &dyn Nsm) -> Result<(), Failure> {
    let mut draws = [[0; RANDOM_BYTES]; 2];
    for draw in &mut draws {
        nsm.random(draw).map_err(|error| broken("randomness", error.to_string(), NO_MODULE))?;
    }
    let is_constant = |draw: &[u8; RANDOM_BYTES]| draw.iter().all(|byte| *byte == draw[0]);
    if draws[0] == draws[1] || draws.iter().any(is_constant) {
        let reason = "the security module's random bytes repeat themselves".to_owned();
        return Err(broken("randomness", reason, "terminate this enclave; nothing that it would make is secret"));
    }
    // Mixed into the kernel's pool, which everything else draws from. It harms nothing, and counts as nothing where the
    // kernel already uses the module.
    if let Ok(mut pool) = std::fs::OpenOptions::new().write(true).open("/dev/urandom") {
        let _ = pool.write_all(&draws.concat());
    }
    Ok(())
}

/// Debug mode is told by zeros, in the registers or in a document: which of the two a hypervisor blanks is its matter.
fn measurements(nsm: &dyn Nsm, attests_debug: bool) -> Result<Measured, Failure> {
    let pcrs = nsm.pcrs().map_err(|error| broken("measurements", error.to_string(), ""))?;
    let Some(image) = pcrs.get(&0) else {
        let reason = "the security module has no locked PCR0".to_owned();
        return Err(broken("measurements", reason, "start the enclave with nitro-cli run-enclave"));
    };
    let is_zero = |value: &[u8]| value.iter().all(|byte| *byte == 0);
    let debug = attests_debug || is_zero(image);
    let shown = pcrs.iter().filter(|(_, value)| !debug && !is_zero(value));
    let pcrs = shown.map(|(index, value)| (*index, hex(value))).collect();
    Ok(Measured { pcrs, debug, has_policy: false })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The named policy, which then must be there, or the one next to the binary, where there is one. Where that is cannot
/// be unknown: whoever could hide the place would be rid of the policy.
fn read_policy(named: Option<&Path>, binary: impl FnOnce() -> io::Result<PathBuf>) -> Result<Option<Policy>, Failure> {
    let remedy = "correct the policy and build the image anew: a policy that is not understood protects nothing";
    let read = match named {
        Some(path) => Policy::load(path, true),
        None => Policy::load(&beside(binary())?, false),
    };
    let policy = read.map_err(|error| broken("policy", error.to_string(), remedy))?;
    match &policy {
        Some(policy) => policy.warnings().iter().for_each(|warning| warn!("{warning}")),
        None => warn!("this image has no measured policy: the parent chooses chains, KMS keys and the control token"),
    }
    Ok(policy)
}

fn beside(binary: io::Result<PathBuf>) -> Result<PathBuf, Failure> {
    let unknown = |why: &str| {
        let reason = format!("where the measured policy would be is not known: the binary's own path: {why}");
        broken("policy", reason, "name the policy in the image's command line: --policy PATH")
    };
    let binary = binary.map_err(|error| unknown(&error.to_string()))?;
    let folder = binary.parent().ok_or_else(|| unknown("it has no folder"))?;
    Ok(folder.join("policy.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_whose_place_is_unknown_is_not_taken_for_none() {
        let failure = read_policy(None, || Err(io::ErrorKind::NotFound.into())).unwrap_err();
        assert_eq!((failure.phase, failure.code.as_str()), (Phase::Broken, "policy"));
        assert!(failure.remedy.contains("--policy"), "{}", failure.remedy);
        assert!(read_policy(None, || Ok(PathBuf::from("/"))).is_err());
        assert_eq!(read_policy(None, || Ok(PathBuf::from("/nowhere/tmkms"))), Ok(None));
        // A named one does not ask for the binary.
        let named = read_policy(Some(Path::new("/nowhere/policy.toml")), || unreachable!());
        assert!(named.unwrap_err().reason.contains("/nowhere/policy.toml"));
    }
}
