//! Conversations with a real mail store behind them, over an in-memory pipe.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod login;
mod maildrop;
mod stls;
mod world;
