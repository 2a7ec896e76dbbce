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
        Walk::new(text).to(offset)
    }
}

/// One way through a text, forwards only: many places cost no more than the last one.
struct Walk<'a> {
    rest: &'a str,
    offset: usize,
    place: Place,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, offset: 0, place: Place { line: 1, column: 1 } }
    }

    /// The place of an offset that is not before the last one.
    fn to(&mut self, offset: usize) -> Place {
        let steps = offset.saturating_sub(self.offset).min(self.rest.len());
        let end = (0..=steps).rev().find(|at| self.rest.is_char_boundary(*at)).unwrap_or(0);
        let (passed, rest) = self.rest.split_at(end);
        for c in passed.chars() {
            self.place = match c {
                '\n' => Place { line: self.place.line + 1, column: 1 },
                _ => Place { column: self.place.column + 1, ..self.place },
            };
        }
        (self.rest, self.offset) = (rest, self.offset + end);
        self.place
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

/// The most faults, and the most warnings, that are told of one file. Who has more has a file of another kind.
const MAX_NOTES: usize = 50;
/// The most bytes of all messages and remedies together: with paths and places what is told stays below 32 KiB.
const MAX_NOTES_BYTES: usize = 20 * 1024;
/// The most bytes of one message, and of one remedy.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Collects faults and warnings while a file is read; offsets become places at the end.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    faults: Notes,
    warnings: Notes,
}

impl Collector {
    pub(crate) fn fault(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.faults.add(at.start, message.into(), help.into());
    }

    pub(crate) fn warn(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.add(at.start, message.into(), help.into());
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.list.is_empty()
    }

    /// Whether no further fault is told: it is only counted, and need not be put into words.
    pub(crate) fn is_full(&self) -> bool {
        self.faults.is_full()
    }

    /// The warnings, or the faults when there are any.
    pub(crate) fn finish(self, text: &str, path: &Path) -> Result<Vec<Fault>, Faults> {
        if self.is_clean() {
            Ok(self.warnings.placed(text))
        } else {
            Err(Faults { path: path.to_owned(), list: self.faults.placed(text) })
        }
    }
}

/// The first notes, and how many there are besides.
#[derive(Debug, Default)]
struct Notes {
    list: Vec<(usize, String, String)>,
    bytes: usize,
    more: usize,
}

impl Notes {
    fn is_full(&self) -> bool {
        self.list.len() >= MAX_NOTES || self.bytes >= MAX_NOTES_BYTES
    }

    fn add(&mut self, at: usize, message: String, help: String) {
        if self.is_full() {
            self.more += 1;
            return;
        }
        let (message, help) = (cut(message), cut(help));
        self.bytes += message.len() + help.len();
        self.list.push((at, message, help));
    }

    fn placed(mut self, text: &str) -> Vec<Fault> {
        self.list.sort_by_key(|note| note.0);
        self.list.dedup();
        let mut walk = Walk::new(text);
        let place = |(at, message, help)| Fault { place: walk.to(at), message, help };
        let mut placed: Vec<_> = self.list.into_iter().map(place).collect();
        if let Some(last) = placed.last().filter(|_| self.more > 0) {
            let rest = Fault { place: last.place, message: format!("… and {} more", self.more), help: String::new() };
            placed.push(rest);
        }
        placed
    }
}

/// A text of at most [`MAX_MESSAGE_BYTES`].
fn cut(mut text: String) -> String {
    if text.len() > MAX_MESSAGE_BYTES {
        let end = (0..=MAX_MESSAGE_BYTES - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_whether_walked_to_or_found_alone() {
        let text = "ab\né\u{1F600}x\n\ny";
        let expected =
            [(0, 1, 1), (1, 1, 2), (2, 1, 3), (3, 2, 1), (4, 2, 1), (5, 2, 2), (9, 2, 3), (11, 3, 1), (99, 4, 2)];
        let mut walk = Walk::new(text);
        for (offset, line, column) in expected {
            let place = Place { line, column };
            assert_eq!((walk.to(offset), Place::of(text, offset)), (place, place), "{offset}");
        }
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut notes = Collector::default();
        for at in 0..120 {
            assert_eq!(notes.is_full(), at >= 50, "{at}");
            notes.fault(&(at..at), format!("{at}"), "");
        }
        let list = notes.finish(&"x".repeat(200), Path::new("x")).unwrap_err().list;
        assert_eq!((list.len(), list[50].message.as_str(), list[50].place), (51, "… and 70 more", list[49].place));
        let mut notes = Collector::default();
        for at in 0..50 {
            notes.warn(&(at..at), "é".repeat(5000), "è".repeat(5000));
        }
        let list = notes.finish("", Path::new("x")).unwrap();
        let bytes: usize = list.iter().map(|note| note.message.len() + note.help.len()).sum();
        assert!(bytes < 24 * 1024 && list[0].message.len() <= 1024 && list[0].message.ends_with('…'), "{bytes}");
    }
}
