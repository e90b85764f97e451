//! Composite rules: what several rules say together is more than their sum. One row each, as in [`crate::RULES`].
//!
//! They look at symbols, not at the letter, when all rules and lists have been asked. A composite may name those above it.

use crate::expression::Expression;
use crate::verdict::Tally;
use std::sync::LazyLock;

/// A rule over symbols.
#[derive(Debug)]
pub struct Composite {
    pub symbol: &'static str,
    /// Beside those of the rules that it names.
    pub points: f32,
    /// See [`crate::When::Symbols`].
    pub when: &'static str,
    /// What it looks for, in one sentence.
    pub says: &'static str,
    /// Symbols that make it hit, and such that do not.
    pub hits: &'static [&'static str],
    pub misses: &'static [&'static str],
}

/// Sorted by symbol.
pub static COMPOSITES: &[Composite] = &[
    Composite {
        symbol: "BAIT_BEHIND_DISGUISE",
        points: 1.5,
        when: "(LINK_HOMOGRAPH or LINK_NUMBER_HOST or LINK_USER_HOST or LINK_TO_IP) \
               and (PASSWORD_BAIT or PARCEL_FEE or PRIZE or SUBJECT_CAPITALS)",
        says: "Words that press or promise stand beside a link in disguise.",
        hits: &["LINK_HOMOGRAPH", "PARCEL_FEE"],
        misses: &["LINK_HOMOGRAPH", "LINK_TO_IP"],
    },
    Composite {
        symbol: "FORGED_BAIT",
        points: 1.5,
        when: "(DMARC_REJECT or DMARC_QUARANTINE) \
               and (LINK_TO_OTHER or PASSWORD_BAIT or HTML_PASSWORD or PARCEL_FEE)",
        says: "The author is not who the letter says, and a link or a form waits for the reader.",
        hits: &["DMARC_QUARANTINE", "PASSWORD_BAIT"],
        misses: &["DMARC_PASS", "PASSWORD_BAIT"],
    },
    Composite {
        symbol: "FORGED_PROGRAM",
        points: 2.0,
        when: "(DMARC_REJECT or DMARC_QUARANTINE or NAME_IS_OTHER_ADDRESS or NAME_LOOKALIKE) \
               and (EXECUTABLE_FILE or ARCHIVE_PROGRAM or FILE_DISK_IMAGE or MACRO)",
        says: "The author is not who the letter says, and something that can run is attached.",
        hits: &["DMARC_QUARANTINE", "MACRO"],
        misses: &["DMARC_PASS", "MACRO"],
    },
    Composite {
        symbol: "LOCKED_BY_STRANGER",
        points: 1.5,
        when: "ARCHIVE_ENCRYPTED and not DMARC_PASS \
               and (DMARC_REJECT or DMARC_QUARANTINE or DKIM_INVALID or SPF_FAIL or SPF_SOFTFAIL)",
        says: "Nobody proves who sent the attached archive, and no scanner sees what is in it.",
        hits: &["ARCHIVE_ENCRYPTED", "SPF_SOFTFAIL"],
        misses: &["ARCHIVE_ENCRYPTED", "DMARC_PASS", "SPF_SOFTFAIL"],
    },
    Composite {
        symbol: "MONEY_BY_FREE_MAIL",
        points: 1.5,
        when: "REPLY_TO_FREE and (ADVANCE_FEE or PRIZE or EXTORTION)",
        says: "Money is promised or wanted, and answers go to a free mailbox that anybody can open.",
        hits: &["PRIZE", "REPLY_TO_FREE"],
        misses: &["PRIZE"],
    },
];

/// One that cannot be read never hits; the test below finds it.
static COMPILED: LazyLock<Vec<(&Composite, Expression)>> = LazyLock::new(|| {
    let compile = |row: &'static Composite| (row, Expression::parse(row.when).unwrap_or_default());
    COMPOSITES.iter().map(compile).collect()
});

/// The composites over what hit so far; `points` gives other points than their own, 0 to leave one out.
pub(crate) fn combine(tally: &mut Tally<'_>, points: impl Fn(&str) -> Option<f32>) {
    for (row, when) in COMPILED.iter() {
        let points = points(row.symbol).unwrap_or(row.points);
        if points != 0.0 && tally.meets(when) {
            tally.add_built_in(row.symbol, points, row.points);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RULES;

    #[track_caller]
    fn check(composite: &Composite, symbols: &'static [&'static str], expect: bool) {
        let mut tally = Tally::default();
        for symbol in symbols {
            assert!(RULES.iter().any(|rule| rule.symbol == *symbol), "{symbol}");
            tally.add_built_in(symbol, 1.0, 1.0);
        }
        combine(&mut tally, |_| None);
        let hit = tally.hits.iter().find(|hit| hit.symbol == composite.symbol);
        assert_eq!(hit.is_some(), expect, "{} of {symbols:?}", composite.symbol);
    }

    #[test]
    fn the_table_does_what_it_says() {
        assert!(COMPOSITES.is_sorted_by(|a, b| a.symbol < b.symbol));
        let mut known: Vec<&str> = RULES.iter().map(|rule| rule.symbol).collect();
        for row in COMPOSITES {
            assert!((1.0..=3.0).contains(&row.points) && row.says.ends_with('.'), "{}", row.symbol);
            let when = Expression::parse(row.when).unwrap();
            for symbol in when.symbols() {
                assert!(known.contains(&symbol), "{}: {symbol}", row.symbol);
            }
            assert!(!known.contains(&row.symbol), "{}", row.symbol);
            known.push(row.symbol);
            check(row, row.hits, true);
            check(row, row.misses, false);
            check(row, &[], false);
        }
    }

    #[test]
    fn points_of_an_operator() {
        let points_of = |points: Option<f32>| {
            let mut tally = Tally::default();
            tally.add_built_in("PRIZE", 1.5, 1.5);
            tally.add_built_in("REPLY_TO_FREE", 1.5, 1.5);
            combine(&mut tally, |_| points);
            tally.hits.get(2).map(|hit| (hit.points, hit.always))
        };
        assert_eq!(points_of(None), Some((1.5, false)));
        assert_eq!(points_of(Some(4.0)), Some((4.0, false)));
        assert_eq!(points_of(Some(8.0)), Some((8.0, true)));
        assert_eq!(points_of(Some(0.0)), None);
    }
}
