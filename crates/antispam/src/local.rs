//! Rules of an operator's own, and other points for the rules that are built in.
//!
//! Rules come as plain descriptions, and all that may be wrong with them is said when they are compiled. Points of a local
//! rule always count in full: an operator means what he writes, whatever the learner has learned since.
//!
//! ```
//! use antispam::{Evidence, LocalRule, LocalRules, Thresholds, When};
//! let rule = LocalRule {
//!     symbol: "OUR_CASINO".into(),
//!     points: 7.0,
//!     says: "Casinos write to us every day.".into(),
//!     when: When::Body { matches: r"\bcasino\b".into() },
//! };
//! let local = LocalRules::compile(vec![rule], vec![("SPF_FAIL".into(), 2.5)], &[]).unwrap();
//! let letter = mparser::Message::parse(b"From: a@example.test\r\n\r\nThe best CASINO\r\n");
//! let evidence = Evidence { local: Some(&local), ..Evidence::default() };
//! let verdict = antispam::score(&letter, &evidence, &Thresholds::default());
//! assert_eq!(verdict.symbols[0].symbol, "OUR_CASINO");
//! ```

use crate::composites::COMPOSITES;
use crate::condition::{Condition, Seen};
use crate::expression::{Expression, ExpressionError, is_symbol};
use crate::facts::Facts;
use crate::model::{LEARNED, REPORTED};
use crate::rules::RULES;
use crate::verdict::Tally;
use std::collections::{HashMap, HashSet};

/// Each is asked about each letter.
const LOCAL_RULES: usize = 1_000;
const MOST_POINTS: f32 = 100.0;
const SAYS_CHARS: usize = 200;

/// A rule as an operator writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRule {
    /// 2 to 40 capitals, digits and `_`, a capital first; no other rule or list has it.
    pub symbol: String,
    /// From -100 to 100. With 0 the rule is shown, and there for the expressions of others.
    pub points: f32,
    /// One sentence of at most 200 characters.
    pub says: String,
    pub when: When,
}

/// When a local rule hits. Patterns are those of the crate `regex`, find what they look for anywhere, and take no notice of
/// case unless they say `(?-i)`. They have at most 1,000 bytes, and take time linear in the letter; only counted repeats of
/// much, as in `[a-m].{400}[0-9]`, may take a second on a letter that is made to be slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// A field of this name has such a value: unfolded, encoded words decoded. Each of several fields is looked at.
    Header { name: String, matches: String },
    /// The text, as a reader sees it, has it: all text parts one after the other, HTML as its text, one blank between words,
    /// all in lower case, so that a pattern with `(?-i)` finds no capitals. The first 256 KiB.
    Body { matches: String },
    /// A link of the page or an address in the text leads to one of these domains or below it.
    UrlHost { domains: Vec<String> },
    /// The envelope sender or an author in From is one of these: `user@domain`, `@domain` for all of exactly this domain, or
    /// `.domain` for all that are below it.
    Sender { matches: Vec<String> },
    /// The client has one of these addresses, `192.0.2.7`, or is in one of these networks, `2001:db8::/32`.
    Client { networks: Vec<String> },
    /// The name of an attachment ends so: `.iso`. Case does not count.
    Attachment { names: Vec<String> },
    /// Of the symbols that hit, built in, of lists or of other local rules, these did: `SPF_FAIL and (MACRO or not OUR_ONE)`.
    Symbols { expression: String },
}

/// What is wrong with a rule or with points, for the operator, who has to write it in another way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the spam rule {symbol:?} {fault}")]
pub struct LocalError {
    pub symbol: String,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is one more than {0}: take some away, or write several as one pattern or one list")]
    ManyRules(usize),
    #[error(
        "has no good symbol: write 2 to 40 capitals, digits and _, a capital first, but not AND, OR or NOT"
    )]
    Symbol,
    #[error("is built in: choose another symbol, or give the rule that is built in other points")]
    BuiltIn,
    #[error("is called as a list in the DNS is: choose another symbol")]
    OfList,
    #[error("is there twice: choose another symbol for one of them")]
    Twice,
    #[error("has points that are no number from -100 to 100: write one, such as 2.5")]
    Points,
    #[error(
        "does not say what it looks for: write one sentence of at most 200 characters on one line"
    )]
    Says,
    #[error(
        "asks for the header field {0:?}, and no field has such a name: write one such as Subject"
    )]
    FieldName(String),
    #[error(
        "has an empty pattern or one of more than {0} bytes: write a shorter one, or make two rules of it"
    )]
    PatternLength(usize),
    #[error("has a pattern that cannot be read: {0}")]
    Pattern(String),
    #[error(
        "has a pattern that is too large when compiled: repeat less, or write (?-u:\\w) for \\w"
    )]
    PatternBig,
    #[error("has an empty list: write at least one name")]
    NoNames,
    #[error("has a list of more than {0} names: make several rules of it")]
    ManyNames(usize),
    #[error(
        "has the domain {0:?}, which is none: write one such as example.com, without http:// or a dot in front"
    )]
    Domain(String),
    #[error(
        "has the sender {0:?}: write user@example.com, @example.com, or .example.com for what is below it"
    )]
    Sender(String),
    #[error("has the network {0:?}: write an address or one such as 192.0.2.0/24")]
    Network(String),
    #[error("has the file name {0:?}: write an end of names such as .iso")]
    FileName(String),
    #[error("has an expression that cannot be read: {0}")]
    Expression(ExpressionError),
    #[error("needs {0}, and no rule or list has this symbol: look for a slip of the pen")]
    Unknown(String),
    #[error("leads back to itself, as in {0}: take one of these out of an expression")]
    Circle(String),
    #[error(
        "is not built in, so it cannot be given other points: write them where the rule or the list is, or look for a slip of the pen"
    )]
    NotBuiltIn,
}

impl Fault {
    fn of(self, symbol: &str) -> LocalError {
        LocalError { symbol: symbol.to_owned(), fault: self }
    }
}

/// Compiled; to be shared.
#[derive(Debug, Default)]
pub struct LocalRules {
    conditions: Vec<Row<Condition>>,
    /// Each behind all that it names.
    expressions: Vec<Row<Expression>>,
    /// Header fields that conditions ask for, lower case.
    fields: HashSet<String>,
    /// Of rules that are built in.
    points: HashMap<String, f32>,
}

#[derive(Debug)]
struct Row<T> {
    symbol: String,
    points: f32,
    says: String,
    when: T,
}

impl LocalRules {
    /// `points` are those that built-in rules get instead of their own, 0 to turn one off; `lists` are the symbols of lists in
    /// the DNS, which expressions may name. Fails at the first thing that is wrong.
    pub fn compile(
        rules: Vec<LocalRule>,
        points: Vec<(String, f32)>,
        lists: &[&str],
    ) -> Result<Self, LocalError> {
        let known = known(&rules, lists)?;
        let mut local = Self { points: overrides(points)?, ..Self::default() };
        for rule in rules {
            let symbol = rule.symbol.clone();
            local.add(rule, &known).map_err(|fault| fault.of(&symbol))?;
        }
        local.expressions = in_order(std::mem::take(&mut local.expressions))?;
        Ok(local)
    }

    fn add(&mut self, rule: LocalRule, known: &HashSet<String>) -> Result<(), Fault> {
        let LocalRule { symbol, points, says, when } = rule;
        check_points(points)?;
        let is_short = says.chars().count() <= SAYS_CHARS;
        if says.trim().is_empty() || !is_short || says.contains(char::is_control) {
            return Err(Fault::Says);
        }
        if let When::Symbols { expression } = &when {
            let when = Expression::parse(expression).map_err(Fault::Expression)?;
            if let Some(unknown) = when.symbols().find(|symbol| !known.contains(*symbol)) {
                return Err(Fault::Unknown(unknown.to_owned()));
            }
            self.expressions.push(Row { symbol, points, says, when });
        } else if let Some(when) = Condition::compile(&when)? {
            self.fields.extend(when.field().map(str::to_owned));
            self.conditions.push(Row { symbol, points, says, when });
        }
        Ok(())
    }

    /// The sentence of a local rule.
    pub fn says(&self, symbol: &str) -> Option<&str> {
        let conditions = self.conditions.iter().map(|row| (&row.symbol, &row.says));
        let expressions = self.expressions.iter().map(|row| (&row.symbol, &row.says));
        let mut all = conditions.chain(expressions);
        all.find(|(of, _)| *of == symbol).map(|(_, says)| says.as_str())
    }

    /// Of a built-in rule: `None` for its own.
    pub(crate) fn points(&self, symbol: &str) -> Option<f32> {
        self.points.get(symbol).copied()
    }

    pub(crate) fn look<'a>(&'a self, facts: &Facts<'_>, tally: &mut Tally<'a>) {
        if self.conditions.is_empty() {
            return;
        }
        let seen = Seen::gather(facts, &self.fields);
        for row in self.conditions.iter().filter(|row| row.when.holds(&seen)) {
            tally.add_local(&row.symbol, row.points);
        }
    }

    pub(crate) fn combine<'a>(&'a self, tally: &mut Tally<'a>) {
        for row in &self.expressions {
            if tally.meets(&row.when) {
                tally.add_local(&row.symbol, row.points);
            }
        }
    }
}

fn check_points(points: f32) -> Result<(), Fault> {
    if points.abs() <= MOST_POINTS { Ok(()) } else { Err(Fault::Points) }
}

fn is_built_in(symbol: &str) -> bool {
    RULES.iter().any(|rule| rule.symbol == symbol)
        || COMPOSITES.iter().any(|rule| rule.symbol == symbol)
}

/// All symbols that an expression may name.
fn known(rules: &[LocalRule], lists: &[&str]) -> Result<HashSet<String>, LocalError> {
    if let Some(rule) = rules.get(LOCAL_RULES) {
        return Err(Fault::ManyRules(LOCAL_RULES).of(&rule.symbol));
    }
    let mut known: HashSet<String> = lists.iter().map(|list| (*list).to_owned()).collect();
    known.extend(RULES.iter().map(|rule| rule.symbol.to_owned()));
    known.extend(COMPOSITES.iter().map(|rule| rule.symbol.to_owned()));
    for LocalRule { symbol, .. } in rules {
        let fault = if !is_symbol(symbol) {
            Fault::Symbol
        } else if is_built_in(symbol) || [LEARNED, REPORTED].contains(&symbol.as_str()) {
            Fault::BuiltIn
        } else if lists.contains(&symbol.as_str()) {
            Fault::OfList
        } else if !known.insert(symbol.clone()) {
            Fault::Twice
        } else {
            continue;
        };
        return Err(fault.of(symbol));
    }
    Ok(known)
}

fn overrides(points: Vec<(String, f32)>) -> Result<HashMap<String, f32>, LocalError> {
    let mut of = HashMap::new();
    for (symbol, points) in points {
        check_points(points).map_err(|fault| fault.of(&symbol))?;
        if !is_built_in(&symbol) {
            return Err(Fault::NotBuiltIn.of(&symbol));
        }
        if of.insert(symbol.clone(), points).is_some() {
            return Err(Fault::Twice.of(&symbol));
        }
    }
    Ok(of)
}

/// Puts each expression behind those that it names: takes, again and again, one whose needs are all met.
fn in_order(rows: Vec<Row<Expression>>) -> Result<Vec<Row<Expression>>, LocalError> {
    let places: HashMap<&str, usize> =
        rows.iter().enumerate().map(|(place, row)| (row.symbol.as_str(), place)).collect();
    let needs: Vec<Vec<usize>> = rows
        .iter()
        .map(|row| row.when.symbols().filter_map(|symbol| places.get(symbol).copied()).collect())
        .collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); rows.len()];
    for (place, needs) in needs.iter().enumerate() {
        for need in needs {
            needed_by.get_mut(*need).into_iter().for_each(|by| by.push(place));
        }
    }
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut ready: Vec<usize> =
        (0..rows.len()).filter(|place| open.get(*place) == Some(&0)).collect();
    let mut order = Vec::new();
    while let Some(place) = ready.pop() {
        order.push(place);
        for by in needed_by.get(place).into_iter().flatten() {
            if let Some(open) = open.get_mut(*by) {
                *open -= 1;
                if *open == 0 {
                    ready.push(*by);
                }
            }
        }
    }
    if let Some(start) = open.iter().position(|open| *open > 0) {
        return Err(circle(&rows, &needs, &open, start));
    }
    let mut rows: Vec<Option<Row<Expression>>> = rows.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|place| rows.get_mut(place)?.take()).collect())
}

/// From a rule whose needs are never met to one of these, and so on: that ends where it was before.
fn circle(
    rows: &[Row<Expression>],
    needs: &[Vec<usize>],
    open: &[usize],
    start: usize,
) -> LocalError {
    let (mut path, mut at) = (Vec::new(), start);
    while !path.contains(&at) {
        path.push(at);
        let is_open = |place: &&usize| open.get(**place).is_some_and(|open| *open > 0);
        at = needs.get(at).and_then(|needs| needs.iter().find(is_open)).copied().unwrap_or(start);
    }
    path.push(at);
    let round = path.iter().skip_while(|place| **place != at);
    let symbols: Vec<&str> =
        round.filter_map(|place| Some(rows.get(*place)?.symbol.as_str())).collect();
    let first = symbols.first().copied().unwrap_or_default();
    Fault::Circle(symbols.join(" needs ")).of(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Evidence, Listed, Thresholds, Verdict, score};
    use mparser::Message;

    fn body(symbol: &str, points: f32, matches: &str) -> LocalRule {
        let when = When::Body { matches: matches.into() };
        LocalRule { symbol: symbol.into(), points, says: "It is there.".into(), when }
    }

    fn symbols(symbol: &str, expression: &str) -> LocalRule {
        let when = When::Symbols { expression: expression.into() };
        LocalRule { when, ..body(symbol, 1.0, "") }
    }

    fn judge(local: &LocalRules, text: &str) -> Verdict {
        let letter = format!(
            "From: a@b.test\r\nTo: c@d.test\r\nDate: Sun, 22 Nov 2026 18:00:00 +0100\r\n\
             Message-ID: <1@b.test>\r\nSubject: x\r\n\r\n{text}\r\n"
        );
        let listed = [Listed { symbol: "LIST_ONE".into(), points: 0.5, what: "b.test".into() }];
        let evidence = Evidence { local: Some(local), listed: &listed, ..Evidence::default() };
        score(&Message::parse(letter.as_bytes()), &evidence, &Thresholds::default())
    }

    /// Symbols that hit on a letter that says `one two`, in the order of the table of hits, without `LIST_ONE`.
    #[track_caller]
    fn check(rules: &[LocalRule], expect: &[&str]) {
        let local = LocalRules::compile(rules.to_vec(), Vec::new(), &["LIST_ONE"]).unwrap();
        let verdict = judge(&local, "one two");
        let hits = verdict.symbols.iter().map(|hit| &*hit.symbol);
        let mut hits: Vec<&str> = hits.filter(|symbol| *symbol != "LIST_ONE").collect();
        hits.sort_unstable();
        assert_eq!(hits, expect);
    }

    #[test]
    fn rules_hit_and_are_combined() {
        let (one, other) = (body("ONE", 1.0, "one"), body("OTHER", 1.0, "three"));
        check(&[], &[]);
        check(&[one.clone(), other.clone()], &["ONE"]);
        check(&[one.clone(), other, symbols("SUM", "ONE and not OTHER")], &["ONE", "SUM"]);
        check(&[symbols("SUM", "LIST_ONE and not TEST_STRING")], &["SUM"]);
        check(&[symbols("SUM", "LIST_ONE and FORGED_BAIT")], &[]);
        // In whatever order they are written.
        let chain = [symbols("CC", "BB and BB"), symbols("AA", "ONE"), symbols("BB", "AA or CX")];
        let rest = [symbols("CX", "not AA"), one];
        check(&[chain.as_slice(), rest.as_slice()].concat(), &["AA", "BB", "CC", "ONE"]);
    }

    #[test]
    fn a_long_chain_is_put_in_order() {
        let link = |n: usize| symbols(&format!("LINK_{n}"), &format!("LINK_{} or LINK_0", n + 1));
        let mut rules: Vec<LocalRule> = (1..LOCAL_RULES - 1).map(link).collect();
        rules.push(body(&format!("LINK_{}", LOCAL_RULES - 1), 0.0, "one"));
        rules.push(body("LINK_0", 0.0, "three"));
        let local = LocalRules::compile(rules, Vec::new(), &[]).unwrap();
        assert_eq!(judge(&local, "one").symbols.len(), LOCAL_RULES);
        assert_eq!(judge(&local, "two").symbols.len(), 1);
    }

    #[test]
    fn other_points() {
        #[track_caller]
        fn check(points: &[(&str, f32)], expect: &[(&str, f32, bool)]) {
            let points = points.iter().map(|(symbol, points)| ((*symbol).to_owned(), *points));
            let local = LocalRules::compile(Vec::new(), points.collect(), &[]).unwrap();
            let text = format!("You have won the lottery, to claim answer {}", crate::JUNK_STRING);
            let verdict = judge(&local, &text);
            let hits = verdict.symbols.iter().filter(|hit| hit.symbol != "LIST_ONE");
            let hits: Vec<_> = hits.map(|hit| (&*hit.symbol, hit.points, hit.always)).collect();
            assert_eq!(hits, expect);
            assert!(verdict.symbols.is_sorted_by(|a, b| a.points >= b.points));
        }
        check(&[], &[("TEST_JUNK", 7.0, true), ("PRIZE", 1.5, false)]);
        check(&[("PRIZE", 8.0)], &[("PRIZE", 8.0, true), ("TEST_JUNK", 7.0, true)]);
        check(&[("PRIZE", 0.0)], &[("TEST_JUNK", 7.0, true)]);
        check(&[("TEST_JUNK", 0.0), ("PRIZE", -3.0)], &[("PRIZE", -3.0, false)]);
        check(&[("TEST_JUNK", 2.0), ("PRIZE", 0.0)], &[("TEST_JUNK", 2.0, true)]);
    }

    #[test]
    fn a_rule_that_is_off_is_no_symbol() {
        let rules = vec![symbols("NO_PRIZE", "not PRIZE")];
        let text = "You have won the lottery, to claim answer";
        let on = LocalRules::compile(rules.clone(), Vec::new(), &[]).unwrap();
        assert!(judge(&on, text).symbols.iter().all(|hit| hit.symbol != "NO_PRIZE"));
        let off = LocalRules::compile(rules, vec![("PRIZE".into(), 0.0)], &[]).unwrap();
        assert!(judge(&off, text).symbols.iter().any(|hit| hit.symbol == "NO_PRIZE"));
    }

    #[test]
    fn points_make_the_action() {
        let local = |points| {
            LocalRules::compile(vec![body("ONE", points, "one")], Vec::new(), &[]).unwrap()
        };
        assert_eq!(judge(&local(6.0), "one").action, Action::Junk);
        assert_eq!(judge(&local(20.0), "one").action, Action::Refuse);
        let wanted = judge(&local(-20.0), &format!("one {}", crate::TEST_STRING));
        assert_eq!(wanted.action, Action::Accept, "{wanted:?}");
        let shown = judge(&local(0.0), "one");
        assert!(shown.header_value().contains("ONE"), "{shown:?}");
    }

    #[test]
    fn sentences() {
        let rules = vec![body("ONE", 1.0, "one"), symbols("SUM", "ONE")];
        let local = LocalRules::compile(rules, Vec::new(), &[]).unwrap();
        assert_eq!(local.says("SUM"), Some("It is there."));
        assert_eq!((local.says("ONE").is_some(), local.says("PRIZE")), (true, None));
        assert!(crate::says("PRIZE").is_some() && crate::says("FORGED_BAIT").is_some());
        assert_eq!(crate::says("ONE"), None);
    }

    #[test]
    fn mistakes() {
        #[track_caller]
        fn check(rules: &[LocalRule], symbol: &str, fault: Fault) {
            let found = LocalRules::compile(rules.to_vec(), Vec::new(), &["LIST_ONE"]);
            assert_eq!(found.unwrap_err(), fault.of(symbol));
        }
        for symbol in ["", "A", "one", "1ONE", "ONE-TWO", "NOT", "AND", &"X".repeat(41)] {
            check(&[body(symbol, 1.0, "x")], symbol, Fault::Symbol);
        }
        for symbol in ["PRIZE", "FORGED_BAIT", "LEARNED", "REPORTED"] {
            check(&[body(symbol, 1.0, "x")], symbol, Fault::BuiltIn);
        }
        check(&[body("LIST_ONE", 1.0, "x")], "LIST_ONE", Fault::OfList);
        check(&[body("ONE", 1.0, "x"), symbols("ONE", "PRIZE")], "ONE", Fault::Twice);
        for points in [f32::NAN, f32::INFINITY, 100.5, -101.0] {
            check(&[body("ONE", points, "x")], "ONE", Fault::Points);
        }
        for says in ["", "  ", "a\nb", &"x".repeat(201)] {
            let rule = LocalRule { says: says.into(), ..body("ONE", 1.0, "x") };
            check(&[rule], "ONE", Fault::Says);
        }
        check(&[body("ONE", 1.0, "x(")], "ONE", Fault::Pattern("unclosed group".into()));
        let error = Expression::parse("AA and").unwrap_err();
        check(&[symbols("ONE", "AA and")], "ONE", Fault::Expression(error));
        check(&[symbols("ONE", "LEARNED")], "ONE", Fault::Unknown("LEARNED".into()));
        check(&[symbols("ONE", "PRICE")], "ONE", Fault::Unknown("PRICE".into()));
        check(&[symbols("ONE", "not ONE")], "ONE", Fault::Circle("ONE needs ONE".into()));
        let round = [
            symbols("FREE", "PRIZE"),
            symbols("LEADS_IN", "FREE or AA"),
            symbols("AA", "FREE and BB"),
            symbols("BB", "CC"),
            symbols("CC", "not (FREE or AA)"),
        ];
        check(&round, "AA", Fault::Circle("AA needs BB needs CC needs AA".into()));
        let many: Vec<LocalRule> =
            (0..=LOCAL_RULES).map(|n| body(&format!("ONE_{n}"), 1.0, "x")).collect();
        check(&many, "ONE_1000", Fault::ManyRules(LOCAL_RULES));
    }

    #[test]
    fn mistakes_in_points() {
        #[track_caller]
        fn check(points: &[(&str, f32)], symbol: &str, fault: Fault) {
            let points = points.iter().map(|(symbol, points)| ((*symbol).to_owned(), *points));
            let rules = vec![body("ONE", 1.0, "x")];
            let found = LocalRules::compile(rules, points.collect(), &["LIST_ONE"]);
            assert_eq!(found.unwrap_err(), fault.of(symbol));
        }
        check(&[("PRIZE", f32::NAN)], "PRIZE", Fault::Points);
        check(&[("PRIZE", 1.0), ("PRIZE", 2.0)], "PRIZE", Fault::Twice);
        for symbol in ["ONE", "LIST_ONE", "PRICE", "LEARNED"] {
            check(&[(symbol, 1.0)], symbol, Fault::NotBuiltIn);
        }
    }

    #[test]
    fn what_is_said_of_a_mistake() {
        let found = LocalRules::compile(vec![symbols("ONE", "PRIZE or or")], Vec::new(), &[]);
        assert_eq!(
            found.unwrap_err().to_string(),
            "the spam rule \"ONE\" has an expression that cannot be read: at character 10: a symbol, `not` or `(` is missing"
        );
    }

    #[test]
    fn sixteen_times_the_text_takes_sixteen_times_the_time() {
        let rules = vec![
            body("TWICE", 1.0, "(a*)*b(x+x+)+y"),
            body("WORDS", 1.0, r"(\w+\s?)+!!"),
            body("FAR", 1.0, "a.{200}c"),
        ];
        let local = LocalRules::compile(rules, Vec::new(), &[]).unwrap();
        let time = |bytes: usize| {
            let text = "a".repeat(bytes);
            let start = std::time::Instant::now();
            assert_eq!(judge(&local, &text).symbols.len(), 1);
            start.elapsed().as_secs_f64()
        };
        let (little, much) = (time(15_000), time(240_000));
        assert!(much < little.max(0.001) * 16.0 * 8.0, "{little} {much}");
    }
}
