//! A letter's index as text that a person can read and compare.

use mparser::{Index, Mailbox, MailboxKind, Message, PartKind};
use std::fmt::Write;

/// Everything a golden file holds.
pub(crate) fn shown(raw: &[u8]) -> String {
    let message = Message::parse(raw);
    let index = message.index();
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            writeln!(out, "{name}: {value}").unwrap();
        }
    };
    line("size", format!("{} bytes, {} lines", index.size, index.lines));
    line("subject", format!("{:?}", index.subject()));
    line("date", index.date().map(types::Date::rfc3339).unwrap_or_default());
    for (name, list) in [
        ("from", &index.envelope.from),
        ("sender", &index.envelope.sender),
        ("reply-to", &index.envelope.reply_to),
        ("to", &index.envelope.to),
        ("cc", &index.envelope.cc),
        ("bcc", &index.envelope.bcc),
    ] {
        line(name, list.iter().map(mailbox).collect::<Vec<_>>().join(", "));
    }
    line("thread", index.thread_ids().join(" "));
    line("preview", format!("{:?}", index.preview));
    for (number, part) in index.parts.iter().enumerate() {
        let text = if part.media_type == "text" && part.kind == PartKind::Leaf {
            format!(" {:?}", message.text(number))
        } else {
            String::new()
        };
        line("part", format!("{}{}{text}", indent(index, number), describe(index, number)));
    }
    let numbers =
        |list: Vec<usize>| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    line("text part", numbers(index.text_part().into_iter().collect()));
    line("html part", numbers(index.html_part().into_iter().collect()));
    line("attachments", numbers(index.attachments()));
    for defect in &index.defects {
        line("defect", format!("{} at {}", defect.kind.name(), defect.offset));
    }
    out
}

fn indent(index: &Index, number: usize) -> String {
    let mut depth = 0;
    let mut at = number;
    while let Some(parent) = index.parts[at].parent {
        at = parent as usize;
        depth += 1;
    }
    format!("{number} {}", "  ".repeat(depth))
}

fn describe(index: &Index, number: usize) -> String {
    let part = &index.parts[number];
    let mut text = format!(
        "{}/{} {} header {:?} body {:?} lines {}",
        part.media_type,
        part.subtype,
        part.encoding.name(),
        part.header,
        part.body,
        part.lines
    );
    for (name, value) in &part.params {
        write!(text, " {name}={value:?}").unwrap();
    }
    if let Some(name) = part.filename() {
        write!(text, " file {name:?}").unwrap();
    }
    if let Some(envelope) = &part.envelope {
        write!(text, " envelope {:?}", envelope.subject).unwrap();
    }
    text
}

fn mailbox(mailbox: &Mailbox) -> String {
    match mailbox.kind {
        MailboxKind::Address => {
            format!("{:?} <{}>", mailbox.name.as_deref().unwrap_or_default(), mailbox.address())
        }
        MailboxKind::GroupStart => format!("[{}:", mailbox.local),
        MailboxKind::GroupEnd => ";]".to_owned(),
    }
}

/// What holds for every index of every bytes.
#[track_caller]
pub(crate) fn assert_sound(raw: &[u8]) {
    let message = Message::parse(raw);
    let index = message.index();
    assert_eq!(index.size as usize, raw.len());
    assert!(index.preview.chars().count() <= mparser::limits::PREVIEW_CHARS);
    assert_eq!(index.parts[0].parent, None);
    assert_eq!((index.parts[0].header.start, index.parts[0].body.end), (0, index.size));
    for (number, part) in index.parts.iter().enumerate() {
        assert!(part.header.start <= part.header.end && part.header.end <= part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end <= index.size);
        assert!(part.lines <= index.lines);
        assert_eq!(
            part.kind == PartKind::Multipart,
            part.media_type == "multipart",
            "part {number}: {part:?}"
        );
        assert_eq!(
            part.kind == PartKind::Message,
            part.envelope.is_some(),
            "part {number}: {part:?}"
        );
        let children: Vec<usize> = index.children(number).collect();
        match part.kind {
            PartKind::Leaf => assert!(children.is_empty()),
            PartKind::Multipart => assert!(!children.is_empty()),
            PartKind::Message => assert_eq!(children.len(), 1),
        }
        let mut from = part.body.start;
        for child in children {
            let child = &index.parts[child];
            assert!(
                child.header.start >= from && child.body.end <= part.body.end,
                "part {number}: {part:?}"
            );
            from = child.body.end;
        }
    }
    let stored = index.encode();
    assert_eq!(Index::decode(&stored).as_ref(), Ok(index));
    for defect in message.defects() {
        assert!(defect.offset as usize <= raw.len());
    }
    for number in 0..index.parts.len().min(20) {
        let text = message.text(number);
        assert!(text.len() <= 3 * message.body(number).len() + 3);
        for header in message.part_headers(number) {
            assert!(!header.name.is_empty());
            assert!(header.text().len() <= 3 * header.value.len());
        }
    }
    let answers = (
        index.subject(),
        index.date(),
        index.from_(),
        index.to_(),
        index.thread_ids(),
        index.attachments(),
    );
    drop(answers);
}
