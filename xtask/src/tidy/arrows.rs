//! Arrows between our crates point down: the table of the house, as data.
//!
//! A new arrow is a decision with a page in `docs/adr/`, and then a word here.

use super::{Problem, Tree};
use crate::spawn;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeSet;

/// A crate and the crates of ours it may use.
struct Row {
    name: &'static str,
    may_use: &'static [&'static str],
}

/// Everything that is a library of ours, for `server`, which wires it all.
const ALL: &[&str] = &[
    "antispam", "api", "auth", "db", "filter", "front", "imap", "mda", "mparser", "ocache", "pop3",
    "queue", "smtp", "storage", "types",
];

static CRATES: &[Row] = &[
    Row { name: "antispam", may_use: &["types", "mparser"] },
    Row { name: "api", may_use: &["types", "mparser", "storage", "auth"] },
    Row { name: "auth", may_use: &["types", "db"] },
    Row { name: "bench", may_use: &["types", "mparser", "antispam", "storage", "db", "queue"] },
    Row { name: "db", may_use: &["types"] },
    Row { name: "filter", may_use: &["types", "mparser", "antispam", "storage"] },
    Row { name: "front", may_use: &["types", "mda", "auth", "mparser", "antispam", "filter"] },
    Row { name: "imap", may_use: &["types", "mparser", "storage", "auth"] },
    Row { name: "mda", may_use: &["types", "mparser", "storage", "antispam", "filter", "queue"] },
    Row { name: "mparser", may_use: &["types"] },
    Row { name: "ocache", may_use: &["types"] },
    Row { name: "pop3", may_use: &["types", "storage", "auth"] },
    Row { name: "python", may_use: &["types", "mparser"] },
    Row { name: "queue", may_use: &["types", "mparser"] },
    Row { name: "server", may_use: ALL },
    Row { name: "smtp", may_use: &["types", "mda", "auth", "queue"] },
    Row { name: "storage", may_use: &["types", "mparser", "db", "ocache"] },
    Row { name: "types", may_use: &[] },
    Row { name: "xtask", may_use: &[] },
];

/// What any crate's tests may use beside what lies below it: a real store to test against.
const TESTS_MAY_USE: &[&str] = &["db", "storage"];

pub(super) fn check(_: &Tree) -> Result<Vec<Problem>> {
    judge(&spawn::metadata()?)
}

/// One dependency of one of our crates on another.
struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    in_tests_only: bool,
}

fn judge(metadata: &Value) -> Result<Vec<Problem>> {
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("metadata without packages")?;
    let names: BTreeSet<&str> =
        packages.iter().filter_map(|package| text(package, "name")).collect();
    let mut problems: Vec<Problem> = names
        .iter()
        .filter(|name| row(name).is_none())
        .map(|name| {
            Problem::new(
                format!("crate {name}"),
                "is not in the table of crates",
                "write an ADR for the new crate, then add its row in xtask/src/tidy/arrows.rs and ARCHITECTURE.md",
            )
        })
        .collect();
    for package in packages {
        problems.extend(arrows(package, &names).iter().filter_map(judge_arrow));
    }
    Ok(problems)
}

fn judge_arrow(Arrow { from, to, in_tests_only }: &Arrow<'_>) -> Option<Problem> {
    let allowed = if *in_tests_only {
        below(from).contains(to) || TESTS_MAY_USE.contains(to) || from == to
    } else {
        row(from).is_none_or(|row| row.may_use.contains(to))
    };
    let kind = if *in_tests_only { "its tests use" } else { "it uses" };
    (!allowed).then(|| {
        Problem::new(
            format!("crate {from}"),
            format!("{kind} `{to}`, an arrow that is not in the diagram"),
            "own a trait below and let `server` plug it in, or write an ADR and add the arrow to xtask/src/tidy/arrows.rs",
        )
    })
}

fn arrows<'a>(package: &'a Value, ours: &BTreeSet<&str>) -> Vec<Arrow<'a>> {
    let from = text(package, "name").unwrap_or_default();
    let dependencies = package.get("dependencies").and_then(Value::as_array);
    let arrow = |dependency: &'a Value| {
        let to = text(dependency, "name")?;
        let in_tests_only = text(dependency, "kind") == Some("dev");
        ours.contains(to).then_some(Arrow { from, to, in_tests_only })
    };
    dependencies.into_iter().flatten().filter_map(arrow).collect()
}

fn row(name: &str) -> Option<&'static Row> {
    CRATES.iter().find(|row| row.name == name)
}

/// All crates that lie below `name`.
fn below(name: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut todo: Vec<&str> = vec![name];
    while let Some(name) = todo.pop() {
        for next in row(name).map_or(&[][..], |row| row.may_use) {
            if found.insert(*next) {
                todo.push(next);
            }
        }
    }
    found
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Crates, and arrows `from > to` or, for tests, `from ~> to`.
    fn check(crates: &[&str], arrows: &[(&str, &str, &str)], expect: &[&str]) {
        let packages: Vec<Value> = crates
            .iter()
            .map(|name| {
                let dependencies: Vec<Value> = arrows
                    .iter()
                    .filter(|(from, _, _)| from == name)
                    .map(|(_, kind, to)| {
                        json!({ "name": to, "kind": if *kind == "~>" { json!("dev") } else { Value::Null } })
                    })
                    .collect();
                json!({ "name": name, "dependencies": dependencies })
            })
            .collect();
        let problems = judge(&json!({ "packages": packages })).unwrap();
        let found: Vec<String> =
            problems.iter().map(|problem| format!("{} {}", problem.place, problem.what)).collect();
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found} does not say {expect}");
        }
    }

    #[test]
    fn arrows_point_down() {
        check(&["smtp", "mda"], &[("smtp", ">", "mda"), ("smtp", ">", "tokio")], &[]);
        check(&["smtp", "imap"], &[("smtp", ">", "imap")], &["crate smtp it uses `imap`"]);
        check(&["types", "db"], &[("types", ">", "db")], &["crate types it uses `db`"]);
        check(&["smtp", "storage"], &[("smtp", ">", "storage")], &["`storage`"]);
    }

    #[test]
    fn tests_may_look_further_down() {
        check(&["smtp", "storage"], &[("smtp", "~>", "storage")], &[]);
        check(&["smtp", "mparser"], &[("smtp", "~>", "mparser")], &[]);
        check(&["smtp", "imap"], &[("smtp", "~>", "imap")], &["its tests use `imap`"]);
        check(&["mparser", "mda"], &[("mparser", "~>", "mda")], &["its tests use `mda`"]);
    }

    #[test]
    fn a_crate_without_a_row_is_told() {
        check(&["types", "sieve"], &[], &["crate sieve is not in the table"]);
    }

    #[test]
    fn the_table_itself_has_no_circle_and_is_sorted() {
        assert!(CRATES.is_sorted_by(|a, b| a.name < b.name));
        for row in CRATES {
            assert!(!below(row.name).contains(row.name), "{} lies below itself", row.name);
            assert!(row.may_use.iter().all(|name| super::row(name).is_some()), "{}", row.name);
        }
    }
}
