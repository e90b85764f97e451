//! Dates.
use types::Date;
/// A date of RFC 5322 §3.3 with the obsolete forms of §4.3.
pub fn parse_date(raw: &[u8]) -> Option<Date> {
    let _ = raw;
    None
}
