//! FETCH (RFC 9051 §6.4.5) and UID FETCH. The items are in `fetch/`.
//!
//! ```text
//! fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att /
//!         "(" fetch-att *(SP fetch-att) ")")
//!         [SP "(" fetch-modifier *(SP fetch-modifier) ")"]
//! fetch-modifier = "CHANGEDSINCE" SP mod-sequence / "VANISHED" /             ; RFC 7162 §3.1.4.1, §3.2.6
//!                  "PARTIAL" SP partial-range                                ; RFC 9394 §3.4
//! ```

use super::search::give::Partial;
use crate::commands::Verb;
use crate::fetch::{self, Item, Piece, Row, Section, Wanted};
use crate::parse::{Bound, Parsed, Parser, Set};
use crate::reply::{Answer, Done, Error};
use crate::resync;
use crate::session::Session;
use crate::sharing::Rights;
use std::sync::Arc;
use storage::{Email, Message};
use types::{ErrorClass, Flag, FlagChange, Flags, ModSeq, Uid, UidSet};

/// Messages read from the store at a time. Memory stays flat however many are asked for.
const ROWS: usize = 1_000;
/// The same when their envelopes and part tables are read too.
const EMAILS: usize = 200;
/// Bytes of sections read at a time; one letter alone may have more.
const RUN_BYTES: u64 = 1 << 20;

pub(crate) struct Fetch {
    set: Set,
    by_uid: bool,
    items: Vec<Item>,
    /// UID was not asked for, but comes with the others.
    adds_uid: bool,
    only: Modifiers,
}

/// Which of them.
#[derive(Debug, Default, Clone, Copy)]
struct Modifiers {
    changed_since: Option<ModSeq>,
    vanished: bool,
    partial: Option<Partial>,
}

impl Verb for Fetch {
    const KEEPS_NUMBERS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let set = p.set()?;
        p.sp()?;
        let mut items = fetch::items(p)?;
        // RFC 9051 §6.4.9: UID FETCH always says the UID.
        let adds_uid = p.by_uid && !items.contains(&Item::Uid);
        if adds_uid {
            items.insert(0, Item::Uid);
        }
        let only = modifiers(p)?;
        if only.changed_since.is_some() && !items.contains(&Item::ModSeq) {
            items.push(Item::ModSeq);
        }
        Ok(Self { set, by_uid: p.by_uid, items, adds_uid, only })
    }

    async fn run(mut self, session: &mut Session) -> Answer {
        let (account, mailbox) = session.here()?;
        if self.adds_uid && session.enabled.uid_only {
            // RFC 9586 §3.3: it stands in front of UIDFETCH already.
            self.items.remove(0);
        }
        if self.items.contains(&Item::ModSeq) {
            session.enable_condstore();
        }
        let view = session.view()?;
        let may_mark = !view.read_only && session.rights().has(Rights::SEEN);
        let marks = may_mark && self.items.iter().any(sets_seen);
        let uids = self.asked(session).await?;
        let with_emails = self.items.iter().any(Item::needs_email);
        let reads_letters = self.items.iter().any(|item| section(item).is_some());
        let mut told = Told { complete: true, read: Vec::new(), damage: None };
        for uids in uids.chunks(if with_emails { EMAILS } else { ROWS }) {
            let set: UidSet = uids.iter().copied().collect();
            if with_emails {
                let store = session.store();
                let listed = if reads_letters {
                    store.list_to_read(account, mailbox, &set).await?
                } else {
                    store.list(account, mailbox, &set).await?
                };
                told.complete &= listed.len() == uids.len();
                self.say_letters(session, &listed, &mut told).await?;
            } else {
                let messages = session.store().messages(account, mailbox, &set).await?;
                told.complete &= messages.len() == uids.len();
                for message in &messages {
                    self.say(session, message, None, Vec::new(), &mut told).await?;
                }
            }
        }
        if marks && !told.read.is_empty() {
            mark_seen(session, told.read, self.by_uid).await?;
        }
        match told.damage {
            Some(error) => Err(error),
            // RFC 2180 §4.1.2: some are gone, which the client has not been told.
            None if !told.complete && !self.by_uid => {
                Err(Error::no("EXPUNGEISSUED", "some of the messages are no longer there"))
            }
            None => Ok(Done::new("Fetched")),
        }
    }
}

/// `(CHANGEDSINCE 12 VANISHED)`, `(PARTIAL -1:-30)`
fn modifiers(p: &mut Parser<'_>) -> Parsed<Modifiers> {
    let mut only = Modifiers::default();
    if p.more() {
        let words = ["CHANGEDSINCE", "PARTIAL", "VANISHED"];
        let modifiers = p.list(words.len(), |p| {
            match p.one_of(&words, "CHANGEDSINCE, VANISHED or PARTIAL")? {
                0 => {
                    p.sp()?;
                    only.changed_since = Some(resync::mod_sequence(p)?);
                }
                1 => {
                    p.sp()?;
                    only.partial = Some(Partial::parse(p)?);
                }
                _ => only.vanished = true,
            }
            Ok(())
        })?;
        if modifiers.is_empty() {
            return p.wanted("CHANGEDSINCE in the parentheses");
        }
    }
    Ok(only)
}

/// What happened on the way.
struct Told {
    /// All that was asked for was there.
    complete: bool,
    /// Messages not seen before.
    read: Vec<Uid>,
    /// Letters whose bytes are damaged do not keep the others from being read.
    damage: Option<Error>,
}

impl Fetch {
    /// These items of messages that are named by UID.
    pub(super) fn of(uids: &UidSet, items: Vec<Item>) -> Self {
        let bound = |uid: Uid| Bound::Number(uid.get());
        let set = Set(uids.ranges().iter().map(|(a, b)| (bound(*a), bound(*b))).collect());
        Self { set, by_uid: true, items, adds_uid: false, only: Modifiers::default() }
    }

    /// The messages, ascending: first those of the set, then those that changed, then a piece of them.
    async fn asked(&self, session: &mut Session) -> Result<Vec<Uid>, Error> {
        let Modifiers { changed_since, vanished, partial } = self.only;
        if vanished && !(self.by_uid && session.enabled.qresync && changed_since.is_some()) {
            return Err(Error::Bad(
                "VANISHED is for UID FETCH with CHANGEDSINCE after ENABLE QRESYNC",
            ));
        }
        let (account, mailbox) = session.here()?;
        let view = session.view()?;
        let mut uids = view.members(&view.resolve(&self.set, self.by_uid)?);
        if let Some(since) = changed_since {
            let possible = if vanished { Some(view.possible(&self.set)?) } else { None };
            let changed = session.store().view(account, mailbox).await?;
            let asked: UidSet = uids.into_iter().collect();
            let changed = changed.members(&asked).filter(|entry| entry.modseq > since);
            uids = changed.map(|entry| entry.uid).collect();
            if let Some(possible) = possible {
                resync::say_vanished(session, &possible, since).await?;
            }
        }
        Ok(match partial {
            Some(partial) => partial.cut(&uids).to_vec(),
            None => uids,
        })
    }

    /// Rows that need the part table; sections of several letters are read together.
    async fn say_letters(
        &self,
        session: &mut Session,
        listed: &[(Message, Arc<Email>)],
        told: &mut Told,
    ) -> Result<(), Error> {
        let sections: Vec<&Section> = self.items.iter().filter_map(section).collect();
        if sections.is_empty() {
            for (message, email) in listed {
                self.say(session, message, Some(email), Vec::new(), told).await?;
            }
            return Ok(());
        }
        let wanted: Vec<_> = listed.iter().map(|(_, email)| Wanted::of(email, &sections)).collect();
        let mut rest = listed;
        let mut rest_wanted = &wanted[..];
        while !rest_wanted.is_empty() {
            let count = together(rest_wanted);
            let (run, after) = rest_wanted.split_at(count);
            let found = fetch::read(&session.store(), run, &sections).await?;
            for ((message, email), found) in rest.iter().zip(found) {
                match found {
                    Ok(bytes) => self.say(session, message, Some(email), bytes, told).await?,
                    Err(error @ Error::No { .. }) => told.damage = Some(error),
                    Err(error) if error.class() == ErrorClass::Corrupt => {
                        told.damage = Some(error);
                    }
                    Err(other) => return Err(other),
                }
            }
            (rest, rest_wanted) = (rest.get(count..).unwrap_or_default(), after);
        }
        Ok(())
    }

    async fn say(
        &self,
        session: &mut Session,
        message: &Message,
        email: Option<&Email>,
        sections: Vec<Piece>,
        told: &mut Told,
    ) -> Result<(), Error> {
        let Some(number) = session.view()?.number_of(message.uid) else { return Ok(()) };
        fetch::say_row(session, &self.items, Row { number, message, email, sections }).await?;
        let own_seen = session.selected.as_ref().and_then(|s| s.own_seen(message.uid));
        if !own_seen.unwrap_or_else(|| message.flags.contains(Flag::Seen)) {
            told.read.push(message.uid);
        }
        Ok(())
    }
}

/// How many letters, one at least, are read together.
fn together(wanted: &[Wanted]) -> usize {
    let mut bytes = 0;
    let few = wanted.iter().take_while(|wanted| {
        bytes += wanted.bytes;
        bytes <= RUN_BYTES
    });
    few.count().clamp(1, wanted.len().max(1))
}

fn section(item: &Item) -> Option<&Section> {
    if let Item::Section(section) = item { Some(section) } else { None }
}

fn sets_seen(item: &Item) -> bool {
    section(item).is_some_and(|section| !section.peek)
}

/// Sets `\Seen` on what was read, all in one change, after the letters are on their way. Reading does not
/// fail because a flag cannot be stored: on a full disk mail can still be read.
async fn mark_seen(session: &mut Session, read: Vec<Uid>, by_uid: bool) -> Result<(), Error> {
    let change = FlagChange::Add(Flags::new(&[Flag::Seen]));
    match session.store_flags(read.into_iter().collect(), change, None).await {
        Ok(stored) => {
            fetch::say_flags(session, &stored.rows, by_uid).await?;
            if let Some(selected) = &mut session.selected {
                selected.told(&stored);
            }
        }
        Err(error) => tracing::warn!(%error, "cannot mark a message as read"),
    }
    Ok(())
}
