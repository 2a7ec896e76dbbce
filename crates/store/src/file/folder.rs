//! The seam for names: the few steps by which a whole file comes to stand under a name.
use super::medium::directory_of;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What creating and exchanging files asks of a directory. The real one is [`Directory`].
pub trait Folder {
    /// Makes a new file of mode 0600 with these bytes, and syncs the bytes (not the name).
    ///
    /// # Errors
    /// The system's; `AlreadyExists` if the name is taken. No half-written file is left.
    fn create_synced(&mut self, name: &OsStr, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// The system's; `AlreadyExists` if the name is taken.
    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Puts a file under another name, in place of what stands there.
    ///
    /// # Errors
    /// The system's.
    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// The system's.
    fn remove(&mut self, name: &OsStr) -> io::Result<()>;

    /// Makes the names survive a power cut.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
pub struct Directory {
    path: PathBuf,
    /// Whose new files are, if not the process's: repairing as root must not take the file from the signer's user.
    owner: Option<(u32, u32)>,
}

impl Directory {
    /// The directory that a file is in.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self { path: directory_of(file).to_owned(), owner: None }
    }

    /// Gives new files to that user and group.
    #[must_use]
    pub const fn owned_by(mut self, owner: (u32, u32)) -> Self {
        self.owner = Some(owner);
        self
    }

    fn fill(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let metadata = file.metadata()?;
        if let Some((user, group)) = self.owner.filter(|owner| *owner != (metadata.uid(), metadata.gid())) {
            fchown(&*file, Some(user), Some(group))?;
        }
        // The mode given at creation went through the umask.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()
    }
}

impl Folder for Directory {
    fn create_synced(&mut self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // On a full disk the remains would be in the way; the error that is told is the first one.
        self.fill(&mut file, bytes).inspect_err(|_| drop(fs::remove_file(&path)))
    }

    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::hard_link(self.path.join(from), self.path.join(to))
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
