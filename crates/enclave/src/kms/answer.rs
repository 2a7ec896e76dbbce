//! What KMS answers: an envelope for this enclave, or a refusal that is told apart by its name.
use super::arn::KeyArn;
use super::cms::MAX_ENVELOPE_BYTES;
use super::error::{KmsError, WrongRegion};
use super::http::Response;
use super::region::Region;
use base64ct::{Base64, Encoding};
use serde::Deserialize;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// How much of KMS's own words is shown, in characters.
const MAX_MESSAGE_CHARS: usize = 600;
/// What AWS takes of clocks that differ.
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// What was asked, as far as the answer is judged by it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The region.
    pub region: &'static Region,
    /// The host.
    pub host: &'a str,
    /// The key, where it is pinned.
    pub key_arn: Option<&'a str>,
    /// When, by the enclave's clock.
    pub time: SystemTime,
}

/// A refusal, and what it calls for.
#[derive(Debug)]
pub enum Refusal {
    /// KMS says that access is denied; its words.
    Denied(String),
    /// To be asked again later: throttled.
    Throttled,
    /// Anything else.
    Other(KmsError),
}

#[derive(Deserialize)]
struct Decrypted<'a> {
    #[serde(rename = "KeyId", borrow)]
    key_id: Option<Cow<'a, str>>,
    #[serde(rename = "CiphertextForRecipient", borrow)]
    envelope: Option<Cow<'a, str>>,
    #[serde(rename = "Plaintext")]
    plaintext: Option<String>,
}

#[derive(Default, Deserialize)]
struct Problem<'a> {
    #[serde(rename = "__type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(alias = "Message", borrow)]
    message: Option<Cow<'a, str>>,
}

/// Takes the envelope out of an answer, or the reason why there is none.
///
/// # Errors
/// KMS refuses, or the answer is not well formed, or is from another key, or holds a plaintext.
pub fn envelope(response: &Response, asked: &Asked<'_>) -> Result<Vec<u8>, Refusal> {
    decrypted(body(response, asked)?, asked).map_err(Refusal::Other)
}

/// The JSON of an answer that is none of the refusals.
pub(super) fn body<'a>(response: &'a Response, asked: &Asked<'_>) -> Result<&'a [u8], Refusal> {
    if response.status == 200 { Ok(&response.body) } else { Err(refusal(response, asked)) }
}

pub(super) fn decrypted(body: &[u8], asked: &Asked<'_>) -> Result<Vec<u8>, KmsError> {
    let answer: Decrypted<'_> =
        serde_json::from_slice(body).map_err(|_| KmsError::Malformed("its body is not the JSON of Decrypt"))?;
    no_plaintext(answer.plaintext)?;
    check_key(&answer.key_id.ok_or(KmsError::Malformed("KeyId is missing"))?, asked)?;
    envelope_bytes(&answer.envelope.ok_or(KmsError::Malformed("CiphertextForRecipient is missing"))?)
}

/// A KMS that sends a plaintext to whoever attested ignored the attestation.
///
/// # Errors
/// There is one.
pub fn no_plaintext(plaintext: Option<String>) -> Result<(), KmsError> {
    if plaintext.map(Zeroizing::new).is_some_and(|plaintext| !plaintext.is_empty()) {
        return Err(KmsError::PlaintextInAnswer);
    }
    Ok(())
}

/// The bytes of `CiphertextForRecipient`.
///
/// # Errors
/// It is too long, or no base64.
pub fn envelope_bytes(text: &str) -> Result<Vec<u8>, KmsError> {
    if text.len() > MAX_ENVELOPE_BYTES.div_ceil(3) * 4 {
        return Err(KmsError::Malformed("CiphertextForRecipient is too long"));
    }
    Base64::decode_vec(text).map_err(|_| KmsError::Malformed("CiphertextForRecipient is not base64"))
}

/// The answer's key is the one that was asked, or at least of the region that was asked.
///
/// # Errors
/// It is another one.
pub fn check_key(key_id: &str, asked: &Asked<'_>) -> Result<(), KmsError> {
    let arn = KeyArn::parse(key_id).map_err(|_| KmsError::Malformed("KeyId is no key's ARN"))?;
    match asked.key_arn {
        Some(expected) if expected != key_id => {
            Err(KmsError::OtherKey { expected: expected.to_owned(), got: key_id.to_owned() })
        }
        None if arn.region != asked.region.name() => {
            let (asked, key) = (asked.region.name(), arn.region.to_owned());
            Err(KmsError::WrongRegion(WrongRegion::Key { asked, key }))
        }
        _ => Ok(()),
    }
}

fn refusal(response: &Response, asked: &Asked<'_>) -> Refusal {
    let problem: Problem<'_> = serde_json::from_slice(&response.body).unwrap_or_default();
    // `com.amazonaws.kms#NotFoundException` in the body, `NotFoundException:http://…` in the header.
    let kind = problem.kind.as_deref().or(response.error_type.as_deref()).unwrap_or_default();
    let code = kind.rsplit('#').next().and_then(|code| code.split(':').next()).unwrap_or_default();
    let is_name = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let code = if is_name { code.to_owned() } else { format!("HTTP status {}", response.status) };
    let words = problem.message.unwrap_or_default();
    match code.as_str() {
        "AccessDeniedException" => return Refusal::Denied(shown_message(&words)),
        "ThrottlingException"
        | "Throttling"
        | "LimitExceededException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown" => {
            return Refusal::Throttled;
        }
        _ if response.status == 429 => return Refusal::Throttled,
        _ => {}
    }
    Refusal::Other(named(code, &words, response, asked))
}

fn named(code: String, words: &str, response: &Response, asked: &Asked<'_>) -> KmsError {
    match code.as_str() {
        "ExpiredTokenException" | "ExpiredToken" => KmsError::ExpiredCredentials,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidClientTokenIdException"
        | "InvalidAccessKeyId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => KmsError::UnknownCredentials,
        "RequestExpired" | "RequestExpiredException" | "RequestTimeTooSkewed" | "RequestTimeTooSkewedException" => {
            KmsError::ClockSkew { ours: asked.time, theirs: response.date }
        }
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException" => {
            // These words repeat the signed headers, the session token among them: never shown.
            signature(words, response.date, asked)
        }
        "InvalidCiphertextException" | "IncorrectKeyException" => KmsError::InvalidCiphertext,
        "DisabledException"
        | "NotFoundException"
        | "KMSInvalidStateException"
        | "KeyUnavailableException"
        | "InvalidKeyUsageException"
        | "InvalidArnException" => KmsError::KeyUnusable { code, message: shown_message(words) },
        _ if response.status >= 500 => KmsError::Unavailable { code },
        "DependencyTimeoutException" | "KMSInternalException" | "ServiceUnavailableException" | "InternalFailure" => {
            KmsError::Unavailable { code }
        }
        _ => KmsError::Refused { code, message: shown_message(words) },
    }
}

/// One name for three faults: the clock, the region, the secret.
fn signature(words: &str, theirs: Option<SystemTime>, asked: &Asked<'_>) -> KmsError {
    let ours = asked.time;
    let is_skewed = theirs.is_some_and(|theirs| {
        ours.duration_since(theirs).or_else(|_| theirs.duration_since(ours)).is_ok_and(|skew| skew > MAX_SKEW)
    });
    if is_skewed || words.contains("Signature expired") || words.contains("Signature not yet current") {
        return KmsError::ClockSkew { ours, theirs };
    }
    if words.contains("scoped to a valid region") || words.contains("scoped to correct region") {
        let (asked, host) = (asked.region.name(), asked.host.to_owned());
        return KmsError::WrongRegion(WrongRegion::Host { asked, host });
    }
    KmsError::InvalidSignature
}

/// KMS's words, on one line and bounded.
fn shown_message(words: &str) -> String {
    if words.is_empty() {
        return "without a reason".to_owned();
    }
    let shown = |char: char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
    words.chars().take(MAX_MESSAGE_CHARS).map(shown).collect()
}
