//! Where the states are: files, or folders of files. Which file is whose stands in the files themselves.
use guard::{ChainId, Identity, Record, StoreError, Trouble};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use store::file::inspect;
use store::file::slot::Owner;
use store::{FileStore, Problem, StateError};

/// How many files of a folder are looked at.
const MAX_FOLDER_ENTRIES: usize = 4096;

/// The files and folders that `-s` names.
#[derive(Clone, Debug)]
pub struct Places(Vec<PathBuf>);

/// How far a file is the wanted one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Another chain's, or no state file.
    None,
    /// The chain's, of another key.
    Chain,
    /// The chain's, of no key yet.
    Unbound,
    /// The chain's and the key's.
    Exact,
}

struct Candidate {
    path: PathBuf,
    fit: Fit,
}

impl Places {
    /// These files and folders, of which each is looked at when an enclave opens.
    #[must_use]
    pub const fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    /// What would keep every enclave from opening, before the first one tries: a named file or folder that is not there,
    /// a file that is damaged, loose or in use, one file under two names.
    #[must_use]
    pub fn check(&self) -> Vec<StateError> {
        let mut errors = Vec::new();
        let mut seen = Vec::new();
        for path in &self.0 {
            let Ok(found) = fs::metadata(path) else {
                errors.push(StateError { path: path.clone(), problem: Problem::Missing });
                continue;
            };
            if seen.contains(&(found.dev(), found.ino())) {
                errors.push(StateError { path: path.clone(), problem: Problem::OpenTwice });
                continue;
            }
            seen.push((found.dev(), found.ino()));
            if found.is_dir() {
                continue;
            }
            errors.extend(check_file(path).err());
        }
        errors
    }

    /// Makes the file of a chain: the one that is named, or `CHAIN_priv_validator_state.json` in the folder. Never
    /// overwrites.
    ///
    /// # Errors
    /// [`Problem::Exists`], or the system's trouble.
    pub fn create(&self, owner: &Owner, record: &Record) -> Result<PathBuf, StateError> {
        let place = self.0.first().cloned().unwrap_or_default();
        let path = if place.is_dir() { place.join(file_name(&owner.chain_id)) } else { place };
        FileStore::create_for(&path, owner, record)?;
        Ok(path)
    }

    /// Every file now, in the order of the places.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.iter().flat_map(|place| if place.is_dir() { files_in(place) } else { vec![place.clone()] }).collect()
    }

    /// The one file that is for that key and chain, by its real path.
    ///
    /// # Errors
    /// [`Trouble::Damaged`]: there is none, or more than one; with what to do.
    pub(super) fn find(&self, identity: &Identity) -> Result<PathBuf, StoreError> {
        let owner = Owner::of(identity);
        let candidates: Vec<_> = self.files().into_iter().map(|path| candidate(path, &owner)).collect();
        let best = candidates.iter().map(|candidate| candidate.fit).max().unwrap_or(Fit::None);
        let fitting: Vec<_> = candidates.iter().filter(|candidate| candidate.fit == best).collect();
        let path = match (best, fitting.as_slice()) {
            (Fit::Exact | Fit::Unbound, [one]) => one.path.clone(),
            (Fit::Exact | Fit::Unbound, [one, other, ..]) => return Err(ambiguous(&one.path, &other.path)),
            // Opening them says what is wrong.
            (Fit::Chain, [one, ..]) => one.path.clone(),
            _ => self.named(&identity.chain_id).ok_or_else(|| self.missing(identity))?,
        };
        // A file of the chain's own name that nobody can read may hold more than the one that was found.
        if let Some(named) = self.named(&identity.chain_id).filter(|named| *named != path)
            && inspect(&named).is_ok_and(|seen| seen.slots.iter().all(Result::is_err))
        {
            return Err(ambiguous(&path, &named));
        }
        fs::canonicalize(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(identity),
            _ => StateError { path, problem: Problem::Io { doing: "looking at it", error } }.into(),
        })
    }

    /// What is to be opened for want of anything that fits: the only file, or the one of the chain's name in a folder.
    fn named(&self, chain_id: &ChainId) -> Option<PathBuf> {
        if let [only] = self.0.as_slice()
            && !only.is_dir()
        {
            return Some(only.clone());
        }
        let folders = self.0.iter().filter(|place| place.is_dir());
        folders.map(|folder| folder.join(file_name(chain_id))).find(|path| path.exists())
    }

    fn missing(&self, identity: &Identity) -> StoreError {
        let places: Vec<_> = self.0.iter().map(|place| place.display().to_string()).collect();
        let chain = &identity.chain_id;
        StoreError {
            trouble: Trouble::Damaged,
            detail: format!(
                "no file of chain {chain} in {}, and opening never makes one: if it was moved, put it back; otherwise run \
                 `tmkms state init --chain-id {chain} --height H` (nothing at or below H will be signed), or `tmkms nitro persist \
                 --init --chain-id {chain}` with --height H, or with --new-validator only if the key has never signed anywhere",
                places.join(", ")
            ),
        }
    }
}

/// The name of a chain's file where a folder is given: the one that `tmkms state init` gives it.
fn file_name(chain_id: &ChainId) -> String {
    // A chain id may hold a slash; a name may not.
    format!("{}_priv_validator_state.json", chain_id.as_str().replace('/', "_"))
}

/// A folder's files, without hidden ones and the old ones that `tmkms state` keeps beside the present.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_present = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_old = name.rsplit_once(".old-").is_some_and(|(_, number)| number.chars().all(|c| c.is_ascii_digit()));
        !name.starts_with('.') && !is_old && path.is_file()
    };
    let mut files: Vec<_> =
        entries.take(MAX_FOLDER_ENTRIES).flatten().map(|entry| entry.path()).filter(is_present).collect();
    files.sort();
    files
}

fn candidate(path: PathBuf, wanted: &Owner) -> Candidate {
    let seen = inspect(&path).ok();
    let owners = seen.iter().flat_map(|seen| seen.slots.iter().flatten()).map(|held| &held.owner);
    let fit = owners.map(|owner| match owner {
        owner if owner.chain_id != wanted.chain_id => Fit::None,
        owner if owner == wanted => Fit::Exact,
        owner if owner.is_unbound() => Fit::Unbound,
        _ => Fit::Chain,
    });
    let fit = fit.max().unwrap_or(Fit::None);
    Candidate { path, fit }
}

fn ambiguous(one: &Path, other: &Path) -> StoreError {
    StoreError {
        trouble: Trouble::Damaged,
        detail: format!(
            "both {} and {} may be this key's state, and only one can hold what was signed last: find out which (`tmkms state \
             show`), and move the other one away",
            one.display(),
            other.display()
        ),
    }
}

/// Opens as whoever's it is, and closes again.
fn check_file(path: &Path) -> Result<(), StateError> {
    let seen = inspect(path)?;
    let owner = seen.slots.iter().flatten().map(|held| held.owner.clone()).next();
    if let Some(problem) = seen.problem {
        return Err(StateError { path: path.to_owned(), problem });
    }
    let Some(owner) = owner else { return Ok(()) };
    FileStore::open_for(path, &owner).map(drop)
}
