//! A disk with a write cache of its own, which a power cut empties: what was not flushed may be lost, all of it or some sectors by chance.
use super::chance::Chance;
use super::nbd::{self, Blocks, SECTOR_BYTES};
use crate::{Sandbox, until};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Sector = [u8; SECTOR_BYTES];

/// More versions of one sector than this are not told apart: the oldest unflushed one is forgotten.
const MAX_VERSIONS: usize = 8;

/// What a disk is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filesystem {
    /// As `mkfs.ext4` makes it and the kernel mounts it by default.
    Ext4,
    /// As `mkfs.xfs` makes it.
    Xfs,
}

impl Filesystem {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ext4, Self::Xfs];

    /// What `mount -t` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// `mkfs.xfs` makes none of less than 300 MB. The file is sparse.
    const fn bytes(self) -> u64 {
        match self {
            Self::Ext4 => 64 << 20,
            Self::Xfs => 320 << 20,
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a cut did to the sectors that were written and not flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Sectors that kept their last content.
    pub kept: usize,
    /// Sectors that are back to what was flushed last, or to a version in between.
    pub lost: usize,
}

/// How much of an unflushed cache a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing is lost: the machine is dead, the disk was fast.
    None,
    /// Each sector on its own is left in any of its versions, so that writes are torn and out of order.
    Some,
    /// Everything that was not flushed.
    All,
}

impl Loss {
    /// One of them by chance.
    pub const fn draw(chance: &mut Chance) -> Self {
        match chance.below(3) {
            0 => Self::None,
            1 => Self::Some,
            _ => Self::All,
        }
    }
}

/// A disk, served on a Unix socket for QEMU while this lives.
pub struct Disk {
    name: String,
    filesystem: Filesystem,
    socket: PathBuf,
    inner: Arc<Inner>,
}

struct Inner {
    file: File,
    bytes: u64,
    /// What was written and not flushed: every version of each sector, the newest last.
    cache: Mutex<BTreeMap<u64, Vec<Sector>>>,
    connections: AtomicUsize,
    over: AtomicBool,
}

impl Disk {
    /// A new disk, formatted; `NAME` is its serial number for the guest, at most 20 bytes.
    ///
    /// # Errors
    /// When mkfs is missing or fails, or the socket cannot be had.
    pub fn create(sandbox: &Sandbox, name: &str, filesystem: Filesystem) -> Result<Self> {
        ensure!(name.len() <= 20, "{name:?} is no serial number of a virtio disk: expected at most 20 bytes");
        let path = sandbox.dir().join(format!("{name}.disk"));
        let file = File::options().create_new(true).read(true).write(true).open(&path)?;
        file.set_len(filesystem.bytes())?;
        format(&path, filesystem)?;
        let socket = sandbox.dir().join(format!("{name}.nbd"));
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
        let inner = Arc::new(Inner {
            file,
            bytes: filesystem.bytes(),
            cache: Mutex::default(),
            connections: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let served = Arc::clone(&inner);
        std::thread::spawn(move || accept(&listener, &served));
        Ok(Self { name: name.to_owned(), filesystem, socket, inner })
    }

    /// Its serial number.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is formatted with.
    #[must_use]
    pub fn filesystem(&self) -> Filesystem {
        self.filesystem
    }

    /// Where QEMU connects.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The power is cut, QEMU being dead: what was not flushed is kept or lost.
    ///
    /// # Errors
    /// When QEMU is still connected, or the file cannot be written.
    pub fn cut(&self, loss: Loss, chance: &mut Chance) -> Result<Cut> {
        // What QEMU had sent is still read to its end, as a disk's controller would.
        until("QEMU's connection to the disk to end", Duration::from_secs(10), || {
            Ok((self.inner.connections.load(Ordering::SeqCst) == 0).then_some(()))
        })?;
        let mut cut = Cut::default();
        for (sector, versions) in std::mem::take(&mut *self.inner.cache()) {
            let newest = versions.len();
            let kept = match loss {
                Loss::None => newest,
                Loss::All => 0,
                Loss::Some => usize::try_from(chance.below(newest as u64 + 1))?,
            };
            if let Some(version) = kept.checked_sub(1) {
                self.inner.file.write_all_at(&versions[version], sector * SECTOR_BYTES as u64)?;
            }
            if kept == newest { cut.kept += 1 } else { cut.lost += 1 }
        }
        Ok(cut)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn accept(listener: &UnixListener, disk: &Arc<Inner>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if disk.over.load(Ordering::SeqCst) {
            return;
        }
        disk.connections.fetch_add(1, Ordering::SeqCst);
        let disk = Arc::clone(disk);
        std::thread::spawn(move || {
            // A connection that breaks is a machine that was killed.
            let _ = nbd::serve(BufReader::new(&stream), &stream, &*disk);
            disk.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

impl Inner {
    fn cache(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Sector>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks for Inner {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let cache = self.cache();
        self.file.read_exact_at(into, offset)?;
        let first = offset / SECTOR_BYTES as u64;
        let last = first + (into.len() / SECTOR_BYTES) as u64;
        for (sector, versions) in cache.range(first..last) {
            let at = usize::try_from(sector - first)? * SECTOR_BYTES;
            if let Some(newest) = versions.last() {
                into[at..at + SECTOR_BYTES].copy_from_slice(newest);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8], durable: bool) -> Result<()> {
        let mut cache = self.cache();
        let first = offset / SECTOR_BYTES as u64;
        if durable {
            self.file.write_all_at(data, offset)?;
        }
        for (sector, content) in (first..).zip(data.chunks_exact(SECTOR_BYTES)) {
            if durable {
                cache.remove(&sector);
                continue;
            }
            let versions = cache.entry(sector).or_default();
            if versions.len() == MAX_VERSIONS {
                versions.remove(0);
            }
            versions.push(content.try_into()?);
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let mut cache = self.cache();
        for (sector, versions) in std::mem::take(&mut *cache) {
            if let Some(newest) = versions.last() {
                self.file.write_all_at(newest, sector * SECTOR_BYTES as u64)?;
            }
        }
        Ok(())
    }
}

fn format(path: &Path, filesystem: Filesystem) -> Result<()> {
    let program = format!("mkfs.{filesystem}");
    // They are in folders that only root's PATH has.
    let folders = ["/usr/sbin", "/sbin", "/usr/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(&program)).find(|path| path.is_file());
    let found = found.with_context(|| format!("{program} is missing; run `cargo xtask guest` first"))?;
    let output = Command::new(found).arg("-q").arg(path).output()?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(sandbox: &Sandbox) -> Disk {
        Disk::create(sandbox, "d", Filesystem::Ext4).unwrap()
    }

    fn byte(disk: &Disk, sector: u64) -> u8 {
        let mut read = [0; SECTOR_BYTES];
        disk.inner.read(sector * 512, &mut read).unwrap();
        read[0]
    }

    #[test]
    fn what_was_flushed_outlives_every_cut_and_what_was_not_may_be_lost() {
        let sandbox = Sandbox::new("disk").unwrap();
        let disk = disk(&sandbox);
        let chance = &mut Chance::new(1);
        disk.inner.write(0, &[1; 1024], false).unwrap();
        disk.inner.flush().unwrap();
        disk.inner.write(0, &[2; 512], false).unwrap();
        assert_eq!((byte(&disk, 0), byte(&disk, 1)), (2, 1), "a reader sees what was written last");
        assert_eq!(disk.cut(Loss::All, chance).unwrap(), Cut { kept: 0, lost: 1 });
        assert_eq!((byte(&disk, 0), byte(&disk, 1)), (1, 1));
        disk.inner.write(0, &[3; 512], false).unwrap();
        assert_eq!(disk.cut(Loss::None, chance).unwrap(), Cut { kept: 1, lost: 0 });
        assert_eq!(byte(&disk, 0), 3);
        disk.inner.write(512, &[4; 512], false).unwrap();
        disk.inner.write(512, &[5; 512], true).unwrap();
        disk.cut(Loss::All, chance).unwrap();
        assert_eq!(byte(&disk, 1), 5, "forced unit access is durable at once");
    }

    #[test]
    fn some_sectors_of_a_write_are_lost_and_some_are_not() {
        let sandbox = Sandbox::new("disk").unwrap();
        let disk = disk(&sandbox);
        disk.inner.write(0, &[0; 512 * 64], true).unwrap();
        disk.inner.write(0, &[7; 512 * 64], false).unwrap();
        let cut = disk.cut(Loss::Some, &mut Chance::new(3)).unwrap();
        assert_eq!(cut.kept + cut.lost, 64);
        assert!(cut.kept > 10 && cut.lost > 10, "{cut:?}");
        assert_eq!((0..64).filter(|sector| byte(&disk, *sector) == 7).count(), cut.kept);
    }
}
