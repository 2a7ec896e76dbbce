//! The record of a build, beside the image: of what, with what, and the digest of each product. It names no folder, user or time,
//! so two builds of the same measurements have the same record, and one that differs says why.
use super::binary::{Binary, PROFILE, TARGET, sources};
use super::kernel::Kernel;
use super::sbom::LIBC;
use super::{Made, output, sha256, tool};
use crate::{debian, step};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;

pub fn text(made: &Made, kernel: &Kernel, binary: &Binary, sbom: &str) -> Result<String> {
    let record = json!({
        "source": source(binary)?,
        "kernel": {
            "package": kernel.package,
            "sourceSha256": kernel.source_sha256,
            "version": kernel.version,
            "gcc": kernel.gcc,
            "binutils": kernel.binutils,
            "gzip": kernel.gzip,
        },
        "program": {
            "target": TARGET,
            "profile": PROFILE,
            "rustc": binary.toolchain.rustc.lines().collect::<Vec<_>>(),
            "cargo": binary.toolchain.cargo,
            "gcc": first_line("cc")?,
            "binutils": first_line("ld")?,
            "libc": format!("{LIBC} {}", debian::version(LIBC)),
            "libcSha256": of_compiler("libc.a")?,
            "libgccEhSha256": of_compiler("libgcc_eh.a")?,
        },
        "tools": {
            "awsNitroEnclavesImageFormat": tool::format_version()?,
            "eifLockSha256": tool::lock_sha256()?,
        },
        "image": {
            "cmdline": made.parts.cmdline,
            "kernelSha256": sha256(&made.parts.kernel),
            "ramdiskSha256": made.parts.ramdisks.iter().map(|ramdisk| sha256(ramdisk)).collect::<Vec<_>>(),
            "files": files(made)?,
            "measurements": made.measurements.registers().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, Value>>(),
        },
        "products": products(made, kernel, binary, sbom)?,
    });
    Ok(format!("{record:#}\n"))
}

/// The commit and the state of what the program is built from, and a digest over those files as they are on the disk.
fn source(binary: &Binary) -> Result<Value> {
    let root = step::root();
    let head = if root.join(".git").exists() { git(&["rev-parse", "HEAD"])? } else { String::new() };
    let tree = if head.is_empty() { String::new() } else { git(&["rev-parse", "HEAD^{tree}"])? };
    Ok(json!({
        "commit": binary.commit.id,
        "dirty": binary.commit.dirty,
        "head": head,
        "tree": tree,
        "programSha256": digest(&root, &sources(&binary.toolchain, &root, binary.kind)?)?,
    }))
}

fn git(args: &[&str]) -> Result<String> {
    output(Command::new("git").arg("-C").arg(step::root()).args(args))
}

/// A digest over the names and contents of all files under these paths: `sha256sum` of each, sorted, and `sha256sum` of that.
fn digest(root: &Path, paths: &[String]) -> Result<String> {
    let mut lines = Vec::new();
    for path in paths {
        collect(root, path, &mut lines)?;
    }
    lines.sort();
    Ok(sha256(lines.concat().as_bytes()))
}

fn collect(root: &Path, path: &str, lines: &mut Vec<String>) -> Result<()> {
    let full = root.join(path);
    if full.is_dir() {
        for entry in std::fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
            let name = entry?.file_name();
            collect(root, &format!("{path}/{}", name.to_string_lossy()), lines)?;
        }
        return Ok(());
    }
    let bytes = std::fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
    lines.push(format!("{path}  {}\n", sha256(&bytes)));
    Ok(())
}

/// What the operator chose, by its names in the image.
fn files(made: &Made) -> Result<Map<String, Value>> {
    let mut files = Map::new();
    for ramdisk in made.parts.ramdisks.iter().skip(1) {
        for (name, node) in ::image::entries(ramdisk)? {
            if let ::image::Node::File { bytes, .. } = node {
                files.insert(name, sha256(&bytes).into());
            }
        }
    }
    Ok(files)
}

fn products(made: &Made, kernel: &Kernel, binary: &Binary, sbom: &str) -> Result<Value> {
    let of = |path: &Path| -> Result<String> {
        Ok(sha256(&std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?))
    };
    let mut products = json!({
        "bzImage": of(&kernel.image)?,
        "kernel.config": of(&kernel.config)?,
        "tmkms": of(&binary.path)?,
        "measurements.json": sha256(made.measurements.to_json().as_bytes()),
        "sbom.json": sha256(sbom.as_bytes()),
    });
    // A signature is another one each time, and so are the bytes of a signed image.
    if made.measurements.pcr8.is_none() {
        let image = made.kind.file();
        products[image] = of(&made.folder.join(image))?.into();
    }
    Ok(products)
}

fn first_line(program: &str) -> Result<String> {
    let said = output(Command::new(program).arg("--version").env("LC_ALL", "C"))?;
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// The digest of a library that the C compiler would link.
fn of_compiler(library: &str) -> Result<String> {
    let path = output(Command::new("cc").arg(format!("-print-file-name={library}")))?;
    Ok(sha256(&std::fs::read(&path).with_context(|| format!("the C compiler's {library}: cannot read {path}"))?))
}
