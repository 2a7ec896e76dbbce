//! `tools/eif`, which writes images through AWS's own crate: built once into the ignored cache.
use super::{output, sha256};
use crate::debian::{self, Need};
use crate::step;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// AWS's crate links the system's OpenSSL.
const NEEDS: [Need; 3] = [
    Need { probe: "cc", package: "gcc" },
    Need { probe: "pkg-config", package: "pkg-config" },
    Need { probe: "/usr/include/openssl/ssl.h", package: "libssl-dev" },
];

/// What the tool is built from.
const SOURCES: [&str; 3] = ["Cargo.toml", "Cargo.lock", "src/main.rs"];

/// The tool's folder in the repository.
pub fn source() -> PathBuf {
    step::root().join("tools/eif")
}

/// The tool, built if it is missing or was built from something else.
pub fn ensure() -> Result<PathBuf> {
    let tool = step::root().join(".cache/tools/bin/eif");
    let stamp_file = tool.with_extension("stamp");
    let stamp = stamp()?;
    if tool.exists() && std::fs::read_to_string(&stamp_file).is_ok_and(|there| there == stamp) {
        return Ok(tool);
    }
    debian::ensure_installed("the tool that writes enclave images", &NEEDS)?;
    println!(
        "==> the tool that writes enclave images is missing or out of date: about three minutes on two cores, once"
    );
    let target = step::root().join(".cache/tools/eif-target");
    let mut build = step::cargo();
    build.args(["build", "--release", "--locked", "--target-dir"]).arg(&target).current_dir(source());
    step::run("build tools/eif", &mut build)?;
    if let Some(folder) = tool.parent() {
        std::fs::create_dir_all(folder)?;
    }
    super::copy(&target.join("release/eif"), &tool)?;
    super::write(&stamp_file, stamp.as_bytes())?;
    Ok(tool)
}

/// What decides about the tool: its sources and the compiler.
fn stamp() -> Result<String> {
    let digests = SOURCES.map(|name| {
        let path = source().join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(format!("{name} {}\n", sha256(&bytes)))
    });
    let digests = digests.into_iter().collect::<Result<String>>()?;
    Ok(format!("{digests}{}\n", output(Command::new("rustc").arg("-V"))?))
}

/// The version of AWS's crate that is in the tool, from its lock file.
pub fn format_version() -> Result<String> {
    let lock =
        std::fs::read_to_string(source().join("Cargo.lock")).context("cannot read the lock file of tools/eif")?;
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"aws-nitro-enclaves-image-format\"");
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = "));
    Ok(version.context("the lock file of tools/eif has no aws-nitro-enclaves-image-format")?.replace('"', ""))
}

/// The digest of the tool's lock file.
pub fn lock_sha256() -> Result<String> {
    let path: &Path = &source().join("Cargo.lock");
    Ok(sha256(&std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?))
}
