//! Words every crate shares: ids, flags, sets of UIDs, addresses, limits, the clock.
//!
//! Knows nothing about anything above it: no files, no sockets, no protocol. An edit here rebuilds
//! the whole tree, so it stays small and dull.
//!
//! ```
//! use types::{Address, Uid, UidSet};
//! let alice: Address = "alice+lists@Example.TEST".parse().unwrap();
//! assert_eq!(alice.to_string(), "alice+lists@example.test");
//! let set: UidSet = [1, 2, 3, 9].into_iter().filter_map(Uid::new).collect();
//! assert_eq!(set.to_string(), "1:3,9");
//! ```

mod address;
mod class;
mod clock;
mod date;
mod flags;
mod ids;
mod limits;
mod peer;
mod uidset;

pub use address::{Address, AddressError};
pub use class::ErrorClass;
pub use clock::{Clock, ManualClock, SystemClock};
pub use date::{Date, MONTHS, WEEKDAYS};
pub use flags::{Flag, FlagChange, Flags, Keyword};
pub use ids::{AccountId, EmailId, MailboxId, ModSeq, SpecialUse, ThreadId, Uid, UidValidity};
pub use limits::Limits;
pub use peer::Peer;
pub use uidset::UidSet;
