//! Is this letter wanted? A verdict from the letter and from what the connection told.
//!
//! Who really sent it, [`Claims`] and [`spf`] find out, once somebody with a resolver has asked their questions. And letters
//! that leave are signed: [`dkim`].
//!
//! Knows nothing about where mail is stored or who connects; asks no network, no disk, no clock. The rules are
//! rows of one table, [`RULES`]: to add one, add its row with an example that hits and one that does not. What several say
//! together is a row of [`COMPOSITES`]; what an operator adds, are [`LocalRules`].
//!
//! ```
//! use antispam::{Action, Evidence, Thresholds};
//! let raw = format!("From: a@example.test\r\nSubject: test\r\n\r\n{}\r\n", antispam::TEST_STRING);
//! let letter = mparser::Message::parse(raw.as_bytes());
//! let verdict = antispam::score(&letter, &Evidence::default(), &Thresholds::default());
//! assert_eq!(verdict.action, Action::Refuse);
//! assert!(verdict.header_value().starts_with("Yes, score="));
//! ```

mod arc;
mod authentication;
mod campaigns;
mod claims;
mod composites;
mod condition;
pub mod dkim;
mod dmarc;
mod expression;
mod facts;
mod files;
pub mod learn;
mod lesson;
mod links;
mod local;
mod model;
mod results;
mod rules;
pub mod spf;
mod verdict;

pub use authentication::{Arc, Authentication, Dkim, Dmarc, DmarcPolicy, Listed, Outcome, Spf};
pub use campaigns::{Campaign, Campaigns, Sketch};
pub use claims::{Claims, domains_to_ask_about};
pub use composites::{COMPOSITES, Composite};
pub use dkim::verify::Answer;
pub use expression::{EXPRESSION_BYTES, ExpressionError, ExpressionErrorKind};
pub use facts::{Evidence, Facts};
pub use learn::{Class, Features, Learner, Opinion, Personal, Word};
pub use lesson::Lesson;
pub use local::{Fault, LocalError, LocalRule, LocalRules, When};
pub use model::{Judged, LEARNED, Learned, Model, REPORTED, lesson_features};
pub use results::without_results_of;
pub use rules::{Example, GTUBE, JUNK_STRING, RULES, Rule, TEST_STRING};
pub use verdict::{Action, Hit, STATUS_FIELDS, StatusField, Thresholds, Verdict, says, score};
