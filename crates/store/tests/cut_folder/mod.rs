//! A directory whose unsynced steps the power cut keeps or loses.
#![allow(dead_code, clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use store::file::{Folder, ImageBytes};

/// The names of a directory; a file is its bytes and whether they were synced.
pub type Names = BTreeMap<OsString, (ImageBytes, bool)>;
type Step = Box<dyn Fn(&mut Names)>;

/// A directory whose unsynced steps the power cut keeps or loses, each for itself, in any order.
#[derive(Default)]
pub struct CutFolder {
    pub now: Names,
    pub durable: Names,
    pub pending: Vec<Step>,
    /// Every state that a cut could have left so far.
    pub cuts: Vec<Names>,
    /// Fails the call of this number.
    pub fail_at: Option<usize>,
    pub calls: usize,
    /// Set to show that the tests notice it.
    pub forgets_to_sync: bool,
}

impl CutFolder {
    pub fn with(name: &str, image: ImageBytes) -> Self {
        let names = Names::from([(name.into(), (image, true))]);
        Self { now: names.clone(), durable: names, ..Self::default() }
    }

    fn step(&mut self, step: impl Fn(&mut Names) + 'static) -> io::Result<()> {
        self.may_fail()?;
        step(&mut self.now);
        self.pending.push(Box::new(step));
        self.remember();
        Ok(())
    }

    fn may_fail(&mut self) -> io::Result<()> {
        self.calls += 1;
        if self.fail_at == Some(self.calls) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Every subset of the pending steps, each in both directions.
    fn remember(&mut self) {
        for mask in 0..1_u32 << self.pending.len() {
            let chosen: Vec<usize> = (0..self.pending.len()).filter(|index| mask >> index & 1 == 1).collect();
            for order in [chosen.clone(), chosen.into_iter().rev().collect()] {
                let mut names = self.durable.clone();
                for index in order {
                    self.pending[index](&mut names);
                }
                self.cuts.push(names);
            }
        }
    }
}

fn free(names: &Names, name: &OsStr) -> io::Result<()> {
    if names.contains_key(name) { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(()) }
}

impl Folder for CutFolder {
    fn create_synced(&mut self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        free(&self.now, name)?;
        let (name, image): (_, ImageBytes) = (name.to_owned(), bytes.try_into().unwrap());
        self.step(move |names| {
            names.insert(name.clone(), (image, true));
        })
    }

    fn link(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        free(&self.now, to)?;
        // A link is to the file, whether or not the name that it was made from survives.
        let (file, to) = (self.now[from], to.to_owned());
        self.step(move |names| {
            names.insert(to.clone(), file);
        })
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        let (file, from, to) = (self.now[from], from.to_owned(), to.to_owned());
        self.step(move |names| {
            names.remove(&from);
            names.insert(to.clone(), file);
        })
    }

    fn remove(&mut self, name: &OsStr) -> io::Result<()> {
        let name = name.to_owned();
        self.step(move |names| {
            names.remove(&name);
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.may_fail()?;
        if !self.forgets_to_sync {
            self.durable = self.now.clone();
            self.pending.clear();
        }
        self.remember();
        Ok(())
    }
}
