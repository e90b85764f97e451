//! `changelog.d/<topic>.<kind>.md`: one plain sentence per change a user can see.

use super::{Problem, Tree};
use anyhow::Result;

const KINDS: &[&str] = &["added", "changed", "fixed"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for name in tree.select("changelog.d/", "") {
        problems.extend(judge(name));
        if tree.read(name)?.trim().is_empty() {
            let fix = "write one plain sentence: what can a user do or see now?";
            problems.push(Problem::new(name, "is empty", fix));
        }
    }
    Ok(problems)
}

fn judge(path: &str) -> Option<Problem> {
    let name = path.strip_prefix("changelog.d/")?;
    let is_topic = |topic: &str| {
        !topic.is_empty()
            && topic.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let parts: Vec<&str> = name.split('.').collect();
    let well = matches!(parts[..], [topic, kind, "md"] if is_topic(topic) && KINDS.contains(&kind));
    (!well).then(|| {
        Problem::new(
            path,
            "is not named <topic>.<added|changed|fixed>.md",
            "rename it, for example changelog.d/imap-replace.added.md",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, well: bool| assert_eq!(judge(name).is_none(), well, "{name}");
        check("changelog.d/imap.added.md", true);
        check("changelog.d/rfc-8508.changed.md", true);
        check("changelog.d/quota.fixed.md", true);
        check("changelog.d/quota.md", false);
        check("changelog.d/quota.new.md", false);
        check("changelog.d/Quota.fixed.md", false);
        check("changelog.d/.fixed.md", false);
        check("changelog.d/quota.fixed.txt", false);
        check("changelog.d/imap/replace.added.md", false);
    }
}
