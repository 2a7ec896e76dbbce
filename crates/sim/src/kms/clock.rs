//! Dates as HTTP, SigV4 and AWS's JSON spell them. Seconds since 1970, UTC; no time zone, no leap second.
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: i64 = 86_400;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 by this machine's clock.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |past| i64::try_from(past.as_secs()).unwrap_or(i64::MAX))
}

/// `20260131T235959Z`, SigV4's form.
pub fn basic(seconds: i64) -> String {
    let (year, month, day) = date(seconds);
    let (hour, minute, second) = time(seconds);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `Sat, 31 Jan 2026 23:59:59 GMT`, HTTP's form.
pub fn http(seconds: i64) -> String {
    let (year, month, day) = date(seconds);
    let (hour, minute, second) = time(seconds);
    let weekday = WEEKDAYS[usize::try_from(seconds.div_euclid(DAY_SECONDS).rem_euclid(7)).unwrap_or(0)];
    let name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
    format!("{weekday}, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Reads SigV4's form; nothing for any other.
pub fn parse_basic(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let valid = (1970..=9999).contains(&year) && hour < 24 && minute < 60 && second < 61;
    let seconds = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    (valid && date(days(year, month, day) * DAY_SECONDS) == (year, month, day)).then_some(seconds)
}

fn time(seconds: i64) -> (i64, i64, i64) {
    let of_day = seconds.rem_euclid(DAY_SECONDS);
    (of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Days since 1970 of a date, counted in years that begin in March (so that a leap day is a year's last).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

fn date(seconds: i64) -> (i64, i64, i64) {
    let day = seconds.div_euclid(DAY_SECONDS);
    // A first guess that is never too late, then forward by at most a year.
    let mut year = 1970 + day.div_euclid(366);
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= day {
        month += 1;
    }
    (year, month, day - days(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_spelt_as_http_and_sigv4_spell_them() {
        assert_eq!(http(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(basic(1_440_938_160), "20150830T123600Z");
        assert_eq!(basic(951_782_400), "20000229T000000Z");
        assert_eq!(basic(1_798_761_599), "20261231T235959Z");
    }

    #[test]
    fn what_was_written_is_read_and_what_is_no_date_is_not() {
        for seconds in (0..4_000_000_000).step_by(9_876_543) {
            assert_eq!(parse_basic(&basic(seconds)), Some(seconds));
        }
        for text in
            ["", "20150830T123600", "20150230T123600Z", "20151330T123600Z", "2015083OT123600Z", "+0150830T123600Z"]
        {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }
}
