//! GETQUOTA and GETQUOTAROOT (RFC 9208 §4.1): what an account holds, and may hold. An account is one quota root, its
//! name is empty; without a limit it has none.
//!
//! ```text
//! getquota      = "GETQUOTA" SP quota-root-name
//! getquotaroot  = "GETQUOTAROOT" SP mailbox
//! quota-root-name = astring
//! ```

use crate::commands::Verb;
use crate::encode;
use crate::parse::{Parsed, Parser};
use crate::reply::{Answer, Done, Error};
use crate::session::Session;
use crate::sharing::Rights;
use storage::Account;

/// RFC 9208 §5.1: STORAGE is counted in these.
const UNIT_BYTES: u64 = 1024;

pub(crate) struct GetQuota(Vec<u8>);
pub(crate) struct GetQuotaRoot(String);

impl Verb for GetQuota {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        Ok(Self(p.astring()?.into_owned()))
    }

    async fn run(self, session: &mut Session) -> Answer {
        let account = session.account()?;
        let account = session.store().account(account).await?;
        match resources(&account).filter(|_| self.0.is_empty()) {
            Some(resources) => say(session, &resources),
            None => return Err(Error::no("NONEXISTENT", "there is no such quota root")),
        }
        Ok(Done::new("That is the quota"))
    }
}

impl Verb for GetQuotaRoot {
    fn parse(p: &mut Parser<'_>) -> Parsed<Self> {
        p.sp()?;
        p.mailbox().map(Self)
    }

    async fn run(self, session: &mut Session) -> Answer {
        let named = session.named(&self.0, Rights::READ).await?;
        let mut found = None;
        // What others hold is not told.
        if named.is_own() {
            found = resources(&session.store().account(named.account).await?);
        }
        let utf8 = session.utf8();
        let out = session.wire.out();
        out.extend_from_slice(b"* QUOTAROOT ");
        encode::mailbox(out, &named.mailbox.name, utf8);
        out.extend_from_slice(if found.is_some() { b" \"\"\r\n" } else { b"\r\n" });
        if let Some(resources) = found {
            say(session, &resources);
        }
        Ok(Done::new("That is what counts for it"))
    }
}

/// ```text
/// quota-response = "QUOTA" SP quota-root-name SP quota-list
/// ```
fn say(session: &mut Session, resources: &str) {
    session.wire.say(&format!("* QUOTA \"\" ({resources})"));
}

/// ```text
/// quota-resource = resource-name SP resource-usage SP resource-limit
/// ```
/// Those that have a limit; `None`: none has.
fn resources(account: &Account) -> Option<String> {
    let (used, limit) = (account.used, account.limit);
    let mut resources = Vec::new();
    if limit.size_bytes > 0 {
        let used = used.size_bytes.div_ceil(UNIT_BYTES);
        resources.push(format!("STORAGE {used} {}", limit.size_bytes / UNIT_BYTES));
    }
    if limit.messages > 0 {
        resources.push(format!("MESSAGE {} {}", used.messages, limit.messages));
    }
    (!resources.is_empty()).then(|| resources.join(" "))
}
