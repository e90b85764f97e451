//! mparser doing the same tasks.

use mparser::{Index, PartKind, View};
use std::hint::black_box;

pub fn eager(raw: &[u8]) -> usize {
    let index = Index::of(raw);
    index.parts.len() + index.lines as usize
}

/// As mail-parser gets its buffers back from letter to letter, so do we.
pub fn full(raw: &[u8], buffer: &mut Vec<u8>) -> usize {
    let letter = View::parse(raw);
    let mut sum = headers_of(&letter);
    for part in letter.parts() {
        sum += part.media_type().0.len();
        if part.kind() != PartKind::Leaf {
            continue;
        }
        sum += part.filename().map_or(0, |name| name.len());
        sum += if part.is_text() {
            black_box(part.text_in(buffer)).len()
        } else {
            black_box(part.bytes_in(buffer)).len()
        };
    }
    sum
}

fn headers_of(letter: &View) -> usize {
    let from = letter
        .from()
        .first()
        .map_or(0, |from| from.address.len() + from.name.as_ref().map_or(0, String::len));
    letter.subject().len()
        + from
        + letter.message_id().map_or(0, |id| id.len())
        + letter.date().map_or(0, |d| d.to_unix_s() as usize & 1)
}

pub fn headers(raw: &[u8]) -> usize {
    headers_of(&View::parse_header(raw))
}

pub fn structure(raw: &[u8]) -> usize {
    let letter = View::parse(raw);
    let of = |p: mparser::PartView| {
        p.media_type().0.len() + p.lines() as usize + p.filename().map_or(0, |name| name.len())
    };
    letter.parts().map(of).sum()
}

/// The stored form, and a hash of what the view reads.
pub fn values(raw: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut stored = String::new();
    for byte in Index::of(raw).encode() {
        stored.push_str(&format!("{byte:02x}"));
    }
    let mut hash = DefaultHasher::new();
    let mut buffer = Vec::new();
    for letter in [View::parse(raw), View::parse_header(raw)] {
        (letter.subject(), letter.message_id(), letter.lines()).hash(&mut hash);
        format!("{:?} {:?}", (letter.from(), letter.to()), (letter.cc(), letter.date()))
            .hash(&mut hash);
        for part in letter.parts() {
            (part.media_type(), part.is_text(), part.parent(), part.lines()).hash(&mut hash);
            (part.filename(), part.charset(), part.encoding().name(), part.header())
                .hash(&mut hash);
            (part.bytes(), part.bytes_in(&mut buffer).len(), part.text()).hash(&mut hash);
            part.text_in(&mut buffer).hash(&mut hash);
        }
    }
    format!("{stored}\t{:x}", hash.finish())
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
