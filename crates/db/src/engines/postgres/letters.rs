//! Letters in the table `letter`, beside their rows; numbers that several servers give without meeting each other;
//! and what servers tell each other.
//!
//! A place is the number of the letter, as segment, and a byte in it.

use super::read::int;
use super::session::{Place, Server, Session, answer_of};
use super::{Postgres, lock};
use crate::{Letters, Location, Result};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::{AsyncMessage, Client};
use types::{AccountId, EmailId, ModSeq};

/// `INCREMENT BY` of the sequence `email_id`.
const IDS_AT_ONCE: u64 = 32;
/// How long a letter that is gone can still be read by who had begun to.
const REMOVE_GONE: &str = "DELETE FROM letter WHERE gone_at < now() - interval '1 hour'";
/// Whoever lost an answer asks within a minute.
const FORGET_MARKS: &str = "DELETE FROM done WHERE at < now() - interval '1 hour'";
/// The channel of `LISTEN` and `NOTIFY`.
const CHANNEL: &str = "openpoczta";
/// PostgreSQL takes 8,000 bytes in one message; an entry has at most 42.
const MESSAGE_BYTES: usize = 7_900;
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// Numbers of emails and letters taken from the database and not given yet.
#[derive(Default)]
pub(super) struct Ids {
    next: u64,
    end: u64,
}

impl Ids {
    pub(super) fn next(&mut self, session: &Session) -> Result<u64> {
        while self.next >= self.end {
            let sql = "SELECT nextval('email_id'), (SELECT coalesce(max(id), 0) FROM email)";
            let row = answer_of(session.row(sql, &[])?)?;
            let (first, highest): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            // Rows put under numbers of their own may be ahead.
            if first <= highest {
                continue;
            }
            self.next = first.cast_unsigned();
            self.end = self.next + IDS_AT_ONCE;
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

pub(super) fn next_account(session: &Session, last: AccountId) -> Result<AccountId> {
    loop {
        let row = answer_of(session.row("SELECT nextval('account_id')", &[])?)?;
        let next = AccountId(row.try_get::<_, i64>(0)?.cast_unsigned());
        if next > last {
            return Ok(next);
        }
    }
}

pub(super) fn place_of(letter: EmailId) -> Location {
    Location { segment: letter.0, offset: 0 }
}

/// Removes letters whose last email went some time ago, and old marks of transactions.
pub(super) fn tidy(session: &Session) -> Result<()> {
    session.rows(FORGET_MARKS, &[])?;
    session.rows(REMOVE_GONE, &[]).map(|_| ())
}

impl Letters for Postgres {
    fn read(&self, location: Location, range: Range<u32>) -> Result<Option<Vec<u8>>> {
        let session = self.reader()?;
        // substring counts from 1. Outside of a transaction: one statement, one moment.
        let sql = "SELECT substring(bytes FROM $2 FOR $3) FROM letter WHERE id = $1";
        let length = i32::try_from(range.len()).unwrap_or(i32::MAX);
        let from = location.offset.saturating_add(u64::from(range.start)).saturating_add(1);
        let from = i32::try_from(from).unwrap_or(i32::MAX);
        let row = session.row(sql, &[&int(location.segment), &from, &length]);
        self.keep(session);
        Ok(row?.map(|row| row.try_get(0)).transpose()?)
    }

    fn announce(&self, changed: &[(AccountId, ModSeq)]) {
        if let Some(news) = &*lock(&self.news) {
            for change in changed {
                // Closed only when the runtime is: then nobody is there to be told.
                news.send(*change).unwrap_or_default();
            }
        }
    }

    fn listen(&self, tell: Box<dyn Fn(AccountId, ModSeq) + Send + Sync>) {
        let (news, to_tell) = unbounded_channel();
        *lock(&self.news) = Some(news);
        let own = std::collections::hash_map::RandomState::new();
        let own = std::hash::BuildHasher::hash_one(&own, CHANNEL);
        self.place.spawn(gossip(self.place.server(), format!("{own:016x}"), to_tell, tell));
    }
}

/// Keeps a connection on which this server tells and hears; a new one when it is lost.
async fn gossip(
    server: Server,
    own: String,
    mut news: UnboundedReceiver<(AccountId, ModSeq)>,
    tell: Box<dyn Fn(AccountId, ModSeq) + Send + Sync>,
) {
    loop {
        if let Ok((client, mut connection)) = server.connect().await {
            let hear = async {
                while let Some(Ok(message)) = connection.next().await {
                    if let AsyncMessage::Notification(heard) = message {
                        heard_of(heard.payload(), &own, &*tell);
                    }
                }
            };
            tokio::select! {
                () = hear => {}
                stopped = pass_on(&client, &own, &mut news) => if stopped { return },
            }
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Ends with `true` when the index is closed, with `false` when the connection is lost.
async fn pass_on(
    client: &Client,
    own: &str,
    news: &mut UnboundedReceiver<(AccountId, ModSeq)>,
) -> bool {
    // News are not worth a sync of the disk.
    let begin = format!("SET synchronous_commit = off; LISTEN {CHANNEL}");
    if client.batch_execute(&begin).await.is_err() {
        return false;
    }
    loop {
        let Some(first) = news.recv().await else { return true };
        let mut message = own.to_owned();
        let mut next = Some(first);
        while let Some((account, modseq)) = next {
            // Writing to a String cannot fail.
            write!(message, " {}:{}", account.0, modseq.0).unwrap_or_default();
            next = if message.len() < MESSAGE_BYTES { news.try_recv().ok() } else { None };
        }
        if client.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &message]).await.is_err() {
            return false;
        }
    }
}

/// `SERVER ACCOUNT:MODSEQ ACCOUNT:MODSEQ ...`
fn heard_of(message: &str, own: &str, tell: &dyn Fn(AccountId, ModSeq)) {
    let mut words = message.split(' ');
    if words.next() == Some(own) {
        return;
    }
    for (account, modseq) in words.filter_map(|word| word.split_once(':')) {
        if let (Ok(account), Ok(modseq)) = (account.parse(), modseq.parse()) {
            tell(AccountId(account), ModSeq(modseq));
        }
    }
}

impl Place {
    /// Connections of which no news come do not end the index: they are made again.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.runtime() {
            runtime.spawn(work);
        }
    }
}
