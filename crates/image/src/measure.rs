//! The measurements of an image, as Nitro makes them before it boots one: AWS's user guide, "Cryptographic attestation".
use crate::{Malformed, Parts};
use serde_json::{Map, Value};
use sha2::{Digest, Sha384};

/// A PCR's bytes: SHA-384.
const PCR_BYTES: usize = 48;

/// What the names in a measurements file say besides the registers; nitro-cli prints its hasher's debug form.
const HASH_ALGORITHM: &str = "Sha384 { ... }";

/// The registers that an image decides, in lower-case hexadecimal as in a KMS key's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurements {
    /// Kernel, command line and all ramdisks.
    pub pcr0: String,
    /// Kernel, command line and boot ramdisk.
    pub pcr1: String,
    /// The other ramdisks.
    pub pcr2: String,
    /// The certificate of who signed the image, if it is signed.
    pub pcr8: Option<String>,
}

/// Measures an image that is not signed.
#[must_use]
pub fn measure(parts: &Parts) -> Measurements {
    let Parts { kernel, cmdline, ramdisks } = parts;
    let (boot, application) = ramdisks.split_at(ramdisks.len().min(1));
    let of_boot = || [kernel.as_slice(), cmdline.as_bytes()].into_iter().chain(boot.iter().map(Vec::as_slice));
    let of_application = || application.iter().map(Vec::as_slice);
    Measurements {
        pcr0: register(of_boot().chain(of_application())),
        pcr1: register(of_boot()),
        pcr2: register(of_application()),
        pcr8: None,
    }
}

/// A register that was extended once, from zero, by the digest of these bytes.
pub(crate) fn register<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let digest = pieces.fold(Sha384::new(), Sha384::chain_update).finalize();
    let register = Sha384::new().chain_update([0; PCR_BYTES]).chain_update(digest).finalize();
    register.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Measurements {
    /// The registers by their names, in order.
    pub fn registers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let always = [("PCR0", self.pcr0.as_str()), ("PCR1", &self.pcr1), ("PCR2", &self.pcr2)];
        always.into_iter().chain(self.pcr8.as_deref().map(|pcr8| ("PCR8", pcr8)))
    }

    /// What `nitro-cli build-enclave` prints and people keep.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut names = Map::new();
        names.insert("HashAlgorithm".to_owned(), HASH_ALGORITHM.into());
        names.extend(self.registers().map(|(name, value)| (name.to_owned(), Value::from(value))));
        let file = Value::from(Map::from_iter([("Measurements".to_owned(), Value::from(names))]));
        format!("{file:#}\n")
    }

    /// Reads what `nitro-cli build-enclave` prints, or [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_json(text: &str) -> Result<Self, Malformed> {
        let file: Value =
            serde_json::from_str(text).map_err(|error| Malformed(format!("measurements: not JSON: {error}")))?;
        let pcr = |name: &str| match &file["Measurements"][name] {
            Value::Null => Ok(None),
            Value::String(value) if is_register(value) => Ok(Some(value.to_ascii_lowercase())),
            other => Err(Malformed(format!("measurements: {name}: expected 96 hexadecimal digits, got {other}"))),
        };
        let needed = |name: &str| {
            pcr(name)?.ok_or_else(|| {
                Malformed(format!("measurements: expected {{\"Measurements\": {{\"{name}\": …}}}}, got none"))
            })
        };
        Ok(Self { pcr0: needed("PCR0")?, pcr1: needed("PCR1")?, pcr2: needed("PCR2")?, pcr8: pcr("PCR8")? })
    }
}

fn is_register(value: &str) -> bool {
    value.len() == 2 * PCR_BYTES && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hashlib: `sha384(bytes(48) + sha384(data).digest())` over the pieces of each register.
    #[test]
    fn registers_are_what_an_independent_program_computes() {
        let parts = Parts {
            kernel: b"kernel".to_vec(),
            cmdline: "console=ttyS0".to_owned(),
            ramdisks: vec![b"boot".to_vec(), b"app".to_vec(), b"more".to_vec()],
        };
        let measured = measure(&parts);
        assert_eq!(
            measured.pcr0,
            "300345309f684699a6ec3bb51e9f65113156fd4207e62d9fe2c0f819549b0492b69478e507a4d1cdf1c3dc8e0cece9c4"
        );
        assert_eq!(
            measured.pcr1,
            "478dea37c4cbf7a807c622e20cd75a7fd0d1777b28707720faf3a8ab2b12c9d724d304ac3875a53b4e7f463669f7507b"
        );
        assert_eq!(
            measured.pcr2,
            "6d65187a0bbd8542e4f8994cc2fcf0f803eb0490af3618a38f38424f9a23659940e21c2ec0ded2e119d03409718ea03b"
        );
        assert_eq!(measured.pcr8, None);
    }

    #[test]
    fn no_application_ramdisk_measures_as_nothing() {
        let parts = Parts { kernel: vec![], cmdline: String::new(), ramdisks: vec![] };
        let measured = measure(&parts);
        assert!(measured.pcr0 == measured.pcr1 && measured.pcr1 == measured.pcr2);
    }

    #[test]
    fn a_measurements_file_is_read_as_it_was_written() {
        let parts = Parts { kernel: vec![1], cmdline: String::new(), ramdisks: vec![vec![2], vec![3]] };
        let mut measured = measure(&parts);
        assert_eq!(Measurements::from_json(&measured.to_json()), Ok(measured.clone()));
        measured.pcr8 = Some(measured.pcr2.clone());
        assert_eq!(Measurements::from_json(&measured.to_json()), Ok(measured));
    }

    #[test]
    fn a_measurements_file_that_is_none_is_refused_by_name() {
        for (text, about) in [
            ("", "not JSON"),
            ("{}", "PCR0"),
            (r#"{"Measurements": {"PCR0": "00"}}"#, "PCR0: expected 96"),
            (r#"{"Measurements": {"PCR0": 7}}"#, "PCR0: expected 96"),
        ] {
            let error = Measurements::from_json(text).unwrap_err().to_string();
            assert!(error.contains(about), "{error}");
        }
    }
}
