//! State strings: the account's MODSEQ (RFC 8620 §5.1). One counter serves all types, so a state may change
//! although its type did not, which the RFC allows.

use crate::{Error, Result};
use storage::Store;
use types::{AccountId, ModSeq};

pub(crate) fn of(modseq: ModSeq) -> String {
    modseq.to_string()
}

pub(crate) async fn now(store: &Store, account: AccountId) -> Result<String> {
    Ok(of(store.state(account).await?))
}

/// A state a client brings back; one we never gave cannot be compared with.
pub(crate) async fn since(store: &Store, account: AccountId, text: &str) -> Result<ModSeq> {
    let modseq: u64 = text.parse().map_err(|_| Error::NoChanges)?;
    if of(ModSeq(modseq)) != text || ModSeq(modseq) > store.state(account).await? {
        return Err(Error::NoChanges);
    }
    Ok(ModSeq(modseq))
}

/// `ifInState` of a `/set` (RFC 8620 §5.3).
pub(crate) fn expect(wanted: Option<&str>, now: &str) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != now => Err(Error::StateMismatch),
        _ => Ok(()),
    }
}
