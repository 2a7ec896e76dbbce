//! The enclave as what operators start: an image of our kernel and the release binary with a measured policy, booted by the emulator.
use crate::emulator::{Emulator, EmulatorSpec};
use crate::line::repository;
use anyhow::{Context, Result, ensure};
use image::{Measurements, Parts};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an image is made of but for its policy, and what it is booted on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel, `target/image/bzImage`.
    pub kernel: PathBuf,
    /// The release binary, `target/image/tmkms`, which is the image's `/init`.
    pub program: PathBuf,
    /// The measured command line.
    pub cmdline: String,
    /// The enclave's CID.
    pub cid: u32,
    /// Its memory.
    pub memory_mib: u32,
    /// Its processors.
    pub cpus: u32,
    /// How program and files are laid out, if not in our own way.
    pub layout: Option<Layout>,
}

type Ramdisks = dyn Fn(&[u8], &BTreeMap<String, Vec<u8>>) -> Result<Vec<Vec<u8>>> + Send + Sync;

/// Makes an image's ramdisks of the program and an operator's files.
#[derive(Clone)]
pub struct Layout(pub Arc<Ramdisks>);

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layout")
    }
}

impl Machine {
    /// What `cargo xtask image` has built (or what is in the folder `E2E_IMAGE`), with CID 16, 256 MiB and two processors.
    ///
    /// # Errors
    /// When it has not been built, with how to build it.
    pub fn built() -> Result<Self> {
        let built = || repository().join("target/image");
        let folder = std::env::var_os("E2E_IMAGE").map_or_else(built, PathBuf::from);
        let (kernel, program) = (folder.join("bzImage"), folder.join("tmkms"));
        for file in [&kernel, &program, &tool()] {
            let path = file.display();
            ensure!(file.is_file(), "{path} is missing: an emulated enclave needs it; run `cargo xtask image` first");
        }
        let cmdline = image::CMDLINE.to_owned();
        Ok(Self { kernel, program, cmdline, cid: 16, memory_mib: 256, cpus: 2, layout: None })
    }

    /// What `cargo xtask image --ceremony` has built: the same but for the program.
    ///
    /// # Errors
    /// As [`Machine::built`].
    pub fn ceremony() -> Result<Self> {
        let program = repository().join("target/image-ceremony/tmkms");
        let path = program.display();
        ensure!(program.is_file(), "{path} is missing: run `cargo xtask image --ceremony --prepare` first");
        Ok(Self { program, ..Self::built()? })
    }

    /// With that much memory.
    #[must_use]
    pub const fn with_memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Writes an image with this kernel and command line, whatever its ramdisks are.
    ///
    /// # Errors
    /// When a part cannot be read or the image not be written.
    pub fn write(&self, ramdisks: Vec<Vec<u8>>, eif: PathBuf) -> Result<Built> {
        let parts = Parts { kernel: read(&self.kernel)?, cmdline: self.cmdline.clone(), ramdisks };
        let measured = image::write(&tool(), &parts, None, &eif)?;
        Ok(Built { eif, measured })
    }

    fn ramdisks(&self, policy: &Path) -> Result<Vec<Vec<u8>>> {
        let (program, files) = (read(&self.program)?, image::policy_files(policy, &[])?);
        match &self.layout {
            Some(Layout(lay_out)) => lay_out(&program, &files),
            None => Ok(vec![image::boot_ramdisk(&program)?, image::app_ramdisk(&files)?]),
        }
    }

    /// With an option of ours at the end of the measured command line, `tmkms.NAME=VALUE`.
    #[must_use]
    pub fn with_option(mut self, option: &str) -> Self {
        self.cmdline = format!("{} {option}", self.cmdline);
        self
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The program that writes images through AWS's crate.
fn tool() -> PathBuf {
    repository().join(".cache/tools/bin/eif")
}

/// An image in a file.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file.
    pub eif: PathBuf,
    /// What it measures, as our own crate computes it.
    pub measured: Measurements,
}

/// An arrangement's machine, the images that were made for it, and the one that runs.
pub(super) struct Emulated {
    pub(super) machine: Machine,
    pub(super) emulator: Option<Emulator>,
    /// By program, command line and policy.
    images: HashMap<(PathBuf, String, String), Built>,
    pub(super) image: Option<Built>,
}

impl Emulated {
    pub(super) fn new(machine: Machine) -> Self {
        Self { machine, emulator: None, images: HashMap::new(), image: None }
    }

    /// Makes the image with this policy unless it was made before.
    pub(super) fn build(&mut self, policy: &Path) -> Result<Built> {
        let Machine { program, cmdline, .. } = &self.machine;
        let key = (program.clone(), cmdline.clone(), fs::read_to_string(policy)?);
        if let Some(built) = self.images.get(&key) {
            return Ok(built.clone());
        }
        let eif = policy.with_file_name(format!("enclave-{}.eif", self.images.len()));
        let built = self.machine.write(self.machine.ramdisks(policy)?, eif)?;
        self.images.insert(key, built.clone());
        Ok(built)
    }

    /// What the emulator is told.
    pub(super) fn spec(&self, built: &Built, folder: &Path) -> EmulatorSpec {
        let Machine { cid, memory_mib, cpus, .. } = self.machine;
        EmulatorSpec { cid, memory_mib, cpus, ..EmulatorSpec::new(built.eif.clone(), folder.to_owned()) }
    }
}
