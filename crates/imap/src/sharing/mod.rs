//! Mailboxes of others (RFC 4314): the names under which they appear, and who may do what with them.
//!
//! Rights are notes on the owner's mailbox, `acl/<identifier>`; the owner has all of them without any
//! (docs/adr/0008-sharing.md).

mod rights;

pub(crate) use rights::{Change, Rights};

use crate::cmd::select;
use crate::parse::{Parsed, Parser};
use crate::pattern::SEPARATOR;
use crate::reply::Error;
use crate::session::Session;
use std::borrow::Cow;
use std::collections::BTreeSet;
use storage::{Mailbox, Note, SUBSCRIBED, Store};
use types::{AccountId, Address, Flag, FlagChange, Flags, MailboxId, UidSet};

/// Above the mailboxes of others, each below the address of its owner (RFC 2342 §5).
pub(crate) const OTHERS: &str = "Other Users";
/// Everybody with an account.
const ANYONE: &str = "anyone";
/// Before the identifier, in the name of a note.
const NOTE: &str = "acl/";
/// An address has at most 64 + 1 + 255 bytes (RFC 5321 §4.5.3.1).
const IDENTIFIER_BYTES: usize = 320;

/// A mailbox that the client named, and what may be done with it.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Whose it is.
    pub(crate) account: AccountId,
    /// Its name is the one the client knows.
    pub(crate) mailbox: Mailbox,
    pub(crate) rights: Rights,
    /// Bytes of its name that stand before the name it has in its account; 0: it is one's own.
    prefix_bytes: usize,
}

impl Named {
    pub(crate) fn own(account: AccountId, mailbox: Mailbox) -> Self {
        let rights = Rights::of_owner(&mailbox);
        Self { account, mailbox, rights, prefix_bytes: 0 }
    }

    pub(crate) fn others(
        account: AccountId,
        owner: &str,
        mut mailbox: Mailbox,
        rights: Rights,
    ) -> Self {
        let name = format!("{OTHERS}/{owner}/{}", mailbox.name);
        let prefix_bytes = name.len() - mailbox.name.len();
        mailbox.name = name;
        // That is what its owner has done; who lists mailboxes finds out about oneself.
        mailbox.subscribed = false;
        Self { account, mailbox, rights, prefix_bytes }
    }

    /// Only its name is there: it is subscribed.
    fn missing(account: AccountId, name: &str) -> Self {
        let mailbox = Mailbox {
            id: MailboxId(0),
            name: name.to_owned(),
            special_use: None,
            subscribed: true,
            uid_validity: types::UidValidity(0),
            uid_next: None,
            modseq: types::ModSeq(0),
            created: types::ModSeq(0),
            total: 0,
            unseen: 0,
            deleted: 0,
            size_bytes: 0,
        };
        Self { account, mailbox, rights: Rights::NONE, prefix_bytes: 0 }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.mailbox.id == MailboxId(0)
    }

    pub(crate) fn is_own(&self) -> bool {
        self.prefix_bytes == 0
    }

    /// Its name in its account.
    pub(crate) fn inner_name(&self) -> &str {
        self.mailbox.name.get(self.prefix_bytes..).unwrap_or_default()
    }

    /// What stands before that.
    pub(crate) fn prefix(&self) -> &str {
        self.mailbox.name.get(..self.prefix_bytes).unwrap_or_default()
    }

    /// What becomes of the flags of a letter that comes into it (RFC 4314 §4): those that stay with the letter, and
    /// whether it is one that one has read, which is kept aside in others' mailboxes.
    pub(crate) fn marks(&self, flags: &Flags) -> (Flags, bool) {
        let mut flags = self.rights.allowed(flags);
        let seen = !self.is_own() && flags.contains(Flag::Seen);
        if seen {
            flags.remove(Flag::Seen);
        }
        (flags, seen)
    }

    /// A mailbox one may not even see is none (RFC 4314 §6).
    pub(crate) fn need(self, rights: Rights) -> Result<Self, Error> {
        if self.rights.has(rights) {
            Ok(self)
        } else if self.rights.has(Rights::LOOKUP) {
            Err(NO_PERMISSION)
        } else {
            Err(storage::Error::NoMailbox.into())
        }
    }
}

pub(crate) const NO_PERMISSION: Error = Error::No {
    code: "NOPERM",
    text: Cow::Borrowed("you have no right to do that with this mailbox; ask its owner"),
};

/// Whether a name is among those of others' mailboxes.
pub(crate) fn is_others(name: &str) -> bool {
    name.strip_prefix(OTHERS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The owner's account key and the name there.
pub(crate) fn split(name: &str) -> Option<(String, &str)> {
    let rest = name.strip_prefix(OTHERS)?.strip_prefix('/')?;
    // A local part may have a `/`, a domain has none.
    let at = rest.find('@')?;
    let end = at + rest.get(at..)?.find('/')?;
    let owner: Address = rest.get(..end)?.parse().ok()?;
    Some((owner.account_key(), rest.get(end + 1..)?))
}

/// Finds a mailbox of another account, whatever rights there are on it. The same answer for all that cannot be found.
pub(crate) async fn find(store: &Store, me: (AccountId, &str), name: &str) -> Result<Named, Error> {
    let (owner, inner) = split(name).ok_or(storage::Error::NoMailbox)?;
    let row = store.account_by_key(&owner).await?.filter(|row| row.id != me.0);
    let account = row.ok_or(storage::Error::NoMailbox)?.id;
    let mailbox = store.mailbox_by_name(account, inner).await?;
    let rights = rights_on(store, account, &mailbox, me.1).await?;
    Ok(Named::others(account, &owner, mailbox, rights))
}

/// What an account that is not the owner may do with a mailbox.
async fn rights_on(
    store: &Store,
    account: AccountId,
    mailbox: &Mailbox,
    key: &str,
) -> Result<Rights, Error> {
    let entries = entries(store, account, mailbox.id).await?;
    let mine = entries.iter().filter(|(identifier, _)| identifier == key || identifier == ANYONE);
    let all = mine.fold(Rights::NONE, |all, (_, rights)| all.with(*rights));
    Ok(all.only(Rights::of_owner(mailbox)))
}

/// The mailboxes of this account, and those of others that are shown to it, by name.
pub(crate) async fn visible(
    store: &Store,
    me: (AccountId, &str),
) -> Result<(Vec<Mailbox>, Vec<Named>), Error> {
    // In one look: most have nothing shared with them, and ask for it as often.
    let (own, mine, entries) = store.mailboxes_and_notes(me.0, &format!("{NOTE}{}", me.1)).await?;
    let entries = entries.into_iter().filter_map(|(of, note)| Some((of, note.mailbox?)));
    let mut shared: Vec<(AccountId, MailboxId)> = entries.collect();
    let name = |note: &Note| note.name.strip_prefix(SUBSCRIBED).map(str::to_owned);
    let subscribed: BTreeSet<String> =
        mine.iter().filter_map(name).filter(|name| is_others(name)).collect();
    if shared.is_empty() && subscribed.is_empty() {
        return Ok((own, Vec::new()));
    }
    shared.sort_unstable();
    Ok((own, of_others(store, me, &shared, subscribed).await?))
}

/// `shared` sorted.
async fn of_others(
    store: &Store,
    me: (AccountId, &str),
    shared: &[(AccountId, MailboxId)],
    mut subscribed: BTreeSet<String>,
) -> Result<Vec<Named>, Error> {
    let mut found = Vec::new();
    for of_one in shared.chunk_by(|a, b| a.0 == b.0) {
        let Some((account, _)) = of_one.first().copied().filter(|(account, _)| *account != me.0)
        else {
            continue;
        };
        let owner = store.account(account).await?.key;
        for mailbox in store.mailboxes(account).await? {
            tokio::task::consume_budget().await;
            if of_one.binary_search(&(account, mailbox.id)).is_err() {
                continue;
            }
            let rights = rights_on(store, account, &mailbox, me.1).await?;
            let mut named = Named::others(account, &owner, mailbox, rights);
            named.mailbox.subscribed = subscribed.remove(&named.mailbox.name);
            if rights.has(Rights::LOOKUP) {
                found.push(named);
            }
        }
    }
    for name in subscribed {
        match find(store, me, &name).await {
            Ok(mut named) if named.rights.has(Rights::LOOKUP) => {
                named.mailbox.subscribed = true;
                found.push(named);
            }
            Ok(_) | Err(Error::Storage(storage::Error::NoMailbox)) => {}
            Err(other) => return Err(other),
        }
    }
    found.sort_by(|a, b| a.mailbox.name.cmp(&b.mailbox.name));
    Ok(found)
}

/// Marks letters that were put into another's mailbox as read by oneself: those of which [`Named::marks`] said so.
pub(crate) async fn mark_seen(
    store: &Store,
    me: AccountId,
    to: &Named,
    seen: UidSet,
) -> Result<(), Error> {
    if seen.is_empty() {
        return Ok(());
    }
    let change = FlagChange::Add(Flags::new(&[Flag::Seen]));
    store.store_flags_for(me, to.account, to.mailbox.id, seen, change, None).await?;
    Ok(())
}

/// The nearest mailbox above a name, where there is one.
pub(crate) fn above<'a>(mailboxes: &'a [Mailbox], name: &str) -> Option<&'a Mailbox> {
    let mut name = name;
    loop {
        name = name.rsplit_once(SEPARATOR)?.0;
        if name.eq_ignore_ascii_case("INBOX") {
            name = "INBOX";
        }
        let found = mailboxes.iter().find(|mailbox| mailbox.name == name);
        if found.is_some() {
            return found;
        }
    }
}

/// Where in another account a mailbox may be made: that account, and the mailbox above the new one. Whatever is missing,
/// the answer is the same.
pub(crate) async fn place(
    store: &Store,
    me: (AccountId, &str),
    name: &str,
) -> Result<(AccountId, Mailbox), Error> {
    let (owner, inner) = split(name).ok_or(NO_PLACE)?;
    let row = store.account_by_key(&owner).await?.filter(|row| row.id != me.0);
    let account = row.ok_or(NO_PLACE)?.id;
    let mailboxes = store.mailboxes(account).await?;
    let above = above(&mailboxes, inner).ok_or(NO_PLACE)?;
    let rights = rights_on(store, account, above, me.1).await?;
    if rights.has(Rights::CREATE) { Ok((account, above.clone())) } else { Err(NO_PLACE) }
}

const NO_PLACE: Error = Error::No {
    code: "NOPERM",
    text: Cow::Borrowed(
        "you have no right to make a mailbox there; ask the owner of the one above",
    ),
};

/// Gives new mailboxes, down to this one, the rights of the one above them (RFC 4314 §4).
pub(crate) async fn inherit(
    store: &Store,
    account: AccountId,
    above: &Mailbox,
    name: &str,
) -> Result<(), Error> {
    let entries = entries(store, account, above.id).await?;
    if entries.is_empty() {
        return Ok(());
    }
    let from = above.name.len() + 1;
    let ends = name.match_indices(SEPARATOR).map(|(at, _)| at).filter(|at| *at > from);
    for end in ends.chain([name.len()]) {
        let new = store.mailbox_by_name(account, name.get(..end).unwrap_or(name)).await?;
        put(store, account, new.id, entries.clone()).await?;
    }
    Ok(())
}

/// Reads again what changes without the client: its rights, its `\Seen`. Without the right to read the connection
/// ends (RFC 4314 §5.1.1).
pub(crate) async fn look_again(session: &mut Session) -> Result<(), Error> {
    let (me, store) = (session.me()?, session.store());
    let Some(selected) = &session.selected else { return Ok(()) };
    let Some(shared) = &selected.shared else { return Ok(()) };
    let (account, mailbox, before) = (shared.account, selected.mailbox, shared.rights);
    let rights = match store.mailbox(account, mailbox).await {
        Ok(mailbox) => rights_on(&store, account, &mailbox, &me.1).await?,
        Err(storage::Error::NoMailbox) => Rights::NONE,
        Err(other) => return Err(other.into()),
    };
    if !rights.has(Rights::READ) {
        session.selected = None;
        session.end("The mailbox is no longer shared with you");
        return Ok(());
    }
    let seen = store.seen_by(account, mailbox, me.0).await?;
    if let Some(shared) = session.selected.as_mut().and_then(|s| s.shared.as_mut()) {
        (shared.rights, shared.seen) = (rights, seen);
    }
    if rights != before {
        // RFC 4314 §5.1.1
        let view = store.view(account, mailbox).await?;
        select::say_flags(session, &view);
    }
    Ok(())
}

/// An identifier as it is kept: the key of an account, or `anyone`.
pub(crate) struct Identifier(pub(crate) String);

/// ```text
/// identifier = astring
/// ```
pub(crate) fn identifier(p: &mut Parser<'_>) -> Parsed<String> {
    let text = p.astring_utf8()?;
    let fits = (1..=IDENTIFIER_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    if fits { Ok(text) } else { p.wanted("the address of an account, or anyone") }
}

impl Identifier {
    pub(crate) fn of(session: &Session, text: &str) -> Result<Self, Error> {
        if text.eq_ignore_ascii_case(ANYONE) {
            return Ok(Self(ANYONE.to_owned()));
        }
        if text.starts_with('-') {
            let text = "rights are not denied here; take them away with SETACL <name> -<rights>";
            return Err(Error::no("CANNOT", text));
        }
        let domain = session.service.config.default_domain.as_deref();
        let whole = match domain {
            Some(domain) if !text.contains('@') => format!("{text}@{domain}"),
            _ => text.to_owned(),
        };
        let unknown = || Error::no("CANNOT", "rights are for the address of an account, or anyone");
        whole.parse().map(|a: Address| Self(a.account_key())).map_err(|_| unknown())
    }

    pub(crate) async fn exists(&self, store: &Store) -> Result<bool, Error> {
        Ok(self.0 == ANYONE || store.account_by_key(&self.0).await?.is_some())
    }

    pub(crate) async fn is_owner(&self, store: &Store, of: &Named) -> Result<bool, Error> {
        let row = store.account_by_key(&self.0).await?;
        Ok(row.is_some_and(|row| row.id == of.account))
    }
}

// --- what the store keeps

/// The identifiers that have rights on a mailbox, but for its owner.
pub(crate) async fn entries(
    store: &Store,
    account: AccountId,
    mailbox: MailboxId,
) -> Result<Vec<(String, Rights)>, Error> {
    let notes = store.notes_under(account, Some(mailbox), NOTE).await?;
    let entry = |note: &Note| {
        let identifier = note.name.strip_prefix(NOTE)?;
        let rights = std::str::from_utf8(&note.value).ok().and_then(Rights::parse)?;
        Some((identifier.to_owned(), rights))
    };
    Ok(notes.iter().filter_map(entry).collect())
}

/// Sets the rights of identifiers; with none the entry goes.
pub(crate) async fn put(
    store: &Store,
    account: AccountId,
    mailbox: MailboxId,
    entries: Vec<(String, Rights)>,
) -> Result<(), Error> {
    let note = |(identifier, rights): (String, Rights)| {
        let value = (rights != Rights::NONE).then(|| rights.stored().into_bytes());
        (format!("{NOTE}{identifier}"), value)
    };
    store.put_notes(account, Some(mailbox), entries.into_iter().map(note).collect()).await?;
    Ok(())
}

/// Names that are subscribed and not among these mailboxes: what was deleted, or is shared no longer.
pub(crate) async fn subscribed_without(
    store: &Store,
    me: AccountId,
    known: &[Named],
) -> Result<Vec<Named>, Error> {
    let notes = store.notes_under(me, None, SUBSCRIBED).await?;
    let known: BTreeSet<&str> = known.iter().map(|named| &named.mailbox.name[..]).collect();
    let names = notes.iter().filter_map(|note| note.name.strip_prefix(SUBSCRIBED));
    let missing = names.filter(|name| !known.contains(name));
    Ok(missing.map(|name| Named::missing(me, name)).collect())
}

/// Subscribes a mailbox that is not one's own by its name, or gives it up.
pub(crate) async fn subscribe(
    store: &Store,
    me: AccountId,
    name: &str,
    subscribed: bool,
) -> Result<(), Error> {
    let note = (format!("{SUBSCRIBED}{name}"), subscribed.then(Vec::new));
    store.put_notes(me, None, vec![note]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        #[track_caller]
        fn check(name: &str, others: bool, expect: Option<(&str, &str)>) {
            assert_eq!(is_others(name), others, "{name}");
            let found = split(name);
            assert_eq!(found.as_ref().map(|(owner, inner)| (owner.as_str(), *inner)), expect);
        }
        check("Other Users/alice@example.test/INBOX", true, Some(("alice@example.test", "INBOX")));
        check("Other Users/Alice+x@Example.Test/a/b", true, Some(("alice@example.test", "a/b")));
        check("Other Users/a/b@example.test/c", true, Some(("a/b@example.test", "c")));
        check("Other Users/alice@example.test", true, None);
        check("Other Users/alice/INBOX", true, None);
        check("Other Users/", true, None);
        check("Other Users", true, None);
        check("Other Users 2/x", false, None);
        check("other users/alice@example.test/INBOX", false, None);
        check("INBOX", false, None);
    }
}
