//! `docs/rfc.tsv` and the RFCs cited in the code agree.
//!
//! A line is `number TAB status TAB title`; status is yes, partial, planned or no. What is cited is
//! listed, and what is listed as yes or partial is cited where it is done.

use super::{Problem, Tree};
use anyhow::Result;
use std::collections::BTreeMap;

const LIST: &str = "docs/rfc.tsv";
const STATUSES: &[&str] = &["yes", "partial", "planned", "no"];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let in_crates = tree.select("crates/", "").filter(|name| name.contains("/src/"));
    let mut cited = BTreeMap::new();
    for name in in_crates.chain(tree.select("web/src/", "")) {
        for (number, line) in citations(&tree.read(name)?) {
            cited.entry(number).or_insert_with(|| format!("{name}:{line}"));
        }
    }
    let text =
        if tree.files.iter().any(|name| name == LIST) { tree.read(LIST)? } else { String::new() };
    Ok(judge(&text, &cited))
}

/// `list` is the text of the file, `cited` the first place of each number in the code.
fn judge(list: &str, cited: &BTreeMap<u32, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut listed = BTreeMap::new();
    let mut last = 0;
    for (line, row) in (1..).zip(list.lines()).filter(|(_, row)| !row.starts_with('#')) {
        let place = format!("{LIST}:{line}");
        let Some((number, status)) = parse(row) else {
            problems.push(Problem::new(
                place,
                format!("is not a row: {row:?}"),
                "write number, TAB, yes|partial|planned|no, TAB, title",
            ));
            continue;
        };
        if number <= last {
            problems.push(Problem::new(
                place.as_str(),
                format!("RFC {number} stands after RFC {last}"),
                "sort the rows by number; one row for each",
            ));
        }
        last = number;
        if matches!(status, "yes" | "partial") && !cited.contains_key(&number) {
            problems.push(Problem::new(
                place,
                format!("RFC {number} is said to be {status}, but no code cites it"),
                "cite it where it is done (`RFC 9051 §6.3.12`), or say planned or no",
            ));
        }
        listed.insert(number, status);
    }
    for (number, place) in cited.iter().filter(|(number, _)| !listed.contains_key(number)) {
        problems.push(Problem::new(
            place,
            format!("cites RFC {number}, which is not in {LIST}"),
            format!("add the line: {number} TAB yes|partial|planned|no TAB its title"),
        ));
    }
    problems
}

fn parse(row: &str) -> Option<(u32, &str)> {
    let mut columns = row.split('\t');
    let number = columns.next()?.parse().ok()?;
    let status = columns.next().filter(|status| STATUSES.contains(status))?;
    let title = columns.next()?;
    let well = !title.trim().is_empty() && title.trim() == title && columns.next().is_none();
    well.then_some((number, status))
}

/// Numbers after the word RFC, with the line they stand on.
fn citations(text: &str) -> Vec<(u32, usize)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (at, _) in line.match_indices("RFC") {
            let joined = line.get(..at).is_some_and(|head| head.ends_with(char::is_alphanumeric));
            // `RFC822.SIZE` is a word of IMAP: only with a space it is a citation.
            let rest = line.get(at + 3..).unwrap_or_default();
            let rest = rest.strip_prefix([' ', '\u{a0}']).unwrap_or_default();
            let digits: String = rest.chars().take_while(char::is_ascii_digit).take(6).collect();
            if let (false, Ok(rfc)) = (joined, digits.parse()) {
                found.push((rfc, number));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_cites() {
        let check =
            |text: &str, expect: &[(u32, usize)]| assert_eq!(citations(text), expect, "{text}");
        check("/// RFC 9051 §6.3.12", &[(9051, 1)]);
        check("RFC 1939 §5, RFC 5322", &[(1939, 1), (5322, 1)]);
        check("\nspec: \"RFC 5321\"", &[(5321, 2)]);
        check("FETCH 1 (RFC822.SIZE)", &[]);
        check("(RFC\u{a0}6532)", &[(6532, 1)]);
        check("an RFC says so; XRFC 12; RFC n", &[]);
    }

    #[test]
    fn list_and_code_agree() {
        let check = |list: &str, cited: &[u32], expect: &[&str]| {
            let cited = cited.iter().map(|number| (*number, format!("a.rs:{number}"))).collect();
            let problems = judge(list, &cited);
            let found: Vec<&str> = problems.iter().map(|problem| &problem.what[..]).collect();
            assert_eq!(found.len(), expect.len(), "{found:?}");
            for (found, expect) in found.iter().zip(expect) {
                assert!(found.contains(expect), "{found} does not say {expect}");
            }
        };
        check("# number\n1939\tyes\tPOP3\n9051\tpartial\tIMAP4rev2\n", &[1939, 9051], &[]);
        check("1939\tplanned\tPOP3\n", &[], &[]);
        check("1939\tyes\tPOP3\n", &[1939, 5322], &["cites RFC 5322, which is not in"]);
        check("1939\tyes\tPOP3\n", &[], &["is said to be yes, but no code cites it"]);
        check(
            "1939\tno\tPOP3\n5322\tno\tMail\n5321\tno\tSMTP\n",
            &[],
            &["5321 stands after RFC 5322"],
        );
        check("1939\tno\tPOP3\n1939\tno\tPOP3\n", &[], &["1939 stands after RFC 1939"]);
        for bad in
            ["1939 yes POP3", "1939\tdone\tPOP3", "1939\tyes", "x\tyes\tPOP3", "1\tno\ta\tb", ""]
        {
            check(&format!("{bad}\n"), &[], &["is not a row"]);
        }
    }
}
