//! SETACL and DELETEACL (RFC 4314 §3.1, §3.2): give others rights on a mailbox, or take them away.
//!
//! ```text
//! setacl     = "SETACL" SP mailbox SP identifier SP mod-rights
//! deleteacl  = "DELETEACL" SP mailbox SP identifier
//! identifier = astring
//! mod-rights = astring     ; see `sharing`
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::{self, Change, Identifier, Rights};

/// Identifiers with rights on one mailbox. GETACL tells all of them, and a look at one's rights reads them.
const ENTRIES: usize = 1_000;

pub(crate) struct SetAcl {
    mailbox: String,
    identifier: String,
    change: Change,
}

pub(crate) struct DeleteAcl {
    mailbox: String,
    identifier: String,
}

impl Verb for SetAcl {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mailbox = p.mailbox()?;
        p.sp()?;
        let identifier = sharing::identifier(p)?;
        p.sp()?;
        // RFC 4314 §3.1: a letter that is no right is BAD.
        match Change::parse(&p.astring_utf8()?) {
            Some(change) => Ok(Self { mailbox, identifier, change }),
            None => p.wanted("rights, of the letters lrswipkxtea, or c and d"),
        }
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.mailbox, Rights::ADMINISTER).await?;
        let identifier = Identifier::of(session, &self.identifier)?;
        let store = session.store();
        let most = Rights::of_owner(&named.mailbox);
        if identifier.is_owner(&session.store(), &named).await? {
            let all = self.change.apply(most).has(most);
            return if all { Ok(Done::new("Rights stored")) } else { Err(OWNER) };
        }
        let entries = sharing::entries(&store, named.account, named.mailbox.id).await?;
        let old = entries.iter().find(|(known, _)| *known == identifier.0);
        if old.is_none() {
            if entries.len() >= ENTRIES {
                return Err(Error::no("LIMIT", "this mailbox is shared with too many already"));
            }
            if !identifier.exists(&store).await? {
                return Err(Error::no("CANNOT", "there is no account with this address"));
            }
        }
        let old = old.map_or(Rights::NONE, |(_, rights)| *rights);
        // RFC 4314 §2: some rights are never granted.
        let new = self.change.apply(old).only(most);
        let (account, mailbox) = (named.account, named.mailbox.id);
        sharing::put(&store, account, mailbox, vec![(identifier.0, new)]).await?;
        Ok(Done::new("Rights stored"))
    }
}

impl Verb for DeleteAcl {
    const NEEDS_LIST: bool = false;

    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let mailbox = p.mailbox()?;
        p.sp()?;
        Ok(Self { mailbox, identifier: sharing::identifier(p)? })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.mailbox, Rights::ADMINISTER).await?;
        let identifier = Identifier::of(session, &self.identifier)?;
        if identifier.is_owner(&session.store(), &named).await? {
            return Err(OWNER);
        }
        let (account, mailbox) = (named.account, named.mailbox.id);
        sharing::put(&session.store(), account, mailbox, vec![(identifier.0, Rights::NONE)])
            .await?;
        Ok(Done::new("Rights removed"))
    }
}

const OWNER: Error = Error::No {
    code: "CANNOT",
    text: std::borrow::Cow::Borrowed("the owner of a mailbox always has all rights on it"),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, &str, Change)>) {
            let found = whole(text.as_bytes(), SetAcl::parse).ok();
            let found = found.as_ref();
            let found = found.map(|s| (s.mailbox.as_str(), s.identifier.as_str(), s.change));
            assert_eq!(found, expect, "{text}");
        }
        let rights = |text| Rights::parse(text).unwrap();
        check(" x bob lr", Some(("x", "bob", Change::Replace(rights("lr")))));
        check(" \"x y\"  {3}\r\nbob  \"\"", Some(("x y", "bob", Change::Replace(Rights::NONE))));
        check(
            " x bob@example.test +cda",
            Some(("x", "bob@example.test", Change::Add(rights("kxtea")))),
        );
        check(" x anyone -w", Some(("x", "anyone", Change::Remove(rights("w")))));
        check(" x -bob w", Some(("x", "-bob", Change::Replace(rights("w")))));
        check(" x \"\" lr", None);
        check(" x bob lrQ", None);
        check(" x bob lrq", None);
        check(" x bob", None);
        check(" x bob l r", None);
        let long = "b".repeat(400);
        check(&format!(" x {long} lr"), None);
    }
}
