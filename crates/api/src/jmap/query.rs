//! Which emails meet a filter: the letter's part is asked of the store, mailbox by mailbox; what concerns
//! several mailboxes at once is worked out on sets of emails.

use super::filter::Filter;
use super::home::{Mark, mark};
use crate::Result;
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use storage::{Entry, Mailbox, Query, Store, View};
use types::{AccountId, EmailId, Flag, MailboxId, UidSet};

/// An email that meets the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) email: EmailId,
    pub(crate) received_unix_s: i64,
    pub(crate) size_bytes: u32,
}

/// All emails of the account that meet the filter, in no particular order, each once.
pub(crate) async fn hits(store: &Store, account: AccountId, filter: &Filter) -> Result<Vec<Hit>> {
    let mailboxes = store.mailboxes(account).await?;
    let only = only_mailbox(filter);
    let inside: Vec<&Mailbox> =
        mailboxes.iter().filter(|m| only.is_none_or(|id| id == m.id)).collect();
    let plan = Planner { store, account, mailboxes: &mailboxes, only };
    let plan = plan.plan(filter).await?;
    let mut found: HashMap<EmailId, Hit> = HashMap::new();
    for mailbox in inside {
        let hits = hits_in(store, account, mailbox.id, &plan).await?;
        found.reserve(hits.len());
        for hit in hits {
            found.entry(hit.email).or_insert(hit);
        }
    }
    Ok(found.into_values().collect())
}

/// The mailbox all hits must be in, when the filter says so at its top.
fn only_mailbox(filter: &Filter) -> Option<MailboxId> {
    match filter {
        // One that does not exist is answered by the plan: nothing is in it.
        Filter::InMailbox(id) => *id,
        Filter::And(all) => all.iter().find_map(only_mailbox),
        _ => None,
    }
}

/// A filter ready to be applied to the rows of one mailbox.
enum Plan {
    /// Told by the row and its letter.
    Row(Query),
    Emails(Arc<HashSet<EmailId>>),
    And(Vec<Plan>),
    Or(Vec<Plan>),
    Not(Box<Plan>),
}

struct Planner<'a> {
    store: &'a Store,
    account: AccountId,
    mailboxes: &'a [Mailbox],
    only: Option<MailboxId>,
}

type Planned<'a> = Pin<Box<dyn Future<Output = Result<Plan>> + Send + 'a>>;

impl Planner<'_> {
    /// Depth is bounded by the filter's.
    fn plan<'a>(&'a self, filter: &'a Filter) -> Planned<'a> {
        Box::pin(async move {
            Ok(match filter {
                Filter::And(inner) => all(self.each(inner).await?),
                Filter::Or(inner) => any(self.each(inner).await?),
                Filter::Not(inner) => not(any(self.each(inner).await?)),
                Filter::Letter(query) => Plan::Row(query.clone()),
                Filter::InMailbox(None) => nothing(),
                Filter::InMailbox(Some(id)) if self.only == Some(*id) => Plan::Row(Query::All),
                Filter::InMailbox(Some(id)) => self.in_any(|m| m == *id).await?,
                Filter::InMailboxOtherThan(others) => match self.only {
                    Some(id) if !others.contains(&id) => Plan::Row(Query::All),
                    _ => self.in_any(|m| !others.contains(&m)).await?,
                },
                Filter::HasKeyword(name) => self.keyword(name).await?,
            })
        })
    }

    async fn each(&self, filters: &[Filter]) -> Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(filters.len());
        for filter in filters {
            plans.push(self.plan(filter).await?);
        }
        Ok(plans)
    }

    async fn in_any(&self, wanted: impl Fn(MailboxId) -> bool) -> Result<Plan> {
        let mut emails = HashSet::new();
        for mailbox in self.mailboxes.iter().filter(|m| wanted(m.id)) {
            let view = self.store.view(self.account, mailbox.id).await?;
            emails.extend(view.entries().map(|entry| entry.email));
        }
        Ok(Plan::Emails(Arc::new(emails)))
    }

    /// Inside one mailbox the copy there decides; else any copy, and for `$seen` every copy.
    async fn keyword(&self, name: &str) -> Result<Plan> {
        let query = match mark(name) {
            None => return Ok(nothing()),
            Some(Mark::Flag(flag)) => Query::Flag(flag),
            Some(Mark::Keyword(keyword)) => Query::Keyword(keyword.as_str().to_owned()),
        };
        if self.only.is_some() {
            return Ok(Plan::Row(query));
        }
        let seen = query == Query::Flag(Flag::Seen);
        let asked = if seen { Query::Not(Box::new(query)) } else { query };
        let mut emails = HashSet::new();
        for mailbox in self.mailboxes {
            let found = self.store.search(self.account, mailbox.id, asked.clone());
            emails.extend(found.await?.iter().map(|row| row.email));
        }
        let emails = Plan::Emails(Arc::new(emails));
        Ok(if seen { not(emails) } else { emails })
    }
}

fn nothing() -> Plan {
    Plan::Row(Query::Not(Box::new(Query::All)))
}

/// Joins what the store can answer into one question.
fn all(plans: Vec<Plan>) -> Plan {
    let (rows, mut rest) = split(plans);
    if rest.is_empty() {
        return Plan::Row(joined(rows, Query::And));
    }
    if !rows.is_empty() {
        rest.push(Plan::Row(joined(rows, Query::And)));
    }
    Plan::And(rest)
}

fn any(plans: Vec<Plan>) -> Plan {
    if plans.is_empty() {
        return nothing();
    }
    let (rows, mut rest) = split(plans);
    if rest.is_empty() {
        return Plan::Row(joined(rows, Query::Or));
    }
    if !rows.is_empty() {
        rest.push(Plan::Row(joined(rows, Query::Or)));
    }
    Plan::Or(rest)
}

fn not(plan: Plan) -> Plan {
    match plan {
        Plan::Row(query) => Plan::Row(Query::Not(Box::new(query))),
        other => Plan::Not(Box::new(other)),
    }
}

fn split(plans: Vec<Plan>) -> (Vec<Query>, Vec<Plan>) {
    let mut rows = Vec::new();
    let mut rest = Vec::new();
    for plan in plans {
        match plan {
            Plan::Row(Query::And(inner)) if inner.is_empty() => rows.push(Query::All),
            Plan::Row(query) => rows.push(query),
            other => rest.push(other),
        }
    }
    (rows, rest)
}

fn joined(mut queries: Vec<Query>, join: fn(Vec<Query>) -> Query) -> Query {
    match queries.len() {
        0 => Query::All,
        1 => queries.pop().unwrap_or(Query::All),
        _ => join(queries),
    }
}

/// The messages of a mailbox that meet the plan.
async fn hits_in(
    store: &Store,
    account: AccountId,
    mailbox: MailboxId,
    plan: &Plan,
) -> Result<Vec<Hit>> {
    if let Plan::Row(query) = plan
        && *query != Query::All
    {
        let rows = store.search(account, mailbox, query.clone()).await?;
        return Ok(rows
            .into_iter()
            .map(|row| hit(row.email, row.received_unix_s, row.size_bytes))
            .collect());
    }
    let view = store.view(account, mailbox).await?;
    let of = |entry: Entry<'_>| hit(entry.email, entry.received_unix_s, entry.size_bytes);
    if matches!(plan, Plan::Row(_)) {
        return Ok(view.entries().map(of).collect());
    }
    let mask = At { store, account, mailbox, view: &view }.mask(plan).await?;
    let kept = view.entries().zip(mask).filter(|(_, keep)| *keep);
    Ok(kept.map(|(entry, _)| of(entry)).collect())
}

fn hit(email: EmailId, received_unix_s: i64, size_bytes: u32) -> Hit {
    Hit { email, received_unix_s, size_bytes }
}

struct At<'a> {
    store: &'a Store,
    account: AccountId,
    mailbox: MailboxId,
    view: &'a View,
}

type Mask<'a> = Pin<Box<dyn Future<Output = Result<Vec<bool>>> + Send + 'a>>;

impl At<'_> {
    /// One truth for each row.
    fn mask<'a>(&'a self, plan: &'a Plan) -> Mask<'a> {
        Box::pin(async move {
            Ok(match plan {
                Plan::Row(Query::All) => vec![true; self.view.len()],
                Plan::Row(query) => {
                    let found =
                        self.store.search(self.account, self.mailbox, query.clone()).await?;
                    let uids: UidSet = found.iter().map(|row| row.uid).collect();
                    self.view.uids().iter().map(|uid| uids.contains(*uid)).collect()
                }
                Plan::Emails(set) => {
                    self.view.entries().map(|entry| set.contains(&entry.email)).collect()
                }
                Plan::And(plans) => self.merge(plans, true, |a, b| a && b).await?,
                Plan::Or(plans) => self.merge(plans, false, |a, b| a || b).await?,
                Plan::Not(plan) => self.mask(plan).await?.into_iter().map(|b| !b).collect(),
            })
        })
    }

    async fn merge(
        &self,
        plans: &[Plan],
        start: bool,
        with: fn(bool, bool) -> bool,
    ) -> Result<Vec<bool>> {
        let mut sum = vec![start; self.view.len()];
        for plan in plans {
            let mask = self.mask(plan).await?;
            for (total, one) in sum.iter_mut().zip(mask) {
                *total = with(*total, one);
            }
        }
        Ok(sum)
    }
}
