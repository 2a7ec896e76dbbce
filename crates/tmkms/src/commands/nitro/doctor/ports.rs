//! The parent's ports that the enclave connects to: whether somebody listens. Nothing is sent.
use super::Case;
use super::finding::{Finding, Say};
use crate::commands::nitro::asking::plain;
use crate::config::Config;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::Duration;
use wire::control::Status;
use wire::endpoint::{Listener, Parent};

/// How long a connect may take.
const LIMIT: Duration = Duration::from_secs(3);
/// Where a loopback is tried: high, and nobody's.
const TRIED_PORTS: std::ops::Range<u32> = 4_200_000_000..4_200_000_008;

/// Who should listen on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    Node { chain: String, address: String },
    Kms { host: String },
    States { chains: Vec<String> },
}

pub(super) fn examine(case: &Case, config: Option<&Config>, status: Option<&Status>, say: Say<'_>) {
    let (Some(target), Some(config)) = (&case.target, config) else {
        let why =
            if case.target.is_none() { "no enclave is named" } else { "without a configuration no port is known" };
        say(Finding::skipped("listening", why, ""));
        return;
    };
    let parent = target.enclave.ports_of_parent();
    // It need not be knocked at where the enclave is connected: behind an emulated one a node would see the knock.
    let (up, rest): (Vec<_>, Vec<_>) = roles(config).into_iter().partition(|(_, role)| is_up(status, role));
    for (port, role) in up {
        say(Finding::ok("listening", format!("port {port}, {}: the enclave is connected through it", role.name())));
    }
    if let Parent::Vsock { .. } = &parent
        && let Err(why) = loopback(&parent)
    {
        let names: Vec<String> = rest.iter().map(|(port, role)| format!("port {port}, {}", role.name())).collect();
        let found = format!("{}: this machine cannot reach its own vsock ports ({why})", names.join("; "));
        let help = "load the kernel's loopback for the time of this, `modprobe vsock_loopback`; or see `systemctl status 'tmkms-nitro-*'`";
        say(Finding::skipped("listening", found, help));
        return;
    }
    for (port, role) in rest {
        say(judge(port, &role, case, parent.connect(port, LIMIT).map(drop)));
    }
}

/// Whether the enclave says that it is connected to the node behind that port.
fn is_up(status: Option<&Status>, role: &Role) -> bool {
    let Role::Node { chain, address } = role else { return false };
    let chain = status.and_then(|status| status.chains.iter().find(|served| served.id == *chain));
    chain.is_some_and(|chain| chain.connections.iter().any(|node| node.up && node.address == *address))
}

/// Each port with its role, in the order of the ports.
fn roles(config: &Config) -> BTreeMap<u32, Role> {
    let mut roles = BTreeMap::new();
    for chain in &config.chains {
        if let Some(port) = chain.state.port()
            && let Role::States { chains } = roles.entry(port).or_insert(Role::States { chains: Vec::new() })
        {
            chains.push(chain.id.to_string());
        }
        for validator in &chain.validators {
            if let signer::Endpoint::Vsock { port, .. } = &validator.endpoint {
                let address = validator.endpoint.to_string();
                roles.entry(*port).or_insert(Role::Node { chain: chain.id.to_string(), address });
            }
        }
    }
    if let Some(key) = config.kms_keys().first() {
        let host = format!("kms.{}.amazonaws.com", key.region);
        roles.entry(config.nitro.kms_proxy_port).or_insert(Role::Kms { host });
    }
    roles
}

impl Role {
    fn name(&self) -> String {
        match self {
            Self::Node { chain, .. } => format!("the proxy to the node of {}", plain(chain)),
            Self::Kms { .. } => "the proxy to KMS".to_owned(),
            Self::States { chains } => format!("persist, for {}", plain(&chains.join(", "))),
        }
    }

    fn remedy(&self, port: u32, case: &Case) -> String {
        let on = format!("-p {port} {}", case.on_parent());
        match self {
            Self::Node { .. } => format!(
                "start it (the unit tmkms-nitro-proxy@NAME), with the node's priv_validator_laddr:\n  tmkms nitro proxy {on} -u \
                 /path/of/the/socket"
            ),
            Self::Kms { host } => {
                format!("start it (the unit tmkms-nitro-proxy-kms):\n  tmkms nitro proxy {on} -t {}:443", plain(host))
            }
            Self::States { .. } => {
                let states = case.states_word();
                format!(
                    "start it (the unit tmkms-nitro-persist): nothing is signed without it\n  tmkms nitro persist {on} -s {states}"
                )
            }
        }
    }
}

fn judge(port: u32, role: &Role, case: &Case, knock: io::Result<()>) -> Finding {
    let what = format!("port {port}, {}", role.name());
    match knock {
        Ok(()) => Finding::ok("listening", format!("{what}: somebody listens")),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound | ErrorKind::AddrNotAvailable => {
                let found = format!("{what}: expected somebody who listens, got nobody ({error})");
                Finding::error("listening", found, role.remedy(port, case))
            }
            ErrorKind::PermissionDenied => Finding::skipped(
                "listening",
                format!("{what}: not permitted ({error})"),
                "run this as root, or as the user that runs it",
            ),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                let found = format!(
                    "{what}: expected a connection within {} s, got none: it listens, and accepts nobody",
                    LIMIT.as_secs()
                );
                Finding::error("listening", found, "restart it, and look at its log")
            }
            _ => Finding::warning("listening", format!("{what}: {error}"), role.remedy(port, case)),
        },
    }
}

/// Whether this machine reaches its own ports. Without it the refusal of a port would say nothing.
fn loopback(parent: &Parent) -> Result<(), String> {
    let listener = |port| Listener::on_parent(None, port).map(|listener| (port, listener));
    let mut reason = String::new();
    for port in TRIED_PORTS {
        match listener(port) {
            Ok((port, _listener)) => {
                return parent.connect(port, LIMIT).map(drop).map_err(|error| error.to_string());
            }
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::super::finding::tests::said;
    use super::super::tests::{CONFIG, Folder, case, status};
    use super::*;
    use wire::control::{ConnectionStatus, Phase};

    fn config() -> Config {
        crate::config::parse(CONFIG, std::path::Path::new("/etc/tmkms/tmkms.toml")).unwrap()
    }

    #[test]
    fn who_listens_is_found_by_knocking_and_who_does_not_has_the_command_to_start_him() {
        let folder = Folder::new();
        let case = case(&folder);
        let enclave = &case.target.as_ref().unwrap().enclave;
        let examine = |status: Option<&Status>| said(|say| super::examine(&case, Some(&config()), status, say));
        let text = examine(None);
        assert_eq!(text.matches("error listening: port ").count(), 3, "{text}");
        assert!(
            text.contains(
                "error listening: port 500, the proxy to the node of test-1: expected somebody who listens, got nobody"
            ),
            "{text}"
        );
        assert!(
            text.contains("tmkms nitro proxy -p 8000 -i unix:") && text.contains("-t kms.eu-west-1.amazonaws.com:443"),
            "{text}"
        );
        let _persist = Listener::on_parent(Some(enclave), 555).unwrap();
        let text = examine(None);
        assert!(text.contains("ok listening: port 555, persist, for test-1: somebody listens\n"), "{text}");

        let mut status = status(Phase::Serving);
        status.chains[0].connections = vec![ConnectionStatus { address: "vsock://500".to_owned(), up: true }];
        let text = examine(Some(&status));
        assert!(
            text.contains("ok listening: port 500, the proxy to the node of test-1: the enclave is connected"),
            "{text}"
        );
        status.chains[0].connections[0].up = false;
        assert!(examine(Some(&status)).contains("error listening: port 500"));
    }

    #[test]
    fn what_cannot_be_knocked_at_is_told_as_that() {
        let folder = Folder::new();
        let case = case(&folder);
        let role = Role::Kms { host: "kms.eu-west-1.amazonaws.com".to_owned() };
        let of = |kind: ErrorKind| judge(8000, &role, &case, Err(kind.into())).verdict.name();
        assert_eq!(of(ErrorKind::PermissionDenied), "skipped");
        assert_eq!((of(ErrorKind::TimedOut), of(ErrorKind::ConnectionRefused)), ("error", "error"));
        assert_eq!(of(ErrorKind::Unsupported), "warning");
        assert_eq!(
            said(|say| examine(&case, None, None, say)),
            "skipped listening: without a configuration no port is known\n"
        );
    }
}
