//! What kind of file system a state lies on, and a warning where it does not hold what the state depends on.
//!
//! The store's promise rests on `flock`, which keeps a second signer out, and on `fdatasync`, which survives a power
//! cut. Both are a local disk's; the numbers are those of statfs(2) and of linux/magic.h.
use crate::config::{Chain, Config};
use crate::failure::Problem;
use guard::Position;
use rustix::fs::{FsWord, statfs};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use store::file::inspect;

/// Why a state should not lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// Other hosts can have it mounted, and whether a lock holds there depends on servers and options.
    Shared,
    /// Another program serves it; whether a lock or a sync means anything is its choice.
    Served,
    /// It is in memory.
    Volatile,
}

const DOUBTFUL: [(FsWord, &str, Doubt); 16] = [
    (0x6969, "NFS", Doubt::Shared),
    (0x517b, "SMB", Doubt::Shared),
    (0xff53_4d42, "CIFS", Doubt::Shared),
    (0xfe53_4d42, "SMB2", Doubt::Shared),
    (0x00c3_6400, "Ceph", Doubt::Shared),
    (0x5346_414f, "AFS", Doubt::Shared),
    (0x6b41_4653, "AFS", Doubt::Shared),
    (0x7375_7245, "Coda", Doubt::Shared),
    (0x0bd0_0bd0, "Lustre", Doubt::Shared),
    (0x0116_1970, "GFS2", Doubt::Shared),
    (0x7461_636f, "OCFS2", Doubt::Shared),
    (0x4750_4653, "GPFS", Doubt::Shared),
    (0x6573_5546, "FUSE", Doubt::Served),
    (0x0102_1997, "9p", Doubt::Served),
    (0x0102_1994, "tmpfs", Doubt::Volatile),
    (0x8584_58f6, "ramfs", Doubt::Volatile),
];

impl Doubt {
    const fn words(self) -> &'static str {
        match self {
            Self::Shared => {
                "a network or cluster file system, where a lock need not keep a signer on another host out: two could \
                 double-sign"
            }
            Self::Served => {
                "served by another program, which need not keep a second signer out, nor keep anything through a power cut"
            }
            Self::Volatile => "in memory: after a power cut or a restart of the host nothing is left of it",
        }
    }
}

/// Warns of every state that lies on a file system which does not hold what the state depends on, of folders that
/// others can write, and of a chain that nothing will be signed for any more.
pub(crate) fn warnings(config: &Config) -> Vec<Problem> {
    let files = config.chains.iter().filter_map(|chain| Some(chain.state.file()?.resolved.as_path()));
    let doubtful = doubtful(files);
    doubtful.into_iter().chain(open_folders(config)).chain(config.chains.iter().filter_map(ended)).collect()
}

/// The same of the files and folders of states that no configuration of this host names.
pub(crate) fn warnings_of(places: &[PathBuf]) -> Vec<Problem> {
    // What others can exchange is the name that a link leads to.
    let real: Vec<_> = places.iter().map(|place| place.canonicalize().unwrap_or_else(|_| place.clone())).collect();
    let folder_of = |place| if Path::is_dir(place) { place } else { folder_of(place) };
    let folders: BTreeSet<&Path> = real.iter().map(|place| folder_of(place)).collect();
    let doubtful = doubtful(real.iter().map(PathBuf::as_path));
    doubtful.into_iter().chain(folders.into_iter().filter_map(open_folder)).collect()
}

fn doubtful<'a>(places: impl Iterator<Item = &'a Path>) -> Vec<Problem> {
    places.filter_map(|place| type_of(place).and_then(|number| warning(place, number))).collect()
}

/// A file's mode does not keep it in its place: that is the folder's.
fn open_folders(config: &Config) -> Vec<Problem> {
    let chains = config.chains.iter();
    let files = chains.flat_map(|chain| [chain.state.file(), chain.key.file().map(|key| &key.file)]);
    let folders: BTreeSet<&Path> = files.flatten().map(|file| folder_of(&file.resolved)).collect();
    folders.into_iter().filter_map(open_folder).collect()
}

fn open_folder(folder: &Path) -> Option<Problem> {
    let mode = folder.metadata().ok()?.permissions().mode() & 0o7777;
    // With the sticky bit others add files, and cannot exchange ours.
    if mode & 0o022 == 0 || mode & 0o1000 != 0 {
        return None;
    }
    let name = folder.display();
    Some(Problem {
        message: format!(
            "the folder {name} can be written by others (mode {mode:04o}): whoever can may put an older state in place"
        ),
        help: format!("run `chmod 700 {}`", crate::state::shell_word(&name.to_string())),
    })
}

/// A highest height that the record has passed, or whose end it has reached.
fn ended(chain: &Chain) -> Option<Problem> {
    let most = chain.max_height?;
    let seen = inspect(&chain.state.file()?.resolved).ok()?;
    let recorded = seen.held()?.record.position();
    let place = match recorded.height {
        height if height > most => format!("at height {height}"),
        _ if recorded >= Position::end_of(most) => "at the end of that height".to_owned(),
        _ => return None,
    };
    Some(Problem {
        message: format!(
            "chain {}: max_height is {most}, but the record is {place} already: nothing will be signed",
            chain.id
        ),
        help: "raise max_height, or remove it".to_owned(),
    })
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The type of the file's file system, or of its folder's where there is no file yet; none if it cannot be told.
fn type_of(file: &Path) -> Option<FsWord> {
    statfs(file).or_else(|_| statfs(folder_of(file))).ok().map(|found| found.f_type)
}

fn warning(file: &Path, number: FsWord) -> Option<Problem> {
    let (_, name, doubt) = DOUBTFUL.into_iter().find(|(doubtful, ..)| *doubtful == number)?;
    let (what, setting) = if file.is_dir() {
        ("folder of states", "persist's -s")
    } else {
        ("state file", "its state_file (or persist's -s)")
    };
    Some(Problem {
        message: format!("the {what} {} is on {name}, {}", file.display(), doubt.words()),
        help: format!(
            "name a place on a local disk (ext4, xfs) as {setting}, and move it there while the signer is stopped"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_and_cluster_and_served_and_volatile_file_systems_are_warned_of_and_local_disks_are_not() {
        let about = |number| warning(Path::new("/s.json"), number).map(|problem| problem.message);
        for (number, expected) in [
            (0x6969, "the state file /s.json is on NFS, a network or cluster file system"),
            (0xff53_4d42, "the state file /s.json is on CIFS, a network or cluster file system"),
            (0xfe53_4d42, "the state file /s.json is on SMB2, a network or cluster file system"),
            (0x6573_5546, "the state file /s.json is on FUSE, served by another program"),
            (0x0102_1994, "the state file /s.json is on tmpfs, in memory"),
            (0x8584_58f6, "the state file /s.json is on ramfs, in memory"),
        ] {
            assert!(about(number).unwrap().starts_with(expected), "{number:x}");
        }
        // ext4, xfs, btrfs, zfs, overlayfs: linux/magic.h, and OpenZFS's own.
        for number in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0x794c_7630] {
            assert_eq!(about(number), None, "{number:x}");
        }
    }

    #[test]
    fn a_folder_of_states_is_warned_of_by_its_own_mode_and_a_file_by_its_folders() {
        use std::fs::{Permissions, create_dir, remove_dir_all, set_permissions};
        let outer = std::env::temp_dir().join(format!("tmkms-filesystem-{}", std::process::id()));
        let folder = outer.join("states");
        create_dir(&outer).unwrap();
        create_dir(&folder).unwrap();
        set_permissions(&outer, Permissions::from_mode(0o700)).unwrap();
        set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let about_modes = |place: &Path| {
            let open = |problem: &Problem| problem.message.contains("can be written by others (mode 0777)");
            warnings_of(&[place.to_owned()]).iter().filter(|problem| open(problem)).count()
        };
        assert_eq!((about_modes(&folder), about_modes(&folder.join("a.json"))), (1, 1));
        set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        assert_eq!((about_modes(&folder), about_modes(&folder.join("a.json"))), (0, 0));
        remove_dir_all(outer).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_yet_has_the_type_of_its_folder() {
        // The kernel's own: in every Linux at the same place, and never a disk (PROC_SUPER_MAGIC).
        assert_eq!(type_of(Path::new("/proc/no-such-file")), Some(0x9fa0));
        assert!(type_of(Path::new("no-such-file")).is_some());
        assert_eq!(type_of(Path::new("/no/such/folder/file")), None);
    }
}
