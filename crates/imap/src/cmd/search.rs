//! SEARCH (RFC 9051 §6.4.4) and UID SEARCH, with the answers of ESEARCH (RFC 4731).
//!
//! ```text
//! search         = "SEARCH" [search-return] SP search-program
//! search-return  = SP "RETURN" SP "(" [("MIN" / "MAX" / "ALL" / "COUNT") ...] ")"
//! search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)
//! ```

mod keys;

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser, limits};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use keys::Key;
use storage::Query;
use types::{ModSeq, ThreadId, Uid, UidSet};

pub(crate) struct Search {
    by_uid: bool,
    give: Option<Give>,
    /// `None`: the text is in a charset we do not read.
    program: Option<Program>,
}

/// What RETURN asks for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the four words of RFC 4731, any of them at once"
)]
pub(super) struct Give {
    min: bool,
    max: bool,
    all: bool,
    count: bool,
}

/// Keys, and the threads in them, whose emails the store must name first.
pub(crate) struct Program {
    key: Key,
    threads: Vec<ThreadId>,
    /// One of them is MODSEQ, so the answer tells the highest one found.
    modseq: bool,
}

impl Verb for Search {
    const KEEPS_NUMBERS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut give = None;
        if p.word("RETURN") {
            p.sp()?;
            give = Some(return_options(p)?);
            p.sp()?;
        }
        let known = !p.word("CHARSET") || charset(p)?;
        let program = if known { Some(keys::program(p)?) } else { None };
        Ok(Self { by_uid: p.by_uid, give, program })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let modseq = self.program.as_ref().is_some_and(|program| program.modseq);
        if modseq {
            session.enable_condstore();
        }
        let found = found(session, self.program).await?;
        let highest = if modseq { highest(session, &found, self.give).await? } else { None };
        let numbers: Vec<u32> = if self.by_uid {
            found.into_iter().map(Uid::get).collect()
        } else {
            let view = session.view()?;
            found.into_iter().filter_map(|uid| view.number_of(uid)).collect()
        };
        let mut line = match self.give {
            Some(give) => esearch(&session.tag, self.by_uid, give, &numbers),
            None => numbers.iter().fold("* SEARCH".to_owned(), |mut line, n| {
                line.push(' ');
                line.push_str(&n.to_string());
                line
            }),
        };
        if let Some(highest) = highest {
            let (before, after) = if self.give.is_some() { ("", "") } else { ("(", ")") };
            line.extend([" ", before, "MODSEQ ", &highest.to_string(), after]);
        }
        session.wire.say(&line);
        Ok(Done::new("Searched"))
    }
}

/// The highest MODSEQ of what is told; with MIN and MAX alone, of these two (RFC 7162 §3.1.10).
async fn highest(
    session: &mut Session,
    found: &[Uid],
    give: Option<Give>,
) -> Result<Option<ModSeq>, Error> {
    let (account, mailbox) = session.here()?;
    let view = session.store().view(account, mailbox).await?;
    let told: UidSet = match give {
        Some(give) if !give.all && !give.count => {
            let min = found.first().filter(|_| give.min);
            min.into_iter().chain(found.last().filter(|_| give.max)).copied().collect()
        }
        _ => found.iter().copied().collect(),
    };
    Ok(view.members(&told).map(|entry| entry.modseq).max())
}

/// SP and the charset of what follows, with the space behind it. `false`: one we do not read, and the rest
/// of the command is skipped, since nobody knows what it says.
fn charset(p: &mut Parser<'_>) -> Parsed<bool> {
    p.sp()?;
    charset_name(p)
}

fn charset_name(p: &mut Parser<'_>) -> Parsed<bool> {
    let charset = p.astring()?;
    let known = ["UTF-8", "US-ASCII"];
    if !known.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(&charset)) {
        p.skip_rest();
        return Ok(false);
    }
    p.sp()?;
    Ok(true)
}

/// ```text
/// search-criteria = charset 1*(SP search-key)
/// ```
/// As SORT and THREAD have it (RFC 5256 §5). `None`: the text is in a charset we do not read.
pub(super) fn criteria(p: &mut Parser<'_>) -> Parsed<Option<Program>> {
    if charset_name(p)? { keys::program(p).map(Some) } else { Ok(None) }
}

/// What the client knows of what the program finds, ascending.
pub(super) async fn found(
    session: &mut Session,
    program: Option<Program>,
) -> Result<Vec<Uid>, Error> {
    let Some(program) = program else {
        let text = "text is read in UTF-8 and US-ASCII";
        return Err(Error::no("BADCHARSET (US-ASCII UTF-8)", text));
    };
    let query = resolve(session, program).await?;
    find(session, query).await
}

/// ```text
/// search-return-opts = "(" [search-return-opt *(SP search-return-opt)] ")"
/// ```
pub(super) fn return_options(p: &mut Parser<'_>) -> Parsed<Give> {
    let mut give = Give::default();
    p.list(limits::OPTIONS, |p| {
        match p.one_of(&["MIN", "MAX", "ALL", "COUNT"], "MIN, MAX, ALL or COUNT")? {
            0 => give.min = true,
            1 => give.max = true,
            2 => give.all = true,
            _ => give.count = true,
        }
        Ok(())
    })?;
    // RFC 4731 §3.1: nothing asked for is ALL.
    give.all |= give == Give::default();
    Ok(give)
}

/// Numbers in the program become UIDs, threads their emails.
async fn resolve(session: &mut Session, program: Program) -> Result<Query, Error> {
    let account = session.account()?;
    let store = session.store();
    let mut threads = Vec::with_capacity(program.threads.len());
    for thread in program.threads {
        let emails = store.thread(account, thread).await?;
        threads.push(Query::Or(emails.into_iter().map(Query::Email).collect()));
    }
    let now_unix_s = session.service.clock.now_unix_s();
    program.key.query(session.view()?, &threads, now_unix_s)
}

/// What the client knows of what is found, ascending.
async fn find(session: &mut Session, query: Query) -> Result<Vec<Uid>, Error> {
    let (account, mailbox) = session.here()?;
    let view = session.view()?;
    // Asked by many clients at every start; the answer is at hand.
    match &query {
        Query::All => return Ok(view.members(&UidSet::all())),
        Query::Uids(uids) => return Ok(view.members(uids)),
        _ => {}
    }
    let messages = session.store().search(account, mailbox, query).await?;
    let found: UidSet = messages.iter().map(|message| message.uid).collect();
    Ok(session.view()?.members(&found))
}

/// ```text
/// esearch-response = "ESEARCH" [SP "(" "TAG" SP string ")"] [SP "UID"] *(SP search-return-data)
/// ```
pub(super) fn esearch(tag: &str, by_uid: bool, give: Give, numbers: &[u32]) -> String {
    let mut quoted = Vec::new();
    encode::string(&mut quoted, tag);
    let mut line = format!("* ESEARCH (TAG {})", String::from_utf8_lossy(&quoted));
    if by_uid {
        line.push_str(" UID");
    }
    let ends = [("MIN", give.min, numbers.first()), ("MAX", give.max, numbers.last())];
    for (name, wanted, end) in ends {
        if let (true, Some(end)) = (wanted, end) {
            line.extend([" ", name, " ", &end.to_string()]);
        }
    }
    if give.count {
        line.extend([" COUNT ", &numbers.len().to_string()]);
    }
    if give.all && !numbers.is_empty() {
        line.push_str(" ALL ");
        line.push_str(&encode::runs(numbers.iter().copied()));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn answers() {
        #[track_caller]
        fn check(options: &str, by_uid: bool, numbers: &[u32], expect: &str) {
            let give = whole(options.as_bytes(), return_options).unwrap();
            assert_eq!(esearch("a\\1", by_uid, give, numbers), expect);
        }
        check("()", false, &[1, 2, 5], "* ESEARCH (TAG \"a\\\\1\") ALL 1:2,5");
        check("(COUNT)", true, &[], "* ESEARCH (TAG \"a\\\\1\") UID COUNT 0");
        check(
            "(min MAX count all)",
            true,
            &[2, 3, 9],
            "* ESEARCH (TAG \"a\\\\1\") UID MIN 2 MAX 9 COUNT 3 ALL 2:3,9",
        );
        check("(MIN MAX ALL)", false, &[], "* ESEARCH (TAG \"a\\\\1\")");
    }
}
