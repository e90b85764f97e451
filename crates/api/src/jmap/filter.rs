//! Filters of Email/query as a client writes them (RFC 8621 §4.4.1), checked and bounded.

use super::ids;
use crate::{Error, Result, limits};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use storage::Query;
use types::{Date, MailboxId};

/// A condition, or an operator over conditions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    /// None of them (RFC 8620 §5.5).
    Not(Vec<Filter>),
    /// Told by the letter alone, the same in every mailbox.
    Letter(Query),
    InMailbox(Option<MailboxId>),
    /// In at least one mailbox that is not among these.
    InMailboxOtherThan(Vec<MailboxId>),
    HasKeyword(String),
}

/// What the schema shows.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) enum EmailFilter {
    Operator(FilterOperator),
    Condition(Box<EmailFilterCondition>),
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct FilterOperator {
    operator: Operator,
    conditions: Vec<EmailFilter>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) enum Operator {
    And,
    Or,
    Not,
}

/// All that are given must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EmailFilterCondition {
    in_mailbox: Option<String>,
    in_mailbox_other_than: Option<Vec<String>>,
    /// Received before, as `2026-11-22T18:00:00Z`.
    before: Option<String>,
    /// Received at this time or after.
    after: Option<String>,
    /// Bytes, at least.
    min_size: Option<u32>,
    /// Bytes, below.
    max_size: Option<u32>,
    has_keyword: Option<String>,
    not_keyword: Option<String>,
    has_attachment: Option<bool>,
    /// In the header or the body.
    text: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cc: Option<String>,
    bcc: Option<String>,
    subject: Option<String>,
    body: Option<String>,
    /// A field's name, and perhaps a text in it.
    header: Option<Vec<String>>,
}

const CONDITIONS: [&str; 17] = [
    "after",
    "bcc",
    "before",
    "body",
    "cc",
    "from",
    "hasAttachment",
    "hasKeyword",
    "header",
    "inMailbox",
    "inMailboxOtherThan",
    "maxSize",
    "minSize",
    "notKeyword",
    "subject",
    "text",
    "to",
];

/// Reads a filter; `null` and `{}` hold for every email.
pub(crate) fn parse(filter: Option<&Value>) -> Result<Filter> {
    let mut nodes = limits::FILTER_NODES;
    match filter {
        None | Some(Value::Null) => Ok(Filter::And(Vec::new())),
        Some(value) => node(value, "filter", limits::FILTER_DEPTH, &mut nodes),
    }
}

fn node(value: &Value, path: &str, depth: usize, nodes: &mut usize) -> Result<Filter> {
    let too_large = || Error::UnsupportedFilter(format!("so many conditions at once, at {path}"));
    *nodes = nodes.checked_sub(1).ok_or_else(too_large)?;
    let object = value.as_object().ok_or_else(|| Error::argument(path, "must be an object"))?;
    let Some(operator) = object.get("operator") else {
        return condition(value, path);
    };
    let depth = depth.checked_sub(1).ok_or_else(too_large)?;
    if let Some(other) = object.keys().find(|k| !matches!(k.as_str(), "operator" | "conditions")) {
        return Err(Error::argument(format!("{path}.{other}"), "is unknown"));
    }
    let conditions = object
        .get("conditions")
        .and_then(Value::as_array)
        .ok_or_else(|| Error::argument(format!("{path}.conditions"), "must be a list"))?;
    let inner = conditions
        .iter()
        .enumerate()
        .map(|(i, c)| node(c, &format!("{path}.conditions[{i}]"), depth, nodes))
        .collect::<Result<Vec<_>>>()?;
    match operator.as_str() {
        Some("AND") => Ok(Filter::And(inner)),
        Some("OR") => Ok(Filter::Or(inner)),
        Some("NOT") => Ok(Filter::Not(inner)),
        _ => Err(Error::argument(format!("{path}.operator"), "must be AND, OR or NOT")),
    }
}

fn condition(value: &Value, path: &str) -> Result<Filter> {
    if let Some(key) =
        value.as_object().and_then(|o| o.keys().find(|k| !CONDITIONS.contains(&k.as_str())))
    {
        let shown: String = key.chars().take(60).collect();
        return Err(Error::UnsupportedFilter(shown));
    }
    let c: EmailFilterCondition = serde_path_to_error::deserialize(value)
        .map_err(|e| Error::argument(format!("{path}.{}", e.path()), e.inner().to_string()))?;
    let mut all = Vec::new();
    where_it_is(&c, &mut all)?;
    when_and_how_large(&c, path, &mut all)?;
    let texts = [
        (c.text, Query::Text as fn(String) -> Query),
        (c.from, Query::From),
        (c.to, Query::To),
        (c.cc, Query::Cc),
        (c.bcc, Query::Bcc),
        (c.subject, Query::Subject),
        (c.body, Query::Body),
    ];
    for (text, query) in texts {
        all.extend(text.map(query).map(Filter::Letter));
    }
    if let Some(header) = c.header {
        let mut header = header.into_iter();
        let (Some(name), text, None) = (header.next(), header.next(), header.next()) else {
            let reason = "must be a field's name and perhaps a text";
            return Err(Error::argument(format!("{path}.header"), reason));
        };
        let query = Query::Header(name, text.unwrap_or_default());
        all.push(Filter::Letter(query));
    }
    Ok(Filter::And(all))
}

fn where_it_is(c: &EmailFilterCondition, all: &mut Vec<Filter>) -> Result<()> {
    if let Some(id) = &c.in_mailbox {
        all.push(Filter::InMailbox(ids::mailbox(id)));
    }
    if let Some(others) = &c.in_mailbox_other_than {
        if others.len() > limits::FILTER_NODES {
            return Err(Error::UnsupportedFilter("so many mailboxes".to_owned()));
        }
        let known = others.iter().filter_map(|id| ids::mailbox(id));
        all.push(Filter::InMailboxOtherThan(known.collect()));
    }
    if let Some(keyword) = &c.has_keyword {
        all.push(Filter::HasKeyword(keyword.to_ascii_lowercase()));
    }
    if let Some(keyword) = &c.not_keyword {
        let has = Filter::HasKeyword(keyword.to_ascii_lowercase());
        all.push(Filter::Not(vec![has]));
    }
    Ok(())
}

fn when_and_how_large(c: &EmailFilterCondition, path: &str, all: &mut Vec<Filter>) -> Result<()> {
    let time = |text: &str, name: &str| {
        utc_date(text).ok_or_else(|| {
            let reason = "must be a date like 2026-11-22T18:00:00Z";
            Error::argument(format!("{path}.{name}"), reason)
        })
    };
    let mut letter = |query| all.push(Filter::Letter(query));
    if let Some(text) = &c.before {
        letter(Query::Received(i64::MIN, time(text, "before")?));
    }
    if let Some(text) = &c.after {
        letter(Query::Received(time(text, "after")?, i64::MAX));
    }
    if let Some(size) = c.min_size.filter(|n| *n > 0) {
        letter(Query::Larger(size - 1));
    }
    if let Some(size) = c.max_size {
        letter(Query::Smaller(size));
    }
    match c.has_attachment {
        Some(true) => letter(Query::HasAttachment),
        Some(false) => letter(Query::Not(Box::new(Query::HasAttachment))),
        None => {}
    }
    Ok(())
}

/// `UTCDate` of RFC 8620 §1.4, as Unix seconds; a fraction is left aside.
///
/// ```text
/// date-time = 4DIGIT "-" 2DIGIT "-" 2DIGIT "T" 2DIGIT ":" 2DIGIT ":" 2DIGIT ["." 1*DIGIT] "Z"
/// ```
fn utc_date(text: &str) -> Option<i64> {
    let rest = text.strip_suffix('Z')?;
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 19 || !digits(fraction) {
        return None;
    }
    let field = |from: usize, to: usize| whole.get(from..to).filter(|s| digits(s));
    for (at, mark) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")] {
        if whole.get(at..=at) != Some(mark) {
            return None;
        }
    }
    let small = |from| field(from, from + 2)?.parse().ok();
    let date = Date {
        year: field(0, 4)?.parse().ok()?,
        month: small(5)?,
        day: small(8)?,
        hour: small(11)?,
        minute: small(14)?,
        second: small(17)?,
        offset_minutes: 0,
    };
    date.is_valid().then(|| date.to_unix_s())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn read() {
        #[track_caller]
        fn check(filter: &Value, expect: &Filter) {
            assert_eq!(parse(Some(filter)).unwrap(), *expect);
        }
        let has = |k: &str| Filter::HasKeyword(k.to_owned());
        check(&json!({}), &Filter::And(vec![]));
        check(
            &json!({"inMailbox": "m3", "notKeyword": "$Seen"}),
            &Filter::And(vec![
                Filter::InMailbox(Some(MailboxId(3))),
                Filter::Not(vec![has("$seen")]),
            ]),
        );
        check(
            &json!({"operator": "NOT", "conditions": [{"hasKeyword": "a"}, {"minSize": 0}]}),
            &Filter::Not(vec![Filter::And(vec![has("a")]), Filter::And(vec![])]),
        );
        check(
            &json!({"before": "1970-01-01T00:01:00Z", "minSize": 10, "header": ["X-A"]}),
            &Filter::And(vec![
                Filter::Letter(Query::Received(i64::MIN, 60)),
                Filter::Letter(Query::Larger(9)),
                Filter::Letter(Query::Header("X-A".into(), String::new())),
            ]),
        );
    }

    #[test]
    fn refused_by_name() {
        #[track_caller]
        fn check(filter: &Value, expect: &str) {
            let error = parse(Some(filter)).unwrap_err();
            let kind = crate::reply::kind(&error);
            let shown = format!("{kind} {error}");
            assert!(shown.starts_with(expect), "{shown}");
        }
        check(&json!(7), "invalidArguments filter: ");
        check(&json!({"colour": "red"}), "unsupportedFilter filtering is not possible by colour");
        check(&json!({"minSize": "x"}), "invalidArguments filter.minSize: ");
        check(&json!({"after": "yesterday"}), "invalidArguments filter.after: ");
        check(&json!({"operator": "XOR", "conditions": []}), "invalidArguments filter.operator: ");
        check(&json!({"operator": "OR"}), "invalidArguments filter.conditions: ");
        let nested = json!({"operator": "AND", "conditions": [{}, {"maxSize": -1}]});
        check(&nested, "invalidArguments filter.conditions[1].maxSize: ");
        let mut deep = json!({});
        for _ in 0..20 {
            deep = json!({"operator": "NOT", "conditions": [deep]});
        }
        check(&deep, "unsupportedFilter");
        let wide = json!({"operator": "OR", "conditions": vec![json!({}); 1000]});
        check(&wide, "unsupportedFilter");
    }

    #[test]
    fn dates() {
        assert_eq!(utc_date("1970-01-02T00:00:00Z"), Some(86_400));
        assert_eq!(utc_date("1970-01-01T00:00:01.25Z"), Some(1));
        for bad in [
            "",
            "1970-01-02",
            "1970-01-02T00:00:00",
            "1970-01-02T00:00:00+01:00",
            "1970-13-02T00:00:00Z",
            "1970-01-02T00:00:00.Z",
            "1970-01-02 00:00:00Z",
            "+970-01-02T00:00:00Z",
            "１970-01-02T00:00:0Z",
        ] {
            assert_eq!(utc_date(bad), None, "{bad}");
        }
    }
}
