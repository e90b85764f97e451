//! SORT and UID SORT (RFC 5256 §3), with the answers of ESORT (RFC 5267 §3). The keys are in `order/sort.rs`.
//!
//! ```text
//! sort            = "SORT" [SP "RETURN" SP search-return-opts] SP sort-criteria SP search-criteria
//! search-criteria = charset 1*(SP search-key)
//! ```

use super::search::{self, Give, Program};
use crate::commands::Verb;
use crate::order::sort::{Keys, Sorter};
use crate::order::{aside, each};
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use types::Uid;

pub(crate) struct Sort {
    by_uid: bool,
    give: Option<Give>,
    keys: Keys,
    /// `None`: the text is in a charset we do not read.
    program: Option<Program>,
}

impl Verb for Sort {
    const KEEPS_NUMBERS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mut give = None;
        if p.word("RETURN") {
            p.sp()?;
            give = Some(search::return_options(p)?);
            p.sp()?;
        }
        let keys = Keys::parse(p)?;
        p.sp()?;
        Ok(Self { by_uid: p.by_uid, give, keys, program: search::criteria(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let found = search::found(session, self.program).await?;
        let sorted = sort(session, &found, self.keys, self.by_uid).await?;
        if let Some(give) = self.give {
            let line = search::esearch(&session.tag, self.by_uid, give, &sorted);
            session.wire.say(&line);
            return Ok(Done::new("Sorted"));
        }
        let out = session.wire.out();
        out.extend_from_slice(b"* SORT");
        for number in sorted {
            out.push(b' ');
            crate::encode::number(out, number.into());
        }
        out.extend_from_slice(b"\r\n");
        Ok(Done::new("Sorted"))
    }
}

async fn sort(
    session: &mut Session,
    found: &[Uid],
    keys: Keys,
    by_uid: bool,
) -> Result<Vec<u32>, Error> {
    let with_emails = keys.needs_emails();
    let mut sorter = Sorter::new(keys);
    each(session, found, with_emails, |number, message, email| {
        sorter.take(if by_uid { message.uid.get() } else { number }, message, email);
    })
    .await?;
    aside(found.len(), || sorter.sorted()).await
}
