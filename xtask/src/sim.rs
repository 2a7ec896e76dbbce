//! `cargo xtask sim`: the simulated parts of AWS as programs; and the ordinary `aws` command line to try them with.
use crate::step;
use anyhow::{Result, ensure};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// PyPI's package, in the version that this was tried with.
const AWSCLI: &str = "awscli==1.45.11";

/// Simulated parts of AWS, for development: `cargo xtask sim kms --help`
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What to run, with its own options (`kms --dir DIR`); `test` tries the KMS with the `aws` command line
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Becomes crate `sim`'s program: built here and not linked in, so that the other tasks needn't build it.
pub fn run(args: &Args) -> Result<()> {
    if args.rest == ["test"] {
        return step::run("the aws command line against the development KMS", &mut aws_tests()?);
    }
    let mut cargo = step::cargo();
    let manifest = step::root().join("Cargo.toml");
    // Paths in the arguments are meant from where the caller stands.
    cargo.current_dir(std::env::current_dir()?).args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "sim",
        "--manifest-path",
    ]);
    Err(cargo.arg(manifest).arg("--").args(&args.rest).exec().into())
}

/// The `aws` command line: the one on the path, else PyPI's in `.cache/awscli`, installed when it is missing.
///
/// # Errors
/// There is no Python 3 with venv, or PyPI can't be reached.
pub fn awscli() -> Result<PathBuf> {
    let runs = |path: &PathBuf| {
        let mut command = Command::new(path);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let folder = step::root().join(".cache/awscli");
    let own = folder.join("bin/aws");
    if let Some(found) = [PathBuf::from("aws"), own.clone()].into_iter().find(runs) {
        return Ok(found);
    }
    step::run("awscli: a Python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    step::run("awscli: install", pip.args(["install", "--quiet", "--disable-pip-version-check", AWSCLI]))?;
    ensure!(runs(&own), "{} was installed and does not run", own.display());
    Ok(own)
}

/// The tests of the ordinary `aws` command line against the development KMS, ready to be run.
///
/// # Errors
/// There is no `aws` command line and it cannot be installed.
pub fn aws_tests() -> Result<Command> {
    let mut cargo = step::cargo();
    cargo.env("AWS", awscli()?).args(["test", "--release", "--package", "sim", "--test", "aws", "--", "--ignored"]);
    Ok(cargo)
}
