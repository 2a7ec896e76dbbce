//! Credentials as AWS's services and tools write them in JSON, and what any credentials must look like.
use super::{Secret, Trouble};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};
use wire::control::Credentials;
use zeroize::{Zeroize, Zeroizing};

/// The forms of the instance's and the container's services, and of a `credential_process`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    version: Option<u32>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<String>,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.access_key_id.zeroize();
        self.secret_access_key.zeroize();
        self.token.zeroize();
    }
}

/// What credentials are made of, before they are checked.
pub(super) struct Fields {
    pub(super) id: Secret,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
    pub(super) expiration: Option<String>,
}

/// Whose JSON it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A service of AWS.
    Service,
    /// A program's output, which names its version.
    Process,
}

/// Reads credentials from JSON. No text of the document comes into an error.
pub(super) fn read(bytes: &[u8], form: Form, source: String) -> Result<Credentials, Trouble> {
    let wrong = |reason: &str| Trouble::new(reason, "");
    let mut document: Document =
        serde_json::from_slice(bytes).map_err(|_| wrong("what it gave is not the JSON of credentials"))?;
    if form == Form::Process && document.version != Some(1) {
        return Err(wrong("its JSON has no \"Version\": 1"));
    }
    if let Some(code) = document.code.as_deref().filter(|code| *code != "Success") {
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        return Err(wrong(&format!("it says Code: {code}")));
    }
    let (Some(id), Some(secret)) = (document.access_key_id.take(), document.secret_access_key.take()) else {
        return Err(wrong("its JSON has no AccessKeyId or no SecretAccessKey"));
    };
    let token = document.token.take().map(Zeroizing::new).filter(|token| !token.is_empty());
    let expiration = document.expiration.take();
    Fields { id: Zeroizing::new(id), secret: Zeroizing::new(secret), token, expiration }.check(source)
}

impl Fields {
    /// Checks what could not stand in a request, and what has expired.
    pub(super) fn check(self, source: String) -> Result<Credentials, Trouble> {
        let wrong =
            |what: &str| Trouble::new(format!("{what} is empty or has a character that none has"), "copy it again");
        let is_text = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(wrong("the access key's id"));
        }
        if !is_text(&self.secret) {
            return Err(wrong("the secret access key"));
        }
        if self.token.as_ref().is_some_and(|token| !is_text(token)) {
            return Err(wrong("the session token"));
        }
        // AWS IAM, "Unique identifiers": ASIA is the prefix of temporary keys.
        if self.id.starts_with("ASIA") && self.token.is_none() {
            let reason = "the access key's id begins with ASIA, so it is temporary, but there is no session token";
            return Err(Trouble::new(reason, "give the session token, too"));
        }
        let expires_at = match &self.expiration {
            None => None,
            Some(text) => {
                Some(seconds(text).ok_or_else(|| Trouble::new("when they expire is not a time of RFC 3339", ""))?)
            }
        };
        if let Some(ago) = expires_at.map(|at| now().saturating_sub(at)).filter(|ago| *ago >= 0) {
            let reason = format!("they expired {ago} s ago");
            return Err(Trouble::new(reason, "get new ones, and see that this machine's clock is right"));
        }
        Ok(Credentials {
            access_key_id: self.id,
            secret_access_key: self.secret,
            session_token: self.token,
            expires_at,
            source,
        })
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Seconds since 1970 of a time of RFC 3339, such as `2026-11-24T05:06:07Z`; fractions are dropped.
#[must_use]
pub fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>, least: i64, most: i64| -> Option<i64> {
        let digits = text.get(range)?;
        let number: i64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        (least..=most).contains(&number).then_some(number)
    };
    let is = |at: usize, any: &[u8]| text.as_bytes().get(at).is_some_and(|byte| any.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0..4, 1970, 9999)?, number(5..7, 1, 12)?, number(8..10, 1, 31)?);
    let (hour, minute, second) = (number(11..13, 0, 23)?, number(14..16, 0, 59)?, number(17..19, 0, 60)?);
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.bytes().position(|byte| !byte.is_ascii_digit())?;
        rest = fraction.get(end..).filter(|_| end > 0)?;
    }
    let zone = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h @ .., b':', m1, m2] if h.len() == 2 => {
            let hours: i64 = std::str::from_utf8(h).ok()?.parse().ok()?;
            let minutes: i64 = std::str::from_utf8(&[*m1, *m2]).ok()?.parse().ok()?;
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone)
}

/// Days since 1970 (the proleptic Gregorian calendar, with years that begin in March).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}
