//! Connections that wait a moment for the next letter of their route.

use super::session::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::AbortHandle;

/// Of all routes together; each holds a socket and some kilobytes, TLS included some 50.
const WAITING: usize = 200;

#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Mutex<Waiting>>,
    idle: Duration,
}

#[derive(Default)]
struct Waiting {
    sessions: HashMap<Arc<str>, Vec<Kept>>,
    count: usize,
    next: u64,
}

struct Kept {
    number: u64,
    session: Session,
    /// Ends the wait.
    timer: AbortHandle,
}

impl Pool {
    pub(super) fn new(idle: Duration) -> Self {
        Self { inner: Arc::default(), idle }
    }

    /// The one that came last: others may end by themselves.
    pub(super) fn take(&self, route: &Arc<str>) -> Option<Session> {
        let mut waiting = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = waiting.sessions.get_mut(route)?;
        let kept = sessions.pop()?;
        // Else a busy route would have a sleeping task for each letter of the last seconds.
        kept.timer.abort();
        if sessions.is_empty() {
            waiting.sessions.remove(route);
        }
        waiting.count -= 1;
        Some(kept.session)
    }

    /// Until somebody takes it, or the time is over.
    pub(super) fn put(&self, route: &Arc<str>, session: Session) {
        let mut waiting = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.count >= WAITING {
            drop(waiting);
            return session.quit();
        }
        waiting.count += 1;
        waiting.next += 1;
        let number = waiting.next;
        let (pool, name) = (self.clone(), route.clone());
        let ending = tokio::spawn(async move {
            tokio::time::sleep(pool.idle).await;
            if let Some(session) = pool.remove(&name, number) {
                session.quit();
            }
        });
        let kept = Kept { number, session, timer: ending.abort_handle() };
        waiting.sessions.entry(route.clone()).or_default().push(kept);
    }

    fn remove(&self, route: &Arc<str>, number: u64) -> Option<Session> {
        let mut waiting = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = waiting.sessions.get_mut(route)?;
        let at = sessions.iter().position(|kept| kept.number == number)?;
        let session = sessions.remove(at).session;
        if sessions.is_empty() {
            waiting.sessions.remove(route);
        }
        waiting.count -= 1;
        Some(session)
    }
}
