//! SORT and UID SORT (RFC 5256 §3), with the answers of ESORT (RFC 5267 §3). The keys are in `order/sort.rs`.
//!
//! ```text
//! sort            = "SORT" [SP "RETURN" SP search-return-opts] SP sort-criteria SP search-criteria
//! search-criteria = charset 1*(SP search-key)
//! ```

use super::search::give::Give;
use super::search::{self, Program};
use crate::commands::Verb;
use crate::order::sort::{Keys, Sorter};
use crate::order::{aside, each};
use crate::parse::{Parsed, Parser};
use crate::progress;
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
        let give = search::return_options(p)?;
        let keys = Keys::parse(p)?;
        p.sp()?;
        Ok(Self { by_uid: p.by_uid, give, keys, program: search::criteria(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let mut found = search::found(session, self.program, self.give.as_ref()).await?;
        if let Some(context) = &mut found.context {
            context.keys = Some(self.keys.clone());
        }
        found.uids = sort(session, &found.uids, self.keys).await?;
        search::say(session, "SORT", self.by_uid, self.give.as_ref(), found).await?;
        Ok(Done::new("Sorted"))
    }
}

/// The messages in that order. `found` ascending.
pub(crate) async fn sort(
    session: &mut Session,
    found: &[Uid],
    keys: Keys,
) -> Result<Vec<Uid>, Error> {
    let with_emails = keys.needs_emails();
    let mut sorter = Sorter::new(keys);
    each(session, found, with_emails, |_, message, email| {
        sorter.take(message.uid.get(), message, email);
    })
    .await?;
    let work = aside(found.len(), || sorter.sorted().into_iter().filter_map(Uid::new).collect());
    progress::reporting(&mut session.wire, &session.tag, work).await?
}
