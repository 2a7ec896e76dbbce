//! Why the simulation cannot be set up.
use std::fmt;
use std::path::{Path, PathBuf};

/// The simulated PKI cannot be made, read or written.
#[derive(Debug)]
pub enum SimulationError {
    /// A file of the root.
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file of the root's certificate holds none.
    Certificate {
        /// Which one.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A certificate or key cannot be made or read.
    Pki(rcgen::Error),
    /// A key cannot be made or used.
    Key,
}

impl SimulationError {
    pub(super) fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }
}

impl fmt::Display for SimulationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "the simulated module's root {}: {error}", path.display()),
            Self::Certificate { path, reason } => {
                write!(f, "the simulated module's root {}: expected a certificate in PEM: {reason}", path.display())
            }
            Self::Pki(error) => write!(f, "the simulated module's certificates: {error}"),
            Self::Key => write!(f, "the simulated module's key cannot be made or used"),
        }
    }
}

impl std::error::Error for SimulationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            Self::Pki(error) => Some(error),
            _ => None,
        }
    }
}

impl From<rcgen::Error> for SimulationError {
    fn from(error: rcgen::Error) -> Self {
        Self::Pki(error)
    }
}
