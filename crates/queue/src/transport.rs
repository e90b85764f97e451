//! The way out, owned by others: SMTP to another server, or into a mailbox here.

use crate::Envelope;
use bytes::Bytes;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use types::Address;

/// A way out. One letter is handed over at a time; the queue says how many attempts one route may have at once.
pub trait Transport: Send + Sync + 'static {
    /// Where mail for this address goes next.
    fn route(&self, address: &Address) -> Route;

    /// Tries once, for the recipients that are named, and answers for each of them in their order. Ends by itself,
    /// whatever the other side does. Dropped in the middle: the attempt is given up.
    fn attempt(&self, attempt: Attempt) -> Trying<'_>;
}

pub type Trying<'a> = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'a>>;

/// Letters of one route share connections, a number of attempts at once, and the wait after a failure. A domain
/// in lower case, the name of a smarthost, `local`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route(pub Arc<str>);

impl Route {
    /// Into mailboxes here.
    pub const LOCAL: &'static str = "local";
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One try.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The letter's name, as in logs and in `Received`.
    pub id: String,
    pub route: Route,
    pub envelope: Arc<Envelope>,
    /// The letter was here before the server started: an attempt that nobody could book may have brought it already.
    pub from_before: bool,
    /// Which of the envelope's recipients: those of this route that still wait.
    pub recipients: Vec<usize>,
    pub letter: Bytes,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Delivered(Answer),
    /// Not now; trying again helps. `route_down`: it would be the same for any letter on this route.
    Later { answer: Answer, route_down: bool },
    /// Not ever.
    Never(Answer),
}

/// What the other side said, or what we say when it did not speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The reply code; 0: nobody said anything.
    pub code: u16,
    /// `5.1.1`; made up from the code when there was none (RFC 3463).
    pub enhanced: String,
    pub text: String,
    /// The server that said it.
    pub host: Option<String>,
    /// It takes over the reports (RFC 3461 §5.2.2).
    pub reports: bool,
}
