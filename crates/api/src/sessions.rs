//! Who is logged in, in memory: a random token in a cookie names a record here. Restarting logs everybody out.
//!
//! Tokens are 256 random bits and looked up in a hash table with a secret seed, so neither guessing nor
//! timing finds one.

use crate::{Error, Result, limits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use types::{AccountId, Clock};

/// One login.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) account: AccountId,
    /// `local@domain`
    pub(crate) user: String,
    /// What a page must send along with a change, to show that it is ours.
    pub(crate) csrf: String,
    /// Errors once the session has ended; push connections listen to it.
    pub(crate) ended: watch::Receiver<()>,
    made_unix_ms: i64,
    used_unix_ms: i64,
    end: Arc<watch::Sender<()>>,
}

pub(crate) struct Sessions {
    table: Mutex<HashMap<String, Session>>,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { table: Mutex::default(), clock }
    }

    /// A new session and its token.
    pub(crate) fn start(&self, account: AccountId, user: &str) -> Result<(String, Session)> {
        let (token, csrf) = (random_token()?, random_token()?);
        let now = self.clock.now_unix_ms();
        let (end, ended) = watch::channel(());
        let session = Session {
            account,
            user: user.to_owned(),
            csrf,
            ended,
            made_unix_ms: now,
            used_unix_ms: now,
            end: Arc::new(end),
        };
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut table, account, now)?;
        table.insert(token.clone(), session.clone());
        Ok((token, session))
    }

    /// The session a token names, marked as used now.
    pub(crate) fn find(&self, token: &str) -> Option<Session> {
        let now = self.clock.now_unix_ms();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let session = table.get_mut(token)?;
        if session.is_over(now) {
            if let Some(over) = table.remove(token) {
                over.stop();
            }
            return None;
        }
        session.used_unix_ms = now;
        Some(session.clone())
    }

    /// Ends a session, and the push connections that hang on it.
    pub(crate) fn end(&self, token: &str) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = table.remove(token) {
            session.stop();
        }
    }

    pub(crate) fn count(&self) -> usize {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.len()
    }
}

impl Session {
    fn is_over(&self, now_unix_ms: i64) -> bool {
        now_unix_ms - self.used_unix_ms > limits::SESSION_IDLE_MS
            || now_unix_ms - self.made_unix_ms > limits::SESSION_LIFE_MS
    }

    fn stop(self) {
        self.end.send_replace(());
    }
}

/// Keeps the table within its bounds; only a table full of live sessions of others refuses.
fn make_room(table: &mut HashMap<String, Session>, account: AccountId, now: i64) -> Result<()> {
    let mut own: Vec<(i64, String)> = Vec::new();
    for (token, session) in table.iter() {
        if session.account == account {
            own.push((session.used_unix_ms, token.clone()));
        }
    }
    if own.len() >= limits::SESSIONS_OF_ACCOUNT
        && let Some((_, oldest)) = own.into_iter().min()
        && let Some(session) = table.remove(&oldest)
    {
        session.stop();
    }
    if table.len() >= limits::SESSIONS {
        table.retain(|_, session| !session.is_over(now));
    }
    if table.len() >= limits::SESSIONS {
        return Err(Error::Busy { retry_after_s: 60 });
    }
    Ok(())
}

/// 256 random bits as 64 hexadecimal digits.
fn random_token() -> Result<String> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| Error::Internal(format!("no random bytes: {e}")))?;
    let mut token = String::with_capacity(64);
    for byte in bytes {
        let _ = write!(token, "{byte:02x}");
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::ManualClock;

    #[test]
    fn ends_when_unused_and_when_old() {
        let clock = Arc::new(ManualClock::at_unix_s(1000));
        let sessions = Sessions::new(clock.clone());
        let (token, session) = sessions.start(AccountId(1), "alice@example.test").unwrap();
        assert_eq!((token.len(), session.csrf.len()), (64, 64));
        for _ in 0..5 {
            clock.advance_ms(limits::SESSION_IDLE_MS - 1);
            let alive = sessions.find(&token).is_some();
            let old = clock.now_unix_ms() - 1_000_000 > limits::SESSION_LIFE_MS;
            assert_eq!(alive, !old);
        }
        assert_eq!(sessions.count(), 0);
        assert!(session.ended.has_changed().unwrap());

        let (token, _) = sessions.start(AccountId(1), "alice@example.test").unwrap();
        clock.advance_ms(limits::SESSION_IDLE_MS + 1);
        assert!(sessions.find(&token).is_none());
    }

    #[test]
    fn the_longest_unused_makes_room() {
        let clock = Arc::new(ManualClock::at_unix_s(1000));
        let sessions = Sessions::new(clock.clone());
        let tokens: Vec<String> = (0..=limits::SESSIONS_OF_ACCOUNT)
            .map(|_| {
                clock.advance_ms(1);
                sessions.start(AccountId(1), "a").unwrap().0
            })
            .collect();
        assert_eq!(sessions.count(), limits::SESSIONS_OF_ACCOUNT);
        assert!(sessions.find(&tokens[0]).is_none());
        assert!(sessions.find(&tokens[1]).is_some());
        sessions.end(&tokens[1]);
        assert!(sessions.find(&tokens[1]).is_none());
    }
}
