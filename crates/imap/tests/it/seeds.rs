//! The fuzzer's seeds, replayed without a fuzzer. Of `imap_differential` a file is named after the command it is, or
//! `refused_…`, also where imap-codec would take it.

use imap::{COMMANDS, parse_command};
use std::path::PathBuf;

#[test]
fn seeds_are_the_commands_they_are_named_after() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/imap_differential");
    let (mut accepted, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let raw = std::fs::read(&path).unwrap();
        let expect = file.rsplit_once('_').map(|(name, _)| name);
        match parse_command(before_message(&raw, expect)) {
            Ok(name) if expect == Some(&name.replace(' ', "_").to_lowercase()) => accepted += 1,
            Err(_) if file.starts_with("refused_") => {}
            other => wrong.push(format!("{file}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(accepted >= 200, "only {accepted} seeds");
}

/// Of APPEND the message is read in a second step.
fn before_message<'a>(raw: &'a [u8], name: Option<&str>) -> &'a [u8] {
    let announced = raw.windows(3).rposition(|end| end == b"}\r\n");
    match announced.filter(|_| name == Some("append")) {
        Some(at) => &raw[..at + 3],
        None => raw,
    }
}

#[test]
fn any_seed_is_a_command_of_the_table_or_none() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/imap_command");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let raw = std::fs::read(entry.unwrap().path()).unwrap();
        if let Ok(name) = parse_command(&raw) {
            assert!(COMMANDS.iter().any(|row| row.name == name));
            count += 1;
        }
    }
    assert!(count >= 25, "only {count} seeds");
}
