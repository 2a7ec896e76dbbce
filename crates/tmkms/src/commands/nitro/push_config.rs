//! `tmkms nitro push-config`: checks the configuration, finds credentials, sends both, and waits until the enclave signs.
use super::asking::{self, EnclaveOption, TokenOption};
use super::watch::Watch;
use crate::cli::ConfigOption;
use crate::config::{Config, load_with_text};
use crate::failure::{Exit, Failure};
use clap::Args;
use host::control_client::{Client, Target};
use host::credentials::{self, Variables};
use host::push::{self, PushError};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Duration;
use wire::control::{Credentials, Progress, Serving};
use wire::token::Token;
use zeroize::Zeroizing;

const EXAMPLES: &str = "\
The file is checked as `tmkms config check` does. Where a key in it has no credentials of its own, those of AWS's own tools are \
pushed with it: the environment, AWS_PROFILE, the container's role, the instance's role. Then each phase is shown until the enclave \
signs, or its reason with a remedy. Pushing again with the same file refreshes credentials; with another one it applies what differs.

The first push sets the control token, which later pushes, `logs` and `persist` must hold: it is made in --token-file.

With --watch it stays: it pushes again when the enclave was restarted, tries again after a failure, and refreshes \
credentials before they expire. A configuration that somebody else pushed since is told and left alone. The file is read again only at \
SIGHUP, and then pushed, so that half an edit never is. SIGTERM and SIGINT end it.

Exits with 3 if the configuration is wrong (here, or by the policy in the image), with 4 or 5 if a record or a key is, else with 1.

Examples:
  tmkms nitro push-config -c tmkms.toml -i 16
  tmkms nitro push-config -c /etc/tmkms/tmkms.toml -i 16 --watch
  AWS_PROFILE=signer tmkms nitro push-config -c tmkms.toml -i 16 --wait 60";

/// Send the configuration to the enclave, and wait until it signs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PushConfig {
    #[command(flatten)]
    config: ConfigOption,
    #[command(flatten)]
    enclave: EnclaveOption,
    #[command(flatten)]
    token: TokenOption,
    /// Seconds to wait for an enclave that does not answer yet
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,
    /// Stay: push again when the enclave was restarted, and refresh credentials
    #[arg(long)]
    watch: bool,
    /// With --watch: log more
    #[arg(short, long)]
    verbose: bool,
}

/// A checked configuration with the text that is pushed.
pub(super) struct Checked {
    pub(super) config: Config,
    pub(super) text: Zeroizing<String>,
}

impl Checked {
    /// The digest of the text as the enclave names it in its status: SHA-256 in lower-case hexadecimal.
    pub(super) fn sha256(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What is pushed, and where.
pub(super) struct Order {
    pub(super) target: Target,
    pub(super) token: Token,
    pub(super) file: Checked,
}

impl PushConfig {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let file = self.read()?;
        for warning in &file.config.warnings {
            writeln!(out, "warning: {}:{}: {}", file.config.path.display(), warning.place, warning.message)?;
            if !warning.help.is_empty() {
                writeln!(out, "  help: {}", warning.help)?;
            }
        }
        let (token, is_new) = push::read_or_make(&self.token.file())
            .map_err(|error| Failure::new(Exit::Runtime, error.to_string(), error.remedy()))?;
        if is_new {
            writeln!(out, "made the control token {}", self.token.file().path().display())?;
        }
        out.flush()?;
        let order = Order { target: self.enclave.target(), token, file };
        if self.watch {
            return Watch::new(order, || self.read())?.run(self.verbose);
        }
        let credentials = order.credentials()?;
        if let Some(credentials) = &credentials {
            writeln!(out, "credentials of {}", credentials.source)?;
        }
        let client = self.connect(&order.target, out)?;
        writeln!(out, "{}: tmkms {}", order.target, asking::plain(client.software()))?;
        out.flush()?;
        let mut told = Ok(());
        let serving = order.push(client, credentials, &mut |progress| {
            if told.is_ok() {
                told = writeln!(out, "{}", progress_line(progress)).and_then(|()| out.flush());
            }
        });
        told?;
        Ok(writeln!(out, "{}", serving_line(&serving?))?)
    }

    /// Connects; an enclave that may be starting is waited for, which is said.
    fn connect(&self, target: &Target, out: &mut dyn Write) -> Result<Client, Failure> {
        let first = match Client::connect(target) {
            Err(error) if error.may_come() && self.wait > 0 => {
                writeln!(out, "{target} does not answer yet: waiting for up to {} s", self.wait)?;
                out.flush()?;
                Client::wait(target, Duration::from_secs(self.wait))
            }
            other => other,
        };
        first.map_err(|error| asking::unreachable(&error))
    }

    /// The file, checked for all that can be checked here.
    fn read(&self) -> Result<Checked, Failure> {
        let (config, text) = load_with_text(self.config.path())?;
        for_an_enclave(&config)?;
        Ok(Checked { config, text })
    }
}

/// Whether a configuration is one that an enclave can serve.
pub(super) fn for_an_enclave(config: &Config) -> Result<(), Failure> {
    let file = config.path.display();
    if !config.is_for_enclave() {
        let message = format!("{file} is for a signer on this host: no [[chain]] has state_vsock_port");
        let help = "sign here with `tmkms start`, or see docs/configuration.md, \"In an enclave\"";
        return Err(Failure::new(Exit::Configuration, message, help));
    }
    if config.chains.iter().all(|chain| chain.validators.is_empty()) {
        let message = format!("{file} has no [[validator]]: there is nobody to sign for");
        let help = "add a [[validator]] with the chain_id and addr = { port = N }, the port of `tmkms nitro proxy`";
        return Err(Failure::new(Exit::Configuration, message, help));
    }
    Ok(())
}

impl Order {
    /// The parent's credentials, if some key has none of its own.
    pub(super) fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        if !self.file.config.needs_credentials() {
            return Ok(None);
        }
        let found = credentials::find(&Variables::of_process());
        found.map(Some).map_err(|error| Failure::new(Exit::Runtime, error.to_string(), error.remedy()))
    }

    pub(super) fn push(
        &self,
        client: Client,
        credentials: Option<Credentials>,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<Serving, Failure> {
        push::push(client, &self.token, &self.file.text, credentials, tell).map_err(|error| match &error {
            PushError::Failed(failure) => asking::failed(failure),
            PushError::Client(client) => asking::unreachable(client),
            PushError::TooLong(_) => {
                Failure::new(Exit::Configuration, error.to_string(), "split it over several enclaves")
            }
            PushError::Unexpected | PushError::Credentials => Failure::new(Exit::Runtime, error.to_string(), ""),
        })
    }
}

pub(super) fn progress_line(progress: &Progress) -> String {
    format!("{:<11} {}", asking::phase(progress.phase), asking::plain(&progress.detail)).trim_end().to_owned()
}

/// What a push changed, in one line.
pub(super) fn serving_line(serving: &Serving) -> String {
    let lists = [
        ("added", &serving.added),
        ("changed", &serving.changed),
        ("removed", &serving.removed),
        ("unchanged", &serving.unchanged),
    ];
    let mut parts: Vec<_> = lists
        .into_iter()
        .filter(|(_, chains)| !chains.is_empty())
        .map(|(what, chains)| format!("{what} {}", asking::plain(&chains.join(", "))))
        .collect();
    if serving.credentials_refreshed {
        parts.push("credentials refreshed".to_owned());
    }
    format!("{:<11} {}", "serving", parts.join("; ")).trim_end().to_owned()
}
