//! One connection: reads a command, finds its row, has it answered, tells what else happened, and so on
//! until the end. Commands are answered strictly in the order they came.

use crate::commands::{self, Command, When};
use crate::metrics::{Counted, Verb};
use crate::notify::{self, Notify};
use crate::parse::{LITERAL_BYTES, LiteralHeader, Parser};
use crate::reply::{self, Answer, Error, try_create};
use crate::resync::Enabled;
use crate::selected::{self, Selected};
use crate::sharing::{self, Named, Rights};
use crate::wire::{Frame, Stop, Stream, Wire};
use crate::{Opening, Service, capabilities};
use auth::Identity;
use bytes::BytesMut;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use storage::{Flagged, Store, Watch};
use tokio::sync::watch;
use tokio::time::Instant;
use types::{AccountId, FlagChange, MailboxId, ModSeq, Peer, UidSet};

/// Commands in a row that make no sense, before login: a web browser or a port scanner is talking.
const BAD_BEFORE_LOGIN: u32 = 10;
/// The same after login: a client that will not find its way any more.
const BAD_AFTER_LOGIN: u32 = 50;
const NO_SUCH_COMMAND: Error = Error::Bad("there is no such command");
/// Wrong passwords on one connection.
const FAILED_LOGINS: u32 = 3;

pub(crate) struct Session {
    pub(crate) service: Arc<Service>,
    pub(crate) wire: Wire,
    pub(crate) peer: Peer,
    pub(crate) opening: Opening,
    /// The client was told to begin with TLS.
    pub(crate) begin_tls: bool,
    /// The client was told that all is compressed from here on.
    pub(crate) begin_compression: bool,
    /// The client was told that nothing is compressed from here on.
    pub(crate) end_compression: bool,
    /// Of the command that is being answered.
    pub(crate) tag: String,
    identity: Option<(Identity, Watch)>,
    pub(crate) selected: Option<Selected>,
    pub(crate) enabled: Enabled,
    /// What to tell without being asked; `None` before the first NOTIFY. Boxed: few use it.
    pub(crate) notify: Option<Box<Notify>>,
    opened: Instant,
    failed_logins: u32,
    bad_in_a_row: u32,
    /// The last words; set when the connection ends after the command that is being answered.
    farewell: Option<&'static str>,
}

impl Session {
    pub(crate) fn new(
        service: Arc<Service>,
        stream: Box<dyn Stream>,
        peer: Peer,
        opening: Opening,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let write_timeout = Duration::from_millis(service.config.limits.write_timeout_ms);
        let metrics = &service.metrics;
        let counters = (metrics.received_bytes.clone(), metrics.sent_bytes.clone());
        Self {
            wire: Wire::new(stream, write_timeout, shutdown, counters),
            service,
            peer,
            opening,
            begin_tls: false,
            begin_compression: false,
            end_compression: false,
            tag: String::new(),
            identity: None,
            selected: None,
            enabled: Enabled::default(),
            notify: None,
            opened: Instant::now(),
            failed_logins: 0,
            bad_in_a_row: 0,
            farewell: None,
        }
    }

    /// Gives the stream back when TLS is to begin on it.
    pub(crate) async fn serve(mut self) -> Option<Box<dyn Any>> {
        let _open = Counted::new(&self.service.metrics.connections);
        if !matches!(self.opening, Opening::Encrypted(_)) {
            let (can, name) = (self.capabilities(), &self.service.config.hostname);
            self.wire.say(&format!("* OK [{can}] {name} ready"));
        }
        while self.farewell.is_none() && !self.begin_tls {
            match self.step().await {
                Ok(()) => {}
                Err(stop @ (Stop::Silent | Stop::Shutdown)) => {
                    self.farewell = Some(match stop {
                        Stop::Silent => "Nothing was heard for too long",
                        _ => "The server is going down, come back in a minute",
                    });
                }
                Err(stop) => {
                    tracing::debug!(peer = %self.peer.ip, reason = %stop, "imap connection ended");
                    return None;
                }
            }
        }
        if self.begin_tls && self.farewell.is_none() {
            return self.wire.into_stream().await.ok();
        }
        if let Some(words) = self.farewell.filter(|words| !words.is_empty()) {
            self.wire.say(&format!("* BYE {words}"));
        }
        self.wire.close().await;
        None
    }

    /// Reads and answers one command, or decides about one literal.
    async fn step(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.begin_compression) {
            self.wire.compress().await?;
        }
        if std::mem::take(&mut self.end_compression) {
            self.wire.decompress().await?;
        }
        let limit = self.command_bytes();
        let until = self.until();
        let frame = match &self.notify {
            Some(notify) if notify.listens() => {
                // Boxed: all sessions would wait with the room for it.
                match Box::pin(notify::frame(self, limit, until)).await? {
                    Some(frame) => frame,
                    None => return Ok(()),
                }
            }
            _ => self.wire.frame(limit, until).await?,
        };
        match frame {
            Frame::Command(command) => self.command(&command).await,
            Frame::Literal(header) => self.literal(header, limit).await,
            Frame::BareLineFeed(command) => {
                self.refuse(&command, Error::Bad("a line must end with CR and LF"));
                Ok(())
            }
            Frame::BadLiteral(command) => {
                // Nobody knows where the next command begins.
                self.refuse(&command, Error::Bad("the literal's size is too large a number"));
                self.end("The command could not be read to its end");
                Ok(())
            }
            Frame::TooLong(command) => {
                self.refuse(&command, Error::Bad("the command is too long"));
                self.end("The command could not be read to its end");
                Ok(())
            }
        }
    }

    /// A command announces a literal: to be read by its verb, taken into the command, or refused. A command
    /// that is wrong before it is answered at once, so that nothing is sent in vain.
    async fn literal(&mut self, header: LiteralHeader, limit: usize) -> Result<(), Stop> {
        let error = match self.look_ahead() {
            Ok(true) => {
                let command = self.wire.take_pending();
                return self.command(&command).await;
            }
            Err(error) if header.waits => error,
            _ if self.wire.accept(header, limit) => return Ok(()),
            _ => Error::no("TOOBIG", "the literal is too large for this command"),
        };
        let command = self.wire.take_pending();
        self.refuse(&command, error);
        if !header.waits {
            self.end("The literal is too large");
        }
        Ok(())
    }

    /// What is wrong with the command so far; whether its verb reads the announced literal itself.
    fn look_ahead(&self) -> Result<bool, Error> {
        let mut p = Parser::new(self.wire.pending());
        p.utf8 = self.enabled.utf8;
        p.tag()?;
        p.sp()?;
        let row = commands::find(&mut p).ok_or(NO_SUCH_COMMAND)?;
        self.welcome(row)?;
        match (row.check)(p) {
            Ok(()) => Ok(row.streams),
            // It is another literal, a mailbox name: the verb needs its bytes first.
            Err(syntax) if syntax.expected == LITERAL_BYTES => Ok(false),
            Err(syntax) => Err(syntax.into()),
        }
    }

    /// Answers something that is no whole command with its tag, if it has one.
    fn refuse(&mut self, command: &BytesMut, error: Error) {
        let tag = Parser::new(command).tag().unwrap_or("*").to_owned();
        self.count(&Err(error), &tag);
    }

    async fn command(&mut self, command: &[u8]) -> Result<(), Stop> {
        let mut p = Parser::new(command);
        p.utf8 = self.enabled.utf8;
        let tag = match p.tag().and_then(|tag| p.sp().map(|()| tag)) {
            Ok(tag) => tag,
            Err(syntax) => {
                self.count(&Err(syntax.into()), "*");
                return Ok(());
            }
        };
        tag.clone_into(&mut self.tag);
        let row = commands::find(&mut p);
        let verb = row.map_or("unknown", |row| row.name);
        self.service.metrics.commands.get_or_create(&Verb { verb }).inc();
        let answer = match row.ok_or(NO_SUCH_COMMAND) {
            Ok(row) => match self.welcome(row) {
                Ok(()) => match self.ready(row, &p).await {
                    Ok(()) => (row.answer)(self, p).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        if let Err(Error::Stop(stop)) = answer {
            return Err(stop);
        }
        if let (Err(_), Some(notify)) = (&answer, &mut self.notify) {
            notify.failed();
        }
        self.tell(row.is_none_or(|row| !row.keeps_numbers)).await?;
        self.count(&answer, tag);
        self.wire.relieve().await
    }

    /// Finds out whether the selected mailbox may still be read; reads its UIDs for a command that needs them, if that
    /// has not been done.
    async fn ready(&mut self, row: &Command, arguments: &Parser<'_>) -> Result<(), Error> {
        if let Some(notify) = &mut self.notify {
            notify.begin(row.name, arguments.clone());
        }
        selected::look_again(self).await?;
        if self.selected.is_none() && self.is_ending() {
            return Err(sharing::NO_PERMISSION);
        }
        let unread = self.selected.as_ref().is_some_and(Selected::is_unread);
        if !unread || !row.needs_list {
            return Ok(());
        }
        // Boxed: it is rarely done, and all sessions would wait with the room for it.
        Box::pin(async {
            let ((account, _), store) = (self.here()?, self.store());
            let Some(selected) = &mut self.selected else { return Ok(()) };
            selected::read_list(&store, account, selected, &mut self.wire).await
        })
        .await
    }

    fn welcome(&self, row: &Command) -> Result<(), Error> {
        match row.when {
            When::Always => Ok(()),
            When::NotAuthenticated if self.identity.is_none() => Ok(()),
            When::NotAuthenticated => Err(Error::Bad("you are logged in already")),
            _ if self.identity.is_none() => Err(Error::Bad("log in first")),
            When::Selected if self.selected.is_none() => Err(Error::Bad("select a mailbox first")),
            When::Authenticated | When::Selected => Ok(()),
        }
    }

    /// Says how a command ended; ends the connection after too much nonsense.
    fn count(&mut self, answer: &Answer, tag: &str) {
        if let Err(Error::Storage(error)) = answer
            && error.class() == types::ErrorClass::Corrupt
        {
            tracing::error!(%error, "damaged mail");
        }
        if matches!(answer, Err(Error::Syntax(_) | Error::Bad(_))) {
            self.bad_in_a_row += 1;
        } else {
            self.bad_in_a_row = 0;
        }
        self.wire.say(&reply::completion(tag, answer));
        let most = if self.identity.is_none() { BAD_BEFORE_LOGIN } else { BAD_AFTER_LOGIN };
        if self.bad_in_a_row >= most {
            self.end("Too many commands that make no sense");
        }
    }

    /// Ends the connection after this command, with a last word, or with none when it has been said.
    pub(crate) fn end(&mut self, words: &'static str) {
        self.farewell.get_or_insert(words);
    }

    /// Tells what others, or this command, changed in the selected mailbox.
    pub(crate) async fn tell(&mut self, expunge: bool) -> Result<(), Stop> {
        let told = match self.notify {
            None => selected::tell(self, expunge).await,
            // Boxed, as above.
            Some(_) => Box::pin(notify::tell(self, expunge)).await,
        };
        match told {
            Err(Error::Stop(stop)) => Err(stop),
            Err(error) => {
                // The answer itself stands; the news is told when the store works again.
                tracing::warn!(%error, "cannot tell a client what changed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    // --- what verbs ask

    pub(crate) fn store(&self) -> Store {
        self.service.store.clone()
    }

    pub(crate) fn capabilities(&self) -> String {
        let config = &self.service.config;
        let tls = self.opening == Opening::Encryptable;
        let mechanisms = self.service.auth.mechanisms(self.opening.binding().is_some());
        let has = capabilities::Has { config, mechanisms: &mechanisms };
        capabilities::line(&has, self.peer.private, self.identity.is_some(), tls)
    }

    /// Mailbox names are told in UTF-8.
    pub(crate) fn utf8(&self) -> bool {
        self.enabled.utf8
    }

    /// The account that is logged in. The table of commands sees to it that there is one.
    pub(crate) fn account(&self) -> Result<AccountId, Error> {
        self.identity.as_ref().map(|(who, _)| who.account).ok_or(Error::Bad("log in first"))
    }

    /// The same, with its address.
    pub(crate) fn me(&self) -> Result<(AccountId, String), Error> {
        let who = self.identity.as_ref().map(|(who, _)| (who.account, who.key.clone()));
        who.ok_or(Error::Bad("log in first"))
    }

    /// The mailbox that is selected, with the account whose it is.
    pub(crate) fn here(&self) -> Result<(AccountId, MailboxId), Error> {
        let selected = self.view()?;
        let account = match &selected.shared {
            Some(shared) => shared.account,
            None => self.account()?,
        };
        Ok((account, selected.mailbox))
    }

    /// A mailbox by the name the client uses, one's own or another's, if it may do this with it.
    pub(crate) async fn named(&mut self, name: &str, need: Rights) -> Result<Named, Error> {
        let account = self.account()?;
        if !sharing::is_others(name) {
            let mailbox = self.store().mailbox_by_name(account, name).await?;
            return Ok(Named::own(account, mailbox));
        }
        let (me, store) = (self.me()?, self.store());
        // Boxed: few do it, and all sessions would wait with the room for it.
        Box::pin(sharing::find(&store, (me.0, &me.1), name)).await?.need(need)
    }

    /// The mailbox that letters are to go into.
    pub(crate) async fn target(&mut self, name: &str) -> Result<Named, Error> {
        match self.named(name, Rights::INSERT).await {
            // Not of others': what can be made there is not told.
            Err(Error::Storage(missing)) if !sharing::is_others(name) => Err(try_create(missing)),
            named => named,
        }
    }

    pub(crate) fn is_selected(&self, account: AccountId, mailbox: MailboxId) -> bool {
        self.here().is_ok_and(|here| here == (account, mailbox))
    }

    /// Changes flags in the selected mailbox. In another's, `\\Seen` is one's own.
    pub(crate) async fn store_flags(
        &mut self,
        uids: UidSet,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Flagged, Error> {
        let ((account, mailbox), store) = (self.here()?, self.store());
        let me = self.account()?;
        let shared = self.selected.as_mut().and_then(|selected| selected.shared.as_mut());
        let Some(shared) = shared else {
            return Ok(store.store_flags(account, mailbox, uids, change, unchanged_since).await?);
        };
        let stored = store.store_flags_for(me, account, mailbox, uids, change, unchanged_since);
        let stored = stored.await?;
        shared.seen = store.seen_by(account, mailbox, me).await?;
        Ok(stored)
    }

    /// What may be done in the selected mailbox. All, when it is one's own.
    pub(crate) fn rights(&self) -> Rights {
        let shared = self.selected.as_ref().and_then(|selected| selected.shared.as_ref());
        shared.map_or(Rights::ALL, |shared| shared.rights)
    }

    /// Whether the connection ends after the command that is being answered.
    pub(crate) fn is_ending(&self) -> bool {
        self.farewell.is_some()
    }

    pub(crate) fn view(&self) -> Result<&Selected, Error> {
        self.selected.as_ref().ok_or(Error::Bad("select a mailbox first"))
    }

    /// The mailbox that is selected, when it may be changed, and in this way.
    pub(crate) fn writable(&self, need: Rights) -> Result<(AccountId, MailboxId), Error> {
        if self.view()?.read_only {
            return Err(Error::no(
                "READ-ONLY",
                "the mailbox was opened with EXAMINE, it cannot be changed",
            ));
        }
        if self.rights().has(need) { self.here() } else { Err(sharing::NO_PERMISSION) }
    }

    pub(crate) fn log_in(&mut self, who: Identity) {
        let watch = self.service.store.watch(who.account);
        self.identity = Some((who, watch));
    }

    /// As it was before login (RFC 8437 §2), with as much time for the next one; wrong passwords stay counted.
    pub(crate) fn log_out(&mut self) {
        self.identity = None;
        self.selected = None;
        self.enabled = Enabled::default();
        self.notify = None;
        self.opened = Instant::now();
    }

    /// From now on changes of flags are told with their MODSEQ (RFC 7162 §3.1); said when a mailbox is open.
    pub(crate) fn enable_condstore(&mut self) {
        if !std::mem::replace(&mut self.enabled.condstore, true)
            && let Some(selected) = &self.selected
        {
            let modseq = selected.modseq();
            self.wire.say(&format!("* OK [HIGHESTMODSEQ {modseq}] The last change"));
        }
    }

    /// Counts a wrong password.
    pub(crate) fn login_failed(&mut self) {
        self.failed_logins += 1;
        if self.failed_logins >= FAILED_LOGINS {
            self.end("Too many wrong passwords");
        }
    }

    /// The news of the account whose mailbox is selected.
    pub(crate) fn listen(&mut self) -> Option<&mut Watch> {
        let shared = self.selected.as_mut().and_then(|selected| selected.shared.as_mut());
        match shared {
            Some(shared) => Some(&mut shared.watch),
            None => self.identity.as_mut().map(|(_, watch)| watch),
        }
    }

    /// The connection, and what resolves when there is something to tell.
    pub(crate) fn hear(&mut self) -> (&mut Wire, impl Future<Output = ()> + Send) {
        let shared = self.selected.as_mut().and_then(|selected| selected.shared.as_mut());
        let watch = match shared {
            Some(shared) => Some(&mut shared.watch),
            None => self.identity.as_mut().map(|(_, watch)| watch),
        };
        (&mut self.wire, notify::news(watch, self.notify.as_deref_mut()))
    }

    pub(crate) fn command_bytes(&self) -> usize {
        let limits = &self.service.config.limits;
        let bytes = match self.identity {
            Some(_) => limits.command_bytes,
            None => limits.command_bytes_before_login,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// How long to wait for the client: all of the time before login together, so that one who sends a
    /// byte now and then gains nothing.
    pub(crate) fn until(&self) -> Instant {
        if self.identity.is_some() {
            return Instant::now() + self.patience();
        }
        self.opened + Duration::from_millis(self.service.config.limits.login_timeout_ms)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.service.config.limits.idle_timeout_ms)
    }
}
