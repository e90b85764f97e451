//! Where mail for an address goes: an account, an alias, a whole domain.
//!
//! An alias of an address comes before the account of the same name, so that its owner can forward mail; one that
//! names itself means the account. `user+tag` is looked for as it is, then as `user`. What is neither goes where the
//! alias of the whole domain leads.

use crate::envelope::{Leads, Share, Targets};
use crate::{Mda, Refusal};
use std::collections::HashSet;
use std::sync::Arc;
use storage::{Account, Alias};
use types::{AccountId, Address};

/// Aliases that lead to aliases: real ones need two or three.
const DEPTH: usize = 10;
/// Addresses one letter is copied to for one recipient.
const TARGETS: usize = storage::ALIAS_TARGETS;

/// Where an address leads, and the accounts as they were found.
pub(crate) struct Resolved {
    pub(crate) leads: Leads,
    /// In the order of [`Leads::accounts`].
    pub(crate) accounts: Vec<Account>,
}

/// What is looked up for one address.
struct Keys {
    /// `user@domain`, without a tag.
    account: String,
    /// The alias of the address, with its tag and without; and that of its domain.
    aliases: Vec<String>,
}

impl Keys {
    fn of(address: &Address) -> Self {
        let account = address.account_key();
        let mut aliases = vec![account.clone(), format!("@{}", address.domain())];
        if address.local().contains('+') {
            aliases.insert(0, whole(address));
        }
        Self { account, aliases }
    }
}

/// With its tag, in lower case.
pub(crate) fn whole(address: &Address) -> String {
    format!("{}@{}", address.local().to_lowercase(), address.domain())
}

/// The answer to [`Keys`].
enum Found {
    /// An alias of this address.
    Alias(Alias),
    /// The account, and whether its address is an alias too.
    Account(Account, bool),
    /// The alias of the domain.
    Domain(Alias),
    Nothing,
}

impl Found {
    /// `again`: the address was on the way here already, so no alias helps.
    fn pick((account, mut aliases): (Option<Account>, Vec<Alias>), again: bool) -> Self {
        // The longest is the one with a tag; that of the domain begins with its @.
        aliases
            .sort_by_key(|alias| (alias.key.starts_with('@'), std::cmp::Reverse(alias.key.len())));
        let has_own = aliases.first().is_some_and(|alias| !alias.key.starts_with('@'));
        let first = aliases.into_iter().next().filter(|_| !again);
        match (first, account) {
            (Some(alias), _) if has_own => Self::Alias(alias),
            (_, Some(account)) => Self::Account(account, has_own),
            (Some(alias), None) => Self::Domain(alias),
            (None, None) => Self::Nothing,
        }
    }
}

impl Mda {
    pub(crate) async fn resolve(&self, address: &Address) -> Result<Resolved, Refusal> {
        if !self.is_here(address) {
            return Err(Refusal::OtherDomain);
        }
        let found = self.look_up([address].into_iter()).await?.pop().ok_or(Refusal::Unavailable)?;
        match Found::pick(found, false) {
            Found::Account(account, _) => {
                Ok(Resolved { leads: Leads::Account(account.id), accounts: vec![account] })
            }
            Found::Alias(alias) | Found::Domain(alias) => {
                let mut expansion = Expansion::of(address);
                expansion.enter(address, &alias, None);
                self.expand(expansion).await
            }
            Found::Nothing => Err(Refusal::UnknownUser),
        }
    }

    fn is_here(&self, address: &Address) -> bool {
        self.domains.contains(address.domain())
    }

    async fn look_up(
        &self,
        addresses: impl Iterator<Item = &Address>,
    ) -> Result<Vec<(Option<Account>, Vec<Alias>)>, Refusal> {
        let wanted = addresses.map(Keys::of).map(|keys| (keys.account, keys.aliases)).collect();
        self.store.look_up(wanted).await.map_err(|error| Refusal::of_letter(&error))
    }

    /// Level by level, one look-up for each.
    async fn expand(&self, mut expansion: Expansion) -> Result<Resolved, Refusal> {
        let start = expansion.start.clone();
        for _ in 0..DEPTH {
            let (here, elsewhere): (Vec<_>, Vec<_>) = std::mem::take(&mut expansion.next)
                .into_iter()
                .partition(|(address, _)| self.is_here(address));
            expansion.targets.elsewhere.extend(elsewhere.into_iter().map(|(address, _)| address));
            if here.is_empty() {
                return expansion.end();
            }
            let found = self.look_up(here.iter().map(|(address, _)| address)).await?;
            for ((address, from), found) in here.into_iter().zip(found) {
                let again = expansion.is_on_the_way(&address, from);
                match Found::pick(found, again) {
                    Found::Alias(alias) | Found::Domain(alias) => {
                        expansion.enter(&address, &alias, Some(from));
                    }
                    Found::Account(account, is_alias) => expansion.add(account, is_alias),
                    Found::Nothing => tracing::warn!(
                        alias = %start, target = %address,
                        "an alias leads to nobody; put it right with `openpoczta alias`"
                    ),
                }
            }
            if expansion.seen.len() > TARGETS + 1 {
                break;
            }
        }
        if expansion.next.is_empty() {
            return expansion.end();
        }
        tracing::error!(
            alias = %start,
            "it leads through more than {DEPTH} aliases or to more than {TARGETS} addresses: no mail is taken for it"
        );
        Err(Refusal::Unavailable)
    }
}

/// An alias on its way to accounts and addresses elsewhere.
struct Expansion {
    start: Address,
    /// Addresses that were replaced by others.
    way: Vec<Stop>,
    /// All addresses met so far: nobody is asked twice.
    seen: HashSet<String>,
    /// To be looked at, with the place in `way` that led there.
    next: Vec<(Address, usize)>,
    known: HashSet<AccountId>,
    targets: Targets,
    accounts: Vec<Account>,
}

/// An address on the way, which stood for others.
struct Stop {
    /// With its tag.
    whole: String,
    /// The alias that said so: without the tag, or of the domain.
    alias: String,
    /// The place of the one it came from.
    from: Option<usize>,
}

impl Expansion {
    fn of(start: &Address) -> Self {
        Self {
            start: start.clone(),
            way: Vec::new(),
            seen: HashSet::from([whole(start)]),
            next: Vec::new(),
            known: HashSet::new(),
            targets: Targets::default(),
            accounts: Vec::new(),
        }
    }

    /// `address` stands for the targets of `alias`.
    fn enter(&mut self, address: &Address, alias: &Alias, from: Option<usize>) {
        let place = self.way.len();
        self.way.push(Stop { whole: whole(address), alias: alias.key.clone(), from });
        for target in &alias.targets {
            let target = match target.strip_prefix('@') {
                // Another name of a domain: who it is stays the same.
                Some(domain) => at(address, domain),
                None => target.parse().ok(),
            };
            let Some(target) = target else { continue };
            if self.seen.insert(whole(&target)) || self.is_on_the_way(&target, place) {
                self.next.push((target, place));
            }
        }
    }

    fn is_on_the_way(&self, address: &Address, from: usize) -> bool {
        let key = whole(address);
        let mut place = Some(from);
        while let Some(stop) = place.and_then(|place| self.way.get(place)) {
            if stop.whole == key || stop.alias == key {
                return true;
            }
            place = stop.from;
        }
        false
    }

    fn add(&mut self, account: Account, is_alias: bool) {
        if self.known.insert(account.id) {
            let alone = account_address(&account.key).filter(|_| !is_alias);
            self.targets.here.push(Share { account: account.id, alone });
            self.accounts.push(account);
        }
    }

    fn end(self) -> Result<Resolved, Refusal> {
        let Self { targets, accounts, .. } = self;
        let leads = match (&targets.here[..], &targets.elsewhere[..]) {
            ([], []) => return Err(Refusal::UnknownUser),
            ([one], []) => Leads::Account(one.account),
            _ => Leads::Alias(Arc::new(targets)),
        };
        Ok(Resolved { leads, accounts })
    }
}

/// The same name in another domain.
fn at(address: &Address, domain: &str) -> Option<Address> {
    let old = address.to_string();
    let (local, _) = old.rsplit_once('@')?;
    format!("{local}@{domain}").parse().ok()
}

/// The address of an account's key, which has no quotes where an address needs them.
fn account_address(key: &str) -> Option<Address> {
    let (local, domain) = key.rsplit_once('@')?;
    let quoted = || {
        let local = local.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{local}\"@{domain}").parse().ok()
    };
    key.parse().ok().or_else(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_keys() {
        #[track_caller]
        fn check(key: &str, expect: &str) {
            let address = account_address(key).unwrap();
            assert_eq!(
                (address.to_string().as_str(), address.account_key().as_str()),
                (expect, key)
            );
        }
        check("alice@example.test", "alice@example.test");
        check("a b@example.test", "\"a b\"@example.test");
        check("a\"\\b@example.test", "\"a\\\"\\\\b\"@example.test");
    }

    #[test]
    fn another_domain() {
        let there = |text: &str| at(&text.parse().unwrap(), "new.test").unwrap().to_string();
        assert_eq!(there("Ala+x@old.test"), "Ala+x@new.test");
        assert_eq!(there("\"a b\"@old.test"), "\"a b\"@new.test");
    }
}
