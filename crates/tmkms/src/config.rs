//! The configuration: the text of a `tmkms.toml` in, a checked [`Config`] or all its faults out.
//!
//! The file is tmkms 0.15's (docs/configuration.md lists each key and its origin). It is read with TOML's own
//! tables and a schema of ours instead of serde, which stops at the first mistake: an operator sees every mistake
//! at once, each with file, line, column and remedy. What comes out has no unchecked text where a type exists.
mod address;
mod check;
mod describe;
mod enclave;
mod fault;
mod fields;
mod kms_key;
mod load;
mod nearest;
mod nitro;
mod node;
mod outside;
mod raw;
mod schema;
mod syntax;
mod vsock;

pub use fault::{Fault, Faults, Place};
#[cfg(feature = "host")]
pub(crate) use load::OPEN_FILE;
pub use load::{ENVIRONMENT_VARIABLE, FILE_NAME, LoadError, MAX_CONFIG_BYTES, load, load_with_text};
#[cfg(feature = "host")]
pub(crate) use nearest::nearest;
pub use nitro::{Identity, Key, KmsKey, MAX_CIPHERTEXT_BYTES, NitroSettings, State};

use guard::{ChainId, Height};
use signer::keys::{Algorithm, KeyFormat};
use signer::{Endpoint, SignExtensions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// A configuration without faults.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The chains that have a key, in the file's order.
    pub chains: Vec<Chain>,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<MetricsSettings>,
    /// How logs are written.
    pub log: LogSettings,
    /// What an enclave is told besides its chains.
    pub nitro: NitroSettings,
    /// What works but is likely not meant, in the file's order.
    pub warnings: Vec<Fault>,
}

/// A chain and all that signs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The chain id, as in the node's genesis file.
    pub id: ChainId,
    /// How the chain shows public keys.
    pub key_format: PublicKeyFormat,
    /// Whether vote extensions are signed.
    pub extensions: SignExtensions,
    /// Where the signing record lives.
    pub state: State,
    /// The consensus key.
    pub key: Key,
    /// Account keys: shown, never used.
    pub account_keys: Vec<KeyFile>,
    /// Nothing is signed above this height.
    pub max_height: Option<Height>,
    /// The nodes that may ask for signatures; none is allowed, for a chain that is being set up.
    pub validators: Vec<Validator>,
}

/// One node to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The key that identifies this signer to the node: there where a secret connection is spoken, and only there.
    pub identity: Option<Identity>,
    /// Whether to connect again after the connection ended.
    pub reconnect: bool,
    /// How long to wait for the node, at connecting and between its messages; at most [`MAX_TIMEOUT`].
    pub timeout: Duration,
}

impl Validator {
    /// How long a node may be silent: never less than [`MIN_SILENCE`].
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.timeout.max(MIN_SILENCE)
    }
}

/// The shortest silence that ends a session: three of a node's pings, which come every 3.33 s (CometBFT,
/// privval/signer_listener_endpoint.go: two thirds of its 5 s).
pub const MIN_SILENCE: Duration = Duration::from_secs(10);
/// The longest `timeout`. A node that went away without a word is dialled again only after it.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(120);

/// A path as it was written, and what it means: relative paths are relative to the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// As it was written.
    pub written: PathBuf,
    /// Joined to the configuration file's folder.
    pub resolved: PathBuf,
}

impl FilePath {
    pub(crate) fn new(written: &Path, folder: &Path) -> Self {
        Self { written: written.to_owned(), resolved: folder.join(written) }
    }
}

/// A file with a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The file.
    pub file: FilePath,
    /// How it is written.
    pub format: KeyFormat,
    /// The algorithm that the setting names; forms that don't name theirs are ed25519 without it.
    pub algorithm: Option<Algorithm>,
}

/// How a chain shows public keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKeyFormat {
    /// Bech32 with the chain's prefixes.
    Bech32 {
        /// For account keys, such as `cosmospub`.
        account_prefix: String,
        /// For consensus keys, such as `cosmosvalconspub`.
        consensus_prefix: String,
    },
    /// The Cosmos SDK's JSON.
    CosmosJson,
    /// Hexadecimal.
    Hex,
}

/// How the signer is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where metrics, health and status are served.
    pub listen: SocketAddr,
    /// How long votes may stay away before `/healthz` fails.
    pub unhealthy_after: Duration,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least severe level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what stops signing.
    Error,
    /// Refusals and troubles too.
    Warn,
    /// Connections too.
    #[default]
    Info,
    /// Every signature too.
    Debug,
}

/// Parses and checks a configuration. Reads no file: `path` only names it, and its folder is what relative paths
/// are relative to.
///
/// # Errors
/// Every fault of the text, sorted by place. If it is not TOML at all, only that, up to where it stops being TOML.
pub fn parse(text: &str, path: &Path) -> Result<Config, Faults> {
    let mut notes = fault::Collector::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax::note(errors, text, &mut notes);
        // The file is not read further: what could be recovered of it would only give misleading faults.
        let list = notes.finish(text, path)?;
        return Err(Faults { path: path.to_owned(), list });
    }
    let raw = raw::read(table.get_ref(), folder, &mut notes);
    let chains = check::chains(&raw, &mut notes);
    let warnings = notes.finish(text, path)?;
    Ok(Config { path: path.to_owned(), chains, metrics: raw.metrics, log: raw.log, nitro: raw.nitro, warnings })
}
