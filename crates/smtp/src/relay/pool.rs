//! Connections that wait a moment for the next letter of their route.

use super::session::Session;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Of all routes together; each holds a socket and some kilobytes, TLS included some 50.
const WAITING: usize = 200;

#[derive(Clone)]
pub(super) struct Pool {
    inner: Arc<Mutex<Waiting>>,
    idle: Duration,
}

#[derive(Default)]
struct Waiting {
    sessions: HashMap<Arc<str>, Vec<(u64, Session)>>,
    count: usize,
    next: u64,
}

impl Pool {
    pub(super) fn new(idle: Duration) -> Self {
        Self { inner: Arc::default(), idle }
    }

    /// The one that came last: others may end by themselves.
    pub(super) fn take(&self, route: &Arc<str>) -> Option<Session> {
        let mut waiting = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = waiting.sessions.get_mut(route)?;
        let (_, session) = sessions.pop()?;
        if sessions.is_empty() {
            waiting.sessions.remove(route);
        }
        waiting.count -= 1;
        Some(session)
    }

    /// Until somebody takes it, or the time is over.
    pub(super) fn put(&self, route: &Arc<str>, session: Session) {
        let number = {
            let mut waiting = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.count >= WAITING {
                drop(waiting);
                return session.quit();
            }
            waiting.count += 1;
            waiting.next += 1;
            let number = waiting.next;
            waiting.sessions.entry(route.clone()).or_default().push((number, session));
            number
        };
        let (pool, route) = (self.clone(), route.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pool.idle).await;
            if let Some(session) = pool.remove(&route, number) {
                session.quit();
            }
        });
    }

    fn remove(&self, route: &Arc<str>, number: u64) -> Option<Session> {
        let mut waiting = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = waiting.sessions.get_mut(route)?;
        let at = sessions.iter().position(|(other, _)| *other == number)?;
        let (_, session) = sessions.swap_remove(at);
        if sessions.is_empty() {
            waiting.sessions.remove(route);
        }
        waiting.count -= 1;
        Some(session)
    }
}
