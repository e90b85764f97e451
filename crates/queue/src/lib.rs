//! Letters on their way out: taken durably, tried again, reported on. Knows nothing about how a letter travels:
//! that is a [`Transport`], which others own.
//!
//! ```no_run
//! # async fn tour(transport: std::sync::Arc<dyn queue::Transport>, envelope: queue::Envelope) -> queue::Result<()> {
//! let postmaster = "postmaster@example.test".parse().unwrap();
//! let options = queue::Options::in_folder("mail/queue", "mx.example.test", postmaster);
//! let queue = queue::Queue::open(options, std::sync::Arc::new(types::SystemClock))?;
//! let (_stop, shutdown) = tokio::sync::watch::channel(false);
//! queue.start(transport, shutdown);
//! queue.accept("4K7Q".into(), envelope, "Subject: hello\r\n\r\n".into()).await?; // durable when this returns
//! # Ok(()) }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `queue` | [`Queue`]: take, list, show, retry, cancel |
//! | `envelope` | [`Envelope`], [`Recipient`]: what is asked for |
//! | `transport` | [`Transport`], [`Attempt`], [`Outcome`]: what a way out has to do |
//! | `state` | who waits for which route, who is next |
//! | `run` | attempts, and what follows from them |
//! | `report` | what the sender is told (RFC 3464) |
//! | `control` | the same for a person beside a server that runs |
//! | `writer` | the thread that writes, for all at once |
//! | `log`, `frame`, `record` | the files, what is written together, the facts |

pub mod control;
mod envelope;
mod error;
mod frame;
mod log;
mod metrics;
mod options;
mod queue;
mod record;
mod report;
mod run;
mod state;
mod transport;
mod writer;

pub use envelope::{Body, Envelope, Notify, Recipient, Return};
pub use error::{Error, Result};
pub use options::Options;
pub use queue::{Entry, Progress, Queue};
pub use transport::{Answer, Attempt, Outcome, Route, Transport, Trying};
