//! The CometBFT lines that are tested, and where their binaries are.
use anyhow::{Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// A line of CometBFT releases, by the name of its folder in `.cache/nodes`. The version that stands for it is pinned in `e2e/go/lines.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// v0.34.35, still named tendermint.
    V034,
    /// v0.37.18.
    V037,
    /// v0.38.26: the first with vote extensions.
    V038,
    /// v0.39.4.
    V039,
    /// v0.40.0.
    V040,
    /// v1.0.1.
    V10,
}

impl Line {
    /// Every line, oldest first.
    pub const ALL: [Self; 6] = [Self::V034, Self::V037, Self::V038, Self::V039, Self::V040, Self::V10];
    /// The lines with vote extensions.
    pub const WITH_EXTENSIONS: [Self; 4] = [Self::V038, Self::V039, Self::V040, Self::V10];

    /// The folder's name, which is also what `e2e/go/build.sh` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V034 => "v0.34",
            Self::V037 => "v0.37",
            Self::V038 => "v0.38",
            Self::V039 => "v0.39",
            Self::V040 => "v0.40",
            Self::V10 => "v1.0",
        }
    }

    /// The release that stands for the line.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V034 => "v0.34.35",
            Self::V037 => "v0.37.18",
            Self::V038 => "v0.38.26",
            Self::V039 => "v0.39.4",
            Self::V040 => "v0.40.0",
            Self::V10 => "v1.0.1",
        }
    }

    /// The line with that [`Line::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|line| line.name() == name)
    }

    /// `.cache/nodes/LINE`.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        nodes_folder().join(self.name())
    }

    /// The stock `cometbft` of this line.
    ///
    /// # Errors
    /// When it has not been built, with how to build it.
    pub fn cometbft(self) -> Result<PathBuf> {
        self.binary("cometbft")
    }

    /// The Go harness of this line.
    ///
    /// # Errors
    /// When it has not been built, with how to build it.
    pub fn harness(self) -> Result<PathBuf> {
        self.binary("harness")
    }

    fn binary(self, name: &str) -> Result<PathBuf> {
        let path = self.folder().join(name);
        if !path.is_file() {
            bail!("{} is missing: end-to-end tests need real nodes; run `cargo xtask nodes` first", path.display());
        }
        Ok(path)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

/// What carries privval between node and signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A Unix socket, unencrypted.
    Unix,
    /// TCP with SecretConnection.
    Tcp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Unix, Self::Tcp];
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
        })
    }
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Where node binaries are kept: `.cache/nodes`, or `E2E_NODES`.
#[must_use]
pub fn nodes_folder() -> PathBuf {
    std::env::var_os("E2E_NODES").map_or_else(|| repository().join(".cache/nodes"), PathBuf::from)
}
