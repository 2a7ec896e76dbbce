//! `cargo xtask test`: everything that proves the project, in one run with one summary.
use crate::debian::{self, Need};
use crate::{docker, enclave, fuzz, guest, image, nodes, sim, step};
use anyhow::{Result, ensure};
use std::process::Command;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// Only what needs no CometBFT node: unit, property and command-line tests
    #[arg(long)]
    quick: bool,
    /// Without what boots: the image twice, the emulated enclave, the Docker way, power cuts of a guest, true vsock
    #[arg(long)]
    no_boot: bool,
    /// Seconds that each fuzz target runs
    #[arg(long, default_value_t = 8)]
    fuzz_seconds: u64,
}

/// Counts over all test runners, and the parts of the run for the summary.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    parts: Vec<Part>,
    /// What each failed test said of its failure.
    failures: Vec<String>,
}

struct Part {
    name: &'static str,
    passed: u64,
    failed: u64,
    seconds: f64,
}

impl Tally {
    /// Runs a `cargo test`-like command and adds up its `test result:` lines.
    fn cargo_test(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let started = Instant::now();
        let (mut passed, mut failed, mut ignored) = (0, 0, 0);
        let failures = &mut self.failures;
        let ok = step::run_lines(name, command, |line| {
            failures.extend(failure(line));
            if let Some(counts) = Counts::of(line) {
                passed += counts.passed;
                failed += counts.failed;
                ignored += counts.ignored;
            }
        })?;
        // A run that broke without a failed test (it did not build, it was killed) is a failure all the same.
        failed += u64::from(!ok && failed == 0);
        self.ignored += ignored;
        self.add(name, passed, failed, started);
        Ok(())
    }

    fn add(&mut self, name: &'static str, passed: u64, failed: u64, started: Instant) {
        self.passed += passed;
        self.failed += failed;
        self.parts.push(Part { name, passed, failed, seconds: started.elapsed().as_secs_f64() });
    }

    fn summary(&self) {
        println!("\n{:<44} {:>7} {:>7} {:>8}", "part", "passed", "failed", "seconds");
        for part in &self.parts {
            println!("{:<44} {:>7} {:>7} {:>8.0}", part.name, part.passed, part.failed, part.seconds);
        }
        if !self.failures.is_empty() {
            println!("\nwhat failed, once more:");
        }
        self.failures.iter().for_each(|line| println!("  {line}"));
        println!("\n{} passed, {} failed, {} skipped", self.passed, self.failed, self.ignored);
    }
}

/// The line of a runner, or of `e2e::Sandbox::run`, that says which test failed, or how, or where a unit test panicked.
fn failure(line: &str) -> Option<String> {
    let line = line.trim();
    let named = line.starts_with("test ") && line.ends_with("... FAILED");
    let told = line.starts_with("failed: ") || (line.starts_with("thread '") && line.contains("panicked at "));
    (named || told).then(|| line.to_owned())
}

struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn of(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?;
        let number = |name: &str| {
            let (before, _) = counts.split_once(name)?;
            before.trim_end().rsplit(' ').next()?.parse().ok()
        };
        Some(Self { passed: number("passed")?, failed: number("failed")?, ignored: number("ignored")? })
    }
}

pub fn run(args: &Args) -> Result<()> {
    let mut tally = Tally::default();
    let signer = ["build", "--release", "--package", "tmkms"];
    step::run("build the signer", step::cargo().args(signer))?;
    let enclave = ["build", "--release", "--package", "sim", "--bins"];
    step::run("build the emulated enclave", step::cargo().args(enclave))?;
    image::ensure_tool()?;
    let units = ["test", "--release", "--workspace", "--exclude", "e2e", "--no-fail-fast"];
    tally.cargo_test("units, properties, power cuts, commands", step::cargo().args(units))?;
    let harness = ["test", "--release", "--package", "e2e", "--no-fail-fast", "--lib", "--bins"];
    tally.cargo_test("the end-to-end harness itself", step::cargo().args(harness))?;
    if !args.quick {
        real_nodes(&mut tally, args)?;
    }
    tally.summary();
    ensure!(tally.failed == 0, "{} tests failed", tally.failed);
    Ok(())
}

/// The test programs of crate e2e that boot something.
const BOOTING: [&str; 6] = ["emulator", "emulated", "docker", "power_cuts", "vsock", "units"];
/// The others.
const RUNNING: [&str; 9] =
    ["ceremony", "conflicts", "extensions", "faults", "harness", "lines", "malformed", "many_chains", "nitro"];

/// What is built once and kept, and what is built from this source for the tests that boot something.
fn prepare() -> Result<()> {
    enclave::ensure()?;
    image::ensure()?;
    image::ensure_of(image::Kind::Ceremony)?;
    guest::ensure()?;
    docker::ensure()?;
    debian::ensure_installed("looking at the units", &[Need { probe: "systemd-analyze", package: "systemd" }])
}

fn real_nodes(tally: &mut Tally, args: &Args) -> Result<()> {
    nodes::build_all()?;
    let oracle = step::root().join(".cache/nodes");
    let differential =
        ["test", "--release", "--package", "privval", "--test", "it", "oracle", "--", "--ignored", "--nocapture"];
    tally.cargo_test(
        "differential: Go and Rust, every line",
        step::cargo().args(differential).env("TMKMS_ORACLE", oracle),
    )?;
    e2e(tally, "real nodes, faults, hostile peers", &RUNNING, 2)?;
    if !args.no_boot {
        prepare()?;
        e2e(tally, "images and guests that boot", &BOOTING, 1)?;
        reproducible(tally)?;
    }
    tally.cargo_test("the aws command line against the development KMS", &mut sim::aws_tests()?)?;
    let started = Instant::now();
    let (passed, failed) = fuzz::run_each(args.fuzz_seconds)?;
    tally.add("fuzzing, a short run of each target", passed, failed, started);
    Ok(())
}

/// Some of the end-to-end tests, so many at a time.
fn e2e(tally: &mut Tally, name: &'static str, programs: &[&str], at_a_time: usize) -> Result<()> {
    let mut command = step::cargo();
    command.args(["test", "--release", "--package", "e2e", "--no-fail-fast"]);
    for program in programs {
        command.args(["--test", program]);
    }
    command.args(["--", "--nocapture"]).arg(format!("--test-threads={at_a_time}"));
    tally.cargo_test(name, &mut command)
}

/// The image from this checkout and from a clone elsewhere, by somebody else: one test, whose failure names the first difference.
fn reproducible(tally: &mut Tally) -> Result<()> {
    let started = Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["image", "--twice"]).current_dir(step::root());
    let same = step::run_lines("build the image twice and compare", &mut command, |_| ())?;
    tally.add("the image from two clones: the same bytes", u64::from(same), u64::from(!same), started);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_runner_is_counted() {
        let counts = Counts::of("test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out");
        assert_eq!(counts.map(|c| (c.passed, c.failed, c.ignored)), Some((12, 3, 1)));
        assert!(Counts::of("test some_result: ok").is_none());
    }

    #[test]
    fn what_a_failed_test_said_is_kept_for_the_end() {
        for line in [
            "test a::b ... FAILED",
            "failed: kill-loop: nothing was signed",
            "thread 'a' (7) panicked at src/a.rs:1:2:",
        ] {
            assert_eq!(failure(line).as_deref(), Some(line));
        }
        for line in ["test a::b ... ok", "test result: FAILED. 1 passed; 1 failed", "  a log says failed: nothing"] {
            assert_eq!(failure(line), None, "{line}");
        }
    }

    #[test]
    fn every_end_to_end_test_is_on_a_list() {
        let files = std::fs::read_dir(step::root().join("e2e/tests")).unwrap().map(|entry| entry.unwrap().path());
        let mut there: Vec<String> = files
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let mut listed: Vec<_> = BOOTING.iter().chain(&RUNNING).map(|name| (*name).to_owned()).collect();
        there.sort();
        listed.sort();
        assert_eq!(there, listed);
    }

    #[test]
    fn a_command_that_breaks_without_a_failed_test_counts_as_failed() {
        let mut tally = Tally::default();
        tally.cargo_test("broken", &mut Command::new("false")).unwrap();
        assert_eq!((tally.passed, tally.failed), (0, 1));
    }
}
