//! Writing an image through AWS's crate, in a program of its own, and checking what it wrote.
use crate::error::{Error, Malformed, Result};
use crate::measure::{Measurements, measure};
use crate::signature::certificate;
use crate::{Eif, Parts, difference};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who signs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// A file with a certificate in PEM.
    pub certificate: PathBuf,
    /// A file with its private key in PEM, or the ARN of a KMS key, which then signs.
    pub key: PathBuf,
}

/// Runs the tool (`tools/eif`), reads back what it wrote, and compares: every part, the registers as the tool says them and
/// as we compute them, and the signature with the certificate that was asked for.
///
/// # Errors
/// What went wrong; then there is no file at `out` that was not there before.
pub fn write(tool: &Path, parts: &Parts, signing: Option<&Signing>, out: &Path) -> Result<Measurements> {
    let folder = Scratch::beside(out)?;
    let image = folder.0.join("image.eif");
    let said = run(tool, parts, signing, &folder.0, &image)?;
    let bytes = std::fs::read(&image).map_err(Error::of(&image))?;
    let measured = check(&Eif::read(&bytes)?, parts, signing)?;
    if said != measured {
        return Err(Error::Differs(format!("the tool says {said:?}, our own computation {measured:?}")));
    }
    std::fs::rename(&image, out).map_err(Error::of(out))?;
    Ok(measured)
}

fn run(tool: &Path, parts: &Parts, signing: Option<&Signing>, folder: &Path, image: &Path) -> Result<Measurements> {
    let kernel = folder.join("kernel");
    std::fs::write(&kernel, &parts.kernel).map_err(Error::of(&kernel))?;
    let mut command = Command::new(tool);
    command.arg("build").arg("--kernel").arg(&kernel).args(["--cmdline", &parts.cmdline]);
    for (index, ramdisk) in parts.ramdisks.iter().enumerate() {
        let path = folder.join(format!("ramdisk-{index}"));
        std::fs::write(&path, ramdisk).map_err(Error::of(&path))?;
        command.arg("--ramdisk").arg(path);
    }
    if let Some(Signing { certificate, key }) = signing {
        command.arg("--sign-cert").arg(certificate).arg("--sign-key").arg(key);
    }
    let output = command.arg("--output").arg(image).output().map_err(Error::of(tool))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Tool(format!("{} ({})", said.trim(), output.status)));
    }
    Ok(Measurements::from_json(&String::from_utf8_lossy(&output.stdout))?)
}

/// AWS's own builder was seen to leave an image unsigned and succeed, so nothing is taken for granted.
fn check(eif: &Eif, parts: &Parts, signing: Option<&Signing>) -> Result<Measurements> {
    if let Some(difference) = difference(parts, eif.parts()) {
        return Err(Error::Differs(difference.to_string()));
    }
    eif.check_signature()?;
    match (signing, eif.signature()) {
        (None, None) => {}
        (Some(_), None) => return Err(Error::Differs("it is not signed".to_owned())),
        (None, Some(_)) => return Err(Error::Differs("it is signed, and nobody asked for it".to_owned())),
        (Some(signing), Some(signature)) => {
            let path = &signing.certificate;
            let asked = certificate(&std::fs::read(path).map_err(Error::of(path))?)?;
            if asked != signature.certificate() {
                return Err(Error::Differs(format!("it is signed with another certificate than {}", path.display())));
            }
        }
    }
    let measured = eif.measurements();
    if measured.pcr0 != measure(parts).pcr0 {
        return Err(Malformed("the image measures differently from its parts".to_owned()).into());
    }
    Ok(measured)
}

/// A folder beside the output, on the same file system, that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(out: &Path) -> Result<Self> {
        let name = format!(".image-{}", std::process::id());
        let folder = out.parent().unwrap_or(Path::new("")).join(name);
        std::fs::create_dir_all(&folder).map_err(Error::of(&folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing in it is of worth; what stays is found by its name.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
