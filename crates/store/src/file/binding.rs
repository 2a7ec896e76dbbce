//! A store for a key that its file may not name yet: the first commit binds the file to it.
//!
//! An enclave's key may be known to nobody before the enclave runs, so its file is made for a chain alone, with a floor.
//! Binding is an exchange of the whole file, see [`super`] (6.), and happens at the first commit and not before: an enclave that
//! was started by mistake and never signs takes nobody's file.
use super::change;
use super::medium::StateFile;
use super::slot::Owner;
use super::{FileStore, StateError, image, owner_of};
use guard::{Committed, Identity, Record, Store, StoreError, Trouble};
use std::path::{Path, PathBuf};

/// An opening of a state file that is that identity's, or nobody's yet.
pub struct BindingStore {
    path: PathBuf,
    identity: Identity,
    owner: Owner,
    /// None after a binding that did not end well: the next recovery opens whatever has the name then.
    store: Option<FileStore>,
}

impl BindingStore {
    /// Opens and locks the state file of that identity, or of its chain if it names no key. Never creates; changes nothing.
    ///
    /// # Errors
    /// A [`StateError`] with its remedy, as [`FileStore::open`].
    pub fn open(path: &Path, identity: &Identity) -> Result<Self, StateError> {
        let owner = owner_of(path, identity)?;
        let store = FileStore::on_whole(StateFile::open(path)?, path, |bytes| image::owner_in(bytes, &owner))?;
        Ok(Self { path: path.to_owned(), identity: identity.clone(), owner, store: Some(store) })
    }

    /// Whether the file names the key.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.store.as_ref().is_some_and(|store| !store.owner.is_unbound())
    }

    /// This opening's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.store.as_ref().map_or(0, FileStore::epoch)
    }

    /// The opening, made again if a binding has left none.
    fn store(&mut self) -> Result<&mut FileStore, StoreError> {
        if self.store.is_none() {
            self.store = Self::open(&self.path, &self.identity)?.store;
        }
        self.store.as_mut().ok_or_else(|| not_open(&self.path))
    }

    /// Puts the file with the key in place, opens it, and makes sure that it holds `previous`.
    fn bind(&mut self, previous: &Record, next: &Record) -> Result<(), StoreError> {
        let store = self.store()?;
        store.check_untouched()?;
        store.check_swap(previous, next)?;
        // Its lock is kept until the new file's is had. Whatever goes wrong from here on, what has the name is read anew.
        let Some(unbound) = self.store.take() else { return Err(not_open(&self.path)) };
        change::bind(&unbound.medium, &self.owner, unbound.epoch, previous)?;
        let mut bound = FileStore::open(&self.path, &self.identity)?;
        let held = bound.recover()?;
        if held != *previous {
            return Err(StoreError {
                trouble: Trouble::Superseded,
                detail: format!("state file {}: changed by someone else while it was bound", self.path.display()),
            });
        }
        self.store = Some(bound);
        Ok(())
    }
}

impl Store for BindingStore {
    fn recover(&mut self) -> Result<Record, StoreError> {
        self.store()?.recover()
    }

    fn commit(&mut self, previous: &Record, next: &Record) -> Result<Committed, StoreError> {
        if self.store.as_ref().is_some_and(|store| store.owner.is_unbound()) {
            self.bind(previous, next)?;
        }
        // After a binding that failed nothing is open, and nothing is committed before a recovery.
        self.store.as_mut().ok_or_else(|| not_open(&self.path))?.commit(previous, next)
    }
}

fn not_open(path: &Path) -> StoreError {
    let detail = format!("state file {}: not recovered after the last failure", path.display());
    StoreError { trouble: Trouble::Failed, detail }
}
