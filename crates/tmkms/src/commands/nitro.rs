//! `tmkms nitro …`: the signer inside a Nitro enclave, and its helpers on the parent.
#[cfg(feature = "host")]
mod asking;
#[cfg(feature = "host")]
mod attest;
#[cfg(feature = "host")]
mod ceremony;
#[cfg(feature = "host")]
mod doctor;
#[cfg(feature = "host")]
mod import_key;
#[cfg(feature = "host")]
mod keygen;
#[cfg(feature = "host")]
mod logs;
#[cfg(feature = "host")]
mod metrics;
#[cfg(feature = "host")]
mod persist;
#[cfg(feature = "host")]
mod policy;
#[cfg(feature = "host")]
mod proxy;
#[cfg(feature = "host")]
mod push_config;
#[cfg(feature = "host")]
mod rewrap;
#[cfg(feature = "nitro-enclave")]
pub(crate) mod start;
#[cfg(feature = "host")]
mod status;
#[cfg(feature = "host")]
mod verify;
#[cfg(feature = "host")]
mod watch;

#[cfg(feature = "host")]
pub(crate) use asking::{plain, plain_json, plain_lines};

use crate::failure::Failure;
use clap::Subcommand;
use std::io::Write;

const ABOUT: &str = "\
The signer inside an AWS Nitro enclave (start), and its helpers on the parent instance: persist keeps the records of what was \
signed, proxy connects the node and KMS, push-config sends the configuration; status, logs and metrics show how the enclave fares, \
and doctor looks at the whole arrangement and says what to mend.

keygen, import-key and rewrap have a ceremony enclave make a key, take one in, or encrypt it anew; policy writes the policy of the KMS \
key, which releases it to the image alone; attest has an enclave prove which keys it holds, and verify checks that, anywhere.";

/// Sign inside a Nitro enclave
#[derive(Debug, Subcommand)]
#[command(long_about = ABOUT)]
pub(crate) enum Nitro {
    #[cfg(feature = "nitro-enclave")]
    Start(start::Start),
    #[cfg(feature = "host")]
    PushConfig(push_config::PushConfig),
    #[cfg(feature = "host")]
    Status(status::Status),
    #[cfg(feature = "host")]
    Doctor(Box<doctor::Doctor>),
    #[cfg(feature = "host")]
    Logs(logs::Logs),
    #[cfg(feature = "host")]
    Metrics(metrics::Metrics),
    #[cfg(feature = "host")]
    Persist(persist::Persist),
    #[cfg(feature = "host")]
    Proxy(proxy::Proxy),
    #[cfg(feature = "host")]
    Keygen(keygen::Keygen),
    #[cfg(feature = "host")]
    ImportKey(Box<import_key::ImportKey>),
    #[cfg(feature = "host")]
    Rewrap(rewrap::Rewrap),
    #[cfg(feature = "host")]
    Attest(attest::Attest),
    #[cfg(feature = "host")]
    Verify(Box<verify::Verify>),
    #[cfg(feature = "host")]
    Policy(policy::Policy),
}

impl Nitro {
    #[cfg_attr(not(feature = "host"), expect(unused_variables, reason = "only the host's commands print"))]
    pub(crate) fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            #[cfg(feature = "nitro-enclave")]
            Self::Start(command) => command.run(),
            #[cfg(feature = "host")]
            Self::PushConfig(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Status(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Doctor(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Logs(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Metrics(command) => command.run(),
            #[cfg(feature = "host")]
            Self::Persist(command) => command.run(),
            #[cfg(feature = "host")]
            Self::Proxy(command) => command.run(),
            #[cfg(feature = "host")]
            Self::Keygen(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::ImportKey(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Rewrap(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Attest(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Verify(command) => command.run(out),
            #[cfg(feature = "host")]
            Self::Policy(command) => command.run(out),
        }
    }
}

/// Writes a file that must not be there yet; a half-written one is removed.
#[cfg(feature = "host")]
fn new_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    use crate::failure::Exit;
    let failed = |error: std::io::Error| {
        let help = if error.kind() == std::io::ErrorKind::AlreadyExists {
            "it is left as it is: take another name, or move it away"
        } else {
            ""
        };
        Failure::new(Exit::Runtime, format!("cannot write {}: {error}", path.display()), help)
    };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}
