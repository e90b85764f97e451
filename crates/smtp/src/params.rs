//! Values of the parameters of MAIL and RCPT: reports (RFC 3461), letters that wait (RFC 4865). Pure: text in,
//! value out.
//!
//! ```text
//! xtext        = *( xchar / hexchar )                                ; RFC 3461 §4
//! xchar        = any ASCII CHAR between "!" and "~" inclusive, except for "+" and "="
//! hexchar      = ASCII "+" immediately followed by two upper case hexadecimal digits
//! ```

use crate::reply::Reply;
use queue::{Notify, Return};
use types::Date;

/// RFC 3461 §5.4: a server takes this much.
const ENVID_BYTES: usize = 100;
/// RFC 3461 §5.4.
const ORCPT_BYTES: usize = 500;
/// How long a letter may be held: half a year of plans would be a calendar, not mail.
pub(crate) const HOLD_MAX_S: i64 = 60 * 86_400;

/// Text in which everything but plain printable ASCII is written as `+` and two hexadecimal digits. What comes out
/// is printable ASCII with blanks: it goes into the fields of a report.
pub(crate) fn xtext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'=' => return None,
            b'!'..=b'~' => byte,
            _ => return None,
        };
        if !matches!(byte, b' '..=b'~') {
            return None;
        }
        out.push(char::from(byte));
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// ```text
/// notify-esmtp-value = "NEVER" / 1#notify-list-element               ; RFC 3461 §4.1
/// notify-list-element = "SUCCESS" / "FAILURE" / "DELAY"
/// ```
pub(crate) fn notify(value: Option<&str>) -> Result<Notify, Reply> {
    let value = value.unwrap_or_default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::NEVER);
    }
    let mut notify = Notify::NEVER;
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => {
                let text = "NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY";
                return Err(Reply::syntax(text));
            }
        }
    }
    Ok(notify)
}

/// Kept as it came, since it is passed on so; what it says has been looked at.
///
/// ```text
/// orcpt-parameter            = "ORCPT=" original-recipient-address   ; RFC 3461 §4.2
/// original-recipient-address = addr-type ";" xtext
/// ```
pub(crate) fn orcpt(value: Option<&str>, utf8: bool) -> Result<String, Reply> {
    let value = value.unwrap_or_default();
    let fits = value.split_once(';').is_some_and(|(kind, address)| {
        let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~.".contains(&b);
        // RFC 6533 §3: inside SMTPUTF8, characters outside ASCII stand for themselves.
        let itself = |c: char| utf8 && !c.is_ascii() && !c.is_control();
        let text = if kind.eq_ignore_ascii_case("utf-8") {
            address.replace(itself, "x")
        } else {
            address.to_owned()
        };
        !kind.is_empty() && kind.bytes().all(atom) && !text.is_empty() && xtext(&text).is_some()
    });
    if !fits || value.len() > ORCPT_BYTES {
        return Err(Reply::syntax("ORCPT is a kind, a semicolon and an address in xtext"));
    }
    Ok(value.to_owned())
}

/// `ret-value = "FULL" / "HDRS"` (RFC 3461 §4.3)
pub(crate) fn ret(value: Option<&str>) -> Result<Return, Reply> {
    match value.unwrap_or_default().to_ascii_uppercase().as_str() {
        "FULL" => Ok(Return::Full),
        "HDRS" => Ok(Return::Headers),
        _ => Err(Reply::syntax("RET is FULL or HDRS")),
    }
}

/// `envid-parameter = "ENVID=" xtext` (RFC 3461 §4.4)
pub(crate) fn envid(value: Option<&str>) -> Result<String, Reply> {
    value
        .filter(|value| value.len() <= ENVID_BYTES)
        .and_then(xtext)
        .ok_or_else(|| Reply::syntax("ENVID is at most 100 characters of xtext"))
}

/// `future-release-interval = %x31-39 *8DIGIT`, seconds from now (RFC 4865 §5). Gives the Unix time.
pub(crate) fn hold_for(value: Option<&str>, now_unix_s: i64) -> Result<i64, Reply> {
    let digits = value.filter(|v| {
        (1..=9).contains(&v.len()) && !v.starts_with('0') && v.bytes().all(|b| b.is_ascii_digit())
    });
    let seconds: i64 = digits
        .and_then(|d| d.parse().ok())
        .ok_or_else(|| Reply::syntax("HOLDFOR is a number of seconds"))?;
    held(now_unix_s.saturating_add(seconds), now_unix_s)
}

/// `future-release-date-time = date-time` of RFC 3339 §5.6 (RFC 4865 §5). Gives the Unix time.
pub(crate) fn hold_until(value: Option<&str>, now_unix_s: i64) -> Result<i64, Reply> {
    let time = value
        .and_then(date_time)
        .ok_or_else(|| Reply::syntax("HOLDUNTIL is a time such as 2026-11-22T18:00:00Z"))?;
    held(time, now_unix_s)
}

/// RFC 4865 §4: what cannot be promised is refused like a mistake in the syntax.
fn held(time_unix_s: i64, now_unix_s: i64) -> Result<i64, Reply> {
    if time_unix_s < now_unix_s {
        return Err(Reply::syntax("that time is over"));
    }
    if time_unix_s > now_unix_s.saturating_add(HOLD_MAX_S) {
        let days = HOLD_MAX_S / 86_400;
        return Err(Reply::syntax(format!("a letter is held at most {days} days")));
    }
    Ok(time_unix_s)
}

/// ```text
/// date-time = 4DIGIT "-" 2DIGIT "-" 2DIGIT "T" 2DIGIT ":" 2DIGIT ":" 2DIGIT [ "." 1*DIGIT ] zone ; RFC 3339 §5.6
/// zone      = "Z" / ( "+" / "-" ) 2DIGIT ":" 2DIGIT
/// ```
fn date_time(text: &str) -> Option<i64> {
    /// Of a fraction of a second; more is no precision but a prank.
    const FRACTION_BYTES: usize = 9;
    let number = |at: usize, length: usize| -> Option<u16> {
        let digits = text.get(at..at + length)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |at: usize| number(at, 2).and_then(|n| u8::try_from(n).ok());
    let is = |at: usize, c: u8| text.as_bytes().get(at).is_some_and(|b| b.eq_ignore_ascii_case(&c));
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| is(*at, *mark)) {
        return None;
    }
    let mut zone = text.get(19..)?;
    if let Some(fraction) = zone.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        zone = fraction.get(length..).filter(|_| (1..=FRACTION_BYTES).contains(&length))?;
    }
    let date = Date {
        year: number(0, 4)?,
        month: small(5)?,
        day: small(8)?,
        hour: small(11)?,
        minute: small(14)?,
        second: small(17)?,
        offset_minutes: offset_minutes(zone)?,
    };
    date.is_valid().then(|| date.to_unix_s())
}

fn offset_minutes(zone: &str) -> Option<i16> {
    if zone.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| -> Option<i16> {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_370_400; // 2026-11-22T18:00:00Z

    #[test]
    fn xtexts() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            assert_eq!(xtext(text).as_deref(), expect, "{text:?}");
        }
        check("", Some(""));
        check("QQ314159", Some("QQ314159"));
        check("a+2Bb+3Dc+20d", Some("a+b=c d"));
        check("a+2", None);
        check("a+", None);
        check("a+2b", None);
        check("a=b", None);
        check("a b", None);
        check("ż", None);
        check("a+0D+0AX-Evil: 1", None);
        check("a+00", None);
        check("a+FF", None);
    }

    #[test]
    fn notifies() {
        #[track_caller]
        fn check(value: &str, expect: Option<[bool; 3]>) {
            let found = notify(Some(value)).ok();
            assert_eq!(found.map(|n| [n.success, n.failure, n.delay]), expect, "{value:?}");
            assert!(found.is_none_or(|n| n.said));
        }
        check("NEVER", Some([false; 3]));
        check("never", Some([false; 3]));
        check("SUCCESS", Some([true, false, false]));
        check("failure,Delay", Some([false, true, true]));
        check("SUCCESS,FAILURE,DELAY", Some([true; 3]));
        check("", None);
        check("NEVER,SUCCESS", None);
        check("SUCCESS,", None);
        check("SUCCESS, FAILURE", None);
        check("ALWAYS", None);
        assert!(notify(None).is_err());
    }

    #[test]
    fn originals() {
        #[track_caller]
        fn check(value: &str, utf8: bool, fits: bool) {
            let found = orcpt(Some(value), utf8).ok();
            assert_eq!(found.as_deref(), fits.then_some(value), "{value:?}");
        }
        check("rfc822;Bob@example.test", false, true);
        check("rfc822;bob+2Btag@example.test", false, true);
        check("x400;/S=a", false, false);
        check("utf-8;bob\\x{17C}@example.test", false, true);
        check("utf-8;żółw@example.test", true, true);
        check("utf-8;żółw@example.test", false, false);
        check("utf-8;a\u{85}b", true, false);
        check("rfc822;żółw@example.test", true, false);
        check("rfc822;", false, false);
        check(";bob@example.test", false, false);
        check("rfc822", false, false);
        check("rfc 822;a", false, false);
        check("rfc822;a+0D+0AX-Evil:", false, false);
        check(&format!("rfc822;{}", "a".repeat(493)), false, true);
        check(&format!("rfc822;{}", "a".repeat(494)), false, false);
        assert!(orcpt(None, true).is_err());
    }

    #[test]
    fn of_the_letter() {
        assert_eq!(ret(Some("hdrs")).unwrap(), Return::Headers);
        assert_eq!(ret(Some("FULL")).unwrap(), Return::Full);
        assert!(ret(Some("BODY")).is_err() && ret(None).is_err());
        assert_eq!(envid(Some("a+20b")).unwrap(), "a b");
        assert_eq!(envid(Some(&"a".repeat(100))).unwrap().len(), 100);
        assert!(envid(Some(&"a".repeat(101))).is_err() && envid(None).is_err());
    }

    #[test]
    fn times() {
        #[track_caller]
        fn check(value: &str, expect: Option<i64>) {
            assert_eq!(hold_until(Some(value), NOW).ok(), expect, "{value:?}");
        }
        check("2026-11-22T18:00:00Z", Some(NOW));
        check("2026-11-22t19:00:01+01:00", Some(NOW + 1));
        check("2026-11-22T13:00:00.25-05:00", Some(NOW));
        check("2026-11-22T17:59:59Z", None);
        check("2027-01-21T18:00:00Z", Some(NOW + HOLD_MAX_S));
        check("2027-01-21T18:00:01Z", None);
        check("2026-11-22T18:00:00", None);
        check("2026-11-22 18:00:00Z", None);
        check("2026-13-22T18:00:00Z", None);
        check("2026-11-31T18:00:00Z", None);
        check("2026-11-22T18:00:00.Z", None);
        check("2026-11-22T18:00:00+1:00", None);
        check("2026-11-22T18:00:00+99:99", None);
        check("+026-11-22T18:00:00Z", None);
        check("ż026-11-22T18:00:00Z", None);
        check("", None);
    }

    #[test]
    fn intervals() {
        #[track_caller]
        fn check(value: &str, expect: Option<i64>) {
            assert_eq!(hold_for(Some(value), NOW).ok(), expect.map(|n| NOW + n), "{value:?}");
        }
        check("1", Some(1));
        check("5184000", Some(HOLD_MAX_S));
        check("5184001", None);
        check("0", None);
        check("01", None);
        check("-1", None);
        check("9999999999", None);
        check("", None);
        assert!(hold_for(None, NOW).is_err());
    }
}
