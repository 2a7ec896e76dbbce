//! One event as one line of text or JSON, of bounded length.
use crate::config::LogFormat;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, Record};
use std::fmt::{self, Write as _};
use std::time::Duration;

/// The longest line with its end, in bytes: what one write puts into a pipe whole or not at all (`PIPE_BUF`, pipe(7)).
pub(super) const MAX_LINE_BYTES: usize = 4096;

/// How much of a record a line shows: each text up to that many bytes, and the fields or not.
#[derive(Clone, Copy)]
struct Extent {
    text_bytes: usize,
    fields: bool,
}

/// The longest that fits is taken; a line that is not overlong is rendered once. Escaping makes six bytes of one at
/// most, so the last one always fits.
const EXTENTS: [Extent; 4] = [
    Extent { text_bytes: MAX_LINE_BYTES, fields: true },
    Extent { text_bytes: 1024, fields: true },
    Extent { text_bytes: 256, fields: true },
    Extent { text_bytes: 256, fields: false },
];

/// One line with its end, at most [`MAX_LINE_BYTES`] long. What is left out is marked, and JSON stays JSON.
pub(super) fn render(format: LogFormat, now: Duration, record: &Record<'_>) -> String {
    let mut line = String::new();
    for extent in EXTENTS {
        line = match format {
            LogFormat::Text => text_line(now, record, extent),
            LogFormat::Json => json_line(now, record, extent),
        };
        if line.len() <= MAX_LINE_BYTES {
            break;
        }
    }
    line
}

/// What stands where a text was cut.
const CUT: &str = "… (cut)";

/// A text of at most so many bytes, and the mark where more came. The rest is not kept in memory either.
struct Bounded {
    text: String,
    limit: usize,
    is_cut: bool,
}

impl Bounded {
    fn of(shown: impl fmt::Display, limit: usize) -> String {
        let mut bounded = Self { text: String::new(), limit, is_cut: false };
        let _ = write!(bounded, "{shown}");
        bounded.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_cut {
            return Ok(());
        }
        let room = self.limit - self.text.len();
        self.is_cut = text.len() > room;
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        if self.is_cut {
            self.text.push_str(CUT);
        }
        Ok(())
    }
}

fn text_line(now: Duration, record: &Record<'_>, extent: Extent) -> String {
    let message = Bounded::of(record.args(), extent.text_bytes);
    let mut line = format!("{} {:5} {}", rfc3339(now), record.level(), escaped(&message));
    if extent.fields {
        let _ = record.key_values().visit(&mut TextFields { line: &mut line, limit: extent.text_bytes });
    }
    line.push('\n');
    line
}

/// A peer's words can stand in a message: no control character gets through.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

struct TextFields<'a> {
    line: &'a mut String,
    limit: usize,
}

impl<'kvs> VisitSource<'kvs> for TextFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let shown = Bounded::of(value, self.limit);
        let plain = !shown.is_empty() && shown.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=');
        let _ = if plain { write!(self.line, " {key}={shown}") } else { write!(self.line, " {key}={shown:?}") };
        Ok(())
    }
}

fn json_line(now: Duration, record: &Record<'_>, extent: Extent) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), rfc3339(now).into());
    object.insert("level".to_owned(), level_name(record.level()).into());
    object.insert("target".to_owned(), record.target().into());
    object.insert("message".to_owned(), Bounded::of(record.args(), extent.text_bytes).into());
    if extent.fields {
        let _ = record.key_values().visit(&mut JsonFields { object: &mut object, limit: extent.text_bytes });
    }
    let mut line = serde_json::Value::Object(object).to_string();
    line.push('\n');
    line
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

struct JsonFields<'a> {
    object: &'a mut serde_json::Map<String, serde_json::Value>,
    limit: usize,
}

impl<'kvs> VisitSource<'kvs> for JsonFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let json = if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            number.into()
        } else if let Some(flag) = value.to_bool() {
            flag.into()
        } else {
            Bounded::of(value, self.limit).into()
        };
        // The line's own fields are not overwritten.
        self.object.entry(key.as_str()).or_insert(json);
        Ok(())
    }
}

/// A time since 1970 as RFC 3339 in UTC with milliseconds. The date is Howard Hinnant's `civil_from_days`.
fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since_epoch.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), expected);
        }
    }

    fn lines(source: &dyn kv::Source, message: &str) -> (String, String) {
        let now = Duration::from_millis(1_500);
        let args = format_args!("{message}");
        let record = Record::builder().level(Level::Warn).target("signer").args(args).key_values(&source).build();
        (render(LogFormat::Text, now, &record), render(LogFormat::Json, now, &record))
    }

    #[test]
    fn a_line_carries_its_fields_as_text_and_as_json() {
        let (text, json) =
            lines(&[("chain", Value::from("c-1")), ("height", Value::from(7_u64))].as_slice(), "refused");
        assert_eq!(text, "1970-01-01T00:00:01.500Z WARN  refused chain=c-1 height=7\n");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["level"], &json["height"], &json["chain"]), (&"warn".into(), &7.into(), &"c-1".into()));
    }

    #[test]
    fn a_peers_words_make_no_second_line_and_no_second_field() {
        let (text, json) =
            lines(&[("detail", Value::from("a\nb c=d \u{1b}[31m"))].as_slice(), "first\nsecond\u{1b}[31m");
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}') && text.contains(r#"detail="a\nb c=d"#), "{text}");
        assert_eq!(json.matches('\n').count(), 1);
    }

    #[test]
    fn an_overlong_message_is_cut_where_one_sees_it_and_keeps_its_fields() {
        let (text, json) = lines(&[("chain", Value::from("c-1"))].as_slice(), &"é\u{1b}".repeat(100_000));
        assert!(text.len() <= MAX_LINE_BYTES && text.ends_with("… (cut) chain=c-1\n"), "{text}");
        assert!(json.len() <= MAX_LINE_BYTES && json.ends_with('\n'), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["message"].as_str().unwrap().ends_with("… (cut)") && json["chain"] == "c-1", "{json}");
    }

    #[test]
    fn a_long_line_that_fits_is_not_cut() {
        let message = "x".repeat(3_900);
        let (text, json) = lines(&[("a", Value::from("b"))].as_slice(), &message);
        assert!(text.contains(&message) && text.ends_with("x a=b\n"));
        assert!(json.contains(&message) && json.contains(r#""a":"b""#));
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_limit_whatever_is_logged(
            parts in prop::collection::vec(("[\u{0}-\u{ff}☃\u{1f980}\"\\\\]{0,60}", 0_usize..200), 1..8),
        ) {
            let texts: Vec<String> = parts.iter().map(|(text, times)| text.repeat(*times)).collect();
            let fields: Vec<_> = texts.iter().map(|text| ("field", Value::from(text.as_str()))).collect();
            let (text, json) = lines(&fields.as_slice(), &texts[0]);
            for line in [&text, &json] {
                prop_assert!(line.len() <= MAX_LINE_BYTES && line.ends_with('\n'), "{} bytes", line.len());
                prop_assert_eq!(line.matches('\n').count(), 1);
            }
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }
}
