//! Envelopes: a secret under a data key of KMS, for whoever does not want to give anybody kms:Encrypt.
use crate::Making;
use crate::operations::GenerateDataKey;
use enclave::ceremony::refused;
use enclave::unseal::envelope::{self, Envelope};
use std::collections::BTreeMap;
use wire::control::Failure;
use zeroize::Zeroizing;

/// Has KMS make a data key, and encrypts under it.
pub(crate) fn seal(making: &Making<'_>, secret: &[u8], context: &BTreeMap<String, String>) -> Result<Vec<u8>, Failure> {
    let order = making.order;
    let wanted = GenerateDataKey {
        region: order.region,
        key_arn: &order.key_arn,
        encryption_context: context,
        recipient: making.recipient,
    };
    let data_key = making.room.ask(order.kms_proxy_port, making.credentials, &wanted)?;
    let mut nonce = [0; envelope::NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| refused("randomness", error.to_string(), "order again"))?;
    sealed(&data_key.plaintext, &data_key.ciphertext, nonce, context, secret)
        .map_err(|what| refused("envelope", what, "order again"))
}

/// Header, data key's ciphertext, nonce, and AES-256-GCM of the secret; all of it, and the context, is authenticated.
fn sealed(
    data_key: &[u8],
    data_key_ciphertext: &[u8],
    nonce: [u8; envelope::NONCE_BYTES],
    context: &BTreeMap<String, String>,
    secret: &[u8],
) -> Result<Vec<u8>, &'static str> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let header = envelope::header(data_key_ciphertext, nonce).ok_or("the data key's ciphertext is too long")?;
    let key = UnboundKey::new(&AES_256_GCM, data_key).map_err(|_| "KMS's data key is not of 32 bytes")?;
    let mut content = Zeroizing::new(secret.to_vec());
    // A key is used once: the nonce cannot repeat.
    let tag = LessSafeKey::new(key)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(envelope::authenticated(&header, context)),
            &mut content,
        )
        .map_err(|_| "AES-GCM failed")?;
    Ok([header.as_slice(), &content, tag.as_ref()].concat())
}

/// What KMS has to decrypt: the data key of an envelope, or all of a plain ciphertext.
pub(crate) fn for_kms(ciphertext: &[u8]) -> &[u8] {
    Envelope::parse(ciphertext).map_or(ciphertext, |envelope| envelope.data_key)
}

/// The secret, of what KMS decrypted.
pub(crate) fn open(
    ciphertext: &[u8],
    context: &BTreeMap<String, String>,
    decrypted: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    match Envelope::parse(ciphertext) {
        Some(envelope) => envelope.open(&decrypted, context).map_err(|error| error.to_string()),
        None => Ok(decrypted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> BTreeMap<String, String> {
        [("chain", "a-1"), ("purpose", "consensus")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_and_context_and_in_no_other_way() {
        let (key, blob) = ([7; 32], [0xb1; 184]);
        let bytes = sealed(&key, &blob, [5; 12], &context(), &[9; 32]).unwrap();
        assert_eq!(for_kms(&bytes), blob);
        let open = |bytes: &[u8], context: &BTreeMap<String, String>, key: &[u8]| {
            super::open(bytes, context, Zeroizing::new(key.to_vec()))
        };
        assert_eq!(open(&bytes, &context(), &key).unwrap()[..], [9; 32]);
        assert!(open(&bytes, &context(), &[8; 32]).is_err());
        assert!(open(&bytes, &context(), &[7; 31]).is_err());
        let mut other = context();
        other.insert("purpose".to_owned(), "identity".to_owned());
        assert!(open(&bytes, &other, &key).is_err());
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            // A changed magic is no envelope: then all of it would be KMS's, which decrypts nothing of the kind.
            if Envelope::parse(&changed).is_some() {
                assert!(open(&changed, &context(), &key).is_err(), "byte {index}");
            }
        }
    }

    #[test]
    fn a_ciphertext_of_kms_is_no_envelope() {
        let plain = [1, 2, 2, 0, 0x78, 7, 7, 7];
        assert_eq!(for_kms(&plain), plain);
        assert_eq!(open(&plain, &context(), Zeroizing::new(vec![9; 32])).unwrap()[..], [9; 32]);
    }
}
