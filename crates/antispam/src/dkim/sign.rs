//! The `DKIM-Signature` fields of a letter (RFC 6376 §3.5, §5).

use super::canonical::{self, Field};
use super::key::Key;
use base64ct::{Base64, Encoding as _};
use std::fmt::Write as _;

/// A field that is signed, and whether one more of it than there is: then nobody can add another (RFC 6376 §8.15).
#[derive(Debug)]
pub struct SignedField {
    pub name: &'static str,
    pub once_more: bool,
}

const fn guarded(name: &'static str) -> SignedField {
    SignedField { name, once_more: true }
}

const fn present(name: &'static str) -> SignedField {
    SignedField { name, once_more: false }
}

/// What people see and what programs read the body by (RFC 6376 §5.4.1). A field that mail lists and other servers
/// on the way rightly add is signed only when it is there.
// unsorted: the order in `h=`, what matters most first
pub static SIGNED: &[SignedField] = &[
    guarded("From"),
    guarded("To"),
    guarded("Cc"),
    guarded("Subject"),
    guarded("Date"),
    guarded("Message-ID"),
    guarded("Reply-To"),
    present("Sender"),
    present("In-Reply-To"),
    present("References"),
    guarded("MIME-Version"),
    guarded("Content-Type"),
    guarded("Content-Transfer-Encoding"),
    present("Content-Disposition"),
    present("Content-ID"),
    present("Content-Description"),
    present("Content-Language"),
];

/// Of one name so many fields are signed, the last ones. All of ours but a few may stand only once (RFC 5322 §3.6);
/// a letter with thousands must not get an `h=` of thousands.
const SAME_NAME: usize = 8;
/// Where lines are folded.
const LINE_BYTES: usize = 76;

/// All keys of the server.
#[derive(Debug, Default)]
pub struct Signer {
    keys: Vec<Key>,
}

impl Signer {
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether letters of this domain get a signature.
    pub fn signs_for(&self, domain: &str) -> bool {
        self.keys_of(domain).next().is_some()
    }

    /// One field for each key of the domain, to stand before the letter; without a key, nothing. `domain` is that
    /// of the author's address, in lower case. The letter must have CRLF line ends and not be changed after.
    pub fn sign(&self, letter: &[u8], domain: &str, now_unix_s: i64) -> String {
        if !self.signs_for(domain) {
            return String::new();
        }
        let (fields, body) = canonical::split(letter);
        let (names, header) = select(fields);
        let body_hash = Base64::encode_string(canonical::body_hash(body).as_ref());
        let mut out = String::new();
        for key in self.keys_of(domain) {
            let unsigned = unsigned(key, &names, &body_hash, now_unix_s);
            let mut data = header.clone();
            let value = unsigned.strip_prefix("DKIM-Signature:").unwrap_or_default();
            let own = Field {
                raw: unsigned.as_bytes(),
                name: b"DKIM-Signature",
                value: value.as_bytes(),
            };
            canonical::header(&mut data, own);
            // RFC 6376 §3.7: without its own line end.
            data.truncate(data.len() - 2);
            // Without random bytes the letter is as good as before, and the next one may be signed again.
            if let Ok(signature) = key.sign(&data) {
                out.push_str(&unsigned);
                fold_into(&mut out, &Base64::encode_string(&signature));
                out.push_str("\r\n");
            }
        }
        out
    }

    fn keys_of<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| key.domain() == domain)
    }
}

/// The names for `h=`, and the fields in the form that is signed: of each name from the bottom up (RFC 6376 §5.4.2).
fn select<'a>(fields: impl Iterator<Item = Field<'a>>) -> (Vec<&'static str>, Vec<u8>) {
    let mut found: Vec<Same<'a>> = SIGNED.iter().map(|_| Same::default()).collect();
    for field in fields {
        let place = SIGNED.iter().position(|s| field.name.eq_ignore_ascii_case(s.name.as_bytes()));
        if let Some(same) = place.and_then(|place| found.get_mut(place)) {
            same.add(field);
        }
    }
    let (mut names, mut header) = (Vec::new(), Vec::new());
    for (row, same) in SIGNED.iter().zip(&found) {
        for field in same.last.iter().rev() {
            names.push(row.name);
            canonical::header(&mut header, *field);
        }
        // One more of those that are left out is one that is there.
        if row.once_more && !same.more {
            names.push(row.name);
        }
    }
    (names, header)
}

/// The last fields of one name.
#[derive(Default)]
struct Same<'a> {
    last: Vec<Field<'a>>,
    more: bool,
}

impl<'a> Same<'a> {
    fn add(&mut self, field: Field<'a>) {
        if self.last.len() == SAME_NAME {
            self.last.remove(0);
            self.more = true;
        }
        self.last.push(field);
    }
}

/// The field up to `b=`. No `l=`: what follows the signed part of a body would pass for signed (RFC 6376 §8.2).
fn unsigned(key: &Key, names: &[&str], body_hash: &str, now_unix_s: i64) -> String {
    let mut out = format!(
        "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={};\r\n\ts={}; t={};\r\n\th=",
        key.algorithm(),
        key.domain(),
        key.selector(),
        now_unix_s.max(0)
    );
    let mut line_bytes = 3;
    for (place, name) in names.iter().enumerate() {
        if place > 0 {
            out.push(':');
            line_bytes += 1;
        }
        if line_bytes + name.len() > LINE_BYTES {
            out.push_str("\r\n\t");
            line_bytes = 1;
        }
        out.push_str(name);
        line_bytes += name.len();
    }
    let written = write!(out, ";\r\n\tbh={body_hash};\r\n\tb=");
    debug_assert!(written.is_ok(), "a String takes everything");
    out
}

/// Base64 in lines; blanks in it do not count (RFC 6376 §3.5).
fn fold_into(out: &mut String, base64: &str) {
    let mut rest = base64;
    let mut room_bytes = LINE_BYTES - 3;
    while rest.len() > room_bytes {
        let (line, next) = rest.split_at_checked(room_bytes).unwrap_or((rest, ""));
        out.push_str(line);
        out.push_str("\r\n\t");
        rest = next;
        room_bytes = LINE_BYTES - 1;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::Error;
    use ring::digest::{SHA256, digest};
    use ring::signature::{
        ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
    };

    const RSA: &str = include_str!("../../../../testdata/dkim/rsa.pem");
    const RSA_PKCS1: &str = include_str!("../../../../testdata/dkim/rsa-pkcs1.pem");
    const RSA_1024: &str = include_str!("../../../../testdata/dkim/rsa-1024.pem");
    const RSA_TXT: &str = include_str!("../../../../testdata/dkim/rsa.txt");
    const ED: &str = include_str!("../../../../testdata/dkim/ed25519.pem");
    const EC: &str = include_str!("../../../../testdata/dkim/ec.pem");
    const NOW: i64 = 1_795_370_400;

    /// RFC 8463 §A: the letter, its two signatures and the keys.
    const RFC_8463: &str = include_str!("../../../../testdata/dkim/rfc8463.eml");
    const BRISBANE_SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const BRISBANE: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const TEST: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id\
        Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hst\
        T5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

    fn brisbane() -> Key {
        let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
        der.extend(Base64::decode_vec(BRISBANE_SEED).unwrap());
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            Base64::encode_string(&der)
        );
        Key::from_pem("football.example.com", "brisbane", pem.as_bytes()).unwrap()
    }

    fn crlf(text: &str) -> String {
        text.replace('\n', "\r\n")
    }

    // A verifier written from the text of RFC 6376 alone, the slow and plain way; it shares no line with the signer.

    fn squeeze(text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            match c {
                ' ' | '\t' if out.ends_with(' ') => {}
                ' ' | '\t' => out.push(' '),
                c => out.push(c),
            }
        }
        out
    }

    fn relaxed_header(field: &str) -> String {
        let (name, value) = field.split_once(':').unwrap();
        let value = squeeze(&value.replace("\r\n", ""));
        format!("{}:{}", name.trim_end().to_lowercase(), value.trim())
    }

    fn relaxed_body(body: &str) -> String {
        let mut lines: Vec<String> =
            body.split("\r\n").map(|line| squeeze(line).trim_end_matches(' ').to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.push(String::new());
        lines.join("\r\n")
    }

    fn tag(value: &str, wanted: &str) -> String {
        let value = value.replace("\r\n", "");
        let tags = value.split(';').filter_map(|tag| tag.split_once('='));
        let found = tags.filter(|(name, _)| name.trim() == wanted).map(|(_, v)| v);
        found.map(|v| v.replace([' ', '\t'], "")).next().unwrap_or_default()
    }

    /// Whether signature number `which` of the letter is good; `record` is the text in DNS.
    fn verify(letter: &str, which: usize, record: &str) -> Result<(), &'static str> {
        let (header, body) = letter.split_once("\r\n\r\n").unwrap();
        let header = format!("{header}\r\n");
        let mut fields: Vec<String> = Vec::new();
        for line in header.split_inclusive("\r\n") {
            if line.starts_with([' ', '\t']) {
                fields.last_mut().unwrap().push_str(line);
            } else {
                fields.push(line.to_owned());
            }
        }
        let is = |field: &String, name: &str| {
            field.split(':').next().unwrap().trim().eq_ignore_ascii_case(name)
        };
        let own = fields.iter().filter(|f| is(f, "DKIM-Signature")).nth(which).unwrap().clone();
        let value = own.split_once(':').unwrap().1;
        assert_eq!(tag(value, "c"), "relaxed/relaxed");
        let hash = digest(&SHA256, relaxed_body(body).as_bytes());
        if Base64::encode_string(hash.as_ref()) != tag(value, "bh") {
            return Err("body");
        }
        let mut left = fields.clone();
        let mut data = String::new();
        for name in tag(value, "h").split(':') {
            if let Some(at) = left.iter().rposition(|f| is(f, name)) {
                data += &relaxed_header(&left.remove(at));
                data += "\r\n";
            }
        }
        let (before, signature) = value.rsplit_once("b=").unwrap();
        let signature: String = signature.split_ascii_whitespace().collect();
        data += &relaxed_header(&format!("DKIM-Signature:{before}b="));
        let signature = Base64::decode_vec(&signature).unwrap();
        let public = Base64::decode_vec(&tag(record, "p")).unwrap();
        let good = match tag(value, "a").as_str() {
            "ed25519-sha256" => UnparsedPublicKey::new(&ED25519, public)
                .verify(digest(&SHA256, data.as_bytes()).as_ref(), &signature),
            "rsa-sha256" => {
                // The frame around the PKCS#1 key has 22 bytes for 1,024 bits and 24 for 2,048.
                let frame = if public.len() < 256 { 22 } else { 24 };
                let scheme = &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
                UnparsedPublicKey::new(scheme, &public[frame..]).verify(data.as_bytes(), &signature)
            }
            other => panic!("{other}"),
        };
        good.map_err(|_| "header")
    }

    #[test]
    fn the_plain_verifier_agrees_with_the_standard() {
        let letter = crlf(RFC_8463);
        assert_eq!(verify(&letter, 0, BRISBANE), Ok(()));
        assert_eq!(verify(&letter, 1, TEST), Ok(()));
        let changed = letter.replace("hungry", "angry");
        assert_eq!(verify(&changed, 0, BRISBANE), Err("body"));
        let changed = letter.replace("dinner", "supper");
        assert_eq!(verify(&changed, 0, BRISBANE), Err("header"));
        assert_eq!(verify(&changed, 1, TEST), Err("header"));
    }

    /// Ed25519 gives the same signature each time: the very bytes of RFC 8463 §A.3.
    #[test]
    fn the_signature_of_the_standard() {
        let letter = crlf(RFC_8463);
        let (fields, body) = canonical::split(letter.as_bytes());
        let hash = Base64::encode_string(canonical::body_hash(body).as_ref());
        assert_eq!(hash, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
        let fields: Vec<Field<'_>> = fields.collect();
        let mut data = Vec::new();
        for name in ["from", "to", "subject", "date", "message-id"] {
            let field = fields.iter().find(|f| f.name.eq_ignore_ascii_case(name.as_bytes()));
            canonical::header(&mut data, *field.unwrap());
        }
        let own = fields[0].value;
        let end = own.windows(4).position(|w| w == b"\n b=").unwrap() + 4;
        let value = &own[..end];
        canonical::header(&mut data, Field { raw: value, name: b"DKIM-Signature", value });
        data.truncate(data.len() - 2);
        let signature = Base64::encode_string(&brisbane().sign(&data).unwrap());
        let expect = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==";
        assert_eq!(signature, expect);
        assert_eq!(brisbane().record().text, BRISBANE);
    }

    fn both() -> Signer {
        let key = |selector, pem: &str| Key::from_pem("Example.test", selector, pem.as_bytes());
        Signer::new(vec![key("rsa", RSA).unwrap(), key("ed", ED).unwrap()])
    }

    fn sign(letter: &str) -> String {
        let fields = both().sign(letter.as_bytes(), "example.test", NOW);
        assert!(fields.ends_with("\r\n") && !fields.contains("\r\n\r\n"), "{fields}");
        assert!(fields.lines().all(|line| line.len() <= 78), "{fields}");
        fields + letter
    }

    #[track_caller]
    fn check_both(letter: &str, expect: Result<(), &'static str>) {
        for (which, key) in both().keys().iter().enumerate() {
            assert_eq!(verify(letter, which, &key.record().text), expect, "{key:?}: {letter}");
        }
    }

    #[test]
    fn what_we_sign_is_good() {
        let long =
            format!("Subject: {}\r\n\r\n{}", "a b  ".repeat(300), "x \t y\r\n\r\n".repeat(3000));
        let many = format!("{}From: z@example.test\r\n\r\n", "To: a@example.test\r\n".repeat(100));
        for letter in [
            "From: a@example.test\r\n\r\n",
            "From: a@example.test\r\n\r\nhello\r\n",
            "From: a@example.test\r\nTo: b@x.test,\r\n\tc@x.test\r\nDate : now\r\n\r\nhello \t\r\n\r\n\r\n",
            "FROM:   Ala <a@example.test>  \r\nSubject:\r\nX: y\r\n\r\n no line end",
            "Subject: a\r\nSubject: b\r\nFrom: a@example.test\r\n\r\n \r\n\r\n",
            "Content-Type: text/plain;\r\n charset=utf-8\r\nMIME-Version: 1.0\r\n\r\nza\u{17c}\u{f3}\u{142}\u{107}\r\n",
            &long,
            &many,
        ] {
            check_both(&sign(letter), Ok(()));
        }
    }

    /// Blanks, folds and line ends in all places: the signer and the plain verifier read them alike.
    #[test]
    fn any_blanks_and_line_ends() {
        let signer = Signer::new(vec![brisbane()]);
        let mut state = 1_u64;
        let mut pick = |pieces: &[&str], most: usize| -> String {
            let mut text = String::new();
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let count = usize::try_from(state >> 33).unwrap() % most;
            for _ in 0..count {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text += pieces[usize::try_from(state >> 33).unwrap() % pieces.len()];
            }
            text
        };
        for _ in 0..2000 {
            let subject = pick(&["a", "B:", " ", "\t", "\r\n ", "\r\n\t", "\u{17c}"], 12);
            let body = pick(&["a", " ", "\t", "\r\n", "\r\n", "\r", "\n", ". "], 30);
            let letter = format!("From: a@b\r\nSUBJECT \t:{subject}\r\n\r\n{body}");
            let signed = signer.sign(letter.as_bytes(), "football.example.com", NOW) + &letter;
            assert_eq!(verify(&signed, 0, BRISBANE), Ok(()), "{letter:?}");
        }
    }

    #[test]
    fn what_nobody_can_add_or_change() {
        let signed = sign(
            "From: a@example.test\r\nSubject: x  y\r\nX-Other: 1\r\nReferences: <1@x>\r\n\r\nhello  you\r\n",
        );
        let add = |field: &str| format!("{field}\r\n{signed}");
        for field in [
            "From: boss@example.test",
            "Subject: other",
            "Cc: c@x.test",
            "Content-Type: text/html",
            "Reply-To: me@x.test",
        ] {
            check_both(&add(field), Err("header"));
        }
        // What travels: blanks, other fields, lists' fields.
        check_both(&add("Received: from x"), Ok(()));
        check_both(&add("List-Id: <l.x.test>"), Ok(()));
        check_both(&signed.replace("X-Other: 1", "X-Other: 2"), Ok(()));
        check_both(&signed.replace("Subject: x  y", "subject:x\r\n\ty"), Ok(()));
        check_both(&signed.replace("hello  you\r\n", "hello \t you  \r\n\r\n"), Ok(()));
        check_both(&signed.replace("hello", "Hello"), Err("body"));
        check_both(&format!("{signed}more"), Err("body"));
        check_both(&signed.replace("<1@x>", "<2@x>"), Err("header"));
        check_both(&signed.replace("; t=1795370400", "; t=1795370401"), Err("header"));
    }

    #[test]
    fn the_field() {
        let signed = sign("From: a@example.test\r\nTo: b@x.test\r\n\r\nhello\r\n");
        let expect = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test;\r\n\
             \ts=rsa; t=1795370400;\r\n\
             \th=From:From:To:To:Cc:Subject:Date:Message-ID:Reply-To:MIME-Version:\r\n\
             \tContent-Type:Content-Transfer-Encoding;\r\n\
             \tbh=";
        assert!(signed.starts_with(expect), "{signed}");
        let (names, _) = select(canonical::split(b"Sender: a\r\nFrom: b\r\n\r\n").0);
        assert_eq!(names[..2], ["From", "From"]);
        assert_eq!(names.iter().filter(|n| **n == "Sender").count(), 1);
        assert!(!signed.contains("l="));
    }

    #[test]
    fn only_for_our_domains() {
        let signer = both();
        for domain in ["other.test", "sub.example.test", "test", ""] {
            assert_eq!(signer.sign(b"From: a@x\r\n\r\n", domain, NOW), "");
        }
        assert!(signer.signs_for("example.test"));
    }

    #[test]
    fn keys() {
        #[track_caller]
        fn check(pem: &str, expect: Result<&str, &str>) {
            let key = Key::from_pem("example.test", "s", pem.as_bytes());
            let found = key.as_ref().map(Key::algorithm).map_err(Error::to_string);
            match (&found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(*found, expect),
                (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
                _ => panic!("{found:?}"),
            }
        }
        check(RSA, Ok("rsa-sha256"));
        check(RSA_PKCS1, Ok("rsa-sha256"));
        check(ED, Ok("ed25519-sha256"));
        check(&Key::make_ed25519().unwrap(), Ok("ed25519-sha256"));
        check(RSA_1024, Err("2048 to 4096 bits"));
        check(EC, Err("neither RSA nor Ed25519"));
        check("", Err("PEM"));
        check(
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            Err("cannot be used"),
        );
        check(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            Err("password"),
        );
        assert_ne!(Key::make_ed25519().unwrap(), Key::make_ed25519().unwrap());
    }

    #[test]
    fn records() {
        let record = Key::from_pem("example.test", "s2026", RSA.as_bytes()).unwrap().record();
        assert_eq!(record.name, "s2026._domainkey.example.test");
        // As `openssl pkey -pubout` has it.
        assert_eq!(record.text, format!("v=DKIM1; k=rsa; p={}", RSA_TXT.trim()));
        let line = record.to_string();
        assert!(
            line.starts_with("s2026._domainkey.example.test. IN TXT ( \"v=DKIM1; k=rsa; p="),
            "{line}"
        );
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert!(strings.iter().all(|s| s.len() <= 255));
        assert_eq!(strings.concat(), record.text);
    }

    #[test]
    fn a_thousand_times_the_fields_take_a_thousand_times_the_time() {
        let letter = |fields: usize| {
            format!("{}\r\n{}", "To: a@b\r\n \r\n".repeat(fields), " \r\n".repeat(fields))
        };
        let signer = Signer::new(vec![brisbane()]);
        let time = |fields| {
            let letter = letter(fields);
            let start = std::time::Instant::now();
            let signed = signer.sign(letter.as_bytes(), "football.example.com", NOW);
            assert!(signed.len() < 1000);
            start.elapsed().as_secs_f64()
        };
        let (few, many) = (time(20_000), time(320_000));
        assert!(many < few.max(0.001) * 16.0 * 8.0, "{few} {many}");
    }
}
