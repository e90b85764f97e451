//! One file for each verb: its grammar, its answer, its tests. The table is in `commands`.

pub(crate) mod auth;
pub(crate) mod capa;
pub(crate) mod dele;
pub(crate) mod list;
pub(crate) mod noop;
pub(crate) mod pass;
pub(crate) mod quit;
pub(crate) mod retr;
pub(crate) mod rset;
pub(crate) mod stat;
pub(crate) mod stls;
pub(crate) mod top;
pub(crate) mod uidl;
pub(crate) mod user;
pub(crate) mod utf8;

use crate::reply::Reply;

/// The reply to a number that names no letter.
pub(crate) fn no_such_letter() -> Reply {
    Reply::error("", "there is no such letter")
}
