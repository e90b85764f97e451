//! mparser beside the crate `mail-parser` on a folder of real letters: `differential DATA EXPLAINED [--show]`.
//!
//! Both read every letter; what they see is compared field by field. A difference is explained when
//! `explained.tsv` names it (letter, field, reason). One that is not explained, and an explanation that nothing
//! needs any more, end with exit code 1. `--show` prints both values of every difference.

use mail_parser::{MessageParser, PartKind as TheirKind};
use mparser::{Message, PartKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const GROUPS: &[&str] = &["easy-ham-1", "hard-ham-1", "spam-1"];

const FIELDS: &[&str] =
    &["subject", "from", "to", "date", "message-id", "types", "names", "sizes", "text", "html"];

/// What one parser sees, in the order of [`FIELDS`].
type View = [String; 10];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, explained, rest @ ..] = &arguments[..] else {
        eprintln!("differential DATA EXPLAINED [--show]");
        return ExitCode::from(2);
    };
    let mut explanations = explanations(Path::new(explained));
    let (mut count, mut bytes, mut unexplained) = (0, 0, 0);
    let mut rows = [(0, 0); FIELDS.len()];
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (name, path) in letters(Path::new(data)) {
        let raw = std::fs::read(&path).expect("a letter can be read");
        count += 1;
        bytes += raw.len();
        let (ours, theirs) = (ours(&raw), theirs(&raw));
        for (place, field) in FIELDS.iter().enumerate() {
            if ours[place] == theirs[place] {
                continue;
            }
            rows[place].0 += 1;
            let reason = explanations.remove(&(name.clone(), (*field).to_owned()));
            if rest.iter().any(|a| a == "--show") {
                let (a, b) = around(&ours[place], &theirs[place]);
                println!("{name}\t{field}\n\tours   {a:?}\n\ttheirs {b:?}");
            }
            match reason {
                Some(reason) => {
                    rows[place].1 += 1;
                    *reasons.entry(reason).or_default() += 1;
                }
                None => {
                    unexplained += 1;
                    eprintln!("not explained: {name}\t{field}");
                }
            }
        }
    }
    println!("{count} letters, {bytes} bytes. Letters in which a field differs:\n");
    println!("| field | differ | explained |\n|---|---|---|");
    for (field, (differ, explained)) in FIELDS.iter().zip(rows) {
        println!("| {field} | {differ} | {explained} |");
    }
    println!("\n| reason | differences |\n|---|---|");
    for (reason, times) in reasons {
        println!("| {reason} | {times} |");
    }
    for (letter, field) in explanations.keys() {
        eprintln!("explained, but the same now: {letter}\t{field}");
    }
    println!("\nNot explained: {unexplained}.");
    ExitCode::from(u8::from(unexplained > 0 || !explanations.is_empty() || count == 0))
}

/// `group/number` and path of each letter, in order.
fn letters(data: &Path) -> Vec<(String, PathBuf)> {
    let mut list = Vec::new();
    for group in GROUPS {
        let entries = std::fs::read_dir(data.join(group)).expect("the folder of letters");
        for entry in entries {
            let path = entry.expect("a folder entry").path();
            if path.extension().is_some_and(|e| e == "txt") {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let number = stem.split('.').next().unwrap_or_default();
                list.push((format!("{group}/{number}"), path.clone()));
            }
        }
    }
    list.sort();
    list
}

fn explanations(path: &Path) -> BTreeMap<(String, String), String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut reasons = BTreeMap::new();
    let mut list = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["reason", key, why] => {
                reasons.insert(key.to_owned(), why.to_owned());
            }
            [letter, field, key] => {
                let why = reasons.get(key).unwrap_or_else(|| panic!("no reason named {key}"));
                list.insert((letter.to_owned(), field.to_owned()), why.clone());
            }
            _ => panic!("a line of three columns, not {line:?}"),
        }
    }
    list
}

/// Some characters of both texts from shortly before the first that differs.
fn around(ours: &str, theirs: &str) -> (String, String) {
    let same = ours.chars().zip(theirs.chars()).take_while(|(a, b)| a == b).count();
    let window = |text: &str| text.chars().skip(same.saturating_sub(20)).take(100).collect();
    (window(ours), window(theirs))
}

fn folded(text: &str) -> String {
    text.split([' ', '\t', '\r', '\n']).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(" | ")
}

fn ours(raw: &[u8]) -> View {
    let message = Message::parse(raw);
    let index = message.index();
    let leaves: Vec<usize> =
        (0..index.parts.len()).filter(|n| index.parts[*n].kind == PartKind::Leaf).collect();
    let text_of = |subtype: &str| {
        let part = leaves
            .iter()
            .find(|n| index.parts[**n].media_type == "text" && index.parts[**n].subtype == subtype);
        part.map(|n| folded(&message.text(*n))).unwrap_or_default()
    };
    let names: BTreeSet<String> = leaves.iter().filter_map(|n| index.filename(*n)).collect();
    [
        folded(&index.subject()),
        index.from_().first().map(|a| a.address.clone()).unwrap_or_default(),
        list(index.to_().into_iter().map(|a| a.address)),
        index.date().map(|d| d.to_unix_s().to_string()).unwrap_or_default(),
        index.message_id().unwrap_or_default(),
        list(
            leaves
                .iter()
                .map(|n| format!("{}/{}", index.parts[*n].media_type, index.parts[*n].subtype)),
        ),
        list(names),
        list(
            leaves
                .iter()
                .filter(|n| index.parts[**n].media_type != "text")
                .map(|n| message.bytes(*n).len().to_string()),
        ),
        text_of("plain"),
        text_of("html"),
    ]
}

fn theirs(raw: &[u8]) -> View {
    let Some(message) = MessageParser::new().parse(raw) else {
        return View::default();
    };
    let leaves: Vec<_> = message
        .parts()
        .filter(|p| !matches!(p.kind(), TheirKind::Multipart | TheirKind::Message(_)))
        .collect();
    let media_type = |p: &mail_parser::MessagePart<'_>| match p.content_type() {
        Some(t) => format!(
            "{}/{}",
            t.ctype().to_lowercase(),
            t.subtype().unwrap_or_default().to_lowercase()
        ),
        None => "text/plain".to_owned(),
    };
    let text_of = |wanted: &str| {
        let part = leaves.iter().find(|p| media_type(p) == wanted);
        part.and_then(|p| p.text()).map(|t| folded(&t)).unwrap_or_default()
    };
    let last = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().trim().to_owned();
    let names: BTreeSet<String> =
        leaves.iter().filter_map(|p| p.attachment_name()).map(last).collect();
    let addresses = |a: Option<mail_parser::AddressList<'_>>| -> Vec<String> {
        a.map(|a| a.mailboxes().filter_map(|m| m.address().map(str::to_owned)).collect())
            .unwrap_or_default()
    };
    [
        folded(message.subject().unwrap_or_default()),
        addresses(message.from()).into_iter().next().unwrap_or_default(),
        list(addresses(message.to())),
        message.date().map(|d| d.to_timestamp().to_string()).unwrap_or_default(),
        message.message_id().unwrap_or_default().to_owned(),
        list(leaves.iter().map(media_type)),
        list(names),
        list(
            leaves
                .iter()
                .filter(|p| !media_type(p).starts_with("text/"))
                .map(|p| p.decoded().len().to_string()),
        ),
        text_of("text/plain"),
        text_of("text/html"),
    ]
}
