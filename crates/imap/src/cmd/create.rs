//! CREATE (RFC 9051 §6.3.4), with a special use (RFC 6154 §3).
//!
//! ```text
//! create       = "CREATE" SP mailbox [SP "(" create-param *(SP create-param) ")"]
//! create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"
//! use-attr     = "\" atom
//! ```

use crate::commands::Verb;
use crate::parse::{Parsed, Parser, limits};
use crate::pattern::SEPARATOR;
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing;
use types::SpecialUse;

pub(crate) struct Create {
    name: String,
    /// As they are written, without the backslash.
    uses: Vec<String>,
}

impl Verb for Create {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        let name = p.mailbox()?;
        let mut uses = Vec::new();
        if p.more() {
            p.list(limits::OPTIONS, |p| {
                if !p.word("USE") {
                    return p.wanted("USE");
                }
                p.sp()?;
                let named = p.list(limits::OPTIONS, |p| {
                    p.need(b'\\', "a use, as \\Sent")?;
                    p.atom().map(str::to_owned)
                })?;
                uses = named;
                Ok(())
            })?;
        }
        Ok(Self { name, uses })
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let special_use = special_use(&self.uses)?;
        let store = session.store();
        if special_use.is_some() {
            let mailboxes = store.mailboxes(account).await?;
            if mailboxes.iter().any(|mailbox| mailbox.special_use == special_use) {
                return Err(Error::no("USEATTR", "another mailbox has this use"));
            }
        }
        // A separator at the end says that names below it will follow; it is no part of the name.
        let name = self.name.strip_suffix(SEPARATOR).unwrap_or(&self.name);
        if sharing::is_others(name) {
            if special_use.is_some() {
                return Err(Error::no(
                    "USEATTR",
                    "a mailbox of another account has no use of yours",
                ));
            }
            return Box::pin(below_others(session, name)).await;
        }
        let mailbox = if name.contains(SEPARATOR) {
            let mailboxes = store.mailboxes(account).await?;
            let mailbox = store.create_mailbox(account, name, special_use).await?;
            if let Some(above) = sharing::above(&mailboxes, &mailbox.name) {
                sharing::inherit(&store, account, above, &mailbox.name).await?;
            }
            mailbox
        } else {
            store.create_mailbox(account, name, special_use).await?
        };
        Ok(Done::with(format!("MAILBOXID (F{})", mailbox.id), "Mailbox made"))
    }
}

/// Below a mailbox of another account, with its rights.
async fn below_others(session: &mut Session, name: &str) -> Answer {
    let (me, store) = (session.me()?, session.store());
    let (account, above) = sharing::place(&store, (me.0, &me.1), name).await?;
    let inner = sharing::split(name).map_or(name, |(_, inner)| inner);
    let mailbox = store.create_mailbox(account, inner, None).await?;
    sharing::inherit(&store, account, &above, &mailbox.name).await?;
    Ok(Done::with(format!("MAILBOXID (F{})", mailbox.id), "Mailbox made"))
}

/// RFC 6154 §3: a use that cannot be had is an error, not left out.
fn special_use(uses: &[String]) -> Result<Option<SpecialUse>, Error> {
    let [name] = uses else {
        return match uses {
            [] => Ok(None),
            _ => Err(Error::no("USEATTR", "a mailbox has one use")),
        };
    };
    let is_named = |known: &SpecialUse| {
        let attribute = known.attribute().and_then(|text| text.strip_prefix('\\'));
        attribute.is_some_and(|attribute| attribute.eq_ignore_ascii_case(name))
    };
    match SpecialUse::ALL.into_iter().find(is_named) {
        Some(known) => Ok(Some(known)),
        None => Err(Error::no("USEATTR", "that use is not known here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::whole;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, &[&str])>) {
            let found = whole(text.as_bytes(), Create::parse).ok();
            let expect = expect.map(|(name, uses)| (name.to_owned(), uses.to_vec()));
            let found = found.as_ref();
            let found =
                found.map(|c| (c.name.clone(), c.uses.iter().map(String::as_str).collect()));
            assert_eq!(found, expect, "{text}");
        }
        check(" Work", Some(("Work", &[])));
        check(" Work (USE (\\Sent))", Some(("Work", &["Sent"])));
        check(" Work (use ( \\Sent  \\Junk ) )", Some(("Work", &["Sent", "Junk"])));
        check(" Work ()", Some(("Work", &[])));
        check(" Work (USE ())", Some(("Work", &[])));
        check(" Work (USE (Sent))", None);
        check(" Work (USE)", None);
        check(" Work (SIZE 4)", None);
        check(" Work USE (\\Sent)", None);
    }
}
