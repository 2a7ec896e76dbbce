//! AWS KMS: how the enclave gets its keys. Attestation, Decrypt with a Recipient over TLS that ends here, plaintext.
//!
//! ```no_run
//! # use std::collections::BTreeMap;
//! # use enclave::{kms, nsm::Device, unseal};
//! # fn release(ciphertext: &[u8], credentials: &kms::Credentials) -> Result<(), Box<dyn std::error::Error>> {
//! let region = kms::Region::find("us-east-1")?;
//! let dial: kms::Dial = Box::new(|_timeout| std::os::unix::net::UnixStream::connect("proxy"));
//! let client = kms::Client::new(kms::Endpoint::aws(region, 8000), dial);
//! let recipient = kms::Recipient::generate()?;
//! let context = BTreeMap::new();
//! let request = kms::DecryptRequest { region, ciphertext, key_arn: None, encryption_context: &context };
//! let now = std::time::SystemTime::now();
//! let plaintext = client.decrypt(&Device::open()?, &recipient, credentials, &request, now)?;
//! let key = unseal::consensus_key(&plaintext, Default::default(), None)?;
//! # Ok(())
//! # }
//! ```
//!
//! What KMS encrypts to the enclave is not authenticated: whoever saw the public key can make such an envelope. That the
//! plaintext is KMS's rests on TLS with Amazon's roots and a host from a compiled table (or the measured policy), on the
//! key's ARN in the answer, and on the public key that comes out.
pub mod answer;
mod arn;
mod client;
pub mod cms;
mod credentials;
mod denied;
mod endpoint;
mod error;
pub mod http;
mod operation;
mod recipient;
mod region;
mod request;
mod sigv4;
mod time;
mod tls;

pub use arn::{InvalidKeyArn, KeyArn};
pub use client::{Client, DecryptRequest, Limits};
pub use credentials::Credentials;
pub use denied::Denied;
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::{KmsError, WrongRegion};
pub use operation::{AllowedBy, Operation};
pub use recipient::Recipient;
pub use region::{Region, UnknownRegion};
pub use request::Attested;
pub use tls::Dial;

/// KMS's bound of a ciphertext, in bytes.
pub const MAX_CIPHERTEXT_BYTES: usize = 6144;

/// A text from outside as it can be shown: quoted, escaped, bounded.
fn shown(text: &str, max_chars: usize) -> String {
    let bounded: String = text.chars().take(max_chars).collect();
    format!("{bounded:?}")
}
