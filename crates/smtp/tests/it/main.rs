//! Conversations with a real mail store behind them, over an in-memory pipe.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod abuse;
mod chunking;
mod fronts;
mod guard;
mod lmtp;
mod mx;
mod smuggling;
mod starttls;
mod submission;
mod world;
