//! A look at a state file that changes nothing and needs no lock, for `tmkms state show`.
use super::error::{BadSlot, Problem, StateError};
use super::image::{self, ImageBytes};
use super::medium;
use super::slot::Held;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// How often a file is read again while a signer writes it.
const MAX_READS: usize = 16;

/// What stands in a state file.
#[derive(Debug)]
pub struct Inspection {
    /// The file's length in bytes.
    pub bytes: u64,
    /// Both slots, or why they are not read.
    pub slots: [Result<Held, BadSlot>; 2],
    /// The slot that wins, 0 or 1; none when opening would refuse.
    pub winner: Option<usize>,
    /// Why opening would refuse, whoever's file it is.
    pub problem: Option<Problem>,
}

impl Inspection {
    /// What the winning slot holds.
    #[must_use]
    pub fn held(&self) -> Option<&Held> {
        self.slots[self.winner?].as_ref().ok()
    }
}

/// Looks at a file, also while a signer has it open.
///
/// # Errors
/// A [`StateError`] if there is no file or it cannot be read. Damage is no error here but part of the answer.
pub fn inspect(path: &Path) -> Result<Inspection, StateError> {
    let fail = |doing, error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => StateError::new(path, Problem::Missing),
        _ => StateError::io(path, doing, error),
    };
    if !fs::metadata(path).map_err(|error| fail("looking at it", error))?.is_file() {
        return Err(StateError::new(path, Problem::NotAFile));
    }
    let (start, bytes) = read_still(path).map_err(|error| fail("reading it", error))?;
    Ok(look_at(&start, bytes))
}

/// Reads until two readings agree: a reading that overlaps a write may see a part of it.
fn read_still(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut last = None;
    for _ in 0..MAX_READS {
        let file = File::open(path)?;
        let now = Some((medium::read_start(&file)?, file.metadata()?.len()));
        if now == last {
            break;
        }
        last = now;
    }
    last.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// Judges a file's start (at most 64 KiB) and its length. Pure; the seam for fuzzing the reader.
#[must_use]
pub fn look_at(start: &[u8], bytes: u64) -> Inspection {
    let slots = image::slots_in(start);
    let owner = slots.iter().flatten().map(|held| &held.owner).next();
    let judged = match (<&ImageBytes>::try_from(start), owner) {
        (Ok(image), Some(owner)) => image::judge(image, owner),
        (Ok(image), None) => Err(image::judge_unread(image)),
        (Err(_), _) => Err(image::judge_size(start, bytes)),
    };
    let (winner, problem) = match judged {
        Ok((winner, _)) => (Some(winner), None),
        Err(problem) => (None, Some(problem)),
    };
    Inspection { bytes, slots, winner, problem }
}
