//! Rules of rules: which symbols must hit, and which must not.
//!
//! ```text
//! expression = all *( "or" all )
//! all        = one *( "and" one )
//! one        = "not" one / "(" expression ")" / symbol
//! symbol     = %x41-5A 1*39( %x41-5A / DIGIT / "_" )      ; as in `DMARC_REJECT and (MACRO or not SPF_FAIL)`
//! ```
//!
//! `and`, `or` and `not` may be written in any case. Read in one pass without recursion, as Dijkstra's shunting yard does,
//! into an order in which a small stack works it out.

use std::fmt;

/// A longer one nobody understands.
pub const EXPRESSION_BYTES: usize = 1_000;

/// Never holds when it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Expression {
    /// What works on something stands behind it: `A B not and` is `A and not B`.
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Symbol(String),
    Not,
    And,
    Or,
}

/// Why a text is no expression, and at which character, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpressionError {
    pub at: usize,
    pub kind: ExpressionErrorKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpressionErrorKind {
    /// Over [`EXPRESSION_BYTES`].
    TooLong,
    /// No symbol, no word of ours, no parenthesis.
    NoWord,
    /// There is none at the end, after `and`, `or`, `not` or `(`, or before `and`, `or` or `)`.
    SymbolMissing,
    /// Two symbols or parentheses stand side by side.
    WordMissing,
    NeverOpened,
    NeverClosed,
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ExpressionErrorKind::TooLong => {
                return write!(f, "it has more than {EXPRESSION_BYTES} bytes: make two of it");
            }
            ExpressionErrorKind::NoWord => {
                "there is neither a symbol such as SPF_FAIL nor `and`, `or`, `not`, `(` or `)`"
            }
            ExpressionErrorKind::SymbolMissing => "a symbol, `not` or `(` is missing",
            ExpressionErrorKind::WordMissing => "`and` or `or` is missing",
            ExpressionErrorKind::NeverOpened => "this `)` has no `(` before it",
            ExpressionErrorKind::NeverClosed => "this `(` has no `)` behind it",
        };
        write!(f, "at character {}: {what}", self.at)
    }
}

impl std::error::Error for ExpressionError {}

/// Whether a rule may be called so: 2 to 40 capitals, digits and `_`, the first a capital, and no word of expressions.
pub(crate) fn is_symbol(text: &str) -> bool {
    let is_long_enough = (2..=40).contains(&text.len());
    let starts_well = text.starts_with(|c: char| c.is_ascii_uppercase());
    let is_plain = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_long_enough && starts_well && is_plain && !["AND", "OR", "NOT"].contains(&text)
}

impl Expression {
    pub(crate) fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES {
            return Err(ExpressionError { at: 1, kind: ExpressionErrorKind::TooLong });
        }
        let error_at = |(byte, kind)| {
            let before = text.get(..byte).unwrap_or_default();
            ExpressionError { at: before.chars().count() + 1, kind }
        };
        let mut yard = Yard { steps: Vec::new(), waiting: Vec::new(), has_operand: false };
        for (byte, word) in words(text) {
            yard.take(word, byte).map_err(|kind| error_at((byte, kind)))?;
        }
        yard.end(text.len()).map_err(error_at)
    }

    /// Each as often as it stands there.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Step::Symbol(symbol) => Some(symbol.as_str()),
            Step::Not | Step::And | Step::Or => None,
        })
    }

    /// Linear in its length.
    pub(crate) fn holds(&self, hits: impl Fn(&str) -> bool) -> bool {
        let mut stack: Vec<bool> = Vec::new();
        for step in &self.steps {
            let mut take = || stack.pop().unwrap_or_default();
            let result = match step {
                Step::Symbol(symbol) => hits(symbol),
                Step::Not => !take(),
                // Both are taken, whatever the first one is.
                Step::And => take() & take(),
                Step::Or => take() | take(),
            };
            stack.push(result);
        }
        stack.pop().unwrap_or_default()
    }
}

/// Parentheses, and what stands between them and blanks, with the byte at which it starts.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(|c: char| !c.is_whitespace())?;
        let rest = text.get(start..)?;
        let is_end = |c: char| c.is_whitespace() || c == '(' || c == ')';
        let length =
            if rest.starts_with(['(', ')']) { 1 } else { rest.find(is_end).unwrap_or(rest.len()) };
        at = start + length;
        Some((start, text.get(start..at)?))
    })
}

/// The later binds the tighter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    Open,
    Or,
    And,
    Not,
}

struct Yard {
    steps: Vec<Step>,
    /// What has not got all that it works on, with the byte where it stands.
    waiting: Vec<(Waiting, usize)>,
    /// The last word was a symbol or `)`.
    has_operand: bool,
}

impl Yard {
    fn take(&mut self, word: &str, at: usize) -> Result<(), ExpressionErrorKind> {
        match word {
            "(" => self.begin(Waiting::Open, at),
            ")" => self.close(),
            _ if word.eq_ignore_ascii_case("not") => self.begin(Waiting::Not, at),
            _ if word.eq_ignore_ascii_case("and") => self.join(Waiting::And, at),
            _ if word.eq_ignore_ascii_case("or") => self.join(Waiting::Or, at),
            _ if !is_symbol(word) => Err(ExpressionErrorKind::NoWord),
            _ if self.has_operand => Err(ExpressionErrorKind::WordMissing),
            _ => {
                self.steps.push(Step::Symbol(word.to_owned()));
                self.has_operand = true;
                Ok(())
            }
        }
    }

    fn begin(&mut self, what: Waiting, at: usize) -> Result<(), ExpressionErrorKind> {
        if self.has_operand {
            return Err(ExpressionErrorKind::WordMissing);
        }
        self.waiting.push((what, at));
        Ok(())
    }

    fn join(&mut self, what: Waiting, at: usize) -> Result<(), ExpressionErrorKind> {
        if !self.has_operand {
            return Err(ExpressionErrorKind::SymbolMissing);
        }
        self.settle(what);
        self.waiting.push((what, at));
        self.has_operand = false;
        Ok(())
    }

    fn close(&mut self) -> Result<(), ExpressionErrorKind> {
        if !self.has_operand {
            return Err(ExpressionErrorKind::SymbolMissing);
        }
        self.settle(Waiting::Or);
        match self.waiting.pop() {
            Some(_) => Ok(()),
            None => Err(ExpressionErrorKind::NeverOpened),
        }
    }

    /// All that waits and binds as tight as `what` has got what it works on.
    fn settle(&mut self, what: Waiting) {
        while let Some((top, _)) = self.waiting.pop_if(|(top, _)| *top >= what) {
            self.steps.push(match top {
                Waiting::Not => Step::Not,
                Waiting::And => Step::And,
                Waiting::Or | Waiting::Open => Step::Or,
            });
        }
    }

    /// `length_bytes` is that of the text.
    fn end(mut self, length_bytes: usize) -> Result<Expression, (usize, ExpressionErrorKind)> {
        if !self.has_operand {
            return Err((length_bytes, ExpressionErrorKind::SymbolMissing));
        }
        self.settle(Waiting::Or);
        match self.waiting.pop() {
            Some((_, at)) => Err((at, ExpressionErrorKind::NeverClosed)),
            None => Ok(Expression { steps: self.steps }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the symbols `AA`, `BB`, `CC` those hit that stand in `hits`.
    #[track_caller]
    fn check(text: &str, hits: &str, expect: bool) {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.holds(|symbol| hits.contains(symbol)), expect, "{text} of {hits:?}");
    }

    #[test]
    fn expressions() {
        check("AA", "AA", true);
        check("AA", "BB", false);
        check("not AA", "", true);
        check("not not AA", "AA", true);
        check("AA and BB", "AA", false);
        check("AA and BB", "AA BB", true);
        check("AA or BB", "BB", true);
        check("AA and (BB or not CC)", "AA", true);
        check("AA and (BB or not CC)", "AA CC", false);
        check("AA and (BB or not CC)", "AA BB CC", true);
        // `not` binds tightest, then `and`.
        check("AA or BB and CC", "AA", true);
        check("(AA or BB) and CC", "AA", false);
        check("not AA and BB", "BB", true);
        check("not (AA and BB)", "AA", true);
        check("not AA or BB", "AA BB", true);
        check("AA\tAND\nNot(BB)", "AA", true);
        check("((((AA))))", "AA", true);
        assert!(!Expression::default().holds(|_| true));
    }

    #[test]
    fn mistakes() {
        use ExpressionErrorKind::{
            NeverClosed, NeverOpened, NoWord, SymbolMissing, TooLong, WordMissing,
        };
        #[track_caller]
        fn check(text: &str, at: usize, kind: ExpressionErrorKind) {
            assert_eq!(Expression::parse(text), Err(ExpressionError { at, kind }), "{text}");
        }
        check("", 1, SymbolMissing);
        check("  ", 3, SymbolMissing);
        check("()", 2, SymbolMissing);
        check("and AA", 1, SymbolMissing);
        check("AA or", 6, SymbolMissing);
        check("AA or not", 10, SymbolMissing);
        check("(AA and)", 8, SymbolMissing);
        check("AA BB", 4, WordMissing);
        check("AA not BB", 4, WordMissing);
        check("AA(BB)", 3, WordMissing);
        check("(AA)(BB)", 5, WordMissing);
        check("(AA and BB", 1, NeverClosed);
        check("AA and ((BB)", 8, NeverClosed);
        check("AA)", 3, NeverOpened);
        check("AA & BB", 4, NoWord);
        check("spf_fail", 1, NoWord);
        check("AA and żółć", 8, NoWord);
        check("AA żółć BB", 4, NoWord);
        check("żółć or BB", 1, NoWord);
        check("A", 1, NoWord);
        check(&"X".repeat(41), 1, NoWord);
        check(&"not ".repeat(300), 1, TooLong);
        let error = Expression::parse("AA and").unwrap_err();
        assert_eq!(error.to_string(), "at character 7: a symbol, `not` or `(` is missing");
        assert!(Expression::parse(&"(".repeat(EXPRESSION_BYTES)).is_err());
        assert!(Expression::parse(&format!("{}AA", "not ".repeat(249))).is_ok());
    }

    /// Numbers that are the same in each run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            usize::try_from(self.0 >> 33).unwrap() % most
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        const PIECES: &[&str] =
            &["AA", "BB", "and", "or", "not", "(", ")", " ", "\u{a0}", "ż", "_", "Not", "9", "\0"];
        let mut dice = Dice(7);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..20_000 {
            let length = dice.below(24);
            let text: String = (0..length).map(|_| PIECES[dice.below(PIECES.len())]).collect();
            match Expression::parse(&text) {
                Ok(expression) => {
                    good += 1;
                    expression.holds(|symbol| symbol == "AA");
                }
                Err(error) => {
                    bad += 1;
                    assert!(error.at <= text.chars().count() + 1, "{text:?}: {error}");
                }
            }
        }
        assert!(good > 100 && bad > 1_000, "{good} {bad}");
    }

    /// A random expression and what it says for each set of `AA`, `BB`, `CC`: bit `n` for the set `n`.
    fn grow(dice: &mut Dice, depth: usize) -> (String, u8) {
        let one = |symbol: &str, says| (symbol.to_owned(), says);
        match dice.below(if depth == 0 { 3 } else { 6 }) {
            0 => one("AA", 0b1010_1010),
            1 => one("BB", 0b1100_1100),
            2 => one("CC", 0b1111_0000),
            3 => {
                let (text, says) = grow(dice, depth - 1);
                (format!("not ({text})"), !says)
            }
            kind => {
                let (left, right) = (grow(dice, depth - 1), grow(dice, depth - 1));
                let (word, says) =
                    if kind == 4 { ("and", left.1 & right.1) } else { ("or", left.1 | right.1) };
                (format!("({}) {word} ({})", left.0, right.0), says)
            }
        }
    }

    #[test]
    fn what_is_read_means_what_was_written() {
        let mut dice = Dice(11);
        for _ in 0..2_000 {
            let (text, says) = grow(&mut dice, 5);
            let Ok(expression) = Expression::parse(&text) else {
                assert!(text.len() > EXPRESSION_BYTES, "{text}");
                continue;
            };
            for set in 0..8_u8 {
                let hits = |symbol: &str| match symbol {
                    "AA" => set & 1 != 0,
                    "BB" => set & 2 != 0,
                    _ => set & 4 != 0,
                };
                assert_eq!(expression.holds(hits), says >> set & 1 == 1, "{text} of {set}");
            }
        }
    }
}
