//! The image's program: static, with the enclave's features only, the same bytes wherever it is built.
use super::output;
use super::toolchain::{Toolchain, cargo_home};
use crate::step;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

pub const TARGET: &str = "x86_64-unknown-linux-gnu";
pub const PROFILE: &str = "dist";

/// Which image a program is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// It signs, and cannot encrypt.
    #[default]
    Signer,
    /// It makes keys and gives them out encrypted, and cannot sign.
    Ceremony,
}

impl Kind {
    /// What `cargo build`, `cargo tree` and `cargo metadata` are asked for alike.
    pub const fn features(self) -> [&'static str; 3] {
        match self {
            Self::Signer => ["--no-default-features", "--features", "nitro-enclave,softsign"],
            Self::Ceremony => ["--no-default-features", "--features", "nitro-ceremony,softsign"],
        }
    }

    /// The image's file.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Signer => "tmkms.eif",
            Self::Ceremony => "ceremony.eif",
        }
    }
}

/// How a program's way is turned into the same text everywhere, and what the compiler is told besides.
///
/// `crt-static` with `pie` makes a static program that is still loaded at a random address. The linker's build id is a
/// hash over what does not matter. The remapping also keeps out of the hashes in symbols' names where the source lies.
const FLAGS: [&str; 3] = ["-Ctarget-feature=+crt-static", "-Crelocation-model=pie", "-Clink-arg=-Wl,--build-id=none"];

/// For aws-lc's C and assembly: without what is for AVX-512, which is a tenth of the program, speeds up megabytes of AES-GCM
/// where there are some kilobytes to KMS, and cannot be run in the emulated enclave: what is tested is what runs.
const C_FLAGS: &str = "-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX";

/// Makes another user's command of one.
pub type Disguise = Box<dyn Fn(&Command) -> Command>;

/// One build: of which source, into which folder, as who.
pub struct Build {
    pub root: PathBuf,
    pub target: PathBuf,
    pub cargo_home: PathBuf,
    pub commit: Commit,
    pub toolchain: Toolchain,
    pub kind: Kind,
    /// Turns cargo's command into one of another user.
    pub disguise: Option<Disguise>,
}

/// The program, and what it was made of.
pub struct Binary {
    pub path: PathBuf,
    pub commit: Commit,
    pub toolchain: Toolchain,
    pub kind: Kind,
    /// Packages that are in it, and packages that only helped to build it, by cargo's ids.
    pub linked: BTreeSet<String>,
    pub building: BTreeSet<String>,
    pub seconds: f64,
}

/// Which source the program says that it is of: the last commit that changed anything it is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Nothing, where there is no git.
    pub id: Option<String>,
    /// Whether files that it is built from differ from that commit.
    pub dirty: bool,
}

impl Commit {
    /// As `tmkms nitro status` shows it.
    pub fn name(&self) -> Option<String> {
        let suffix = if self.dirty { "-dirty" } else { "" };
        self.id.as_ref().map(|id| format!("{id}{suffix}"))
    }
}

impl Build {
    /// Of the files as they are in this checkout.
    pub fn of_checkout(kind: Kind) -> Result<Self> {
        Self::of(&step::root(), &step::root().join(".cache/image/target"), kind)
    }

    pub fn of(root: &Path, target: &Path, kind: Kind) -> Result<Self> {
        let toolchain = Toolchain::find()?;
        let commit = commit(&toolchain, root, kind)?;
        let (root, target) = (root.to_owned(), target.to_owned());
        Ok(Self { root, target, cargo_home: cargo_home()?, commit, toolchain, kind, disguise: None })
    }

    /// Builds what is missing; says so, and how long it took, only when something was.
    pub fn run(self) -> Result<Binary> {
        let started = Instant::now();
        // The registry's folder must be there before its name can be remapped.
        let fetch = self.cargo()?.args(["fetch", "--locked", "--quiet", "--target", TARGET]).status();
        ensure!(
            fetch.context("cannot start cargo")?.success(),
            "cargo fetch: the crates of Cargo.lock are not to be had"
        );
        println!("==> the image's program: about three minutes on two cores where it is not built yet");
        let mut build = self.cargo()?;
        build.args([
            "build",
            "--locked",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
            "--package",
            "tmkms",
            "--bin",
            "tmkms",
        ]);
        build
            .args(self.kind.features())
            .arg("--target-dir")
            .arg(&self.target)
            .arg("--message-format=json-render-diagnostics");
        build.env("CARGO_ENCODED_RUSTFLAGS", self.flags()?.join("\u{1f}"));
        if let Some(commit) = self.commit.name() {
            build.env("TMKMS_COMMIT", commit);
        }
        let mut child = self.disguised(build).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut units = Units::default();
        for line in BufReader::new(child.stdout.take().context("no standard output")?).lines() {
            units.read(&line?, &self.target);
        }
        let status = child.wait()?;
        ensure!(status.success(), "the image's program could not be built ({status})");
        let seconds = started.elapsed().as_secs_f64();
        println!("    the image's program: ready after {seconds:.0} s");
        let path = units.executable.context("cargo built the image's program and did not say where")?;
        let Units { linked, building, .. } = units;
        Ok(Binary { path, commit: self.commit, toolchain: self.toolchain, kind: self.kind, linked, building, seconds })
    }

    fn cargo(&self) -> Result<Command> {
        let mut command = self.toolchain.cargo()?;
        command.current_dir(&self.root).env("CARGO_HOME", &self.cargo_home);
        // What a configuration file in somebody's home says must not win.
        command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER", "cc");
        command.env("CC_x86_64_unknown_linux_gnu", "cc").env("CFLAGS_x86_64_unknown_linux_gnu", C_FLAGS);
        Ok(command)
    }

    fn disguised(&self, command: Command) -> Command {
        match &self.disguise {
            Some(disguise) => disguise(&command),
            None => command,
        }
    }

    /// Later remappings win, so the narrower ones come last.
    fn flags(&self) -> Result<Vec<String>> {
        let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(remap(&self.root, "/tmkms"));
        flags.push(remap(&self.target, "/target"));
        flags.push(remap(&self.cargo_home, "/cargo"));
        // The registry's folder is named after a hash of its address, which a mirror changes; `cargo vendor` has another place.
        flags.push(remap(&self.root.join("vendor"), "/registry"));
        let sources = self.cargo_home.join("registry/src");
        let entries = std::fs::read_dir(&sources).into_iter().flatten();
        let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        folders.sort();
        flags.extend(folders.iter().map(|folder| remap(folder, "/registry")));
        // Where the library's sources are installed as well, the compiler names them instead of what it is known by.
        let library = self.toolchain.sysroot.join("lib/rustlib/src/rust");
        flags.push(remap(&library, &format!("/rustc/{}", self.toolchain.commit())));
        Ok(flags)
    }
}

/// What cargo says that it made.
#[derive(Default)]
struct Units {
    linked: BTreeSet<String>,
    building: BTreeSet<String>,
    executable: Option<PathBuf>,
}

impl Units {
    /// One line of `--message-format=json`. What was compiled for the target lies in the target's folder; build scripts and
    /// procedural macros, and what these need, do not.
    fn read(&mut self, line: &str, target: &Path) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return };
        if message["reason"] != "compiler-artifact" {
            return;
        }
        let Some(package) = message["package_id"].as_str() else { return };
        let file = message["filenames"][0].as_str().unwrap_or_default();
        let set = if Path::new(file).starts_with(target.join(TARGET)) { &mut self.linked } else { &mut self.building };
        set.insert(package.to_owned());
        if let Some(executable) = message["executable"].as_str().filter(|_| message["target"]["name"] == "tmkms") {
            self.executable = Some(executable.into());
        }
    }
}

/// The last commit that changed the manifests, the lock file or a crate of this workspace that the program is built from:
/// so a change of the documents alone does not change a measurement.
fn commit(toolchain: &Toolchain, root: &Path, kind: Kind) -> Result<Commit> {
    let git = |args: &[&str], paths: &[String]| {
        output(Command::new("git").arg("-C").arg(root).args(args).arg("--").args(paths))
    };
    let paths = sources(toolchain, root, kind)?;
    if !root.join(".git").exists() {
        println!("warning: {} is no git repository: the program will not say which commit it is of", root.display());
        return Ok(Commit { id: None, dirty: false });
    }
    let id = git(&["log", "-1", "--format=%H"], &paths)?;
    ensure!(!id.is_empty(), "git knows no commit that changed {}", paths.join(", "));
    let dirty = !git(&["status", "--porcelain"], &paths)?.is_empty();
    Ok(Commit { id: Some(id), dirty })
}

/// The paths in the repository that the program is built from.
pub fn sources(toolchain: &Toolchain, root: &Path, kind: Kind) -> Result<Vec<String>> {
    let mut tree = toolchain.cargo()?;
    tree.current_dir(root)
        .args(["tree", "--locked", "--quiet", "--package", "tmkms", "--target", TARGET])
        .args(kind.features());
    tree.args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let said = output(&mut tree)?;
    let mut paths: BTreeSet<_> = ["Cargo.toml", "Cargo.lock"].map(str::to_owned).into();
    for line in said.lines() {
        let folder =
            line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(folder, _)| Path::new(folder));
        if let Some(inside) = folder.and_then(|folder| folder.strip_prefix(root).ok()) {
            paths.insert(inside.to_string_lossy().into_owned());
        }
    }
    ensure!(paths.contains("crates/tmkms"), "cargo tree does not name crates/tmkms: {said}");
    Ok(paths.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_told_from_what_only_helps_to_build() {
        let mut units = Units::default();
        let said = |package: &str, file: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{package}","target":{{"name":"tmkms"}},"filenames":["{file}"],"executable":{executable}}}"#
            )
        };
        let target = Path::new("/t");
        units.read(&said("registry#log@1", "/t/x86_64-unknown-linux-gnu/dist/deps/liblog.rlib", "null"), target);
        units.read(&said("registry#syn@2", "/t/dist/deps/libsyn.rlib", "null"), target);
        units.read(&said("path#tmkms@0", "/t/x86_64-unknown-linux-gnu/dist/tmkms", r#""/t/tmkms""#), target);
        units.read("no JSON at all", target);
        assert_eq!(Vec::from_iter(&units.linked), ["path#tmkms@0", "registry#log@1"]);
        assert_eq!(Vec::from_iter(&units.building), ["registry#syn@2"]);
        assert_eq!(units.executable, Some("/t/tmkms".into()));
    }
}
