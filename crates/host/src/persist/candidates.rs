//! What stands in each file of the places: whether it is the wanted one, and whether that can be told at all.
//!
//! A file that cannot be read may hold what was signed last, whatever its name, and whoever's it is is not known. It is never
//! passed over in favour of another one.
use guard::ChainId;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use store::file::slot::Owner;
use store::file::{FILE_BYTES, Inspection, inspect};
use store::{Problem, StateError};

/// How many entries a folder may have, so that each can be looked at.
const MAX_FOLDER_ENTRIES: usize = 4096;

/// How far a file is the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Another chain's, or surely no state file.
    None,
    /// The chain's, of another key.
    Chain,
    /// The chain's, of no key yet.
    Unbound,
    /// The chain's and the key's.
    Exact,
}

/// A file of the places, judged for one key.
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) fit: Fit,
}

/// The name of a chain's file where a folder is given: the one that `tmkms state init` gives it.
pub(super) fn file_name(chain_id: &ChainId) -> String {
    // A chain id may hold a slash; a name may not.
    format!("{}_priv_validator_state.json", chain_id.as_str().replace('/', "_"))
}

/// Every file of a place, judged.
///
/// # Errors
/// The first that cannot be judged, or the place itself.
pub(super) fn candidates_in(place: &Path, wanted: &Owner) -> Result<Vec<Candidate>, StateError> {
    let judged = readable_in(place)?.into_iter().map(|(path, seen)| Candidate { fit: fit(&seen, wanted), path });
    Ok(judged.collect())
}

/// Every state file of a place, and what stands in it. What is surely something else's is left out of a folder.
///
/// # Errors
/// The first file that nobody can tell whose it is, or the place itself.
pub(super) fn readable_in(place: &Path) -> Result<Vec<(PathBuf, Inspection)>, StateError> {
    if !metadata(place)?.is_dir() {
        let seen = inspect(place)?;
        return match seen.problem {
            Some(problem) if is_unread(&seen.slots) => Err(StateError { path: place.to_owned(), problem }),
            problem => Ok(vec![(place.to_owned(), Inspection { problem, ..seen })]),
        };
    }
    let mut readable = Vec::new();
    for path in files_in(place)? {
        let seen = inspect(&path)?;
        match seen.problem {
            // Of that length it could have been one, and has lost everything that would tell.
            Some(Problem::Foreign { .. }) if usize::try_from(seen.bytes) != Ok(FILE_BYTES) && !is_named_so(&path) => {}
            Some(problem) if is_unread(&seen.slots) => return Err(StateError { path, problem }),
            problem => readable.push((path, Inspection { problem, ..seen })),
        }
    }
    Ok(readable)
}

fn is_unread<T, E>(slots: &[Result<T, E>; 2]) -> bool {
    slots.iter().all(Result::is_err)
}

fn is_named_so(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("priv_validator_state.json"))
}

fn fit(seen: &Inspection, wanted: &Owner) -> Fit {
    let owners = seen.slots.iter().flatten().map(|held| &held.owner);
    let fits = owners.map(|owner| match owner {
        owner if owner.chain_id != wanted.chain_id => Fit::None,
        owner if owner == wanted => Fit::Exact,
        owner if owner.is_unbound() => Fit::Unbound,
        _ => Fit::Chain,
    });
    fits.max().unwrap_or(Fit::None)
}

/// A folder's files, without hidden ones and the old ones that `tmkms state` keeps beside the present.
///
/// # Errors
/// If not every entry could be looked at: the one that is missed may be the wanted one.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, StateError> {
    let fail = |error| failed(folder, "listing it", error);
    let mut files = Vec::new();
    for (number, entry) in fs::read_dir(folder).map_err(fail)?.enumerate() {
        let entry = entry.map_err(fail)?;
        if number >= MAX_FOLDER_ENTRIES {
            let text =
                format!("expected at most {MAX_FOLDER_ENTRIES} files, got more: give the states a folder of their own");
            return Err(fail(io::Error::other(text)));
        }
        if is_present(&entry.file_name()) && metadata(&entry.path())?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn is_present(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_old = name.rsplit_once(".old-").is_some_and(|(_, number)| number.chars().all(|c| c.is_ascii_digit()));
    !name.starts_with('.') && !is_old
}

/// Of what a name leads to. A link that leads nowhere may be a state on a disk that is not mounted.
fn metadata(path: &Path) -> Result<fs::Metadata, StateError> {
    fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StateError { path: path.to_owned(), problem: Problem::Missing },
        _ => failed(path, "looking at it", error),
    })
}

fn failed(path: &Path, doing: &'static str, error: io::Error) -> StateError {
    let problem = match error.kind() {
        io::ErrorKind::PermissionDenied => Problem::PermissionDenied { doing, error },
        _ => Problem::Io { doing, error },
    };
    StateError { path: path.to_owned(), problem }
}
