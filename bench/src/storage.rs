//! Deliveries through `Store::deliver`: how many a second are durable beside the raw bound, how many syncs and
//! how many bytes beyond the letter each costs; and what reading costs ([`crate::reads`]).
//!
//! Letters are made and parsed before the clock starts. The bound appends the same frames, handed over through
//! the same kind of queue, with one write and one sync for all that wait; and nothing else.

use crate::args::Args;
use crate::baseline::Row;
use crate::figures::Spread;
use crate::letters::Pool;
use crate::{baseline, cpu, packing, reads};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::{Letter, Options, Store, Target};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use types::{AccountId, SystemClock};

const LETTER_BYTES: usize = 8000;
const SEED: u64 = 1;
/// Few accounts share pages of the index, many do not.
const ACCOUNTS: [usize; 2] = [64, 1000];
/// The head of a frame and what our facts add to the part table, about.
const FRAME_BYTES: usize = 64 + 60;
/// One commit of the bound takes at most so much, as ours does.
const BATCH_LETTERS: usize = 1024;
const BATCH_BYTES: usize = 16 << 20;
/// What a load leaves behind is written meanwhile.
const SETTLE: Duration = Duration::from_millis(700);

/// Letters of one round: enough for several commits of the index.
fn letters_of(writers: usize) -> usize {
    match writers {
        1 => 3_000,
        2..=15 => 12_000,
        _ => 30_000,
    }
}

/// One number of writers on one number of accounts, with a store of its own.
struct Case {
    writers: usize,
    accounts: Vec<AccountId>,
    folder: PathBuf,
    store: Store,
    rounds: Vec<Round>,
    bytes_at_close: f64,
}

/// What a round gave, each for one delivery but the rates.
struct Round {
    per_s: f64,
    bound_per_s: f64,
    syncs: f64,
    bytes_beyond: f64,
    cpu_ms: f64,
    bound_cpu_ms: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    measure(args, |args, runtime, folder| {
        let mut rows = deliveries(args, runtime, folder)?;
        rows.extend(reads::run(args, runtime, folder)?);
        rows.extend(packing::rows(args, runtime, folder)?);
        Ok(rows)
    })
}

/// Deliveries alone.
pub(crate) fn run_alone(args: &Args) -> Result<()> {
    measure(args, deliveries)
}

fn measure(
    args: &Args,
    rows: impl FnOnce(&Args, &Runtime, &Path) -> Result<Vec<Row>>,
) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder);
    let folder = folder.with_context(|| format!("cannot write in {}", args.folder.display()))?;
    let busy = cpu::busy();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = rows(args, &runtime, folder.path())?;
    if let Some(busy) = busy {
        println!("{busy}");
    }
    if args.save {
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

fn deliveries(args: &Args, runtime: &Runtime, folder: &Path) -> Result<Vec<Row>> {
    let pool = Pool::new(LETTER_BYTES, SEED);
    let mut cases = Vec::new();
    for accounts in ACCOUNTS {
        for writers in &args.connections {
            let path = folder.join(format!("{accounts}-{writers}"));
            cases.push(Case::open(runtime, &path, *writers, accounts)?);
        }
    }
    let mut number = 0;
    for round in 1..=args.rounds {
        for case in &mut cases {
            eprintln!(
                "round {round} of {}: {} writers, {} accounts",
                args.rounds,
                case.writers,
                case.accounts.len()
            );
            case.round(runtime, &pool, &mut number, folder)?;
        }
    }
    println!(
        "\nStore::deliver, {LETTER_BYTES} byte letters, {} rounds, {}\n\
         Median of the rounds (smallest..largest). A ratio is taken inside each round.\n\n\
         {:>7} {:>8}  {:<18} {:<20} {:<20} {:<20} {:<22} {:<18} CPU ms/raw append",
        args.rounds,
        cpu::machine(),
        "writers",
        "accounts",
        "of the raw bound",
        "deliveries/s",
        "raw bound/s",
        "syncs/delivery",
        "bytes beyond/delivery",
        "CPU ms/delivery"
    );
    let mut rows = Vec::new();
    for mut case in cases {
        case.close(runtime)?;
        println!("{}", case.line());
        rows.extend(case.rows());
    }
    Ok(rows)
}

impl Case {
    fn open(runtime: &Runtime, folder: &Path, writers: usize, accounts: usize) -> Result<Self> {
        // Packing reads and compresses whole segments beside the deliveries: docs/adr/0006-packing.md has its price.
        let options = Options { pack: false, ..Options::in_folder(folder) };
        let store = Store::open(&options, Arc::new(SystemClock))?;
        let accounts = runtime.block_on(make_accounts(&store, accounts))?;
        let folder = folder.to_owned();
        Ok(Self { writers, accounts, folder, store, rounds: Vec::new(), bytes_at_close: 0.0 })
    }

    fn round(
        &mut self,
        runtime: &Runtime,
        pool: &Pool,
        number: &mut u64,
        folder: &Path,
    ) -> Result<()> {
        let mut letters = Vec::new();
        for _ in 0..letters_of(self.writers) {
            *number += 1;
            letters.push(Letter::parse(pool.letter(*number, "u0000@example.test").into()));
        }
        let count = exact(letters.len());
        let payload: usize = letters.iter().map(|letter| letter.bytes.len()).sum();
        let frames: Vec<Bytes> = letters.iter().map(frame).collect();
        settle();
        self.forget_cached()?;
        let threads_before = cpu_of_threads()?;
        let cpu_before = cpu::used_ms(std::process::id())?;
        let (bound_seconds, committer) = bound(runtime, self.writers, frames, folder)?;
        let bound_cpu_ms = (cpu::used_ms(std::process::id())? - cpu_before) / count;
        eprintln!(
            "  the bound: {:.0}/s; CPU us/append by thread: committer {:.1}, {}",
            count / bound_seconds,
            committer / count,
            since(&threads_before, count)?
        );
        settle();
        let threads_before = cpu_of_threads()?;
        let before = (
            cpu::used_ms(std::process::id())?,
            written_bytes()?,
            figure(&self.store, "storage_batches_total")?,
        );
        let seconds = self.deliver(runtime, letters)?;
        let cpu_ms = (cpu::used_ms(std::process::id())? - before.0) / count;
        settle();
        eprintln!(
            "  {:.2} of the bound, {:.0}/s; CPU us/delivery by thread: {}",
            bound_seconds / seconds,
            count / seconds,
            since(&threads_before, count)?
        );
        let written = written_bytes()? - before.1;
        self.rounds.push(Round {
            per_s: count / seconds,
            bound_per_s: count / bound_seconds,
            syncs: (figure(&self.store, "storage_batches_total")? - before.2) / count,
            bytes_beyond: (written - exact(payload)) / count,
            cpu_ms,
            bound_cpu_ms,
        });
        Ok(())
    }

    fn deliver(&self, runtime: &Runtime, letters: Vec<Letter>) -> Result<f64> {
        let numbered = letters.into_iter().zip(self.accounts.iter().copied().cycle());
        let work = Arc::new(Mutex::new(numbered.collect::<Vec<_>>()));
        in_parallel(runtime, self.writers, || {
            let (work, store) = (work.clone(), self.store.clone());
            async move {
                while let Some((letter, account)) = next(&work) {
                    let done = store.deliver(letter, vec![Target::inbox(account)]).await?;
                    ensure!(done.iter().all(std::result::Result::is_ok), "a letter was refused");
                }
                Ok(())
            }
        })
    }

    /// Gives the memory that caches the log's files back, as the bound does when its file is removed. Memory that
    /// a virtual machine touches for the first time costs more than all else here, some 15 us a letter; a
    /// machine that has run for a day has no such memory left, and neither side shall pay for it alone.
    fn forget_cached(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.folder.join("log"))? {
            let file = File::open(entry?.path())?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(())
    }

    /// What closing writes belongs to all deliveries.
    fn close(&mut self, runtime: &Runtime) -> Result<()> {
        let before = written_bytes()?;
        runtime.block_on(self.store.close());
        let all = letters_of(self.writers) * self.rounds.len();
        self.bytes_at_close = (written_bytes()? - before) / exact(all);
        Ok(())
    }

    fn spread(&self, value: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(value))
    }

    fn bytes_beyond(&self, round: &Round) -> f64 {
        round.bytes_beyond + self.bytes_at_close
    }

    fn line(&self) -> String {
        let show = |spread: Option<Spread>| spread.map(|s| s.to_string()).unwrap_or_default();
        let syncs = self.spread(|round| round.syncs).map(|s| format!("{:.3}", s.median));
        format!(
            "{:>7} {:>8}  {:<18} {:<20} {:<20} {:<20} {:<22} {:<18} {}",
            self.writers,
            self.accounts.len(),
            show(self.spread(|round| round.per_s / round.bound_per_s)),
            show(self.spread(|round| round.per_s)),
            show(self.spread(|round| round.bound_per_s)),
            syncs.unwrap_or_default(),
            show(self.spread(|round| self.bytes_beyond(round))),
            show(self.spread(|round| round.cpu_ms)),
            show(self.spread(|round| round.bound_cpu_ms)),
        )
    }

    fn rows(&self) -> Vec<Row> {
        let name = |figure: &str| {
            format!(
                "storage 8 KB, {} writers, {} accounts: {figure}",
                self.writers,
                self.accounts.len()
            )
        };
        let row = |figure, unit, against, value: Option<Spread>, ratio: Option<Spread>| {
            Some(Row { figure: name(figure), value: value?, unit, ratio: ratio?, against })
        };
        let ratio = self.spread(|round| round.per_s / round.bound_per_s);
        let rate = self.spread(|round| round.per_s);
        let syncs = self.spread(|round| round.syncs);
        let bytes = self.spread(|round| self.bytes_beyond(round));
        let to_letter = self.spread(|round| self.bytes_beyond(round) / exact(LETTER_BYTES));
        [
            row("durable deliveries", "1/s", "raw append+fdatasync", rate, ratio),
            row("syncs of the log", "1/delivery", "one a delivery", syncs, syncs),
            row("bytes written beyond it", "B/delivery", "bytes of the letter", bytes, to_letter),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

pub(crate) async fn make_accounts(store: &Store, count: usize) -> Result<Vec<AccountId>> {
    let mut accounts = Vec::with_capacity(count);
    for n in 0..count {
        accounts.push(store.put_account(&format!("u{n:04}@example.test"), "").await?);
    }
    Ok(accounts)
}

/// What of a letter and its facts reaches the log.
fn frame(letter: &Letter) -> Bytes {
    let index = letter.index.encode();
    let mut frame = vec![0; FRAME_BYTES];
    frame.extend_from_slice(&letter.bytes);
    frame.extend_from_slice(&index);
    frame.into()
}

fn next<T>(work: &Mutex<Vec<T>>) -> Option<T> {
    work.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

/// Seconds until `writers` tasks are through.
fn in_parallel<W: Future<Output = Result<()>> + Send + 'static>(
    runtime: &Runtime,
    writers: usize,
    task: impl Fn() -> W,
) -> Result<f64> {
    let from = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|_| runtime.spawn(task())).collect();
    for task in tasks {
        runtime.block_on(task)??;
    }
    Ok(from.elapsed().as_secs_f64())
}

type Waiting = (Bytes, oneshot::Sender<bool>);

/// Seconds, and the committer's CPU in us.
fn bound(
    runtime: &Runtime,
    writers: usize,
    frames: Vec<Bytes>,
    folder: &Path,
) -> Result<(f64, f64)> {
    let path = folder.join("bound.log");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let (queue, waiting) = mpsc::channel::<Waiting>(4096);
    let committer = std::thread::spawn(move || {
        commit(waiting, file);
        used_by_this_thread_us()
    });
    let work = Arc::new(Mutex::new(frames));
    let seconds = in_parallel(runtime, writers, || {
        let (work, queue) = (work.clone(), queue.clone());
        async move {
            while let Some(frame) = next(&work) {
                let (answer, durable) = oneshot::channel();
                queue.send((frame, answer)).await.ok().context("the committer has gone")?;
                ensure!(durable.await?, "the bound could not be written: is the disk full?");
            }
            Ok(())
        }
    });
    drop(queue);
    let committer = committer.join().ok().context("the committer panicked")?;
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok((seconds?, committer))
}

fn commit(mut waiting: mpsc::Receiver<Waiting>, mut file: File) {
    let mut bytes = Vec::new();
    let mut callers = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        let mut next = Some(first);
        while let Some((frame, caller)) = next {
            bytes.extend_from_slice(&frame);
            callers.push(caller);
            let room = callers.len() < BATCH_LETTERS && bytes.len() < BATCH_BYTES;
            next = if room { waiting.try_recv().ok() } else { None };
        }
        let done = file.write_all(&bytes).and_then(|()| file.sync_data()).is_ok();
        bytes.clear();
        for caller in callers.drain(..) {
            // A writer that has failed waits no more.
            caller.send(done).unwrap_or_default();
        }
    }
}

/// Bytes this process caused to be written to disks, as the kernel counts.
fn written_bytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/io").context("cannot read /proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.context("/proc/self/io has no write_bytes")?.parse()?)
}

/// CPU of the calling thread.
fn used_by_this_thread_us() -> f64 {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns: usize = used.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    exact(ns) / 1000.0
}

/// CPU of each thread since `before`, in us for each of `count`.
fn since(before: &BTreeMap<String, u64>, count: f64) -> Result<String> {
    let now = cpu_of_threads()?;
    let split = now.iter().map(|(name, ns)| {
        let ns = ns.saturating_sub(before.get(name).copied().unwrap_or(0));
        format!("{name} {:.1}", exact(usize::try_from(ns).unwrap_or(0)) / 1000.0 / count)
    });
    Ok(split.collect::<Vec<_>>().join(", "))
}

/// Nanoseconds of CPU that each thread has used, those of one name together.
fn cpu_of_threads() -> Result<BTreeMap<String, u64>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").context("cannot read /proc/self/task")? {
        let task = task?.path();
        let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
        let Ok(used) = std::fs::read_to_string(task.join("schedstat")) else { continue };
        let ns: u64 = used.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        *threads.entry(name.trim().to_owned()).or_default() += ns;
    }
    Ok(threads)
}

/// A counter of the store.
fn figure(store: &Store, name: &str) -> Result<f64> {
    let mut registry = Registry::default();
    store.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    Ok(value.with_context(|| format!("the store has no {name}"))?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "counts here lie far below 2^52")]
pub(crate) fn exact(count: usize) -> f64 {
    count as f64
}

/// Lets what the last measurement left for the disk be written, so that the next does not pay for it.
#[expect(clippy::disallowed_methods, reason = "there is no executor here that could be blocked")]
fn settle() {
    std::thread::sleep(SETTLE);
    rustix::fs::sync();
}
