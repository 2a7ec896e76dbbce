//! `tmkms start`: the signer, from the hardened process to its clean end, in order.
use crate::cli::ConfigOption;
use crate::config::{Chain, Config};
use crate::failure::{Exit, Failure};
use crate::filesystem;
use crate::keys::{self, Keys};
use crate::{listener, logging, state};
use clap::Args;
use guard::Denied;
use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use signer::keys::ConsensusKey;
use signer::{
    Build, ConnectionSettings, Keyring, Metrics, RegisterError, Service, Stop, Timing, Validator, ValidatorSettings,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use store::file::slot::Owner;
use store::{FileStore, StateError};

/// How long votes in progress may take to be answered at the end. A node itself waits 5 s.
const FINISH_LIMIT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Before the first connection everything is read: the configuration, the keys, the states. If anything is wrong, all of it is \
said, and nothing starts. Afterwards no node, and no trouble of one chain, stops another.

SIGTERM and SIGINT end it: votes in progress are answered first. The log goes to stderr, see [log] in the configuration. \
Exits with 0 after a signal, or when every validator with reconnect = false has ended.

Examples:
  tmkms start
  tmkms start -c /etc/tmkms/tmkms.toml -v";

/// Connect to the nodes and sign
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Start {
    #[command(flatten)]
    config: ConfigOption,
    /// Log each signature, too
    #[arg(short, long)]
    verbose: bool,
}

impl Start {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let weaknesses = signer::process::harden();
        let config =
            self.config.load_for_host("start the enclave, then run `tmkms nitro push-config -c FILE -i CID`")?;
        logging::install(config.log, self.verbose)
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the log: {error}"), ""))?;
        info!(version = env!("CARGO_PKG_VERSION"); "tmkms {} starts", env!("CARGO_PKG_VERSION"));
        weaknesses.iter().for_each(|weakness| warn!("{weakness}"));
        for warning in &config.warnings {
            warn!("{}:{}: {}; {}", config.path.display(), warning.place, warning.message, warning.help);
        }
        filesystem::warnings(&config).iter().for_each(|warning| warn!("{}; {}", warning.message, warning.help));
        check_validators(&config)?;
        let signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Failure::new(Exit::Runtime, format!("cannot wait for signals: {error}"), ""))?;
        let metrics = Arc::new(Metrics::new(Build { version: env!("CARGO_PKG_VERSION"), commit: commit() }));
        // A missing key is no reason to be silent about the states.
        let keys = keys::read_all(&config).map_err(|_| all(check_files(&config, self.config.path())))?;
        let (connections, _keyring) = open(&config, self.config.path(), keys, &metrics)?;
        if let Some(settings) = config.metrics {
            listener::start(settings, &metrics)?;
        }
        serve(connections, signals)
    }
}

const fn commit() -> &'static str {
    match option_env!("TMKMS_COMMIT") {
        Some(commit) => commit,
        None => "",
    }
}

fn all(failures: Vec<Failure>) -> Failure {
    Failure::all(failures).unwrap_or_else(|| Failure::new(Exit::Runtime, "failed without a reason: a bug", ""))
}

fn check_validators(config: &Config) -> Result<(), Failure> {
    if config.chains.iter().any(|chain| !chain.validators.is_empty()) {
        return Ok(());
    }
    let message = format!("{} has no [[validator]]: there is nobody to sign for", config.path.display());
    Err(Failure::new(Exit::Configuration, message, "add a [[validator]] with the chain_id and the node's address"))
}

/// Connections by the time-out and the silence that they share.
type Connections = BTreeMap<(Duration, Duration), Vec<ConnectionSettings>>;

/// Opens every state and recovers every guard, and says all that is wrong.
fn open(config: &Config, path: &Path, keys: Keys, metrics: &Metrics) -> Result<(Connections, Keyring), Failure> {
    let mut keyring = Keyring::new();
    let mut connections = Connections::new();
    let mut failures = Vec::new();
    let Keys { consensus, identities } = keys;
    for (chain, key) in config.chains.iter().zip(consensus).filter(|(chain, _)| !chain.validators.is_empty()) {
        match open_chain(chain, path, key, &mut keyring, metrics) {
            Err(failure) => failures.push(failure),
            Ok(validator) => {
                for node in &chain.validators {
                    let identity = node.identity.as_ref().and_then(|key| identities.get(&key.file()?.resolved));
                    connections.entry((node.timeout, node.silence())).or_default().push(ConnectionSettings {
                        validator: Arc::clone(&validator),
                        endpoint: node.endpoint.clone(),
                        identity: identity.map(Arc::clone),
                        reconnect: node.reconnect,
                    });
                }
            }
        }
    }
    Failure::all(failures).map_or(Ok((connections, keyring)), Err)
}

fn open_chain(
    chain: &Chain,
    config: &Path,
    key: ConsensusKey,
    keyring: &mut Keyring,
    metrics: &Metrics,
) -> Result<Arc<Validator>, Failure> {
    let settings = ValidatorSettings {
        chain_id: chain.id.clone(),
        key,
        max_height: chain.max_height,
        sign_extensions: chain.extensions,
    };
    let opened = Validator::new(settings, keyring, metrics, |identity| {
        let store = FileStore::open(chain.state_path(), identity)?;
        Ok::<_, StateError>(Box::new(store) as Box<dyn guard::Store + Send>)
    });
    let validator = opened.map_err(|error| match error {
        RegisterError::Open(error) => state::failure(chain, config, &error),
        RegisterError::MaxHeight { .. } => {
            Failure::new(Exit::Configuration, format!("chain {}: {error}", chain.id), "")
        }
    })?;
    let record = validator.recover().map_err(|denied| unrecovered(chain, &denied))?;
    let signed = record.as_ref().map_or_else(String::new, state::meaning);
    info!(chain = chain.id.as_str(), validator = validator.address(); "signing state recovered: {signed}");
    Ok(validator)
}

fn unrecovered(chain: &Chain, denied: &Denied) -> Failure {
    let message = format!("chain {}: the state {}: {denied}", chain.id, chain.state_path().display());
    Failure::new(Exit::State, message, "")
}

/// Runs until a signal, or until every connection has ended for good.
fn serve(connections: Connections, signals: Signals) -> Result<(), Failure> {
    let mut services = Vec::new();
    for ((timeout, silence), connections) in connections {
        let service = Service::start(connections, timing(timeout, silence))
            .map_err(|error| Failure::new(Exit::Runtime, error.to_string(), ""))?;
        services.push(service);
    }
    let signalled = stop_at_signal(signals, services.iter().map(Service::stop_handle).collect())?;
    services.iter().for_each(Service::wait);
    if let Some(name) = signal_name(signalled.load(SeqCst)) {
        info!("{name}: stopping, votes in progress are answered first");
    }
    let until = Instant::now() + FINISH_LIMIT;
    for service in services {
        if !service.finish(until.saturating_duration_since(Instant::now())) {
            warn!("a session did not end within {} s", FINISH_LIMIT.as_secs());
        }
    }
    info!("stopped");
    Ok(())
}

/// `timeout` bounds the handshake, `silence` the time between messages; the shorter limits of the signer's own stay.
fn timing(timeout: Duration, silence: Duration) -> Timing {
    let own = Timing::default();
    Timing { connect: own.connect.min(timeout), handshake: timeout, idle: silence, write: own.write.min(timeout) }
}

/// Gives where the last signal's number will stand; the lines about it are the main thread's, so that they come in order.
fn stop_at_signal(mut signals: Signals, stops: Vec<Stop>) -> Result<Arc<AtomicI32>, Failure> {
    let signalled = Arc::new(AtomicI32::new(0));
    let last = Arc::clone(&signalled);
    let waiting = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Nothing that could keep it from stopping comes before this.
            last.store(signal, SeqCst);
            stops.iter().for_each(Stop::stop);
        }
    });
    let waiting = waiting.map(|_| signalled);
    waiting.map_err(|error| Failure::new(Exit::Runtime, format!("no thread for signals: {error}"), ""))
}

/// What would keep `start` from starting: for `config check`, which takes no lock and writes nothing.
pub(crate) fn check_files(config: &Config, path: &Path) -> Vec<Failure> {
    let (owners, mut failures) = match keys::read_all(config) {
        Ok(keys) => {
            let pairs = config.chains.iter().zip(&keys.consensus);
            let owners: Vec<_> =
                pairs.map(|(chain, key)| Some(Owner::of(&keys::identity(chain, key.public_key())))).collect();
            (owners, Vec::new())
        }
        Err(failures) => (vec![None; config.chains.len()], failures),
    };
    let shared = state::shared(&config.chains);
    for ((chain, owner), shared) in config.chains.iter().zip(&owners).zip(shared) {
        if let Some(failure) = shared {
            failures.push(failure);
            continue;
        }
        let looked = state::look(chain, owner.as_ref());
        let problem = match looked {
            Ok((_, None)) => continue,
            Ok((_, Some(problem))) => StateError { path: chain.state_path().to_owned(), problem },
            Err(error) => error,
        };
        failures.push(state::failure(chain, path, &problem));
    }
    failures
}
