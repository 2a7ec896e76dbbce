//! Why KMS released no key, each reason with what to do. No ciphertext, plaintext or credential is in these texts.
use super::arn::InvalidKeyArn;
use super::denied::Denied;
use super::time::Utc;
use crate::nsm::NsmError;
use std::fmt;
use std::time::{Duration, SystemTime};

/// Why KMS released no key.
#[derive(Debug)]
pub enum KmsError {
    /// The key policy, or IAM, does not allow it to this enclave.
    AccessDenied(Box<Denied>),
    /// Too many requests, for the whole time that was left.
    Throttled {
        /// How often it was asked.
        attempts: u32,
        /// For how long.
        waited: Duration,
    },
    /// KMS had a fault of its own, for the whole time that was left.
    Unavailable {
        /// Its name for it, or the status.
        code: String,
    },
    /// There are no credentials, or they cannot be ones.
    UnusableCredentials {
        /// What of them.
        what: &'static str,
    },
    /// AWS does not know the credentials.
    UnknownCredentials,
    /// The credentials were valid once.
    ExpiredCredentials,
    /// The signature is not that of the credentials.
    InvalidSignature,
    /// The key is of another region than the one that is asked, or the host serves another.
    WrongRegion(WrongRegion),
    /// The enclave's clock and KMS's differ by more than AWS takes.
    ClockSkew {
        /// The enclave's time when it asked.
        ours: SystemTime,
        /// The time in KMS's answer, where it has one.
        theirs: Option<SystemTime>,
    },
    /// No stream to KMS through the parent's proxy.
    NoRoute {
        /// The host behind the proxy.
        host: String,
        /// The proxy's vsock port on the parent.
        port: u32,
        /// What happened.
        reason: String,
    },
    /// What answered is not the host that it should be, or speaks no TLS.
    Tls {
        /// The host whose certificate was expected.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The connection broke or took too long after it was there.
    Interrupted {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The ciphertext is not this key's, or was made with another encryption context, or is damaged.
    InvalidCiphertext,
    /// The key is disabled, deleted, or not there.
    KeyUnusable {
        /// KMS's name of the reason.
        code: String,
        /// KMS's own words.
        message: String,
    },
    /// The answer names another key than the one that was asked.
    OtherKey {
        /// The key that was asked.
        expected: String,
        /// The key that the answer names.
        got: String,
    },
    /// The answer holds a plaintext instead of one that only this enclave can open.
    PlaintextInAnswer,
    /// The answer is not one of KMS's.
    Malformed(&'static str),
    /// What the answer holds does not open with this enclave's key.
    UnreadableEnvelope,
    /// Any other refusal.
    Refused {
        /// KMS's name of the reason.
        code: String,
        /// KMS's own words.
        message: String,
    },
    /// The pinned key is no ARN of a key.
    InvalidKeyArn(InvalidKeyArn),
    /// The ciphertext has a length that no ciphertext of KMS has.
    CiphertextLength {
        /// Its length in bytes.
        got_bytes: usize,
    },
    /// The security module gave no document or no randomness.
    Nsm(NsmError),
    /// No RSA key could be made.
    NoRecipient,
}

/// Which regions differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongRegion {
    /// The pinned or answered key's, and the asked one's.
    Key {
        /// The region that is asked.
        asked: &'static str,
        /// The region in the key's ARN.
        key: String,
    },
    /// The host does not serve the region that is asked.
    Host {
        /// The region that is asked.
        asked: &'static str,
        /// The host.
        host: String,
    },
}

impl KmsError {
    /// Whether the same call may succeed a moment later without anybody doing something.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unavailable { .. } | Self::Interrupted { .. })
    }
}

impl fmt::Display for KmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessDenied(denied) => denied.fmt(f),
            Self::Throttled { attempts, waited } => write!(
                f,
                "KMS throttles: {attempts} attempts in {} s were refused; other users of the account share its request quota, try \
                 again later or ask AWS for a higher one",
                waited.as_secs()
            ),
            Self::Unavailable { code } => {
                write!(f, "KMS has a fault of its own ({code}); try again later, see AWS's health dashboard")
            }
            Self::UnusableCredentials { what } => write!(
                f,
                "the AWS credentials cannot be used: {what}; give them in `credentials`, or give the parent an IAM role and push again"
            ),
            Self::UnknownCredentials => f.write_str(
                "AWS does not know the credentials (access key id or session token); expected those of an account that may use the key: \
                 correct `credentials`, or remove them so that the parent's role is asked, and push again",
            ),
            Self::ExpiredCredentials => f.write_str(
                "the AWS credentials have expired: push the configuration again (`tmkms nitro push-config`; with --watch it \
                 refreshes them by itself)",
            ),
            Self::InvalidSignature => f.write_str(
                "KMS does not accept the request's signature: secret_access_key is not the one of access_key_id; correct `credentials` \
                 and push again",
            ),
            Self::WrongRegion(wrong) => wrong.fmt(f),
            Self::ClockSkew { ours, theirs } => clock_skew(f, *ours, *theirs),
            Self::NoRoute { host, port, reason } => no_route(f, host, *port, reason),
            Self::Tls { host, reason } => write!(
                f,
                "what answers behind the proxy is not {host}: {reason}; expected its certificate, from Amazon's roots or the measured \
                 policy's: let the parent's proxy forward to {host}:443, and check the clock (a parent that puts itself between is refused so, too)"
            ),
            Self::Interrupted { host, reason } => write!(
                f,
                "the connection to {host} broke: {reason}; check the parent's proxy and its network, then push again"
            ),
            Self::InvalidCiphertext => f.write_str(
                "KMS cannot decrypt the ciphertext: it was made with another key or another encryption context, or is damaged; compare \
                 `encrypted_key_b64`, `kms_key_arn` and `encryption_context` with the `aws kms encrypt` that made it",
            ),
            Self::KeyUnusable { code, message } => write!(
                f,
                "the KMS key cannot be used ({code}): {message}; `aws kms describe-key` shows its state: enable it, cancel its deletion, \
                 or correct `kms_key_arn` and `aws_region`"
            ),
            Self::OtherKey { expected, got } => write!(
                f,
                "KMS's answer is from another key: expected {expected}, got {got}; nothing of it is used: correct `kms_key_arn`, or \
                 encrypt with the expected key"
            ),
            Self::PlaintextInAnswer => f.write_str(
                "the answer holds a plaintext instead of CiphertextForRecipient: what answered ignores the attestation document and is \
                 not AWS KMS; nothing of it is used: correct the measured policy's endpoint",
            ),
            Self::Malformed(what) => write!(
                f,
                "the answer is not one of KMS's: {what}; nothing of it is used: check what the parent's proxy forwards to"
            ),
            Self::UnreadableEnvelope => f.write_str(
                "what KMS encrypted does not open with this enclave's key: it was made for another document or changed on its way; \
                 nothing of it is used: push again",
            ),
            Self::Refused { code, message } => write!(f, "KMS refuses ({code}): {message}"),
            Self::InvalidKeyArn(error) => write!(f, "`kms_key_arn`: {error}"),
            Self::CiphertextLength { got_bytes } => write!(
                f,
                "`encrypted_key_b64` is no ciphertext of KMS: expected 1 to {} bytes, got {got_bytes}; take the CiphertextBlob that \
                 `aws kms encrypt` prints",
                super::MAX_CIPHERTEXT_BYTES
            ),
            Self::Nsm(error) => write!(f, "no attestation document: {error}"),
            Self::NoRecipient => {
                f.write_str("no RSA key could be made for the release; give the enclave more memory and start it again")
            }
        }
    }
}

impl std::error::Error for KmsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Nsm(error) => Some(error),
            Self::InvalidKeyArn(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for WrongRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { asked, key } => write!(
                f,
                "wrong region: `aws_region` is \"{asked}\", the key is in \"{key}\"; a key is only in its own region: set aws_region = \
                 \"{key}\", or correct `kms_key_arn`"
            ),
            Self::Host { asked, host } => write!(
                f,
                "wrong region: {host} does not serve \"{asked}\"; correct `aws_region`, or the endpoint of the measured policy"
            ),
        }
    }
}

fn clock_skew(f: &mut fmt::Formatter<'_>, ours: SystemTime, theirs: Option<SystemTime>) -> fmt::Result {
    write!(f, "the enclave's clock is wrong: it says {}", Utc::of(ours))?;
    if let Some(theirs) = theirs {
        let (difference, side) = match ours.duration_since(theirs) {
            Ok(ahead) => (ahead, "ahead"),
            Err(behind) => (behind.duration(), "behind"),
        };
        let seconds = (difference + Duration::from_millis(500)).as_secs();
        write!(f, ", KMS says {}: {seconds} s {side}", Utc::of(theirs))?;
    }
    f.write_str(
        "; AWS takes five minutes: start the enclave again (its clock is set from the host's when it boots), and synchronize the host's",
    )
}

fn no_route(f: &mut fmt::Formatter<'_>, host: &str, port: u32, reason: &str) -> fmt::Result {
    write!(
        f,
        "no route to KMS: expected a proxy to {host}:443 on the parent's vsock port {port}, got: {reason}; start `vsock-proxy {port} \
         {host} 443` or `tmkms nitro proxy -p {port} -t {host}:443` on the parent, or correct `kms_proxy_port`"
    )
}
