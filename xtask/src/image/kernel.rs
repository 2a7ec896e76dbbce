//! The enclave's kernel, built from Debian's source package with `image/kernel/`'s configuration into `.cache/kernel`, the same bytes everywhere.
use crate::debian::{self, Need};
use crate::step;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the source package puts on the disk, and its name.
pub const SOURCE: &str = "/usr/src/linux-source-6.12.tar.xz";
const PACKAGE: &str = "linux-source-6.12";

/// What a build takes, each with its package. Perl is essential on Debian.
const NEEDS: [Need; 11] = [
    Need { probe: SOURCE, package: PACKAGE },
    Need { probe: "gcc", package: "gcc" },
    Need { probe: "ld", package: "binutils" },
    Need { probe: "make", package: "make" },
    Need { probe: "flex", package: "flex" },
    Need { probe: "bison", package: "bison" },
    Need { probe: "bc", package: "bc" },
    Need { probe: "patch", package: "patch" },
    Need { probe: "xz", package: "xz-utils" },
    Need { probe: "/usr/include/libelf.h", package: "libelf-dev" },
    Need { probe: "/usr/include/stdio.h", package: "libc6-dev" },
];

/// What of this repository decides about the bytes.
const OURS: [&str; 3] = ["enclave.config", "vsock-always-receives.patch", "build.sh"];

/// A kernel that is built, and what its bytes depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The bzImage that goes into the EIF.
    pub image: PathBuf,
    /// Its final configuration.
    pub config: PathBuf,
    /// Names for the addresses of a panic; there are none in the kernel itself.
    pub map: PathBuf,
    /// SHA-256 of the image, in hexadecimal.
    pub image_sha256: String,
    /// SHA-256 of the source package's archive.
    pub source_sha256: String,
    /// The source package and its version, such as "linux-source-6.12 6.12.117-1~deb12u1".
    pub package: String,
    /// The kernel's own version.
    pub version: String,
    /// First lines of `gcc --version`, `ld --version`, `gzip --version`.
    pub gcc: String,
    pub binutils: String,
    pub gzip: String,
}

/// The kernel, from the cache if nothing that it depends on has changed.
pub fn ensure() -> Result<Kernel> {
    debian::ensure_installed("the enclave's kernel", &NEEDS)?;
    let source_sha256 = sha256_file(Path::new(SOURCE))?;
    let kernels = step::root().join(".cache/kernel");
    let folder = kernels.join(key(&source_sha256)?);
    let _one_at_a_time = lock(&kernels)?;
    match finished(&folder, &source_sha256) {
        Some(kernel) => Ok(kernel),
        None => build(&folder, &source_sha256),
    }
}

/// Builds it anew in a folder of the caller's, whatever the cache holds: so that two builds can be compared.
pub fn build_in(folder: &Path) -> Result<Kernel> {
    debian::ensure_installed("the enclave's kernel", &NEEDS)?;
    build(folder, &sha256_file(Path::new(SOURCE))?)
}

/// Who comes while somebody else builds waits, and finds it built.
fn lock(folder: &Path) -> Result<fs::File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(".lock");
    let file = fs::File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn build(folder: &Path, source_sha256: &str) -> Result<Kernel> {
    println!(
        "==> the enclave's kernel is not built yet from this source and configuration: about three minutes on two cores, once"
    );
    let script = step::root().join("image/kernel/build.sh");
    let mut command = Command::new("bash");
    command.arg(&script).arg(SOURCE).arg(folder);
    let built = step::run_lines("build the enclave's kernel", &mut command, |_| ())?;
    ensure!(
        built,
        "the kernel was not built: what went wrong stands above, the whole log in {}; nothing half-made is used, run the \
         command again when it is mended",
        folder.join("build.log").display()
    );
    let lost = || format!("{} has no whole kernel although {} ended well", folder.display(), script.display());
    finished(folder, source_sha256).with_context(lost)
}

/// What a folder holds, if a build ended there and its files are still the ones that it made.
fn finished(folder: &Path, source_sha256: &str) -> Option<Kernel> {
    // The script writes the facts last of all, by a rename.
    let text = fs::read_to_string(folder.join("facts")).ok()?;
    let facts: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let fact = |name: &str| facts.get(name).map(|value| (*value).to_owned());
    let (image, config) = (folder.join("bzImage"), folder.join("kernel.config"));
    let image_sha256 = sha256_file(&image).ok()?;
    if fact("bzImage")? != image_sha256 || fact("kernel.config")? != sha256_file(&config).ok()? {
        return None;
    }
    Some(Kernel {
        image,
        config,
        map: folder.join("System.map"),
        image_sha256,
        source_sha256: source_sha256.to_owned(),
        package: format!("{PACKAGE} {}", debian::version(PACKAGE)),
        version: fact("version")?,
        gcc: fact("gcc")?,
        binutils: fact("binutils")?,
        gzip: fact("gzip")?,
    })
}

/// Names a build by all that its bytes depend on.
fn key(source_sha256: &str) -> Result<String> {
    let folder = step::root().join("image/kernel");
    let mut hash = Sha256::new();
    for name in OURS {
        let path = folder.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    }
    for tool in ["gcc", "ld", "gzip"] {
        hash.update(first_line(tool)?);
        hash.update("\n");
    }
    hash.update(source_sha256);
    Ok(hex(&hash.finalize())[..16].to_owned())
}

/// The line in which a tool names itself and its version.
fn first_line(tool: &str) -> Result<String> {
    let output = Command::new(tool).arg("--version").env("LC_ALL", "C").output();
    let output = output.with_context(|| format!("cannot run {tool} --version"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(str::to_owned).with_context(|| format!("{tool} --version says nothing"))
}

fn sha256_file(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a build leaves it.
    fn built(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tmkms-kernel-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("bzImage"), "kernel").unwrap();
        fs::write(folder.join("kernel.config"), "CONFIG_NSM=y\n").unwrap();
        let digest = |name: &str| sha256_file(&folder.join(name)).unwrap();
        let facts = format!(
            "version=6.12.1\ngcc=gcc (A=b) 12\nbinutils=ld 2\ngzip=gzip 1\nbzImage={}\nkernel.config={}\n",
            digest("bzImage"),
            digest("kernel.config")
        );
        fs::write(folder.join("facts"), facts).unwrap();
        folder
    }

    #[test]
    fn a_whole_kernel_is_found_with_what_made_it() {
        let folder = built("whole");
        let kernel = finished(&folder, "abc").unwrap();
        assert_eq!((kernel.version.as_str(), kernel.gcc.as_str()), ("6.12.1", "gcc (A=b) 12"));
        assert_eq!((kernel.source_sha256.as_str(), &kernel.image), ("abc", &folder.join("bzImage")));
        assert_eq!(kernel.image_sha256, sha256_file(&kernel.image).unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_interrupted_build_and_a_damaged_file_do_not_count() {
        for (name, damage) in
            [("facts", None), ("bzImage", None), ("bzImage", Some("kernal")), ("kernel.config", Some(""))]
        {
            let folder = built("damaged");
            let path = folder.join(name);
            damage.map_or_else(|| fs::remove_file(&path), |text| fs::write(&path, text)).unwrap();
            assert_eq!(finished(&folder, "abc"), None, "{name} {damage:?}");
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn another_source_is_another_build() {
        let (one, other) = (key("1").unwrap(), key("2").unwrap());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one), (16, &key("1").unwrap()));
    }
}
