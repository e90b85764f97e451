//! Links between our documents point to something that is there.

use super::{Problem, Tree};
use anyhow::Result;
use std::path::Path;

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    // Mail in testdata may look like Markdown; only documents of ours count.
    for name in tree.select("", ".md").filter(|name| !name.starts_with("testdata/")) {
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        for (line, target) in targets(&tree.read(name)?) {
            let there = match target.strip_prefix('/') {
                Some(from_root) => tree.path(from_root).exists(),
                None => tree.path(folder).join(&target).exists(),
            };
            if !there {
                problems.push(Problem::new(
                    format!("{name}:{line}"),
                    format!("links to `{target}`, which is not there"),
                    "write the path as seen from the folder of this document, or take the link out",
                ));
            }
        }
    }
    Ok(problems)
}

/// The files a Markdown text links to, with line numbers. Addresses and places inside the page are left out.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let line = without_code(line);
            let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            let all = links.chain(definition.map(|(_, target)| target));
            found.extend(all.filter_map(file_of).map(|target| (number, target)));
        }
    }
    found
}

/// The line without its `code spans`.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The path in `path#place "title"`; none when it is an address or a place in the same page.
fn file_of(target: &str) -> Option<String> {
    let target = target.trim();
    let target = match target.strip_prefix('<') {
        Some(rest) => rest.split('>').next()?,
        None => target.split_whitespace().next()?,
    };
    let path = target.split('#').next().filter(|path| !path.is_empty())?;
    let is_address = path.contains("://") || path.starts_with("mailto:");
    (!is_address).then(|| path.replace("%20", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_links_to() {
        let check = |text: &str, expect: &[(usize, &str)]| {
            let found = targets(text);
            let found: Vec<(usize, &str)> =
                found.iter().map(|(line, to)| (*line, &to[..])).collect();
            assert_eq!(found, expect, "{text}");
        };
        check("see [a](docs/a.md) and [b](b.md#part \"title\")", &[(1, "docs/a.md"), (1, "b.md")]);
        check("\n![picture](<my page.png>)", &[(2, "my page.png")]);
        check("[def]: ../README.md", &[(1, "../README.md")]);
        check("[x](https://example.test/a.md) [y](#here) [z](mailto:a@example.test)", &[]);
        check("a `[x](y)` b [q](r.md) `c`", &[(1, "r.md")]);
        check("```\n[x](y)\n```\n[a](b)", &[(4, "b")]);
        check("no link (at all) [here]", &[]);
    }
}
