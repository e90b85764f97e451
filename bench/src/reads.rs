//! What reading costs: the newest letters of a mailbox, flags, SELECT, opening after a crash.
//!
//! The rows are asked of the index by themselves, and through the store as a protocol does.

use crate::args::Args;
use crate::baseline::Row;
use crate::figures::Spread;
use anyhow::{Context as _, Result, ensure};
use db::Index;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use storage::{Letter, Options, Store, Target};
use tokio::runtime::Runtime;
use types::{
    AccountId, EmailId, Flag, FlagChange, Flags, MailboxId, ModSeq, SystemClock, Uid, UidSet,
};

/// One mailbox of this size is listed and selected.
const MAILBOX_LETTERS: u32 = 100_000;
const NEWEST: u32 = 50;
const FLAGS: u32 = 10_000;
/// The store that is killed and opened again.
const KILLED_ACCOUNTS: usize = 1_000;
const KILLED_LETTERS: u64 = 1_000_000;
/// Listing is quick: one of so many is one value.
const REPEAT: usize = 200;
const FLAG_READS: usize = 10;
const INBOX: MailboxId = MailboxId(1);

/// `opbench reads`: all but the opening of a large store.
pub(crate) fn run_alone(args: &Args) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = measure(args, &runtime, folder.path())?;
    show(&rows);
    Ok(())
}

pub(crate) fn run(args: &Args, runtime: &Runtime, folder: &Path) -> Result<Vec<Row>> {
    let mut rows = measure(args, runtime, folder)?;
    rows.push(against(
        "open after kill -9 with 1,000,000 messages",
        "ms",
        200.0,
        open_after_kill(args, folder)?,
    ));
    show(&rows);
    Ok(rows)
}

fn show(rows: &[Row]) {
    println!("\n{:<44} {:<28} of its bar", "reading", "median (smallest..largest)");
    for row in rows {
        println!("{:<44} {:<28} {}", row.figure, format!("{} {}", row.value, row.unit), row.ratio);
    }
}

fn measure(args: &Args, runtime: &Runtime, folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join("reads");
    let options = Options::in_folder(&path);
    let account = fill_mailbox(runtime, &options)?;
    let mut rows = vec![
        against(
            "newest 50 rows with envelopes, index",
            "us",
            60.0,
            newest_of_index(&path, account)?,
        ),
        against(
            "SELECT state of 100,000 messages, cold",
            "us",
            5_000.0,
            select_cold(args, &path, account)?,
        ),
    ];
    let whole = view_cold(args, runtime, &options, account)?;
    rows.push(against("all of 100,000 messages for SELECT, cold", "us", 5_000.0, whole));
    for (cache_bytes, name) in [(0, "store, no cache"), (options.cache_bytes, "store")] {
        let options = Options { cache_bytes, ..options.clone() };
        let store = Store::open(&options, Arc::new(SystemClock))?;
        let newest = runtime.block_on(newest_of_store(&store, account))?;
        let figure = format!("newest 50 rows with envelopes, {name}");
        rows.push(against(&figure, "us", 60.0, newest));
        let flags = runtime.block_on(flags(args, &store, account))?;
        let name = if cache_bytes == 0 { ", no cache" } else { "" };
        let read = format!("10,000 flags read{name}");
        rows.push(against(&read, "us", 1_000.0, flags.read));
        if cache_bytes > 0 {
            let first = "10,000 flags read, all changed before";
            rows.push(against(first, "us", 1_000.0, flags.read_first));
            rows.push(against("10,000 flags changed", "us", 1_000.0, flags.changed));
        }
        runtime.block_on(store.close());
    }
    Ok(rows)
}

/// A row whose ratio is to the bar we hold ourselves to.
fn against(figure: &str, unit: &'static str, bar: f64, value: Spread) -> Row {
    let Spread { median, min, max } = value;
    let ratio = Spread { median: median / bar, min: min / bar, max: max / bar };
    Row { figure: format!("storage {figure}"), value, unit, ratio, against: "its bar" }
}

fn spread(values: Vec<f64>) -> Result<Spread> {
    Spread::of(values).context("nothing was measured")
}

fn us(from: Instant) -> f64 {
    from.elapsed().as_secs_f64() * 1e6
}

fn letter(number: u64) -> Letter {
    let raw = format!(
        "Message-ID: <{number:016x}@load.example.test>\r\nDate: Sun, 22 Nov 2026 18:00:00 +0000\r\n\
         From: \"Nadawca {number}\" <s@sender.example.test>\r\nTo: <u0000@example.test>\r\n\
         Subject: letter {number}\r\n\r\nshort\r\n"
    );
    Letter::parse(raw.into())
}

fn fill_mailbox(runtime: &Runtime, options: &Options) -> Result<AccountId> {
    let store = Store::open(options, Arc::new(SystemClock))?;
    let accounts = runtime.block_on(crate::storage::make_accounts(&store, 10))?;
    let account = *accounts.first().context("no account")?;
    runtime.block_on(deliver(&store, &[account], u64::from(MAILBOX_LETTERS)))?;
    runtime.block_on(store.close());
    Ok(account)
}

/// Many at once, since each would wait for its sync.
async fn deliver(store: &Store, accounts: &[AccountId], letters: u64) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for (number, account) in (0..letters).zip(accounts.iter().copied().cycle()) {
        if tasks.len() >= 500
            && let Some(done) = tasks.join_next().await
        {
            done??;
        }
        let store = store.clone();
        tasks.spawn(async move {
            let done = store.deliver(letter(number), vec![Target::inbox(account)]).await?;
            ensure!(done.iter().all(std::result::Result::is_ok), "a letter was refused");
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn newest_uids() -> UidSet {
    let first = Uid::new(MAILBOX_LETTERS - NEWEST + 1);
    UidSet::from_ranges(first.into_iter().map(|first| (first, Uid::MAX)))
}

fn open_index(folder: &Path) -> Result<Arc<dyn Index>> {
    Ok(db::open(&format!("sqlite:{}", folder.join("index.sqlite").display()))?)
}

fn newest_of_index(folder: &Path, account: AccountId) -> Result<Spread> {
    let index = open_index(folder)?;
    let uids = newest_uids();
    let mut values = Vec::new();
    for _ in 0..REPEAT {
        let from = Instant::now();
        let read = index.read()?;
        let rows = read.messages(account, INBOX, &uids)?;
        let ids: Vec<EmailId> = rows.iter().map(|row| row.email).collect();
        let (mut found, mut bytes) = (0, 0);
        read.scan_emails(&ids, &mut |row| {
            found += 1;
            bytes += row.index.to_vec().len();
        })?;
        drop(read);
        values.push(us(from));
        ensure!(found == NEWEST && bytes > 0, "{found} emails");
    }
    spread(values)
}

async fn newest_of_store(store: &Store, account: AccountId) -> Result<Spread> {
    let uids = newest_uids();
    // Who lists a mailbox has selected it.
    store.view(account, INBOX).await?;
    let mut values = Vec::new();
    for _ in 0..REPEAT {
        let from = Instant::now();
        let listed = store.list(account, INBOX, &uids).await?;
        values.push(us(from));
        ensure!(listed.len() == NEWEST as usize, "{} emails", listed.len());
        let subjects = listed.iter().filter(|(_, email)| email.index.envelope.subject.is_some());
        ensure!(subjects.count() == NEWEST as usize, "an envelope is missing");
    }
    spread(values)
}

/// EXISTS, UIDNEXT, UIDVALIDITY, HIGHESTMODSEQ, UNSEEN, with nothing of the index in memory.
fn select_cold(args: &Args, folder: &Path, account: AccountId) -> Result<Spread> {
    let mut values = Vec::new();
    for _ in 0..args.rounds.max(5) {
        forget(folder)?;
        let index = open_index(folder)?;
        let from = Instant::now();
        let read = index.read()?;
        let row = read.mailbox(account, INBOX)?.context("no inbox")?;
        values.push(us(from));
        ensure!(row.total == u64::from(MAILBOX_LETTERS), "{} messages", row.total);
    }
    spread(values)
}

/// Takes the index out of memory.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    rustix::fs::sync();
    for name in ["index.sqlite", "index.sqlite-wal"] {
        if let Ok(file) = File::open(folder.join(name)) {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// The counters, and number, UID and flags of every message.
fn view_cold(
    args: &Args,
    runtime: &Runtime,
    options: &Options,
    account: AccountId,
) -> Result<Spread> {
    let mut values = Vec::new();
    for _ in 0..args.rounds.max(5) {
        let store = Store::open(options, Arc::new(SystemClock))?;
        forget(&options.folder)?;
        let from = Instant::now();
        let view = runtime.block_on(store.view_by_name(account, "inbox"))?;
        values.push(us(from));
        ensure!(view.len() == MAILBOX_LETTERS as usize, "{} messages", view.len());
        runtime.block_on(store.close());
    }
    spread(values)
}

struct FlagsCost {
    read: Spread,
    read_first: Spread,
    changed: Spread,
}

/// Reading the flags of 10,000 messages, and changing them, through the store. The first reading after a change
/// pays for what the change left to do.
async fn flags(args: &Args, store: &Store, account: AccountId) -> Result<FlagsCost> {
    let range = Uid::new(1).zip(Uid::new(FLAGS));
    let uids = UidSet::from_ranges(range);
    let (mut read, mut read_first, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..args.rounds.max(5) {
        for time in 0..FLAG_READS {
            let from = Instant::now();
            let rows = store.messages(account, INBOX, &uids).await?;
            if time == 0 { &mut read_first } else { &mut read }.push(us(from));
            ensure!(rows.len() == FLAGS as usize, "{} rows", rows.len());
            let seen = rows.iter().filter(|row| row.flags.contains(Flag::Seen)).count();
            ensure!(seen == if round % 2 == 0 { 0 } else { FLAGS as usize }, "{seen} are seen");
        }
        let seen = Flags::new(&[Flag::Seen]);
        let change = if round % 2 == 0 { FlagChange::Add(seen) } else { FlagChange::Remove(seen) };
        let from = Instant::now();
        store.store_flags(account, INBOX, uids.clone(), change, None::<ModSeq>).await?;
        changed.push(us(from));
    }
    let seen = FlagChange::Remove(Flags::new(&[Flag::Seen]));
    store.store_flags(account, INBOX, uids, seen, None).await?;
    Ok(FlagsCost {
        read: spread(read)?,
        read_first: spread(read_first)?,
        changed: spread(changed)?,
    })
}

fn open_after_kill(args: &Args, folder: &Path) -> Result<Spread> {
    let path = folder.join("killed");
    let mut child = Command::new(std::env::current_exe()?);
    let status = child.args(["fill-and-die", "--folder"]).arg(&path).status()?;
    ensure!(status.signal() == Some(9), "the filling process ended otherwise: {status}");
    let mut values = Vec::new();
    for _ in 0..args.rounds.max(3) {
        // Each round opens what the killed one left, not what the round before made good.
        let copy = folder.join("copy");
        copy_folder(&path, &copy)?;
        rustix::fs::sync();
        let from = Instant::now();
        let store = Store::open(&Options::in_folder(&copy), Arc::new(SystemClock))?;
        values.push(us(from) / 1000.0);
        let index = store.index();
        let read = index.read()?;
        let mut total = 0;
        for account in read.accounts()? {
            total += read.mailbox(account.id, INBOX)?.context("no inbox")?.total;
        }
        ensure!(total == KILLED_LETTERS, "{total} messages of {KILLED_LETTERS}");
        drop(read);
        drop(store);
        std::fs::remove_dir_all(&copy)?;
    }
    spread(values)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// `opbench fill-and-die --folder DIR`: fills a store and ends as a killed server does.
pub(crate) fn fill_and_die(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Store::open(&Options::in_folder(&args.folder), Arc::new(SystemClock))?;
    let accounts = runtime.block_on(crate::storage::make_accounts(&store, KILLED_ACCOUNTS))?;
    runtime.block_on(deliver(&store, &accounts, KILLED_LETTERS))?;
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}
