//! A source file opens with `//!`: what it is for.

use super::{Problem, Tree};
use anyhow::Result;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for name in tree.select("", ".rs") {
        if !has_head(&tree.read(name)?) {
            problems.push(Problem::new(
                name,
                "does not say what it is for",
                "open it with a line `//! …`: what it is for, and what it knows nothing about",
            ));
        }
    }
    Ok(problems)
}

/// Inner attributes and plain comments may stand before the head, code may not.
fn has_head(text: &str) -> bool {
    let head = |line: &str| line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty());
    let mut in_attribute = false;
    for line in text.lines().map(str::trim) {
        if head(line) {
            return true;
        }
        let opens = line.starts_with("#![");
        if !(in_attribute || opens || line.is_empty() || line.starts_with("//")) {
            return false;
        }
        in_attribute = (in_attribute || opens) && !line.ends_with(']');
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let check = |text: &str, well: bool| assert_eq!(has_head(text), well, "{text}");
        check("//! Dates.\nfn f() {}\n", true);
        check("#![no_main]\n//! Fuzz: dates.\n", true);
        check("#![expect(\n    x,\n    reason = \"y\"\n)]\n//! Dates.\n", true);
        check("// SPDX\n\n//! Dates.\n", true);
        check("", false);
        check("//!\nfn f() {}\n", false);
        check("fn f() {}\n//! Dates.\n", false);
        check("/// Dates.\nfn f() {}\n", false);
        check("#![no_main]\nfn f() {}\n", false);
    }
}
