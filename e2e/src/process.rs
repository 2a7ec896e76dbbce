//! A child process in a group of its own, with its output in a file, that ends at the latest when its handle is dropped.
use crate::{Sandbox, until};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running (or ended) child.
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    ended: Option<ExitStatus>,
    log: PathBuf,
    log_start: u64,
    sandbox: Sandbox,
}

impl Process {
    /// Starts `command` with no input and all output appended to `NAME.log` in the sandbox.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(sandbox: &Sandbox, name: &str, mut command: Command) -> Result<Self> {
        let (log, file, log_start) = open_log(sandbox, name)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Self::start(sandbox, name, command, log, log_start)
    }

    /// Starts `command` with its input and output in our hands, and what it says on stderr in `NAME.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_piped(sandbox: &Sandbox, name: &str, mut command: Command) -> Result<(Self, ChildStdin, ChildStdout)> {
        let (log, file, log_start) = open_log(sandbox, name)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut process = Self::start(sandbox, name, command, log, log_start)?;
        let input = process.child.stdin.take().context("no stdin")?;
        let output = process.child.stdout.take().context("no stdout")?;
        Ok((process, input, output))
    }

    fn start(sandbox: &Sandbox, name: &str, mut command: Command, log: PathBuf, log_start: u64) -> Result<Self> {
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().to_string_lossy()))?;
        let group = Pid::from_child(&child);
        sandbox.note('+', child.id())?;
        Ok(Self { name: name.to_owned(), child, group, ended: None, log, log_start, sandbox: sandbox.clone() })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// How it ended, if it has.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.finish(status);
        }
        self.ended
    }

    /// Fails with the end of its log if it has ended.
    ///
    /// # Errors
    /// When it does not run.
    pub fn check(&mut self) -> Result<()> {
        match self.poll() {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended: {status}; it said:\n{}", self.name, tail(&self.log_text(), 30)),
        }
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// When it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        until(&what, within, || Ok(self.poll()))
    }

    /// SIGKILL to the whole group, then reaps it.
    pub fn kill(&mut self) {
        if self.poll().is_none() {
            let _ = kill_process_group(self.group, Signal::KILL);
            if let Ok(status) = self.child.wait() {
                self.finish(status);
            }
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it has not ended `within`; it is killed then.
    pub fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = self.wait(within);
        if ended.is_err() {
            self.kill();
        }
        ended.with_context(|| format!("{} did not end on SIGTERM", self.name))
    }

    /// SIGSTOP: it holds its connections and its lock, and does nothing.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        self.check()?;
        kill_process_group(self.group, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    fn finish(&mut self, status: ExitStatus) {
        self.ended = Some(status);
        // Whatever it left in its group goes with it.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.sandbox.note('-', self.child.id());
    }

    /// What it has written since this start.
    #[must_use]
    pub fn log_text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.log)
            && file.seek(SeekFrom::Start(self.log_start)).is_ok()
        {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it has written in all its lives.
    #[must_use]
    pub fn whole_log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has written `needle` and gives back the line.
    ///
    /// # Errors
    /// When time is up.
    pub fn wait_for_log(&mut self, needle: &str, within: Duration) -> Result<String> {
        let what = format!("{needle:?} in the log of {}", self.name);
        until(&what, within, || {
            let found = self.log_text().lines().find(|line| line.contains(needle)).map(str::to_owned);
            if found.is_none() {
                self.check()?;
            }
            Ok(found)
        })
    }

    /// Resident memory in bytes (`VmRSS`).
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that was ever resident, in bytes (`VmHWM`).
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line =
            status.lines().find(|line| line.starts_with(field)).with_context(|| format!("no {field} in /proc"))?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024)
    }

    /// Open file descriptors.
    ///
    /// # Errors
    /// When it has ended.
    pub fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.id()))?.count())
    }

    /// Threads.
    ///
    /// # Errors
    /// When it has ended.
    pub fn threads(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.id()))?.count())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last `lines` lines of a text.
#[must_use]
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn open_log(sandbox: &Sandbox, name: &str) -> Result<(PathBuf, File, u64)> {
    let path = sandbox.dir().join(format!("{name}.log"));
    let file = File::options().create(true).append(true).open(&path)?;
    let length = file.metadata()?.len();
    Ok((path, file, length))
}
