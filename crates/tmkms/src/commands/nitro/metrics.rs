//! `tmkms nitro metrics`: the enclave's metrics, health and status for a collector outside of it.
use super::asking::{self, EnclaveOption};
use crate::config::LogSettings;
use crate::failure::{Exit, Failure};
use crate::listener::{self, Answer, Pages};
use crate::logging;
use clap::Args;
use host::control_client::{Client, Target};
use log::info;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signer::metrics::CONTENT_TYPE;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use wire::control::{self, MetricsPage, Request};

const EXAMPLES: &str = "\
Serves /metrics for Prometheus, /healthz for probes and /status, as `tmkms start` does with [metrics]. Each request asks the \
enclave, one at a time; while it cannot be reached, the answer is 503 with the reason. SIGTERM and SIGINT end it.

Examples:
  tmkms nitro metrics -i 16 --listen 127.0.0.1:26661";

/// Relay the enclave's metrics, health and status over HTTP
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Metrics {
    #[command(flatten)]
    enclave: EnclaveOption,
    /// Where to serve them; plain HTTP
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Log more
    #[arg(short, long)]
    verbose: bool,
}

impl Metrics {
    pub(super) fn run(&self) -> Result<(), Failure> {
        logging::install(LogSettings::default(), self.verbose)
            .map_err(|error| Failure::new(Exit::Runtime, format!("no thread for the log: {error}"), ""))?;
        let mut signals = Signals::new([SIGTERM, SIGINT])
            .map_err(|error| Failure::new(Exit::Runtime, format!("cannot wait for signals: {error}"), ""))?;
        let pages = Relay { target: self.enclave.target(), turn: Mutex::default() };
        listener::serve(self.listen, Arc::new(pages), "with --listen")?;
        signals.forever().next();
        info!("stopped");
        Ok(())
    }
}

struct Relay {
    target: Target,
    /// One request at a time: however many clients there are, the enclave has places left for who pushes and who looks.
    turn: Mutex<()>,
}

impl Relay {
    fn ask(&self, show: impl FnOnce(MetricsPage) -> Answer) -> Answer {
        let answer = {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            Client::connect(&self.target).and_then(|client| client.ask(&Request::Metrics, None))
        };
        match answer {
            Ok(control::Answer::Metrics(page)) => show(*page),
            Ok(control::Answer::Failed(failure)) => {
                Answer::unavailable(format!("{}\n", asking::plain_lines(&failure.reason)))
            }
            Ok(_) => Answer::unavailable("the enclave's answer is no page of metrics\n"),
            Err(error) => Answer::unavailable(format!("{}\n", asking::plain_lines(&error.to_string()))),
        }
    }
}

impl Pages for Relay {
    fn metrics(&self) -> Answer {
        self.ask(|page| Answer::ok(CONTENT_TYPE, asking::plain_lines(&page.metrics)))
    }

    fn health(&self) -> Answer {
        self.ask(|page| {
            let health = asking::plain_lines(&page.health);
            if page.healthy { Answer::text("200 OK", health) } else { Answer::unavailable(health) }
        })
    }

    fn status(&self) -> Answer {
        self.ask(|page| Answer::ok("application/json", asking::plain_json(&page.status)))
    }
}
