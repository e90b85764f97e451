//! `fsck --repair`: writes damaged segments anew with all that can be read, and builds the index again.
//!
//! What is replaced goes to `quarantine/TIME/` in the data folder first. Changes that cannot be read become
//! empty ones, so that all others keep their numbers. Where the old index remembers what was in them, it is asked:
//! letters whose bytes still fit their hash, accounts, mailboxes, flags and removals come back from it.

use super::export::{sync_folder, write_file};
use super::fsck::{Faults, Report};
use super::offline::{Applier, Private};
use super::rewrite::Rewrite;
use super::scan::{
    Damage, Event, Flow, Found, Segment, State, files_of, io_error, scan, segment_ids,
};
use super::{Progress, words};
use crate::log::blob_hash;
use crate::{Error, Options, Result};
use db::{BlobRef, EmailRow, Index, Location, MessageRow, Op, Position, Read};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use types::{AccountId, Clock, EmailId, MailboxId, ModSeq, Uid, UidSet, UidValidity};

/// A letter, if there is one, and what happened to it.
type NewFrame = (Option<Vec<u8>>, Vec<Op>);

/// Lines about single letters; the rest is counted.
const LINES: usize = 100;

/// Puts right what was found; gives back what was done.
pub(super) fn repair(
    options: &Options,
    faults: &Faults,
    report: &Report,
    clock: &dyn Clock,
    progress: Progress<'_>,
) -> Result<Vec<String>> {
    let data = &options.folder;
    let log = data.join("log");
    let now_unix_ms = clock.now_unix_ms();
    let quarantine = quarantine(data, now_unix_ms)?;
    let mut did = vec![format!("what was replaced is kept in {}", quarantine.display())];
    let mut broken = faults.segments.clone();
    let ids = segment_ids(&log)?;
    let missing = faults.missing.iter().flat_map(|(first, last)| *first..=*last);
    broken.extend(missing);
    if !broken.is_empty() {
        // A new segment will follow: the last one must not end in bytes that are no frame.
        broken.extend(ids.last());
        let memory = memory(options);
        let mut work = Work::new(&log, &quarantine, broken, memory.as_deref(), now_unix_ms)?;
        work.run(progress)?;
        did.append(&mut work.told());
    }
    if options.index == "sqlite:" {
        rebuild_index(data, &quarantine, progress)?;
        let changes = report.last_lsn;
        did.push(format!("the index was built again from the log ({changes} changes read)"));
    }
    Ok(did)
}

fn quarantine(data: &Path, now_unix_ms: i64) -> Result<PathBuf> {
    let when = words::when(now_unix_ms.div_euclid(1000)).replace(':', "");
    let mut folder = data.join("quarantine").join(&when);
    let mut n = 1;
    while folder.exists() {
        n += 1;
        folder = data.join("quarantine").join(format!("{when}-{n}"));
    }
    crate::folder::make_private(&folder).map_err(|e| io_error("could not make", &folder, &e))?;
    sync_folder(data)?;
    Ok(folder)
}

/// The old index, if it can be read: it may remember what the log has lost.
fn memory(options: &Options) -> Option<Arc<dyn Index>> {
    let path = options.folder.join("index.sqlite");
    if options.index != "sqlite:" || !path.exists() {
        return None;
    }
    db::open(&format!("sqlite:{}", path.display())).ok()
}

fn rebuild_index(data: &Path, quarantine: &Path, progress: Progress<'_>) -> Result<()> {
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let (from, to) = (data.join(name), quarantine.join(name));
        match fs::rename(&from, &to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("could not move aside", &from, &e));
            }
            _ => {}
        }
    }
    let index = db::open(&format!("sqlite:{}", data.join("index.sqlite").display()))?;
    let mut applier = Applier::new(&*index);
    let mut misfits = Vec::new();
    scan(&data.join("log"), 0, progress, &mut |event| match event {
        Event::Frame(found) => applier.frame(&found, &mut misfits).map(|()| Flow::On),
        // The next start says what is wrong there, and replays what follows.
        _ => Ok(Flow::Stop),
    })?;
    applier.commit()?;
    drop(applier);
    Ok(index.checkpoint()?)
}

/// A message by its place.
type Place = (AccountId, MailboxId, Uid);

/// One pass through a damaged log.
struct Work<'a> {
    log: &'a Path,
    quarantine: &'a Path,
    /// Segments that are written anew.
    broken: BTreeSet<u64>,
    memory: Option<Box<dyn Read + 'a>>,
    /// How far the old index had come: it knows nothing of what came later.
    remembers_lsn: u64,
    /// Letters of the old index by where they lie.
    letters: BTreeMap<Location, Vec<EmailId>>,
    /// Messages that a good frame brings.
    added: HashSet<Place>,
    /// Letters whose frame can be read, also where the letter itself is damaged.
    readable: HashSet<EmailId>,
    /// Letters whose bytes were given up.
    given_up: HashSet<EmailId>,
    now_unix_ms: i64,
    open: Option<(u64, Rewrite)>,
    /// Packs of the segment that is open: they go when it is whole under its own name.
    replaced: Vec<PathBuf>,
    /// Segments that are written anew, as they were.
    sources: BTreeMap<u64, Segment>,
    /// Segments made since the last good frame: what was in them lies in the gap that follows.
    made: Vec<u64>,
    next_lsn: u64,
    last_id: u64,
    unix_s: i64,
    rewritten: u64,
    empty: u64,
    put_right: u64,
    lines: Vec<String>,
    more: u64,
}

impl<'a> Work<'a> {
    fn new(
        log: &'a Path,
        quarantine: &'a Path,
        broken: BTreeSet<u64>,
        memory: Option<&'a dyn Index>,
        now_unix_ms: i64,
    ) -> Result<Self> {
        let memory = memory.and_then(|index| index.read().ok());
        let position = memory.as_ref().and_then(|read| read.position().ok().flatten());
        let mut letters: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if let Some(read) = &memory {
            for id in (1..=read.last_ids()?.1.0).map(EmailId) {
                if let Ok(Some(row)) = read.email(id) {
                    letters.entry(row.blob.location).or_default().push(id);
                }
            }
        }
        Ok(Self {
            log,
            quarantine,
            broken,
            memory,
            remembers_lsn: position.map_or(0, |position| position.lsn),
            letters,
            added: HashSet::new(),
            readable: HashSet::new(),
            given_up: HashSet::new(),
            now_unix_ms,
            open: None,
            replaced: Vec::new(),
            sources: BTreeMap::new(),
            made: Vec::new(),
            next_lsn: 1,
            last_id: 0,
            unix_s: 0,
            rewritten: 0,
            empty: 0,
            put_right: 0,
            lines: Vec::new(),
            more: 0,
        })
    }

    fn told(self) -> Vec<String> {
        let were = |n: u64, one: &str, more: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {more}"),
        };
        let mut told =
            vec![were(self.rewritten, "segment was written anew", "segments were written anew")];
        if self.put_right > 0 {
            let bits = ("flipped bit was put right", "flipped bits were put right");
            told.push(were(self.put_right, bits.0, bits.1));
        }
        if self.empty > 0 {
            let empty = ("change is empty now", "changes are empty now");
            told.push(format!("{}: they could not be read", were(self.empty, empty.0, empty.1)));
        }
        told.extend(self.lines);
        if self.more > 0 {
            told.push(format!("and {} more of the kind", self.more));
        }
        told
    }

    fn say(&mut self, line: String) {
        if self.lines.len() < LINES {
            self.lines.push(line);
        } else {
            self.more += 1;
        }
    }

    fn run(&mut self, progress: Progress<'_>) -> Result<()> {
        scan(self.log, self.remembers_lsn, progress, &mut |event| {
            if let Event::Frame(found) = event {
                for op in found.ops()? {
                    match op {
                        Op::EmailAdd { email, .. } => {
                            self.readable.insert(email);
                            if found.gone {
                                self.given_up.insert(email);
                            }
                        }
                        Op::MessageAdd { account, mailbox, row }
                            if found.state != State::LetterDamaged =>
                        {
                            self.added.insert((account, mailbox, row.uid));
                        }
                        _ => {}
                    }
                }
            }
            Ok(Flow::On)
        })?;
        let private = Private::for_log(self.log)?;
        let mut applier = Applier::new(&*private.index);
        let log = self.log;
        scan(log, self.remembers_lsn, progress, &mut |event| {
            self.event(&event, &mut applier)?;
            Ok(Flow::On)
        })?;
        // The end of the log is gone, and the old index had seen it.
        if self.next_lsn <= self.remembers_lsn {
            let (segment, lost) = (self.last_id, (self.next_lsn, self.remembers_lsn));
            let end = Damage { segment, from: 0, to: 0, lost, state: None };
            self.lost(&end, &mut applier)?;
        }
        self.close()?;
        applier.commit()?;
        self.reconcile(&*private.index, &mut applier)
    }

    fn event(&mut self, event: &Event<'_>, applier: &mut Applier<'_>) -> Result<()> {
        match event {
            Event::Frame(found) => self.frame(found, applier),
            Event::Damage(Damage { state: Some(State::Corrected), .. })
            | Event::HeaderCorrected { .. } => {
                self.put_right += 1;
                Ok(())
            }
            Event::Damage(Damage { state: Some(_), .. }) => Ok(()),
            Event::Pack { fault, .. } => {
                self.put_right += u64::from(fault.put_right);
                // A body stays where it is, since letters of other segments may have it too.
                let parts = crate::pack::parts_folder(self.log);
                if fault.path.starts_with(parts) && fault.path.exists() {
                    self.keep(&fault.path)?;
                }
                Ok(())
            }
            Event::Damage(damage) => self.lost(damage, applier),
            Event::Missing { first, last } => (*first..=*last).try_for_each(|id| self.make(id)),
            Event::Unreadable { id, .. } => {
                self.close()?;
                let files = self.keep_all(*id)?;
                self.make(*id)?;
                self.replaced = files;
                Ok(())
            }
            Event::Torn { at, .. } => self.enter_segment(at.segment),
        }
    }

    /// Begins an empty segment where one is missing.
    fn make(&mut self, id: u64) -> Result<()> {
        self.close()?;
        self.last_id = id;
        self.rewritten += 1;
        let writer = Rewrite::begin_new(self.log, id, self.next_lsn, self.now_unix_ms)?;
        self.open = Some((id, writer));
        self.made.push(id);
        Ok(())
    }

    /// Comes to a segment; one that is broken is kept aside and written anew.
    fn enter_segment(&mut self, id: u64) -> Result<()> {
        if self.last_id == id {
            return Ok(());
        }
        self.close()?;
        self.last_id = id;
        if !self.broken.contains(&id) {
            return Ok(());
        }
        if let Some(segment) = Segment::find(self.log, id)? {
            self.replaced = self.keep_all(id)?;
            self.rewritten += 1;
            self.open = Some((id, Rewrite::begin(self.log, id, &segment.header)?));
            self.sources.insert(id, segment);
        }
        Ok(())
    }

    /// Keeps what there is of a segment; gives back its packs.
    fn keep_all(&self, id: u64) -> Result<Vec<PathBuf>> {
        let mut files = files_of(self.log, id)?;
        files.iter().try_for_each(|path| self.keep(path))?;
        files.retain(|path| path.extension().is_some_and(|end| end == "pack"));
        Ok(files)
    }

    fn close(&mut self) -> Result<()> {
        let Some((_, writer)) = self.open.take() else { return Ok(()) };
        writer.finish()?;
        for path in std::mem::take(&mut self.replaced) {
            fs::remove_file(&path).map_err(|e| io_error("could not remove", &path, &e))?;
        }
        sync_folder(self.log)
    }

    /// A second name for a file, or a copy, before it is replaced.
    fn keep(&self, path: &Path) -> Result<()> {
        let kept = self.quarantine.join(path.file_name().unwrap_or_default());
        if kept.exists() {
            return Ok(());
        }
        if fs::hard_link(path, &kept).is_err() {
            let copied = fs::copy(path, &kept).and_then(|_| File::open(&kept)?.sync_all());
            copied.map_err(|e| io_error("could not keep a copy of", path, &e))?;
        }
        sync_folder(self.quarantine)
    }

    fn frame(&mut self, found: &Found<'_>, applier: &mut Applier<'_>) -> Result<()> {
        self.enter_segment(found.at.segment)?;
        (self.next_lsn, self.unix_s) = (found.frame.lsn + 1, found.unix_s());
        self.made.clear();
        let ops = found.ops().unwrap_or_default();
        if found.state == State::LetterDamaged {
            return self.damaged_letter(found, &ops, applier);
        }
        let Some((_, mut writer)) = self.open.take() else {
            for op in &ops {
                applier.op(op, found.blob)?;
            }
            return applier.end_frame(found.after);
        };
        let mut kept = Vec::new();
        for op in &ops {
            self.fit(op, found.blob, applier, &mut kept)?;
        }
        if kept == ops {
            writer.raw(found.frame.lsn, &found.raw())?;
        } else if found.gone {
            let (bytes, hash) = (found.letter.len(), found.frame.blob_hash);
            writer.frame_of_gone(bytes, hash, &encode(&kept), self.unix_s)?;
        } else {
            let letter = found.blob.map(|_| found.letter);
            writer.frame(letter, &encode(&kept), self.unix_s)?;
        }
        self.open = Some((found.at.segment, writer));
        applier.end_frame(found.after)
    }

    /// Applies an op; what it needs and is lost is put in front of it, what still does not fit is left out.
    fn fit(
        &mut self,
        op: &Op,
        blob: Option<BlobRef>,
        applier: &mut Applier<'_>,
        kept: &mut Vec<Op>,
    ) -> Result<()> {
        let Some(why) = applier.op(op, blob)? else {
            kept.push(op.clone());
            return Ok(());
        };
        for needed in self.needed(op) {
            if applier.op(&needed, None)?.is_none() {
                kept.push(needed);
            }
        }
        if applier.op(op, blob)?.is_none() {
            kept.push(op.clone());
            return Ok(());
        }
        if let Op::MessageAdd { account, mailbox, row } = op {
            self.added.remove(&(*account, *mailbox, row.uid));
        }
        self.say(format!("left out, since {why}: {}", words::op(op)));
        Ok(())
    }

    /// The account and the mailbox of an op, as the old index has them or with names of our own.
    fn needed(&mut self, op: &Op) -> Vec<Op> {
        let (Op::MessageAdd { account, mailbox, .. }
        | Op::FlagsPut { account, mailbox, .. }
        | Op::MessageGone { account, mailbox, .. }) = op
        else {
            return Vec::new();
        };
        let memory = self.memory.as_ref();
        let row = memory.and_then(|read| read.account(*account).ok().flatten());
        let (key, secret) = row.map_or_else(
            || (format!("recovered-{account}@recovered.invalid"), String::new()),
            |row| (row.key, row.secret),
        );
        let known = memory.and_then(|read| read.mailbox(*account, *mailbox).ok().flatten());
        let now = u32::try_from(self.now_unix_ms.div_euclid(1000)).unwrap_or(u32::MAX);
        let put = match known {
            Some(row) => mailbox_put(*account, &row),
            None => Op::MailboxPut {
                account: *account,
                mailbox: *mailbox,
                modseq: ModSeq(1),
                uid_validity: UidValidity(now),
                name: format!("Recovered {mailbox}"),
                special_use: None,
                subscribed: true,
            },
        };
        let name =
            if let Op::MailboxPut { name, .. } = &put { name.clone() } else { String::new() };
        self.say(format!("mailbox \"{}\" of {key} was made again", words::printable(&name)));
        vec![Op::AccountPut { account: *account, key, secret }, put]
    }

    /// A letter that cannot be trusted is taken out, its bytes kept aside.
    fn damaged_letter(
        &mut self,
        found: &Found<'_>,
        ops: &[Op],
        applier: &mut Applier<'_>,
    ) -> Result<()> {
        let (whole, ops) = whole_letters(found.letter, ops);
        let mut name = format!("letter-at-change-{}.eml", found.frame.lsn);
        if let Some(Op::EmailAdd { email, .. }) = ops.first() {
            name = format!("letter-{email}.eml");
        }
        let path = self.quarantine.join(&name);
        write_file(&path, found.letter)?;
        let owners = match &self.memory {
            Some(read) => words::letters_of(&ops, &**read),
            None => ops.iter().map(words::op).collect(),
        };
        self.say(format!("taken out, its bytes are in {}: {}", path.display(), owners.join("; ")));
        let mut kept = Vec::new();
        for op in &whole {
            self.fit(op, found.blob, applier, &mut kept)?;
        }
        let letter = Some(found.letter.to_vec()).filter(|_| !kept.is_empty());
        self.fill(&[(letter, kept)])?;
        applier.end_frame(found.after)
    }

    /// Puts frames in place of lost ones; empty ones are counted.
    fn fill(&mut self, frames: &[(Option<Vec<u8>>, Vec<Op>)]) -> Result<()> {
        let Some((_, writer)) = &mut self.open else {
            return Err(Error::Corrupt("a segment that was taken for whole".to_owned()));
        };
        for (letter, ops) in frames {
            self.empty += u64::from(ops.is_empty());
            writer.frame(letter.as_deref(), &encode(ops), self.unix_s)?;
        }
        Ok(())
    }

    /// Changes that cannot be read: what the old index remembers of them, and empty ones.
    fn lost(&mut self, damage: &Damage, applier: &mut Applier<'_>) -> Result<()> {
        let gap = damage.from == damage.to;
        if !gap {
            self.enter_segment(damage.segment)?;
        }
        let (first, last) = damage.lost;
        let Some(count) = last.checked_sub(first).and_then(|n| usize::try_from(n + 1).ok()) else {
            return Ok(());
        };
        let mut frames: Vec<(Option<Vec<u8>>, Vec<Op>)> = Vec::new();
        if first <= self.remembers_lsn {
            frames.push((None, self.people(applier)?));
            if gap {
                let mut segments = std::mem::take(&mut self.made);
                segments.extend(Some(self.last_id).filter(|id| !segments.contains(id)));
                for segment in segments {
                    let room = count.saturating_sub(frames.len() - 1);
                    frames.extend(self.letters_of(segment, None, room, applier)?);
                }
            } else {
                let range = Some((damage.from, damage.to));
                frames.extend(self.letters_of(damage.segment, range, count, applier)?);
            }
            // The accounts need no frame of their own when there is room for none.
            if frames.len() > count && frames.len() > 1 {
                let (_, mut people) = frames.remove(0);
                if let Some((_, ops)) = frames.first_mut() {
                    people.append(ops);
                    *ops = people;
                }
            }
        }
        frames.resize(count, (None, Vec::new()));
        self.next_lsn = last + 1;
        self.fill(&frames)
    }

    /// Accounts, mailboxes and aliases that the old index has and the log so far has not. Where a later frame makes
    /// them, it says the same again.
    fn people(&mut self, applier: &mut Applier<'_>) -> Result<Vec<Op>> {
        let Some(memory) = &self.memory else { return Ok(Vec::new()) };
        let mut ops = Vec::new();
        for account in memory.accounts().unwrap_or_default() {
            let (id, key, secret) = (account.id, account.key, account.secret);
            let known = applier.account(id)?;
            if known.is_none() {
                ops.push(Op::AccountPut { account: id, key, secret });
            }
            if known.map_or_else(db::Amount::default, |row| row.limit) != account.limit {
                ops.push(Op::QuotaPut { account: id, limit: account.limit });
            }
            for row in memory.mailboxes(id).unwrap_or_default() {
                if applier.mailbox(id, row.id)?.is_none() {
                    ops.push(mailbox_put(id, &row));
                }
            }
            ops.extend(applier.missing_notes(&**memory, id)?);
        }
        ops.extend(applier.missing_aliases(&**memory)?);
        for op in &ops {
            applier.op(op, None)?;
        }
        Ok(ops)
    }

    /// Letters of a damaged place, or a whole segment, whose bytes are good by the old index.
    fn letters_of(
        &mut self,
        segment: u64,
        range: Option<(u64, u64)>,
        count: usize,
        applier: &mut Applier<'_>,
    ) -> Result<Vec<NewFrame>> {
        let (from, to) = range.unwrap_or((0, u64::MAX));
        let at = |offset| Location { segment, offset };
        let found: Vec<_> =
            self.letters.range(at(from)..at(to)).map(|(_, ids)| ids.clone()).collect();
        let kept = self.quarantine.join(format!("{segment:016x}.seg"));
        let file = File::open(&kept).ok();
        let source = self.sources.remove(&segment);
        let mut frames = Vec::new();
        for mut ids in found {
            ids.retain(|id| !self.readable.contains(id));
            let rows: Vec<EmailRow> = match &self.memory {
                Some(read) => ids.iter().filter_map(|id| read.email(*id).ok().flatten()).collect(),
                None => Vec::new(),
            };
            let Some(blob) = rows.first().map(|row| row.blob) else { continue };
            let bytes = match &source {
                Some(source) => {
                    read_letter(blob, |bytes, at| source.read(bytes, at).is_ok_and(|w| w))
                }
                None => file.as_ref().and_then(|file| {
                    read_letter(blob, |bytes, at| file.read_exact_at(bytes, at).is_ok())
                }),
            };
            let names: Vec<String> = match &self.memory {
                Some(read) => ids.iter().map(|id| words::email(&**read, *id)).collect(),
                None => Vec::new(),
            };
            let Some(bytes) = bytes.filter(|_| frames.len() < count) else {
                self.say(format!("lost: {}", names.join("; ")));
                continue;
            };
            let mut ops = Vec::new();
            for row in &rows {
                self.email_ops(row, &bytes, applier, &mut ops)?;
            }
            self.say(format!("brought back with the help of the index: {}", names.join("; ")));
            frames.push((Some(bytes), ops));
        }
        self.sources.extend(source.map(|source| (segment, source)));
        Ok(frames)
    }

    /// An email as the old index has it, in the mailboxes that no good frame puts it into.
    fn email_ops(
        &mut self,
        row: &EmailRow,
        bytes: &[u8],
        applier: &mut Applier<'_>,
        ops: &mut Vec<Op>,
    ) -> Result<()> {
        let account = row.account;
        let add = Op::EmailAdd {
            account,
            email: row.id,
            thread: row.thread,
            received_unix_s: row.received_unix_s,
            index: row.index.clone(),
            message_ids: self.message_ids(row, bytes),
            part: None,
        };
        self.fit(&add, Some(row.blob), applier, ops)?;
        let homes = match &self.memory {
            Some(read) => read.homes(account, row.id).unwrap_or_default(),
            None => Vec::new(),
        };
        for (mailbox, row) in homes {
            if self.added.insert((account, mailbox, row.uid)) {
                self.fit(&Op::MessageAdd { account, mailbox, row }, None, applier, ops)?;
            }
        }
        Ok(())
    }

    /// Hashes of Message-IDs that lead to the email's thread by the old index.
    fn message_ids(&self, row: &EmailRow, bytes: &[u8]) -> Vec<u64> {
        let Some(memory) = &self.memory else { return Vec::new() };
        let leads =
            |hash: &u64| memory.thread_of(row.account, *hash).ok().flatten() == Some(row.thread);
        let hashes = crate::ops::message_id_hashes(&mparser::Index::of(bytes));
        hashes.into_iter().filter(leads).collect()
    }

    /// A segment at the end with what is still amiss: messages without a letter go; flags and removals that
    /// were lost are taken from the old index.
    fn reconcile(&mut self, index: &dyn Index, applier: &mut Applier<'_>) -> Result<()> {
        let mut ops = Vec::new();
        let read = index.read()?;
        for account in read.accounts()? {
            let modseq = account.modseq.next();
            for mailbox in read.mailboxes(account.id)? {
                let rows = read.messages(account.id, mailbox.id, &UidSet::all())?;
                let (mut gone, mut orphans) = (UidSet::new(), 0);
                for row in &rows {
                    if read.email(row.email)?.is_none() || self.given_up.contains(&row.email) {
                        gone.insert(row.uid);
                        orphans += 1;
                    }
                }
                if orphans > 0 {
                    let place = format!("{}, {}", account.key, mailbox.name);
                    self.say(format!(
                        "{place}: {orphans} messages whose letter is lost were taken out"
                    ));
                }
                let back = self.copies(&*read, account.id, &mailbox, &rows)?;
                if !back.is_empty() {
                    let (place, n) = (format!("{}, {}", account.key, mailbox.name), back.len());
                    self.say(format!(
                        "{place}: {n} messages were put back with the help of the index"
                    ));
                }
                for row in back {
                    let row = MessageRow { modseq, ..row };
                    ops.push(Op::MessageAdd { account: account.id, mailbox: mailbox.id, row });
                }
                let flags = self.remembered(account.id, mailbox.id, &rows, &mut gone);
                for (uid, flags) in flags {
                    let uids = UidSet::one(uid);
                    ops.push(Op::FlagsPut {
                        account: account.id,
                        mailbox: mailbox.id,
                        modseq,
                        uids,
                        flags,
                    });
                }
                if !gone.is_empty() {
                    let uids = gone;
                    ops.push(Op::MessageGone {
                        account: account.id,
                        mailbox: mailbox.id,
                        modseq,
                        uids,
                    });
                }
            }
        }
        drop(read);
        // What comes back first: a letter that loses its last mailbox is gone for good.
        ops.sort_by_key(|op| u8::from(!matches!(op, Op::MessageAdd { .. })));
        let mut kept = Vec::new();
        for op in ops {
            if applier.op(&op, None)?.is_none() {
                kept.push(op);
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        let id = segment_ids(self.log)?.last().copied().unwrap_or(0) + 1;
        let mut writer = Rewrite::begin_new(self.log, id, self.next_lsn, self.now_unix_ms)?;
        writer.frame(None, &encode(&kept), self.now_unix_ms.div_euclid(1000))?;
        writer.finish()?;
        let end = Location { segment: id, offset: 0 };
        applier.end_frame(Position { lsn: self.next_lsn, end })
    }

    /// Messages of letters that are there, which the old index has and no frame brings: copies and moves that
    /// were lost. They keep their UIDs where those are still free.
    fn copies(
        &self,
        read: &dyn Read,
        account: AccountId,
        mailbox: &db::MailboxRow,
        rows: &[MessageRow],
    ) -> Result<Vec<MessageRow>> {
        let Some(memory) = &self.memory else { return Ok(Vec::new()) };
        let (mut back, mut next) = (Vec::new(), mailbox.uid_next);
        for row in memory.messages(account, mailbox.id, &UidSet::all()).unwrap_or_default() {
            let there = rows.iter().any(|found| found.uid == row.uid);
            let brought = self.added.contains(&(account, mailbox.id, row.uid));
            let lost = read.email(row.email)?.is_none() || self.given_up.contains(&row.email);
            if there || brought || lost {
                continue;
            }
            let Some(free) = next else { break };
            let uid = row.uid.max(free);
            next = uid.next();
            back.push(MessageRow { uid, ..row });
        }
        Ok(back)
    }

    /// Flags that the old index has otherwise, and messages it had removed, as far as it had come.
    fn remembered(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        rows: &[MessageRow],
        gone: &mut UidSet,
    ) -> Vec<(Uid, types::Flags)> {
        let mut flags = Vec::new();
        let Some(memory) =
            self.memory.as_ref().filter(|_| self.empty > 0 || !self.letters.is_empty())
        else {
            return flags;
        };
        let (Ok(Some(owner)), Ok(Some(known))) =
            (memory.account(account), memory.mailbox(account, mailbox))
        else {
            return flags;
        };
        let Ok(old) = memory.messages(account, mailbox, &UidSet::all()) else { return flags };
        let old: BTreeMap<Uid, MessageRow> = old.into_iter().map(|row| (row.uid, row)).collect();
        for row in rows {
            match old.get(&row.uid) {
                // It had been removed: UIDs below UIDNEXT were known.
                None if known.uid_next.is_none_or(|next| row.uid < next) => gone.insert(row.uid),
                Some(old) if old.flags != row.flags && row.modseq <= owner.modseq => {
                    flags.push((row.uid, old.flags.clone()));
                }
                _ => {}
            }
        }
        flags
    }
}

/// The ops of letters that are whole among several that came together, and those of the others.
fn whole_letters(bytes: &[u8], ops: &[Op]) -> (Vec<Op>, Vec<Op>) {
    let is_whole = |part: &db::LetterPart| {
        let start = part.offset_bytes as usize;
        let letter = bytes.get(start..start.saturating_add(part.size_bytes as usize));
        letter.is_some_and(|letter| blob_hash(letter) == part.hash)
    };
    let whole: HashSet<EmailId> = ops
        .iter()
        .filter_map(|op| match op {
            Op::EmailAdd { email, part: Some(part), .. } if is_whole(part) => Some(*email),
            _ => None,
        })
        .collect();
    ops.iter().cloned().partition(|op| match op {
        Op::EmailAdd { email, .. } => whole.contains(email),
        Op::MessageAdd { row, .. } => whole.contains(&row.email),
        _ => false,
    })
}

/// The letter, if `read` can fill in its bytes and they are right.
fn read_letter(blob: BlobRef, read: impl Fn(&mut [u8], u64) -> bool) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(blob.size_bytes).ok()?];
    (read(&mut bytes, blob.location.offset) && blob_hash(&bytes) == blob.hash).then_some(bytes)
}

fn mailbox_put(account: AccountId, row: &db::MailboxRow) -> Op {
    Op::MailboxPut {
        account,
        mailbox: row.id,
        modseq: row.created,
        uid_validity: row.uid_validity,
        name: row.name.clone(),
        special_use: row.special_use,
        subscribed: row.subscribed,
    }
}

fn encode(ops: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for op in ops {
        op.encode(&mut bytes);
    }
    bytes
}
