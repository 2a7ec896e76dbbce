//! The signer inside the enclave.
