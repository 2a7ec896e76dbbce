//! Attestation documents.
