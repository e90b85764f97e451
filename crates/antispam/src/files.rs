//! What attachments are: by their first bytes and, of archives and office documents, by the names inside. Nothing is
//! unpacked, so a small file that unpacks to a huge one costs no more than its own bytes.

use memchr::memmem;
use mparser::Message;

/// Attachments of one letter that are looked into.
const FILES: usize = 20;
/// Enough for every mark that a file begins with.
const HEAD_BYTES: usize = 1_024;
/// Bytes, as they came, that are decoded of all archives and office documents of a letter: decoding costs about 1 ms for
/// 1 MB, and harmful ones are small.
const INSIDE_BYTES: usize = 512 * 1024;
/// Names that are read of one archive.
const ENTRIES: usize = 1_000;
/// An archive with a program beside many other files is somebody's work; with few it is a way to get the program through.
const FEW_ENTRIES: usize = 3;

/// Something odd about an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A program under the name of a document.
    Disguised,
    /// The name says document or image, the bytes are an archive, an office file or a page.
    OtherType,
    /// A small archive with a program in it.
    ProgramInside,
    /// What is in the archive can be read with a password only.
    Encrypted,
    /// An office document with a macro.
    Macro,
}

/// What there is to say of the attachments `parts`.
pub(crate) fn look(message: &Message<'_>, parts: &[usize]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut left = INSIDE_BYTES;
    for number in parts.iter().take(FILES) {
        let Some(part) = message.index().parts.get(*number) else { continue };
        let name = message.index().filename(*number).unwrap_or_default().to_lowercase();
        let body = message.body(*number);
        let content = |bytes: usize| {
            let start = body.get(..bytes.min(body.len())).unwrap_or_default();
            part.encoding.undo(start).unwrap_or_else(|| start.to_vec())
        };
        let kind = Kind::of(&content(HEAD_BYTES));
        found.extend(against_name(kind, &name));
        if matches!(kind, Kind::Zip | Kind::Ole) {
            let inside = content(left);
            left -= left.min(body.len());
            if kind == Kind::Zip {
                found.extend(in_zip(&inside));
            } else if memmem::find(&inside, OLE_MACRO).is_some() {
                found.push(Finding::Macro);
            }
        }
    }
    found
}

/// What Windows, a shell or an office suite runs when it is opened.
pub(crate) fn is_program(name: &str) -> bool {
    const ENDS: &[&str] = &[
        "bat", "cmd", "com", "cpl", "exe", "hta", "jar", "js", "jse", "lnk", "msi", "pif", "ps1",
        "reg", "scr", "vbe", "vbs", "wsf", "wsh",
    ];
    ENDS.contains(&end(name))
}

/// An image of a disk, or a notebook: what is in it comes without the mark that it is from the network.
pub(crate) fn is_container(name: &str) -> bool {
    ["img", "iso", "one", "vhd", "vhdx"].contains(&end(name))
}

/// Characters that turn the direction of writing: `cod\u{202e}fdp.exe` is shown as `codexe.pdf`.
pub(crate) fn turns_direction(name: &str) -> bool {
    name.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

fn end(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, end)| end.trim_end())
}

/// The stream that every document with VBA has, as a directory of a compound file names it.
const OLE_MACRO: &[u8] = b"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T\0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Zip,
    Ole,
    Page,
    Other,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        let text = head.trim_ascii_start();
        let is = |start: &[u8]| {
            text.get(..start.len()).is_some_and(|have| have.eq_ignore_ascii_case(start))
        };
        if head.starts_with(b"MZ") || head.starts_with(b"\x7fELF") {
            Self::Program
        } else if head.starts_with(b"PK\x03\x04") {
            Self::Zip
        } else if head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
            Self::Ole
        } else if is(b"<html") || is(b"<!doctype html") || is(b"<script") {
            Self::Page
        } else {
            Self::Other
        }
    }
}

fn against_name(kind: Kind, name: &str) -> Option<Finding> {
    let shown = end(name);
    let is_picture = ["bmp", "gif", "jpeg", "jpg", "pdf", "png"].contains(&shown);
    let is_document = ["doc", "docx", "htm", "html", "txt", "xls", "xlsx"].contains(&shown);
    match kind {
        Kind::Program if is_picture || is_document => Some(Finding::Disguised),
        Kind::Zip | Kind::Ole | Kind::Page if is_picture => Some(Finding::OtherType),
        _ => None,
    }
}

/// Reads the header in front of each file, wherever one is: what the list at the end of the archive says, or that there is
/// none, changes nothing, and the names in an archive that is stored inside are seen, too.
fn in_zip(zip: &[u8]) -> Vec<Finding> {
    let mut found = Vec::new();
    let (mut entries, mut programs) = (0, 0);
    for start in memmem::find_iter(zip, b"PK\x03\x04").take(ENTRIES) {
        let header = zip.get(start..start + 30).unwrap_or_default();
        let [.., flags, _] = header.get(..8).unwrap_or_default() else { continue };
        let Some([low, high]) = header.get(26..28) else { continue };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let name = zip.get(start + 30..start + 30 + length).unwrap_or_default();
        let name = String::from_utf8_lossy(name).to_lowercase();
        entries += 1;
        programs += usize::from(is_program(&name));
        if flags & 1 == 1 {
            found.push(Finding::Encrypted);
        }
        if name.ends_with("vbaproject.bin") {
            found.push(Finding::Macro);
        }
    }
    if programs > 0 && entries <= FEW_ENTRIES {
        found.push(Finding::ProgramInside);
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(flags: u8, name: &str) -> Vec<u8> {
        let mut out = b"PK\x03\x04\x14\0".to_vec();
        out.extend_from_slice(&[flags, 0]);
        out.extend_from_slice(&[0; 18]);
        out.extend_from_slice(&[u8::try_from(name.len()).unwrap(), 0, 0, 0]);
        out.extend_from_slice(name.as_bytes());
        out
    }

    #[test]
    fn zips() {
        #[track_caller]
        fn check(entries: &[(u8, &str)], expect: &[Finding]) {
            let zip: Vec<u8> = entries.iter().flat_map(|(f, name)| entry(*f, name)).collect();
            assert_eq!(in_zip(&zip), expect, "{entries:?}");
            for end in 0..zip.len() {
                in_zip(&zip[..end]);
            }
        }
        check(&[(0, "a.txt")], &[]);
        check(&[(0, "Faktura.PDF.exe")], &[Finding::ProgramInside]);
        check(&[(1, "a.txt"), (1, "b.txt")], &[Finding::Encrypted]);
        check(&[(0, "word/vbaProject.bin")], &[Finding::Macro]);
        check(&[(0, "a.c"), (0, "b.c"), (0, "c.c"), (0, "build.bat")], &[]);
    }

    #[test]
    fn an_archive_of_many_entries_is_read_to_a_limit() {
        let zip = entry(0, "x.txt").repeat(50_000);
        assert_eq!(in_zip(&zip), []);
    }

    #[test]
    fn names_against_bytes() {
        #[track_caller]
        fn check(head: &[u8], name: &str, expect: Option<Finding>) {
            assert_eq!(against_name(Kind::of(head), name), expect, "{name}");
        }
        check(b"MZ\x90", "a.pdf", Some(Finding::Disguised));
        check(b"\x7fELF", "a.txt", Some(Finding::Disguised));
        check(b"MZ\x90", "setup.exe", None);
        check(b"PK\x03\x04", "a.jpg", Some(Finding::OtherType));
        check(b"PK\x03\x04", "a.docx", None);
        check(b" <HTML>", "a.pdf", Some(Finding::OtherType));
        check(b"%PDF-1.7", "a.pdf", None);
        check(b"", "", None);
    }
}
