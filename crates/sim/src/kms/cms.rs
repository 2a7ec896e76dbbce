//! `CiphertextForRecipient`: a CMS EnvelopedData (RFC 5652) in the BER that the real service writes, byte for byte in its shape.
use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use zeroize::Zeroizing;

/// The only size of key that a recipient may have, in bits.
pub const RECIPIENT_KEY_BITS: usize = 2048;
/// The real service cuts the encrypted content into OCTET STRINGs of this size.
const CHUNK_BYTES: usize = 1000;

const OID_ENVELOPED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
const OID_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const OID_RSAES_OAEP: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07];
const OID_MGF1: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
const OID_SHA256: &[u8] = &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const OID_AES_256_CBC: &[u8] = &[0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];
const VERSION_2: &[u8] = &[0x02, 0x01, 0x02];
const NULL: &[u8] = &[0x05, 0x00];

/// How the envelope is spelt. The real service was seen to use the first two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Indefinite lengths, the content as a constructed `[0]` of OCTET STRINGs.
    #[default]
    Chunks,
    /// Indefinite lengths, the content as one primitive `[0]`.
    Primitive,
    /// Definite lengths (DER), the content as one primitive `[0]`.
    Definite,
}

/// Seals `plaintext` to the RSA-2048 public key (DER SubjectPublicKeyInfo).
///
/// # Errors
/// The key is no RSA-2048 key.
pub fn seal(spki: &[u8], plaintext: &[u8], form: Form) -> Result<Vec<u8>, Unspecified> {
    let public = PublicEncryptingKey::from_der(spki)?;
    if public.key_size_bits() != RECIPIENT_KEY_BITS {
        return Err(Unspecified);
    }
    let mut content_key = Zeroizing::new([0_u8; 32]);
    rand::fill(content_key.as_mut())?;
    let public = OaepPublicEncryptingKey::new(public)?;
    let mut encrypted_key = vec![0; public.ciphertext_size()];
    let encrypted_key = public.encrypt(&OAEP_SHA256_MGF1SHA256, content_key.as_ref(), &mut encrypted_key, None)?;
    let cbc = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, content_key.as_ref())?)?;
    let mut content = plaintext.to_vec();
    let DecryptionContext::Iv128(iv) = cbc.encrypt(&mut content)? else { return Err(Unspecified) };
    let identifier = digest(&SHA256, spki);
    Ok(envelope(identifier.as_ref(), encrypted_key, iv.as_ref(), &content, form))
}

fn envelope(identifier: &[u8], encrypted_key: &[u8], iv: &[u8], content: &[u8], form: Form) -> Vec<u8> {
    let sha256 = der(0x30, &[OID_SHA256, NULL]);
    let mgf1 = der(0x30, &[OID_MGF1, &sha256]);
    let parameters = der(0x30, &[&der(0xa0, &[&sha256]), &der(0xa1, &[&mgf1])]);
    let key_algorithm = der(0x30, &[OID_RSAES_OAEP, &parameters]);
    let recipient = der(0x30, &[VERSION_2, &der(0x80, &[identifier]), &key_algorithm, &der(0x04, &[encrypted_key])]);
    let recipients = der(0x31, &[&recipient]);
    let content_algorithm = der(0x30, &[OID_AES_256_CBC, &der(0x04, &[iv])]);
    let outer = if form == Form::Definite { der } else { indefinite };
    let content = match form {
        Form::Chunks => {
            let chunks: Vec<Vec<u8>> = content.chunks(CHUNK_BYTES).map(|chunk| der(0x04, &[chunk])).collect();
            indefinite(0xa0, &chunks.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        Form::Primitive | Form::Definite => der(0x80, &[content]),
    };
    let encrypted = outer(0x30, &[OID_DATA, &content_algorithm, &content]);
    let enveloped = outer(0x30, &[VERSION_2, &recipients, &encrypted]);
    outer(0x30, &[OID_ENVELOPED_DATA, &outer(0xa0, &[&enveloped])])
}

/// A value with its length.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    let big_endian = length.to_be_bytes();
    let significant = &big_endian[big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len() - 1)..];
    if length >= 0x80 {
        out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
    }
    out.extend_from_slice(significant);
    out.extend(parts.concat());
    out
}

/// A value that ends at an end-of-contents mark.
fn indefinite(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![tag, 0x80];
    out.extend(parts.concat());
    out.extend([0, 0]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // Offsets and lengths of the four answers of the real service that RustCrypto's crate `cms` keeps as its tests' samples.
    #[test]
    fn the_shape_is_that_of_the_real_services_answers() {
        let sealed = envelope(&[7; 32], &[8; 256], &[9; 16], &[10; 16], Form::Chunks);
        assert_eq!(sealed.len(), 461);
        assert_eq!(sealed[..2], [0x30, 0x80]);
        assert_eq!(sealed[13..24], [0xa0, 0x80, 0x30, 0x80, 2, 1, 2, 0x31, 0x82, 0x01, 0x6b]);
        assert_eq!(sealed[24..33], [0x30, 0x82, 0x01, 0x67, 2, 1, 2, 0x80, 32]);
        assert_eq!(sealed[65..69], [0x30, 60, 0x06, 9]);
        assert_eq!(sealed[127..131], [0x04, 0x82, 0x01, 0x00]);
        assert_eq!(sealed[387..391], [0x30, 0x80, 0x06, 9]);
        assert_eq!(sealed[413..415], [0x04, 16]);
        assert_eq!(sealed[431..435], [0xa0, 0x80, 0x04, 16]);
        assert_eq!(sealed[451..], [0; 10]);

        let primitive = envelope(&[7; 32], &[8; 256], &[9; 16], &[10; 16], Form::Primitive);
        assert_eq!((primitive.len(), &primitive[431..433]), (457, &[0x80, 16][..]));

        let large = envelope(&[7; 32], &[8; 256], &[9; 16], &[10; 4112], Form::Chunks);
        assert_eq!(large.len(), 4573);
        for start in [433, 1437, 2441, 3445] {
            assert_eq!(large[start..start + 4], [0x04, 0x82, 0x03, 0xe8]);
        }
        assert_eq!(large[4449..4451], [0x04, 112]);
    }

    #[test]
    fn definite_lengths_add_up() {
        let sealed = envelope(&[7; 32], &[8; 256], &[9; 16], &[10; 48], Form::Definite);
        assert_eq!(sealed[..2], [0x30, 0x82]);
        assert_eq!(usize::from(u16::from_be_bytes([sealed[2], sealed[3]])) + 4, sealed.len());
    }
}
