//! A point in time as people write it: RFC 5322 §3.3, RFC 3339, IMAP's date-time (RFC 9051 §9).

use std::fmt;

pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A civil date and time with its offset from UTC. Years 0-9999; seconds may be 60 on input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Date {
    pub year: u16,
    /// 1-12
    pub month: u8,
    /// 1-31
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// Minutes east of UTC.
    pub offset_minutes: i16,
}

impl Date {
    /// The UTC date of a Unix time; clamped to years 0-9999.
    pub fn from_unix_s(seconds: i64) -> Self {
        let seconds = seconds.clamp(-62_167_219_200, 253_402_300_799);
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let small = |n: i64| u8::try_from(n).unwrap_or(0);
        Self {
            year,
            month,
            day,
            hour: small(rest / 3600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
            offset_minutes: 0,
        }
    }

    /// The same instant as a Unix time in seconds.
    pub fn to_unix_s(self) -> i64 {
        self.days() * 86_400
            + i64::from(self.hour) * 3600
            + i64::from(self.minute) * 60
            + i64::from(self.second)
            - i64::from(self.offset_minutes) * 60
    }

    /// Whether month, day, time and offset lie in their ranges.
    pub fn is_valid(self) -> bool {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let longest = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return false,
        };
        (1..=longest).contains(&self.day)
            && self.year <= 9999
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
            && self.offset_minutes.abs() < 24 * 60
    }

    /// Days since 1970-01-01 of the civil date, its offset left aside (IMAP `SENTSINCE` compares so).
    pub fn days(self) -> i64 {
        days_from_civil(self.year, self.month, self.day)
    }

    /// `Sun, 22 Nov 2026 18:00:00 +0000` (RFC 5322 §3.3)
    pub fn rfc5322(self) -> String {
        let weekday = usize::try_from((self.days() + 3).rem_euclid(7)).unwrap_or(0);
        format!(
            "{}, {} {} {:04} {:02}:{:02}:{:02} {}",
            WEEKDAYS.get(weekday).unwrap_or(&"Mon"),
            self.day,
            self.month_name(),
            self.year,
            self.hour,
            self.minute,
            self.second,
            Zone(self.offset_minutes, "")
        )
    }

    /// `22-Nov-2026 18:00:00 +0000`, day padded with a space (RFC 9051 §9 `date-time`)
    pub fn imap(self) -> String {
        format!(
            "{:>2}-{}-{:04} {:02}:{:02}:{:02} {}",
            self.day,
            self.month_name(),
            self.year,
            self.hour,
            self.minute,
            self.second,
            Zone(self.offset_minutes, "")
        )
    }

    /// `2026-11-22T18:00:00Z`, or with `+01:00` (RFC 3339)
    pub fn rfc3339(self) -> String {
        let zone = match self.offset_minutes {
            0 => "Z".to_owned(),
            minutes => Zone(minutes, ":").to_string(),
        };
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{zone}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )
    }

    fn month_name(self) -> &'static str {
        MONTHS.get(usize::from(self.month).wrapping_sub(1)).copied().unwrap_or("Jan")
    }
}

struct Zone(i16, &'static str);

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "{sign}{:02}{}{:02}", minutes / 60, self.1, minutes % 60)
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in 400-year eras.
fn days_from_civil(year: u16, month: u8, day: u8) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (u16, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        u16::try_from(year).unwrap_or(0),
        u8::try_from(month).unwrap_or(1),
        u8::try_from(day).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        #[track_caller]
        fn check(unix_s: i64, rfc5322: &str, rfc3339: &str) {
            let date = Date::from_unix_s(unix_s);
            assert_eq!(date.rfc5322(), rfc5322);
            assert_eq!(date.rfc3339(), rfc3339);
            assert_eq!(date.to_unix_s(), unix_s);
        }
        check(0, "Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00Z");
        check(951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00Z");
        check(1_795_370_400, "Sun, 22 Nov 2026 18:00:00 +0000", "2026-11-22T18:00:00Z");
        check(-1, "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59Z");
    }

    #[test]
    fn every_day_of_four_centuries_returns() {
        for day in -150_000..150_000_i64 {
            let date = Date::from_unix_s(day * 86_400);
            assert!(date.is_valid());
            assert_eq!(date.days(), day);
        }
    }

    #[test]
    fn offsets() {
        let date = Date { offset_minutes: -210, ..Date::from_unix_s(1_795_370_400) };
        assert_eq!(date.imap(), "22-Nov-2026 18:00:00 -0330");
        assert_eq!(date.to_unix_s(), 1_795_370_400 + 210 * 60);
        assert!(!Date { day: 31, month: 11, ..date }.is_valid());
    }
}
