//! What was asked and how it was answered: for tests to look at and for a person to read. No secrets.
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The newest requests that are kept.
const MAX_ENTRIES: usize = 10_000;

/// One request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Logged {
    /// For instance `Decrypt`; empty if the request named none.
    pub operation: String,
    /// The caller's ARN, once the signature was verified.
    pub principal: Option<String>,
    /// The key's ARN, once it was found.
    pub key: Option<String>,
    /// The image's measurement in a verified attestation document.
    pub pcr0: Option<String>,
    /// `ok`, or AWS's name of the error.
    pub outcome: String,
    /// The error's text.
    pub message: String,
}

#[derive(Default)]
pub struct Log {
    entries: Mutex<VecDeque<Logged>>,
    echo: bool,
}

impl Log {
    /// With `echo`, each request is told on standard error too.
    pub fn new(echo: bool) -> Self {
        Self { entries: Mutex::default(), echo }
    }

    pub fn push(&self, entry: Logged) {
        if self.echo {
            eprintln!("{}", line(&entry));
        }
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == MAX_ENTRIES {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// All that are kept, the oldest first.
    pub fn entries(&self) -> Vec<Logged> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn line(entry: &Logged) -> String {
    let operation = if entry.operation.is_empty() { "(no operation)" } else { &entry.operation };
    let mut text = format!("{operation}: {}", entry.outcome);
    let optional = [("by", &entry.principal), ("key", &entry.key), ("PCR0", &entry.pcr0)];
    for (name, value) in optional {
        if let Some(value) = value {
            text.push_str(&format!(", {name} {value}"));
        }
    }
    if !entry.message.is_empty() {
        text.push_str(&format!(": {}", entry.message));
    }
    // Some texts repeat what the client sent: one request stays one line.
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
