//! What we link can be used under MIT or Apache 2.0: no GPL, no AGPL, nothing without a licence.
//!
//! Reads the SPDX expression of every package in the tree:
//!
//! ```text
//! expression = all *(("OR" / "/") all)
//! all        = one *("AND" one)
//! one        = "(" expression ")" / name ["WITH" name]
//! ```

use super::{Problem, Tree};
use crate::spawn;
use anyhow::{Context as _, Result};
use serde_json::Value;

/// Each of these lets our users link and ship as they like, for the text of the licence. MPL-2.0 asks for
/// the source of its own files if they are changed, and we do not change them.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

pub(super) fn check(_: &Tree) -> Result<Vec<Problem>> {
    let mut cargo = spawn::cargo();
    // Packages for other systems need not be fetched to be left out.
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let text = spawn::output("cargo metadata", &mut cargo)?;
    judge(&serde_json::from_str(&text).context("cargo metadata printed no JSON")?)
}

fn judge(metadata: &Value) -> Result<Vec<Problem>> {
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("metadata without packages")?;
    let text = |package: &Value, key| package.get(key).and_then(Value::as_str).map(String::from);
    let problem = |package: &Value| {
        let name = text(package, "name").unwrap_or_default();
        let licence = text(package, "license").unwrap_or_else(|| "no licence at all".to_owned());
        (!is_allowed(&licence)).then(|| {
            Problem::new(
                format!("package {name}"),
                format!("comes under {licence}"),
                "use another package; `cargo tree --invert NAME` shows who brings it in",
            )
        })
    };
    Ok(packages.iter().filter_map(problem).collect())
}

/// Whether one way to read the expression needs only licences we take.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    any_of(&mut words) == Some(true) && words.is_empty()
}

/// Words are taken from the end of the list, where the first one stands.
fn any_of(words: &mut Vec<&str>) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

fn all_of(words: &mut Vec<&str>) -> Option<bool> {
    let mut allowed = one(words)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        allowed &= one(words)?;
    }
    Some(allowed)
}

fn one(words: &mut Vec<&str>) -> Option<bool> {
    let word = words.pop()?;
    if word == "(" {
        let inside = any_of(words)?;
        return (words.pop() == Some(")")).then_some(inside);
    }
    // An exception only permits more.
    if words.pop_if(|word| *word == "WITH").is_some() {
        words.pop()?;
    }
    Some(ALLOWED.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions() {
        let check = |text: &str, expect: bool| assert_eq!(is_allowed(text), expect, "{text}");
        check("MIT", true);
        check("MIT/Apache-2.0", true);
        check("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true);
        check("GPL-3.0-only OR MIT", true);
        check("(MIT OR AGPL-3.0-only) AND Unicode-3.0", true);
        check("AGPL-3.0-only", false);
        check("MIT AND GPL-3.0-only", false);
        check("(MIT OR Apache-2.0) AND GPL-3.0-only", false);
        check("no licence at all", false);
        for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT WITH", "AND", "MIT MIT"] {
            check(broken, false);
        }
    }

    #[test]
    fn packages_are_named() {
        let metadata = json!({ "packages": [
            { "name": "good", "license": "MIT" },
            { "name": "bad", "license": "GPL-3.0-only" },
            { "name": "silent", "license": null },
        ]});
        let places: Vec<String> =
            judge(&metadata).unwrap().into_iter().map(|problem| problem.place).collect();
        assert_eq!(places, ["package bad", "package silent"]);
    }
}
