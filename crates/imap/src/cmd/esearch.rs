//! ESEARCH (RFC 7377): a search in several mailboxes at once, none of which need be selected.
//!
//! ```text
//! esearch      = "ESEARCH" [SP "IN" SP "(" source-mbox ")"] [search-return] SP search-program
//! source-mbox  = filter *(SP filter)
//! filter       = "selected" / "inboxes" / "personal" / "subscribed" /
//!                ("subtree" / "subtree-one" / "mailboxes") SP one-or-more-mailbox     ; RFC 7377 §2.2
//! one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"
//! ```
//! Each mailbox where something is found has its own answer, by UID. Those that do not exist are passed over.

use super::list;
use super::search::give::{self, Give, Source};
use super::search::{self, Program};
use crate::commands::Verb;
use crate::contexts;
use crate::encode;
use crate::parse::{Parsed, Parser, limits};
use crate::pattern::SEPARATOR;
use crate::progress::Counting;
use crate::reply::{Answer, Done, Error};
use crate::selected::Selected;
use crate::session::Session;
use crate::sharing::{Named, OTHERS, Rights, is_others};
use storage::{Mailbox, Query};
use types::{SpecialUse, Uid, UidSet};

pub(crate) struct ESearch {
    sources: Sources,
    give: Give,
    /// `None`: the text is in a charset we do not read.
    program: Option<Program>,
}

/// Where to search. As filters are written, each adds to the others.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "words of the protocol, any of them at once")]
struct Sources {
    selected: bool,
    inboxes: bool,
    personal: bool,
    subscribed: bool,
    /// With the mailboxes below them, as far as that goes.
    named: Vec<(Depth, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Alone,
    Children,
    Tree,
}

/// Filters before mailboxes: what they reach.
static NAMED: &[(&str, Depth)] =
    &[("MAILBOXES", Depth::Alone), ("SUBTREE", Depth::Tree), ("SUBTREE-ONE", Depth::Children)];

impl Verb for ESearch {
    // Of a program for the selected mailbox alone.
    const KEEPS_NUMBERS: bool = true;
    // The answers are UIDs; numbers in the program are found out when it is asked.
    const BY_NUMBER: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut sources = Sources { selected: true, ..Sources::default() };
        if p.word("IN") {
            p.sp()?;
            sources = Sources::parse(p)?;
            p.sp()?;
        }
        let give = search::return_options(p)?.unwrap_or(Give::ALL);
        Ok(Self { sources, give, program: search::search_program(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let Self { sources, mut give, program } = self;
        let program = search::known(program)?;
        if std::mem::take(&mut give.update) {
            // RFC 7377 §2.1: for that the mailbox is selected, and SEARCH used.
            contexts::no_update(session, &session.tag.clone());
        }
        if sources.is_selected_alone() {
            return in_selected(session, program, &give).await;
        }
        if program.numbers || program.saved || give.save {
            return Err(Error::Bad("numbers and $ are of the selected mailbox alone"));
        }
        if sources.selected {
            session.view()?;
        }
        if program.modseq {
            session.enable_condstore();
        }
        let here = if sources.selected { session.here().ok() } else { None };
        let mailboxes = sources.mailboxes(session).await?;
        let (mut of, mut threads) = (None, Vec::new());
        let mut counting = Counting::to(mailboxes.len());
        for (done, named) in mailboxes.iter().enumerate() {
            // Thousands of mailboxes keep nobody else waiting.
            tokio::task::consume_budget().await;
            let is_here = here == Some((named.account, named.mailbox.id));
            // RFC 7377 §2.2: what may not be read is passed over.
            if (is_here || sources.wants(named)) && named.rights.has(Rights::READ) {
                if of.replace(named.account) != Some(named.account) {
                    threads = search::threads(session, named.account, &program).await?;
                }
                in_one(session, named, &program, &threads, &give).await?;
                session.wire.relieve().await?;
                counting.at(&mut session.wire, &session.tag, done).await?;
            }
        }
        Ok(Done::new("Searched"))
    }
}

/// The selected mailbox is searched as UID SEARCH does it.
async fn in_selected(session: &mut Session, program: Program, give: &Give) -> Answer {
    let (account, mailbox) = session.here()?;
    let found = search::found(session, Some(program), Some(give)).await?;
    let highest = search::told(session, Some(give), &found).await?;
    if !found.uids.is_empty() && !give.says_nothing() {
        let view = session.store().view(account, mailbox).await?;
        let shared = session.view()?.shared.as_ref();
        let name = shared.map_or(&view.mailbox().name, |shared| &shared.name).clone();
        let mailbox = Mailbox { name, ..view.mailbox().clone() };
        say(session, &mailbox, give, &found.uids, highest);
    }
    Ok(Done::new("Searched"))
}

async fn in_one(
    session: &mut Session,
    named: &Named,
    program: &Program,
    threads: &[Query],
    give: &Give,
) -> Result<(), Error> {
    let (account, mailbox, store) = (named.account, &named.mailbox, session.store());
    let view = match store.view(account, mailbox.id).await {
        // Deleted a moment ago.
        Err(storage::Error::NoMailbox) => return Ok(()),
        view => view?,
    };
    let all = Selected::new(mailbox.id, true, view.uids(), view.state());
    let now_unix_s = session.service.clock.now_unix_s();
    let query = program.query(&all, threads, Some(&view), now_unix_s)?;
    let query = if named.is_own() {
        query
    } else {
        let seen = store.seen_by(account, mailbox.id, session.account()?).await?;
        search::with_seen(query, &seen)
    };
    let found = match &query {
        Query::All => all.members(&UidSet::all()),
        Query::Uids(uids) => all.members(uids),
        _ => search::find(session, account, mailbox.id, query).await?.iter().collect(),
    };
    if !found.is_empty() {
        let told = program.modseq.then(|| give.given(&found));
        let highest = told.and_then(|told| view.members(&told).map(|entry| entry.modseq).max());
        let mailbox = Mailbox { name: mailbox.name.clone(), ..view.mailbox().clone() };
        say(session, &mailbox, give, &found, highest);
    }
    Ok(())
}

/// `* ESEARCH (TAG "a1" MAILBOX Work UIDVALIDITY 1) UID ALL 1:3`
fn say(
    session: &mut Session,
    mailbox: &Mailbox,
    give: &Give,
    found: &[Uid],
    highest: Option<types::ModSeq>,
) {
    let mut name = Vec::new();
    encode::mailbox(&mut name, &mailbox.name, session.utf8());
    let source =
        Source { tag: &session.tag, by_uid: true, mailbox: Some((&name, mailbox.uid_validity.0)) };
    let numbers: Vec<u32> = found.iter().map(|uid| uid.get()).collect();
    give::esearch(session.wire.out(), &source, give, &numbers, highest);
}

impl Sources {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        let mut sources = Self::default();
        let filters = p.list(limits::OPTIONS, |p| sources.filter(p))?;
        if filters.is_empty() { p.wanted("where to search") } else { Ok(sources) }
    }

    fn filter(&mut self, p: &mut Parser<'_>) -> Parsed<()> {
        if let Some((_, depth)) = NAMED.iter().find(|(name, _)| p.word(name)) {
            p.sp()?;
            let left = limits::OPTIONS.saturating_sub(self.named.len());
            let names = match p.peek() {
                Some(b'(') => p.list(left, Parser::mailbox)?,
                _ if left == 0 => return p.wanted("fewer mailboxes"),
                _ => vec![p.mailbox()?],
            };
            self.named.extend(names.into_iter().map(|name| (*depth, name)));
            return Ok(());
        }
        let words = ["SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED"];
        match p.one_of(&words, "where to search")? {
            0 => self.selected = true,
            1 => self.inboxes = true,
            2 => self.personal = true,
            _ => self.subscribed = true,
        }
        Ok(())
    }

    /// All that may be wanted; those of others only when one of them may be.
    async fn mailboxes(&self, session: &mut Session) -> Result<Vec<Named>, Error> {
        let mut patterns = Vec::new();
        let names = self.named.iter().map(|(_, name)| name).filter(|name| is_others(name));
        patterns.extend(names.cloned());
        if self.subscribed || !patterns.is_empty() {
            patterns.push(format!("{OTHERS}/*"));
        }
        let patterns = list::full_patterns("", &patterns)?;
        let mut mailboxes = list::known(session, &patterns).await?;
        if let Some(selected) = &session.selected
            && let Some(shared) = &selected.shared
            && !mailboxes.iter().any(|named| named.mailbox.name == shared.name)
        {
            let name = shared.name.clone();
            mailboxes.push(session.named(&name, Rights::READ).await?);
        }
        Ok(mailboxes)
    }

    fn is_selected_alone(&self) -> bool {
        *self == Self { selected: true, ..Self::default() }
    }

    /// Whether the other filters ask for it than the one for the selected mailbox.
    fn wants(&self, named: &Named) -> bool {
        let mailbox = &named.mailbox;
        let own = named.is_own();
        (self.personal && own)
            || (self.inboxes && own && mailbox.special_use == Some(SpecialUse::Inbox))
            || (self.subscribed && mailbox.subscribed)
            || self.named.iter().any(|(depth, name)| depth.reaches(name, &mailbox.name))
    }
}

impl Depth {
    /// Whether a mailbox is the one that was named, or below it.
    pub(crate) fn reaches(self, named: &str, name: &str) -> bool {
        let inbox = |name: &str| name.eq_ignore_ascii_case("INBOX");
        if named == name || (inbox(named) && inbox(name)) {
            return true;
        }
        let Some((above, below)) = name.split_at_checked(named.len()) else { return false };
        let Some(below) = below.strip_prefix(SEPARATOR) else { return false };
        let same = above == named || (inbox(named) && inbox(above));
        same && match self {
            Self::Alone => false,
            Self::Children => !below.contains(SEPARATOR),
            Self::Tree => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(bool, usize)>) {
            let found = whole(text.as_bytes(), ESearch::parse).ok();
            let found = found.map(|e| (e.sources.is_selected_alone(), e.sources.named.len()));
            assert_eq!(found, expect, "{text}");
        }
        check(" ALL", Some((true, 0)));
        check(" IN (selected) ALL", Some((true, 0)));
        check(" IN (selected personal) RETURN (COUNT) ALL", Some((false, 0)));
        check(" IN (mailboxes Work) UNSEEN", Some((false, 1)));
        check(" IN (mailboxes (a b \"c d\") subtree e INBOXES) UNSEEN", Some((false, 4)));
        check(" in (subtree-one (a))  CHARSET UTF-8 FROM x", Some((false, 1)));
        check(" IN () ALL", None);
        check(" IN (selected-delayed) ALL", None);
        check(" IN (mailboxes) ALL", None);
        check(" IN (personal) ", None);
        check(" IN personal ALL", None);
        check(" IN (personal (unknown)) ALL", None);
        check(&format!(" IN (mailboxes ({})) ALL", "a ".repeat(64)), Some((false, 64)));
        check(&format!(" IN (mailboxes ({})) ALL", "a ".repeat(65)), None);
        check(&format!(" IN ({}mailboxes a) ALL", "mailboxes (a a) ".repeat(32)), None);
    }

    #[test]
    fn depths() {
        #[track_caller]
        fn check(named: &str, name: &str, expect: [bool; 3]) {
            let found =
                [Depth::Alone, Depth::Children, Depth::Tree].map(|d| d.reaches(named, name));
            assert_eq!(found, expect, "{named} {name}");
        }
        check("a", "a", [true; 3]);
        check("a", "a/b", [false, true, true]);
        check("a", "a/b/c", [false, false, true]);
        check("a", "ab", [false; 3]);
        check("a/b", "a", [false; 3]);
        check("inbox", "INBOX", [true; 3]);
        check("inbox", "INBOX/a", [false, true, true]);
        check("żó", "ż", [false; 3]);
        check("a", "ż/b", [false; 3]);
    }
}
