//! `cargo xtask fuzz`: libFuzzer over every parser of foreign bytes.
use crate::step;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The version that is installed where none is there; pinned, so that a run today and next year are the same.
const CARGO_FUZZ: &str = "0.13.2";

#[derive(clap::Args)]
pub struct Args {
    /// How long each target runs: 30s, 15m, 1h
    #[arg(long, default_value = "60s", value_parser = duration)]
    time: Duration,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Targets that run at the same time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

/// Reads "90s", "15m" or "2h".
pub fn duration(text: &str) -> Result<Duration, String> {
    let explain = || format!("expected a number with s, m or h, such as 15m; got {text:?}");
    let unit = text.chars().last().ok_or_else(explain)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(explain()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| explain())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(explain)
}

pub fn run(args: &Args) -> Result<()> {
    let fuzz = Fuzz::ready()?;
    let targets = match &args.target {
        Some(target) => vec![target.clone()],
        None => fuzz.targets()?,
    };
    let outcomes = fuzz.run(&targets, args.time, args.jobs)?;
    println!("\n{:<24} {:>14} {:>10}", "target", "executions", "result");
    for outcome in &outcomes {
        println!("{:<24} {:>14} {:>10}", outcome.target, outcome.executions, if outcome.ok { "ok" } else { "FAILED" });
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.ok).map(|o| o.target.as_str()).collect();
    ensure!(failed.is_empty(), "these targets failed, their inputs are in fuzz/artifacts: {}", failed.join(", "));
    Ok(())
}

/// Runs every target for that many seconds; returns how many passed and failed.
pub fn run_each(seconds: u64) -> Result<(u64, u64)> {
    let fuzz = Fuzz::ready()?;
    let outcomes = fuzz.run(&fuzz.targets()?, Duration::from_secs(seconds), 2)?;
    for outcome in &outcomes {
        println!(
            "    fuzz {}: {} executions, {}",
            outcome.target,
            outcome.executions,
            if outcome.ok { "ok" } else { "FAILED" }
        );
    }
    let passed = outcomes.iter().filter(|outcome| outcome.ok).count() as u64;
    Ok((passed, outcomes.len() as u64 - passed))
}

struct Outcome {
    target: String,
    executions: u64,
    ok: bool,
}

/// cargo-fuzz, found or installed into the ignored cache, and the built targets.
struct Fuzz {
    cargo_fuzz: PathBuf,
}

impl Fuzz {
    fn ready() -> Result<Self> {
        let tools = step::root().join(".cache/tools");
        let cargo_fuzz = tools.join("bin/cargo-fuzz");
        if !cargo_fuzz.exists() {
            println!("cargo-fuzz {CARGO_FUZZ} is missing and is installed into .cache/tools, about one minute");
            let install = ["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"];
            step::run("install cargo-fuzz", step::cargo().args(install).arg(&tools))?;
        }
        let fuzz = Self { cargo_fuzz };
        step::run("build the fuzz targets", fuzz.command().args(["build", "--sanitizer", "none"]))?;
        Ok(fuzz)
    }

    /// The parsers are safe Rust throughout, so the sanitizers that need a nightly compiler would find nothing
    /// that bounds checks do not: the stable compiler, with its unstable coverage flags allowed, is enough.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.cargo_fuzz);
        command.current_dir(step::root()).env("RUSTC_BOOTSTRAP", "1").arg("fuzz");
        command
    }

    fn targets(&self) -> Result<Vec<String>> {
        let output = self.command().arg("list").output().context("cargo fuzz list")?;
        let text = String::from_utf8(output.stdout)?;
        let targets: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        ensure!(!targets.is_empty(), "cargo fuzz list named no target");
        Ok(targets)
    }

    /// Runs the targets, `jobs` at a time, each with its committed seeds.
    fn run(&self, targets: &[String], time: Duration, jobs: usize) -> Result<Vec<Outcome>> {
        ensure!(jobs > 0, "--jobs: expected at least 1, got 0");
        let mut outcomes = vec![];
        for batch in targets.chunks(jobs) {
            println!("==> fuzz {} for {} s", batch.join(" and "), time.as_secs());
            let running: Vec<_> = batch.iter().map(|target| self.start(target, time)).collect::<Result<_>>()?;
            for (target, mut child) in batch.iter().zip(running) {
                let status = child.wait()?;
                let text = String::from_utf8_lossy(&std::fs::read(log_file(target))?).into_owned();
                if !status.success() {
                    println!("{text}");
                }
                let executions = executions(&text).unwrap_or(0);
                outcomes.push(Outcome { target: target.clone(), executions, ok: status.success() && executions > 0 });
            }
        }
        Ok(outcomes)
    }

    fn start(&self, target: &str, time: Duration) -> Result<std::process::Child> {
        let root = step::root();
        let corpus = root.join("fuzz/corpus").join(target);
        let seeds = root.join("fuzz/seeds").join(target);
        std::fs::create_dir_all(&corpus)?;
        // A file and no pipe: nobody reads while it runs, and a full pipe stops a fuzzer without a word.
        let log = std::fs::File::create(log_file(target)).context("cannot write the fuzzer's log")?;
        if !has_files(&seeds) {
            bail!("the fuzz target {target} has no seed corpus: expected files in fuzz/seeds/{target}");
        }
        self.command()
            .args(["run", "--sanitizer", "none", target])
            .args([&corpus, &seeds])
            .arg("--")
            .args([
                format!("-max_total_time={}", time.as_secs()),
                "-print_final_stats=1".into(),
                "-rss_limit_mb=2048".into(),
            ])
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start the fuzz target {target}"))
    }
}

/// What a target's last run said.
fn log_file(target: &str) -> PathBuf {
    step::root().join("fuzz/corpus").join(format!("{target}.log"))
}

fn has_files(folder: &Path) -> bool {
    folder.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

/// libFuzzer's `stat::number_of_executed_units: N`.
fn executions(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("stat::number_of_executed_units:")?;
    after.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert!(duration("15").is_err() && duration("").is_err() && duration("xs").is_err());
    }

    #[test]
    fn the_count_of_executions_is_found() {
        assert_eq!(executions("Done\nstat::number_of_executed_units: 4711\nstat::x: 1"), Some(4711));
    }
}
