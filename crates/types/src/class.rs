//! Who must act on an error, and whether trying again helps.

/// Every crate's `Error` answers `class()`; each protocol turns the class into its own reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// Try again later: `451`, `NO [UNAVAILABLE]`. Nobody has to change anything.
    Temporary,
    /// Out of room on disk or over quota: `452`, `NO [OVERQUOTA]`. The operator or the owner must act.
    Full,
    /// Trying the same again fails again: `550`, `NO [CANNOT]`. The sender must change something.
    Permanent,
    /// What was asked for is not there: `NO [NONEXISTENT]`, `notFound`.
    NotFound,
    /// The request itself is wrong: `501`, `BAD`.
    Client,
    /// Not allowed: `535`, `NO [NOPERM]`.
    Denied,
    /// Stored bytes do not match their checksum: the operator must look, nothing may be overwritten.
    Corrupt,
}
