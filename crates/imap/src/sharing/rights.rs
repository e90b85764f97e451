//! Rights on a mailbox (RFC 4314 §2.1), and what of a change of flags they allow.
//!
//! ```text
//! rights     = astring     ; "lrswite", only lower case letters
//! mod-rights = astring     ; "+rights" to add, "-rights" to remove, "rights" to replace
//! ```

use std::fmt;
use storage::Mailbox;
use types::{Flag, FlagChange, Flags, SpecialUse};

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
    pub(crate) const ALL_FLAGS: Self = Self::SEEN.with(Self::WRITE).with(Self::DELETED);
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
        if self.has(Self::ALL_FLAGS) {
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
        if self.has(Self::ALL_FLAGS) {
            return Some(change);
        }
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
}
