//! RSET (RFC 1939 §5): nothing is marked any more.

use crate::reply::Reply;
use crate::session::Session;

pub(crate) fn run(session: &mut Session, _arg: &[u8]) -> Reply {
    session.on_maildrop(|maildrop| {
        maildrop.restore();
        let (count, bytes) = maildrop.totals();
        Reply::ok(format!("{count} letters, {bytes} bytes"))
    })
}
