//! What can be wrong with a key file, each with its remedy. No byte of a key is ever in these texts.
use super::{Address, Algorithm, KeyFormat, MAX_KEY_FILE_BYTES, PublicKey};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with which key file.
#[derive(Debug)]
pub struct KeyFileError {
    path: PathBuf,
    problem: Problem,
}

impl KeyFileError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key file {}: {}", self.path.display(), self.problem)?;
        match &self.problem {
            Problem::Mode { .. } => write!(f, "; run `chmod 600 {}`", self.path.display()),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A form that contents look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Base64 of a secret.
    Base64,
    /// A JSON object.
    Json,
    /// 32 or 64 bytes that are no text.
    Raw,
    /// A secret in hexadecimal, which no setting reads.
    Hex,
    /// A PEM block, which no setting reads.
    Pem,
}

impl Shape {
    /// The setting that reads it.
    #[must_use]
    pub const fn format(self) -> Option<KeyFormat> {
        match self {
            Self::Base64 => Some(KeyFormat::Base64),
            Self::Json => Some(KeyFormat::Json),
            Self::Raw => Some(KeyFormat::Raw),
            Self::Hex | Self::Pem => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64 => "base64",
            Self::Json => "JSON",
            Self::Raw => "raw bytes",
            Self::Hex => "hexadecimal",
            Self::Pem => "PEM",
        })
    }
}

/// What is wrong with a key file or its contents.
#[derive(Debug)]
pub enum Problem {
    /// There is no such file.
    Missing,
    /// It is a folder, a device, a pipe or a socket.
    NotAFile {
        /// Which of them.
        kind: &'static str,
    },
    /// Others than its owner may use it.
    Mode {
        /// The permission bits, of 0o7777.
        mode: u32,
    },
    /// It is longer than any key file.
    TooLong,
    /// It holds nothing.
    Empty,
    /// It is written in another way than the setting says.
    OtherFormat {
        /// What the setting says.
        format: KeyFormat,
        /// What it looks like.
        shape: Shape,
    },
    /// It is not base64.
    Base64,
    /// The secret has a length that none of the algorithm has.
    Length {
        /// The algorithm.
        algorithm: Algorithm,
        /// Its length in bytes.
        got: usize,
    },
    /// 32 bytes that are zero, or not below the order of secp256k1.
    NotAScalar,
    /// The second half of 64 bytes is not the public key of the first.
    PublicHalf {
        /// What the public key is.
        derived: PublicKey,
    },
    /// 96 bytes: tmkms's form of an ed25519 key that came out of a YubiHSM.
    ExpandedKey,
    /// It is not JSON.
    JsonSyntax {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// It is JSON, but not that of a key file.
    JsonShape {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// A backslash in the JSON.
    JsonEscape,
    /// A field is missing.
    JsonField {
        /// Its name.
        field: &'static str,
    },
    /// `priv_key.value` is too short or too long.
    JsonLength {
        /// The algorithm that the file names.
        algorithm: Algorithm,
        /// How many characters of base64 it takes.
        expected_chars: usize,
        /// How many there are.
        got_chars: usize,
    },
    /// A key type of CometBFT that this version does not sign with.
    UnsupportedType {
        /// CometBFT's name of it.
        name: &'static str,
    },
    /// A key type that nobody knows.
    UnknownType {
        /// Its name, where it can be shown.
        name: Option<Box<str>>,
    },
    /// The file is for another algorithm than the setting says.
    OtherAlgorithm {
        /// What the setting says.
        expected: Algorithm,
        /// What the file says.
        found: Algorithm,
    },
    /// The stored public key is not that of the secret.
    PublicKey {
        /// What the file says, where it is a public key of that algorithm.
        stored: Option<PublicKey>,
        /// What the public key is.
        derived: PublicKey,
    },
    /// The stored address is not that of the key.
    Address {
        /// What the file says, where it is an address.
        stored: Option<Box<str>>,
        /// What the address is.
        derived: Address,
    },
    /// A new key file would replace something that exists.
    Exists,
    /// The folder for a new key file does not exist.
    NoFolder,
    /// The operating system gave no random bytes.
    NoRandomness(getrandom::Error),
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// Its answer.
        error: io::Error,
    },
}

impl Problem {
    /// The problem of that file.
    #[must_use]
    pub fn at(self, path: &Path) -> KeyFileError {
        KeyFileError { path: path.to_owned(), problem: self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "it does not exist; correct the path, make a key with `tmkms softsign keygen`, or bring one with `tmkms softsign import`",
            ),
            Self::NotAFile { kind } => write!(f, "expected a file, got {kind}; correct the path"),
            Self::Mode { mode } => write!(f, "expected mode 0600, got {mode:04o}: others than its owner may use it"),
            Self::TooLong => write!(f, "expected at most {MAX_KEY_FILE_BYTES} bytes, got more: this is no key file; correct the path"),
            Self::Empty => f.write_str("it is empty; bring the key back from a copy: what was in it cannot be made again"),
            Self::OtherFormat { format, shape } => other_format(f, *format, *shape),
            Self::Base64 => f.write_str("it is not base64; expected the base64 of a secret and nothing else, as tmkms writes it"),
            Self::Length { algorithm, got } => wrong_length(f, *algorithm, *got),
            Self::NotAScalar => f.write_str(
                "the 32 bytes are no secp256k1 secret: expected a number from 1 to the order of the curve; if it is an ed25519 key, set `algorithm = \"ed25519\"`",
            ),
            Self::PublicHalf { derived } => write!(
                f,
                "the second half of the 64 bytes is not the public key of the first half, expected {derived}: the file is damaged, \
                 or it is an expanded key as tmkms takes it from a YubiHSM, which is not supported; bring the 32-byte seed"
            ),
            Self::ExpandedKey => f.write_str(
                "expected 32 or 64 bytes, got 96: an expanded key as tmkms takes it from a YubiHSM, which is not supported; bring the 32-byte seed",
            ),
            Self::JsonSyntax { line, column } => write!(
                f,
                "line {line}, column {column}: it is not JSON; expected a priv_validator_key.json with address, pub_key and priv_key"
            ),
            Self::JsonShape { line, column } => write!(
                f,
                "line {line}, column {column}: it is not a priv_validator_key.json; expected address, pub_key and priv_key, the latter two with type and value"
            ),
            Self::JsonEscape => f.write_str("it has a backslash; base64, hexadecimal and type names need none: write them plainly"),
            Self::JsonField { field } => write!(
                f,
                "the field \"{field}\" is missing: expected a priv_validator_key.json, which has address, pub_key and priv_key (a node_key.json is not one)"
            ),
            Self::JsonLength { algorithm, expected_chars, got_chars } => write!(
                f,
                "the private key is not one of {algorithm}: expected {expected_chars} characters of base64 in priv_key.value, got {got_chars}"
            ),
            Self::UnsupportedType { name } => {
                write!(f, "the key type {name} is not supported yet: expected ed25519 or secp256k1")
            }
            Self::UnknownType { name: Some(name) } => write!(
                f,
                "unknown key type: expected tendermint/PrivKeyEd25519 or tendermint/PrivKeySecp256k1, got {name}"
            ),
            Self::UnknownType { name: None } => f.write_str(
                "unknown key type: expected tendermint/PrivKeyEd25519 or tendermint/PrivKeySecp256k1 in priv_key.type",
            ),
            Self::OtherAlgorithm { expected, found } => write!(
                f,
                "the key is of another algorithm: expected {expected}, got {found}; set `algorithm = \"{found}\"`, or correct the path"
            ),
            Self::PublicKey { stored: Some(stored), derived } => write!(
                f,
                "pub_key is not the public key of priv_key: expected {derived}, got {stored}; the file mixes two keys, take an undamaged copy"
            ),
            Self::PublicKey { stored: None, derived } => write!(
                f,
                "pub_key is not the public key of priv_key: expected {derived}, got something else; take an undamaged copy"
            ),
            Self::Address { stored: Some(stored), derived } => {
                write!(f, "the address is not that of the key: expected {derived}, got {stored}; take an undamaged copy")
            }
            Self::Address { stored: None, derived } => {
                write!(f, "the address is not that of the key: expected {derived}, got something else; take an undamaged copy")
            }
            Self::Exists => f.write_str("it exists, and a key is never overwritten; choose another path, or move it away yourself"),
            Self::NoFolder => f.write_str("its folder does not exist; make it with mode 0700"),
            Self::NoRandomness(error) => write!(f, "the operating system gave no random bytes: {error}"),
            Self::Io { doing, error } => write!(f, "cannot {doing}: {error}"),
        }
    }
}

fn other_format(f: &mut fmt::Formatter<'_>, format: KeyFormat, shape: Shape) -> fmt::Result {
    write!(f, "it looks like {shape}, and is read with `key_format = \"{format}\"`; ")?;
    match shape.format() {
        Some(right) => write!(f, "set `key_format = \"{right}\"`"),
        None => f.write_str("convert it to base64"),
    }
}

fn wrong_length(f: &mut fmt::Formatter<'_>, algorithm: Algorithm, got: usize) -> fmt::Result {
    match algorithm {
        Algorithm::Ed25519 => write!(f, "expected 32 or 64 bytes of an ed25519 secret, got {got}"),
        Algorithm::Secp256k1 => write!(f, "expected 32 bytes of a secp256k1 secret, got {got}"),
    }?;
    f.write_str("; take an undamaged copy, or correct the path")
}
