//! Where the queue lies, and how patient it is.

use std::path::{Path, PathBuf};
use types::Address;

#[derive(Debug, Clone)]
pub struct Options {
    /// Its own folder; made when it is not there.
    pub folder: PathBuf,
    /// Our name in reports.
    pub hostname: String,
    /// Who reports come from, in their `From`; their envelope has no sender.
    pub postmaster: Address,
    /// Seconds from one attempt to the next; the last one is repeated.
    pub retry_s: Vec<u32>,
    /// A letter that could not be sent for so long goes back (RFC 5321 §4.5.4.1: 4 to 5 days).
    pub expire_s: u32,
    /// After so long the sender hears that it is still tried.
    pub delay_report_s: u32,
    /// Attempts of one route at a time.
    pub per_route: usize,
    /// Attempts at a time in all.
    pub attempts: usize,
    /// Size at which a file of the log is closed and the next begins.
    pub segment_bytes: u64,
}

impl Options {
    pub fn in_folder(folder: impl AsRef<Path>, hostname: &str, postmaster: Address) -> Self {
        const MINUTE: u32 = 60;
        const HOUR: u32 = 60 * MINUTE;
        Self {
            folder: folder.as_ref().to_owned(),
            hostname: hostname.to_owned(),
            postmaster,
            // RFC 5321 §4.5.4.1: at least 30 minutes in general; more often at first, as greylisting wants.
            retry_s: vec![
                MINUTE,
                5 * MINUTE,
                10 * MINUTE,
                20 * MINUTE,
                30 * MINUTE,
                HOUR,
                2 * HOUR,
                4 * HOUR,
            ],
            expire_s: 5 * 24 * HOUR,
            delay_report_s: 4 * HOUR,
            per_route: 20,
            attempts: 200,
            segment_bytes: 64 << 20,
        }
    }

    /// How long to wait after this many attempts.
    pub(crate) fn wait_s(&self, attempts: u32) -> u32 {
        let place = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.retry_s.get(place).or(self.retry_s.last()).copied().unwrap_or(600)
    }
}
