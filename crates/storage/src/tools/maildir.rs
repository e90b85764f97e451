//! Maildir++ (Courier, Dovecot): a file for each letter, its flags in the name, its date as the file's date.

use super::utf7;
use db::{MailboxRow, MessageRow};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use types::{Flag, Flags, Keyword};

/// Letters `a` to `z` in a file name; keywords past them stand in a file of their own.
const KEYWORD_LETTERS: usize = 26;
/// Longest name of a folder; file systems take 255 bytes.
const NAME_BYTES: usize = 250;
/// The file that names the keywords `a`, `b` and so on, as Dovecot writes it.
pub(super) const KEYWORDS: &str = "dovecot-keywords";
/// Keywords for which no letter was left: file name, tab, keywords.
pub(super) const MORE_KEYWORDS: &str = "openpoczta-keywords";
/// The name of a mailbox whose folder had to be shortened.
pub(super) const NAME: &str = "openpoczta-name";
/// Stands in the names of files that we wrote: their bytes are exact.
pub(super) const HOST: &str = "openpoczta";

/// The flags that have a letter of their own, in the order they must stand in.
const FLAGS: [(char, Flag); 5] = [
    ('D', Flag::Draft),
    ('F', Flag::Flagged),
    ('R', Flag::Answered),
    ('S', Flag::Seen),
    ('T', Flag::Deleted),
];

/// The folder of a mailbox below the account's; the second value when the name does not stand in it whole.
pub(super) fn folder(name: &str) -> (PathBuf, Option<&str>) {
    if name == "INBOX" {
        return (PathBuf::new(), None);
    }
    let levels: Vec<String> = name.split('/').map(utf7::encode).collect();
    let folder = format!(".{}", levels.join("."));
    if folder.len() <= NAME_BYTES {
        return (folder.into(), None);
    }
    let short: String = folder.chars().take(NAME_BYTES - 20).collect();
    let hash = blake3::hash(name.as_bytes()).to_hex();
    (format!("{short}-{}", hash.get(..16).unwrap_or_default()).into(), Some(name))
}

/// The mailbox of a Maildir++ folder such as `.Projects.West`.
pub(super) fn mailbox(folder: &str) -> String {
    let levels = folder.trim_start_matches('.').split('.').filter(|level| !level.is_empty());
    let names: Vec<String> = levels.map(level).collect();
    names.join("/")
}

/// One level: modified UTF-7, or what it is.
pub(super) fn level(text: &str) -> String {
    utf7::decode(text).unwrap_or_else(|| text.to_owned())
}

/// Which keyword gets which letter: the most used ones.
pub(super) fn keywords(rows: &[MessageRow]) -> Vec<Keyword> {
    let mut counts: BTreeMap<&Keyword, usize> = BTreeMap::new();
    for keyword in rows.iter().flat_map(|row| row.flags.keywords()) {
        *counts.entry(keyword).or_default() += 1;
    }
    let mut by_use: Vec<_> = counts.into_iter().collect();
    by_use.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    by_use.truncate(KEYWORD_LETTERS);
    by_use.into_iter().map(|(keyword, _)| keyword.clone()).collect()
}

/// The name of a letter's file, without its flags.
pub(super) fn base(mailbox: &MailboxRow, row: &MessageRow) -> String {
    let (seconds, uid, size) = (row.received_unix_s, row.uid, row.size_bytes);
    format!("{}.M{}U{uid}.{HOST},S={size}", seconds.max(0), mailbox.uid_validity)
}

/// `:2,FS` with the letters of the keywords behind; the keywords without one are the second value.
pub(super) fn info(flags: &Flags, known: &[Keyword]) -> (String, Vec<Keyword>) {
    let mut info = ":2,".to_owned();
    info.extend(FLAGS.iter().filter(|(_, flag)| flags.contains(*flag)).map(|(letter, _)| letter));
    let mut rest = Vec::new();
    for keyword in flags.keywords() {
        if !known.contains(keyword) {
            rest.push(keyword.clone());
        }
    }
    let letters = ('a'..='z').zip(known).filter(|(_, keyword)| flags.keywords().contains(keyword));
    info.extend(letters.map(|(letter, _)| letter));
    (info, rest)
}

/// What `dovecot-keywords` says.
pub(super) fn keyword_file(known: &[Keyword]) -> String {
    let mut text = String::new();
    for (n, keyword) in known.iter().enumerate() {
        let _ = writeln!(text, "{n} {keyword}");
    }
    text
}

/// `dovecot-uidlist`, version 3: with it Dovecot keeps UIDVALIDITY and UIDs, and mail programs what they have.
pub(super) fn uid_list(mailbox: &MailboxRow, rows: &[MessageRow]) -> String {
    let guid = blake3::hash(format!("{} {}", mailbox.uid_validity, mailbox.name).as_bytes());
    let guid = guid.to_hex();
    let next = mailbox.uid_next.map_or(u32::MAX, types::Uid::get);
    let mut text =
        format!("3 V{} N{next} G{}\n", mailbox.uid_validity, guid.get(..32).unwrap_or_default());
    for row in rows {
        let _ = writeln!(text, "{} :{}", row.uid, base(mailbox, row));
    }
    text
}

/// Flags out of a file name; `known`: what `dovecot-keywords` of its folder says.
pub(super) fn flags(file: &str, known: &BTreeMap<char, Keyword>) -> Flags {
    let mut flags = Flags::default();
    // Where file names may hold no colon, other programs write `;2,` or `!2,`.
    let at = file.rfind("2,").filter(|at| {
        let before = file.get(..*at).and_then(|text| text.chars().next_back());
        matches!(before, Some(':' | ';' | '!'))
    });
    for letter in at.and_then(|at| file.get(at + 2..)).unwrap_or_default().chars() {
        if let Some((_, flag)) = FLAGS.iter().find(|(known, _)| *known == letter) {
            flags.insert(*flag);
        } else if letter == 'P' {
            flags.insert_name("$Forwarded");
        } else if let Some(keyword) = known.get(&letter) {
            flags.insert_keyword(keyword.clone());
        }
    }
    flags
}

/// The name without its flags.
pub(super) fn without_info(file: &str) -> &str {
    let at = [":2,", ";2,", "!2,"].iter().filter_map(|mark| file.rfind(mark)).max();
    at.and_then(|at| file.get(..at)).unwrap_or(file)
}

/// The letters of `dovecot-keywords`.
pub(super) fn read_keywords(folder: &Path) -> BTreeMap<char, Keyword> {
    let text = std::fs::read_to_string(folder.join(KEYWORDS)).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let letter = |n: &str| ('a'..='z').nth(n.parse().ok()?);
    pairs.filter_map(|(n, word)| Some((letter(n)?, Keyword::new(word.trim())?))).collect()
}

/// What [`MORE_KEYWORDS`] says.
pub(super) fn read_more_keywords(folder: &Path) -> BTreeMap<String, Vec<Keyword>> {
    let text = std::fs::read_to_string(folder.join(MORE_KEYWORDS)).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    let words = |words: &str| words.split(' ').filter_map(Keyword::new).collect();
    pairs.map(|(file, keywords)| (file.to_owned(), words(keywords))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders() {
        #[track_caller]
        fn check(name: &str, expect: &str) {
            assert_eq!(folder(name), (expect.into(), None));
            let back = if expect.is_empty() { "INBOX".to_owned() } else { mailbox(expect) };
            assert_eq!(back, name);
        }
        check("INBOX", "");
        check("Sent", ".Sent");
        check("Projects/West tower", ".Projects.West tower");
        check("Góry/v1.2", ".G&APM-ry.v1&AC4-2");
        let long = format!("{}/{}", "a".repeat(200), "b".repeat(200));
        let (short, name) = folder(&long);
        assert!(short.as_os_str().len() <= NAME_BYTES);
        assert_eq!(name, Some(&*long));
    }

    #[test]
    fn flags_in_names() {
        #[track_caller]
        fn check(file: &str, expect: &str) {
            let known = [('a', Keyword::new("Work").unwrap())].into_iter().collect();
            assert_eq!(flags(file, &known).to_string(), expect, "{file}");
        }
        check("1.x.host:2,", "");
        check("1.x.host:2,FRSTDa", "\\Answered \\Flagged \\Deleted \\Seen \\Draft Work");
        check("1.x.host;2,S", "\\Seen");
        check("1.x.host!2,SP", "\\Seen $Forwarded");
        check("1.x.host,S=52,W=53", "");
        check("1.x.host", "");
        let all = Flags::new(&[Flag::Seen, Flag::Draft]);
        assert_eq!(info(&all, &[]).0, ":2,DS");
        assert_eq!(without_info("1.x:2,S"), "1.x");
        assert_eq!(without_info("1.x,S=2,W=3"), "1.x,S=2,W=3");
    }
}
