//! One door for people: `cargo xtask demo | image | enclave | test | soak | fuzz | bench | nodes | sim`.
mod bench;
mod debian;
mod demo;
mod docker;
mod emulated;
mod enclave;
mod fuzz;
mod guest;
mod image;
mod nodes;
mod sim;
mod soak;
mod step;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What can be done with this repository, each as one command that installs what it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a real chain (CometBFT v0.38) with this signer, live in the terminal
    Demo(demo::Args),
    /// Build the enclave image: kernel, static program, EIF, bill of materials, record; verify somebody else's
    Image(image::Args),
    /// An emulated Nitro Enclave on this machine: set it up, run an image
    Enclave(enclave::Args),
    /// What the tests of the Docker way need: buildah, and a stand-in for AWS's init
    Docker(docker::Args),
    /// Run every test: units, properties, real nodes of every line, differential tests, short fuzzing
    Test(test::Args),
    /// Run the fuzz targets for a given time each
    Fuzz(fuzz::Args),
    /// Random chains and random faults, for as long as you like
    Soak(soak::Args),
    /// Measure this signer beside its peers, in one run, with ratios
    Bench(bench::Args),
    /// Build the CometBFT nodes and their test harness into .cache/nodes
    Nodes(nodes::Args),
    /// Set up the ordinary Linux guest of the power cuts (QEMU, kernel, busybox)
    Guest,
    /// Simulated parts of AWS: a KMS that checks signatures, policies and attestation documents
    Sim(sim::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Enclave(args) => enclave::run(&args),
        Task::Docker(args) => docker::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Nodes(args) => nodes::run(&args),
        Task::Guest => guest::run(),
        Task::Sim(args) => sim::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
