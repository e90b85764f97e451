//! Who is asking: accounts, password hashes, SASL. Knows nothing about the protocol that asks.

use std::net::IpAddr;
use std::sync::Arc;
use types::{AccountId, Clock, ErrorClass};

/// Someone who proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub account: AccountId,
    /// `local@domain`, lower case.
    pub key: String,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Wrong password or no such account: never told apart, neither by text nor by time.
    #[error("wrong user name or password")]
    Credentials,
    #[error("too many wrong passwords; try again in {retry_after_s} s")]
    Throttled { retry_after_s: u64 },
    #[error("logins are not possible at the moment: {0}")]
    Unavailable(String),
}

impl Error {
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Credentials => ErrorClass::Denied,
            Self::Throttled { .. } | Self::Unavailable(_) => ErrorClass::Temporary,
        }
    }
}

/// Checks passwords. Cloning is cheap.
#[derive(Clone)]
pub struct Auth;

#[expect(
    unused_variables,
    clippy::unused_async,
    clippy::todo,
    reason = "the surface, filled in next"
)]
impl Auth {
    pub fn new(accounts: Arc<dyn db::Index>, clock: Arc<dyn Clock>) -> Self {
        todo!()
    }

    /// `user` is an address; without `@` the default domain of the server is added by the caller.
    pub async fn login(
        &self,
        user: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Identity, Error> {
        todo!()
    }
}

/// Decodes the message of SASL PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd`.
pub fn sasl_plain(message: &[u8]) -> Option<(&str, &[u8])> {
    let mut fields = message.splitn(3, |b| *b == 0);
    let (_authzid, user, password) = (fields.next()?, fields.next()?, fields.next()?);
    Some((std::str::from_utf8(user).ok()?, password))
}

/// A password hash as a PHC string (argon2id), with a fresh salt.
#[expect(clippy::todo, reason = "filled in next")]
pub fn hash_password(_password: &[u8]) -> Result<String, Error> {
    todo!()
}
