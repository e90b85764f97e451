//! The seed letters: reads the files under `seed/` and writes them as mail. What the keys mean stands in
//! `seed/README.md`. A mistake in those files is a mistake of ours: the tests find it.

use super::compose::{self, Part};
use super::{broken, files};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::fmt::Write;
use types::{Date, Flags};

/// Where a letter of the seed goes, and its bytes.
pub(crate) struct Letter {
    /// `alice` or `bob`
    pub(crate) owner: String,
    /// Name of the mailbox; a standard one by its role's usual name.
    pub(crate) mailbox: String,
    pub(crate) flags: Flags,
    pub(crate) received_unix_s: i64,
    pub(crate) bytes: Vec<u8>,
}

/// The files with letters.
static SOURCES: &[&str] = &[
    include_str!("../../seed/bob.txt"),
    include_str!("../../seed/bread.txt"),
    include_str!("../../seed/choir.txt"),
    include_str!("../../seed/family.txt"),
    include_str!("../../seed/hills.txt"),
    include_str!("../../seed/junk.txt"),
    include_str!("../../seed/lamp.txt"),
    include_str!("../../seed/news.txt"),
    include_str!("../../seed/odd.txt"),
    include_str!("../../seed/shop.txt"),
    include_str!("../../seed/work.txt"),
];

/// The HTML sides, by file name.
static HTML: &[(&str, &str)] = &[
    ("chart.html", include_str!("../../seed/chart.html")),
    ("flowed.html", include_str!("../../seed/flowed.html")),
    ("herrings.html", include_str!("../../seed/herrings.html")),
    ("hills.html", include_str!("../../seed/hills.html")),
    ("library.html", include_str!("../../seed/library.html")),
    ("newsletter.html", include_str!("../../seed/newsletter.html")),
    ("parcel.html", include_str!("../../seed/parcel.html")),
    ("phishing.html", include_str!("../../seed/phishing.html")),
    ("spam.html", include_str!("../../seed/spam.html")),
];

/// All letters, oldest first, dated back from `now_unix_s`.
pub(crate) fn all(now_unix_s: i64) -> Result<Vec<Letter>> {
    let seed = Seed::read(now_unix_s)?;
    let mut letters = Vec::new();
    for entry in seed.entries.values().filter(|e| e.mailbox() != "none") {
        letters.push(seed.letter(entry).with_context(|| format!("seed letter {}", entry.id()))?);
    }
    letters.sort_by_key(|letter| letter.received_unix_s);
    Ok(letters)
}

/// One block of a file.
struct Entry {
    fields: Vec<(&'static str, &'static str)>,
    text: &'static str,
}

impl Entry {
    fn read(block: &'static str) -> Result<Self> {
        let (head, text) = block.split_once("\n\n").context("a letter without text")?;
        let fields = head
            .lines()
            .map(|line| line.split_once(": ").with_context(|| format!("no `Key: value`: {line}")))
            .collect::<Result<_>>()?;
        Ok(Self { fields, text })
    }

    fn get(&self, key: &str) -> Option<&'static str> {
        self.fields.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    fn all(&self, key: &'static str) -> impl Iterator<Item = &'static str> + '_ {
        self.fields.iter().filter(move |(k, _)| *k == key).map(|(_, value)| *value)
    }

    fn id(&self) -> &'static str {
        self.get("Id").unwrap_or_default()
    }

    fn mailbox(&self) -> &'static str {
        self.get("Box").unwrap_or("INBOX")
    }

    fn owner(&self) -> &'static str {
        self.get("For").unwrap_or("alice")
    }

    fn came_by_mail(&self) -> bool {
        !["Sent", "Drafts"].contains(&self.mailbox())
    }

    fn flags(&self) -> Result<Flags> {
        let mut flags = Flags::default();
        let names = self.get("Flags").unwrap_or("\\Seen");
        for name in names.split(' ').filter(|n| *n != "none") {
            ensure!(flags.insert_name(name), "{name} is no flag");
        }
        Ok(flags)
    }
}

/// All blocks by id, and the time they are dated back from.
struct Seed {
    entries: HashMap<&'static str, Entry>,
    now_unix_s: i64,
}

impl Seed {
    fn read(now_unix_s: i64) -> Result<Self> {
        let mut entries = HashMap::new();
        for block in SOURCES.iter().flat_map(|source| source.split("~~~~\n")) {
            let entry = Entry::read(block)?;
            let id = entry.id();
            ensure!(!id.is_empty(), "a letter without Id: {block}");
            ensure!(entries.insert(id, entry).is_none(), "two letters {id}");
        }
        Ok(Self { entries, now_unix_s })
    }

    fn letter(&self, entry: &Entry) -> Result<Letter> {
        let mut bytes = self.bytes(entry)?;
        if entry.came_by_mail() {
            let field = format!("X-Spam-Status: {}\r\n", verdict(&bytes).header_value());
            bytes.splice(0..0, field.into_bytes());
        }
        Ok(Letter {
            owner: entry.owner().to_owned(),
            mailbox: entry.mailbox().to_owned(),
            flags: entry.flags()?,
            received_unix_s: self.received(entry)?,
            bytes,
        })
    }

    fn received(&self, entry: &Entry) -> Result<i64> {
        let ago = entry.get("Ago").context("no Ago")?;
        let mut seconds = 0;
        for word in ago.split(' ') {
            let (number, unit) = word.split_at(word.len().saturating_sub(1));
            seconds += number.parse::<i64>()?
                * match unit {
                    "d" => 86_400,
                    "h" => 3600,
                    "m" => 60,
                    _ => bail!("{word} is no time: write 3d 4h 10m"),
                };
        }
        // Nobody sends a letter at the full hour sharp: shift by up to 50 minutes, the same each time.
        let shift = entry.id().bytes().fold(7, |n, b| (n * 31 + i64::from(b)) % 3001);
        Ok(self.now_unix_s - seconds - shift)
    }

    fn bytes(&self, entry: &Entry) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if let Some(key) = entry.get("Raw") {
            let broken = broken::find(key).with_context(|| format!("no broken letter {key}"))?;
            out.extend_from_slice(format!("Date: {}\r\n", self.date(entry)?).as_bytes());
            out.extend_from_slice(broken.bytes);
            return Ok(out);
        }
        let root = self.root(entry)?;
        out.extend_from_slice(self.header(entry)?.as_bytes());
        out.extend_from_slice(root.header.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&root.body);
        Ok(out)
    }

    fn header(&self, entry: &Entry) -> Result<String> {
        let from = entry.get("From").context("no From")?;
        let to = match (entry.get("To"), entry.owner()) {
            (Some(to), _) => to,
            (None, "bob") => "bob@example.test",
            (None, _) => "alice@example.test",
        };
        let mut head = String::new();
        let mut field = |name: &str, value: &str| {
            let _ = write!(head, "{name}: {value}\r\n");
        };
        let date = self.date(entry)?;
        if entry.came_by_mail() {
            let domain =
                from.rsplit_once('@').map_or("example.test", |(_, d)| d.trim_end_matches('>'));
            let trace =
                format!("from mail.{domain}\r\n\tby demo.example.test with ESMTPS;\r\n\t{date}");
            field("Received", &trace);
        }
        field("Date", &date);
        field("From", &compose::address_list(from));
        field("To", &compose::address_list(to));
        if let Some(cc) = entry.get("Cc") {
            field("Cc", &compose::address_list(cc));
        }
        if let Some(subject) = entry.get("Subject") {
            field("Subject", &mparser::encode_header_text(subject));
        }
        field("Message-ID", &message_id(entry.id()));
        if let Some(parent) = entry.get("Reply") {
            field("In-Reply-To", &message_id(parent));
            field("References", &self.references(parent)?.join("\r\n "));
        }
        for line in entry.all("Header") {
            let (name, value) = line.split_once(": ").context("Header is no `Name: value`")?;
            field(name, value);
        }
        field("MIME-Version", "1.0");
        Ok(head)
    }

    /// Message-IDs from the first letter of the thread to `id`.
    fn references(&self, id: &'static str) -> Result<Vec<String>> {
        let mut chain = vec![message_id(id)];
        let mut at = id;
        while let Some(parent) = self.entry(at)?.get("Reply") {
            ensure!(chain.len() < 100, "a thread that answers itself");
            chain.insert(0, message_id(parent));
            at = parent;
        }
        Ok(chain)
    }

    fn entry(&self, id: &str) -> Result<&Entry> {
        self.entries.get(id).with_context(|| format!("no seed letter {id}"))
    }

    fn date(&self, entry: &Entry) -> Result<String> {
        let zone: i16 = entry.get("Zone").unwrap_or("+0100").parse()?;
        let offset_minutes = zone / 100 * 60 + zone % 100;
        let sent = self.received(entry)? - 2 + i64::from(offset_minutes) * 60;
        Ok(Date { offset_minutes, ..Date::from_unix_s(sent) }.rfc5322())
    }

    /// The tree of parts: mixed(alternative(text, related(html, pictures), invitation), letter, files).
    fn root(&self, entry: &Entry) -> Result<Part> {
        let mut sides = vec![compose::text("plain", entry.text)];
        if let Some(name) = entry.get("Html") {
            let (_, html) = HTML.iter().find(|(n, _)| *n == name).context("no such HTML file")?;
            sides.push(self.related(entry, compose::text("html", html))?);
        }
        if let Some(key) = entry.get("Invite") {
            let file = files::find(key).context("no such invitation")?;
            sides.push(compose::file(
                file.media_type,
                file.name,
                None,
                &(file.make)(self.now_unix_s),
            ));
        }
        let mut parts = match sides.len() {
            1 => sides,
            _ => vec![compose::multipart("alternative", 2, sides)],
        };
        if let Some(id) = entry.get("Forward") {
            parts.push(compose::letter(self.bytes(self.entry(id)?)?));
        }
        for key in entry.all("Attach") {
            parts.push(self.file(key, None)?);
        }
        if parts.len() > 1 {
            // A letter inside has its own boundaries: numbers by depth keep them apart.
            return Ok(compose::multipart("mixed", 10 + self.depth(entry)?, parts));
        }
        parts.pop().context("a letter without parts")
    }

    fn related(&self, entry: &Entry, html: Part) -> Result<Part> {
        let mut parts = vec![html];
        for key in entry.all("Inline") {
            parts.push(self.file(key, Some(key))?);
        }
        match parts.len() {
            1 => parts.pop().context("no HTML"),
            _ => Ok(compose::multipart("related", 3, parts)),
        }
    }

    fn file(&self, key: &str, content_id: Option<&str>) -> Result<Part> {
        let file = files::find(key).with_context(|| format!("no file {key}"))?;
        let bytes = (file.make)(self.now_unix_s);
        Ok(compose::file(file.media_type, file.name, content_id, &bytes))
    }

    /// How many letters are inside each other.
    fn depth(&self, entry: &Entry) -> Result<u32> {
        Ok(match entry.get("Forward") {
            Some(id) => 1 + self.depth(self.entry(id)?)?,
            None => 0,
        })
    }
}

/// What the filter really says, from the letter alone.
fn verdict(bytes: &[u8]) -> antispam::Verdict {
    let message = mparser::Message::parse(bytes);
    antispam::score(&message, &antispam::Evidence::default(), &antispam::Thresholds::default())
}

fn message_id(id: &str) -> String {
    format!("<{id}@seed.example.test>")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_370_400;

    #[test]
    fn the_same_every_time_and_dated_back_from_now() {
        let (first, again, later) = (all(NOW).unwrap(), all(NOW).unwrap(), all(NOW + 9).unwrap());
        assert!(first.iter().zip(&again).all(|(a, b)| a.bytes == b.bytes));
        assert!(first.iter().zip(&later).all(|(a, b)| a.received_unix_s + 9 == b.received_unix_s));
        assert!(first.is_sorted_by_key(|l| l.received_unix_s));
        assert!(first.iter().all(|l| l.received_unix_s < NOW));
        let alice = first.iter().filter(|l| l.owner == "alice").count();
        assert!((60..75).contains(&alice), "{alice} letters");
    }

    #[test]
    fn lines_end_in_crlf_and_headers_are_ascii() {
        for letter in all(NOW).unwrap() {
            let text = String::from_utf8_lossy(&letter.bytes);
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text}");
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            let raw = text.contains("@broken.example.test");
            assert!(raw || head.is_ascii(), "{head}");
            assert!(raw || head.lines().all(|l| l.len() <= 998), "{head}");
            assert!(!head.contains("{start}"));
        }
    }

    #[test]
    fn what_lies_in_junk_is_junk_to_the_filter_and_nothing_else() {
        let seed = Seed::read(NOW).unwrap();
        for entry in seed.entries.values() {
            let verdict = verdict(&seed.bytes(entry).unwrap());
            let expect = match entry.mailbox() {
                "Junk" => antispam::Action::Junk,
                _ => antispam::Action::Accept,
            };
            assert_eq!(verdict.action, expect, "{}: {}", entry.id(), verdict.header_value());
        }
    }

    #[test]
    fn domains_are_for_tests() {
        for letter in all(NOW).unwrap() {
            let text = String::from_utf8_lossy(&letter.bytes).replace("=\r\n", "");
            for (at, _) in text.match_indices("://") {
                let host =
                    text[at + 3..].split(['/', '?', '"', '>', ' ', '\r', '<']).next().unwrap();
                // Addresses set aside for documentation.
                assert!(host.ends_with("example.test") || host.starts_with("203.0.113."), "{host}");
            }
        }
    }
}
