//! The queue as its users see it: a scripted way out, a clock that is moved, a folder that is opened again.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod control;
mod crash;
mod damage;
mod schedule;
mod world;
