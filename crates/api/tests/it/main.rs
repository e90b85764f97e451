//! Conversations with the whole service: a real store in a temporary folder, a real socket on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop, and say where"
)]

mod abuse;
mod blobs;
mod client;
mod events;
mod house;
mod letters;
mod mail;
mod rows;
mod sessions;
mod web;
