//! System flags and keywords of a message (RFC 9051 §2.3.2).

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A system flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Flag {
    Seen = 1,
    Answered = 2,
    Flagged = 4,
    Deleted = 8,
    Draft = 16,
}

impl Flag {
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// `\Seen` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }

    /// Finds a system flag by its name with the backslash, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name().eq_ignore_ascii_case(name))
    }
}

/// A keyword: an IMAP atom of 1-255 bytes, kept as first written, compared in any case.
#[derive(Debug, Clone)]
pub struct Keyword(Arc<str>);

impl Keyword {
    pub const MAX_BYTES: usize = 255;

    /// `None` when empty, longer than 255 bytes, or not an atom (RFC 9051 §9 `flag-keyword`).
    pub fn new(text: &str) -> Option<Self> {
        let atom = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b);
        let fits = (1..=Self::MAX_BYTES).contains(&text.len());
        (fits && text.bytes().all(atom)).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Keyword {}
impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |k: &Self| k.0.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
        lower(self).cmp(&lower(other))
    }
}
impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The flags of one message: a set of system flags and a sorted set of keywords.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    system: u8,
    keywords: Vec<Keyword>,
}

impl Flags {
    pub fn new(system: &[Flag]) -> Self {
        let mut flags = Self::default();
        for &flag in system {
            flags.insert(flag);
        }
        flags
    }

    /// From the bits of [`Flags::bits`]; unknown bits are dropped.
    pub fn from_bits(bits: u8) -> Self {
        Self { system: bits & 31, keywords: Vec::new() }
    }

    pub fn bits(&self) -> u8 {
        self.system
    }

    pub fn contains(&self, flag: Flag) -> bool {
        self.system & flag as u8 != 0
    }

    pub fn insert(&mut self, flag: Flag) {
        self.system |= flag as u8;
    }

    pub fn remove(&mut self, flag: Flag) {
        self.system &= !(flag as u8);
    }

    pub fn set(&mut self, flag: Flag, is_set: bool) {
        if is_set { self.insert(flag) } else { self.remove(flag) }
    }

    pub fn system(&self) -> impl Iterator<Item = Flag> + '_ {
        Flag::ALL.into_iter().filter(|f| self.contains(*f))
    }

    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    pub fn has_keyword(&self, name: &str) -> bool {
        self.keywords.iter().any(|k| k.as_str().eq_ignore_ascii_case(name))
    }

    pub fn insert_keyword(&mut self, keyword: Keyword) {
        if let Err(at) = self.keywords.binary_search(&keyword) {
            self.keywords.insert(at, keyword);
        }
    }

    pub fn remove_keyword(&mut self, keyword: &Keyword) {
        if let Ok(at) = self.keywords.binary_search(keyword) {
            self.keywords.remove(at);
        }
    }

    /// Adds a flag or keyword by its IMAP name; `false` when it is neither (`\Recent`, bad atom).
    pub fn insert_name(&mut self, name: &str) -> bool {
        if let Some(flag) = Flag::from_name(name) {
            self.insert(flag);
            return true;
        }
        let Some(keyword) = Keyword::new(name) else {
            return false;
        };
        self.insert_keyword(keyword);
        true
    }

    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }
}

/// `\Seen $label1`, as between the parentheses of FETCH FLAGS.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let system: Vec<&str> = self.system().map(Flag::name).collect();
        let names = system.into_iter().chain(self.keywords.iter().map(|k| &*k.0));
        for (i, name) in names.enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

/// What STORE does to a message's flags (RFC 9051 §6.4.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`
    Replace(Flags),
    /// `+FLAGS`
    Add(Flags),
    /// `-FLAGS`
    Remove(Flags),
    /// Adds the first, removes the second, in one step.
    Patch { add: Flags, remove: Flags },
}

impl FlagChange {
    #[must_use]
    pub fn apply(&self, old: &Flags) -> Flags {
        match self {
            Self::Replace(new) => new.clone(),
            Self::Add(add) => patch(old, Some(add), None),
            Self::Remove(remove) => patch(old, None, Some(remove)),
            Self::Patch { add, remove } => patch(old, Some(add), Some(remove)),
        }
    }
}

fn patch(old: &Flags, add: Option<&Flags>, remove: Option<&Flags>) -> Flags {
    let mut new = old.clone();
    if let Some(remove) = remove {
        new.system &= !remove.system;
        for keyword in &remove.keywords {
            new.remove_keyword(keyword);
        }
    }
    if let Some(add) = add {
        new.system |= add.system;
        for keyword in &add.keywords {
            new.insert_keyword(keyword.clone());
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(names: &str) -> Flags {
        let mut flags = Flags::default();
        for name in names.split_ascii_whitespace() {
            assert!(flags.insert_name(name), "{name}");
        }
        flags
    }

    #[test]
    fn changes() {
        #[track_caller]
        fn check(old: &str, change: &FlagChange, expect: &str) {
            assert_eq!(change.apply(&flags(old)).to_string(), expect);
        }
        check("\\seen", &FlagChange::Add(flags("$Work \\Flagged")), "\\Flagged \\Seen $Work");
        check("\\Seen $Work", &FlagChange::Remove(flags("$WORK")), "\\Seen");
        check("\\Seen $Work", &FlagChange::Replace(flags("\\Draft")), "\\Draft");
        let patch = FlagChange::Patch { add: flags("$b"), remove: flags("$a \\Seen") };
        check("\\Seen $a", &patch, "$b");
    }

    #[test]
    fn what_is_no_keyword() {
        for bad in ["", "a b", "\\Recent", "a]", "{1}", "zażółć", &"x".repeat(256)] {
            assert!(Keyword::new(bad).is_none(), "{bad:?}");
        }
    }
}
