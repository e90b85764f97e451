//! What we can read we can write: letters of the corpus written anew from what was read in them, and edited.

use crate::corpus::letters;
use mparser::{Builder, Index, Message, NamedAddress, edit};

fn rebuilt(message: &Message<'_>) -> Option<Builder> {
    let index = message.index();
    let date = index.date()?;
    let mut builder = Builder::new(date, "1@example.test", "b").subject(&index.subject());
    let from = index.from_();
    for NamedAddress { name, address } in &from {
        builder = builder.from(name.as_deref().unwrap_or_default(), address);
    }
    if from.len() > 1 {
        builder = builder.sender("", "sender@example.test");
    }
    for NamedAddress { name, address } in index.to_() {
        builder = builder.to(&name.unwrap_or_default(), &address);
    }
    if let Some(part) = index.text_part() {
        builder = builder.text(&message.text(part));
    }
    if let Some(part) = index.html_part() {
        builder = builder.html(&message.text(part));
    }
    for part in index.attachments() {
        let name = index.filename(part).unwrap_or_default();
        builder = builder.attach(&name, "application/octet-stream", &message.bytes(part));
    }
    Some(builder)
}

fn lines(text: &str) -> Vec<&str> {
    text.split(['\r', '\n']).filter(|line| !line.is_empty()).collect()
}

/// Control characters become blanks in what we write.
fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
}

#[test]
fn letters_written_anew_read_the_same() {
    let mut count = 0;
    for (path, raw) in letters() {
        let old = Message::parse(&raw);
        let Some(Ok(written)) = rebuilt(&old).map(|b| b.build()) else {
            continue;
        };
        count += 1;
        let new = Message::parse(&written);
        let name = path.display();
        assert_eq!(new.check(), [], "{name}");
        let (was, is) = (old.index(), new.index());
        assert_eq!(words(&is.subject()), words(&was.subject()), "{name}");
        assert_eq!(
            (is.from_(), is.to_(), is.date()),
            (was.from_(), was.to_(), was.date()),
            "{name}"
        );
        for (a, b) in [(was.text_part(), is.text_part()), (was.html_part(), is.html_part())] {
            if let (Some(a), Some(b)) = (a, b) {
                assert_eq!(lines(&new.text(b)), lines(&old.text(a)), "{name}");
            }
        }
        let contents = |message: &Message<'_>| -> Vec<Vec<u8>> {
            message
                .index()
                .attachments()
                .into_iter()
                .map(|n| message.bytes(n).into_owned())
                .collect()
        };
        assert_eq!(contents(&new), contents(&old), "{name}");
    }
    assert!(count >= 15, "only {count} letters could be written");
}

#[test]
fn edits_leave_all_else_alone() {
    for (path, raw) in letters() {
        let name = path.display();
        let old = Message::parse(&raw);
        let edited = edit::replace_header(&raw, "Subject", "Nowy temat: żółć");
        let new = Message::parse(&edited);
        assert_eq!(new.index().subject(), "Nowy temat: żółć", "{name}");
        assert_eq!(new.body(0), old.body(0), "{name}");
        let others = |m: &Message<'_>| -> Vec<Vec<u8>> {
            let fields = m.headers().filter(|h| !h.name.eq_ignore_ascii_case(b"subject"));
            fields.map(|h| [h.name, h.value].concat()).collect()
        };
        assert_eq!(others(&new), others(&old), "{name}");
        let in_front = edit::prepend(&raw, "X-New", "1");
        assert!(
            in_front.ends_with(
                raw.get(old.headers().next().map_or(0, |h| h.offset as usize)..).unwrap()
            )
        );
        // Taking the field out again gives the first letter, byte for byte, when it has a header.
        if old.headers().next().is_some() {
            assert_eq!(edit::remove_header(&in_front, "x-new"), raw, "{name}");
        }
        assert_eq!(Index::of(&in_front).envelope, old.index().envelope, "{name}");
    }
}
