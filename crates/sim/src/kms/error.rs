//! Errors as the real service names and words them: a type, a message, an HTTP status.
use serde_json::json;

/// What a request is answered with when it fails: AWS's error type, its text, and whether the text's field is spelt `Message`.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    /// AWS's name, for instance `AccessDeniedException`.
    pub kind: &'static str,
    /// The text; empty where the real service sends none (`InvalidCiphertextException`).
    pub message: String,
    /// 400, except for the service's own faults.
    pub status: u16,
}

pub type Answer<T> = Result<T, Failure>;

/// A failure of the client, HTTP 400.
pub fn fail(kind: &'static str, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), status: 400 }
}

/// A request with a field that is missing, too long or of another type.
pub fn invalid(message: impl Into<String>) -> Failure {
    fail("ValidationException", message)
}

impl Failure {
    /// The JSON body. The real service spells the text's field `Message` when access is denied and `message` otherwise, and leaves it out
    /// when it has nothing to say; a client has to read all three.
    pub fn body(&self) -> Vec<u8> {
        let value = match (self.message.as_str(), self.kind) {
            ("", kind) => json!({ "__type": kind }),
            (text, "AccessDeniedException") => json!({ "__type": self.kind, "Message": text }),
            (text, kind) => json!({ "__type": kind, "message": text }),
        };
        value.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_spelt_as_the_real_service_spells_it() {
        assert_eq!(fail("InvalidCiphertextException", "").body(), br#"{"__type":"InvalidCiphertextException"}"#);
        let denied: serde_json::Value = serde_json::from_slice(&fail("AccessDeniedException", "no").body()).unwrap();
        assert_eq!(denied["Message"], "no");
        let other: serde_json::Value = serde_json::from_slice(&invalid("no").body()).unwrap();
        assert_eq!(other["message"], "no");
    }
}
