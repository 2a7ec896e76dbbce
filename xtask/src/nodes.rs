//! `cargo xtask nodes`: real CometBFT nodes of each line and the Go harness for them, built into `.cache/nodes` and kept.
use crate::step;
use anyhow::{Context, Result, ensure};
use e2e::Line;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The oldest Go that knows how to fetch the toolchain that a module asks for.
const OLDEST_GO: (u32, u32) = (1, 21);

#[derive(clap::Args)]
pub struct Args {
    /// Lines to build (default: all), e.g. v0.38 v1.0
    lines: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let lines = if args.lines.is_empty() { Line::ALL.to_vec() } else { named(&args.lines)? };
    ensure(&lines)?;
    for line in lines {
        println!("{:<10} {}", line.version(), line.folder().display());
    }
    Ok(())
}

fn named(names: &[String]) -> Result<Vec<Line>> {
    let known = Line::ALL.map(Line::name).join(", ");
    let find = |name: &String| {
        let short = Line::ALL.into_iter().find(|line| line.name() == name || line.version() == name);
        short.with_context(|| format!("unknown line {name:?}: expected one of {known}"))
    };
    names.iter().map(find).collect()
}

/// Builds the lines that are missing or out of date. Each line is finished on its own, so that an interrupted run goes on
/// where it stopped.
pub fn ensure(lines: &[Line]) -> Result<()> {
    go()?;
    let missing = lines.iter().filter(|line| line.cometbft().is_err() || line.harness().is_err()).count();
    if missing > 0 {
        println!(
            "==> {missing} CometBFT line{} to build from the Go module proxy: about {missing} to {} minutes on two cores, once",
            if missing == 1 { "" } else { "s" },
            missing * 2,
        );
    }
    lines.iter().try_for_each(|line| build(*line))
}

fn build(line: Line) -> Result<()> {
    let script = step::root().join("e2e/go/build.sh");
    let started = Instant::now();
    let mut child = Command::new("bash")
        .arg(&script)
        .arg(line.name())
        .arg(line.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", script.display()))?;
    let output = child.stdout.take().context("no standard output")?;
    let (say, said) = channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).all(|text| say.send(text).is_ok());
    });
    let tty = std::io::stdout().is_terminal();
    let mut doing = String::new();
    loop {
        match said.recv_timeout(Duration::from_secs(1)) {
            // Nothing to do is not worth a line.
            Ok(text) if text.ends_with("up to date") => {}
            Ok(text) => {
                println!("\r    {text}");
                doing = text;
            }
            Err(RecvTimeoutError::Timeout) if tty && !doing.is_empty() => {
                print!("\r    … {:.0} s ", started.elapsed().as_secs_f64());
                std::io::stdout().flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    ensure!(
        status.success(),
        "building {line} failed ({status}); what is done is kept: run the command again to go on"
    );
    Ok(())
}

/// Looks for a Go that can build the nodes. It is not installed here: Debian 12's own is older than any that can fetch what CometBFT asks for.
fn go() -> Result<()> {
    let (major, minor) = OLDEST_GO;
    let remedy = format!(
        "install Go {major}.{minor} or newer, which fetches the toolchain that CometBFT asks for by itself, and run this again"
    );
    let found = version().with_context(|| format!("Go is missing, which builds the CometBFT nodes: {remedy}"))?;
    ensure!(found >= OLDEST_GO, "Go {}.{} is too old: {remedy}", found.0, found.1);
    Ok(())
}

fn version() -> Option<(u32, u32)> {
    let output = Command::new("go").arg("version").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut parts = text.split(' ').nth(2)?.strip_prefix("go")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Builds every line that is missing or out of date.
pub fn build_all() -> Result<()> {
    ensure(&Line::ALL)
}
