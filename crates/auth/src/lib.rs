//! Who is asking: accounts, password hashes, SASL. Knows nothing about the protocol that asks.
//!
//! ```no_run
//! # async fn tour(accounts: std::sync::Arc<dyn db::Index>) -> Result<(), auth::Error> {
//! let auth = auth::Auth::new(accounts, std::sync::Arc::new(types::SystemClock));
//! let peer = std::net::Ipv4Addr::LOCALHOST.into();
//! let alice = auth.login("Alice@example.test", b"secret", peer).await?;
//! assert_eq!(alice.key, "alice@example.test");
//! # Ok(()) }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `lib` | [`Auth::login`]: throttle, look-up, cache, hash, in that order |
//! | `password` | what is kept of a password: an argon2id hash, and what SCRAM checks |
//! | `mechanisms` | the table [`MECHANISMS`] and [`Exchange`]: SASL without the protocol around it |
//! | `scram` | SCRAM-SHA-256: the password never crosses the wire |
//! | `tokens` | bearer tokens of an issuer the operator trusts |
//! | `throttle` | growing delays after wrong passwords |
//! | `cache` | what was verified lately, so that the next login is cheap |

mod cache;
mod mechanisms;
mod password;
mod scram;
mod throttle;
mod tokens;

pub use mechanisms::{Door, Exchange, MECHANISMS, Mechanism, Step, sasl_plain};
pub use password::hash_password;
pub use tokens::Issuer;

use cache::{Fingerprint, VerifyCache};
use scram::Verifier;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use throttle::{Network, Throttle};
use tokens::{Refused, Tokens};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::{AccountId, Address, Clock, ErrorClass};

/// Hashes computed at once: each takes 19 MiB and a whole core for some ten milliseconds.
const HASHES_AT_ONCE: usize = 2;
/// Logins that may wait for a hash. More would wait longer than clients do.
const HASHES_WAITING: usize = 512;

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
pub struct Auth(Arc<Inner>);

struct Inner {
    accounts: Arc<dyn db::Index>,
    clock: Arc<dyn Clock>,
    throttle: Mutex<Throttle>,
    cache: Mutex<VerifyCache>,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    hashes: AtomicU64,
    /// `None`: no bearer tokens are taken.
    tokens: Option<Tokens>,
    /// Makes up what accounts that are not there would have.
    seed: OnceLock<[u8; 32]>,
}

/// One try to log in, before it is judged.
struct Try {
    /// The account's key, or what was given instead of an address.
    key: String,
    network: Network,
    password: Vec<u8>,
}

impl Auth {
    pub fn new(accounts: Arc<dyn db::Index>, clock: Arc<dyn Clock>) -> Self {
        Self::with(accounts, clock, None)
    }

    /// The same, with bearer tokens of this issuer.
    pub fn with(
        accounts: Arc<dyn db::Index>,
        clock: Arc<dyn Clock>,
        issuer: Option<Issuer>,
    ) -> Self {
        Self(Arc::new(Inner {
            accounts,
            clock,
            throttle: Mutex::new(Throttle::default()),
            cache: Mutex::new(VerifyCache::new()),
            permits: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            waiting: AtomicUsize::new(0),
            hashes: AtomicU64::new(0),
            tokens: issuer.map(Tokens::new),
            seed: OnceLock::new(),
        }))
    }

    /// `user` is an address; without `@` the default domain of the server is added by the caller.
    ///
    /// After some wrong passwords the same account from the same network, or the network as a whole, has to
    /// wait: [`Error::Throttled`], whether the password is right or not.
    pub async fn login(
        &self,
        user: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Identity, Error> {
        let attempt = Arc::new(Try::of(user, password, peer));
        self.0.check_throttle(&attempt)?;
        let (inner, quick) = (Arc::clone(&self.0), Arc::clone(&attempt));
        let (known, secret) = match blocking(move || inner.look_up(&quick)).await?? {
            Lookup::Verified(identity) => return Ok(identity),
            Lookup::Unverified { known, secret } => (known, secret),
        };
        let permit = self.0.wait_for_permit().await?;
        // Many may have waited here: what the ones before found out counts.
        self.0.check_throttle(&attempt)?;
        let inner = Arc::clone(&self.0);
        // The closure also books the outcome, so that hanging up early does not escape the throttle.
        blocking(move || inner.judge(&attempt, known, &secret, permit)).await?
    }

    /// Who somebody says it is that has checked the password itself, such as a proxy in front. `None`: nobody here.
    pub async fn vouched(&self, user: &str) -> Result<Option<Identity>, Error> {
        let key = Try::of(user, b"", IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)).key;
        let inner = Arc::clone(&self.0);
        let row = blocking(move || inner.find(&key)).await??;
        Ok(row.map(|row| Identity { account: row.id, key: row.key }))
    }

    /// Names of the mechanisms there are, sorted; all are for private connections only, since letters follow. With
    /// `has_binding` also those that need the channel binding of the connection.
    pub fn mechanisms(&self, has_binding: bool) -> Vec<&'static str> {
        let offered = MECHANISMS.iter().filter(|mechanism| {
            (has_binding || !mechanism.binds)
                && (self.0.tokens.is_some() || !mechanism.takes_tokens)
        });
        offered.map(|mechanism| mechanism.name).collect()
    }

    /// Whom SCRAM is about, and what it is checked with. Somebody who is not there has something too.
    pub(crate) async fn verifier(
        &self,
        user: &str,
        peer: IpAddr,
    ) -> Result<(Option<Identity>, Verifier), Error> {
        let attempt = Try::of(user, b"", peer);
        self.0.check_throttle(&attempt)?;
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let row = inner.find(&attempt.key)?;
            let known = row.and_then(|row| {
                let verifier = password::parts(&row.secret).1?;
                Some((Identity { account: row.id, key: row.key }, verifier))
            });
            Ok(match known {
                Some((identity, verifier)) => (Some(identity), verifier),
                None => (None, Verifier::of_nobody(&attempt.key, &inner.seed())),
            })
        })
        .await?
    }

    /// Books how an exchange ended that did not show the password.
    pub(crate) fn book(
        &self,
        user: &str,
        peer: IpAddr,
        proved: Option<Identity>,
    ) -> Result<Identity, Error> {
        let attempt = Try::of(user, b"", peer);
        // Many may have been begun at once: what the ones before found out counts.
        self.0.check_throttle(&attempt)?;
        let mut throttle = lock(&self.0.throttle);
        if let Some(identity) = proved {
            throttle.succeeded(&attempt.key, attempt.network);
            return Ok(identity);
        }
        throttle.failed(&attempt.key, attempt.network, self.0.clock.now_unix_ms());
        Err(Error::Credentials)
    }

    /// The account a bearer token is for; `user` is whom the client says it is, if it does.
    pub(crate) async fn token(
        &self,
        user: Option<String>,
        token: String,
        peer: IpAddr,
    ) -> Result<Identity, Error> {
        let named = user.clone().unwrap_or_default();
        let attempt = Try::of(&named, b"", peer);
        self.0.check_throttle(&attempt)?;
        let inner = Arc::clone(&self.0);
        match blocking(move || inner.judge_token(user.as_deref(), &token)).await?? {
            Judged::Good(identity) => self.book(&identity.key.clone(), peer, Some(identity)),
            Judged::Bad => self.book(&named, peer, None),
            Judged::Expired => Err(Error::Credentials),
        }
    }

    /// Password hashes computed since the start: what a login costs when it is not in the cache.
    pub fn hashes_computed(&self) -> u64 {
        self.0.hashes.load(Ordering::Relaxed)
    }
}

impl Try {
    fn of(user: &str, password: &[u8], peer: IpAddr) -> Self {
        Self {
            key: user.parse().map_or_else(|_| user.to_lowercase(), |a: Address| a.account_key()),
            network: Network::of(peer),
            password: password.to_vec(),
        }
    }
}

/// What is found out about a bearer token.
enum Judged {
    Good(Identity),
    Bad,
    /// It was good, and costs the client nothing but a new one.
    Expired,
}

enum Lookup {
    Verified(Identity),
    Unverified {
        /// `None`: there is no such account, or nobody can log in to it.
        known: Option<Identity>,
        /// What to verify against: the dummy when not known.
        secret: String,
    },
}

impl Inner {
    fn check_throttle(&self, attempt: &Try) -> Result<(), Error> {
        let now = self.clock.now_unix_ms();
        match lock(&self.throttle).wait_ms(&attempt.key, attempt.network, now) {
            0 => Ok(()),
            ms => Err(Error::Throttled { retry_after_s: ms.div_ceil(1000) }),
        }
    }

    /// The account, if somebody may log in to it.
    fn find(&self, key: &str) -> Result<Option<db::AccountRow>, Error> {
        let row = self.accounts.read().and_then(|read| read.account_by_key(key));
        let row = row.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(row.filter(|row| !row.secret.is_empty()))
    }

    /// The same after a restart, or what is made up would change where the real does not: it comes from the first
    /// account's secret, whose argon2id salt nobody learns.
    fn seed(&self) -> [u8; 32] {
        *self.seed.get_or_init(|| {
            let first = self.accounts.read().and_then(|read| read.account(AccountId(1)));
            if let Ok(Some(row)) = first
                && !row.secret.is_empty()
            {
                return blake3::derive_key(
                    "openpoczta: salts of accounts that are not there",
                    row.secret.as_bytes(),
                );
            }
            let mut seed = [0; 32];
            if getrandom::fill(&mut seed).is_err() {
                tracing::warn!(
                    "the system gave no random bytes; SCRAM tells which accounts there are"
                );
            }
            seed
        })
    }

    /// Also whether it is for whom the client says.
    fn judge_token(&self, user: Option<&str>, token: &str) -> Result<Judged, Error> {
        let Some(tokens) = &self.tokens else { return Ok(Judged::Bad) };
        let now_unix_s = self.clock.now_unix_ms().div_euclid(1000);
        let address = match tokens.check(token, now_unix_s) {
            Ok(address) => address,
            Err(expired @ Refused::Expired) => {
                tracing::info!(user, why = %expired, "a bearer token was refused");
                return Ok(Judged::Expired);
            }
            Err(Refused::Token(why)) => {
                tracing::info!(user, why, "a bearer token was refused");
                return Ok(Judged::Bad);
            }
            Err(error) => return Err(Error::Unavailable(error.to_string())),
        };
        let key = |text: &str| text.parse().ok().map(|address: Address| address.account_key());
        let Some(owner) = key(&address) else {
            tracing::info!(address, "the claim of a bearer token is no address");
            return Ok(Judged::Bad);
        };
        if user.is_some_and(|user| key(user).as_ref() != Some(&owner)) {
            tracing::info!(user, owner, "a bearer token is of somebody else");
            return Ok(Judged::Bad);
        }
        let row = self.find(&owner)?;
        Ok(match row {
            Some(row) => Judged::Good(Identity { account: row.id, key: row.key }),
            None => Judged::Bad,
        })
    }

    /// Finds the account, and whether this very password was verified lately.
    fn look_up(&self, attempt: &Try) -> Result<Lookup, Error> {
        let (known, secret) = match self.find(&attempt.key)? {
            Some(row) if password::is_acceptable(&row.secret) => {
                let (account, key) = (row.id, row.key);
                (Some(Identity { account, key }), row.secret)
            }
            Some(row) => {
                tracing::warn!(account = %row.id, "the account's password hash cannot be used; set a new password");
                (None, password::DUMMY.to_owned())
            }
            None => (None, password::DUMMY.to_owned()),
        };
        if self.was_verified(&secret, &attempt.password)
            && let Some(identity) = &known
        {
            lock(&self.throttle).succeeded(&attempt.key, attempt.network);
            return Ok(Lookup::Verified(identity.clone()));
        }
        Ok(Lookup::Unverified { known, secret })
    }

    /// Computes the hash, unless somebody did while we waited, and books the outcome.
    fn judge(
        &self,
        attempt: &Try,
        known: Option<Identity>,
        secret: &str,
        _held_until_booked: OwnedSemaphorePermit,
    ) -> Result<Identity, Error> {
        let right = self.was_verified(secret, &attempt.password) || {
            self.hashes.fetch_add(1, Ordering::Relaxed);
            password::verify(secret, &attempt.password)
        };
        let now = self.clock.now_unix_ms();
        if let Some(identity) = known.filter(|_| right) {
            let mut cache = lock(&self.cache);
            let fingerprint = cache.fingerprint(secret, &attempt.password);
            cache.insert(fingerprint, now);
            drop(cache);
            lock(&self.throttle).succeeded(&attempt.key, attempt.network);
            return Ok(identity);
        }
        lock(&self.throttle).failed(&attempt.key, attempt.network, now);
        Err(Error::Credentials)
    }

    fn was_verified(&self, secret: &str, password: &[u8]) -> bool {
        let now = self.clock.now_unix_ms();
        let mut cache = lock(&self.cache);
        let fingerprint: Fingerprint = cache.fingerprint(secret, password);
        cache.contains(&fingerprint, now)
    }

    async fn wait_for_permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let too_many = || Error::Unavailable("too many logins at once; try again".to_owned());
        let _waiting = Waiting::enter(&self.waiting).ok_or_else(too_many)?;
        let permits = Arc::clone(&self.permits);
        permits.acquire_owned().await.map_err(|_| too_many())
    }
}

/// Counts who waits, also when the wait is given up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let place = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < HASHES_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Unavailable("the check was interrupted".to_owned()))
}

/// A panic while a table was locked leaves at worst a stale entry in it.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use types::ManualClock;

    pub(crate) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    pub(crate) fn accounts(secret: &str) -> Arc<dyn db::Index> {
        let index = db::open("memory:").unwrap();
        let mut txn = index.begin().unwrap();
        let rows = [("alice", secret), ("bob", secret), ("nobody", ""), ("odd", "{CRYPT}x")];
        for (n, (name, secret)) in (1..).zip(rows) {
            let op = db::Op::AccountPut {
                account: AccountId(n),
                key: format!("{name}@example.test"),
                secret: secret.to_owned(),
            };
            db::apply(&mut *txn, &op, None).unwrap();
        }
        let end = db::Location { segment: 1, offset: 1 };
        txn.commit(db::Position { lsn: 1, end }).unwrap();
        index
    }

    fn auth() -> (Auth, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at_unix_s(1_000_000));
        let secret = hash_password(b"secret").unwrap();
        (Auth::new(accounts(&secret), Arc::clone(&clock) as _), clock)
    }

    #[tokio::test]
    async fn every_wrong_login_costs_one_hash_and_answers_the_same() {
        let (auth, _) = auth();
        let long = "x".repeat(3000);
        let tries: [(&str, &[u8]); 8] = [
            ("alice@example.test", b"wrong"),
            ("ghost@example.test", b"secret"),
            ("nobody@example.test", b""),
            ("nobody@example.test", b"secret"),
            ("odd@example.test", b"x"),
            ("no address \0", b"secret"),
            ("", b""),
            (&long, b"secret"),
        ];
        for (n, (user, password)) in (1..).zip(tries) {
            let error = auth.login(user, password, HOME).await.unwrap_err();
            assert_eq!(error.to_string(), "wrong user name or password", "{user:?}");
            assert_eq!(auth.hashes_computed(), n, "{user:?}");
        }
    }

    #[tokio::test]
    async fn who_is_not_there_has_the_same_salt_after_a_restart() {
        let index = accounts(&hash_password(b"secret").unwrap());
        let clock = Arc::new(ManualClock::at_unix_s(1_000_000));
        let verifier = async |index: &Arc<dyn db::Index>, user: &str| {
            let auth = Auth::new(Arc::clone(index), Arc::clone(&clock) as _);
            auth.verifier(user, HOME).await.unwrap().1.to_text()
        };
        for user in ["alice@example.test", "ghost@example.test", "odd@example.test"] {
            assert_eq!(verifier(&index, user).await, verifier(&index, user).await, "{user}");
        }
        let other = accounts(&hash_password(b"secret").unwrap());
        let ghost = "ghost@example.test";
        assert_ne!(verifier(&index, ghost).await, verifier(&other, ghost).await);
    }

    #[tokio::test]
    async fn a_right_password_is_hashed_once_for_all_that_share_the_hash() {
        let (auth, clock) = auth();
        for (user, key) in [
            ("alice@example.test", "alice@example.test"),
            ("Alice+phone@EXAMPLE.test", "alice@example.test"),
            ("bob@example.test", "bob@example.test"),
        ] {
            let identity = auth.login(user, b"secret", HOME).await.unwrap();
            assert_eq!(identity.key, key);
        }
        assert_eq!(auth.hashes_computed(), 1);
        clock.advance_ms(24 * 3600 * 1000);
        auth.login("bob@example.test", b"secret", HOME).await.unwrap();
        assert_eq!(auth.hashes_computed(), 2, "the cache forgets");
    }

    #[tokio::test]
    async fn many_at_once_compute_one_hash() {
        let (auth, _) = auth();
        let logins: Vec<_> = (0..50)
            .map(|_| {
                let auth = auth.clone();
                tokio::spawn(async move { auth.login("bob@example.test", b"secret", HOME).await })
            })
            .collect();
        for login in logins {
            login.await.unwrap().unwrap();
        }
        assert!(auth.hashes_computed() <= HASHES_AT_ONCE as u64);
    }

    #[tokio::test]
    async fn guessing_slows_down_but_only_where_it_comes_from() {
        let (auth, clock) = auth();
        let mut wrong = 0;
        let retry_after_s = loop {
            match auth.login("alice@example.test", b"guess", HOME).await {
                Err(Error::Credentials) => wrong += 1,
                Err(Error::Throttled { retry_after_s }) => break retry_after_s,
                other => panic!("{other:?}"),
            }
            assert!(wrong < 100);
        };
        let hashes = auth.hashes_computed();
        assert_eq!(hashes, wrong, "a throttled try computes nothing");
        let right = |ip| auth.login("alice@example.test", b"secret", ip);
        assert!(matches!(right(HOME).await, Err(Error::Throttled { .. })));
        right(ELSEWHERE).await.unwrap();
        auth.login("bob@example.test", b"secret", HOME).await.unwrap();
        clock.advance_ms(i64::try_from(retry_after_s).unwrap() * 1000);
        right(HOME).await.unwrap();
    }

    #[tokio::test]
    async fn hanging_up_does_not_escape_the_throttle() {
        let (auth, _) = auth();
        for n in 1..=5 {
            let guesser = auth.clone();
            let login = tokio::spawn(async move {
                drop(guesser.login("alice@example.test", b"guess", HOME).await);
            });
            while auth.hashes_computed() < n {
                tokio::task::yield_now().await;
            }
            login.abort();
            drop(login.await);
            let all = u32::try_from(HASHES_AT_ONCE).unwrap();
            drop(auth.0.permits.acquire_many(all).await.unwrap());
        }
        let next = auth.login("alice@example.test", b"secret", HOME).await;
        assert!(matches!(next, Err(Error::Throttled { .. })));
    }

    #[test]
    fn the_waiting_room_is_bounded() {
        let count = AtomicUsize::new(0);
        let inside: Vec<_> = (0..HASHES_WAITING).map(|_| Waiting::enter(&count).unwrap()).collect();
        assert!(Waiting::enter(&count).is_none());
        drop(inside);
        assert!(Waiting::enter(&count).is_some());
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
