//! Envelopes: a secret encrypted with AES-256-GCM under a data key, whose ciphertext KMS decrypts.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tmkms-e1`: what it is, and its version |
//! | 2 | the length of the next field, big-endian |
//! | 1 to 6144 | the data key's ciphertext: `CiphertextBlob` of kms:GenerateDataKey |
//! | 12 | the nonce |
//! | the rest | the encrypted secret and its tag of 16 bytes |
//!
//! Authenticated are all bytes before the secret, and the encryption context behind them: for each pair, in the order of their names, the
//! lengths of name and value (4 bytes each, big-endian) and both. Here is only what opens one; what makes one is in no signer's image.
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// What an envelope begins with. No ciphertext of KMS does: theirs begin with a byte 1.
const MAGIC: &[u8; 8] = b"tmkms-e1";
/// The length of its nonce.
pub const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// An envelope, taken apart.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    header: &'a [u8],
    /// What KMS decrypts.
    pub data_key: &'a [u8],
    nonce: [u8; NONCE_BYTES],
    content: &'a [u8],
}

/// An envelope that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotOpen;

impl fmt::Display for DoesNotOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the envelope does not open with its data key in this encryption context: it was changed, or made for another context")
    }
}

impl std::error::Error for DoesNotOpen {}

impl<'a> Envelope<'a> {
    /// Takes a ciphertext apart, if it is an envelope.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        if !(1..=crate::kms::MAX_CIPHERTEXT_BYTES).contains(&length) {
            return None;
        }
        let (data_key, rest) = rest.split_at_checked(length)?;
        let (nonce, content) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if content.len() <= TAG_BYTES {
            return None;
        }
        let header = &bytes[..bytes.len() - content.len()];
        Some(Self { header, data_key, nonce: *nonce, content })
    }

    /// The secret.
    ///
    /// # Errors
    /// It is another data key or another context, or a byte was changed.
    pub fn open(&self, data_key: &[u8], context: &BTreeMap<String, String>) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let key = UnboundKey::new(&AES_256_GCM, data_key).map_err(|_| DoesNotOpen)?;
        let mut content = Zeroizing::new(self.content.to_vec());
        let aad = Aad::from(authenticated(self.header, context));
        let length = LessSafeKey::new(key)
            .open_in_place(Nonce::assume_unique_for_key(self.nonce), aad, &mut content)
            .map_err(|_| DoesNotOpen)?
            .len();
        content.truncate(length);
        Ok(content)
    }
}

/// Everything before the secret. None if the data key's ciphertext has a length that none has.
#[must_use]
pub fn header(data_key: &[u8], nonce: [u8; NONCE_BYTES]) -> Option<Vec<u8>> {
    let length = u16::try_from(data_key.len()).ok()?;
    (1..=crate::kms::MAX_CIPHERTEXT_BYTES)
        .contains(&data_key.len())
        .then(|| [MAGIC.as_slice(), &length.to_be_bytes(), data_key, &nonce].concat())
}

/// What is authenticated: the header and the context.
#[must_use]
pub fn authenticated(header: &[u8], context: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = header.to_vec();
    for (name, value) in context {
        for text in [name, value] {
            // No context of KMS is longer than 8192 characters.
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_envelopes_are_taken_apart() {
        let whole = [header(&[1; 184], [2; 12]).unwrap(), vec![3; 48]].concat();
        let parsed = Envelope::parse(&whole).unwrap();
        assert_eq!((parsed.data_key, parsed.nonce, parsed.content), (&[1; 184][..], [2; 12], &[3; 48][..]));
        assert_eq!(parsed.header.len(), 8 + 2 + 184 + 12);
        for length in 0..whole.len() - 31 {
            assert!(Envelope::parse(&whole[..length]).is_none(), "{length}");
        }
        for (index, byte) in [(0, b'T'), (7, b'2'), (8, 0xff)] {
            let mut changed = whole.clone();
            changed[index] = byte;
            assert!(Envelope::parse(&changed).is_none(), "byte {index}");
        }
        assert!(header(&[], [0; 12]).is_none() && header(&[0; 6145], [0; 12]).is_none());
    }

    #[test]
    fn no_two_contexts_are_authenticated_alike() {
        let of = |pairs: &[(&str, &str)]| {
            let context = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            authenticated(b"header", &context)
        };
        let all = [
            of(&[]),
            of(&[("a", "bc")]),
            of(&[("ab", "c")]),
            of(&[("a", "b"), ("c", "")]),
            of(&[("a", ""), ("b", "c")]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one));
        }
    }
}
