//! A record's file while it is open: what is asked of its store, and what is known of what it holds.
use super::memory::Memory;
use guard::{Committed, Identity, Record, Store, StoreError, Trouble};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use std::path::Path;
use store::BindingStore;
use wire::state::{Digest, digest};

/// Empty while nobody has the file open.
#[derive(Default)]
pub(super) struct Kept {
    /// Open only while somebody holds it, or while a failed write of ours is still to be healed.
    store: Option<BindingStore>,
    /// What the store holds, as far as it is not in doubt.
    current: Option<Record>,
}

/// Whose file is meant.
pub(super) struct Of<'a> {
    pub(super) path: &'a Path,
    pub(super) identity: &'a Identity,
    pub(super) memory: &'a Memory,
}

impl Kept {
    /// A new opening of the file, with a new epoch, which it gives. What a failed write of the present one may have torn is
    /// healed first, because only that one knows that it was its doing.
    pub(super) fn reopen(&mut self, of: &Of) -> Result<u64, StoreError> {
        if let (Some(store), None) = (&mut self.store, &self.current) {
            match store.recover() {
                Err(error) if error.trouble.may_pass() => return Err(error),
                _ => {}
            }
        }
        // Its lock has to go before the next one can be had.
        self.close();
        Ok(self.store.insert(open(of)?).epoch())
    }

    pub(super) fn recover(&mut self, of: &Of) -> Result<Record, StoreError> {
        self.current = None;
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(open(of)?),
        };
        let record = store.recover()?;
        of.memory.check(of.identity, &record, of.path)?;
        // A file that names no key says nothing about this one.
        if store.is_bound() {
            of.memory.acknowledged(of.identity, &record, of.path);
        }
        self.current = Some(record.clone());
        Ok(record)
    }

    pub(super) fn commit(&mut self, of: &Of, previous: (u64, Digest), next: &Record) -> Result<Committed, StoreError> {
        let Some((store, current)) = self.store.as_mut().zip(self.current.take()) else {
            let detail = format!("state file {}: not recovered after the last failure", of.path.display());
            return Err(StoreError { trouble: Trouble::Failed, detail });
        };
        // A repeat of what is there already is the store's to see, whatever came before it.
        if current != *next && previous != (current.sequence(), digest(&current)) {
            let detail = format!(
                "state file {}: not written: the enclave expected sequence {}, the file holds sequence {} at {}, or another \
                 record of that sequence",
                of.path.display(),
                previous.0,
                current.sequence(),
                current.position()
            );
            self.current = Some(current);
            return Err(StoreError { trouble: Trouble::Superseded, detail });
        }
        let committed = store.commit(&current, next)?;
        of.memory.acknowledged(of.identity, next, of.path);
        self.current = Some(next.clone());
        Ok(committed)
    }

    /// After trouble that only a person can end the file is let go of, so that a person can.
    pub(super) fn settle<T>(&mut self, result: &Result<T, StoreError>) {
        if result.as_ref().is_err_and(|error| !error.trouble.may_pass()) {
            self.close();
        }
    }

    /// Closes the file, unless a failed write of ours has still to be healed and cannot be.
    pub(super) fn let_go(&mut self) {
        let is_sound = self.current.is_some() || self.store.as_mut().is_none_or(|store| store.recover().is_ok());
        if is_sound {
            self.close();
        }
    }

    pub(super) fn close(&mut self) {
        self.store = None;
        self.current = None;
    }
}

fn open(of: &Of) -> Result<BindingStore, StoreError> {
    let store = BindingStore::open(of.path, of.identity)?;
    if !store.is_bound() {
        check_exchangeable(of.path)?;
    }
    Ok(store)
}

/// Binding exchanges the file: a name that would go on leading to the old one would be a second file, and a file that is
/// mounted by itself cannot be exchanged. Both are told before the first vote, which would be lost.
fn check_exchangeable(path: &Path) -> Result<(), StoreError> {
    let refuse = |what: &str| {
        let detail = format!("state file {}: {what}", path.display());
        Err(StoreError { trouble: Trouble::Damaged, detail })
    };
    // What cannot be told here, the exchange tells.
    let Ok(found) = statx(CWD, path, AtFlags::empty(), StatxFlags::NLINK) else { return Ok(()) };
    if found.stx_nlink > 1 {
        return refuse(&format!(
            "it names no key yet and has {} names (hard links), expected 1: the file is exchanged when its key first signs, and the \
             other names would go on leading to the old one, as a second state: remove the other names",
            found.stx_nlink
        ));
    }
    if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return refuse(
            "it names no key yet and is a mount of its own (a single file that is bound into a container): the file is exchanged \
             when its key first signs, which such a mount refuses (EBUSY): mount the folder that it is in, or make the file with \
             --public-key",
        );
    }
    Ok(())
}
