//! Letters to deliver: Polish and English text with an HTML alternative, the same at every run.

/// `SplitMix64`: small, and the same everywhere for one seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `items`, which are not empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(items.len()).unwrap_or(1).max(1);
        usize::try_from(self.next() % count).ok().and_then(|at| items.get(at))
    }
}

/// Bodies made once; a letter is a fresh head with one of them.
pub(crate) struct Pool {
    bodies: Vec<Vec<u8>>,
}

/// Enough that neither caches nor checksums see one letter over and over.
const BODIES: usize = 64;
/// About what the lines before the body take.
const HEAD_BYTES: usize = 240;

const WORDS: &[&str] = &[
    "poczta",
    "wiadomość",
    "faktura",
    "spotkanie",
    "dzień",
    "dobry",
    "zamówienie",
    "jutro",
    "kopia",
    "zapasowa",
    "zażółć",
    "gęślą",
    "jaźń",
    "termin",
    "płatność",
    "pozdrawiam",
    "załącznik",
    "proszę",
    "the",
    "and",
    "invoice",
    "report",
    "please",
    "order",
    "attached",
    "regards",
    "meeting",
    "tomorrow",
    "server",
    "backup",
    "with",
    "from",
    "delivery",
    "team",
    "project",
    "update",
    "notes",
    "question",
];

impl Pool {
    /// Letters of about `size_bytes` each, head included.
    pub(crate) fn new(size_bytes: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let bodies = (0..BODIES).map(|_| body(&mut random, size_bytes - HEAD_BYTES)).collect();
        Self { bodies }
    }

    /// Letter number `number`, ready for DATA: CRLF lines, none begins with a dot.
    pub(crate) fn letter(&self, number: u64, to: &str) -> Vec<u8> {
        let mut random = Random(number);
        let sender = number % 97;
        let subject = random.pick(WORDS).copied().unwrap_or_default();
        let head = format!(
            "Message-ID: <{number:016x}.{:08x}@load.example.test>\r\n\
             Date: Sun, 22 Nov 2026 18:00:00 +0000\r\n\
             From: \"Nadawca {sender}\" <s{sender}@sender.example.test>\r\n\
             To: <{to}>\r\n\
             Subject: =?UTF-8?Q?{}?= {number}\r\n",
            random.next() >> 32,
            quoted(subject),
        );
        let mut letter = head.into_bytes();
        letter.extend_from_slice(random.pick(&self.bodies).map_or(&[][..], |body| body));
        letter
    }
}

/// A word in RFC 2047 Q encoding.
fn quoted(word: &str) -> String {
    let quote = |b: u8| match b {
        b'a'..=b'z' => char::from(b).to_string(),
        _ => format!("={b:02X}"),
    };
    word.bytes().map(quote).collect()
}

/// The MIME lines of the head and a multipart/alternative body.
fn body(random: &mut Random, size_bytes: usize) -> Vec<u8> {
    let boundary = format!("=_{:016x}", random.next());
    let part = |kind: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n"
        )
    };
    let mut body = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n"
    );
    body.push_str(&part("plain"));
    let plain_bytes = body.len() + size_bytes * 2 / 5;
    paragraphs(random, &mut body, plain_bytes, ["", ""]);
    body.push_str("\r\n");
    body.push_str(&part("html"));
    body.push_str("<html><body>\r\n");
    let end = format!("</body></html>\r\n--{boundary}--\r\n");
    paragraphs(
        random,
        &mut body,
        size_bytes.saturating_sub(end.len()),
        ["<p class=\"c\">", "</p>"],
    );
    body.push_str(&end);
    body.into_bytes()
}

/// Lines of words until `text` has `until_bytes`.
fn paragraphs(random: &mut Random, text: &mut String, until_bytes: usize, around: [&str; 2]) {
    while text.len() < until_bytes {
        text.push_str(around[0]);
        let line_end = text.len() + 66;
        while text.len() < line_end {
            text.push_str(random.pick(WORDS).copied().unwrap_or_default());
            text.push(' ');
        }
        text.push_str(around[1]);
        text.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_the_same_at_every_run_and_differ_from_each_other() {
        let letters = |seed| -> Vec<Vec<u8>> {
            let pool = Pool::new(5000, seed);
            (0..100).map(|n| pool.letter(n, "u0001@example.test")).collect()
        };
        let (one, other) = (letters(1), letters(1));
        assert!(one == other && one != letters(2));
        let mut unique = one;
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 100);
    }

    #[test]
    fn letters_have_the_size_asked_for_and_can_be_sent_as_they_are() {
        let pool = Pool::new(5000, 1);
        for number in 0..100 {
            let letter = pool.letter(number, "u0001@example.test");
            assert!((4_800..5_300).contains(&letter.len()), "{}", letter.len());
            let text = String::from_utf8(letter).unwrap();
            assert!(text.ends_with("--\r\n") && text.contains("\r\n\r\n"));
            for line in text.split_terminator("\r\n") {
                assert!(!line.starts_with('.') && !line.contains(['\r', '\n']), "{line}");
                assert!(line.len() < 998);
            }
        }
    }
}
