//! What has to be right before the enclave listens to anybody.
use crate::board::Measured;
use crate::nsm::Nsm;
use crate::policy::Policy;
use crate::trouble::failure;
use std::io::Write;
use std::path::{Path, PathBuf};
use wire::control::{Failure, Phase};

/// How many random bytes are drawn for the check, and given to the kernel.
const RANDOM_BYTES: usize = 64;

/// What the self-checks found.
pub(crate) struct Self_ {
    pub(crate) measured: Measured,
    pub(crate) policy: Option<Policy>,
}

/// Randomness, measurements, measured policy. A failure here is not the parent's to mend.
pub(crate) fn check(nsm: &dyn Nsm, policy: Option<&Path>) -> Result<Self_, Failure> {
    randomness(nsm)?;
    let mut measured = measurements(nsm)?;
    let policy = read_policy(policy)?;
    measured.has_policy = policy.is_some();
    Ok(Self_ { measured, policy })
}

fn broken(code: &str, reason: String, remedy: &str) -> Failure {
    failure(Phase::Broken, code, reason, remedy)
}

/// Two draws that are neither equal nor constant: not proof of randomness, but of a source that is there.
fn randomness(nsm: &dyn Nsm) -> Result<(), Failure> {
    let remedy = "this must run inside a Nitro enclave, with /dev/nsm";
    let mut draws = [[0; RANDOM_BYTES]; 2];
    for draw in &mut draws {
        nsm.random(draw).map_err(|error| broken("randomness", error.to_string(), remedy))?;
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

fn measurements(nsm: &dyn Nsm) -> Result<Measured, Failure> {
    let pcrs = nsm.pcrs().map_err(|error| broken("measurements", error.to_string(), ""))?;
    let Some(image) = pcrs.get(&0) else {
        let reason = "the security module has no locked PCR0".to_owned();
        return Err(broken("measurements", reason, "start the enclave with nitro-cli run-enclave"));
    };
    let is_zero = |value: &[u8]| value.iter().all(|byte| *byte == 0);
    let debug = is_zero(image);
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

/// The named policy, which then must be there, or the one next to the binary, where there is one.
fn read_policy(named: Option<&Path>) -> Result<Option<Policy>, Failure> {
    let remedy = "correct the policy and build the image anew: a policy that is not understood protects nothing";
    let read = match named {
        Some(path) => Policy::load(path, true),
        None => beside_binary().map_or(Ok(None), |path| Policy::load(&path, false)),
    };
    read.map_err(|error| broken("policy", error.to_string(), remedy))
}

fn beside_binary() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("policy.toml"))
}
