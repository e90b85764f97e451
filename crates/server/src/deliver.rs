//! `openpoczta deliver`: a letter from standard input into mailboxes, as Postfix's pipe, Exim and procmail call a
//! program. It speaks LMTP (RFC 2033) with the running server, so what it says with 0 survives a power cut.
//!
//! How it ends is what `sysexits.h` says, and what mail servers make of it: 75 they try again, all else they report to
//! the sender. So whatever the operator can mend is 75: no server, a broken configuration, a full disk.

use crate::config::{self, Config};
use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use types::Address;

/// How long the server may take for one answer: a letter waits for the disk (RFC 5321 §4.5.3.2.6 allows 10 minutes).
const ANSWER_TIMEOUT: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// What an answer may have: a line is 512 bytes in the standard, LHLO has some 15.
const LINE_BYTES: u64 = 4096;
const LINES: usize = 100;
/// Of a letter so much is in memory.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(clap::Args)]
pub(crate) struct DeliverArguments {
    /// Who sent it; '<>' or nothing for a bounce. Without it: what a line `From SENDER DATE` before the letter says
    #[arg(short = 'f', long = "from", value_name = "SENDER", allow_hyphen_values = true)]
    sender: Option<String>,
    /// A field X-Original-To with this address is put before the letter
    #[arg(short = 'a', long, value_name = "ADDRESS", allow_hyphen_values = true)]
    original: Option<String>,
    /// For whom; the same as RECIPIENT, as other programs of this kind have it
    #[arg(short = 'd', value_name = "RECIPIENT", allow_hyphen_values = true)]
    to: Vec<String>,
    /// For whom; a name without a domain is one of the configuration's first domain
    #[arg(value_name = "RECIPIENT", required_unless_present = "to")]
    recipients: Vec<String>,
    /// The configuration file of the server: where it speaks LMTP
    #[arg(long, value_name = "FILE", required_unless_present = "lmtp")]
    config: Option<PathBuf>,
    /// Where the server speaks LMTP: HOST:PORT or unix:PATH; then no file is read
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    lmtp: Option<String>,
}

/// How it ended, and why, in a line for whoever reads the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    /// Begins with an enhanced code, which Postfix takes over (RFC 3463).
    why: String,
}

/// Of `sysexits.h`. Least first: of several recipients the worst counts, and trying again before giving up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Exit {
    /// The letter is at fault.
    Data = 65,
    NoUser = 67,
    /// Refused for another reason.
    Unavailable = 69,
    /// Refused: not wanted, not allowed.
    NotPermitted = 77,
    /// Try again.
    Temporary = 255,
}

/// The command line itself was wrong.
const USAGE: u8 = 64;
const TEMPORARY: u8 = 75;

impl Exit {
    fn code(self) -> u8 {
        if self == Self::Temporary { TEMPORARY } else { self as u8 }
    }

    /// What an answer of the server means. The enhanced code says more than the other (RFC 3463 §3).
    fn of(reply: &Reply) -> Self {
        if !(500..600).contains(&reply.code) {
            return Self::Temporary;
        }
        match reply.enhanced() {
            Some(code) if code.starts_with("5.1.") => Self::NoUser,
            Some(code) if code.starts_with("5.7.") => Self::NotPermitted,
            Some("5.3.4") => Self::Data,
            Some(code) if code.starts_with("5.6.") => Self::Data,
            _ => Self::Unavailable,
        }
    }
}

/// The exit code of a [`Failure`].
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Failure>().map_or(TEMPORARY, Failure::code)
}

impl Failure {
    fn code(&self) -> u8 {
        self.exit.code()
    }

    /// Something that trying again may help.
    fn later(why: impl fmt::Display) -> Self {
        Self { exit: Exit::Temporary, why: format!("4.3.0 {why}") }
    }

    fn of(reply: &Reply, about: &str) -> Self {
        let exit = Exit::of(reply);
        let (code, text) = match reply.enhanced() {
            Some(code) => (code, reply.text.get(code.len()..).unwrap_or_default().trim_start()),
            None if exit == Exit::Temporary => ("4.3.0", &reply.text[..]),
            None => ("5.3.0", &reply.text[..]),
        };
        Self { exit, why: format!("{code} {about}: {text} ({})", reply.code) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

/// The exit code for a command line that is wrong, if it is one of this command.
pub(crate) fn usage_exit(arguments: impl Iterator<Item = OsString>) -> Option<u8> {
    let first = arguments.skip(1).find(|argument| !argument.to_string_lossy().starts_with('-'));
    first.is_some_and(|first| first == "deliver").then_some(USAGE)
}

pub(crate) fn run(arguments: &DeliverArguments) -> Result<(), Failure> {
    let config = arguments.config.as_deref().map(config::load).transpose();
    let config = config.map_err(|e| Failure::later(format!("the configuration: {e}")))?;
    let (recipients, mut failures) = recipients(arguments, config.as_ref());
    let mut letter = Letter::begin(std::io::stdin().lock())?;
    let sender = match &arguments.sender {
        Some(text) => sender(text)?,
        None => letter.sender.take(),
    };
    if !recipients.is_empty() {
        let place = place(arguments, config.as_ref())?;
        let mut talk = Talk::begin(&place)?;
        let original = arguments.original.as_deref();
        failures.extend(talk.send(sender.as_ref(), &recipients, original, &mut letter)?);
        talk.end();
    }
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.exit));
    let Some(exit) = failures.first().map(|worst| worst.exit) else { return Ok(()) };
    // The worst first: Postfix reads the code in front of the first line.
    let lines: Vec<String> = failures.into_iter().map(|failure| failure.why).collect();
    Err(Failure { exit, why: lines.join("\n") })
}

fn recipients(
    arguments: &DeliverArguments,
    config: Option<&Config>,
) -> (Vec<Address>, Vec<Failure>) {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for text in arguments.to.iter().chain(&arguments.recipients) {
        let bare = unbracketed(text);
        let domain = config.and_then(|config| config.domains.first());
        let whole = match domain {
            Some(domain) if !bare.contains('@') => format!("{bare}@{domain}"),
            _ => bare.to_owned(),
        };
        match whole.parse() {
            Ok(address) => found.push(address),
            Err(why) => {
                let why = format!("5.1.3 {}: {why}", tame(text));
                failures.push(Failure { exit: Exit::NoUser, why });
            }
        }
    }
    (found, failures)
}

fn sender(text: &str) -> Result<Option<Address>, Failure> {
    match unbracketed(text) {
        // Names Postfix has for nobody (pipe(8): null_sender, and what its flag q makes of one).
        "" | "MAILER-DAEMON" | "\"<>\"" => Ok(None),
        bare => bare.parse().map(Some).map_err(|why| {
            let why = format!("5.1.7 the sender {} is no address: {why}", tame(text));
            Failure { exit: Exit::Data, why }
        }),
    }
}

fn unbracketed(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text)
}

/// What somebody wrote, fit for a line.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(300).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp(String),
    Unix(PathBuf),
}

fn place(arguments: &DeliverArguments, config: Option<&Config>) -> Result<Place, Failure> {
    let text = match (&arguments.lmtp, config) {
        (Some(text), _) => text.clone(),
        (None, Some(config)) => {
            let first = config.listen.get("lmtp").and_then(|places| places.first());
            let off =
                || Failure::later("lmtp.listen is empty in the configuration: give it an address");
            first.ok_or_else(off)?.to_string()
        }
        (None, None) => return Err(Failure::later("give --config FILE or --lmtp ADDRESS")),
    };
    Ok(match text.strip_prefix("unix:") {
        Some(path) => Place::Unix(path.into()),
        None if text.starts_with('/') => Place::Unix(text.into()),
        None => Place::Tcp(text),
    })
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A letter from the program before us, in pieces.
struct Letter<R> {
    input: R,
    chunk: Vec<u8>,
    /// Of the line `From SENDER DATE` that mbox files have between letters; it is not a part of the letter.
    sender: Option<Address>,
}

impl<R: Read> Letter<R> {
    /// Reads the first piece.
    fn begin(mut input: R) -> Result<Self, Failure> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut count = 0;
        while let Some(rest) = chunk.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match input.read(rest) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(Failure::later(format!("standard input cannot be read: {e}")));
                }
            }
        }
        chunk.truncate(count);
        // Every letter has a field at least; nothing at all is a program before us that failed.
        if chunk.is_empty() {
            return Err(Failure::later("nothing came on standard input: there is no letter"));
        }
        let mut letter = Self { input, chunk, sender: None };
        letter.cut_from_line();
        Ok(letter)
    }

    fn cut_from_line(&mut self) {
        let Some(rest) = self.chunk.strip_prefix(b"From ") else { return };
        let Some(end) = rest.iter().position(|b| *b == b'\n') else { return };
        let (line, letter) = rest.split_at(end + 1);
        let sender = std::str::from_utf8(line).ok().and_then(|line| line.split_whitespace().next());
        // `MAILER-DAEMON` and such are no addresses: nobody to report to.
        self.sender = sender.and_then(|sender| sender.parse().ok());
        self.chunk = letter.to_vec();
    }

    /// Writes all of it as DATA has it: lines end with CR LF, those that begin with a dot get one more (RFC 5321 §4.5.2).
    fn write(&mut self, mut out: impl Write) -> Result<(), Trouble> {
        let mut wire = Vec::with_capacity(CHUNK_BYTES * 2);
        let (mut last, mut line_start) = (0, true);
        let mut chunk = std::mem::take(&mut self.chunk);
        loop {
            wire.clear();
            for byte in &chunk {
                match byte {
                    b'\n' if last != b'\r' => wire.extend_from_slice(b"\r\n"),
                    b'.' if line_start => wire.extend_from_slice(b".."),
                    byte => wire.push(*byte),
                }
                (last, line_start) = (*byte, *byte == b'\n');
            }
            out.write_all(&wire).map_err(Trouble::Server)?;
            chunk.resize(CHUNK_BYTES, 0);
            let count = loop {
                match self.input.read(&mut chunk) {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    read => break read.map_err(Trouble::Input)?,
                }
            };
            if count == 0 {
                break;
            }
            chunk.truncate(count);
        }
        let end: &[u8] = match (line_start, last) {
            (true, _) => b".\r\n",
            (false, b'\r') => b"\n.\r\n",
            (false, _) => b"\r\n.\r\n",
        };
        out.write_all(end).and_then(|()| out.flush()).map_err(Trouble::Server)
    }
}

/// Who failed in the middle of a letter.
enum Trouble {
    Input(std::io::Error),
    Server(std::io::Error),
}

/// An answer of the server: the code, and the text of its last line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    code: u16,
    text: String,
    /// All lines, without the code.
    lines: Vec<String>,
}

impl Reply {
    fn is_good(&self) -> bool {
        self.code < 400
    }

    /// `5.1.1` in front of the text (RFC 2034).
    fn enhanced(&self) -> Option<&str> {
        let first = self.text.split(' ').next()?;
        let digits =
            |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        (first.split('.').count() == 3 && first.split('.').all(digits)).then_some(first)
    }
}

/// The conversation.
struct Talk {
    input: BufReader<Box<dyn Read>>,
    output: Box<dyn Write>,
    place: String,
}

impl Talk {
    fn begin(place: &Place) -> Result<Self, Failure> {
        let (input, output) = connect(place).map_err(|e| {
            Failure::later(format!("the server cannot be reached at {place}: {e}; is it running?"))
        })?;
        let mut talk = Self { input: BufReader::new(input), output, place: place.to_string() };
        let greeting = talk.reply()?;
        if greeting.code != 220 {
            return Err(Failure::later(format!("{place} is not ready: {}", greeting.text)));
        }
        Ok(talk)
    }

    /// What failed, for each recipient it failed for.
    fn send<R: Read>(
        &mut self,
        sender: Option<&Address>,
        recipients: &[Address],
        original: Option<&str>,
        letter: &mut Letter<R>,
    ) -> Result<Vec<Failure>, Failure> {
        let hello = self.ask("LHLO localhost")?;
        if !hello.is_good() {
            return Err(Failure::later(format!(
                "{} does not speak LMTP: {}",
                self.place, hello.text
            )));
        }
        let has = |word: &str| hello.lines.iter().any(|line| line.eq_ignore_ascii_case(word));
        let mut mail =
            format!("MAIL FROM:<{}>", sender.map(Address::to_string).unwrap_or_default());
        if has("8BITMIME") {
            mail.push_str(" BODY=8BITMIME");
        }
        let is_ascii = |address: &Address| address.to_string().is_ascii();
        if has("SMTPUTF8") && !sender.into_iter().chain(recipients).all(is_ascii) {
            mail.push_str(" SMTPUTF8");
        }
        let begun = self.ask(&mail)?;
        if !begun.is_good() {
            let mut failure = Failure::of(&begun, "the sender was refused");
            // It is the letter's sender, not a user of ours.
            if failure.exit == Exit::NoUser {
                failure.exit = Exit::Data;
            }
            return Err(failure);
        }
        let mut failures = Vec::new();
        let mut accepted = Vec::new();
        for recipient in recipients {
            let reply = self.ask(&format!("RCPT TO:<{recipient}>"))?;
            if reply.is_good() {
                accepted.push(recipient);
            } else {
                failures.push(Failure::of(&reply, &recipient.to_string()));
            }
        }
        if !accepted.is_empty() {
            failures.extend(self.data(&accepted, original, letter)?);
        }
        Ok(failures)
    }

    fn data<R: Read>(
        &mut self,
        accepted: &[&Address],
        original: Option<&str>,
        letter: &mut Letter<R>,
    ) -> Result<Vec<Failure>, Failure> {
        let go = self.ask("DATA")?;
        if go.code != 354 {
            return Ok(accepted.iter().map(|to| Failure::of(&go, &to.to_string())).collect());
        }
        if let Some(original) = original {
            let field = format!("X-Original-To: {}\r\n", tame(original));
            self.write(field.as_bytes())?;
        }
        match letter.write(&mut self.output) {
            Ok(()) => {}
            // Without the last dot nothing is stored.
            Err(Trouble::Input(e)) => {
                return Err(Failure::later(format!("standard input cannot be read: {e}")));
            }
            Err(Trouble::Server(e)) => return Err(self.gone(&e)),
        }
        let mut failures = Vec::new();
        for recipient in accepted {
            let reply = self.reply()?;
            if !reply.is_good() {
                failures.push(Failure::of(&reply, &recipient.to_string()));
            }
        }
        Ok(failures)
    }

    /// The letter is stored: whatever happens now changes nothing.
    fn end(&mut self) {
        drop(self.output.write_all(b"QUIT\r\n").and_then(|()| self.output.flush()));
    }

    fn ask(&mut self, line: &str) -> Result<Reply, Failure> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.output.write_all(bytes).and_then(|()| self.output.flush()).map_err(|e| self.gone(&e))
    }

    fn gone(&self, error: &std::io::Error) -> Failure {
        Failure::later(format!("the connection to {} was lost: {error}", self.place))
    }

    fn reply(&mut self) -> Result<Reply, Failure> {
        let mut lines = Vec::new();
        while lines.len() < LINES {
            let mut line = Vec::new();
            let read = self.input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line);
            read.map_err(|e| self.gone(&e))?;
            let line = String::from_utf8_lossy(&line);
            let Some(line) = line.strip_suffix('\n') else {
                return Err(Failure::later(format!("{} closed the connection", self.place)));
            };
            let line = line.trim_end_matches('\r');
            let (code, text) = line.split_at_checked(3).unwrap_or_default();
            let (Ok(code), more) = (code.parse::<u16>(), text.starts_with('-')) else {
                return Err(Failure::later(format!(
                    "{} does not speak LMTP: {}",
                    self.place,
                    tame(line)
                )));
            };
            let text = tame(text.get(1..).unwrap_or_default());
            lines.push(text.clone());
            if !more {
                return Ok(Reply { code, text, lines });
            }
        }
        Err(Failure::later(format!("{} talks without end", self.place)))
    }
}

type Streams = (Box<dyn Read>, Box<dyn Write>);

fn connect(place: &Place) -> std::io::Result<Streams> {
    match place {
        Place::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            Ok((Box::new(stream.try_clone()?), Box::new(stream)))
        }
        Place::Tcp(address) => {
            let mut last = std::io::Error::other("there is no such address");
            for address in address.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                    Ok(stream) => {
                        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                        stream.set_nodelay(true)?;
                        return Ok((Box::new(stream.try_clone()?), Box::new(stream)));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_wire() {
        #[track_caller]
        fn check(raw: &str, expect: &str) {
            let mut letter = Letter::begin(raw.as_bytes()).unwrap();
            let mut out = Vec::new();
            assert!(letter.write(&mut out).is_ok());
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{raw:?}");
        }
        check("A: b\n\nx\n", "A: b\r\n\r\nx\r\n.\r\n");
        check("A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n.\r\n");
        check("A: b\n\nx", "A: b\r\n\r\nx\r\n.\r\n");
        check("A: b\n\nx\r", "A: b\r\n\r\nx\r\n.\r\n");
        check("A: b\n\n.\n..\n.x\n", "A: b\r\n\r\n..\r\n...\r\n..x\r\n.\r\n");
        check(".", "..\r\n.\r\n");
        // A CR alone ends no line, so no dot after it is the last.
        check("A: b\r.\rc\n", "A: b\r.\rc\r\n.\r\n");
        check("From ala@b.test Sun Nov 22\nA: b\n", "A: b\r\n.\r\n");
        check("From: ala\n", "From: ala\r\n.\r\n");
        check("From ala, with no line end", "From ala, with no line end\r\n.\r\n");
        check("A: b\n\nFrom c\n", "A: b\r\n\r\nFrom c\r\n.\r\n");
    }

    #[test]
    fn pieces_make_no_difference() {
        struct One<'a>(&'a [u8]);
        impl Read for One<'_> {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let end = out.len().min(7);
                Read::read(&mut self.0, &mut out[..end])
            }
        }
        let raw = "A: b\r\n\n.dot\n..\r\nx".repeat(20_000);
        let write = |letter: &mut Letter<One<'_>>| {
            let mut out = Vec::new();
            assert!(letter.write(&mut out).is_ok());
            out
        };
        let whole = write(&mut Letter::begin(One(raw.as_bytes())).unwrap());
        let mut expect = Vec::new();
        assert!(Letter::begin(raw.as_bytes()).unwrap().write(&mut expect).is_ok());
        assert_eq!(whole, expect);
        assert!(whole.len() > CHUNK_BYTES * 4);
    }

    #[test]
    fn who_sent_it() {
        #[track_caller]
        fn check(text: &str, expect: Result<Option<&str>, u8>) {
            let found = sender(text).map_err(|f| f.code());
            let found = found.as_ref().map(|a| a.as_ref().map(ToString::to_string)).map_err(|e| *e);
            assert_eq!(found, expect.map(|a| a.map(str::to_owned)), "{text:?}");
        }
        check("<>", Ok(None));
        check("", Ok(None));
        check("MAILER-DAEMON", Ok(None));
        check("<Ala@B.test>", Ok(Some("Ala@b.test")));
        check("ala@b.test", Ok(Some("ala@b.test")));
        check("ala", Err(65));
        check("a@b.test>\r\nRCPT TO:<x@y.test", Err(65));
        let of = |line: &str| Letter::begin(format!("{line}\nA: b\n").as_bytes()).unwrap().sender;
        assert_eq!(
            of("From ala@b.test Sun Nov 22 18:00:00 2026").unwrap().to_string(),
            "ala@b.test"
        );
        assert_eq!(of("From MAILER-DAEMON Sun Nov 22 18:00:00 2026"), None);
    }

    #[test]
    fn ends() {
        #[track_caller]
        fn check(code: u16, text: &str, expect: u8, says: &str) {
            let reply = Reply { code, text: text.to_owned(), lines: Vec::new() };
            let failure = Failure::of(&reply, "a@b.test");
            assert_eq!((failure.code(), failure.to_string().as_str()), (expect, says));
        }
        check(550, "5.1.1 no such user", 67, "5.1.1 a@b.test: no such user (550)");
        check(552, "5.3.4 too large", 65, "5.3.4 a@b.test: too large (552)");
        check(550, "5.6.0 bare LF", 65, "5.6.0 a@b.test: bare LF (550)");
        check(550, "5.7.1 spam", 77, "5.7.1 a@b.test: spam (550)");
        check(554, "5.4.6 a loop", 69, "5.4.6 a@b.test: a loop (554)");
        check(452, "4.2.2 full", 75, "4.2.2 a@b.test: full (452)");
        check(421, "closing", 75, "4.3.0 a@b.test: closing (421)");
        check(500, "what", 69, "5.3.0 a@b.test: what (500)");
        check(250, "hm", 75, "4.3.0 a@b.test: hm (250)");
        // The worst of several.
        assert!(Exit::Temporary > Exit::NotPermitted && Exit::NotPermitted > Exit::NoUser);
    }

    #[test]
    fn whose_usage() {
        let exit = |line: &str| usage_exit(line.split(' ').map(OsString::from));
        assert_eq!(exit("openpoczta deliver -x"), Some(64));
        assert_eq!(exit("openpoczta --log=info deliver"), Some(64));
        assert_eq!(exit("openpoczta serve deliver"), None);
        assert_eq!(exit("openpoczta"), None);
    }
}
