//! Where `persist` finds the control token: in the file that `push-config` made.
use rustix::process::geteuid;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use wire::token::Token;
use zeroize::Zeroizing;

/// The control token's file, unless `--token-file` says otherwise.
pub const DEFAULT_TOKEN_FILE: &str = "/var/lib/tmkms/control-token";

/// Read anew at every opening: the token may be made, or exchanged by another push, at any time.
#[derive(Clone, Debug)]
pub struct TokenFile(PathBuf);

/// Why there is no token. Its text ends with the remedy.
#[derive(Debug)]
pub enum TokenError {
    /// There is no such file.
    Missing(PathBuf),
    /// It cannot be read.
    Io(PathBuf, io::Error),
    /// Others may read or write it.
    Loose(PathBuf, u32),
    /// Another user's.
    Owner(PathBuf, u32),
    /// Not what `push-config` writes.
    Malformed(PathBuf),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(
                f,
                "control token {}: missing: `tmkms nitro push-config` makes it; if it was told another place, give persist the same \
                 --token-file",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "control token {}: cannot be read ({error})", path.display()),
            Self::Loose(path, mode) => write!(
                f,
                "control token {}: others may read or write it: expected mode 0600, got {mode:04o}: run `chmod 600` on it, then stop \
                 the enclave, remove the file, and push again, for others may know it",
                path.display()
            ),
            Self::Owner(path, user) => write!(
                f,
                "control token {}: expected it to be of user {} or root, got user {user}: run persist and push-config as one user",
                path.display(),
                geteuid().as_raw()
            ),
            Self::Malformed(path) => write!(
                f,
                "control token {}: not what `tmkms nitro push-config` writes: see whether --token-file names the right file",
                path.display()
            ),
        }
    }
}

impl std::error::Error for TokenError {}

/// The longest file of a token, in bytes.
const MAX_FILE_BYTES: u64 = 256;

impl TokenFile {
    /// At that place.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its place.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(&self) -> Result<Token, TokenError> {
        let path = || self.0.clone();
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => TokenError::Missing(path()),
            _ => TokenError::Io(path(), error),
        };
        let file = File::open(&self.0).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if !metadata.is_file() {
            return Err(TokenError::Malformed(path()));
        }
        if mode & 0o077 != 0 {
            return Err(TokenError::Loose(path(), mode));
        }
        if ![0, geteuid().as_raw()].contains(&metadata.uid()) {
            return Err(TokenError::Owner(path(), metadata.uid()));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(256));
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(fail)?;
        parse(&bytes).ok_or_else(|| TokenError::Malformed(path()))
    }
}

/// 32 bytes as 64 hexadecimal digits, with or without an end of the line.
fn parse(bytes: &[u8]) -> Option<Token> {
    let digits = bytes.trim_ascii_end();
    if digits.len() != 64 {
        return None;
    }
    let mut raw = Zeroizing::new([0; 32]);
    for (byte, pair) in raw.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(Token::new(&raw))
}
