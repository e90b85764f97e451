//! Where an email is and how it is marked: its rows in all mailboxes seen as one.

use serde_json::{Map, Value};
use std::collections::BTreeSet;
use storage::Message;
use types::{Flag, Flags, Keyword, MailboxId};

/// System flags and their keywords (RFC 8621 §4.1.1). `\Deleted` has none: JMAP does not know it.
pub(crate) const SYSTEM: [(Flag, &str); 4] = [
    (Flag::Seen, "$seen"),
    (Flag::Answered, "$answered"),
    (Flag::Flagged, "$flagged"),
    (Flag::Draft, "$draft"),
];

#[derive(Debug, Clone, Default)]
pub(crate) struct Home {
    pub(crate) mailboxes: Vec<MailboxId>,
    /// Lower case.
    pub(crate) keywords: BTreeSet<String>,
}

impl Home {
    /// Keywords are those of any copy, but `$seen` only when every copy is seen (RFC 8621 §4.1.1).
    pub(crate) fn of(rows: &[(MailboxId, Message)]) -> Self {
        let mut home = Self::default();
        for (mailbox, row) in rows {
            if !home.mailboxes.contains(mailbox) {
                home.mailboxes.push(*mailbox);
            }
            home.keywords.extend(names(&row.flags));
        }
        if !rows.iter().all(|(_, row)| row.flags.contains(Flag::Seen)) {
            home.keywords.remove("$seen");
        }
        home
    }

    pub(crate) fn mailbox_ids(&self) -> Value {
        let ids = self.mailboxes.iter().map(|m| super::ids::of_mailbox(*m));
        Value::Object(ids.map(|id| (id, Value::Bool(true))).collect())
    }

    pub(crate) fn keyword_map(&self) -> Value {
        let names = self.keywords.iter().cloned();
        Value::Object(names.map(|k| (k, Value::Bool(true))).collect::<Map<_, _>>())
    }
}

fn names(flags: &Flags) -> impl Iterator<Item = String> + '_ {
    let system = SYSTEM
        .into_iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, name)| name.to_owned());
    let own = flags.keywords().iter().map(|k| k.as_str().to_lowercase());
    system.chain(own)
}

/// What a keyword of JMAP is in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    Flag(Flag),
    Keyword(Keyword),
}

/// `None` when it is no keyword (RFC 8621 §4.1.1).
pub(crate) fn mark(keyword: &str) -> Option<Mark> {
    let lower = keyword.to_ascii_lowercase();
    let system = SYSTEM.into_iter().find(|(_, name)| *name == lower);
    match system {
        Some((flag, _)) => Some(Mark::Flag(flag)),
        None => Keyword::new(&lower).map(Mark::Keyword),
    }
}

impl Mark {
    pub(crate) fn put(self, flags: &mut Flags) {
        match self {
            Self::Flag(flag) => flags.insert(flag),
            Self::Keyword(keyword) => flags.insert_keyword(keyword),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{EmailId, ModSeq, Uid};

    fn row(mailbox: u32, flags: &str) -> (MailboxId, Message) {
        let mut set = Flags::default();
        for name in flags.split_ascii_whitespace() {
            assert!(set.insert_name(name));
        }
        let message = Message {
            uid: Uid::MIN,
            email: EmailId(1),
            modseq: ModSeq(1),
            flags: set,
            received_unix_s: 0,
            saved_unix_s: 0,
            size_bytes: 1,
        };
        (MailboxId(mailbox), message)
    }

    #[test]
    fn rows_become_one() {
        #[track_caller]
        fn check(rows: &[(MailboxId, Message)], expect: &str) {
            let home = Home::of(rows);
            let keywords: Vec<String> = home.keywords.into_iter().collect();
            assert_eq!(keywords.join(" "), expect);
        }
        check(&[row(1, "\\Seen $Work")], "$seen $work");
        check(&[row(1, "\\Seen"), row(2, "\\Flagged")], "$flagged");
        check(&[row(1, "\\Seen \\Deleted"), row(1, "\\Seen")], "$seen");
        assert_eq!(
            Home::of(&[row(1, ""), row(1, ""), row(3, "")]).mailboxes,
            [MailboxId(1), MailboxId(3)]
        );
    }

    #[test]
    fn keywords_and_flags() {
        assert_eq!(mark("$SEEN"), Some(Mark::Flag(Flag::Seen)));
        assert!(matches!(mark("$Work"), Some(Mark::Keyword(k)) if k.as_str() == "$work"));
        for bad in ["", "a b", "\\Seen", "a\"b", "zażółć"] {
            assert_eq!(mark(bad), None, "{bad}");
        }
    }
}
