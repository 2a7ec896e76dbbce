//! Debian's source package of QEMU, by apt and its signed lists, without changing this machine's own lists: apt is given entries and a folder of
//! its own. Only the upstream archive is needed, not Debian's patches.
use super::cause;
use super::progress::{self, Progress};
use crate::debian;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest QEMU with the machine.
const OLDEST: (u32, u32) = (9, 2);

/// The archive of one version, verified.
pub struct Package {
    pub archive: PathBuf,
    /// Of the archive, as Debian's signed list has it.
    pub sha256: String,
    name: String,
}

impl Package {
    /// For the record.
    pub fn described(&self) -> String {
        format!("{}, sha256 {}", self.name, self.sha256)
    }
}

/// One line of `apt-get source --print-uris`: `'URI' NAME SIZE SHA256:DIGEST`.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    sha256: String,
}

/// Fetches the newest that this release or its backports offer, unless it is there.
pub fn fetch(work: &Path) -> Result<Package> {
    let apt = Apt::new(work)?;
    let log = work.join("source.log");
    let mut update = apt.get("update");
    // Else a list that cannot be fetched is a warning, and what fails is the search in a list that is not there.
    update.args(["-o", "APT::Update::Error-Mode=any"]);
    // A release without backports (testing, say) fails here, and may offer the package all the same.
    let updated = progress::run("apt's lists of source packages, for this alone", &mut update, &log, Progress::None);
    let listed = match apt.archive() {
        Ok(listed) => listed,
        Err(error) => return Err(updated.err().unwrap_or(error)),
    };
    let archive = work.join(&listed.name);
    if digest(&archive).is_none_or(|found| found != listed.sha256) {
        let mut download = apt.get("source");
        download.args(["--download-only", "qemu"]).current_dir(work);
        let fetched = progress::run(&format!("{} by apt", listed.name), &mut download, &log, Progress::Time);
        // apt fails if any of the package's three files is gone; a mirror may lack Debian's patches of a version that was replaced,
        // and keep the archive. What counts is the archive.
        match (digest(&archive), fetched) {
            (Some(found), fetched) if found == listed.sha256 => {
                if fetched.is_err() {
                    println!(
                        "    apt could not fetch all of the package, but {} is whole: that is enough",
                        listed.name
                    );
                }
            }
            (Some(found), _) => {
                bail!("{}: expected SHA-256 {}, got {found}", archive.display(), listed.sha256)
            }
            (None, fetched) => {
                fetched?;
                bail!("apt-get source ended well and left no {}", archive.display());
            }
        }
    }
    Ok(Package { archive, sha256: listed.sha256, name: listed.name })
}

/// apt with entries and lists of its own, below the work folder.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(work: &Path) -> Result<Self> {
        let folder = work.join("apt");
        for needed in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(needed))?;
        }
        let entries = folder.join("entries.sources");
        fs::write(&entries, debian::source_entries()?)?;
        let options = [
            format!("Dir::Etc::SourceList={}", entries.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State={}", folder.display()),
            format!("Dir::State::Lists={}", folder.join("lists").display()),
            format!("Dir::Cache={}", folder.join("cache").display()),
            // Else root's apt steps down to a user who cannot write there.
            "APT::Sandbox::User=".to_owned() + if rustix::process::geteuid().is_root() { "root" } else { "" },
        ];
        Ok(Self { options: options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect() })
    }

    fn get(&self, action: &str) -> Command {
        let mut command = Command::new("apt-get");
        command.args(["-q", action]).args(&self.options);
        command
    }

    fn archive(&self) -> Result<Listed> {
        let output = self.get("source").args(["--print-uris", "qemu"]).output().context("cannot run apt-get")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let listed = text.lines().filter_map(listed).find(|file| file.name.contains(".orig.tar."));
        let listed = listed.with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("apt knows no source package of QEMU{}\n{}", cause::of(&said), said.trim())
        })?;
        let found = version(&listed.name).with_context(|| format!("{} names no version", listed.name))?;
        ensure!(
            found >= OLDEST,
            "this release and its backports have QEMU {}.{}, and -M nitro-enclave came with {}.{}: use a newer release, or put a QEMU with \
             that machine on the PATH",
            found.0,
            found.1,
            OLDEST.0,
            OLDEST.1
        );
        Ok(listed)
    }
}

fn listed(line: &str) -> Option<Listed> {
    let (_uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
    let mut words = rest.split(' ');
    let name = words.next()?.to_owned();
    let sha256 = words.find_map(|word| word.strip_prefix("SHA256:"))?.to_owned();
    // The name becomes a path.
    (!name.contains('/')).then_some(Listed { name, sha256 })
}

/// `qemu_10.0.2+ds.orig.tar.xz` → 10.0.
fn version(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.strip_prefix("qemu_")?.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn digest(archive: &Path) -> Option<String> {
    let bytes = fs::read(archive).ok()?;
    Some(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_s_name_and_digest_are_read_from_apt_s_list() {
        let line =
            "'http://mirror.example/q/qemu_10.0.2%2bds.orig.tar.xz' qemu_10.0.2+ds.orig.tar.xz 39449628 SHA256:0901da";
        let expected = Listed { name: "qemu_10.0.2+ds.orig.tar.xz".to_owned(), sha256: "0901da".to_owned() };
        assert_eq!(listed(line), Some(expected));
        assert_eq!(listed("Reading package lists..."), None);
        assert_eq!(listed("'http://mirror.example/x' ../x 1 SHA256:00"), None);
        assert_eq!(listed("'http://mirror.example/x' x 1 MD5Sum:00"), None);
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(version("qemu_10.0.2+ds.orig.tar.xz"), Some((10, 0)));
        assert_eq!(version("qemu_7.2+dfsg.orig.tar.xz"), Some((7, 2)));
        assert!(
            version("qemu_7.2+dfsg.orig.tar.xz").unwrap() < OLDEST
                && version("qemu_9.2.0.orig.tar.xz").unwrap() >= OLDEST
        );
        assert_eq!(version("linux_6.12.orig.tar.xz"), None);
    }
}
