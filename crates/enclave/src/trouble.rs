//! Failures, as the parent is told them: which phase, a fixed code, the chain, what is wrong, and what to do.
use crate::kms::KmsError;
use wire::control::{Failure, Phase};

/// A failure without a chain.
pub(crate) fn failure(phase: Phase, code: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure { phase, code: code.to_owned(), chain: None, reason: reason.into(), remedy: remedy.into() }
}

/// The same for a chain.
pub(crate) fn of_chain(chain: &impl ToString, failure: Failure) -> Failure {
    Failure { chain: Some(chain.to_string()), ..failure }
}

/// The process was told to end in the middle of it.
pub(crate) fn ending(phase: Phase) -> Failure {
    failure(phase, "ending", "the enclave was told to end", "start it again and push the configuration")
}

/// The fixed name of a KMS error; its text says the remedy itself.
pub(crate) const fn kms_code(error: &KmsError) -> &'static str {
    match error {
        KmsError::AccessDenied(_) => "kms-access-denied",
        KmsError::Throttled { .. } => "kms-throttled",
        KmsError::Unavailable { .. } => "kms-unavailable",
        KmsError::UnusableCredentials { .. } | KmsError::UnknownCredentials | KmsError::InvalidSignature => {
            "credentials"
        }
        KmsError::ExpiredCredentials => "credentials-expired",
        KmsError::WrongRegion(_) => "kms-region",
        KmsError::ClockSkew { .. } => "clock",
        KmsError::NoRoute { .. } | KmsError::Interrupted { .. } => "kms-no-route",
        KmsError::Tls { .. } => "kms-tls",
        KmsError::InvalidCiphertext | KmsError::CiphertextLength { .. } => "kms-ciphertext",
        KmsError::KeyUnusable { .. } => "kms-key-unusable",
        KmsError::OtherKey { .. } => "kms-other-key",
        KmsError::PlaintextInAnswer | KmsError::Malformed(_) | KmsError::UnreadableEnvelope => "kms-answer",
        KmsError::Refused { .. } => "kms-refused",
        KmsError::InvalidKeyArn(_) => "config",
        KmsError::Nsm(_) => "attestation",
        KmsError::NoRecipient => "memory",
    }
}
