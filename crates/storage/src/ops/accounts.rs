//! Makes an account with its standard mailboxes, or changes the secret of one.

use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::Op;
use types::{AccountId, MailboxId, SpecialUse, UidValidity};

pub(crate) struct PutAccount {
    pub(crate) key: String,
    pub(crate) secret: String,
}

/// What every new account has, with the use of each (RFC 6154).
const STANDARD: [(&str, SpecialUse); 6] = [
    ("INBOX", SpecialUse::Inbox),
    ("Drafts", SpecialUse::Drafts),
    ("Sent", SpecialUse::Sent),
    ("Junk", SpecialUse::Junk),
    ("Trash", SpecialUse::Trash),
    ("Archive", SpecialUse::Archive),
];

/// The id that the mailbox of this use has in a new account; the owner may have changed it since.
pub(super) fn standard_mailbox(wanted: SpecialUse) -> Option<MailboxId> {
    (1..)
        .zip(STANDARD)
        .find(|(_, (_, special_use))| *special_use == wanted)
        .map(|(id, _)| MailboxId(id))
}

impl Intent for PutAccount {
    type Outcome = AccountId;

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<AccountId> {
        let (key, secret) = (self.key.clone(), self.secret.clone());
        if let Some(old) = facts.txn.account_by_key(&key)? {
            facts.put(&Op::AccountPut { account: old.id, key, secret })?;
            return Ok(old.id);
        }
        let account = facts.txn.next_account()?;
        let now = u32::try_from(facts.now_unix_s).map_err(|_| Error::NoAccount)?;
        facts.put(&Op::AccountPut { account, key, secret })?;
        for (mailbox, (name, special_use)) in (1..).zip(STANDARD) {
            let modseq = facts.next_modseq(account)?;
            facts.put(&Op::MailboxPut {
                account,
                mailbox: MailboxId(mailbox),
                modseq,
                uid_validity: UidValidity(now.saturating_add(mailbox)),
                name: name.to_owned(),
                special_use: Some(special_use),
                subscribed: true,
            })?;
        }
        Ok(account)
    }
}
