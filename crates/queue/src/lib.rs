//! Letters on their way out: taken durably, tried again, reported on. Knows nothing about how a letter travels:
//! that is a [`Transport`], which others own.
//!
//! | file | holds |
//! |---|---|
//! | `envelope` | [`Envelope`], [`Recipient`]: what is asked for |
//! | `transport` | [`Transport`], [`Attempt`], [`Outcome`]: what a way out has to do |

mod envelope;
mod transport;

pub use envelope::{Body, Envelope, Notify, Recipient, Return};
pub use transport::{Answer, Attempt, Outcome, Route, Transport, Trying};
