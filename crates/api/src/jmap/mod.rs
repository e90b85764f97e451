//! What the methods share: JMAP's ids, states, keywords, filters and the properties of an email.

pub(crate) mod body;
pub(crate) mod changes;
pub(crate) mod email;
pub(crate) mod filter;
pub(crate) mod header;
pub(crate) mod home;
pub(crate) mod ids;
pub(crate) mod query;
pub(crate) mod set;
pub(crate) mod state;
