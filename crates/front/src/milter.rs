//! The milter protocol, versions 2 to 6, the side of the filter (the source of libmilter, `mfdef.h`), as Postfix and
//! Sendmail speak it (`smtpd_milters`).
//!
//! ```text
//! packet  = length (4 octets, of what follows) command (1 octet) data
//! server: OPTNEG  CONNECT  HELO  {MAIL  RCPT...  HEADER...  EOH  BODY...  BODYEOB}...  QUIT, with MACROs before each
//! filter: OPTNEG  CONTINUE...  and to BODYEOB: changes, then CONTINUE / REPLYCODE
//! ```

use crate::asked::{self, Asked};
use antispam::{Action, Verdict};
use bytes::BytesMut;
use filter::{Filter, Judgement};
use mparser::Message;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;
use types::{Limits, Peer};

/// Fields that only we may write: what a letter brings of them is removed.
const OURS: &[&str] = &["X-Spam", "X-Spam-Status"];

/// Pieces of a body have 64 KB, and Postfix cuts fields at 100 KB (`header_size_limit`).
const PACKET_BYTES: usize = 1 << 20;
/// Postfix waits five minutes for the last answer (`milter_content_timeout`).
const CHECK_TIMEOUT: Duration = Duration::from_mins(1);
const OLDEST: u32 = 2;
const NEWEST: u32 = 6;

/// Of each so many; no honest letter brings any, and Postfix looks through the header again for each.
const OURS_MOST: u32 = 20;

const FORGED: &[u8] = b"550 5.6.0 this letter has too many X-Spam fields of its own";
const REFUSED: &[u8] = b"550 5.7.1 this letter looks like spam";
const COME_AGAIN: &[u8] =
    b"451 4.7.1 come again in a few minutes; mail from there is not known here yet";
const LATER: &[u8] = b"451 4.7.1 the spam filter cannot say at the moment, try later";

// SMFIF_: what we may change.
const MAY_ADD: u32 = 0x01;
const MAY_CHANGE: u32 = 0x10;

// SMFIP_: what we need not be told, and what is not answered.
const NO_UNKNOWN: u32 = 0x100;
const NO_DATA: u32 = 0x200;
const LEADING_SPACE: u32 = 0x10_0000;
/// The commands that are not answered when both sides agree, and their bits.
static UNANSWERED: &[(u8, u32)] = &[
    (b'B', 0x8_0000),
    (b'C', 0x1000),
    (b'H', 0x2000),
    (b'L', 0x80),
    (b'M', 0x4000),
    (b'N', 0x4_0000),
    (b'R', 0x8000),
];

/// Letters of a server in front that it asks about while its client waits.
pub struct Milter {
    filter: Filter,
    letter_bytes: usize,
    recipients: usize,
    idle_timeout: Duration,
    write_timeout: Duration,
}

impl Milter {
    pub fn new(filter: Filter, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            filter,
            letter_bytes: usize::try_from(limits.message_bytes).unwrap_or(usize::MAX),
            recipients: usize::try_from(limits.recipients).unwrap_or(usize::MAX),
            idle_timeout: Duration::from_millis(limits.idle_timeout_ms),
            write_timeout: Duration::from_millis(limits.write_timeout_ms),
        })
    }

    /// One connection, until its end. Who is not on this machine is not answered.
    pub async fn run<S>(self: Arc<Self>, stream: S, peer: Peer, mut shutdown: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !peer.private {
            tracing::warn!(ip = %peer.ip, "only mail servers on this machine may ask the milter; closed");
            return;
        }
        tokio::select! {
            ended = self.talk(stream) => tracing::debug!(?ended, "milter connection ended"),
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut session = Session::new(self.letter_bytes, self.recipients);
        let mut packet = Vec::new();
        loop {
            if !timeout(self.idle_timeout, read(&mut stream, &mut packet)).await?? {
                return Ok(());
            }
            let Some((command, data)) = packet.split_first() else { return Ok(()) };
            let out = match session.hear(*command, data) {
                Heard::Nothing => continue,
                Heard::Close => return Ok(()),
                Heard::Reply(out) => out,
                Heard::Letter => {
                    let (asked, ours) = session.letter();
                    let judged = timeout(CHECK_TIMEOUT, self.judge(asked)).await.ok().flatten();
                    if judged.as_ref().is_some_and(|judged| judged.later) {
                        not_taken(COME_AGAIN)
                    } else {
                        session.answer(judged.as_ref().map(|judged| &judged.verdict), &ours)
                    }
                }
            };
            timeout(self.write_timeout, stream.write_all(&out)).await??;
        }
    }

    async fn judge(&self, asked: Asked) -> Option<Judgement> {
        let filter = self.filter.clone();
        let looked = filter.look(&asked.connection(), &asked.letter).await;
        // A letter may take some milliseconds.
        let judged = tokio::task::spawn_blocking(move || {
            let message = Message::parse(&asked.letter);
            filter.judge(&asked.connection(), &looked, &message)
        });
        judged.await.inspect_err(|error| tracing::error!(%error, "a letter was not judged")).ok()
    }
}

/// `false`: the other side has closed.
async fn read<R: AsyncRead + Unpin>(from: &mut R, packet: &mut Vec<u8>) -> io::Result<bool> {
    let length = match from.read_u32().await {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    if !(1..=PACKET_BYTES).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no packet of a milter"));
    }
    packet.clear();
    packet.resize(length, 0);
    from.read_exact(packet).await?;
    Ok(true)
}

fn put(out: &mut Vec<u8>, command: u8, parts: &[&[u8]]) {
    let length: usize = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.push(command);
    for part in parts {
        out.extend(*part);
    }
}

/// The letter is answered with this line instead of being taken.
fn not_taken(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, b'y', &[line, b"\0"]);
    out
}

/// What a packet asks of us.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Reply(Vec<u8>),
    /// All of a letter is there.
    Letter,
    Close,
}

/// What was said on a connection.
struct Session {
    letter_bytes: usize,
    most_recipients: usize,
    agreed: u32,
    may: u32,
    /// Of the connection; the rest belongs to one letter.
    connection: Asked,
    asked: Asked,
    letter: BytesMut,
    /// How often each of [`OURS`] stood in the letter.
    ours: [u32; OURS.len()],
}

impl Session {
    fn new(letter_bytes: usize, most_recipients: usize) -> Self {
        Self {
            letter_bytes,
            most_recipients,
            agreed: 0,
            may: 0,
            connection: Asked::default(),
            asked: Asked::default(),
            letter: BytesMut::new(),
            ours: [0; OURS.len()],
        }
    }

    fn hear(&mut self, command: u8, data: &[u8]) -> Heard {
        match command {
            b'O' => return self.options(data),
            b'D' => {
                self.macros(data);
                return Heard::Nothing;
            }
            b'A' => {
                self.forget_letter();
                return Heard::Nothing;
            }
            // The next client over the same connection.
            b'K' => {
                self.connection = Asked::default();
                self.forget_letter();
                return Heard::Nothing;
            }
            b'E' => {
                self.keep(data);
                return Heard::Letter;
            }
            b'C' => self.connection.client_ip = client_ip(data),
            b'H' => self.connection.helo = text(data).next().unwrap_or_default(),
            b'M' => {
                let (id, user) = (std::mem::take(&mut self.asked.id), self.asked.user.take());
                self.forget_letter();
                // Macros come before the command they belong to.
                (self.asked.id, self.asked.user) = (id, user);
                self.asked.sender = text(data).next().and_then(|said| asked::address(&said));
            }
            b'R' => self.recipient(data),
            b'L' => self.field(data),
            b'N' => self.keep(b"\r\n"),
            b'B' => self.keep(data),
            // DATA, and commands the front does not know: we did not want to be told.
            b'T' | b'U' => {}
            // QUIT, and what is no milter.
            _ => return Heard::Close,
        }
        let silent = UNANSWERED.iter().any(|(of, bit)| *of == command && self.agreed & bit != 0);
        if silent { Heard::Nothing } else { Heard::Reply(say_continue()) }
    }

    fn options(&mut self, data: &[u8]) -> Heard {
        let number = |at: usize| data.get(at..at + 4).and_then(|b| b.first_chunk::<4>().copied());
        let (Some(version), Some(may), Some(offered)) = (number(0), number(4), number(8)) else {
            return Heard::Close;
        };
        let version = u32::from_be_bytes(version).min(NEWEST);
        if version < OLDEST {
            return Heard::Close;
        }
        let wanted =
            UNANSWERED.iter().fold(NO_UNKNOWN | NO_DATA | LEADING_SPACE, |all, (_, b)| all | b);
        self.agreed = u32::from_be_bytes(offered) & wanted;
        self.may = u32::from_be_bytes(may) & (MAY_ADD | MAY_CHANGE);
        let mut out = Vec::new();
        let numbers = [version, self.may, self.agreed].map(u32::to_be_bytes);
        put(&mut out, b'O', &numbers.each_ref().map(<[u8; 4]>::as_slice));
        Heard::Reply(out)
    }

    fn macros(&mut self, data: &[u8]) {
        let mut words = text(data.get(1..).unwrap_or_default());
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name.trim_matches(['{', '}']) {
                "tls_version" => self.connection.tls = !value.is_empty(),
                "i" => self.asked.id = asked::name(&value),
                "auth_authen" if !value.is_empty() => self.asked.user = Some(value),
                _ => {}
            }
        }
    }

    fn recipient(&mut self, data: &[u8]) {
        let recipient = text(data).next().and_then(|said| asked::address(&said));
        if self.asked.recipients.len() < self.most_recipients {
            self.asked.recipients.extend(recipient);
        }
    }

    fn field(&mut self, data: &[u8]) {
        let mut parts = data.split(|byte| *byte == 0);
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        let found = OURS.iter().position(|ours| ours.as_bytes().eq_ignore_ascii_case(name));
        if let Some(count) = found.and_then(|at| self.ours.get_mut(at)) {
            *count = count.saturating_add(1);
            // It will be removed, so it is not judged.
            return;
        }
        self.keep(name);
        self.keep(if self.agreed & LEADING_SPACE == 0 { b": " } else { b":" });
        for (number, line) in value.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                self.keep(b"\r\n");
            }
            self.keep(line.strip_suffix(b"\r").unwrap_or(line));
        }
        self.keep(b"\r\n");
    }

    /// What is longer than our limit is judged by its beginning: the front has its own limit, and takes it.
    fn keep(&mut self, bytes: &[u8]) {
        let room = self.letter_bytes.saturating_sub(self.letter.len());
        self.letter.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn forget_letter(&mut self) {
        self.asked = Asked::default();
        self.letter.clear();
        self.ours = [0; OURS.len()];
    }

    fn letter(&mut self) -> (Asked, [u32; OURS.len()]) {
        let mut asked = std::mem::take(&mut self.asked);
        asked.client_ip = self.connection.client_ip;
        asked.tls = self.connection.tls;
        asked.helo.clone_from(&self.connection.helo);
        asked.letter = self.letter.split().freeze();
        let ours = self.ours;
        self.forget_letter();
        (asked, ours)
    }

    /// Without a verdict the letter may come again.
    fn answer(&self, verdict: Option<&Verdict>, ours: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(verdict) = verdict.filter(|verdict| verdict.action != Action::Refuse) else {
            return not_taken(if verdict.is_some() { REFUSED } else { LATER });
        };
        if ours.iter().any(|count| *count > OURS_MOST) {
            return not_taken(FORGED);
        }
        if self.may & MAY_CHANGE != 0 {
            for (name, count) in OURS.iter().zip(ours) {
                // From the last, so that the numbers of the others stay.
                for number in (1..=*count).rev() {
                    put(&mut out, b'm', &[&number.to_be_bytes(), name.as_bytes(), b"\0\0"]);
                }
            }
        }
        if self.may & MAY_ADD != 0 {
            let space = if self.agreed & LEADING_SPACE == 0 { "" } else { " " };
            let status = verdict.header_value().replace("\r\n", "\n");
            let yes = (verdict.action == Action::Junk).then(|| ("X-Spam", "Yes".to_owned()));
            for (name, value) in [("X-Spam-Status", status)].into_iter().chain(yes) {
                let value = format!("{space}{value}");
                let top = 0u32.to_be_bytes();
                put(&mut out, b'i', &[&top, name.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
            }
        }
        out.extend(say_continue());
        out
    }
}

fn say_continue() -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, b'c', &[]);
    out
}

/// The strings of a packet, each ended by an octet of zero.
fn text(data: &[u8]) -> impl Iterator<Item = String> {
    let pieces = data.split(|byte| *byte == 0);
    pieces.map(|piece| String::from_utf8_lossy(piece).into_owned())
}

/// `name NUL family port(2) address NUL`; families other than `4` and `6` have none.
fn client_ip(data: &[u8]) -> Option<std::net::IpAddr> {
    let after_name = data.iter().position(|byte| *byte == 0)? + 1;
    let (family, rest) = data.get(after_name..)?.split_first()?;
    if !matches!(family, b'4' | b'6') {
        return None;
    }
    asked::ip(&text(rest.get(2..)?).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let mut session = Session::new(1000, 2);
        let all = [6u32, 0x1ff, 0x1f_ffff].map(u32::to_be_bytes).concat();
        let heard = session.hear(b'O', &all);
        let Heard::Reply(out) = heard else { panic!("{heard:?}") };
        assert_eq!(out, b"\0\0\0\x0dO\0\0\0\x06\0\0\0\x11\0\x1c\xf3\x80");
        session
    }

    fn say(session: &mut Session, packets: &[(u8, &[u8])]) {
        for (command, data) in packets {
            assert_eq!(session.hear(*command, data), Heard::Nothing, "{}", char::from(*command));
        }
    }

    #[test]
    fn a_letter() {
        let mut session = session();
        let packets: &[(u8, &[u8])] = &[
            (b'D', b"Cj\0mx\0"),
            (b'C', b"client.test\x006\x04\xd2IPv6:2001:db8::7\0"),
            (b'H', b"client.test\0"),
            (b'D', b"M{auth_authen}\0bob\0"),
            (b'M', b"<a@other.test>\0SIZE=3\0"),
            (b'D', b"Ri\x004Xq1\0"),
            (b'R', b"<x@example.test>\0"),
            (b'R', b"<y@example.test>\0"),
            (b'R', b"<z@example.test>\0"),
            (b'L', b"Subject\0 one\n two\0"),
            (b'L', b"x-spam\0 No\0"),
            (b'N', b""),
            (b'B', b"body\r\n"),
        ];
        say(&mut session, packets);
        assert_eq!(session.hear(b'E', b"end"), Heard::Letter);
        let (asked, ours) = session.letter();
        assert_eq!(asked.client_ip, Some("2001:db8::7".parse().unwrap()));
        assert_eq!((asked.helo.as_str(), asked.id.as_str()), ("client.test", "4Xq1"));
        assert_eq!((asked.user.as_deref(), asked.recipients.len()), (Some("bob"), 2));
        assert_eq!(asked.sender.unwrap().to_string(), "a@other.test");
        assert_eq!(asked.letter, "Subject: one\r\n two\r\n\r\nbody\r\nend");
        assert_eq!(ours, [1, 0]);
        // What was said of the connection stays, what belongs to the letter does not.
        say(&mut session, &[(b'M', b"<>\0"), (b'B', &[b'x'; 2000])]);
        assert_eq!(session.hear(b'E', b""), Heard::Letter);
        let (asked, ours) = session.letter();
        assert!(asked.client_ip.is_some() && asked.id.is_empty() && asked.user.is_none());
        assert!(asked.sender.is_none() && asked.recipients.is_empty());
        assert_eq!((asked.letter.len(), ours), (1000, [0, 0]));
    }

    #[test]
    fn answers() {
        #[track_caller]
        fn check(action: Option<Action>, expect: &[u8]) {
            let verdict =
                |action| Verdict { action, score: 7.0, required: 6.0, symbols: Vec::new() };
            let found = session().answer(action.map(verdict).as_ref(), &[2, 0]);
            assert_eq!(found, expect, "{}", String::from_utf8_lossy(&found));
        }
        let removed = b"\0\0\0\x0dm\0\0\0\x02X-Spam\0\0\0\0\0\x0dm\0\0\0\x01X-Spam\0\0";
        let status = |yes| {
            let value = format!("X-Spam-Status\0 {yes}, score=7.0 required=6.0 tests=none\0");
            [&[0, 0, 0, u8::try_from(value.len() + 5).unwrap()][..], b"i\0\0\0\0", value.as_bytes()]
                .concat()
        };
        let go_on = b"\0\0\0\x01c";
        let said = b"\0\0\0\x11i\0\0\0\0X-Spam\0 Yes\0";
        check(Some(Action::Junk), &[removed, &*status("Yes"), said, go_on].concat());
        check(Some(Action::Accept), &[removed, &*status("No"), go_on].concat());
        check(Some(Action::Refuse), b"\0\0\0\x27y550 5.7.1 this letter looks like spam\0");
        let wanted =
            Verdict { action: Action::Accept, score: 0.0, required: 6.0, symbols: Vec::new() };
        let forged = session().answer(Some(&wanted), &[0, OURS_MOST + 1]);
        assert!(forged.get(4..).unwrap().starts_with(b"y550 5.6.0 "), "{forged:?}");
        check(None, b"\0\0\0\x3fy451 4.7.1 the spam filter cannot say at the moment, try later\0");
    }

    #[test]
    fn an_old_server_is_answered_at_each_step() {
        let mut session = Session::new(1000, 2);
        let old = [2u32, 0x1, 0].map(u32::to_be_bytes).concat();
        assert!(matches!(session.hear(b'O', &old), Heard::Reply(_)));
        assert_eq!(session.hear(b'H', b"x\0"), Heard::Reply(b"\0\0\0\x01c".to_vec()));
        assert_eq!(session.hear(b'O', b"\0\0"), Heard::Close);
        assert_eq!(session.hear(b'Z', b""), Heard::Close);
        for damaged in [&b""[..], b"\0", b"a\x004", b"a\x004\0\0", b"a\x00L\0\0/run/x\0"] {
            assert_eq!(client_ip(damaged), None);
            for command in *b"CHMRLNBDA" {
                assert_ne!(session.hear(command, damaged), Heard::Close);
            }
        }
    }
}
