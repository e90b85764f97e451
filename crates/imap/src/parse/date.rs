//! Dates of SEARCH and APPEND.

use super::{Parsed, Parser};
use types::{Date, MONTHS};

impl Parser<'_> {
    /// ```text
    /// date      = date-text / DQUOTE date-text DQUOTE
    /// date-text = date-day "-" date-month "-" date-year
    /// ```
    /// Days since 1970-01-01.
    pub(crate) fn date(&mut self) -> Parsed<i64> {
        let quoted = self.take(b'"');
        let (day, month, year) = self.date_text()?;
        if quoted {
            self.need(b'"', "the closing quote")?;
        }
        let date = Date { year, month, day, ..Date::from_unix_s(0) };
        if date.is_valid() { Ok(date.days()) } else { self.wanted("a day of the calendar") }
    }

    /// ```text
    /// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
    /// time      = 2DIGIT ":" 2DIGIT ":" 2DIGIT
    /// zone      = ("+" / "-") 4DIGIT
    /// ```
    pub(crate) fn date_time(&mut self) -> Parsed<Date> {
        self.need(b'"', "a date and time in quotes")?;
        self.skip_spaces();
        let (day, month, year) = self.date_text()?;
        self.sp()?;
        let hour = self.small(2)?;
        self.need(b':', "a colon")?;
        let minute = self.small(2)?;
        self.need(b':', "a colon")?;
        let second = self.small(2)?;
        self.sp()?;
        let east = match self.peek() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return self.wanted("+ or - before the time zone"),
        };
        self.at += 1;
        let (zone_hours, zone_minutes) = (self.small(2)?, self.small(2)?);
        self.need(b'"', "the closing quote")?;
        let offset_minutes = east * (i16::from(zone_hours) * 60 + i16::from(zone_minutes));
        let date = Date { year, month, day, hour, minute, second, offset_minutes };
        if date.is_valid() { Ok(date) } else { self.wanted("a date and time that exist") }
    }

    fn date_text(&mut self) -> Parsed<(u8, u8, u16)> {
        let day = self.small(2)?;
        self.need(b'-', "a hyphen")?;
        let name = self.take_while(|b| b.is_ascii_alphabetic());
        let month = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(name));
        let Some(month) = month.and_then(|m| u8::try_from(m + 1).ok()) else {
            return self.wanted("a month (Jan to Dec)");
        };
        self.need(b'-', "a hyphen")?;
        let digits = self.take_while(|b| b.is_ascii_digit());
        let year = std::str::from_utf8(digits).ok().filter(|y| y.len() == 4);
        match year.and_then(|y| y.parse().ok()) {
            Some(year) => Ok((day, month, year)),
            None => self.wanted("a year of four digits"),
        }
    }

    /// A number of one to `most` digits.
    fn small(&mut self, most: usize) -> Parsed<u8> {
        let digits = self.rest().iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        let text = self.rest().get(..digits).unwrap_or_default();
        self.at += digits;
        match std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()) {
            Some(n) => Ok(n),
            None => self.wanted("a number of two digits"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::whole;
    use super::*;

    #[test]
    fn dates() {
        #[track_caller]
        fn check(text: &str, expect: Option<i64>) {
            assert_eq!(whole(text.as_bytes(), Parser::date).ok(), expect, "{text}");
        }
        check("1-Jan-1970", Some(0));
        check("\"02-jan-1970\"", Some(1));
        check("31-Dec-1969", Some(-1));
        check("30-Feb-2024", None);
        check("0-Jan-2024", None);
        check("1-Foo-2024", None);
        check("1-Jan-24", None);
        check("111-Jan-2024", None);
        check("1-Jan-20240", None);
        check("\"1-Jan-2024", None);
    }

    #[test]
    fn date_times() {
        #[track_caller]
        fn check(text: &str, expect: Option<i64>) {
            let found = whole(text.as_bytes(), Parser::date_time).ok();
            assert_eq!(found.map(Date::to_unix_s), expect, "{text}");
        }
        check("\"22-Nov-2026 18:00:00 +0000\"", Some(1_795_370_400));
        check("\"22-Nov-2026 19:30:00 +0130\"", Some(1_795_370_400));
        check("\" 1-Jan-1970 00:00:00 -0000\"", Some(0));
        check("\"22-Nov-2026 24:00:00 +0000\"", None);
        check("\"22-Nov-2026 18:00:00\"", None);
        check("\"22-Nov-2026 18:00:00 +9999\"", None);
        check("\"22-Nov-2026 18:00 +0000\"", None);
        check("22-Nov-2026", None);
        check("\"\"", None);
    }
}
