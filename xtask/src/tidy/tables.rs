//! Function tables are sorted by the name in each row and name nothing twice.
//!
//! A table is `static NAME: &[T] = &[ … ];` with one of [`NAMES`]. The name of a row is its first string
//! literal; a row without one (`cmd::append::VERB`) counts by its text. A line `// unsorted: reason` above
//! the table allows another order, never doubles.

use super::{Problem, Tree};
use anyhow::Result;
use std::ops::Range;

const NAMES: &[&str] = &[
    "CAPABILITIES",
    "CHECKS",
    "COMMANDS",
    "DECODERS",
    "ENGINES",
    "EXTENSIONS",
    "HEADERS",
    "LISTENERS",
    "MECHANISMS",
    "METHODS",
    "RULES",
    "STEPS",
];

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for name in tree.select("", ".rs") {
        problems.extend(judge(name, &tree.read(name)?));
    }
    Ok(problems)
}

fn judge(file: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Table { name, line, unsorted, rows } in tables(text) {
        let place = format!("{file}:{line}");
        // As mail does: names that differ in case only are one name.
        let keys: Vec<String> = rows.iter().map(|row| row.to_ascii_lowercase()).collect();
        // By bytes or by letters: both are orders one can search in.
        let falls = |keys: &[String]| keys.windows(2).position(|p| matches!(p, [a, b] if a > b));
        let falls = falls(&rows).and(falls(&keys));
        let pair = falls.and_then(|at| Some((rows.get(at)?, rows.get(at + 1)?)));
        if let Some((above, below)) = pair.filter(|_| !unsorted) {
            problems.push(Problem::new(
                place.as_str(),
                format!("{name}: `{below}` stands after `{above}`"),
                "sort the rows by their name, or give a reason above the table: `// unsorted: reason`",
            ));
        }
        let is_double = |at: usize| keys.iter().take(at).any(|key| Some(key) == keys.get(at));
        if let Some(double) = (0..keys.len()).find(|at| is_double(*at)).and_then(|at| rows.get(at))
        {
            problems.push(Problem::new(
                place,
                format!("{name}: `{double}` stands there twice"),
                "keep one of the two rows",
            ));
        }
    }
    problems
}

struct Table {
    name: String,
    line: usize,
    unsorted: bool,
    rows: Vec<String>,
}

fn tables(text: &str) -> Vec<Table> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [Token { kind: Kind::Word(keyword), at: place }, Token { kind: Kind::Word(name), .. }] =
            pair
        else {
            continue;
        };
        if !matches!(*keyword, "static" | "const") || !NAMES.contains(name) {
            continue;
        }
        let rest = tokens.get(at + 2..).unwrap_or_default();
        if let Some(rows) = rows(text, rest) {
            let above = text.get(..place.start).unwrap_or_default();
            let line = above.matches('\n').count() + 1;
            found.push(Table {
                name: (*name).to_owned(),
                line,
                unsorted: is_unsorted(above),
                rows,
            });
        }
    }
    found
}

/// Names of the rows, from the tokens after the table's name; none when it is not a slice.
fn rows(text: &str, tokens: &[Token<'_>]) -> Option<Vec<String>> {
    let equals = tokens.iter().position(|token| token.kind == Kind::Sign('='))?;
    let [Token { kind: Kind::Sign('&'), .. }, Token { kind: Kind::Sign('['), .. }, tokens @ ..] =
        tokens.get(equals + 1..)?
    else {
        return None;
    };
    let mut rows = Vec::new();
    let mut depth = 0;
    let mut row: Vec<&Token<'_>> = Vec::new();
    for token in tokens {
        match token.kind {
            Kind::Sign(']') if depth == 0 => {
                rows.extend(row_name(text, &row));
                return Some(rows);
            }
            Kind::Sign(',') if depth == 0 => {
                rows.extend(row_name(text, &row));
                row.clear();
                continue;
            }
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        row.push(token);
    }
    None
}

fn row_name(text: &str, row: &[&Token<'_>]) -> Option<String> {
    let literal = row.iter().find_map(|token| match token.kind {
        Kind::Text(literal) => Some(literal.to_owned()),
        _ => None,
    });
    let whole = || {
        let (first, last) = (row.first()?, row.last()?);
        let whole = text.get(first.at.start..last.at.end)?;
        Some(whole.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    literal.or_else(whole)
}

/// Whether the comments and attributes right above a table hold `// unsorted: reason`.
fn is_unsorted(above: &str) -> bool {
    // The last line is what stands before the keyword (`pub `), not a comment.
    let mut lines = above.rsplit('\n').skip(1).map(str::trim);
    lines
        .by_ref()
        .take_while(|line| line.starts_with("//") || line.starts_with('#'))
        .filter_map(|line| line.trim_start_matches('/').trim().strip_prefix("unsorted:"))
        .any(|reason| !reason.trim().is_empty())
}

#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    Word(&'a str),
    /// A string literal, without quotes, escapes left as they are.
    Text(&'a str),
    Sign(char),
}

struct Token<'a> {
    kind: Kind<'a>,
    at: Range<usize>,
}

/// Rust as words, strings and signs; comments, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (length, kind) = token(rest);
        tokens.extend(kind.map(|kind| Token { kind, at: at..at + length }));
        at += length;
    }
    tokens
}

/// The first token of `rest`, which is not empty: how many bytes, and what, if it counts.
fn token(rest: &str) -> (usize, Option<Kind<'_>>) {
    let first = rest.chars().next().unwrap_or(' ');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), None)
    } else if rest.starts_with("/*") {
        (block_comment(rest), None)
    } else if first == '"' {
        string(rest, 1, 0)
    } else if first == '\'' {
        (character(rest), None)
    } else if is_word(first) {
        let word = rest.split(|c| !is_word(c)).next().unwrap_or(rest);
        let after = rest.get(word.len()..).unwrap_or_default();
        let hashes = after.len() - after.trim_start_matches('#').len();
        let opens = after.trim_start_matches('#').starts_with('"');
        match word {
            "b" | "c" if after.starts_with('"') => string(rest, 2, 0),
            "r" | "br" | "cr" if opens => string(rest, word.len() + hashes + 1, hashes.max(1)),
            _ => (word.len(), Some(Kind::Word(word))),
        }
    } else if first.is_whitespace() {
        (first.len_utf8(), None)
    } else {
        (first.len_utf8(), Some(Kind::Sign(first)))
    }
}

/// A literal whose text begins at `start`; `hashes` is 0 when backslashes escape.
fn string(rest: &str, start: usize, hashes: usize) -> (usize, Option<Kind<'_>>) {
    let body = rest.get(start..).unwrap_or_default();
    let raw_hashes = rest.get(..start).unwrap_or_default().matches('#').count();
    let end = if hashes == 0 {
        let mut escaped = false;
        body.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
    } else {
        body.find(&format!("\"{}", "#".repeat(raw_hashes)))
    };
    let end = end.unwrap_or(body.len());
    let length = (start + end + 1 + raw_hashes).min(rest.len());
    (length, Some(Kind::Text(body.get(..end).unwrap_or_default())))
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        let step = here.chars().next().map_or(1, char::len_utf8);
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += step;
        }
    }
    rest.len()
}

/// `'x'` or `'\n'` whole; of a lifetime only the mark.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(rest.len(), |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        let problems = judge("a.rs", text);
        let found: Vec<String> =
            problems.iter().map(|p| format!("{} {}", p.place, p.what)).collect();
        assert_eq!(found.len(), expect.len(), "{found:?} in {text}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found} does not say {expect}");
        }
    }

    #[test]
    fn sorted_tables_pass() {
        check(
            "pub static COMMANDS: &[V] = &[V { name: \"A\", f: a::b }, V { name: \"B\", f: b }];",
            &[],
        );
        check("static RULES: &[R] = &[];", &[]);
        check("static HEADERS: [(&str, &str); 2] = [(\"b\", x), (\"a\", y)];", &[]);
        check("static ENGINES: &[(&str, F)] = &[(\"memory\", f), (\"sqlite\", g),];", &[]);
    }

    #[test]
    fn other_order_and_doubles_are_told() {
        let two = |a: &str, b: &str| format!("\nstatic RULES: &[R] = &[R({a}), R({b})];");
        check(&two("\"B\"", "\"A\""), &["a.rs:2 RULES: `A` stands after `B`"]);
        check(&two("\"A\"", "\"A\""), &["a.rs:2 RULES: `A` stands there twice"]);
        check(&two("\"b\"", "r#\"a\"#"), &["`a` stands after `b`"]);
        check(&two("b\"B\"", "b\"A\""), &["`A` stands after `B`"]);
    }

    #[test]
    fn case_does_not_count() {
        check("static HEADERS: &[R] = &[R(\"Message-ID\"), R(\"MIME-Version\"), R(\"to\")];", &[]);
        check("static HEADERS: &[R] = &[R(\"To\"), R(\"TO\")];", &["`TO` stands there twice"]);
        check("static METHODS: &[R] = &[R(\"Thread/get\"), R(\"rpc.discover\")];", &[]);
    }

    #[test]
    fn a_reason_allows_another_order_but_no_doubles() {
        let table = "static STEPS: &[S] = &[S(\"b\"), S(\"a\")];";
        check(&format!("// unsorted: a letter takes them in turn\n{table}"), &[]);
        check(&format!("/// The steps.\n// unsorted: in turn\n#[rustfmt::skip]\npub {table}"), &[]);
        check(&format!("// unsorted:\n{table}"), &["stands after"]);
        check(&format!("// unsorted: in turn\nfn f() {{}}\n{table}"), &["stands after"]);
        check("// unsorted: x\nstatic STEPS: &[S] = &[S(\"b\"), S(\"a\"), S(\"b\")];", &["twice"]);
    }

    #[test]
    fn what_looks_like_rust_but_is_not() {
        let hidden = "/* static RULES: &[R] = &[R(\"b\"), R(\"a\")]; */ // static RULES: &[R] = &[\"b\", \"a\"]";
        check(hidden, &[]);
        check("let s = \"static RULES: &[R] = &[R(\\\"b\\\"), R(\\\"a\\\")];\";", &[]);
        check("static OTHER: &[R] = &[R(\"b\"), R(\"a\")];", &[]);
        check("static RULES: LazyLock<R> = LazyLock::new(|| [\"b\", \"a\"]);", &[]);
        check("static RULES: &[R] = &[R('\"', \"a\"), R('\\'', \"b\"), R::<'static>(\"c\")];", &[]);
        check("static RULES: &[R] = &[R(\"a\", \"z, ]\"), R(\"b\", \"a\")];", &[]);
        check("static RULES: &[R] = &[ /* \"z\" */ R(\"a\"), // \"z\"\n R(\"b\")];", &[]);
    }

    #[test]
    fn rows_without_a_literal_count_by_their_text() {
        check("static COMMANDS: &[&V] = &[&cmd::append::VERB, &cmd::copy::VERB];", &[]);
        check(
            "static COMMANDS: &[&V] = &[&cmd::copy::VERB, &cmd::append::VERB];",
            &["stands after"],
        );
    }

    #[test]
    fn cut_off_text_ends() {
        let whole =
            "static RULES: &[R] = &[R(r##\"b\"##, 'x', '\\n'), /* ż /* */ */ R(\"a\\\"\")];";
        for (at, _) in whole.char_indices() {
            judge("a.rs", whole.get(..at).unwrap());
        }
    }
}
