//! Any bytes are a letter: no panic, ranges inside the letter, the index returns from its stored form, and the
//! stored form of any bytes is refused or sound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mparser::{Index, Message};

fuzz_target!(|raw: &[u8]| {
    let message = Message::parse(raw);
    let index = message.index();
    assert_eq!(Index::decode(&index.encode()).as_ref(), Ok(index));
    for (number, part) in index.parts.iter().enumerate().take(100) {
        assert!(part.header.end <= part.body.start && part.body.end <= index.size);
        drop(message.text(number));
        for field in message.part_headers(number) {
            drop(field.text());
            drop(mparser::parse_addresses(field.value));
            mparser::parse_date(field.value);
        }
    }
    let (subject, ids) = (index.subject(), index.thread_ids());
    drop((subject, ids, index.from_(), index.attachments(), index.date()));
    for breach in message.check() {
        assert!(breach.offset <= index.size);
    }
    drop((message.ambiguity(), message.all_embedded()));
    for name in ["Subject", "X-New"] {
        let edited = mparser::edit::replace_header(raw, name, "new");
        assert_eq!(Message::parse(&edited).header(name).map(|h| h.text()).as_deref(), Some("new"));
    }
    // The first bytes as a section number.
    let numbers: Vec<u32> = raw.iter().take(6).map(|b| u32::from(b & 3)).collect();
    index.section(&numbers);
    if let Ok(decoded) = Index::decode(raw) {
        assert_eq!(Index::decode(&decoded.encode()), Ok(decoded));
    }
});
