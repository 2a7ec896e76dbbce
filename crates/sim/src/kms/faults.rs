//! Failing on demand: in-process by a handle, for the program by a file that is read again at each request. Nothing on the network can set them.
use super::cms::Form;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One way to fail (or to answer unusually).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// `ThrottlingException`.
    Throttle,
    /// `ExpiredTokenException`.
    ExpiredToken,
    /// Half of the answer, then the connection ends.
    CloseMidAnswer,
    /// The answer comes after this time.
    Slow { millis: u64 },
    /// The right shape, with another key's ARN in `KeyId`.
    AnotherKey,
    /// Another plaintext, sealed to the right public key: what anyone who saw the public key can make.
    Forged { plaintext: String },
    /// A certificate of the right authority for another name. Counts handshakes, not requests.
    WrongCertificate,
    /// HTTP 500 with `KMSInternalException`.
    Http500,
    /// HTTP 500 with `DependencyTimeoutException`.
    DependencyTimeout,
    /// 200 with bytes that are no JSON.
    GarbageBody,
    /// 200 with a JSON string of this many bytes.
    HugeBody { bytes: usize },
    /// The server's clock is off by this: its `Date`, and what it judges dates by.
    ClockSkew { seconds: i64 },
    /// The plaintext stands beside `CiphertextForRecipient`.
    PlaintextBeside,
    /// `CiphertextForRecipient` in another form of BER.
    Envelope { form: Form },
}

/// A fault and when it strikes.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    #[serde(flatten)]
    fault: Fault,
    /// How often; always when it is missing.
    times: Option<u32>,
    /// Only at this operation, for instance `Decrypt`.
    operation: Option<String>,
}

/// The faults that are set. Shared by the server and whoever sets them.
#[derive(Default)]
pub struct Faults {
    set: Mutex<Set>,
    file: Option<PathBuf>,
}

#[derive(Default)]
struct Set {
    entries: Vec<Entry>,
    /// The file's content when it was last taken over.
    seen: String,
    complaint: Option<String>,
}

impl Faults {
    /// Faults of a file, a JSON list such as `[{"fault": "throttle", "times": 3}, {"fault": "slow", "millis": 2000, "operation": "Decrypt"}]`.
    /// A count starts anew when the content changes.
    pub fn from_file(file: PathBuf) -> Self {
        Self { set: Mutex::default(), file: Some(file) }
    }

    /// Strikes the next `times` requests.
    pub fn next(&self, times: u32, fault: Fault) {
        self.lock().entries.push(Entry { fault, times: Some(times), operation: None });
    }

    /// Strikes the next `times` requests for one operation, for instance `Decrypt`.
    pub fn next_of(&self, operation: &str, times: u32, fault: Fault) {
        self.lock().entries.push(Entry { fault, times: Some(times), operation: Some(operation.to_owned()) });
    }

    /// Strikes until it is cleared.
    pub fn always(&self, fault: Fault) {
        self.lock().entries.push(Entry { fault, times: None, operation: None });
    }

    /// No more faults.
    pub fn clear(&self) {
        self.lock().entries.clear();
    }

    /// Takes the faults that strike this request: those without a count, and one count of the others.
    pub(super) fn take(&self, operation: &str) -> Vec<Fault> {
        self.reload();
        self.strike(|entry| {
            entry.fault != Fault::WrongCertificate && entry.operation.as_deref().is_none_or(|only| only == operation)
        })
    }

    /// Whether this handshake gets the wrong certificate.
    pub(super) fn take_certificate(&self) -> bool {
        self.reload();
        !self.strike(|entry| entry.fault == Fault::WrongCertificate).is_empty()
    }

    /// How far the server's clock is off, in seconds.
    pub(super) fn skew(&self) -> i64 {
        self.reload();
        let skew = |entry: &Entry| match entry.fault {
            Fault::ClockSkew { seconds } => Some(seconds),
            _ => None,
        };
        self.lock().entries.iter().find_map(skew).unwrap_or(0)
    }

    /// What is wrong with the file, once for each content.
    pub(super) fn complaint(&self) -> Option<String> {
        self.lock().complaint.take()
    }

    fn strike(&self, fits: impl Fn(&Entry) -> bool) -> Vec<Fault> {
        let mut set = self.lock();
        let mut struck = Vec::new();
        for entry in set.entries.iter_mut().filter(|entry| fits(entry)) {
            if let Some(left) = &mut entry.times {
                *left = left.saturating_sub(1);
            }
            struck.push(entry.fault.clone());
        }
        set.entries.retain(|entry| entry.times != Some(0));
        struck
    }

    fn reload(&self) {
        let Some(file) = &self.file else { return };
        let content = std::fs::read_to_string(file).unwrap_or_default();
        let mut set = self.lock();
        if content == set.seen {
            return;
        }
        let parsed = if content.trim().is_empty() { Ok(Vec::new()) } else { serde_json::from_str(&content) };
        match parsed {
            Ok(entries) => set.entries = entries,
            Err(error) => set.complaint = Some(format!("{}: {error}; the faults before it stay", file.display())),
        }
        set.seen = content;
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_used_up_and_what_has_none_stays() {
        let faults = Faults::default();
        faults.next(2, Fault::Throttle);
        faults.next_of("Decrypt", 1, Fault::Http500);
        faults.always(Fault::PlaintextBeside);
        assert_eq!(faults.take("Encrypt"), [Fault::Throttle, Fault::PlaintextBeside]);
        assert_eq!(faults.take("Decrypt"), [Fault::Throttle, Fault::Http500, Fault::PlaintextBeside]);
        assert_eq!(faults.take("Decrypt"), [Fault::PlaintextBeside]);
        faults.clear();
        assert_eq!(faults.take("Decrypt"), []);
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let file = std::env::temp_dir().join(format!("sim-faults-{}.json", std::process::id()));
        let faults = Faults::from_file(file.clone());
        assert_eq!(faults.take("Decrypt"), []);
        std::fs::write(&file, r#"[{"fault":"throttle","times":1},{"fault":"slow","millis":5,"operation":"Encrypt"}]"#)
            .unwrap();
        assert_eq!(faults.take("Decrypt"), [Fault::Throttle]);
        assert_eq!(faults.take("Encrypt"), [Fault::Slow { millis: 5 }]);
        std::fs::write(&file, r#"[{"fault":"clock-skew","seconds":-600}]"#).unwrap();
        assert_eq!(faults.skew(), -600);
        std::fs::write(&file, "[{}]").unwrap();
        assert_eq!(faults.skew(), -600);
        assert!(faults.complaint().is_some() && faults.complaint().is_none());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(faults.skew(), 0);
    }
}
