//! Questions to the DNS: the same one is asked once at a time and its answer remembered. Nobody waits longer than he says; a
//! question goes on without him, so that the answer is there for the next letter.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// A resolver that has not answered by then does not.
const GIVEN_UP: Duration = Duration::from_secs(5);
/// Questions under way; beyond it nothing is known.
const UNDER_WAY: usize = 1_024;
/// Remembered answers, and bytes in them: some 10 MB with what is around them.
const REMEMBERED: usize = 16_384;
const REMEMBERED_BYTES: usize = 4 << 20;
/// Of one answer.
const RECORDS: usize = 32;
const ANSWER_BYTES: usize = 16 * 1024;
/// How long answers hold: whatever the DNS says, within these.
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_hours(1);
const NOTHING: Duration = Duration::from_mins(5);
const FAILED: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// TXT, the strings of a record joined.
    Text,
    /// A
    V4,
    /// AAAA
    V6,
    /// MX, the best first; without their preference.
    Exchanges,
    /// PTR
    Names,
}

/// One answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Text(String),
    Address(IpAddr),
    /// Lower case, without the dot at the end.
    Host(String),
}

impl Record {
    pub(crate) fn text(&self) -> Option<String> {
        if let Self::Text(text) = self { Some(text.clone()) } else { None }
    }

    pub(crate) fn host(&self) -> Option<String> {
        if let Self::Host(host) = self { Some(host.clone()) } else { None }
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        if let Self::Address(ip) = self { Some(*ip) } else { None }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Host(text) => text.len(),
            Self::Address(_) => 16,
        }
    }
}

/// What was found, and for how long it holds.
#[derive(Debug, Clone)]
pub struct Found {
    pub records: Vec<Record>,
    pub ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No such name, or no such record.
    Nothing,
    /// Nobody knows: no answer in time, or an error on the way.
    Failed,
}

pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Found, Missing>> + Send + 'a>>;

/// A resolver; `server` has one.
pub trait Resolve: Send + Sync + 'static {
    fn ask<'a>(&'a self, name: &'a str, kind: Kind) -> Asking<'a>;
}

type Answer = Result<Arc<[Record]>, Missing>;

#[derive(Debug, Clone)]
struct Known {
    answer: Answer,
    until: Instant,
}

type Waiting = watch::Receiver<Option<Known>>;

pub(crate) struct Asker {
    resolver: Arc<dyn Resolve>,
    memory: Arc<Mutex<Memory>>,
    under_way: Arc<Semaphore>,
}

#[derive(Default)]
struct Memory {
    asked: HashMap<(Kind, String), Waiting>,
    bytes: usize,
}

/// A question that is under way, or was answered.
pub(crate) struct Pending(Option<Waiting>);

impl Pending {
    pub(crate) async fn answer(self, until: Instant) -> Answer {
        let Some(mut waiting) = self.0 else { return Err(Missing::Failed) };
        let known = timeout_at(until, waiting.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(known)) => known.as_ref().map_or(Err(Missing::Failed), |k| k.answer.clone()),
            Ok(Err(_)) | Err(_) => Err(Missing::Failed),
        }
    }
}

impl Asker {
    pub(crate) fn new(resolver: Arc<dyn Resolve>) -> Self {
        let under_way = Arc::new(Semaphore::new(UNDER_WAY));
        Self { resolver, memory: Arc::default(), under_way }
    }

    /// An empty name is no question.
    pub(crate) fn start(&self, name: &str, kind: Kind) -> Pending {
        if name.is_empty() {
            return Pending(None);
        }
        let key = (kind, name.to_ascii_lowercase());
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = memory.asked.get(&key).filter(|waiting| is_fresh(waiting)) {
            return Pending(Some(waiting.clone()));
        }
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else {
            return Pending(None);
        };
        let (says, waiting) = watch::channel(None);
        memory.put(key.clone(), waiting.clone());
        drop(memory);
        let (resolver, remembered) = (self.resolver.clone(), self.memory.clone());
        tokio::spawn(async move {
            let found = timeout(GIVEN_UP, resolver.ask(&key.1, key.0)).await;
            let known = known(found.unwrap_or(Err(Missing::Failed)));
            let bytes = known.answer.iter().flat_map(|records| records.iter()).map(Record::bytes);
            let bytes = bytes.sum::<usize>();
            remembered.lock().unwrap_or_else(PoisonError::into_inner).bytes += bytes;
            says.send_replace(Some(known));
            drop(permit);
        });
        Pending(Some(waiting))
    }
}

fn is_fresh(waiting: &Waiting) -> bool {
    waiting.borrow().as_ref().is_none_or(|known| known.until > Instant::now())
}

fn known(found: Result<Found, Missing>) -> Known {
    let (answer, ttl): (Answer, Duration) = match found {
        Ok(found) => {
            let mut left = ANSWER_BYTES;
            let fits = |record: &Record| {
                left = left.saturating_sub(record.bytes());
                left > 0
            };
            let records: Vec<Record> =
                found.records.into_iter().take(RECORDS).take_while(fits).collect();
            (Ok(records.into()), found.ttl.clamp(SHORTEST, LONGEST))
        }
        Err(Missing::Nothing) => (Err(Missing::Nothing), NOTHING),
        Err(Missing::Failed) => (Err(Missing::Failed), FAILED),
    };
    Known { answer, until: Instant::now() + ttl }
}

impl Memory {
    fn put(&mut self, key: (Kind, String), waiting: Waiting) {
        if self.asked.len() >= REMEMBERED || self.bytes >= REMEMBERED_BYTES {
            self.asked.retain(|_, waiting| is_fresh(waiting));
            // All at once: what is in use comes back with the next letter.
            if self.asked.len() >= REMEMBERED / 2 || self.bytes >= REMEMBERED_BYTES {
                self.asked.clear();
                self.bytes = 0;
            }
        }
        self.bytes += key.1.len();
        self.asked.insert(key, waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers when it is let.
    struct Slow {
        asked: Arc<AtomicUsize>,
        let_go: Arc<Semaphore>,
    }

    impl Resolve for Slow {
        fn ask<'a>(&'a self, name: &'a str, _: Kind) -> Asking<'a> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let _permit = self.let_go.acquire().await;
                let text = Record::Text(name.repeat(if name == "giant.test" { 2_000 } else { 1 }));
                Ok(Found { records: vec![text; 100], ttl: Duration::ZERO })
            })
        }
    }

    fn slow() -> (Asker, Arc<AtomicUsize>, Arc<Semaphore>) {
        let (asked, let_go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let resolver = Slow { asked: asked.clone(), let_go: let_go.clone() };
        (Asker::new(Arc::new(resolver)), asked, let_go)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(300)
    }

    #[tokio::test(start_paused = true)]
    async fn asked_once_and_not_waited_for() {
        let (asker, asked, let_go) = slow();
        let before = Instant::now();
        for _ in 0..3 {
            let answer = asker.start("A.test", Kind::Text).answer(soon()).await;
            assert_eq!(answer.unwrap_err(), Missing::Failed);
        }
        assert!(before.elapsed() < Duration::from_secs(1));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "the first one is still under way");
        let_go.add_permits(100);
        let answer = asker.start("a.test", Kind::Text).answer(soon()).await.unwrap();
        assert_eq!((answer.len(), &answer[0]), (RECORDS, &Record::Text("a.test".into())));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        asker.start("a.test", Kind::V4).answer(soon()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        tokio::time::advance(SHORTEST * 2).await;
        asker.start("a.test", Kind::Text).answer(soon()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        let giant = asker.start("giant.test", Kind::Text).answer(soon()).await.unwrap();
        assert!(giant.is_empty(), "longer than what is read");
        assert_eq!(asker.start("", Kind::Text).answer(soon()).await, Err(Missing::Failed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_never_answers_is_given_up() {
        let (asker, asked, _let_go) = slow();
        for n in 0..UNDER_WAY + 50 {
            drop(asker.start(&format!("{n}.test"), Kind::Text));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed), UNDER_WAY);
        tokio::time::sleep(GIVEN_UP).await;
        drop(asker.start("one-more.test", Kind::Text));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed), UNDER_WAY + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_has_an_end() {
        let (asker, _, let_go) = slow();
        let_go.add_permits(100);
        for n in 0..REMEMBERED + 100 {
            let answer = asker.start(&format!("{n}.test"), Kind::Text).answer(soon()).await;
            assert!(answer.is_ok());
        }
        let memory = asker.memory.lock().unwrap();
        assert!(
            memory.asked.len() <= REMEMBERED && memory.bytes <= REMEMBERED_BYTES + ANSWER_BYTES
        );
    }
}
