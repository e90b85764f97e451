//! THREAD and UID THREAD (RFC 5256 §3). The algorithms are in `order/thread.rs`.
//!
//! ```text
//! thread     = "THREAD" SP thread-alg SP search-criteria
//! thread-alg = "ORDEREDSUBJECT" / "REFERENCES" / "REFS"
//! ```

use super::search::{self, Program};
use crate::commands::Verb;
use crate::noted;
use crate::order::thread::{ALGORITHMS, Algorithm, Threads};
use crate::order::{aside, each};
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done};
use crate::session::Session;

pub(crate) struct Thread {
    by_uid: bool,
    algorithm: Algorithm,
    /// `None`: the text is in a charset we do not read.
    program: Option<Program>,
}

impl Verb for Thread {
    const KEEPS_NUMBERS: bool = true;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let Some((_, algorithm, _)) = ALGORITHMS.iter().find(|(name, ..)| p.word(name)) else {
            return p.wanted("a way to make threads");
        };
        p.sp()?;
        Ok(Self { by_uid: p.by_uid, algorithm: *algorithm, program: search::criteria(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let found = search::found(session, self.program, None).await?.uids;
        let mut threads = Threads::new(self.algorithm);
        each(session, &found, true, |number, message, email| {
            if let Some(email) = email {
                let number = if self.by_uid { message.uid.get() } else { number };
                threads.take(number, message, &email.index, noted::keys(email));
            }
        })
        .await?;
        let response = aside(found.len(), move || threads.response()).await?;
        session.wire.write(&response).await?;
        Ok(Done::new("Threads made"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(Algorithm, bool)>) {
            let found = whole(text.as_bytes(), Thread::parse).ok();
            assert_eq!(found.map(|t| (t.algorithm, t.program.is_some())), expect, "{text}");
        }
        assert!(ALGORITHMS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ALGORITHMS.iter().all(|(.., spec)| !spec.is_empty()));
        check(" REFERENCES UTF-8 ALL", Some((Algorithm::References, true)));
        check(" refs  us-ascii SINCE 1-Jan-2026", Some((Algorithm::Refs, true)));
        check(" ORDEREDSUBJECT KOI8-R SUBJECT {1}\r\nx", Some((Algorithm::OrderedSubject, false)));
        check(" ORDEREDSUBJECT UTF-8", None);
        check(" JWZ UTF-8 ALL", None);
        check(" REFERENCES", None);
    }
}
