//! Any bytes are a header field's value: every reader of values takes them, and what we write we can read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mparser::{Message, decode_header_text, encode_header_text, parse_addresses, parse_date};

fuzz_target!(|raw: &[u8]| {
    let text = decode_header_text(raw);
    let written = encode_header_text(&text);
    assert!(written.is_ascii());
    let plain: String =
        text.chars().map(|c| if c.is_control() || c == '\u{feff}' { ' ' } else { c }).collect();
    assert_eq!(decode_header_text(written.as_bytes()), plain);
    for mailbox in parse_addresses(raw) {
        drop(mailbox.address());
    }
    if let Some(date) = parse_date(raw) {
        // Written as the standard wants, it is the same date.
        assert_eq!(parse_date(date.rfc5322().as_bytes()), Some(date));
    }
    // As parameters of a type and of a file.
    let fields = [
        &b"Content-Type: "[..],
        raw,
        b"\r\nContent-Disposition: ",
        raw,
        b"\r\nReferences: ",
        raw,
        b"\r\n\r\n",
    ];
    let letter = fields.concat();
    let message = Message::parse(&letter);
    drop((message.index().filename(0), message.index().thread_ids()));
});
