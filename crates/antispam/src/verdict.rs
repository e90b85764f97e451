//! The sum of the rules that hit, and what it means.

use crate::composites::COMPOSITES;
use crate::expression::Expression;
use crate::facts::{Evidence, Facts};
use crate::rules::RULES;
use std::borrow::Cow;
use std::collections::HashSet;

/// Points from which a letter goes to Junk, or is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub junk: f32,
    pub refuse: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { junk: 6.0, refuse: 15.0 }
    }
}

impl Thresholds {
    pub fn action(self, score: f32) -> Action {
        if score >= self.refuse {
            Action::Refuse
        } else if score >= self.junk {
            Action::Junk
        } else {
            Action::Accept
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Accept,
    Junk,
    Refuse,
}

/// A rule that hit, built in or local, or a list that knows the client or a domain.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub symbol: Cow<'static, str>,
    pub points: f32,
    /// Counts in full, whatever was learned.
    pub always: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub action: Action,
    pub score: f32,
    /// The `junk` threshold it was measured against.
    pub required: f32,
    /// The heaviest first.
    pub symbols: Vec<Hit>,
}

/// Judges a letter by every rule. Linear in the letter, which is read no further than the limits in `facts` say.
pub fn score(
    message: &mparser::Message<'_>,
    evidence: &Evidence<'_>,
    thresholds: &Thresholds,
) -> Verdict {
    by_rules(&Facts::gather(message, evidence), *thresholds)
}

/// The sentence of a rule or composite that is built in.
pub fn says(symbol: &str) -> Option<&'static str> {
    let rules = RULES.iter().map(|rule| (rule.symbol, rule.says));
    let mut all = rules.chain(COMPOSITES.iter().map(|rule| (rule.symbol, rule.says)));
    all.find(|(of, _)| *of == symbol).map(|(_, says)| says)
}

pub(crate) fn by_rules(facts: &Facts<'_>, thresholds: Thresholds) -> Verdict {
    let local = facts.evidence.local;
    let points_of = |symbol: &str| local.and_then(|local| local.points(symbol));
    let mut tally = Tally::default();
    for rule in RULES {
        let points = points_of(rule.symbol).unwrap_or(rule.points);
        if points != 0.0 && (rule.test)(facts) {
            tally.add_built_in(rule.symbol, points, rule.points);
        }
    }
    for one in facts.evidence.listed {
        tally.add_listed(&one.symbol, one.points);
    }
    if let Some(local) = local {
        local.look(facts, &mut tally);
    }
    // Only now are all symbols known that an expression may name.
    crate::composites::combine(&mut tally, points_of);
    if let Some(local) = local {
        local.combine(&mut tally);
    }
    let mut symbols = tally.hits;
    symbols.sort_by(|a, b| b.points.total_cmp(&a.points));
    // `sum` of nothing is -0.0, which would be shown.
    let score = symbols.iter().fold(0.0, |sum, hit| sum + hit.points);
    Verdict { action: thresholds.action(score), score, required: thresholds.junk, symbols }
}

/// What hit so far.
#[derive(Debug, Default)]
pub(crate) struct Tally<'a> {
    pub(crate) hits: Vec<Hit>,
    symbols: HashSet<&'a str>,
}

/// A built-in rule of so many points, its own or an operator's, counts in full whatever was learned: no letter is wanted
/// where it hits.
const ALWAYS_POINTS: f32 = 6.0;

impl<'a> Tally<'a> {
    /// `own` are the points in the table.
    pub(crate) fn add_built_in(&mut self, symbol: &'static str, points: f32, own: f32) {
        let always = points >= ALWAYS_POINTS || own >= ALWAYS_POINTS;
        self.symbols.insert(symbol);
        self.hits.push(Hit { symbol: symbol.into(), points, always });
    }

    pub(crate) fn add_listed(&mut self, symbol: &'a str, points: f32) {
        self.symbols.insert(symbol);
        self.hits.push(Hit { symbol: symbol.to_owned().into(), points, always: false });
    }

    pub(crate) fn add_local(&mut self, symbol: &'a str, points: f32) {
        self.symbols.insert(symbol);
        self.hits.push(Hit { symbol: symbol.to_owned().into(), points, always: true });
    }

    pub(crate) fn meets(&self, when: &Expression) -> bool {
        when.holds(|symbol| self.symbols.contains(symbol))
    }
}

/// A header field beside `X-Spam-Status`, for programs that look for it.
#[derive(Debug)]
pub struct StatusField {
    pub name: &'static str,
    /// `None`: the letter gets no such field.
    pub value: fn(&Verdict) -> Option<String>,
}

/// Sorted by name.
pub static STATUS_FIELDS: &[StatusField] = &[
    StatusField { name: "X-Spam", value: |verdict| verdict.is_spam().then(|| "Yes".to_owned()) },
    StatusField {
        name: "X-Spam-Flag",
        value: |verdict| verdict.is_spam().then(|| "YES".to_owned()),
    },
    StatusField { name: "X-Spam-Level", value: Verdict::stars },
    StatusField { name: "X-Spam-Score", value: |verdict| Some(format!("{:.1}", verdict.score)) },
];

/// More says no more.
const STARS: u8 = 50;

/// RFC 5322 §2.1.1 wants lines of at most 78 characters.
const LINE_CHARS: usize = 76;

impl Verdict {
    pub fn is_spam(&self) -> bool {
        self.action != Action::Accept
    }

    /// One for each whole point.
    fn stars(&self) -> Option<String> {
        let stars: String =
            (1..=STARS).take_while(|n| f32::from(*n) <= self.score).map(|_| '*').collect();
        (!stars.is_empty()).then_some(stars)
    }

    pub fn has(&self, symbol: &str) -> bool {
        self.symbols.iter().any(|hit| hit.symbol == symbol)
    }

    /// The value of an `X-Spam-Status` field, folded: `Yes, score=16.0 required=6.0 tests=TEST_STRING`.
    pub fn header_value(&self) -> String {
        let yes = if self.action == Action::Accept { "No" } else { "Yes" };
        let mut value =
            format!("{yes}, score={:.1} required={:.1} tests=", self.score, self.required);
        let mut column = "X-Spam-Status: ".len() + value.len();
        if self.symbols.is_empty() {
            value.push_str("none");
        }
        for (i, hit) in self.symbols.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if column + hit.symbol.len() + 2 > LINE_CHARS {
                value.push_str(comma);
                value.push_str("\r\n\t");
                // A tab is shown eight columns wide.
                column = 8;
            } else {
                value.push_str(comma);
                column += comma.len();
            }
            value.push_str(&hit.symbol);
            column += hit.symbol.len();
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(symbols: &[(&'static str, f32)]) -> Verdict {
        let symbols: Vec<Hit> = symbols
            .iter()
            .map(|&(symbol, points)| Hit { symbol: symbol.into(), points, always: false })
            .collect();
        let score = symbols.iter().fold(0.0, |sum, h| sum + h.points);
        Verdict { action: Action::Junk, score, required: 6.0, symbols }
    }

    #[test]
    fn the_header_is_folded() {
        assert_eq!(verdict(&[]).header_value(), "Yes, score=0.0 required=6.0 tests=none");
        let two = verdict(&[("TEST_STRING", 15.0), ("MISSING_DATE", 1.0)]);
        assert_eq!(
            two.header_value(),
            "Yes, score=16.0 required=6.0 tests=TEST_STRING,MISSING_DATE"
        );
        let all: Vec<(&str, f32)> = RULES.iter().map(|r| (r.symbol, r.points)).collect();
        let value = format!("X-Spam-Status: {}", verdict(&all).header_value());
        for line in value.split("\r\n") {
            assert!(line.replace('\t', "        ").len() <= 78, "{line:?}");
        }
        let unfolded = mparser::unfold(value.as_bytes());
        let text = String::from_utf8(unfolded).unwrap().replace('\t', "");
        for (symbol, _) in all {
            assert!(text.contains(symbol), "{symbol}");
        }
    }

    #[test]
    fn fields_beside_it() {
        #[track_caller]
        fn check(action: Action, score: f32, expect: [Option<&str>; 4]) {
            let verdict = Verdict { action, score, ..verdict(&[]) };
            let values: Vec<_> =
                STATUS_FIELDS.iter().map(|field| (field.value)(&verdict)).collect();
            assert_eq!(values.iter().map(Option::as_deref).collect::<Vec<_>>(), expect);
        }
        check(Action::Accept, -0.2, [None, None, None, Some("-0.2")]);
        check(Action::Accept, 2.9, [None, None, Some("**"), Some("2.9")]);
        check(Action::Junk, 6.0, [Some("Yes"), Some("YES"), Some("******"), Some("6.0")]);
        let most = "*".repeat(50);
        check(Action::Refuse, 1e9, [Some("Yes"), Some("YES"), Some(&most), Some("1000000000.0")]);
    }

    #[test]
    fn lists_count_as_rules_do() {
        let listed =
            [crate::Listed { symbol: "LISTED_X".into(), points: 7.0, what: "x.test".into() }];
        let evidence = Evidence { listed: &listed, ..Evidence::default() };
        let message = mparser::Message::parse(b"From: a@x.test\r\n\r\nhello\r\n");
        let verdict = score(&message, &evidence, &Thresholds::default());
        assert_eq!(verdict.action, Action::Junk);
        assert!(verdict.header_value().contains("tests=LISTED_X"), "{verdict:?}");
    }

    #[test]
    fn thresholds() {
        #[track_caller]
        fn check(raw: &str, thresholds: Thresholds, expect: Action) {
            let raw = raw.replace('\n', "\r\n");
            let message = mparser::Message::parse(raw.as_bytes());
            let verdict = score(&message, &Evidence::default(), &thresholds);
            assert_eq!(verdict.action, expect, "{verdict:?}");
            assert!(verdict.symbols.is_sorted_by(|a, b| a.points >= b.points));
        }
        let plain = "From: a@example.test\nTo: b@example.test\nDate: Sun, 22 Nov 2026 18:00:00 +0100\n\
            Message-ID: <1@example.test>\nSubject: Lunch\n\nAt noon?\n";
        let default = Thresholds::default();
        check(plain, default, Action::Accept);
        check(&format!("{plain}{}\n", crate::JUNK_STRING), default, Action::Junk);
        check(&format!("{plain}{}\n", crate::TEST_STRING), default, Action::Refuse);
        check(&format!("{plain}{}\n", crate::GTUBE), default, Action::Refuse);
        let never = Thresholds { refuse: f32::INFINITY, ..default };
        check(&format!("{plain}{}\n", crate::TEST_STRING), never, Action::Junk);
    }
}
