//! Mail to other servers: the client side of SMTP, as a [`Transport`] of the queue.
//!
//! Straight to the MX hosts of a domain, or through a smarthost; with TLS wherever it is offered. Connections are kept a
//! moment for the next letter. Knows nothing about when a letter is tried again: that is the queue's.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | [`Relay`], [`Config`]; one attempt from host to host |
//! | `resolve` | [`Resolve`]; from a domain to hosts in order, with a memory |
//! | `session` | greeting, EHLO, STARTTLS, AUTH |
//! | `transaction` | one letter: MAIL, RCPT, DATA, BDAT; an outcome for each recipient |
//! | `content` | the letter as it goes out |
//! | `wire`, `reply` | commands and replies, in bounds |
//! | `tls`, `pool`, `metrics`, `answers` | what their names say |

mod answers;
mod content;
mod metrics;
mod pool;
mod reply;
mod resolve;
mod session;
mod tls;
mod transaction;
mod wire;

pub use resolve::{Exchange, Found, Looking, Missing, Resolve};

use metrics::Metrics;
use pool::Pool;
use prometheus_client::registry::Registry;
use queue::{Answer, Attempt, Outcome, Route, Transport, Trying};
use resolve::{Directory, Target};
use rustls::RootCertStore;
use session::{Failure, Kind, Level, Session, Want};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tls::Connectors;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use transaction::Letter;
use types::Address;

/// Connections that one attempt opens at most: RFC 5321 §5.1 wants at least two addresses tried.
const CONNECTIONS: usize = 8;
/// Of these, how many may get as far as the letter. A server that drops every one will drop the next, too.
const SESSIONS: usize = 2;

#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in EHLO.
    pub hostname: String,
    /// Of the MX hosts.
    pub port: u16,
    /// Takes all mail that no route is for; `None`: mail goes to the MX hosts of its domain.
    pub smarthost: Option<Smarthost>,
    /// Domains, in lower case, whose mail goes to a certain server.
    pub routes: Vec<(String, Smarthost)>,
    /// Addresses to connect from, one for IPv4, one for IPv6; none: the system chooses.
    pub source: Vec<IpAddr>,
    /// Who signs certificates that count as good.
    pub roots: RootCertStore,
    /// How long a connection waits for its next letter.
    pub idle: Duration,
    pub letters_per_connection: u32,
    pub patience: Patience,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            port: 25,
            smarthost: None,
            routes: Vec::new(),
            source: Vec::new(),
            roots: RootCertStore::empty(),
            idle: Duration::from_secs(10),
            letters_per_connection: 100,
            patience: Patience::default(),
        }
    }
}

/// A server that is named instead of looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smarthost {
    /// A name or an IP address.
    pub host: String,
    pub port: u16,
    pub tls: Protection,
    pub login: Option<Login>,
}

/// `host:port`, with brackets around IPv6.
impl fmt::Display for Smarthost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// TLS towards a server that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// Where it is offered, whoever the certificate names.
    #[default]
    Opportunistic,
    /// STARTTLS with a good certificate, or no mail.
    Required,
    /// TLS from the first byte on, with a good certificate (RFC 8314 §3).
    Implicit,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How long the other side may take (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    pub connect: Duration,
    pub handshake: Duration,
    pub greeting: Duration,
    /// EHLO, MAIL, RCPT, AUTH, RSET.
    pub command: Duration,
    /// From DATA to 354.
    pub data: Duration,
    /// For 64 KiB of a letter.
    pub block: Duration,
    /// From the end of the letter to the reply.
    pub end: Duration,
    /// For goodbyes, and for last words.
    pub quit: Duration,
    /// For all of one attempt.
    pub attempt: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            handshake: Duration::from_mins(1),
            greeting: Duration::from_mins(5),
            command: Duration::from_mins(5),
            data: Duration::from_mins(2),
            block: Duration::from_mins(3),
            end: Duration::from_mins(10),
            quit: Duration::from_secs(5),
            attempt: Duration::from_hours(2),
        }
    }
}

/// The way to all other servers.
pub struct Relay {
    config: Config,
    directory: Directory,
    /// By the names of their routes.
    smarthosts: HashMap<Arc<str>, Smarthost>,
    /// The route of each domain that has one of its own.
    routes: HashMap<String, Arc<str>>,
    /// The route of all others.
    default_route: Option<Arc<str>>,
    pool: Pool,
    connectors: Connectors,
    metrics: Metrics,
}

impl Relay {
    /// Fails when TLS cannot be set up.
    pub fn new(config: Config, resolve: Box<dyn Resolve>) -> Result<Arc<Self>, rustls::Error> {
        let mut smarthosts = HashMap::new();
        let mut route = |smarthost: &Smarthost| -> Arc<str> {
            let name: Arc<str> = smarthost.to_string().into();
            smarthosts.insert(name.clone(), smarthost.clone());
            name
        };
        let default_route = config.smarthost.as_ref().map(&mut route);
        let routes =
            config.routes.iter().map(|(domain, to)| (domain.to_lowercase(), route(to))).collect();
        Ok(Arc::new(Self {
            directory: Directory::new(resolve),
            smarthosts,
            routes,
            default_route,
            pool: Pool::new(config.idle),
            connectors: Connectors::new(config.roots.clone())?,
            metrics: Metrics::default(),
            config,
        }))
    }

    /// Adds the counters, under `relay_`.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry.sub_registry_with_prefix("relay"));
    }

    async fn try_once(&self, attempt: &Attempt) -> Vec<Outcome> {
        let route = &attempt.route.0;
        let deadline = Instant::now() + self.config.patience.attempt;
        let mut letter = Letter::new(attempt);
        let mut course = Course::default();
        let smarthost = self.smarthosts.get(route);
        let road = Road { route, smarthost, require_tls: attempt.envelope.require_tls, deadline };
        // RFC 8689 §4.2.1 wants certificates looked at: connections that wait were opened without.
        if !road.require_tls {
            while let Some(mut session) = self.pool.take(route) {
                if !session.wire.is_quiet().await {
                    continue;
                }
                session.wire.set_deadline(deadline);
                self.metrics.connection("reused");
                self.hand_over(session, route, &mut letter, &mut course).await;
                if letter.is_done() {
                    return letter.into_outcomes(&Course::default().outcome(&road));
                }
                break;
            }
            // That the far end closed a waiting connection says nothing about the next.
            course = Course::default();
        }
        let targets = match smarthost {
            Some(to) => Ok(vec![named(&to.host)]),
            None => self.directory.targets(route, &self.config.hostname).await,
        };
        let targets = match targets {
            Ok(targets) => targets,
            Err(outcome) => return letter.into_outcomes(&outcome),
        };
        self.through_hosts(&road, targets, &mut letter, &mut course).await;
        letter.into_outcomes(&course.outcome(&road))
    }

    async fn through_hosts(
        &self,
        road: &Road<'_>,
        targets: Vec<Target>,
        letter: &mut Letter<'_>,
        course: &mut Course,
    ) {
        for target in targets {
            let (host, addresses) = match target {
                Target::Address(address) => (address.to_string(), vec![address]),
                Target::Host(host) => match self.directory.addresses(&host).await {
                    Ok(addresses) => (host, addresses),
                    Err(missing) => {
                        course.note(no_address(&host, missing));
                        continue;
                    }
                },
            };
            for address in addresses {
                if letter.is_done() || course.is_over() || Instant::now() >= road.deadline {
                    return;
                }
                course.connections += 1;
                match self.connect(road, &host, address).await {
                    Ok(session) if road.require_tls && !session.may_require_tls() => {
                        let text = "does not promise to pass letters on over TLS only (REQUIRETLS)";
                        let answer = answers::about(&host, "5.7.30", text);
                        course.note(Failure { answer, kind: Kind::Insecure });
                        session.quit();
                    }
                    Ok(session) => {
                        course.sessions += 1;
                        self.hand_over(session, road.route, letter, course).await;
                    }
                    Err(failure) => {
                        self.metrics.connection("failed");
                        course.note(failure);
                    }
                }
            }
        }
    }

    async fn connect(
        &self,
        road: &Road<'_>,
        host: &str,
        address: IpAddr,
    ) -> Result<Session, Failure> {
        let level = match road.smarthost.map(|to| to.tls) {
            Some(Protection::Implicit) => Level::Implicit,
            Some(Protection::Required) => Level::Verified,
            _ if road.require_tls => Level::Verified,
            _ => Level::Opportunistic,
        };
        match self.connect_at(level, road, host, address).await {
            // RFC 7435 §3: what cannot be encrypted goes in clear, as without TLS it would have.
            Err(Failure { kind: Kind::Handshake, answer }) if level == Level::Opportunistic => {
                tracing::info!(host, %address, reply = answer.text, "in clear instead");
                self.connect_at(Level::Clear, road, host, address).await
            }
            Err(Failure { kind: Kind::Handshake, answer }) => {
                Err(Failure { answer, kind: Kind::Insecure })
            }
            done => done,
        }
    }

    async fn connect_at(
        &self,
        level: Level,
        road: &Road<'_>,
        host: &str,
        address: IpAddr,
    ) -> Result<Session, Failure> {
        let port = road.smarthost.map_or(self.config.port, |to| to.port);
        let place = SocketAddr::new(address, port);
        let opening = timeout(self.config.patience.connect, self.open(place)).await;
        let opened = opening.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = opened.map_err(|error| {
            let text = format!("{place} cannot be reached: {error}");
            Failure { answer: answers::about(host, "4.4.1", &text), kind: Kind::Down }
        })?;
        let want = Want {
            ours: &self.config.hostname,
            host,
            level,
            login: road.smarthost.and_then(|to| to.login.as_ref()),
            is_mx: road.smarthost.is_none(),
            is_loopback: address.is_loopback(),
            patience: &self.config.patience,
            connectors: &self.connectors,
            deadline: road.deadline,
        };
        let session = Session::begin(Box::new(stream), &want).await?;
        self.metrics.connection(match (session.encrypted, session.verified) {
            (false, _) => "clear",
            (true, false) => "encrypted",
            (true, true) => "verified",
        });
        Ok(session)
    }

    async fn open(&self, place: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = if place.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let source = self.config.source.iter().find(|ip| ip.is_ipv4() == place.is_ipv4());
        if let Some(source) = source {
            socket.bind(SocketAddr::new(*source, 0))?;
        }
        let stream = socket.connect(place).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn hand_over(
        &self,
        mut session: Session,
        route: &Arc<str>,
        letter: &mut Letter<'_>,
        course: &mut Course,
    ) {
        match session.send(letter).await {
            Ok(()) => {
                let told = session.offers.letters.unwrap_or(u32::MAX);
                if session.letters < self.config.letters_per_connection.min(told) {
                    self.pool.put(route, session);
                } else {
                    session.quit();
                }
            }
            Err(stopped) => {
                if stopped.uncertain {
                    self.metrics.uncertain();
                }
                course.stopped = Some(stopped.answer);
            }
        }
    }
}

impl Transport for Relay {
    fn route(&self, address: &Address) -> Route {
        let domain = address.domain();
        let named = self.routes.get(domain).or(self.default_route.as_ref());
        Route(named.cloned().unwrap_or_else(|| domain.into()))
    }

    fn attempt(&self, attempt: Attempt) -> Trying<'_> {
        Box::pin(async move { self.try_once(&attempt).await })
    }
}

/// What all connections of an attempt have in common.
struct Road<'a> {
    route: &'a Arc<str>,
    smarthost: Option<&'a Smarthost>,
    require_tls: bool,
    deadline: Instant,
}

/// How an attempt went so far.
#[derive(Default)]
struct Course {
    connections: usize,
    sessions: usize,
    failures: Vec<Failure>,
    /// The last words of a server that went away with letters undecided.
    stopped: Option<Answer>,
}

impl Course {
    fn note(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    fn is_over(&self) -> bool {
        let is_loop = self.failures.iter().any(|failure| failure.kind == Kind::Loop);
        is_loop || self.connections >= CONNECTIONS || self.sessions >= SESSIONS
    }

    /// For those that no server decided about.
    fn outcome(&self, road: &Road<'_>) -> Outcome {
        let of = |kind| self.failures.iter().rev().find(|failure| failure.kind == kind);
        if let Some(failure) = of(Kind::Loop) {
            return Outcome::Never(failure.answer.clone());
        }
        if let Some(answer) = &self.stopped {
            // It was up, and may be again; only "I am closing" is about all letters (RFC 5321 §3.8).
            let route_down = answer.code == 421;
            return Outcome::Later { answer: answers::temporary(answer), route_down };
        }
        // As long as one server might still take it, it is not refused.
        if let Some(failure) = of(Kind::Down) {
            return Outcome::Later {
                answer: answers::temporary(&failure.answer),
                route_down: true,
            };
        }
        match (of(Kind::Insecure), of(Kind::Refused)) {
            // RFC 8689 §4.2.1: the sender wanted it so, and has to hear that it cannot be.
            (Some(failure), _) if road.require_tls => {
                Outcome::Never(answers::permanent(&failure.answer))
            }
            (Some(failure), _) => {
                Outcome::Later { answer: answers::temporary(&failure.answer), route_down: true }
            }
            // A smarthost that refuses us is the operator's to mend; letters wait for that.
            (None, Some(failure)) if road.smarthost.is_some() => {
                Outcome::Later { answer: answers::temporary(&failure.answer), route_down: true }
            }
            (None, Some(failure)) => Outcome::Never(failure.answer.clone()),
            (None, None) => Outcome::Later {
                answer: answers::ours("4.4.7", "no server answered in the time of one attempt"),
                route_down: true,
            },
        }
    }
}

fn named(host: &str) -> Target {
    host.parse().map_or_else(|_| Target::Host(host.to_owned()), Target::Address)
}

fn no_address(host: &str, missing: Missing) -> Failure {
    let (enhanced, text, kind) = match missing {
        Missing::NoName => {
            ("5.4.4", "has mail sent to it, but does not exist".to_owned(), Kind::Refused)
        }
        Missing::NoRecord => {
            ("5.4.4", "has mail sent to it, but no address".to_owned(), Kind::Refused)
        }
        Missing::Failed(why) => {
            ("4.4.3", format!("has no address at the moment: {why}"), Kind::Down)
        }
    };
    Failure { answer: answers::about(host, enhanced, &text), kind }
}

#[cfg(test)]
mod tests;
