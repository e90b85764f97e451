//! Criteria of SEARCH.

use crate::{NOW_UNIX_S, Scene, letter, uids};
use storage::Query;
use types::{Flag, FlagChange, Flags};

fn text(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn criteria() {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    let polish = "From: =?UTF-8?Q?=C5=BBaneta?= <z@example.test>\r\nTo: \"Kot, Alicja\" <alice@example.test>\r\n\
        Cc: copy@example.test\r\nSubject: =?ISO-8859-2?Q?za=BF=F3=B3=E6?= =?ISO-8859-2?Q?_g=EA=B6l=B1?=\r\n\
        Date: Sat, 1 Feb 2020 10:00:00 +0100\r\nX-Tag: Blue\r\nContent-Type: text/plain; charset=iso-8859-2\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nWiadomo=B6=E6 o =AFubrze\r\n";
    scene.deliver(polish).await;
    let file = "Subject: file\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
        Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n";
    scene.deliver(file).await;
    let inbox = scene.inbox().await.id;
    let seen = FlagChange::Add(Flags::new(&[Flag::Seen]));
    scene.store.store_flags(scene.alice, inbox, uids(&[1]), seen, None).await.unwrap();
    let day = NOW_UNIX_S.div_euclid(86_400);
    let february = 18_293;
    let rows: Vec<(Query, &[u32])> = vec![
        (Query::All, &[1, 2, 3]),
        (Query::Flag(Flag::Seen), &[1]),
        (Query::Not(Box::new(Query::Flag(Flag::Seen))), &[2, 3]),
        (Query::And(vec![Query::Subject(text("LETTER")), Query::Uids(uids(&[1, 2]))]), &[1]),
        (Query::Or(vec![Query::Uids(uids(&[3])), Query::From(text("BOB"))]), &[1, 3]),
        (Query::From(text("żan")), &[2]),
        (Query::To(text("alicja")), &[2]),
        (Query::To(text("alicja\" <")), &[]),
        (Query::To(text("alicja <alice@")), &[2]),
        (Query::Cc(text("COPY@")), &[2]),
        (Query::Subject(text("ZAŻÓŁĆ GĘŚ")), &[2]),
        (Query::Body(text("wiadomość o żub")), &[2]),
        (Query::Body(text("subject")), &[]),
        (Query::Text(text("x-tag")), &[2]),
        (Query::Text(text("letter 1")), &[1]),
        (Query::Header(text("x-TAG"), text("blu")), &[2]),
        (Query::Header(text("X-Tag"), text("")), &[2]),
        (Query::Header(text("X-Tag"), text("red")), &[]),
        (Query::HasAttachment, &[3]),
        (Query::Larger(350), &[2]),
        (Query::ReceivedDays(day, day + 1), &[1, 2, 3]),
        (Query::ReceivedDays(0, day), &[]),
        (Query::SentDays(february, february + 1), &[2]),
        (Query::Keyword(text("none")), &[]),
    ];
    for (query, expect) in rows {
        let found = scene.store.search(scene.alice, inbox, query.clone()).await.unwrap();
        let found: Vec<u32> = found.iter().map(|row| row.uid.get()).collect();
        assert_eq!(found, expect, "{query:?}");
    }
}

/// What a text is compared as, the plain way.
fn folded(text: &str) -> String {
    let one = |mapped: &mut dyn Iterator<Item = char>| {
        let first = mapped.next();
        first.filter(|_| mapped.next().is_none())
    };
    let simple = |c: char| {
        let upper = one(&mut c.to_uppercase()).unwrap_or(c);
        one(&mut upper.to_lowercase()).unwrap_or(upper)
    };
    let mut out = String::new();
    for c in text.chars() {
        unicode_normalization::char::decompose_compatible(simple(c), |part| out.push(simple(part)));
    }
    out
}

/// The texts that SEARCH TEXT looks through: every part decoded, every field unfolded.
fn texts(raw: &[u8], headers: bool) -> Vec<String> {
    let letter = mparser::Message::parse(raw);
    let mut texts = Vec::new();
    for (at, part) in letter.index().parts.iter().enumerate() {
        if headers {
            texts.extend(
                letter.part_headers(at).map(|field| {
                    format!("{}: {}", String::from_utf8_lossy(field.name), field.text())
                }),
            );
        }
        let leaf = part.kind == mparser::PartKind::Leaf;
        match (&*part.media_type, &*part.subtype) {
            ("text", "html") if leaf => {
                let html = letter.text(at);
                texts.push(mparser::html_to_text(&html, html.len()));
            }
            ("text", _) if leaf => texts.push(letter.text(at)),
            _ => {}
        }
    }
    texts
}

/// The plain twin of the search in bytes: decode all, fold all, look.
fn twin(raw: &[u8], query: &Query) -> bool {
    let any = |texts: Vec<String>, text: &str| {
        text.is_empty() || texts.iter().any(|t| folded(t).contains(&folded(text)))
    };
    let letter = mparser::Message::parse(raw);
    let names = |list: Vec<mparser::NamedAddress>| {
        let shown = list.into_iter().map(|named| match named.name {
            Some(name) => format!("{name} <{}>", named.address),
            None => named.address,
        });
        vec![shown.collect::<Vec<_>>().join(", ")]
    };
    match query {
        Query::And(queries) => queries.iter().all(|query| twin(raw, query)),
        Query::Or(queries) => queries.iter().any(|query| twin(raw, query)),
        Query::Not(query) => !twin(raw, query),
        Query::Body(text) => any(texts(raw, false), text),
        Query::Text(text) => any(texts(raw, true), text),
        Query::Subject(text) => any(vec![letter.index().subject()], text),
        Query::From(text) => {
            !letter.index().from_().is_empty() && any(names(letter.index().from_()), text)
        }
        Query::Header(name, text) => letter.headers().any(|field| {
            field.name.eq_ignore_ascii_case(name.as_bytes()) && any(vec![field.text()], text)
        }),
        other => unreachable!("no twin for {other:?}"),
    }
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items.get(self.next() % items.len()).unwrap()
    }
}

const WORDS: &[&str] = &[
    "Zażółć",
    "GĘŚLĄ",
    "jaźń",
    "Łódź",
    "Straße",
    "ΟΔΥΣΣΕΎΣ",
    "οδυσσεύς",
    "Привет",
    "ЁЖ",
    "faktura",
    "INVOICE",
    "Kot",
    "e\u{301}te\u{301}",
    "été",
    "日本語",
    "한글",
    "x<b>y",
    "a&amp;b",
    "=3D",
    "…",
    "ﬁn",
    "boundary",
    "text",
    "\u{212a}",
    "😀",
];

fn words(random: &mut Random, count: usize, between: &[&str]) -> String {
    let mut text = String::new();
    for _ in 0..count {
        text.push_str(random.pick(WORDS));
        text.push_str(random.pick(between));
    }
    text
}

/// Quoted-printable whose soft line breaks fall anywhere, inside characters too.
fn quoted_printable(random: &mut Random, bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'\r' | b'\n' => out.push(char::from(*byte)),
            b'=' | 0x7f.. | ..b' ' => out.extend(format!("={byte:02X}").chars()),
            _ => out.push(char::from(*byte)),
        }
        if random.next().is_multiple_of(9) {
            out.push_str("=\r\n");
        }
    }
    out
}

fn part(random: &mut Random) -> Vec<u8> {
    let count = 1 + random.next() % 30;
    let text = words(random, count, &[" ", " ", "\r\n", "", "<br>", "&oacute;", "&#x17c;"]);
    let kind = random.pick(&["plain", "html", "plain", "calendar"]);
    let (charset, bytes) = match random.next() % 4 {
        0 => {
            // ISO-8859-2, by hand.
            let table = ["ĄĆĘŁŃÓŚŹŻąćęłńóśźż", "\u{a1}ÆÊ£ÑÓ¦¬¯±æê³ñó¶¼¿"];
            let place = |c: char| table[0].chars().position(|p| p == c);
            let byte = |c: char| match place(c) {
                Some(at) => u8::try_from(u32::from(table[1].chars().nth(at).unwrap())).unwrap(),
                None => u8::try_from(u32::from(c)).ok().filter(u8::is_ascii).unwrap_or(b'?'),
            };
            ("iso-8859-2", text.chars().map(byte).collect::<Vec<u8>>())
        }
        1 => (
            "utf-16",
            [vec![0xff, 0xfe], text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat(),
        ),
        2 => ("us-ascii", text.into_bytes()),
        _ => ("UTF-8", text.into_bytes()),
    };
    let (encoding, body) = match random.next() % 3 {
        0 => ("base64", mparser::encode_base64(&bytes).into_bytes()),
        1 => ("quoted-printable", quoted_printable(random, &bytes).into_bytes()),
        _ if charset == "utf-16" => ("base64", mparser::encode_base64(&bytes).into_bytes()),
        _ => ("8bit", bytes),
    };
    let name = random.pick(&["faktura.pdf", "=?utf-8?Q?za=C5=BC=C3=B3=C5=82=C4=87?="]);
    let mut part = format!(
        "Content-Type: text/{kind}; charset={charset};\r\n name=\"{name}\"\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    .into_bytes();
    part.extend_from_slice(&body);
    part
}

fn random_letter(random: &mut Random) -> Vec<u8> {
    let subject = words(random, 3, &[" "]);
    let header = match random.next() % 4 {
        0 => format!("Subject: {}\r\n", mparser::encode_header_text(&subject)),
        1 => format!("Subject: {subject}\r\n\t{subject}\r\nX-Tag: {subject}\r\n"),
        2 => "SUBJECT: =?iso-8859-2?Q?=A3=F3d=BC?=\r\n =?iso-8859-2?B?v/Ozxg==?=\r\nsubject: twice\r\n".into(),
        _ => String::new(),
    };
    let from = mparser::encode_header_text(random.pick(WORDS));
    let id = random.next() % 100;
    let mut raw = format!(
        "From: {from} <Bob{id}@Example.test>\r\n{header}Message-ID: <{id}@Example.test>\r\n"
    )
    .into_bytes();
    if random.next().is_multiple_of(3) {
        raw.extend(part(random));
        return raw;
    }
    raw.extend_from_slice(
        b"Content-Type: multipart/mixed; boundary=sep\r\n\r\npreamble faktura\r\n",
    );
    for at in 0..=random.next() % 4 {
        raw.extend_from_slice(b"--sep\r\n");
        match random.next() % 6 {
            0 => {
                // Long enough to be left out of what is read.
                let file = "QUJDREVG".repeat(if at == 0 { 4_000 } else { 10 });
                let head = "Content-Type: application/pdf; name=Kot.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";
                raw.extend_from_slice(head.as_bytes());
                raw.extend_from_slice(file.as_bytes());
            }
            1 => {
                raw.extend_from_slice(
                    b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n invoice\r\n",
                );
                raw.extend(part(random));
            }
            _ => raw.extend(part(random)),
        }
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"--sep--\r\n");
    raw
}

/// A piece of some letter's text, or a word, in another case.
fn needle(random: &mut Random, letters: &[Vec<u8>]) -> String {
    let texts = texts(letters.get(random.next() % letters.len()).unwrap(), true);
    let text = texts.get(random.next() % texts.len()).unwrap();
    let text: Vec<char> = text.chars().collect();
    let from = random.next() % text.len().max(1);
    let length = random.next() % 24;
    let cut: String = text.into_iter().skip(from).take(length).collect();
    match random.next() % 4 {
        0 => random.pick(WORDS).to_owned(),
        1 => cut.to_uppercase(),
        2 => cut.to_lowercase(),
        _ => cut,
    }
}

fn random_query(random: &mut Random, letters: &[Vec<u8>], depth: usize) -> Query {
    let kinds = if depth == 0 { 8 } else { 11 };
    let kind = random.next() % kinds;
    let inner = |random: &mut Random| random_query(random, letters, depth.saturating_sub(1));
    match kind {
        8 => Query::And(vec![inner(random), inner(random)]),
        9 => Query::Or(vec![inner(random), inner(random), inner(random)]),
        10 => Query::Not(Box::new(inner(random))),
        0 => Query::From(needle(random, letters)),
        1 => Query::Subject(needle(random, letters)),
        2 => {
            let name = random.pick(&["subject", "X-TAG", "message-id", "Content-Type", "none"]);
            let text = if random.next().is_multiple_of(3) {
                String::new()
            } else {
                needle(random, letters)
            };
            Query::Header(name.to_owned(), text)
        }
        3..=5 => Query::Body(needle(random, letters)),
        _ => Query::Text(needle(random, letters)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_the_plain_twin() {
    for seed in 1..=2 {
        let random = &mut Random(seed);
        let scene = Scene::new().await;
        let letters: Vec<Vec<u8>> = (0..150).map(|_| random_letter(random)).collect();
        for raw in &letters {
            let letter = storage::Letter::parse(raw.clone().into());
            let inbox = storage::Target::inbox(scene.alice);
            scene.store.deliver(letter, vec![inbox]).await.unwrap();
        }
        let inbox = scene.inbox().await.id;
        let mut hits = 0;
        for n in 0..100 {
            let query = random_query(random, &letters, 2);
            let found = scene.store.search(scene.alice, inbox, query.clone()).await.unwrap();
            let found: Vec<usize> = found.iter().map(|row| row.uid.get() as usize).collect();
            let plain = (1..).zip(&letters).filter(|(_, raw)| twin(raw, &query));
            let expect: Vec<usize> = plain.map(|(uid, _)| uid).collect();
            assert_eq!(found, expect, "seed {seed}, query {n}: {query:?}");
            hits += found.len();
        }
        assert!(hits > 1_000, "{hits} hits: the queries look for too little");
    }
}

/// Dropping the future ends the search: others get their turn at once, though many searches were begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_nobody_waits_for_ends() {
    let scene = Scene::new().await;
    let long = format!("Subject: long\r\n\r\n{}", "zażółć gęślą jaźń ".repeat(400_000));
    for _ in 0..6 {
        scene.deliver(&long).await;
    }
    let inbox = scene.inbox().await.id;
    let whole = std::time::Instant::now();
    let query = || Query::Body(text("never"));
    assert!(scene.store.search(scene.alice, inbox, query()).await.unwrap().is_empty());
    let whole = whole.elapsed();
    let started = std::time::Instant::now();
    for _ in 0..40 {
        let search = scene.store.search(scene.alice, inbox, query());
        let given_up = tokio::time::timeout(std::time::Duration::from_millis(5), search).await;
        assert!(given_up.is_err(), "the search took only {whole:?}");
    }
    scene.store.search(scene.alice, inbox, Query::Flag(Flag::Seen)).await.unwrap();
    let taken = started.elapsed();
    assert!(taken < whole * 20, "{taken:?} for 40 given up, {whole:?} for a whole one");
}

#[tokio::test]
async fn too_much_at_once_is_refused() {
    let scene = Scene::new().await;
    scene.deliver(&letter(1)).await;
    let inbox = scene.inbox().await.id;
    let many = Query::Or(vec![Query::Body(text("x")); 65]);
    let long = Query::Text("x".repeat(10_000));
    for query in [many, long] {
        let refused = scene.store.search(scene.alice, inbox, query).await;
        assert!(matches!(refused, Err(storage::Error::SearchLimit(_))), "{refused:?}");
    }
}
