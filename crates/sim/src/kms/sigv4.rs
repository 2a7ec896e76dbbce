//! Verifies Signature Version 4 (AWS: "Create a signed AWS API request") as the real service does, with its names and texts for what is wrong.
use super::clock;
use super::error::{Answer, Failure, fail};
use super::http::Request;
use super::principals::{Principal, Principals};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use std::fmt::Write as _;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a request's date may be from ours.
const SKEW_SECONDS: i64 = 300;
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. \
                        Consult the service documentation for details.";

/// Where a signature must be scoped to.
pub struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

/// What stands in the header `Authorization`.
struct Authorization<'a> {
    access_key: &'a str,
    scope: Vec<&'a str>,
    signed: Vec<&'a str>,
    signature: &'a str,
}

/// Whose signature the request carries.
///
/// # Errors
/// Each way in which it can be wrong, as the real service answers it.
pub fn verify(request: &Request, scope: &Scope, principals: &Principals, now: i64) -> Answer<Principal> {
    let header = request.header("authorization");
    let header = header.ok_or_else(|| fail("MissingAuthenticationTokenException", "Missing Authentication Token"))?;
    let authorization = parse(header)?;
    let date = request.header("x-amz-date").ok_or_else(|| {
        incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.", header)
    })?;
    let seconds = clock::parse_basic(date).ok_or_else(|| {
        let text = "Date must be in ISO-8601 'basic format'. Got";
        fail("IncompleteSignatureException", format!("{text} '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"))
    })?;
    check_scope(&authorization, scope, date)?;
    let credential = principals.find(authorization.access_key, request.header("x-amz-security-token"), now)?;
    check_date(date, seconds, now)?;
    check_signed_headers(request, &authorization.signed)?;
    let key = signing_key(credential.secret(), &authorization.scope);
    let to_sign = string_to_sign(date, &authorization.scope, &canonical_request(request, &authorization.signed));
    let expected = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    verify_slices_are_equal(expected.as_bytes(), authorization.signature.as_bytes())
        .map_err(|_| fail("InvalidSignatureException", MISMATCH))?;
    Ok(credential.principal())
}

fn incomplete(text: &str, header: &str) -> Failure {
    // The real service repeats the header; without the signature, so that no log holds one.
    let shown = header.split("Signature=").next().unwrap_or_default().trim_end_matches([' ', ',']);
    fail("IncompleteSignatureException", format!("{text} Authorization={shown}"))
}

fn parse(header: &str) -> Answer<Authorization<'_>> {
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm != ALGORITHM {
        return Err(fail("IncompleteSignatureException", format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
    }
    let field = |name: &str| {
        rest.split(',')
            .find_map(|part| part.trim().split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
    };
    let (credential, signed, signature) = (field("Credential"), field("SignedHeaders"), field("Signature"));
    let missing = [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed)];
    let mut text = String::new();
    for (name, _) in missing.iter().filter(|(_, value)| value.is_none()) {
        let _ = write!(text, "Authorization header requires '{name}' parameter. ");
    }
    let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature) else {
        return Err(incomplete(text.trim_end(), header));
    };
    let mut parts = credential.split('/');
    let access_key = parts.next().unwrap_or_default();
    let scope: Vec<&str> = parts.collect();
    if scope.len() != 4 || access_key.is_empty() {
        let text = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.";
        return Err(incomplete(text, header));
    }
    Ok(Authorization { access_key, scope, signed: signed.split(';').collect(), signature })
}

fn check_scope(authorization: &Authorization, scope: &Scope, date: &str) -> Answer<()> {
    let invalid = |text: String| Err(fail("InvalidSignatureException", text));
    let [day, region, service, term] = authorization.scope[..] else { return invalid(MISMATCH.into()) };
    if region != scope.region {
        return invalid(format!("Credential should be scoped to a valid region, not '{region}'."));
    }
    if service != scope.service {
        return invalid(format!("Credential should be scoped to correct service: '{}'.", scope.service));
    }
    if term != "aws4_request" {
        return invalid(format!("Credential should be scoped with a valid terminator: 'aws4_request', not '{term}'."));
    }
    let of_header = date.get(..8).unwrap_or_default();
    if day != of_header {
        let text = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:";
        return invalid(format!("{text} '{day}' != '{of_header}', from '{date}'."));
    }
    Ok(())
}

fn check_date(date: &str, seconds: i64, now: i64) -> Answer<()> {
    let ours = clock::basic(now);
    let (earliest, latest) = (clock::basic(now - SKEW_SECONDS), clock::basic(now + SKEW_SECONDS));
    let text = match seconds - now {
        past if past < -SKEW_SECONDS => {
            format!("Signature expired: {date} is now earlier than {earliest} ({ours} - 5 min.)")
        }
        future if future > SKEW_SECONDS => {
            format!("Signature not yet current: {date} is still later than {latest} ({ours} + 5 min.)")
        }
        _ => return Ok(()),
    };
    Err(fail("InvalidSignatureException", text))
}

/// Host and every `x-amz-` header have to be signed: an unsigned one could have been put there on the way.
fn check_signed_headers(request: &Request, signed: &[&str]) -> Answer<()> {
    let must = request.headers.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("x-amz-"));
    for name in must.chain(["host"]) {
        if !signed.contains(&name) {
            let text = format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
            return Err(fail("InvalidSignatureException", text));
        }
    }
    Ok(())
}

fn canonical_request(request: &Request, signed: &[&str]) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut query: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    query.sort_unstable();
    let mut text = format!("{}\n{path}\n{}\n", request.method, query.join("&"));
    for name in signed {
        let values: Vec<String> = request
            .headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    let payload = hex(digest::digest(&digest::SHA256, &request.body).as_ref());
    let _ = write!(text, "\n{}\n{payload}", signed.join(";"));
    text
}

fn string_to_sign(date: &str, scope: &[&str], canonical: &str) -> String {
    let digest = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    format!("{ALGORITHM}\n{date}\n{}\n{digest}", scope.join("/"))
}

fn signing_key(secret: &str, scope: &[&str]) -> hmac::Key {
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    scope.iter().fold(first, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
