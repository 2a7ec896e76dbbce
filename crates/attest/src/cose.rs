//! The envelope: COSE_Sign1 (RFC 9052, section 4.2), untagged or with tag 18, signed with ES384.
use crate::Malformed;
use crate::cbor::Reader;

/// The most that a whole document may have: the payload and its envelope.
pub const MAX_DOCUMENT_BYTES: usize = MAX_PAYLOAD_BYTES + 128;
/// The most that the signed payload may have (AWS, section 3.1).
pub const MAX_PAYLOAD_BYTES: usize = 16384;
/// r and s of ES384, 48 bytes each.
pub const SIGNATURE_BYTES: usize = 96;

const COSE_SIGN1_TAG: u64 = 18;
/// ES384 in IANA's registry of COSE algorithms: ECDSA on P-384 with SHA-384.
const ES384: i64 = -35;
/// The key of "alg" among COSE's header parameters.
const ALGORITHM_PARAMETER: i64 = 1;

/// What is in the envelope.
pub struct Envelope<'a> {
    pub protected: &'a [u8],
    pub payload: &'a [u8],
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Envelope<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        length("document", bytes.len(), 1, MAX_DOCUMENT_BYTES)?;
        let mut reader = Reader::new(bytes);
        match reader.tag("document")? {
            None | Some(COSE_SIGN1_TAG) => {}
            Some(got) => return Err(Malformed::Tag { expected: COSE_SIGN1_TAG, got }),
        }
        count("COSE_Sign1", reader.array("COSE_Sign1")?, 4, 4)?;
        let protected = reader.bytes("protected header")?;
        check_algorithm(protected)?;
        count("unprotected header", reader.map("unprotected header")?, 0, 0)?;
        let payload = reader.bytes("payload")?;
        length("payload", payload.len(), 1, MAX_PAYLOAD_BYTES)?;
        let signature = reader.bytes("signature")?;
        reader.end("document")?;
        let signature = signature.try_into().map_err(|_| Malformed::Length {
            field: "signature",
            min_bytes: SIGNATURE_BYTES,
            max_bytes: SIGNATURE_BYTES,
            got_bytes: signature.len(),
        })?;
        Ok(Self { protected, payload, signature })
    }
}

/// The bytes that are signed: Sig_structure with the context "Signature1" and no external data (RFC 9052, section 4.4).
pub fn signed_bytes(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    const CONTEXT: &[u8] = b"Signature1";
    let mut bytes = Vec::with_capacity(protected.len() + payload.len() + 32);
    bytes.push(0x84);
    head(&mut bytes, 0x60, CONTEXT.len());
    bytes.extend_from_slice(CONTEXT);
    head(&mut bytes, 0x40, protected.len());
    bytes.extend_from_slice(protected);
    head(&mut bytes, 0x40, 0);
    head(&mut bytes, 0x40, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a CBOR string, as short as it can be (RFC 8949, section 4.2.1).
fn head(bytes: &mut Vec<u8>, kind: u8, length: usize) {
    let wide = u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes();
    match wide {
        [0, 0, 0, 0, 0, 0, 0, short @ 0..=23] => bytes.push(kind | short),
        [0, 0, 0, 0, 0, 0, 0, byte] => bytes.extend([kind | 24, byte]),
        [0, 0, 0, 0, 0, 0, high, low] => bytes.extend([kind | 25, high, low]),
        [0, 0, 0, 0, a, b, c, d] => bytes.extend([kind | 26, a, b, c, d]),
        _ => {
            bytes.push(kind | 27);
            bytes.extend(wide);
        }
    }
}

/// The protected header says ES384 and nothing else, so that no other parameter can mean something to somebody.
fn check_algorithm(protected: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(protected);
    count("protected header", reader.map("protected header")?, 1, 1)?;
    let parameter = reader.integer("protected header")?;
    if parameter != ALGORITHM_PARAMETER {
        return Err(Malformed::HeaderParameter { expected: ALGORITHM_PARAMETER, got: parameter });
    }
    let got = reader.integer("algorithm")?;
    reader.end("protected header")?;
    if got == ES384 { Ok(()) } else { Err(Malformed::Algorithm { expected: ES384, got }) }
}

/// The length of a field must lie between two bounds, both inclusive.
pub fn length(field: &'static str, got_bytes: usize, min_bytes: usize, max_bytes: usize) -> Result<(), Malformed> {
    if (min_bytes..=max_bytes).contains(&got_bytes) {
        return Ok(());
    }
    Err(Malformed::Length { field, min_bytes, max_bytes, got_bytes })
}

/// The number of entries must lie between two bounds, both inclusive.
pub fn count(field: &'static str, got: u64, min: u64, max: u64) -> Result<(), Malformed> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(Malformed::Count { field, min, max, got }) }
}
