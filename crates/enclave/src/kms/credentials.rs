//! What proves to AWS who asks.
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bounds of AWS's texts: an access key id has 16 to 128 characters, a session token has no documented bound (about
/// 1 KiB is usual); 16 KiB is what a request's header may hold.
const MAX_ACCESS_KEY_ID_BYTES: usize = 128;
const MAX_SESSION_TOKEN_BYTES: usize = 12 * 1024;

/// Credentials of the parent's role. No Debug, no Clone; zeroized.
pub struct Credentials {
    /// For instance `ASIA…`.
    pub access_key_id: String,
    /// Signs requests and never leaves the enclave.
    pub secret_access_key: String,
    /// Of temporary credentials.
    pub session_token: Option<String>,
}

impl Credentials {
    /// What of them is missing, or cannot stand in a request. A control character would let whoever pushed them write
    /// header lines of his own.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let is_plain = |text: &str, max: usize| {
            !text.is_empty() && text.len() <= max && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if self.access_key_id.is_empty() || self.secret_access_key.is_empty() {
            return Some("access_key_id or secret_access_key is empty");
        }
        if !self.access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
            || self.access_key_id.len() > MAX_ACCESS_KEY_ID_BYTES
        {
            return Some("access_key_id is not made of letters and digits");
        }
        let token = self.session_token.as_deref();
        if token.is_some_and(|token| !is_plain(token, MAX_SESSION_TOKEN_BYTES)) {
            return Some("session_token is empty, too long, or has other characters than printable ASCII");
        }
        None
    }

    /// Whether a text repeats one of them.
    pub(super) fn are_in(&self, text: &str) -> bool {
        let token = self.session_token.as_deref();
        [Some(&*self.access_key_id), Some(&*self.secret_access_key), token]
            .into_iter()
            .flatten()
            .any(|secret| !secret.is_empty() && text.contains(secret))
    }
}

impl Zeroize for Credentials {
    fn zeroize(&mut self) {
        self.access_key_id.zeroize();
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Credentials {}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(id: &str, secret: &str, token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: token.map(str::to_owned),
        }
    }

    #[test]
    fn credentials_that_could_write_a_header_line_are_refused() {
        assert!(credentials("AKIDEXAMPLE", "secret/+=", Some("token==")).fault().is_none());
        assert!(credentials("AKIDEXAMPLE", "secret", None).fault().is_none());
        for (id, secret, token) in [
            ("", "secret", None),
            ("AKID", "", None),
            ("AKID\r\nX-Amz-Target: TrentService.Encrypt", "secret", None),
            ("AKID/20150830", "secret", None),
            ("AKID", "secret", Some("")),
            ("AKID", "secret", Some("a\r\nX: y")),
            ("AKID", "secret", Some("a b")),
            ("AKID", "secret", Some("tökén")),
        ] {
            assert!(credentials(id, secret, token).fault().is_some(), "{id:?} {token:?}");
        }
        assert!(credentials("AKID", "secret", Some(&"a".repeat(13_000))).fault().is_some());
    }
}
