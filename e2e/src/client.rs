//! CometBFT's own privval client (`SignerListenerEndpoint` + `SignerClient`), as a scripted stand-in for a node.
use crate::script::Script;
use crate::{Line, Observer, Process, Proposal, Sandbox, Transport, Vote};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// How long the harness' client waits for its first signer: longer than any test waits for one, each of which has a limit of its own.
const FIRST_CONNECTION: &str = "15m";
/// Longer than any of the client's own deadlines.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a request for a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A signature that verifies over what the node would keep.
    Signed(Signed),
    /// An error answer (`RemoteSignerError`): its description.
    Refused(String),
    /// No answer: the connection broke or was slow.
    Broken(String),
}

/// A signature and what it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signature, hex.
    pub signature: String,
    /// The extension's signature, hex; empty when there is none.
    pub extension_signature: String,
    /// The canonical sign bytes, hex.
    pub sign_bytes: String,
    /// Whether the recorded timestamp differs from the one that was asked for.
    pub timestamp_changed: bool,
    /// Request to answer, in nanoseconds.
    pub latency_ns: u64,
}

impl Answer {
    /// The signature.
    ///
    /// # Errors
    /// When nothing was signed.
    pub fn signed(self) -> Result<Signed> {
        match self {
            Self::Signed(signed) => Ok(signed),
            other => bail!("expected a signature, got {other:?}"),
        }
    }

    /// The error answer's text.
    ///
    /// # Errors
    /// When there was a signature, or no answer.
    pub fn refused(self) -> Result<String> {
        match self {
            Self::Refused(text) => Ok(text),
            other => bail!("expected a refusal, got {other:?}"),
        }
    }
}

/// One run of many votes in a row.
#[derive(Clone, Debug)]
pub struct Bench {
    /// One latency per vote, in nanoseconds, in order.
    pub latencies_ns: Vec<u64>,
    /// The first height that was not asked for.
    pub next_height: i64,
}

/// A scripted node's side of privval, for one signer connection.
pub struct Client {
    script: Script,
    addr: String,
    chain_id: String,
}

impl Client {
    /// Listens at a new address of `transport`; [`Client::connected`] waits for the signer.
    ///
    /// # Errors
    /// When the line's harness is missing or does not start.
    pub fn listen(sandbox: &Sandbox, name: &str, line: Line, transport: Transport, chain_id: &str) -> Result<Self> {
        let addr = match transport {
            Transport::Unix => format!("unix://{}", sandbox.dir().join(format!("{name}.sock")).display()),
            Transport::Tcp => format!("tcp://127.0.0.1:{}", sandbox.port()?),
        };
        Self::listen_at(sandbox, name, line, &addr, chain_id)
    }

    /// The same, at an address of the caller's choice.
    ///
    /// # Errors
    /// As [`Client::listen`].
    pub fn listen_at(sandbox: &Sandbox, name: &str, line: Line, addr: &str, chain_id: &str) -> Result<Self> {
        let mut command = Command::new(line.harness()?);
        command.args(["client", "--listen", addr, "--chain-id", chain_id, "--timeout", FIRST_CONNECTION]);
        let mut script = Script::start(sandbox, name, command)?;
        let said = script.event("listening", PATIENCE)?;
        let addr = said["addr"].as_str().context("no address")?.to_owned();
        Ok(Self { script, addr, chain_id: chain_id.to_owned() })
    }

    /// Where it listens: what goes into the signer's `addr`.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        self.script.process()
    }

    /// Waits for the signer's first connection.
    ///
    /// # Errors
    /// When it does not come `within`.
    pub fn connected(&mut self, within: Duration) -> Result<()> {
        self.script.event("connected", within).map(drop)
    }

    /// Waits for a connection if there is none. CometBFT's endpoint takes a connection whose signer has died for a live one until it
    /// has written to it: after a restart of the signer use [`Client::reconnect`].
    ///
    /// # Errors
    /// When it does not come `within`.
    pub fn wait(&mut self, within: Duration) -> Result<()> {
        self.expect_ok(&json!({"op": "wait", "timeout_ms": millis(within)}), within)
    }

    /// Drops the connection, as a node does after a slow answer.
    ///
    /// # Errors
    /// When the client has gone.
    pub fn drop_connection(&mut self) -> Result<()> {
        self.expect_ok(&json!({"op": "drop"}), PATIENCE)
    }

    /// Drops the connection and waits for the next, e.g. after the signer's restart.
    ///
    /// # Errors
    /// When the signer does not come back `within`.
    pub fn reconnect(&mut self, within: Duration) -> Result<()> {
        self.expect_ok(&json!({"op": "reconnect", "timeout_ms": millis(within)}), within)
    }

    /// Pings.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ping(&mut self) -> Result<()> {
        self.expect_ok(&json!({"op": "ping"}), PATIENCE)
    }

    /// The public key: type and hex.
    ///
    /// # Errors
    /// When there is none.
    pub fn public_key(&mut self) -> Result<(String, String)> {
        let answer = self.script.ask(&json!({"op": "pubkey"}), PATIENCE)?;
        let text = |field: &str| answer["pub_key"][field].as_str().map(str::to_owned);
        text("type").zip(text("value")).with_context(|| format!("no public key: {answer}"))
    }

    /// Asks for a vote; a signature is checked and shown to the observer.
    ///
    /// # Errors
    /// When the signature does not verify, the answer does not echo the request, or the observer saw a double sign.
    pub fn vote(&mut self, vote: &Vote, observer: &Observer) -> Result<Answer> {
        self.begin_vote(vote)?;
        self.finish(observer)
    }

    /// Asks for a proposal, as [`Client::vote`].
    ///
    /// # Errors
    /// As [`Client::vote`].
    pub fn proposal(&mut self, proposal: &Proposal, observer: &Observer) -> Result<Answer> {
        self.script.tell(&json!({"op": "proposal", "proposal": proposal}))?;
        self.finish(observer)
    }

    /// Sends the request only, so that several clients can ask at once; [`Client::finish`] takes the answer.
    ///
    /// # Errors
    /// When the client has gone.
    pub fn begin_vote(&mut self, vote: &Vote) -> Result<()> {
        self.script.tell(&json!({"op": "vote", "vote": vote}))
    }

    /// The answer to the last request.
    ///
    /// # Errors
    /// As [`Client::vote`].
    pub fn finish(&mut self, observer: &Observer) -> Result<Answer> {
        let answer = self.script.next(PATIENCE)?;
        if answer["ok"] == true {
            let signed = signed(&answer)?;
            observer.saw(&self.chain_id, &signed.sign_bytes)?;
            return Ok(Answer::Signed(signed));
        }
        let error = &answer["error"];
        let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        match error["kind"].as_str() {
            Some("remote") => Ok(Answer::Refused(text("description"))),
            Some("transport") => Ok(Answer::Broken(text("message"))),
            _ => bail!("the client cannot make sense of it: {answer}"),
        }
    }

    /// Asks for `votes` prevotes in a row from `start_height` on, one answer at a time, and checks every signature.
    ///
    /// # Errors
    /// When one is not signed.
    pub fn bench(&mut self, start_height: i64, warmup: u32, votes: u32) -> Result<Bench> {
        let within = Duration::from_secs(60) + Duration::from_millis(20) * (warmup + votes);
        self.begin_bench(start_height, warmup, votes, Duration::ZERO)?;
        self.finish_bench(within)
    }

    /// Starts what [`Client::bench`] does, with at least `interval` from request to request, without waiting for its end.
    ///
    /// # Errors
    /// When the client has gone.
    pub fn begin_bench(&mut self, start_height: i64, warmup: u32, votes: u32, interval: Duration) -> Result<()> {
        let interval_us = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        self.script.tell(&json!({
            "op": "bench", "start_height": start_height, "warmup": warmup, "votes": votes, "interval_us": interval_us,
        }))
    }

    /// The end of what [`Client::begin_bench`] started.
    ///
    /// # Errors
    /// When a vote was not signed; the text names the first that was not (`failed_at`, counted from 0, the warm-up included).
    pub fn finish_bench(&mut self, within: Duration) -> Result<Bench> {
        let answer = self.script.next(within)?;
        ensure!(answer["ok"] == true, "failed_at {}: {}", answer["failed_at"], answer["error"]);
        let latencies = answer["latencies_ns"].as_array().context("no latencies")?;
        Ok(Bench {
            latencies_ns: latencies.iter().filter_map(Value::as_u64).collect(),
            next_height: answer["next_height"].as_i64().context("no height")?,
        })
    }

    fn expect_ok(&mut self, command: &Value, within: Duration) -> Result<()> {
        let answer = self.script.ask(command, within + PATIENCE)?;
        ensure!(answer["ok"] == true, "{}: {}", command["op"], answer["error"]);
        Ok(())
    }
}

fn signed(answer: &Value) -> Result<Signed> {
    for check in ["verifies", "verifies_returned", "extension_verifies"] {
        // A proposal's answered timestamp is the recorded one, which its node does not take over.
        let repeated_proposal = answer["op"] == "proposal" && answer["timestamp_changed"] == true;
        ensure!(answer[check] != false || (repeated_proposal && check == "verifies"), "{check} is false: {answer}");
    }
    ensure!(answer["echoes_request"] == true, "the answer does not echo the request: {answer}");
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    let signed = Signed {
        signature: text("signature"),
        extension_signature: text("extension_signature"),
        sign_bytes: text("sign_bytes"),
        timestamp_changed: answer["timestamp_changed"] == true,
        latency_ns: answer["latency_ns"].as_u64().unwrap_or(0),
    };
    ensure!(!signed.signature.is_empty(), "an answer without a signature: {answer}");
    Ok(signed)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
