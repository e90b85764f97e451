//! The server as a client sees it: over an in-memory pipe, on a real store in a temporary folder.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

mod abuse;
mod compress;
mod counting;
mod fetching;
mod harness;
mod large;
mod mutate;
mod notifying;
mod seeds;
mod sharing;
mod starttls;
mod transcripts;
mod uploads;
