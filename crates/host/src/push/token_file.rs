//! The control token's file, made by the first push: random, complete or not there, and readable by its user alone.
use crate::persist::{TokenError, TokenFile};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use wire::token::Token;
use zeroize::Zeroizing;

/// Why there is no token, and none could be made.
#[derive(Debug)]
pub enum MakeTokenError {
    /// There is one, and it cannot be used.
    Unusable(TokenError),
    /// None could be made there.
    Io(PathBuf, io::Error),
    /// No random numbers.
    Random,
}

impl MakeTokenError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unusable(_) => "",
            Self::Io(..) => {
                "run it as root, or name a file in a folder of this user: --token-file PATH, the same for all commands"
            }
            Self::Random => "see the system's log",
        }
    }
}

impl fmt::Display for MakeTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(error) => error.fmt(f),
            Self::Io(path, error) => write!(f, "control token {}: cannot be made ({error})", path.display()),
            Self::Random => f.write_str("the system gives no random numbers for a control token"),
        }
    }
}

impl std::error::Error for MakeTokenError {}

/// Reads the token, or makes one. Whether it was made is told.
///
/// # Errors
/// [`MakeTokenError`].
pub fn read_or_make(file: &TokenFile) -> Result<(Token, bool), MakeTokenError> {
    match file.read() {
        Ok(token) => return Ok((token, false)),
        Err(TokenError::Missing(_)) => {}
        Err(error) => return Err(MakeTokenError::Unusable(error)),
    }
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|_| MakeTokenError::Random)?;
    match make(file.path(), &bytes) {
        Ok(()) => Ok((Token::new(&bytes), true)),
        // Another push was faster: its token counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            file.read().map(|token| (token, false)).map_err(MakeTokenError::Unusable)
        }
        Err(error) => Err(MakeTokenError::Io(file.path().to_owned(), error)),
    }
}

/// Writes a draft, syncs it, and links it to its name: nobody ever sees half a token, and none is replaced.
fn make(path: &Path, bytes: &[u8; 32]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let done = write(&mut file, bytes).and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    done.and(removed)?;
    File::open(folder)?.sync_all()
}

fn write(file: &mut File, bytes: &[u8; 32]) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new([b'\n'; 65]);
    for (place, byte) in text.chunks_mut(2).zip(bytes) {
        place[0] = DIGITS[usize::from(byte >> 4)];
        place[1] = DIGITS[usize::from(byte & 15)];
    }
    file.write_all(text.as_slice())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A new folder that is gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tmkms-token-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_token_is_made_once_and_is_its_users_alone() {
        let folder = Folder::new("made");
        let file = TokenFile::new(folder.path().join("deep/er/control-token"));
        let (made, is_new) = read_or_make(&file).unwrap();
        assert!(is_new);
        let (again, is_new) = read_or_make(&file).unwrap();
        assert!(!is_new && again.is(&made));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1, "no draft is left");
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.len() == 65 && text.ends_with('\n'), "{} bytes", text.len());
        let other = TokenFile::new(folder.path().join("other"));
        assert!(!read_or_make(&other).unwrap().0.is(&made), "each is random");
    }

    #[test]
    fn what_cannot_be_used_is_never_replaced() {
        let folder = Folder::new("kept");
        let path = folder.path().join("control-token");
        for (text, mode) in [("", 0o600), ("garbage", 0o600), (&*"00".repeat(32), 0o644)] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let error = read_or_make(&TokenFile::new(path.clone())).err().unwrap().to_string();
            assert!(error.contains("control-token"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_place_where_none_can_be_made_is_named_with_the_remedy() {
        let file = TokenFile::new("/proc/tmkms/control-token".into());
        let error = read_or_make(&file).err().unwrap();
        assert!(error.to_string().contains("/proc/tmkms/control-token") && error.remedy().contains("--token-file"));
    }
}
