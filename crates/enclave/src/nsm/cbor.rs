//! The module's requests and answers in CBOR (RFC 8949): the few forms that `aws-nitro-enclaves-nsm-api` 0.5 writes and reads.
use super::{AttestationRequest, Description, NsmError};

/// What the module is asked.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    Attestation(&'a AttestationRequest<'a>),
    Describe,
    DescribePcr(u8),
    GetRandom,
}

/// A register: its value, and whether it is locked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pcr<'a> {
    pub lock: bool,
    pub data: &'a [u8],
}

pub(super) const UNSIGNED: u8 = 0;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
const SIMPLE: u8 = 7;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

/// The most entries that an answer's map may have; the longest that is documented has 7.
const MAX_ENTRIES: u64 = 16;
/// The most numbers that a list in an answer may have: the module has 32 registers.
const MAX_NUMBERS: u64 = 64;

pub(super) fn encode(request: Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match request {
        Request::GetRandom => text(&mut out, "GetRandom"),
        Request::Describe => text(&mut out, "DescribeNSM"),
        Request::DescribePcr(index) => {
            head(&mut out, MAP, 1);
            text(&mut out, "DescribePCR");
            head(&mut out, MAP, 1);
            text(&mut out, "index");
            head(&mut out, UNSIGNED, usize::from(index));
        }
        Request::Attestation(wanted) => {
            head(&mut out, MAP, 1);
            text(&mut out, "Attestation");
            head(&mut out, MAP, 3);
            for (name, value) in
                [("user_data", wanted.user_data), ("nonce", wanted.nonce), ("public_key", wanted.public_key)]
            {
                text(&mut out, name);
                match value {
                    Some(value) => {
                        head(&mut out, BYTES, value.len());
                        out.extend_from_slice(value);
                    }
                    None => out.push(NULL),
                }
            }
        }
    }
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn head(out: &mut Vec<u8>, major: u8, value: usize) {
    let major = major << 5;
    match u8::try_from(value) {
        Ok(value @ 0..24) => out.push(major | value),
        Ok(value) => out.extend_from_slice(&[major | 24, value]),
        // A longer value stands before a request that the device refuses for its length.
        Err(_) => {
            out.push(major | 25);
            out.extend_from_slice(&u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
}

/// The document of an answer to `Attestation`.
pub(super) fn document(answer: &[u8]) -> Result<&[u8], NsmError> {
    fields(answer, "Attestation")?.bytes("document")
}

/// The bytes of an answer to `GetRandom`.
pub(super) fn random(answer: &[u8]) -> Result<&[u8], NsmError> {
    fields(answer, "GetRandom")?.bytes("random")
}

/// What an answer to `DescribeNSM` says.
pub(super) fn description(answer: &[u8]) -> Result<Description, NsmError> {
    let fields = fields(answer, "DescribeNSM")?;
    let text = |name| fields.text(name).map(str::to_owned);
    Ok(Description { module_id: text("module_id")?, max_pcrs: fields.number("max_pcrs")?, digest: text("digest")? })
}

/// The register of an answer to `DescribePCR`.
pub(super) fn pcr(answer: &[u8]) -> Result<Pcr<'_>, NsmError> {
    let fields = fields(answer, "DescribePCR")?;
    Ok(Pcr { lock: fields.boolean("lock")?, data: fields.bytes("data")? })
}

/// A value in an answer's map.
#[derive(Clone, Copy)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Text(&'a str),
    Number(u64),
    Boolean(bool),
    Other,
}

struct Fields<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    fn bytes(&self, name: &'static str) -> Result<&'a [u8], NsmError> {
        match self.get(name) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(NsmError::Malformed("a field of bytes is missing")),
        }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, NsmError> {
        match self.get(name) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(NsmError::Malformed("a text is missing")),
        }
    }

    fn number(&self, name: &'static str) -> Result<u64, NsmError> {
        match self.get(name) {
            Some(Value::Number(number)) => Ok(number),
            _ => Err(NsmError::Malformed("a number is missing")),
        }
    }

    fn boolean(&self, name: &'static str) -> Result<bool, NsmError> {
        match self.get(name) {
            Some(Value::Boolean(value)) => Ok(value),
            _ => Err(NsmError::Malformed("a true or false is missing")),
        }
    }
}

/// Opens `{kind: {field: value, …}}`, or `{"Error": name}`.
fn fields<'a>(answer: &'a [u8], kind: &str) -> Result<Fields<'a>, NsmError> {
    let mut reader = Reader(answer);
    if reader.head()? != (MAP, 1) {
        return Err(NsmError::Malformed("expected a map with one entry"));
    }
    let found = reader.text()?;
    if found == "Error" {
        return Err(refusal(reader.text()?));
    }
    if found != kind {
        return Err(NsmError::Malformed("it answers another request"));
    }
    let (MAP, count @ 0..=MAX_ENTRIES) = reader.head()? else {
        return Err(NsmError::Malformed("expected a map of fields"));
    };
    let mut fields = Vec::new();
    for _ in 0..count {
        fields.push((reader.text()?, reader.value()?));
    }
    if !reader.0.is_empty() {
        return Err(NsmError::Malformed("bytes follow it"));
    }
    Ok(Fields(fields))
}

fn refusal(name: &str) -> NsmError {
    let is_name = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    NsmError::Refused(if is_name { name } else { "for a reason without a name" }.to_owned())
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// A major type and its argument. Indefinite lengths are not written by the module.
    pub(super) fn head(&mut self) -> Result<(u8, u64), NsmError> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24..=27 => 1_usize << (info - 24),
            _ => return Err(NsmError::Malformed("an indefinite length")),
        };
        let value = self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Ok((major, value))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], NsmError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NsmError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn sized(&mut self, count: u64) -> Result<&'a [u8], NsmError> {
        self.take(usize::try_from(count).map_err(|_| NsmError::Malformed("it ends early"))?)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, NsmError> {
        match self.head()? {
            (TEXT, count) => self.characters(count),
            _ => Err(NsmError::Malformed("expected a text")),
        }
    }

    fn characters(&mut self, count: u64) -> Result<&'a str, NsmError> {
        std::str::from_utf8(self.sized(count)?).map_err(|_| NsmError::Malformed("a text is not UTF-8"))
    }

    fn numbers(&mut self, count: u64) -> Result<(), NsmError> {
        for _ in 0..count {
            if !matches!(self.head()?, (UNSIGNED, _)) {
                return Err(NsmError::Malformed("expected a list of numbers"));
            }
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value<'a>, NsmError> {
        let first = self.0.first().copied();
        match (self.head()?, first) {
            ((BYTES, count), _) => self.sized(count).map(Value::Bytes),
            ((TEXT, count), _) => self.characters(count).map(Value::Text),
            ((UNSIGNED, number), _) => Ok(Value::Number(number)),
            ((ARRAY, count @ 0..=MAX_NUMBERS), _) => self.numbers(count).map(|()| Value::Other),
            ((SIMPLE, _), Some(TRUE)) => Ok(Value::Boolean(true)),
            ((SIMPLE, _), Some(FALSE)) => Ok(Value::Boolean(false)),
            ((SIMPLE, _), Some(NULL)) => Ok(Value::Other),
            _ => Err(NsmError::Malformed("a value of an unexpected kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_bytes_that_the_modules_own_library_writes() {
        assert_eq!(encode(Request::GetRandom), b"\x69GetRandom");
        assert_eq!(encode(Request::DescribePcr(3)), b"\xa1\x6bDescribePCR\xa1\x65index\x03");
        assert_eq!(encode(Request::DescribePcr(31)), b"\xa1\x6bDescribePCR\xa1\x65index\x18\x1f");
        let empty = AttestationRequest::default();
        assert_eq!(
            encode(Request::Attestation(&empty)),
            b"\xa1\x6bAttestation\xa3\x69user_data\xf6\x65nonce\xf6\x6apublic_key\xf6"
        );
        let key = [7; 294];
        let full = AttestationRequest { public_key: Some(&key), nonce: Some(&[1; 32]), user_data: Some(&[2; 3]) };
        let expected = [
            b"\xa1\x6bAttestation\xa3\x69user_data\x43\x02\x02\x02\x65nonce\x58\x20".as_slice(),
            &[1; 32],
            b"\x6apublic_key\x59\x01\x26",
            &key,
        ];
        assert_eq!(encode(Request::Attestation(&full)), expected.concat());
    }

    #[test]
    fn answers_are_read_in_every_width_of_length() {
        let document = [9; 300];
        let answer = [b"\xa1\x6bAttestation\xa1\x68document\x59\x01\x2c".as_slice(), &document].concat();
        assert_eq!(super::document(&answer).unwrap(), document);
        let wide = [b"\xa1\x6bAttestation\xa1\x68document\x5a\x00\x00\x01\x2c".as_slice(), &document].concat();
        assert_eq!(super::document(&wide).unwrap(), document);
        assert_eq!(random(b"\xa1\x69GetRandom\xa1\x66random\x42ab").unwrap(), b"ab");
        let locked = b"\xa1\x6bDescribePCR\xa2\x64lock\xf5\x64data\x42xy";
        assert_eq!(pcr(locked).unwrap(), Pcr { lock: true, data: b"xy" });
        let other_order = b"\xa1\x6bDescribePCR\xa3\x64data\x42xy\x65index\x18\x20\x64lock\xf4";
        assert_eq!(pcr(other_order).unwrap(), Pcr { lock: false, data: b"xy" });
    }

    #[test]
    fn a_description_is_read_whatever_else_stands_in_it() {
        assert_eq!(encode(Request::Describe), b"\x6bDescribeNSM");
        // The order and the widths of QEMU's `hw/virtio/virtio-nsm.c`.
        let answer = b"\xa1\x6bDescribeNSM\xa7\x66digest\x66SHA384\x68max_pcrs\x18\x20\x69module_id\x66i-1234\x6blocked_pcrs\x83\x00\x01\x18\x1f\
            \x6dversion_major\x01\x6dversion_minor\x00\x6dversion_patch\x00";
        let expected = Description { module_id: "i-1234".to_owned(), max_pcrs: 32, digest: "SHA384".to_owned() };
        assert_eq!(description(answer).unwrap(), expected);
        for end in 0..answer.len() {
            assert!(matches!(description(&answer[..end]), Err(NsmError::Malformed(_))), "cut at {end}");
        }
        let missing = b"\xa1\x6bDescribeNSM\xa1\x66digest\x66SHA384";
        assert!(matches!(description(missing), Err(NsmError::Malformed(_))));
    }

    #[test]
    fn a_refusal_is_told_by_its_name() {
        let error = document(b"\xa1\x65Error\x6dInputTooLarge").unwrap_err();
        assert!(matches!(&error, NsmError::Refused(name) if name == "InputTooLarge"), "{error}");
        let error = document(b"\xa1\x65Error\x63a\nb").unwrap_err();
        assert!(matches!(&error, NsmError::Refused(name) if !name.contains('\n')), "{error}");
    }

    #[test]
    fn every_cut_and_every_foreign_answer_is_malformed() {
        let whole = b"\xa1\x6bDescribePCR\xa2\x64lock\xf5\x64data\x42xy";
        for end in 0..whole.len() {
            assert!(matches!(pcr(&whole[..end]), Err(NsmError::Malformed(_))), "cut at {end}");
        }
        for answer in [
            b"\xa1\x69GetRandom\xa1\x66random\x42abc".as_slice(),
            b"\xa1\x69GetRandom\xbf\x66random\x42ab\xff",
            b"\xa1\x69GetRandom\xa1\x66random\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xa1\x69GetRandom\xb8\xff",
            b"\xa1\x6bDescribePCR\xa2\x64lock\xf5\x64data\x42xy",
            b"\x69GetRandom",
        ] {
            assert!(matches!(random(answer), Err(NsmError::Malformed(_))), "{answer:?}");
        }
    }
}
