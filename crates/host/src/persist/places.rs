//! Where the states are: files, or folders of files. Which file is whose stands in the files themselves.
use super::candidates::{Candidate, Fit, candidates_in, file_name, files_in, readable_in};
use guard::{ChainId, Identity, Record, StoreError, Trouble};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use store::file::inspect;
use store::file::slot::Owner;
use store::{FileStore, Problem, StateError};

/// The files and folders that `-s` names.
#[derive(Clone, Debug)]
pub struct Places(Vec<PathBuf>);

impl Places {
    /// These files and folders, of which each is looked at when an enclave opens.
    #[must_use]
    pub const fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }

    /// What would keep every enclave from opening, before the first one tries: a named file or folder that is not there,
    /// a file that is damaged, loose or in use, one file under two names, a folder with a file that nobody can read.
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
            let checked = if found.is_dir() { readable_in(path).map(drop) } else { check_file(path) };
            errors.extend(checked.err());
        }
        errors
    }

    /// Where [`Places::create`] makes the file of a chain.
    #[must_use]
    pub fn new_file(&self, chain_id: &ChainId) -> PathBuf {
        let place = self.0.first().cloned().unwrap_or_default();
        if place.is_dir() { place.join(file_name(chain_id)) } else { place }
    }

    /// Makes the file of a chain: the one that is named, or `CHAIN_priv_validator_state.json` in the folder. Never
    /// overwrites.
    ///
    /// # Errors
    /// [`Problem::Exists`], or the system's trouble.
    pub fn create(&self, owner: &Owner, record: &Record) -> Result<PathBuf, StateError> {
        let path = self.new_file(&owner.chain_id);
        FileStore::create_for(&path, owner, record)?;
        Ok(path)
    }

    /// Every file now, in the order of the places; without those of a folder that cannot be listed.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let files = |place: &PathBuf| {
            if place.is_dir() { files_in(place).unwrap_or_default() } else { vec![place.clone()] }
        };
        self.0.iter().flat_map(files).collect()
    }

    /// The one file that is for that key and chain, by its real path.
    ///
    /// # Errors
    /// There is none, or more than one, or one that nobody can tell whose it is; with what to do.
    pub(super) fn find(&self, identity: &Identity) -> Result<PathBuf, StoreError> {
        let candidates = self.candidates(identity)?;
        let of = |fit| candidates.iter().filter(move |candidate| candidate.fit == fit).map(|candidate| &candidate.path);
        let best = candidates.iter().map(|candidate| candidate.fit).max().unwrap_or(Fit::None);
        let fitting: Vec<_> = of(best).collect();
        let path = match (best, fitting.as_slice()) {
            (Fit::Exact | Fit::Unbound, [one, other, ..]) => return Err(ambiguous(one, other)),
            (Fit::Unbound, [one]) => match of(Fit::Chain).next() {
                Some(bound) => return Err(spare(one, bound, identity)),
                None => PathBuf::from(one),
            },
            // Opening another key's says what is wrong.
            (Fit::Exact | Fit::Chain, [one, ..]) => PathBuf::from(one),
            _ => self.named(&identity.chain_id).ok_or_else(|| self.missing(identity))?,
        };
        fs::canonicalize(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => self.missing(identity),
            _ => StateError { path, problem: Problem::Io { doing: "looking at it", error } }.into(),
        })
    }

    /// Every file, judged; none is passed over because it cannot be read.
    fn candidates(&self, identity: &Identity) -> Result<Vec<Candidate>, StoreError> {
        let owner = Owner::of(identity);
        let mut candidates = Vec::new();
        for place in &self.0 {
            match candidates_in(place, &owner) {
                Ok(found) => candidates.extend(found),
                Err(error)
                    if matches!(error.problem, Problem::Missing) && self.0.len() == 1 && error.path == *place =>
                {
                    return Err(self.missing(identity));
                }
                Err(error) => return Err(unread(error, place)),
            }
        }
        Ok(candidates)
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

/// A file that may be anybody's.
fn unread(error: StateError, place: &Path) -> StoreError {
    let way_out = if error.path == place {
        "; as long as it cannot be read nothing is opened, for it may be any key's: leave it out of -s only if you know that it is \
         of another key or chain"
    } else {
        "; as long as it cannot be read nothing in its folder is opened, for it may be any key's: move it out of the folder only \
         if you know that it is of another key or chain"
    };
    let StoreError { trouble, detail } = error.into();
    StoreError { trouble, detail: detail + way_out }
}

/// A file without a key would be taken by any key, also by one whose own file is merely missing.
fn spare(unbound: &Path, bound: &Path, identity: &Identity) -> StoreError {
    let key = Owner::of(identity).pub_key;
    StoreError {
        trouble: Trouble::Damaged,
        detail: format!(
            "no file of key {key}: {} names no key, and is not taken, because {} is of another key of chain {} and so nobody can \
             tell which keys have signed already: if this key's own file was moved, put it back; only if there is none, bind the \
             file with `tmkms state repair --file {} --public-key {key} --chain-id {} --height H`, H at or above the last height \
             that this key can have signed",
            unbound.display(),
            bound.display(),
            identity.chain_id,
            unbound.display(),
            identity.chain_id,
        ),
    }
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
