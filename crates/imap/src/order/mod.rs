//! Messages in an order, or in threads (RFC 5256): what SORT and THREAD share. Everything is read from the stored
//! envelopes; no letter is opened.
//!
//! | file | holds |
//! |---|---|
//! | `casemap` | the form in which texts are compared |
//! | `subject` | the base subject |
//! | `sort` | the table of sort keys, and the sort |
//! | `thread` | messages that answer each other, as trees |

pub(crate) mod casemap;
pub(crate) mod sort;
pub(crate) mod subject;
pub(crate) mod thread;

use crate::progress::Counting;
use crate::reply::Error;
use crate::session::Session;
use std::sync::Arc;
use storage::{Email, Message};
use types::{Uid, UidSet};

/// Emails in memory at a time, and read together; a few kilobytes each.
const EMAILS: usize = 1_000;
/// The same without emails.
const ROWS: usize = 10_000;
/// Sorting more than this takes some milliseconds and is done beside the runtime's threads.
const ASIDE: usize = 2_000;

/// Takes in each message of `uids` that is still there and that the client knows, with its number there, ascending.
/// The email is there when `with_emails`.
pub(crate) async fn each(
    session: &mut Session,
    uids: &[Uid],
    with_emails: bool,
    mut take: impl FnMut(u32, &Message, Option<&Email>),
) -> Result<(), Error> {
    let (account, mailbox) = session.here()?;
    let store = session.store();
    let (mut done, mut counting) = (0, Counting::to(uids.len()));
    for uids in uids.chunks(if with_emails { EMAILS } else { ROWS }) {
        let set: UidSet = uids.iter().copied().collect();
        let view = session.view()?;
        if with_emails {
            let listed: Vec<(Message, Arc<Email>)> = store.list(account, mailbox, &set).await?;
            for (message, email) in &listed {
                if let Some(number) = view.number_of(message.uid) {
                    take(number, message, Some(email));
                }
            }
        } else {
            for message in &store.messages(account, mailbox, &set).await? {
                if let Some(number) = view.number_of(message.uid) {
                    take(number, message, None);
                }
            }
        }
        done += uids.len();
        counting.at(&mut session.wire, &session.tag, done).await?;
    }
    Ok(())
}

/// Runs `work` here, or elsewhere when it is much.
pub(crate) async fn aside<T: Send + 'static>(
    count: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    if count <= ASIDE {
        return Ok(work());
    }
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|_| Error::no("SERVERBUG", "the sort was interrupted; try again"))
}
