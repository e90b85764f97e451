//! Sending: who is due is tried, and what came of it is written.

use crate::queue::{Shared, lock};
use crate::record::{AnswerForm, EnvelopeForm, Record, Status, Taken, envelope};
use crate::report::{self, Action, Told};
use crate::state::Job;
use crate::transport::{Answer, Attempt, Outcome, Route, Transport};
use crate::writer::Ask;
use crate::{Envelope, Result};
use bytes::Bytes;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often we look for letters that nobody tries and that have grown old.
const LOOK_S: i64 = 60;
/// Letters that are looked at then; the rest the next time.
const LOOK_AT: usize = 1000;
/// The clock is looked at so often, whatever is due.
const TICK: Duration = Duration::from_secs(1);
/// What is being sent at the end may take so long.
const GOODBYE: Duration = Duration::from_secs(5);
/// Of what a server said, kept for people.
const TEXT_BYTES: usize = 400;

pub(crate) async fn run(
    shared: Arc<Shared>,
    transport: Arc<dyn Transport>,
    asks: Sender<Ask>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut attempts = JoinSet::new();
    let mut looked_unix_s = shared.clock.now_unix_s();
    while !*shutdown.borrow() && shared.check().is_ok() {
        let now_unix_s = shared.clock.now_unix_s();
        let mut jobs = Vec::new();
        let mut old = Vec::new();
        if !shared.is_full() {
            let mut state = lock(&shared.state);
            if now_unix_s - looked_unix_s >= LOOK_S {
                looked_unix_s = now_unix_s;
                old = state.old(now_unix_s, &shared.options, LOOK_AT);
            }
            jobs = state.due(now_unix_s);
        }
        for job in jobs {
            let work = Work { shared: shared.clone(), asks: asks.clone(), job };
            let transport = transport.clone();
            attempts.spawn(async move { work.attempt(transport).await });
        }
        for job in old {
            let work = Work { shared: shared.clone(), asks: asks.clone(), job };
            attempts.spawn(async move { work.judge().await });
        }
        while attempts.try_join_next().is_some() {}
        let wake_unix_s = lock(&shared.state).wake_unix_s();
        let wait = match wake_unix_s.map(|at| at - shared.clock.now_unix_s()) {
            Some(..=0) | None => TICK,
            Some(seconds) => TICK.min(Duration::from_secs(seconds.unsigned_abs())),
        };
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
            changed = shutdown.changed() => if changed.is_err() { break },
        }
    }
    let goodbyes = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(GOODBYE, goodbyes).await.is_err() {
        tracing::warn!("letters that were being sent are tried again after the start");
    }
}

/// One attempt, from the log to the log.
struct Work {
    shared: Arc<Shared>,
    asks: Sender<Ask>,
    job: Job,
}

/// What follows from an attempt.
struct Findings {
    now: Vec<(usize, Status)>,
    told: Vec<Told>,
}

impl Work {
    async fn attempt(self, transport: Arc<dyn Transport>) {
        let Some((envelope, taken, letter)) = self.read().await else { return };
        self.write(vec![Record::Began {
            number: self.job.number,
            recipients: self.job.recipients.clone(),
        }]);
        let attempt = Attempt {
            id: taken.name.clone(),
            route: self.job.route.clone(),
            from_before: self.shared.is_from_before(self.job.number),
            envelope: Arc::new(envelope),
            recipients: self.job.recipients.clone(),
            letter: letter.clone(),
        };
        let envelope = attempt.envelope.clone();
        // A transport that panics is a bug; its letter waits for better times.
        let outcomes = AssertUnwindSafe(transport.attempt(attempt)).catch_unwind().await;
        let outcomes = outcomes.unwrap_or_default();
        self.book_route(&outcomes);
        self.finish(&envelope, &taken, &letter, outcomes);
    }

    /// Nobody tries the letter, since its route is down: is its time over, has the sender to hear?
    async fn judge(self) {
        let Some((envelope, taken, letter)) = self.read().await else { return };
        let text = format!("there is no connection to {}", self.job.route);
        let answer =
            Answer { code: 0, enhanced: "4.4.1".to_owned(), text, host: None, reports: false };
        let last = |at: &usize| {
            let state = lock(&self.shared.state);
            let slot = state.get(self.job.number)?.slots.get(*at)?;
            crate::state::last_of(&slot.status).map(Answer::from)
        };
        let outcomes: Vec<Outcome> = self
            .job
            .recipients
            .iter()
            .map(|at| last(at).unwrap_or_else(|| answer.clone()))
            .map(|answer| Outcome::Later { answer, route_down: false })
            .collect();
        self.finish(&envelope, &taken, &letter, outcomes);
    }

    async fn read(&self) -> Option<(Envelope, Taken, Bytes)> {
        let (shared, Job { number, place, .. }) = (self.shared.clone(), self.job.clone());
        let read = tokio::task::spawn_blocking(move || shared.read(number, place)).await;
        let found: Option<Result<_>> = read.ok();
        match found {
            Some(Ok((taken, letter))) => {
                let envelope = envelope(&taken.envelope)?;
                Some((envelope, taken, letter))
            }
            Some(Err(error)) => {
                // It stays as it is, and keeps its place in the line: an operator has to look.
                tracing::error!(number = self.job.number, %error, "a letter of the queue cannot be read");
                lock(&self.shared.state).ended(&self.job, Vec::new());
                None
            }
            None => {
                lock(&self.shared.state).ended(&self.job, Vec::new());
                None
            }
        }
    }

    fn book_route(&self, outcomes: &[Outcome]) {
        let mut state = lock(&self.shared.state);
        let is_down =
            |outcome: &Outcome| matches!(outcome, Outcome::Later { route_down: true, .. });
        if outcomes.iter().any(is_down) {
            state.route_failed(&self.job.route, self.shared.clock.now_unix_s());
        } else if !outcomes.is_empty() {
            state.route_works(&self.job.route);
        }
    }

    fn finish(&self, envelope: &Envelope, taken: &Taken, letter: &Bytes, outcomes: Vec<Outcome>) {
        let findings = self.findings(envelope, taken, outcomes);
        let number = self.job.number;
        let mut records = vec![Record::Now { number, recipients: findings.now.clone() }];
        let mut report = Bytes::new();
        if !findings.told.is_empty() {
            match self.report(envelope, taken, letter, &findings.told) {
                Some((taken, bytes)) => {
                    records.push(Record::Taken(taken));
                    report = bytes;
                    self.shared.metrics.report();
                }
                None => self.shared.metrics.report_dropped(),
            }
        }
        let ended = Some((self.job.clone(), findings.now));
        self.send(Ask { records, letter: report, reply: None, ended });
    }

    fn findings(&self, envelope: &Envelope, taken: &Taken, outcomes: Vec<Outcome>) -> Findings {
        let mut findings = Findings { now: Vec::new(), told: Vec::new() };
        let mut outcomes = outcomes.into_iter();
        for at in &self.job.recipients {
            let outcome = outcomes.next().unwrap_or_else(|| Outcome::Later {
                answer: Answer {
                    code: 0,
                    enhanced: "4.3.0".to_owned(),
                    text: "the attempt was interrupted".to_owned(),
                    host: None,
                    reports: false,
                },
                route_down: false,
            });
            let Some(notify) = envelope.recipients.get(*at).map(|r| r.notify) else { continue };
            let id = taken.name.as_str();
            let told = |action, answer: Answer, retry_until_unix_s| Told {
                recipient: *at,
                action,
                answer,
                retry_until_unix_s,
            };
            match outcome {
                Outcome::Delivered(answer) => {
                    self.shared.metrics.outcome("delivered");
                    tracing::info!(id, route = %self.job.route, host = answer.host, reply = answer.text, "sent");
                    if notify.success && !answer.reports {
                        let is_here = &*self.job.route.0 == Route::LOCAL;
                        let action = if is_here { Action::Delivered } else { Action::Relayed };
                        findings.told.push(told(action, answer, None));
                    }
                    findings.now.push((*at, Status::Delivered));
                }
                Outcome::Never(answer) => {
                    self.shared.metrics.outcome("failed");
                    tracing::warn!(id, route = %self.job.route, host = answer.host, code = answer.code, reply = answer.text, "refused for good");
                    findings.now.push((*at, Status::Failed));
                    if notify.failure {
                        findings.told.push(told(Action::Failed, answer, None));
                    }
                }
                Outcome::Later { answer, .. } => {
                    self.later(*at, envelope, taken, answer, &mut findings);
                }
            }
        }
        findings
    }

    fn later(
        &self,
        at: usize,
        envelope: &Envelope,
        taken: &Taken,
        answer: Answer,
        findings: &mut Findings,
    ) {
        let options = &self.shared.options;
        let now_unix_s = self.shared.clock.now_unix_s();
        let since_unix_s = envelope.release_unix_s.unwrap_or(0).max(taken.received_unix_s);
        let Some(notify) = envelope.recipients.get(at).map(|r| r.notify) else { return };
        let (attempts, told) =
            match lock(&self.shared.state).get(self.job.number).and_then(|l| l.slots.get(at)) {
                Some(slot) => match &slot.status {
                    Status::Waiting { attempts, told, .. } => (*attempts + 1, *told),
                    Status::Delivered | Status::Failed => return,
                },
                None => return,
            };
        let age_s = now_unix_s - since_unix_s;
        let id = taken.name.as_str();
        if age_s >= i64::from(options.expire_s) {
            self.shared.metrics.outcome("expired");
            tracing::warn!(id, route = %self.job.route, reply = answer.text, "given up, it is too old");
            findings.now.push((at, Status::Failed));
            if notify.failure {
                let action = Action::Expired;
                findings.told.push(Told {
                    recipient: at,
                    action,
                    answer,
                    retry_until_unix_s: None,
                });
            }
            return;
        }
        self.shared.metrics.outcome("later");
        tracing::info!(id, route = %self.job.route, host = answer.host, code = answer.code, reply = answer.text, attempts, "not sent yet");
        let tell = !told && age_s >= i64::from(options.delay_report_s);
        let form = shortened(AnswerForm::from(&answer));
        findings.now.push((
            at,
            Status::Waiting {
                attempts,
                next_unix_s: now_unix_s + i64::from(options.wait_s(attempts)),
                told: told || tell,
                last: Some(Box::new(form)),
            },
        ));
        if tell && notify.delay {
            let retry_until_unix_s = Some(since_unix_s + i64::from(options.expire_s));
            findings.told.push(Told {
                recipient: at,
                action: Action::Delayed,
                answer,
                retry_until_unix_s,
            });
        }
    }

    /// `None`: there is nobody to tell (RFC 5321 §4.5.5).
    fn report(
        &self,
        envelope: &Envelope,
        taken: &Taken,
        letter: &Bytes,
        told: &[Told],
    ) -> Option<(Taken, Bytes)> {
        let Some(sender) = &envelope.sender else {
            tracing::warn!(id = taken.name, "there is no sender to report to");
            return None;
        };
        let now_unix_s = self.shared.clock.now_unix_s();
        let number = self.shared.new_number();
        let name = format!("{}-R{number:X}", taken.name);
        let about = report::About {
            options: &self.shared.options,
            envelope,
            sender,
            id: &taken.name,
            received_unix_s: taken.received_unix_s,
            now_unix_s,
            letter,
            told,
        };
        let (envelope, bytes) = report::write(&about, &name);
        let taken = Taken {
            number,
            name,
            received_unix_s: now_unix_s,
            envelope: EnvelopeForm::from(&envelope),
            known: Vec::new(),
        };
        Some((taken, bytes))
    }

    fn write(&self, records: Vec<Record>) {
        self.send(Ask { records, letter: Bytes::new(), reply: None, ended: None });
    }

    fn send(&self, ask: Ask) {
        if self.asks.send(ask).is_err() {
            tracing::debug!("the writer of the queue is gone");
        }
    }
}

/// A server may say much; a letter that waits keeps little of it.
fn shortened(mut form: AnswerForm) -> AnswerForm {
    if form.text.len() > TEXT_BYTES {
        let mut end = TEXT_BYTES;
        while !form.text.is_char_boundary(end) {
            end -= 1;
        }
        form.text.truncate(end);
    }
    form.text.shrink_to_fit();
    form
}
