//! Real files for the tests: a folder of their own, removed at the end.
#![allow(dead_code, clippy::unwrap_used)]
use guard::{ChainId, Height, Identity, Position, Record};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new empty folder, removed when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("store-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Everything in it, by name.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_dir_all(self.0.with_extension("moved"));
    }
}

pub fn identity_of(chain: &str, key: u8) -> Identity {
    Identity { chain_id: ChainId::try_from(chain).unwrap(), public_key: Box::from([key; 32]) }
}

pub fn height(number: i64) -> Height {
    Height::try_from(number).unwrap()
}

pub fn floor(number: i64) -> Record {
    Record::floor(0, Position::end_of(height(number)))
}
