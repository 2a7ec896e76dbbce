//! A child that is driven by lines of JSON on its input and answers with lines of JSON, as the Go harness does.
use crate::{Process, Sandbox};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A child and the lines that it has said.
pub struct Script {
    process: Process,
    input: ChildStdin,
    lines: Receiver<Value>,
}

impl Script {
    /// Starts `command`; what it says on stderr goes to `NAME.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(sandbox: &Sandbox, name: &str, command: Command) -> Result<Self> {
        let (process, input, output) = Process::spawn_piped(sandbox, name, command)?;
        let (say, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if say.send(value).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, input, lines })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Says one line.
    ///
    /// # Errors
    /// When the child has gone.
    pub fn tell(&mut self, command: &Value) -> Result<()> {
        writeln!(self.input, "{command}").with_context(|| format!("{} no longer listens", self.process.name()))
    }

    /// The child's next line.
    ///
    /// # Errors
    /// When it says nothing `within`, or has ended.
    pub fn next(&mut self, within: Duration) -> Result<Value> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("{} said nothing for {within:?}", self.process.name()),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = self.process.wait(Duration::from_secs(2));
                self.process.check()?;
                bail!("{} closed its output", self.process.name())
            }
        }
    }

    /// Says one line and waits for the answer to it.
    ///
    /// # Errors
    /// As [`Script::tell`] and [`Script::next`].
    pub fn ask(&mut self, command: &Value, within: Duration) -> Result<Value> {
        self.tell(command)?;
        self.next(within)
    }

    /// Skips to the line with `"event": name`.
    ///
    /// # Errors
    /// When it does not come `within`.
    pub fn event(&mut self, name: &str, within: Duration) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let left = within.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
            let line = self.next(left).with_context(|| format!("waiting for the event {name:?}"))?;
            if line["event"] == name {
                return Ok(line);
            }
        }
    }

    /// The lines that are here already, without waiting.
    pub fn pending(&mut self) -> Vec<Value> {
        self.lines.try_iter().collect()
    }
}
