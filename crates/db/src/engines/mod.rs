//! The table of index engines. A new one: its file, its row, and the contract suite runs over it.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use crate::{Error, Index, Result};
use std::sync::Arc;

/// An engine: the scheme of its URL, what it is, how it opens what follows the scheme.
pub struct EngineEntry {
    pub scheme: &'static str,
    pub about: &'static str,
    pub open: fn(&str) -> Result<Arc<dyn Index>>,
}

pub static ENGINES: &[EngineEntry] = &[
    EngineEntry {
        scheme: "memory",
        about: "in memory, rebuilt from the log at each open; for tests and small trials",
        open: memory::open,
    },
    #[cfg(feature = "postgres")]
    EngineEntry {
        scheme: "postgres",
        about: "a PostgreSQL database, that several servers may share",
        open: postgres::open,
    },
    EngineEntry {
        scheme: "sqlite",
        about: "one SQLite file with a write-ahead log; the default",
        open: sqlite::open,
    },
];

/// Opens `SCHEME:REST`, for instance `sqlite:/var/lib/openpoczta/index.sqlite`.
pub fn open(url: &str) -> Result<Arc<dyn Index>> {
    let unknown = || Error::UnknownEngine(without_password(url));
    let (scheme, rest) = url.split_once(':').ok_or_else(unknown)?;
    let engine = ENGINES.iter().find(|e| e.scheme == scheme).ok_or_else(unknown)?;
    (engine.open)(rest)
}

/// Refuses an index that a newer version wrote, and leaves it as it is. Only files can be looked at so; of others
/// [`open`] says the same.
pub fn check_format(url: &str) -> Result<()> {
    match url.split_once(':') {
        Some(("sqlite", path)) => sqlite::check_format(path.as_ref()),
        _ => Ok(()),
    }
}

/// A URL as it may be shown: what stands between `USER:` and the last `@` before the path is left out, and so is
/// everything after `?`, where a password may stand too.
pub fn without_password(url: &str) -> String {
    let (url, rest) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?..."));
    let Some((scheme, address)) = url.split_once("://") else { return format!("{url}{rest}") };
    // A password may hold a `/` that should have been escaped; better hide too much.
    let Some((login, host)) = address.rsplit_once('@') else { return format!("{url}{rest}") };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}@{host}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        #[track_caller]
        fn check(url: &str, expect: &str) {
            assert_eq!(without_password(url), expect);
        }
        check("sqlite:/var/lib/x@y", "sqlite:/var/lib/x@y");
        check(
            "postgres://mail:s3cret@db.example.test/mail",
            "postgres://mail@db.example.test/mail",
        );
        check("postgres://mail:s3/c@r:et@[::1]:5432/mail", "postgres://mail@[::1]:5432/mail");
        check("postgres://mail@/mail?host=/run&password=x", "postgres://mail@/mail?...");
        check("postgres:///mail", "postgres:///mail");
    }

    #[test]
    fn the_table_is_sorted_and_unknown_engines_are_named() {
        assert!(ENGINES.is_sorted_by(|a, b| a.scheme < b.scheme));
        for bad in ["", "sqlite", "fjall:x"] {
            assert!(matches!(open(bad), Err(Error::UnknownEngine(url)) if url == bad));
        }
    }
}
