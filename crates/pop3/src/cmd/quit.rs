//! QUIT (RFC 1939 §5, §6): the end, and the only place where letters are deleted.

use crate::commands::Waiting;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run<'a>(session: &'a mut Session, _arg: &'a [u8]) -> Waiting<'a> {
    Box::pin(async move {
        let Some(maildrop) = session.maildrop.take() else {
            return Ok(Reply::ok("goodbye").closing());
        };
        let deleted = maildrop.deleted();
        if deleted.is_empty() {
            return Ok(Reply::ok("goodbye").closing());
        }
        let store = &session.service.store;
        let (account, mailbox) = (maildrop.account, maildrop.mailbox);
        let reply = match store.remove(account, mailbox, deleted).await {
            Ok(removed) => {
                session.service.metrics.deleted.inc_by(removed.len());
                Reply::ok(format!("goodbye, {} letters deleted", removed.len()))
            }
            Err(error) => {
                tracing::error!(%account, %error, "letters not deleted");
                Reply::of_storage(&error)
            }
        };
        Ok(reply.closing())
    })
}
