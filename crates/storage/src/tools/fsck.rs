//! `fsck`: reads the whole log, builds a fresh index from it, compares that with the live one, and explains
//! every difference. With repair, puts right what can be put right.
//!
//! Without repair nothing is changed, and a server may run: then the index is compared as of the change it
//! has reached.

use super::compare::{Compare, Lines};
use super::offline::{Applier, Private};
use super::repair;
use super::scan::{Damage, Event, Flow, Found, State, scan};
use super::{Held, Progress, hold, words};
use crate::{Error, Options, Result};
use db::{Index, Op, Position, Read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use types::{AccountId, Clock};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    Problem,
}

/// One thing that was found: what, what it means, what to do.
#[derive(Debug, Clone)]
pub struct Finding {
    /// A word for programs; does not change.
    pub code: &'static str,
    pub severity: Severity,
    pub what: String,
    pub means: &'static str,
    pub todo: &'static str,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// What repair did, in words; empty without repair.
    pub repaired: Vec<String>,
    /// The server that has the folder.
    pub server_pid: Option<String>,
    pub segments: u64,
    pub log_bytes: u64,
    pub frames: u64,
    /// Letters in the log, also those removed since.
    pub letters: u64,
    pub letter_bytes: u64,
    /// Bytes of letters that are in a mailbox.
    pub live_bytes: u64,
    /// Bytes of letters that nobody has any more, and those among them whose room is free again.
    pub dead_bytes: u64,
    pub given_up_bytes: u64,
    /// Segments that are packed, what they were, and what their files take without shared bodies.
    pub packs: u64,
    pub packed_bytes: u64,
    pub pack_file_bytes: u64,
    pub last_lsn: u64,
    pub accounts: u64,
    /// The live index was compared.
    pub compared: bool,
}

impl Report {
    pub fn problems(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Problem)
    }

    pub fn is_fine(&self) -> bool {
        self.problems().next().is_none()
    }

    pub(super) fn find(&mut self, code: &'static str, what: impl Into<String>) {
        let (severity, means, todo) = explain(code);
        self.findings.push(Finding { code, severity, what: what.into(), means, todo });
    }
}

const REPAIR: &str =
    "stop the server, copy the data folder or make a backup, then run fsck --repair";

/// What each kind of finding means and asks for.
fn explain(code: &str) -> (Severity, &'static str, &'static str) {
    use Severity::{Note, Problem};
    match code {
        "torn-end" => (
            Note,
            "a power cut or a server that writes just now leaves this; nobody was told that it is safe",
            "nothing: the next start cuts it off",
        ),
        "index-behind" => (Note, "the index follows the log", "nothing: the next start catches up"),
        "index-memory" => (Note, "this index lives in the server's memory", "nothing"),
        "part-table-old" => (
            Note,
            "these letters are parsed again when they are read: slower, not wrong",
            "nothing",
        ),
        "index-missing" => (
            Problem,
            "no mail is lost: the log has everything",
            "start the server, which builds it, or run fsck --repair",
        ),
        "index-damaged" => {
            (Problem, "no mail is lost: the index is only derived from the log", REPAIR)
        }
        "index-differs" => {
            (Problem, "programs are shown what the log does not say; the log is the truth", REPAIR)
        }
        "index-remembers" => (
            Note,
            "what the damage took out of the log, as the index has it",
            "nothing by itself: fsck --repair takes from the index what it can",
        ),
        "index-rule" => (Problem, "the index contradicts itself", REPAIR),
        "index-ahead" => (
            Problem,
            "the end of the log is gone: changes that were confirmed are not in it",
            "look for the lost part in a backup or on the disk before anything else; the server must not run meanwhile",
        ),
        "bit-flipped" => (
            Problem,
            "disk, memory or controller changed it; which bit it was is known, nothing is lost",
            REPAIR,
        ),
        "letter-damaged" => (
            Problem,
            "this letter cannot be shown; where it lies, its flags and all other letters are good",
            "restore it from a backup if there is one; fsck --repair takes it out and keeps the damaged bytes aside",
        ),
        "frame-damaged" => (
            Problem,
            "what these changes said is unknown: a letter, flags, or a mailbox; the server does not open such a log",
            "restore the segment from a backup if there is one; fsck --repair keeps all that can be read",
        ),
        "segment-missing" | "header-damaged" => (
            Problem,
            "all changes in it are lost to the server, which does not open such a log",
            "put the file back from a backup; fsck --repair goes on without it",
        ),
        "misfit" => (
            Problem,
            "the log speaks of something that was lost before, or was written by a faulty program",
            "fsck --repair leaves it out",
        ),
        other => explain_pack(other),
    }
}

fn explain_pack(code: &str) -> (Severity, &'static str, &'static str) {
    use Severity::Problem;
    match code {
        "pack-damaged" => (
            Problem,
            "a part of a packed segment cannot be read; which letters and changes that concerns is said besides",
            "restore the file from a backup or another disk if there is one; fsck --repair keeps all that can be read",
        ),
        "pack-table" => (
            Problem,
            "the table of a pack does not say what is in its segment: the packer has made a mistake",
            "keep a copy of the data folder and report it; fsck --repair writes the segment anew",
        ),
        "letter-given-up" => (
            Problem,
            "this letter is in a mailbox, and its bytes were given up as if nobody had it",
            "restore it from a backup; fsck --repair takes it out of the mailbox",
        ),
        _ => (Problem, "this should not be", "keep a copy of the data folder and report it"),
    }
}

/// Checks a data folder; with `repair` takes it for itself and puts right what can be.
pub fn fsck(
    options: &Options,
    repair: bool,
    clock: &dyn Clock,
    progress: Progress<'_>,
) -> Result<Report> {
    let held = hold(&options.folder)?;
    let mut report = Report::default();
    match (&held, repair) {
        (Held::By(pid), true) => {
            let (folder, pid) = (options.folder.clone(), pid.clone());
            return Err(Error::InUse { folder, pid });
        }
        (Held::By(pid), false) => report.server_pid = Some(pid.clone()),
        (Held::Ours(_), _) => {}
    }
    let live = live_index(options, &mut report);
    let (mut report, faults) = Check::new(options, live.as_deref(), report).run(progress)?;
    drop(live);
    if repair && !report.is_fine() {
        report.repaired = repair::repair(options, &faults, &report, clock, progress)?;
    }
    drop(held);
    Ok(report)
}

/// The index as the server left it; `None` with a finding when there is none to compare.
fn live_index(options: &Options, report: &mut Report) -> Option<Arc<dyn Index>> {
    if options.index != "sqlite:" {
        report.find("index-memory", format!("the index is {}", options.index));
        return None;
    }
    let path = options.folder.join("index.sqlite");
    if !path.exists() {
        report.find("index-missing", format!("there is no index {}", path.display()));
        return None;
    }
    match db::open(&format!("sqlite:{}", path.display())) {
        Ok(index) => Some(index),
        Err(error) => {
            report.find("index-damaged", format!("{} does not open: {error}", path.display()));
            None
        }
    }
}

/// What repair needs to know of the damage.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Segments that have to be written anew.
    pub(super) segments: BTreeSet<u64>,
    pub(super) missing: Vec<(u64, u64)>,
    pub(super) index: bool,
}

struct Check<'a> {
    options: &'a Options,
    live: Option<Box<dyn Read + 'a>>,
    /// How far the live index has come.
    reached: Option<Position>,
    report: Report,
    faults: Faults,
    hashes: Vec<(AccountId, u64)>,
    old_tables: u64,
    misfits: Lines,
    compared: bool,
    packs: Packs,
}

/// What was seen of the packs.
#[derive(Debug, Default)]
struct Packs {
    /// The one that is read, its letters that came by, and how many its table has.
    open: Option<(u64, u64, u64)>,
    wrong: Lines,
    /// Where the letters lie that were given up.
    given_up: BTreeMap<db::Location, u64>,
}

impl Packs {
    /// Letters that came together lie in one, and were given up together.
    fn is_given_up(&self, at: db::Location) -> bool {
        let before = self.given_up.range(..=at).next_back();
        before.is_some_and(|(from, bytes)| {
            from.segment == at.segment && (at == *from || at.offset < from.offset + bytes)
        })
    }
}

impl<'a> Check<'a> {
    fn new(options: &'a Options, live: Option<&'a dyn Index>, mut report: Report) -> Self {
        let mut faults = Faults::default();
        let open = || -> Result<_> {
            let Some(index) = live else { return Ok((None, None)) };
            let read = index.read()?;
            let reached = read.position()?;
            Ok((Some(read), reached))
        };
        let (live, reached) = match open() {
            Ok(opened) => opened,
            Err(error) => {
                report.find("index-damaged", format!("the index cannot be read: {error}"));
                (None, None)
            }
        };
        faults.index = report.findings.iter().any(|f| f.severity == Severity::Problem);
        let (hashes, misfits) = (Vec::new(), Lines::default());
        let (old_tables, compared, packs) = (0, false, Packs::default());
        Self {
            options,
            live,
            reached,
            report,
            faults,
            hashes,
            old_tables,
            misfits,
            compared,
            packs,
        }
    }

    fn run(mut self, progress: Progress<'_>) -> Result<(Report, Faults)> {
        let log = self.options.folder.join("log");
        let private = Private::for_log(&log)?;
        let mut applier = Applier::new(&*private.index);
        let reached = self.reached.map_or(0, |position| position.lsn);
        let end = scan(&log, reached, progress, &mut |event| {
            if let Event::Frame(found) = event {
                self.frame(&found, &mut applier)?;
                if found.frame.lsn == reached {
                    applier.commit()?;
                    self.position(found.after);
                    self.compare(&*private.index, &log, progress)?;
                }
            } else {
                self.event(&event);
            }
            Ok(Flow::On)
        })?;
        applier.commit()?;
        self.end_of_pack();
        self.live_and_dead(&*private.index)?;
        self.report.last_lsn = end.map_or(0, |end| end.lsn);
        self.report.segments = super::scan::segment_ids(&log)?.len() as u64;
        self.report.log_bytes = super::scan::log_bytes(&log)?;
        self.report.accounts = private.index.read()?.accounts()?.len() as u64;
        self.end(&*private.index, &log, progress)?;
        Ok((self.report, self.faults))
    }

    fn frame(&mut self, found: &Found<'_>, applier: &mut Applier<'_>) -> Result<()> {
        self.report.frames += 1;
        if let Some(blob) = found.blob {
            self.report.letters += 1;
            self.report.letter_bytes += u64::from(blob.size_bytes);
        }
        let ops = match found.ops() {
            Ok(ops) => ops,
            Err(error) => {
                self.misfits.push(|| error.to_string());
                return applier.end_frame(found.after);
            }
        };
        if found.state != State::Good {
            self.name_letters(found, &ops);
        }
        self.packed(found, &ops);
        for op in &ops {
            if let Op::EmailAdd { account, index, message_ids, .. } = op {
                self.hashes.extend(message_ids.iter().map(|hash| (*account, *hash)));
                self.old_tables += u64::from(mparser::Index::decode(index).is_err());
            }
            if let Some(why) = applier.op(op, found.blob)? {
                let lsn = found.frame.lsn;
                self.misfits.push(|| format!("change {lsn}: {why}"));
                self.faults.segments.insert(found.at.segment);
            }
        }
        applier.end_frame(found.after)
    }

    /// Says whose letter it is, after the finding that says where it lies.
    fn name_letters(&mut self, found: &Found<'_>, ops: &[Op]) {
        let names = match &self.live {
            Some(live) => words::letters_of(ops, &**live),
            None => Vec::new(),
        };
        if let Some(finding) = self.report.findings.last_mut()
            && !names.is_empty()
        {
            finding.what = format!("{}: {}", finding.what, names.join("; "));
        } else if let Some(finding) = self.report.findings.last_mut() {
            let what: Vec<String> = ops.iter().map(words::op).collect();
            finding.what =
                format!("{} (change {}: {})", finding.what, found.frame.lsn, what.join("; "));
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        let Some((code, mut what)) = words::event(event) else { return };
        match event {
            Event::Damage(damage) => {
                // Where frames are missing between two segments, they go to the end of the first.
                let between = damage.from == damage.to && damage.from == super::scan::HEADER_BYTES;
                self.faults
                    .segments
                    .insert(damage.segment - u64::from(between && damage.segment > 1));
                if damage.state.is_none() {
                    let letters = self.letters_in(damage);
                    if !letters.is_empty() {
                        what = format!(
                            "{what}; by the index these letters lie there: {}",
                            letters.join("; ")
                        );
                    }
                }
            }
            Event::Missing { first, last } => self.faults.missing.push((*first, *last)),
            Event::Unreadable { id, .. }
            | Event::HeaderCorrected { id }
            | Event::Pack { segment: id, .. } => {
                self.faults.segments.insert(*id);
            }
            Event::Torn { .. } | Event::Frame(_) => {}
        }
        self.report.find(code, what);
    }

    /// Compares a frame with what the table of its pack says of it.
    fn packed(&mut self, found: &Found<'_>, ops: &[Op]) {
        let id = found.at.segment;
        if self.packs.open.is_some_and(|(open, ..)| open != id) {
            self.end_of_pack();
        }
        if let Some(blob) = found.blob.filter(|_| found.gone) {
            self.packs.given_up.insert(blob.location, blob.size_bytes.into());
        }
        let Some(pack) = found.segment.pack() else { return };
        if self.packs.open.is_none() {
            self.packs.open = Some((id, 0, pack.table.letters.len() as u64));
            self.report.packs += 1;
            self.report.packed_bytes += pack.table.raw_bytes;
            self.report.pack_file_bytes += pack.file_bytes;
        }
        let Some(blob) = found.blob else { return };
        if let Some((_, seen, _)) = &mut self.packs.open {
            *seen += 1;
        }
        let emails: Vec<u64> = ops
            .iter()
            .filter_map(|op| match op {
                Op::EmailAdd { email, .. } => Some(email.0),
                _ => None,
            })
            .collect();
        let same = pack.letter_at(blob.location.offset).is_some_and(|letter| {
            let gone = letter.gone == found.gone || found.state == State::LetterDamaged;
            letter.bytes == blob.size_bytes && letter.emails == emails && gone
        });
        if !same {
            let (at, path) = (blob.location.offset, found.segment.path.display());
            self.packs.wrong.push(|| format!("the table of {path}: the letter at byte {at}"));
            self.faults.segments.insert(id);
        }
    }

    fn end_of_pack(&mut self) {
        let Some((id, seen, expect)) = self.packs.open.take() else { return };
        // Where frames cannot be read it is said anyway that letters are missing.
        if seen > expect || seen < expect && !self.faults.segments.contains(&id) {
            self.packs.wrong.push(|| {
                format!("the table of the pack of segment {id:x} has {expect} letters, the segment {seen}")
            });
            self.faults.segments.insert(id);
        }
    }

    /// Adds up what lives; nothing that lives may have been given up.
    fn live_and_dead(&mut self, fresh: &dyn Index) -> Result<()> {
        let read = fresh.read()?;
        let (mut seen, mut lost) = (BTreeSet::new(), Lines::default());
        for id in (1..=read.last_ids()?.1.0).map(types::EmailId) {
            let Some(row) = read.email(id)? else { continue };
            let at = row.blob.location;
            // A letter for several accounts is stored once.
            if seen.insert(at) {
                self.report.live_bytes += u64::from(row.blob.size_bytes);
            }
            if self.packs.is_given_up(at) {
                lost.push(|| words::email(&*read, id));
                self.faults.segments.insert(at.segment);
            }
        }
        drop(read);
        self.report.given_up_bytes = self.packs.given_up.values().sum();
        match self.report.letter_bytes.checked_sub(self.report.live_bytes) {
            Some(dead) => self.report.dead_bytes = dead,
            None => self.packs.wrong.push(|| {
                "there are more bytes of letters in mailboxes than of letters in the log".to_owned()
            }),
        }
        let wrong = std::mem::take(&mut self.packs.wrong);
        self.take("pack-table", wrong);
        self.take("letter-given-up", lost);
        Ok(())
    }

    /// The letters that the index has in a damaged place.
    fn letters_in(&self, damage: &Damage) -> Vec<String> {
        let Some(live) = &self.live else { return Vec::new() };
        let last = live.last_ids().map_or(0, |(_, email)| email.0);
        let mut names = Vec::new();
        for id in (1..=last).map(types::EmailId) {
            let Ok(Some(row)) = live.email(id) else { continue };
            let at = row.blob.location;
            if at.segment == damage.segment && (damage.from..damage.to).contains(&at.offset) {
                names.push(words::email(&**live, id));
            }
        }
        names
    }

    fn position(&mut self, after: Position) {
        let Some(reached) = self.reached else { return };
        let elsewhere = reached.end.segment == after.end.segment && reached.end != after.end;
        if elsewhere {
            self.report.find(
                "index-differs",
                format!(
                    "the index has change {} end at byte {}, the log at byte {}",
                    reached.lsn, reached.end.offset, after.end.offset
                ),
            );
            self.faults.index = true;
        }
    }

    fn compare(&mut self, fresh: &dyn Index, log: &Path, progress: Progress<'_>) -> Result<()> {
        let Some(live) = &self.live else { return Ok(()) };
        self.compared = true;
        self.hashes.sort_unstable();
        self.hashes.dedup();
        let fresh = fresh.read()?;
        let mut compare = Compare {
            live: &**live,
            fresh: &*fresh,
            hashes: &self.hashes,
            differences: Lines::default(),
            broken: Lines::default(),
        };
        let ran = compare.run(log, progress);
        let (differences, broken) = (compare.differences, compare.broken);
        self.report.compared = true;
        self.faults.index |= !differences.is_empty() || !broken.is_empty();
        // Where the log is damaged, the index may be the one that is right.
        let damaged = !self.faults.segments.is_empty() || !self.faults.missing.is_empty();
        self.take(if damaged { "index-remembers" } else { "index-differs" }, differences);
        self.take("index-rule", broken);
        // Only the live index can fail here: the fresh one is ours.
        if let Err(error) = ran {
            self.faults.index = true;
            self.report.find("index-damaged", format!("the index cannot be read: {error}"));
        }
        Ok(())
    }

    fn take(&mut self, code: &'static str, lines: Lines) {
        for line in lines.lines {
            self.report.find(code, line);
        }
        if lines.more > 0 {
            self.report.find(code, format!("and {} more of the kind", lines.more));
        }
    }

    /// What can only be said at the end of the log.
    fn end(&mut self, fresh: &dyn Index, log: &Path, progress: Progress<'_>) -> Result<()> {
        let misfits = std::mem::take(&mut self.misfits);
        self.take("misfit", misfits);
        if self.old_tables > 0 {
            let what = format!("{} part tables are of another version", self.old_tables);
            self.report.find("part-table-old", what);
        }
        let last = self.report.last_lsn;
        match self.reached {
            Some(reached) if reached.lsn > last => {
                self.report.find(
                    "index-ahead",
                    format!(
                        "the index has seen change {}, the log ends with change {last}",
                        reached.lsn
                    ),
                );
                self.faults.index = true;
                // Flags, removals and the like of the lost end stand in the index.
                self.faults.segments.extend(super::scan::segment_ids(log)?.last());
            }
            Some(reached) if reached.lsn < last => {
                let behind = last - reached.lsn;
                self.report
                    .find("index-behind", format!("the index is {behind} changes behind the log"));
            }
            None if self.live.is_some() && last > 0 => {
                self.report.find("index-behind", "the index is empty".to_owned());
            }
            _ => {}
        }
        // The change the index has reached is one of those that are lost.
        if self.reached.is_some() && !self.compared {
            self.compare(fresh, log, progress)?;
        }
        Ok(())
    }
}
