//! Running one command as a visible step: what, where, how long.
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The repository's root folder.
pub fn root() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or_else(|| xtask.clone(), PathBuf::from)
}

/// `cargo`, as it called us, in the repository's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Says what is done and does it; the command's output goes to ours.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    let started = Instant::now();
    announce(what, command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{what}: cannot start {command:?}"))?;
    ensure!(status.success(), "{what}: {status}");
    println!("    {what}: done in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// As [`run`], and hands each line of standard output to `each` while it is shown. Returns whether it succeeded.
pub fn run_lines(what: &str, command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool> {
    announce(what, command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot start {command:?}"))?;
    let output = child.stdout.take().context("no standard output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        each(&line);
    }
    Ok(child.wait()?.success())
}

fn announce(what: &str, command: &Command) {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    if let Some(name) = PathBuf::from(&words[0]).file_name() {
        words[0] = name.to_string_lossy().into_owned();
    }
    println!("\n==> {what}\n    $ {}", words.join(" "));
}
