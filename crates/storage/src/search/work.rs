//! Many letters at once: batches for the cores, letters that lie next to one another read with one call.

use super::letter::{GAP_BYTES, Pieces, Wanted};
use super::needles::Scan;
use super::{Facts, Limits, Plan};
use crate::letter::Email;
use crate::read::Reader;
use crate::{Error, Result};
use db::{Location, MessageRow};
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use types::AccountId;

/// Letters taken at a time: enough to be read together, few enough that cores end together.
const BATCH: usize = 64;
/// Fewer letters are done before a thread has started.
const WORTH_A_THREAD: usize = 256;
/// One read: large enough for a disk, small enough for the cache of a core and for one who wants to leave.
const RUN_BYTES: u64 = 1 << 20;

/// Threads that help searches now. All searches share the cores: one alone has them all, of many each has its own.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// The rows for which the plan's answer is yes, ascending; `open` are those whose row alone does not tell.
pub(super) fn decide_all(
    reader: &Reader,
    account: AccountId,
    plan: &Plan,
    open: &[MessageRow],
    limits: Limits,
    gone: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<MessageRow>> {
    let job = Job {
        reader,
        account,
        plan,
        wanted: Wanted::by(&plan.needles),
        open,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        bytes: AtomicU64::new(0),
        until: Instant::now().checked_add(limits.time),
        limits,
        gone,
    };
    let helpers = Helpers::hire(open.len() / WORTH_A_THREAD);
    let outcomes: Vec<Result<Vec<MessageRow>>> = std::thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = (0..helpers.0).map(|_| scope.spawn(|| job.work())).collect();
        let mut outcomes = vec![job.work()];
        outcomes.extend(threads.into_iter().map(|thread| {
            let failed = || Error::Poisoned("a search failed".to_owned());
            thread.join().unwrap_or_else(|_| Err(failed()))
        }));
        outcomes
    });
    let mut found = Vec::new();
    for outcome in outcomes {
        found.append(&mut outcome?);
    }
    found.sort_unstable_by_key(|row| row.uid);
    Ok(found)
}

/// Threads besides our own, given back when dropped.
struct Helpers(usize);

impl Helpers {
    fn hire(useful: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut hired = 0;
        let take = |busy: usize| {
            hired = useful.min((cores - 1).saturating_sub(busy));
            Some(busy + hired)
        };
        let taken = HELPERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Self(if taken.is_ok() { hired } else { 0 })
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// One search, shared by its threads.
struct Job<'a> {
    reader: &'a Reader,
    account: AccountId,
    plan: &'a Plan,
    wanted: Wanted,
    open: &'a [MessageRow],
    /// The first letter nobody has taken.
    next: AtomicUsize,
    /// Another thread has failed.
    stop: AtomicBool,
    bytes: AtomicU64,
    until: Option<Instant>,
    limits: Limits,
    gone: &'a (dyn Fn() -> bool + Sync),
}

impl Job<'_> {
    fn work(&self) -> Result<Vec<MessageRow>> {
        let outcome = self.batches();
        if outcome.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        outcome
    }

    fn batches(&self) -> Result<Vec<MessageRow>> {
        let mut found = Vec::new();
        let mut scan = Scan::new(&self.plan.needles, self.gone);
        let mut buffer = Vec::new();
        loop {
            let from = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rows) = self.open.get(from..self.open.len().min(from.saturating_add(BATCH)))
            else {
                return Ok(found);
            };
            if rows.is_empty() || self.stop.load(Ordering::Relaxed) {
                return Ok(found);
            }
            self.batch(rows, &mut scan, &mut buffer, &mut found)?;
        }
    }

    fn batch(
        &self,
        rows: &[MessageRow],
        scan: &mut Scan<'_>,
        buffer: &mut Vec<u8>,
        found: &mut Vec<MessageRow>,
    ) -> Result<()> {
        self.go_on()?;
        let ids: Vec<_> = rows.iter().map(|row| row.email).collect();
        let emails = self.reader.emails(self.account, &ids, self.plan.decode())?;
        let mut emails = emails.into_iter().peekable();
        let mut letters = Vec::new();
        for row in rows {
            // One that was removed meanwhile meets nothing.
            let Some(email) = emails.next_if(|email| email.id == row.email) else { continue };
            let facts = Facts { row, index: Some(&email.index), found: None };
            match self.plan.decide(&facts) {
                Some(true) => found.push(row.clone()),
                Some(false) => {}
                None => letters.push((row, email)),
            }
        }
        self.read_and_scan(&letters, scan, buffer, found)
    }

    /// Looks at the bytes of the letters, in the order in which they lie in the log.
    fn read_and_scan(
        &self,
        letters: &[(&MessageRow, Email)],
        scan: &mut Scan<'_>,
        buffer: &mut Vec<u8>,
        found: &mut Vec<MessageRow>,
    ) -> Result<()> {
        let mut wanted: Vec<Letter<'_>> = letters
            .iter()
            .map(|(row, email)| Letter {
                row,
                email,
                ranges: self.wanted.ranges(&email.index, email.size_bytes),
            })
            .collect();
        wanted.sort_unstable_by_key(Letter::start);
        let mut rest = &wanted[..];
        while let Some(first) = rest.first() {
            self.go_on()?;
            let (run, after) = rest.split_at_checked(first.run_length(rest)).unwrap_or((rest, &[]));
            rest = after;
            let starts = self.read_run(run, buffer)?;
            for (letter, start) in run.iter().zip(starts) {
                let pieces = letter.pieces(buffer.get(start..).unwrap_or_default());
                let index = &letter.email.index;
                self.wanted.scan(index, &pieces, scan)?;
                let facts =
                    Facts { row: letter.row, index: Some(index), found: Some(scan.found()) };
                if self.plan.decide(&facts) == Some(true) {
                    found.push(letter.row.clone());
                }
            }
        }
        Ok(())
    }

    /// Reads what is wanted of letters near each other with one call, of a letter in pieces each piece with one.
    /// Gives where in the buffer each letter begins.
    fn read_run(&self, run: &[Letter<'_>], buffer: &mut Vec<u8>) -> Result<Vec<usize>> {
        buffer.clear();
        let [one] = run else {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                return Ok(Vec::new());
            };
            let from = first.start();
            let to = run.iter().map(Letter::end).max().unwrap_or_else(|| last.end());
            self.read(from, to.offset.saturating_sub(from.offset), buffer)?;
            let start = |letter: &Letter<'_>| letter.start().offset.saturating_sub(from.offset);
            return Ok(run
                .iter()
                .map(|letter| usize::try_from(start(letter)).unwrap_or(usize::MAX))
                .collect());
        };
        for range in &one.ranges {
            self.read(one.place(range.start), u64::from(range.end - range.start), buffer)?;
        }
        Ok(vec![0])
    }

    /// Bytes of the log behind those in the buffer. They are not held against their hash: nobody is shown them,
    /// and the letter is checked when it is read.
    fn read(&self, from: Location, bytes: u64, buffer: &mut Vec<u8>) -> Result<()> {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.limits.bytes
        {
            return Err(Error::SearchLimit("it reads too much"));
        }
        let start = buffer.len();
        buffer.resize(start + usize::try_from(bytes).unwrap_or(usize::MAX), 0);
        self.reader.read_at(from, buffer.get_mut(start..).unwrap_or_default())
    }

    fn go_on(&self) -> Result<()> {
        if (self.gone)() {
            return Err(Error::Closed);
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Error::SearchLimit("it takes too long"));
        }
        Ok(())
    }
}

/// A letter whose bytes must be seen.
struct Letter<'a> {
    row: &'a MessageRow,
    email: &'a Email,
    /// Of the letter; ascending.
    ranges: Vec<Range<u32>>,
}

impl Letter<'_> {
    fn place(&self, at: u32) -> Location {
        let Location { segment, offset } = self.email.blob.location;
        Location { segment, offset: offset + u64::from(at) }
    }

    fn start(&self) -> Location {
        self.place(self.ranges.first().map_or(0, |range| range.start))
    }

    fn end(&self) -> Location {
        self.place(self.ranges.last().map_or(0, |range| range.end))
    }

    /// How many letters from this one on, the first of `rest`, are read together.
    fn run_length(&self, rest: &[Self]) -> usize {
        let from = self.start();
        let mut end = self.end().offset;
        let near = rest.iter().skip(1).take_while(|next| {
            let (start, next_end) = (next.start(), next.end().offset.max(end));
            let together = self.ranges.len() == 1
                && next.ranges.len() == 1
                && start.segment == from.segment
                && start.offset <= end + u64::from(GAP_BYTES)
                && next_end - from.offset <= RUN_BYTES;
            end = next_end;
            together
        });
        1 + near.count()
    }

    /// What was read of it, `bytes` and what follows.
    fn pieces<'b>(&self, bytes: &'b [u8]) -> Pieces<'b> {
        let mut rest = bytes;
        let pieces = self.ranges.iter().map(|range| {
            let length = range.len().min(rest.len());
            let (piece, after) = rest.split_at_checked(length).unwrap_or_default();
            rest = after;
            (range.start, piece)
        });
        Pieces(pieces.collect())
    }
}
