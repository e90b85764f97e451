//! What all tests need.

use bytes::Bytes;
use queue::{
    Answer, Attempt, Body, Envelope, Options, Outcome, Queue, Recipient, Route, Transport, Trying,
};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::{Address, ManualClock};

pub(crate) const START_UNIX_S: i64 = 1_795_370_400;

/// A way out that does as it is told, and keeps what it was given.
#[derive(Default)]
pub(crate) struct Script {
    /// What recipients hear, one after the other; then they get everything.
    pub(crate) answers: Mutex<HashMap<String, VecDeque<Outcome>>>,
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// How long an attempt takes.
    pub(crate) takes: Option<Duration>,
    pub(crate) most_at_once: Mutex<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) to: Vec<String>,
    pub(crate) from: Option<String>,
    pub(crate) letter: Bytes,
}

impl Script {
    pub(crate) fn answer(&self, to: &str, outcomes: impl IntoIterator<Item = Outcome>) {
        let mut answers = self.answers.lock().unwrap();
        answers.entry(to.to_owned()).or_default().extend(outcomes);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Letters by their text, for whom: what a mailbox would hold.
    pub(crate) fn delivered_to(&self, to: &str) -> usize {
        self.seen().iter().filter(|seen| seen.to.iter().any(|t| t == to)).count()
    }
}

impl Transport for Script {
    fn route(&self, address: &Address) -> Route {
        Route(address.domain().into())
    }

    fn attempt(&self, attempt: Attempt) -> Trying<'_> {
        Box::pin(async move {
            {
                let mut most = self.most_at_once.lock().unwrap();
                most.0 += 1;
                most.1 = most.1.max(most.0);
            }
            if let Some(takes) = self.takes {
                tokio::time::sleep(takes).await;
            }
            let to: Vec<String> = attempt
                .recipients
                .iter()
                .map(|at| attempt.envelope.recipients[*at].address.to_string())
                .collect();
            self.seen.lock().unwrap().push(Seen {
                id: attempt.id.clone(),
                to: to.clone(),
                from: attempt.envelope.sender.as_ref().map(ToString::to_string),
                letter: attempt.letter.clone(),
            });
            self.most_at_once.lock().unwrap().0 -= 1;
            let mut answers = self.answers.lock().unwrap();
            let mut next = |to: &String| answers.get_mut(to).and_then(VecDeque::pop_front);
            to.iter().map(|to| next(to).unwrap_or_else(|| delivered("ok"))).collect()
        })
    }
}

pub(crate) fn said(code: u16, enhanced: &str, text: &str) -> Answer {
    let host = Some("mx.else.test".to_owned());
    Answer { code, enhanced: enhanced.to_owned(), text: text.to_owned(), host, reports: false }
}

pub(crate) fn delivered(text: &str) -> Outcome {
    Outcome::Delivered(said(250, "2.0.0", text))
}

pub(crate) fn later() -> Outcome {
    Outcome::Later { answer: said(451, "4.7.1", "greylisted"), route_down: false }
}

pub(crate) fn down() -> Outcome {
    Outcome::Later { answer: said(0, "4.4.1", "no connection"), route_down: true }
}

pub(crate) fn never() -> Outcome {
    Outcome::Never(said(550, "5.1.1", "no such user"))
}

pub(crate) fn letter(from: &str, to: &[&str]) -> Envelope {
    Envelope {
        sender: (!from.is_empty()).then(|| from.parse().unwrap()),
        recipients: to.iter().map(|to| Recipient::plain(to.parse().unwrap())).collect(),
        body: Body::SevenBit,
        utf8: false,
        require_tls: false,
        ret: None,
        envelope_id: None,
        account: None,
        release_unix_s: None,
    }
}

pub(crate) fn text(n: usize) -> Bytes {
    format!("Message-ID: <{n}@example.test>\r\nSubject: {n}\r\n\r\n{}\r\n", "text ".repeat(n % 50))
        .into()
}

pub(crate) fn options(folder: &Path) -> Options {
    let postmaster = "postmaster@example.test".parse().unwrap();
    Options::in_folder(folder, "mx.example.test", postmaster)
}

/// A queue that runs.
pub(crate) struct World {
    pub(crate) queue: Queue,
    pub(crate) script: Arc<Script>,
    pub(crate) clock: Arc<ManualClock>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl World {
    pub(crate) fn open(folder: &Path) -> Self {
        Self::with(options(folder), Script::default(), START_UNIX_S)
    }

    pub(crate) fn with(options: Options, script: Script, now_unix_s: i64) -> Self {
        let clock = Arc::new(ManualClock::at_unix_s(now_unix_s));
        let queue = Queue::open(options, clock.clone()).unwrap();
        let script = Arc::new(script);
        let (stop, shutdown) = watch::channel(false);
        let task = queue.start(script.clone(), shutdown);
        Self { queue, script, clock, stop, task }
    }

    pub(crate) async fn accept(&self, id: &str, envelope: Envelope, letter: Bytes) {
        self.queue.accept(id.to_owned(), envelope, letter).await.unwrap();
    }

    /// Waits until `what` holds, with the clock as it is.
    pub(crate) async fn until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..4000 {
            if what(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!(
            "it did not happen; seen: {:?}; waiting: {:?}",
            self.script.seen(),
            self.queue.list(None, 0, 10)
        );
    }

    /// Moves the clock and gives the queue time to look at it.
    pub(crate) async fn pass(&self, seconds: i64) {
        self.clock.advance_ms(seconds * 1000);
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }

    pub(crate) async fn close(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        self.queue.close().await;
    }
}
