//! SELECT (RFC 9051 §6.3.2) and EXAMINE (§6.3.3).
//!
//! ```text
//! select  = "SELECT" SP mailbox [SP "(" select-param *(SP select-param) ")"]
//! examine = "EXAMINE" SP mailbox [SP "(" select-param *(SP select-param) ")"]
//! ```

use super::list;
use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::resync::{self, Opening};
use crate::selected::{Selected, Shared};
use crate::session::Session;
use crate::sharing::{self, Rights};
use crate::wire::Wire;
use storage::{Glance, Mailbox, View};
use types::{Flag, Flags, UidSet};

/// Keywords in use that are shown; a client may use others all the same (`\*`).
const KEYWORDS: usize = 100;
/// Messages of a mailbox that is read when it is opened: it takes a millisecond. Of a larger one, the counters
/// answer, unless somebody has read it before.
const READ_AT_ONCE: u64 = 2_000;

/// With none of these SELECT answers READ-ONLY. `\Seen` is each user's own (RFC 4314 §5.2).
const SHARED_CHANGES: Rights =
    Rights::INSERT.with(Rights::EXPUNGE).with(Rights::WRITE).with(Rights::DELETED);

pub(crate) struct Select(String, Opening);
pub(crate) struct Examine(String, Opening);

impl Verb for Select {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        Ok(Self(p.mailbox()?, Opening::parse(p)?))
    }

    async fn run(self, session: &mut Session) -> Answer {
        let rights = open(session, &self.0, &self.1, false).await?;
        if !rights.has_any(SHARED_CHANGES) {
            return Ok(Done::with(
                "READ-ONLY".to_owned(),
                "Mailbox selected, you may only read it",
            ));
        }
        Ok(Done::with("READ-WRITE".to_owned(), "Mailbox selected"))
    }
}

impl Verb for Examine {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        Ok(Self(p.mailbox()?, Opening::parse(p)?))
    }

    async fn run(self, session: &mut Session) -> Answer {
        open(session, &self.0, &self.1, true).await?;
        Ok(Done::with("READ-ONLY".to_owned(), "Mailbox selected, nothing in it will be changed"))
    }
}

async fn open(
    session: &mut Session,
    name: &str,
    opening: &Opening,
    read_only: bool,
) -> Result<Rights, Error> {
    if opening.known.is_some() && !session.enabled.qresync {
        return Err(Error::Bad("ENABLE QRESYNC first"));
    }
    // Even a failed SELECT leaves the mailbox selected before.
    let enabled = session.enabled;
    if session.selected.take().is_some() && (enabled.qresync || enabled.rev2) {
        // RFC 7162 §3.2.11, RFC 9051 §6.3.2: what follows is of the new one.
        session.wire.say("* OK [CLOSED] The mailbox before is left");
    }
    session.enabled.condstore |= opening.condstore;
    // One who remembers the mailbox is told what changed, which takes the list.
    let most = if opening.known.is_some() { u64::MAX } else { READ_AT_ONCE };
    let (Glance { mailbox, state, view }, shared) = if sharing::is_others(name) {
        Box::pin(of_others(session, name)).await?
    } else {
        (session.store().glance(session.account()?, name, most).await?, None)
    };
    let rights = shared.as_ref().map_or(Rights::ALL, |shared| shared.rights);
    let seen = shared.as_ref().map(|shared| &shared.seen);

    let flags = view.as_deref().map_or_else(|| Flags::new(&Flag::ALL), flags_in_use);
    session.wire.say(&format!("* FLAGS ({flags})"));
    session.wire.say(&format!("* {} EXISTS", mailbox.total));
    if !enabled.rev2 {
        session.wire.say("* 0 RECENT");
    }
    // It names a message by number (RFC 9586 §3.1), and IMAP4rev2 knows it no more.
    let unseen = first_unseen(&mailbox, view.as_deref(), seen);
    if let Some(number) = unseen.filter(|_| !enabled.rev2 && !enabled.uid_only) {
        session.wire.say(&format!("* OK [UNSEEN {number}] The first one not read"));
    }
    say_permanent(&mut session.wire, &flags, read_only, rights);
    session.wire.say(&format!("* OK [UIDVALIDITY {}] UIDs are valid", mailbox.uid_validity));
    let uid_next = super::status::uid_next(&mailbox);
    session.wire.say(&format!("* OK [UIDNEXT {uid_next}] The next UID"));
    session.wire.say(&format!("* OK [HIGHESTMODSEQ {}] The last change", mailbox.modseq));
    session.wire.say(&format!("* OK [MAILBOXID (F{})] Its id", mailbox.id));
    if enabled.rev2 {
        list::one(session, &mailbox, name).await?;
    }
    let Some(view) = view else {
        session.selected = Some(Selected::unread(&mailbox, read_only, state));
        return Ok(rights);
    };
    let selected = Selected::new(mailbox.id, read_only, view.uids(), view.state());
    session.selected = Some(selected.of(shared));
    if let Some(known) = &opening.known {
        resync::catch_up(session, &view, known).await?;
    }
    Ok(rights)
}

/// A mailbox of another account, always with its list.
async fn of_others(
    session: &mut Session,
    name: &str,
) -> Result<(Glance, Option<Box<Shared>>), Error> {
    let named = session.named(name, Rights::READ).await?;
    let (account, mailbox, store) = (named.account, named.mailbox.id, session.store());
    // First, so that nothing is missed that happens after what is read now.
    let mut watch = store.watch(account);
    let checked = watch.seen();
    let rights = session.named(name, Rights::READ).await?.rights;
    let seen = store.seen_by(account, mailbox, session.account()?).await?;
    let view = store.view(account, mailbox).await?;
    let state = view.state();
    let name = named.mailbox.name;
    let mailbox = Mailbox { name: name.clone(), ..view.mailbox().clone() };
    let shared = Shared { account, name, rights, watch, checked, seen };
    Ok((Glance { mailbox, state, view: Some(view) }, Some(Box::new(shared))))
}

/// FLAGS and PERMANENTFLAGS of a mailbox of another account, when what one may do with it has changed.
pub(crate) fn say_flags(session: &mut Session, view: &View) {
    let (rights, flags) = (session.rights(), flags_in_use(view));
    let read_only = session.selected.as_ref().is_some_and(|selected| selected.read_only);
    session.wire.say(&format!("* FLAGS ({flags})"));
    say_permanent(&mut session.wire, &flags, read_only, rights);
}

/// The keywords in use, when they are known only after the mailbox was opened (RFC 9051 §7.3.5).
pub(crate) fn say_keywords(wire: &mut Wire, view: &View, read_only: bool) {
    let flags = flags_in_use(view);
    if !flags.keywords().is_empty() {
        wire.say(&format!("* FLAGS ({flags})"));
        // The list of another's mailbox is read when it is opened.
        say_permanent(wire, &flags, read_only, Rights::ALL);
    }
}

fn say_permanent(wire: &mut Wire, flags: &Flags, read_only: bool, rights: Rights) {
    let mut permanent = String::new();
    if !read_only {
        permanent = rights.allowed(flags).to_string();
        if rights.has(Rights::WRITE) {
            permanent.push_str(" \\*");
        }
    }
    wire.say(&format!("* OK [PERMANENTFLAGS ({permanent})] Flags that are kept"));
}

/// Its number. Where it cannot be told without reading the mailbox it is left out, and a client searches for it
/// (RFC 3501 §7.1).
fn first_unseen(mailbox: &Mailbox, view: Option<&View>, seen: Option<&UidSet>) -> Option<usize> {
    match view {
        Some(view) if let Some(seen) = seen => {
            view.uids().iter().position(|uid| !seen.contains(*uid)).map(|at| at + 1)
        }
        Some(view) => view.first_unseen().map(|at| at + 1),
        None => (mailbox.unseen > 0 && mailbox.unseen == mailbox.total).then_some(1),
    }
}

fn flags_in_use(view: &View) -> Flags {
    let mut flags = Flags::new(&Flag::ALL);
    for keyword in view.flags_in_use().into_iter().flat_map(Flags::keywords) {
        if flags.keywords().len() >= KEYWORDS {
            break;
        }
        if !flags.has_keyword(keyword.as_str()) {
            flags.insert_keyword(keyword.clone());
        }
    }
    flags
}
