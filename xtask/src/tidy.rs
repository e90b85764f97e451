//! `cargo xtask tidy`: the rules of the house that a compiler does not know.
//!
//! A check is a row in [`CHECKS`] and a file in `tidy/`. It reads files through [`Tree`] and gives back
//! [`Problem`]s; the deciding part is a function from text to problems, so that it can be tested.
//! Every problem says what, where and how to mend it.

mod arrows;
mod changelog;
mod deps;
mod heads;
mod licences;
mod links;
mod rfc;
mod sizes;
mod tables;

use crate::spawn;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// One rule: its name, what it promises, who looks.
struct Check {
    name: &'static str,
    about: &'static str,
    run: fn(&Tree) -> Result<Vec<Problem>>,
}

static CHECKS: &[Check] = &[
    Check { name: "arrows", about: "crates use only what their row allows", run: arrows::check },
    Check { name: "changelog", about: "changelog.d names say the kind", run: changelog::check },
    Check { name: "deps", about: "a small tree, each entry with its reason", run: deps::check },
    Check { name: "heads", about: "a source file opens with what it is for", run: heads::check },
    Check {
        name: "licences",
        about: "what we link can be used under MIT or Apache 2.0",
        run: licences::check,
    },
    Check { name: "links", about: "links between documents point somewhere", run: links::check },
    Check { name: "rfc", about: "cited RFCs and docs/rfc.tsv agree", run: rfc::check },
    Check { name: "sizes", about: "no big files, a README one can read", run: sizes::check },
    Check { name: "tables", about: "function tables are sorted, no doubles", run: tables::check },
];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`tidy` takes no arguments; it always checks everything");
    let tree = Tree::open()?;
    let mut count = 0;
    for Check { name, about, run } in CHECKS {
        let problems = run(&tree).with_context(|| format!("tidy could not check {name}"))?;
        if !problems.is_empty() {
            println!("tidy: {name} ({about})");
        }
        for Problem { place, what, fix } in &problems {
            println!("  {place}: {what}\n      {fix}");
        }
        count += problems.len();
    }
    match count {
        0 => println!("tidy: {} checks over {} files, all well", CHECKS.len(), tree.files.len()),
        1 => bail!("tidy found one thing to mend; it is above"),
        _ => bail!("tidy found {count} things to mend; they are above"),
    }
    Ok(())
}

/// Something to mend: where it is, what is wrong there, how it is put right.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    place: String,
    what: String,
    fix: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), fix: fix.into() }
    }
}

/// The files git knows or would take: tracked, and new ones that are not ignored.
struct Tree {
    root: PathBuf,
    /// Relative to the root, with `/`, sorted.
    files: Vec<String>,
}

impl Tree {
    fn open() -> Result<Self> {
        let root = crate::root()?;
        let mut git = spawn::program("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let list = spawn::output("git ls-files (tidy looks at what git knows)", &mut git)?;
        let mut files: Vec<String> =
            list.split('\0').filter(|name| root.join(name).is_file()).map(String::from).collect();
        files.sort();
        files.dedup();
        Ok(Self { root, files })
    }

    /// Files whose path starts and ends so.
    fn select(&self, start: &str, end: &str) -> impl Iterator<Item = &str> {
        let wanted = move |name: &&str| name.starts_with(start) && name.ends_with(end);
        self.files.iter().map(String::as_str).filter(wanted)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.root.join(name);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(CHECKS.is_sorted_by(|a, b| a.name < b.name));
    }

    /// Every check runs over this very checkout and can read what it needs.
    #[test]
    fn every_check_can_read_the_tree() {
        let tree = Tree::open().unwrap();
        assert!(tree.select("crates/", ".rs").count() > 10);
        for check in CHECKS {
            (check.run)(&tree).unwrap();
        }
    }
}
