//! Dates of header fields (RFC 5322 §3.3, obsolete forms of §4.3), and the ones that real mail adds to them.
//!
//! ```text
//! date-time = [day-of-week ","] day month year time zone
//! time      = hour ":" minute [":" second]
//! zone      = ("+" / "-") 4DIGIT / "UT" / "GMT" / "EST" / …
//! ```

use types::{Date, MONTHS, WEEKDAYS};

/// No date is longer, comments included.
const DATE_BYTES: usize = 256;

/// Zones by name, minutes east of UTC. RFC 5322 §4.3 names the American ones; the European ones are met in mail.
const ZONES: &[(&str, i16)] = &[
    ("UT", 0),
    ("GMT", 0),
    ("UTC", 0),
    ("Z", 0),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("CET", 60),
    ("MET", 60),
    ("CEST", 120),
    ("MEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
];

/// A date as header fields write it. Order of the words does not matter, so that `Jan 1 10:00:00 2026` works
/// too; without a time it is midnight, without a known zone UTC. `None` when there is no valid day, month and year.
pub fn parse_date(raw: &[u8]) -> Option<Date> {
    let raw = raw.get(..DATE_BYTES.min(raw.len()))?;
    let text = glue_time(&without_comments(raw));
    let mut found = Found::default();
    for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
        found.word(word);
    }
    let (hour, minute, second) = found.time.unwrap_or_default();
    let date = Date {
        year: found.year?,
        month: found.month?,
        day: found.day?,
        hour,
        minute,
        second,
        offset_minutes: found.zone.unwrap_or(0),
    };
    date.is_valid().then_some(date)
}

fn without_comments(raw: &[u8]) -> String {
    let mut depth = 0_u32;
    let mut text = String::with_capacity(raw.len());
    for &byte in raw {
        match byte {
            b'(' => depth += 1,
            b')' if depth > 0 => {
                depth -= 1;
                text.push(' ');
            }
            byte if depth == 0 && byte.is_ascii() => text.push(char::from(byte)),
            _ => {}
        }
    }
    text
}

/// Without the blanks that may stand around the colons of the time (RFC 5322 §4.3).
fn glue_time(text: &str) -> String {
    let mut pieces = text.split(':').map(str::trim);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push(':');
        out.push_str(piece);
    }
    out
}

#[derive(Default)]
struct Found {
    day: Option<u8>,
    month: Option<u8>,
    year: Option<u16>,
    time: Option<(u8, u8, u8)>,
    zone: Option<i16>,
}

impl Found {
    fn word(&mut self, word: &str) {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            self.number(word);
        } else if word.contains(':') {
            // The zone may be glued to the time.
            let zone_at = word.find(['+', '-']).unwrap_or(word.len());
            let (time, zone) = word.split_at(zone_at);
            self.time = self.time.or_else(|| parse_time(time));
            self.zone = self.zone.or_else(|| parse_offset(zone));
        } else if word.starts_with(['+', '-']) {
            self.zone = self.zone.or_else(|| parse_offset(word));
        } else if let Some((_, offset)) =
            word.split_at_checked(3).filter(|(n, o)| is_utc(n) && !o.is_empty())
        {
            // `GMT+0200`
            self.zone = self.zone.or_else(|| parse_offset(offset));
        } else if word.contains('-') {
            // `22-Nov-2026`
            word.split('-').filter(|piece| !piece.is_empty()).for_each(|piece| self.plain(piece));
        } else {
            self.plain(word);
        }
    }

    fn plain(&mut self, word: &str) {
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return self.number(word);
        }
        if let Some((_, offset)) = ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            self.zone = self.zone.or(Some(*offset));
            return;
        }
        if word.eq_ignore_ascii_case("PM") {
            if let Some((hour @ 0..12, ..)) = &mut self.time {
                *hour += 12;
            }
            return;
        }
        let begins = |name: &str| word.get(..3).is_some_and(|w| w.eq_ignore_ascii_case(name));
        if WEEKDAYS.iter().any(|name| begins(name)) {
            return;
        }
        let month = MONTHS.iter().position(|name| begins(name));
        self.month = self.month.or(month.and_then(|m| u8::try_from(m + 1).ok()));
    }

    fn number(&mut self, word: &str) {
        let Ok(value) = word.parse::<u16>() else {
            return;
        };
        if self.day.is_none() && word.len() <= 2 {
            self.day = u8::try_from(value).ok();
        } else if self.year.is_none() && word.len() >= 2 {
            // RFC 5322 §4.3: two digits mean 1950 to 2049, three are counted from 1900.
            self.year = Some(match word.len() {
                2 if value < 50 => value + 2000,
                2 | 3 => value + 1900,
                _ => value,
            });
        }
    }
}

fn is_utc(name: &str) -> bool {
    name.eq_ignore_ascii_case("GMT") || name.eq_ignore_ascii_case("UTC")
}

fn parse_time(word: &str) -> Option<(u8, u8, u8)> {
    let mut pieces = word.split(':');
    let mut next = || pieces.next().map(|p| p.split('.').next().unwrap_or(p));
    let hour = next()?.parse().ok()?;
    let minute = next()?.parse().ok()?;
    let second = next().map_or(Some(0), |s| s.parse().ok())?;
    Some((hour, minute, second))
}

/// `+0130`, `-01:30`
fn parse_offset(word: &str) -> Option<i16> {
    // Some programs put a plus before every zone: `+-0500`.
    let word = word.strip_prefix('+').filter(|rest| rest.starts_with('-')).unwrap_or(word);
    let (sign, rest) = match word.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i16 = digits.parse().ok()?;
    let minutes = number / 100 * 60 + number % 100;
    // Nobody lives further than that from Greenwich; some programs write nonsense here.
    (minutes < 24 * 60).then_some(sign * minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            let shown = parse_date(raw.as_bytes()).map(Date::rfc3339);
            assert_eq!(shown.as_deref().unwrap_or("none"), expect, "{raw:?}");
        }
        check("Sun, 22 Nov 2026 18:00:00 +0100", "2026-11-22T18:00:00+01:00");
        check("22 Nov 2026 18:00 +0000", "2026-11-22T18:00:00Z");
        check("Sun,22 Nov 2026 18:00:00 -0330 (Newfoundland (NST))", "2026-11-22T18:00:00-03:30");
        check("Mon, 1 Jan 24 10:00:00 EST", "2024-01-01T10:00:00-05:00");
        check("Fri, 21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z");
        check("Fri, 21 Nov 102 09:55:06 GMT", "2002-11-21T09:55:06Z");
        check("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T09:55:06-06:00");
        check("Thu, 29 Aug 2002 15:36:58 +-0500", "2002-08-29T15:36:58-05:00");
        check("Thu Jan  1 00:00:00 2026", "2026-01-01T00:00:00Z");
        check("1-Jan-2026 10:00:00+0200", "2026-01-01T10:00:00+02:00");
        check("1 January 2026 10:00:00 GMT+0200", "2026-01-01T10:00:00+02:00");
        check("1 Jan 2026", "2026-01-01T00:00:00Z");
        check("1 Jan 2026 10:00:00 A", "2026-01-01T10:00:00Z");
        check("1 Jan 2026 10:00:00 +9999", "2026-01-01T10:00:00Z");
        check("1 Jan 2026 10:00:60 +0000", "2026-01-01T10:00:60Z");
        check("1 jan 2026 1:02:03.456 cest", "2026-01-01T01:02:03+02:00");
        check("1 Jan 2026 06:50:21 PM -0400", "2026-01-01T18:50:21-04:00");
        check("PM 31 Feb 2026 10:00:00 +0000", "none");
        check("1 Jan 2026 25:00:00 +0000", "none");
        check("yesterday", "none");
        check("", "none");
        check("((((((((", "none");
        check("1 Jan 99999", "none");
    }
}
