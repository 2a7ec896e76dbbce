//! What is wrong with a configuration: every fault with its place and its remedy, in the order of the file.
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A line and a column, both counted from 1; columns count characters, not bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset in a text. An offset past the end, or within a character, is moved back.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let end = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing to say about a place in the file: what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; line 1, column 1 for the file as a whole.
    pub place: Place,
    /// What is wrong, with the setting's name and both values.
    pub message: String,
    /// The remedy, empty where the message says it all.
    pub help: String,
}

/// Everything that is wrong with one file, sorted by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The faults; never empty.
    pub list: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: {}", self.path.display(), fault.place, fault.message)?;
            if !fault.help.is_empty() {
                write!(f, "\n  help: {}", fault.help)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Collects faults and warnings while a file is read; offsets become places at the end.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    faults: Vec<(usize, String, String)>,
    warnings: Vec<(usize, String, String)>,
}

impl Collector {
    pub(crate) fn fault(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push((at.start, message.into(), help.into()));
    }

    pub(crate) fn warn(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.push((at.start, message.into(), help.into()));
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// The warnings, or the faults when there are any.
    pub(crate) fn finish(self, text: &str, path: &Path) -> Result<Vec<Fault>, Faults> {
        if self.faults.is_empty() {
            Ok(placed(self.warnings, text))
        } else {
            Err(Faults { path: path.to_owned(), list: placed(self.faults, text) })
        }
    }
}

fn placed(mut notes: Vec<(usize, String, String)>, text: &str) -> Vec<Fault> {
    notes.sort_by_key(|note| note.0);
    notes.dedup();
    notes.into_iter().map(|(at, message, help)| Fault { place: Place::of(text, at), message, help }).collect()
}
