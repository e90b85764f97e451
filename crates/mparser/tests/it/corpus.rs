//! The letters of `testdata/mail` against what was found in them once and checked by a person.
//! `BLESS=1` writes the golden files anew: read the difference before you commit it.

use crate::shown::{assert_sound, shown};
use std::path::{Path, PathBuf};

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Path and bytes of every letter, in order.
pub(crate) fn letters() -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder("testdata/mail")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "eml"));
    paths.sort();
    assert!(paths.len() >= 25, "only {} letters", paths.len());
    paths.into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect()
}

#[test]
fn letters_read_as_before() {
    let bless = std::env::var_os("BLESS").is_some();
    for (path, raw) in letters() {
        assert_sound(&raw);
        let golden = path.with_extension("txt");
        let now = shown(&raw);
        if bless {
            std::fs::write(&golden, &now).unwrap();
        }
        let before = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(now, before, "{}", path.display());
    }
}
