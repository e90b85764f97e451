//! Email/query: ids of emails that meet a filter, sorted, a window of them (RFC 8621 §4.4).

use super::{Answer, Context, arguments, value};
use crate::jmap::filter::EmailFilter;
use crate::jmap::query::{Hit, hits};
use crate::jmap::{filter, ids, state};
use crate::{Error, Result, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use storage::Email;
use types::{AccountId, EmailId};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Params {
    account_id: String,
    #[serde(default)]
    #[schemars(with = "Option<EmailFilter>")]
    filter: Option<Value>,
    /// Newest first when there is none.
    #[serde(default)]
    sort: Option<Vec<Comparator>>,
    /// Where the window begins; below 0: from the end.
    #[serde(default)]
    position: i64,
    /// The window begins at this email instead.
    #[serde(default)]
    anchor: Option<String>,
    #[serde(default)]
    anchor_offset: i64,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    calculate_total: bool,
    /// Only the first email of each conversation.
    #[serde(default)]
    collapse_threads: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Comparator {
    /// `receivedAt`, `sentAt`, `size`, `from`, `to` or `subject`.
    property: String,
    #[serde(default = "yes")]
    is_ascending: bool,
    /// None but the default (`i;unicode-casemap`) is known.
    #[serde(default)]
    collation: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    account_id: String,
    query_state: String,
    can_calculate_changes: bool,
    position: usize,
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<usize>,
    /// Given when the server gives fewer than were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
}

pub(crate) fn run(ctx: &Context, params: Map<String, Value>) -> Answer<'_> {
    Box::pin(async move {
        let params: Params = arguments(params)?;
        let account = ctx.own(&params.account_id)?;
        let filter = filter::parse(params.filter.as_ref())?;
        let keys = keys(params.sort.as_deref())?;
        // The state is read first: what changes meanwhile is told once too often, never once too little.
        let query_state = state::now(ctx.store(), account).await?;
        let mut found = hits(ctx.store(), account, &filter).await?;
        sort(ctx, account, &mut found, &keys).await?;
        if params.collapse_threads {
            found = first_of_threads(ctx, account, found).await?;
        }
        let asked = params.limit.unwrap_or(usize::MAX);
        let limit = asked.min(limits::QUERY_IDS);
        let position = start(&params, &found)?;
        let window = found.iter().skip(position).take(limit);
        value(Found {
            account_id: params.account_id,
            query_state,
            can_calculate_changes: false,
            position,
            ids: window.map(|hit| ids::of_email(hit.email)).collect(),
            total: params.calculate_total.then_some(found.len()),
            limit: (limit < asked).then_some(limit),
        })
    })
}

/// Where the window begins (RFC 8620 §5.5).
fn start(params: &Params, found: &[Hit]) -> Result<usize> {
    let len = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let at = match &params.anchor {
        Some(anchor) => {
            let email = ids::email(anchor).ok_or(Error::NoAnchor)?;
            let at = found.iter().position(|hit| hit.email == email);
            let at = i64::try_from(at.ok_or(Error::NoAnchor)?).unwrap_or(i64::MAX);
            at.saturating_add(params.anchor_offset)
        }
        None if params.position < 0 => len.saturating_add(params.position),
        None => params.position,
    };
    Ok(usize::try_from(at.max(0)).unwrap_or(usize::MAX))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    ReceivedAt,
    Size,
    SentAt,
    From,
    To,
    Subject,
}

/// The key, and whether it ascends.
type Keys = Vec<(Key, bool)>;

fn keys(sort: Option<&[Comparator]>) -> Result<Keys> {
    let Some(sort) = sort.filter(|s| !s.is_empty()) else {
        return Ok(vec![(Key::ReceivedAt, false)]);
    };
    if sort.len() > limits::SORT_KEYS {
        return Err(Error::UnsupportedSort("so many keys".to_owned()));
    }
    sort.iter()
        .map(|by| {
            let key = match by.property.as_str() {
                "receivedAt" => Key::ReceivedAt,
                "size" => Key::Size,
                "sentAt" => Key::SentAt,
                "from" => Key::From,
                "to" => Key::To,
                "subject" => Key::Subject,
                other => return Err(Error::UnsupportedSort(other.chars().take(60).collect())),
            };
            match by.collation.as_deref() {
                None | Some("i;unicode-casemap") => Ok((key, by.is_ascending)),
                Some(other) => {
                    let shown: String = other.chars().take(60).collect();
                    Err(Error::UnsupportedSort(format!("collation {shown}")))
                }
            }
        })
        .collect()
}

/// What the letters say, for keys that rows do not have.
#[derive(Default)]
struct Texts {
    sent_unix_s: i64,
    from: String,
    to: String,
    subject: String,
}

async fn sort(ctx: &Context, account: AccountId, found: &mut [Hit], keys: &Keys) -> Result<()> {
    let by_text = |key: &Key| !matches!(key, Key::ReceivedAt | Key::Size);
    let mut texts: HashMap<EmailId, Texts> = HashMap::new();
    if keys.iter().any(|(key, _)| by_text(key)) {
        if found.len() > limits::SORTED_BY_TEXT {
            let reason = "anything but date and size in so many emails";
            return Err(Error::UnsupportedSort(reason.to_owned()));
        }
        for email in emails(ctx, account, found).await? {
            texts.insert(email.id, texts_of(&email));
        }
    }
    let none = Texts::default();
    found.sort_unstable_by(|a, b| {
        let (ta, tb) = (texts.get(&a.email).unwrap_or(&none), texts.get(&b.email).unwrap_or(&none));
        let by = |&(key, ascending): &(Key, bool)| {
            let order = match key {
                Key::ReceivedAt => a.received_unix_s.cmp(&b.received_unix_s),
                Key::Size => a.size_bytes.cmp(&b.size_bytes),
                Key::SentAt => ta.sent_unix_s.cmp(&tb.sent_unix_s),
                Key::From => ta.from.cmp(&tb.from),
                Key::To => ta.to.cmp(&tb.to),
                Key::Subject => ta.subject.cmp(&tb.subject),
            };
            if ascending { order } else { order.reverse() }
        };
        // Of equal ones the newest first, so that the order is the same each time.
        keys.iter().map(by).find(|o| *o != Ordering::Equal).unwrap_or_else(|| b.email.cmp(&a.email))
    });
    Ok(())
}

fn texts_of(email: &Email) -> Texts {
    let index = &email.index;
    let first = |list: Vec<mparser::NamedAddress>| {
        let first = list.into_iter().next().unwrap_or_default();
        first.name.unwrap_or(first.address).to_lowercase()
    };
    Texts {
        sent_unix_s: index.date().map_or(email.received_unix_s, types::Date::to_unix_s),
        from: first(index.from_()),
        to: first(index.to_()),
        subject: base_subject(&index.subject()).to_lowercase(),
    }
}

/// The subject without `Re:` and its like in front (a plain form of RFC 5256 §2.1).
fn base_subject(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some((head, tail)) = rest.split_once(':') {
        let word = head.trim();
        let known = ["re", "fw", "fwd", "odp", "pd"];
        if !known.iter().any(|k| word.eq_ignore_ascii_case(k)) {
            break;
        }
        rest = tail.trim_start();
    }
    rest
}

async fn first_of_threads(ctx: &Context, account: AccountId, found: Vec<Hit>) -> Result<Vec<Hit>> {
    let emails = emails(ctx, account, &found).await?;
    let threads: HashMap<EmailId, _> = emails.iter().map(|e| (e.id, e.thread)).collect();
    let mut seen = HashSet::new();
    let first = |hit: &Hit| threads.get(&hit.email).is_none_or(|t| seen.insert(*t));
    Ok(found.into_iter().filter(first).collect())
}

async fn emails(ctx: &Context, account: AccountId, hits: &[Hit]) -> Result<Vec<Arc<Email>>> {
    let ids: Vec<EmailId> = hits.iter().map(|hit| hit.email).collect();
    Ok(ctx.store().emails(account, &ids).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        #[track_caller]
        fn check(subject: &str, expect: &str) {
            assert_eq!(base_subject(subject), expect);
        }
        check("Re: RE : fwd:Odp: hello", "hello");
        check("Report: hello", "Report: hello");
        check("re:", "");
        check("", "");
    }
}
