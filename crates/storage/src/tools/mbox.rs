//! mbox: a file for each mailbox, letters one after the other, each behind a `From ` line (mboxrd: a line that
//! begins with `From ` after any number of `>` gets one more `>`; reading takes it off again).
//!
//! What an mbox cannot say by itself stands in a few header lines in front of each letter, which our import
//! takes away again, so that the letter comes back byte for byte:
//! ```text
//! From alice@example.test Sun Nov 22 18:00:00 2026
//! X-OpenPoczta: lines=4 size=1234 eol=crlf received=1795370400
//! Status: RO
//! X-Status: F
//! X-Keywords: Work
//! ```
//! `Status`, `X-Status` and `X-Keywords` are what mutt, Dovecot and others read. `eol=crlf`: every line of
//! the letter ended with CR LF; in the file, with LF, as programs expect.

use db::MessageRow;
use memchr::{memchr, memmem};
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use types::{Date, Flag, Flags, Keyword, MONTHS, WEEKDAYS};

const OURS: &str = "X-OpenPoczta: ";
/// One letter; a file without `From ` lines must not fill the memory.
pub(super) const LETTER_BYTES: usize = 256 << 20;

/// Writes one letter.
pub(super) fn write(
    out: &mut impl Write,
    letter: &[u8],
    row: &MessageRow,
    sender: &str,
) -> io::Result<()> {
    let crlf = memmem::find_iter(letter, b"\r\n").count();
    let eol =
        if crlf > 0 && crlf == memchr::memchr_iter(b'\n', letter).count() { "crlf" } else { "raw" };
    writeln!(out, "From {} {}", from_word(sender), asctime(row.received_unix_s))?;
    let keywords: Vec<&str> = row.flags.keywords().iter().map(Keyword::as_str).collect();
    let lines = 3 + usize::from(!keywords.is_empty());
    let (size, received) = (letter.len(), row.received_unix_s);
    writeln!(out, "{OURS}lines={lines} size={size} eol={eol} received={received}")?;
    let has = |flag, letter: &'static str| if row.flags.contains(flag) { letter } else { "" };
    writeln!(out, "Status: {}O", has(Flag::Seen, "R"))?;
    writeln!(
        out,
        "X-Status: {}{}{}{}",
        has(Flag::Answered, "A"),
        has(Flag::Flagged, "F"),
        has(Flag::Draft, "T"),
        has(Flag::Deleted, "D")
    )?;
    if !keywords.is_empty() {
        writeln!(out, "X-Keywords: {}", keywords.join(" "))?;
    }
    for line in letter.split_inclusive(|b| *b == b'\n') {
        if is_from(line) {
            out.write_all(b">")?;
        }
        match line.strip_suffix(b"\r\n") {
            Some(line) if eol == "crlf" => {
                out.write_all(line)?;
                out.write_all(b"\n")?;
            }
            _ => out.write_all(line)?,
        }
    }
    let ended = letter.ends_with(b"\n");
    out.write_all(if ended { b"\n" } else { b"\n\n" })
}

/// `From ` behind any number of `>`.
fn is_from(line: &[u8]) -> bool {
    let quoted = line.iter().take_while(|b| **b == b'>').count();
    line.get(quoted..).is_some_and(|rest| rest.starts_with(b"From "))
}

/// The sender in the `From ` line: one word.
fn from_word(sender: &str) -> String {
    let word: String = sender.chars().filter(char::is_ascii_graphic).take(200).collect();
    if word.is_empty() { "MAILER-DAEMON".to_owned() } else { word }
}

/// `Sun Nov 22 18:00:00 2026`
fn asctime(unix_s: i64) -> String {
    let date = Date::from_unix_s(unix_s);
    let weekday = usize::try_from((date.days() + 3).rem_euclid(7)).unwrap_or(0);
    let month = MONTHS.get(usize::from(date.month).wrapping_sub(1)).copied().unwrap_or("Jan");
    let mut text = WEEKDAYS.get(weekday).copied().unwrap_or("Mon").to_owned();
    let (day, hour, minute) = (date.day, date.hour, date.minute);
    let _ =
        write!(text, " {month} {day:>2} {hour:02}:{minute:02}:{:02} {:04}", date.second, date.year);
    text
}

/// When a `From ` line says the letter came: UTC, whatever zone it names.
fn from_date(line: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let at = words
        .iter()
        .position(|word| MONTHS.iter().any(|month| month.eq_ignore_ascii_case(word)))?;
    let month =
        MONTHS.iter().position(|m| words.get(at).is_some_and(|w| m.eq_ignore_ascii_case(w)))?;
    let mut clock = words.get(at + 2)?.split(':');
    let mut next = || clock.next().map_or(Some(0), |text| text.parse().ok());
    let (hour, minute, second) = (next()?, next()?, next()?);
    let year = words.get(at + 3..)?.iter().find_map(|word| {
        word.parse::<u16>().ok().filter(|year| (1970..=9999).contains(year) && word.len() == 4)
    })?;
    let date = Date {
        year,
        month: u8::try_from(month).ok()? + 1,
        day: words.get(at + 1)?.parse().ok()?,
        hour,
        minute,
        second,
        offset_minutes: 0,
    };
    date.is_valid().then(|| date.to_unix_s())
}

/// A letter as it stood in a file.
pub(super) struct Read {
    pub(super) bytes: Vec<u8>,
    pub(super) flags: Flags,
    pub(super) received_unix_s: Option<i64>,
    /// We wrote it, so the bytes are exact.
    pub(super) ours: bool,
    /// Where its `From ` line begins in the file.
    pub(super) offset: u64,
}

/// Reads a file letter by letter.
pub(super) struct Reader<R> {
    input: R,
    offset: u64,
    /// The `From ` line of the next letter.
    from: Option<(u64, Vec<u8>)>,
    begun: bool,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, offset: 0, from: None, begun: false }
    }

    fn line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let read = self.input.read_until(b'\n', line)?;
        self.offset += read as u64;
        Ok(read > 0)
    }

    /// The next letter. `Err` with `InvalidData`: one too large was passed over; go on.
    pub(super) fn next(&mut self) -> io::Result<Option<Read>> {
        let mut line = Vec::new();
        if !self.begun {
            self.begun = true;
            // Blank lines may stand before the first.
            while self.line(&mut line)? {
                if is_separator(&line) {
                    self.from = Some((self.offset - line.len() as u64, std::mem::take(&mut line)));
                    break;
                }
                if !line.trim_ascii().is_empty() {
                    let what = "the file does not begin with a \"From \" line: it is no mbox";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
                }
            }
        }
        let Some((offset, from)) = self.from.take() else {
            return Ok(None);
        };
        let (mut bytes, mut blank, mut too_large) = (Vec::new(), false, false);
        while self.line(&mut line)? {
            if blank && is_separator(&line) {
                self.from = Some((self.offset - line.len() as u64, std::mem::take(&mut line)));
                break;
            }
            blank = line == b"\n" || line == b"\r\n";
            too_large |= bytes.len() + line.len() > LETTER_BYTES;
            if !too_large {
                bytes.extend_from_slice(unquoted(&line));
            }
        }
        if too_large {
            let what = format!("a letter at byte {offset} is larger than {LETTER_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        // The blank line before the next `From ` is not the letter's.
        for end in [&b"\r\n"[..], b"\n"] {
            if blank && bytes.ends_with(end) {
                bytes.truncate(bytes.len() - end.len());
                break;
            }
        }
        Ok(Some(finish(bytes, &from, offset)))
    }
}

fn unquoted(line: &[u8]) -> &[u8] {
    match line.strip_prefix(b">") {
        Some(rest) if is_from(rest) => rest,
        _ => line,
    }
}

/// A line that begins a letter: `From `, and a date behind it, so that prose is none.
fn is_separator(line: &[u8]) -> bool {
    line.starts_with(b"From ") && from_date(line).is_some()
}

fn finish(mut bytes: Vec<u8>, from: &[u8], offset: u64) -> Read {
    let mut read = Read {
        bytes: Vec::new(),
        flags: Flags::default(),
        received_unix_s: from_date(from),
        ours: false,
        offset,
    };
    let header = header_end(&bytes);
    let Some(mark) = Mark::parse(&bytes) else {
        status_fields(bytes.get(..header).unwrap_or_default(), &mut read.flags);
        read.bytes = bytes;
        return read;
    };
    let body = nth_line(&bytes, mark.lines);
    status_fields(bytes.get(..body).unwrap_or_default(), &mut read.flags);
    bytes.drain(..body);
    if mark.crlf {
        bytes = to_crlf(&bytes);
    }
    // The line end that was added to a letter without one.
    bytes.truncate(mark.size);
    read.ours = bytes.len() == mark.size;
    (read.bytes, read.received_unix_s) = (bytes, Some(mark.received_unix_s));
    read
}

/// Our own line in front of a letter.
struct Mark {
    lines: usize,
    size: usize,
    crlf: bool,
    received_unix_s: i64,
}

impl Mark {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(OURS.as_bytes())?;
        let line = std::str::from_utf8(rest.get(..memchr(b'\n', rest)?)?).ok()?;
        let field = |name: &str| {
            line.split_ascii_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            lines: field("lines")?.parse().ok().filter(|n| *n < 10)?,
            size: field("size")?.parse().ok()?,
            crlf: field("eol")? == "crlf",
            received_unix_s: field("received")?.parse().ok()?,
        })
    }
}

/// Where line `n` begins.
fn nth_line(bytes: &[u8], n: usize) -> usize {
    let mut ends = memchr::memchr_iter(b'\n', bytes);
    if n == 0 { 0 } else { ends.nth(n - 1).map_or(bytes.len(), |at| at + 1) }
}

fn header_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        if line.trim_ascii().is_empty() {
            return at;
        }
    }
    at
}

fn status_fields(header: &[u8], flags: &mut Flags) {
    for line in header.split(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(line);
        let Some((name, value)) = line.split_once(':') else { continue };
        match &*name.to_ascii_lowercase() {
            "status" if value.contains('R') => flags.insert(Flag::Seen),
            "x-status" => {
                let all = [
                    ('A', Flag::Answered),
                    ('F', Flag::Flagged),
                    ('T', Flag::Draft),
                    ('D', Flag::Deleted),
                ];
                for (letter, flag) in all {
                    if value.contains(letter) {
                        flags.insert(flag);
                    }
                }
            }
            "x-keywords" => {
                for word in value.split([' ', ',', '\t', '\r']).filter_map(Keyword::new) {
                    flags.insert_keyword(word);
                }
            }
            _ => {}
        }
    }
}

/// Every LF becomes CR LF.
pub(super) fn to_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 30);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{EmailId, ModSeq, Uid};

    fn row(flags: &str) -> MessageRow {
        let mut set = Flags::default();
        flags.split_ascii_whitespace().for_each(|name| assert!(set.insert_name(name)));
        MessageRow {
            uid: Uid::MIN,
            email: EmailId(1),
            modseq: ModSeq(1),
            flags: set,
            received_unix_s: 1_795_370_400,
            saved_unix_s: 0,
            size_bytes: 0,
        }
    }

    fn all(file: &[u8]) -> Vec<Read> {
        let mut reader = Reader::new(file);
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let letters: [&[u8]; 9] = [
            b"Subject: a\r\n\r\nFrom here\r\n>From there\r\n",
            b"Subject: b\r\n\r\nno end",
            b"",
            b"\n",
            b"\r\n\r\n\r\n",
            b"From the start\nbare LF\n\n",
            b"mixed\r\nends\n\r\r\n",
            b"CR only\r",
            b"\r\r\n\n\0",
        ];
        let flags = ["", "\\Seen", "\\Flagged \\Draft Work $x", "\\Deleted \\Answered"];
        let mut file = Vec::new();
        for (n, letter) in letters.iter().enumerate() {
            write(&mut file, letter, &row(flags[n % 4]), "a b@example.test").unwrap();
        }
        let read = all(&file);
        assert_eq!(read.len(), letters.len());
        for (n, (read, letter)) in read.iter().zip(letters).enumerate() {
            assert_eq!(read.bytes, letter, "letter {n}");
            assert_eq!(read.flags, row(flags[n % 4]).flags);
            assert_eq!(read.received_unix_s, Some(1_795_370_400));
            assert!(read.ours);
        }
        assert!(file.starts_with(b"From ab@example.test Sun Nov 22 18:00:00 2026\n"));
    }

    #[test]
    fn files_of_others() {
        let file = b"From x@example.test  Mon Jan  1 00:00:01 2024 +0100\nSubject: 1\nStatus: RO\nX-Status: AF\n\n\
            >From the body\nFrom a dream\n\nFrom a line without a date\n\n\
            From MAILER-DAEMON Fri Feb 30 10:00:00 2024\n\nFrom y Tue Feb 20 10:00:00 2024\nSubject: 2\n\nend";
        let read = all(file);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].flags.to_string(), "\\Answered \\Flagged \\Seen");
        assert_eq!(read[0].received_unix_s, Some(1_704_067_201));
        assert!(read[0].bytes.ends_with(b"10:00:00 2024\n"));
        assert!(memmem::find(&read[0].bytes, b"\nFrom the body\nFrom a dream\n").is_some());
        assert_eq!(read[1].bytes, b"Subject: 2\n\nend");
        assert!(!read[1].ours);
        assert!(all(b"").is_empty());
        assert!(all(b"\n\n").is_empty());
        assert!(Reader::new(&b"Subject: none\n"[..]).next().is_err());
    }
}
