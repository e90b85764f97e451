//! The kill loop: a process that changes mail is killed with signal 9 again and again, always in the same folder.
//!
//! The killed process is this test binary again, at [`the_one_that_is_killed`]: several people change their own
//! mailboxes at once and write to one they share. Each says on a pipe what he is about to do, does it, and says what
//! he was answered. After the kill the folder is opened: of each person everything acknowledged must be there, and
//! of the one change under way all or nothing.
//!
//! `CRASH_ROUNDS=500` for more rounds, `CRASH_SEED=7` for another course of events; `cargo xtask crash` sets both.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stderr, reason = "500 rounds take minutes: somebody watches them")]

use crate::{counters_agree, fsck_finds_nothing};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use storage::{Into, Letter, Options, Replaced, Store, Target};
use types::{AccountId, FlagChange, Flags, ModSeq, SystemClock, Uid, UidSet, UidValidity};

/// People who change mail at the same time.
const WRITERS: usize = 6;
/// A mailbox with more letters than this loses some, so that rounds stay short.
const LETTERS: usize = 40;
const ROUNDS: u64 = 20;

struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

fn options(folder: &Path) -> Options {
    Options { segment_bytes: 150_000, ..Options::in_folder(folder) }
}

fn key(writer: usize) -> String {
    format!("w{writer}@example.test")
}

const SHARED: &str = "shared@example.test";

/// The letter a token stands for; its length follows from the token too.
fn raw(token: &str) -> String {
    let sum = token.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    let bytes = if sum.is_multiple_of(40) { 90_000 } else { 100 + sum as usize % 3_000 };
    let line = format!("{token} and so on and so forth\r\n");
    let body: String = line.repeat(bytes / line.len() + 1);
    format!(
        "From: {token}@example.test\r\nMessage-ID: <{token}@example.test>\r\nSubject: {token}\r\n\r\n{body}"
    )
}

/// The token in a letter; the letter must be the one it stands for, to the last byte.
fn token(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let token = text.strip_prefix("From: ").and_then(|rest| rest.split('@').next()).unwrap();
    assert!(bytes == raw(token).as_bytes(), "letter {token} is not what was sent");
    token.to_owned()
}

// --- what one person's mail should look like

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mailbox {
    /// 0: not known yet.
    validity: u32,
    next: u32,
    subscribed: bool,
    letters: BTreeMap<u32, (String, BTreeSet<String>)>,
}

/// Mailboxes by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Mail(BTreeMap<String, Mailbox>);

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Deliver {
        mailbox: String,
        token: String,
    },
    /// Several letters come at once (RFC 3502).
    AppendAll {
        mailbox: String,
        tokens: Vec<String>,
    },
    /// A letter comes and an older one goes (RFC 8508).
    Replace {
        from: String,
        uid: u32,
        to: String,
        token: String,
    },
    Flag {
        mailbox: String,
        uids: UidSet,
        add: bool,
        flag: String,
    },
    Copy {
        from: String,
        uids: UidSet,
        to: String,
    },
    Move {
        from: String,
        uids: UidSet,
        to: String,
    },
    Expunge {
        mailbox: String,
        uids: UidSet,
    },
    Remove {
        mailbox: String,
        uids: UidSet,
    },
    Create {
        name: String,
    },
    Delete {
        name: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Subscribe {
        name: String,
        on: bool,
    },
    /// Letters of the shared inbox up to this UID go.
    Trim {
        last: u32,
    },
}

impl Mail {
    /// As the store shows it. Letters are read in the order they came in, so that each pack is opened once.
    async fn read(store: &Store, account: AccountId) -> Self {
        let (mut mail, mut all) = (Self::default(), Vec::new());
        for row in store.mailboxes(account).await.unwrap() {
            let UidValidity(validity) = row.uid_validity;
            let next = row.uid_next.unwrap().get();
            let letters = BTreeMap::new();
            let mailbox = Mailbox { validity, next, subscribed: row.subscribed, letters };
            mail.0.insert(row.name.clone(), mailbox);
            let messages = store.messages(account, row.id, &UidSet::all()).await.unwrap();
            all.extend(messages.into_iter().map(|message| (row.name.clone(), message)));
        }
        all.sort_by_key(|(_, message)| message.email);
        for (name, message) in all {
            let email = store.emails(account, &[message.email]).await.unwrap().pop().unwrap();
            let token = token(&store.bytes(&email).await.unwrap());
            let flags = message.flags.to_string();
            let flags = flags.split(' ').filter(|flag| !flag.is_empty());
            let letter = (token, flags.map(str::to_owned).collect());
            mail.at(&name).letters.insert(message.uid.get(), letter);
        }
        mail
    }

    fn of_a_new_account() -> Self {
        let names = ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"];
        Self(names.into_iter().map(|name| (name.to_owned(), Mailbox::new())).collect())
    }

    fn at(&mut self, name: &str) -> &mut Mailbox {
        self.0.get_mut(name).unwrap()
    }

    /// What the step does, and the UIDs it gives.
    fn apply(&mut self, step: &Step) -> Vec<u32> {
        match step {
            Step::Deliver { mailbox, token } => {
                return vec![self.at(mailbox).add(token.clone(), BTreeSet::new())];
            }
            Step::AppendAll { mailbox, tokens } => {
                let here = self.at(mailbox);
                return tokens.iter().map(|new| here.add(new.clone(), BTreeSet::new())).collect();
            }
            Step::Replace { from, uid, to, token } => {
                let given = self.at(to).add(token.clone(), BTreeSet::new());
                assert!(self.at(from).letters.remove(uid).is_some(), "{uid} of {from}");
                return vec![given];
            }
            Step::Flag { mailbox, uids, add, flag } => {
                let letters = self.at(mailbox).letters.iter_mut();
                for (_, (_, flags)) in letters.filter(|(uid, _)| has(uids, **uid)) {
                    if *add {
                        flags.insert(flag.clone())
                    } else {
                        flags.remove(flag)
                    };
                }
            }
            Step::Copy { from, uids, to } => return self.copy(from, uids, to),
            Step::Move { from, uids, to } => {
                let given = self.copy(from, uids, to);
                self.at(from).letters.retain(|uid, _| !has(uids, *uid));
                return given;
            }
            Step::Expunge { mailbox, uids } => self
                .at(mailbox)
                .letters
                .retain(|uid, (_, flags)| !has(uids, *uid) || !flags.contains("\\Deleted")),
            Step::Remove { mailbox, uids } => {
                self.at(mailbox).letters.retain(|uid, _| !has(uids, *uid));
            }
            Step::Create { name } => {
                assert!(self.0.insert(name.clone(), Mailbox::new()).is_none());
            }
            Step::Delete { name } => assert!(self.0.remove(name).is_some()),
            Step::Rename { from, to } => {
                let mailbox = self.0.remove(from).unwrap();
                assert!(self.0.insert(to.clone(), mailbox).is_none());
            }
            Step::Subscribe { name, on } => self.at(name).subscribed = *on,
            Step::Trim { .. } => {}
        }
        Vec::new()
    }

    fn copy(&mut self, from: &str, uids: &UidSet, to: &str) -> Vec<u32> {
        let letters = self.at(from).letters.clone();
        let wanted = letters.into_iter().filter(|(uid, _)| has(uids, *uid));
        wanted.map(|(_, (token, flags))| self.at(to).add(token, flags)).collect()
    }

    /// The same, where a UIDVALIDITY that is not known yet may be any.
    fn is(&self, actual: &Self) -> bool {
        let mut known = self.clone();
        for (name, mailbox) in &mut known.0 {
            if let Some(there) = actual.0.get(name).filter(|_| mailbox.validity == 0) {
                mailbox.validity = there.validity;
            }
        }
        known == *actual
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(|mailbox| mailbox.letters.values()).map(|(token, _)| &**token)
    }
}

impl Mailbox {
    fn new() -> Self {
        Self { validity: 0, next: 1, subscribed: true, letters: BTreeMap::new() }
    }

    fn add(&mut self, token: String, flags: BTreeSet<String>) -> u32 {
        self.letters.insert(self.next, (token, flags));
        self.next += 1;
        self.next - 1
    }
}

fn has(uids: &UidSet, uid: u32) -> bool {
    uids.contains(uid_of(uid))
}

fn uid_of(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

// --- on the pipe: a line each, fields with tabs between

impl Step {
    fn write(&self) -> String {
        let uids = |uids: &UidSet| uids.to_string();
        let yes = |yes: bool| if yes { "1" } else { "0" }.to_owned();
        let fields = match self.clone() {
            Self::Deliver { mailbox, token } => vec!["deliver".into(), mailbox, token],
            Self::AppendAll { mailbox, tokens } => {
                vec!["appendall".into(), mailbox, tokens.join(" ")]
            }
            Self::Replace { from, uid, to, token } => {
                vec!["replace".into(), from, uid.to_string(), to, token]
            }
            Self::Flag { mailbox, uids: set, add, flag } => {
                vec!["flag".into(), mailbox, uids(&set), yes(add), flag]
            }
            Self::Copy { from, uids: set, to } => vec!["copy".into(), from, uids(&set), to],
            Self::Move { from, uids: set, to } => vec!["move".into(), from, uids(&set), to],
            Self::Expunge { mailbox, uids: set } => vec!["expunge".into(), mailbox, uids(&set)],
            Self::Remove { mailbox, uids: set } => vec!["remove".into(), mailbox, uids(&set)],
            Self::Create { name } => vec!["create".into(), name],
            Self::Delete { name } => vec!["delete".into(), name],
            Self::Rename { from, to } => vec!["rename".into(), from, to],
            Self::Subscribe { name, on } => vec!["subscribe".into(), name, yes(on)],
            Self::Trim { last } => vec!["trim".into(), last.to_string()],
        };
        fields.join("\t")
    }

    fn read(fields: &[&str]) -> Self {
        let text = |n: usize| fields[n].to_owned();
        let uids = |n: usize| -> UidSet {
            let numbers = fields[n].split(',').flat_map(|range| {
                let (first, last) = range.split_once(':').unwrap_or((range, range));
                first.parse::<u32>().unwrap()..=last.parse().unwrap()
            });
            numbers.filter_map(Uid::new).collect()
        };
        match fields[0] {
            "deliver" => Self::Deliver { mailbox: text(1), token: text(2) },
            "appendall" => {
                let tokens = fields[2].split(' ').map(str::to_owned).collect();
                Self::AppendAll { mailbox: text(1), tokens }
            }
            "replace" => {
                let uid = fields[2].parse().unwrap();
                Self::Replace { from: text(1), uid, to: text(3), token: text(4) }
            }
            "flag" => {
                Self::Flag { mailbox: text(1), uids: uids(2), add: fields[3] == "1", flag: text(4) }
            }
            "copy" => Self::Copy { from: text(1), uids: uids(2), to: text(3) },
            "move" => Self::Move { from: text(1), uids: uids(2), to: text(3) },
            "expunge" => Self::Expunge { mailbox: text(1), uids: uids(2) },
            "remove" => Self::Remove { mailbox: text(1), uids: uids(2) },
            "create" => Self::Create { name: text(1) },
            "delete" => Self::Delete { name: text(1) },
            "rename" => Self::Rename { from: text(1), to: text(2) },
            "subscribe" => Self::Subscribe { name: text(1), on: fields[2] == "1" },
            "trim" => Self::Trim { last: fields[1].parse().unwrap() },
            other => panic!("{other}"),
        }
    }
}

// --- the process that is killed

/// One write, so that a kill leaves a whole line or none.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
#[ignore = "the kill loop starts it, and ends it"]
async fn the_one_that_is_killed() {
    let folder = std::env::var("CRASH_FOLDER").unwrap();
    let seed: u64 = std::env::var("CRASH_SEED").unwrap().parse().unwrap();
    let store = Store::open(&options(Path::new(&folder)), Arc::new(SystemClock)).unwrap();
    let shared = store.put_account(SHARED, "").await.unwrap();
    let mut people = Vec::new();
    for n in 0..WRITERS {
        let account = store.put_account(&key(n), "").await.unwrap();
        let mail = Mail::read(&store, account).await;
        let dice = Dice::new(seed + n as u64 * 1_000_003);
        let store = store.clone();
        people.push(Person { n, seed, store, account, shared, mail, dice });
    }
    say("ready");
    tokio::spawn(pack(store));
    let tasks: Vec<_> = people.into_iter().map(|person| tokio::spawn(person.run())).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Segments are packed, and packs with many dead letters written anew, while people work.
async fn pack(store: Store) {
    loop {
        if let Err(error) = store.pack().await {
            say(&format!("E\tpack\t{error}"));
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

struct Person {
    n: usize,
    seed: u64,
    store: Store,
    account: AccountId,
    shared: AccountId,
    mail: Mail,
    dice: Dice,
}

impl Person {
    async fn run(mut self) {
        // A process that is not killed ends all the same.
        for count in 0..1_000_000 {
            let step = self.choose(count).await;
            let n = self.n;
            say(&format!("I\t{n}\t{}", step.write()));
            match self.take(&step).await {
                Ok((uids, more)) => {
                    assert_eq!(self.mail.apply(&step), uids, "{step:?}");
                    say(&format!("A\t{n}\t{uids:?}\t{more}"));
                }
                Err(error) => say(&format!("E\t{n}\t{error}")),
            }
        }
    }

    async fn choose(&mut self, count: u32) -> Step {
        let (names, dice) = (self.mail.0.keys().cloned().collect::<Vec<_>>(), &mut self.dice);
        let mailbox = dice.of(&names).clone();
        let there: Vec<u32> = self.mail.0[&mailbox].letters.keys().copied().collect();
        if self.n == 0 && count % 60 == 59 {
            let inbox = self.store.mailbox_by_name(self.shared, "INBOX").await.unwrap();
            let last = inbox.uid_next.unwrap().get().saturating_sub(80);
            if last > 0 {
                return Step::Trim { last };
            }
        }
        if there.len() > LETTERS {
            let uids = there[..LETTERS / 2].iter().filter_map(|n| Uid::new(*n)).collect();
            return Step::Remove { mailbox, uids };
        }
        let own: Vec<_> = names.iter().filter(|name| name.starts_with('M')).cloned().collect();
        let free = (0..6).map(|n| format!("M{n}")).find(|name| !names.contains(name));
        match (dice.below(20), free) {
            (0, Some(name)) => return Step::Create { name },
            (1, _) if !own.is_empty() => return Step::Delete { name: dice.of(&own).clone() },
            (2, Some(to)) if !own.is_empty() => {
                return Step::Rename { from: dice.of(&own).clone(), to };
            }
            (3, _) => return Step::Subscribe { name: mailbox, on: dice.below(2) == 0 },
            _ => {}
        }
        let token = format!("s{}w{}n{count}", self.seed, self.n);
        if there.is_empty() || dice.below(2) == 0 {
            if dice.below(5) == 0 {
                let letters = 2 + dice.below(5);
                let tokens = (0..letters).map(|n| format!("{token}of{n}")).collect();
                return Step::AppendAll { mailbox, tokens };
            }
            return Step::Deliver { mailbox, token };
        }
        let uids: UidSet = (0..=dice.below(4)).filter_map(|_| Uid::new(*dice.of(&there))).collect();
        let to = dice.of(&names).clone();
        match dice.below(8) {
            0 if to != mailbox => Step::Copy { from: mailbox, uids, to },
            1 if to != mailbox => Step::Move { from: mailbox, uids, to },
            4 | 5 => {
                // Half of the drafts stay where they are.
                let to = if dice.below(2) == 0 { mailbox.clone() } else { to };
                Step::Replace { from: mailbox, uid: *dice.of(&there), to, token }
            }
            2 => Step::Expunge { mailbox, uids },
            3 => Step::Remove { mailbox, uids },
            _ => {
                let flag = *dice.of(&["\\Seen", "\\Deleted", "\\Flagged", "$Praca"]);
                Step::Flag { mailbox, uids, add: dice.below(3) > 0, flag: flag.to_owned() }
            }
        }
    }

    /// Asks the store; the UIDs it gave, and for a letter its UID in the shared inbox and the MODSEQ it has here.
    async fn take(&self, step: &Step) -> storage::Result<(Vec<u32>, String)> {
        let (store, account) = (&self.store, self.account);
        let id = async |name: &str| store.mailbox_by_name(account, name).await.map(|row| row.id);
        match step.clone() {
            Step::Deliver { mailbox, token } => return self.deliver(&mailbox, &token).await,
            Step::AppendAll { mailbox, tokens } => {
                let letter = |token: &String| Letter::parse(raw(token).into());
                let letters = tokens.iter().map(|token| (letter(token), Flags::default(), None));
                let mailbox = id(&mailbox).await?;
                let all = store.append_all(account, mailbox, letters.collect()).await?;
                let modseq = all.iter().map(|new| new.modseq).max().unwrap();
                return Ok((all.iter().map(|new| new.uid.get()).collect(), format!("- {modseq}")));
            }
            Step::Replace { from, uid, to, token } => {
                let old = Replaced { account, mailbox: id(&from).await?, uid: uid_of(uid) };
                let to = Target { into: Into::Mailbox(id(&to).await?), ..Target::inbox(account) };
                let new = store.replace(Letter::parse(raw(&token).into()), to, old).await?;
                return Ok((vec![new.uid.get()], format!("- {}", new.modseq)));
            }
            Step::Flag { mailbox, uids, add, flag } => {
                let mut flags = Flags::default();
                assert!(flags.insert_name(&flag));
                let change = if add { FlagChange::Add(flags) } else { FlagChange::Remove(flags) };
                store.store_flags(account, id(&mailbox).await?, uids, change, None).await?;
            }
            Step::Copy { from, uids, to } => {
                let copied = store.copy(account, id(&from).await?, uids, id(&to).await?).await?;
                return Ok((copied.uids.iter().map(|(_, to)| to.get()).collect(), String::new()));
            }
            Step::Move { from, uids, to } => {
                let (from, to) = (id(&from).await?, id(&to).await?);
                let moved = store.move_messages(account, from, uids, to).await?;
                return Ok((moved.uids.iter().map(|(_, to)| to.get()).collect(), String::new()));
            }
            Step::Expunge { mailbox, uids } => {
                store.expunge(account, id(&mailbox).await?, uids).await?;
            }
            Step::Remove { mailbox, uids } => {
                store.remove(account, id(&mailbox).await?, uids).await?;
            }
            Step::Create { name } => {
                store.create_mailbox(account, &name, None).await?;
            }
            Step::Delete { name } => store.delete_mailbox(account, id(&name).await?).await?,
            Step::Rename { from, to } => {
                store.rename_mailbox(account, id(&from).await?, &to).await?;
            }
            Step::Subscribe { name, on } => {
                store.subscribe_mailbox(account, id(&name).await?, on).await?;
            }
            Step::Trim { last } => {
                let inbox = store.mailbox_by_name(self.shared, "INBOX").await?.id;
                let uids = UidSet::from_ranges([(Uid::MIN, Uid::new(last).unwrap())]);
                store.remove(self.shared, inbox, uids).await?;
            }
        }
        Ok((Vec::new(), String::new()))
    }

    async fn deliver(&self, mailbox: &str, token: &str) -> storage::Result<(Vec<u32>, String)> {
        let mailbox = self.store.mailbox_by_name(self.account, mailbox).await?.id;
        let own = Target { into: Into::Mailbox(mailbox), ..Target::inbox(self.account) };
        let targets = vec![own, Target::inbox(self.shared)];
        let mut done = self.store.deliver(Letter::parse(raw(token).into()), targets).await?;
        let (shared, own) = (done.pop().unwrap()?, done.pop().unwrap()?);
        Ok((vec![own.uid.get()], format!("{} {}", shared.uid, own.modseq)))
    }
}

// --- the one that kills and looks

/// Counted over all rounds.
#[derive(Default)]
struct Total {
    letters: u64,
    /// Of the letters, those that took the place of another.
    replaced: u64,
    /// How often several letters came at once.
    at_once: u64,
    found: u64,
    removed: u64,
    changes: u64,
    under_way: u64,
    kept: u64,
}

/// What was said in one round.
#[derive(Default)]
struct Said {
    /// Who, what, and of a letter its UID in the shared inbox and its MODSEQ.
    acknowledged: Vec<(usize, Step, String)>,
    /// Asked for and not answered.
    under_way: BTreeMap<usize, Step>,
}

/// Starts the process, kills it after a while, gives back what it said.
fn killed(folder: &Path, seed: u64, dice: &mut Dice) -> Said {
    // This program, even when a build has put another in its place meanwhile.
    let here = PathBuf::from("/proc/self/exe");
    let here = if here.exists() { here } else { std::env::current_exe().unwrap() };
    let mut process = Command::new(here)
        .args(["--exact", "kill::the_one_that_is_killed", "--ignored", "--nocapture"])
        .env("CRASH_FOLDER", folder)
        .env("CRASH_SEED", seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines_of(&mut process);
    // Now and then while it opens the folder, else while it works.
    let mut said = Vec::new();
    if dice.below(5) == 0 {
        wait(&lines, Duration::from_millis(dice.below(60) as u64), &mut said);
    } else {
        while said.last().is_none_or(|line| line != "ready") {
            said.push(lines.recv_timeout(Duration::from_mins(1)).unwrap_or_else(|_| {
                panic!("seed {seed}: it does not start: {said:?}");
            }));
        }
        wait(&lines, Duration::from_millis(5 + dice.below(300) as u64), &mut said);
    }
    process.kill().unwrap();
    process.wait().unwrap();
    said.extend(lines.iter());
    understand(&said, seed)
}

fn lines_of(process: &mut Child) -> Receiver<String> {
    let (found, lines) = channel();
    let pipe = BufReader::new(process.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in pipe.split(b'\n') {
            let line = String::from_utf8(line.unwrap()).unwrap();
            if found.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Takes lines for that long.
fn wait(lines: &Receiver<String>, time: Duration, said: &mut Vec<String>) {
    let until = Instant::now() + time;
    while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        said.push(line);
    }
}

fn understand(lines: &[String], seed: u64) -> Said {
    let mut said = Said::default();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let writer = || fields[1].parse::<usize>().unwrap();
        match fields[0] {
            "I" => {
                let before = said.under_way.insert(writer(), Step::read(&fields[2..]));
                assert!(before.is_none(), "seed {seed}");
            }
            "A" => {
                let step = said.under_way.remove(&writer()).unwrap();
                said.acknowledged.push((writer(), step, fields[3].to_owned()));
            }
            "ready" => {}
            _ => panic!("seed {seed}: {}", lines[lines.len().saturating_sub(8)..].join("\n")),
        }
    }
    said
}

/// What the folder should hold, kept over the rounds.
struct Known {
    people: Vec<Mail>,
    shared: BTreeMap<u32, String>,
    modseq: Vec<u64>,
}

impl Known {
    fn new() -> Self {
        let people = vec![Mail::of_a_new_account(); WRITERS];
        Self { people, shared: BTreeMap::new(), modseq: vec![0; WRITERS] }
    }

    /// Opens the folder after the kill and compares.
    async fn check(&mut self, folder: &Path, said: &Said, seed: u64, total: &mut Total) {
        let store = Store::open(&options(folder), Arc::new(SystemClock)).unwrap();
        // Killed while it made the first accounts: then they are made here.
        let shared = store.put_account(SHARED, "").await.unwrap();
        counters_agree(&store, shared).await;
        let mut inbox = Mail::read(&store, shared).await;
        let inbox = std::mem::take(&mut inbox.at("INBOX").letters);
        let inbox = inbox.into_iter().map(|(uid, (token, _))| (uid, token)).collect();
        self.check_shared(&inbox, said, seed);
        for n in 0..WRITERS {
            let account = store.put_account(&key(n), "").await.unwrap();
            counters_agree(&store, account).await;
            let actual = Mail::read(&store, account).await;
            self.check_person(n, &actual, said, seed, total);
            let ModSeq(state) = store.state(account).await.unwrap();
            assert!(state >= self.modseq[n], "seed {seed}: the MODSEQ of {n} went back");
            (self.people[n], self.modseq[n]) = (actual, state);
        }
        for (_, step, _) in &said.acknowledged {
            total.changes += 1;
            let tokens = match step {
                Step::Deliver { token, .. } | Step::Replace { token, .. } => slice::from_ref(token),
                Step::AppendAll { tokens, .. } => tokens,
                _ => continue,
            };
            total.replaced += u64::from(matches!(step, Step::Replace { .. }));
            total.at_once += u64::from(matches!(step, Step::AppendAll { .. }));
            for token in tokens {
                let own = self.people.iter().flat_map(Mail::tokens);
                let there = own.chain(self.shared.values().map(|token| &**token));
                let there = there.into_iter().any(|other| other == token);
                total.letters += 1;
                *(if there { &mut total.found } else { &mut total.removed }) += 1;
            }
        }
        store.close().await;
    }

    /// His mail is what was acknowledged, with the whole of the change that was under way or nothing of it.
    fn check_person(&mut self, n: usize, actual: &Mail, said: &Said, seed: u64, total: &mut Total) {
        let mut expect = self.people[n].clone();
        for (_, step, more) in said.acknowledged.iter().filter(|(of, ..)| *of == n) {
            expect.apply(step);
            if let Some((_, modseq)) = more.rsplit_once(' ') {
                self.modseq[n] = self.modseq[n].max(modseq.parse().unwrap());
            }
        }
        let under_way = said.under_way.get(&n);
        let mut after = expect.clone();
        under_way.map(|step| after.apply(step));
        total.under_way += u64::from(under_way.is_some());
        if after.is(actual) {
            total.kept += u64::from(under_way.is_some());
        } else {
            assert!(
                expect.is(actual),
                "seed {seed}: mail of {n}, under way {under_way:?}\nexpect {expect:#?}\nfound {actual:#?}"
            );
        }
        // One frame brought it to both, or to neither.
        if let Some(Step::Deliver { token, .. }) = under_way {
            let own = actual.tokens().any(|there| there == token);
            let shared = self.shared.values().any(|there| there == token);
            assert_eq!(own, shared, "seed {seed}: half of the delivery of {token}");
        }
    }

    fn check_shared(&mut self, actual: &BTreeMap<u32, String>, said: &Said, seed: u64) {
        let mut expect = std::mem::take(&mut self.shared);
        let mut trimmed = 0;
        for (_, step, more) in &said.acknowledged {
            match step {
                Step::Deliver { token, .. } => {
                    let uid = more.split_once(' ').unwrap().0.parse().unwrap();
                    let before = expect.insert(uid, token.clone());
                    assert_eq!(before, None, "seed {seed}: UID {uid} was given twice");
                }
                Step::Trim { last } => trimmed = trimmed.max(*last),
                _ => {}
            }
        }
        expect.retain(|uid, _| *uid > trimmed);
        let under_way = said.under_way.get(&0);
        let trim = if let Some(Step::Trim { last }) = under_way { *last } else { 0 };
        if actual.keys().next().is_some_and(|first| *first > trim) {
            expect.retain(|uid, _| *uid > trim);
        }
        for (uid, token) in actual {
            let known = expect.remove(uid);
            let asked = said
                .under_way
                .values()
                .any(|step| matches!(step, Step::Deliver { token: asked, .. } if asked == token));
            let right = known.as_ref().map_or(asked, |known| known == token);
            assert!(right, "seed {seed}: {uid} is {token}, not {known:?}");
        }
        assert!(expect.is_empty(), "seed {seed}: lost from the shared inbox: {expect:?}");
        self.shared.clone_from(actual);
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap())
}

/// Is kept when the test fails.
struct Kept(Option<tempfile::TempDir>);

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.take().map(tempfile::TempDir::keep);
        }
    }
}

#[tokio::test]
async fn killed_again_and_again_nothing_acknowledged_is_lost() {
    let (rounds, first) = (number("CRASH_ROUNDS", ROUNDS), number("CRASH_SEED", 1));
    let kept = Kept(Some(tempfile::tempdir().unwrap()));
    let folder = kept.0.as_ref().unwrap().path();
    eprintln!("{rounds} rounds in {}, seeds {first} to {}", folder.display(), first + rounds - 1);
    let (mut known, mut total, mut checks) = (Known::new(), Total::default(), 0);
    for round in 1..=rounds {
        let seed = first + round - 1;
        let said = killed(folder, seed, &mut Dice::new(seed));
        known.check(folder, &said, seed, &mut total).await;
        // It reads the whole log, which grows from round to round.
        if round <= ROUNDS || round.is_multiple_of(10) || round == rounds {
            fsck_finds_nothing(folder);
            checks += 1;
        }
        if round.is_multiple_of(10) || round == rounds {
            let (letters, changes) = (total.letters, total.changes);
            eprintln!(
                "round {round}, seed {seed}: {letters} letters, {changes} changes, all there"
            );
        }
    }
    assert_eq!(total.letters, total.found + total.removed);
    assert!(total.letters > rounds * 5, "only {} letters in {rounds} rounds", total.letters);
    assert!(total.replaced > rounds, "only {} replaced in {rounds} rounds", total.replaced);
    assert!(total.at_once > rounds, "only {} times several in {rounds} rounds", total.at_once);
    let Total { letters, replaced, at_once, found, removed, changes, under_way, kept } = total;
    eprintln!(
        "{rounds} rounds: {letters} letters acknowledged ({replaced} in place of another, {at_once} \
         times 2 to 6 at once), {found} found byte for byte at the next opening, {removed} \
         removed by then as acknowledged, 0 lost; {changes} changes acknowledged; of {under_way} changes under way {kept} \
         were kept whole; fsck found nothing, {checks} times"
    );
}
