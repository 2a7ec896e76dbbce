//! The machine that the enclave is: clock, memory, randomness, security module. Found at the start; nothing here decides
//! whether something may be signed.
use crate::init::Booted;
use crate::nsm::{AttestationRequest, Glance, Nsm, NsmError};
use crate::trouble::failure;
use log::{info, warn};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::control::{Failure, MachineStatus, Phase};

/// What must be left when the program has started: a chain takes less than 1 MiB, a connection's thread some 50 KiB, TLS and
/// a push of the longest configuration a few MiB for a moment.
const MIN_AVAILABLE_BYTES: u64 = 16 << 20;

/// SigV4 allows 5 minutes (AWS General Reference, "elements of an AWS API request signature"), TLS' certificates hours.
const WARN_SKEW: Duration = Duration::from_secs(60);

/// No enclave of this program ran before this day (2026-11-01), or runs after 2100.
const PLAUSIBLE_SECONDS: std::ops::Range<u64> = 1_793_491_200..4_102_444_800;

/// What is found once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    found: MachineStatus,
    /// Whether the module's own document has a PCR0 of zeros.
    pub(crate) attests_debug: bool,
}

impl Machine {
    /// Looks at the module and the machine.
    ///
    /// # Errors
    /// The module is none, or there is too little memory.
    pub(crate) fn look(nsm: &dyn Nsm, booted: Option<&Booted>) -> Result<Self, Failure> {
        let broken = |error: NsmError| self::broken("module", error.to_string(), NO_MODULE);
        let module = nsm.describe().map_err(broken)?;
        if module.digest != "SHA384" || module.max_pcrs != 32 || module.module_id.is_empty() {
            let reason = format!(
                "the security module: expected 32 registers of SHA384 and a name, got {} of {:?} and {:?}",
                module.max_pcrs, module.digest, module.module_id
            );
            return Err(self::broken("module", reason, NO_MODULE));
        }
        let mut found = MachineStatus {
            is_init: booted.is_some(),
            heartbeat: booted.map(|booted| match &booted.heartbeat {
                None => "answered".to_owned(),
                Some(why) => why.clone(),
            }),
            random_source: crate::init::random_source(),
            module_id: module.module_id.chars().filter(|c| !c.is_control()).take(128).collect(),
            kernel_ms: booted.map(|booted| millis(booted.kernel)),
            ..MachineStatus::default()
        };
        if let Some(why) = booted.and_then(|booted| booted.heartbeat.as_ref()) {
            warn!("nobody answered the heartbeat: {why}; a loader that waits for it ends this enclave");
        }
        let mut attests_debug = false;
        // Nobody's key, nobody's bytes: see `nsm.rs` for who may put something in.
        match nsm.attest(&AttestationRequest::default()).and_then(|document| Glance::at(&document)) {
            Ok(glance) => {
                attests_debug = glance.is_debug;
                found.see(glance);
            }
            Err(error) => warn!("the security module gave no document to look at: {error}"),
        }
        plausible(SystemTime::now());
        let machine = Self { found, attests_debug };
        machine.memory()?;
        Ok(machine)
    }

    /// A machine with too little memory would end in the middle of its work.
    fn memory(&self) -> Result<(), Failure> {
        let status = self.status();
        info!(module = status.module_id.as_str(), random = status.random_source.as_deref().unwrap_or("unknown"),
              memory_mib = status.memory_total_bytes >> 20, available_mib = status.memory_available_bytes >> 20; "the machine");
        enough(status.memory_total_bytes, status.memory_available_bytes)
    }

    /// What was found, and the memory as it is now.
    pub(crate) fn status(&self) -> MachineStatus {
        let mut status = self.found.clone();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        status.memory_total_bytes = kibibytes(&memory, "MemTotal:");
        status.memory_available_bytes = kibibytes(&memory, "MemAvailable:");
        let own = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.resident_bytes = kibibytes(&own, "VmRSS:");
        status
    }
}

const NO_MODULE: &str = "this must run inside a Nitro enclave, with /dev/nsm";

fn broken(code: &str, reason: String, remedy: &str) -> Failure {
    failure(Phase::Broken, code, reason, remedy)
}

trait See {
    fn see(&mut self, glance: Glance);
}

impl See for MachineStatus {
    fn see(&mut self, glance: Glance) {
        self.signs_documents = Some(glance.is_signed);
        if !glance.is_signed {
            warn!(
                "the security module does not sign its documents: this is an emulation, and no AWS KMS will release a key to it"
            );
        }
        let own = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let ahead = signed(millis(own)).saturating_sub(signed(glance.timestamp_ms));
        self.clock_ahead_ms = Some(ahead);
        if ahead.unsigned_abs() > millis(WARN_SKEW) {
            warn!(
                ahead_ms = ahead;
                "the enclave's clock differs from the security module's: expected at most {} s, got {} s; KMS refuses requests \
                 whose time is off by 5 minutes. Restart the enclave",
                WARN_SKEW.as_secs(), ahead / 1000
            );
        }
    }
}

/// Not an error: nothing that protects from a double sign reads a clock, and KMS and TLS refuse a wrong one themselves.
fn plausible(now: SystemTime) {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if !PLAUSIBLE_SECONDS.contains(&seconds) {
        warn!(seconds; "the enclave's clock is not set: TLS and KMS will refuse it. Check the parent's clock, and restart the enclave");
    }
}

fn enough(total: u64, available: u64) -> Result<(), Failure> {
    // Where nothing is told, as without /proc, nothing is claimed.
    if total == 0 || available >= MIN_AVAILABLE_BYTES {
        return Ok(());
    }
    let reason = format!(
        "memory: expected at least {} MiB to be left after the start, got {} of {} MiB",
        MIN_AVAILABLE_BYTES >> 20,
        available >> 20,
        total >> 20
    );
    Err(broken(
        "memory",
        reason,
        "give the enclave more: --memory of nitro-cli run-enclave, and memory_mib of the allocator",
    ))
}

/// A line of `/proc/meminfo` or `/proc/PID/status`, such as `MemTotal:  127428 kB`, in bytes; 0 without one.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    number.and_then(|number| number.checked_mul(1024)).unwrap_or(0)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read_in_bytes() {
        let text = "MemTotal:         114156 kB\nMemFree:           99748 kB\nMemAvailable:      97604 kB\n";
        assert_eq!(kibibytes(text, "MemTotal:"), 114_156 << 10);
        assert_eq!(kibibytes(text, "MemAvailable:"), 97_604 << 10);
        assert_eq!(kibibytes(text, "Mem:"), 0);
        assert_eq!(kibibytes("MemTotal: 99999999999999999999 kB", "MemTotal:"), 0);
        assert_eq!(kibibytes("MemTotal: 18446744073709551615 kB", "MemTotal:"), 0);
        assert!(kibibytes(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:") > 0);
    }

    #[test]
    fn too_little_memory_is_told_with_both_values_and_the_remedy() {
        let failure = enough(64 << 20, 15 << 20).unwrap_err();
        assert!(
            failure.reason.contains("at least 16 MiB") && failure.reason.contains("15 of 64 MiB"),
            "{}",
            failure.reason
        );
        assert!(failure.remedy.contains("--memory") && failure.phase == Phase::Broken);
        assert!(enough(64 << 20, 16 << 20).is_ok() && enough(0, 0).is_ok());
    }

    #[test]
    fn a_clock_that_differs_is_told_and_ends_nothing() {
        let mut found = MachineStatus::default();
        found.see(Glance { timestamp_ms: 0, is_signed: true, is_debug: false });
        assert!(found.clock_ahead_ms.unwrap() > 1_000_000_000_000 && found.signs_documents == Some(true));
        found.see(Glance { timestamp_ms: u64::MAX, is_signed: false, is_debug: false });
        assert!(found.clock_ahead_ms.unwrap() < 0 && found.signs_documents == Some(false));
    }
}
