//! The seam between the file store and the system: the few calls that a commit makes, and the real file.
use super::error::{Problem, StateError};
use super::image::{FILE_BYTES, MAX_FOREIGN_BYTES};
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How many links a name may lead through; the kernel follows no more (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What stands under the file's name now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file that was opened, of this many bytes.
    Ours {
        /// Its length.
        bytes: u64,
    },
    /// Another file: it was renamed over ours, or ours was moved away and another made.
    Another,
    /// Nothing: ours was removed or moved away.
    Nothing,
}

/// What the store asks of a file. The real one is [`StateFile`]; tests put disks here that lose and reorder writes.
pub trait Medium {
    /// Reads at an offset, as `pread`.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at an offset, as `pwrite`.
    ///
    /// # Errors
    /// The system's; any part may have been written.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes everything that was written survive a power cut, as `fdatasync`.
    ///
    /// # Errors
    /// The system's; any part of what was written since the last success may survive a power cut, or not.
    fn sync_data(&mut self) -> io::Result<()>;

    /// What stands under the file's name now.
    ///
    /// # Errors
    /// The system's.
    fn place(&self) -> io::Result<Place>;
}

/// An open and locked state file.
///
/// A symbolic link is followed: the name may point to another volume. Everything is compared with what the
/// *name* leads to, so a link that is pointed elsewhere is noticed like an exchanged file.
///
/// The lock (`flock`) belongs to the open file and is released when this is dropped or the process ends, however
/// it ends; the kernel lets go of it only after the last write in flight has returned, so no write of an earlier
/// opening arrives after a later one has the lock.
pub struct StateFile {
    path: PathBuf,
    file: File,
    device: u64,
    inode: u64,
    bytes: u64,
    owner: (u32, u32),
}

impl StateFile {
    /// Opens, locks and checks what does not depend on the content. Never creates.
    ///
    /// # Errors
    /// A [`StateError`] with its remedy.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let fail = |problem| StateError::new(path, problem);
        // Looked at first, because opening a device or a pipe can have effects.
        let before = fs::metadata(path).map_err(|error| fail(missing_or("looking at it", error)))?;
        if !before.is_file() {
            return Err(fail(Problem::NotAFile));
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| fail(missing_or("opening it for writing", error)))?;
        let metadata = file.metadata().map_err(|error| StateError::io(path, "looking at it", error))?;
        lock(&file, &metadata).map_err(fail)?;
        let opened = Self {
            path: path.to_owned(),
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            owner: (metadata.uid(), metadata.gid()),
        };
        opened.check_place()?;
        check_mode(&metadata).map_err(fail)?;
        // The name itself may be younger than the last sync of its directory: someone copied or moved it here.
        sync_names(path).map_err(|error| StateError::io(path, "syncing its directory", error))?;
        Ok(opened)
    }

    /// The name that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length when it was opened.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file's first bytes, at most 64 KiB of them.
    pub(super) fn read_start(&self) -> Result<Vec<u8>, StateError> {
        read_start(&self.file).map_err(|error| StateError::io(&self.path, "reading it", error))
    }

    /// The file's user and group.
    pub(super) const fn owner(&self) -> (u32, u32) {
        self.owner
    }

    /// Between opening and locking, the holder of the lock may have put another file under the name.
    fn check_place(&self) -> Result<(), StateError> {
        match self.place() {
            Ok(Place::Ours { .. }) => Ok(()),
            Ok(Place::Another | Place::Nothing) => Err(StateError::new(&self.path, Problem::Exchanged)),
            Err(error) => Err(StateError::io(&self.path, "looking at it", error)),
        }
    }
}

impl Medium for StateFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Asks for no timestamps, unlike [`fs::metadata`]: since Linux 6.13, once they were asked for, the next write must
    /// give the file a new one, and so begins a transaction of the file system's (Documentation/filesystems/multigrain-ts).
    /// On ext4 a commit took 200 µs with them and 135 µs without.
    fn place(&self) -> io::Result<Place> {
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::SIZE;
        match statx(CWD, &self.path, AtFlags::empty(), wanted) {
            Ok(found)
                if (makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino) == (self.device, self.inode) =>
            {
                Ok(Place::Ours { bytes: found.stx_size })
            }
            Ok(_) => Ok(Place::Another),
            Err(Errno::NOENT) => Ok(Place::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for StateFile {
    /// Closing would release the lock too, but only once no child process that is being started holds a copy of the
    /// open file. Nothing is in flight here: every call of this opening has returned.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

fn missing_or(doing: &'static str, error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::NotFound { Problem::Missing } else { Problem::of_io(doing, error) }
}

fn check_mode(metadata: &Metadata) -> Result<(), Problem> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(Problem::LooseMode { mode }) }
}

fn lock(file: &File, metadata: &Metadata) -> Result<(), Problem> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) if is_open_here(metadata) => Err(Problem::OpenTwice),
        Err(TryLockError::WouldBlock) => Err(Problem::Locked { holder: lock_holder(metadata.ino()) }),
        Err(TryLockError::Error(error)) => Err(Problem::of_io("locking it", error)),
    }
}

/// Best effort, for the message only: whether this process has the file open once more than by the call that asks.
fn is_open_here(metadata: &Metadata) -> bool {
    let is_it = |other: Metadata| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino());
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return false };
    open.flatten().filter(|file| fs::metadata(file.path()).is_ok_and(is_it)).count() > 1
}

/// Best effort, for the message only: `/proc/locks` lists `1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> …`.
fn lock_holder(inode: u64) -> Option<u32> {
    let suffix = format!(":{inode}");
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = words[..] else { return None };
        pid.parse().ok().filter(|pid| *pid > 0 && place.ends_with(&suffix))
    })
}

/// The directory that a name is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != OsStr::new("")).unwrap_or(Path::new("."))
}

/// Makes a file's name survive a power cut and, where that is a link, the name that it leads to.
fn sync_names(path: &Path) -> io::Result<()> {
    directories_of(path)?.iter().try_for_each(|directory| File::open(directory)?.sync_all())
}

/// The directories that every name from this one to the file itself is in.
fn directories_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut name = path.to_owned();
    let mut directories = vec![directory_of(&name).to_owned()];
    for _ in 0..MAX_LINKS {
        if !fs::symlink_metadata(&name)?.is_symlink() {
            break;
        }
        // An absolute target takes the place of the whole name.
        name = directory_of(&name).join(fs::read_link(&name)?);
        directories.push(directory_of(&name).to_owned());
    }
    Ok(directories)
}

/// A file's first bytes, at most [`MAX_FOREIGN_BYTES`].
pub(super) fn read_start(file: &File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(MAX_FOREIGN_BYTES as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Reads the whole file, which has exactly [`FILE_BYTES`].
pub(super) fn read_whole<M: Medium>(medium: &M) -> io::Result<[u8; FILE_BYTES]> {
    let mut image = [0; FILE_BYTES];
    match medium.read_at(&mut image, 0)? {
        FILE_BYTES => Ok(image),
        short => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("a short read: expected {FILE_BYTES} bytes, got {short}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_directories_of_a_link_are_those_of_every_name_on_the_way() {
        let root = std::env::temp_dir().join(format!("store-links-{}", std::process::id()));
        let [first, second, third] = ["first", "second", "third"].map(|name| root.join(name));
        [&first, &second, &third].into_iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        fs::write(third.join("state"), "").unwrap();
        symlink(third.join("state"), second.join("state")).unwrap();
        symlink("../second/state", first.join("state")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let directories = directories_of(&first.join("state")).unwrap();
        let alone = directories_of(&third.join("state")).unwrap();
        let endless = directories_of(&root.join("loop")).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(directories, [first.clone(), first.join("../second"), third.clone()]);
        assert_eq!(alone, [third]);
        assert_eq!(endless.len(), MAX_LINKS + 1);
    }
}
