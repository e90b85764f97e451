//! Letters as a mail portal has them, made from a seed: Polish text in three charsets, newsletters, attachments,
//! forwards, signatures, relays. The same seed gives the same bytes everywhere.

use std::fmt::Write as _;

const WORDS: &str = "zażółć gęślą jaźń w szczebrzeszynie chrząszcz brzmi oferta faktura spotkanie jutro proszę \
    dziękuję konto hasło wiadomość załącznik dokument płatność rabat nowy sklep program kurs zdjęcia urlop praca";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// An attachment is no larger.
const ATTACHMENT_BYTES: f64 = 3e6;

pub fn letters(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed);
    (0..count).map(|_| letter(&mut random, 0)).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from)
    }

    /// 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn words(random: &mut Random, count: usize) -> String {
    let all: Vec<&str> = WORDS.split_whitespace().collect();
    (0..count).map(|_| random.of(&all)).collect::<Vec<_>>().join(" ")
}

/// Words in lines of 72 characters.
fn paragraph(random: &mut Random, count: usize) -> String {
    let (mut out, mut width) = (String::new(), 0);
    for word in words(random, count).split(' ') {
        let length = word.chars().count();
        if width + length > 71 {
            out.push_str("\r\n");
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out + "\r\n"
}

fn newsletter(random: &mut Random, rows: usize) -> String {
    let mut out = String::from("<html><body>");
    for row in 0..rows {
        let (query, user, text) = (random.next() >> 4, random.next() >> 4, words(random, 12));
        let _ = write!(
            out,
            "<table style=\"width:100%\"><tr><td class=c{row}>\
             <a href=\"https://example.test/?q={query:x}&amp;u={user:x}\">{text}</a></td></tr></table>\r\n"
        );
    }
    out + "</body></html>\r\n"
}

fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() / 3 * 4 + 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, i| bits << 8 | u32::from(*group.get(i).unwrap_or(&0)));
        for place in 0..4 {
            let letter = char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]);
            out.push(if place <= group.len() { letter } else { '=' });
        }
    }
    out
}

fn base64_lines(bytes: &[u8]) -> String {
    bytes.chunks(57).map(|line| base64(line) + "\r\n").collect()
}

fn quoted_printable(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut width = 0;
        for &byte in line {
            if width > 72 {
                out.push_str("=\r\n");
                width = 0;
            }
            if byte == b' ' || (byte.is_ascii_graphic() && byte != b'=') {
                out.push(char::from(byte));
                width += 1;
            } else {
                let _ = write!(out, "={byte:02X}");
                width += 3;
            }
        }
        out.push_str("\r\n");
    }
    out.truncate(out.len().saturating_sub(2));
    out
}

fn encoded(text: &str, charset: &str) -> Vec<u8> {
    let encoding = encoding_rs::Encoding::for_label(charset.as_bytes()).expect("a known charset");
    encoding.encode(text).0.into_owned()
}

fn encoded_word(random: &mut Random, text: &str, charset: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let bytes = encoded(text, charset);
    if random.chance(0.5) {
        return format!("=?{charset}?B?{}?=", base64(&bytes));
    }
    let mut word = format!("=?{charset}?Q?");
    for byte in bytes {
        match byte {
            b' ' => word.push('_'),
            byte if byte.is_ascii_alphanumeric() => word.push(char::from(byte)),
            byte => {
                let _ = write!(word, "={byte:02X}");
            }
        }
    }
    word + "?="
}

fn head(random: &mut Random, subject: &str, content_type: &str, encoding: Option<&str>) -> Vec<u8> {
    let mut out = String::new();
    for relay in 0..random.between(1, 6) {
        let (host, id, user) = (random.below(255), random.next() >> 24, random.below(9999));
        let (day, minute, second) = (random.between(1, 29), random.below(60), random.below(60));
        let _ = write!(
            out,
            "Received: from mx{relay}.example.test (mx{relay}.example.test [192.0.2.{host}])\r\n\
             \tby in{relay}.example.test (Postfix) with ESMTPS id {id:010X}\r\n\
             \tfor <u{user}@example.test>; Mon, {day} Jun 2026 10:{minute:02}:{second:02} +0200 (CEST)\r\n"
        );
    }
    if random.chance(0.7) {
        let lines: Vec<String> = (0..4).map(|_| base64(&random.bytes(48))).collect();
        let _ = write!(
            out,
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test; s=k1;\r\n\
             \th=from:to:subject:date; bh={};\r\n\tb={}\r\n",
            base64(&random.bytes(32)),
            lines.join("\r\n\t ")
        );
    }
    let name = words(random, 2);
    let name = encoded_word(random, &name, "utf-8");
    let (from, to, minute, id) =
        (random.below(9999), random.below(9999), random.below(60), random.next() >> 4);
    let _ = write!(
        out,
        "From: {name} <a{from}@example.test>\r\nTo: u{to}@example.test\r\nSubject: {subject}\r\n\
         Date: Mon, 01 Jun 2026 10:{minute:02}:00 +0200\r\nMessage-ID: <{id:x}@example.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n"
    );
    if let Some(encoding) = encoding {
        let _ = write!(out, "Content-Transfer-Encoding: {encoding}\r\n");
    }
    (out + "\r\n").into_bytes()
}

fn letter(random: &mut Random, depth: usize) -> Vec<u8> {
    let kind = random.share();
    let count = random.between(2, 9);
    let subject = words(random, count);
    let charset = random.of(&["utf-8", "utf-8", "iso-8859-2"]);
    let subject = encoded_word(random, &subject, charset);
    if kind < 0.25 {
        return plain(random, &subject);
    }
    let boundary = format!("=_{:016x}{:016x}", random.next(), random.next());
    let part = |fields: &str, body: &str| format!("--{boundary}\r\n{fields}\r\n\r\n{body}\r\n");
    if kind < 0.75 {
        let count = random.between(40, 300);
        let text = quoted_printable(paragraph(random, count).as_bytes());
        let rows = random.between(10, 200);
        let html = newsletter(random, rows).into_bytes();
        let (encoding, html) = if random.chance(0.4) {
            ("base64", base64_lines(&html))
        } else {
            ("quoted-printable", quoted_printable(&html))
        };
        let fields = |subtype: &str, encoding: &str| {
            format!(
                "Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}"
            )
        };
        let body = part(&fields("plain", "quoted-printable"), &text)
            + &part(&fields("html", encoding), &html)
            + &format!("--{boundary}--\r\n");
        let content_type = format!("multipart/alternative;\r\n boundary=\"{boundary}\"");
        return [head(random, &subject, &content_type, None), body.into_bytes()].concat();
    }
    let content_type = format!("multipart/mixed; boundary=\"{boundary}\"");
    let close = format!("--{boundary}--\r\n");
    if kind < 0.95 || depth > 2 {
        let body = part(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit",
            &paragraph(random, 60),
        ) + &attachment(random, &boundary)
            + &close;
        return [head(random, &subject, &content_type, None), body.into_bytes()].concat();
    }
    let open = format!("--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n");
    let inner = letter(random, depth + 1);
    let outer = head(random, &subject, &content_type, None);
    [outer, open.into_bytes(), inner, b"\r\n".to_vec(), close.into_bytes()].concat()
}

fn plain(random: &mut Random, subject: &str) -> Vec<u8> {
    let charset = random.of(&["utf-8", "iso-8859-2", "windows-1250"]);
    let count = random.between(20, 400);
    let body = encoded(&paragraph(random, count), charset);
    if random.chance(0.5) {
        let content_type = format!("text/plain; charset=\"{charset}\"");
        let head = head(random, subject, &content_type, Some("quoted-printable"));
        return [head, quoted_printable(&body).into_bytes()].concat();
    }
    let content_type = format!("text/plain; charset={charset}");
    [head(random, subject, &content_type, Some("8bit")), body].concat()
}

fn attachment(random: &mut Random, boundary: &str) -> String {
    // Doubling at an exponential rate: many small ones, a few of megabytes.
    let doublings = -(1.0 - random.share()).ln() / 0.25;
    let size = (2000.0 * 2_f64.powf(doublings)).min(ATTACHMENT_BYTES) as usize;
    let name = words(random, 2) + random.of(&[".pdf", ".jpg", ".docx"]);
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'.' {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    format!(
        "--{boundary}\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename*=UTF-8''{escaped}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        base64_lines(&random.bytes(size))
    )
}
