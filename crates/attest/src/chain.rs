//! The chain: leaf ← cabundle[n..1] ← root, by the rules of AWS's section 3.2.3 and RFC 5280, section 6.
use crate::certificate::Certificate;
use crate::{Fingerprint, Place, Roots, Timestamp, Untrusted};
use x509_cert::ext::pkix::KeyUsage;

/// Checks everything about the certificates, from the root down, and gives the leaf whose key must have signed.
///
/// From the root down, so that an error names the highest certificate that is wrong.
pub fn verified_leaf<'a>(
    certificate: &'a [u8],
    cabundle: &'a [Vec<u8>],
    roots: &Roots,
    at: Timestamp,
) -> Result<Certificate<'a>, Untrusted> {
    let root = cabundle.first().map(Vec::as_slice).unwrap_or_default();
    let (expected, got) = (roots.pinned(), Fingerprint::of(root));
    if expected != got {
        return Err(Untrusted::Root { expected, got });
    }
    // The pinned certificate needs no signature: its own would prove nothing that the fingerprint does not.
    let mut above = authority(root, 0, cabundle.len(), at)?;
    for (index, bytes) in cabundle.iter().enumerate().skip(1) {
        let next = authority(bytes, index, cabundle.len(), at)?;
        check_link(&next, &above)?;
        above = next;
    }
    let leaf = Certificate::parse(Place::Leaf, certificate)?;
    check_dates(&leaf, at)?;
    check_leaf(&leaf)?;
    check_link(&leaf, &above)?;
    Ok(leaf)
}

/// A certificate that may sign the one below it, at that place in a bundle of that length.
fn authority(bytes: &[u8], index: usize, length: usize, at: Timestamp) -> Result<Certificate<'_>, Untrusted> {
    let certificate = Certificate::parse(Place::CaBundle(index), bytes)?;
    check_dates(&certificate, at)?;
    check_authority(&certificate, length.saturating_sub(index + 1))?;
    Ok(certificate)
}

fn check_dates(certificate: &Certificate<'_>, at: Timestamp) -> Result<(), Untrusted> {
    let (place, not_before, not_after) = (certificate.place(), certificate.not_before, certificate.not_after);
    if at < not_before {
        return Err(Untrusted::NotYetValid { place, not_before, at });
    }
    if at > not_after {
        return Err(Untrusted::Expired { place, not_after, at });
    }
    Ok(())
}

fn check_authority(certificate: &Certificate<'_>, authorities_below: usize) -> Result<(), Untrusted> {
    let place = certificate.place();
    let refused = |got| Untrusted::NotACa { place, expected: "critical, CA:TRUE", got };
    let constraints = match &certificate.constraints {
        None => return Err(refused("none")),
        Some(constraints) if !constraints.value.ca => return Err(refused("CA:FALSE")),
        Some(constraints) if !constraints.critical => return Err(refused("not critical, CA:TRUE")),
        Some(constraints) => constraints,
    };
    // Self-issued certificates count too, unlike in RFC 5280: there are none in this PKI.
    if let Some(max) = constraints.value.path_len_constraint.map(usize::from)
        && authorities_below > max
    {
        return Err(Untrusted::PathLength { place, max, got: authorities_below });
    }
    check_usage(certificate, "keyCertSign", KeyUsage::key_cert_sign)
}

fn check_leaf(leaf: &Certificate<'_>) -> Result<(), Untrusted> {
    let refused = |got| Untrusted::LeafIsCa { expected: "CA:FALSE without a path length, or none", got };
    match leaf.constraints.as_ref().map(|constraints| &constraints.value) {
        Some(value) if value.ca => return Err(refused("CA:TRUE")),
        Some(value) if value.path_len_constraint.is_some() => return Err(refused("CA:FALSE with a path length")),
        _ => {}
    }
    check_usage(leaf, "digitalSignature", KeyUsage::digital_signature)
}

fn check_usage(
    certificate: &Certificate<'_>,
    expected: &'static str,
    allows: impl Fn(&KeyUsage) -> bool,
) -> Result<(), Untrusted> {
    if certificate.usage.as_ref().is_some_and(allows) {
        return Ok(());
    }
    let got = certificate.usage.map_or_else(|| "none".to_owned(), |usage| format!("{:?}", usage.0));
    Err(Untrusted::KeyUsage { place: certificate.place(), expected, got })
}

fn check_link(certificate: &Certificate<'_>, above: &Certificate<'_>) -> Result<(), Untrusted> {
    let place = certificate.place();
    if !certificate.names_issuer(above) {
        let (expected, got) = (above.subject.to_string(), certificate.issuer.to_string());
        return Err(Untrusted::Issuer { place, expected, got });
    }
    if !certificate.is_signed_by(above) {
        return Err(Untrusted::CertificateSignature { place, issuer: above.place() });
    }
    Ok(())
}
