//! What is said of a text that is not TOML: no more than is sure.
use super::fault::{Collector, Place};

/// What the parser says of a name that stands twice.
const DUPLICATE: &str = "duplicate key";

/// Notes every name that stands twice, and the first place where the text is not TOML. What the parser finds behind that
/// place follows from it: after one missing bracket each further section would seem wrong.
pub(super) fn note(mut errors: Vec<toml::de::Error>, text: &str, notes: &mut Collector) {
    errors.sort_by_key(|error| error.span().map(|at| at.start));
    for error in errors {
        let at = error.span().unwrap_or_default();
        let message = format!("not TOML: {}", error.message());
        if error.message() == DUPLICATE {
            // Beyond the bound this only counts.
            notes.fault(&at, message, "a name stands once in its section: remove or rename one of the two");
            continue;
        }
        let is_about_names = error.message().starts_with("cannot extend");
        notes.fault(&at, message, if is_about_names { String::new() } else { help(text, at.start) });
        return;
    }
}

/// What was left open in a line is noticed only at the start of a later one.
fn help(text: &str, offset: usize) -> String {
    let what = "look for a bracket, a quote or a value that is missing here";
    let before = text.get(..offset).unwrap_or_default();
    let (earlier, line) = before.rsplit_once('\n').unwrap_or(("", before));
    match earlier.trim_end() {
        earlier if !earlier.is_empty() && line.trim().is_empty() => {
            format!("{what}, or at the end of line {}", Place::of(text, earlier.len()).line)
        }
        _ => what.to_owned(),
    }
}
