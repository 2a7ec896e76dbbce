//! Other programs' state files: what they say in our terms, and what is lost each way. Pure.
//!
//! Both formats keep one position, like ours, but count steps differently and keep different evidence. A conversion
//! never yields a lower position than the file's own program would enforce, and where a file can be read in two
//! ways, the higher reading is taken: a missed vote is cheap, a second one is not.
mod filepv;
mod hex;
mod tmkms;

use guard::{ChainId, NotCanonical, Position, Record, Statement};
use std::fmt;

/// The longest file of another program that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// Another program's state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// CometBFT's and Tendermint Core's `priv_validator_state.json` (`privval/file.go`, `FilePVLastSignState`); also
    /// written by horcrux and cosmos/kms.
    FilePv,
    /// tmkms 0.15's `state_file` (`src/chain/state.rs`, `consensus::State`).
    Tmkms,
}

impl Format {
    /// The format's name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FilePv => "filepv",
            Self::Tmkms => "tmkms",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FilePv => "CometBFT's priv_validator_state.json",
            Self::Tmkms => "the state file of tmkms 0.15",
        })
    }
}

/// What a person should know about a conversion: what is lost, and what was assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The file names neither its chain nor its key: that it belongs to this one rests with the operator.
    OwnerUnknown,
    /// The file says that nothing was ever signed, which is also what is written when no state was found.
    NothingSigned,
    /// The file has sign bytes of this chain, but no signature, so its key cannot be told.
    KeyUnknown,
    /// The step is "none", or one that the program does not write: the whole height counts as signed.
    StepUnclear {
        /// The step's number in the file.
        step: i64,
    },
    /// A step that tmkms 0.15 does not write (early versions counted otherwise): the whole round counts as signed.
    OldStep {
        /// The step's number in the file.
        step: i64,
    },
    /// The file has no sign bytes: a repeat of the last position will be refused.
    BytesMissing,
    /// The file has sign bytes, but of no kind that is known: a repeat of the last position will be refused.
    BytesUnreadable {
        /// Why they are not read.
        reason: NotCanonical,
    },
    /// The signature is not kept: it is made again from the same bytes when they are asked for again.
    SignatureDropped,
    /// The file keeps a block id, which is not enough to know the bytes.
    BlockIdDropped,
    /// The program does not sync its state: after a power cut, its file may be older than what it signed.
    NeverSynced,
    /// The sign bytes are not kept: the other program cannot tell a repeat from a conflict, or not as exactly.
    BytesDropped,
    /// The sequence, the epoch, the key and the chain are not kept.
    OwnerDropped,
    /// Written one position higher, because the other program signs nil again at a position without a block.
    RaisedByOne,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerUnknown => f.write_str(
                "the file names neither chain nor key: that it is this key's state on this chain is taken from you",
            ),
            Self::KeyUnknown => {
                f.write_str("the file has no signature: that it is this key's state is taken from you")
            }
            Self::NothingSigned => f.write_str(
                "the file says that nothing was ever signed; tmkms and FilePV also write this where no state was found: check \
                 that the key has really never signed",
            ),
            Self::StepUnclear { step } => {
                write!(f, "the step is {step}, which says nothing about what was signed: the whole height counts as signed")
            }
            Self::OldStep { step } => write!(
                f,
                "the step is {step}, which tmkms 0.15 does not write: the whole round counts as signed"
            ),
            Self::BytesMissing => {
                f.write_str("the file has no sign bytes: a repeat of its last vote will be refused, the next vote is signed")
            }
            Self::BytesUnreadable { reason } => write!(
                f,
                "the file's sign bytes are of an unknown kind ({reason}): a repeat of its last vote will be refused, the next \
                 vote is signed"
            ),
            Self::SignatureDropped => f.write_str("the signature is not kept: it is made again when it is needed"),
            Self::BlockIdDropped => f.write_str("the block id is not kept: without the timestamp it is not what was signed"),
            Self::NeverSynced => f.write_str(
                "tmkms does not sync its state: if its host lost power since, the file may be older than what was signed; use \
                 `tmkms state init --height H` above the chain's height instead",
            ),
            Self::BytesDropped => f.write_str(
                "the sign bytes are not kept: the other program cannot repeat the last vote as it was signed",
            ),
            Self::OwnerDropped => f.write_str("chain, key, sequence and epoch are not kept"),
            Self::RaisedByOne => f.write_str(
                "written one step higher than recorded: at a position without a block tmkms would sign nil again",
            ),
        }
    }
}

/// What a file holds that only its key can have made. Whoever imports it checks it against that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was signed.
    pub bytes: Vec<u8>,
    /// The signature, as it stands in the file, of whatever length.
    pub signature: Vec<u8>,
}

/// What a file of another program says, in our terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The format that was read.
    pub format: Format,
    /// Everything at or below it counts as signed.
    pub position: Position,
    /// What was signed there, if the file says it completely.
    pub statement: Option<Statement>,
    /// Whose file it is, if it has both the signature and what was signed.
    pub evidence: Option<Evidence>,
    /// What is lost or assumed.
    pub notes: Vec<Note>,
}

impl Imported {
    /// The record of it, for a new file (`sequence` 0) or for [`crate::FileStore::replace`], where it does not count.
    #[must_use]
    pub fn record(&self) -> Record {
        match &self.statement {
            Some(statement) => Record::of(0, statement.clone()),
            None => Record::floor(0, self.position),
        }
    }
}

/// A record in another program's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file's content.
    pub text: String,
    /// What is lost or changed.
    pub notes: Vec<Note>,
}

/// Why a file or record cannot be converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// Longer than any such file.
    TooLong {
        /// Its length in bytes, or at least that much of it.
        bytes: usize,
    },
    /// In none of the known formats.
    Unknown,
    /// Not the JSON of that format.
    Json {
        /// The format.
        format: Format,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A number outside its range.
    Range {
        /// The field.
        field: &'static str,
        /// What stands there.
        got: String,
    },
    /// The sign bytes are those of another chain.
    AnotherChain {
        /// Whose state was wanted.
        expected: ChainId,
        /// Whose it is.
        found: String,
    },
    /// The file says one position and its sign bytes another.
    Contradiction {
        /// The position in the file's fields.
        fields: Position,
        /// The position in its sign bytes.
        bytes: Position,
    },
    /// There is no position above the highest one.
    NoHigher,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "too long: expected at most {MAX_BYTES} bytes, got {bytes}"),
            Self::Unknown => write!(f, "not a known state file: expected {} or {}", Format::FilePv, Format::Tmkms),
            Self::Json { format, reason } => write!(f, "not {format}: {reason}"),
            Self::Range { field, got } => write!(f, "{field} is out of range: got {got}"),
            Self::AnotherChain { expected, found } => {
                write!(f, "the state of another chain: expected {:?}, got {found:?}", expected.as_str())
            }
            Self::Contradiction { fields, bytes } => write!(
                f,
                "the file contradicts itself: its fields say {fields}, its sign bytes are for {bytes}; use `tmkms state init \
                 --height H` above the chain's height instead"
            ),
            Self::NoHigher => f.write_str("the record is at the highest position of all, and tmkms needs a higher one"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Tells which program wrote a file.
#[must_use]
pub fn recognise(bytes: &[u8]) -> Option<Format> {
    if filepv::parse(bytes).is_ok() {
        Some(Format::FilePv)
    } else if tmkms::parse(bytes).is_ok() {
        Some(Format::Tmkms)
    } else {
        None
    }
}

/// Reads a file of any known format as the state of that chain.
///
/// # Errors
/// A [`FormatError`].
pub fn import(bytes: &[u8], chain_id: &ChainId) -> Result<Imported, FormatError> {
    check_length(bytes)?;
    let format = recognise(bytes).ok_or(FormatError::Unknown)?;
    import_as(format, bytes, chain_id)
}

/// Reads a file of that format as the state of that chain.
///
/// # Errors
/// A [`FormatError`].
pub fn import_as(format: Format, bytes: &[u8], chain_id: &ChainId) -> Result<Imported, FormatError> {
    check_length(bytes)?;
    match format {
        Format::FilePv => filepv::import(bytes, chain_id),
        Format::Tmkms => tmkms::import(bytes),
    }
}

const fn check_length(bytes: &[u8]) -> Result<(), FormatError> {
    if bytes.len() > MAX_BYTES { Err(FormatError::TooLong { bytes: bytes.len() }) } else { Ok(()) }
}

/// Writes a record as a file of that format.
///
/// # Errors
/// A [`FormatError`].
pub fn export(format: Format, record: &Record) -> Result<Exported, FormatError> {
    match format {
        Format::FilePv => Ok(filepv::export(record)),
        Format::Tmkms => tmkms::export(record),
    }
}

/// Indented JSON with a newline at its end.
fn pretty<T: serde::Serialize>(state: &T) -> String {
    // Structs of strings and numbers cannot fail to serialize.
    let mut text = serde_json::to_string_pretty(state).unwrap_or_default();
    text.push('\n');
    text
}
