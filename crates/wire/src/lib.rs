//! The contract between parent and enclave.
