//! `tmkms nitro proxy`: connects an enclave to one target outside, until a signal.
use crate::config::LogSettings;
use crate::failure::{Exit, Failure};
use crate::logging;
use clap::Args;
use host::proxy::{Limits, Proxy as Server, Target};
use log::info;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;
use std::io;
use std::path::PathBuf;
use wire::endpoint::{Enclave, Listener};

const EXAMPLES: &str = "\
Each connection of the enclave to the port is connected to the target, and to nothing else: one proxy for each node, and one \
for KMS. What passes is not looked at; TLS to KMS and SecretConnection end in the enclave. A TCP name is looked up for each \
connection. A target that is not there closes that connection alone; the enclave tries again.

For KMS it does what AWS's `vsock-proxy 8000 kms.REGION.amazonaws.com 443` does, and either of the two will do. \
SIGTERM and SIGINT end it. Exits with 1 if the port cannot be had.

Examples:
  tmkms nitro proxy -p 5000 -u /run/validator/privval.sock
  tmkms nitro proxy -p 5001 -t 10.0.0.7:26659 -i 16
  tmkms nitro proxy -p 8000 -t kms.eu-central-1.amazonaws.com:443";

/// Connect an enclave to its validator node or to KMS, on its parent
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Proxy {
    /// The port that the enclave connects to: the `port` of the `[[validator]]`'s addr, or kms_proxy_port
    #[arg(short, long, value_name = "PORT")]
    port: u32,
    #[command(flatten)]
    target: TargetArgs,
    /// Serve this enclave alone: its CID, or CID@FOLDER (emulated), or unix:PATH (a process)
    #[arg(short = 'i', long = "enclave", value_name = "CID")]
    enclave: Option<Enclave>,
    /// How many connections may be open at the same time; more are closed
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections, value_parser = connections)]
    max_connections: usize,
    /// Log each connection, too
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct TargetArgs {
    /// The target: a Unix socket, such as the node's priv_validator_laddr
    #[arg(short, long = "unix", value_name = "SOCKET")]
    unix: Option<PathBuf>,
    /// The target: a TCP address
    #[arg(short, long = "tcp", value_name = "HOST:PORT")]
    tcp: Option<Target>,
}

/// The most connections that a person may ask for; each has two threads.
const MAX_CONNECTIONS: usize = 4096;

fn connections(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_CONNECTIONS).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {MAX_CONNECTIONS}, got {text:?}"))
}

impl TargetArgs {
    fn target(&self) -> Option<Target> {
        self.tcp.clone().or_else(|| self.unix.clone().map(Target::Unix))
    }
}

impl Proxy {
    pub(super) fn run(&self) -> Result<(), Failure> {
        logging::install(LogSettings::default(), self.verbose)
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the log: {error}"), ""))?;
        let target = self.target.target().ok_or_else(|| {
            Failure::new(Exit::Usage, "no target was given", "name a socket with -u, or HOST:PORT with -t")
        })?;
        let signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Failure::new(Exit::Runtime, format!("cannot wait for signals: {error}"), ""))?;
        let listener = Listener::on_parent(self.enclave.as_ref(), self.port).map_err(|error| self.no_port(&error))?;
        let whom =
            self.enclave.as_ref().map_or_else(|| "any enclave".to_owned(), |enclave| format!("enclave {enclave}"));
        let line = format!("port {} for {whom} leads to {target}", self.port);
        let limits = Limits { connections: self.max_connections, ..Limits::default() };
        let server = Server::start(listener, target, limits)
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the port: {error}"), ""))?;
        info!("{line}");
        wait(server, signals);
        Ok(())
    }

    fn no_port(&self, error: &io::Error) -> Failure {
        let message = format!("cannot listen on port {}: {error}", self.port);
        let help = match error.kind() {
            io::ErrorKind::AddrInUse => "another process has it: stop that one, or give another port with -p",
            io::ErrorKind::PermissionDenied => "ports below 1024 need root, or CAP_NET_BIND_SERVICE",
            _ => {
                "see whether this is a Nitro instance with vsock (`lsmod | grep vsock`); an emulated enclave needs -i CID@FOLDER"
            }
        };
        Failure::new(Exit::Runtime, message, help)
    }
}

fn wait(server: Server, mut signals: Signals) {
    if let Some(signal) = signals.forever().next() {
        info!("{}: stopping, open connections are cut", signal_name(signal).unwrap_or("signal"));
    }
    server.stop();
    server.wait();
}
