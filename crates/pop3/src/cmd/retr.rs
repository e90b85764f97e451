//! RETR (RFC 1939 §5): a whole letter, byte for byte as it is stored.

use super::no_such_letter;
use crate::commands::Waiting;
use crate::maildrop::Item;
use crate::reply::Reply;
use crate::session::Session;
use std::sync::Arc;
use storage::{Email, Error, Store};
use types::AccountId;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a [u8]) -> Waiting<'a> {
    Box::pin(async move {
        let Some(letter) = find(session, arg) else {
            return Ok(no_such_letter());
        };
        let bytes = match letter.email().await {
            Ok(email) => letter.store.bytes(&email).await,
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => {
                Reply::ok(format!("{} bytes", bytes.len())).write(session.wire.output());
                session.wire.text(&bytes).await?;
                session.service.metrics.retrieved.inc();
                Ok(Reply::said())
            }
            Err(error) => Ok(letter.refuse(&error)),
        }
    })
}

/// A letter of the list, to be read from the store.
pub(super) struct Letter {
    pub(super) store: Store,
    account: AccountId,
    item: Item,
}

pub(super) fn find(session: &Session, number: &[u8]) -> Option<Letter> {
    let maildrop = session.maildrop.as_ref()?;
    Some(Letter {
        store: session.service.store.clone(),
        account: maildrop.account,
        item: maildrop.get(number)?.1,
    })
}

impl Letter {
    /// An error when another session removed it meanwhile.
    pub(super) async fn email(&self) -> storage::Result<Arc<Email>> {
        let emails = self.store.emails(self.account, &[self.item.email]).await?;
        emails.into_iter().next().ok_or(Error::NoMessage)
    }

    pub(super) fn refuse(&self, error: &Error) -> Reply {
        tracing::warn!(account = %self.account, email = %self.item.email, %error, "letter not sent");
        Reply::of_storage(error)
    }
}
