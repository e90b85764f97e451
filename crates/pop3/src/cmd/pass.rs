//! PASS (RFC 1939 §7): the other half. All that stands behind the first blank is the password, blanks too.

use crate::commands::Waiting;
use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run<'a>(session: &'a mut Session, arg: &'a [u8]) -> Waiting<'a> {
    Box::pin(async move {
        let Some(user) = session.user.take() else {
            return Ok(Reply::error("", "say USER first"));
        };
        Ok(session.log_in(&user, arg).await)
    })
}
