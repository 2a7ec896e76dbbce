//! Key files on disk: read within bounds and for their owner only, written once and never over anything.
use super::buffer::{Contents, with_cleared_stack};
use super::pair::KeyPair;
use super::{Algorithm, KeyFileError, KeyFormat, Problem, PublicKey, decode};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{File, FileType, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The longest key file that is read, in bytes. An ML-DSA-65 key, which is read only to be named, takes some 8 KiB.
pub const MAX_KEY_FILE_BYTES: usize = 16 * 1024;

/// What a key file's mode must not have: anything for group and others.
const FOREIGN_MODE: u32 = 0o077;
/// The mode of a new key file.
const NEW_MODE: u32 = 0o600;

/// Reads and decodes a key file.
pub(super) fn read(path: &Path, format: KeyFormat, algorithm: Option<Algorithm>) -> Result<KeyPair, KeyFileError> {
    read_contents(path)
        .and_then(|contents| decode::decode(contents.expose(), format, algorithm))
        .map_err(|problem| problem.at(path))
}

/// Makes a new key and writes it in tmkms's form, base64 of the secret, to a new file of mode 0600. Returns its
/// public half once the file and its entry in the folder are on stable storage.
///
/// # Errors
/// [`KeyFileError`]: the file exists, its folder does not, or the operating system refuses. A file that could not be
/// finished is removed.
pub fn generate(path: &Path, algorithm: Algorithm) -> Result<PublicKey, KeyFileError> {
    with_cleared_stack(|| {
        let pair = KeyPair::random(algorithm).map_err(|problem| problem.at(path))?;
        write_new(path, &pair)?;
        Ok(*pair.public())
    })
}

/// Reads a key file in any form and writes its key in tmkms's form to a new file, as [`generate`] does.
///
/// # Errors
/// [`KeyFileError`], of whichever file is at fault.
pub fn import(
    from: &Path,
    format: KeyFormat,
    algorithm: Option<Algorithm>,
    to: &Path,
) -> Result<PublicKey, KeyFileError> {
    with_cleared_stack(|| {
        let pair = read(from, format, algorithm)?;
        write_new(to, &pair)?;
        Ok(*pair.public())
    })
}

fn read_contents(path: &Path) -> Result<Contents, Problem> {
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(openat(CWD, path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => Problem::Missing,
        rustix::io::Errno::NXIO => Problem::NotAFile { kind: "a socket" },
        error => io_problem("open it")(error.into()),
    })?);
    check_metadata(&file)?;
    // One byte more than allowed tells a file that is too long.
    let contents = Contents::read(file, MAX_KEY_FILE_BYTES + 1).map_err(io_problem("read it"))?;
    if contents.expose().len() > MAX_KEY_FILE_BYTES {
        return Err(Problem::TooLong);
    }
    Ok(contents)
}

/// Of the open file, so that nothing can be exchanged between the check and the reading.
fn check_metadata(file: &File) -> Result<(), Problem> {
    let metadata = file.metadata().map_err(io_problem("examine it"))?;
    if let Some(kind) = other_kind(metadata.file_type()) {
        return Err(Problem::NotAFile { kind });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & FOREIGN_MODE != 0 {
        return Err(Problem::Mode { mode });
    }
    Ok(())
}

fn other_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("a folder"),
        kind if kind.is_fifo() => Some("a pipe"),
        kind if kind.is_socket() => Some("a socket"),
        _ => Some("a device"),
    }
}

fn write_new(path: &Path, pair: &KeyPair) -> Result<(), KeyFileError> {
    let file = create_new(path).map_err(|problem| problem.at(path))?;
    finish_or_remove(file, path, pair)
}

fn finish_or_remove(file: File, path: &Path, pair: &KeyPair) -> Result<(), KeyFileError> {
    finish(file, path, pair).map_err(|error| {
        // It is ours: nothing was there before. A half-written key would only be taken for a key.
        let _ = std::fs::remove_file(path);
        io_problem("write it")(error).at(path)
    })
}

/// Creates exclusively, which never follows a link and never opens what exists.
fn create_new(path: &Path) -> Result<File, Problem> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(CWD, path, flags, Mode::from_raw_mode(NEW_MODE)) {
        Ok(file) => Ok(File::from(file)),
        Err(rustix::io::Errno::EXIST) => Err(Problem::Exists),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Err(Problem::NoFolder),
        Err(error) => Err(io_problem("create it")(error.into())),
    }
}

fn finish(mut file: File, path: &Path, pair: &KeyPair) -> io::Result<()> {
    // An odd umask may have taken bits of the owner's away.
    file.set_permissions(Permissions::from_mode(NEW_MODE))?;
    file.write_all(pair.base64().as_bytes())?;
    file.sync_all()?;
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn io_problem(doing: &'static str) -> impl FnOnce(io::Error) -> Problem {
    move |error| Problem::Io { doing, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_that_cannot_be_finished_is_removed() {
        let path = std::env::temp_dir().join(format!("signer-unfinished-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let read_only = File::open(&path).unwrap();
        let pair = KeyPair::random(Algorithm::Ed25519).ok().unwrap();
        let error = finish_or_remove(read_only, &path, &pair).unwrap_err();
        assert!(matches!(error.problem(), Problem::Io { doing: "write it", .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn the_folder_of_a_bare_name_is_the_working_directory() {
        assert_eq!(folder_of(Path::new("new.key")), Path::new("."));
        assert_eq!(folder_of(Path::new("secrets/new.key")), Path::new("secrets"));
    }
}
