//! What the enclave counts besides the signer's metrics.
use crate::board::phase_name;
use crate::lock;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use wire::control::Phase;

/// Counters by a short fixed name.
#[derive(Default)]
pub(crate) struct Counts {
    refused: Mutex<BTreeMap<&'static str, u64>>,
    kms: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    /// A control request was refused. Says how many were, all together.
    pub(crate) fn refused(&self, reason: &'static str) -> u64 {
        let mut refused = lock(&self.refused);
        *refused.entry(reason).or_default() += 1;
        refused.values().sum()
    }

    /// KMS was asked, with that outcome.
    pub(crate) fn kms(&self, outcome: &'static str) {
        *lock(&self.kms).entry(outcome).or_default() += 1;
    }

    /// In Prometheus' text format.
    pub(crate) fn render(&self, phase: Phase, expires_in_seconds: Option<i64>, dropped: u64) -> String {
        let mut page = String::new();
        family(&mut page, "phase", "gauge", "Where the enclave is on its way.");
        let _ = writeln!(page, "tmkms_enclave_phase{{phase=\"{}\"}} 1", phase_name(phase));
        if let Some(seconds) = expires_in_seconds {
            family(&mut page, "credentials_expire_seconds", "gauge", "Seconds until the pushed credentials expire.");
            let _ = writeln!(page, "tmkms_enclave_credentials_expire_seconds {seconds}");
        }
        family(&mut page, "log_lines_dropped_total", "counter", "Log lines that made room for newer ones.");
        let _ = writeln!(page, "tmkms_enclave_log_lines_dropped_total {dropped}");
        family(&mut page, "control_refused_total", "counter", "Requests on the control port that were refused.");
        by(&mut page, "control_refused_total", "reason", &lock(&self.refused));
        family(&mut page, "kms_calls_total", "counter", "Keys that KMS was asked to release.");
        by(&mut page, "kms_calls_total", "outcome", &lock(&self.kms));
        page
    }
}

fn family(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = write!(page, "# HELP tmkms_enclave_{name} {help}\n# TYPE tmkms_enclave_{name} {kind}\n");
}

fn by(page: &mut String, name: &str, label: &str, counts: &BTreeMap<&'static str, u64>) {
    for (value, count) in counts {
        let _ = writeln!(page, "tmkms_enclave_{name}{{{label}=\"{value}\"}} {count}");
    }
}
