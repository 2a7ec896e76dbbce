//! The process's log: one line an event on stderr, as text for people or as JSON for machines.
use crate::config::{LogFormat, LogLevel, LogSettings};
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct Logger {
    format: LogFormat,
    level: LevelFilter,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}

/// Installs the log. `verbose` raises the level to debug. A second call changes nothing.
pub fn install(settings: LogSettings, verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { settings.level.into() };
    if log::set_boxed_logger(Box::new(Logger { format: settings.format, level })).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = match self.format {
            LogFormat::Text => text_line(now, record),
            LogFormat::Json => json_line(now, record),
        };
        // One write a line, so that lines of several threads don't mix. A lost line must not stop a signature.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn text_line(now: Duration, record: &Record<'_>) -> String {
    let mut line = format!("{} {:5} {}", rfc3339(now), record.level(), escaped(&record.args().to_string()));
    let _ = record.key_values().visit(&mut TextFields(&mut line));
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

struct TextFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for TextFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let shown = value.to_string();
        let plain = !shown.is_empty() && shown.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=');
        let _ = if plain { write!(self.0, " {key}={shown}") } else { write!(self.0, " {key}={shown:?}") };
        Ok(())
    }
}

fn json_line(now: Duration, record: &Record<'_>) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), rfc3339(now).into());
    object.insert("level".to_owned(), level_name(record.level()).into());
    object.insert("target".to_owned(), record.target().into());
    object.insert("message".to_owned(), record.args().to_string().into());
    let _ = record.key_values().visit(&mut JsonFields(&mut object));
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

struct JsonFields<'a>(&'a mut serde_json::Map<String, serde_json::Value>);

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
            value.to_string().into()
        };
        // The line's own fields are not overwritten.
        self.0.entry(key.as_str()).or_insert(json);
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
        (text_line(now, &record), json_line(now, &record))
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
}
