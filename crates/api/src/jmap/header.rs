//! `header:Name:asForm:all` properties (RFC 8621 §4.1.3): one field of the header, raw or read.

use mparser::{NamedAddress, decode_header_text, parse_addresses, parse_date, unfold};
use serde_json::{Value, json};
use types::Date;

/// How a field's value is read.
type Form = fn(&[u8]) -> Value;

/// The table of forms.
static FORMS: &[(&str, Form)] = &[
    ("asAddresses", addresses),
    ("asDate", date),
    ("asMessageIds", message_ids),
    ("asRaw", raw),
    ("asText", text),
    ("asURLs", urls),
];

/// A property name taken apart.
#[derive(Clone)]
pub(crate) struct Wanted {
    /// As the client wrote it; the answer uses the same.
    pub(crate) property: String,
    name: String,
    form: Form,
    all: bool,
}

/// `None` when it is no header property, or one with an unknown form.
pub(crate) fn wanted(property: &str) -> Option<Wanted> {
    let rest = property.strip_prefix("header:")?;
    let mut words = rest.split(':');
    let name = words.next().filter(|n| is_field_name(n))?.to_owned();
    let mut form: Form = raw;
    let mut all = false;
    for (at, word) in words.enumerate() {
        match FORMS.iter().find(|(n, _)| *n == word) {
            Some((_, read)) if at == 0 => form = *read,
            None if word == "all" && !all => all = true,
            _ => return None,
        }
    }
    Some(Wanted { property: property.to_owned(), name, form, all })
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

impl Wanted {
    /// From the bytes of a header. Of several fields the last counts, as the RFC says.
    pub(crate) fn value(&self, header: &[u8]) -> Value {
        let range = 0..u32::try_from(header.len()).unwrap_or(u32::MAX);
        let fields = mparser::header_fields(header, range)
            .filter(|f| f.name.eq_ignore_ascii_case(self.name.as_bytes()));
        if self.all {
            return fields.map(|f| (self.form)(f.value)).collect();
        }
        fields.last().map_or(Value::Null, |f| (self.form)(f.value))
    }
}

/// `headers`: every field, raw, in order.
pub(crate) fn every(header: &[u8]) -> Value {
    let range = 0..u32::try_from(header.len()).unwrap_or(u32::MAX);
    mparser::header_fields(header, range)
        .map(|f| json!({"name": String::from_utf8_lossy(f.name), "value": raw(f.value)}))
        .collect()
}

fn raw(value: &[u8]) -> Value {
    String::from_utf8_lossy(value).replace('\0', "").into()
}

fn text(value: &[u8]) -> Value {
    decode_header_text(&unfold(value)).trim().into()
}

fn addresses(value: &[u8]) -> Value {
    address_list(&NamedAddress::list(&parse_addresses(value)))
}

/// `[{name, email}]`
pub(crate) fn address_list(list: &[NamedAddress]) -> Value {
    list.iter().map(|a| json!({"name": a.name, "email": a.address})).collect()
}

fn date(value: &[u8]) -> Value {
    parse_date(value).map(Date::rfc3339).into()
}

fn message_ids(value: &[u8]) -> Value {
    null_if_empty(between_angles(value))
}

fn urls(value: &[u8]) -> Value {
    null_if_empty(between_angles(value))
}

fn null_if_empty(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

/// What stands between `<` and `>`, white space left out.
fn between_angles(value: &[u8]) -> Vec<String> {
    let value = String::from_utf8_lossy(value);
    value
        .split('<')
        .skip(1)
        .filter_map(|piece| piece.split_once('>'))
        .map(|(inner, _)| inner.split_ascii_whitespace().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"Subject: =?utf-8?Q?Cze=C5=9B=C4=87?=\r\n a\r\nReceived: one\r\n\
        Received: two\r\nFrom: Ala <ala@example.test>, b@example.test\r\nReferences: <a@x>\r\n <b@x>\r\n\
        Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nList-Unsubscribe: <https://example.test/u>, <mailto:u@example.test>\r\n\r\n";

    #[test]
    fn forms() {
        #[track_caller]
        fn check(property: &str, expect: &Value) {
            assert_eq!(wanted(property).unwrap().value(HEADER), *expect, "{property}");
        }
        check("header:Subject:asText", &json!("Cześć a"));
        check("header:subject", &json!(" =?utf-8?Q?Cze=C5=9B=C4=87?=\r\n a"));
        check("header:Received:asText:all", &json!(["one", "two"]));
        check("header:Received:all", &json!([" one", " two"]));
        check("header:Received:asRaw", &json!(" two"));
        check("header:X-None:asText", &Value::Null);
        check("header:X-None:all", &json!([]));
        check(
            "header:From:asAddresses",
            &json!([{"name": "Ala", "email": "ala@example.test"}, {"name": null, "email": "b@example.test"}]),
        );
        check("header:References:asMessageIds", &json!(["a@x", "b@x"]));
        check("header:Date:asDate", &json!("1970-01-01T00:00:00Z"));
        check(
            "header:List-Unsubscribe:asURLs",
            &json!(["https://example.test/u", "mailto:u@example.test"]),
        );
    }

    #[test]
    fn what_is_no_header_property() {
        for bad in [
            "header:",
            "header:A B",
            "header:A:asNonsense",
            "header:A:all:asText",
            "header:A:all:all",
            "header:A:",
            "Header:A",
        ] {
            assert!(wanted(bad).is_none(), "{bad}");
        }
    }
}
