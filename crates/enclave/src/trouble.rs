//! Failures, as the parent is told them: which phase, a fixed code, the chain, what is wrong, and what to do.
use crate::kms::KmsError;
use wire::control::{Failure, Phase};

/// The longest reason, in bytes. It is kept and told again with every status, whatever the parent sent.
pub(crate) const MAX_REASON_BYTES: usize = 16 << 10;

/// A failure without a chain. Every failure is made here, so none is longer than can be told.
pub(crate) fn failure(phase: Phase, code: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure { phase, code: code.to_owned(), chain: None, reason: shortened(reason.into()), remedy: remedy.into() }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_REASON_BYTES {
        let kept = text.floor_char_boundary(MAX_REASON_BYTES);
        let more = text.len() - kept;
        text.truncate(kept);
        text += &format!(" … and {more} more bytes");
        text.shrink_to_fit();
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters_and_says_how_much_is_missing() {
        let reason = |text: &str| failure(Phase::Checking, "config", text, "").reason;
        let whole = "x".repeat(MAX_REASON_BYTES);
        assert_eq!(reason(&whole), whole);
        let long = reason(&format!("x{}", "é".repeat(MAX_REASON_BYTES)));
        assert!(
            long.ends_with(&format!("é … and {} more bytes", MAX_REASON_BYTES + 2)),
            "{}",
            &long[long.len() - 40..]
        );
        assert!(long.len() < MAX_REASON_BYTES + 64);
    }
}
