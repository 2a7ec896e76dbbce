//! Reads typed values out of one table of the file, and collects every fault on the way.
use super::fault::Collector;
use super::nearest::nearest;
use super::schema::{Rule, Section};
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands in the file, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Range<usize>,
}

/// One table, checked against its section: no name in it is unknown or refused without a fault.
pub(crate) struct Fields<'a, 'n> {
    section: &'static Section,
    table: &'a DeTable<'a>,
    at: Range<usize>,
    notes: &'n mut Collector,
}

impl<'a, 'n> Fields<'a, 'n> {
    pub(crate) fn new(
        section: &'static Section,
        table: &'a DeTable<'a>,
        at: Range<usize>,
        notes: &'n mut Collector,
    ) -> Self {
        for (name, _) in table {
            check_name(section, name, notes);
        }
        Self { section, table, at, notes }
    }

    /// The section's name, as it is written in the file.
    pub(crate) fn name(&self) -> &'static str {
        self.section.name
    }

    /// Where the table itself stands.
    pub(crate) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    pub(crate) fn fault(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.notes.fault(at, message, help);
    }

    pub(crate) fn warn(&mut self, at: &Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.notes.warn(at, message, help);
    }

    /// The value of a key, if it is there.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.section.keys.iter().any(|known| known.name == key && known.rule == Rule::Read), "{key}");
        self.table.get(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn missing(&mut self, key: &str, help: impl Into<String>) {
        let message = format!("`{key}` is missing in {}", self.section.name);
        self.notes.fault(&self.at, message, help);
    }

    fn wrong_type(&mut self, key: &str, expected: &str, found: &Spanned<DeValue<'_>>) {
        self.wrong_type_with(key, expected, found, "");
    }

    fn wrong_type_with(&mut self, key: &str, expected: &str, found: &Spanned<DeValue<'_>>, help: &str) {
        let message = format!("`{key}` in {}: expected {expected}, got {}", self.section.name, kind(found.get_ref()));
        self.notes.fault(&found.span(), message, help);
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<At<&'a str>> {
        let found = self.value(key)?;
        match found.get_ref() {
            DeValue::String(text) => Some(At { value: &**text, at: found.span() }),
            _ => {
                self.wrong_type(key, "a text in quotes", found);
                None
            }
        }
    }

    pub(crate) fn required_text(&mut self, key: &str, help: &str) -> Option<At<&'a str>> {
        if !self.has(key) {
            self.missing(key, help);
        }
        self.text(key)
    }

    pub(crate) fn flag(&mut self, key: &str) -> Option<At<bool>> {
        let found = self.value(key)?;
        match found.get_ref() {
            DeValue::Boolean(value) => Some(At { value: *value, at: found.span() }),
            _ => {
                self.wrong_type(key, "true or false", found);
                None
            }
        }
    }

    /// A whole number within a range, both ends included; `expected` says the range and its unit.
    pub(crate) fn number(&mut self, key: &str, expected: &str, range: RangeInclusive<i64>) -> Option<At<i64>> {
        let found = self.value(key)?;
        let DeValue::Integer(digits) = found.get_ref() else {
            self.wrong_type(key, expected, found);
            return None;
        };
        let value = i64::from_str_radix(digits.as_str(), digits.radix()).ok().filter(|number| range.contains(number));
        if value.is_none() {
            let got = shorten(&digits.to_string());
            let message = format!("`{key}` in {}: expected {expected}, got {got}", self.section.name);
            self.fault(&found.span(), message, "");
        }
        value.map(|value| At { value, at: found.span() })
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &str) -> Option<At<Vec<At<&'a str>>>> {
        let found = self.value(key)?;
        let DeValue::Array(items) = found.get_ref() else {
            self.wrong_type(key, "a list of texts", found);
            return None;
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push(At { value: &**text, at: item.span() }),
                _ => self.wrong_type(key, "a list of texts", item),
            }
        }
        Some(At { value: texts, at: found.span() })
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&'static str, T)]) -> Option<At<T>> {
        let At { value, at } = self.text(key)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == value) {
            return Some(At { value: *choice, at });
        }
        let expected: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let message =
            format!("`{key}` in {}: expected {}, got \"{}\"", self.section.name, expected.join(" or "), shorten(value));
        let help = nearest(value, choices.iter().map(|(name, _)| *name))
            .map_or_else(String::new, |name| format!("did you mean {name:?}?"));
        self.fault(&at, message, help);
        None
    }

    /// A table inside this one.
    pub(crate) fn table(&mut self, key: &str, section: &'static Section) -> Option<Fields<'a, '_>> {
        let found = self.value(key)?;
        self.open(key, section, found)
    }

    /// Opens a value that should be a table.
    pub(crate) fn open(
        &mut self,
        key: &str,
        section: &'static Section,
        found: &'a Spanned<DeValue<'a>>,
    ) -> Option<Fields<'a, '_>> {
        self.open_or(key, section, found, "")
    }

    /// The same with a remedy, for where an operator may well write something else.
    pub(crate) fn open_or(
        &mut self,
        key: &str,
        section: &'static Section,
        found: &'a Spanned<DeValue<'a>>,
        help: &str,
    ) -> Option<Fields<'a, '_>> {
        match found.get_ref() {
            DeValue::Table(table) => Some(Fields::new(section, table, found.span(), self.notes)),
            _ => {
                self.wrong_type_with(key, "a table", found, help);
                None
            }
        }
    }

    /// The tables of a list of tables (`[[key]]`).
    pub(crate) fn tables(&mut self, key: &str, section: &'static Section) -> Vec<&'a Spanned<DeValue<'a>>> {
        match self.value(key).map(|found| (found, found.get_ref())) {
            None => Vec::new(),
            Some((_, DeValue::Array(items))) => items.iter().collect(),
            Some((found, _)) => {
                let message =
                    format!("`{key}`: expected a list of tables, {}, got {}", section.name, kind(found.get_ref()));
                self.fault(&found.span(), message, format!("write {} with two brackets on each side", section.name));
                Vec::new()
            }
        }
    }
}

fn check_name(section: &'static Section, name: &Spanned<std::borrow::Cow<'_, str>>, notes: &mut Collector) {
    match section.keys.iter().find(|known| known.name == name.get_ref().as_ref()).map(|known| known.rule) {
        Some(Rule::Read) => {}
        Some(Rule::Refused { reason, help }) => {
            notes.fault(&name.span(), format!("`{}` in {}: {reason}", name.get_ref(), section.name), help);
        }
        // The search for the nearest name is the dear part.
        None if notes.is_full() => notes.fault(&name.span(), "", ""),
        None => {
            let names = section.keys.iter().map(|known| known.name);
            let help = match nearest(name.get_ref(), names) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", section.read_names().join(", ")),
            };
            let message = format!("unknown name `{}` in {}", shorten(name.get_ref()), section.name);
            notes.fault(&name.span(), message, help);
        }
    }
}

/// What a value is, in words. The value itself is not shown: it may be a secret in the wrong place.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The most characters of a value that a message shows.
const MOST_SHOWN: usize = 80;
/// The length from which on a run of base64 or hexadecimal may be a key.
const SECRET_CHARACTERS: usize = 32;

/// A value as it is shown in a message: at most 80 characters, control characters escaped, and what may be a key by its
/// length alone.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown = Shown::default();
    let mut rest = text;
    while !rest.is_empty() && !shown.is_full {
        let run = rest.find(|c| !is_of_a_key(c)).unwrap_or(rest.len());
        let (head, tail) =
            if run == 0 { rest.split_at(rest.chars().next().map_or(0, char::len_utf8)) } else { rest.split_at(run) };
        if run >= SECRET_CHARACTERS {
            shown.push(format!("({run} characters)").chars());
        } else {
            head.chars().for_each(|c| shown.push(c.escape_debug()));
        }
        rest = tail;
    }
    shown.text
}

/// The same without looking for keys, for what has a form that no key has.
pub(crate) fn shorten_public(text: &str) -> String {
    let mut shown = Shown::default();
    text.chars().take(MOST_SHOWN + 1).for_each(|c| shown.push(c.escape_debug()));
    shown.text
}

#[derive(Default)]
struct Shown {
    text: String,
    count: usize,
    is_full: bool,
}

impl Shown {
    /// All of a piece or none of it.
    fn push(&mut self, piece: impl Iterator<Item = char> + Clone) {
        let count = piece.clone().count();
        if self.is_full {
        } else if self.count + count > MOST_SHOWN {
            self.is_full = true;
            self.text.push('…');
        } else {
            self.count += count;
            self.text.extend(piece);
        }
    }
}

/// Both alphabets of base64 (RFC 4648), which hold that of hexadecimal.
fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_value_is_short_and_never_a_key() {
        let key = "A".repeat(43) + "=";
        let hex = "0f".repeat(32);
        for (text, expected) in [
            ("eu-west-1", "eu-west-1".to_owned()),
            ("", String::new()),
            (&key, "(44 characters)".to_owned()),
            (&hex, "(64 characters)".to_owned()),
            (&format!("got {key}!"), "got (44 characters)!".to_owned()),
            (&"a".repeat(31), "a".repeat(31)),
            ("a\u{1b}[2J", "a\\u{1b}[2J".to_owned()),
            (&"é".repeat(90), "é".repeat(80) + "…"),
            (&"\u{1}".repeat(90), "\\u{1}".repeat(16) + "…"),
            (&("é".repeat(79) + &key), "é".repeat(79) + "…"),
        ] {
            assert_eq!(shorten(text), expected, "{text}");
        }
        assert_eq!(shorten_public(&"a".repeat(90)), "a".repeat(80) + "…");
    }
}
