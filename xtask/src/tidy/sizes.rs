//! No big files in the checkout, and a README that can be read in one go.

use super::{Problem, Tree};
use anyhow::{Context as _, Result};

const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_README_LINES: usize = 150;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for name in &tree.files {
        let size = tree.path(name).metadata().with_context(|| format!("cannot look at {name}"))?;
        problems.extend(file(name, size.len()));
    }
    if tree.files.iter().any(|name| name == "README.md") {
        problems.extend(readme(&tree.read("README.md")?));
    }
    Ok(problems)
}

fn file(name: &str, size_bytes: u64) -> Option<Problem> {
    (size_bytes > MAX_FILE_BYTES).then(|| {
        Problem::new(
            name,
            format!("has {} KiB, the limit is {} KiB", size_bytes >> 10, MAX_FILE_BYTES >> 10),
            "make it when it is needed, fetch it as a package, or cut it down",
        )
    })
}

fn readme(text: &str) -> Option<Problem> {
    let lines = text.lines().count();
    (lines > MAX_README_LINES).then(|| {
        Problem::new(
            "README.md",
            format!("has {lines} lines, the limit is {MAX_README_LINES}"),
            "move what a newcomer does not need today to docs/ and link to it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(file("a", 1 << 20), None);
        assert!(file("a", (1 << 20) + 1).unwrap().what.contains("1024 KiB"));
        assert_eq!(readme(&"x\n".repeat(150)), None);
        assert!(readme(&"x\n".repeat(151)).unwrap().what.contains("151 lines"));
    }
}
