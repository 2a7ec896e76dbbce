//! The development KMS as a program: `cargo xtask sim kms --dir DIR`.
use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sim::kms::{DEFAULT_ACCOUNT, DEFAULT_REGION, Server, Settings};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Simulated parts of AWS, for development only
#[derive(Parser)]
#[command(name = "sim", bin_name = "cargo xtask sim")]
struct Program {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// A KMS on loopback that checks signatures, policies and attestation documents
    Kms(Kms),
}

#[derive(Args)]
struct Kms {
    /// Where its keys, certificates and access keys lie; made if it isn't there
    #[arg(long)]
    dir: PathBuf,
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value = DEFAULT_REGION)]
    region: String,
    /// Twelve digits
    #[arg(long, default_value = DEFAULT_ACCOUNT)]
    account: String,
    /// A further name for the server's certificate
    #[arg(long = "name")]
    names: Vec<String>,
    /// A root certificate (PEM or DER) whose attestation documents are believed; without one, none is
    #[arg(long = "nsm-root", value_name = "FILE")]
    nsm_roots: Vec<PathBuf>,
    /// Believe the documents of QEMU's emulated enclaves, which nobody signed: anyone can claim any measurement
    #[arg(long)]
    accept_unsigned_documents: bool,
    /// Don't tell each request on standard error
    #[arg(long)]
    quiet: bool,
}

const UNSIGNED: &str = "WARNING: this KMS believes attestation documents that NOBODY SIGNED (--accept-unsigned-documents), as QEMU's emulated enclaves make them.
WARNING: whoever can call it can claim any measurement. Never put a key here that signs for anything.";

fn main() -> ExitCode {
    let Part::Kms(args) = Program::parse().part;
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Kms) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
    let principals = args.dir.join("principals.json");
    if !principals.exists() {
        write_first_principal(&principals, &args.account)?;
    }
    let settings = Settings {
        dir: args.dir.clone(),
        port: args.port,
        region: args.region.clone(),
        account: args.account.clone(),
        names: args.names.clone(),
        echo: !args.quiet,
    };
    let server = Server::start(&settings)?;
    for path in &args.nsm_roots {
        server.trust_nsm_root(&certificate(path)?);
    }
    if args.accept_unsigned_documents {
        server.accept_unsigned_documents();
        eprintln!("{UNSIGNED}");
    }
    println!("{}", welcome(&server, &principals)?);
    signals.forever().next();
    server.stop();
    Ok(())
}

/// A certificate's DER, from a file of either form.
fn certificate(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // A PEM file may begin with words, as the simulated module's does; DER begins with a SEQUENCE.
    if !bytes.windows(10).any(|window| window == b"-----BEGIN") {
        return Ok(bytes);
    }
    let parsed = CertificateDer::from_pem_slice(&bytes);
    Ok(parsed.map_err(|_| anyhow!("{}: expected a certificate in PEM, got another file", path.display()))?.to_vec())
}

/// A user whom IAM allows everything, so that the `aws` command line works at once.
fn write_first_principal(path: &Path, account: &str) -> Result<()> {
    let allow = json!({ "Effect": "Allow", "Action": "kms:*", "Resource": "*" });
    let content = json!({ "principals": [{
        "access_key_id": format!("AKIA{}", random_text(16)?),
        "secret_access_key": random_text(40)?,
        "arn": format!("arn:aws:iam::{account}:user/developer"),
        "iam": { "Version": "2012-10-17", "Statement": [allow] },
    }]});
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{content:#}").with_context(|| format!("cannot write {}", path.display()))
}

/// Characters of access keys; 32 of them, so that each has the same chance.
fn random_text(length: usize) -> Result<String> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).context("no randomness")?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

fn welcome(server: &Server, principals: &Path) -> Result<String> {
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(principals)?)?;
    let first = &file["principals"][0];
    let field = |name: &str| first[name].as_str().unwrap_or_default().to_owned();
    let dir = server.dir().display();
    let token = first["session_token"].as_str().map(|token| format!("  export AWS_SESSION_TOKEN={token}\n"));
    Ok(format!(
        "A simulated KMS, for development only: its keys lie in the clear in {dir}/keys.

  export AWS_ENDPOINT_URL_KMS={url}
  export AWS_CA_BUNDLE={ca}
  export AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={id}
  export AWS_SECRET_ACCESS_KEY={secret}
{token}
  aws kms create-key --description 'my first key'
  aws kms encrypt --key-id KEY --plaintext fileb://FILE --query CiphertextBlob --output text

Who may call: {principals} (read again at each request). Faults: {dir}/faults.json (docs/adr/0007-simulated-kms.md).
It runs until it is stopped with Ctrl-C.",
        url = server.url(),
        ca = server.ca_pem_path().display(),
        region = server.region(),
        id = field("access_key_id"),
        secret = field("secret_access_key"),
        token = token.unwrap_or_default(),
        principals = principals.display(),
    ))
}
