//! Conversations with a real mail store behind them, over an in-memory pipe.

mod login;
mod maildrop;
mod world;
