//! What waits, in memory: a few dozen bytes for each letter, a line for each route, and who is next.
//!
//! Nothing here waits or reads a disk. A letter's bytes and its envelope stay in the log.

use crate::log::Place;
use crate::record::{AnswerForm, Status};
use crate::transport::Route;
use crate::{Error, Options, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use types::AccountId;

/// The wait after a route failed as a whole, and what it grows to.
const DOWN_FIRST_S: i64 = 60;
const DOWN_MOST_S: i64 = 30 * 60;

/// A letter, by the number it has for ever.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) name: Box<str>,
    pub(crate) place: Place,
    /// When it was taken, or when it might go: from then on it grows old.
    since_unix_s: i64,
    pub(crate) account: Option<AccountId>,
    pub(crate) slots: Vec<Slot>,
    /// Attempts under way.
    running: u16,
}

/// One recipient.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) status: Status,
    /// `None` until a transport was there to ask.
    pub(crate) route: Option<Route>,
    pub(crate) running: bool,
}

/// Letters that go the same way.
#[derive(Debug, Default)]
struct Line {
    /// Who is due when.
    due: BTreeSet<(i64, u64)>,
    running: usize,
    /// Failures in a row of the route itself.
    failures: u32,
    open_again_unix_s: i64,
    /// Where it stands in `next`.
    queued: Option<(i64, u64)>,
}

/// One attempt to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) route: Route,
    pub(crate) recipients: Vec<usize>,
    pub(crate) place: Place,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Attempts at a time: of one route, and in all.
    per_route: usize,
    attempts: usize,
    letters: HashMap<u64, Letter>,
    names: HashMap<Box<str>, u64>,
    lines: HashMap<Route, Line>,
    /// When each route has something to do; the second number keeps turns.
    next: BTreeMap<(i64, u64), Route>,
    turn: u64,
    running: usize,
    /// Letters that wait in each file of the log, and their bytes.
    live: BTreeMap<u32, (u32, u64)>,
}

impl State {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            per_route: options.per_route.max(1),
            attempts: options.attempts.max(1),
            letters: HashMap::new(),
            names: HashMap::new(),
            lines: HashMap::new(),
            next: BTreeMap::new(),
            turn: 0,
            running: 0,
            live: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(crate) fn routes(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    pub(crate) fn number_of(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Letter> {
        self.letters.get(&number)
    }

    /// In the order they were taken.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.letters.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// A letter waits, or has moved to another place.
    pub(crate) fn put(
        &mut self,
        number: u64,
        name: &str,
        place: Place,
        since_unix_s: i64,
        account: Option<AccountId>,
        slots: Vec<Status>,
    ) {
        self.forget(number);
        let slots = slots.into_iter().map(|status| Slot { status, route: None, running: false });
        let slots: Vec<Slot> = slots.collect();
        if !slots.iter().any(|slot| slot.status.waits()) {
            return;
        }
        self.add_live(place);
        self.names.insert(name.into(), number);
        let letter = Letter { name: name.into(), place, since_unix_s, account, slots, running: 0 };
        self.letters.insert(number, letter);
    }

    /// It stands somewhere else in the log.
    pub(crate) fn moved(&mut self, number: u64, place: Place) {
        let Some(letter) = self.letters.get_mut(&number) else { return };
        let old = std::mem::replace(&mut letter.place, place);
        self.drop_live(old);
        self.add_live(place);
    }

    /// The letter is done with.
    pub(crate) fn forget(&mut self, number: u64) {
        let Some(letter) = self.letters.remove(&number) else { return };
        self.names.remove(&letter.name);
        self.drop_live(letter.place);
        for slot in &letter.slots {
            if let (Some(route), Status::Waiting { next_unix_s, .. }) = (&slot.route, &slot.status)
            {
                self.leave(route, *next_unix_s, number);
            }
        }
    }

    /// Where the recipients of a letter go; from now on it is tried.
    pub(crate) fn route(&mut self, number: u64, routes: Vec<Route>) {
        let Some(letter) = self.letters.get_mut(&number) else { return };
        let mut enter = Vec::new();
        for (slot, route) in letter.slots.iter_mut().zip(routes) {
            // One copy of the name for all that go there.
            let known = self.lines.get_key_value(&route).map(|(known, _)| known.clone());
            let route = known.unwrap_or(route);
            if let Status::Waiting { next_unix_s, .. } = slot.status {
                self.lines.entry(route.clone()).or_default();
                enter.push((route.clone(), next_unix_s));
            }
            slot.route = Some(route);
        }
        for (route, next_unix_s) in enter {
            self.enter(&route, next_unix_s, number);
        }
    }

    /// Takes up to `room` attempts that are due, each route in turn.
    pub(crate) fn due(&mut self, now_unix_s: i64) -> Vec<Job> {
        let mut jobs = Vec::new();
        while self.running < self.attempts {
            let Some(entry) = self.next.first_entry() else { break };
            if entry.key().0 > now_unix_s {
                break;
            }
            let route = entry.remove();
            if let Some(line) = self.lines.get_mut(&route) {
                line.queued = None;
            }
            jobs.extend(self.take(&route, now_unix_s));
            self.queue(&route);
        }
        jobs
    }

    /// When [`Self::due`] has more to give, as far as is known now.
    pub(crate) fn wake_unix_s(&self) -> Option<i64> {
        self.next.first_key_value().map(|((at, _), _)| *at)
    }

    fn take(&mut self, route: &Route, now_unix_s: i64) -> Option<Job> {
        let line = self.lines.get_mut(route)?;
        let first = *line.due.first()?;
        if first.0 > now_unix_s {
            return None;
        }
        line.due.remove(&first);
        let number = first.1;
        let letter = self.letters.get_mut(&number)?;
        let mut recipients = Vec::new();
        for (at, slot) in letter.slots.iter_mut().enumerate() {
            let is_due = matches!(slot.status, Status::Waiting { next_unix_s, .. } if next_unix_s <= now_unix_s);
            if is_due && !slot.running && slot.route.as_ref() == Some(route) {
                slot.running = true;
                recipients.push(at);
            }
        }
        if recipients.is_empty() {
            return None;
        }
        line.running += 1;
        letter.running += 1;
        self.running += 1;
        Some(Job { number, route: route.clone(), recipients, place: letter.place })
    }

    /// Takes letters that nobody is sending and that are too old, or so old that the sender has to hear of it.
    pub(crate) fn old(&mut self, now_unix_s: i64, options: &Options, most: usize) -> Vec<Job> {
        let (delay_s, expire_s) = (i64::from(options.delay_report_s), i64::from(options.expire_s));
        let is_old = |letter: &Letter, slot: &Slot| {
            let Status::Waiting { told, .. } = slot.status else { return false };
            let age_s = now_unix_s - letter.since_unix_s;
            let is_down = slot.route.as_ref().is_some_and(|route| self.is_down(route));
            is_down && (age_s >= expire_s || age_s >= delay_s && !told)
        };
        let mut found = Vec::new();
        for (number, letter) in &self.letters {
            if letter.running > 0 || found.len() >= most {
                continue;
            }
            let slots = letter.slots.iter().enumerate().filter(|(_, slot)| is_old(letter, slot));
            let mut routes: BTreeMap<&Route, Vec<usize>> = BTreeMap::new();
            for (at, slot) in slots {
                if let Some(route) = &slot.route {
                    routes.entry(route).or_default().push(at);
                }
            }
            let job = |(route, recipients): (&Route, Vec<usize>)| Job {
                number: *number,
                route: route.clone(),
                recipients,
                place: letter.place,
            };
            found.extend(routes.into_iter().map(job));
        }
        for job in &found {
            self.begin(job);
        }
        found
    }

    fn is_down(&self, route: &Route) -> bool {
        self.lines.get(route).is_some_and(|line| line.failures > 0)
    }

    fn begin(&mut self, job: &Job) {
        self.running += 1;
        let Some(letter) = self.letters.get_mut(&job.number) else { return };
        letter.running += 1;
        let mut dues = Vec::new();
        for at in &job.recipients {
            if let Some(slot) = letter.slots.get_mut(*at) {
                slot.running = true;
                if let Status::Waiting { next_unix_s, .. } = slot.status {
                    dues.push((next_unix_s, job.number));
                }
            }
        }
        if let Some(line) = self.lines.get_mut(&job.route) {
            line.running += 1;
            for due in dues {
                line.due.remove(&due);
            }
        }
    }

    /// A letter that waits is due now, also when it was held.
    pub(crate) fn hurry(&mut self, number: u64, now_unix_s: i64) {
        let Some(letter) = self.letters.get(&number) else { return };
        let sooner = |(at, slot): (usize, &Slot)| match &slot.status {
            Status::Waiting { attempts, told, last, .. } if !slot.running => {
                let (attempts, told, last) = (*attempts, *told, last.clone());
                Some((at, Status::Waiting { attempts, next_unix_s: now_unix_s, told, last }))
            }
            _ => None,
        };
        let now: Vec<_> = letter.slots.iter().enumerate().filter_map(sooner).collect();
        let routes: Vec<Route> =
            letter.slots.iter().filter_map(|slot| slot.route.clone()).collect();
        self.set(number, now);
        for route in routes {
            if let Some(line) = self.lines.get_mut(&route) {
                line.open_again_unix_s = 0;
            }
            self.queue(&route);
        }
    }

    /// The name people know the letter by: `wanted`, unless a letter that waits has it.
    pub(crate) fn free_name(&self, wanted: String, number: u64) -> String {
        if self.names.contains_key(wanted.as_str()) || wanted.is_empty() {
            return format!("{wanted}-{number:X}");
        }
        wanted
    }

    /// An attempt has ended; `now` is what is known of its recipients.
    pub(crate) fn ended(&mut self, job: &Job, now: Vec<(usize, Status)>) {
        self.running = self.running.saturating_sub(1);
        if let Some(line) = self.lines.get_mut(&job.route) {
            line.running = line.running.saturating_sub(1);
        }
        let mut enter = BTreeSet::new();
        if let Some(letter) = self.letters.get_mut(&job.number) {
            letter.running = letter.running.saturating_sub(1);
            for at in &job.recipients {
                if let Some(slot) = letter.slots.get_mut(*at) {
                    slot.running = false;
                }
            }
            for (at, status) in now {
                if let Status::Waiting { next_unix_s, .. } = status {
                    enter.insert(next_unix_s);
                }
                if let Some(slot) = letter.slots.get_mut(at) {
                    slot.status = status;
                }
            }
        }
        for next_unix_s in enter {
            self.enter(&job.route, next_unix_s, job.number);
        }
        let done = self.letters.get(&job.number).is_some_and(|letter| {
            letter.running == 0 && !letter.slots.iter().any(|slot| slot.status.waits())
        });
        if done {
            self.forget(job.number);
        }
        self.queue(&job.route);
        self.tidy(&job.route);
    }

    /// Recipients that are not being tried become this.
    fn set(&mut self, number: u64, now: Vec<(usize, Status)>) {
        let Some(letter) = self.letters.get_mut(&number) else { return };
        let mut changed = Vec::new();
        for (at, status) in now {
            let Some(slot) = letter.slots.get_mut(at) else { continue };
            let before = std::mem::replace(&mut slot.status, status.clone());
            changed.push((slot.route.clone(), before, status));
        }
        let done = letter.running == 0 && !letter.slots.iter().any(|slot| slot.status.waits());
        for (route, before, after) in changed {
            let Some(route) = route else { continue };
            if let Status::Waiting { next_unix_s, .. } = before {
                self.leave(&route, next_unix_s, number);
            }
            if let Status::Waiting { next_unix_s, .. } = after {
                self.enter(&route, next_unix_s, number);
            }
            self.queue(&route);
            self.tidy(&route);
        }
        if done {
            self.forget(number);
        }
    }

    /// The route failed as a whole: the next try on it is the only one until it works.
    pub(crate) fn route_failed(&mut self, route: &Route, now_unix_s: i64) {
        let Some(line) = self.lines.get_mut(route) else { return };
        if line.open_again_unix_s > now_unix_s {
            // Many were under way when it broke: that is one failure.
            return;
        }
        let wait_s = DOWN_FIRST_S << line.failures.min(10);
        line.failures = line.failures.saturating_add(1);
        line.open_again_unix_s = now_unix_s + wait_s.min(DOWN_MOST_S);
        self.queue(route);
    }

    pub(crate) fn route_works(&mut self, route: &Route) {
        let Some(line) = self.lines.get_mut(route) else { return };
        (line.failures, line.open_again_unix_s) = (0, 0);
        self.queue(route);
    }

    /// Takes a letter out for good, unless somebody is sending it.
    pub(crate) fn cancel(&mut self, number: u64) -> Result<()> {
        let letter = self.letters.get(&number).ok_or(Error::NotFound)?;
        if letter.running > 0 {
            return Err(Error::TooLate);
        }
        self.forget(number);
        Ok(())
    }

    /// Letters of the oldest file that still wait, when no more than half of all bytes are of letters that wait.
    pub(crate) fn worth_moving(&self, oldest: u32, total_bytes: u64, spare_bytes: u64) -> Vec<u64> {
        let live_bytes: u64 = self.live.values().map(|(_, bytes)| bytes).sum();
        if total_bytes < 2 * live_bytes + spare_bytes {
            return Vec::new();
        }
        let there = self.letters.iter().filter(|(_, letter)| letter.place.segment == oldest);
        let mut numbers: Vec<u64> = there.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Whether a letter waits in that file.
    pub(crate) fn is_live(&self, segment: u32) -> bool {
        self.live.contains_key(&segment)
    }

    fn add_live(&mut self, place: Place) {
        let (count, bytes) = self.live.entry(place.segment).or_default();
        *count += 1;
        *bytes += u64::from(place.bytes);
    }

    fn drop_live(&mut self, place: Place) {
        let Some((count, bytes)) = self.live.get_mut(&place.segment) else { return };
        *count -= 1;
        *bytes -= u64::from(place.bytes);
        if *count == 0 {
            self.live.remove(&place.segment);
        }
    }

    fn enter(&mut self, route: &Route, next_unix_s: i64, number: u64) {
        self.lines.entry(route.clone()).or_default().due.insert((next_unix_s, number));
        self.queue(route);
    }

    fn leave(&mut self, route: &Route, next_unix_s: i64, number: u64) {
        if let Some(line) = self.lines.get_mut(route) {
            line.due.remove(&(next_unix_s, number));
        }
        self.tidy(route);
    }

    /// Puts a route where it belongs among those that wait for their turn.
    fn queue(&mut self, route: &Route) {
        let per_route = self.per_route;
        let Some(line) = self.lines.get_mut(route) else { return };
        if let Some(place) = line.queued.take() {
            self.next.remove(&place);
        }
        let Some((due, _)) = line.due.first() else { return };
        let most = if line.failures > 0 { 1 } else { per_route };
        if line.running >= most {
            return;
        }
        self.turn += 1;
        let place = ((*due).max(line.open_again_unix_s), self.turn);
        line.queued = Some(place);
        self.next.insert(place, route.clone());
    }

    /// Forgets a route nobody goes any more.
    fn tidy(&mut self, route: &Route) {
        let Some(line) = self.lines.get(route) else { return };
        if line.due.is_empty() && line.running == 0 {
            if let Some(place) = line.queued {
                self.next.remove(&place);
            }
            self.lines.remove(route);
        }
    }
}

/// A recipient that is tried at once, or when its letter may go.
pub(crate) fn fresh(release_unix_s: Option<i64>) -> Status {
    let next_unix_s = release_unix_s.unwrap_or(0);
    Status::Waiting { attempts: 0, next_unix_s, told: false, last: None }
}

/// What was said last, of a recipient that waits.
pub(crate) fn last_of(status: &Status) -> Option<&AnswerForm> {
    match status {
        Status::Waiting { last, .. } => last.as_deref(),
        Status::Delivered | Status::Failed => None,
    }
}
