//! `CiphertextForRecipient`: a CMS EnvelopedData (RFC 5652, section 6) in BER with lengths of both kinds, as KMS writes it.
//!
//! Only this one shape is read: one KeyTransRecipientInfo v2 with a subject key identifier, RSAES-OAEP with SHA-256 and
//! MGF1-SHA-256 (RFC 4055), AES-256-CBC. The depth is that of the grammar: nothing here recurses over the input.
use std::fmt;

/// The longest envelope, in bytes: a plaintext of 4096 bytes makes one of 4573.
pub const MAX_ENVELOPE_BYTES: usize = 8 * 1024;
const RSA_2048_BYTES: usize = 256;
const BLOCK_BYTES: usize = 16;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
const CONTEXT_0: u8 = 0x80;
const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;
const CONTEXT_1_CONSTRUCTED: u8 = 0xa1;
const INDEFINITE: u8 = 0x80;
const END: [u8; 2] = [0, 0];

/// 1.2.840.113549.1.7.3
const ENVELOPED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03];
/// 1.2.840.113549.1.7.1
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.1.7
const RSAES_OAEP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07];
/// 1.2.840.113549.1.1.8
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// 2.16.840.1.101.3.4.2.1
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 2.16.840.1.101.3.4.1.42
const AES_256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// What an envelope holds. Nothing in it is authenticated.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The content's key under RSAES-OAEP.
    pub encrypted_key: &'a [u8; RSA_2048_BYTES],
    /// AES-CBC's.
    pub iv: &'a [u8; BLOCK_BYTES],
    /// The content under AES-256-CBC, its pieces put together; whole blocks, at least one.
    pub content: Vec<u8>,
}

/// Why bytes are no envelope of KMS's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmsError(&'static str);

impl fmt::Display for CmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for CmsError {}

impl<'a> Envelope<'a> {
    /// Reads an envelope and nothing behind it.
    ///
    /// # Errors
    /// It has another shape, other algorithms, or is longer than [`MAX_ENVELOPE_BYTES`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CmsError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(CmsError("the envelope is too long"));
        }
        let mut reader = Reader { rest: bytes, is_indefinite: false };
        let envelope = reader.inside(SEQUENCE, |content_info| {
            content_info.expect(OID, ENVELOPED_DATA, "it is no EnvelopedData")?;
            content_info.inside(CONTEXT_0_CONSTRUCTED, |explicit| explicit.inside(SEQUENCE, enveloped_data))
        })?;
        if !reader.is_at_end() {
            return Err(CmsError("bytes follow the envelope"));
        }
        Ok(envelope)
    }
}

fn enveloped_data<'a>(reader: &mut Reader<'a>) -> Result<Envelope<'a>, CmsError> {
    reader.expect(INTEGER, &[2], "the version of EnvelopedData is not 2")?;
    let encrypted_key = reader.inside(SET, |set| set.inside(SEQUENCE, recipient))?;
    let (iv, content) = reader.inside(SEQUENCE, encrypted_content)?;
    Ok(Envelope { encrypted_key, iv, content })
}

fn recipient<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; RSA_2048_BYTES], CmsError> {
    reader.expect(INTEGER, &[2], "the version of the recipient is not 2")?;
    // Whose key it is shows in whether it opens: the identifier is not authenticated either.
    reader.primitive(CONTEXT_0)?;
    reader.inside(SEQUENCE, |algorithm| {
        algorithm.expect(OID, RSAES_OAEP, "the key's algorithm is not RSAES-OAEP")?;
        algorithm.inside(SEQUENCE, |parameters| {
            parameters.inside(CONTEXT_0_CONSTRUCTED, sha256)?;
            parameters.inside(CONTEXT_1_CONSTRUCTED, |mask| {
                mask.inside(SEQUENCE, |mask| {
                    mask.expect(OID, MGF1, "the mask generation is not MGF1")?;
                    sha256(mask)
                })
            })
        })
    })?;
    reader.primitive(OCTETS)?.try_into().map_err(|_| CmsError("the encrypted key does not have 256 bytes"))
}

fn sha256(reader: &mut Reader<'_>) -> Result<(), CmsError> {
    reader.inside(SEQUENCE, |algorithm| {
        algorithm.expect(OID, SHA_256, "the hash is not SHA-256")?;
        if algorithm.is_at_end() {
            return Ok(());
        }
        algorithm.expect(NULL, &[], "SHA-256 has a parameter")
    })
}

fn encrypted_content<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8; BLOCK_BYTES], Vec<u8>), CmsError> {
    reader.expect(OID, DATA, "the content is not of the type data")?;
    let iv = reader.inside(SEQUENCE, |algorithm| {
        algorithm.expect(OID, AES_256_CBC, "the content's algorithm is not AES-256-CBC")?;
        algorithm.primitive(OCTETS)
    })?;
    let iv = iv.try_into().map_err(|_| CmsError("the IV does not have 16 bytes"))?;
    let content = match reader.tag() {
        Some(CONTEXT_0) => reader.primitive(CONTEXT_0)?.to_vec(),
        Some(CONTEXT_0_CONSTRUCTED) => reader.inside(CONTEXT_0_CONSTRUCTED, |pieces| {
            let mut content = Vec::with_capacity(pieces.rest.len());
            while !pieces.is_at_end() {
                content.extend_from_slice(pieces.primitive(OCTETS)?);
            }
            Ok(content)
        })?,
        _ => return Err(CmsError("the encrypted content is missing")),
    };
    if content.is_empty() || !content.len().is_multiple_of(BLOCK_BYTES) {
        return Err(CmsError("the encrypted content is not of whole blocks"));
    }
    Ok((iv, content))
}

/// The inside of one element. With a definite length `rest` ends where it does; with an indefinite one, END ends it.
struct Reader<'a> {
    rest: &'a [u8],
    is_indefinite: bool,
}

impl<'a> Reader<'a> {
    fn tag(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn is_at_end(&self) -> bool {
        if self.is_indefinite { self.rest.starts_with(&END) } else { self.rest.is_empty() }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CmsError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(CmsError("the envelope ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// An element's length in bytes; none is an indefinite one.
    fn length(&mut self, tag: u8) -> Result<Option<usize>, CmsError> {
        let header = self.take(2)?;
        if header[0] != tag {
            return Err(CmsError("an element of an unexpected kind"));
        }
        match header[1] {
            INDEFINITE => Ok(None),
            short @ 0..INDEFINITE => Ok(Some(usize::from(short))),
            0x81..=0x84 => {
                let bytes = self.take(usize::from(header[1] & 0x7f))?;
                let length = bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                usize::try_from(length).map(Some).map_err(|_| CmsError("a length is too long"))
            }
            _ => Err(CmsError("a length is too long")),
        }
    }

    fn primitive(&mut self, tag: u8) -> Result<&'a [u8], CmsError> {
        let length = self.length(tag)?.ok_or(CmsError("a primitive element has an indefinite length"))?;
        self.take(length)
    }

    fn expect(&mut self, tag: u8, content: &[u8], otherwise: &'static str) -> Result<(), CmsError> {
        if self.primitive(tag)? == content { Ok(()) } else { Err(CmsError(otherwise)) }
    }

    /// Reads all of a constructed element.
    fn inside<T>(&mut self, tag: u8, read: impl FnOnce(&mut Self) -> Result<T, CmsError>) -> Result<T, CmsError> {
        let length = self.length(tag)?;
        let rest = match length {
            Some(length) => self.take(length)?,
            None => self.rest,
        };
        let mut inside = Self { rest, is_indefinite: length.is_none() };
        let value = read(&mut inside)?;
        if !inside.is_at_end() {
            return Err(CmsError("an element has more in it than expected"));
        }
        if inside.is_indefinite {
            self.rest = &inside.rest[END.len()..];
        }
        Ok(value)
    }
}
