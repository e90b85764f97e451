//! The keys that sign letters of our domains: read from their files, shown as DNS wants them, made.

use crate::cli::print;
use crate::config::{Config, DkimKey, Problems};
use antispam::dkim::{Key, Signer};
use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// All keys of the configuration `file`, or everything that is wrong with them.
pub(crate) fn signer(config: &Config, file: &Path) -> Result<Signer, Problems> {
    let (mut keys, mut problems, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for row in &config.dkim_keys {
        let says = |why: String| format!("{}: dkim.keys: {why}", file.display());
        if !names.insert((&row.domain, &row.selector)) {
            problems.push(says(format!(
                "selector {} of {} is there twice: each key has a name of its own",
                row.selector, row.domain
            )));
        }
        match read(row) {
            Ok(key) => keys.push(key),
            Err(why) => problems.push(says(why)),
        }
    }
    if problems.is_empty() { Ok(Signer::new(keys)) } else { Err(Problems::new(problems)) }
}

fn read(row: &DkimKey) -> Result<Key, String> {
    let file = row.file.display();
    let pem = std::fs::read(&row.file).map_err(|error| {
        format!("{file} cannot be read ({error}); `openpoczta dkim make --file {file}` makes a key")
    })?;
    Key::from_pem(&row.domain, &row.selector, &pem).map_err(|error| format!("{file}: {error}"))
}

/// `openpoczta dkim show`: one line of a zone file for each key.
pub(crate) fn show(config: &Config, file: &Path) -> Result<()> {
    let signer = signer(config, file)?;
    ensure!(
        !signer.keys().is_empty(),
        "there are no keys in {}: write [dkim] keys = [{{ domain = \"example.test\", selector = \"s2026\", file = \"/etc/openpoczta/dkim.pem\" }}]",
        file.display()
    );
    let mut text = String::new();
    for key in signer.keys() {
        writeln!(text, "{}", key.record())?;
    }
    print(&text)
}

/// `openpoczta dkim make`: a new Ed25519 key in a file that only its owner can read.
pub(crate) fn make(file: &Path) -> Result<()> {
    let mut out =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).with_context(
            || format!("{} cannot be made; a key that is there is kept", file.display()),
        )?;
    out.write_all(Key::make_ed25519()?.as_bytes()).and_then(|()| out.sync_all())?;
    print(&format!(
        "{} is an Ed25519 key: name it in dkim.keys, then `openpoczta dkim show` prints what goes into DNS\n",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_what_is_wrong_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");
        make(&file).unwrap();
        assert!(make(&file).is_err(), "a key is never written over");
        let row = |selector: &str, file: &Path| DkimKey {
            domain: "example.test".to_owned(),
            selector: selector.to_owned(),
            file: file.to_owned(),
        };
        let with = |dkim_keys| Config { dkim_keys, ..Config::default() };
        let good = signer(&with(vec![row("a", &file), row("b", &file)]), Path::new("x.toml"));
        assert_eq!(good.unwrap().keys().len(), 2);
        let other = folder.path().join("none.pem");
        let bad = with(vec![row("a", &file), row("a", &file), row("c", &other)]);
        let problems = signer(&bad, Path::new("x.toml")).unwrap_err().to_string();
        assert_eq!(problems.lines().count(), 2, "{problems}");
        assert!(problems.contains("x.toml: dkim.keys: selector a of example.test is there twice"));
        assert!(problems.contains("none.pem cannot be read"), "{problems}");
    }
}
