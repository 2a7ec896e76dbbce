//! What to do where this process's user may not open a file: who may, and the commands that change it.
use crate::state::shell_word;
use signer::keys::{KeyFileError, Problem};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Who else may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Nobody: a key or a state.
    OwnerAlone,
    /// Anybody: it holds no secret.
    Anybody,
}

/// The remedy for a file, or a folder on its path, that this user may not open.
pub(crate) fn help(path: &Path, readers: Readers) -> String {
    if let Some(folder) = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).find(closed) {
        return mend(folder, "the folder ", "x", readers);
    }
    mend(path, "", "r", readers)
}

/// The remedy for a new file that this user may not make.
pub(crate) fn help_to_create(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.metadata().is_err() {
        return help(folder, Readers::OwnerAlone);
    }
    mend(folder, "the folder ", "wx", Readers::OwnerAlone)
}

/// The remedy for a key file, if it is a matter of permission.
pub(crate) fn help_for_key(error: &KeyFileError) -> Option<String> {
    match error.problem() {
        Problem::Io { error: refusal, .. } if refusal.kind() != io::ErrorKind::PermissionDenied => None,
        Problem::Io { doing: "create it" | "write it", .. } => Some(help_to_create(error.path())),
        Problem::Io { .. } => Some(help(error.path(), Readers::OwnerAlone)),
        _ => None,
    }
}

/// Whether nothing can be looked up in that folder, though it is there.
fn closed(folder: &&Path) -> bool {
    let refused = |path: &Path| path.metadata().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    !refused(folder) && refused(&folder.join("."))
}

fn mend(path: &Path, kind: &str, bits: &str, readers: Readers) -> String {
    let me = rustix::process::geteuid().as_raw();
    let (name, word) = (path.display(), shell_word(&path.display().to_string()));
    let owner = path.metadata().map(|found| found.uid());
    match owner {
        Ok(owner) if owner == me => format!("{kind}{name} is this user's own (uid {me}): run `chmod u+{bits} {word}`"),
        Ok(owner) => {
            let change = match readers {
                Readers::OwnerAlone => format!("give it to this one with `chown {me} {word}`"),
                Readers::Anybody => format!("let others in with `chmod a+{bits} {word}`"),
            };
            format!("{kind}{name} belongs to uid {owner}, and this runs as uid {me}: run as that user, or {change}")
        }
        Err(_) => format!("run as the owner of {kind}{name}; this runs as uid {me}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_names_the_owner_this_user_and_the_command() {
        let me = rustix::process::geteuid().as_raw();
        // The kernel's own file: root's, or nobody's in a container.
        let path = Path::new("/proc/version");
        let owner = path.metadata().unwrap().uid();
        let shown = help(path, Readers::OwnerAlone);
        if me == owner {
            assert_eq!(shown, format!("/proc/version is this user's own (uid {me}): run `chmod u+r /proc/version`"));
        } else {
            let who = format!("/proc/version belongs to uid {owner}, and this runs as uid {me}: run as that user, or ");
            assert_eq!(shown, format!("{who}give it to this one with `chown {me} /proc/version`"));
            assert!(help(path, Readers::Anybody).ends_with("with `chmod a+r /proc/version`"));
        }
    }
}
