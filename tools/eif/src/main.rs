//! `eif build`: an enclave image from a kernel, a command line and ramdisks, written and, if asked for, signed by AWS's own
//! crate. Prints the measurements as nitro-cli does.
//!
//! The file depends on nothing but what is given: AWS's crate puts a description of the build into it, which is not measured
//! but is in the bytes, and all of it is fixed here. Only a signature differs each time, as ECDSA's do.
use aws_nitro_enclaves_image_format::defs::{EifBuildInfo, EifIdentityInfo};
use aws_nitro_enclaves_image_format::utils::{EifBuilder, SignKeyData};
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use sha2::{Digest, Sha384};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Enclave images (EIF), through AWS's own crate.
#[derive(Parser)]
#[command(name = "eif")]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write an image, and print its measurements in nitro-cli's form
    Build(Build),
}

#[derive(Args)]
struct Build {
    /// A bzImage
    #[arg(long)]
    kernel: PathBuf,
    /// The kernel's command line
    #[arg(long)]
    cmdline: String,
    /// A ramdisk; the first one is of PCR1, the others of PCR2
    #[arg(long = "ramdisk", required = true)]
    ramdisks: Vec<PathBuf>,
    /// A certificate in PEM
    #[arg(long, requires = "sign_key")]
    sign_cert: Option<PathBuf>,
    /// Its private key in PEM, or the ARN of a KMS key
    #[arg(long, requires = "sign_cert")]
    sign_key: Option<String>,
    /// The image; it is written anew
    #[arg(long)]
    output: PathBuf,
}

fn main() -> ExitCode {
    let Task::Build(build) = Command::parse().task;
    // AWS's crate panics where a file cannot be read or written; its message alone is what people need.
    std::panic::set_hook(Box::new(|info| eprintln!("error: {}", message(info))));
    match std::panic::catch_unwind(|| run(&build)) {
        Ok(Ok(measurements)) => {
            println!("{:#}", json!({ "Measurements": measurements }));
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn message(info: &std::panic::PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("the image format's crate panicked without a word").to_owned()
}

fn run(build: &Build) -> Result<BTreeMap<String, String>, String> {
    for path in std::iter::once(&build.kernel).chain(&build.ramdisks) {
        File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let signing = match (&build.sign_key, &build.sign_cert) {
        (Some(key), Some(certificate)) => Some(signing(key, certificate)?),
        _ => None,
    };
    let mut builder = EifBuilder::new(&build.kernel, build.cmdline.clone(), signing, Sha384::new(), 0, description());
    for ramdisk in &build.ramdisks {
        builder.add_ramdisk(ramdisk);
    }
    let output = File::options().read(true).write(true).create(true).truncate(true).open(&build.output);
    let mut output = output.map_err(|error| format!("{}: {error}", build.output.display()))?;
    let measurements = builder.write_to(&mut output);
    output.sync_all().map_err(|error| format!("{}: {error}", build.output.display()))?;
    Ok(measurements)
}

fn signing(key: &str, certificate: &Path) -> Result<SignKeyData, String> {
    SignKeyData::new(key, certificate).map_err(|error| format!("cannot sign: {error}"))
}

/// What nitro-cli fills in from the clock and the kernel's file name. Nothing reads it to decide anything, so it says the
/// same for every image of this tool; what an image was made from is in the build record beside it.
fn description() -> EifIdentityInfo {
    EifIdentityInfo {
        img_name: "tmkms".to_owned(),
        img_version: env!("CARGO_PKG_VERSION").to_owned(),
        build_info: EifBuildInfo {
            build_time: "1970-01-01T00:00:00+00:00".to_owned(),
            build_tool: env!("CARGO_PKG_NAME").to_owned(),
            build_tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            img_os: "Linux".to_owned(),
            img_kernel: "see build.json".to_owned(),
        },
        docker_info: json!(null),
        custom_info: json!(null),
    }
}
