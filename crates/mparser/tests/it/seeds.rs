//! The fuzzer's seeds, replayed without a fuzzer: what the targets in `fuzz/` ask is asked here too.

use crate::corpus::folder;
use crate::shown::assert_sound;
use mparser::{
    Ambiguity, Index, Message, View, decode_charset, decode_header_text, encode_header_text,
};

/// Every seed of a target; at least `least` of them.
fn replay(target: &str, least: usize, check: fn(&[u8])) {
    let mut count = 0;
    for entry in std::fs::read_dir(folder(&format!("fuzz/seeds/{target}"))).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count >= least, "only {count} seeds of {target}");
}

#[test]
fn letters() {
    replay("mparser", 10, |raw| {
        assert_sound(raw);
        let message = Message::parse(raw);
        drop((message.check(), message.all_embedded()));
        for name in ["Subject", "X-New"] {
            let edited = mparser::edit::replace_header(raw, name, "new");
            assert_eq!(Message::parse(&edited).header(name).unwrap().text(), "new");
        }
        assert!(message.ambiguity().names().count() <= Ambiguity::ALL.len());
    });
}

#[test]
fn headers() {
    replay("headers", 8, |raw| {
        let text = decode_header_text(raw);
        let written = encode_header_text(&text);
        let plain = |c: char| if c.is_control() || c == '\u{feff}' { ' ' } else { c };
        assert_eq!(
            decode_header_text(written.as_bytes()),
            text.chars().map(plain).collect::<String>()
        );
        drop(mparser::parse_addresses(raw));
        if let Some(date) = mparser::parse_date(raw) {
            assert_eq!(mparser::parse_date(date.rfc5322().as_bytes()), Some(date));
        }
    });
}

#[test]
fn charsets() {
    replay("charset", 8, |raw| {
        for label in [
            "utf-8",
            "utf-7",
            "hz-gb-2312",
            "iso-2022-kr",
            "cp-850",
            "x-mac-ce",
            "gb18030",
            "nobody-knows",
        ] {
            assert!(decode_charset(raw, Some(label)).len() <= 3 * raw.len() + 3, "{label}");
        }
        let letter =
            [b"Content-Type: application/ms-tnef\r\n\r\n", raw.get(1..).unwrap_or_default()]
                .concat();
        drop(Message::parse(&letter).all_embedded());
    });
}

#[test]
fn indexes() {
    replay("index", 4, |raw| {
        let index = Index::of(raw);
        let stored = index.encode();
        assert_eq!(Index::decode(&stored), Ok(index));
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x55;
            assert!(Index::decode(&damaged).is_err(), "byte {at}");
        }
    });
}

#[test]
fn views() {
    for target in ["view", "mparser"] {
        replay(target, 5, |raw| {
            let letter = Message::parse(raw);
            let (view, tree) = (View::parse(raw), View::parse_tree(raw));
            for view in [&view, &tree, &View::parse_header(raw)] {
                assert_eq!(view.subject(), letter.index().subject());
                assert_eq!(view.from(), letter.index().from_());
                assert_eq!(view.date(), letter.index().date());
            }
            assert_eq!(tree.parts().len(), letter.index().parts.len());
            for (number, (part, in_tree)) in view.parts().zip(tree.parts()).enumerate() {
                assert_eq!((in_tree.header(), in_tree.body()), (part.header(), part.body()));
                assert_eq!(part.lines(), letter.index().parts[number].lines);
                assert_eq!(in_tree.text(), letter.text(number));
            }
        });
    }
}
