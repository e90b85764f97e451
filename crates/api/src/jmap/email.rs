//! The properties of an email: one table, read by Email/get and checked against the schema.

use super::body::{Shape, Tree, attachments, part_object, structure};
use super::header::address_list;
use super::home::Home;
use super::ids::{self, Blob};
use schemars::JsonSchema;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use storage::Email;
use types::Date;

/// An email as Email/get sees it: what is stored beside the letter, and what was read for this call.
pub(crate) struct View<'a> {
    pub(crate) email: &'a Email,
    pub(crate) home: Home,
    pub(crate) tree: Tree<'a>,
    pub(crate) shape: Shape,
    pub(crate) part_properties: &'a [String],
    /// The header's bytes, when `headers` or a `header:` property is asked for.
    pub(crate) header: Option<bytes::Bytes>,
    pub(crate) body_values: Map<String, Value>,
    pub(crate) remote_images: bool,
}

/// One property.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    /// Given when a client names no properties (RFC 8621 §4.2).
    pub(crate) by_default: bool,
    pub(crate) value: fn(&View<'_>) -> Value,
}

/// Sorted by name.
#[rustfmt::skip]
pub(crate) static PROPERTIES: &[Property] = &[
    Property { name: "attachments", by_default: true, value: |v| attachments(&v.tree, &v.shape, v.email.id, v.part_properties) },
    Property { name: "bcc", by_default: true, value: |v| addresses(&v.email.index.bcc_()) },
    Property { name: "blobId", by_default: true, value: |v| ids::of_blob(v.email.id, Blob::Letter).into() },
    Property { name: "bodyStructure", by_default: false, value: |v| structure(&v.tree, v.email.id, 0, v.part_properties) },
    Property { name: "bodyValues", by_default: true, value: |v| v.body_values.clone().into() },
    Property { name: "cc", by_default: true, value: |v| addresses(&v.email.index.cc_()) },
    Property { name: "from", by_default: true, value: |v| addresses(&v.email.index.from_()) },
    Property { name: "hasAttachment", by_default: true, value: |v| v.email.index.has_attachments().into() },
    Property { name: "hasRemoteImages", by_default: false, value: |v| v.remote_images.into() },
    Property { name: "headers", by_default: false, value: |v| super::header::every(v.header.as_deref().unwrap_or_default()) },
    Property { name: "htmlBody", by_default: true, value: |v| v.parts(&v.shape.html) },
    Property { name: "id", by_default: true, value: |v| ids::of_email(v.email.id).into() },
    Property { name: "inReplyTo", by_default: true, value: |v| list(v.email.index.in_reply_to()) },
    Property { name: "keywords", by_default: true, value: |v| v.home.keyword_map() },
    Property { name: "mailboxIds", by_default: true, value: |v| v.home.mailbox_ids() },
    Property { name: "messageId", by_default: true, value: |v| list(v.email.index.message_id().into_iter().collect()) },
    Property { name: "preview", by_default: true, value: |v| v.email.index.preview.clone().into() },
    Property { name: "receivedAt", by_default: true, value: |v| Date::from_unix_s(v.email.received_unix_s).rfc3339().into() },
    Property { name: "references", by_default: true, value: |v| list(v.email.index.envelope.references.clone()) },
    Property { name: "replyTo", by_default: true, value: |v| addresses(&v.email.index.reply_to_()) },
    Property { name: "sender", by_default: true, value: |v| addresses(&v.email.index.sender_()) },
    Property { name: "sentAt", by_default: true, value: |v| v.email.index.date().map(Date::rfc3339).into() },
    Property { name: "size", by_default: true, value: |v| v.email.size_bytes.into() },
    Property { name: "subject", by_default: true, value: subject },
    Property { name: "textBody", by_default: true, value: |v| v.parts(&v.shape.text) },
    Property { name: "threadId", by_default: true, value: |v| ids::of_thread(v.email.thread).into() },
    Property { name: "to", by_default: true, value: |v| addresses(&v.email.index.to_()) },
];

pub(crate) fn find(name: &str) -> Option<&'static Property> {
    PROPERTIES.binary_search_by(|row| row.name.cmp(name)).ok().and_then(|at| PROPERTIES.get(at))
}

impl View<'_> {
    fn parts(&self, parts: &[usize]) -> Value {
        let object = |&at: &usize| part_object(&self.tree, self.email.id, at, self.part_properties);
        parts.iter().map(object).collect()
    }
}

fn subject(view: &View<'_>) -> Value {
    let there = view.email.index.envelope.subject.is_some();
    there.then(|| view.email.index.subject()).into()
}

fn addresses(list: &[mparser::NamedAddress]) -> Value {
    if list.is_empty() {
        return Value::Null;
    }
    address_list(list)
}

fn list(values: Vec<String>) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    values.into()
}

/// What the schema shows (RFC 8621 §4.1). `header:Name:asForm` properties can be asked for too.
#[derive(JsonSchema)]
#[schemars(rename = "Email", rename_all = "camelCase")]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct EmailObject {
    attachments: Option<Vec<EmailBodyPart>>,
    bcc: Option<Vec<EmailAddress>>,
    blob_id: Option<String>,
    body_structure: Option<EmailBodyPart>,
    /// Decoded text by part id.
    body_values: Option<BTreeMap<String, EmailBodyValue>>,
    cc: Option<Vec<EmailAddress>>,
    from: Option<Vec<EmailAddress>>,
    has_attachment: Option<bool>,
    /// The HTML asks for something on other servers. Not in RFC 8621.
    has_remote_images: Option<bool>,
    headers: Option<Vec<EmailHeader>>,
    html_body: Option<Vec<EmailBodyPart>>,
    id: Option<String>,
    in_reply_to: Option<Vec<String>>,
    keywords: Option<BTreeMap<String, bool>>,
    mailbox_ids: Option<BTreeMap<String, bool>>,
    message_id: Option<Vec<String>>,
    preview: Option<String>,
    received_at: Option<String>,
    references: Option<Vec<String>>,
    reply_to: Option<Vec<EmailAddress>>,
    sender: Option<Vec<EmailAddress>>,
    sent_at: Option<String>,
    /// Bytes of the letter.
    size: Option<u32>,
    subject: Option<String>,
    text_body: Option<Vec<EmailBodyPart>>,
    thread_id: Option<String>,
    to: Option<Vec<EmailAddress>>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct EmailAddress {
    name: Option<String>,
    email: String,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct EmailHeader {
    name: String,
    value: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct EmailBodyPart {
    /// `null` for a multipart.
    part_id: Option<String>,
    blob_id: Option<String>,
    /// Bytes after decoding; for base64 up to 2 too many.
    size: Option<u32>,
    name: Option<String>,
    #[schemars(rename = "type")]
    kind: Option<String>,
    charset: Option<String>,
    disposition: Option<String>,
    cid: Option<String>,
    language: Option<Vec<String>>,
    location: Option<String>,
    sub_parts: Option<Vec<EmailBodyPart>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "the shape of the schema")]
pub(crate) struct EmailBodyValue {
    value: String,
    is_encoding_problem: bool,
    is_truncated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_the_schema_shows_it() {
        assert!(PROPERTIES.is_sorted_by(|a, b| a.name < b.name));
        let schema = schemars::schema_for!(EmailObject);
        let shown = schema.get("properties").and_then(Value::as_object).unwrap();
        let shown: Vec<&str> = shown.keys().map(String::as_str).collect();
        let rows: Vec<&str> = PROPERTIES.iter().map(|p| p.name).collect();
        assert_eq!(shown, rows);
        let schema = schemars::schema_for!(EmailBodyPart);
        let shown = schema.get("properties").and_then(Value::as_object).unwrap();
        let shown: Vec<&str> = shown.keys().map(String::as_str).collect();
        assert_eq!(shown, crate::jmap::body::PART_PROPERTIES);
    }
}
