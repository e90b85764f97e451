//! `opbench pack`: what packing saves and costs. Each corpus given with `--letters FILE,FILE` (as `mimebench pack-…`
//! writes them: length as four bytes little endian, letter) goes into a store, is packed, and is read before and
//! after. Then letters are delivered with and without the packer at work beside.
//!
//! "Disk" is the whole data folder, index and all, beside the bytes of the letters; the bar is 0.75.

use crate::args::Args;
use crate::baseline::{self, Row};
use crate::cpu;
use crate::figures::Spread;
use crate::letters::{Pool, Random};
use crate::storage::{exact, make_accounts};
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use storage::{Letter, Options, Store, Target};
use tokio::runtime::Runtime;
use types::{AccountId, EmailId, SystemClock};

const DISK_BAR: f64 = 0.75;
/// Reads of one letter each that make one figure, and the bytes of a range.
const READS: usize = 2000;
const RANGE_BYTES: u32 = 4096;
/// Deliveries beside the packer: writers, letters of a phase, bytes of a letter.
const WRITERS: usize = 8;
const BESIDE: u64 = 8_000;
const LETTER_BYTES: usize = 8_000;
/// Letters that wait to be packed meanwhile: three segments.
const TO_PACK: u64 = 24_000;

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        !args.letters.is_empty(),
        "give the letters with --letters FILE,FILE; `cargo xtask bench pack` fetches and gives them"
    );
    let folder = tempfile::Builder::new().prefix("opbench-").tempdir_in(&args.folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = rows(args, &runtime, folder.path())?;
    if args.save {
        let path = baseline::save(&rows)?;
        println!("Saved {} rows in {}", rows.len(), path.display());
    }
    Ok(())
}

/// Nothing when no letters were given.
pub(crate) fn rows(args: &Args, runtime: &Runtime, folder: &Path) -> Result<Vec<Row>> {
    if args.letters.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for file in &args.letters {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let letters = load(file)?;
        let bytes: usize = letters.iter().map(Vec::len).sum();
        let mut rounds = Vec::new();
        for round in 1..=args.rounds.min(5) {
            eprintln!("packing {name}: round {round}");
            rounds.push(round_of(runtime, &folder.join(format!("{name}{round}")), &letters)?);
        }
        rows.extend(rows_of(&name, exact(bytes), &rounds));
    }
    rows.extend(beside(args, runtime, &folder.join("beside"))?);
    println!(
        "\nPacking, {}\n{:<58} {:<34} ratio, beside",
        cpu::machine(),
        "",
        "median (smallest..largest)"
    );
    for row in &rows {
        let value = format!("{} {}", row.value, row.unit);
        println!("{:<58} {value:<34} {} {}", row.figure, row.ratio, row.against);
    }
    Ok(rows)
}

/// Letters of a file as `mimebench` packs them.
fn load(file: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (mut letters, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        let (letter, after) = after.split_at_checked(length).context("a pack cut off")?;
        letters.push(letter.to_vec());
        rest = after;
    }
    ensure!(!letters.is_empty(), "{} has no letters", file.display());
    Ok(letters)
}

/// What one round gave.
struct Round {
    disk_bytes: f64,
    log_bytes: f64,
    cpu_ms: f64,
    plain: Reads,
    packed: Reads,
}

/// Medians in microseconds.
struct Reads {
    letter_us: f64,
    range_us: f64,
}

fn options(folder: &Path) -> Options {
    // Nothing is read from memory of ours: what is measured is the way to the letter.
    Options { pack: false, cache_bytes: 0, ..Options::in_folder(folder) }
}

fn round_of(runtime: &Runtime, folder: &Path, letters: &[Vec<u8>]) -> Result<Round> {
    let store = Store::open(&options(folder), Arc::new(SystemClock))?;
    let accounts = runtime.block_on(make_accounts(&store, 1))?;
    let account = *accounts.first().context("no account")?;
    let parsed = letters.iter().map(|raw| Letter::parse(raw.clone().into())).collect();
    deliver(runtime, &store, account, parsed)?;
    runtime.block_on(store.seal())?;
    let plain = reads(runtime, &store, account, letters.len())?;
    let before = cpu::used_ms(std::process::id())?;
    let packed = runtime.block_on(store.pack())?.context("this store has no segments")?;
    let cpu_ms = cpu::used_ms(std::process::id())? - before;
    ensure!(packed.written > 0, "nothing was packed");
    let reads = reads(runtime, &store, account, letters.len())?;
    runtime.block_on(store.close());
    drop(store);
    let log_bytes = used(&folder.join("log"))?;
    let round = Round { disk_bytes: used(folder)?, log_bytes, cpu_ms, plain, packed: reads };
    std::fs::remove_dir_all(folder)?;
    Ok(round)
}

/// Delivers all, some at a time; gives back the milliseconds each took.
fn deliver(
    runtime: &Runtime,
    store: &Store,
    account: AccountId,
    letters: Vec<Letter>,
) -> Result<Vec<f64>> {
    let work = Arc::new(Mutex::new(letters.into_iter()));
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (work, store) = (work.clone(), store.clone());
            runtime.spawn(async move {
                let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
                let mut took_ms = Vec::new();
                while let Some(letter) = next() {
                    let from = Instant::now();
                    for arrived in store.deliver(letter, vec![Target::inbox(account)]).await? {
                        arrived?;
                    }
                    took_ms.push(from.elapsed().as_secs_f64() * 1000.0);
                }
                anyhow::Ok(took_ms)
            })
        })
        .collect();
    let mut took_ms = Vec::new();
    for task in tasks {
        took_ms.extend(runtime.block_on(task)??);
    }
    Ok(took_ms)
}

/// Letters picked at random, whole, and others of which a range in the middle is read: the piece of the letter read last
/// is still unpacked.
fn reads(runtime: &Runtime, store: &Store, account: AccountId, letters: usize) -> Result<Reads> {
    let mut random = Random(7);
    let (mut whole, mut range) = (Vec::new(), Vec::new());
    for n in 0..READS * 2 {
        let id = random.next() % u64::try_from(letters)? + 1;
        let emails = runtime.block_on(store.emails(account, &[EmailId(id)]))?;
        let email = emails.first().context("a letter is missing")?;
        if n % 2 == 0 {
            let from = Instant::now();
            let bytes = runtime.block_on(store.bytes(email))?;
            whole.push(from.elapsed().as_secs_f64() * 1e6);
            ensure!(bytes.len() == email.size_bytes as usize, "a letter of another length");
            continue;
        }
        let middle = email.size_bytes / 2;
        let from = Instant::now();
        let part = runtime.block_on(store.range(email, middle..middle + RANGE_BYTES))?;
        range.push(from.elapsed().as_secs_f64() * 1e6);
        let expect = (email.size_bytes - middle).min(RANGE_BYTES) as usize;
        ensure!(part.len() == expect, "a range of {} bytes, not {expect}", part.len());
    }
    let median = |values: Vec<f64>| Spread::of(values).map(|s| s.median).context("no reads");
    Ok(Reads { letter_us: median(whole)?, range_us: median(range)? })
}

/// Bytes that a folder takes on the disk, in blocks.
fn used(folder: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut folders, mut blocks) = (vec![folder.to_owned()], 0_u32);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                blocks += u32::try_from(entry.metadata()?.blocks())?;
            }
        }
    }
    Ok(f64::from(blocks) * 512.0)
}

fn rows_of(name: &str, raw_bytes: f64, rounds: &[Round]) -> Vec<Row> {
    let of = |value: fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let raw = vec![raw_bytes; rounds.len()];
    let mb_per_s: Vec<f64> =
        rounds.iter().map(|round| raw_bytes / 1e6 / (round.cpu_ms / 1000.0)).collect();
    let mut rows = Vec::new();
    let mut put = |figure: &str, unit, value: Vec<f64>, ratio: Option<Spread>, against| {
        if let (Some(value), Some(ratio)) = (Spread::of(value), ratio) {
            let figure = format!("packing {name}: {figure}");
            rows.push(Row { figure, value, unit, ratio, against });
        }
    };
    let disk = of(|round| round.disk_bytes);
    let ratio = Spread::of_ratios(&disk, &raw);
    let share = ratio.map_or(1.0, |ratio| ratio.median);
    put(
        "disk used, index and all",
        "MB",
        disk.iter().map(|b| b / 1e6).collect(),
        ratio,
        "raw bytes",
    );
    let bar = Spread::of([share / DISK_BAR]);
    put("disk used, of its bar of 0.75", "of raw", vec![share], bar, "its bar");
    let log = of(|round| round.log_bytes);
    let ratio = Spread::of_ratios(&log, &raw);
    put("disk used by the log", "MB", log.iter().map(|b| b / 1e6).collect(), ratio, "raw bytes");
    let (ours, theirs) = (of(|r| r.packed.range_us), of(|r| r.plain.range_us));
    let ratio = Spread::of_ratios(&ours, &theirs);
    put("p50 of 4 KB in the middle of a letter", "us", ours, ratio, "not packed");
    let (ours, theirs) = (of(|r| r.packed.letter_us), of(|r| r.plain.letter_us));
    let ratio = Spread::of_ratios(&ours, &theirs);
    put("p50 of a whole letter", "us", ours, ratio, "not packed");
    let one = Spread::of([1.0]);
    put("packing, read back and compared", "MB per s of CPU", mb_per_s, one, "itself");
    rows
}

/// How long deliveries take while the packer works at its own pace, beside those while it rests.
fn beside(args: &Args, runtime: &Runtime, folder: &Path) -> Result<Vec<Row>> {
    let (mut p50, mut p99) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    let pool = Pool::new(LETTER_BYTES, 1);
    let made = |from: u64, count: u64| -> Vec<Letter> {
        let letters = (from..from + count).map(|n| pool.letter(n, "u0000@example.test"));
        letters.map(|raw| Letter::parse(raw.into())).collect()
    };
    for round in 1..=args.rounds.min(5) {
        eprintln!("deliveries beside the packer: round {round}");
        let store = Store::open(&options(folder), Arc::new(SystemClock))?;
        let accounts = runtime.block_on(make_accounts(&store, 1))?;
        let account = *accounts.first().context("no account")?;
        deliver(runtime, &store, account, made(0, TO_PACK))?;
        runtime.block_on(store.seal())?;
        let rest = deliver(runtime, &store, account, made(TO_PACK, BESIDE))?;
        let gently = store.clone();
        let packer = runtime.spawn(async move { gently.pack_gently().await });
        let at_work = deliver(runtime, &store, account, made(TO_PACK + BESIDE, BESIDE))?;
        ensure!(!packer.is_finished(), "the packer was through before the deliveries");
        // With the last who holds the store the packer stops; what it has begun is undone.
        packer.abort();
        runtime.block_on(packer).unwrap_or(Ok(None))?;
        runtime.block_on(store.close());
        drop(store);
        std::fs::remove_dir_all(folder)?;
        for (values, at) in [(&mut p50, 0.5), (&mut p99, 0.99)] {
            values.0.push(percentile(&at_work, at));
            values.1.push(percentile(&rest, at));
        }
    }
    let rows = [("p50", p50), ("p99", p99)].into_iter().filter_map(|(name, (ours, theirs))| {
        let figure = format!("packing beside {WRITERS} writers: {name} of a delivery");
        let ratio = Spread::of_ratios(&ours, &theirs)?;
        Some(Row { figure, value: Spread::of(ours)?, unit: "ms", ratio, against: "packer at rest" })
    });
    Ok(rows.collect())
}

fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count is a place in the list"
    )]
    let at = (exact(sorted.len()) * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((percentile(&values, 0.5) - 51.0).abs() < 0.1);
        assert!((percentile(&values, 0.99) - 100.0).abs() < 0.1);
        assert!(percentile(&[], 0.5).abs() < 0.1);
    }
}
