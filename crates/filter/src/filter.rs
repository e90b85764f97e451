//! What becomes of a letter, and how what people say about letters gets into the next verdict.

use crate::antivirus::{Antivirus, Scanner};
use crate::correspondents::Correspondents;
use crate::greylist::{Greylist, Greylisting};
use crate::history::{History, Judged, Reason};
use crate::journal::{Journal, State};
use crate::lookups::{Lookups, Senders};
use crate::people::{Own, People};
use crate::{Result, as_it_came};
use antispam::{
    Action, Authentication, Class, Evidence, Facts, Hit, Lesson, Listed, LocalRules, Model,
    Personal, STATUS_FIELDS, StatusField, Thresholds, Verdict, Word,
};
use mparser::Message;
use prometheus_client::registry::Registry;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use storage::{Click, Store};
use tokio::sync::{Mutex, mpsc, watch};
use types::{AccountId, Address, Clock, Uid};

/// A state is kept after so many lessons: what is replayed at a start takes a fraction of a second.
const LESSONS_PER_STATE: u32 = 1_000;
/// Lessons that a state covers are kept for so long.
const LESSONS_KEPT_S: i64 = 30 * 86_400;
/// How often lessons of other servers are read.
const OTHERS_EVERY: std::time::Duration = std::time::Duration::from_secs(2);
/// Words of a verdict that are noted.
const WORDS: usize = 12;
/// A state unpacks to no more than this.
const STATE_BYTES: usize = 64 << 20;
/// A letter of somebody to whom the account wrote.
pub const CORRESPONDENT: &str = "CORRESPONDENT";
const CORRESPONDENT_POINTS: f32 = -4.0;
/// Letters that were sent and whose recipients are not noted yet; more are not noted.
const WROTE: usize = 1_000;
/// Recipients of one letter that are noted: more are a mailing, not people one knows.
const WROTE_TO: usize = 50;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Our name in `Received` and `Authentication-Results`.
    pub hostname: String,
    pub thresholds: Thresholds,
    /// Where verdicts are noted for people; `None`: nowhere.
    pub history: Option<PathBuf>,
    /// `None`: nobody is asked about senders.
    pub senders: Option<Senders>,
    /// Asked about each letter, all at once.
    pub scanners: Vec<Scanner>,
    /// Names of [`STATUS_FIELDS`] that letters get beside `X-Spam-Status`.
    pub fields: Vec<String>,
    /// `None`: no letter is asked to come again.
    pub greylisting: Option<Greylisting>,
}

/// Who brings a letter, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    pub id: &'a str,
    pub client_ip: IpAddr,
    pub helo: &'a str,
    /// `None`: the null sender of bounces.
    pub sender: Option<&'a Address>,
    pub recipients: &'a [Address],
    /// Whose mailboxes it would go to.
    pub accounts: &'a [AccountId],
    pub tls: bool,
    /// Its sender logged in, or it was looked at before: nobody is asked about him.
    pub is_known: bool,
}

/// What had to be asked elsewhere.
#[derive(Debug, Default)]
pub struct Looked {
    pub authentication: Option<Authentication>,
    pub listed: Vec<Listed>,
    pub virus: Option<String>,
    /// What is known of the accounts; of most nothing.
    pub own: Vec<(AccountId, Own)>,
}

/// What becomes of one letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// For all; what people taught it for themselves aside.
    pub verdict: Verdict,
    /// That it is spam; `None`: nothing was learned yet.
    pub probability: Option<f32>,
    /// Words that say most; only of letters that are not accepted.
    pub words: Vec<Word>,
    /// Accounts for which it is another one.
    pub own: Vec<(AccountId, Verdict)>,
    /// Of symbols that are not built in, what they mean.
    pub explained: Vec<(String, String)>,
    /// It may be delivered when it comes again in some minutes (greylisting).
    pub later: bool,
}

/// What a lesson did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taught {
    /// It was said before.
    Already,
    Learned,
    /// It was taken for the opposite until now, by the same person.
    Corrected,
}

/// The filter; cheap to share.
#[derive(Clone)]
pub struct Filter(Arc<Inner>);

struct Inner {
    options: Options,
    clock: Arc<dyn Clock>,
    history: Option<History>,
    lookups: Option<Lookups>,
    antivirus: Antivirus,
    greylist: Option<Greylist>,
    model: RwLock<Arc<Model>>,
    local: RwLock<Arc<LocalRules>>,
    kept: Option<Kept>,
}

/// Where lessons are.
struct Kept {
    store: Store,
    journal: Journal,
    people: People,
    wrote: mpsc::Sender<Wrote>,
    /// Until [`Filter::run`] takes it.
    written: std::sync::Mutex<Option<mpsc::Receiver<Wrote>>>,
    /// Only one applies lessons at a time.
    reached: Mutex<Reached>,
}

/// An account sent a letter.
struct Wrote {
    account: AccountId,
    to: Vec<String>,
}

#[derive(Default)]
struct Reached {
    at: Option<Uid>,
    since_state: u32,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Filter {
    /// Rules only: what it is taught is forgotten with it.
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self::with(options, clock, None)
    }

    /// Learns, and keeps what it learned in the store. [`Filter::restore`] brings back what is there.
    pub fn on(store: Store, options: Options, clock: Arc<dyn Clock>) -> Self {
        let journal = Journal::new(store.clone());
        let people = People::new(store.clone());
        let (wrote, written) = mpsc::channel(WROTE);
        let written = std::sync::Mutex::new(Some(written));
        let kept = Kept { store, journal, people, wrote, written, reached: Mutex::default() };
        Self::with(options, clock, Some(kept))
    }

    fn with(options: Options, clock: Arc<dyn Clock>, kept: Option<Kept>) -> Self {
        let history = options.history.as_deref().and_then(|folder| {
            let opened = History::open(folder);
            let said = opened.inspect_err(|error| {
                tracing::warn!(%error, folder = %folder.display(), "verdicts are not noted: `openpoczta spam explain ID` will not find them");
            });
            said.ok()
        });
        let model = RwLock::new(Arc::new(Model::new()));
        let lookups = options.senders.clone().map(Lookups::new);
        let antivirus = Antivirus::new(&options.scanners);
        let greylist = options.greylisting.map(Greylist::new);
        Self(Arc::new(Inner {
            options,
            clock,
            history,
            lookups,
            antivirus,
            greylist,
            model,
            local: RwLock::default(),
            kept,
        }))
    }

    /// Adds the counters, under `filter_`.
    pub fn register(&self, registry: &mut Registry) {
        self.0.antivirus.register(registry.sub_registry_with_prefix("filter"));
    }

    pub fn model(&self) -> Arc<Model> {
        self.0.model.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The header fields that say what a letter was taken for.
    pub fn status_fields(&self, verdict: &Verdict) -> String {
        let mut out = format!("X-Spam-Status: {}\r\n", verdict.header_value());
        let wanted = |field: &&StatusField| self.0.options.fields.iter().any(|f| f == field.name);
        for field in STATUS_FIELDS.iter().filter(wanted) {
            if let Some(value) = (field.value)(verdict) {
                out.extend([field.name, ": ", &value, "\r\n"]);
            }
        }
        out
    }

    fn local_rules(&self) -> Arc<LocalRules> {
        self.0.local.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The operator's own rules from now on.
    pub fn set_local_rules(&self, rules: LocalRules) {
        *self.0.local.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    pub(crate) fn hostname(&self) -> &str {
        &self.0.options.hostname
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub fn thresholds(&self) -> &Thresholds {
        &self.0.options.thresholds
    }

    /// Asks others, for a bounded time. Never fails: what nobody answers is not known.
    pub async fn look(&self, connection: &Connection<'_>, raw: &[u8]) -> Looked {
        let senders = async {
            match &self.0.lookups {
                Some(lookups) if !connection.is_known => {
                    lookups.look(connection, raw, self.0.clock.now_unix_s()).await
                }
                _ => (None, Vec::new()),
            }
        };
        let virus = self.0.antivirus.scan(connection.id, raw);
        let ((authentication, listed), virus) = tokio::join!(senders, virus);
        let mut looked = Looked { authentication, listed, virus, own: Vec::new() };
        if let Some(kept) = &self.0.kept {
            for account in connection.accounts {
                let own = kept.people.of(*account).await;
                looked.own.extend(own.map(|own| (*account, own)));
            }
        }
        looked
    }

    /// No waiting, no disk. The verdict is noted for who asks later.
    pub fn judge(
        &self,
        connection: &Connection<'_>,
        looked: &Looked,
        message: &Message<'_>,
    ) -> Judgement {
        let mut judgement = self.weigh(connection, looked, message);
        judgement.later = self.is_greylisted(connection, looked, &judgement);
        self.note(connection, &judgement, self.0.clock.now_unix_s());
        judgement
    }

    fn is_greylisted(
        &self,
        connection: &Connection<'_>,
        looked: &Looked,
        judgement: &Judgement,
    ) -> bool {
        let Some(greylist) = &self.0.greylist else { return false };
        let Judgement { verdict, own, .. } = judgement;
        let is_doubtful = verdict.score >= greylist.greylisting.points;
        let is_stranger = !connection.is_known && is_far(connection.client_ip);
        let is_awaited = own.iter().any(|(_, theirs)| theirs.has(CORRESPONDENT));
        is_doubtful
            && is_stranger
            && verdict.action == Action::Accept
            && !is_awaited
            && greylist.must_wait(
                connection,
                looked.authentication.as_ref(),
                self.0.clock.now_unix_s(),
            )
    }

    pub(crate) fn weigh(
        &self,
        connection: &Connection<'_>,
        looked: &Looked,
        message: &Message<'_>,
    ) -> Judgement {
        let local = self.local_rules();
        let evidence = Evidence {
            client_ip: Some(connection.client_ip),
            helo: Some(connection.helo),
            sender: connection.sender,
            recipients: connection.recipients,
            tls: connection.tls,
            authentication: looked.authentication.as_ref(),
            listed: &looked.listed,
            local: Some(&local),
            virus: looked.virus.as_deref(),
            now_unix_s: self.0.clock.now_unix_s(),
        };
        let facts = Facts::gather(message, &evidence);
        let (model, thresholds) = (self.model(), self.thresholds());
        let judged = model.judge(&facts, thresholds);
        let verdict = judged.verdict(thresholds);
        let author = proven_author(looked, message);
        let mut own = Vec::new();
        for (account, known) in &looked.own {
            let mut theirs = verdict.clone();
            if let Some(taught) = &known.taught {
                let now = evidence.now_unix_s;
                theirs = model.judge_for(&judged, account.0, taught, thresholds, now);
            }
            if author.as_deref().is_some_and(|author| known.knows.knows(author)) {
                theirs = of_correspondent(theirs, *thresholds);
            }
            if theirs != verdict {
                own.push((*account, theirs));
            }
        }
        let words = if verdict.action == Action::Accept {
            Vec::new()
        } else {
            model.learner.words(&facts, WORDS)
        };
        let probability = (judged.opinion.lessons > 0).then_some(judged.opinion.probability);
        let explained = explained(&verdict, looked, &local);
        Judgement { verdict, probability, words, own, explained, later: false }
    }

    fn note(&self, connection: &Connection<'_>, judgement: &Judgement, at_unix_s: i64) {
        let Some(history) = &self.0.history else { return };
        history.note(judgement.for_people(connection, at_unix_s));
    }

    // --- learning

    /// Reads what was learned. At the start, before mail comes.
    pub async fn restore(&self) -> Result<()> {
        let Some(kept) = &self.0.kept else { return Ok(()) };
        let mut reached = kept.reached.lock().await;
        if let Some(state) = kept.journal.state().await? {
            if let Some(model) = unpack(&state) {
                *self.0.model.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
                reached.at = Some(state.up_to);
            } else {
                tracing::error!("{}", crate::Error::DamagedState);
            }
        }
        self.catch_up(kept, &mut reached).await
    }

    /// Somebody says what a stored letter is. Durable when it returns, and in the next verdict.
    pub async fn learn(
        &self,
        account: Option<AccountId>,
        stored: &[u8],
        class: Class,
    ) -> Result<Taught> {
        let reporter = account.map_or(0, |account| account.0);
        self.learn_as(reporter, account, stored, class).await
    }

    /// A program says it for a person that has no account here, or (`None`) for the operator.
    pub async fn learn_from(
        &self,
        person: Option<&str>,
        letter: &[u8],
        class: Class,
    ) -> Result<Taught> {
        // Accounts have small numbers: the upper half is for others.
        let number = |person: &str| short_hash(person.to_lowercase().as_bytes()) | 1 << 63;
        self.learn_as(person.map_or(0, number), None, letter, class).await
    }

    async fn learn_as(
        &self,
        reporter: u64,
        account: Option<AccountId>,
        stored: &[u8],
        class: Class,
    ) -> Result<Taught> {
        let (lesson, author) = self.lesson(reporter, stored, class);
        let before = self.model().told(lesson.letter, lesson.account);
        if before == Some(class) {
            return Ok(Taught::Already);
        }
        // Before it knows the answer.
        let known = self.model().learner.opinion(&lesson.features).logit;
        match &self.0.kept {
            Some(kept) => {
                let mut reached = kept.reached.lock().await;
                kept.journal.append(&lesson.encode()).await?;
                self.catch_up(kept, &mut reached).await?;
                drop(reached);
                if let Some(account) = account {
                    self.learn_for(kept, account, &lesson, (before, class), known).await?;
                    // Who takes a letter out of Junk wants to hear from its author.
                    let meet = |knows: &mut Correspondents| match (&author, class) {
                        (Some(author), Class::Ham) => knows.meet(author),
                        (Some(author), Class::Spam) => knows.forget(author),
                        (None, _) => false,
                    };
                    kept.people.meet(account, meet).await?;
                }
            }
            None => drop(self.model().apply(&lesson)),
        }
        Ok(if before.is_some() { Taught::Corrected } else { Taught::Learned })
    }

    async fn learn_for(
        &self,
        kept: &Kept,
        account: AccountId,
        lesson: &Lesson,
        (before, class): (Option<Class>, Class),
        known: f32,
    ) -> Result<()> {
        let change = |own: &mut Personal| {
            if let Some(before) = before {
                own.unlearn(&lesson.features, before);
            }
            own.learn(&lesson.features, class, known);
        };
        kept.people.teach(account, change).await
    }

    /// The rules that hit when the letter came are in it; who only imported it never had a verdict. With the letter's
    /// author, when there is one.
    fn lesson(&self, reporter: u64, stored: &[u8], class: Class) -> (Lesson, Option<String>) {
        let came = as_it_came(stored, &self.0.options.hostname);
        let message = Message::parse(came.original);
        let evidence = Evidence {
            client_ip: came.client_ip,
            helo: came.helo,
            sender: came.sender.as_ref(),
            ..Evidence::default()
        };
        let facts = Facts::gather(&message, &evidence);
        let features = antispam::lesson_features(&facts, came.symbols.as_deref());
        let lesson = Lesson {
            sketch: antispam::Sketch::of(&facts),
            letter: short_hash(came.original),
            account: reporter,
            class: Some(class),
            at_unix_s: self.0.clock.now_unix_s(),
            features,
        };
        (lesson, author(&message))
    }

    /// An account sent a letter: what these people answer is hardly spam. Noted soon; does not wait.
    pub fn wrote(&self, account: AccountId, to: impl Iterator<Item = String>) {
        let Some(kept) = &self.0.kept else { return };
        let to = to.take(WROTE_TO).collect();
        if kept.wrote.try_send(Wrote { account, to }).is_err() {
            tracing::warn!(%account, "too many letters were sent at once: whom they were for is not noted");
        }
    }

    async fn note_correspondents(&self, kept: &Kept, wrote: Wrote) {
        let Wrote { account, to } = wrote;
        let own = kept.people.of(account).await.unwrap_or_default();
        if to.iter().all(|address| own.knows.knows(address)) {
            return;
        }
        let meet = |knows: &mut Correspondents| {
            to.iter().fold(false, |changed, address| knows.meet(address) | changed)
        };
        if let Err(error) = kept.people.meet(account, meet).await {
            tracing::warn!(%account, %error, "to whom the account wrote is not noted");
        }
    }

    async fn catch_up(&self, kept: &Kept, reached: &mut Reached) -> Result<()> {
        let model = self.model();
        loop {
            let entries = kept.journal.after(reached.at).await?;
            let Some(last) = entries.last() else { break };
            reached.at = Some(last.at);
            for entry in &entries {
                match Lesson::decode(&entry.lesson) {
                    Some(lesson) => drop(model.apply(&lesson)),
                    None => {
                        tracing::warn!(
                            at = entry.at.get(),
                            "a lesson of the spam filter is damaged and left out"
                        );
                    }
                }
                reached.since_state += 1;
            }
        }
        if reached.since_state >= LESSONS_PER_STATE
            && let Some(up_to) = reached.at
        {
            let bytes = pack(&model);
            let since = self.0.clock.now_unix_s() - LESSONS_KEPT_S;
            kept.journal.keep(&State { up_to, bytes: bytes.into() }, since).await?;
            reached.since_state = 0;
        }
        Ok(())
    }

    /// Learns from moves into Junk and out of it, and from what other servers learn, until `shutdown` is true.
    pub async fn run(self, mut clicks: mpsc::Receiver<Click>, mut shutdown: watch::Receiver<bool>) {
        let Some(kept) = &self.0.kept else { return };
        let written = kept.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut written) = written else { return };
        let mut others = tokio::time::interval(OTHERS_EVERY);
        others.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                click = clicks.recv() => Next::Click(click),
                Some(wrote) = written.recv() => Next::Wrote(wrote),
                _ = others.tick() => Next::Others,
                _ = shutdown.wait_for(|stop| *stop) => Next::Stop,
            };
            match next {
                Next::Click(Some(click)) => self.clicked(kept, click).await,
                Next::Wrote(wrote) => self.note_correspondents(kept, wrote).await,
                Next::Others => {
                    let mut reached = kept.reached.lock().await;
                    if let Err(error) = self.catch_up(kept, &mut reached).await {
                        tracing::warn!(%error, "what other servers learned about spam cannot be read");
                    }
                }
                Next::Click(None) | Next::Stop => return,
            }
        }
    }

    async fn clicked(&self, kept: &Kept, click: Click) {
        let class = if click.spam { Class::Spam } else { Class::Ham };
        match self.learn_stored(kept, click, class).await {
            Ok(Some(taught)) => {
                tracing::info!(account = %click.account, email = %click.email, ?class, ?taught, "the spam filter learned");
            }
            Ok(None) => {
                tracing::info!(account = %click.account, email = %click.email, "a letter was gone before the spam filter could learn it");
            }
            Err(error) => {
                tracing::error!(account = %click.account, email = %click.email, %error, "the spam filter did not learn");
            }
        }
    }

    async fn learn_stored(
        &self,
        kept: &Kept,
        click: Click,
        class: Class,
    ) -> Result<Option<Taught>> {
        let emails = kept.store.emails(click.account, &[click.email]).await?;
        let Some(email) = emails.first() else { return Ok(None) };
        let stored = kept.store.bytes(email).await?;
        self.learn(Some(click.account), &stored, class).await.map(Some)
    }
}

/// What [`Filter::run`] waits for.
enum Next {
    Click(Option<Click>),
    Wrote(Wrote),
    Others,
    Stop,
}

impl Judgement {
    pub fn action_for(&self, account: AccountId) -> Action {
        let mut own = self.own.iter().filter(|(of, _)| *of == account);
        own.next().map_or(self.verdict.action, |(_, verdict)| verdict.action)
    }

    /// The heaviest first.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.verdict.symbols.iter().map(|hit| Reason {
            symbol: hit.symbol.to_string(),
            points: hit.points,
            says: self.says(&hit.symbol),
        })
    }

    fn says(&self, symbol: &str) -> String {
        let explained = self.explained.iter().find(|(of, _)| of == symbol);
        explained.map_or_else(|| says(symbol).to_owned(), |(_, says)| says.clone())
    }

    /// As it is noted and shown.
    pub fn for_people(&self, connection: &Connection<'_>, at_unix_s: i64) -> Judged {
        Judged {
            id: connection.id.to_owned(),
            at_unix_s,
            client: connection.client_ip.to_string(),
            sender: connection.sender.map_or_else(|| "<>".to_owned(), ToString::to_string),
            action: if self.later { "later" } else { word(self.verdict.action) }.to_owned(),
            score: self.verdict.score,
            required: self.verdict.required,
            probability: self.probability,
            symbols: self.reasons().collect(),
            words: self.words.iter().map(|word| (word.text.clone(), word.weight)).collect(),
        }
    }
}

fn explained(verdict: &Verdict, looked: &Looked, local: &LocalRules) -> Vec<(String, String)> {
    let listed = looked.listed.iter();
    let listed =
        listed.map(|one| (one.symbol.clone(), format!("A list in the DNS knows {}.", one.what)));
    let local = verdict.symbols.iter().filter_map(|hit| {
        local.says(&hit.symbol).map(|says| (hit.symbol.to_string(), says.to_owned()))
    });
    listed.chain(local).collect()
}

/// The one author, in lower case.
fn author(message: &Message<'_>) -> Option<String> {
    let from = message.index().from_();
    let [one] = from.as_slice() else { return None };
    Some(one.address.to_lowercase())
}

/// The author of a letter that is really his: a stranger could write anybody's address.
fn proven_author(looked: &Looked, message: &Message<'_>) -> Option<String> {
    let author = author(message)?;
    let address: Address = author.parse().ok()?;
    looked.authentication.as_ref()?.is_authentic(&address).then_some(author)
}

fn of_correspondent(mut verdict: Verdict, thresholds: Thresholds) -> Verdict {
    let (symbol, points) = (CORRESPONDENT.into(), CORRESPONDENT_POINTS);
    verdict.symbols.push(Hit { symbol, points, always: true });
    verdict.score += CORRESPONDENT_POINTS;
    verdict.action = thresholds.action(verdict.score);
    verdict
}

fn is_far(ip: IpAddr) -> bool {
    crate::lookups::distance(ip) == crate::lookups::Distance::Far
}

pub(crate) fn short_hash(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    u64::from_le_bytes(hash.as_bytes().first_chunk::<8>().copied().unwrap_or_default())
}

/// The sentence of a rule of ours.
fn says(symbol: &str) -> &'static str {
    if symbol == antispam::LEARNED {
        return "What people marked as spam, or said is none, is like this letter (points above zero) or unlike it.";
    }
    if symbol == antispam::REPORTED {
        return "People said of copies of this letter that they are spam (points above zero) or wanted.";
    }
    antispam::says(symbol).unwrap_or_default()
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Junk => "junk",
        Action::Refuse => "refuse",
    }
}

fn pack(model: &Model) -> Vec<u8> {
    // Memory to memory: it cannot fail but for want of memory.
    zstd::bulk::compress(&model.save(), 1).unwrap_or_default()
}

fn unpack(state: &State) -> Option<Model> {
    Model::load(&zstd::bulk::decompress(&state.bytes, STATE_BYTES).ok()?)
}
