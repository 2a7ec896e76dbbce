//! What goes wrong with images, and who is to blame.
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// [`Error`]'s result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image could not be made, read or compared.
#[derive(Debug)]
pub enum Error {
    /// A file or a program of this machine.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What the caller gave cannot be put into an image; in words.
    Input(String),
    /// These bytes are no image, ramdisk or signature.
    Malformed(Malformed),
    /// The tool that writes images failed; what it said.
    Tool(String),
    /// The tool wrote something else than it was given or than it said.
    Differs(String),
}

/// Bytes that are not what they are said to be; in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl Error {
    /// For `map_err`: an error of that file.
    pub(crate) fn of(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Input(what) => f.write_str(what),
            Self::Malformed(what) => what.fmt(f),
            Self::Tool(what) => write!(f, "the tool that writes images failed: {what}"),
            Self::Differs(what) => write!(f, "the image that was written is not the one that was asked for: {what}"),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}
