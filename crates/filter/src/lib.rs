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
//! | `correspondents` | to whom an account wrote |
//! | `filter` | [`Filter`]: what becomes of a letter |
//! | `greylist` | letters that are asked to come again |
//! | `history` | the last verdicts, for people who ask why |
//! | `journal` | lessons in the store: written, read in their order by every server |
//! | `lookups` | what others know about senders: SPF, DKIM, DMARC, ARC, lists in the DNS |
//! | `people` | what accounts taught for themselves, and whom they know |
//! | `stored` | a letter as it came, out of one as it is stored |

mod antivirus;
pub mod control;
mod correspondents;
mod error;
mod filter;
mod greylist;
mod history;
mod journal;
mod lookups;
mod people;
mod stored;

pub use antivirus::{Clamd, Engine, Hook, Scanner};
pub use correspondents::Correspondents;
pub use error::{Error, Result};
use filter::short_hash;
pub use filter::{CORRESPONDENT, Connection, Filter, Judgement, Looked, Options, Taught};
pub use greylist::Greylisting;
pub use history::{History, Judged, Reason, look_up};
pub use journal::{ACCOUNT, Entry, Journal, State};
pub use lookups::{Asking, DEADLINE, Found, Kind, List, ListOf, Missing, Record, Resolve, Senders};
pub use people::Own;
pub use stored::{Stored, as_it_came};
