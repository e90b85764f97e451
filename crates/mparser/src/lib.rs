//! RFC 5322 + MIME: bytes to parts, and back. Pure: no file, no socket, no clock, no mailbox.
//!
//! [`Message::parse`] never fails and never takes more than linear time: damaged mail is still mail, and what
//! is wrong with it stands in [`Message::defects`]. The result that is worth keeping is the [`Index`]: a flat
//! table of parts with their offsets, the envelope and a preview; `storage` keeps it beside the letter, so
//! that nobody parses it again.
//!
//! ```
//! let raw = b"From: Ala <ala@example.test>\r\nSubject: =?utf-8?Q?Cze=C5=9B=C4=87?=\r\n\r\nDzien dobry\r\n";
//! let letter = mparser::Message::parse(raw);
//! assert_eq!(letter.index().subject(), "Cześć");
//! assert_eq!(letter.index().from_()[0].address, "ala@example.test");
//! assert_eq!(letter.text(0), "Dzien dobry\r\n");
//! let stored = letter.into_index().encode();
//! assert_eq!(mparser::Index::decode(&stored).unwrap().preview, "Dzien dobry");
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `message` | [`Message`]: a letter over its bytes |
//! | `view` | [`View`]: the same read lazily, nothing kept |
//! | `scan`, `cursor`, `simd` | the one pass over the bytes that finds the parts; `dashes`: the quicker one for the tree alone |
//! | `fill`, `quick` | values out of what the scan found; the short way to simple ones |
//! | `headers`, `media` | fields, and the table [`HEADERS`] of those we know; media types |
//! | `index` | [`Index`], [`Part`], [`Envelope`]; `codec`: its stored form |
//! | `address`, `date`, `words`, `params` | values of header fields |
//! | `decode`, `charset`, `charset_own`, `html` | bodies: the table [`DECODERS`], charsets, text out of HTML |
//! | `embedded`, `tnef` | files inside text, inside `winmail.dat`; encoded letters |
//! | `check`, `ambiguity`, `protection` | rules broken, doubts, signed or encrypted |
//! | `builder`, `edit` | new letters; changes that leave all other bytes alone |
//! | `defects`, `limits` | what can be wrong; how much we look at |
#![warn(missing_docs)]

mod address;
mod ambiguity;
mod builder;
mod charset;
mod charset_own;
mod check;
mod codec;
mod cursor;
mod dashes;
mod date;
mod decode;
mod defects;
pub mod edit;
mod embedded;
mod fill;
mod headers;
mod html;
mod index;
pub mod limits;
mod lines;
mod media;
mod message;
mod params;
mod protection;
mod quick;
mod scan;
mod simd;
mod tnef;
mod view;
mod words;

pub use address::{Mailbox, MailboxKind, NamedAddress, parse_addresses};
pub use ambiguity::Ambiguity;
pub use builder::{BuildError, Builder, encode_quoted_printable};
pub use charset::decode_charset;
pub use check::{Breach, RULES, Rule};
pub use codec::IndexError;
pub use date::parse_date;
pub use decode::{
    DECODERS, Decoder, Encoding, Undo, decode_base64, decode_quoted_printable, decode_uuencode,
    encode_base64,
};
pub use defects::{Defect, DefectKind};
pub use embedded::{EmbeddedFile, Wrapping};
pub use headers::{Field, HEADERS, Header, HeaderRow, Headers, header_fields, unfold};
pub use html::html_to_text;
pub use index::{Envelope, FileInside, Index, Part, PartKind};
pub use media::KNOWN_TYPES;
pub use message::Message;
pub use protection::Protection;
pub use view::{Outline, PartView, View};
pub use words::{decode_header_text, encode_header_text};
