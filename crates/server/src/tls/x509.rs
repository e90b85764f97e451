//! The few facts of a certificate that an operator asks about: its names, its days, who signed it (RFC 5280 §4.1).
//! Checks no signature: that is the client's matter. Reads files of the operator, not what strangers send.

use types::Date;

/// Names of one certificate; the rules of authorities allow a hundred or a few more.
const NAMES: usize = 10_000;
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const TIME: u8 = 0x18;
/// `[0] Version`, `[3] Extensions`, and among the names `[2] dNSName`.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
/// `id-ce-subjectAltName` (RFC 5280 §4.2.1.6)
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts<'a> {
    /// In lower case; the first label may be a star. Names of the subject do not count (RFC 9525 §2).
    pub(super) names: Vec<String>,
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    pub(super) from_unix_s: i64,
    pub(super) until_unix_s: i64,
}

/// `None`: this is no certificate.
///
/// ```text
/// TBSCertificate ::= SEQUENCE { version [0] DEFAULT v1, serialNumber, signature, issuer, validity, subject,
///                               subjectPublicKeyInfo, issuerUniqueID [1], subjectUniqueID [2], extensions [3] }
/// ```
pub(super) fn facts(certificate: &[u8]) -> Option<Facts<'_>> {
    let mut signed = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
    signed.take_if(VERSION);
    signed.take(INTEGER)?;
    signed.take(SEQUENCE)?;
    let issuer = signed.take(SEQUENCE)?;
    let mut validity = Der(signed.take(SEQUENCE)?);
    let (from_unix_s, until_unix_s) = (validity.time()?, validity.time()?);
    let subject = signed.take(SEQUENCE)?;
    signed.take(SEQUENCE)?;
    let mut names = Vec::new();
    while let Some((tag, value)) = signed.next() {
        if tag == EXTENSIONS {
            names = alternative_names(value)?;
        }
    }
    Some(Facts { names, issuer, subject, from_unix_s, until_unix_s })
}

/// `Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`
fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Der(Der(extensions).take(SEQUENCE)?);
    while let Some((_, extension)) = extensions.next() {
        let mut extension = Der(extension);
        if extension.take(OBJECT)? != ALTERNATIVE_NAMES {
            continue;
        }
        while let Some((tag, value)) = extension.next() {
            if tag == OCTETS {
                return Some(dns_names(Der(Der(value).take(SEQUENCE)?)));
            }
        }
    }
    Some(Vec::new())
}

fn dns_names(mut names: Der<'_>) -> Vec<String> {
    let names = std::iter::from_fn(|| names.next()).filter(|(tag, _)| *tag == DNS_NAME);
    let text = |(_, name)| std::str::from_utf8(name).ok().map(str::to_ascii_lowercase);
    names.take(NAMES).filter_map(text).collect()
}

/// Values one after the other: tag, length, content.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            // Four bytes of length are 4 GiB: no file of ours.
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            rest = after;
        }
        let (value, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, value))
    }

    fn take(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _)| *tag == wanted).map(|(_, value)| value)
    }

    fn take_if(&mut self, wanted: u8) {
        if self.0.first() == Some(&wanted) {
            self.next();
        }
    }

    /// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (century, rest) = match tag {
            UTC_TIME => (None, text),
            TIME => (Some(text.get(..2)?.parse::<u16>().ok()?), text.get(2..)?),
            _ => return None,
        };
        if rest.len() != 12 || !rest.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let two = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
        let year = u16::from(two(0)?);
        let century = century.unwrap_or(if year >= 50 { 19 } else { 20 });
        let date = Date {
            year: century * 100 + year,
            month: two(2)?,
            day: two(4)?,
            hour: two(6)?,
            minute: two(8)?,
            second: two(10)?,
            offset_minutes: 0,
        };
        date.is_valid().then(|| date.to_unix_s())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut out = vec![tag];
        match (high, low) {
            (0, 0..0x80) => out.push(low),
            (0, _) => out.extend([0x81, low]),
            _ => out.extend([0x82, high, low]),
        }
        out.extend(content);
        out
    }

    fn certificate(times: [(u8, &str); 2], names: &[&str]) -> Vec<u8> {
        let names: Vec<u8> = names.iter().flat_map(|n| value(DNS_NAME, n.as_bytes())).collect();
        let names = [value(0x87, &[127, 0, 0, 1]), names].concat();
        let san = [
            value(OBJECT, ALTERNATIVE_NAMES),
            value(0x01, &[0xff]),
            value(OCTETS, &value(SEQUENCE, &names)),
        ];
        let other = [value(OBJECT, &[0x55, 0x1d, 0x13]), value(OCTETS, &value(SEQUENCE, &[]))];
        let extensions = [value(SEQUENCE, &other.concat()), value(SEQUENCE, &san.concat())];
        let validity: Vec<u8> = times.iter().flat_map(|(t, s)| value(*t, s.as_bytes())).collect();
        let signed = [
            value(VERSION, &value(INTEGER, &[2])),
            value(INTEGER, &[1]),
            value(SEQUENCE, &[]),
            value(SEQUENCE, b"issuer"),
            value(SEQUENCE, &validity),
            value(SEQUENCE, b"subject"),
            value(SEQUENCE, &[]),
            value(EXTENSIONS, &value(SEQUENCE, &extensions.concat())),
        ];
        let whole = [value(SEQUENCE, &signed.concat()), value(SEQUENCE, &[]), value(0x03, &[0])];
        value(SEQUENCE, &whole.concat())
    }

    #[test]
    fn what_stands_in_it() {
        let times = [(UTC_TIME, "700101000001Z"), (TIME, "20500102030405Z")];
        let names: Vec<String> = (0..30).map(|n| format!("MX{n}.example.test")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).chain(["*.example.test"]).collect();
        let der = certificate(times, &names);
        let found = facts(&der).unwrap();
        assert_eq!((found.issuer, found.subject), (&b"issuer"[..], &b"subject"[..]));
        assert_eq!((found.from_unix_s, found.until_unix_s), (1, 2_524_705_445));
        assert_eq!(found.names.len(), 31);
        assert_eq!((&*found.names[0], &*found.names[30]), ("mx0.example.test", "*.example.test"));
        // Cut anywhere, it is no certificate, or one without the part that is gone; never a panic.
        for end in 0..der.len() {
            assert_eq!(facts(&der[..end]), None, "{end}");
        }
        for at in 0..der.len() {
            let mut bent = der.clone();
            bent[at] ^= 0x81;
            drop(facts(&bent));
        }
    }

    #[test]
    fn times() {
        #[track_caller]
        fn check(tag: u8, text: &str, expect: Option<i64>) {
            assert_eq!(Der(&value(tag, text.as_bytes())).time(), expect, "{text}");
        }
        check(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check(UTC_TIME, "500101000000Z", Some(-631_152_000));
        check(TIME, "20261123120000Z", Some(1_795_435_200));
        check(TIME, "99991231235959Z", Some(253_402_300_799));
        check(UTC_TIME, "261323120000Z", None);
        check(UTC_TIME, "2611231200Z", None);
        check(UTC_TIME, "26112312000+Z", None);
        check(TIME, "20261123120000", None);
        check(INTEGER, "261123120000Z", None);
        check(TIME, "é0261123120000Z", None);
    }
}
