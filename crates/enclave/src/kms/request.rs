//! The bytes of a request to KMS: JSON, signed, in one HTTP request.
use super::credentials::Credentials;
use super::sigv4::{Scope, Signable, authorization};
use super::time::Utc;
use serde::Serialize;
use std::time::SystemTime;
use zeroize::Zeroizing;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// `Recipient` of a request: a document with the key to which KMS encrypts.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attested {
    pub(super) key_encryption_algorithm: &'static str,
    pub(super) attestation_document: String,
}

/// The whole request. It holds the session token: zeroized.
pub(super) fn signed(
    (name, region, host): (&str, &str, &str),
    body: &[u8],
    credentials: &Credentials,
    time: SystemTime,
) -> Zeroizing<Vec<u8>> {
    let time = Utc::of(time);
    let (date, target) = (time.basic(), format!("TrentService.{name}"));
    let mut headers = vec![("content-type", CONTENT_TYPE), ("host", host), ("x-amz-date", &*date)];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token));
    }
    headers.push(("x-amz-target", &target));
    let signable = Signable { method: "POST", path: "/", headers: &headers, body };
    let scope = Scope { time, region, service: "kms" };
    let signature = authorization(&signable, &scope, credentials);
    let length = body.len().to_string();
    let unsigned = [("authorization", &*signature), ("connection", "close"), ("content-length", &length)];
    written(&headers, &unsigned, body)
}

fn written(signed: &[(&str, &str)], unsigned: &[(&str, &str)], body: &[u8]) -> Zeroizing<Vec<u8>> {
    let headers = || signed.iter().chain(unsigned);
    let length: usize = headers().map(|(name, value)| name.len() + value.len() + 4).sum();
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut request = Zeroizing::new(Vec::with_capacity(length + body.len() + 32));
    request.extend_from_slice(b"POST / HTTP/1.1\r\n");
    for (name, value) in headers() {
        for part in [name, ": ", value, "\r\n"] {
            request.extend_from_slice(part.as_bytes());
        }
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}
