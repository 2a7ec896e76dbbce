//! Runs a program whose words nobody needs while it goes well: into a log, with how far it is on the terminal, and the log's end when it fails.
use super::cause;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// What can be shown of how far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is quick.
    None,
    /// The seconds.
    Time,
    /// ninja's `[done/all]`.
    Ninja,
}

/// How often a line is printed where there is no terminal.
const STILL: Duration = Duration::from_secs(30);
/// How much of the log an error has.
const TAIL_LINES: usize = 20;

/// Runs it. The log is written anew.
///
/// # Errors
/// When it fails: with the reason, if it is one that we know, and the end of the log.
pub fn run(what: &str, command: &mut Command, log: &Path, progress: Progress) -> Result<()> {
    println!("    {what}");
    let started = Instant::now();
    // Its messages are read, so they must be the ones that we know.
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{what}: cannot start {command:?}"))?;
    let (say, said) = channel();
    if let Some(output) = child.stdout.take() {
        forward(output, say.clone());
    }
    if let Some(errors) = child.stderr.take() {
        forward(errors, say);
    }
    let followed = follow(&said, log, progress, started);
    if followed.is_err() {
        // The log cannot be written: nothing goes on unseen.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let text = followed?;
    if status.success() {
        if progress != Progress::None {
            println!("    {what}: done in {:.0} s", started.elapsed().as_secs_f64());
        }
        return Ok(());
    }
    let tail = e2e::process::tail(&text, TAIL_LINES);
    bail!("{what} failed ({status}){}; the whole log is {}\n{tail}", cause::of(&text), log.display())
}

fn forward(output: impl Read + Send + 'static, say: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if say.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

/// Everything that it says, until both of its outputs are closed.
fn follow(said: &Receiver<String>, log: &Path, progress: Progress, started: Instant) -> Result<String> {
    let told = || format!("cannot write {}", log.display());
    let mut file = File::create(log).with_context(told)?;
    let (mut text, mut done) = (String::new(), String::new());
    let (tty, mut shown) = (std::io::stdout().is_terminal(), Instant::now());
    loop {
        match said.recv_timeout(Duration::from_millis(500)) {
            Ok(line) => {
                writeln!(file, "{line}").with_context(told)?;
                if progress == Progress::Ninja
                    && let Some(step) = ninja(&line)
                {
                    done = format!("[{step}] ");
                }
                text += &line;
                text.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let pause = if tty { Duration::from_millis(500) } else { STILL };
        if progress != Progress::None && shown.elapsed() >= pause {
            let line = format!("    … {done}{:.0} s", started.elapsed().as_secs_f64());
            if tty {
                print!("\r{line} ");
            } else {
                println!("{line}");
            }
            std::io::stdout().flush()?;
            shown = Instant::now();
        }
    }
    if tty && progress != Progress::None {
        print!("\r\x1b[K");
    }
    Ok(text)
}

/// `[12/890] Compiling …` → `12/890`.
fn ninja(line: &str) -> Option<&str> {
    let (step, _) = line.strip_prefix('[')?.split_once(']')?;
    let (done, all) = step.split_once('/')?;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(done) && number(all)).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ninja_s_steps_are_read() {
        assert_eq!(ninja("[12/890] Compiling C object x.o"), Some("12/890"));
        for line in ["[x/890] y", "[12] y", "12/890", "ninja: no work to do.", "[/] y"] {
            assert_eq!(ninja(line), None, "{line}");
        }
    }

    #[test]
    fn a_failure_says_the_reason_and_the_log_s_end() {
        let log = std::env::temp_dir().join(format!("xtask-progress-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo 'No space left on device' >&2; exit 3"]);
        let error = run("a step", &mut command, &log, Progress::None).unwrap_err().to_string();
        for part in ["a step failed", "exit status: 3", "the disk is full", "one", "No space left"] {
            assert!(error.contains(part), "{error}");
        }
        let written = std::fs::read_to_string(&log).unwrap();
        assert!(written.contains("one\n") && written.contains("No space left"));
        run("a step", &mut Command::new("true"), &log, Progress::Time).unwrap();
        std::fs::remove_file(&log).unwrap();
    }
}
