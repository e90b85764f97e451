//! LOGIN (RFC 9051 §6.2.3).
//!
//! ```text
//! login    = "LOGIN" SP userid SP password
//! userid   = astring
//! password = astring
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use auth::Identity;

pub(crate) struct Login {
    user: String,
    password: Vec<u8>,
}

impl Verb for Login {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let user = p.astring_utf8()?;
        p.sp()?;
        Ok(Self { user, password: p.astring()?.into_owned() })
    }

    async fn run(self, session: &mut Session) -> Answer {
        private(session)?;
        log_in(session, &self.user, &self.password).await
    }
}

/// No password crosses the network in the clear.
pub(super) fn private(session: &Session) -> Result<(), Error> {
    if session.peer.private {
        return Ok(());
    }
    Err(Error::no("PRIVACYREQUIRED", "no password is taken without encryption; use TLS"))
}

/// Checks the password, however it was sent.
pub(super) async fn log_in(session: &mut Session, user: &str, password: &[u8]) -> Answer {
    let config = &session.service.config;
    let user = match &config.default_domain {
        Some(domain) if !user.contains('@') => &format!("{user}@{domain}"),
        _ => user,
    };
    let outcome = session.service.auth.clone().login(user, password, session.peer.ip).await;
    finish(session, user, outcome)
}

/// Somebody is logged in, or not.
pub(super) fn finish(
    session: &mut Session,
    user: &str,
    outcome: Result<Identity, auth::Error>,
) -> Answer {
    let ip = session.peer.ip;
    match outcome {
        Ok(who) => {
            session.service.metrics.login("ok");
            tracing::info!(user = %who.key, %ip, "imap login");
            session.log_in(who);
            Ok(Done::with(session.capabilities(), "Logged in"))
        }
        Err(error) => {
            let outcome = match &error {
                auth::Error::Credentials => "refused",
                auth::Error::Throttled { .. } => "throttled",
                auth::Error::Unavailable(_) => "unavailable",
            };
            session.service.metrics.login(outcome);
            tracing::info!(?user, %ip, outcome, "imap login failed");
            session.login_failed();
            Err(error.into())
        }
    }
}
