//! What is signed: the fields of a document, each within the limits of AWS's specification (section 3.2.2).
use crate::Malformed;
use crate::cbor::Reader;
use crate::cose::{count, length};
use std::collections::BTreeMap;

/// The most that a document's name of its module may have. The limit is ours: AWS gives none, and uses about 40 bytes.
pub const MAX_MODULE_ID_BYTES: usize = 256;
/// The most that a certificate may have.
pub const MAX_CERTIFICATE_BYTES: usize = 1024;
/// The most certificates above the leaf. The limit is ours: AWS gives none, and uses four.
pub const MAX_CA_CERTIFICATES: u64 = 8;
/// The most that a public key may have.
pub const MAX_PUBLIC_KEY_BYTES: usize = 1024;
/// The most that user data may have.
pub const MAX_USER_DATA_BYTES: usize = 512;
/// The most that a nonce may have.
pub const MAX_NONCE_BYTES: usize = 512;
/// How many platform configuration registers there are.
pub const MAX_PCRS: u64 = 32;

const PCR_BYTES: [usize; 3] = [32, 48, 64];
const DIGEST: &str = "SHA384";
/// The most of foreign text that an error repeats.
const MAX_QUOTED_CHARACTERS: usize = 64;

/// The fields, as they were signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub module_id: String,
    pub timestamp_ms: u64,
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    pub certificate: Vec<u8>,
    pub cabundle: Vec<Vec<u8>>,
    pub public_key: Option<Vec<u8>>,
    pub user_data: Option<Vec<u8>>,
    pub nonce: Option<Vec<u8>>,
}

/// The fields as far as they were read: `Some` is "was there", so that null counts as there.
#[derive(Default)]
struct Fields {
    module_id: Option<String>,
    digest: Option<()>,
    timestamp_ms: Option<u64>,
    pcrs: Option<BTreeMap<u8, Vec<u8>>>,
    certificate: Option<Vec<u8>>,
    cabundle: Option<Vec<Vec<u8>>>,
    public_key: Option<Option<Vec<u8>>>,
    user_data: Option<Option<Vec<u8>>>,
    nonce: Option<Option<Vec<u8>>>,
}

impl Payload {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut fields = Fields::default();
        let pairs = reader.map("payload")?;
        count("payload", pairs, 6, 9)?;
        for _ in 0..pairs {
            fields.read(&mut reader)?;
        }
        reader.end("payload")?;
        fields.finish()
    }
}

impl Fields {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        match reader.text("field name")? {
            "module_id" => once("module_id", &mut self.module_id, module_id(reader)?),
            "digest" => once("digest", &mut self.digest, digest(reader)?),
            "timestamp" => once("timestamp", &mut self.timestamp_ms, timestamp(reader)?),
            "pcrs" => once("pcrs", &mut self.pcrs, pcrs(reader)?),
            "certificate" => once("certificate", &mut self.certificate, certificate(reader, "certificate")?),
            "cabundle" => once("cabundle", &mut self.cabundle, cabundle(reader)?),
            "public_key" => {
                once("public_key", &mut self.public_key, optional(reader, "public_key", 1, MAX_PUBLIC_KEY_BYTES)?)
            }
            "user_data" => {
                once("user_data", &mut self.user_data, optional(reader, "user_data", 0, MAX_USER_DATA_BYTES)?)
            }
            "nonce" => once("nonce", &mut self.nonce, optional(reader, "nonce", 0, MAX_NONCE_BYTES)?),
            unknown => Err(Malformed::UnknownField { got: quoted(unknown) }),
        }
    }

    fn finish(self) -> Result<Payload, Malformed> {
        self.digest.ok_or(Malformed::MissingField { field: "digest" })?;
        Ok(Payload {
            module_id: self.module_id.ok_or(Malformed::MissingField { field: "module_id" })?,
            timestamp_ms: self.timestamp_ms.ok_or(Malformed::MissingField { field: "timestamp" })?,
            pcrs: self.pcrs.ok_or(Malformed::MissingField { field: "pcrs" })?,
            certificate: self.certificate.ok_or(Malformed::MissingField { field: "certificate" })?,
            cabundle: self.cabundle.ok_or(Malformed::MissingField { field: "cabundle" })?,
            public_key: self.public_key.flatten(),
            user_data: self.user_data.flatten(),
            nonce: self.nonce.flatten(),
        })
    }
}

fn once<T>(field: &'static str, place: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::DuplicateField { field }),
    }
}

fn module_id(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let text = reader.text("module_id")?;
    length("module_id", text.len(), 1, MAX_MODULE_ID_BYTES)?;
    Ok(text.to_owned())
}

fn digest(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let got = reader.text("digest")?;
    if got == DIGEST { Ok(()) } else { Err(Malformed::Digest { expected: DIGEST, got: quoted(got) }) }
}

fn timestamp(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    match reader.unsigned("timestamp")? {
        0 => Err(Malformed::Timestamp { min_ms: 1, got_ms: 0 }),
        milliseconds => Ok(milliseconds),
    }
}

fn pcrs(reader: &mut Reader<'_>) -> Result<BTreeMap<u8, Vec<u8>>, Malformed> {
    let pairs = reader.map("pcrs")?;
    count("pcrs", pairs, 1, MAX_PCRS)?;
    let mut pcrs = BTreeMap::new();
    for _ in 0..pairs {
        let got = reader.unsigned("PCR index")?;
        let index = u8::try_from(got).ok().filter(|_| got < MAX_PCRS);
        let index = index.ok_or(Malformed::PcrIndex { max: MAX_PCRS - 1, got })?;
        let value = reader.bytes("PCR")?;
        if !PCR_BYTES.contains(&value.len()) {
            return Err(Malformed::PcrLength { index, expected_bytes: PCR_BYTES, got_bytes: value.len() });
        }
        if pcrs.insert(index, value.to_vec()).is_some() {
            return Err(Malformed::DuplicatePcr { index });
        }
    }
    Ok(pcrs)
}

fn cabundle(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let entries = reader.array("cabundle")?;
    count("cabundle", entries, 1, MAX_CA_CERTIFICATES)?;
    (0..entries).map(|_| certificate(reader, "cabundle's certificate")).collect()
}

fn certificate(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, Malformed> {
    let der = reader.bytes(field)?;
    length(field, der.len(), 1, MAX_CERTIFICATE_BYTES)?;
    Ok(der.to_vec())
}

fn optional(
    reader: &mut Reader<'_>,
    field: &'static str,
    min_bytes: usize,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(bytes) = reader.bytes_or_null(field)? else { return Ok(None) };
    length(field, bytes.len(), min_bytes, max_bytes)?;
    Ok(Some(bytes.to_vec()))
}

fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARACTERS).collect()
}
