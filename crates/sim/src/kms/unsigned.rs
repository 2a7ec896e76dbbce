//! The documents of QEMU's emulated Nitro Secure Module: true measurements of what QEMU booted, and signed by nobody.
//!
//! A verifier of its own, beside crate `attest` and with nothing of it, so that the one that verifies signatures has no way round them. It
//! takes byte for byte what QEMU writes (10.0, hw/virtio/virtio-nsm.c: `add_protected_header_to_cose`, `add_payload_to_cose`,
//! `add_signature_to_cose`) and nothing else. Only a server that was told so asks it: [`super::Server::accept_unsigned_documents`].
use super::recipient::Evidence;
use crate::nsm::Fields;
use evidence::Facts;
use minicbor::decode::Decoder;
use minicbor::encode::Encoder;
use std::collections::BTreeMap;

/// `{1: -1}`, in the place of an algorithm: QEMU's "we don't actually sign the data".
const PROTECTED: &[u8] = &[0xa1, 0x01, 0x20];
/// What stands for the signature, the certificate, and the only certificate above it.
const ZEROS: &[u8] = &[0; 64];
/// The length of a SHA-384.
const PCR_BYTES: usize = 48;
/// QEMU locks the first 16 at a reset (`nitro_enclave_machine_reset`); only locked ones stand in a document.
const ALWAYS_LOCKED: usize = 16;
const MAX_PCRS: usize = 32;
/// AWS's limits for what a caller gives; QEMU has none but its request's 4096 bytes.
const MAX_PUBLIC_KEY_BYTES: usize = 1024;
const MAX_OTHER_BYTES: usize = 512;
/// More than all of the above, with every PCR locked.
const MAX_DOCUMENT_BYTES: usize = 8192;

/// Reads a document in QEMU's form.
///
/// # Errors
/// How it differs from that form.
pub fn read(document: &[u8]) -> Result<Evidence, String> {
    parse(document).map_err(|reason| format!("not one of an emulated module either: {reason}"))
}

/// What stands in a document in QEMU's form, as a verifier of evidence takes it. That it is true rests on whoever runs the emulator.
///
/// # Errors
/// How it differs from that form.
pub fn facts(document: &[u8]) -> Result<Facts, String> {
    let payload = payload(document)?;
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    Ok(Facts {
        module_id: payload.module_id.to_owned(),
        timestamp_ms: payload.timestamp_ms,
        public_key: owned(payload.public_key),
        user_data: owned(payload.user_data),
        nonce: owned(payload.nonce),
        pcrs: payload.pcrs,
    })
}

fn parse(document: &[u8]) -> Result<Evidence, String> {
    let fields = payload(document)?;
    if fields.pcrs[&0].iter().all(|byte| *byte == 0) {
        return Err("PCR0 is zero: it measures nothing".to_owned());
    }
    let public_key = fields.public_key.map(<[u8]>::to_vec);
    Ok(Evidence { pcrs: fields.pcrs, public_key, timestamp_millis: fields.timestamp_ms })
}

fn payload(document: &[u8]) -> Result<Payload<'_>, String> {
    at_most("the document", document, MAX_DOCUMENT_BYTES)?;
    let payload = envelope(document)?;
    let fields = Payload::read(payload)?;
    // Whatever a reader forgives (a longer form of a number, say) is refused here: there is one way to write it.
    if write(&fields.bytes()) != document {
        return Err("its fields are right, but they are not written as QEMU writes them".to_owned());
    }
    Ok(fields)
}

/// The payload of an untagged COSE_Sign1 whose algorithm and signature say that there is none.
fn envelope(document: &[u8]) -> Result<&[u8], String> {
    let mut decoder = Decoder::new(document);
    let broken = |what: &'static str| move |_: minicbor::decode::Error| format!("expected {what}");
    if decoder.array().map_err(broken("an array of four"))? != Some(4) {
        return Err("expected an array of four".to_owned());
    }
    let protected = decoder.bytes().map_err(broken("the protected header"))?;
    if protected != PROTECTED {
        return Err("expected the protected header {1: -1}, which says that nothing is signed".to_owned());
    }
    if decoder.map().map_err(broken("an empty unprotected header"))? != Some(0) {
        return Err("expected an empty unprotected header".to_owned());
    }
    let payload = decoder.bytes().map_err(broken("the payload"))?;
    let signature = decoder.bytes().map_err(broken("the signature"))?;
    zeros("the signature", signature)?;
    end("the document", &decoder, document)?;
    Ok(payload)
}

fn write(payload: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(vec![]);
    // Into memory: the only error that there is cannot be made.
    let written: Result<_, minicbor::encode::Error<std::convert::Infallible>> = (|| {
        encoder.array(4)?.bytes(PROTECTED)?.map(0)?.bytes(payload)?.bytes(ZEROS)?;
        Ok(())
    })();
    let _ = written;
    encoder.into_writer()
}

/// What stands in the payload, but for what is always the same.
struct Payload<'a> {
    module_id: &'a str,
    timestamp_ms: u64,
    pcrs: BTreeMap<u8, Vec<u8>>,
    public_key: Option<&'a [u8]>,
    user_data: Option<&'a [u8]>,
    nonce: Option<&'a [u8]>,
}

impl<'a> Payload<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut decoder = Decoder::new(bytes);
        if decoder.map().ok().flatten() != Some(9) {
            return Err("expected a payload of nine fields".to_owned());
        }
        let module_id = text(&mut decoder, "module_id")?;
        at_most("module_id", module_id.as_bytes(), MAX_OTHER_BYTES)?;
        let digest = text(&mut decoder, "digest")?;
        if digest != "SHA384" {
            return Err(format!("digest: expected \"SHA384\", got {digest:?}"));
        }
        key(&mut decoder, "timestamp")?;
        let timestamp_ms = decoder.u64().map_err(|_| "timestamp: expected a number".to_owned())?;
        let pcrs = pcrs(&mut decoder)?;
        key(&mut decoder, "certificate")?;
        zeros("certificate", decoder.bytes().map_err(|_| "certificate: expected bytes".to_owned())?)?;
        key(&mut decoder, "cabundle")?;
        if decoder.array().ok().flatten() != Some(1) {
            return Err("cabundle: expected one certificate".to_owned());
        }
        zeros("cabundle", decoder.bytes().map_err(|_| "cabundle: expected bytes".to_owned())?)?;
        let public_key = bytes_or_null(&mut decoder, "public_key", MAX_PUBLIC_KEY_BYTES)?;
        let user_data = bytes_or_null(&mut decoder, "user_data", MAX_OTHER_BYTES)?;
        let nonce = bytes_or_null(&mut decoder, "nonce", MAX_OTHER_BYTES)?;
        end("the payload", &decoder, bytes)?;
        Ok(Self { module_id, timestamp_ms, pcrs, public_key, user_data, nonce })
    }

    fn bytes(&self) -> Vec<u8> {
        let fields = Fields {
            module_id: self.module_id,
            timestamp_ms: self.timestamp_ms,
            pcrs: &self.pcrs,
            certificate: ZEROS,
            cabundle: &[ZEROS.to_vec()],
            public_key: self.public_key,
            user_data: self.user_data,
            nonce: self.nonce,
        };
        fields.payload_bytes()
    }
}

/// The locked registers, in ascending order, as QEMU's loop over them writes them.
fn pcrs(decoder: &mut Decoder<'_>) -> Result<BTreeMap<u8, Vec<u8>>, String> {
    key(decoder, "pcrs")?;
    let count = decoder.map().ok().flatten().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    if !(ALWAYS_LOCKED..=MAX_PCRS).contains(&count) {
        return Err(format!("pcrs: expected {ALWAYS_LOCKED} to {MAX_PCRS}, got {count}"));
    }
    let mut found = BTreeMap::new();
    for position in 0..count {
        let index = decoder.u8().map_err(|_| "pcrs: expected an index".to_owned())?;
        let value = decoder.bytes().map_err(|_| format!("PCR{index}: expected bytes"))?;
        let (place, above) = (usize::from(index), found.last_key_value().is_none_or(|(last, _)| index > *last));
        if !above || place >= MAX_PCRS || (position < ALWAYS_LOCKED && place != position) {
            return Err(format!("pcrs: PCR{index} is out of place"));
        }
        if value.len() != PCR_BYTES {
            return Err(format!("PCR{index}: expected {PCR_BYTES} bytes, got {}", value.len()));
        }
        found.insert(index, value.to_vec());
    }
    Ok(found)
}

/// The next key must be this one: a key twice, one too many or in another order is none of QEMU's.
fn key(decoder: &mut Decoder<'_>, expected: &str) -> Result<(), String> {
    match decoder.str() {
        Ok(got) if got == expected => Ok(()),
        Ok(got) => Err(format!("expected the field {expected}, got {got:?}")),
        Err(_) => Err(format!("expected the field {expected}")),
    }
}

fn text<'a>(decoder: &mut Decoder<'a>, name: &str) -> Result<&'a str, String> {
    key(decoder, name)?;
    decoder.str().map_err(|_| format!("{name}: expected text"))
}

fn bytes_or_null<'a>(decoder: &mut Decoder<'a>, name: &str, limit: usize) -> Result<Option<&'a [u8]>, String> {
    key(decoder, name)?;
    if decoder.datatype().ok() == Some(minicbor::data::Type::Null) {
        return decoder.null().map(|()| None).map_err(|_| format!("{name}: expected bytes or null"));
    }
    let bytes = decoder.bytes().map_err(|_| format!("{name}: expected bytes or null"))?;
    at_most(name, bytes, limit)?;
    Ok(Some(bytes))
}

fn zeros(what: &str, bytes: &[u8]) -> Result<(), String> {
    let reason =
        "expected 64 zero bytes: a module that signs is believed by its root certificate (--nsm-root) and no other way";
    if bytes == ZEROS { Ok(()) } else { Err(format!("{what}: {reason}")) }
}

fn at_most(what: &str, bytes: &[u8], limit: usize) -> Result<(), String> {
    if bytes.len() > limit {
        return Err(format!("{what} is too long: expected at most {limit} bytes, got {}", bytes.len()));
    }
    Ok(())
}

fn end(what: &str, decoder: &Decoder<'_>, bytes: &[u8]) -> Result<(), String> {
    match bytes.len().saturating_sub(decoder.position()) {
        0 => Ok(()),
        more => Err(format!("{more} bytes follow {what}")),
    }
}

#[cfg(test)]
#[path = "unsigned_tests.rs"]
mod tests;
