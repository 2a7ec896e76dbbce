//! Reads the configuration's file, and finds files that stand where tmkms, but not this signer, would look.
use super::{Config, Fault, Faults, FilePath, Identity, Place, parse};
use std::fmt;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use zeroize::{Zeroize, Zeroizing};

/// The file's name when nothing else is said; in the working directory.
pub const FILE_NAME: &str = "tmkms.toml";

/// Names the file when no option does.
pub const ENVIRONMENT_VARIABLE: &str = "TMKMS_CONFIG_FILE";

/// The largest configuration, in bytes: room for thousands of chains.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said, or what is wrong with its bytes.
        reason: String,
        /// Its kind.
        kind: ErrorKind,
    },
    /// It was read and has faults.
    Faulty(Faults),
    /// Files stand relative to the working directory and not relative to the configuration.
    Misplaced(Vec<Misplaced>),
}

/// A file that tmkms would find, because it looks from the working directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The setting, with its section.
    pub setting: &'static str,
    /// Where the file is expected.
    pub expected: PathBuf,
    /// Where there is one.
    pub found: PathBuf,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: expected {}, which does not exist, but there is {} relative to the working directory",
            self.setting,
            self.expected.display(),
            self.found.display()
        )
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, reason, .. } => {
                write!(f, "cannot read the configuration {}: {reason}", path.display())
            }
            Self::Faulty(faults) => faults.fmt(f),
            Self::Misplaced(files) => {
                let lines: Vec<_> = files.iter().map(Misplaced::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads, parses and checks the file.
///
/// # Errors
/// The file cannot be read, is longer than [`MAX_CONFIG_BYTES`], has faults, or names files that exist only
/// relative to the working directory.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    load_with_text(path).map(|(config, _)| config)
}

/// The same with the text itself, which an enclave is sent; it may hold credentials.
///
/// # Errors
/// As [`load`].
pub fn load_with_text(path: &Path) -> Result<(Config, Zeroizing<String>), LoadError> {
    let unreadable = |reason: String, kind| LoadError::Unreadable { path: path.to_owned(), reason, kind };
    let failed = |error: std::io::Error| unreadable(error.to_string(), error.kind());
    let file = std::fs::File::open(path).map_err(failed)?;
    // The place is reserved at once: a buffer that grows leaves copies behind.
    let length = file.metadata().map_or(0, |metadata| metadata.len().min(MAX_CONFIG_BYTES));
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 64));
    let mode = file.metadata().map(|metadata| metadata.permissions().mode());
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(unreadable(format!("expected at most {MAX_CONFIG_BYTES} bytes, got more"), ErrorKind::InvalidData));
    }
    let not_text = |error: FromUtf8Error| {
        // Bytes that are no text may hold credentials all the same.
        error.into_bytes().zeroize();
        unreadable("expected text in UTF-8, got other bytes".to_owned(), ErrorKind::InvalidData)
    };
    let text = Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).map_err(not_text)?);
    let mut config = parse(&text, path).map_err(LoadError::Faulty)?;
    config.warnings.extend(config.chains.iter().filter_map(|chain| second_state(chain.state.file()?)));
    if !config.kms_keys().is_empty() {
        config.warnings.extend(mode.ok().and_then(readable_by_others));
    }
    let misplaced = misplaced(&config);
    if misplaced.is_empty() { Ok((config, text)) } else { Err(LoadError::Misplaced(misplaced)) }
}

/// How the warning begins of a file with a ciphertext that others may open.
pub(crate) const OPEN_FILE: &str = "the file holds the ciphertext of a key, and others may open it";

/// A ciphertext is half of what a thief needs; the other half is the right to ask KMS.
fn readable_by_others(mode: u32) -> Option<Fault> {
    (mode & 0o077 != 0).then(|| Fault {
        place: Place { line: 1, column: 1 },
        message: format!("{OPEN_FILE}: expected mode 0600, got {:04o}", mode & 0o7777),
        help: "`chmod 600` it: who has the ciphertext needs only a right at KMS".to_owned(),
    })
}

/// A state beside the configuration is used, but there is another one where tmkms would look.
fn second_state(file: &FilePath) -> Option<Fault> {
    let (used, other) = (file.resolved.canonicalize().ok()?, file.written.canonicalize().ok()?);
    (used != other).then(|| Fault {
        place: Place { line: 1, column: 1 },
        message: format!(
            "the state is {}, but there is one relative to the working directory, too: {}",
            used.display(),
            other.display()
        ),
        help: "tmkms would use the second; be sure that it is not the newer one, and move it away".to_owned(),
    })
}

/// tmkms reads relative paths from the working directory. A file that is there and not here is most likely the one
/// that is meant; to start without it could mean to sign with an empty record.
fn misplaced(config: &Config) -> Vec<Misplaced> {
    let mut found: Vec<Misplaced> = Vec::new();
    let mut look = |setting: &'static str, file: &FilePath| {
        let is_elsewhere = file.written.is_relative() && !file.resolved.exists() && file.written.exists();
        if is_elsewhere {
            let here = std::env::current_dir().unwrap_or_default();
            let file = Misplaced { setting, expected: file.resolved.clone(), found: here.join(&file.written) };
            // Several sections may name one file.
            if !found.contains(&file) {
                found.push(file);
            }
        }
    };
    // An enclave's files are its image's.
    for chain in config.chains.iter().filter(|chain| !chain.is_for_enclave()) {
        chain.state.file().into_iter().for_each(|file| look("`state_file` in [[chain]]", file));
        chain.key.file().into_iter().for_each(|key| look("`path` in [[providers.softsign]]", &key.file));
        chain.account_keys.iter().for_each(|key| look("`path` in [[providers.softsign]]", &key.file));
        for validator in &chain.validators {
            let identity = validator.identity.iter().filter_map(Identity::file);
            identity.for_each(|key| look("`secret_key` in [[validator]]", key));
        }
    }
    found
}
