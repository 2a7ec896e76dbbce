//! Measurements of an enclave's image, as its build printed them: what `cargo xtask image` and AWS's `nitro-cli` write.
use crate::commands::nitro::plain;
use crate::failure::{Exit, Failure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

/// A register's bytes: SHA-384.
const REGISTER_BYTES: usize = 48;
/// A module has so many registers.
const REGISTERS: u8 = 32;
/// The largest file that is read; one has about 500 bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

const BUILD: &str =
    "give the measurements.json of `cargo xtask image`, or what `nitro-cli build-enclave` or `describe-eif` prints";

/// One register of the security module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) Vec<u8>);

impl Register {
    /// As it is read everywhere in a debug-mode enclave.
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }
}

impl FromStr for Register {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = 2 * REGISTER_BYTES;
        let refused = |got: String| format!("expected {digits} hexadecimal digits (SHA-384), got {got}");
        if let Some(other) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(refused(format!("{other:?} among {} characters", text.chars().count())));
        }
        if text.len() != digits {
            return Err(refused(format!("{}: {text:.96}", text.len())));
        }
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
        let bytes: Result<_, _> = (0..digits).step_by(2).map(byte).collect();
        bytes.map(Self).map_err(|error| refused(error.to_string()))
    }
}

/// Lower-case hexadecimal, as KMS compares it.
impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The registers that a build has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measurements {
    /// By their numbers: 0 is there and not zero; 1, 2 and 8 (who signed the image) where the file has them.
    pub pcrs: BTreeMap<u8, Vec<u8>>,
}

impl Measurements {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is none of measurements, has no PCR0, or the zeros of a debug-mode enclave.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let text = read_text(path, MAX_FILE_BYTES)
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {name}: {error}"), BUILD))?;
        Self::parse(&text).map_err(|(problem, help)| Failure::new(Exit::Usage, format!("{name}: {problem}"), help))
    }

    /// The image's measurement.
    pub(crate) fn image(&self) -> Register {
        Register(self.pcrs.get(&0).cloned().unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, (String, &'static str)> {
        let file: Value = serde_json::from_str(text)
            .map_err(|error| (format!("expected JSON with measurements, got something else: {error}"), BUILD))?;
        if file.is_array() {
            let help =
                "an enclave that runs measures what somebody started; give what your own build of the image printed";
            return Err((
                "expected the measurements of a build, got a list such as `nitro-cli describe-enclaves` prints".into(),
                help,
            ));
        }
        let registers = file.get("Measurements").and_then(Value::as_object);
        let registers = registers
            .ok_or_else(|| (r#"expected {"Measurements": {"PCR0": …}}, got no Measurements"#.into(), BUILD))?;
        if let Some(algorithm) = registers.get("HashAlgorithm")
            && !algorithm.as_str().is_some_and(|name| name.starts_with("Sha384"))
        {
            return Err((format!("HashAlgorithm: expected Sha384, got {}", plain(&algorithm.to_string())), BUILD));
        }
        let mut pcrs = BTreeMap::new();
        for (name, value) in registers.iter().filter(|(name, _)| name.starts_with("PCR")) {
            let number = (0..REGISTERS).find(|number| *name == format!("PCR{number}"));
            let number = number.ok_or_else(|| {
                let last = REGISTERS - 1;
                (format!("expected registers PCR0 to PCR{last}, got {}", plain(name)), BUILD)
            })?;
            let value = value.as_str().ok_or_else(|| "expected 96 hexadecimal digits, got no text".to_owned());
            let register = value.and_then(str::parse::<Register>);
            pcrs.insert(number, register.map_err(|problem| (format!("{name}: {problem}"), BUILD))?.0);
        }
        let measured = Self { pcrs };
        if !measured.pcrs.contains_key(&0) {
            return Err(("expected PCR0, the measurement of the image, got none".into(), BUILD));
        }
        if measured.image().is_zero() {
            let help = "zeros are what an enclave in debug mode measures, whatever its image: a policy that names them releases the \
                        key to anybody's; give the measurements of the build";
            return Err((format!("PCR0: expected the measurement of an image, got {}", measured.image()), help));
        }
        Ok(measured)
    }
}

/// The text of a file, or of a pipe, that is not larger than it should be.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > most) {
        let message = format!("expected at most {most} bytes, got more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `nitro-cli describe-eif` has besides is not looked at.
    #[test]
    fn what_a_build_prints_is_read_register_by_register() {
        let text = format!(
            r#"{{"EifVersion": 4, "Measurements": {{"HashAlgorithm": "Sha384 {{ ... }}", "PCR0": "{}", "PCR1": "{}", "PCR2": "{}", "PCR8": "{}"}}}}"#,
            "Ab".repeat(48),
            "01".repeat(48),
            "02".repeat(48),
            "00".repeat(48)
        );
        let read = Measurements::parse(&text).unwrap();
        let expected = [(0, 0xab), (1, 1), (2, 2), (8, 0)].map(|(number, byte)| (number, vec![byte; 48]));
        assert_eq!(read.pcrs, BTreeMap::from(expected));
        assert_eq!(read.image().to_string(), "ab".repeat(48));
    }

    #[test]
    fn measurements_that_are_none_are_refused_with_both_values() {
        let of = |pcr0: &str| format!(r#"{{"Measurements": {{"PCR0": {pcr0}}}}}"#);
        let table = [
            (String::new(), "expected JSON with measurements, got something else"),
            ("Start building the Enclave Image...\n{}".into(), "expected JSON"),
            ("{}".into(), r#"expected {"Measurements": {"PCR0": …}}, got no Measurements"#),
            (r#"{"Measurements": []}"#.into(), "got no Measurements"),
            (r#"{"Measurements": {"PCR1": null}}"#.into(), "PCR1: expected 96 hexadecimal digits, got no text"),
            (
                r#"{"Measurements": {"HashAlgorithm": "Sha384"}}"#.into(),
                "expected PCR0, the measurement of the image, got none",
            ),
            (r#"{"Measurements": {"HashAlgorithm": "Sha256"}}"#.into(), r#"expected Sha384, got "Sha256""#),
            (r#"{"Measurements": {"PCR32": "00"}}"#.into(), "expected registers PCR0 to PCR31, got PCR32"),
            (r#"{"Measurements": {"PCR00": "00"}}"#.into(), "got PCR00"),
            (r#"[{"Measurements": {}}]"#.into(), "got a list such as `nitro-cli describe-enclaves` prints"),
            (of("7"), "PCR0: expected 96 hexadecimal digits, got no text"),
            (of(r#""abcd""#), "PCR0: expected 96 hexadecimal digits (SHA-384), got 4: abcd"),
            (of(&format!("\"{}\"", "ab".repeat(32))), "(SHA-384), got 64: abab"),
            (of(&format!("\"{}xy\"", "ab".repeat(47))), "(SHA-384), got 'x' among 96 characters"),
            (of(&format!("\"{}é\"", "ab".repeat(47))), "(SHA-384), got 'é' among 95 characters"),
            (
                of(&format!("\"{}\"", "00".repeat(48))),
                &format!("expected the measurement of an image, got {}", "00".repeat(48)),
            ),
        ];
        for (text, expected) in table {
            let (problem, help) = Measurements::parse(&text).unwrap_err();
            assert!(problem.contains(expected) && !help.is_empty(), "{text}: {problem}");
        }
        let (_, help) = Measurements::parse(&of(&format!("\"{}\"", "00".repeat(48)))).unwrap_err();
        assert!(help.contains("debug mode"), "{help}");
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_refused_and_names_itself() {
        let failure = Measurements::read(Path::new("/no/such/file")).unwrap_err();
        assert!(failure.problems[0].message.starts_with("cannot read /no/such/file: "), "{failure:?}");
        let failure = Measurements::read(Path::new("/dev/zero")).unwrap_err();
        assert!(failure.problems[0].message.contains("at most 65536 bytes"), "{failure:?}");
        assert_eq!(failure.exit, Exit::Usage);
    }
}
