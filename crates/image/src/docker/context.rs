//! The folder that Docker builds the image in.
use super::{BINARY, place};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, FileTimes, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

/// The Dockerfile of this repository.
pub const DOCKERFILE: &str = include_str!("../../../../Dockerfile");

const FILES: &str = "files";

/// The Dockerfile with another command, such as `/tmkms nitro start -p 6000 -v`.
#[must_use]
pub fn dockerfile(cmd: &[String]) -> String {
    let words: Vec<_> = cmd.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    let lines = DOCKERFILE.lines().map(|line| match line.strip_prefix("CMD ") {
        Some(_) => format!("CMD [{}]\n", words.join(", ")),
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// Makes the folder in which `nitro-cli build-enclave --docker-dir ./` works: `Dockerfile`, `tmkms` and `files/`, made anew with just
/// these files (by their paths in the image, readable for root only). Permissions and times are always the same: LinuxKit
/// puts them into the ramdisk as they are, and so into the measurements. Anything else in the folder stays.
///
/// # Errors
/// A path that leads elsewhere or that AWS's tools or its init put something else at; what cannot be written.
pub fn docker_context(folder: &Path, dockerfile: &str, binary: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    files.keys().try_for_each(|path| place(path).map(drop))?;
    make_folder(folder)?;
    write(&folder.join("Dockerfile"), 0o644, dockerfile.as_bytes())?;
    write(&folder.join(BINARY), 0o755, binary)?;
    let root = folder.join(FILES);
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::of(&root)(error)),
        _ => make_folder(&root)?,
    }
    for (path, bytes) in files {
        let name = place(path)?;
        for (end, _) in name.match_indices('/') {
            make_folder(&root.join(&name[..end]))?;
        }
        write(&root.join(name), 0o600, bytes)?;
    }
    date_folders(&root)
}

/// Whatever the umask is.
fn make_folder(folder: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(Error::of(folder))?;
    fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(Error::of(folder))
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    let save = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.set_times(times())
    };
    save().map_err(Error::of(path))
}

/// From the innermost, because what is written in a folder dates it.
fn date_folders(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::of(folder))? {
        let path = entry.map_err(Error::of(folder))?.path();
        if path.is_dir() {
            date_folders(&path)?;
        }
    }
    File::open(folder).and_then(|opened| opened.set_times(times())).map_err(Error::of(folder))
}

fn times() -> FileTimes {
    FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH).set_modified(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("image-docker-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        folder
    }

    fn state(path: &Path) -> (u32, SystemTime) {
        let metadata = fs::metadata(path).unwrap();
        (metadata.permissions().mode() & 0o7777, metadata.modified().unwrap())
    }

    #[test]
    fn the_folder_has_what_the_dockerfile_copies_with_fixed_permissions_and_times() {
        let folder = folder("context");
        let files = BTreeMap::from([
            ("policy.toml".to_owned(), b"[debug]\n".to_vec()),
            ("/certs/kms/root.pem".to_owned(), b"pem".to_vec()),
        ]);
        docker_context(&folder, DOCKERFILE, b"program", &files).unwrap();
        assert_eq!(fs::read(folder.join("tmkms")).unwrap(), b"program");
        assert_eq!(fs::read_to_string(folder.join("Dockerfile")).unwrap(), DOCKERFILE);
        assert_eq!(fs::read(folder.join("files/certs/kms/root.pem")).unwrap(), b"pem");
        let zero = SystemTime::UNIX_EPOCH;
        assert_eq!(state(&folder.join("tmkms")), (0o755, zero));
        assert_eq!(state(&folder.join("files/policy.toml")), (0o600, zero));
        for path in ["files", "files/certs", "files/certs/kms"] {
            assert_eq!(state(&folder.join(path)), (0o755, zero), "{path}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn made_again_it_has_no_file_of_before_and_what_somebody_else_put_beside_is_left() {
        let folder = folder("again");
        let policy = BTreeMap::from([("policy.toml".to_owned(), vec![])]);
        docker_context(&folder, DOCKERFILE, b"old", &policy).unwrap();
        fs::write(folder.join("tmkms.eif"), "an image").unwrap();
        docker_context(&folder, DOCKERFILE, b"new", &BTreeMap::new()).unwrap();
        assert!(fs::read_dir(folder.join("files")).unwrap().next().is_none());
        assert_eq!(fs::read(folder.join("tmkms")).unwrap(), b"new");
        assert!(folder.join("tmkms.eif").exists());
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_in_the_place_of_the_binary_or_of_what_aws_s_tools_make_is_refused_before_anything_is_written() {
        let folder = folder("places");
        for path in [
            "tmkms",
            "/tmkms",
            "tmkms/x",
            "proc/x",
            "tmp/key",
            "etc/hosts",
            "etc/resolv.conf",
            "Dockerfile",
            "../x",
            "",
        ] {
            let files = BTreeMap::from([(path.to_owned(), vec![])]);
            assert!(docker_context(&folder, DOCKERFILE, b"", &files).is_err(), "{path}");
        }
        assert!(!folder.exists());
    }

    #[test]
    fn another_command_takes_the_place_of_the_dockerfile_s_and_nothing_else_changes() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(dockerfile(&words("/tmkms nitro start")), DOCKERFILE);
        let other = dockerfile(&words("/tmkms nitro start -p 6000 \"x"));
        assert!(other.ends_with("\nCMD [\"/tmkms\", \"nitro\", \"start\", \"-p\", \"6000\", \"\\\"x\"]\n"), "{other}");
        assert_eq!(other.lines().count(), DOCKERFILE.lines().count());
    }

    #[test]
    fn the_dockerfile_copies_the_operator_s_files_first_and_sets_command_and_environment() {
        let copies: Vec<_> = DOCKERFILE.lines().filter(|line| line.starts_with("COPY")).collect();
        assert_eq!(copies, ["COPY files/ /", "COPY tmkms /tmkms"]);
        let line = |start: &str| DOCKERFILE.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
        assert_eq!(line("FROM "), ["FROM scratch"]);
        assert_eq!(line("ENV "), ["ENV PATH=/"]);
        assert_eq!(line("CMD "), ["CMD [\"/tmkms\", \"nitro\", \"start\"]"]);
        assert!(line("RUN ").is_empty() && line("ENTRYPOINT ").is_empty());
    }
}
