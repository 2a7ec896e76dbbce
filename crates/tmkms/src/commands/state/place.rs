//! Which state a command is about: a chain's of the configuration, or a file that `--file` names.
use crate::cli::ConfigOption;
use crate::config::{Chain, Config, Key};
use crate::failure::{Exit, Failure};
use crate::state::{self, shell_word};
use base64ct::{Base64, Encoding};
use clap::Args;
use guard::{ChainId, Identity};
use signer::keys::PublicKey;
use std::path::{Path, PathBuf};
use store::file::{inspect, slot::Owner};
use store::{Problem, StateError};

/// A file that no configuration of this host names.
#[derive(Debug, Args)]
pub(super) struct ByPath {
    /// This file, and no configuration: what `tmkms nitro persist` keeps for an enclave
    #[arg(long = "file", value_name = "PATH")]
    place: Option<PathBuf>,
    /// With --file: the key; without it the one in the file, or else the one that signs first
    #[arg(long, value_name = "BASE64", requires = "place", value_parser = public_key)]
    public_key: Option<PublicKey>,
}

impl ByPath {
    /// The file, if one is named instead of a configuration.
    pub(super) fn path(&self, config: &ConfigOption) -> Result<Option<&Path>, Failure> {
        only(self.place.as_deref(), config)
    }

    /// The state in that file, by what the command line says of it and else by what stands in it.
    pub(super) fn place(&self, path: &Path, named: Option<&str>) -> Result<Place, Failure> {
        if path.is_dir() {
            let message = format!("{} is a folder", path.display());
            let shown = shell_word(&path.display().to_string());
            return Err(Failure::new(
                Exit::Usage,
                message,
                format!("name one file; `tmkms state show --file {shown}` lists them"),
            ));
        }
        let seen = inspect(path).ok();
        let mut found = seen.iter().flat_map(|seen| seen.slots.iter().flatten()).map(|held| &held.owner);
        let found = found.clone().find(|owner| !owner.is_unbound()).or_else(|| found.next());
        let chain_id = match (named, found) {
            (Some(named), _) => chain_id(named)?,
            (None, Some(found)) => found.chain_id.clone(),
            (None, None) => return Err(whose(path)),
        };
        Ok(self.of(path, &chain_id, found.filter(|found| found.chain_id == chain_id)))
    }

    /// A state that is to be made.
    pub(super) fn new_place(&self, path: &Path, named: Option<&str>) -> Result<Place, Failure> {
        let Some(named) = named else { return Err(whose(path)) };
        Ok(self.of(path, &chain_id(named)?, None))
    }

    fn of(&self, path: &Path, chain_id: &ChainId, found: Option<&Owner>) -> Place {
        let owner = match (&self.public_key, found) {
            (Some(key), _) => owner_of(chain_id, key),
            (None, Some(found)) => found.clone(),
            (None, None) => Owner::unbound(chain_id.clone()),
        };
        let key = self.public_key.or_else(|| public_key(&owner.pub_key).ok());
        let mut on = format!("--file {} {}", shell_word(&path.display().to_string()), chain_option(chain_id));
        if let Some(key) = &self.public_key {
            on.push_str(&format!(" --public-key {}", key.base64()));
        }
        Place { path: path.to_owned(), owner, key, on, is_by_path: true }
    }
}

/// One state, and how it is named on a command line.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Whose it has to be; of no key if nothing says which.
    pub(super) owner: Owner,
    pub(super) key: Option<PublicKey>,
    /// The options that name it.
    pub(super) on: String,
    pub(super) is_by_path: bool,
}

impl Place {
    pub(super) fn of_chain(chain: &Chain, config: &Path) -> Result<Self, Failure> {
        let key = *crate::keys::of_chain(chain)?.public_key();
        let owner = owner_of(&chain.id, &key);
        let on = state::options(chain, config);
        Ok(Self { path: chain.state_path().to_owned(), owner, key: Some(key), on, is_by_path: false })
    }

    pub(super) const fn chain_id(&self) -> &ChainId {
        &self.owner.chain_id
    }

    /// The state's trouble, with the commands as they have to be typed.
    pub(super) fn failure(&self, error: &StateError) -> Failure {
        let path = error.path.display();
        let (what, help) = match &error.problem {
            _ if !self.is_by_path => return state::failure_on(self.chain_id(), &self.on, error),
            Problem::Exists => (
                format!("{path} exists already, and is never overwritten"),
                format!("use it as it is, or raise it with `tmkms state repair {} --height H`", self.on),
            ),
            Problem::AnotherChain { expected, found } => (
                format!("{path} is the state of another chain: expected {}, got {}", expected.chain_id, found.chain_id),
                "correct --file or --chain-id".to_owned(),
            ),
            Problem::AnotherKey { expected, found } if !found.is_unbound() => (
                format!("{path} is the state of another key: expected {}, got {}", expected.pub_key, found.pub_key),
                "correct --file or --public-key".to_owned(),
            ),
            _ => return state::failure_on(self.chain_id(), &self.on, error),
        };
        Failure::new(Exit::State, format!("chain {}: {what}", self.chain_id()), help)
    }
}

/// The trouble of a file of which only the path is known, and the chain if it stands there.
pub(super) fn failure_at(path: &Path, chain_id: Option<&ChainId>, error: &StateError) -> Failure {
    let file = format!("--file {}", shell_word(&path.display().to_string()));
    if let Some(chain_id) = chain_id {
        return state::failure_on(chain_id, &format!("{file} {}", chain_option(chain_id)), error);
    }
    let on = format!("{file} --chain-id ID");
    let (what, help) = match &error.problem {
        Problem::Missing => (
            "missing".to_owned(),
            format!(
                "correct the path; if this key has signed before, bring its state with `tmkms state import {on} --from filepv FILE`, or \
                 run `tmkms state init {on} --height H` with H at or above the chain's height; only if it never has, give \
                 --new-validator in the place of --height"
            ),
        ),
        Problem::Foreign { format: None } => (
            "not a state file of this program".to_owned(),
            format!(
                "correct the path; if this was a key's state, move it away and run `tmkms state init {on} --height H` with H at or above the chain's height"
            ),
        ),
        Problem::Foreign { format: Some(format) } => (
            format!("not a state file of this program, but {format}"),
            format!(
                "run `tmkms state import --file NEW --chain-id ID --from {} {}`",
                format.name(),
                shell_word(&path.display().to_string())
            ),
        ),
        Problem::Empty | Problem::WrongSize { .. } | Problem::BothSlotsDamaged { .. } => {
            (error.problem.to_string(), format!("tmkms state repair {on} --height H"))
        }
        problem => (problem.to_string(), String::new()),
    };
    Failure::new(Exit::State, format!("state file {}: {what}", path.display()), help)
}

/// A path, where the configuration was not named too. The environment's configuration is no contradiction.
pub(super) fn only<'a>(path: Option<&'a Path>, config: &ConfigOption) -> Result<Option<&'a Path>, Failure> {
    let named = config.path();
    let is_given = named != Path::new("tmkms.toml")
        && std::env::var_os("TMKMS_CONFIG_FILE").is_none_or(|default| Path::new(&default) != named);
    if path.is_some() && is_given {
        let message = "--file and --config exclude each other: a state is named by its path, or by a configuration";
        return Err(Failure::new(Exit::Usage, message, "leave one of them out"));
    }
    Ok(path)
}

/// Loads a host's configuration. Of an enclave's, says the command for the parent: `with` are its further words.
pub(super) fn load(option: &ConfigOption, command: &str, with: &str, named: Option<&str>) -> Result<Config, Failure> {
    let config = option.load()?;
    if !config.is_for_enclave() {
        return Ok(config);
    }
    let chains = config.chains.iter().filter(|chain| named.is_none_or(|named| chain.id.as_str() == named));
    let commands: Vec<_> = chains.map(|chain| on_parent(chain, command, with)).collect();
    let message = format!("{} is for an enclave: keys and records are not this host's", option.path().display());
    let help = if commands.is_empty() {
        format!(
            "--chain-id names no chain of it; on the parent, `tmkms state {command} --file PATH …` takes a file of `tmkms nitro persist`"
        )
    } else {
        format!("on the parent, with PATH the chain's file of `tmkms nitro persist -s PATH`: {}", commands.join("; "))
    };
    Err(Failure::new(Exit::Configuration, message, help))
}

fn on_parent(chain: &Chain, command: &str, with: &str) -> String {
    if command == "show" {
        return format!("`tmkms state show --file PATH{with}` ({})", chain.id);
    }
    let mut text = format!("`tmkms state {command} --file PATH {}", chain_option(&chain.id));
    let pinned = match &chain.key {
        Key::Kms(key) => key.public_key,
        Key::File(_) => None,
    };
    if let Some(key) = pinned {
        text.push_str(&format!(" --public-key {}", key.base64()));
    }
    format!("{text}{with}`")
}

fn owner_of(chain_id: &ChainId, key: &PublicKey) -> Owner {
    Owner::of(&Identity { chain_id: chain_id.clone(), public_key: key.as_bytes().into() })
}

fn chain_option(chain_id: &ChainId) -> String {
    format!("--chain-id {}", shell_word(chain_id.as_str()))
}

fn chain_id(text: &str) -> Result<ChainId, Failure> {
    ChainId::try_from(text).map_err(|error| Failure::new(Exit::Usage, format!("--chain-id: {error}"), ""))
}

fn whose(path: &Path) -> Failure {
    let message = format!("{}: nothing says whose state it is", path.display());
    Failure::new(Exit::Usage, message, "add --chain-id ID, and --public-key BASE64 if the key is known")
}

/// A raw public key: its length says its kind.
fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = Base64::decode_vec(text).map_err(|_| format!("expected the base64 of a public key, got {text:?}"))?;
    if let Ok(ed25519) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(PublicKey::Ed25519(ed25519));
    }
    let secp256k1 = <[u8; 33]>::try_from(bytes.as_slice());
    secp256k1
        .map(PublicKey::Secp256k1)
        .map_err(|_| format!("expected 32 bytes (ed25519) or 33 (secp256k1) in base64, got {}", bytes.len()))
}
