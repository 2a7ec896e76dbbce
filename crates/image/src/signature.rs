//! A signed image: one certificate, and a COSE_Sign1 of PCR0 by its key. Nitro puts the certificate's digest into PCR8.
//!
//! The section is CBOR: `[{"signing_certificate": [PEM's bytes], "signature": [COSE_Sign1's bytes]}]`; the signed payload is
//! `{"register_index": 0, "register_value": [PCR0's bytes]}` (`src/defs/mod.rs` and `src/utils/eif_signer.rs` of
//! `aws-nitro-enclaves-image-format`; bytes are arrays of numbers there).
use crate::error::{Malformed, Result};
use crate::measure::register;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm,
    UnparsedPublicKey,
};
use der::{Decode, oid::ObjectIdentifier};
use minicbor::decode::{Decoder, Error as Cbor};

/// A certificate or a signature is a few kilobytes.
const MAX_FIELD_BYTES: u64 = 32 << 10;
const PCR_BYTES: usize = 48;
/// COSE's tag of a COSE_Sign1 (RFC 9052).
const COSE_SIGN1: u64 = 18;
/// `id-ecPublicKey` (RFC 5480).
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// A curve that AWS's tool signs with: its OID, COSE's number of its algorithm, and how it is verified.
struct Curve(ObjectIdentifier, i64, &'static EcdsaVerificationAlgorithm);

static CURVES: [Curve; 3] = [
    Curve(ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), -7, &ECDSA_P256_SHA256_FIXED),
    Curve(ObjectIdentifier::new_unwrap("1.3.132.0.34"), -35, &ECDSA_P384_SHA384_FIXED),
    Curve(ObjectIdentifier::new_unwrap("1.3.132.0.35"), -36, &ECDSA_P521_SHA512_FIXED),
];

/// Who signed an image, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// In DER.
    certificate: Vec<u8>,
    /// COSE_Sign1's fields: the protected header as it is signed, the payload, (r, s).
    protected: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Signature {
    /// Reads the signature section.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read(section: &[u8]) -> Result<Self> {
        let (pem, cose) = fields(section).map_err(cbor("section"))?;
        let (protected, payload, signature) = sign1(&cose).map_err(cbor("COSE_Sign1"))?;
        Ok(Self { certificate: certificate(&pem)?, protected, payload, signature })
    }

    /// The signer's certificate, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The register that it decides.
    #[must_use]
    pub fn pcr8(&self) -> String {
        register(std::iter::once(self.certificate.as_slice()))
    }

    /// Checks that the certificate's key signed this PCR0. The certificate's dates and issuer are Nitro's and the
    /// operator's matter: PCR8 pins the certificate itself.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, pcr0: &str) -> Result<()> {
        let (index, value) = signed_register(&self.payload).map_err(cbor("payload"))?;
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        if index != 0 || value != pcr0 {
            return Err(wrong(&format!("it is of PCR{index} = {value}, expected PCR0 = {pcr0}")));
        }
        let (curve, point) = key(&self.certificate)?;
        let algorithm = algorithm(&self.protected).map_err(cbor("header"))?;
        if algorithm != curve.1 {
            return Err(wrong(&format!("expected algorithm {} of the certificate's curve, got {algorithm}", curve.1)));
        }
        let verified = UnparsedPublicKey::new(curve.2, point).verify(&self.signed_bytes()?, &self.signature);
        verified.map_err(|_| wrong("it was not made with the certificate's key"))
    }

    /// COSE's `Sig_structure`: `["Signature1", protected, h'', payload]` (RFC 9052, 4.4).
    fn signed_bytes(&self) -> Result<Vec<u8>> {
        let mut encoder = minicbor::Encoder::new(Vec::new());
        let written = encoder.array(4).and_then(|encoder| {
            encoder.str("Signature1")?.bytes(&self.protected)?.bytes(&[])?.bytes(&self.payload).map(drop)
        });
        written.map_err(|error| wrong(&format!("it cannot be checked: {error}")))?;
        Ok(encoder.into_writer())
    }
}

/// The first certificate of a PEM text, in DER.
pub(crate) fn certificate(pem: &[u8]) -> Result<Vec<u8>> {
    let not_pem = |error: der::pem::Error| wrong(&format!("the certificate is not PEM: {error}"));
    let (label, der) = der::pem::decode_vec(pem).map_err(not_pem)?;
    if label == "CERTIFICATE" { Ok(der) } else { Err(wrong(&format!("expected a CERTIFICATE in PEM, got {label:?}"))) }
}

fn key(certificate: &[u8]) -> Result<(&'static Curve, Vec<u8>)> {
    let read = x509_cert::Certificate::from_der(certificate);
    let read = read.map_err(|error| wrong(&format!("the certificate cannot be read: {error}")))?;
    let info = read.tbs_certificate().subject_public_key_info();
    let named = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    let curve = CURVES.iter().find(|curve| info.algorithm.oid == EC_PUBLIC_KEY && named == Some(curve.0));
    let curve = curve.ok_or_else(|| wrong("expected a certificate of a key on P-256, P-384 or P-521"))?;
    Ok((curve, info.subject_public_key.raw_bytes().to_vec()))
}

fn fields(section: &[u8]) -> std::result::Result<(Vec<u8>, Vec<u8>), Cbor> {
    let mut decoder = Decoder::new(section);
    expect(decoder.array()? == Some(1), "one signature")?;
    expect(decoder.map()? == Some(2), "two fields")?;
    let (mut pem, mut cose) = (None, None);
    for _ in 0..2 {
        match decoder.str()? {
            "signing_certificate" => pem = Some(numbers(&mut decoder)?),
            "signature" => cose = Some(numbers(&mut decoder)?),
            other => return Err(Cbor::message(format!("unknown field {other:?}"))),
        }
    }
    end(&decoder)?;
    pem.zip(cose).ok_or_else(|| Cbor::message("a field is missing"))
}

type Sign1 = (Vec<u8>, Vec<u8>, Vec<u8>);

fn sign1(cose: &[u8]) -> std::result::Result<Sign1, Cbor> {
    let mut decoder = Decoder::new(cose);
    if decoder.datatype()? == minicbor::data::Type::Tag {
        expect(decoder.tag()?.as_u64() == COSE_SIGN1, "tag 18")?;
    }
    expect(decoder.array()? == Some(4), "four fields")?;
    let protected = decoder.bytes()?.to_vec();
    expect(decoder.map()? == Some(0), "an empty unprotected header")?;
    let fields = (protected, decoder.bytes()?.to_vec(), decoder.bytes()?.to_vec());
    end(&decoder)?;
    Ok(fields)
}

fn algorithm(protected: &[u8]) -> std::result::Result<i64, Cbor> {
    let mut decoder = Decoder::new(protected);
    expect(decoder.map()? == Some(1), "an algorithm and nothing else")?;
    expect(decoder.u8()? == 1, "label 1")?;
    let algorithm = decoder.i64()?;
    end(&decoder)?;
    Ok(algorithm)
}

fn signed_register(payload: &[u8]) -> std::result::Result<(i64, Vec<u8>), Cbor> {
    let mut decoder = Decoder::new(payload);
    expect(decoder.map()? == Some(2), "two fields")?;
    expect(decoder.str()? == "register_index", "register_index")?;
    let index = decoder.i64()?;
    expect(decoder.str()? == "register_value", "register_value")?;
    let value = numbers(&mut decoder)?;
    expect(value.len() == PCR_BYTES, "48 bytes")?;
    end(&decoder)?;
    Ok((index, value))
}

/// Bytes as an array of numbers, or as bytes.
fn numbers(decoder: &mut Decoder<'_>) -> std::result::Result<Vec<u8>, Cbor> {
    if decoder.datatype()? == minicbor::data::Type::Bytes {
        return Ok(decoder.bytes()?.to_vec());
    }
    let length = decoder.array()?.filter(|length| *length <= MAX_FIELD_BYTES);
    (0..length.ok_or_else(|| Cbor::message("expected an array of at most 32 KiB"))?).map(|_| decoder.u8()).collect()
}

fn expect(holds: bool, what: &str) -> std::result::Result<(), Cbor> {
    if holds { Ok(()) } else { Err(Cbor::message(format!("expected {what}"))) }
}

fn end(decoder: &Decoder<'_>) -> std::result::Result<(), Cbor> {
    expect(decoder.position() == decoder.input().len(), "the end")
}

fn cbor(what: &'static str) -> impl FnOnce(Cbor) -> crate::Error {
    move |error| wrong(&format!("{what}: {error}"))
}

fn wrong(what: &str) -> crate::Error {
    Malformed(format!("the image's signature: {what}")).into()
}
