//! What an operator does with a mail store beside running it: check and repair, look inside, back up, restore,
//! take mail in and out.
//!
//! All of them block (but [`import`], which drives an open store) and are told to people by `server`; here are
//! values and plain words. They read the log and build an index of their own from it, so that a server may
//! run meanwhile and a broken index is no hindrance. Only [`fsck`] with repair changes a data folder.
//!
//! | file | holds |
//! |---|---|
//! | `scan` | the log frame by frame, past damage |
//! | `offline` | a private index built from a log |
//! | `fsck`, `compare`, `repair` | what is wrong, and putting it right |
//! | `inspect` | what is in a folder, a segment, a letter |
//! | `backup`, `restore`, `rewrite` | copies of the log, segments written anew |
//! | `export`, `import`, `maildir`, `mbox`, `utf7` | mail as other programs keep it |

mod backup;
mod compare;
mod export;
mod fsck;
mod import;
mod inspect;
mod maildir;
mod mbox;
mod offline;
mod repair;
mod restore;
mod rewrite;
mod scan;
mod utf7;
mod words;

pub use backup::{Backed, backup};
pub use export::{Exported, Form, export};
pub use fsck::{Finding, Report, Severity, fsck};
pub use import::{ImportFrom, Imported, import};
pub use inspect::{
    FrameLine, LetterSheet, Overview, PackLine, PartLine, SegmentLine, inspect_folder,
    inspect_letter, inspect_segment,
};
pub use restore::{Restored, restore};

use crate::{Error, Result, folder};
use std::path::Path;

/// What a tool is busy with, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Bytes of the log.
    Reading,
    /// Accounts.
    Comparing,
    /// Bytes.
    Copying,
    /// Letters.
    Writing,
    /// Letters.
    Importing,
}

/// Told what is being done, how much is done and how much there is.
pub type Progress<'a> = &'a (dyn Fn(Doing, u64, u64) + Sync);

/// Says nothing to nobody.
pub fn silent(_: Doing, _: u64, _: u64) {}

/// Who has a data folder while a tool looks at it.
pub(crate) enum Held {
    Ours(#[expect(dead_code, reason = "the folder is ours as long as this lives")] folder::Lock),
    /// A server, by its PID.
    By(String),
}

/// Takes a folder, or says who has it; refuses one that is none.
pub(crate) fn hold(data: &Path) -> Result<Held> {
    if !data.join("log").is_dir() {
        return Err(Error::Io {
            what: "there is no mail store in",
            path: data.to_owned(),
            reason: "it has no folder `log`; give the data folder of the server".to_owned(),
        });
    }
    match folder::open(data) {
        Ok(lock) => Ok(Held::Ours(lock)),
        Err(Error::InUse { pid, .. }) => Ok(Held::By(pid)),
        Err(error) => Err(error),
    }
}
