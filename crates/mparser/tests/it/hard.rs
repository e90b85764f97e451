//! Letters that other parsers are known to stumble over: what a reader should see.

use base64_of as b64;
use mparser::{Index, Message, PartKind};

/// What is expected; what is empty is not asked.
#[derive(Default)]
struct Expect<'a> {
    subject: &'a str,
    text: &'a str,
    files: &'a [&'a str],
    /// Leaves and opaque parts.
    leaves: usize,
    /// A defect that must be listed.
    defect: &'a str,
}

#[track_caller]
fn check(raw: impl AsRef<[u8]>, expect: &Expect<'_>) {
    let raw = raw.as_ref();
    crate::shown::assert_sound(raw);
    let message = Message::parse(raw);
    let index = message.index();
    if !expect.subject.is_empty() {
        let subject = index.subject();
        let words: Vec<&str> = subject.split_whitespace().collect();
        assert_eq!(words.join(" "), expect.subject);
    }
    if !expect.text.is_empty() {
        let text = message.text(index.text_part().unwrap());
        assert_eq!(text.trim(), expect.text);
    }
    if !expect.files.is_empty() {
        let files: Vec<String> = (0..index.parts.len()).filter_map(|p| index.filename(p)).collect();
        assert_eq!(files, expect.files);
    }
    if expect.leaves > 0 {
        let leaves = index.parts.iter().filter(|p| p.kind == PartKind::Leaf).count();
        assert_eq!(leaves, expect.leaves);
    }
    if !expect.defect.is_empty() {
        let names: Vec<&str> = index.defects.iter().map(|d| d.kind.name()).collect();
        assert!(names.contains(&expect.defect), "{names:?}");
    }
}

fn subject(raw: impl AsRef<[u8]>, subject: &str) {
    check(raw, &Expect { subject, ..Expect::default() });
}

fn base64_of(bytes: &[u8]) -> String {
    mparser::encode_base64(bytes)
}

/// A letter of two parts: text, and what is given.
fn mixed(second_part: &str) -> String {
    format!(
        "Subject: s\r\nContent-Type: multipart/mixed; boundary=\"x\"\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n\
         hello\r\n--x\r\n{second_part}"
    )
}

fn file(disposition: &str) -> String {
    mixed(&format!(
        "Content-Type: application/pdf\r\nContent-Disposition: attachment; {disposition}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--x--\r\n"
    ))
}

fn text_with(fields: &str, body: &str) -> String {
    format!("Subject: s\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn subjects() {
    subject("Subject: zażółć\r\n\r\nx", "zażółć");
    let mut latin2 =
        b"Subject: za\xbf\xf3\xb3\xe6\r\nContent-Type: text/plain; charset=iso-8859-2\r\n\r\nx"
            .to_vec();
    subject(&latin2, "zażółć");
    latin2.truncate(18);
    subject(&latin2, "za¿ó³æ");
    subject("Subject : s\r\n\r\nx", "s");
    subject("From: a@b.c\r\njunk line\r\nSubject: s\r\n\r\nx", "s");
    subject("Subject: one\r\nSubject: two\r\n\r\nx", "one");
    subject("Subject: a\r\n \r\n b\r\n\r\nx", "a b");
    subject("\r\nSubject: s\r\n\r\nx", "s");
    subject("From a@b.c Mon Jan  1 00:00:00 2026\nSubject: s\n\nx", "s");
    subject("Subject: a\0b\r\n\r\nx", "a\0b");
    subject("sUBJECT: s", "s");
    subject("Subject: =?utf-8?B?xbw=?= =?utf-8?Q?=C3?= =?utf-8?Q?=B3_x?=\r\n\r\nx", "żó x");
}

#[test]
fn file_names() {
    let names = |disposition: &str, name: &str| {
        check(file(disposition), &Expect { files: &[name], leaves: 2, ..Expect::default() });
    };
    names("filename=a.pdf", "a.pdf");
    names("filename=\"=?utf-8?Q?=C4=85.pdf?=\"", "ą.pdf");
    names("filename*0*=utf-8''%C4;\r\n filename*1*=%85;\r\n filename*2=\".pdf\"", "ą.pdf");
    names("filename*1=b.pdf; filename*0=a", "ab.pdf");
    names("filename=\"_.pdf\"; filename*=utf-8''%C4%85.pdf", "ą.pdf");
    names("filename*=utf-8''O'Brien.pdf", "O'Brien.pdf");
    names("filename=\"ą.pdf\"", "ą.pdf");
    names("filename=\r\n \"a.pdf\"", "a.pdf");
    names("filename=\"../../etc/a.pdf\"", "a.pdf");
    names("filename=\"C:\\temp\\a.pdf\"", "a.pdf");
    names("FileName=\"a.pdf\"; size=3", "a.pdf");
}

#[test]
fn delimiters() {
    let two = Expect { text: "hello", leaves: 2, ..Expect::default() };
    let pdf = "Content-Type: application/pdf; name=a.pdf\r\n\r\nAAEC\r\n";
    check(mixed(pdf), &Expect { defect: "missing_close_boundary", ..two });
    check(mixed(&format!("{pdf}--x--\r\n")).replace("--x\r\n", "--x  \t\r\n"), &two);
    check(mixed(&format!("{pdf}--x--  \r\n")), &two);
    check(
        mixed(&format!("{pdf}--x--\r\n")).replace("\r\n", "\n"),
        &Expect { defect: "bare_lf", ..two },
    );
    check(
        mixed(&format!("{pdf}--x--\r\n")).replace("\r\n", "\r"),
        &Expect { defect: "bare_cr", ..two },
    );
    check(mixed(&format!("{pdf}--x--\r\n")).replace("\r\n", "\r\r\n"), &two);
    check(
        mixed("Content-Type: text/plain\r\n--x\r\n\r\nlast\r\n--x--\r\n"),
        &Expect { leaves: 3, defect: "missing_blank_line", ..two },
    );
    check(mixed("\r\nhello --x there\r\n--xx\r\n-- x\r\n--x--\r\n"), &two);
    check(mixed("\r\nsecond\r\n--x--\r\nepilogue\r\n--x\r\n\r\nnot a part\r\n"), &two);
    let prefix = "Content-Type: multipart/alternative; boundary=xy\r\n\r\n--xy\r\n\r\ninner\r\n--xy--\r\n--x--\r\n";
    check(mixed(prefix), &two);
    let unclosed = "Content-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\ninner\r\n--x\r\n\r\nthird\r\n--x--\r\n";
    check(mixed(unclosed), &Expect { leaves: 3, defect: "missing_close_boundary", ..two });
    let same =
        "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n\r\ninner\r\n--x--\r\n";
    check(mixed(same), &two);
    let type_is = |content_type: &str, delimiter: &str| {
        text_with(
            &format!("Content-Type: {content_type}"),
            &format!("--{delimiter}\r\n\r\nhello\r\n--{delimiter}--\r\n"),
        )
    };
    let one = Expect { text: "hello", leaves: 1, ..Expect::default() };
    check(
        type_is("multipart/mixed; boundary=a; boundary=b", "a"),
        &Expect { defect: "duplicate_boundary", ..one },
    );
    check(type_is("multipart/mixed; boundary*0=a; boundary*1=b", "ab"), &one);
    check(type_is("multipart/mixed; boundary=a=b/c:d", "a=b/c:d"), &one);
    check(
        type_is("multipart/mixed", "x"),
        &Expect { leaves: 1, defect: "missing_boundary", ..Expect::default() },
    );
    check(
        type_is("multipart/mixed; boundary=y", "x"),
        &Expect { leaves: 1, defect: "missing_boundary", ..Expect::default() },
    );
    check(text_with("Content-Type: text/plain; name=\"a; charset=utf-8", "hello"), &one);
}

#[test]
fn encodings() {
    let decoded = |encoding: &str, body: &str, text: &str, defect: &str| {
        check(
            text_with(&format!("Content-Transfer-Encoding: {encoding}"), body),
            &Expect { text, defect, ..Expect::default() },
        );
    };
    decoded("base64", "aGVs\r\n!*bG8=\r\n", "hello", "bad_base64");
    decoded("base64", "aGVsbG8\r\n", "hello", "bad_base64");
    decoded("base64", "aGVs\r\nbA==\r\nbw==\r\n", "hello", "bad_base64");
    decoded("base64 (x)", "aGVsbG8=\r\n", "hello", "");
    decoded("BASE64", "aGVsbG8=\r\n", "hello", "");
    decoded("quoted-printable", "100%= 5==3D=ZZ x", "100%= 5===ZZ x", "");
    decoded("quoted-printable", "hel=  \r\nlo", "hello", "");
    decoded("x-uuencode", "begin 644 u\r\n%:&5L;&\\\r\n`\r\nend\r\n", "hello", "");
    decoded("x-nobody-knows", "hello", "hello", "bad_encoding");
    decoded("", "hello", "hello", "");
}

#[test]
fn charsets() {
    let decoded = |charset: &str, bytes: &[u8], text: &str| {
        let fields = format!(
            "Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: base64"
        );
        check(text_with(&fields, &b64(bytes)), &Expect { text, ..Expect::default() });
    };
    decoded("x-sjis", b"\x93\xfa\x96\x7b", "日本");
    decoded("ks_c_5601-1987", b"\xc7\xd1\xb1\xdb", "한글");
    decoded("\"windows-1250\"", b"\xb9\xbf\x9f", "ążź");
    decoded("iso8859_2", b"\xb1\xbf", "ąż");
    decoded("utf-16", b"\xff\xfe\x05\x01\x7c\x01", "ąż");
    decoded("x-user-defined-bogus", b"abc", "abc");
    decoded("us-ascii", "zażółć".as_bytes(), "zażółć");
    check(
        text_with("Content-Type: text/plain; charset=bogus", "x"),
        &Expect { defect: "unknown_charset", ..Expect::default() },
    );
}

#[test]
fn letters_in_letters() {
    let two = Expect { text: "hello", leaves: 2, ..Expect::default() };
    let inner = "Subject: in\r\nContent-Type: text/plain\r\n\r\ninner\r\n";
    check(mixed(&format!("Content-Type: message/rfc822\r\n\r\n{inner}--x--\r\n")), &two);
    let encoded = format!(
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}--x--\r\n",
        b64(inner.as_bytes())
    );
    check(mixed(&encoded), &Expect { defect: "bad_encoding", ..two });
    check(mixed("Content-Type: message/rfc822\r\n--x--\r\n"), &two);
    check(mixed("Content-Type: message/rfc822"), &two);
    // The empty line behind the inner header is the line end of the delimiter.
    check(mixed("Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\n--x--\r\n"), &two);
    // A letter has no boundary, whatever its type says.
    let odd = "Content-Type: message/rfc822; boundary=y\r\n\r\nSubject: in\r\n\r\na\r\n--y\r\nb\r\n--x--\r\n";
    check(mixed(odd), &two);
    let digest = "Content-Type: multipart/digest; boundary=x\r\n\r\n--x\r\n\r\nSubject: in\r\n\r\nhello\r\n--x--\r\n";
    check(digest, &Expect { leaves: 1, ..Expect::default() });
    let index = Index::of(digest.as_bytes());
    assert_eq!(index.parts[1].media_type, "message");
    assert_eq!(index.parts[1].envelope.as_ref().unwrap().subject.as_deref(), Some("in"));
}

#[test]
fn no_header_or_no_body() {
    let body = |raw: &str, expect: &str| {
        crate::shown::assert_sound(raw.as_bytes());
        let message = Message::parse(raw.as_bytes());
        assert_eq!(String::from_utf8_lossy(message.body(0)), expect, "{raw:?}");
    };
    body("", "");
    body("\r\n", "");
    body("\r\n\r\n", "\r\n");
    body("\r\ntext", "text");
    body("just text", "just text");
    body("just text\r\nand more", "just text\r\nand more");
    body("A: b", "");
    body("A: b\r\n", "");
    body("A: b\r\n\r\n", "");
    body("A: b\r\ntext\r\nmore", "text\r\nmore");
    body(" text", " text");
    body("A: b\r\n\r\r\n\r\nx", "\r\nx");
}

#[test]
fn duplicates_and_absences_are_listed() {
    let defect = |raw: &str, defect: &str| check(raw, &Expect { defect, ..Expect::default() });
    defect("From: a@b.c\r\nFrom: d@e.f\r\n\r\n", "duplicate_header");
    defect("Content-Type: text/plain\r\nContent-type: text/html\r\n\r\n", "duplicate_header");
    defect("From: a@b.c\r\n\r\n", "missing_date");
    defect("Date: x\r\n\r\n", "missing_from");
    defect("Content-Type: text\r\n\r\n", "bad_content_type");
    defect("A: b\r\njunk\r\n\r\n", "malformed_header");
    defect("\r\nA: b\r\n\r\n", "leading_junk");
    defect("A: b\0\r\n\r\n", "nul_byte");
    let mut eight_bit = b"A: \xb1\r\n\r\n".to_vec();
    check(&eight_bit, &Expect { defect: "eight_bit_header", ..Expect::default() });
    eight_bit.extend_from_slice(&[b'x'; 999]);
    check(&eight_bit, &Expect { defect: "long_line", ..Expect::default() });
    let clean = "From: a@b.c\r\nDate: Sun, 22 Nov 2026 18:00:00 +0100\r\nReceived: x\r\nReceived: y\r\n\r\nx\r\n";
    assert_eq!(Index::of(clean.as_bytes()).defects, []);
}
