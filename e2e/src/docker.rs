//! The Docker way, without Docker and without nitro-cli: Debian's `buildah` builds the image from the repository's Dockerfile, its root folder
//! is unpacked and laid out in two ramdisks as nitro-cli does, and a stand-in for AWS's init (`crates/docker-init`) boots it.
//!
//! What of this is real: the Dockerfile, the image, the program in it and its being an ordinary child. What is not: AWS's init, kernel and
//! LinuxKit, so the measurements are not those of nitro-cli.
use crate::Sandbox;
use crate::enclave::Layout;
use crate::line::repository;
use anyhow::{Context, Result, bail, ensure};
use image::Node;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const BUILDAH: &str = "buildah";

/// An image that was built from a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerImage {
    /// What is in it, by paths without a leading slash.
    pub root: BTreeMap<String, Node>,
    /// Its layers as `tar` lists them, with numbers for owners and times in full.
    pub listing: String,
    /// `CMD`.
    pub cmd: Vec<String>,
    /// `ENV`.
    pub env: Vec<String>,
    /// `ENTRYPOINT`; nitro-cli leaves it out where there is a `CMD`.
    pub entrypoint: Vec<String>,
}

impl DockerImage {
    /// Makes the folder that `cargo xtask image` makes, with this command, and builds the image in it.
    ///
    /// # Errors
    /// When `buildah` is missing or refuses, or when the image has what no image of ours has.
    pub fn build(sandbox: &Sandbox, name: &str, cmd: &[&str], program: &[u8], files: &Files) -> Result<Self> {
        let folder = sandbox.dir().join(name);
        let (context, layers, root) = (folder.join("context"), folder.join("layers"), folder.join("root"));
        let cmd: Vec<_> = cmd.iter().map(|word| (*word).to_owned()).collect();
        image::docker_context(&context, &image::dockerfile(&cmd), program, files)?;
        buildah(&folder, &["build", "--isolation", "chroot", "--format", "docker", "--tag", name], &context)?;
        buildah(&folder, &["push", "--quiet", name], Path::new(&format!("dir:{}", layers.display())))?;
        fs::create_dir_all(&root)?;
        Self::unpack(&layers, &root)
    }

    /// From what `buildah push … dir:FOLDER` wrote: a manifest, and files that are named by their digests.
    fn unpack(layers: &Path, root: &Path) -> Result<Self> {
        let manifest = json(&layers.join("manifest.json"))?;
        let config = json(&blob(layers, &manifest["config"])?)?;
        let config = &config["config"];
        let mut listing = String::new();
        for layer in manifest["layers"].as_array().context("the manifest names no layers")? {
            let layer = blob(layers, layer)?;
            listing +=
                &tar(&["--list", "--verbose", "--numeric-owner", "--full-time", "--utc", "--file"], &layer, root)?;
            tar(&["--extract", "--preserve-permissions", "--file"], &layer, root)?;
        }
        ensure!(
            !listing.contains("/.wh.") && !listing.contains(" .wh."),
            "a layer removes files of another one:\n{listing}"
        );
        let (cmd, env) = (words(&config["Cmd"]), words(&config["Env"]));
        Ok(Self { root: image::docker_root(root)?, listing, cmd, env, entrypoint: words(&config["Entrypoint"]) })
    }

    /// The two ramdisks that nitro-cli would make of it, with the stand-in for AWS's init.
    ///
    /// # Errors
    /// When the stand-in is missing, or the image cannot be laid out.
    pub fn ramdisks(&self) -> Result<Vec<Vec<u8>>> {
        let init = stand_in()?;
        let init = fs::read(&init).with_context(|| format!("cannot read {}", init.display()))?;
        Ok(image::docker_layout(&init, None, &self.root, &self.cmd, &self.env)?)
    }
}

/// Files of an image by their paths in it.
pub type Files = BTreeMap<String, Vec<u8>>;

/// How an arrangement's images are made the Docker way, in a folder of that name.
#[must_use]
pub fn layout(sandbox: &Sandbox, name: &str) -> Layout {
    let (sandbox, name, built) = (sandbox.clone(), name.to_owned(), AtomicU32::new(0));
    Layout(Arc::new(move |program, files| {
        let name = format!("{name}-{}", built.fetch_add(1, Ordering::Relaxed));
        DockerImage::build(&sandbox, &name, &COMMAND_IN_EMULATOR, program, files)?.ramdisks()
    }))
}

/// The Dockerfile's command, and where an emulated enclave finds its parent: AWS's init, and so the stand-in, does not hand on the kernel's
/// command line, in which the emulator says it.
pub const COMMAND_IN_EMULATOR: [&str; 5] = ["/tmkms", "nitro", "start", "--parent", "2"];

/// The stand-in for AWS's init.
///
/// # Errors
/// When it has not been built, with how to build it.
pub fn stand_in() -> Result<PathBuf> {
    let path = repository().join("target/image/docker-init");
    ensure!(path.is_file(), "{} is missing: run `cargo xtask docker` first", path.display());
    Ok(path)
}

/// Its storage lies in the folder, and is no overlay: neither privileges nor modules are asked of the kernel.
fn buildah(folder: &Path, arguments: &[&str], last: &Path) -> Result<()> {
    let storage = folder.join("storage");
    let mut command = Command::new(BUILDAH);
    command.arg("--storage-driver").arg("vfs").arg("--root").arg(storage.join("root")).arg("--runroot");
    command.arg(storage.join("run")).args(arguments).arg(last).env("TMPDIR", folder);
    output(&mut command, "run `cargo xtask docker` first, which installs it").map(drop)
}

fn tar(arguments: &[&str], archive: &Path, folder: &Path) -> Result<String> {
    output(Command::new("tar").args(arguments).arg(archive).arg("--directory").arg(folder), "install tar")
}

fn output(command: &mut Command, remedy: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}: {remedy}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{program}: {}: {said}{}", output.status, String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn blob(folder: &Path, entry: &Value) -> Result<PathBuf> {
    let digest = entry["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    Ok(folder.join(digest.with_context(|| format!("the manifest has an entry without a digest: {entry}"))?))
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}
