//! Fills the mailboxes of the demo with made-up letters. To add one, see `seed/README.md`.

mod broken;
mod compose;
mod files;
mod letters;
mod pdf;
mod png;
mod wav;

use anyhow::Result;
use futures_util::future::try_join_all;
use std::collections::HashMap;
use storage::Store;
use types::{AccountId, MailboxId, SpecialUse};

/// Stores all letters in the mailboxes of `alice` and `bob`; gives back how many.
pub(crate) async fn fill(
    store: &Store,
    alice: AccountId,
    bob: AccountId,
    now_unix_s: i64,
) -> Result<usize> {
    let letters = letters::all(now_unix_s)?;
    let count = letters.len();
    let mut mailboxes = HashMap::new();
    // Handed over in order, then waited for together: they share a few syncs of the disk.
    let mut storing = Vec::new();
    for letter in letters {
        let account = if letter.owner == "bob" { bob } else { alice };
        let key = (account, letter.mailbox);
        let mailbox = if let Some(id) = mailboxes.get(&key) {
            *id
        } else {
            let id = mailbox(store, account, &key.1).await?;
            mailboxes.insert(key, id);
            id
        };
        let parsed = storage::Letter::parse(letter.bytes.into());
        let received = Some(letter.received_unix_s);
        storing.push(store.append(account, mailbox, parsed, letter.flags, received));
    }
    try_join_all(storing).await?;
    Ok(count)
}

/// A standard mailbox by its use, any other by its name, made when it is not there.
async fn mailbox(store: &Store, account: AccountId, name: &str) -> Result<MailboxId> {
    let special = SpecialUse::from_role(&name.to_lowercase());
    let all = store.mailboxes(account).await?;
    let found = all.iter().find(|m| match special {
        Some(_) => m.special_use == special,
        None => m.name == name,
    });
    match found {
        Some(mailbox) => Ok(mailbox.id),
        None => Ok(store.create_mailbox(account, name, special).await?.id),
    }
}
