//! The spam filter at work: it keeps what people taught it, and says what becomes of a letter. What spam is, `antispam` knows;
//! this crate has the disk, the clock and the network for it.
//!
//! What is learned is a letter like any other: a mailbox of a hidden account in the store, one lesson a letter. So it is
//! as durable as mail is, is backed up with it, and several servers over one database read each other's lessons.
//!
//! | file | holds |
//! |---|---|
//! | `antivirus` | virus scanners that are asked about each letter |
//! | `control` | questions of the person at the console |
//! | `filter` | [`Filter`]: what becomes of a letter |
//! | `history` | the last verdicts, for people who ask why |
//! | `journal` | lessons in the store: written, read in their order by every server |
//! | `lookups` | what others know about senders: SPF, DKIM, DMARC, ARC, lists in the DNS |
//! | `people` | what accounts taught for themselves |
//! | `stored` | a letter as it came, out of one as it is stored |

mod antivirus;
pub mod control;
mod error;
mod filter;
mod history;
mod journal;
mod lookups;
mod people;
mod stored;

pub use antivirus::{Clamd, Engine, Hook, Scanner};
pub use error::{Error, Result};
pub use filter::{Connection, Filter, Judgement, Looked, Options, Taught};
pub use history::{History, Judged, Reason, look_up};
pub use journal::{ACCOUNT, Entry, Journal, State};
pub use lookups::{Asking, DEADLINE, Found, Kind, List, ListOf, Missing, Record, Resolve, Senders};
pub use stored::{Stored, as_it_came};
