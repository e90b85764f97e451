//! 79 letters that parsers are known to stumble over, each with what a reader should get: one table for the test
//! (`hard_table.rs`) and for the report of `cargo xtask hard-cases` (`examples/hard_cases.rs`).
//!
//! The expectations are what a robust reader shows, not what any one parser does. White space is compared folded.

use mparser::{Index, Message, PartKind, encode_base64};

/// One letter. What is `None` or empty is not asked.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) raw: Vec<u8>,
    pub(crate) expect: Expect,
}

#[derive(Default)]
pub(crate) struct Expect {
    subject: Option<String>,
    /// Address of the first author.
    from: Option<&'static str>,
    /// The first text/plain that is no attachment.
    text: Option<String>,
    /// Names of all files, sorted.
    files: Option<&'static [&'static str]>,
    /// Parts without parts of their own, those of letters inside counted too.
    leaves: Option<usize>,
    /// Bytes of the leaves that are no text.
    sizes: Option<&'static [usize]>,
}

/// The names of what differs; empty when the case passes.
pub(crate) fn judge(case: &Case) -> Vec<String> {
    let seen = look(&case.raw);
    let expect = &case.expect;
    let mut wrong = Vec::new();
    let mut compare = |what: &str, fits: bool, got: String| {
        if !fits {
            wrong.push(format!("{what}: {}", got.chars().take(60).collect::<String>()));
        }
    };
    if let Some(subject) = &expect.subject {
        compare("subject", folded(subject) == seen.subject, seen.subject.clone());
    }
    if let Some(from) = expect.from {
        compare("from", from == seen.from, seen.from.clone());
    }
    if let Some(text) = &expect.text {
        compare("text", folded(text) == seen.text, seen.text.clone());
    }
    if let Some(files) = expect.files {
        compare("files", files == seen.files, seen.files.join(", "));
    }
    if let Some(leaves) = expect.leaves {
        compare("leaves", leaves == seen.leaves, seen.leaves.to_string());
    }
    if let Some(sizes) = expect.sizes {
        compare("sizes", sizes == seen.sizes, format!("{:?}", seen.sizes));
    }
    wrong
}

struct Seen {
    subject: String,
    from: String,
    text: String,
    files: Vec<String>,
    leaves: usize,
    sizes: Vec<usize>,
}

fn look(raw: &[u8]) -> Seen {
    let message = Message::parse(raw);
    let index = message.index();
    let mut seen = Seen {
        subject: folded(&index.subject()),
        from: index.from_().first().map(|a| a.address.to_lowercase()).unwrap_or_default(),
        text: index.text_part().map(|n| folded(&message.text(n))).unwrap_or_default(),
        files: message.all_embedded().into_iter().map(|(_, file)| file.name).collect(),
        leaves: 0,
        sizes: Vec::new(),
    };
    look_at_parts(&message, &mut seen, 0);
    seen.files.sort();
    seen.sizes.sort_unstable();
    seen
}

fn look_at_parts(message: &Message<'_>, seen: &mut Seen, depth: usize) {
    for (number, part) in message.index().parts.iter().enumerate() {
        seen.files.extend(part.filename());
        if part.kind != PartKind::Leaf {
            continue;
        }
        if let Some(inner) = message.encoded_letter(number, depth) {
            look_at_parts(&Message::parse(&inner), seen, depth + 1);
            continue;
        }
        seen.leaves += 1;
        if part.media_type != "text" {
            seen.sizes.push(message.bytes(number).len());
        }
    }
}

fn folded(text: &str) -> String {
    text.split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

const HEAD: &str = "From: a@b.c\r\nSubject: s\r\nMIME-Version: 1.0\r\n";
const MIXED: &str = "Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n";
const HELLO: &str = "--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n";
const CLOSE: &str = "--x--\r\n";

fn pdf(disposition: &str) -> String {
    format!(
        "--x\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; {disposition}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    )
}

/// A letter in a multipart with boundary x.
fn mixed(parts: &str) -> String {
    format!("{HEAD}{MIXED}{parts}")
}

fn case(name: &'static str, raw: impl AsRef<[u8]>, expect: Expect) -> Case {
    Case { name, raw: raw.as_ref().to_vec(), expect }
}

fn subject(subject: &str) -> Expect {
    Expect { subject: Some(subject.to_owned()), ..Expect::default() }
}

fn text(text: &str) -> Expect {
    Expect { text: Some(text.to_owned()), ..Expect::default() }
}

fn files(files: &'static [&'static str]) -> Expect {
    Expect { files: Some(files), ..Expect::default() }
}

fn leaves(leaves: usize) -> Expect {
    Expect { leaves: Some(leaves), ..Expect::default() }
}

fn hello_and(files: &'static [&'static str]) -> Expect {
    Expect { files: Some(files), ..text("hello") }
}

/// All of them, in the order of the report.
pub(crate) fn cases() -> Vec<Case> {
    let groups = [
        structure(),
        headers(),
        file_names(),
        charsets(),
        lines(),
        boundaries(),
        encodings(),
        more_headers(),
        bombs(),
        rest(),
    ];
    groups.into_iter().flatten().collect()
}

fn structure() -> Vec<Case> {
    let inner = "Subject: in\r\nContent-Type: text/plain\r\n\r\ninner\r\n";
    let nested = format!("{HELLO}--x\r\nContent-Type: message/rfc822\r\n\r\n{inner}{CLOSE}");
    let encoded = format!(
        "{HELLO}--x\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n{}{CLOSE}",
        encode_base64(inner.as_bytes())
    );
    let both = Expect { leaves: Some(2), ..hello_and(&["a.pdf"]) };
    vec![
        case("missing-close", mixed(&format!("{HELLO}{}", pdf("filename=a.pdf"))), both),
        case("nested-rfc822", mixed(&nested), Expect { leaves: Some(2), ..text("hello") }),
        case("rfc822-base64", mixed(&encoded), leaves(2)),
    ]
}

fn headers() -> Vec<Case> {
    let latin2 = [
        &b"From: a@b.c\r\nSubject: za\xbf\xf3\xb3\xe6\r\n"[..],
        b"Content-Type: text/plain; charset=iso-8859-2\r\n\r\nx",
    ];
    let word = |name, value: &str, expect: &str| {
        case(name, format!("Subject: {value}\r\n\r\nx"), subject(expect))
    };
    vec![
        case("8bit-subject-utf8", "From: a@b.c\r\nSubject: zażółć\r\n\r\nx", subject("zażółć")),
        case("8bit-subject-latin2", latin2.concat(), subject("zażółć")),
        word("ew-split-char", "=?utf-8?B?xbw=?= =?utf-8?Q?=C3?= =?utf-8?Q?=B3_x?=", "żó x"),
        word("ew-space-inside", "=?utf-8?Q?a b c?=", "a b c"),
        word("ew-adjacent-fold", "=?utf-8?Q?a?=\r\n =?utf-8?Q?b?=", "ab"),
        word("ew-no-space-around", "x=?utf-8?Q?=C4=85?=y", "xąy"),
        word("ew-b64-nopad", "=?utf-8?B?xIU?=", "ą"),
        word("ew-lang", "=?utf-8*pl?Q?=C4=85?=", "ą"),
        word("ew-unknown-charset", "=?x-unknown?Q?abc?=", "abc"),
    ]
}

fn file_names() -> Vec<Case> {
    let named = |name, disposition: &str, expect| {
        case(name, mixed(&format!("{HELLO}{}{CLOSE}", pdf(disposition))), files(expect))
    };
    let sections = "filename*0*=utf-8''%C4;\r\n filename*1*=%85;\r\n filename*2=\".pdf\"";
    vec![
        named("ew-quoted-filename", "filename=\"=?utf-8?Q?=C4=85.pdf?=\"", &["ą.pdf"]),
        named("2231-cont", sections, &["ą.pdf"]),
        named("2231-cont-reordered", "filename*1=b.pdf; filename*0=a", &["ab.pdf"]),
        // RFC 6266 §4.3 says it for the web: the extended form wins.
        named("2231-and-plain", "filename=\"_.pdf\"; filename*=utf-8''%C4%85.pdf", &["ą.pdf"]),
        named("2231-apostrophe", "filename*=utf-8''O'Brien.pdf", &["O'Brien.pdf"]),
        named("name-8bit", "filename=\"ą.pdf\"", &["ą.pdf"]),
    ]
}

fn charsets() -> Vec<Case> {
    let rows: &[(&'static str, &str, &[u8], &str)] = &[
        ("charset-x-sjis", "x-sjis", b"\x93\xfa\x96\x7b", "日本"),
        ("charset-ks_c_5601-1987", "ks_c_5601-1987", b"\xc7\xd1\xb1\xdb", "한글"),
        ("charset-cp-850", "cp-850", b"\x82\x85", "éà"),
        ("charset-utf-7", "utf-7", b"+AQU +AXw-", "ą ż"),
        ("charset-iso-2022-jp", "iso-2022-jp", b"\x1b$BF|K\\\x1b(B", "日本"),
        ("charset-gb2312", "gb2312", b"\xd6\xd0\xce\xc4", "中文"),
        ("charset-windows-1250", "windows-1250", b"\xb9\xbf\x9f", "ążź"),
        ("charset-x-mac-ce", "x-mac-ce", b"\x88\xfd", "ąż"),
        ("charset-koi8-r", "koi8-r", b"\xd0\xd2\xc9\xd7\xc5\xd4", "привет"),
        ("charset-utf-16", "utf-16", b"\xff\xfe\x05\x01\x7c\x01", "ąż"),
        ("charset-cp1250", "cp1250", b"\xb9\xbf", "ąż"),
        ("charset-iso8859_2", "iso8859_2", b"\xb1\xbf", "ąż"),
        ("charset-big5", "big5", b"\xa4\xa4\xa4\xe5", "中文"),
        ("charset-unicode-1-1-utf-7", "unicode-1-1-utf-7", b"+AQU-", "ą"),
        ("charset-hz-gb-2312", "hz-gb-2312", b"~{VPND~}", "中文"),
        ("charset-iso-2022-kr", "iso-2022-kr", b"\x1b$)C\x0eGQ1[\x0f", "한글"),
        ("charset-x-user-defined-bogus", "x-user-defined-bogus", b"abc", "abc"),
    ];
    let made = rows.iter().map(|(name, label, bytes, expect)| {
        let head = format!("{HEAD}Content-Type: text/plain; charset={label}\r\n");
        let body = encode_base64(bytes);
        case(name, format!("{head}Content-Transfer-Encoding: base64\r\n\r\n{body}"), text(expect))
    });
    made.collect()
}

fn lines() -> Vec<Case> {
    let whole = mixed(&format!("{HELLO}{}{CLOSE}", pdf("filename=a.pdf")));
    let mixture =
        format!("{HEAD}{MIXED}{}{}--x--\n", HELLO.replace("\r\n", "\n"), pdf("filename=a.pdf"));
    vec![
        case("bare-lf", whole.replace("\r\n", "\n"), hello_and(&["a.pdf"])),
        case("bare-cr", whole.replace("\r\n", "\r"), hello_and(&["a.pdf"])),
        case("mixed-eol", mixture, hello_and(&["a.pdf"])),
        case("nul-in-body", format!("{HEAD}\r\na\0b"), text("a\0b")),
        case("nul-in-subject", "Subject: a\0b\r\n\r\nx", subject("a\0b")),
    ]
}

fn boundaries() -> Vec<Case> {
    let alternative = |boundary: &str| {
        format!(
            "--x\r\nContent-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n\
             Content-Type: text/plain\r\n\r\nhello\r\n--{boundary}--\r\n"
        )
    };
    let of_type = |name, params: &str, body: &str| {
        case(
            name,
            format!("{HEAD}Content-Type: multipart/mixed{params}\r\n\r\n{body}"),
            text("hello"),
        )
    };
    let a_pdf = pdf("filename=a.pdf");
    let both = || Expect { leaves: Some(2), ..hello_and(&["a.pdf"]) };
    let padded = HELLO.replace("--x\r\n", "--x  \t\r\n");
    vec![
        case("boundary-prefix", mixed(&format!("{}{a_pdf}{CLOSE}", alternative("xy"))), both()),
        case("boundary-same-nested", mixed(&alternative("x")), text("hello")),
        case("boundary-trailing-space", mixed(&format!("{padded}{a_pdf}--x--  \r\n")), both()),
        case(
            "boundary-in-text",
            mixed(&format!("--x\r\nContent-Type: text/plain\r\n\r\nhello --x there\r\n{CLOSE}")),
            Expect { leaves: Some(1), ..text("hello --x there") },
        ),
        // The first one counts: a scanner that takes the other sees another letter, so the doubt is reported too.
        of_type(
            "boundary-two-params",
            "; boundary=\"x\"; boundary=\"y\"",
            &format!("{HELLO}{CLOSE}--y\r\n\r\nother\r\n--y--\r\n"),
        ),
        of_type(
            "boundary-2231",
            "; boundary*0=\"a\"; boundary*1=\"b\"",
            "--ab\r\n\r\nhello\r\n--ab--\r\n",
        ),
        of_type(
            "boundary-unquoted-special",
            "; boundary=a=b/c:d",
            "--a=b/c:d\r\n\r\nhello\r\n--a=b/c:d--\r\n",
        ),
        case(
            "no-boundary-param",
            format!("{HEAD}Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nhello\r\n--x--\r\n"),
            Expect::default(),
        ),
        case(
            "param-fold-after-eq",
            mixed(&format!("{HELLO}{}{CLOSE}", pdf("filename=\r\n \"a.pdf\""))),
            files(&["a.pdf"]),
        ),
        case(
            "part-without-blank",
            mixed("--x\r\nContent-Type: text/plain\r\n--x\r\n\r\nhello\r\n--x--\r\n"),
            leaves(2),
        ),
    ]
}

fn encodings() -> Vec<Case> {
    let base64 = |name, body: &str| {
        let head = "--x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        case(name, mixed(&format!("{head}{body}\r\n{CLOSE}")), text("hello"))
    };
    let with = |name, encoding: &str, body: &str, expect: &str| {
        let head = format!(
            "{HEAD}Content-Type: text/plain\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        );
        case(name, format!("{head}{body}"), text(expect))
    };
    let uu = "begin 644 u.bin\r\n%:&5L;&\\\r\n`\r\nend\r\n";
    let uu_part = format!(
        "--x\r\nContent-Type: application/octet-stream; name=u.bin\r\nContent-Disposition: attachment; filename=u.bin\r\n\
         Content-Transfer-Encoding: x-uuencode\r\n\r\n{uu}{CLOSE}"
    );
    let yenc = b"Subject: s\r\n\r\n=ybegin line=128 size=5 name=y.bin\r\n\x92\x8f\x96\x96\x99\r\n=yend size=5\r\n";
    vec![
        base64("b64-junk", "aGVs\r\n!*bG8="),
        base64("b64-unpadded", "aGVsbG8"),
        base64("b64-concat-padded", "aGVs\r\nbA==\r\nbw=="),
        with("qp-bad", "quoted-printable", "100%= 5==3D=ZZ x", "100%= 5===ZZ x"),
        with("qp-soft-trailing-space", "quoted-printable", "hel=  \r\nlo", "hello"),
        with("cte-comment", "base64 (x)", "aGVsbG8=\r\n", "hello"),
        case("cte-uuencode", mixed(&uu_part), Expect { sizes: Some(&[5]), ..files(&["u.bin"]) }),
        case("uu-inline", format!("{HEAD}\r\nhi\r\n{uu}"), files(&["u.bin"])),
        case("yenc-inline", yenc, files(&["y.bin"])),
    ]
}

fn more_headers() -> Vec<Case> {
    vec![
        case("leading-blank", "\r\nSubject: s\r\n\r\nx", subject("s")),
        case("mbox-from", "From a@b.c Mon Jan  1 00:00:00 2026\nSubject: s\n\nx", subject("s")),
        case("header-space-colon", "Subject : s\r\n\r\nx", subject("s")),
        case(
            "header-no-colon-line",
            "From: a@b.c\r\njunk line\r\nSubject: s\r\n\r\nx",
            subject("s"),
        ),
        case("dup-subject", "Subject: one\r\nSubject: two\r\n\r\nx", subject("one")),
        case("fold-blank-line", "Subject: a\r\n \r\n b\r\n\r\nx", subject("a b")),
    ]
}

fn bombs() -> Vec<Case> {
    let tail = "Subject: s\r\n\r\nx";
    let numbered = |n: usize, piece: fn(usize) -> String| (0..n).map(piece).collect::<Vec<_>>();
    let headers = numbered(50_000, |i| format!("X-{i}: v\r\n")).concat();
    let addresses = numbered(20_000, |i| format!("u{i} <u{i}@e.x>")).join(",\r\n ");
    let words = vec!["=?utf-8?Q?=C4=85?="; 20_000].join("\r\n ");
    let params = numbered(20_000, |i| format!(";\r\n n*{i}*=%41")).concat();
    let (open, close) = ("(".repeat(50_000), ")".repeat(50_000));
    let depth = numbered(5_000, |i| {
        format!("Content-Type: multipart/mixed; boundary=\"b{i}\"\r\n\r\n--b{i}\r\n")
    });
    let letters = "Content-Type: message/rfc822\r\n\r\n".repeat(5_000);
    let s = || subject("s");
    vec![
        case("huge-header", format!("X: {}\r\n{tail}", "a".repeat(2_000_000)), s()),
        case("many-headers", format!("{headers}{tail}"), s()),
        case("many-addresses", format!("To: {addresses}\r\n{tail}"), s()),
        case("ew-bomb", format!("Subject: {words}\r\n\r\nx"), subject(&"ą".repeat(20_000))),
        case("param-bomb", format!("{HEAD}Content-Type: text/plain{params}\r\n\r\nx"), s()),
        case("comment-bomb", format!("From: {open}{close} a@b.c\r\n{tail}"), s()),
        case("group-bomb", format!("From: {}\r\n{tail}", ":".repeat(50_000)), s()),
        case(
            "depth-bomb",
            format!("{HEAD}{}Content-Type: text/plain\r\n\r\nhello\r\n", depth.concat()),
            s(),
        ),
        case("rfc822-bomb", format!("{HEAD}{letters}Subject: z\r\n\r\nx"), s()),
        case("part-bomb", mixed(&"--x\r\n\r\n".repeat(100_000)), s()),
    ]
}

fn rest() -> Vec<Case> {
    let quote = format!("{HEAD}Content-Type: text/plain; name=\"a; charset=utf-8\r\n\r\nhello");
    let digest = "Content-Type: multipart/digest; boundary=\"x\"\r\n\r\n--x\r\n\r\nSubject: in\r\n\r\nhello\r\n--x--\r\n";
    let tnef = format!(
        "{HELLO}--x\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         eJ8+Ig==\r\n{CLOSE}"
    );
    let utf8 = Expect { from: Some("ż@ż.pl"), ..subject("s") };
    vec![
        case("unclosed-quote", quote, text("hello")),
        case("smtputf8-addr", "From: Ż <ż@ż.pl>\r\nSubject: s\r\n\r\nx", utf8),
        case("digest-default", format!("{HEAD}{digest}"), leaves(1)),
        case("tnef", mixed(&tnef), leaves(2)),
    ]
}

/// What the stored index keeps must not depend on how it was reached: used by the test.
pub(crate) fn survives_storing(raw: &[u8]) -> bool {
    let index = Index::of(raw);
    Index::decode(&index.encode()).is_ok_and(|stored| stored == index)
}
