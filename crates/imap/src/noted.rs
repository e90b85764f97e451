//! What is worked out of a letter once and kept with its row in the cache: what mailboxes are sorted by, and its
//! BODYSTRUCTURE. A list of thousands is then one look at each row, not at every string of it.

use crate::fetch::bodystructure;
use crate::order::casemap::casemap;
use crate::order::subject::Base;
use mparser::Index;
use std::sync::{Arc, OnceLock};
use storage::Email;

/// A longer structure is written anew each time.
const STRUCTURE_BYTES: usize = 4 << 10;

#[derive(Default)]
struct Noted {
    keys: OnceLock<Keys>,
    /// `None`: it is too long.
    structure: OnceLock<Option<Box<[u8]>>>,
}

/// What messages are sorted and threaded by.
#[derive(Clone)]
pub(crate) struct Keys {
    /// Of the header (RFC 5256 §2.2); `None`: none that can be read.
    pub(crate) sent_unix_s: Option<i64>,
    /// The base subject, as it is compared.
    pub(crate) subject: Arc<[u8]>,
    pub(crate) is_answer: bool,
}

impl Keys {
    pub(crate) fn of(index: &Index) -> Self {
        let Base { text, is_answer } = Base::of(&index.subject());
        let sent_unix_s = index.date().map(types::Date::to_unix_s);
        Self { sent_unix_s, subject: casemap(&text).into(), is_answer }
    }
}

pub(crate) fn keys(email: &Email) -> Keys {
    let noted = email.noted(|_| Noted::default());
    noted.keys.get_or_init(|| Keys::of(&email.index)).clone()
}

/// Writes BODYSTRUCTURE.
pub(crate) fn structure(out: &mut Vec<u8>, email: &Email) {
    let write = |out: &mut Vec<u8>| bodystructure::write(out, &email.index, true);
    let noted = email.noted(|_| Noted::default());
    let text = noted.structure.get_or_init(|| {
        let mut text = Vec::new();
        write(&mut text);
        (text.len() <= STRUCTURE_BYTES).then(|| text.into_boxed_slice())
    });
    match text {
        Some(text) => out.extend_from_slice(text),
        None => write(out),
    }
}
