//! Searches whose results are kept up to date (RFC 5267 §4.3): the client hears what comes into a result and what
//! leaves it, until it says CANCELUPDATE or leaves the mailbox.
//!
//! Nothing is searched twice: what changed since the last look is known by its MODSEQ, and only that is looked at. A
//! program is meant as it was understood when it was sent: its numbers and sets do not move (RFC 5267 §4.3).

use crate::cmd::{search, sort};
use crate::encode;
use crate::order::sort::Keys;
use crate::reply::Error;
use crate::selected::Selected;
use crate::session::Session;
use storage::{Query, View};
use types::{ModSeq, Uid, UidSet};

/// Kept for one connection. Clients show one or two.
const CONTEXTS: usize = 10;
/// Messages in the results of all of them, four bytes each.
const MESSAGES: usize = 500_000;
/// Messages in a sorted result, which is sorted anew when something comes in.
const SORTED: usize = 5_000;

/// All of a connection, for the mailbox that is selected.
#[derive(Debug, Default)]
pub(crate) struct Contexts(Vec<Context>);

/// One result.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) tag: String,
    pub(crate) by_uid: bool,
    pub(crate) query: Query,
    /// How it is sorted, if it is.
    pub(crate) keys: Option<Keys>,
    /// Ascending.
    pub(crate) found: Vec<Uid>,
    /// What happened up to here is in it.
    pub(crate) state: ModSeq,
}

impl Contexts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, tag: &str) -> bool {
        self.0.iter().any(|context| context.tag == tag)
    }

    /// `false`, and nothing changed, when one of them is not kept.
    pub(crate) fn cancel(&mut self, tags: &[String]) -> bool {
        let known = tags.iter().all(|tag| self.has(tag));
        if known {
            self.0.retain(|context| !tags.contains(&context.tag));
        }
        known
    }

    /// `false` when there is no room for it.
    fn keep(&mut self, context: Context) -> bool {
        let messages = self.0.iter().map(|context| context.found.len()).sum::<usize>();
        let most = if context.keys.is_some() { SORTED } else { MESSAGES };
        let fits = context.found.len() <= most.min(MESSAGES.saturating_sub(messages));
        let room = fits && self.0.len() < CONTEXTS;
        if room {
            self.0.push(context);
        }
        room
    }

    /// Takes out messages that are about to be told as gone, and gives the lines that say so first, while they have
    /// their numbers (RFC 5267 §4.3.4). `gone` ascending.
    pub(crate) fn leave(
        &mut self,
        gone: &[Uid],
        number_of: impl Fn(Uid) -> Option<u32>,
    ) -> Vec<u8> {
        let mut lines = Vec::new();
        for context in &mut self.0 {
            let is_gone = |uid: &Uid| gone.binary_search(uid).is_ok();
            let removed: Vec<Uid> = context.found.iter().copied().filter(is_gone).collect();
            if !removed.is_empty() {
                context.found.retain(|uid| !is_gone(uid));
                context.say(&mut lines, &removed, &[], &number_of);
            }
        }
        lines
    }
}

impl Context {
    /// Puts in and takes out what was looked at again: all of `touched`, ascending, of which `matching` belong there.
    /// Gives what is new and what is not there any more.
    fn settle(&mut self, touched: &[Uid], matching: &UidSet) -> (Vec<Uid>, Vec<Uid>) {
        let was = |uid: &Uid| self.found.binary_search(uid).is_ok();
        let (belong, not): (Vec<Uid>, Vec<Uid>) =
            touched.iter().copied().partition(|uid| matching.contains(*uid));
        let added: Vec<Uid> = belong.into_iter().filter(|uid| !was(uid)).collect();
        let removed: Vec<Uid> = not.into_iter().filter(was).collect();
        if !removed.is_empty() {
            self.found.retain(|uid| removed.binary_search(uid).is_err());
        }
        if !added.is_empty() {
            // Two ascending runs: the sort merges them.
            self.found.extend_from_slice(&added);
            self.found.sort();
        }
        (added, removed)
    }

    /// `* ESEARCH (TAG "a1") UID REMOVEFROM (0 7) ADDTO (0 9:10)`; with their places where the result is sorted.
    ///
    /// ```text
    /// context-update = ("ADDTO" / "REMOVEFROM") SP "(" context-position SP sequence-set *(SP ...) ")"
    /// ```
    fn say(
        &self,
        out: &mut Vec<u8>,
        removed: &[Uid],
        added: &[(u32, Uid)],
        number_of: impl Fn(Uid) -> Option<u32>,
    ) {
        let number = |uid: Uid| if self.by_uid { Some(uid.get()) } else { number_of(uid) };
        out.extend_from_slice(b"* ESEARCH (TAG ");
        encode::string(out, &self.tag);
        out.extend_from_slice(if self.by_uid { b") UID" } else { b")" });
        if !removed.is_empty() {
            let set = encode::runs(removed.iter().filter_map(|uid| number(*uid)));
            out.extend_from_slice(format!(" REMOVEFROM (0 {set})").as_bytes());
        }
        for (i, run) in added.chunk_by(|a, b| a.0 == 0 && b.0 == 0).enumerate() {
            let place = run.first().map_or(0, |(place, _)| *place);
            let set = encode::runs(run.iter().filter_map(|(_, uid)| number(*uid)));
            out.extend_from_slice(if i == 0 { b" ADDTO (" } else { b" " });
            out.extend_from_slice(format!("{place} {set}").as_bytes());
        }
        out.extend_from_slice(if added.is_empty() { b"\r\n" } else { b")\r\n" });
    }

    /// Looks at what changed since the last time.
    async fn renew(&mut self, session: &mut Session, view: &View) -> Result<(), Error> {
        let (account, mailbox) = session.here()?;
        let selected = session.view()?;
        let changed = view.entries().filter(|entry| entry.modseq > self.state);
        let touched = selected.members(&changed.map(|entry| entry.uid).collect());
        self.state = selected.modseq();
        if touched.is_empty() {
            return Ok(());
        }
        let among = Query::Uids(touched.iter().copied().collect());
        let query = Query::And(vec![among, self.query.clone()]);
        let matching = search::find(session, account, mailbox, query).await?;
        let (added, removed) = self.settle(&touched, &matching);
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let added = match self.keys.clone() {
            Some(keys) if !added.is_empty() => self.places(session, keys, &added).await?,
            _ => added.into_iter().map(|uid| (0, uid)).collect(),
        };
        let mut line = Vec::new();
        let view = session.view()?;
        self.say(&mut line, &removed, &added, |uid| view.number_of(uid));
        session.wire.out().extend_from_slice(&line);
        Ok(())
    }

    /// Where in the sorted result they are, in its order, counted from 1.
    async fn places(
        &self,
        session: &mut Session,
        keys: Keys,
        added: &[Uid],
    ) -> Result<Vec<(u32, Uid)>, Error> {
        if self.found.len() > SORTED {
            return Err(Error::no("LIMIT", "there are too many to keep them sorted"));
        }
        let sorted = sort::sort(session, &self.found, keys).await?;
        let places = (1..).zip(sorted);
        Ok(places.filter(|(_, uid)| added.binary_search(uid).is_ok()).collect())
    }
}

/// Tells what came into the results and what left them, since the client was told last. One that fails is given up.
pub(crate) async fn refresh(session: &mut Session) -> Result<(), Error> {
    let Some(selected) = &mut session.selected else { return Ok(()) };
    let state = selected.modseq();
    if selected.contexts.0.iter().all(|context| context.state >= state) {
        return Ok(());
    }
    let contexts = std::mem::take(&mut selected.contexts).0;
    let (account, mailbox) = session.here()?;
    let view = session.store().view(account, mailbox).await?;
    for mut context in contexts {
        match context.renew(session, &view).await {
            Ok(()) => {
                if let Some(selected) = &mut session.selected {
                    selected.contexts.0.push(context);
                }
            }
            Err(stop @ Error::Stop(_)) => return Err(stop),
            Err(_) => no_update(session, &context.tag),
        }
    }
    session.wire.relieve().await?;
    Ok(())
}

/// Keeps a result, or says that it is not kept.
pub(crate) fn keep(session: &mut Session, context: Context) {
    let Some(selected) = &mut session.selected else { return };
    let tag = context.tag.clone();
    if !selected.contexts.keep(context) {
        no_update(session, &tag);
    }
}

/// ```text
/// resp-text-code =/ "NOUPDATE" SP quoted
/// ```
pub(crate) fn no_update(session: &mut Session, tag: &str) {
    let out = session.wire.out();
    out.extend_from_slice(b"* NO [NOUPDATE ");
    encode::string(out, tag);
    out.extend_from_slice(b"] This result is not kept up to date\r\n");
}

/// Lines to say before messages are told as gone.
pub(crate) fn leave(selected: &mut Selected) -> Vec<u8> {
    if selected.contexts.is_empty() {
        return Vec::new();
    }
    let gone = selected.vanished();
    let mut contexts = std::mem::take(&mut selected.contexts);
    let lines = contexts.leave(&gone, |uid| selected.number_of(uid));
    selected.contexts = contexts;
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(numbers: &[u32]) -> Vec<Uid> {
        numbers.iter().copied().filter_map(Uid::new).collect()
    }

    fn context(tag: &str, found: &[u32]) -> Context {
        let (tag, found) = (tag.to_owned(), uids(found));
        Context { tag, by_uid: true, query: Query::All, keys: None, found, state: ModSeq(1) }
    }

    #[test]
    fn results_follow_changes() {
        #[track_caller]
        fn check(found: &[u32], touched: &[u32], matching: &[u32], expect: [&[u32]; 3]) {
            let mut context = context("a", found);
            let matching = uids(matching).into_iter().collect();
            let (added, removed) = context.settle(&uids(touched), &matching);
            assert_eq!([added, removed, context.found], expect.map(uids));
        }
        check(&[1, 3, 5], &[3, 4], &[4], [&[4], &[3], &[1, 4, 5]]);
        check(&[1, 3, 5], &[1, 3], &[1, 3], [&[], &[], &[1, 3, 5]]);
        check(&[], &[7, 9], &[7, 9], [&[7, 9], &[], &[7, 9]]);
        check(&[7, 9], &[7, 9], &[], [&[], &[7, 9], &[]]);
        check(&[7, 9], &[], &[], [&[], &[], &[7, 9]]);
    }

    #[test]
    fn lines() {
        #[track_caller]
        fn check(removed: &[u32], added: &[(u32, u32)], expect: &str) {
            let mut line = Vec::new();
            let added: Vec<_> = added.iter().map(|(at, n)| (*at, Uid::new(*n).unwrap())).collect();
            context("a1", &[]).say(&mut line, &uids(removed), &added, |_| None);
            let expect = format!("* ESEARCH (TAG \"a1\") UID{expect}\r\n");
            assert_eq!(String::from_utf8(line).unwrap(), expect);
        }
        check(&[7, 8, 9], &[], " REMOVEFROM (0 7:9)");
        check(&[], &[(0, 7), (0, 8)], " ADDTO (0 7:8)");
        check(&[3], &[(1, 9), (5, 7)], " REMOVEFROM (0 3) ADDTO (1 9 5 7)");
    }

    #[test]
    fn what_goes_leaves_first() {
        let mut contexts = Contexts::default();
        assert!(contexts.keep(context("a", &[2, 5, 6])));
        assert!(contexts.keep(context("b", &[2])));
        let lines = contexts.leave(&uids(&[5, 6, 7]), |_| None);
        let expect = "* ESEARCH (TAG \"a\") UID REMOVEFROM (0 5:6)\r\n";
        assert_eq!(String::from_utf8(lines).unwrap(), expect);
        assert!(contexts.leave(&uids(&[5, 6, 7]), |_| None).is_empty());
    }

    #[test]
    fn there_is_an_end() {
        let mut contexts = Contexts::default();
        for n in 0..CONTEXTS {
            assert!(contexts.keep(context(&n.to_string(), &[1])));
        }
        assert!(!contexts.keep(context("x", &[1])));
        assert!(!contexts.cancel(&["1".to_owned(), "x".to_owned()]));
        assert!(contexts.has("1") && contexts.cancel(&["1".to_owned()]) && !contexts.has("1"));
        let large: Vec<u32> = (1..=500_000).collect();
        assert!(!contexts.keep(context("large", &large)), "nine messages too many");
    }
}
