//! STAT (RFC 1939 §5): how many letters and bytes there are.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, _arg: &[u8]) -> Reply {
    session.on_maildrop(|maildrop| {
        let (count, bytes) = maildrop.totals();
        Reply::ok(format!("{count} {bytes}"))
    })
}
