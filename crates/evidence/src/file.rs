//! A file of evidence: the statement and its document, in JSON.
use crate::Statement;
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest file of evidence, in bytes: a document has at most some 32 KiB, and 256 chains need some 50 KiB.
pub const MAX_EVIDENCE_BYTES: usize = 256 << 10;

/// A statement and the document that binds it, or claims to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What is said.
    pub statement: Statement,
    /// The attestation document: a COSE_Sign1.
    pub document: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    statement: Statement,
    document: String,
}

const FORMAT: &str = "tmkms evidence v1";

/// Bytes that are no evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotEvidence(pub String);

impl fmt::Display for NotEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotEvidence {}

impl Evidence {
    /// Reads a file's bytes. Nothing in it is believed by that.
    ///
    /// # Errors
    /// It is too long, no JSON, of another format or kind, or has a field that is not known.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotEvidence> {
        if bytes.len() > MAX_EVIDENCE_BYTES {
            return Err(NotEvidence(format!("expected at most {MAX_EVIDENCE_BYTES} bytes, got {}", bytes.len())));
        }
        let file: File = serde_json::from_slice(bytes).map_err(|error| NotEvidence(error.to_string()))?;
        if file.format != FORMAT {
            let got: String = file.format.chars().take(64).collect();
            return Err(NotEvidence(format!("format: expected {FORMAT:?}, got {got:?}")));
        }
        let document = Base64::decode_vec(file.document.trim());
        let document = document.map_err(|_| NotEvidence("document: expected base64".to_owned()))?;
        Ok(Self { statement: file.statement, document })
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let document = Base64::encode_string(&self.document);
        let file = File { format: FORMAT.to_owned(), statement: self.statement.clone(), document };
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::tests::signer;

    #[test]
    fn evidence_is_read_back_in_any_layout_and_the_hashed_text_stays_the_same() {
        let evidence = Evidence { statement: signer(), document: vec![1, 2, 255] };
        let text = evidence.text();
        let read = Evidence::parse(text.as_bytes()).unwrap();
        assert_eq!(read, evidence);
        let compact = serde_json::from_str::<serde_json::Value>(&text).unwrap().to_string();
        assert_eq!(Evidence::parse(compact.as_bytes()).unwrap().statement.text(), signer().text());
    }

    #[test]
    fn what_is_no_evidence_is_refused_with_the_reason() {
        let text = Evidence { statement: signer(), document: vec![1] }.text();
        let refused = |text: &str| Evidence::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(refused("{").contains("EOF"));
        assert!(refused(&text.replace("evidence v1", "evidence v9")).contains("expected \"tmkms evidence v1\""));
        assert!(refused(&text.replace("\"document\"", "\"documents\"")).contains("documents"));
        assert!(refused(&text.replace("AQ==", "A!==")).contains("base64"));
        assert!(refused(&text.replace("\"chains\"", "\"chain\"")).contains("chain"));
        assert!(refused(&" ".repeat(MAX_EVIDENCE_BYTES + 1)).contains("at most 262144 bytes, got 262145"));
        // A name twice: whoever reads the first must not differ from whoever reads the last.
        assert!(
            refused(&text.replace("\"format\"", "\"format\": \"tmkms evidence v1\", \"format\"")).contains("duplicate")
        );
        let twice = text.replace("\"life\"", "\"life\": \"ff\", \"life\"");
        assert!(refused(&twice).contains("duplicate"), "{}", refused(&twice));
    }
}
