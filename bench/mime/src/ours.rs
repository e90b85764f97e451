//! mparser doing the same tasks.

use mparser::{Index, Message, PartKind};
use std::hint::black_box;

pub fn eager(raw: &[u8]) -> usize {
    let index = Index::of(raw);
    index.parts.len() + index.lines as usize
}

pub fn full(raw: &[u8]) -> usize {
    let letter = Message::parse(raw);
    let index = letter.index();
    let mut sum = headers_of(index);
    for (number, part) in index.parts.iter().enumerate() {
        sum += part.media_type.len();
        if part.kind != PartKind::Leaf {
            continue;
        }
        sum += part.filename().map_or(0, |name| name.len());
        sum += if part.media_type == "text" {
            black_box(letter.text(number)).len()
        } else {
            black_box(letter.bytes(number)).len()
        };
    }
    sum
}

fn headers_of(index: &Index) -> usize {
    index.subject().len()
        + index.from_().first().map_or(0, |f| f.address.len())
        + index.message_id().map_or(0, |id| id.len())
        + index.date().map_or(0, |d| d.day as usize & 1)
}

pub fn headers(raw: &[u8]) -> usize {
    headers_of(&Index::of(raw))
}

pub fn structure(raw: &[u8]) -> usize {
    let index = Index::of(raw);
    let parts = index.parts.iter();
    parts.map(|p| p.media_type.len() + p.lines as usize + p.filename().map_or(0, |n| n.len())).sum()
}

/// What IMAP's ENVELOPE and BODYSTRUCTURE print, from the stored form alone.
pub fn stored(bytes: &[u8]) -> usize {
    let Ok(index) = Index::decode(bytes) else {
        return 0;
    };
    let envelope = &index.envelope;
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc];
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let mut sum = text(&envelope.subject) + text(&envelope.date) + text(&envelope.message_id);
    for mailbox in lists.into_iter().flatten() {
        sum += text(&mailbox.name) + mailbox.local.len() + mailbox.domain.len();
    }
    for part in &index.parts {
        sum += part.media_type.len() + part.subtype.len() + part.encoding.name().len();
        sum += part.params.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        sum += text(&part.id) + text(&part.description) + text(&part.md5) + part.lines as usize;
        sum += part.disposition.as_ref().map_or(0, |(kind, params)| kind.len() + params.len());
    }
    sum
}
