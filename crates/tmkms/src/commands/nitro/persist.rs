//! `tmkms nitro persist`: keeps an enclave's signing states in files of the parent, until a signal.
use crate::config::LogSettings;
use crate::failure::{Exit, Failure};
use crate::{filesystem, logging, state};
use base64ct::{Base64, Encoding};
use clap::Args;
use guard::{ChainId, Height, Identity, Position, Record};
use host::persist::{DEFAULT_TOKEN_FILE, Options, Persist as Server, Places, TokenFile};
use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use std::path::{Path, PathBuf};
use store::file::inspect;
use store::file::slot::Owner;
use store::{Problem, StateError};
use wire::endpoint::{Enclave, Listener};

const EXAMPLES: &str = "\
The files are those of the host signer (`tmkms state` works on them): one for each key on each chain. -s names a file, several \
files, or a folder, in which the chain and the key that stand in each file say whose it is. Nothing is made unless --init says \
so: then the one file that -s names (in a folder CHAIN_priv_validator_state.json) is made first, and it is an error if it exists. \
Without --public-key it is bound to the enclave's key at its first signature.

Give --public-key whenever the key is known: a file without one is taken by whichever key of its chain comes first, also by one \
whose own file is merely missing. So there may be one such file for each persist and chain, and it is not taken beside a file that is \
bound to another key of the chain. A file that cannot be read may be any key's: nothing is opened as long as it is there, so keep \
the states in a folder of their own. Moving or copying files while this runs is noticed, because it remembers what each key \
signed last; after a restart it is not.

A vote is acknowledged after it is on the disk, and only to the one enclave that holds the state; a second one is refused \
as long as the first is connected. The answers are proven by the control token that `tmkms nitro push-config` makes, so \
run both as one user.

SIGTERM and SIGINT end it: what is being written is finished first. Exits with 4 if a state is missing, damaged or in use, with 1 \
if the port cannot be had.

Examples:
  tmkms nitro persist -s /var/lib/tmkms/state.json -p 5555
  tmkms nitro persist -s /var/lib/tmkms/states -p 555 -i 16
  tmkms nitro persist -s states -p 5555 --init --chain-id cosmoshub-4 --height 23456789";

/// Keep the signing states of an enclave, on its parent
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Persist {
    /// A state file, or a folder of them; may be repeated
    #[arg(short, long = "state", value_name = "PATH", required = true)]
    state: Vec<PathBuf>,
    /// The port that the enclave connects to: the chains' state_vsock_port
    #[arg(short, long, value_name = "PORT")]
    port: u32,
    /// Serve this enclave alone: its CID, or CID@FOLDER (emulated), or unix:PATH (a process)
    #[arg(short = 'i', long = "enclave", value_name = "CID")]
    enclave: Option<Enclave>,
    /// The control token, as `push-config` has made it
    #[arg(long, value_name = "FILE", env = "TMKMS_TOKEN_FILE", default_value = DEFAULT_TOKEN_FILE, hide_env_values = true)]
    token_file: PathBuf,
    /// Log more
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    init: Init,
}

#[derive(Debug, Args)]
struct Init {
    /// Make the state file first; needs --chain-id and --height or --new-validator
    #[arg(long, requires_all = ["chain_id", "floor"])]
    init: bool,
    /// The chain of the new state
    #[arg(long, value_name = "ID", requires = "init", value_parser = chain_id)]
    chain_id: Option<ChainId>,
    /// Nothing at or below this height will be signed
    #[arg(long, value_name = "H", requires = "init", group = "floor", value_parser = height, allow_negative_numbers = true)]
    height: Option<Height>,
    /// The key has never signed anywhere
    #[arg(long, requires = "init", group = "floor")]
    new_validator: bool,
    /// The key of the new state, in base64; without it, the key that signs first
    #[arg(long, value_name = "BASE64", requires = "init", value_parser = public_key)]
    public_key: Option<PublicKey>,
}

/// A raw public key.
#[derive(Clone, Debug)]
struct PublicKey(Box<[u8]>);

fn chain_id(text: &str) -> Result<ChainId, String> {
    ChainId::try_from(text).map_err(|error| error.to_string())
}

/// From 1 on: a record of height 0 says that the key has never signed.
fn height(text: &str) -> Result<Height, String> {
    let number: i64 = text.parse().map_err(|_| format!("expected a height from 1 to {}, got {text:?}", i64::MAX))?;
    match Height::try_from(number) {
        Ok(height) if height > Height::ZERO => Ok(height),
        Ok(_) => Err("height 0 means that the key has never signed: write --new-validator instead".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let bytes = Base64::decode_vec(text).map_err(|_| format!("expected the base64 of a public key, got {text:?}"))?;
    match bytes.len() {
        32 | 33 => Ok(PublicKey(bytes.into())),
        other => Err(format!("expected 32 bytes (ed25519) or 33 (secp256k1) in base64, got {other}")),
    }
}

impl Persist {
    pub(super) fn run(&self) -> Result<(), Failure> {
        logging::install(LogSettings::default(), self.verbose)
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the log: {error}"), ""))?;
        let places = Places::new(self.state.clone());
        self.init.run(&places, &self.state)?;
        let failures: Vec<_> = places.check().iter().map(|error| self.failure(error)).collect();
        Failure::all(failures).map_or(Ok(()), Err)?;
        let signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Failure::new(Exit::Runtime, format!("cannot wait for signals: {error}"), ""))?;
        let listener = Listener::on_parent(self.enclave.as_ref(), self.port).map_err(|error| self.no_port(&error))?;
        let server = Server::start(
            listener,
            places.clone(),
            TokenFile::new(self.token_file.clone()),
            Options::new(env!("CARGO_PKG_VERSION")),
        )
        .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the port: {error}"), ""))?;
        filesystem::warnings_of(&self.state).iter().for_each(|warning| warn!("{}; {}", warning.message, warning.help));
        self.say(&places);
        wait(server, signals);
        Ok(())
    }

    fn say(&self, places: &Places) {
        let whom =
            self.enclave.as_ref().map_or_else(|| "any enclave".to_owned(), |enclave| format!("enclave {enclave}"));
        info!("keeping signing states for {whom} on port {}", self.port);
        let files = places.files();
        for file in &files {
            if let Some(held) = inspect(file).ok().as_ref().and_then(|seen| seen.held()) {
                let meaning = state::meaning(&held.record);
                info!(chain = held.owner.chain_id.as_str(); "{}: {}: {meaning}", file.display(), held.owner);
            }
        }
        if !self.token_file.exists() {
            warn!("there is no control token at {} yet: `tmkms nitro push-config` makes it", self.token_file.display());
        }
    }

    /// What `tmkms state` would say, with this command's own way out.
    fn failure(&self, error: &StateError) -> Failure {
        let path = error.path.display();
        match error.problem {
            Problem::Missing => {}
            Problem::OpenTwice => {
                let message = format!("{path} is named twice, by a link or another way of writing its path");
                return Failure::new(Exit::Usage, message, "give each -s a file or folder of its own");
            }
            _ => return Failure::new(Exit::State, error.to_string(), ""),
        }
        let word = state::shell_word(&error.path.display().to_string());
        let message = format!("the state {path} is missing, and starting never makes one");
        let help = format!(
            "if it was moved, put it back; if this key has signed before, run `tmkms nitro persist -s {word} -p {} --init --chain-id \
             ID --height H` with H at or above the chain's height (or `tmkms state import` what the old signer left); only if it never \
             has, give --new-validator in the place of --height",
            self.port
        );
        Failure::new(Exit::State, message, help)
    }

    fn no_port(&self, error: &std::io::Error) -> Failure {
        let message = format!("cannot listen on port {}: {error}", self.port);
        let help = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process has it: stop that one, or give another port with -p",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need root, or CAP_NET_BIND_SERVICE",
            _ => {
                "see whether this is a Nitro instance with vsock (`lsmod | grep vsock`); an emulated enclave needs -i CID@FOLDER"
            }
        };
        Failure::new(Exit::Runtime, message, help)
    }
}

impl Init {
    fn run(&self, places: &Places, paths: &[PathBuf]) -> Result<(), Failure> {
        let Some(chain_id) = self.chain_id.as_ref().filter(|_| self.init) else { return Ok(()) };
        let [path] = paths else {
            let message = format!("--init makes one state, but -s names {}", paths.len());
            return Err(Failure::new(Exit::Usage, message, "give the new state's -s alone"));
        };
        let record = match self.height {
            Some(height) => Record::floor(0, Position::end_of(height)),
            None => Record::never_signed(),
        };
        self.check_others(places, chain_id)?;
        let owner = match &self.public_key {
            Some(key) => Owner::of(&Identity { chain_id: chain_id.clone(), public_key: key.0.clone() }),
            None => Owner::unbound(chain_id.clone()),
        };
        let made = places.create(&owner, &record).map_err(|error| not_made(path, &error))?;
        info!(chain = chain_id.as_str(); "made {}: {owner}: {}", made.display(), state::meaning(&record));
        Ok(())
    }

    /// A file without a key is not made where it would not be taken.
    fn check_others(&self, places: &Places, chain_id: &ChainId) -> Result<(), Failure> {
        let new = places.new_file(chain_id);
        let is_of_chain = |file: &PathBuf| {
            let seen = inspect(file).ok();
            seen.iter().flat_map(|seen| seen.slots.iter().flatten()).any(|held| held.owner.chain_id == *chain_id)
        };
        let other = places.files().into_iter().find(|file| *file != new && is_of_chain(file));
        let Some(other) = other.filter(|_| self.public_key.is_none() && !new.exists()) else { return Ok(()) };
        let message =
            format!("{} is of chain {chain_id} already, so a file without a key would not be taken", other.display());
        Err(Failure::new(Exit::Usage, message, "name the new state's key with --public-key"))
    }
}

fn not_made(path: &Path, error: &StateError) -> Failure {
    let help = match error.problem {
        Problem::Exists => format!("leave --init out to use {} as it is", path.display()),
        _ => String::new(),
    };
    Failure::new(Exit::State, error.to_string(), help)
}

/// Serves until the first signal; a second one is not needed, for nothing here waits for a peer.
fn wait(server: Server, mut signals: Signals) {
    if let Some(signal) = signals.forever().next() {
        info!("{}: stopping, what is being written is finished first", signal_name(signal).unwrap_or("signal"));
    }
    server.stop();
    server.wait();
}
