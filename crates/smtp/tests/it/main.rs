//! Conversations with a real mail store behind them, over an in-memory pipe.

mod abuse;
mod chunking;
mod lmtp;
mod mx;
mod smuggling;
mod submission;
mod world;
