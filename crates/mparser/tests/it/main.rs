//! The parser as others use it: whole letters in, an index out.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may stop, and says with what"
)]

mod bombs;
mod corpus;
mod hard;
mod hard_cases;
mod hard_table;
mod mutate;
mod prepend;
mod rebuild;
mod sections;
mod seeds;
mod shown;
