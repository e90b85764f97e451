//! How much one request may ask for. Each limit has its reason beside it.

/// One request's JSON: `maxSizeRequest` of RFC 8620 §2, which suggests 10,000,000.
pub const REQUEST_BYTES: usize = 10_000_000;
/// Calls in one batch: `maxCallsInRequest`; RFC 8620 §2 suggests 16, a start of the web UI takes under 10.
pub const CALLS_IN_REQUEST: usize = 64;
/// Values in one request's JSON. A value takes up to 100 bytes of memory and 2 on the wire.
pub const JSON_VALUES: usize = 250_000;
/// Objects one `/get` gives: `maxObjectsInGet`, as RFC 8620 §2 suggests.
pub const OBJECTS_IN_GET: usize = 500;
/// Objects one `/set` changes: `maxObjectsInSet`, as RFC 8620 §2 suggests.
pub const OBJECTS_IN_SET: usize = 500;
/// Changes of one `/set` that wait for the disk together, so that they share a sync.
pub const SETS_AT_ONCE: usize = 64;
/// Ids one `/query` gives; a list on a screen asks for 50.
pub const QUERY_IDS: usize = 1_000;
/// Conditions and operators in one filter.
pub const FILTER_NODES: usize = 64;
/// Operators inside each other; a search line of a person makes 2 or 3.
pub const FILTER_DEPTH: usize = 8;
/// Comparators in one sort.
pub const SORT_KEYS: usize = 8;
/// Emails whose subject or sender is looked at to sort by it.
pub const SORTED_BY_TEXT: usize = 50_000;
/// Entries of the change log one `/changes` reads; beyond, asking for everything again is cheaper.
pub const CHANGES: usize = 50_000;
/// Text of one body part in `bodyValues`.
pub const BODY_VALUE_BYTES: usize = 2 << 20;
/// All `bodyValues` of one request together; beyond, values are cut and marked as cut.
pub const BODY_VALUES_BYTES: usize = 32 << 20;
/// Values that back references of one request bring in.
pub const REFERENCE_VALUES: usize = 20_000;
/// Steps in the path of a back reference.
pub const REFERENCE_STEPS: usize = 16;

/// A login's JSON.
pub const LOGIN_BYTES: usize = 8 * 1024;
/// How long a body may take to arrive.
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// Sessions of one account; the one unused for longest makes room.
pub const SESSIONS_OF_ACCOUNT: usize = 50;
/// Sessions in all: about 50 MB of memory.
pub const SESSIONS: usize = 100_000;
/// A session unused for so long ends.
pub const SESSION_IDLE_MS: i64 = 7 * 24 * 3600 * 1000;
/// A session ends after so long however much it is used.
pub const SESSION_LIFE_MS: i64 = 30 * 24 * 3600 * 1000;

/// Push listeners of one account: a dozen open windows.
pub const LISTENERS_OF_ACCOUNT: usize = 16;
/// Push listeners in all.
pub const LISTENERS: usize = 10_000;
/// Comment lines keep proxies from closing a silent push connection.
pub const LISTEN_PING_MS: u64 = 25_000;
/// Events of one listener come at most so often; a flood of letters becomes some events.
pub const LISTEN_GAP_MS: u64 = 100;
/// A push connection ends after so long; the browser opens it again and is asked who it is.
pub const LISTEN_LIFE_MS: u64 = 3_600_000;

/// Text of one letter's page, HTML or plain, before images.
pub const PAGE_BYTES: usize = 2 << 20;
/// Images inside one letter's page.
pub const PAGE_IMAGE_BYTES: usize = 8 << 20;
/// Letters inside a letter that its page shows.
pub const PAGE_LETTERS: usize = 10;
