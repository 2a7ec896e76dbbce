//! The control channel: one request of the parent, and the enclave's answers to it.
//!
//! A request frame is a kind (u8), a [`Proof`] over the kind and the body for the enclave's nonce, and the body.
//! An answer frame is a kind (u8) and JSON. A push is answered by every phase until the signer serves
//! or has failed; logs, if they are followed, until either side hangs up.
mod ceremony;
mod encoding;

pub use ceremony::{Ceremony, KeyOrder, MAX_SEALED_BYTES, Made, Task, Wrapped};

use crate::token::{Proof, Token};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// AWS credentials, as they are pushed. No `Debug`, no `Serialize`; zeroized.
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: Zeroizing<String>,
    /// The secret.
    pub secret_access_key: Zeroizing<String>,
    /// The session's token, for temporary credentials.
    pub session_token: Option<Zeroizing<String>>,
    /// When they expire, in seconds since 1970; none for long-lived ones.
    pub expires_at: Option<i64>,
    /// Where the parent found them, for the status: "the environment", "profile default", "the instance's role NAME".
    pub source: String,
}

/// A configuration on its way into the enclave.
pub struct Push {
    /// The token that rules this enclave from the first push on.
    pub token: Token,
    /// The configuration's text; it may hold credentials.
    pub config: Zeroizing<String>,
    /// The parent's credentials, where the configuration has none of its own.
    pub credentials: Option<Credentials>,
}

/// What the parent asks.
pub enum Request {
    /// A configuration, or new credentials with the same one.
    Push(Box<Push>),
    /// How is it? Needs no proof.
    Status,
    /// The log from a line on.
    Logs {
        /// The first line that is wanted, by its number; 0 for everything that is still there.
        from: u64,
        /// Whether to wait for more.
        follow: bool,
    },
    /// Prometheus' text, with health and status beside it. Needs no proof.
    Metrics,
    /// An attestation document over what is served. Needs no proof: nothing in it is secret, and the asker's bytes go nowhere but into
    /// the document's nonce.
    Attest {
        /// [`MIN_NONCE_BYTES`] to [`MAX_NONCE_BYTES`] bytes of the asker's choice.
        nonce: Vec<u8>,
    },
    /// Of a ceremony image: to make or take in a key. Needs no proof: who brings the credentials may.
    Ceremony(Box<Ceremony>),
}

/// The shortest nonce of an attestation, in bytes: a shorter one may have been foreseen.
pub const MIN_NONCE_BYTES: usize = 8;
/// The longest, in bytes. A document would take 512.
pub const MAX_NONCE_BYTES: usize = 256;

/// What the enclave answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A phase was reached (in answer to a push).
    Progress(Progress),
    /// The push ended well: the signer serves.
    Serving(Serving),
    /// The push, or another request, failed.
    Failed(Failure),
    /// The status.
    Status(Box<Status>),
    /// A line of the log.
    Log(LogLine),
    /// The log's end (not following), with how many lines were dropped before they could be read.
    LogEnd {
        /// Lines that were lost.
        dropped: u64,
    },
    /// The metrics.
    Metrics(Box<MetricsPage>),
    /// What the enclave says of itself, and the document that binds it.
    Attested(Box<Attested>),
    /// A key, encrypted.
    Made(Box<Made>),
}

/// Where the enclave is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Self-checks: randomness, measurements, measured policy.
    Starting,
    /// Waiting for a configuration.
    Waiting,
    /// Checking a configuration against itself and the measured policy.
    Checking,
    /// Attesting, and KMS releases the keys.
    Releasing,
    /// Loading the signing records from the parent.
    Recovering,
    /// Sessions are served.
    Serving,
    /// Nothing can be done but to end: not the parent's to mend.
    Broken,
}

/// A phase, on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase that was entered.
    pub phase: Phase,
    /// What is done in it, for people: "key 3 of 64, chain osmosis-1".
    pub detail: String,
}

/// What a push changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Chains that are new.
    pub added: Vec<String>,
    /// Chains that are gone.
    pub removed: Vec<String>,
    /// Chains whose sessions were begun anew, as their settings changed.
    pub changed: Vec<String>,
    /// Chains that went on undisturbed.
    pub unchanged: Vec<String>,
    /// Whether credentials were replaced.
    pub credentials_refreshed: bool,
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In which phase.
    pub phase: Phase,
    /// A short fixed name: "config", "policy", "debug", "token", "kms-access-denied", "kms-throttled", "credentials", "state", …
    pub code: String,
    /// The chain, where one is concerned.
    pub chain: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Who chose a thing: the measured image, or the parent, who may then substitute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChosenBy {
    /// The measured policy fixes it.
    Image,
    /// The parent chose it: substitutable.
    Parent,
}

/// One thing and who chose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What: "KMS key of cosmoshub-4", "public key of cosmoshub-4", "region", "endpoint", "chains", "state".
    pub what: String,
    /// Its value, where it is no secret.
    pub value: String,
    /// Who chose it.
    pub by: ChosenBy,
}

/// How an enclave is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The software's version.
    pub version: String,
    /// The source's commit, where the build knew it.
    pub commit: String,
    /// Where it is.
    pub phase: Phase,
    /// For how long, in seconds.
    pub phase_seconds: f64,
    /// Since when the process runs, in seconds.
    pub uptime_seconds: f64,
    /// What failed last, until a push ends well.
    pub failure: Option<Failure>,
    /// The measurements, in lower-case hexadecimal, without those that are all zeros; with `debug`, none.
    pub pcrs: BTreeMap<u8, String>,
    /// Whether this is a debug-mode enclave: its measurements are zeros, and its console can be read.
    pub debug: bool,
    /// Whether there is a measured policy.
    pub has_policy: bool,
    /// Who chose what.
    pub choices: Vec<Choice>,
    /// The SHA-256 of the configuration that is applied, in hexadecimal.
    pub config_sha256: Option<String>,
    /// Where the credentials are from.
    pub credentials: Option<CredentialsStatus>,
    /// The chains that are served.
    pub chains: Vec<ChainStatus>,
    /// Log lines that were lost because nobody read them.
    pub log_lines_dropped: u64,
    /// Whether this is a ceremony image: it makes keys, and signs nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ceremony: bool,
    /// The machine that the enclave is; none before it was looked at, and of older enclaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineStatus>,
}

/// What an enclave found of the machine that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineStatus {
    /// Whether this program is the image's first (PID 1); otherwise another init started it.
    pub is_init: bool,
    /// "answered", or why the loader did not answer; none where it is another init's to ask.
    pub heartbeat: Option<String>,
    /// The kernel's source of randomness, "nsm-hwrng" on Nitro; none if it is not told.
    pub random_source: Option<String>,
    /// The security module's name.
    pub module_id: String,
    /// Whether the module signs its documents; an emulation does not. None if it gave none.
    pub signs_documents: Option<bool>,
    /// By how much the enclave's clock was ahead of the module's at the start, in milliseconds; negative if it was behind.
    pub clock_ahead_ms: Option<i64>,
    /// How long the kernel took from its start to this program, in milliseconds.
    pub kernel_ms: Option<u64>,
    /// All memory, in bytes; 0 if it is not told.
    pub memory_total_bytes: u64,
    /// What could still be used of it, in bytes.
    pub memory_available_bytes: u64,
    /// What this program uses of it, in bytes.
    pub resident_bytes: u64,
}

/// What may be told about credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsStatus {
    /// Where the parent found them.
    pub source: String,
    /// Seconds until they expire; negative afterwards; none for long-lived ones.
    pub expires_in_seconds: Option<i64>,
}

/// A chain in an enclave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainStatus {
    /// The chain id.
    pub id: String,
    /// The consensus key's public half, in base64.
    pub public_key: String,
    /// The key's algorithm.
    pub algorithm: String,
    /// The validator's address, in upper-case hexadecimal.
    pub address: String,
    /// The parent's port of `nitro persist`.
    pub state_port: u32,
    /// The last recorded position, such as `12/0/precommit`; none before the first.
    pub position: Option<String>,
    /// "signing", "waiting", "unconnected", "stalled" or "stopped".
    pub state: String,
    /// The same in words, with the reason.
    pub detail: String,
    /// The connections to nodes.
    pub connections: Vec<ConnectionStatus>,
}

/// A connection to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionStatus {
    /// Where it goes.
    pub address: String,
    /// Whether it is up.
    pub up: bool,
}

/// A line of the enclave's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number, counted from 1.
    pub number: u64,
    /// The line without its end.
    pub text: String,
}

/// What `nitro metrics` relays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsPage {
    /// Prometheus' text.
    pub metrics: String,
    /// Whether every chain is healthy.
    pub healthy: bool,
    /// What `/healthz` says.
    pub health: String,
    /// What `/status` says: JSON.
    pub status: String,
}

/// What `nitro attest` writes into a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The statement: the JSON text whose hash is in the document.
    pub statement: String,
    /// The attestation document, in base64.
    pub document: String,
}

/// The longest configuration's text, in bytes.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;
/// The longest field of [`Credentials`], in bytes. Session tokens have no documented limit; seen are up to 2 KiB.
pub const MAX_CREDENTIAL_BYTES: usize = 16 << 10;

/// The domain of requests' proofs.
pub const REQUEST_DOMAIN: &str = "tmkms control request v1";

/// A request as it stands in a frame: what is proven, the proof, and the request.
pub struct Received {
    /// The request.
    pub request: Request,
    /// Its proof.
    pub proof: Proof,
    /// The bytes that the proof is over: kind and body.
    pub proven: Zeroizing<Vec<u8>>,
}

/// Bytes that are no message of this channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}
