//! The Rust toolchain that builds the image's program, and an environment in which nothing of the caller's reaches it.
use super::output;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that the published measurements are of. Another one builds as well, and measures differently.
pub const RELEASE: &str = "1.95.0";

/// What is taken over from the caller: where programs and caches are, and how the network is reached. Everything else
/// (`RUSTFLAGS`, `CFLAGS`, `CARGO_PROFILE_…`, `LC_ALL`, …) could change the bytes.
const KEPT: [&str; 9] = [
    "PATH",
    "HOME",
    "TERM",
    "TMPDIR",
    "RUSTUP_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CARGO_NET_OFFLINE",
    "CARGO_HTTP_CAINFO",
];

/// A toolchain's folder and what it says of itself.
#[derive(Clone, Debug)]
pub struct Toolchain {
    pub sysroot: PathBuf,
    /// `rustc -vV`.
    pub rustc: String,
    /// The first line of `cargo -V`.
    pub cargo: String,
}

impl Toolchain {
    /// The pinned release if it is installed, else the one that is in use, with a word on it.
    pub fn find() -> Result<Self> {
        let in_use = Self::at(&sysroot(&mut Command::new("rustc"))?)?;
        if in_use.release() == RELEASE {
            return Ok(in_use);
        }
        let pinned = sysroot(Command::new("rustup").args(["run", RELEASE, "rustc"]));
        match pinned.and_then(|sysroot| Self::at(&sysroot)) {
            Ok(pinned) => Ok(pinned),
            Err(_) => {
                println!(
                    "warning: rustc {} builds the image, and the published measurements are of rustc {RELEASE}: \
                     `rustup toolchain install {RELEASE}` gives the same ones",
                    in_use.release()
                );
                Ok(in_use)
            }
        }
    }

    fn at(sysroot: &Path) -> Result<Self> {
        let program = |name: &str| Command::new(sysroot.join("bin").join(name));
        let rustc = output(program("rustc").arg("-vV"))?;
        let cargo = output(program("cargo").arg("-V"))?;
        Ok(Self { sysroot: sysroot.to_owned(), rustc, cargo })
    }

    /// Such as "1.95.0".
    pub fn release(&self) -> &str {
        self.said("release")
    }

    /// The commit of the compiler, under which its library's sources are known.
    pub fn commit(&self) -> &str {
        self.said("commit-hash")
    }

    fn said(&self, name: &str) -> &str {
        self.rustc.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("unknown")
    }

    /// Its cargo, in a clean environment, with its own programs first.
    pub fn cargo(&self) -> Result<Command> {
        let bin = self.sysroot.join("bin");
        let mut command = Command::new(bin.join("cargo"));
        command.env_clear();
        for (name, value) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_proxy = text.to_ascii_lowercase().ends_with("_proxy");
            let is_registry = text.starts_with("CARGO_REGISTR") || text.starts_with("CARGO_SOURCE");
            if KEPT.contains(&text.as_ref()) || is_proxy || is_registry {
                command.env(name, value);
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)));
        command.env("PATH", path.context("a folder in PATH has a colon in its name")?);
        command.env("LC_ALL", "C").env("CARGO_HOME", cargo_home()?).env("CARGO_INCREMENTAL", "0");
        Ok(command)
    }
}

fn sysroot(rustc: &mut Command) -> Result<PathBuf> {
    Ok(output(rustc.args(["--print", "sysroot"]))?.into())
}

/// Where cargo keeps what it downloaded.
pub fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let home = std::env::home_dir().context("there is no home folder: set CARGO_HOME")?;
    Ok(home.join(".cargo"))
}
