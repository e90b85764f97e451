//! The pieces of a FETCH answer: the table of items, and how a row is written.

pub(crate) mod bodystructure;
mod envelope;
mod items;
mod section;

pub(crate) use items::{Item, items};
pub(crate) use section::{Form, Piece, Section, Wanted, read};

use crate::session::Session;
use crate::wire::Stop;
use crate::{encode, noted};
use storage::{Email, Message};
use types::{Date, Flag, Flags};

/// `* 3 ` and what follows.
pub(crate) fn response(out: &mut Vec<u8>, number: u32, rest: &str) {
    out.extend_from_slice(b"* ");
    encode::number(out, number.into());
    out.push(b' ');
    out.extend_from_slice(rest.as_bytes());
}

/// `* 3 FETCH (`; where messages have no numbers (RFC 9586 §3.6) `* 25 UIDFETCH (`, 25 being the UID. `with_uid`: the
/// UID and a space follow, if it has not been said.
fn begin(session: &mut Session, number: u32, message: &Message, with_uid: bool) {
    let uid_only = session.enabled.uid_only;
    let out = session.wire.out();
    if uid_only {
        return response(out, message.uid.get(), "UIDFETCH (");
    }
    response(out, number, "FETCH (");
    if with_uid {
        uid(out, message);
        out.push(b' ');
    }
}

/// `* 3 FETCH (FLAGS (\Seen))` for each row that the client knows; with the MODSEQ when it asked for CONDSTORE, and
/// the UID with QRESYNC (RFC 7162 §3.1, §3.2.4) and `IMAP4rev2` (RFC 9051 §7.5.2).
pub(crate) async fn say_flags(
    session: &mut Session,
    rows: &[Message],
    with_uid: bool,
) -> Result<(), Stop> {
    let enabled = session.enabled;
    for row in rows {
        let number = session.selected.as_ref().and_then(|s| s.number_of(row.uid));
        let Some(number) = number else { continue };
        let own_seen = session.selected.as_ref().and_then(|s| s.own_seen(row.uid));
        begin(session, number, row, with_uid || enabled.qresync || enabled.rev2);
        let out = session.wire.out();
        flags(out, &row.flags, own_seen);
        if enabled.condstore {
            named_number(out, " MODSEQ (", row.modseq.0, ")");
        }
        out.extend_from_slice(b")\r\n");
        session.wire.relieve().await?;
    }
    Ok(())
}

/// `* 3 FETCH (MODSEQ (12))` for each row: what STORE says when its flags are not to be repeated.
pub(crate) async fn say_modseqs(
    session: &mut Session,
    rows: &[Message],
    with_uid: bool,
) -> Result<(), Stop> {
    let with_uid = with_uid || session.enabled.qresync || session.enabled.rev2;
    for row in rows {
        let number = session.selected.as_ref().and_then(|s| s.number_of(row.uid));
        let Some(number) = number else { continue };
        begin(session, number, row, with_uid);
        let out = session.wire.out();
        named_number(out, "MODSEQ (", row.modseq.0, "))\r\n");
        session.wire.relieve().await?;
    }
    Ok(())
}

/// A message with what its items need: its email, and the bytes of each section, in order.
pub(crate) struct Row<'a> {
    pub(crate) number: u32,
    pub(crate) message: &'a Message,
    pub(crate) email: Option<&'a Email>,
    pub(crate) sections: Vec<Piece>,
}

/// One FETCH response. Sections that are long go out at once.
pub(crate) async fn say_row(
    session: &mut Session,
    items: &[Item],
    row: Row<'_>,
) -> Result<(), Stop> {
    begin(session, row.number, row.message, false);
    let (mut sections, utf8) = (row.sections.into_iter(), session.utf8());
    let own_seen = session.selected.as_ref().and_then(|s| s.own_seen(row.message.uid));
    for (i, item) in items.iter().enumerate() {
        let out = session.wire.out();
        if i > 0 {
            out.push(b' ');
        }
        if let Item::Section(section) = item {
            out.extend_from_slice(section.label.as_bytes());
            out.push(b' ');
            match sections.next().unwrap_or(Piece::Missing) {
                Piece::Bytes(bytes) => {
                    if section.form == Form::Decoded && bytes.contains(&0) {
                        // A literal of other bytes than CHAR8 (RFC 9051 §9 `literal8`).
                        out.push(b'~');
                    }
                    encode::literal_header(out, bytes.len());
                    session.wire.write(&bytes).await?;
                }
                Piece::Size(size_bytes) => encode::number(out, size_bytes),
                Piece::Missing if section.form == Form::DecodedSize => out.push(b'0'),
                Piece::Missing => out.extend_from_slice(b"NIL"),
            }
        } else {
            let about = About { message: row.message, own_seen, email: row.email, utf8 };
            write_item(out, item, about);
        }
    }
    session.wire.out().extend_from_slice(b")\r\n");
    session.wire.relieve().await
}

/// What an item is written from.
#[derive(Clone, Copy)]
struct About<'a> {
    message: &'a Message,
    /// [`crate::selected::Selected::own_seen`]
    own_seen: Option<bool>,
    email: Option<&'a Email>,
    utf8: bool,
}

fn write_item(out: &mut Vec<u8>, item: &Item, about: About<'_>) {
    let About { message, own_seen, email, utf8 } = about;
    let global = |email: &Email| utf8 && bodystructure::has_global(&email.index);
    match (item, email) {
        (Item::Flags, _) => flags(out, &message.flags, own_seen),
        (Item::Uid, _) => uid(out, message),
        (Item::InternalDate, _) => {
            out.extend_from_slice(b"INTERNALDATE \"");
            out.extend_from_slice(Date::from_unix_s(message.received_unix_s).imap().as_bytes());
            out.push(b'"');
        }
        (Item::SaveDate, _) => {
            out.extend_from_slice(b"SAVEDATE \"");
            out.extend_from_slice(Date::from_unix_s(message.saved_unix_s).imap().as_bytes());
            out.push(b'"');
        }
        (Item::Size, _) => named_number(out, "RFC822.SIZE ", message.size_bytes.into(), ""),
        (Item::EmailId, _) => named_number(out, "EMAILID (M", message.email.0, ")"),
        (Item::ModSeq, _) => named_number(out, "MODSEQ (", message.modseq.0, ")"),
        (Item::ThreadId, Some(email)) => named_number(out, "THREADID (T", email.thread.0, ")"),
        (Item::Envelope, Some(email)) => {
            out.extend_from_slice(b"ENVELOPE ");
            envelope::write(out, &email.index.envelope);
        }
        (Item::Body, Some(email)) => {
            out.extend_from_slice(b"BODY ");
            bodystructure::write_for(out, &email.index, false, global(email));
        }
        (Item::BodyStructure, Some(email)) if global(email) => {
            out.extend_from_slice(b"BODYSTRUCTURE ");
            bodystructure::write_for(out, &email.index, true, true);
        }
        (Item::BodyStructure, Some(email)) => {
            out.extend_from_slice(b"BODYSTRUCTURE ");
            noted::structure(out, email);
        }
        (Item::Preview, Some(email)) => {
            out.extend_from_slice(b"PREVIEW ");
            encode::string(out, &email.index.preview);
        }
        // Sections are written by the caller; the rest is never asked without its email.
        (
            Item::Section(_)
            | Item::ThreadId
            | Item::Envelope
            | Item::Body
            | Item::BodyStructure
            | Item::Preview,
            _,
        ) => {}
    }
}

/// `own_seen` stands for `\Seen`, where that is each user's own.
fn flags(out: &mut Vec<u8>, flags: &Flags, own_seen: Option<bool>) {
    out.extend_from_slice(b"FLAGS (");
    let empty = out.len();
    let mut add = |name: &str| {
        if out.len() > empty {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    };
    match own_seen {
        None => flags.system().for_each(|flag| add(flag.name())),
        Some(seen) => {
            let has = |flag: &Flag| if *flag == Flag::Seen { seen } else { flags.contains(*flag) };
            Flag::ALL.into_iter().filter(has).for_each(|flag| add(flag.name()));
        }
    }
    flags.keywords().iter().for_each(|keyword| add(keyword.as_str()));
    out.push(b')');
}

fn uid(out: &mut Vec<u8>, message: &Message) {
    named_number(out, "UID ", message.uid.get().into(), "");
}

fn named_number(out: &mut Vec<u8>, name: &str, n: u64, after: &str) {
    out.extend_from_slice(name.as_bytes());
    encode::number(out, n);
    out.extend_from_slice(after.as_bytes());
}
