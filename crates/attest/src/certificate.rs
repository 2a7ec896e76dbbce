//! One X.509 certificate of a chain: its parts, and its signature over them.
use crate::{Place, Timestamp, Untrusted};
use der::asn1::{BitStringRef, ObjectIdentifier};
use der::{Decode, Encode, Reader, SliceReader};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, VerifyingKey};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{TbsCertificate, Version};

const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
/// An uncompressed point: the byte 4 and two coordinates of 48 bytes.
const POINT_BYTES: usize = 97;

/// What the chain's rules look at.
pub struct Certificate<'a> {
    place: Place,
    /// The signed bytes as they came: what is verified is never what somebody encoded again.
    signed: &'a [u8],
    signature: &'a [u8],
    pub subject: Name,
    pub issuer: Name,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub constraints: Option<Constraints>,
    pub usage: Option<KeyUsage>,
    key: VerifyingKey,
}

/// basicConstraints, and whether they are critical.
pub struct Constraints {
    pub value: BasicConstraints,
    pub critical: bool,
}

impl<'a> Certificate<'a> {
    pub fn parse(place: Place, bytes: &'a [u8]) -> Result<Self, Untrusted> {
        let broken = |error: der::Error| Untrusted::Certificate { place, reason: error.to_string() };
        let (signed, algorithm, signature) = split(bytes).map_err(broken)?;
        let fields = TbsCertificate::from_der(signed).map_err(broken)?;
        check_version(place, fields.version())?;
        check_algorithm(place, &algorithm)?;
        check_algorithm(place, fields.signature())?;
        let extensions = Extensions::read(place, &fields)?;
        let seconds = |time: x509_cert::time::Time| Timestamp(time.to_unix_duration().as_secs());
        Ok(Self {
            place,
            signed,
            signature,
            not_before: seconds(fields.validity().not_before),
            not_after: seconds(fields.validity().not_after),
            key: key(place, fields.subject_public_key_info())?,
            subject: fields.subject().clone(),
            issuer: fields.issuer().clone(),
            constraints: extensions.constraints,
            usage: extensions.usage,
        })
    }

    pub const fn place(&self) -> Place {
        self.place
    }

    /// Whether the subject of the certificate above is the issuer that this one names, byte by byte.
    pub fn names_issuer(&self, above: &Self) -> bool {
        matches!((self.issuer.to_der(), above.subject.to_der()), (Ok(named), Ok(subject)) if named == subject)
    }

    pub fn is_signed_by(&self, above: &Self) -> bool {
        Signature::from_der(self.signature).is_ok_and(|signature| above.key.verify(self.signed, &signature).is_ok())
    }

    /// Whether this certificate's key made a signature of ES384: r and s, 48 bytes each.
    pub fn made(&self, signature: &[u8], message: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }
}

/// The signed bytes, the algorithm and the signature; nothing may follow.
fn split(bytes: &[u8]) -> der::Result<(&[u8], AlgorithmIdentifierOwned, &[u8])> {
    let mut reader = SliceReader::new(bytes)?;
    let (signed, algorithm, signature) = reader.sequence(|inner: &mut SliceReader<'_>| -> der::Result<_> {
        Ok((inner.tlv_bytes()?, AlgorithmIdentifierOwned::decode(inner)?, BitStringRef::decode(inner)?))
    })?;
    reader.finish()?;
    let signature = signature.as_bytes().ok_or(der::Tag::BitString.value_error())?;
    Ok((signed, algorithm, signature))
}

fn check_version(place: Place, version: Version) -> Result<(), Untrusted> {
    let got = match version {
        Version::V1 => 1,
        Version::V2 => 2,
        Version::V3 => return Ok(()),
    };
    Err(Untrusted::Version { place, expected: 3, got })
}

fn check_algorithm(place: Place, algorithm: &AlgorithmIdentifierOwned) -> Result<(), Untrusted> {
    if algorithm.oid == ECDSA_WITH_SHA384 && algorithm.parameters.is_none() {
        return Ok(());
    }
    let parameters = if algorithm.parameters.is_some() { " with parameters" } else { "" };
    let expected = "1.2.840.10045.4.3.3 (ecdsa-with-SHA384) without parameters";
    Err(Untrusted::SignatureAlgorithm { place, expected, got: format!("{}{parameters}", algorithm.oid) })
}

fn key(place: Place, info: &SubjectPublicKeyInfoOwned) -> Result<VerifyingKey, Untrusted> {
    let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    if info.algorithm.oid != EC_PUBLIC_KEY || curve != Some(SECP384R1) {
        let curve = curve.map_or_else(|| "no named curve".to_owned(), |curve| curve.to_string());
        return Err(Untrusted::KeyAlgorithm {
            place,
            expected: "1.2.840.10045.2.1 (EC) with 1.3.132.0.34 (P-384)",
            got: format!("{} with {curve}", info.algorithm.oid),
        });
    }
    let point = info.subject_public_key.as_bytes().filter(|point| point.len() == POINT_BYTES && point[0] == 4);
    point.and_then(|point| VerifyingKey::from_sec1_bytes(point).ok()).ok_or(Untrusted::Key { place })
}

#[derive(Default)]
struct Extensions {
    constraints: Option<Constraints>,
    usage: Option<KeyUsage>,
}

impl Extensions {
    /// The two that AWS's rules speak of. Any other critical one is refused, as RFC 5280, section 4.2, demands.
    fn read(place: Place, fields: &TbsCertificate) -> Result<Self, Untrusted> {
        let broken = |error: der::Error| Untrusted::Certificate { place, reason: error.to_string() };
        let mut read = Self::default();
        let all = fields.extensions().map(Vec::as_slice).unwrap_or_default();
        for (index, extension) in all.iter().enumerate() {
            let id = extension.extn_id;
            if all[..index].iter().any(|earlier| earlier.extn_id == id) {
                return Err(Untrusted::DuplicateExtension { place, got: id.to_string() });
            }
            let value = extension.extn_value.as_bytes();
            if id == BASIC_CONSTRAINTS {
                let value = BasicConstraints::from_der(value).map_err(broken)?;
                read.constraints = Some(Constraints { value, critical: extension.critical });
            } else if id == KEY_USAGE {
                read.usage = Some(KeyUsage::from_der(value).map_err(broken)?);
            } else if extension.critical {
                let expected = "2.5.29.19 (basicConstraints) and 2.5.29.15 (keyUsage)";
                return Err(Untrusted::CriticalExtension { place, expected, got: id.to_string() });
            }
        }
        Ok(read)
    }
}
