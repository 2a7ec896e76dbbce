//! A KMS's whole answer, HTTP and JSON and the envelope in it: pieces and the whole give the same, and nothing panics.
#![no_main]
use enclave::kms::answer::{Asked, Refusal, envelope};
use enclave::kms::cms::Envelope;
use enclave::kms::http::{MAX_BODY_BYTES, Response};
use enclave::kms::{KmsError, Region};
use libfuzzer_sys::fuzz_target;
use std::io::{self, Read};
use std::time::SystemTime;

/// Gives at most a few bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(self.1);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, bytes)) = input.split_first() else { return };
    let (whole, pieces) = (Response::read(bytes), Response::read(Pieces(bytes, usize::from(size) + 1)));
    let Ok(response) = whole else {
        assert!(pieces.is_err());
        return;
    };
    assert_eq!(pieces.map(|pieces| pieces.body).ok().as_ref(), Some(&response.body));
    assert!(response.body.len() <= MAX_BODY_BYTES);
    let region = Region::find("us-east-1").expect("a region of the table");
    for key_arn in [None, Some("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")] {
        let asked = Asked { region, host: "kms.test", key_arn, time: SystemTime::UNIX_EPOCH };
        match envelope(&response, &asked) {
            Ok(bytes) => {
                let _ = Envelope::parse(&bytes);
            }
            Err(Refusal::Denied(words)) => assert!(words.len() <= 600 && !words.contains('\n')),
            Err(Refusal::Throttled) => {}
            Err(Refusal::Other(error)) => {
                let text = error.to_string();
                assert!(text.len() < 2000 || matches!(error, KmsError::AccessDenied(_)), "{text}");
                assert!(!text.contains(['\r', '\u{1b}']));
            }
        }
    }
});
