//! `tmkms status`: how a running signer fares, asked over its metrics listener.
use crate::cli::ConfigOption;
use crate::failure::{Exit, Failure};
use crate::listener;
use clap::Args;
use signer::metrics::{ChainSnapshot, Count, Snapshot, Times};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
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
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// Print the JSON as it is served
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let address = listener::reachable(self.address()?);
        let body = fetch(address).map_err(|error| {
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
            let message = format!("chain {}: {}", chain.chain_id, listener::describe(chain));
            Failure::new(Exit::Runtime, message, "look at the node, and at this signer's log")
        });
        Failure::all(failures.collect()).map_or(Ok(()), Err)
    }

    fn address(&self) -> Result<SocketAddr, Failure> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let config = self.config.load()?;
        config.metrics.map(|settings| settings.listen).ok_or_else(|| {
            let message = format!("{} has no [metrics] section: the signer cannot be asked", config.path.display());
            Failure::new(
                Exit::Configuration,
                message,
                "add [metrics] with listen = \"127.0.0.1:26661\", and restart it",
            )
        })
    }
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
    writeln!(out, "  state       {}", listener::describe(chain))?;
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
