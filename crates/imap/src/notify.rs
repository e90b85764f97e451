//! What a client asked to be told at all times, also between commands and of mailboxes that are not selected
//! (RFC 5465).
//!
//! A session without NOTIFY has none of this and pays nothing for it. With it, the account's listener wakes the session
//! while it waits for a command; what happened is read from the change log, from where it was read before, so a
//! wake-up costs what changed.

use crate::cmd::esearch::Depth;
use crate::cmd::notify as say;
use crate::fetch::Item;
use crate::parse::Parser;
use crate::pattern::SEPARATOR;
use crate::reply::Error;
use crate::selected;
use crate::session::Session;
use crate::sharing::Named;
use crate::wire::{Frame, Stop};
use std::collections::{BTreeMap, HashMap, HashSet};
use storage::{Change, ChangeKind, Mailbox, Watch};
use tokio::time::Instant;
use types::{MailboxId, ModSeq, SpecialUse, Uid, UidSet};

/// Entries of the change log read at a time.
const CHANGES: usize = 1_000;
/// Mailboxes whose names are kept to tell which one was renamed or deleted, and mailboxes that change at once. People
/// have dozens.
pub(crate) const MAILBOXES: usize = 2_000;
/// Mailboxes that changed are asked for one by one up to here.
const FEW: usize = 16;

/// What may be asked for (RFC 5465 §5). Sorted by name.
pub(crate) static EVENTS: &[(&str, Events)] = &[
    ("FlagChange", Events::FLAGS),
    ("MailboxName", Events::NAME),
    ("MessageExpunge", Events::EXPUNGE),
    ("MessageNew", Events::NEW),
    ("SubscriptionChange", Events::SUBSCRIPTION),
];

/// Some of [`EVENTS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Events(u8);

impl Events {
    pub(crate) const FLAGS: Self = Self(1);
    pub(crate) const NAME: Self = Self(1 << 1);
    pub(crate) const EXPUNGE: Self = Self(1 << 2);
    pub(crate) const NEW: Self = Self(1 << 3);
    pub(crate) const SUBSCRIPTION: Self = Self(1 << 4);
    /// Of messages; they always come with [`Events::NEW`] (RFC 5465 §5).
    pub(crate) const MESSAGES: Self = Self(Self::FLAGS.0 | Self::EXPUNGE.0 | Self::NEW.0);
    /// Of mailboxes themselves.
    pub(crate) const MAILBOXES: Self = Self(Self::NAME.0 | Self::SUBSCRIPTION.0);

    pub(crate) fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub(crate) fn has_any(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

/// For the selected mailbox, whichever that is.
#[derive(Debug)]
pub(crate) struct InSelected {
    /// What goes keeps its number until a command may tell it (RFC 5465 §6.1.2).
    pub(crate) delayed: bool,
    pub(crate) flags: bool,
    /// What is told of new messages; nothing but their number when empty.
    pub(crate) fetch: Vec<Item>,
}

/// For other mailboxes.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) filter: Filter,
    pub(crate) events: Events,
}

#[derive(Debug)]
pub(crate) enum Filter {
    Inboxes,
    Personal,
    Subscribed,
    Named(Depth, Vec<String>),
}

impl Filter {
    fn wants(&self, mailbox: &Known) -> bool {
        match self {
            // Where letters are put when they come.
            Self::Inboxes => {
                matches!(mailbox.special_use, Some(SpecialUse::Inbox | SpecialUse::Junk))
            }
            Self::Personal => true,
            Self::Subscribed => mailbox.subscribed,
            Self::Named(depth, names) => names.iter().any(|n| depth.reaches(n, &mailbox.name)),
        }
    }
}

/// What a session tells since NOTIFY.
#[derive(Debug)]
pub(crate) struct Notify {
    /// `None`: the selected mailbox stays as the client knows it.
    pub(crate) selected: Option<InSelected>,
    pub(crate) groups: Vec<Group>,
    /// The news of one's own account.
    watch: Watch,
    /// The change log has been read up to here.
    modseq: ModSeq,
    /// Kept when changes of mailboxes themselves are to be told.
    known: Option<HashMap<MailboxId, Known>>,
    /// The command that was answered last, until its own changes have been passed over.
    own: Option<Own>,
}

/// A mailbox as the client has heard of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    name: String,
    subscribed: bool,
    special_use: Option<SpecialUse>,
}

impl Known {
    fn of(mailbox: &Mailbox) -> Self {
        let Mailbox { name, subscribed, special_use, .. } = mailbox;
        Self { name: name.clone(), subscribed: *subscribed, special_use: *special_use }
    }
}

/// A command whose changes the client knows already, as it made them (RFC 5465 §5).
#[derive(Debug)]
struct Own {
    /// It takes messages out of the selected mailbox, and says so.
    expunges: bool,
    /// It puts messages into the mailboxes named.
    puts: bool,
    /// Mailboxes that it makes, changes, or fills.
    names: Vec<String>,
}

impl Own {
    fn of(verb: &str, mut arguments: Parser<'_>) -> Self {
        let p = &mut arguments;
        let verb = verb.strip_prefix("UID ").unwrap_or(verb);
        let mut names = Vec::new();
        match verb {
            "APPEND" | "CREATE" | "DELETE" | "SUBSCRIBE" | "UNSUBSCRIBE" => {
                names.extend(p.sp().and_then(|()| p.mailbox()));
            }
            "RENAME" => {
                names.extend(p.sp().and_then(|()| p.mailbox()));
                names.extend(p.sp().and_then(|()| p.mailbox()));
            }
            "COPY" | "MOVE" | "REPLACE" => {
                let target = p.sp().and_then(|()| p.set()).and_then(|_| p.sp());
                names.extend(target.and_then(|()| p.mailbox()));
            }
            _ => {}
        }
        for name in &mut names {
            name.truncate(name.trim_end_matches(SEPARATOR).len());
        }
        let expunges = matches!(verb, "EXPUNGE" | "MOVE" | "REPLACE");
        let puts = matches!(verb, "APPEND" | "COPY" | "MOVE" | "REPLACE");
        Self { expunges, puts, names }
    }

    fn puts_into(&self, name: &str) -> bool {
        self.puts && self.names.iter().any(|own| Depth::Alone.reaches(own, name))
    }

    /// With the levels above, which CREATE and RENAME make.
    fn makes(&self, name: &str) -> bool {
        !self.puts && self.names.iter().any(|own| Depth::Tree.reaches(name, own))
    }
}

/// What happened to one mailbox.
#[derive(Debug, Default)]
struct Touched {
    events: Events,
    /// The mailbox itself.
    itself: bool,
    /// Its messages changed at one moment, this one, or at several.
    moment: Option<ModSeq>,
    moments: usize,
}

impl Touched {
    fn add(&mut self, change: &Change) {
        self.events = self.events.with(match change.kind {
            ChangeKind::MessageAdded => Events::NEW,
            ChangeKind::MessageGone => Events::EXPUNGE,
            ChangeKind::FlagsChanged => Events::FLAGS,
            ChangeKind::MailboxMade | ChangeKind::MailboxChanged | ChangeKind::MailboxGone => {
                self.itself = true;
                return;
            }
        });
        if self.moment.replace(change.modseq) != Some(change.modseq) {
            self.moments += 1;
        }
    }
}

impl Notify {
    /// Nothing is told: NOTIFY NONE.
    pub(crate) fn nothing(watch: Watch) -> Self {
        Self::new(None, Vec::new(), watch, ModSeq(0))
    }

    /// From what happens after `modseq`.
    pub(crate) fn new(
        selected: Option<InSelected>,
        groups: Vec<Group>,
        watch: Watch,
        modseq: ModSeq,
    ) -> Self {
        Self { selected, groups, watch, modseq, known: None, own: None }
    }

    /// Remembers the mailboxes as they are, if that is needed. `false`: they are too many.
    pub(crate) fn remember(&mut self, mailboxes: &[Mailbox]) -> bool {
        if !self.groups.iter().any(|group| group.events.has_any(Events::MAILBOXES)) {
            return true;
        }
        let fits = mailboxes.len() <= MAILBOXES;
        if fits {
            self.known = Some(mailboxes.iter().map(|m| (m.id, Known::of(m))).collect());
        }
        fits
    }

    /// What is to be told of a mailbox that is not selected. Several groups add up (RFC 5465 §6).
    pub(crate) fn events(&self, mailbox: &Mailbox) -> Events {
        self.wanted(&Known::of(mailbox))
    }

    fn wanted(&self, mailbox: &Known) -> Events {
        let groups = self.groups.iter().filter(|group| group.filter.wants(mailbox));
        groups.fold(Events::default(), |events, group| events.with(group.events))
    }

    /// Anything is to be told while no command runs.
    pub(crate) fn listens(&self) -> bool {
        self.selected.is_some() || !self.groups.is_empty()
    }

    pub(crate) fn tells_flags(&self) -> bool {
        self.selected.as_ref().is_none_or(|selected| selected.flags)
    }

    /// Before a command is answered.
    pub(crate) fn begin(&mut self, verb: &str, arguments: Parser<'_>) {
        self.own = Some(Own::of(verb, arguments));
    }

    /// The command failed: what happened was not its doing.
    pub(crate) fn failed(&mut self) {
        self.own = None;
    }
}

/// Waits for the next command, and tells what happens meanwhile. `None`: the connection is to end.
pub(crate) async fn frame(
    session: &mut Session,
    limit: usize,
    until: Instant,
) -> Result<Option<Frame>, Stop> {
    loop {
        session.wire.flush().await?;
        let (wire, news) = session.hear();
        tokio::select! {
            biased;
            frame = wire.frame(limit, until) => return frame.map(Some),
            () = news => {}
        }
        session.tell(false).await?;
        if session.is_ending() {
            return Ok(None);
        }
    }
}

/// Resolves when the account of the selected mailbox has news, or one's own since NOTIFY.
pub(crate) async fn news(selected: Option<&mut Watch>, notify: Option<&mut Notify>) {
    match notify {
        // Boxed: those who do not use it wait without the room for it.
        Some(notify) if !notify.groups.is_empty() => {
            Box::pin(async {
                tokio::select! {
                    () = changed(selected) => {}
                    () = changed(Some(&mut notify.watch)) => {}
                }
            })
            .await;
        }
        _ => changed(selected).await,
    }
}

async fn changed(watch: Option<&mut Watch>) {
    let over = match watch {
        Some(watch) => !watch.changed().await,
        None => true,
    };
    if over {
        std::future::pending::<()>().await;
    }
}

/// Tells what was asked for. `expunge`: what went may be told now, whatever was asked for.
pub(crate) async fn tell(session: &mut Session, expunge: bool) -> Result<(), Error> {
    let Some(notify) = &mut session.notify else { return Ok(()) };
    let own = notify.own.take();
    match &notify.selected {
        Some(wanted) => {
            let expunge = expunge || !wanted.delayed;
            let fetch = if wanted.fetch.is_empty() { None } else { Some(wanted.fetch.clone()) };
            let known = session.selected.as_ref().map(|s| (s.mailbox, s.newest_told()));
            selected::tell(session, expunge).await?;
            if let (Some(items), Some(known)) = (fetch, known) {
                fetch_new(session, items, known, own.as_ref()).await?;
            }
        }
        None if own.as_ref().is_some_and(|own| own.expunges) => {
            selected::tell(session, true).await?;
        }
        None => selected::look_again(session).await?,
    }
    others(session, own.as_ref()).await
}

/// Says what was asked for of messages that were told as new, after all that the news of them brought with it
/// (RFC 5465 §5.2).
async fn fetch_new(
    session: &mut Session,
    items: Vec<Item>,
    (mailbox, newest): (MailboxId, Option<Uid>),
    own: Option<&Own>,
) -> Result<(), Error> {
    let Some(selected) = &session.selected else { return Ok(()) };
    let after = match newest {
        None => Some(Uid::MIN),
        Some(newest) => newest.get().checked_add(1).and_then(Uid::new),
    };
    let Some(after) = after.filter(|_| selected.mailbox == mailbox) else { return Ok(()) };
    let new: UidSet =
        selected.members(&UidSet::from_ranges(vec![(after, Uid::MAX)])).into_iter().collect();
    if new.is_empty() {
        return Ok(());
    }
    if let Some(own) = own.filter(|own| own.puts) {
        let ((account, mailbox), store) = (session.here()?, session.store());
        let name = match &session.view()?.shared {
            Some(shared) => shared.name.clone(),
            None => store.mailbox(account, mailbox).await?.name,
        };
        let rows = store.messages(account, mailbox, &new).await?;
        let one_moment = rows.windows(2).all(|pair| matches!(pair, [a, b] if a.modseq == b.modseq));
        if one_moment && own.puts_into(&name) {
            return Ok(());
        }
    }
    say::fetch(session, &new, items).await
}

/// Tells what happened to mailboxes that are not selected.
async fn others(session: &mut Session, own: Option<&Own>) -> Result<(), Error> {
    let (account, store) = (session.account()?, session.store());
    let Some(notify) = session.notify.as_mut().filter(|notify| !notify.groups.is_empty()) else {
        return Ok(());
    };
    let newest = notify.watch.seen();
    let mut touched: BTreeMap<MailboxId, Touched> = BTreeMap::new();
    while notify.modseq < newest {
        let news = match store.changes(account, notify.modseq, CHANGES).await {
            Err(storage::Error::TooOld) => return overflow(session),
            news => news?,
        };
        for change in &news.changes {
            touched.entry(change.mailbox).or_default().add(change);
        }
        if touched.len() > MAILBOXES {
            return overflow(session);
        }
        notify.modseq = news.state.max(notify.modseq);
        if !news.more {
            break;
        }
    }
    if touched.is_empty() {
        return Ok(());
    }
    if touched.values().any(|touched| touched.itself) && notify.known.is_some() {
        mailboxes(session, &touched, own).await?;
    }
    messages(session, &touched, own).await
}

/// STATUS for those with messages that changed.
async fn messages(
    session: &mut Session,
    touched: &BTreeMap<MailboxId, Touched>,
    own: Option<&Own>,
) -> Result<(), Error> {
    let (account, store) = (session.account()?, session.store());
    let ids: Vec<MailboxId> = touched
        .iter()
        .filter(|(id, touched)| {
            touched.events.has_any(Events::MESSAGES) && !session.is_selected(account, **id)
        })
        .map(|(id, _)| *id)
        .collect();
    let mut rows = Vec::with_capacity(ids.len().min(FEW));
    if ids.len() <= FEW {
        for id in ids {
            match store.mailbox(account, id).await {
                Err(storage::Error::NoMailbox) => {}
                row => rows.push(row?),
            }
        }
    } else {
        rows = store.mailboxes(account).await?;
        rows.retain(|row| ids.binary_search(&row.id).is_ok());
    }
    for row in rows {
        let (Some(notify), Some(touched)) = (&session.notify, touched.get(&row.id)) else {
            continue;
        };
        let events = notify.events(&row);
        let ones_own = touched.moments == 1 && own.is_some_and(|own| own.puts_into(&row.name));
        let asked = Events(events.0 & touched.events.0);
        if asked == Events::default() || ones_own {
            continue;
        }
        let modseq = session.enabled.condstore;
        say::status(session, &Named::own(account, row), events, modseq).await?;
        session.wire.relieve().await?;
    }
    Ok(())
}

/// LIST for those that were made, renamed, deleted, subscribed or not any more.
async fn mailboxes(
    session: &mut Session,
    touched: &BTreeMap<MailboxId, Touched>,
    own: Option<&Own>,
) -> Result<(), Error> {
    let (account, store) = (session.account()?, session.store());
    let there = store.mailboxes(account).await?;
    if there.len() > MAILBOXES {
        return overflow(session);
    }
    let Some(notify) = &mut session.notify else { return Ok(()) };
    let Some(known) = &mut notify.known else { return Ok(()) };
    let ids = touched.iter().filter(|(_, touched)| touched.itself).map(|(id, _)| *id);
    let mut found = News::of(known, ids, &there);
    found.retain(|news| !own.is_some_and(|own| news.is_by(own)));
    found.retain(|news| {
        let names = [news.old.as_ref(), news.new.as_ref()];
        names.into_iter().flatten().any(|known| notify.wanted(known).has_any(news.events))
    });
    let by_name: HashMap<&str, &Mailbox> = there.iter().map(|row| (&*row.name, row)).collect();
    let mut lines: Vec<(String, Option<String>)> = Vec::new();
    for news in found {
        // RFC 5465 §5.4: what is made or deleted changes the one above, too.
        let above = match (&news.old, &news.new) {
            (None, Some(known)) | (Some(known), None) => {
                known.name.rsplit_once(SEPARATOR).map(|(above, _)| above.to_owned())
            }
            _ => None,
        };
        let old_name = news.old.as_ref().map(|old| old.name.clone());
        let line = match news.new {
            Some(new) => (new.name.clone(), old_name.filter(|old| *old != new.name)),
            None => (old_name.unwrap_or_default(), None),
        };
        lines.push(line);
        let above = above.filter(|name| {
            let row = by_name.get(name.as_str());
            row.is_some_and(|row| notify.events(row).has_any(Events::NAME))
        });
        lines.extend(above.map(|name| (name, None)));
    }
    // The one above once, and not before those below have been told.
    let mut said = HashSet::new();
    lines.reverse();
    lines.retain(|(name, _)| said.insert(name.clone()));
    lines.reverse();
    say::list(session, account, there, &lines).await
}

/// A change of one mailbox itself.
#[derive(Debug)]
struct News {
    events: Events,
    old: Option<Known>,
    new: Option<Known>,
}

impl News {
    /// Compares with what is known, and makes that the same. Mailboxes below one that was renamed follow it without a
    /// word (RFC 5465 §5.4).
    fn of(
        known: &mut HashMap<MailboxId, Known>,
        ids: impl Iterator<Item = MailboxId>,
        there: &[Mailbox],
    ) -> Vec<Self> {
        let there: HashMap<MailboxId, &Mailbox> = there.iter().map(|row| (row.id, row)).collect();
        let mut found = Vec::new();
        for id in ids {
            let new = there.get(&id).map(|row| Known::of(row));
            let old = match &new {
                Some(new) => known.insert(id, new.clone()),
                None => known.remove(&id),
            };
            let names = (old.as_ref().map(|k| &k.name), new.as_ref().map(|k| &k.name));
            let mut events = Events::default();
            if names.0 != names.1 {
                events = events.with(Events::NAME);
            }
            let subscribed = |known: &Option<Known>| known.as_ref().is_some_and(|k| k.subscribed);
            if new.is_some() && subscribed(&old) != subscribed(&new) {
                events = events.with(Events::SUBSCRIPTION);
            }
            if events != Events::default() {
                found.push(Self { events, old, new });
            }
        }
        let renamed: HashMap<String, String> = found
            .iter()
            .filter_map(Self::renamed)
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        found.retain(|news| !news.follows(&renamed));
        found
    }

    fn renamed(&self) -> Option<(&str, &str)> {
        let (old, new) = (self.old.as_ref()?, self.new.as_ref()?);
        (old.name != new.name).then_some((&*old.name, &*new.name))
    }

    /// One of the mailboxes above was renamed, and this one with it.
    fn follows(&self, renamed: &HashMap<String, String>) -> bool {
        let Some((old, new)) = self.renamed() else { return false };
        old.match_indices(SEPARATOR).any(|(at, _)| {
            let (above, rest) = old.split_at(at);
            renamed.get(above).is_some_and(|to| new.strip_prefix(to.as_str()) == Some(rest))
        })
    }

    fn is_by(&self, own: &Own) -> bool {
        let mut names = [&self.old, &self.new].into_iter().flatten();
        names.any(|known| own.makes(&known.name))
    }
}

/// Too much to tell: from here on nothing is (RFC 5465 §5.8).
fn overflow(session: &mut Session) -> Result<(), Error> {
    let watch = session.store().watch(session.account()?);
    session.notify = Some(Box::new(Notify::nothing(watch)));
    session.wire.say("* OK [NOTIFICATIONOVERFLOW] Too much has changed, send NOTIFY SET again");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(EVENTS.is_sorted_by(|a, b| a.0 < b.0));
    }

    fn known(name: &str, subscribed: bool) -> Known {
        Known { name: name.to_owned(), subscribed, special_use: None }
    }

    #[test]
    fn filters() {
        #[track_caller]
        fn check(filter: &Filter, mailbox: &Known, expect: bool) {
            assert_eq!(filter.wants(mailbox), expect, "{filter:?} {mailbox:?}");
        }
        let named = |depth, name: &str| Filter::Named(depth, vec![name.to_owned()]);
        let inbox = Known { special_use: Some(SpecialUse::Inbox), ..known("INBOX", true) };
        check(&Filter::Inboxes, &inbox, true);
        check(&Filter::Inboxes, &known("Work", true), false);
        check(&Filter::Personal, &known("Work", false), true);
        check(&Filter::Subscribed, &known("Work", false), false);
        check(&Filter::Subscribed, &known("Work", true), true);
        check(&named(Depth::Alone, "inbox"), &inbox, true);
        check(&named(Depth::Alone, "Work"), &known("Work/a", true), false);
        check(&named(Depth::Tree, "Work"), &known("Work/a/b", true), true);
        check(&named(Depth::Tree, "Work"), &known("Workshop", true), false);
        check(&named(Depth::Alone, "W*"), &known("Work", true), false);
    }

    #[test]
    fn what_a_command_does_by_itself() {
        #[track_caller]
        fn check(verb: &str, arguments: &str, puts: &str, makes: &str) {
            let own = Own::of(verb, Parser::new(arguments.as_bytes()));
            assert_eq!(own.puts_into(puts), !puts.is_empty(), "{verb} {arguments}");
            assert_eq!(own.makes(makes), !makes.is_empty(), "{verb} {arguments}");
        }
        check("APPEND", " Work {3}", "Work", "");
        check("UID COPY", " 1:* \"inbox\"", "INBOX", "");
        check("MOVE", " 1 a/b", "a/b", "");
        check("CREATE", " a/b/", "", "a/b");
        check("CREATE", " a/b/c", "", "a/b");
        check("RENAME", " x y", "", "x");
        check("RENAME", " x y", "", "y");
        check("NOOP", "", "", "");
    }
}
