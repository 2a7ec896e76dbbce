//! What can be wrong with a state file, each with what to do about it.
use super::slot::Owner;
use crate::formats::Format;
use guard::{Position, Record, StoreError, Trouble};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a slot is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSlot {
    /// It is of a version that this program does not know (or its first bytes are damaged).
    Version(u64),
    /// It does not check out; what was noticed first.
    Broken(&'static str),
}

impl fmt::Display for BadSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(found) => write!(f, "it is of version {found}, this program knows version 1"),
            Self::Broken(what) => f.write_str(what),
        }
    }
}

/// A state file could not be created, opened, changed or shown. Nothing in it was lost.
#[derive(Debug)]
pub struct StateError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

impl StateError {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }

    pub(super) fn io(path: &Path, doing: &'static str, error: io::Error) -> Self {
        Self::new(path, Problem::of_io(doing, error))
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "state file {}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::PermissionDenied { error, .. }
            | Problem::ReadOnly { error, .. }
            | Problem::DiskFull { error, .. }
            | Problem::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A file that does not open, as the guard sees it.
impl From<StateError> for StoreError {
    fn from(error: StateError) -> Self {
        let trouble = match &error.problem {
            // The other process may end, the disk may come back.
            Problem::Locked { .. }
            | Problem::Exchanged
            | Problem::PermissionDenied { .. }
            | Problem::ReadOnly { .. }
            | Problem::DiskFull { .. }
            | Problem::Io { .. } => Trouble::Failed,
            _ => Trouble::Damaged,
        };
        Self { trouble, detail: error.to_string() }
    }
}

/// What is wrong with a state file. The text of each ends with its remedy.
#[derive(Debug)]
pub enum Problem {
    /// There is no such file. Opening never makes one.
    Missing,
    /// There is a file already. Creating never overwrites.
    Exists,
    /// It is a directory, a device, a socket or a pipe.
    NotAFile,
    /// Others than its owner may read or write it.
    LooseMode {
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it open.
    Locked {
        /// That process, if the kernel says.
        holder: Option<u32>,
    },
    /// This very process has it open already, under this name or another.
    OpenTwice,
    /// It has no bytes.
    Empty,
    /// It has another length than every state file has.
    WrongSize {
        /// Its length in bytes.
        bytes: u64,
        /// The highest position that can still be read from it.
        survivor: Option<Position>,
    },
    /// It is some other file.
    Foreign {
        /// What it is, if it is known.
        format: Option<Format>,
    },
    /// A later version of this program wrote it.
    UnknownVersion {
        /// The slot, 1 or 2.
        slot: usize,
        /// The version.
        found: u64,
    },
    /// It is the state of another chain.
    AnotherChain {
        /// Whose state was to be opened.
        expected: Owner,
        /// Whose it is.
        found: Owner,
    },
    /// It is the state of another key.
    AnotherKey {
        /// Whose state was to be opened.
        expected: Owner,
        /// Whose it is.
        found: Owner,
    },
    /// One of the two slots does not check out.
    OneSlotDamaged {
        /// The damaged slot, 1 or 2.
        slot: usize,
        /// What is wrong with it.
        bad: BadSlot,
        /// What the other slot holds.
        survivor: Position,
    },
    /// Neither slot checks out.
    BothSlotsDamaged {
        /// What is wrong with each.
        bad: [BadSlot; 2],
    },
    /// Both slots check out, but no history of ours makes them stand side by side.
    Contradiction {
        /// What the slots hold.
        held: [Box<Record>; 2],
    },
    /// The file was exchanged while it was being opened or changed.
    Exchanged,
    /// The change would allow what the present record refuses.
    WouldLower {
        /// The position that is recorded.
        existing: Position,
        /// The position that was to be recorded.
        requested: Position,
    },
    /// The record does not fit the format.
    Unfit {
        /// What does not fit.
        what: &'static str,
    },
    /// The system does not permit it.
    PermissionDenied {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
    /// The file system is mounted read-only.
    ReadOnly {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
    /// The disk, or the quota, is full.
    DiskFull {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
    /// Any other failure of the system.
    Io {
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        error: io::Error,
    },
}

impl Problem {
    pub(super) fn of_io(doing: &'static str, error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::PermissionDenied => Self::PermissionDenied { doing, error },
            Kind::ReadOnlyFilesystem => Self::ReadOnly { doing, error },
            Kind::StorageFull | Kind::QuotaExceeded => Self::DiskFull { doing, error },
            _ => Self::Io { doing, error },
        }
    }

    /// A short fixed name, for logs and tests.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Exists => "exists",
            Self::NotAFile => "not_a_file",
            Self::LooseMode { .. } => "loose_mode",
            Self::Locked { .. } => "locked",
            Self::OpenTwice => "open_twice",
            Self::Empty => "empty",
            Self::WrongSize { .. } => "wrong_size",
            Self::Foreign { .. } => "foreign",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::AnotherChain { .. } => "another_chain",
            Self::AnotherKey { .. } => "another_key",
            Self::OneSlotDamaged { .. } => "one_slot_damaged",
            Self::BothSlotsDamaged { .. } => "both_slots_damaged",
            Self::Contradiction { .. } => "contradiction",
            Self::Exchanged => "exchanged",
            Self::WouldLower { .. } => "would_lower",
            Self::Unfit { .. } => "unfit",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::ReadOnly { .. } => "read_only",
            Self::DiskFull { .. } => "disk_full",
            Self::Io { .. } => "io",
        }
    }
}

/// How every kind of damage is mended.
const REPAIR: &str = "find the chain's height, and run `tmkms state repair --height H` with H at or above the last height that this \
                      key can have signed; nothing at or below H will be signed, and the damaged file is kept";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str(
                "missing, and opening never makes one: if it was moved, put it back; if this key is new on this host, run \
                 `tmkms state init --height H` (nothing at or below H will be signed), or `tmkms state init --new-validator` \
                 only if the key has never signed anywhere",
            ),
            Self::Exists => f.write_str(
                "exists already, and is never overwritten: use it as it is, raise it with `tmkms state repair --height H`, \
                 or move it away first",
            ),
            Self::NotAFile => f.write_str("not a regular file: name a file in the configuration's state_file"),
            Self::LooseMode { mode } => write!(
                f,
                "others may read or write it: expected mode 0600, got {mode:04o}: check who changed it, then run `chmod 600` on it"
            ),
            Self::Locked { holder } => {
                match holder {
                    Some(pid) => write!(f, "in use by process {pid}")?,
                    None => f.write_str("in use by another process")?,
                }
                f.write_str(": two signers on one state would double-sign; stop the other one first")
            }
            Self::OpenTwice => f.write_str(
                "opened twice by this process: another chain's state_file leads to the same file, by a link or another way of \
                 writing its path: give each chain a state_file of its own",
            ),
            Self::Empty => write!(f, "empty: expected 8192 bytes, got 0: {REPAIR}"),
            Self::WrongSize { bytes, survivor } => {
                write!(f, "damaged: expected 8192 bytes, got {bytes}")?;
                match survivor {
                    Some(position) => write!(f, "; a record of {position} can still be read, but need not be the last: ")?,
                    None => f.write_str("; no record can be read from it: ")?,
                }
                f.write_str(REPAIR)
            }
            Self::Foreign { format: Some(format) } => write!(
                f,
                "not a state file of this program, but {format}: run `tmkms state import` to make a state file from it, and \
                 name the new file in the configuration's state_file"
            ),
            Self::Foreign { format: None } => f.write_str(
                "not a state file of this program: check the configuration's state_file; if this was this key's state, move it \
                 away and run `tmkms state init --height H` with H at or above the chain's height",
            ),
            Self::UnknownVersion { slot, found } => write!(
                f,
                "slot {slot} is of version {found}, this program knows version 1: run the version of tmkms that wrote it; if \
                 none did, it is damaged: move it away and run `tmkms state init --height H` above the chain's height"
            ),
            Self::AnotherChain { expected, found } => write!(
                f,
                "the state of another chain: expected chain {}, got {}: check state_file and the chain's id in the configuration",
                expected.chain_id, found.chain_id
            ),
            Self::AnotherKey { found, .. } if found.is_unbound() => f.write_str(
                "bound to no key yet: an enclave binds it by its first commit through `tmkms nitro persist`; to bind it to the \
                 configured key, run `tmkms state repair --height H` with H at least its height",
            ),
            Self::AnotherKey { expected, found } => write!(
                f,
                "the state of another key: expected public key {}, got {}: check state_file and the key in the configuration",
                expected.pub_key, found.pub_key
            ),
            Self::OneSlotDamaged { slot, bad, survivor } => write!(
                f,
                "damaged: slot {slot} does not check out ({bad}); the other slot holds {survivor}, which need not be the last \
                 that was signed: {REPAIR}"
            ),
            Self::BothSlotsDamaged { bad: [first, second] } => {
                write!(f, "damaged: neither slot checks out (slot 1: {first}; slot 2: {second}): {REPAIR}")
            }
            Self::Contradiction { held: [first, second] } => write!(
                f,
                "damaged: the slots contradict each other (slot 1: {} at sequence {}; slot 2: {} at sequence {}): {REPAIR}",
                first.position(),
                first.sequence(),
                second.position(),
                second.sequence()
            ),
            Self::Exchanged => f.write_str("exchanged by someone else meanwhile: find out by whom, then try again"),
            Self::WouldLower { existing, requested } => write!(
                f,
                "this would lower the record: it holds {existing}, and {requested} was asked for: a position may be signed \
                 twice then; only if you are sure that it was not, repeat with `--force`"
            ),
            Self::Unfit { what } => write!(f, "the record does not fit the format: {what}"),
            Self::PermissionDenied { doing, error } => write!(
                f,
                "{doing} is not permitted ({error}): run as the file's owner, or give the file and its directory to the user \
                 that runs this"
            ),
            Self::ReadOnly { doing, error } => write!(
                f,
                "{doing} failed ({error}): remount the file system read-write (look for disk errors in the kernel's log first), \
                 or name another place in the configuration's state_file"
            ),
            Self::DiskFull { doing, error } => {
                write!(f, "{doing} failed ({error}): free space on that file system, or raise the quota")
            }
            Self::Io { doing, error } => {
                write!(f, "{doing} failed ({error}): look at the disk and at the kernel's log")
            }
        }
    }
}

/// A failure of the system while the store was in use, as the guard sees it.
pub(super) fn failed(path: &Path, doing: &'static str, error: io::Error) -> StoreError {
    StoreError { trouble: Trouble::Failed, detail: StateError::io(path, doing, error).to_string() }
}
