//! The handle everybody holds: take a letter, look, try again, cancel.

use crate::log::{Files, Place};
use crate::metrics::Metrics;
use crate::record::{AnswerForm, EnvelopeForm, Record, Status, Taken, envelope};
use crate::report::{self, Action, Told};
use crate::state::{self, State};
use crate::transport::{Answer, Transport};
use crate::writer::{Ask, Writer, taken_of};
use crate::{Envelope, Error, Options, Result, run};
use bytes::Bytes;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use types::{AccountId, Address, Clock};

/// Letters that may be on their way into the log at a time; more wait.
const TAKING: usize = 1024;

/// The outbound queue. Cloning is cheap.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Gone when the queue is closed.
    asks: Mutex<Option<Sender<Ask>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    taking: Semaphore,
}

/// What the handle, the writer and the attempts share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) files: Arc<Files>,
    pub(crate) state: Mutex<State>,
    pub(crate) transport: OnceLock<Arc<dyn Transport>>,
    /// Letters from before there was a transport.
    pub(crate) unrouted: Mutex<Vec<(u64, Vec<Address>)>>,
    /// Something may be due.
    pub(crate) wake: Notify,
    pub(crate) metrics: Metrics,
    numbers: AtomicU64,
    /// The first that was given since the start.
    first_number: u64,
    is_full: AtomicBool,
    poisoned: OnceLock<String>,
}

/// A letter that waits, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: String,
    pub received_unix_s: i64,
    pub size_bytes: usize,
    pub envelope: Envelope,
    /// In the order of the envelope's recipients.
    pub recipients: Vec<Progress>,
}

/// How far it is with one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Waiting { attempts: u32, next_unix_s: i64, sending: bool, last: Option<Answer> },
    Delivered,
    Failed,
}

impl Queue {
    /// Takes the folder for this process and reads what waits there. Nothing is sent before [`Self::start`].
    pub fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut replayed = Replayed::default();
        let (folder, segment_bytes) = (options.folder.clone(), options.segment_bytes);
        let tail = Files::open(&folder, segment_bytes, &mut |place, records| {
            replayed.take(place, records);
            Ok(())
        })?;
        let first_number = replayed.number.max(tail.seq()) + 1;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(&options)),
            options,
            clock,
            files: tail.files().clone(),
            transport: OnceLock::new(),
            unrouted: Mutex::default(),
            wake: Notify::new(),
            metrics: Metrics::default(),
            numbers: AtomicU64::new(first_number),
            first_number,
            is_full: AtomicBool::new(false),
            poisoned: OnceLock::new(),
        });
        replayed.hand_over(&shared)?;
        let (asks, receiver) = mpsc::channel();
        let writer = Writer { tail, shared: shared.clone(), asks: receiver };
        let writer = std::thread::Builder::new()
            .name("queue".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| Error::Poisoned(e.to_string()))?;
        Ok(Self(Arc::new(Inner {
            shared,
            asks: Mutex::new(Some(asks)),
            writer: Mutex::new(Some(writer)),
            taking: Semaphore::new(TAKING),
        })))
    }

    /// Takes a letter. It is durable when this returns `Ok`, and no letter is taken when it does not, but for
    /// [`Error::Poisoned`], where nobody knows. `id` is the letter's name for people; it need not be unique for ever.
    pub async fn accept(&self, id: String, envelope: Envelope, letter: Bytes) -> Result<()> {
        let shared = &self.0.shared;
        shared.check()?;
        let _place = self.0.taking.acquire().await.map_err(|_| Error::Closed)?;
        let number = shared.new_number();
        let taken = Taken {
            number,
            name: lock(&shared.state).free_name(id, number),
            received_unix_s: shared.clock.now_unix_s(),
            envelope: EnvelopeForm::from(&envelope),
            known: Vec::new(),
        };
        let size_bytes = letter.len();
        self.0.write(vec![Record::Taken(taken)], letter).await?;
        shared.metrics.taken(size_bytes);
        Ok(())
    }

    /// Tells the sender of a letter that never was in the queue that it is in the mailboxes of `delivered`, and that others
    /// have it for `relayed`: recipients by their place in the envelope (RFC 3461 §5.2.2, §5.2.3). Durable as [`Self::accept`]; nothing to do where there is no sender.
    pub async fn tell_delivered(
        &self,
        id: &str,
        envelope: &Envelope,
        delivered: &[usize],
        relayed: &[usize],
        letter: &Bytes,
    ) -> Result<()> {
        let Some(sender) = &envelope.sender else { return Ok(()) };
        let shared = &self.0.shared;
        let answer = Answer {
            code: 250,
            enhanced: "2.1.5".to_owned(),
            text: "taken".to_owned(),
            host: Some(shared.options.hostname.clone()),
            reports: false,
        };
        let tell = |(recipient, action)| {
            let answer = answer.clone();
            Told { recipient, action, answer, retry_until_unix_s: None }
        };
        let of = |places: &[usize], action| places.iter().map(move |at| (*at, action)).collect();
        let both: [Vec<_>; 2] = [of(delivered, Action::Delivered), of(relayed, Action::Relayed)];
        let told: Vec<Told> = both.into_iter().flatten().map(tell).collect();
        let now_unix_s = shared.clock.now_unix_s();
        let about = report::About {
            options: &shared.options,
            envelope,
            sender,
            id,
            received_unix_s: now_unix_s,
            now_unix_s,
            letter,
            told: &told,
        };
        let name = format!("{id}-R");
        let (envelope, bytes) = report::write(&about, &name);
        self.accept(name, envelope, bytes).await
    }

    /// Begins to send; once in the life of a queue. The task ends some seconds after `shutdown` turned true: what is
    /// being sent then may end.
    pub fn start(
        &self,
        transport: Arc<dyn Transport>,
        shutdown: watch::Receiver<bool>,
    ) -> tokio::task::JoinHandle<()> {
        let shared = self.0.shared.clone();
        let asks = lock(&self.0.asks).clone();
        shared.route_all(&transport);
        tokio::spawn(async move {
            if let Some(asks) = asks {
                run::run(shared, transport, asks, shutdown).await;
            }
        })
    }

    /// What waits, oldest first: `most` letters after the first `skip`, of this account or of all.
    pub fn list(&self, account: Option<AccountId>, skip: usize, most: usize) -> Result<Vec<Entry>> {
        let numbers = lock(&self.0.shared.state).numbers();
        let of_account = |number: &u64| match account {
            None => true,
            wanted => lock(&self.0.shared.state).get(*number).is_some_and(|l| l.account == wanted),
        };
        let mut entries = Vec::new();
        for number in numbers.into_iter().filter(of_account).skip(skip).take(most) {
            // Some go while we read.
            entries.extend(self.0.shared.entry(number)?.map(|(entry, _)| entry));
        }
        Ok(entries)
    }

    /// Letters that wait.
    pub fn len(&self) -> usize {
        lock(&self.0.shared.state).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One letter, with its bytes.
    pub fn show(&self, id: &str) -> Result<(Entry, Bytes)> {
        let number = lock(&self.0.shared.state).number_of(id).ok_or(Error::NotFound)?;
        self.0.shared.entry(number)?.ok_or(Error::NotFound)
    }

    /// Tries a letter at once, or all of them; one that is held too. Says how many.
    #[expect(clippy::unused_async, reason = "as the others; another engine may have to wait")]
    pub async fn retry(&self, id: Option<&str>) -> Result<usize> {
        let shared = &self.0.shared;
        let now_unix_s = shared.clock.now_unix_s();
        let mut state = lock(&shared.state);
        let numbers = match id {
            Some(id) => vec![state.number_of(id).ok_or(Error::NotFound)?],
            None => state.numbers(),
        };
        for number in &numbers {
            state.hurry(*number, now_unix_s);
        }
        drop(state);
        shared.wake.notify_one();
        Ok(numbers.len())
    }

    /// Takes a letter back: when this returns `Ok`, it is never sent to anybody who does not have it. With an account,
    /// only its own letters are there. [`Error::TooLate`]: it is being sent right now.
    pub async fn cancel(&self, id: &str, account: Option<AccountId>) -> Result<()> {
        let number = {
            let mut state = lock(&self.0.shared.state);
            let number = state.number_of(id).ok_or(Error::NotFound)?;
            let is_theirs =
                account.is_none() || state.get(number).is_some_and(|l| l.account == account);
            if !is_theirs {
                return Err(Error::NotFound);
            }
            state.cancel(number)?;
            number
        };
        self.0.shared.metrics.cancelled();
        self.0.write(vec![Record::Cancelled { number }], Bytes::new()).await
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.0.shared.options.folder
    }

    /// Adds the figures, under `queue_`.
    pub fn register(&self, registry: &mut Registry) {
        self.0.shared.metrics.register(registry, &self.0.shared);
    }

    /// Writes what is known and lets the folder go. Call it after the task of [`Self::start`] has ended.
    pub async fn close(&self) {
        drop(lock(&self.0.asks).take());
        let writer = lock(&self.0.writer).take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join()).await;
            tracing::debug!(ok = matches!(ended, Ok(Ok(()))), "the queue is closed");
        }
    }
}

impl Inner {
    async fn write(&self, records: Vec<Record>, letter: Bytes) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask { records, letter, reply: Some(reply), ended: None };
        let sent = lock(&self.asks).as_ref().is_some_and(|asks| asks.send(ask).is_ok());
        if !sent {
            return Err(Error::Closed);
        }
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

impl Shared {
    pub(crate) fn new_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_from_before(&self, number: u64) -> bool {
        number < self.first_number
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.poisoned.get() {
            Some(why) => Err(Error::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    pub(crate) fn poison(&self, error: &Error) {
        self.poisoned.get_or_init(|| error.to_string());
        self.wake.notify_one();
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        if self.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            tracing::warn!(is_full, "room on the disk of the queue");
        }
    }

    /// Nothing is sent whose outcome could not be written.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// From now on everything that waits has a way.
    fn route_all(&self, transport: &Arc<dyn Transport>) {
        // Letters that come meanwhile find the transport, or are in the list.
        let mut unrouted = lock(&self.unrouted);
        self.transport.get_or_init(|| transport.clone());
        for (number, addresses) in unrouted.drain(..) {
            let routes = addresses.iter().map(|address| transport.route(address)).collect();
            lock(&self.state).route(number, routes);
        }
    }

    /// `None`: it has just gone.
    fn entry(&self, number: u64) -> Result<Option<(Entry, Bytes)>> {
        let found =
            lock(&self.state).get(number).map(|letter| (letter.place, letter.slots.clone()));
        let Some((place, slots)) = found else { return Ok(None) };
        let (taken, letter) = match self.read(number, place) {
            Ok(found) => found,
            // Its file went with it, or it was moved.
            Err(_) if lock(&self.state).get(number).is_none_or(|l| l.place != place) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let progress = |slot: &state::Slot| match &slot.status {
            Status::Waiting { attempts, next_unix_s, last, .. } => Progress::Waiting {
                attempts: *attempts,
                next_unix_s: *next_unix_s,
                sending: slot.running,
                last: last.as_deref().map(|form: &AnswerForm| form.into()),
            },
            Status::Delivered => Progress::Delivered,
            Status::Failed => Progress::Failed,
        };
        let envelope = envelope(&taken.envelope).ok_or_else(|| damaged(&taken.name))?;
        let entry = Entry {
            id: taken.name,
            received_unix_s: taken.received_unix_s,
            size_bytes: letter.len(),
            envelope,
            recipients: slots.iter().map(progress).collect(),
        };
        Ok(Some((entry, letter)))
    }

    pub(crate) fn read(&self, number: u64, place: Place) -> Result<(Taken, Bytes)> {
        let (records, letter) = self.files.read(place)?;
        let taken = taken_of(&records, number).cloned();
        Ok((taken.ok_or_else(|| damaged(&number.to_string()))?, letter))
    }
}

pub(crate) fn damaged(name: &str) -> Error {
    Error::Corrupt(format!("letter {name} is not as it was written"))
}

/// What the log says, put together.
#[derive(Default)]
struct Replayed {
    letters: HashMap<u64, (Place, Taken)>,
    /// Attempts whose end is not there.
    begun: HashMap<u64, usize>,
    number: u64,
}

impl Replayed {
    fn take(&mut self, place: Place, records: Vec<Record>) {
        for record in records {
            match record {
                Record::Taken(taken) => {
                    self.number = self.number.max(taken.number);
                    self.letters.insert(taken.number, (place, taken));
                }
                Record::Began { number, .. } => *self.begun.entry(number).or_default() += 1,
                Record::Now { number, recipients } => {
                    if let Some(open) = self.begun.get_mut(&number) {
                        *open = open.saturating_sub(1);
                    }
                    self.now(number, recipients);
                }
                Record::Cancelled { number } => {
                    self.letters.remove(&number);
                    self.begun.remove(&number);
                }
            }
        }
    }

    fn now(&mut self, number: u64, recipients: Vec<(usize, Status)>) {
        let Some((_, taken)) = self.letters.get_mut(&number) else { return };
        let release = envelope(&taken.envelope).and_then(|envelope| envelope.release_unix_s);
        taken.known.resize(taken.envelope.recipients(), state::fresh(release));
        for (at, status) in recipients {
            if let Some(known) = taken.known.get_mut(at) {
                *known = status;
            }
        }
        if !taken.known.iter().any(Status::waits) {
            self.letters.remove(&number);
            self.begun.remove(&number);
        }
    }

    fn hand_over(self, shared: &Shared) -> Result<()> {
        let mut letters: Vec<_> = self.letters.into_iter().collect();
        letters.sort_unstable_by_key(|(number, _)| *number);
        for (number, (place, taken)) in letters {
            shared.found(&taken, place)?;
            if self.begun.get(&number).is_some_and(|open| *open > 0) {
                shared.metrics.maybe_twice();
                tracing::warn!(
                    id = taken.name,
                    "the server ended while this letter was being sent; it is sent again and may arrive twice"
                );
            }
        }
        Ok(())
    }
}

/// A panic while something was locked leaves at worst a letter that waits for the next start.
pub(crate) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
