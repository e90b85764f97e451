//! How a letter is made: which fields in which order, whose domains agree, the way it came, the kinds of its parts, hosts
//! and tags. Programs that write spam in bulk are recognized by it when their words change.

use super::features::Page;
use super::hash::{hash, magnitude};
use std::collections::BTreeMap;

/// `Received` fields, from the sender's side.
const HOPS: usize = 4;
const HOP_WORDS: usize = 30;
/// Web addresses of one letter that are taken apart.
const LINKS: usize = 60;
const HOST_BYTES: usize = 80;
const PATH_BYTES: usize = 60;
/// Different HTML tags.
const TAGS: usize = 200;
/// Labels of a host name.
const LABELS: usize = 10;

/// Hashes a feature under the name of its kind.
struct Out<'a, F>(&'a mut F);

impl<F: FnMut(u64)> Out<'_, F> {
    fn put(&mut self, kind: &str, value: &[u8]) {
        (self.0)(hash(hash(1313, kind.as_bytes()), value));
    }
}

pub(super) fn shape(page: &Page<'_>, put: &mut impl FnMut(u64)) {
    let mut out = Out(put);
    fields(page, &mut out);
    domains(page, &mut out);
    way(page, &mut out);
    let mut skeleton = Vec::new();
    for part in &page.parts {
        out.put("part", part);
        skeleton.extend_from_slice(part);
        skeleton.push(b'|');
    }
    out.put("parts", skeleton.get(..120).unwrap_or(&skeleton));
    text(page.text, &mut out);
}

fn fields(page: &Page<'_>, out: &mut Out<'_, impl FnMut(u64)>) {
    let mut before: &[u8] = b"^";
    for (name, value) in &page.fields {
        out.put("field", name);
        out.put("order", &[before, b">", name].concat());
        before = name;
        match name.as_slice() {
            b"message-id" => {
                let left = value.split(|byte| *byte == b'@').next().unwrap_or(value);
                out.put("id form", &form(left, true));
            }
            b"to" => {
                let addresses = memchr::memchr_iter(b'@', value).count();
                out.put("to", &[magnitude(addresses)]);
            }
            b"x-mailer" | b"user-agent" => {
                let kept = value.iter().filter(|byte| byte.is_ascii_alphabetic() || **byte == b' ');
                let program: Vec<u8> = kept.take(24).copied().collect();
                out.put("program", &program);
            }
            b"subject" => subject(value, out),
            b"content-type" => content_type(value, out),
            _ => {}
        }
    }
}

/// Digits as `9`, letters as `A` and `a`; runs of one kind as one when `short`.
fn form(value: &[u8], short: bool) -> Vec<u8> {
    let kind = |byte: &u8| match byte {
        b'0'..=b'9' => b'9',
        b'A'..=b'Z' => b'A',
        b'a'..=b'z' => b'a',
        other => *other,
    };
    let mut form: Vec<u8> = value.iter().map(kind).collect();
    if short {
        form.dedup();
    }
    form
}

fn subject(value: &[u8], out: &mut Out<'_, impl FnMut(u64)>) {
    let count = |is: fn(&u8) -> bool| value.iter().filter(|byte| is(byte)).count();
    let (large, letters) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_alphabetic));
    if letters > 4 {
        out.put("subject large", &[magnitude(1 << (large * 5 / letters))]);
    }
    let marks = count(|byte| *byte == b'!').min(3);
    out.put("subject !", &[magnitude(1 << marks)]);
    out.put("subject $", &[u8::from(value.contains(&b'$'))]);
    out.put("subject 8", &[u8::from(!value.is_ascii())]);
    let start = value.trim_ascii_start();
    out.put("subject start", &start.get(..3).unwrap_or(start).to_ascii_lowercase());
    out.put("subject length", &[magnitude(value.len())]);
}

fn content_type(value: &[u8], out: &mut Out<'_, impl FnMut(u64)>) {
    let lower = value.to_ascii_lowercase();
    let after = |name: &[u8]| {
        let at = memchr::memmem::find(&lower, name)?;
        lower.get(at + name.len()..)
    };
    if let Some(boundary) = after(b"boundary=") {
        out.put("boundary", &form(boundary.get(..14).unwrap_or(boundary), false));
    }
    if let Some(charset) = after(b"charset=") {
        let name = charset.split(|byte| byte.is_ascii_whitespace() || *byte == b';').next();
        let name: Vec<u8> =
            name.unwrap_or_default().iter().filter(|b| **b != b'"').copied().collect();
        out.put("charset", &name);
    }
}

fn domains(page: &Page<'_>, out: &mut Out<'_, impl FnMut(u64)>) {
    let of = |names: &[&[u8]]| {
        let mut fields = page.fields.iter().filter(|(name, _)| names.contains(&name.as_slice()));
        fields.next().map(|(_, value)| domain(value)).unwrap_or_default()
    };
    let from = of(&[b"from"]);
    let others = [
        ("path", of(&[b"return-path", b"sender"])),
        ("id", of(&[b"message-id"])),
        ("reply", of(&[b"reply-to"])),
        ("to", of(&[b"to"])),
    ];
    for (name, domain) in
        std::iter::once(("from", &from)).chain(others.iter().map(|(n, d)| (*n, d)))
    {
        if domain.is_empty() {
            out.put(name, b"-");
            continue;
        }
        out.put(name, domain);
        out.put(&format!("{name} owner"), owner(domain));
        out.put(
            &format!("{name} top"),
            domain.rsplit(|byte| *byte == b'.').next().unwrap_or_default(),
        );
    }
    let mut all = Vec::new();
    for (name, domain) in &others {
        let same = match (from.is_empty(), domain.is_empty()) {
            (false, false) => u8::from(owner(&from) == owner(domain)),
            _ => 2,
        };
        out.put(&format!("from {name}"), &[same]);
        all.push(same);
    }
    out.put("from others", all.get(..3).unwrap_or_default());
}

/// Behind the last `@`, lower case.
fn domain(value: &[u8]) -> Vec<u8> {
    let Some(at) = value.iter().rposition(|byte| *byte == b'@') else { return Vec::new() };
    let rest = value.get(at + 1..).unwrap_or_default().iter();
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    rest.take_while(is_name).map(u8::to_ascii_lowercase).collect()
}

/// The last two labels, three under short ones such as `co.uk`: near enough for a feature.
fn owner(domain: &[u8]) -> &[u8] {
    let mut dots =
        domain.iter().enumerate().rev().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (dots.next(), dots.next()) else { return domain };
    let is_short = domain.len() - last - 1 == 2 && last - second - 1 <= 3;
    let start = if is_short { dots.next().map_or(0, |third| third + 1) } else { second + 1 };
    domain.get(start..).unwrap_or(domain)
}

fn way(page: &Page<'_>, out: &mut Out<'_, impl FnMut(u64)>) {
    let received = |(name, value): &'_ (Vec<u8>, &'_ [u8])| {
        (name == b"received").then(|| value.to_ascii_lowercase())
    };
    let hops: Vec<Vec<u8>> = page.fields.iter().filter_map(received).collect();
    out.put("hops", &[magnitude(1 << hops.len().min(9))]);
    for (number, hop) in hops.iter().rev().take(HOPS).enumerate() {
        let place = format!("hop {number}");
        let is_break = |byte: &u8| byte.is_ascii_whitespace() || b"();,".contains(byte);
        let mut key: &[u8] = b"";
        for word in hop.split(is_break).filter(|word| !word.is_empty()).take(HOP_WORDS) {
            if matches!(word, b"from" | b"by" | b"with" | b"via" | b"helo") {
                key = word;
                continue;
            }
            hop_word(word, key, &place, out);
        }
        let says = |what: &[u8]| u8::from(memchr::memmem::find(hop, what).is_some());
        let number = u8::try_from(number).unwrap_or_default();
        out.put("forged", &[says(b"may be forged"), says(b"unknown"), number]);
    }
}

fn hop_word(word: &[u8], key: &[u8], place: &str, out: &mut Out<'_, impl FnMut(u64)>) {
    let word = word.strip_prefix(b"helo=").unwrap_or(word);
    if let Some(address) = word.strip_prefix(b"[") {
        let address = address.split(|byte| *byte == b']').next().unwrap_or_default();
        for network in beginnings(address) {
            out.put("ip", network);
            out.put(place, network);
        }
    } else if word.contains(&b'.') && key != b"with" {
        for host in ends(word) {
            out.put("host", host);
            if !key.is_empty() {
                out.put(if key == b"by" { "by" } else { "from" }, host);
            }
        }
    } else if !key.is_empty() {
        let digits = |byte: &u8| if byte.is_ascii_digit() { b'9' } else { *byte };
        let short: Vec<u8> = word.iter().take(14).map(digits).collect();
        out.put("hop", &short);
        out.put(place, &short);
    }
}

/// `192`, `192.0`, `192.0.2`, `192.0.2.7`
fn beginnings(address: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = address.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    let ends = dots.chain(std::iter::once(address.len())).take(4);
    ends.filter_map(move |end| address.get(..end))
}

/// `a.b.test`, `b.test`, `test`
fn ends(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
    let starts = std::iter::once(0).chain(dots).take(LABELS);
    starts.filter_map(move |start| host.get(start..))
}

fn text(text: &[u8], out: &mut Out<'_, impl FnMut(u64)>) {
    out.put("length", &[magnitude(text.len())]);
    let high = text.iter().filter(|byte| !byte.is_ascii()).count();
    out.put("high", &[magnitude(high * 64 / text.len().max(1))]);
    let mut tags: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut links = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'<', b':', text.get(at..).unwrap_or_default()) {
        at += found;
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(b"<") {
            let name = tag_name(rest);
            at += name.len();
            if tags.len() < TAGS || tags.contains_key(name) {
                *tags.entry(name.to_ascii_lowercase()).or_default() += 1;
            }
        } else if rest.starts_with(b"://") {
            links += 1;
            at += if links < LINKS { link(rest.get(3..).unwrap_or_default(), out) + 3 } else { 3 };
        } else {
            at += 1;
        }
    }
    out.put("links", &[magnitude(links)]);
    for (tag, count) in &tags {
        out.put("tag", tag);
        out.put("tags", &[tag.as_slice(), &[magnitude(*count)]].concat());
    }
}

/// `<a`, `</a`, `<!doctype`
fn tag_name(rest: &[u8]) -> &[u8] {
    let start = 1 + usize::from(matches!(rest.get(1), Some(b'/' | b'!')));
    let letters = rest.iter().skip(start).take(12).take_while(|byte| byte.is_ascii_alphanumeric());
    let end = start + letters.count();
    rest.get(..end).unwrap_or(rest)
}

/// What comes after `://`; gives back how long it is.
fn link(rest: &[u8], out: &mut Out<'_, impl FnMut(u64)>) -> usize {
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-@:%".contains(byte);
    let host_end = rest.iter().take(HOST_BYTES).take_while(|byte| is_host(byte)).count();
    let host = rest.get(..host_end).unwrap_or_default().to_ascii_lowercase();
    for end in ends(&host) {
        out.put("link", end);
    }
    let has = |byte: u8| u8::from(host.contains(&byte));
    let is_ip = host.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    out.put("link form", &[u8::from(is_ip), has(b'@'), has(b'%'), has(b':')]);
    let path = rest.get(host_end..).unwrap_or_default();
    let ends_path = |byte: &u8| byte.is_ascii_whitespace() || b"\"<>".contains(byte);
    let length = path.iter().take(PATH_BYTES).take_while(|byte| !ends_path(byte)).count();
    let path = path.get(..length).unwrap_or_default();
    for word in path.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| word.len() > 1) {
        out.put("path word", &word.get(..16).unwrap_or(word).to_ascii_lowercase());
    }
    out.put("path length", &[magnitude(length)]);
    host_end + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        #[track_caller]
        fn check(domain: &str, expect: &str) {
            assert_eq!(String::from_utf8_lossy(owner(domain.as_bytes())), expect);
        }
        check("example.test", "example.test");
        check("a.b.example.test", "example.test");
        check("a.b.co.uk", "b.co.uk");
        check("co.uk", "co.uk");
        check("a.com.pl", "a.com.pl");
        check("test", "test");
        check("", "");
    }

    #[test]
    fn pieces() {
        #[track_caller]
        fn check<'a>(found: impl Iterator<Item = &'a [u8]>, expect: &str) {
            let found: Vec<_> = found.map(String::from_utf8_lossy).collect();
            assert_eq!(found.join(" "), expect);
        }
        check(beginnings(b"192.0.2.7"), "192 192.0 192.0.2 192.0.2.7");
        check(beginnings(b"ipv6:2001:db8::1"), "ipv6:2001:db8::1");
        check(ends(b"a.b.test"), "a.b.test b.test test");
        assert_eq!(domain(b"\"a@b\" <x@Mail.Example.test>"), b"mail.example.test");
        assert_eq!(form(b"2002AbC-77", true), b"9AaA-9");
    }
}
