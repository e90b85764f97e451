//! The door to a mail store: every operation a protocol may ask for.

use crate::direct::Direct;
use crate::known::Asked;
use crate::letter::{Email, Letter};
use crate::log::{Disk, Log, RealDisk, Segments, replay};
use crate::ops::{
    AppendAll, Arrived, Copied, Copy, CreateMailbox, DeleteMailbox, Deliver, DestroyEmail, Expunge,
    Flagged, Into, LostAnswer, Patch, PatchEmail, PutAccount, PutAlias, PutNotes, RenameMailbox,
    Replace, Replaced, SUBSCRIBED, SetQuota, StoreFlags, SubscribeMailbox, Target, canonical_name,
};
use crate::pack::{Packed, Packer};
use crate::pending::apply;
use crate::queue::WriterHandle;
use crate::read::{Changes, Glance, Reader, Snapshot, With, cut, slice};
use crate::recent::{Asking, Recent};
use crate::search::{Query, search};
use crate::view::View;
use crate::watch::{Listeners, Watch};
use crate::writer::{Facts, Intent, Writer};
use crate::{Click, Error, Options, Result, folder};
use bytes::Bytes;
use db::{
    AccountRow, AliasRow, Amount, Index, MailboxRow, MessageRow, NoteRow, Read, SEEN_BY, Txn,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};
use types::{
    AccountId, Clock, EmailId, FlagChange, Flags, MailboxId, ModSeq, SpecialUse, ThreadId, UidSet,
};

/// Blocking reads at one time; more would only wait for the disk and each other.
const READERS: usize = 16;
/// Frames of a replay that are committed together.
const REPLAY_BATCH: u64 = 20_000;

/// An open mail store. Cloning is cheap: all clones are the same store.
///
/// Every changing call is durable when it returns `Ok`; dropping its future does not undo it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    reader: Arc<Reader>,
    readers: Semaphore,
    writer: WriterHandle,
    listeners: Arc<Listeners>,
    reserve_bytes: u64,
    packer: Option<Arc<Packer>>,
    /// `None`: there is no folder. The last to go: the packer has stopped before.
    _lock: Option<folder::Lock>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(packer) = &self.packer {
            packer.stop();
        }
    }
}

/// More than the index is ever behind the log: what the applier lets it be, and a batch of the writer.
const UNCOUNTED: Amount = Amount { size_bytes: 32 << 20, messages: 8_000 };

impl Store {
    /// Opens or makes the data folder, replays the log's tail, starts the writer. Blocks. With the address of a
    /// database as index everything is there: no folder is made, and other servers may be at work in it.
    pub fn open(options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        if options.index.contains("://") {
            return Self::open_database(options, clock);
        }
        Self::open_on(options, clock, Arc::new(RealDisk))
    }

    fn open_database(options: &Options, clock: Arc<dyn Clock>) -> Result<Self> {
        let index = db::open(&options.index)?;
        let listeners = Arc::new(Listeners::default());
        let Some(letters) = index.letters() else {
            let unknown = db::without_password(&options.index);
            return Err(db::Error::UnknownEngine(unknown).into());
        };
        let others = listeners.clone();
        letters.listen(Box::new(move |account, modseq| others.tell(&[(account, modseq)])));
        let cache = open_cache(options)?;
        let recent = Recent::default();
        let reader =
            Reader { index: index.clone(), segments: None, cache, recent, listeners: None };
        let writer = Direct { index, listeners: listeners.clone(), clock }.start()?;
        let (reader, readers) = (Arc::new(reader), Semaphore::new(READERS));
        let inner = Inner {
            reader,
            readers,
            writer,
            listeners,
            reserve_bytes: 0,
            packer: None,
            _lock: None,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The same on a disk that tests make fail.
    pub(crate) fn open_on(
        options: &Options,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self> {
        let lock = folder::open(&options.folder)?;
        let segments = Arc::new(Segments::open(&options.folder.join("log"), disk)?);
        let index = folder::open_index(options)?;
        let from = index.read()?.position()?;
        let end = catch_up(&segments, &*index, from)?;
        let now_unix_ms = clock.now_unix_ms();
        let log = Log::open(segments.clone(), end, options.segment_bytes, now_unix_ms)?;
        let cache = open_cache(options)?;
        let listeners = Arc::new(Listeners::default());
        let reserve_bytes = options.reserve_bytes;
        let kept = Some(segments.clone());
        let (listening, told) = (listeners.clone(), Some(listeners.clone()));
        let recent = Recent::default();
        let reader =
            Reader { index: index.clone(), segments: kept, cache, recent, listeners: told };
        let reader = Arc::new(reader);
        let packer = Packer::new(segments.clone(), index.clone());
        let writer =
            Writer { log, segments, index, listeners: listening, clock, reserve_bytes }.start()?;
        if options.pack {
            let batches = writer.state().figures.batches.clone();
            let writer = writer.clone();
            let knock = Box::new(move || writer.knock(Nothing));
            packer.start(Arc::new(move || batches.get()), knock)?;
        }
        let readers = Semaphore::new(READERS);
        let kept = Some(lock);
        Ok(Self(Arc::new(Inner {
            reader,
            readers,
            writer,
            listeners,
            reserve_bytes,
            packer: Some(packer),
            _lock: kept,
        })))
    }

    /// Finishes what is waiting and stops the writer; later changes answer [`Error::Closed`].
    pub async fn close(&self) {
        self.0.writer.stop().await;
    }

    /// Compresses the closed segments now and gives up letters nobody has any more where they are many. `None`:
    /// this store has no segments.
    pub async fn pack(&self) -> Result<Option<Packed>> {
        let Some(packer) = self.0.packer.clone() else { return Ok(None) };
        let done = tokio::task::spawn_blocking(move || packer.look(false)).await;
        done.unwrap_or_else(|e| Err(Error::Poisoned(format!("packing failed: {e}")))).map(Some)
    }

    /// The same as the store does it by itself: on a thread of low priority, giving way to the writer.
    pub async fn pack_gently(&self) -> Result<Option<Packed>> {
        let Some(packer) = self.0.packer.clone() else { return Ok(None) };
        let batches = self.0.writer.state().figures.batches.clone();
        let looked = packer.look_aside(Arc::new(move || batches.get()))?;
        looked.await.unwrap_or(Err(Error::Closed)).map(Some)
    }

    /// Closes the segment that is being written, so that it can be packed; otherwise it is closed when it is full.
    pub async fn seal(&self) -> Result<()> {
        let Some(segments) = self.0.reader.segments.clone() else { return Ok(()) };
        segments.seal();
        self.change(Nothing).await
    }

    /// `Ok` while changes are taken; else why not, in words for the operator.
    pub async fn health(&self) -> Result<()> {
        if let Some(error) = self.0.writer.state().poison() {
            return Err(error);
        }
        let free_bytes = self
            .blocking(|reader| match &reader.segments {
                Some(segments) => segments.free_bytes(),
                // The database looks after its disks; what is asked is whether it answers.
                None => Ok(reader.index.read()?.position().map(|_| u64::MAX)?),
            })
            .await?;
        if free_bytes < self.0.reserve_bytes { Err(Error::DiskFull) } else { Ok(()) }
    }

    /// Adds counters of letters, changes, batches and the cache.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        crate::figures::register(registry, &self.0.writer.state().figures, &self.0.reader.cache);
        if let Some(packer) = &self.0.packer {
            registry.register_collector(Box::new(crate::figures::PackFigures(packer.clone())));
        }
    }

    // --- accounts

    /// Makes an account with the standard mailboxes, or changes the secret of the one there is.
    /// `secret` is a password hash as a PHC string; empty: nobody can log in.
    pub async fn put_account(&self, key: &str, secret: &str) -> Result<AccountId> {
        self.change(PutAccount { key: key.to_owned(), secret: secret.to_owned() }).await
    }

    /// `key` is [`types::Address::account_key`]. What the account holds may lag behind what was acknowledged.
    pub async fn account_by_key(&self, key: &str) -> Result<Option<AccountRow>> {
        let key = key.to_owned();
        self.blocking(move |reader| Ok(reader.index.read()?.account_by_key(&key)?)).await
    }

    /// What the account is, may hold and holds, up to the last acknowledged change.
    pub async fn account(&self, account: AccountId) -> Result<AccountRow> {
        self.rows(account, move |read| read.account(account)?.ok_or(Error::NoAccount)).await
    }

    /// Whether so much more fits. `known` is the account as [`Store::account_by_key`] gave it, so that only who is near the
    /// limit is counted up to the last acknowledged change.
    pub async fn has_room(&self, known: &AccountRow, more: Amount) -> Result<bool> {
        if known.has_room(more.plus(UNCOUNTED)) {
            return Ok(true);
        }
        Ok(self.account(known.id).await?.has_room(more))
    }

    /// Sets what the account may hold; 0: no limit. Under what it holds already: no more letters come in and none
    /// are copied until enough are deleted ([`Error::OverQuota`]); all else goes on.
    pub async fn set_quota(&self, account: AccountId, limit: Amount) -> Result<()> {
        self.change(SetQuota { account, limit }).await?;
        // Whoever asks for the account by its key knows the limit from now on.
        self.account(account).await.map(drop)
    }

    /// Mail for `key`, an address or `@domain`, goes to these addresses from now on; none: it is no alias any more. Of
    /// `@domain` a target may be `@other`: the same name there. Fails with [`Error::Alias`].
    pub async fn put_alias(&self, key: &str, targets: &[String]) -> Result<()> {
        self.change(PutAlias::new(key, targets)?).await
    }

    /// All of them, sorted by key.
    pub async fn aliases(&self) -> Result<Vec<AliasRow>> {
        self.blocking(move |reader| Ok(reader.index.read()?.aliases()?)).await
    }

    /// For each key of an account that account, and those of the aliases beside it that exist: in one look, in the
    /// order asked. Keys as [`Store::account_by_key`] takes them; the same is said of what an account holds.
    pub async fn look_up(
        &self,
        wanted: Vec<(String, Vec<String>)>,
    ) -> Result<Vec<(Option<AccountRow>, Vec<AliasRow>)>> {
        self.blocking(move |reader| {
            let read = reader.index.read()?;
            let mut found = Vec::with_capacity(wanted.len());
            for (key, aliases) in &wanted {
                let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
                found.push(read.account_and_aliases(key, &aliases)?);
            }
            Ok(found)
        })
        .await
    }

    /// The reading side of the accounts, for `auth`: keys and secrets are those last put. Counters and mail of
    /// an account may lag behind what was acknowledged; the calls below do not.
    pub fn index(&self) -> Arc<dyn Index> {
        self.0.reader.index.clone()
    }

    // --- letters in

    /// Stores one letter for every target, in one frame. The outer error concerns the letter (disk
    /// full, poisoned), the inner ones a target (no such account).
    pub async fn deliver(
        &self,
        letter: Letter,
        targets: Vec<Target>,
    ) -> Result<Vec<Result<Arrived>>> {
        let deliver = self.guess(&letter, targets).await;
        self.change(deliver).await
    }

    /// The wish to deliver, with the threads that can be guessed only.
    async fn guess(&self, letter: &Letter, targets: Vec<Target>) -> Deliver {
        let accounts: Vec<_> = targets.iter().map(|target| target.account).collect();
        let answer = LostAnswer::of(&letter.index);
        let mut deliver = Deliver::new(letter, targets);
        if let Some(answer) = answer {
            let guess = move |reader: &Reader| answer.threads(&*reader.index.read()?, &accounts);
            // No guess is no reason to refuse a letter.
            deliver.guessed = self.blocking(guess).await.unwrap_or_default();
        }
        deliver
    }

    /// Stores one letter in one mailbox, as IMAP APPEND does. `received_unix_s` `None`: now.
    pub async fn append(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        letter: Letter,
        flags: Flags,
        received_unix_s: Option<i64>,
    ) -> Result<Arrived> {
        let target = Target { account, into: Into::Mailbox(mailbox), flags, received_unix_s };
        let mut outcomes = self.deliver(letter, vec![target]).await?;
        outcomes.pop().unwrap_or(Err(Error::NoMailbox))
    }

    /// Stores letters in one mailbox, in this order and under UIDs that follow one another: all of them or none
    /// (RFC 3502). They and a copy are in memory until then, so the caller sets a limit to their sum.
    pub async fn append_all(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        letters: Vec<(Letter, Flags, Option<i64>)>,
    ) -> Result<Vec<Arrived>> {
        let mut wishes = Vec::with_capacity(letters.len());
        for (letter, flags, received_unix_s) in letters {
            let target = Target { account, into: Into::Mailbox(mailbox), flags, received_unix_s };
            wishes.push(self.guess(&letter, vec![target]).await);
        }
        match AppendAll::new(wishes) {
            Some(all) => self.change(all).await,
            None => Err(Error::TooLarge),
        }
    }

    /// Stores a letter and removes the message it stands for from now on, in one step (RFC 8508).
    /// [`Error::NoMessage`]: that is gone already, and nothing is stored.
    pub async fn replace(&self, letter: Letter, to: Target, old: Replaced) -> Result<Arrived> {
        let letter = self.guess(&letter, vec![to]).await;
        self.change(Replace { letter, old }).await
    }

    // --- messages

    /// Changes flags of the messages in `uids` that exist, one MODSEQ for all (RFC 9051 §6.4.6). With
    /// `unchanged_since` (RFC 7162 §3.1.3) rows with a higher MODSEQ stay as they are.
    pub async fn store_flags(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Flagged> {
        let user = None;
        self.change(StoreFlags { account, mailbox, uids, change, unchanged_since, user }).await
    }

    /// The same for somebody the mailbox is shared with: what they have read is their own ([`Store::seen_by`]), the other
    /// flags are everybody's. The rows have the user's `\\Seen`.
    pub async fn store_flags_for(
        &self,
        user: AccountId,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
        change: FlagChange,
        unchanged_since: Option<ModSeq>,
    ) -> Result<Flagged> {
        let user = Some(user).filter(|user| *user != account);
        self.change(StoreFlags { account, mailbox, uids, change, unchanged_since, user }).await
    }

    // --- notes

    /// What is noted about a mailbox, or about the account itself, sorted by name.
    pub async fn notes(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
    ) -> Result<Vec<NoteRow>> {
        let mut notes = self.notes_under(account, mailbox, "").await?;
        notes.retain(|note| !note.name.starts_with(SEEN_BY));
        Ok(notes)
    }

    /// Those whose name begins so.
    pub async fn notes_under(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        prefix: &str,
    ) -> Result<Vec<NoteRow>> {
        let prefix = prefix.to_owned();
        self.rows(account, move |read| Ok(read.notes_under(account, mailbox, &prefix)?)).await
    }

    /// Notes something, all of it or nothing; `None` deletes a note. The account's MODSEQ rises, and gives notice of it.
    /// Fails with [`Error::NoteTooLarge`] and [`Error::TooManyNotes`].
    pub async fn put_notes(
        &self,
        account: AccountId,
        mailbox: Option<MailboxId>,
        notes: Vec<(String, Option<Vec<u8>>)>,
    ) -> Result<ModSeq> {
        self.change(PutNotes { account, mailbox, notes, before: Vec::new() }).await
    }

    /// The same for one note about the account that was read before, unless it is another one by now:
    /// [`Error::NoteChanged`].
    pub async fn replace_note(
        &self,
        account: AccountId,
        name: &str,
        before: Option<Vec<u8>>,
        after: Vec<u8>,
    ) -> Result<ModSeq> {
        let notes = vec![(name.to_owned(), Some(after))];
        let before = vec![(name.to_owned(), before)];
        self.change(PutNotes { account, mailbox: None, notes, before }).await
    }

    /// Notes of this name in all accounts, by account and mailbox.
    pub async fn notes_named(&self, name: &str) -> Result<Vec<(AccountId, NoteRow)>> {
        let name = name.to_owned();
        self.blocking(move |reader| Ok(reader.index.read()?.notes_named(&name)?)).await
    }

    /// Messages of a shared mailbox that another user has read; some may be gone since.
    pub async fn seen_by(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        user: AccountId,
    ) -> Result<UidSet> {
        self.rows(account, move |read| Ok(read.seen_by(account, mailbox, user)?)).await
    }

    /// Copies messages that exist to another (or the same) mailbox; bytes are not copied.
    pub async fn copy(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
    ) -> Result<Copied> {
        self.change(Copy { account, from, uids, to, remove: false }).await
    }

    /// Copy and expunge in one step (RFC 9051 §6.4.8).
    pub async fn move_messages(
        &self,
        account: AccountId,
        from: MailboxId,
        uids: UidSet,
        to: MailboxId,
    ) -> Result<Copied> {
        self.change(Copy { account, from, uids, to, remove: true }).await
    }

    /// Removes the messages in `uids` that have `\Deleted` for good; gives back their UIDs.
    pub async fn expunge(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
    ) -> Result<UidSet> {
        self.change(Expunge { account, mailbox, uids, only_deleted: true }).await
    }

    /// Removes the messages in `uids` for good, whatever their flags; gives back their UIDs.
    pub async fn remove(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: UidSet,
    ) -> Result<UidSet> {
        self.change(Expunge { account, mailbox, uids, only_deleted: false }).await
    }

    /// Changes flags or mailboxes of an email wherever it is, in one step (RFC 8621 §4.6).
    pub async fn patch_email(
        &self,
        account: AccountId,
        email: EmailId,
        patch: Patch,
    ) -> Result<ModSeq> {
        self.change(PatchEmail { account, email, patch }).await
    }

    /// Removes an email from every mailbox, for good (RFC 8621 §4.6).
    pub async fn destroy_email(&self, account: AccountId, email: EmailId) -> Result<ModSeq> {
        self.change(DestroyEmail { account, email }).await
    }

    // --- mailboxes

    /// Makes a mailbox, and those above it that are missing. Names are UTF-8 with `/` between levels; `INBOX`
    /// in any case is the inbox. New mailboxes are subscribed.
    pub async fn create_mailbox(
        &self,
        account: AccountId,
        name: &str,
        special_use: Option<SpecialUse>,
    ) -> Result<MailboxRow> {
        self.change(CreateMailbox { account, name: name.to_owned(), special_use }).await
    }

    /// Renames a mailbox and all below it. Renaming INBOX moves its messages to a new mailbox
    /// (RFC 9051 §6.3.6).
    pub async fn rename_mailbox(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        name: &str,
    ) -> Result<()> {
        self.change(RenameMailbox { account, mailbox, name: name.to_owned() }).await
    }

    /// Deletes a mailbox with its messages. INBOX cannot be deleted; one with children neither.
    pub async fn delete_mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<()> {
        self.change(DeleteMailbox { account, mailbox }).await
    }

    pub async fn subscribe_mailbox(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        subscribed: bool,
    ) -> Result<()> {
        self.change(SubscribeMailbox { account, mailbox, subscribed }).await
    }

    /// All mailboxes of the account, INBOX first, then by name.
    pub async fn mailboxes(&self, account: AccountId) -> Result<Vec<MailboxRow>> {
        self.rows(account, move |read| {
            let mut rows = read.mailboxes(account)?;
            rows.sort_by_key(|row| row.special_use != Some(SpecialUse::Inbox));
            Ok(rows)
        })
        .await
    }

    /// [`Store::mailboxes`], and in the same look what is noted about the account itself and the notes of this name in
    /// all accounts.
    pub async fn mailboxes_and_notes(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<(Vec<MailboxRow>, Vec<NoteRow>, Vec<(AccountId, NoteRow)>)> {
        let name = name.to_owned();
        self.rows(account, move |read| {
            let mut rows = read.mailboxes(account)?;
            rows.sort_by_key(|row| row.special_use != Some(SpecialUse::Inbox));
            Ok((rows, read.notes_under(account, None, SUBSCRIBED)?, read.notes_named(&name)?))
        })
        .await
    }

    pub async fn mailbox(&self, account: AccountId, mailbox: MailboxId) -> Result<MailboxRow> {
        self.rows(account, move |read| read.mailbox(account, mailbox)?.ok_or(Error::NoMailbox))
            .await
    }

    /// `INBOX` in any case; other names exactly.
    pub async fn mailbox_by_name(&self, account: AccountId, name: &str) -> Result<MailboxRow> {
        let name = canonical_name(name).map_err(|_| Error::NoMailbox)?;
        self.rows(account, move |read| {
            read.mailbox_by_name(account, &name)?.ok_or(Error::NoMailbox)
        })
        .await
    }

    // --- reading

    /// A mailbox and all its messages at one moment, shared with whoever else looks at it.
    pub async fn view(&self, account: AccountId, mailbox: MailboxId) -> Result<Arc<View>> {
        let moment = self.0.reader.moment(account);
        let asked = self.0.reader.ask_view(account, mailbox);
        if let Some(view) = moment.and_then(|moment| asked.at(moment)) {
            return Ok(view.clone());
        }
        self.of(account, move |reader| reader.view(&asked, moment)).await
    }

    /// The same by name: `INBOX` in any case; other names exactly.
    pub async fn view_by_name(&self, account: AccountId, name: &str) -> Result<Arc<View>> {
        let name = canonical_name(name).map_err(|_| Error::NoMailbox)?;
        let moment = self.0.reader.moment(account);
        self.of(account, move |reader| reader.view_by_name(account, &name, moment)).await
    }

    /// What who opens a mailbox is told of it, without reading more than `most` messages.
    pub async fn glance(&self, account: AccountId, name: &str, most: u64) -> Result<Glance> {
        let name = canonical_name(name).map_err(|_| Error::NoMailbox)?;
        let moment = self.0.reader.moment(account);
        self.of(account, move |reader| reader.glance(account, &name, most, moment)).await
    }

    /// [`Store::view`] as rows.
    pub async fn snapshot(&self, account: AccountId, mailbox: MailboxId) -> Result<Snapshot> {
        let view = self.view(account, mailbox).await?;
        let messages = view.entries().map(|entry| entry.to_row()).collect();
        Ok(Snapshot { mailbox: view.mailbox().clone(), messages })
    }

    /// The messages in `uids` that exist, ascending.
    pub async fn messages(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<MessageRow>> {
        Ok(self.rows_and_emails(account, mailbox, uids, With::Nothing).await?.0)
    }

    /// The messages in `uids` that exist, ascending, each with its email.
    pub async fn list(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<(MessageRow, Arc<Email>)>> {
        self.list_with(account, mailbox, uids, With::Emails).await
    }

    /// The same for a caller who reads the letters next: where the index has to be asked, the first megabyte of them is
    /// brought into the cache at the same turn.
    pub async fn list_to_read(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
    ) -> Result<Vec<(MessageRow, Arc<Email>)>> {
        self.list_with(account, mailbox, uids, With::Letters).await
    }

    async fn list_with(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
        with: With,
    ) -> Result<Vec<(MessageRow, Arc<Email>)>> {
        let (rows, emails) = self.rows_and_emails(account, mailbox, uids, with).await?;
        // In the order of the rows, with a gap should one be missing.
        let mut emails = emails.into_iter().peekable();
        let with_email = |row: MessageRow| {
            let email = emails.next_if(|email| email.id == row.email)?;
            Some((row, email))
        };
        Ok(rows.into_iter().filter_map(with_email).collect())
    }

    async fn rows_and_emails(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uids: &UidSet,
        with: With,
    ) -> Result<(Vec<MessageRow>, Vec<Arc<Email>>)> {
        let moment = self.0.reader.moment(account);
        let asked = self.0.reader.ask_view(account, mailbox);
        if let Some(moment) = moment
            && let Some(view) = asked.at(moment)
        {
            let rows: Vec<_> = view.members(uids).map(|entry| entry.to_row()).collect();
            if with == With::Nothing {
                return Ok((rows, Vec::new()));
            }
            let ids = rows.iter().map(|row| row.email).collect();
            if let Some(emails) = Asked::of(&self.0.reader, account, ids).there(moment) {
                return Ok((rows, emails));
            }
        }
        let uids = uids.clone();
        self.of(account, move |reader| reader.list(&asked, &uids, moment, with)).await
    }

    /// The emails asked for that exist in this account, in the order asked.
    pub async fn emails(&self, account: AccountId, ids: &[EmailId]) -> Result<Vec<Arc<Email>>> {
        let moment = self.0.reader.moment(account);
        let asked = Asked::of(&self.0.reader, account, ids.to_vec());
        if let Some(emails) = moment.and_then(|moment| asked.at(moment)) {
            return Ok(emails);
        }
        self.of(account, move |reader| reader.emails_asked(account, asked, moment)).await
    }

    /// The mailboxes that hold an email of this account, with its row in each.
    pub async fn homes(
        &self,
        account: AccountId,
        email: EmailId,
    ) -> Result<Vec<(MailboxId, MessageRow)>> {
        self.rows(account, move |read| Ok(read.homes(account, email)?)).await
    }

    /// The same of many emails, in the order asked.
    pub async fn homes_of(
        &self,
        account: AccountId,
        emails: &[EmailId],
    ) -> Result<Vec<Vec<(MailboxId, MessageRow)>>> {
        let emails = emails.to_vec();
        self.rows(account, move |read| Ok(read.homes_of(account, &emails)?)).await
    }

    /// Emails of a thread that are still in a mailbox, oldest first.
    pub async fn thread(&self, account: AccountId, thread: ThreadId) -> Result<Vec<EmailId>> {
        self.rows(account, move |read| Ok(read.thread(account, thread)?)).await
    }

    /// The letter, byte for byte as stored, checked against its hash.
    pub async fn bytes(&self, email: &Email) -> Result<Bytes> {
        if let Some(bytes) = self.0.reader.cached_bytes(email.id) {
            return Ok(bytes);
        }
        let (id, blob) = (email.id, email.blob);
        self.blocking(move |reader| reader.stored_bytes(id, blob)).await
    }

    /// Bytes `range` of the letter, cut to its size.
    pub async fn range(&self, email: &Email, range: Range<u32>) -> Result<Bytes> {
        let wanted = vec![(Arc::new(email.clone()), range)];
        self.ranges(wanted).await?.pop().unwrap_or(Err(Error::NoMessage))
    }

    /// The same of many letters, in the order asked. A letter that is damaged does not keep the others back. All of
    /// it is in memory at once.
    pub async fn ranges(
        &self,
        wanted: Vec<(Arc<Email>, Range<u32>)>,
    ) -> Result<Vec<Result<Bytes>>> {
        let mut found = Vec::with_capacity(wanted.len());
        for (email, range) in &wanted {
            let Some(bytes) = self.0.reader.cached_bytes(email.id) else { break };
            found.push(slice(email, &bytes, &cut(email, range)));
        }
        if found.len() < wanted.len() {
            let first = found.len();
            let rest =
                move |reader: &Reader| Ok(reader.ranges(wanted.get(first..).unwrap_or_default()));
            found.append(&mut self.blocking(rest).await?);
        }
        Ok(found)
    }

    /// Messages of a mailbox that meet the criteria, ascending by UID. Dropping the future ends the search.
    pub async fn search(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        query: Query,
    ) -> Result<Vec<MessageRow>> {
        let wanted = Wanted::default();
        let gone = wanted.0.clone();
        self.of(account, move |reader| {
            search(reader, account, mailbox, &query, || gone.load(Ordering::Relaxed))
        })
        .await
    }

    /// The last MODSEQ of the account.
    pub async fn state(&self, account: AccountId) -> Result<ModSeq> {
        self.rows(account, move |read| Ok(read.account(account)?.ok_or(Error::NoAccount)?.modseq))
            .await
    }

    /// What happened after `since`, at most `limit` entries, but never a part of one change. Fails with
    /// [`Error::TooOld`] when that is not known any more: then the caller looks at everything again.
    pub async fn changes(
        &self,
        account: AccountId,
        since: ModSeq,
        limit: usize,
    ) -> Result<Changes> {
        let asked = Asking { account, since, limit };
        let moment = self.0.reader.moment(account);
        if let Some(known) = self.0.reader.recent.get(asked, moment) {
            return Ok(known);
        }
        self.0.writer.show(account).await?;
        let turn = self.turn().await?;
        // Thousands may ask the same at the same time: those who waited for their turn find the answer.
        if let Some(known) = self.0.reader.recent.get(asked, moment) {
            return Ok(known);
        }
        self.blocking_in(turn, move |reader| {
            let found = changes(&*reader.index.read()?, account, since, limit)?;
            reader.recent.put(asked, moment, &found);
            Ok(found)
        })
        .await
    }

    /// Told at once when a change of the account is durable; who reads then sees it.
    pub fn watch(&self, account: AccountId) -> Watch {
        self.0.listeners.listen(account)
    }

    /// What people say about letters by moving them into Junk and out of it, once that is durable. For the first who asks.
    pub fn clicks(&self) -> Option<tokio::sync::mpsc::Receiver<Click>> {
        self.0.listeners.clicks.listen()
    }

    // --- the two ways in

    pub(crate) async fn change<I: Intent>(&self, intent: I) -> Result<I::Outcome> {
        self.0.writer.change(intent).await
    }

    async fn rows<T: Send + 'static>(
        &self,
        account: AccountId,
        ask: impl FnOnce(&dyn Read) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.of(account, move |reader| ask(&*reader.index.read()?)).await
    }

    /// A read of one account that sees everything acknowledged for it.
    async fn of<T: Send + 'static>(
        &self,
        account: AccountId,
        work: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.writer.show(account).await?;
        self.blocking(work).await
    }

    /// Runs a blocking read off the async threads, a bounded number at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking_in(self.turn().await?, work).await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.0.readers.acquire().await.map_err(|_| Error::Closed)
    }

    async fn blocking_in<T: Send + 'static>(
        &self,
        turn: SemaphorePermit<'_>,
        work: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reader = self.0.reader.clone();
        let done = tokio::task::spawn_blocking(move || work(&reader)).await;
        drop(turn);
        done.unwrap_or_else(|e| Err(Error::Poisoned(format!("a read failed: {e}"))))
    }
}

fn open_cache(options: &Options) -> Result<Arc<dyn ocache::ObjectCache>> {
    ocache::open(&format!("memory:{}", options.cache_bytes))
        .ok_or_else(|| Error::Corrupt("the cache did not open".to_owned()))
}

/// Tells a search that its caller has gone.
#[derive(Default)]
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn changes(read: &dyn Read, account: AccountId, since: ModSeq, limit: usize) -> Result<Changes> {
    let owner = read.account(account)?.ok_or(Error::NoAccount)?;
    if since < owner.changes_floor {
        return Err(Error::TooOld);
    }
    let newest = owner.modseq;
    let mut found = read.changes(account, since, limit.saturating_add(1))?;
    let more = found.len() > limit;
    if more {
        let cut = found.pop().map(|row| row.modseq);
        // All of one MODSEQ or nothing of it; if one alone is over the limit, all of it.
        let whole = found.iter().position(|row| Some(row.modseq) == cut).unwrap_or(found.len());
        if whole > 0 {
            found.truncate(whole);
        } else if let Some(one) = cut {
            found = read.changes(account, since, usize::MAX)?;
            found.retain(|row| row.modseq == one);
        }
    }
    let state = if more { found.last().map_or(newest, |row| row.modseq) } else { newest };
    Ok(Changes { changes: found, state, more: more && state < newest })
}

/// A batch that changes nothing, but that the log may begin a segment for.
struct Nothing;

impl Intent for Nothing {
    type Outcome = ();

    fn resolve(&self, _: &mut Facts<'_>) -> Result<()> {
        Ok(())
    }
}

/// Applies what the log has after the index's position.
fn catch_up(
    segments: &Segments,
    index: &dyn Index,
    from: Option<db::Position>,
) -> Result<Option<db::Position>> {
    let mut open: Option<(Box<dyn Txn + '_>, db::Position)> = None;
    let (mut waiting, mut total) = (0_u64, 0_u64);
    let end = replay(segments, from, |read| {
        let mut txn = match open.take() {
            Some((txn, _)) => txn,
            None => index.begin()?,
        };
        apply(&mut *txn, &read)?;
        (waiting, total) = (waiting + 1, total + 1);
        if waiting >= REPLAY_BATCH {
            txn.commit(read.after)?;
            tracing::info!(frames = total, "replaying the log");
            waiting = 0;
        } else {
            open = Some((txn, read.after));
        }
        Ok(())
    })?;
    if let Some((txn, last)) = open {
        txn.commit(last)?;
    }
    if total > 0 {
        tracing::info!(frames = total, "the index has caught up with the log");
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{ManualClock, SpecialUse};

    /// Segments on the disk and whether the first is packed, after a letter, so much rest, and a knock.
    async fn after_rest(letter_bytes: usize, rest_s: i64) -> (usize, bool) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 64 << 10, ..Options::in_folder(folder.path()) };
        let clock = Arc::new(ManualClock::at_unix_s(1_795_370_400));
        let store = Store::open(&options, clock.clone()).unwrap();
        let alice = store.put_account("alice@example.test", "").await.unwrap();
        let raw = format!("Subject: rest\r\n\r\n{}\r\n", "a".repeat(letter_bytes));
        let letter = Letter::parse(raw.clone().into());
        store.deliver(letter, vec![Target::inbox(alice)]).await.unwrap();
        clock.advance_ms(rest_s * 1000);
        store.0.writer.knock(Nothing);
        // The writer takes one after the other: when this is done, so is the knock.
        store.change(Nothing).await.unwrap();
        let packed = store.pack().await.unwrap().unwrap();
        let segments = store.0.reader.segments.as_ref().unwrap().ids().unwrap().len();
        let inbox = store.mailboxes(alice).await.unwrap();
        let inbox = inbox.iter().find(|row| row.special_use == Some(SpecialUse::Inbox)).unwrap();
        let rows = store.messages(alice, inbox.id, &UidSet::all()).await.unwrap();
        let email = store.emails(alice, &[rows[0].email]).await.unwrap().pop().unwrap();
        assert_eq!(store.bytes(&email).await.unwrap(), raw.as_bytes());
        store.close().await;
        (segments, packed.packs > 0)
    }

    #[tokio::test]
    async fn a_segment_is_closed_when_nothing_else_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { pack: false, ..Options::in_folder(folder.path()) };
        let clock = Arc::new(ManualClock::at_unix_s(1_000_000));
        let store = Store::open(&options, clock).unwrap();
        let alice = store.put_account("alice@example.test", "").await.unwrap();
        let letter = Letter::parse(b"Subject: x\r\n\r\n.\r\n"[..].into());
        store.deliver(letter, vec![Target::inbox(alice)]).await.unwrap();
        // The index has all of it: what comes next goes straight to it.
        store.mailboxes(alice).await.unwrap();
        store.seal().await.unwrap();
        assert_eq!(store.pack().await.unwrap().unwrap().written, 1);
        store.close().await;
    }

    #[tokio::test]
    async fn a_store_at_rest_closes_its_segment() {
        assert_eq!(after_rest(20_000, 11 * 60).await, (2, true));
        assert_eq!(after_rest(20_000, 9 * 60).await, (1, false));
        // Too little to be worth a file.
        assert_eq!(after_rest(2_000, 11 * 60).await, (1, false));
    }
}
