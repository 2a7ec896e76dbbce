//! `cargo xtask docker`: what the tests of the Docker way need. There is no Docker here and nothing of AWS's: Debian's `buildah` builds the
//! image, and a program of ours stands in for the init that nitro-cli puts before it (docs/docker.md says what that proves and what not).
use crate::debian::{self, Need};
use crate::{image, step};
use anyhow::{Context, Result};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Static, because it boots in a ramdisk of its own; small, because images are counted in memory.
const FLAGS: &str = r#"target.x86_64-unknown-linux-gnu.rustflags=["-Ctarget-feature=+crt-static", "-Cstrip=symbols"]"#;

#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<()> {
    ensure()
}

/// Installs `buildah` where it is missing, and builds the stand-in for AWS's init; cheap where nothing changed.
pub fn ensure() -> Result<()> {
    let needs = [("buildah", "buildah"), ("tar", "tar")].map(|(probe, package)| Need { probe, package });
    debian::ensure_installed("building the Docker image without Docker", &needs)?;
    let target = step::root().join("target");
    let mut build = step::cargo();
    build.args(["build", "--release", "--package", "docker-init", "--target", TARGET, "--config", FLAGS]);
    step::run("the stand-in for AWS's init", build.arg("--target-dir").arg(&target))?;
    let built = target.join(TARGET).join("release/docker-init");
    std::fs::create_dir_all(image::folder(image::Kind::Signer))?;
    let place = image::folder(image::Kind::Signer).join("docker-init");
    std::fs::copy(&built, &place).with_context(|| format!("cannot copy {} to {}", built.display(), place.display()))?;
    Ok(())
}
