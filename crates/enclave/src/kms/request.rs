//! The bytes of a kms:Decrypt: JSON, signed, in one HTTP request.
use super::client::DecryptRequest;
use super::credentials::Credentials;
use super::sigv4::{Scope, Signable, authorization};
use super::time::Utc;
use base64ct::{Base64, Encoding};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;
use zeroize::Zeroizing;

const TARGET: &str = "TrentService.Decrypt";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    ciphertext_blob: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    encryption_context: &'a BTreeMap<String, String>,
    encryption_algorithm: &'static str,
    recipient: Attested,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attested {
    key_encryption_algorithm: &'static str,
    attestation_document: String,
}

/// The whole request. It holds the session token: zeroized.
pub(super) fn decrypt(
    wanted: &DecryptRequest<'_>,
    host: &str,
    document: &[u8],
    credentials: &Credentials,
    time: SystemTime,
) -> Zeroizing<Vec<u8>> {
    let body = body(wanted, document);
    let time = Utc::of(time);
    let date = time.basic();
    let mut headers = vec![("content-type", CONTENT_TYPE), ("host", host), ("x-amz-date", &date)];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token));
    }
    headers.push(("x-amz-target", TARGET));
    let signable = Signable { method: "POST", path: "/", headers: &headers, body: &body };
    let scope = Scope { time, region: wanted.region.name(), service: "kms" };
    let signature = authorization(&signable, &scope, credentials);
    let length = body.len().to_string();
    let unsigned = [("authorization", &*signature), ("connection", "close"), ("content-length", &length)];
    written(&headers, &unsigned, &body)
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

fn body(wanted: &DecryptRequest<'_>, document: &[u8]) -> Vec<u8> {
    let body = Body {
        ciphertext_blob: Base64::encode_string(wanted.ciphertext),
        key_id: wanted.key_arn,
        encryption_context: wanted.encryption_context,
        encryption_algorithm: "SYMMETRIC_DEFAULT",
        recipient: Attested {
            key_encryption_algorithm: "RSAES_OAEP_SHA_256",
            attestation_document: Base64::encode_string(document),
        },
    };
    // Texts and maps of texts: there is nothing in it that JSON cannot say.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Whether a text repeats a piece of the ciphertext in base64, as error messages of JSON services do. What all
/// ciphertexts of a key begin with says nothing: the piece is from its end, where the encrypted key is.
pub(super) fn repeats_ciphertext(text: &str, ciphertext: &[u8]) -> bool {
    let encoded = Base64::encode_string(ciphertext);
    let tail = &encoded[encoded.len().saturating_sub(24)..];
    text.contains(&encoded) || (tail.len() >= 16 && text.contains(tail))
}
