//! SEARCH (RFC 9051 §6.4.4) and UID SEARCH, with the answers of ESEARCH (RFC 4731).
//!
//! ```text
//! search         = "SEARCH" [search-return] SP search-program
//! search-return  = SP "RETURN" SP search-return-opts                 ; see `give`
//! search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
//! ```

pub(super) mod give;
mod keys;

use crate::commands::Verb;
use crate::contexts::{self, Context};
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::progress;
use crate::reply::{Answer, Done, Error, UID_REQUIRED};
use crate::session::Session;
use give::{Give, Source};
pub(super) use keys::Program;
use storage::Query;
use types::{AccountId, Flag, MailboxId, ModSeq, Uid, UidSet};

pub(crate) struct Search {
    by_uid: bool,
    give: Option<Give>,
    /// `None`: the text is in a charset we do not read.
    program: Option<Program>,
}

impl Verb for Search {
    const KEEPS_NUMBERS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let give = return_options(p)?;
        Ok(Self { by_uid: p.by_uid, give, program: search_program(p)? })
    }

    async fn run(mut self, session: &mut Session) -> Answer {
        if session.enabled.rev2 {
            // RFC 9051 §6.4.4: SEARCH is answered by ESEARCH.
            self.give.get_or_insert(Give::ALL);
        }
        let found = found(session, self.program, self.give.as_ref()).await?;
        say(session, "SEARCH", self.by_uid, self.give.as_ref(), found).await?;
        Ok(Done::new("Searched"))
    }
}

/// What a program finds.
pub(super) struct Found {
    /// In the order in which they are told: ascending, if they are not sorted.
    pub(super) uids: Vec<Uid>,
    /// The program asks for MODSEQ, so the answer tells the highest one found.
    modseq: bool,
    /// It is to be kept up to date, and can be.
    pub(super) context: Option<Context>,
}

/// `RETURN (...)` and the space behind it, if it stands here.
pub(super) fn return_options(p: &mut Parser<'_>) -> Parsed<Option<Give>> {
    if !p.word("RETURN") {
        return Ok(None);
    }
    p.sp()?;
    let give = Give::parse(p)?;
    p.sp()?;
    Ok(Some(give))
}

/// `None`: the text is in a charset we do not read.
pub(super) fn search_program(p: &mut Parser<'_>) -> Parsed<Option<Program>> {
    if !p.word("CHARSET") {
        return keys::program(p).map(Some);
    }
    if p.utf8 {
        // RFC 9755 §3, as RFC 6855 §3 before: after ENABLE UTF8=ACCEPT nothing is in another charset.
        return p.wanted("no CHARSET after ENABLE UTF8=ACCEPT");
    }
    p.sp()?;
    criteria(p)
}

/// ```text
/// search-criteria = charset 1*(SP search-key)
/// ```
/// As SORT and THREAD have it (RFC 5256 §5). `None`: the text is in a charset we do not read, and the rest of the
/// command is skipped, since nobody knows what it says.
pub(super) fn criteria(p: &mut Parser<'_>) -> Parsed<Option<Program>> {
    let charset = p.astring()?;
    let known = ["UTF-8", "US-ASCII"];
    if p.utf8 && !charset.eq_ignore_ascii_case(b"UTF-8") {
        return p.wanted("UTF-8 after ENABLE UTF8=ACCEPT");
    }
    if !known.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(&charset)) {
        p.skip_rest();
        return Ok(None);
    }
    p.sp()?;
    keys::program(p).map(Some)
}

/// What the client knows of what the program finds, ascending. A search that should have been saved and fails leaves
/// nothing saved (RFC 5182 §2.1).
pub(super) async fn found(
    session: &mut Session,
    program: Option<Program>,
    give: Option<&Give>,
) -> Result<Found, Error> {
    let update = give.is_some_and(|give| give.update);
    let found = look(session, program, update).await;
    let understood = !matches!(found, Err(Error::Syntax(_) | Error::Bad(_)));
    if found.is_err() && understood && give.is_some_and(|give| give.save) {
        save(session, UidSet::new());
    }
    found
}

async fn look(
    session: &mut Session,
    program: Option<Program>,
    update: bool,
) -> Result<Found, Error> {
    let program = known(program)?;
    if update && session.view()?.contexts.has(&session.tag) {
        return Err(Error::Bad("a result with this tag is kept up to date already"));
    }
    if session.enabled.uid_only && program.numbers {
        return Err(UID_REQUIRED);
    }
    let modseq = program.modseq;
    if modseq {
        session.enable_condstore();
    }
    let (account, mailbox) = session.here()?;
    let threads = threads(session, account, &program).await?;
    let saved =
        if program.saved_days { Some(session.store().view(account, mailbox).await?) } else { None };
    let now_unix_s = session.service.clock.now_unix_s();
    let query = program.query(session.view()?, &threads, saved.as_deref(), now_unix_s)?;
    let own_seen = session.view()?.shared.is_some() && asks_seen(&query);
    let query = for_reader(session, account, mailbox, query);
    let view = session.view()?;
    // What would be another list tomorrow is not kept.
    let kept = update && program.threads.is_empty() && !program.saved && !program.saved_days;
    let kept = kept && !own_seen;
    let kept = kept.then(|| (query.clone(), view.modseq()));
    let uids = match &query {
        // Asked by many clients at every start; the answer is at hand.
        Query::All => view.members(&UidSet::all()),
        Query::Uids(uids) => view.members(uids),
        _ => {
            let found = find(session, account, mailbox, query).await?;
            session.view()?.members(&found)
        }
    };
    let context = kept.map(|(query, state)| {
        let (tag, found) = (session.tag.clone(), uids.clone());
        Context { tag, by_uid: false, query, keys: None, found, state }
    });
    Ok(Found { uids, modseq, context })
}

/// Whether it asks for `\Seen`.
fn asks_seen(query: &Query) -> bool {
    match query {
        Query::And(queries) | Query::Or(queries) => queries.iter().any(asks_seen),
        Query::Not(query) => asks_seen(query),
        other => matches!(other, Query::Flag(Flag::Seen)),
    }
}

/// In another's mailbox, the one that is selected, `\Seen` is what one has read oneself.
fn for_reader(session: &Session, account: AccountId, mailbox: MailboxId, query: Query) -> Query {
    let selected = session.selected.as_ref().filter(|_| session.is_selected(account, mailbox));
    match selected.and_then(|selected| selected.shared.as_ref()) {
        Some(shared) => with_seen(query, &shared.seen),
        None => query,
    }
}

/// As deep as the program was allowed to be.
pub(super) fn with_seen(query: Query, seen: &UidSet) -> Query {
    let each = |queries: Vec<Query>| queries.into_iter().map(|q| with_seen(q, seen)).collect();
    match query {
        Query::Flag(Flag::Seen) => Query::Uids(seen.clone()),
        Query::And(queries) => Query::And(each(queries)),
        Query::Or(queries) => Query::Or(each(queries)),
        Query::Not(query) => Query::Not(Box::new(with_seen(*query, seen))),
        other => other,
    }
}

/// A program in a charset that we read.
pub(super) fn known(program: Option<Program>) -> Result<Program, Error> {
    let text = "text is read in UTF-8 and US-ASCII";
    program.ok_or_else(|| Error::no("BADCHARSET (US-ASCII UTF-8)", text))
}

/// The emails of the threads in a program, in order.
pub(super) async fn threads(
    session: &mut Session,
    account: AccountId,
    program: &Program,
) -> Result<Vec<Query>, Error> {
    let store = session.store();
    let mut threads = Vec::with_capacity(program.threads.len());
    for thread in &program.threads {
        let emails = store.thread(account, *thread).await?;
        threads.push(Query::Or(emails.into_iter().map(Query::Email).collect()));
    }
    Ok(threads)
}

/// Asks the store; says now and then that it is still looking.
pub(crate) async fn find(
    session: &mut Session,
    account: AccountId,
    mailbox: MailboxId,
    query: Query,
) -> Result<UidSet, Error> {
    let store = session.store();
    let search = store.search(account, mailbox, query);
    let messages = progress::reporting(&mut session.wire, &session.tag, search).await??;
    Ok(messages.iter().map(|message| message.uid).collect())
}

fn save(session: &mut Session, uids: UidSet) {
    if let Some(selected) = &mut session.selected {
        selected.save(uids);
    }
}

/// Says what was found, as it was asked for; saves it, and keeps it up to date, if that was asked.
pub(super) async fn say(
    session: &mut Session,
    verb: &str,
    by_uid: bool,
    give: Option<&Give>,
    mut found: Found,
) -> Result<(), Error> {
    let highest = told(session, give, &found).await?;
    let view = session.view()?;
    let numbers: Vec<u32> = if by_uid {
        found.uids.iter().map(|uid| uid.get()).collect()
    } else {
        found.uids.iter().filter_map(|uid| view.number_of(*uid)).collect()
    };
    match give {
        Some(give) if give.says_nothing() => {}
        Some(give) => {
            let source = Source { tag: &session.tag, by_uid, mailbox: None };
            give::esearch(session.wire.out(), &source, give, &numbers, highest);
        }
        None => plain(session.wire.out(), verb, &numbers, highest),
    }
    if give.is_some_and(|give| give.update) {
        match found.context.take() {
            Some(context) => contexts::keep(session, Context { by_uid, ..context }),
            None => contexts::no_update(session, &session.tag.clone()),
        }
    }
    Ok(())
}

/// Saves what was found, if that was asked. Gives the highest MODSEQ of what is told, if it is to be told: with MIN and
/// MAX alone, of these two (RFC 7162 §3.1.10).
pub(super) async fn told(
    session: &mut Session,
    give: Option<&Give>,
    found: &Found,
) -> Result<Option<ModSeq>, Error> {
    if let Some(give) = give.filter(|give| give.save) {
        save(session, give.given(&found.uids));
    }
    if !found.modseq {
        return Ok(None);
    }
    let (account, mailbox) = session.here()?;
    let view = session.store().view(account, mailbox).await?;
    let told = give.unwrap_or(&Give::ALL).given(&found.uids);
    Ok(view.members(&told).map(|entry| entry.modseq).max())
}

/// `* SEARCH 2 3 (MODSEQ 12)`, and the same for SORT (RFC 7162 §3.1.6).
fn plain(out: &mut Vec<u8>, verb: &str, numbers: &[u32], highest: Option<ModSeq>) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(verb.as_bytes());
    for number in numbers {
        out.push(b' ');
        encode::number(out, (*number).into());
    }
    if let Some(highest) = highest {
        out.extend_from_slice(format!(" (MODSEQ {highest})").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
