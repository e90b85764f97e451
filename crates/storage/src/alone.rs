//! The short way of a change that is alone: straight to the applier, which resolves it, makes it durable and answers.
//!
//! The writer brings the changes of many callers together. For one alone that would be two more changes of thread, which
//! cost more than the work itself; when others turn out to be under way, the change goes to the writer after all.

use crate::applier::{There, Work};
use crate::commit::{Commits, Ready};
use crate::pending::Pending;
use crate::queue::{Command, Job, answer_all};
use crate::writer::refuse_from_now_on;
use crate::{Error, Result};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Weak};
use tokio::sync::Semaphore;
use types::Clock;

/// The way to the applier.
#[derive(Clone)]
pub(crate) struct ShortWay {
    work: Sender<Work>,
    /// It holds the index and the log, which must be free once the writer has stopped.
    commits: Weak<Commits>,
    clock: Arc<dyn Clock>,
}

impl ShortWay {
    pub(crate) fn new(work: Sender<Work>, commits: &Arc<Commits>, clock: Arc<dyn Clock>) -> Self {
        Self { work, commits: Arc::downgrade(commits), clock }
    }

    /// `false`: the applier has ended.
    pub(crate) fn send(&self, work: Work) -> bool {
        self.work.send(work).is_ok()
    }

    /// Deliveries are quicker through the writer, and the room for letters is looked after there.
    pub(crate) fn is_for(job: &dyn Job) -> bool {
        !job.is_delivery() && job.letter().is_none()
    }

    /// Has a change made that nobody else's waits beside; its place is given back when it is taken.
    pub(crate) fn change(
        &self,
        job: Box<dyn Job>,
        writer: Sender<Command>,
        places: Arc<Semaphore>,
    ) -> Result<()> {
        let commits = self.commits.upgrade().ok_or(Error::Closed)?;
        let now_unix_ms = self.clock.now_unix_ms();
        let there: There =
            Box::new(move |pending| match commits.alone(job, pending, now_unix_ms) {
                Ok(()) => places.add_permits(1),
                Err(job) => {
                    if writer.send(Command::Change(job)).is_err() {
                        tracing::debug!("the writer has stopped; the change is not made");
                    }
                }
            });
        if self.send(Work::There(there)) { Ok(()) } else { Err(Error::Closed) }
    }
}

impl Commits {
    /// Makes the change durable and answers it, in the applier's thread; gives it back when others' are under way or
    /// the writer has to do something first.
    fn alone(
        &self,
        job: Box<dyn Job>,
        pending: &mut Pending<'_>,
        now_unix_ms: i64,
    ) -> std::result::Result<(), Box<dyn Job>> {
        // Not waited for: who holds it may wait for this thread.
        let Some(mut desk) = self.free_desk() else { return Err(job) };
        // What is resolved and not durable, or durable and handed over behind this change, comes first.
        let is_first = pending.applied().lsn == desk.log.pushed().lsn;
        if !is_first || desk.log.is_due(now_unix_ms) || self.state.poison().is_some() {
            return Err(job);
        }
        desk.log.at(now_unix_ms);
        let mut group = Ready::one(job, now_unix_ms.div_euclid(1000));
        match desk.change(&mut group, pending, self) {
            Ok(()) => {
                drop(desk);
                answer_all(group.jobs, &Ok(()));
            }
            Err(error) => {
                // Nobody may come in between.
                refuse_from_now_on(&error, &self.state);
                drop(desk);
                self.refuse(group.jobs, &error);
            }
        }
        Ok(())
    }
}
