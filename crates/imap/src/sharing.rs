//! Who may do what with a mailbox (RFC 4314): rights, and the names under which others' mailboxes appear.
//!
//! ```text
//! rights     = astring     ; "lrswite", only lower case letters
//! mod-rights = astring     ; "+rights" to add, "-rights" to remove, "rights" to replace
//! ```
//! Rights are notes on the owner's mailbox, `acl/<identifier>`; the owner has all of them without any
//! (docs/adr/0008-sharing.md).

use crate::cmd::select;
use crate::parse::{Parsed, Parser};
use crate::reply::Error;
use crate::session::Session;
use std::fmt;
use storage::{Mailbox, Store};
use types::{AccountId, Address, Flag, FlagChange, Flags, MailboxId, SpecialUse};

/// Above the mailboxes of others, each below the address of its owner (RFC 2342 §5).
pub(crate) const OTHERS: &str = "Other Users";
/// Everybody with an account.
const ANYONE: &str = "anyone";
/// Before the identifier, in the name of a note.
const NOTE: &str = "acl/";
/// An address has at most 64 + 1 + 255 bytes (RFC 5321 §4.5.3.1).
const IDENTIFIER_BYTES: usize = 320;

/// A set of rights (RFC 4314 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights(u16);

/// Letter by letter, in the order in which they are told.
static LETTERS: &[(char, Rights)] = &[
    ('l', Rights::LOOKUP),
    ('r', Rights::READ),
    ('s', Rights::SEEN),
    ('w', Rights::WRITE),
    ('i', Rights::INSERT),
    ('p', Rights::POST),
    ('k', Rights::CREATE),
    ('x', Rights::DELETE),
    ('t', Rights::DELETED),
    ('e', Rights::EXPUNGE),
    ('a', Rights::ADMINISTER),
];

/// Letters of RFC 2086, each for several (RFC 4314 §2.1.1). They are told when any of these is there.
static VIRTUAL: &[(char, Rights)] =
    &[('c', Rights(1 << 6 | 1 << 7)), ('d', Rights(1 << 8 | 1 << 9))];

impl Rights {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self((1 << 11) - 1);
    pub(crate) const LOOKUP: Self = Self(1);
    pub(crate) const READ: Self = Self(1 << 1);
    /// Keep one's own `\Seen`.
    pub(crate) const SEEN: Self = Self(1 << 2);
    /// Flags other than `\Seen` and `\Deleted`.
    pub(crate) const WRITE: Self = Self(1 << 3);
    pub(crate) const INSERT: Self = Self(1 << 4);
    pub(crate) const POST: Self = Self(1 << 5);
    /// Make mailboxes below it.
    pub(crate) const CREATE: Self = Self(1 << 6);
    /// Delete the mailbox.
    pub(crate) const DELETE: Self = Self(1 << 7);
    /// The flag `\Deleted`.
    pub(crate) const DELETED: Self = Self(1 << 8);
    pub(crate) const EXPUNGE: Self = Self(1 << 9);
    pub(crate) const ADMINISTER: Self = Self(1 << 10);

    /// As clients write them and as they are stored; `None`: a letter is no right. `c` and `d` are all they stand for.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let known = |letter| LETTERS.iter().chain(VIRTUAL).find(|(known, _)| *known == letter);
        text.chars().try_fold(Self::NONE, |all, letter| Some(all.with(known(letter)?.1)))
    }

    /// What the owner has. Nobody may delete an inbox.
    pub(crate) fn of_owner(mailbox: &Mailbox) -> Self {
        let is_inbox = mailbox.special_use == Some(SpecialUse::Inbox);
        if is_inbox { Self::ALL.without(Self::DELETE) } else { Self::ALL }
    }

    /// Has all of them.
    pub(crate) fn has(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }

    /// Has at least one of them.
    pub(crate) fn has_any(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    #[must_use]
    pub(crate) const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    #[must_use]
    pub(crate) const fn without(self, fewer: Self) -> Self {
        Self(self.0 & !fewer.0)
    }

    #[must_use]
    pub(crate) const fn only(self, these: Self) -> Self {
        Self(self.0 & these.0)
    }

    /// Each by itself, as LISTRIGHTS names those that can be had one by one, virtual ones at the end.
    pub(crate) fn letters(self) -> impl Iterator<Item = char> {
        let rows = LETTERS.iter().chain(VIRTUAL);
        rows.filter(move |(_, rights)| self.has_any(*rights)).map(|(letter, _)| *letter)
    }

    /// The letters that are stored: without virtual ones.
    pub(crate) fn stored(self) -> String {
        LETTERS.iter().filter(|(_, right)| self.has(*right)).map(|(letter, _)| *letter).collect()
    }

    /// The right that setting or clearing a system flag takes (RFC 4314 §4).
    fn for_flag(flag: Flag) -> Self {
        match flag {
            Flag::Seen => Self::SEEN,
            Flag::Deleted => Self::DELETED,
            Flag::Answered | Flag::Flagged | Flag::Draft => Self::WRITE,
        }
    }

    /// Of these flags those that may be set or cleared.
    pub(crate) fn allowed(self, flags: &Flags) -> Flags {
        if self.has(Self::SEEN.with(Self::WRITE).with(Self::DELETED)) {
            return flags.clone();
        }
        let system: Vec<Flag> = flags.system().filter(|f| self.has(Self::for_flag(*f))).collect();
        let mut allowed = Flags::new(&system);
        if self.has(Self::WRITE) {
            flags.keywords().iter().for_each(|k| allowed.insert_keyword(k.clone()));
        }
        allowed
    }

    /// What may be done of a STORE to messages that have the flags `there`, all together. `None`: nothing at all.
    pub(crate) fn allowed_change(self, change: FlagChange, there: &Flags) -> Option<FlagChange> {
        let some = |flags: &Flags| {
            let allowed = self.allowed(flags);
            (flags.is_empty() || !allowed.is_empty()).then_some(allowed)
        };
        Some(match change {
            FlagChange::Add(flags) => FlagChange::Add(some(&flags)?),
            FlagChange::Remove(flags) => FlagChange::Remove(some(&flags)?),
            FlagChange::Patch { add, remove } => {
                FlagChange::Patch { add: self.allowed(&add), remove: self.allowed(&remove) }
            }
            FlagChange::Replace(flags) => {
                let add = some(&flags)?;
                // Those of other kinds stay, so that it is no replacement any more.
                let mut remove = self.allowed(there);
                flags.system().for_each(|flag| remove.remove(flag));
                flags.keywords().iter().for_each(|keyword| remove.remove_keyword(keyword));
                if flags.is_empty() && remove.is_empty() && !there.is_empty() {
                    return None;
                }
                FlagChange::Patch { add, remove }
            }
        })
    }
}

/// As ACL and MYRIGHTS tell them, with `c` and `d` for clients of RFC 2086.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().try_for_each(|letter| write!(f, "{letter}"))
    }
}

/// What SETACL does to the rights of an identifier (RFC 4314 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Replace(Rights),
    Add(Rights),
    Remove(Rights),
}

impl Change {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(more) = text.strip_prefix('+') {
            return Rights::parse(more).map(Self::Add);
        }
        if let Some(fewer) = text.strip_prefix('-') {
            return Rights::parse(fewer).map(Self::Remove);
        }
        Rights::parse(text).map(Self::Replace)
    }

    pub(crate) fn apply(self, old: Rights) -> Rights {
        match self {
            Self::Replace(new) => new,
            Self::Add(more) => old.with(more),
            Self::Remove(fewer) => old.without(fewer),
        }
    }
}

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
        Self { account, mailbox, rights, prefix_bytes }
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
    text: std::borrow::Cow::Borrowed(
        "you have no right to do that with this mailbox; ask its owner",
    ),
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

/// Others' mailboxes that are shown to this account, by name.
pub(crate) async fn visible(store: &Store, me: (AccountId, &str)) -> Result<Vec<Named>, Error> {
    let mut found = Vec::new();
    let mut shared = shared_with(store, me.1).await?;
    shared.sort_unstable();
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
            if rights.has(Rights::LOOKUP) {
                found.push(Named::others(account, &owner, mailbox, rights));
            }
        }
    }
    found.sort_by(|a, b| a.mailbox.name.cmp(&b.mailbox.name));
    Ok(found)
}

/// Gives a new mailbox the rights of the one above it (RFC 4314 §4).
pub(crate) async fn inherit(
    store: &Store,
    account: AccountId,
    above: MailboxId,
    new: &Named,
) -> Result<(), Error> {
    let entries = entries(store, account, above).await?;
    if entries.is_empty() { Ok(()) } else { put(store, new, entries).await }
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
    let seen = seen_by(&store, account, mailbox, me.0).await?;
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
    _store: &Store,
    _account: AccountId,
    _mailbox: MailboxId,
) -> Result<Vec<(String, Rights)>, Error> {
    Ok(Vec::new())
}

/// Sets the rights of identifiers; none: the entry goes.
pub(crate) async fn put(
    _store: &Store,
    _of: &Named,
    _entries: Vec<(String, Rights)>,
) -> Result<(), Error> {
    Err(Error::no("CANNOT", "rights cannot be stored yet"))
}

/// Mailboxes of all accounts that have an entry for this one.
async fn shared_with(_store: &Store, _key: &str) -> Result<Vec<(AccountId, MailboxId)>, Error> {
    Ok(Vec::new())
}

pub(crate) async fn seen_by(
    _store: &Store,
    _account: AccountId,
    _mailbox: MailboxId,
    _user: AccountId,
) -> Result<types::UidSet, Error> {
    Ok(types::UidSet::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, &str)>) {
            let found = Rights::parse(text).map(|r| (r.to_string(), r.stored()));
            assert_eq!(found.as_ref().map(|(a, b)| (a.as_str(), b.as_str())), expect, "{text}");
        }
        check("", Some(("", "")));
        check("rl", Some(("lr", "lr")));
        // RFC 4314 §2.1.1
        check("lrswida", Some(("lrswitead", "lrswitea")));
        check("lrswikda", Some(("lrswikteacd", "lrswiktea")));
        check("c", Some(("kxc", "kx")));
        check("llx", Some(("lxc", "lx")));
        check("lR", None);
        check("lq", None);
        check("l1", None);
        check("l ", None);
        assert_eq!(Rights::ALL.stored(), "lrswipkxtea");
    }

    #[test]
    fn changes() {
        #[track_caller]
        fn check(old: &str, change: &str, expect: Option<&str>) {
            let old = Rights::parse(old).unwrap();
            let new = Change::parse(change).map(|change| change.apply(old).stored());
            assert_eq!(new.as_deref(), expect, "{change}");
        }
        check("lrswi", "+cda", Some("lrswikxtea"));
        check("lrswi", "-sw", Some("lri"));
        check("lrswi", "lr", Some("lr"));
        check("lrswi", "", Some(""));
        check("lrswi", "+", Some("lrswi"));
        check("lrswi", "-d", Some("lrswi"));
        check("lrswi", "+-r", None);
        check("lrswi", "lrQ", None);
    }

    fn flags(names: &str) -> Flags {
        let mut flags = Flags::default();
        names.split_ascii_whitespace().for_each(|name| assert!(flags.insert_name(name)));
        flags
    }

    /// The example of RFC 4314 §4.
    #[test]
    fn flags_one_may_set() {
        #[track_caller]
        fn check(rights: &str, asked: &str, expect: &str) {
            let rights = Rights::parse(rights).unwrap();
            assert_eq!(rights.allowed(&flags(asked)).to_string(), expect);
        }
        check("rwis", "\\Draft \\Deleted", "\\Draft");
        check("rwis", "\\Answered", "\\Answered");
        check("rwis", "$Forwarded \\Seen", "\\Seen $Forwarded");
        check("rsti", "\\Draft \\Deleted", "\\Deleted");
        check("rsti", "\\Answered", "");
        check("rsti", "$Forwarded \\Seen", "\\Seen");
        check("rswt", "$Forwarded \\Seen \\Deleted", "\\Deleted \\Seen $Forwarded");
    }

    #[test]
    fn what_is_left_of_a_store() {
        #[track_caller]
        fn check(rights: &str, change: FlagChange, expect: Option<&str>) {
            let there = flags("\\Seen \\Flagged \\Deleted $a $b");
            let change = Rights::parse(rights).unwrap().allowed_change(change, &there);
            assert_eq!(change.map(|change| change.apply(&there).to_string()).as_deref(), expect);
        }
        let add = |names| FlagChange::Add(flags(names));
        check("w", add("\\Draft \\Seen"), Some("\\Flagged \\Deleted \\Seen \\Draft $a $b"));
        check("t", add("\\Draft \\Seen"), None);
        check("", add(""), Some("\\Flagged \\Deleted \\Seen $a $b"));
        check("t", FlagChange::Remove(flags("\\Deleted $a")), Some("\\Flagged \\Seen $a $b"));
        let replace = |names| FlagChange::Replace(flags(names));
        check("w", replace("\\Seen $a"), Some("\\Deleted \\Seen $a"));
        check("w", replace(""), Some("\\Deleted \\Seen"));
        check("swt", replace("$c"), Some("$c"));
        check("s", replace(""), Some("\\Flagged \\Deleted $a $b"));
        check("i", replace(""), None);
        check("i", replace("$c"), None);
    }

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
