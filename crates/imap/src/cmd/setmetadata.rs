//! SETMETADATA (RFC 5464 §4.3): all of it or nothing.
//!
//! ```text
//! setmetadata = "SETMETADATA" SP mailbox SP "(" entry SP value *(SP entry SP value) ")"
//! value       = nstring / literal8          ; NIL deletes it
//! ```

use crate::commands::Verb;
use crate::metadata::{Annotated, ENTRIES, Entry, VALUE_BYTES};
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use storage::Error::{NoteTooLarge, TooManyNotes};

pub(crate) struct SetMetadata {
    mailbox: String,
    entries: Vec<(Entry, Option<Vec<u8>>)>,
}

impl Verb for SetMetadata {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mailbox = p.mailbox()?;
        p.sp()?;
        let entries = p.list(ENTRIES, |p| {
            let entry = Entry::parse(p)?;
            p.sp()?;
            Ok((entry, p.nstring8()?.map(std::borrow::Cow::into_owned)))
        })?;
        if entries.is_empty() {
            p.wanted("the name of an entry")
        } else {
            Ok(Self { mailbox, entries })
        }
    }

    async fn run(self, session: &mut Session) -> Answer {
        let of = Annotated::find(session, &self.mailbox).await?;
        for (entry, value) in &self.entries {
            of.check(entry)?;
            if !entry.name().get(1..).is_some_and(|name| name.contains('/')) {
                return Err(Error::Bad("an entry has a name below /private or /shared"));
            }
            if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES) {
                return Err(TOO_LARGE);
            }
        }
        let notes = self.entries.iter().map(|(entry, value)| (of.note(entry), value.clone()));
        let put = session.store().put_notes(of.account, of.mailbox, notes.collect()).await;
        match put {
            Ok(_) => Ok(Done::new("Noted")),
            Err(NoteTooLarge) => Err(TOO_LARGE),
            Err(TooManyNotes) => {
                Err(Error::no("METADATA TOOMANY", "there are 1,000 annotations already"))
            }
            Err(other) => Err(other.into()),
        }
    }
}

const TOO_LARGE: Error = Error::No {
    code: "METADATA MAXSIZE 32768",
    text: std::borrow::Cow::Borrowed("the value is longer than 32,768 bytes"),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn the_limit_is_told() {
        assert!(
            matches!(TOO_LARGE, Error::No { code, .. } if code.ends_with(&VALUE_BYTES.to_string()))
        );
    }

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &[u8], expect: Option<&[Option<&[u8]>]>) {
            let found = whole(text, SetMetadata::parse).ok();
            let found = found.as_ref().map(|set| -> Vec<Option<&[u8]>> {
                set.entries.iter().map(|(_, value)| value.as_deref()).collect()
            });
            assert_eq!(found.as_deref(), expect, "{}", String::from_utf8_lossy(text));
        }
        check(b" INBOX (/shared/comment \"x\")", Some(&[Some(b"x")]));
        check(b" INBOX (/shared/a NIL /private/b \"\")", Some(&[None, Some(b"")]));
        check(b" INBOX (/shared/a {3}\r\na\"b)", Some(&[Some(b"a\"b")]));
        check(b" INBOX (/shared/a ~{3}\r\na\0b)", Some(&[Some(b"a\0b")]));
        check(b" INBOX (/shared/a)", None);
        check(b" INBOX ()", None);
        check(b" INBOX /shared/a \"x\"", None);
        check(b" INBOX (/shared/a x)", None);
    }
}
