//! How much one command may hold. Checked before anything is allocated for it.

/// Parentheses, NOTs and ORs inside each other. Clients stay under 10; a search editor under 30.
pub(crate) const DEPTH: usize = 100;
/// A tag is repeated in our answer. Clients send 4 to 10 bytes.
pub(crate) const TAG_BYTES: usize = 64;
/// Numbers and ranges in one set. Clients cut their sets at about 1,000 (8 KB lines).
pub(crate) const SET_RANGES: usize = 10_000;
/// Keys of one SEARCH, each looked at for every message.
pub(crate) const SEARCH_KEYS: usize = 1_000;
/// Items of one FETCH, each answered for every message. Web clients ask for about 30.
pub(crate) const FETCH_ITEMS: usize = 100;
/// Field names of one HEADER.FIELDS.
pub(crate) const FIELD_NAMES: usize = 1_000;
/// Numbers of one section (`1.2.3`): the parser of letters stops at 64 levels.
pub(crate) const SECTION_NUMBERS: usize = 100;
/// Flags in one list. Clients send under 10; labels, some dozens.
pub(crate) const FLAGS: usize = 200;
/// Entries of one small list: options, ID fields (RFC 2971 §3.3 has 30), STATUS items, patterns.
pub(crate) const OPTIONS: usize = 64;
