//! NOTIFY (RFC 5465): what the client wants to be told without asking. The telling is in `notify.rs`.
//!
//! ```text
//! notify           = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-group *(SP event-group) / "NONE")
//! event-group      = "(" filter-mailboxes SP events ")"
//! filter-mailboxes = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed" /
//!                    ("subtree" / "mailboxes") SP one-or-more-mailbox
//! events           = "(" event *(SP event) ")" / "NONE"
//! event            = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / "MessageExpunge" / "FlagChange" /
//!                    "MailboxName" / "SubscriptionChange"
//! ```

use super::esearch::Depth;
use super::fetch::Fetch;
use super::list::{self, Tree};
use super::status;
use crate::commands::Verb;
use crate::encode;
use crate::fetch::{self, Item};
use crate::notify::{self as told, EVENTS, Events, Filter, Group, InSelected, MAILBOXES};
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::{self, Named};
use std::collections::HashMap;
use storage::Mailbox;
use types::{AccountId, SpecialUse, UidSet};

/// Must name all that there are.
const BADEVENT: &str =
    "BADEVENT (FlagChange MailboxName MessageExpunge MessageNew SubscriptionChange)";
const TOGETHER: &str = "MessageNew and MessageExpunge, both or neither, and both with FlagChange";

pub(crate) enum Notify {
    None,
    Set(Set),
}

#[derive(Default)]
pub(crate) struct Set {
    status: bool,
    selected: Option<InSelected>,
    /// SELECTED or SELECTED-DELAYED stands there already.
    has_selected: bool,
    groups: Vec<Group>,
    /// Something was asked for that we do not tell.
    unknown: bool,
}

impl Verb for Notify {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        if p.one_of(&["NONE", "SET"], "SET or NONE")? == 0 {
            return Ok(Self::None);
        }
        p.sp()?;
        let mut set = Set::default();
        if p.word("STATUS") {
            set.status = true;
            p.sp()?;
        }
        for _ in 0..limits::OPTIONS {
            set.group(p)?;
            if !p.more() {
                return Ok(Self::Set(set));
            }
        }
        p.wanted("fewer groups of events")
    }

    async fn run(self, session: &mut Session) -> Answer {
        let (account, store) = (session.account()?, session.store());
        let Self::Set(set) = self else {
            session.notify = Some(Box::new(told::Notify::nothing(store.watch(account))));
            return Ok(Done::new("Nothing is told any more"));
        };
        if set.unknown {
            return Err(Error::no(BADEVENT, "that is not told here, only what is listed"));
        }
        if set.names().any(sharing::is_others) {
            // Nobody else's mailbox is shown by it, nor whether it is there.
            return Err(Error::no(
                "NOTIFICATIONOVERFLOW",
                "mailboxes of others are told of only while they are selected",
            ));
        }
        // The listener before the state, and the state before the mailboxes: nothing falls between.
        let watch = store.watch(account);
        let state = store.state(account).await?;
        let mailboxes = store.mailboxes(account).await?;
        let mut notify = told::Notify::new(set.selected, set.groups, watch, state);
        if !notify.remember(&mailboxes) || mailboxes.len() > MAILBOXES {
            return Err(Error::no("NOTIFICATIONOVERFLOW", "there are too many mailboxes for that"));
        }
        // RFC 5465 §3.1: it is a NOOP as well, which tells all that has not been told.
        session.notify = None;
        session.tell(true).await?;
        if set.status {
            for mailbox in mailboxes {
                let events = notify.events(&mailbox);
                let selected = session.is_selected(account, mailbox.id);
                if events.has_any(Events::MESSAGES) && !selected {
                    let modseq = events.has_any(Events::FLAGS);
                    status(session, &Named::own(account, mailbox), events, modseq).await?;
                    session.wire.relieve().await?;
                }
            }
        }
        session.notify = Some(Box::new(notify));
        Ok(Done::new("That is told from now on"))
    }
}

impl Set {
    fn group(&mut self, p: &mut Parser<'_>) -> Parsed<()> {
        p.need(b'(', "an opening parenthesis")?;
        p.skip_spaces();
        let words = ["SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED"];
        let named = [("MAILBOXES", Depth::Alone), ("SUBTREE", Depth::Tree)];
        let filter = match named.into_iter().find(|(name, _)| p.word(name)) {
            Some((_, depth)) => {
                p.sp()?;
                Some(Filter::Named(depth, self.mailboxes(p)?))
            }
            None => match p.one_of(&words, "which mailboxes")? {
                which @ (0 | 1) => {
                    self.in_selected(p, which == 1)?;
                    None
                }
                2 => Some(Filter::Inboxes),
                3 => Some(Filter::Personal),
                _ => Some(Filter::Subscribed),
            },
        };
        if let Some(filter) = filter {
            let (events, fetch) = self.events(p)?;
            if !fetch.is_empty() {
                return p.wanted("what to fetch for the selected mailbox alone");
            }
            if events != Events::default() {
                self.groups.push(Group { filter, events });
            }
        }
        p.skip_spaces();
        p.need(b')', "a closing parenthesis")
    }

    fn in_selected(&mut self, p: &mut Parser<'_>, delayed: bool) -> Parsed<()> {
        if std::mem::replace(&mut self.has_selected, true) {
            return p.wanted("the selected mailbox once");
        }
        let (events, fetch) = self.events(p)?;
        if events.has_any(Events::MAILBOXES) {
            return p.wanted("nothing but events of messages for the selected mailbox");
        }
        if events != Events::default() {
            let flags = events.has_any(Events::FLAGS);
            self.selected = Some(InSelected { delayed, flags, fetch });
        }
        Ok(())
    }

    /// One name or a list of them.
    fn mailboxes(&self, p: &mut Parser<'_>) -> Parsed<Vec<String>> {
        let left = limits::OPTIONS.saturating_sub(self.names().count());
        match p.peek() {
            Some(b'(') => p.list(left, Parser::mailbox),
            _ if left == 0 => p.wanted("fewer mailboxes"),
            _ => Ok(vec![p.mailbox()?]),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.groups
            .iter()
            .flat_map(|group| match &group.filter {
                Filter::Named(_, names) => names.as_slice(),
                _ => &[],
            })
            .map(String::as_str)
    }

    /// Events with what is to be fetched of new messages. The parentheses may be missing, as in the example of
    /// RFC 5465 §3.1.
    fn events(&mut self, p: &mut Parser<'_>) -> Parsed<(Events, Vec<Item>)> {
        p.sp()?;
        let (mut events, mut fetch) = (Events::default(), Vec::new());
        if p.word("NONE") {
            return Ok((events, fetch));
        }
        let event = |p: &mut Parser<'_>| -> Parsed<()> {
            match EVENTS.iter().find(|(name, _)| p.word(name)) {
                Some((_, Events::NEW)) => {
                    events = events.with(Events::NEW);
                    let mut ahead = p.clone();
                    ahead.skip_spaces();
                    if ahead.peek() == Some(b'(') {
                        *p = ahead;
                        fetch = fetch::items(p)?;
                    }
                }
                Some((_, event)) => events = events.with(*event),
                None => {
                    p.name("an event")?;
                    self.unknown = true;
                }
            }
            Ok(())
        };
        if p.peek() == Some(b'(') {
            p.list(limits::OPTIONS, event)?;
        } else {
            bare(p, event)?;
        }
        let both = events.has_any(Events::NEW) && events.has_any(Events::EXPUNGE);
        if events.has_any(Events::MESSAGES) && !both && !self.unknown {
            return p.wanted(TOGETHER);
        }
        for item in &mut fetch {
            if let Item::Section(section) = item {
                // Nobody has read what came by itself.
                section.peek = true;
            }
        }
        Ok((events, fetch))
    }
}

fn bare(p: &mut Parser<'_>, mut event: impl FnMut(&mut Parser<'_>) -> Parsed<()>) -> Parsed<()> {
    for _ in 0..limits::OPTIONS {
        event(p)?;
        if !p.skip_spaces() || p.peek() == Some(b')') {
            return Ok(());
        }
    }
    p.wanted("fewer events")
}

/// `* 4 FETCH (...)` for messages of the selected mailbox.
pub(crate) async fn fetch(
    session: &mut Session,
    uids: &UidSet,
    items: Vec<Item>,
) -> Result<(), Error> {
    // Boxed: others would wait with the room for it.
    Box::pin(Fetch::of(uids, items).run(session)).await.map(drop)
}

/// `* STATUS Work (MESSAGES 3 UIDNEXT 7 UIDVALIDITY 2)` (RFC 5465 §5.1 to §5.3).
pub(crate) async fn status(
    session: &mut Session,
    named: &Named,
    events: Events,
    modseq: bool,
) -> Result<(), Error> {
    let items = match (events.has_any(Events::FLAGS), modseq) {
        (false, false) => "(MESSAGES UIDNEXT UIDVALIDITY)",
        (false, true) => "(MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)",
        (true, false) => "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)",
        (true, true) => "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)",
    };
    let items = status::items(&mut Parser::new(items.as_bytes()))?;
    status::say(session, named, &items).await
}

/// `* LIST (\\HasNoChildren) "/" Work ("OLDNAME" (Job))` (RFC 5465 §5.4, §5.5), of those that are not there any more
/// with `\\NonExistent`.
pub(crate) async fn list(
    session: &mut Session,
    account: AccountId,
    there: Vec<Mailbox>,
    lines: &[(String, Option<String>)],
) -> Result<(), Error> {
    let there: Vec<Named> = there.into_iter().map(|row| Named::own(account, row)).collect();
    let tree = Tree::of(&there, |_| false);
    let by_name: HashMap<&str, &Mailbox> =
        there.iter().map(|named| (named.mailbox.name.as_str(), &named.mailbox)).collect();
    for (name, old_name) in lines {
        let mut attributes = Vec::with_capacity(3);
        if let Some(mailbox) = by_name.get(name.as_str()) {
            attributes.extend(mailbox.subscribed.then_some("\\Subscribed"));
            attributes.push(tree.children(mailbox));
            attributes.extend(mailbox.special_use.and_then(SpecialUse::attribute));
        } else {
            attributes.push("\\NonExistent");
            attributes.extend(tree.is_above(name).then_some("\\HasChildren"));
        }
        list::line(session, "LIST", &attributes, name);
        let utf8 = session.utf8();
        let out = session.wire.out();
        if let Some(old_name) = old_name {
            out.extend_from_slice(b" (\"OLDNAME\" (");
            encode::mailbox(out, old_name, utf8);
            out.extend_from_slice(b"))");
        }
        out.extend_from_slice(b"\r\n");
        session.wire.relieve().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn all_events_are_listed() {
        let names: Vec<_> = EVENTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(BADEVENT, format!("BADEVENT ({})", names.join(" ")));
    }

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let found = whole(text.as_bytes(), Notify::parse).ok();
            let found = found.map(|notify| match notify {
                Notify::None => "none".to_owned(),
                Notify::Set(set) => {
                    let mut text = format!("{}", set.groups.len());
                    text.extend(set.status.then_some(" status"));
                    text.extend(set.unknown.then_some(" unknown"));
                    if let Some(selected) = set.selected {
                        text.push_str(if selected.delayed { " delayed" } else { " selected" });
                        text.extend(selected.flags.then_some(" flags"));
                        text.extend([" ", &selected.fetch.len().to_string()]);
                    }
                    text
                }
            });
            assert_eq!(found.as_deref(), expect, "{text}");
        }
        check(" NONE", Some("none"));
        check(" set (selected (MessageNew (uid flags) MessageExpunge))", Some("0 selected 2"));
        check(
            " set status (selected MessageNew (uid body.peek[header.fields (from to)]) MessageExpunge) \
             (subtree Lists (MessageNew MessageExpunge))",
            Some("1 status selected 2"),
        );
        check(
            " SET ( selected-delayed ( MessageExpunge MessageNew FlagChange ) )",
            Some("0 delayed flags 0"),
        );
        check(" SET (selected NONE) (inboxes NONE)", Some("0"));
        check(" SET (mailboxes (a b) (SubscriptionChange)) (personal (MailboxName))", Some("2"));
        check(" SET (mailboxes a (AnnotationChange))", Some("0 unknown"));
        check(" SET (mailboxes a (MessageNew Other))", Some("1 unknown"));
        check(" SET (personal (MessageNew))", None);
        check(" SET (personal (FlagChange))", None);
        check(" SET (personal (MessageExpunge FlagChange))", None);
        check(" SET (personal (MessageNew (uid) MessageExpunge))", None);
        check(" SET (selected (MailboxName))", None);
        check(" SET (selected NONE) (selected-delayed NONE)", None);
        check(" SET (selected (MessageNew () MessageExpunge))", None);
        check(" SET (subtree (MailboxName))", None);
        check(" SET (personal ())", Some("0"));
        check(" SET personal (MailboxName)", None);
        check(" SET", None);
        check(" SET STATUS", None);
        check(" NONE (personal NONE)", None);
        check("", None);
        check(&format!(" SET (mailboxes ({}) (MailboxName))", "a ".repeat(64)), Some("1"));
        check(&format!(" SET (mailboxes ({}) (MailboxName))", "a ".repeat(65)), None);
        check(&format!(" SET {}", "(personal NONE) ".repeat(65)), None);
    }
}
