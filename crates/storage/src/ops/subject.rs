//! The thread of an answer that names no letter: some programs leave out In-Reply-To and References. As a last resort
//! the subject tells, when the sender took part in the other letter (RFC 5256 §2.1 has the idea of a base subject).
//!
//! A guess, so it is made before the writer sees the letter, from what is committed; only for letters that say "Re:"
//! and refer to nothing, and only among the newest ones.

use crate::Result;
use db::{EmailRow, Read};
use mparser::Index;
use types::{AccountId, SpecialUse, ThreadId, Uid, UidSet};

/// Letters looked at in the inbox and among what was sent; a reading of each costs some microseconds.
const LOOKED_AT: usize = 50;
/// UIDs among which those are looked for: many may be gone.
const UIDS: u32 = 200;
/// And none that is so much older than the newest.
const ANSWERED_WITHIN_S: i64 = 30 * 24 * 3600;
/// Accounts of one letter for which it is done.
const ACCOUNTS: usize = 16;
/// What stands before a subject, one thing after the other.
const PREFIXES: usize = 8;
/// A tag of a mailing list in brackets is not longer.
const TAG_BYTES: usize = 40;
/// Shorter ones are shared by letters that have nothing to do with each other.
const SUBJECT_CHARS: usize = 4;

/// "Answer" in the languages whose mail programs translate it.
const ANSWER: [&str; 9] = ["re", "aw", "odp", "sv", "vs", "antw", "ref", "rif", "res"];
const FORWARD: [&str; 6] = ["fw", "fwd", "pd", "wg", "tr", "rv"];

/// An answer to nothing that it names.
pub(crate) struct LostAnswer {
    subject: String,
    sender: String,
}

impl LostAnswer {
    pub(crate) fn of(letter: &Index) -> Option<Self> {
        if !letter.in_reply_to().is_empty() || !letter.envelope.references.is_empty() {
            return None;
        }
        let (subject, is_answer) = base(&letter.subject());
        if !is_answer || subject.chars().count() < SUBJECT_CHARS {
            return None;
        }
        let sender = letter.from_().into_iter().next()?.address.to_lowercase();
        (!sender.is_empty()).then_some(Self { subject, sender })
    }

    /// For each account the thread that it seems to belong to.
    pub(crate) fn threads(
        &self,
        read: &dyn Read,
        accounts: &[AccountId],
    ) -> Result<Vec<Option<ThreadId>>> {
        if accounts.len() > ACCOUNTS {
            return Ok(Vec::new());
        }
        accounts.iter().map(|account| self.thread(read, *account)).collect()
    }

    fn thread(&self, read: &dyn Read, account: AccountId) -> Result<Option<ThreadId>> {
        let mut newest: Option<EmailRow> = None;
        for mailbox in read.mailboxes(account)? {
            if !matches!(mailbox.special_use, Some(SpecialUse::Inbox | SpecialUse::Sent)) {
                continue;
            }
            let end = mailbox.uid_next.map_or(u32::MAX, Uid::get);
            let first = Uid::new(end.saturating_sub(UIDS)).unwrap_or(Uid::MIN);
            let uids = UidSet::from_ranges([(first, Uid::MAX)]);
            let rows = read.messages(account, mailbox.id, &uids)?;
            let oldest = rows.last().map_or(0, |row| row.received_unix_s - ANSWERED_WITHIN_S);
            let recent = |row: &&db::MessageRow| row.received_unix_s >= oldest;
            for row in rows.iter().rev().take(LOOKED_AT).filter(recent) {
                let Some(email) = read.email(row.email)? else { continue };
                let newer = newest
                    .as_ref()
                    .is_none_or(|other| other.received_unix_s < email.received_unix_s);
                if newer && self.answers(&email) {
                    newest = Some(email);
                    break;
                }
            }
        }
        Ok(newest.map(|email| email.thread))
    }

    fn answers(&self, email: &EmailRow) -> bool {
        let Ok(letter) = Index::decode(&email.index) else { return false };
        let people = [letter.from_(), letter.to_(), letter.cc_()];
        let took_part = people.iter().flatten().any(|p| p.address.to_lowercase() == self.sender);
        took_part && base(&letter.subject()).0 == self.subject
    }
}

/// A subject without what answering and forwarding put before it, in lower case with single spaces; and whether it
/// is that of an answer.
fn base(subject: &str) -> (String, bool) {
    let words: Vec<&str> = subject.split_whitespace().collect();
    let subject = words.join(" ").to_lowercase();
    let mut rest = subject.as_str();
    let mut is_answer = false;
    for _ in 0..PREFIXES {
        if let Some(after) = without_tag(rest) {
            rest = after;
        } else if let Some((word, after)) = without_word(rest) {
            is_answer |= ANSWER.contains(&word);
            rest = after;
        } else {
            break;
        }
    }
    (rest.to_owned(), is_answer)
}

/// `[list] subject` without the tag, if something is left.
fn without_tag(subject: &str) -> Option<&str> {
    let (tag, rest) = subject.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    (tag.len() <= TAG_BYTES && !rest.is_empty()).then_some(rest)
}

/// `re: subject`, `re[2]: subject` without the word.
fn without_word(subject: &str) -> Option<(&str, &str)> {
    let (before, rest) = subject.split_once(':')?;
    let is_counter = |c: char| c.is_ascii_digit() || "[](). ^".contains(c);
    let word = before.trim_end_matches(is_counter);
    let known = ANSWER.contains(&word) || FORWARD.contains(&word);
    known.then(|| (word, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        #[track_caller]
        fn check(subject: &str, expect: &str, is_answer: bool) {
            assert_eq!(base(subject), (expect.to_owned(), is_answer), "{subject:?}");
        }
        check("Lunch on Friday", "lunch on friday", false);
        check("Re: Lunch  on\tFriday ", "lunch on friday", true);
        check("RE: AW: Odp: lunch", "lunch", true);
        check("Re[2]: lunch", "lunch", true);
        check("Re (3): lunch", "lunch", true);
        check("Re: [team] Re: lunch", "lunch", true);
        check("[team] lunch", "lunch", false);
        check("Fwd: lunch", "lunch", false);
        check("Re: Fwd: lunch", "lunch", true);
        check("Re:", "", true);
        check("[only a tag]", "[only a tag]", false);
        check("Report: numbers", "report: numbers", false);
        check("Odp: Zażółć", "zażółć", true);
        check(&"re:".repeat(1000), &"re:".repeat(1000 - PREFIXES), true);
    }

    #[test]
    fn only_answers_that_name_nothing() {
        #[track_caller]
        fn check(head: &str, expect: bool) {
            let letter = Index::of(format!("{head}\r\n\r\n.\r\n").as_bytes());
            assert_eq!(LostAnswer::of(&letter).is_some(), expect, "{head}");
        }
        check("From: b@example.test\r\nSubject: Re: lunch", true);
        check("From: b@example.test\r\nSubject: lunch", false);
        check("From: b@example.test\r\nSubject: Re: hi", false);
        check("Subject: Re: lunch", false);
        check("From: b@example.test\r\nSubject: Re: lunch\r\nIn-Reply-To: <a@b>", false);
        check("From: b@example.test\r\nSubject: Re: lunch\r\nReferences: <a@b>", false);
    }
}
