//! A glance at one of the module's own documents: what time the module has, and whether it signs at all. Nothing is verified
//! here, and nothing that protects a key rests on it: whoever releases a key verifies (KMS), and so does whoever doubts the
//! enclave (crate `attest`).
use super::NsmError;
use super::cbor::{ARRAY, BYTES, MAP, Reader, TEXT, UNSIGNED};

/// COSE's tag for a COSE_Sign1 (RFC 9052, section 2); Nitro's documents go without.
const COSE_SIGN1: (u8, u64) = (6, 18);
/// How many values may stand in a document at most; real ones have about 60.
const MAX_VALUES: usize = 4096;

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// The module's time, in milliseconds since 1970.
    pub(crate) timestamp_ms: u64,
    /// Whether there is a signature. QEMU's emulation leaves its bytes zero.
    pub(crate) is_signed: bool,
    /// Whether the document tells PCR0, and that it is zero: debug mode.
    pub(crate) is_debug: bool,
}

impl Glance {
    /// # Errors
    /// The bytes are no attestation document.
    pub(crate) fn at(document: &[u8]) -> Result<Self, NsmError> {
        let mut reader = Reader(document);
        let mut head = reader.head()?;
        if head == COSE_SIGN1 {
            head = reader.head()?;
        }
        if head != (ARRAY, 4) {
            return Err(NsmError::Malformed("a document that is no COSE_Sign1"));
        }
        let mut left = MAX_VALUES;
        skip(&mut reader, &mut left)?;
        skip(&mut reader, &mut left)?;
        let payload = bytes(&mut reader)?;
        let signature = bytes(&mut reader)?;
        let (timestamp_ms, is_debug) = told(payload)?;
        Ok(Self { timestamp_ms, is_signed: signature.iter().any(|byte| *byte != 0), is_debug })
    }
}

fn bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], NsmError> {
    match reader.head()? {
        (BYTES, count) => reader.sized(count),
        _ => Err(NsmError::Malformed("a document without payload or signature")),
    }
}

/// The timestamp, and whether PCR0 is zero.
fn told(payload: &[u8]) -> Result<(u64, bool), NsmError> {
    const MISSING: NsmError = NsmError::Malformed("a document without a timestamp");
    let mut reader = Reader(payload);
    let (MAP, count) = reader.head()? else { return Err(MISSING) };
    let mut left = MAX_VALUES;
    let (mut timestamp, mut is_debug) = (None, false);
    for _ in 0..count {
        match reader.text()? {
            "timestamp" => match reader.head()? {
                (UNSIGNED, time) => timestamp = Some(time),
                _ => return Err(MISSING),
            },
            "pcrs" => is_debug = has_zero_pcr0(&mut reader, &mut left)?,
            _ => skip(&mut reader, &mut left)?,
        }
    }
    timestamp.map(|timestamp| (timestamp, is_debug)).ok_or(MISSING)
}

fn has_zero_pcr0(reader: &mut Reader<'_>, left: &mut usize) -> Result<bool, NsmError> {
    const NONE: NsmError = NsmError::Malformed("a document whose registers are no map");
    let (MAP, count) = reader.head()? else { return Err(NONE) };
    let mut is_zero = false;
    for _ in 0..count {
        *left = left.checked_sub(1).ok_or(NONE)?;
        let (UNSIGNED, index) = reader.head()? else { return Err(NONE) };
        let value = bytes(reader)?;
        is_zero |= index == 0 && value.iter().all(|byte| *byte == 0);
    }
    Ok(is_zero)
}

/// Passes one value over, however deep: counted, and not by recursion.
fn skip(reader: &mut Reader<'_>, left: &mut usize) -> Result<(), NsmError> {
    const TOO_MANY: NsmError = NsmError::Malformed("a document with too many values");
    let mut open: u64 = 1;
    while open > 0 {
        *left = left.checked_sub(1).ok_or(TOO_MANY)?;
        open -= 1;
        match reader.head()? {
            (BYTES | TEXT, count) => drop(reader.sized(count)?),
            (ARRAY, count) => open = open.checked_add(count).ok_or(TOO_MANY)?,
            (MAP, count) => open = count.checked_mul(2).and_then(|count| open.checked_add(count)).ok_or(TOO_MANY)?,
            // A tag stands before its value.
            (6, _) => open += 1,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// protected {1: -1}, unprotected {}, payload {pcrs: {0: h'01'}, timestamp: 1000, cabundle: [h'', [1]]}, signature.
    fn document(signature: u8, tagged: bool) -> Vec<u8> {
        let payload = b"\xa3\x64pcrs\xa1\x00\x41\x01\x69timestamp\x19\x03\xe8\x68cabundle\x82\x40\x81\x01";
        let mut document = if tagged { vec![0xd2] } else { Vec::new() };
        document.extend_from_slice(b"\x84\x43\xa1\x01\x20\xa0\x58");
        document.push(u8::try_from(payload.len()).unwrap());
        document.extend_from_slice(payload);
        document.extend_from_slice(&[0x44, signature, 0, 0, 0]);
        document
    }

    #[test]
    fn time_and_signature_are_seen_with_and_without_a_tag() {
        for tagged in [false, true] {
            for (signature, is_signed) in [(7, true), (0, false)] {
                let glance = Glance::at(&document(signature, tagged)).unwrap();
                assert_eq!(glance, Glance { timestamp_ms: 1000, is_signed, is_debug: false });
            }
        }
    }

    #[test]
    fn a_zero_pcr0_is_debug_mode() {
        let mut zero = document(7, false);
        let at = zero.windows(4).position(|window| window == b"\xa1\x00\x41\x01").unwrap();
        zero[at + 3] = 0;
        assert!(Glance::at(&zero).unwrap().is_debug);
        // Another register's zeros are a register that nobody extended.
        zero[at + 1] = 1;
        assert!(!Glance::at(&zero).unwrap().is_debug);
    }

    #[test]
    fn every_cut_and_endless_nesting_are_malformed() {
        let whole = document(7, false);
        for end in 0..whole.len() {
            assert!(Glance::at(&whole[..end]).is_err(), "cut at {end}");
        }
        let deep = [b"\x84".as_slice(), &[0x81; 5000]].concat();
        assert!(Glance::at(&deep).is_err());
        let wide = b"\x84\xbb\xff\xff\xff\xff\xff\xff\xff\xff";
        assert!(Glance::at(wide).is_err());
        assert!(Glance::at(b"\x84\x40\xa0\x41\xa0\x41\x01").is_err());
    }
}
