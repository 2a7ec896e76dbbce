//! `tmkms nitro start`: the signer inside the enclave, from the hardened process to its clean end.
use crate::config::{self, Config, Identity, Key, LogSettings, State};
use crate::failure::{Exit, Failure};
use crate::logging;
use clap::Args;
use enclave::ceremony::Ceremonies;
use enclave::init::{self, Booted};
use enclave::log_ring::LogRing;
use enclave::nsm::{Absent, Device, Nsm};
use enclave::plan::{ChainPlan, IdentitySource, KmsKey, Plan, ValidatorPlan};
use enclave::{Ending, Options};
use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use signer::Build;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use wire::control::Credentials;
use wire::endpoint::Parent;
use zeroize::Zeroizing;

const EXAMPLES: &str = "\
It checks itself, waits for a configuration (`tmkms nitro push-config` on the parent), has KMS release the keys to this enclave's \
measurement, loads the signing records (`tmkms nitro persist`), and signs. What goes wrong is told to whoever pushed, and shown by \
`tmkms nitro status`; a new push mends it.

The image may fix what the parent can choose: see policy.toml in docs/operations-nitro.md.

Examples:
  tmkms nitro start
  tmkms nitro start -p 5050 -v
  tmkms nitro start --parent unix:/tmp/vm --policy policy.toml    an ordinary process that plays the enclave";

/// Run the signer inside a Nitro enclave
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Start {
    /// The vsock port on which it is configured and asked
    #[arg(short, long, value_name = "PORT", default_value_t = wire::DEFAULT_CONTROL_PORT)]
    port: u32,
    /// Log each signature, too
    #[arg(short, long)]
    verbose: bool,
    /// The measured policy; otherwise policy.toml next to the binary, if it is there
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where the parent is: its CID, or unix:PATH where a process plays the enclave
    #[arg(long, value_name = "CID", default_value_t)]
    parent: Parent,
}

/// How long votes may stay away, where the configuration has no `[metrics]`: the host signer's default.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(60);

impl Start {
    pub(crate) fn run(self) -> Result<(), Failure> {
        self.run_with(own_ceremonies(), || match Device::open() {
            Ok(device) => Ok(Box::new(device) as Box<dyn Nsm>),
            Err(error) => Err(Failure::new(Exit::Runtime, error.to_string(), "")),
        })
    }

    /// The same as the image's first program: the kernel's measured command line says what a command line would, and the
    /// policy has one place.
    fn run_as_init(booted: Booted) -> Result<(), Failure> {
        let options = booted.options.clone();
        let start = Self {
            port: options.port,
            verbose: options.verbose,
            // Every image of ours has one, if only an empty one: where it is missing, a ramdisk was lost, and the enclave ends.
            policy: Some(init::POLICY.into()),
            parent: options.parent,
        };
        start.run_in(Some(booted), own_ceremonies(), || match Device::open() {
            Ok(device) => Ok(Box::new(device) as Box<dyn Nsm>),
            // Told where the parent can read it: nobody sees the console.
            Err(error) => Ok(Box::new(Absent::new(&error)) as Box<dyn Nsm>),
        })
    }

    /// The policy that is named on the command line.
    #[must_use]
    pub fn policy(&self) -> Option<&Path> {
        self.policy.as_deref()
    }

    /// The same with another security module, and as a ceremony image or not: for a process that plays an enclave in development.
    ///
    /// # Errors
    /// The enclave is broken, or the process gets no thread or signals.
    pub fn run_with(
        self,
        ceremonies: Option<Box<dyn Ceremonies>>,
        nsm: impl FnOnce() -> Result<Box<dyn Nsm>, Failure>,
    ) -> Result<(), Failure> {
        self.run_in(None, ceremonies, nsm)
    }

    fn run_in(
        self,
        booted: Option<Booted>,
        ceremonies: Option<Box<dyn Ceremonies>>,
        nsm: impl FnOnce() -> Result<Box<dyn Nsm>, Failure>,
    ) -> Result<(), Failure> {
        let weaknesses = signer::process::harden();
        let log = Arc::new(LogRing::new());
        let ring = Arc::clone(&log);
        logging::install_with(LogSettings::default(), self.verbose, Some(Box::new(move |line| ring.push(line))))
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the log: {error}"), ""))?;
        info!(version = env!("CARGO_PKG_VERSION"); "tmkms {} starts in an enclave", env!("CARGO_PKG_VERSION"));
        weaknesses.iter().for_each(|weakness| warn!("{weakness}"));
        let ending = Ending::default();
        end_at_signal(ending.clone())?;
        let options = Options {
            parent: self.parent,
            control_port: self.port,
            policy: self.policy,
            verbose: self.verbose,
            build: Build {
                version: env!("CARGO_PKG_VERSION"),
                commit: option_env!("TMKMS_COMMIT").unwrap_or_default(),
            },
            log,
            more_metrics: logging::metrics,
            ending,
            ceremonies,
            booted,
        };
        enclave::run(options, nsm()?, Box::new(parse))
            .map_err(|broken| Failure::new(Exit::Runtime, broken.to_string(), broken.0.remedy))
    }
}

/// What this build does besides signing: only the ceremony image's build has anything.
fn own_ceremonies() -> Option<Box<dyn Ceremonies>> {
    #[cfg(feature = "nitro-ceremony")]
    return Some(Box::<ceremony::Workshop>::default());
    #[cfg(not(feature = "nitro-ceremony"))]
    None
}

/// The image's first program, from the kernel's hands to the end of the enclave.
pub(crate) fn as_init() -> ! {
    // A panic has told its reason on the console.
    let run = || match init::boot() {
        Ok(booted) => Start::run_as_init(booted),
        Err(error) => Err(Failure::new(Exit::Runtime, error.to_string(), "")),
    };
    if let Ok(Err(failure)) = std::panic::catch_unwind(run) {
        // Not `report`: the kernel calls its console a terminal (`TERM=linux`), and what reads it shows escape codes as they are.
        logging::print(&crate::terminal::render(&failure, false));
    }
    logging::flush();
    init::end()
}

fn end_at_signal(ending: Ending) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|error| Failure::new(Exit::Runtime, format!("cannot wait for signals: {error}"), ""))?;
    let waiting = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            ending.end();
            info!("{}: the enclave ends", signal_name(signal).unwrap_or("a signal"));
        }
    });
    waiting.map(drop).map_err(|error| Failure::new(Exit::Runtime, format!("no thread for signals: {error}"), ""))
}

/// A configuration's text as the enclave's plan, or all its faults.
fn parse(text: &str) -> Result<Plan, Vec<String>> {
    let config = config::parse(text, Path::new(config::FILE_NAME)).map_err(|faults| {
        let path = faults.path.display();
        let fault = |fault: &config::Fault| {
            let help = if fault.help.is_empty() { String::new() } else { format!("; {}", fault.help) };
            format!("{path}:{}: {}{help}", fault.place, fault.message)
        };
        faults.list.iter().map(fault).collect::<Vec<_>>()
    })?;
    for warning in &config.warnings {
        warn!("{}:{}: {}; {}", config.path.display(), warning.place, warning.message, warning.help);
    }
    plan(&config)
}

fn plan(config: &Config) -> Result<Plan, Vec<String>> {
    let (mut chains, mut faults) = (Vec::new(), Vec::new());
    for chain in &config.chains {
        match self::chain(chain) {
            Ok(plan) => chains.push(plan),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Plan {
        chains,
        kms_proxy_port: config.nitro.kms_proxy_port,
        allow_debug: config.nitro.allow_debug,
        log_level: Some(config.nitro.log_level.unwrap_or(config.log.level).into()),
        unhealthy_after: config.metrics.map_or(UNHEALTHY_AFTER, |metrics| metrics.unhealthy_after),
    })
}

fn chain(chain: &config::Chain) -> Result<ChainPlan, String> {
    let (State::Vsock { port }, Key::Kms(key)) = (&chain.state, &chain.key) else {
        return Err(format!(
            "chain {}: it is for a signer on a host: expected state_vsock_port in [[chain]] and encrypted_key_b64 in \
             [[providers.softsign]], got a file",
            chain.id
        ));
    };
    let validators = chain.validators.iter().map(|node| ValidatorPlan {
        endpoint: node.endpoint.clone(),
        identity: node.identity.as_ref().map(|identity| match identity {
            Identity::File(file) => IdentitySource::File(file.resolved.clone()),
            Identity::Kms(key) => IdentitySource::Kms(kms_key(key)),
        }),
        reconnect: node.reconnect,
        timeout: node.timeout,
        silence: node.silence(),
    });
    Ok(ChainPlan {
        id: chain.id.clone(),
        key: kms_key(key),
        state_port: *port,
        validators: validators.collect(),
        max_height: chain.max_height,
        extensions: chain.extensions,
    })
}

fn kms_key(key: &config::KmsKey) -> KmsKey {
    KmsKey {
        ciphertext: Arc::new(Zeroizing::new(key.ciphertext.to_vec())),
        region: key.region.clone(),
        algorithm: key.algorithm,
        key_arn: key.key_arn.clone(),
        encryption_context: key.encryption_context.clone(),
        public_key: key.public_key,
        credentials: key.credentials.as_ref().map(|credentials| Arc::new(copied(credentials))),
    }
}

fn copied(credentials: &Credentials) -> Credentials {
    Credentials {
        access_key_id: credentials.access_key_id.clone(),
        secret_access_key: credentials.secret_access_key.clone(),
        session_token: credentials.session_token.clone(),
        expires_at: credentials.expires_at,
        source: credentials.source.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration that users of the original description know, filled in.
    const KNOWN: &str = r#"
[[chain]]
id = "cosmoshub-4"
key_format = { type = "bech32", account_key_prefix = "cosmospub", consensus_key_prefix = "cosmosvalconspub" }
state_vsock_port = 5555

[[providers.softsign]]
chain_ids = ["cosmoshub-4"]
key_type = "consensus"
encrypted_key_b64 = "Q0FOQVJZ"
aws_region = "eu-west-1"

[[validator]]
chain_id = "cosmoshub-4"
addr = { port = 5000 }
protocol_version = "v0.38"
reconnect = true
"#;

    #[test]
    fn the_known_configuration_is_a_plan() {
        let Ok(plan) = parse(KNOWN) else { panic!("{:?}", parse(KNOWN).err()) };
        let [chain] = &plan.chains[..] else { panic!("one chain") };
        assert_eq!(
            (chain.id.as_str(), chain.state_port, chain.key.region.as_str()),
            ("cosmoshub-4", 5555, "eu-west-1")
        );
        assert_eq!(chain.key.ciphertext.as_slice(), b"CANARY");
        let [node] = &chain.validators[..] else { panic!("one node") };
        assert_eq!(node.endpoint, signer::Endpoint::Vsock { port: 5000, secret: false, peer_id: None });
        assert!(node.identity.is_none() && node.reconnect);
        assert_eq!((plan.kms_proxy_port, plan.allow_debug), (8000, false));
        assert_eq!(plan.log_level, Some(log::LevelFilter::Info));
    }

    #[test]
    fn faults_say_where_and_hold_no_ciphertext_and_a_hosts_configuration_is_told_what_is_missing() {
        let fault = |text: &str| parse(text).err().map(|faults| faults.join("\n")).unwrap_or_default();
        let text = fault(&KNOWN.replace("state_vsock_port = 5555", "state_vsock_port = 5555\nstate_vsockport = 1"));
        assert!(text.contains("tmkms.toml:6:1: ") && !text.contains("Q0FOQVJZ"), "{text}");
        let text = fault(&KNOWN.replace("Q0FOQVJZ", "Q0FOQVJZ!"));
        assert!(text.contains("encrypted_key_b64") && !text.contains("Q0FOQVJZ"), "{text}");
        let host = "[[chain]]\nid = \"a-1\"\nkey_format = { type = \"hex\" }\n[[providers.softsign]]\nchain_ids = [\"a-1\"]\n\
                    path = \"a.key\"\n[[validator]]\nchain_id = \"a-1\"\naddr = \"unix:///a.sock\"\n";
        let text = fault(host);
        assert!(text.contains("chain a-1") && text.contains("state_vsock_port"), "{text}");
    }
}
