//! IMAP section numbers (RFC 9051 §6.4.5).

use mparser::Index;

/// Shows the type of the part a section names, or `none`.
#[track_caller]
fn check(raw: &str, rows: &[(&str, &str)]) {
    let index = Index::of(raw.replace('\n', "\r\n").as_bytes());
    for (section, expect) in rows {
        let numbers: Vec<u32> =
            section.split('.').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        let found = index.section(&numbers).map(|p| {
            let part = &index.parts[p];
            format!("{p} {}/{}", part.media_type, part.subtype)
        });
        assert_eq!(found.as_deref().unwrap_or("none"), *expect, "section {section:?}");
    }
}

#[test]
fn the_example_of_the_standard() {
    // RFC 9051 §6.4.5.1: a letter of text, a binary, a letter with two parts, and a multipart with a letter in it.
    let letter = "Content-Type: multipart/mixed; boundary=a\n\n\
        --a\nContent-Type: text/plain\n\n1\n\
        --a\nContent-Type: application/octet-stream\n\n2\n\
        --a\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n\
        --b\nContent-Type: text/plain\n\n3.1\n--b\nContent-Type: application/pdf\n\n3.2\n--b--\n\
        --a\nContent-Type: multipart/mixed; boundary=c\n\n\
        --c\nContent-Type: image/gif\n\n4.1\n\
        --c\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=d\n\n\
        --d\nContent-Type: text/plain\n\n4.2.1\n\
        --d\nContent-Type: multipart/alternative; boundary=e\n\n\
        --e\nContent-Type: text/plain\n\n4.2.2.1\n--e\nContent-Type: text/richtext\n\n4.2.2.2\n--e--\n\
        --d--\n--c--\n--a--\n";
    check(
        letter,
        &[
            ("", "0 multipart/mixed"),
            ("1", "1 text/plain"),
            ("2", "2 application/octet-stream"),
            ("3", "3 message/rfc822"),
            ("3.1", "5 text/plain"),
            ("3.2", "6 application/pdf"),
            ("3.3", "none"),
            ("4", "7 multipart/mixed"),
            ("4.1", "8 image/gif"),
            ("4.2", "9 message/rfc822"),
            ("4.2.1", "11 text/plain"),
            ("4.2.2", "12 multipart/alternative"),
            ("4.2.2.1", "13 text/plain"),
            ("4.2.2.2", "14 text/richtext"),
            ("4.2.2.3", "none"),
            ("5", "none"),
            ("1.1", "none"),
            ("0", "none"),
        ],
    );
}

#[test]
fn letters_without_parts() {
    check(
        "Subject: s\n\ntext\n",
        &[("", "0 text/plain"), ("1", "0 text/plain"), ("2", "none"), ("1.1", "none")],
    );
    check("", &[("1", "0 text/plain")]);
    let forwarded = "Content-Type: message/rfc822\n\nSubject: in\n\ntext\n";
    check(
        forwarded,
        &[("1", "0 message/rfc822"), ("1.1", "1 text/plain"), ("1.1.1", "none"), ("2", "none")],
    );
    let twice =
        "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: in\n\ntext\n";
    check(
        twice,
        &[("1", "0 message/rfc822"), ("1.1", "1 message/rfc822"), ("1.1.1", "2 text/plain")],
    );
    let inside = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: in\n\nx\n--a--\n";
    check(inside, &[("1", "1 message/rfc822"), ("1.1", "2 text/plain"), ("1.2", "none")]);
}
