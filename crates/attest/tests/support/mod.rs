//! Documents of a module that everybody can build, so that each rule can be broken alone.
#![allow(dead_code, clippy::unwrap_used)]
use attest::{Document, Roots, Timestamp};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64ct::{Base64, Encoding};
use minicbor::Encoder;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::convert::Infallible;
use std::time::Duration;

/// When the built chains are valid: an hour before and after.
pub const NOW: Timestamp = Timestamp(1_800_000_000);
pub const LEAF: usize = 4;

/// The document that AWS made; tests/data/README.md.
pub fn real() -> Vec<u8> {
    Base64::decode_vec(&include_str!("../data/eu-central-1-2025-01-06.b64").replace('\n', "")).unwrap()
}

/// Root, regional, zonal and instance certificate, and the leaf; as many as AWS's chains have.
pub struct Chain {
    pub certificates: Vec<Vec<u8>>,
    leaf: KeyPair,
}

fn params(index: usize) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "test");
    params.distinguished_name.push(DnType::CommonName, format!("certificate {index}"));
    params.is_ca = match index {
        0 => IsCa::Ca(BasicConstraints::Unconstrained),
        1..LEAF => IsCa::Ca(BasicConstraints::Constrained(u8::try_from(LEAF - 1 - index).unwrap())),
        _ => IsCa::ExplicitNoCa,
    };
    params.key_usages =
        vec![if index == LEAF { KeyUsagePurpose::DigitalSignature } else { KeyUsagePurpose::KeyCertSign }];
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW.0 - 3600);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW.0 + 3600);
    params
}

impl Chain {
    pub fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// Each certificate as the change leaves it.
    pub fn with(change: impl Fn(usize, &mut CertificateParams)) -> Self {
        Self::with_leaf(&rcgen::PKCS_ECDSA_P384_SHA384, change)
    }

    pub fn with_leaf(kind: &'static rcgen::SignatureAlgorithm, change: impl Fn(usize, &mut CertificateParams)) -> Self {
        let mut certificates = vec![];
        let mut above: Option<(CertificateParams, KeyPair)> = None;
        for index in 0..=LEAF {
            let mut own = params(index);
            change(index, &mut own);
            let kind = if index == LEAF { kind } else { &rcgen::PKCS_ECDSA_P384_SHA384 };
            let key = KeyPair::generate_for(kind).unwrap();
            let certificate = match &above {
                None => own.self_signed(&key).unwrap(),
                Some((issuer, signer)) => own.signed_by(&key, &Issuer::from_params(issuer, signer)).unwrap(),
            };
            certificates.push(certificate.der().to_vec());
            above = Some((own, key));
        }
        Self { certificates, leaf: above.unwrap().1 }
    }

    pub fn roots(&self) -> Roots {
        Roots::of(&self.certificates[0])
    }

    /// The fields of an ordinary document, in AWS's order.
    pub fn fields(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (leaf, bundle) = self.certificates.split_last().unwrap();
        vec![
            ("module_id", cbor(|e| e.str("i-test-enc"))),
            ("digest", cbor(|e| e.str("SHA384"))),
            ("timestamp", cbor(|e| e.u64(NOW.0 * 1000))),
            ("pcrs", pcrs(&[(0, &[7; 48]), (31, &[9; 48])])),
            ("certificate", bytes(leaf)),
            (
                "cabundle",
                cbor(|e| {
                    e.array(u64::try_from(bundle.len()).unwrap())?;
                    bundle.iter().try_for_each(|der| e.bytes(der).map(drop))?;
                    Ok(e)
                }),
            ),
            ("public_key", bytes(b"key")),
            ("user_data", cbor(|e| e.null())),
            ("nonce", bytes(b"nonce")),
        ]
    }

    pub fn document(&self) -> Vec<u8> {
        self.sign(&self.fields())
    }

    /// The document whose field has another value; without a value it is left out.
    pub fn document_with(&self, field: &'static str, value: Option<Vec<u8>>) -> Vec<u8> {
        let mut fields = self.fields();
        fields.retain(|(name, _)| *name != field);
        fields.extend(value.map(|value| (field, value)));
        self.sign(&fields)
    }

    pub fn sign(&self, fields: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
        let mut payload = cbor(|e| e.map(u64::try_from(fields.len()).unwrap()));
        for (name, value) in fields {
            payload.extend(cbor(|e| e.str(name)));
            payload.extend(value);
        }
        self.envelope(&[0xA1, 0x01, 0x38, 0x22], &payload)
    }

    /// Any payload under any protected header, signed.
    pub fn envelope(&self, protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let signed = cbor(|e| e.array(4)?.str("Signature1")?.bytes(protected)?.bytes(&[])?.bytes(payload));
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, self.leaf.serialized_der());
        let signature =
            key.map_or(vec![1; 96], |key| key.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec());
        envelope(protected, payload, &signature)
    }
}

pub fn envelope(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    cbor(|e| e.array(4)?.bytes(protected)?.map(0)?.bytes(payload)?.bytes(signature))
}

type Written<'a> = Result<&'a mut Encoder<Vec<u8>>, minicbor::encode::Error<Infallible>>;

pub fn cbor(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written<'_>) -> Vec<u8> {
    let mut encoder = Encoder::new(vec![]);
    write(&mut encoder).unwrap();
    encoder.into_writer()
}

pub fn bytes(value: &[u8]) -> Vec<u8> {
    cbor(|e| e.bytes(value))
}

pub fn pcrs(values: &[(u64, &[u8])]) -> Vec<u8> {
    cbor(|e| {
        e.map(u64::try_from(values.len()).unwrap())?;
        values.iter().try_for_each(|(index, value)| e.u64(*index)?.bytes(value).map(drop))?;
        Ok(e)
    })
}

/// Whether somebody would believe it.
pub fn believed(document: &[u8], roots: &Roots, at: Timestamp) -> bool {
    Document::parse(document).is_ok_and(|document| document.verify(roots, at).is_ok())
}
