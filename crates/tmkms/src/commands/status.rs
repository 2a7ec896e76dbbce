//! `tmkms status`: how a running signer fares, asked over its metrics listener.
use crate::cli::ConfigOption;
use crate::failure::{Exit, Failure};
use crate::listener;
use clap::Args;
use signer::metrics::{ChainSnapshot, Count, Snapshot, State, Times};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The largest answer that is read, in bytes: some kilobytes for each of thousands of chains.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// How long the signer may take for each step.
const LIMIT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
The signer must be running with [metrics] listen in its configuration. Exits with 1 if it cannot be reached, or if a chain \
is not healthy: signed before, but not lately, or not connected since the start.

Examples:
  tmkms status
  tmkms status --address 127.0.0.1:26661 --json";

/// Show how the running signer fares
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    config: ConfigOption,
    /// Where its metrics are served [default: as the configuration says]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    address: Option<String>,
    /// Print the JSON as it is served
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let (address, places) = self.places()?;
        let body = ask(&places).map_err(|error| {
            let message = format!("cannot ask the signer at {address}: {error}");
            Failure::new(
                Exit::Runtime,
                message,
                "see that it is running, and that `listen` in [metrics] is this address",
            )
        })?;
        let snapshot: Snapshot = serde_json::from_str(&body).map_err(|error| {
            let message = format!("what answers at {address} is no tmkms of this version: {error}");
            Failure::new(Exit::Runtime, message, "compare `tmkms version` here and there")
        })?;
        if self.json {
            writeln!(out, "{body}")?;
        } else {
            write_status(&snapshot, out)?;
        }
        if snapshot.healthy {
            return Ok(());
        }
        out.flush()?;
        let sick = snapshot.chains.iter().filter(|chain| !chain.state.is_healthy());
        let failures = sick.map(|chain| {
            let message = format!("chain {}: {}", chain.chain_id, chain.describe());
            let help = match chain.state {
                State::Stopped => "do what the reason says: the node cannot help, and nothing is signed until then",
                _ => "look at the node, and at this signer's log",
            };
            Failure::new(Exit::Runtime, message, help)
        });
        Failure::all(failures.collect()).map_or(Ok(()), Err)
    }

    /// Where to ask: the address as it is shown, and all that it stands for.
    fn places(&self) -> Result<(String, Vec<SocketAddr>), Failure> {
        if let Some(address) = &self.address {
            let found = address.to_socket_addrs().map(|found| found.map(listener::reachable).collect::<Vec<_>>());
            return match found {
                Ok(places) => Ok((address.clone(), places)),
                Err(error) => {
                    let message = format!("--address: cannot look up {address}: {error}");
                    Err(Failure::new(Exit::Runtime, message, "name an IP address, or a host that this machine knows"))
                }
            };
        }
        let config = self.config.load_for_host("ask the enclave: `tmkms nitro status -i CID`")?;
        let listen = config.metrics.map(|settings| listener::reachable(settings.listen)).ok_or_else(|| {
            let message = format!("{} has no [metrics] section: the signer cannot be asked", config.path.display());
            Failure::new(
                Exit::Configuration,
                message,
                "add [metrics] with listen = \"127.0.0.1:26661\", and restart it",
            )
        })?;
        Ok((listen.to_string(), vec![listen]))
    }
}

/// The form alone; a name is looked up when it is asked.
fn host_and_port(text: &str) -> Result<String, String> {
    let is_named = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host =
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_named || text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("expected a host and a port, such as 127.0.0.1:26661, localhost:26661 or [::1]:26661".to_owned())
}

/// The first answer of several addresses of one host, or the last one's failure.
fn ask(places: &[SocketAddr]) -> io::Result<String> {
    let mut answer = Err(io::Error::other("the name stands for no address"));
    for place in places {
        answer = fetch(*place);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

fn fetch(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(io::Error::other(format!("expected status 200, got {:?}", status.chars().take(80).collect::<String>())))
    }
}

fn write_status(snapshot: &Snapshot, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "tmkms {}, up for {}", snapshot.version, duration(snapshot.uptime_seconds))?;
    snapshot.chains.iter().try_for_each(|chain| write_chain(chain, out))
}

fn write_chain(chain: &ChainSnapshot, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "chain {} (validator {})", chain.chain_id, chain.validator)?;
    writeln!(out, "  state       {}", chain.describe())?;
    if let Some(last) = chain.last_signed {
        let step = guard::Step::ALL.into_iter().find(|step| *step as u8 == last.step).map_or("?", guard::Step::name);
        writeln!(out, "  last signed height {}, round {}, {step}", last.height, last.round)?;
    }
    writeln!(out, "  signatures  {} ({} repeats)", chain.signatures, chain.repeats)?;
    write_counts("refused", &chain.refusals, out)?;
    write_counts("invalid", &chain.invalid_requests, out)?;
    write_counts("store", &chain.store_errors, out)?;
    write_times("commits", chain.commits, out)?;
    write_times("answers", chain.answers, out)?;
    for node in &chain.connections {
        let state = if node.up { "connected" } else { "not connected" };
        writeln!(out, "  node        {} {state}, {} connects, {} failures", node.node, node.connects, node.failures)?;
    }
    Ok(())
}

fn write_counts(name: &str, counts: &[Count], out: &mut dyn Write) -> io::Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let listed: Vec<_> = counts.iter().map(|count| format!("{} {}", count.count, count.reason)).collect();
    writeln!(out, "  {name:<11} {}", listed.join(", "))
}

fn write_times(name: &str, times: Times, out: &mut dyn Write) -> io::Result<()> {
    let (Some(half), Some(most)) = (times.p50_micros, times.p99_micros) else { return Ok(()) };
    writeln!(out, "  {name:<11} half within {half} µs, 99 in 100 within {most} µs")
}

/// Seconds as a person reads them.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}
