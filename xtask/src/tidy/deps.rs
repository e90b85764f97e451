//! Dependencies: fewer than 300 crates in the lock file, each of ours with a line saying what it saves us.

use super::{Problem, Tree};
use anyhow::Result;

/// A claim we make (the nearest peer has 918).
const MAX_CRATES: usize = 299;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = lock(&tree.read("Cargo.lock")?);
    problems.extend(reasons(&tree.read("Cargo.toml")?));
    Ok(problems)
}

fn lock(text: &str) -> Vec<Problem> {
    let count = text.lines().filter(|line| line.trim() == "[[package]]").count();
    if count <= MAX_CRATES {
        return Vec::new();
    }
    vec![Problem::new(
        "Cargo.lock",
        format!("{count} crates, the limit is {MAX_CRATES}"),
        "`cargo tree --duplicates` and `cargo tree -e features` show where they come from",
    )]
}

/// Each entry of `[workspace.dependencies]` has a comment line right above. Crates of our own need none,
/// nor does a companion named after the entry above it (`serde`, then `serde_json`).
fn reasons(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut inside = false;
    let mut explained: Option<String> = None;
    let mut commented = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if inside && line.starts_with('#') {
            commented = line.trim_start_matches('#').trim() != "";
            continue;
        } else if inside && let Some((name, value)) = entry(line) {
            let companion = explained.as_deref().is_some_and(|above| name.starts_with(above));
            if commented {
                explained = Some(name.to_owned());
            } else if !companion && !value.contains("path =") {
                problems.push(Problem::new(
                    format!("Cargo.toml:{number}"),
                    format!("`{name}` has no reason"),
                    "write one comment line right above it: what does it save us?",
                ));
            }
        }
        commented = false;
    }
    problems
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_stays_small() {
        let text = |count: usize| "[[package]]\nname = \"x\"\n".repeat(count);
        assert!(lock(&text(299)).is_empty());
        assert!(lock(&text(300)).first().unwrap().what.contains("300 crates"));
    }

    #[test]
    fn every_entry_has_a_reason() {
        let check = |entries: &str, expect: &[&str]| {
            let text = format!("[profile.dev]\nx = 1\n[workspace.dependencies]\n{entries}");
            let problems = reasons(&text);
            let found: Vec<&str> = problems.iter().map(|problem| &problem.what[..]).collect();
            assert_eq!(found, expect, "{entries}");
        };
        check("# our own\ntypes = { path = \"t\" }\ndb = { path = \"d\" }\n", &[]);
        check("# JSON\nserde = \"1\"\nserde_json = \"1\"\n", &[]);
        check("# JSON\nserde = \"1\"\ntoml = \"1\"\n", &["`toml` has no reason"]);
        check("# bytes\n\nbytes = \"1\"\n", &["`bytes` has no reason"]);
        check("#\nbytes = \"1\"\n", &["`bytes` has no reason"]);
        check("# a\na = \"1\"\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n", &[]);
    }
}
