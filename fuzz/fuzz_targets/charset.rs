//! Any bytes in any charset become text no longer than three bytes for one; every transfer encoding takes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mparser::{DECODERS, Message, decode_charset, html_to_text};

const LABELS: &[&str] = &[
    "utf-8",
    "utf-7",
    "hz-gb-2312",
    "iso-2022-kr",
    "iso-2022-jp",
    "cp-850",
    "x-mac-ce",
    "windows-1250",
    "iso-8859-2",
    "x-sjis",
    "gb18030",
    "big5",
    "euc-kr",
    "utf-16",
    "us-ascii",
    "nobody-knows",
];

fuzz_target!(|raw: &[u8]| {
    let Some((choice, bytes)) = raw.split_first() else {
        return;
    };
    let label = LABELS[usize::from(*choice) % LABELS.len()];
    let text = decode_charset(bytes, Some(label));
    assert!(text.len() <= 3 * bytes.len() + 3, "{label}");
    if bytes.is_ascii() && label == "utf-8" {
        assert_eq!(text.as_bytes(), bytes);
    }
    drop(html_to_text(&text, 256));
    // The first bytes as a label.
    let name = String::from_utf8_lossy(bytes.get(..bytes.len().min(12)).unwrap_or_default());
    drop(decode_charset(bytes, Some(&name)));
    for row in DECODERS {
        if let Some(decode) = row.decode {
            assert!(decode(bytes).len() <= bytes.len() + 3, "{}", row.name);
        }
    }
    // As text with files in it, and as a TNEF stream.
    for head in ["", "Content-Type: application/ms-tnef\r\n"] {
        let letter = [head.as_bytes(), b"\r\n", bytes].concat();
        let message = Message::parse(&letter);
        for (_, file) in message.all_embedded() {
            assert!(file.content.len() <= bytes.len());
        }
        drop(message.text_without_files(0));
    }
});
