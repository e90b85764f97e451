//! Puts an alias: an address that stands for others, or all addresses of a domain that are nothing else.

use crate::writer::{Facts, Intent};
use crate::{Error, Result};
use db::Op;
use std::collections::HashSet;
use types::Address;

/// Addresses one alias may lead to: a department, not a mailing list, which wants its own program.
pub const ALIAS_TARGETS: usize = 1_000;

pub(crate) struct PutAlias {
    key: String,
    targets: Vec<String>,
}

impl PutAlias {
    /// `key` is an address, or `@domain`. Targets are addresses; that of a domain may be `@domain`: the same name there.
    pub(crate) fn new(key: &str, targets: &[String]) -> Result<Self> {
        let refused = |why| Err(Error::Alias(why));
        let Some(key) = self::key(key) else {
            return refused("write an address, or @domain for all of a domain");
        };
        if targets.len() > ALIAS_TARGETS {
            return refused("it may lead to 1,000 addresses, no more");
        }
        let mut known = HashSet::new();
        let mut kept = Vec::with_capacity(targets.len());
        for target in targets {
            let Some(target) = self::target(target, key.starts_with('@')) else {
                return refused(
                    "a target is an address, or @domain where the alias is one of a domain too",
                );
            };
            if known.insert(target.to_lowercase()) {
                kept.push(target);
            }
        }
        Ok(Self { key, targets: kept })
    }
}

/// As the index has it: lower case, a tag is kept.
fn key(text: &str) -> Option<String> {
    if let Some(domain) = text.strip_prefix('@') {
        return self::domain(domain);
    }
    let address: Address = text.parse().ok()?;
    Some(format!("{}@{}", address.local().to_lowercase(), address.domain()))
}

fn target(text: &str, of_domain: bool) -> Option<String> {
    match text.strip_prefix('@') {
        Some(domain) => self::domain(domain).filter(|_| of_domain),
        None => text.parse::<Address>().ok().map(|address| address.to_string()),
    }
}

fn domain(text: &str) -> Option<String> {
    let address: Address = format!("x@{text}").parse().ok()?;
    // `x@y@z` is an address too, of the domain `z`.
    (address.local() == "x").then(|| format!("@{}", address.domain()))
}

impl Intent for PutAlias {
    type Outcome = ();

    fn resolve(&self, facts: &mut Facts<'_>) -> Result<()> {
        if facts.txn.alias(&self.key)? == self.targets {
            return Ok(());
        }
        facts.put(&Op::AliasPut { key: self.key.clone(), targets: self.targets.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alias_may_be() {
        #[track_caller]
        fn check(key: &str, targets: &[&str], expect: Option<(&str, &[&str])>) {
            let targets: Vec<String> = targets.iter().map(|t| (*t).to_owned()).collect();
            let found = PutAlias::new(key, &targets).ok();
            let found = found
                .as_ref()
                .map(|put| (&put.key[..], put.targets.iter().map(|t| &t[..]).collect()));
            assert_eq!(found, expect.map(|(key, targets)| (key, targets.to_vec())), "{key}");
        }
        check("Sales@Example.TEST", &["Bob@B.test"], Some(("sales@example.test", &["Bob@b.test"])));
        check("a+Tag@b.test", &[], Some(("a+tag@b.test", &[])));
        check(
            "@Old.test",
            &["@New.test", "x@y.test"],
            Some(("@old.test", &["@new.test", "x@y.test"])),
        );
        check("a@b.test", &["x@y.test", "X@y.test", "x@y.test"], Some(("a@b.test", &["x@y.test"])));
        check("\"a b\"@c.test", &["\"x y\"@z.test"], Some(("a b@c.test", &["\"x y\"@z.test"])));
        check("a@b.test", &["@new.test"], None);
        check("@", &["x@y.test"], None);
        check("@a@b.test", &["x@y.test"], None);
        check("", &["x@y.test"], None);
        check("a@b.test", &["x@y.test\nz@y.test"], None);
        check("a@b.test", &["|/bin/sh"], None);
        let many: Vec<String> = (0..=ALIAS_TARGETS).map(|n| format!("u{n}@b.test")).collect();
        assert!(PutAlias::new("a@b.test", &many).is_err());
        assert_eq!(PutAlias::new("a@b.test", &many[1..]).unwrap().targets.len(), ALIAS_TARGETS);
    }
}
