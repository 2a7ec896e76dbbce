//! Documents in the shape of the real ones: an untagged COSE_Sign1 with the fields in AWS's order.
use minicbor::Encoder;
use minicbor::encode::Error;
use std::collections::BTreeMap;
use std::convert::Infallible;

/// `{1: -35}`: ES384.
const PROTECTED: &[u8] = &[0xA1, 0x01, 0x38, 0x22];

/// The fields of a document. All lengths are taken as they are, so that tests can overstep AWS's limits.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// The name of the module.
    pub module_id: &'a str,
    /// Milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The registers by index.
    pub pcrs: &'a BTreeMap<u8, Vec<u8>>,
    /// The leaf, in DER.
    pub certificate: &'a [u8],
    /// The certificates above it, in DER, from the root down.
    pub cabundle: &'a [Vec<u8>],
    /// Null where there is none.
    pub public_key: Option<&'a [u8]>,
    /// Null where there is none.
    pub user_data: Option<&'a [u8]>,
    /// Null where there is none.
    pub nonce: Option<&'a [u8]>,
}

type Written<'e> = Result<&'e mut Encoder<Vec<u8>>, Error<Infallible>>;

impl Fields<'_> {
    /// The signed document. `sign` makes r and s of ES384, 48 bytes each, over the bytes that it is given.
    pub fn sign<E>(&self, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
        let payload = cbor(|e| self.payload(e));
        let signed = cbor(|e| e.array(4)?.str("Signature1")?.bytes(PROTECTED)?.bytes(&[])?.bytes(&payload));
        let signature = sign(&signed)?;
        Ok(cbor(|e| e.array(4)?.bytes(PROTECTED)?.map(0)?.bytes(&payload)?.bytes(&signature)))
    }

    /// The payload alone.
    pub fn payload_bytes(&self) -> Vec<u8> {
        cbor(|e| self.payload(e))
    }

    fn payload<'e>(&self, e: &'e mut Encoder<Vec<u8>>) -> Written<'e> {
        e.map(9)?.str("module_id")?.str(self.module_id)?.str("digest")?.str("SHA384")?;
        e.str("timestamp")?.u64(self.timestamp_ms)?.str("pcrs")?.map(count(self.pcrs.len()))?;
        for (index, value) in self.pcrs {
            e.u8(*index)?.bytes(value)?;
        }
        e.str("certificate")?.bytes(self.certificate)?.str("cabundle")?.array(count(self.cabundle.len()))?;
        for certificate in self.cabundle {
            e.bytes(certificate)?;
        }
        for (name, value) in [("public_key", self.public_key), ("user_data", self.user_data), ("nonce", self.nonce)] {
            e.str(name)?;
            match value {
                Some(bytes) => e.bytes(bytes)?,
                None => e.null()?,
            };
        }
        Ok(e)
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn cbor(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written<'_>) -> Vec<u8> {
    let mut encoder = Encoder::new(vec![]);
    // Into memory: the only error that there is cannot be made.
    let _ = write(&mut encoder);
    encoder.into_writer()
}
