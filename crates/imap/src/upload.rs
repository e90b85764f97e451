//! Letters as APPEND and REPLACE bring them: in one piece, or put together from several (RFC 4469), one letter after
//! the other (RFC 3502).
//!
//! ```text
//! append-message  = [SP flag-list] [SP date-time] SP append-data
//! append-data     = literal / literal8 / "UTF8" SP "(" literal8 ")"           ; RFC 6855 §4
//! append-data     =/ "CATENATE" SP "(" cat-part *(SP cat-part) ")"            ; RFC 4469 §5
//! cat-part        = "TEXT" SP literal / "URL" SP astring / "UTF8" SP "(" literal8 ")"
//! literal8        = "~" literal       ; any bytes, NUL too (RFC 3516 §4.4)
//! ```
//! The command comes up to the announcement of the first literal; its bytes, and what follows, are read here once it is
//! known that they are wanted. What is not wanted and on its way already is read and forgotten, to the end of the
//! command; nothing is stored then.

mod url;

use crate::parse::{LITERAL_BYTES, LiteralHeader, Parsed, Parser};
use crate::reply::Error;
use crate::session::Session;
use bytes::{Bytes, BytesMut};
use storage::Letter;
use types::Flags;

/// Letters of one APPEND. They wait in memory for the last one, and one frame of the log names them all.
pub(crate) const LETTERS: usize = 1_000;
/// Pieces of one letter. Clients put the text and some attachments together.
const PIECES: usize = 100;
/// Literals in the middle of what follows a letter, such as URLs; it is looked at again for each.
const LITERALS: usize = 100;
/// Larger letters are parsed beside the runtime's threads: a megabyte takes about a millisecond.
const PARSE_ASIDE_BYTES: usize = 1024 * 1024;
/// Of a refused letter that is on its way already, this many times the limit is read and forgotten; a larger one ends
/// the connection.
const FORGOTTEN_TIMES: u64 = 2;

const EMPTY: &str = "the message is empty";
const TOO_LARGE: &str = "the message is larger than this server takes";

/// A letter that has come.
pub(crate) struct Upload {
    pub(crate) flags: Flags,
    pub(crate) received_unix_s: Option<i64>,
    pub(crate) bytes: Bytes,
}

/// What a command says up to the bytes of its next literal, or to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steps(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// A letter begins.
    Begin { flags: Flags, received_unix_s: Option<i64> },
    /// A piece that a message here has.
    Url(String),
    /// A piece that comes next; always the last step.
    Bytes(Announced),
    /// The letter is whole.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Announced {
    literal: LiteralHeader,
    /// A parenthesis follows it.
    utf8: bool,
    /// It is one of the pieces of the letter.
    piece: bool,
}

impl Steps {
    /// Takes the first letter, from the space before it.
    pub(crate) fn first(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut steps = Vec::new();
        let catenated = begin(p, &mut steps)?;
        if catenated {
            piece(p, &mut steps)?;
        }
        letters(p, &mut steps, catenated)?;
        Ok(Self(steps))
    }

    /// Takes what follows a literal, up to the next or to the end of the command.
    fn after(p: &mut Parser<'_>, announced: Announced) -> Parsed<Self> {
        let mut steps = Vec::new();
        if announced.utf8 {
            p.skip_spaces();
            p.need(b')', "a parenthesis, which ends a message in UTF-8")?;
        }
        if !announced.piece {
            steps.push(Step::End);
        }
        letters(p, &mut steps, announced.piece)?;
        p.end()?;
        Ok(Self(steps))
    }

    fn are_open(steps: &[Step]) -> bool {
        !matches!(steps.last(), Some(Step::Bytes(_)))
    }
}

/// Takes pieces and letters up to the next literal. `inside`: between the parentheses of CATENATE, behind a piece.
fn letters(p: &mut Parser<'_>, steps: &mut Vec<Step>, mut inside: bool) -> Parsed<()> {
    while Steps::are_open(steps) {
        if !inside {
            if !p.more() {
                return Ok(());
            }
            inside = begin(p, steps)?;
            if inside {
                piece(p, steps)?;
            }
            continue;
        }
        let spaces = p.skip_spaces();
        if p.take(b')') {
            steps.push(Step::End);
            inside = false;
        } else if spaces {
            piece(p, steps)?;
        } else {
            return p.wanted("a space or a closing parenthesis");
        }
    }
    Ok(())
}

/// What stands before the bytes of a letter; `true`: its pieces follow.
fn begin(p: &mut Parser<'_>, steps: &mut Vec<Step>) -> Parsed<bool> {
    let (mut flags, mut received_unix_s) = (Flags::default(), None);
    if p.peek() == Some(b'(') {
        flags = p.flag_list()?;
        p.sp()?;
    }
    if p.peek() == Some(b'"') {
        received_unix_s = Some(p.date_time()?.to_unix_s());
        p.sp()?;
    }
    steps.push(Step::Begin { flags, received_unix_s });
    if p.word("CATENATE") {
        p.sp()?;
        p.need(b'(', "an opening parenthesis")?;
        p.skip_spaces();
        return Ok(true);
    }
    let utf8 = p.word("UTF8");
    if utf8 {
        p.sp()?;
    }
    bytes(p, steps, utf8, false)?;
    Ok(false)
}

fn piece(p: &mut Parser<'_>, steps: &mut Vec<Step>) -> Parsed<()> {
    let which = p.one_of(&["URL", "TEXT", "UTF8"], "URL or TEXT")?;
    p.sp()?;
    if which > 0 {
        return bytes(p, steps, which == 2, true);
    }
    steps.push(Step::Url(p.astring_utf8()?));
    Ok(())
}

/// The announcement of bytes. Any are taken in every form.
fn bytes(p: &mut Parser<'_>, steps: &mut Vec<Step>, utf8: bool, piece: bool) -> Parsed<()> {
    if utf8 {
        p.need(b'(', "an opening parenthesis")?;
        p.skip_spaces();
    }
    p.take(b'~');
    let literal = p.literal_header()?;
    steps.push(Step::Bytes(Announced { literal, utf8, piece }));
    Ok(())
}

/// Reads the letters of a command to its end. `target` is where they go: when it is an error, or anything else is, they
/// are refused.
pub(crate) async fn receive<T>(
    session: &mut Session,
    first: Steps,
    target: Result<T, Error>,
    most: usize,
) -> Result<(T, Vec<Upload>), Error> {
    let limit = session.service.config.limits.message_bytes;
    let (target, refused) = match target {
        Ok(target) => (Some(target), None),
        Err(error) => (None, Some(error)),
    };
    let room_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let forgotten_bytes = u64::from(limit) * FORGOTTEN_TIMES;
    let (letters, pieces) = (Vec::new(), Vec::new());
    let mut receiving =
        Receiving { session, refused, letters, pieces, most, room_bytes, forgotten_bytes };
    let mut steps = first;
    while let Some(announced) = receiving.take(steps).await? {
        receiving.bytes(announced).await?;
        steps = receiving.follow(announced).await?;
    }
    match (receiving.refused, target) {
        (None, Some(target)) => Ok((target, receiving.letters)),
        (refused, _) => Err(refused.unwrap_or(Error::Bad("there is no mailbox"))),
    }
}

struct Receiving<'a> {
    session: &'a mut Session,
    /// Why nothing of it will be stored.
    refused: Option<Error>,
    letters: Vec<Upload>,
    /// Of the letter that is coming.
    pieces: Vec<Bytes>,
    most: usize,
    /// So much may still come, of all letters: they are in memory together.
    room_bytes: usize,
    /// So much more is read to be forgotten.
    forgotten_bytes: u64,
}

impl Receiving<'_> {
    /// Does what the steps say; gives back the literal that comes next, if one does.
    async fn take(&mut self, steps: Steps) -> Result<Option<Announced>, Error> {
        for step in steps.0 {
            match step {
                Step::Bytes(announced) => return Ok(Some(announced)),
                Step::Begin { flags, received_unix_s } if self.refused.is_none() => {
                    if self.letters.len() >= self.most {
                        self.refused = Some(too_many(self.most));
                        continue;
                    }
                    self.letters.push(Upload { flags, received_unix_s, bytes: Bytes::new() });
                }
                Step::Url(url) if self.refused.is_none() => {
                    let read = self.url(&url).await;
                    match read {
                        Ok(bytes) => self.keep(bytes),
                        Err(error @ Error::Stop(_)) => return Err(error),
                        Err(error) => self.refused = Some(error),
                    }
                }
                Step::End if self.refused.is_none() => self.end_letter(),
                Step::Begin { .. } | Step::Url(_) | Step::End => {}
            }
        }
        Ok(None)
    }

    async fn url(&mut self, url: &str) -> Result<Bytes, Error> {
        if self.pieces.len() >= PIECES {
            return Err(Error::no("LIMIT", TOO_MANY_PIECES));
        }
        // Boxed: few do it, and all sessions would wait with the room for it.
        let bytes = Box::pin(url::read(self.session, url, self.room_bytes)).await?;
        // A small piece of a large letter would keep all of it in memory.
        Ok(Bytes::copy_from_slice(&bytes))
    }

    /// Never more than there is room for.
    fn keep(&mut self, bytes: Bytes) {
        self.room_bytes = self.room_bytes.saturating_sub(bytes.len());
        self.pieces.push(bytes);
    }

    fn end_letter(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let whole = match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) => whole,
            Err(pieces) => pieces.concat().into(),
        };
        if whole.is_empty() {
            self.refused = Some(Error::no("CANNOT", EMPTY));
        }
        if let Some(letter) = self.letters.last_mut() {
            letter.bytes = whole;
        }
    }

    /// Reads a literal, or forgets it; an error ends the command.
    async fn bytes(&mut self, announced: Announced) -> Result<(), Error> {
        let LiteralHeader { size_bytes, waits } = announced.literal;
        if self.refused.is_none() {
            self.refused = self.why_not(announced);
        }
        let patience = self.session.patience();
        if self.refused.is_none() {
            if waits {
                self.session.wire.say("+ Send the message");
            }
            let bytes = self.session.wire.literal(size_bytes, patience).await?;
            self.keep(bytes);
            return Ok(());
        }
        // One that waits for `+` never comes.
        let comes = !waits && u64::from(size_bytes) <= self.forgotten_bytes;
        if !comes {
            if !waits {
                self.session.end("The message is too large");
            }
            return Err(self.refusal());
        }
        self.forgotten_bytes -= u64::from(size_bytes);
        self.session.wire.discard(size_bytes, patience).await?;
        Ok(())
    }

    /// What is wrong with a literal that is about to come.
    fn why_not(&self, announced: Announced) -> Option<Error> {
        let size = usize::try_from(announced.literal.size_bytes).unwrap_or(usize::MAX);
        if announced.utf8 && !self.session.utf8() {
            Some(Error::Bad("ENABLE UTF8=ACCEPT first"))
        } else if size == 0 && !announced.piece {
            Some(Error::no("CANNOT", EMPTY))
        } else if size > self.room_bytes && self.letters.len() > 1 {
            Some(Error::no("TOOBIG", "the messages are together larger than this server takes"))
        } else if size > self.room_bytes {
            Some(Error::no("TOOBIG", TOO_LARGE))
        } else if self.pieces.len() >= PIECES {
            Some(Error::no("LIMIT", TOO_MANY_PIECES))
        } else {
            None
        }
    }

    fn refusal(&mut self) -> Error {
        self.refused.take().unwrap_or(Error::Bad("the command was not read to its end"))
    }

    /// What the command says behind a literal.
    async fn follow(&mut self, announced: Announced) -> Result<Steps, Error> {
        let (limit, until) = (self.session.command_bytes(), self.session.until());
        let mut text = BytesMut::new();
        for _ in 0..LITERALS {
            let room = limit.saturating_sub(text.len());
            let Some(line) = self.session.wire.line(room, until).await? else { break };
            let literal = LiteralHeader::at_end_of(&line);
            text.extend_from_slice(&line);
            if literal.is_some() {
                text.extend_from_slice(
                    b"
",
                );
            }
            let mut p = Parser::new(&text);
            p.utf8 = self.session.utf8();
            let syntax = match Steps::after(&mut p, announced) {
                Ok(steps) => return Ok(steps),
                Err(syntax) => syntax,
            };
            match literal {
                Some(Ok(literal)) if syntax.expected == LITERAL_BYTES => {
                    let size = usize::try_from(literal.size_bytes).unwrap_or(usize::MAX);
                    if size > limit.saturating_sub(text.len()) {
                        break;
                    }
                    if literal.waits && self.refused.is_some() {
                        return Err(self.refusal());
                    }
                    if literal.waits {
                        self.session.wire.say("+ OK");
                    }
                    let patience = self.session.patience();
                    let bytes = self.session.wire.literal(literal.size_bytes, patience).await?;
                    text.extend_from_slice(&bytes);
                }
                // What comes next belongs to this command, and nobody knows how it goes on.
                Some(literal) if literal.is_err() || literal.is_ok_and(|l| !l.waits) => {
                    self.session.end("The command could not be read to its end");
                    return Err(syntax.into());
                }
                _ => return Err(syntax.into()),
            }
        }
        self.session.end("The command could not be read to its end");
        Err(Error::Bad("the command is too long"))
    }
}

const TOO_MANY_PIECES: &str = "the message has more pieces than this server puts together";

fn too_many(most: usize) -> Error {
    if most == 1 {
        Error::Bad("one message at a time")
    } else {
        Error::no("LIMIT", "more messages than this server takes at once")
    }
}

/// Parses a letter, a large one beside the runtime's threads.
pub(crate) async fn parse(bytes: Bytes) -> Letter {
    if bytes.len() < PARSE_ASIDE_BYTES {
        return Letter::parse(bytes);
    }
    let aside = bytes.clone();
    let parsed = tokio::task::spawn_blocking(move || Letter::parse(aside)).await;
    parsed.unwrap_or_else(|_| Letter::parse(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    /// In short: `b` a letter begins, `u` a URL, `3` a literal of so many bytes, `e` the letter ends.
    fn short(steps: &Steps) -> String {
        let say = |step: &Step| match step {
            Step::Begin { flags, received_unix_s: None } if flags.is_empty() => "b".to_owned(),
            Step::Begin { flags, received_unix_s } => format!("b({flags} {received_unix_s:?})"),
            Step::Url(url) => format!("u[{url}]"),
            Step::Bytes(bytes) => bytes.literal.size_bytes.to_string(),
            Step::End => "e".to_owned(),
        };
        steps.0.iter().map(say).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn how_a_command_begins() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let found = whole(text.as_bytes(), Steps::first).ok();
            assert_eq!(found.as_ref().map(short).as_deref(), expect, "{text}");
        }
        check(" {10}\r\n", Some("b 10"));
        check(" ~{10}\r\n", Some("b 10"));
        check(" (\\Seen)  \" 1-Jan-1970 00:00:05 +0000\"  {1+}\r\n", Some("b(\\Seen Some(5)) 1"));
        check(" utf8 ( ~{10+}\r\n", Some("b 10"));
        check(" UTF8 ~{10}\r\n", None);
        check(" \"text\"", None);
        check(" {10}\r\nx", None);
        check(" CATENATE (TEXT {3}\r\n", Some("b 3"));
        check(" catenate ( url \"/a/;uid=1\"  TEXT ~{3+}\r\n", Some("b u[/a/;uid=1] 3"));
        check(" (\\Draft) CATENATE (URL a URL {1}\r\nb)", Some("b(\\Draft None) u[a] u[b] e"));
        check(" CATENATE (URL a) CATENATE (URL b) {5}\r\n", Some("b u[a] e b u[b] e b 5"));
        check(" CATENATE (URL a UTF8 (~{3}\r\n", Some("b u[a] 3"));
        check(" CATENATE ()", None);
        check(" CATENATE (URL a", None);
        check(" CATENATE (URL a)x", None);
        check(" CATENATE (TEXT \"a\")", None);
        check(" CATENATE (\"a\")", None);
        check(" CATENATE URL a", None);
    }

    #[test]
    fn how_it_goes_on() {
        #[track_caller]
        fn check(text: &str, utf8: bool, piece: bool, expect: Option<&str>) {
            let literal = LiteralHeader { size_bytes: 1, waits: true };
            let after = Announced { literal, utf8, piece };
            let found = Steps::after(&mut Parser::new(text.as_bytes()), after).ok();
            assert_eq!(found.as_ref().map(short).as_deref(), expect, "{text}");
        }
        check("", false, false, Some("e"));
        check("  ", false, false, Some("e"));
        check(" )", true, false, Some("e"));
        check(" (\\Seen) {7}\r\n", false, false, Some("e b(\\Seen None) 7"));
        check(" CATENATE (URL a)", false, false, Some("e b u[a] e"));
        check(")", false, true, Some("e"));
        check(" URL a TEXT {7}\r\n", false, true, Some("u[a] 7"));
        check(") URL a)", true, true, Some("u[a] e"));
        check("))", true, true, Some("e"));
        check("", true, false, None);
        check("", false, true, None);
        check("URL a)", false, true, None);
        check("x", false, false, None);
        check(" x", false, false, None);
        check(")", false, false, None);
    }

    /// As many letters as a line can hold, without deep recursion.
    #[test]
    fn very_many() {
        let text = " CATENATE (URL a)".repeat(50_000);
        let steps = whole(text.as_bytes(), Steps::first).unwrap();
        assert_eq!(steps.0.len(), 150_000);
    }
}
