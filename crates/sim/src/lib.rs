//! Development only: a simulated Nitro Secure Module and KMS.
