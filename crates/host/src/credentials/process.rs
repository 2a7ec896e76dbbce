//! Runs a `credential_process`: a shell's command of the profile, for a bounded time, with a bounded output.
use super::{Trouble, json};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use wire::control::Credentials;
use zeroize::Zeroizing;

/// How long it may take: AWS's SDK for Go waits as long.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest output, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;

pub(super) fn run(command: &str, source: String) -> Result<Credentials, Trouble> {
    run_within(command, source, LIMIT)
}

/// Its stderr is ours, so that a person sees what it says.
pub(super) fn run_within(command: &str, source: String, limit: Duration) -> Result<Credentials, Trouble> {
    let wrong = |reason: &str| {
        Trouble::new(format!("its credential_process {reason}"), "run the command by hand and see what it says")
    };
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = shell.spawn().map_err(|error| wrong(&format!("cannot be started: {error}")))?;
    let Some(output) = child.stdout.take() else { return Err(wrong("has no output")) };
    let (send, receive) = mpsc::sync_channel(1);
    let reading = thread::Builder::new().name("credential_process".to_owned()).spawn(move || {
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024 + 1));
        let done = output.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut bytes);
        let _ = send.send(done.map(|_| bytes));
    });
    let until = Instant::now() + limit;
    let read = reading.ok().and_then(|_| receive.recv_timeout(limit).ok());
    let status = read.is_some().then(|| wait(&mut child, until)).flatten();
    end(&mut child);
    match (read, status) {
        (Some(Ok(bytes)), _) if bytes.len() as u64 > MAX_OUTPUT_BYTES => {
            Err(wrong(&format!("prints too much: expected at most {MAX_OUTPUT_BYTES} bytes")))
        }
        (Some(Ok(bytes)), Some(status)) if status.success() => json::read(&bytes, json::Form::Process, source)
            .map_err(|trouble| Trouble::new(format!("of its credential_process: {}", trouble.reason), trouble.remedy)),
        (Some(Ok(_)), Some(status)) => Err(wrong(&format!("failed: {status}"))),
        (Some(Err(error)), _) => Err(wrong(&format!("cannot be read: {error}"))),
        _ => Err(wrong(&format!("did not end within {} s", limit.as_secs()))),
    }
}

fn wait(child: &mut Child, until: Instant) -> Option<std::process::ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// Nothing of it goes on: neither the shell nor what it started.
fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = child.kill();
        let _ = child.wait();
    }
}
