//! A peer on the node's side that sends any bytes: malformed messages, broken handshakes, half-open connections.
use crate::script::Script;
use crate::vote::hex;
use crate::{Line, Sandbox, Transport};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A listening peer with at most one connection.
pub struct RawPeer {
    script: Script,
    addr: String,
}

impl RawPeer {
    /// Listens at a new address of `transport` and takes no connection yet.
    ///
    /// # Errors
    /// When the harness is missing or does not start.
    pub fn listen(sandbox: &Sandbox, name: &str, line: Line, transport: Transport) -> Result<Self> {
        let addr = match transport {
            Transport::Unix => format!("unix://{}", sandbox.dir().join(format!("{name}.sock")).display()),
            Transport::Tcp => format!("tcp://127.0.0.1:{}", sandbox.port()?),
        };
        let mut command = Command::new(line.harness()?);
        command.args(["raw", "--listen", &addr, "--timeout", "0s"]);
        let mut script = Script::start(sandbox, name, command)?;
        let said = script.event("listening", PATIENCE)?;
        let addr = said["addr"].as_str().context("no address")?.to_owned();
        Ok(Self { script, addr })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Takes the signer's next connection, closing the one before. Without `handshake` a TCP connection stays in the clear.
    ///
    /// # Errors
    /// When none comes `within`, or the handshake fails.
    pub fn accept(&mut self, handshake: bool, within: Duration) -> Result<()> {
        let timeout = u64::try_from(within.as_millis())?;
        self.ok(&json!({"op": "accept", "handshake": handshake, "timeout_ms": timeout})).map(drop)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection does not take them.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.ok(&json!({"op": "send", "hex": hex(bytes)})).map(drop)
    }

    /// Sends bytes in pieces with a pause after each.
    ///
    /// # Errors
    /// When the connection does not take them.
    pub fn send_slowly(&mut self, bytes: &[u8], chunk: usize, pause: Duration) -> Result<()> {
        let delay = u64::try_from(pause.as_millis())?;
        self.ok(&json!({"op": "send", "hex": hex(bytes), "chunk": chunk, "delay_ms": delay, "timeout_ms": 60_000}))
            .map(drop)
    }

    /// Sends one undelimited message in a frame and gives back what the answer holds, as the harness describes it.
    ///
    /// # Errors
    /// When no whole frame comes back; the text holds `"eof":true` when the signer hung up.
    pub fn request(&mut self, message: &[u8]) -> Result<Value> {
        self.ok(&json!({"op": "request", "hex": hex(message)})).map(|mut answer| answer["message"].take())
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// When none comes `within`.
    pub fn read(&mut self, within: Duration) -> Result<Value> {
        let timeout = u64::try_from(within.as_millis())?;
        self.ok(&json!({"op": "read", "timeout_ms": timeout})).map(|mut answer| answer["message"].take())
    }

    /// Whether the signer hangs up `within`.
    ///
    /// # Errors
    /// When the harness has gone.
    pub fn hangs_up(&mut self, within: Duration) -> Result<bool> {
        let timeout = u64::try_from(within.as_millis())?;
        let answer = self.script.ask(&json!({"op": "read", "timeout_ms": timeout}), within + PATIENCE)?;
        Ok(answer["ok"] == false && answer["error"]["timeout"] != true)
    }

    /// Closes the connection; `abort` resets it.
    ///
    /// # Errors
    /// When the harness has gone.
    pub fn close(&mut self, abort: bool) -> Result<()> {
        self.ok(&json!({"op": if abort { "abort" } else { "close" }})).map(drop)
    }

    /// Closes our direction only.
    ///
    /// # Errors
    /// When the socket cannot.
    pub fn half_close(&mut self) -> Result<()> {
        self.ok(&json!({"op": "half_close"})).map(drop)
    }

    /// Any command of `harness raw`.
    ///
    /// # Errors
    /// When the harness has gone or reports an error.
    pub fn ok(&mut self, command: &Value) -> Result<Value> {
        let patience = Duration::from_millis(command["timeout_ms"].as_u64().unwrap_or(0)) + PATIENCE;
        let answer = self.script.ask(command, patience)?;
        ensure!(answer["ok"] == true, "{}: {answer}", command["op"]);
        Ok(answer)
    }
}
