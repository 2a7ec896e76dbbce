//! `cargo xtask image`: the enclave image, from this source to its measurements, the same bytes wherever and by whomever it
//! is built (docs/reproducible.md).
mod binary;
mod compose;
pub mod kernel;
mod record;
mod sbom;
mod tool;
mod toolchain;
mod twice;
mod verify;

use crate::step;
use ::image::{Eif, Measurements, Parts, Signing};
use anyhow::{Context, Result, ensure};
pub use binary::Kind;
use binary::{Binary, Build};
use kernel::Kernel;
use std::path::{Path, PathBuf};

/// What an image should not exceed: it must fit four times into the enclave's memory.
const GOAL_BYTES: usize = 8 << 20;

#[derive(clap::Args, Default)]
pub struct Args {
    #[command(flatten)]
    chosen: compose::Chosen,
    /// A certificate in PEM: sign the image with it
    #[arg(long, requires = "sign_key")]
    sign_cert: Option<PathBuf>,
    /// Its private key in PEM, or the ARN of a KMS key
    #[arg(long, requires = "sign_cert")]
    sign_key: Option<PathBuf>,
    /// Where the image and what describes it go [default: target/image, or target/image-ceremony]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Build kernel and program anew, compare with these measurements, and name the first difference
    #[arg(long, value_name = "measurements.json", conflicts_with = "twice")]
    verify: Option<PathBuf>,
    /// Only build what every image is made of: kernel, program, and the tool that writes images
    #[arg(long, conflicts_with_all = ["sign_cert", "sign_key", "out", "verify", "twice"])]
    prepare: bool,
    /// Build from two clones in different folders, by different users, and compare the bytes
    #[arg(long, conflicts_with_all = ["sign_cert", "sign_key", "out"])]
    twice: bool,
}

/// What every image is made of, built and up to date.
#[derive(Debug)]
pub struct Ready {
    /// `target/image/tmkms`: the static binary that an image boots.
    pub binary: PathBuf,
    /// `target/image/bzImage`.
    pub kernel: PathBuf,
    /// `.cache/tools/bin/eif`, which writes images.
    pub tool: PathBuf,
}

impl Ready {
    fn show(&self) {
        [&self.kernel, &self.binary, &self.tool].iter().for_each(|path| println!("{}", path.display()));
    }
}

/// The folder of what `cargo xtask image` makes.
pub fn folder(kind: Kind) -> PathBuf {
    step::root().join(match kind {
        Kind::Signer => "target/image",
        Kind::Ceremony => "target/image-ceremony",
    })
}

/// The tool that writes images, which the tests of crate image drive.
pub fn ensure_tool() -> Result<PathBuf> {
    tool::ensure()
}

/// Kernel, program and tool, built where they are missing or out of date; cheap where nothing changed.
pub fn ensure() -> Result<Ready> {
    ensure_of(Kind::Signer)
}

/// The same for either image.
pub fn ensure_of(kind: Kind) -> Result<Ready> {
    let (ready, ..) = prepare(kind)?;
    Ok(ready)
}

/// How long kernel, program and image take from nothing, in seconds; the tool that writes images is there. Minutes.
pub fn seconds_from_nothing(folder: &Path) -> Result<f64> {
    let tool = tool::ensure()?;
    let started = std::time::Instant::now();
    verify::from_nothing(Kind::Signer, |kernel, binary| {
        Made::write(&Args::default(), &tool, kernel, binary, folder).map(drop)
    })?;
    Ok(started.elapsed().as_secs_f64())
}

/// The same where kernel and program are built already and nothing has changed.
pub fn seconds_again(folder: &Path) -> Result<f64> {
    let started = std::time::Instant::now();
    let (ready, kernel, binary) = prepare(Kind::Signer)?;
    Made::write(&Args::default(), &ready.tool, &kernel, &binary, folder)?;
    Ok(started.elapsed().as_secs_f64())
}

fn prepare(kind: Kind) -> Result<(Ready, Kernel, Binary)> {
    let tool = tool::ensure()?;
    let kernel = kernel::ensure()?;
    let binary = Build::of_checkout(kind)?.run()?;
    let folder = folder(kind);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let ready = Ready { binary: folder.join("tmkms"), kernel: folder.join("bzImage"), tool };
    copy(&binary.path, &ready.binary)?;
    copy(&kernel.image, &ready.kernel)?;
    copy(&kernel.config, &folder.join("kernel.config"))?;
    Ok((ready, kernel, binary))
}

pub fn run(args: &Args) -> Result<()> {
    match &args.verify {
        Some(measurements) => verify::run(args, measurements),
        None if args.twice => twice::run(args),
        None if args.prepare => ensure_of(args.chosen.kind()).map(|ready| ready.show()),
        None => make(args),
    }
}

fn make(args: &Args) -> Result<()> {
    args.check()?;
    let (ready, kernel, binary) = prepare(args.chosen.kind())?;
    let out = args.out.clone().unwrap_or_else(|| folder(args.chosen.kind()));
    let made = Made::write(args, &ready.tool, &kernel, &binary, &out)?;
    made.describe(&kernel, &binary)?;
    made.show();
    docker_context(args, &binary, &out.join("docker"))?;
    Ok(())
}

/// The folder in which docker builds the same program and files into an image of its own (docs/docker.md).
fn docker_context(args: &Args, binary: &Binary, folder: &Path) -> Result<()> {
    let program = std::fs::read(&binary.path).with_context(|| format!("cannot read {}", binary.path.display()))?;
    let dockerfile = ::image::dockerfile(&args.chosen.command());
    match ::image::docker_context(folder, &dockerfile, &program, &args.chosen.files()?) {
        Ok(()) => println!("    {}: the folder for `nitro-cli build-enclave --docker-dir`", folder.display()),
        // An image of our own has room where a Docker image has none.
        Err(::image::Error::Input(reason)) => println!("note: no folder for docker is made: {reason}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

impl Args {
    /// What can be known to be wrong before minutes are spent on building: also a key that is not the certificate's, which
    /// shows when something is signed with it.
    fn check(&self) -> Result<()> {
        self.chosen.check()?;
        let Some(signing) = self.signing() else { return Ok(()) };
        let trial = Parts { kernel: vec![0], cmdline: "trial".to_owned(), ramdisks: vec![vec![0]] };
        let file = std::env::temp_dir().join(format!("tmkms-signed-{}.eif", std::process::id()));
        let signed = ::image::write(&tool::ensure()?, &trial, Some(&signing), &file);
        // It is of no worth; what stays is found by its name.
        drop(std::fs::remove_file(&file));
        signed.map(drop).context("--sign-cert and --sign-key")
    }

    fn signing(&self) -> Option<Signing> {
        let pair = self.sign_cert.clone().zip(self.sign_key.clone());
        pair.map(|(certificate, key)| Signing { certificate, key })
    }
}

/// An image that was written and read back.
struct Made {
    folder: PathBuf,
    parts: Parts,
    measurements: Measurements,
    eif_bytes: usize,
    kind: Kind,
    note: Option<&'static str>,
}

impl Made {
    fn write(args: &Args, tool: &Path, kernel: &Kernel, binary: &Binary, out: &Path) -> Result<Self> {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let parts = args.chosen.parts(&kernel.image, &binary.path)?;
        let file = out.join(args.chosen.kind().file());
        let measurements = ::image::write(tool, &parts, args.signing().as_ref(), &file)?;
        write(&out.join("measurements.json"), measurements.to_json().as_bytes())?;
        let eif_bytes = usize::try_from(std::fs::metadata(&file)?.len())?;
        Ok(Self {
            folder: out.to_owned(),
            parts,
            measurements,
            eif_bytes,
            kind: args.chosen.kind(),
            note: args.chosen.note(),
        })
    }

    /// The bill of materials and the record of this build, beside the image.
    fn describe(&self, kernel: &Kernel, binary: &Binary) -> Result<()> {
        let sbom = sbom::text(kernel, binary)?;
        write(&self.folder.join("sbom.json"), sbom.as_bytes())?;
        let record = record::text(self, kernel, binary, &sbom)?;
        write(&self.folder.join("build.json"), record.as_bytes())
    }

    fn show(&self) {
        println!("\n==> {}", self.folder.join(self.kind.file()).display());
        let Parts { kernel, cmdline, ramdisks } = &self.parts;
        let mut sizes = vec![("kernel".to_owned(), kernel.len()), ("command line".to_owned(), cmdline.len())];
        sizes.extend(ramdisks.iter().enumerate().map(|(index, ramdisk)| {
            let name = if index == 0 { "boot ramdisk".to_owned() } else { format!("application ramdisk {index}") };
            (name, ramdisk.len())
        }));
        sizes.push(("image".to_owned(), self.eif_bytes));
        sizes.iter().for_each(|(name, bytes)| println!("    {name:<22} {bytes:>9} bytes"));
        self.measurements.registers().for_each(|(name, value)| println!("    {name}  {value}"));
        if self.eif_bytes > GOAL_BYTES {
            println!(
                "warning: the image has {} bytes, more than the {GOAL_BYTES} that are this project's goal: an enclave needs \
                 at least four times its image's size in memory",
                self.eif_bytes
            );
        }
        if let Some(note) = self.note {
            println!("note: {note}");
        }
    }
}

/// Reads an image's file.
fn read_eif(path: &Path) -> Result<Eif> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Eif::read(&bytes).with_context(|| path.display().to_string())
}

/// Copies it unless the same is there: what depends on its time is then not made again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let new = unfinished(to);
    std::fs::copy(from, &new).with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, to).with_context(|| format!("cannot write {}", to.display()))
}

/// Writes a whole file or none.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = unfinished(path);
    std::fs::write(&new, bytes).with_context(|| format!("cannot write {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Beside it, and no other process's.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    name.into()
}

/// What a command prints, trimmed.
fn output(command: &mut std::process::Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{command:?}: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
