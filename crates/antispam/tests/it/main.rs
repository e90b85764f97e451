//! Whole letters: good ones stay good, damaged ones are judged like any other.
#![expect(clippy::unwrap_used, reason = "a test may stop")]

use antispam::{Action, Evidence, Thresholds, Verdict, score};
use mparser::Message;
use std::path::{Path, PathBuf};

fn letters() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/mail");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "eml"));
    paths.sort();
    assert!(paths.len() >= 25);
    paths.into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect()
}

fn judge(raw: &[u8]) -> Verdict {
    score(&Message::parse(raw), &Evidence::default(), &Thresholds::default())
}

#[test]
fn letters_that_people_write_are_wanted() {
    let mut ordinary = 0;
    for (path, raw) in letters() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let verdict = judge(&raw);
        assert_eq!(verdict.action, Action::Accept, "{name}: {verdict:?}");
        if ["plain", "newsletter", "invoice", "forward", "related", "bounce", "latin2", "cp1250"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            assert!(verdict.score < 2.0, "{name}: {verdict:?}");
            ordinary += 1;
        }
    }
    assert!(ordinary >= 10, "{ordinary}");
}

#[test]
fn cut_letters_are_judged() {
    for (_, raw) in letters() {
        for end in (0..raw.len()).step_by(7) {
            let verdict = judge(&raw[..end]);
            assert!(verdict.score >= 0.0 && verdict.header_value().contains("score="));
        }
    }
}

#[test]
fn a_made_up_phishing_letter_goes_to_junk() {
    let raw = "From: \"service@bank.test\" <x@evil.test>\r\nTo: bob@example.test\r\n\
        Subject: ACCOUNT WARNING - LAST NOTICE\r\nMessage-ID: <1@evil.test>\r\nDate: Sun, 22 Nov 2026 18:00:00 +0100\r\n\
        MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
        <p>Your account has been suspended. Verify your account:\r\n\
        <a href=\"http://192.0.2.66/login\">https://www.bank.test/login</a></p>\r\n";
    let verdict = judge(raw.as_bytes());
    assert_eq!(verdict.action, Action::Junk, "{verdict:?}");
    assert!(verdict.symbols.len() >= 4);
}
