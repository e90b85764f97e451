//! One connection to PostgreSQL: where it leads, how a thread waits for an answer, what its errors mean.
//!
//! The client library is asynchronous, the index is not: connections are driven by a thread of the engine, and
//! whoever asks sleeps until the answer is there. That works on any thread, also on one of another runtime.

use super::tls::{self, Way};
use crate::{Error, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::str::FromStr as _;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Row, Socket, Statement};

/// A value for `$1`.
pub(super) type Value<'a> = &'a (dyn ToSql + Sync);

type Answer<T> = std::result::Result<T, tokio_postgres::Error>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that does not answer for so long is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// What every connection begins with. A lock that another node holds longer than this is not waited for; a node
/// that stops in the middle of a change is thrown out. A commit that is not on the disk is no commit.
const SETTINGS: &str = "
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '60s';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

/// A database, and the thread that drives all connections to it.
pub(super) struct Place {
    server: Server,
    /// For people: without the password.
    shown: String,
    /// Given back at the end without waiting: that must work on a thread of another runtime too.
    runtime: Option<Runtime>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Place {
    pub(super) fn new(url: &str) -> Result<Self> {
        let shown = crate::engines::without_password(url);
        let refused = |why: String| Error::Refused { place: shown.clone(), why };
        let (rest, wish) = tls::take_wish(url);
        let mut config = Config::from_str(&rest).map_err(|e| {
            refused(format!("this is no address of a database ({e}); write postgres://USER:PASSWORD@HOST:PORT/DATABASE"))
        })?;
        let way = Way::new(&wish, &mut config).map_err(refused)?;
        config
            .application_name("openpoczta")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(SILENCE_TIMEOUT)
            .keepalives_idle(SILENCE_TIMEOUT);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("postgres").enable_all().build();
        let runtime =
            runtime.map_err(|e| Error::Engine(format!("no thread for connections: {e}")))?;
        Ok(Self { server: Server { config, way }, shown, runtime: Some(runtime) })
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn server(&self) -> Server {
        self.server.clone()
    }

    pub(super) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }

    pub(super) fn connect(&self) -> Result<Session> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::Engine("closed".to_owned()))?;
        let server = self.server.clone();
        let connected = wait(runtime.spawn(async move {
            let (client, mut connection) = server.connect().await?;
            // Ends with the connection; whoever waits for an answer is told by the client.
            tokio::spawn(async move { while let Some(Ok(_)) = connection.next().await {} });
            Answer::Ok(client)
        }));
        let client = connected
            .map_err(|e| Error::Engine(format!("the thread of the connections failed: {e}")))?
            .map_err(|e| self.unreachable(&e))?;
        let session = Session { client, statements: RefCell::default() };
        session.batch(SETTINGS)?;
        Ok(session)
    }

    fn unreachable(&self, error: &tokio_postgres::Error) -> Error {
        let place = self.shown.clone();
        // The server is there and does not want us: that will be so the next time too.
        if let Some(why) = tls::meaning(error) {
            return Error::Refused { place, why };
        }
        let why = words(error);
        match error.as_db_error() {
            Some(_) if !is_passing(error) => Error::Refused { place, why },
            _ => Error::Unreachable { place, why },
        }
    }
}

/// Where connections lead, and how.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    way: Way,
}

impl Server {
    pub(super) async fn connect(&self) -> Answer<(Client, Driver)> {
        Ok(match &self.way {
            Way::Clear => {
                let (client, connection) = self.config.connect(tls::CLEAR).await?;
                (client, Driver::Clear(Box::new(connection)))
            }
            Way::Encrypted(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                (client, Driver::Encrypted(Box::new(connection)))
            }
        })
    }
}

/// The half of a connection that moves bytes.
pub(super) enum Driver {
    Clear(Box<Connection<Socket, NoTlsStream>>),
    Encrypted(Box<Connection<Socket, tls::Encrypted>>),
}

impl Driver {
    /// The next the server says unasked; `None` at the end. Nothing moves while nobody waits for it.
    pub(super) async fn next(&mut self) -> Option<Answer<AsyncMessage>> {
        std::future::poll_fn(|context| match self {
            Self::Clear(connection) => connection.poll_message(context),
            Self::Encrypted(connection) => connection.poll_message(context),
        })
        .await
    }
}

/// Starting up, shutting down, too many connections: gone in a moment.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("57P") || code.code().starts_with("53"))
}

/// The connection is gone, or the server is about to end it.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let io = |e: &(dyn std::error::Error + 'static)| e.is::<std::io::Error>();
    match error.code() {
        Some(code) => code.code().starts_with("57P") || code.code().starts_with("08"),
        None => error.is_closed() || std::error::Error::source(error).is_some_and(io),
    }
}

/// The message with what PostgreSQL says behind it.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let more = [db.detail(), db.hint()].into_iter().flatten();
        return more.fold(db.message().to_owned(), |text, more| format!("{text}; {more}"));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        text = format!("{text}: {below}");
        source = below.source();
    }
    text
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = words(&error);
        if is_lost(&error) {
            return Self::Lost(text);
        }
        match error.code() {
            Some(code) if *code == SqlState::DISK_FULL => Self::Full(text),
            Some(code)
                if [
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::LOCK_NOT_AVAILABLE,
                    SqlState::UNIQUE_VIOLATION,
                ]
                .contains(code) =>
            {
                Self::Conflict(text)
            }
            _ => Self::Engine(text),
        }
    }
}

/// A connection with the statements it has prepared.
pub(super) struct Session {
    client: Client,
    statements: RefCell<HashMap<&'static str, Statement>>,
}

/// A statement with its values, to be sent with others.
pub(super) struct Change {
    pub(super) sql: &'static str,
    pub(super) values: Vec<Box<dyn ToSql + Sync>>,
}

impl Session {
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    pub(super) fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        let statement = self.statement(sql)?;
        Ok(wait(self.client.query(&statement, values))?)
    }

    pub(super) fn row(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// Statements without values and answers, separated by `;`.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        Ok(wait(self.client.batch_execute(sql))?)
    }

    /// The same, but nobody waits: it is sent by the first poll. When it fails, the connection does, and the
    /// next question says so.
    pub(super) fn send(&self, sql: &str) {
        let sent = pin!(self.client.batch_execute(sql));
        match sent.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending | Poll::Ready(_) => {}
        }
    }

    /// Sends all at once, so that one way to the server and back is enough; they happen in order.
    pub(super) fn all(&self, changes: &[Change]) -> Result<()> {
        let mut statements = Vec::with_capacity(changes.len());
        for change in changes {
            statements.push(self.statement(change.sql)?);
        }
        let sent = statements.iter().zip(changes).map(|(statement, change)| {
            let values = change.values.iter().map(|value| &**value as Value<'_>);
            Box::pin(self.client.execute_raw(statement, values.collect::<Vec<_>>()))
        });
        Ok(wait(all_of(sent.collect()))?)
    }

    fn statement(&self, sql: &'static str) -> Result<Statement> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = wait(self.client.prepare(sql))?;
        self.statements.borrow_mut().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Ends when all have; the first error, if any.
async fn all_of<T>(mut futures: Vec<Pin<Box<impl Future<Output = Answer<T>>>>>) -> Answer<()> {
    let mut failed = None;
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(error)) => {
                failed.get_or_insert(error);
                false
            }
        });
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    failed.map_or(Ok(()), Err)
}

/// The row of a question that always has one.
pub(super) fn answer_of(row: Option<Row>) -> Result<Row> {
    row.ok_or_else(|| Error::Engine("a question had no answer".to_owned()))
}

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Sleeps until it is done.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Arc::new(Sleeper(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
