//! All that was learned, and a verdict by it: rules first, and the more was learned, the more that decides.
//!
//! Symbols of rules are features of the learner too, so they are not counted twice: the learner's points take the place of
//! the rules' points as it grows up. Only very strong rules stay, and those of an operator, who means what he writes.

use crate::Thresholds;
use crate::campaigns::{Campaign, Campaigns, Sketch};
use crate::facts::Facts;
use crate::learn::{Class, Features, Learner, Opinion, Personal};
use crate::lesson::Lesson;
use crate::verdict::{Hit, Verdict};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// What is remembered of who said what; older clicks cannot be taken back exactly.
const TOLD: usize = 200_000;
/// Lessons of one account that count for everybody in a day: nobody teaches the filter alone.
const LESSONS_A_DAY: u32 = 100;
const DAY_S: i64 = 86_400;
/// With so many lessons the learner has half of the say.
const GROWN_UP: f32 = 10.0;
/// A letter at the learner's threshold gets the points of Junk; beyond it so many more, and before it so many fewer.
const POINTS_PER_LOGIT: f32 = 2.5;
/// The learner alone refuses nobody.
const LEARNED_MOST: f32 = 14.5;
const LEARNED_LEAST: f32 = -10.0;
/// Points of rules are only given up for what the learner is sure of.
const RULES_YIELD_PER_LOGIT: f32 = 1.5;
const MAGIC: &[u8] = b"OPMODEL1";

/// What everybody taught. Readers never wait.
#[derive(Debug, Default)]
pub struct Model {
    pub learner: Learner,
    pub campaigns: Campaigns,
    told: Mutex<Told>,
}

/// A letter with what the model thinks of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// By the rules alone.
    pub rules: Verdict,
    pub features: Features,
    pub opinion: Opinion,
    pub sketch: Sketch,
    /// What people said about copies of it.
    pub campaign: Campaign,
}

/// What a lesson did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// What the same person said before of the same letter.
    pub before: Option<Class>,
    /// The person teaches more than counts for everybody; it counts for himself.
    pub only_for_himself: bool,
}

impl Model {
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at a letter once; [`Judged::verdict`] then says what it means for whom.
    pub fn judge(&self, facts: &Facts<'_>, thresholds: &Thresholds) -> Judged {
        let rules = crate::verdict::by_rules(facts, *thresholds);
        // Nobody has taught anything: then half of the work tells nothing.
        if self.learner.lessons() == 0 {
            let (features, sketch) = <(Features, Sketch)>::default();
            let (opinion, campaign) = <(Opinion, Campaign)>::default();
            return Judged { rules, features, opinion, sketch, campaign };
        }
        let features = Features::of(facts, &rules.symbols);
        let opinion = self.learner.opinion(&features);
        let sketch = Sketch::of(facts);
        let campaign = self.campaigns.ask(&sketch, None, facts.evidence.now_unix_s);
        Judged { rules, features, opinion, sketch, campaign }
    }

    /// The same for an account, which taught something for itself.
    pub fn judge_for(
        &self,
        judged: &Judged,
        account: u64,
        own: &Personal,
        thresholds: &Thresholds,
        now_unix_s: i64,
    ) -> Verdict {
        let logit = judged.opinion.logit + own.opinion(&judged.features);
        let lessons = judged.opinion.lessons.saturating_add(own.lessons());
        let opinion = self.learner.about(logit, lessons);
        let campaign = self.campaigns.ask(&judged.sketch, Some(account), now_unix_s);
        judged.weigh(&opinion, &campaign, *thresholds)
    }

    /// In the order of the journal, one at a time.
    pub fn apply(&self, lesson: &Lesson) -> Learned {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.take(lesson);
        if let Some(Said { class, for_all: true }) = before {
            self.learner.unlearn(&lesson.features, class);
        }
        let for_all = lesson.class.is_none() || told.may_teach(lesson);
        let Lesson { sketch, account, at_unix_s, .. } = lesson;
        match lesson.class {
            Some(class) => self.campaigns.report(sketch, *account, class, for_all, *at_unix_s),
            None => self.campaigns.take_back(sketch, *account, *at_unix_s),
        }
        if let Some(class) = lesson.class {
            if for_all {
                self.learner.learn(&lesson.features, class);
            }
            told.put(lesson, Said { class, for_all });
        }
        Learned { before: before.map(|said| said.class), only_for_himself: !for_all }
    }

    /// What this account last said of the letter.
    pub fn told(&self, letter: u64, account: u64) -> Option<Class> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.said.get(&(letter, account)).map(|said| said.class)
    }

    pub fn save(&self) -> Vec<u8> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(told.by_age.len() as u64).to_le_bytes());
        for key in &told.by_age {
            let said = told.said.get(key);
            let class = said.map_or(2, |said| u8::from(said.class == Class::Spam));
            out.extend_from_slice(&key.0.to_le_bytes());
            out.extend_from_slice(&key.1.to_le_bytes());
            out.extend_from_slice(&[class, u8::from(said.is_some_and(|said| said.for_all))]);
        }
        out.extend_from_slice(&self.campaigns.save());
        out.extend_from_slice(&self.learner.save());
        out
    }

    /// `None`: damaged, or of another version.
    pub fn load(saved: &[u8]) -> Option<Self> {
        let (count, mut rest) = saved.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let mut told = Told::default();
        for _ in 0..u64::from_le_bytes(*count) {
            let (row, after) = rest.split_first_chunk::<18>()?;
            rest = after;
            let (letter, row) = row.split_first_chunk::<8>()?;
            let (account, row) = row.split_first_chunk::<8>()?;
            let key = (u64::from_le_bytes(*letter), u64::from_le_bytes(*account));
            let [class @ 0..=2, for_all @ 0..=1] = row else { return None };
            if *class < 2 {
                let class = if *class == 1 { Class::Spam } else { Class::Ham };
                told.said.insert(key, Said { class, for_all: *for_all == 1 });
                told.by_age.push_back(key);
            }
        }
        let (campaigns, rest) = rest.split_at_checked(Campaigns::SAVED_BYTES)?;
        Some(Self {
            learner: Learner::load(rest)?,
            campaigns: Campaigns::load(campaigns)?,
            told: Mutex::new(told),
        })
    }
}

impl Judged {
    /// The verdict for everybody.
    pub fn verdict(&self, thresholds: &Thresholds) -> Verdict {
        self.weigh(&self.opinion, &self.campaign, *thresholds)
    }

    /// That of the rules with what was learned in it: `LEARNED` has the difference, `REPORTED` what people said of copies.
    fn weigh(&self, opinion: &Opinion, campaign: &Campaign, thresholds: Thresholds) -> Verdict {
        let mut verdict = self.rules.clone();
        if opinion.lessons == 0 {
            return verdict;
        }
        let always: f32 =
            verdict.symbols.iter().filter(|hit| hit.always).map(|hit| hit.points).sum();
        let rules = verdict.score - always;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let lessons = opinion.lessons as f32;
        let share = lessons / (lessons + GROWN_UP);
        let learned = thresholds.junk + POINTS_PER_LOGIT * opinion.margin;
        let learned = learned.clamp(LEARNED_LEAST, LEARNED_MOST.max(thresholds.junk));
        let blend = (1.0 - share) * rules + share * learned;
        let kept = rules + share * RULES_YIELD_PER_LOGIT * opinion.margin.min(0.0);
        let score = always + blend.max(kept);
        let points = score - verdict.score;
        verdict.symbols.push(Hit { symbol: LEARNED.into(), points, always: false });
        // What somebody said of a copy himself decides for him, whatever the learner thinks.
        let with_reports = match campaign.own_report {
            Some(Class::Spam) => (score + campaign.points).max(thresholds.junk + 1.0),
            Some(Class::Ham) => (score + campaign.points).min(always.max(thresholds.junk - 1.0)),
            None => score + campaign.points,
        };
        let points = with_reports - score;
        let score = with_reports;
        if points != 0.0 {
            verdict.symbols.push(Hit { symbol: REPORTED.into(), points, always: false });
        }
        verdict.symbols.sort_by(|a, b| b.points.total_cmp(&a.points));
        verdict.score = score;
        verdict.action = thresholds.action(score);
        verdict
    }
}

/// What a lesson is made of: with the rules that hit when the letter came, as far as they are known.
pub fn lesson_features(facts: &Facts<'_>, symbols: Option<&[&str]>) -> Features {
    let Some(symbols) = symbols else {
        return Features::of(
            facts,
            &crate::verdict::by_rules(facts, Thresholds::default()).symbols,
        );
    };
    // What was learned must not learn itself. Points are no feature.
    let of_rules = symbols.iter().filter(|symbol| ![LEARNED, REPORTED].contains(symbol));
    let hits: Vec<Hit> = of_rules
        .map(|symbol| Hit { symbol: (*symbol).to_owned().into(), points: 0.0, always: false })
        .collect();
    Features::of(facts, &hits)
}

/// The symbol of what was learned.
pub const LEARNED: &str = "LEARNED";
/// The symbol of what people said of copies of a letter.
pub const REPORTED: &str = "REPORTED";

#[derive(Debug, Clone, Copy)]
struct Said {
    class: Class,
    /// Everybody's tables have it.
    for_all: bool,
}

/// Who said what of which letter.
#[derive(Debug, Default)]
struct Told {
    said: HashMap<(u64, u64), Said>,
    by_age: VecDeque<(u64, u64)>,
    /// Lessons of each account on the day of the last one.
    today: (i64, HashMap<u64, u32>),
}

impl Told {
    fn take(&mut self, lesson: &Lesson) -> Option<Said> {
        self.said.remove(&(lesson.letter, lesson.account))
    }

    fn put(&mut self, lesson: &Lesson, said: Said) {
        let key = (lesson.letter, lesson.account);
        self.said.insert(key, said);
        self.by_age.push_back(key);
        while self.by_age.len() > TOLD {
            if let Some(oldest) = self.by_age.pop_front() {
                self.said.remove(&oldest);
            }
        }
    }

    fn may_teach(&mut self, lesson: &Lesson) -> bool {
        let day = lesson.at_unix_s.div_euclid(DAY_S);
        if self.today.0 != day {
            self.today = (day, HashMap::new());
        }
        let count = self.today.1.entry(lesson.account).or_default();
        *count = count.saturating_add(1);
        lesson.account == 0 || *count <= LESSONS_A_DAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Evidence, LocalRule, LocalRules, When};
    use mparser::Message;

    fn features(text: &str) -> Features {
        Features::of_letter(&Message::parse(letter(text).as_bytes()))
    }

    fn letter(text: &str) -> String {
        format!(
            "From: a@example.test\r\nTo: b@example.test\r\nDate: Sun, 22 Nov 2026 18:00:00 +0100\r\nMessage-ID: <1@example.test>\r\nSubject: {text}\r\n\r\n{text}\r\n"
        )
    }

    fn lesson(number: u64, account: u64, class: Option<Class>, text: &str) -> Lesson {
        Lesson {
            letter: number,
            account,
            class,
            at_unix_s: 1_795_370_400,
            features: features(text),
            sketch: Sketch::default(),
        }
    }

    fn taught() -> Model {
        let model = Model::new();
        for n in 0..150 {
            model.apply(&lesson(n, 0, Some(Class::Spam), &format!("cheap pills number {n}")));
            model.apply(&lesson(
                1000 + n,
                0,
                Some(Class::Ham),
                &format!("lunch at noon, table {n}"),
            ));
        }
        model
    }

    #[test]
    fn what_is_learned_takes_the_place_of_the_rules() {
        #[track_caller]
        fn check(model: &Model, text: &str, expect: Action) {
            let (thresholds, evidence) = (Thresholds::default(), Evidence::default());
            let raw = letter(text);
            let message = Message::parse(raw.as_bytes());
            let judged = model.judge(&Facts::gather(&message, &evidence), &thresholds);
            let verdict = judged.verdict(&thresholds);
            assert_eq!(verdict.action, expect, "{text}: {verdict:?} {:?}", judged.opinion);
            let sum: f32 = verdict.symbols.iter().map(|hit| hit.points).sum();
            assert!((sum - verdict.score).abs() < 0.01, "{verdict:?}");
        }
        let nothing = Model::new();
        check(&nothing, "cheap pills number 500", Action::Accept);
        check(&nothing, crate::TEST_STRING, Action::Refuse);
        let model = taught();
        check(&model, "cheap pills number 500", Action::Junk);
        check(&model, "lunch at one, table 500", Action::Accept);
        check(&model, crate::TEST_STRING, Action::Refuse);
        check(&model, crate::JUNK_STRING, Action::Junk);
        let again = Model::load(&model.save()).unwrap();
        check(&again, "cheap pills number 500", Action::Junk);
        assert!(again.save() == model.save());
        assert!(Model::load(&model.save()[..100]).is_none() && Model::load(b"").is_none());
    }

    #[test]
    fn local_rules_count_in_full_whatever_is_learned() {
        #[track_caller]
        fn check(model: &Model, points: f32, text: &str, expect: Action) {
            let rule = LocalRule {
                symbol: "OURS".into(),
                points,
                says: "Ours.".into(),
                when: When::Body { matches: "number|table".into() },
            };
            let local = LocalRules::compile(vec![rule], Vec::new(), &[]).unwrap();
            let thresholds = Thresholds::default();
            let evidence = Evidence { local: Some(&local), ..Evidence::default() };
            let raw = letter(text);
            let message = Message::parse(raw.as_bytes());
            let judged = model.judge(&Facts::gather(&message, &evidence), &thresholds);
            let verdict = judged.verdict(&thresholds);
            assert_eq!(verdict.action, expect, "{text}: {verdict:?}");
            let without = model
                .judge(&Facts::gather(&message, &Evidence::default()), &thresholds)
                .verdict(&thresholds);
            // The learner knows nothing of this symbol, so that only the points differ.
            assert!(
                (verdict.score - without.score - points).abs() < 0.01,
                "{verdict:?} {without:?}"
            );
        }
        for model in [Model::new(), taught()] {
            check(&model, 20.0, "lunch at one, table 500", Action::Refuse);
            check(&model, -20.0, "cheap pills number 500", Action::Accept);
        }
    }

    #[test]
    fn a_lesson_is_learned_once_and_taken_back() {
        let model = taught();
        let spam = lesson(7000, 5, Some(Class::Spam), "minutes of the meeting");
        assert_eq!(model.apply(&spam).before, None);
        assert_eq!(model.told(7000, 5), Some(Class::Spam));
        let lessons = model.learner.lessons();
        let ham = Lesson { class: Some(Class::Ham), ..spam.clone() };
        assert_eq!(model.apply(&ham).before, Some(Class::Spam));
        assert_eq!(model.learner.lessons(), lessons, "instead of the one before");
        assert_eq!(model.apply(&Lesson { class: None, ..spam }).before, Some(Class::Ham));
        assert_eq!((model.told(7000, 5), model.learner.lessons()), (None, lessons - 1));
    }

    #[test]
    fn nobody_teaches_everybody_alone() {
        let model = Model::new();
        let said = |n: u32| model.apply(&lesson(n.into(), 5, Some(Class::Spam), "a newsletter"));
        let alone = (0..LESSONS_A_DAY + 20).filter(|n| said(*n).only_for_himself).count();
        assert_eq!(alone, 20);
        assert_eq!(model.learner.lessons(), LESSONS_A_DAY);
    }
}
