//! Letters out of the test folders of other parsers: one file may hold one letter or, as an mbox, several.
//!
//! Which packages and which files: `xtask/src/fixtures.rs`, which fetches them and writes the list that is read here.

use std::collections::HashSet;
use std::io;

/// Every letter of the files in `list`, a path a line; letters that are the same byte for byte come once.
pub fn letters(list: &str) -> io::Result<Vec<Vec<u8>>> {
    let (mut letters, mut seen) = (Vec::new(), HashSet::new());
    for path in std::fs::read_to_string(list)?.lines() {
        let found = split_mbox(&std::fs::read(path)?);
        letters.extend(found.into_iter().filter(|letter| seen.insert(letter.clone())));
    }
    Ok(letters)
}

/// An mbox begins with a `From ` line, and the next one follows an empty line (RFC 4155). Else it is one letter.
fn split_mbox(file: &[u8]) -> Vec<Vec<u8>> {
    if !file.starts_with(b"From ") {
        return if file.is_empty() { Vec::new() } else { vec![file.to_vec()] };
    }
    let (mut letters, mut after_empty) = (Vec::<Vec<u8>>::new(), true);
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        if after_empty && line.starts_with(b"From ") {
            letters.push(Vec::new());
        } else if let Some(letter) = letters.last_mut() {
            letter.extend_from_slice(line);
        }
        after_empty = matches!(line, b"\n" | b"\r\n");
    }
    letters.retain(|letter| !letter.is_empty());
    letters
}

#[cfg(test)]
mod tests {
    use super::split_mbox;

    #[test]
    fn one_letter_or_an_mbox() {
        let check = |file: &str, expect: &[&str]| {
            let found: Vec<String> = split_mbox(file.as_bytes())
                .into_iter()
                .map(|letter| String::from_utf8(letter).unwrap())
                .collect();
            assert_eq!(found, expect, "{file:?}");
        };
        check("", &[]);
        check("To: a\n\nb\n", &["To: a\n\nb\n"]);
        check("From a\nTo: a\n\nb\n", &["To: a\n\nb\n"]);
        check("From a\nTo: a\n\nFrom b\nTo: b\n\n", &["To: a\n\n", "To: b\n\n"]);
        check("From a\nTo: a\n\nDear\nFrom me\n", &["To: a\n\nDear\nFrom me\n"]);
    }
}
