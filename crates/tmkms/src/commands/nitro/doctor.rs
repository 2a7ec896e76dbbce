//! `tmkms nitro doctor`: looks at the arrangement on an enclave's parent, and says of all that is not well what to do.
mod allocator;
mod chains;
mod clock;
mod configuration;
mod credentials;
mod enclave;
mod finding;
mod grants;
mod http;
mod key_info;
mod key_policy;
mod node;
mod page;
mod ports;
mod rpc;
mod states;
mod time_limit;

use crate::cli::ConfigOption;
use crate::failure::{Exit, Failure};
use crate::state::shell_word;
use crate::terminal::wants_colour;
use clap::Args;
use configuration::Basis;
use finding::{Counts, Say};
use host::control_client::Target;
use http::Server;
use page::Group;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::DEFAULT_CONTROL_PORT;
use wire::control::Status;
use wire::endpoint::Enclave;

/// How long a group of checks may take; a connect has 3 s of it.
const LIMIT: Duration = Duration::from_secs(30);
/// The same where a program gives credentials, which may take 60 s.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(75);

const EXAMPLES: &str = "\
Everything that makes up the arrangement is looked at, and nothing is changed: configuration, enclave, credentials, clocks, the ports that persist and \
the proxies listen on, what is set aside for enclaves, the records of what was signed, the KMS key, the node. Whatever is not well has its \
remedy below it. What could not be looked at is `skipped`, with the reason; so it runs on other machines, too.

AWS is not asked, for the parent's role needs no right to read policies: let another machine print them, and give the files. Measurements \
come from your own build of the image, never from an enclave that runs. Ports are connected to, and nothing is sent. Run it as root, as persist and the watch do.

Each group of checks has a limit of 30 s (credentials 75 s), and one that breaks off keeps no other from ending.

Exits with 0 if there is nothing worse than a note, with 1 if there are warnings alone, with 6 if there is an error; with 2 if the command line is wrong.

Examples:
  tmkms nitro doctor -c /etc/tmkms/tmkms.toml -i 16
  tmkms nitro doctor -c /etc/tmkms/tmkms.toml -i 16 --measurements measurements.json --rpc http://127.0.0.1:26657
  tmkms nitro doctor -i 16 --measurements m.json --policy key-policy.json --grants grants.json --key-info key-info.json
  tmkms nitro doctor -i 16 --json | jq '.checks[] | select(.verdict == \"error\")'";

/// Look at everything around the enclave, and say what to mend
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigOption,
    /// The enclave: its CID, or CID@FOLDER (emulated), or unix:PATH (a process)
    #[arg(short = 'i', long = "enclave", value_name = "CID")]
    enclave: Option<Enclave>,
    /// Its control port: the -p of `tmkms nitro start`
    #[arg(short, long, value_name = "PORT", default_value_t = DEFAULT_CONTROL_PORT, value_parser = clap::value_parser!(u32).range(1..=4_294_967_294))]
    port: u32,
    /// Where the states are, the -s of `tmkms nitro persist`; may be repeated [default: /var/lib/tmkms/states]
    #[arg(short, long = "state", visible_alias = "state-dir", value_name = "PATH")]
    state: Vec<PathBuf>,
    /// What your build of the image printed as its measurements; once more for the time of an upgrade
    #[arg(long, value_name = "FILE")]
    measurements: Vec<PathBuf>,
    /// What `aws kms get-key-policy` printed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// What `aws kms list-grants` printed
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
    /// What `aws kms describe-key` printed
    #[arg(long, value_name = "FILE")]
    key_info: Option<PathBuf>,
    /// The node's RPC, such as http://127.0.0.1:26657
    #[arg(long, value_name = "URL")]
    rpc: Option<Server>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is to be looked at.
#[derive(Clone, Debug)]
struct Case {
    config: PathBuf,
    target: Option<Target>,
    states: Vec<PathBuf>,
    measurements: Vec<PathBuf>,
    policy: Option<PathBuf>,
    grants: Option<PathBuf>,
    key_info: Option<PathBuf>,
    rpc: Option<Server>,
    /// Where this machine's files are: /, or a test's folder.
    root: PathBuf,
}

impl Case {
    /// The options that name the enclave, as they have to be typed.
    fn on(&self) -> String {
        match &self.target {
            None => "-i CID".to_owned(),
            Some(target) => {
                let port =
                    if target.port == DEFAULT_CONTROL_PORT { String::new() } else { format!(" -p {}", target.port) };
                format!("-i {}{port}", shell_word(&target.enclave.to_string()))
            }
        }
    }

    /// The same for what listens on the parent, which has ports of its own.
    fn on_parent(&self) -> String {
        let enclave = self.target.as_ref().map_or_else(|| "CID".to_owned(), |target| target.enclave.to_string());
        format!("-i {}", shell_word(&enclave))
    }

    fn states_word(&self) -> String {
        let place =
            self.states.first().map_or_else(|| states::USUAL_PLACE.to_owned(), |place| place.display().to_string());
        shell_word(&place)
    }

    fn config_word(&self) -> String {
        shell_word(&self.config.display().to_string())
    }
}

impl Doctor {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let json = self.json;
        let groups = examine(self.case());
        if json {
            writeln!(out, "{}", page::json(&groups))?;
        } else {
            page::write(&groups, wants_colour(io::stdout().is_terminal()), out)?;
        }
        out.flush()?;
        let counts = Counts::of(groups.iter().flat_map(|group| &group.findings));
        // The table has said everything.
        let ends = |exit| Err(Failure { exit, problems: Vec::new() });
        match counts {
            Counts { errors: 1.., .. } => ends(Exit::Unwell),
            Counts { warnings: 1.., .. } => ends(Exit::Runtime),
            _ => Ok(()),
        }
    }

    fn case(self) -> Case {
        let port = self.port;
        let target = |enclave| Target { enclave, port, software: env!("CARGO_PKG_VERSION") };
        Case {
            config: self.config.path().to_owned(),
            target: self.enclave.map(target),
            states: self.state,
            measurements: self.measurements,
            policy: self.policy,
            grants: self.grants,
            key_info: self.key_info,
            rpc: self.rpc,
            root: PathBuf::from("/"),
        }
    }
}

/// Everything in its order: what the others are about first, then the rest at once.
fn examine(case: Case) -> Vec<Group> {
    let case = Arc::new(case);
    let of_case = Arc::clone(&case);
    let (configuration, basis) = time_limit::start(LIMIT, move |say| configuration::examine(&of_case, say)).finish();
    let basis = Arc::new(basis.unwrap_or_default());

    let (of_case, of_basis) = (Arc::clone(&case), Arc::clone(&basis));
    let (enclave, status) = time_limit::start(LIMIT, move |say| enclave::examine(&of_case, &of_basis, say)).finish();
    let status = Arc::new(status.flatten());

    type Look = fn(&Case, &Basis, Option<&Status>, Say<'_>);
    let rest: [(&'static str, Duration, Look); 7] = [
        ("credentials", CREDENTIALS_LIMIT, |_, basis, status, say| credentials::examine(basis, status, say)),
        ("clock", LIMIT, |case, _, status, say| clock::examine(case, status, say)),
        ("ports", LIMIT, |case, basis, status, say| ports::examine(case, basis.config(), status, say)),
        ("allocator", LIMIT, |case, _, _, say| allocator::examine(case, say)),
        ("states", LIMIT, |case, basis, status, say| states::examine(case, basis.config(), status, say)),
        ("kms key", LIMIT, |case, basis, _, say| key_policy::examine(case, basis, say)),
        ("node", LIMIT, |case, basis, status, say| node::examine(case, basis.config(), status, say)),
    ];
    let running: Vec<_> = rest
        .into_iter()
        .map(|(name, limit, look)| {
            let (case, basis, status) = (Arc::clone(&case), Arc::clone(&basis), Arc::clone(&status));
            (name, time_limit::start(limit, move |say| look(&case, &basis, status.as_ref().as_ref(), say)))
        })
        .collect();
    let mut groups =
        vec![Group { name: "configuration", findings: configuration }, Group { name: "enclave", findings: enclave }];
    groups.extend(running.into_iter().map(|(name, running)| Group { name, findings: running.finish().0 }));
    groups
}

#[cfg(test)]
#[path = "doctor/tests.rs"]
mod tests;
