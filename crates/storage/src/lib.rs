//! The mailbox: the log, the index, the cache, and every operation on them.
//!
//! The only crate that may change two stores together, always in the order bytes, metadata, listeners:
//! a change is appended to the log and synced, then told and answered; whoever reads afterwards sees it, since
//! the index is committed before an account with newer changes is read.
//! Knows nothing about wire syntax, sockets, or who may do what.
//!
//! ```no_run
//! # async fn tour() -> storage::Result<()> {
//! use std::sync::Arc;
//! use storage::{Letter, Options, Store, Target};
//! let store = Store::open(&Options::in_folder("mail"), Arc::new(types::SystemClock))?;
//! let alice = store.put_account("alice@example.test", "").await?;
//! let letter = Letter::parse("Subject: hello\r\n\r\nfirst\r\n".into());
//! store.deliver(letter, vec![Target::inbox(alice)]).await?; // durable when this returns
//! # Ok(()) }
//! ```

mod ahead;
mod alone;
mod applier;
mod clicks;
mod commit;
mod direct;
mod error;
#[cfg(test)]
mod faults;
mod figures;
mod folder;
mod known;
mod letter;
mod log;
mod ops;
mod options;
mod pack;
mod pending;
mod queue;
mod read;
mod recent;
mod search;
mod store;
pub mod tools;
mod view;
mod watch;
mod writer;

pub use clicks::Click;
pub use db::{
    AccountRow as Account, AliasRow as Alias, Amount, ChangeKind, ChangeRow as Change,
    MailboxRow as Mailbox, MessageRow as Message, NoteRow as Note,
};
pub use error::{Error, Result};
pub use letter::{Email, Letter};
pub use ops::{
    ALIAS_TARGETS, Arrived, Copied, Flagged, Into, NOTE_BYTES, NOTE_NAME_BYTES, NOTES, Patch,
    Replaced, SUBSCRIBED, Target,
};
pub use options::Options;
pub use pack::Packed;
pub use read::{Changes, Glance, Snapshot};
pub use search::Query;
pub use store::Store;
pub use view::{Entry, View};
pub use watch::Watch;
