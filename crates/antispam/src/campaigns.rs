//! Spam comes in thousands of copies, no two alike. Who marks one of them marks all.
//!
//! A letter's text is made into [`BANDS`] numbers by `MinHash` (Broder, 1997): of two texts that share half of their
//! triples of words, nearly always three numbers or more are the same; of texts that share none, none. The numbers of
//! reported letters are kept, with who reported them.

use crate::facts::Facts;
use crate::learn::Class;
use crate::links::owner;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Numbers of a text; each of [`ROWS`] minima, so that only texts that share much share one.
const BANDS: usize = 16;
const ROWS: usize = 2;
/// So many numbers must be the same: of texts that share three tenths, as a footer does, one in six has them; of those that
/// share six tenths all but three in a hundred.
const ENOUGH: usize = 3;
/// Shorter texts are alike by chance.
const LEAST_WORDS: usize = 12;
/// Words of a text that are looked at.
const MOST_WORDS: usize = 2_000;
/// Domains that are linked; letters with more are newspapers.
const DOMAINS: usize = 8;

/// Cells in all, of 32 bytes; a reported letter takes 17.
const CELLS: usize = 1 << 18;
const SHARDS: usize = 64;
/// A number has so many cells to be in.
const WAYS: usize = 4;
const DAY_S: i64 = 86_400;
/// After so many days a report counts half, and after so many nothing.
const HALF_LIFE_DAYS: f32 = 14.0;
const FORGOTTEN_DAYS: u16 = 60;
const MAGIC: &[u8] = b"OPCAMP1";

/// What copies of a letter have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sketch {
    /// `None`: too little text.
    text: Option<[u32; BANDS]>,
    /// `None`: no links, or too many.
    links: Option<u32>,
}

/// What people said about copies of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Campaign {
    /// How many people called them spam, and how many wanted them; what is long ago counts less.
    pub spam_reports: f32,
    pub ham_reports: f32,
    /// The one it is asked for is one of them.
    pub own_report: Option<Class>,
    pub points: f32,
}

/// Who reported what. Fixed 8 MB.
pub struct Campaigns(Vec<Mutex<Vec<Cell>>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cell {
    /// 0: free.
    tag: u32,
    /// Of the last report.
    day: u16,
    /// The operator said so: 1 ham, 2 spam.
    operator: u16,
    /// A bit for each reporter, by hash: how many are set tells how many there are.
    spam: u64,
    ham: u64,
    /// The last reporters of spam, hashed.
    reporters: [u32; 2],
}

impl Sketch {
    pub fn of(facts: &Facts<'_>) -> Self {
        Self { text: bands(&facts.words), links: links(facts) }
    }

    /// 70 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.text.is_some()) | u8::from(self.links.is_some()) << 1];
        for number in self.text.unwrap_or_default().iter().chain([&self.links.unwrap_or_default()])
        {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// `None`: damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (flags @ 0..=3, numbers) = bytes.split_first()? else { return None };
        let (numbers, []) = numbers.as_chunks::<4>() else { return None };
        let (bands, [links]) = numbers.split_first_chunk::<BANDS>()? else { return None };
        Some(Self {
            text: (flags & 1 != 0).then(|| bands.map(u32::from_le_bytes)),
            links: (flags & 2 != 0).then(|| u32::from_le_bytes(*links)),
        })
    }
}

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= mixed >> 32;
    mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

fn hash(text: &str) -> u64 {
    // Digits are amounts and numbers of orders; what has no width is there to make words differ.
    let shown = text.chars().filter(|c| c.is_alphanumeric());
    let folded = shown.map(|c| if c.is_numeric() { '0' } else { c });
    folded.fold(7, |state, c| mix(state ^ u64::from(u32::from(c))))
}

fn bands(text: &str) -> Option<[u32; BANDS]> {
    // Characters without width stand inside of words.
    let is_break = |c: char| !c.is_alphanumeric() && !is_invisible(c);
    let words: Vec<u64> = text
        .split(is_break)
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(MOST_WORDS)
        .map(hash)
        .collect();
    if words.len() < LEAST_WORDS {
        return None;
    }
    let mut minima = [u32::MAX; BANDS * ROWS];
    for triple in words.windows(3) {
        let shingle = triple.iter().fold(3, |state, word| mix(state ^ word));
        for (number, least) in (1_u64..).zip(&mut minima) {
            // The upper half of a product with an odd number: a permutation is not needed, only an order.
            let ordered = mix(shingle ^ number.wrapping_mul(0xa076_1d64_78bd_642f)) >> 32;
            *least = (*least).min(u32::try_from(ordered).unwrap_or(u32::MAX));
        }
    }
    let mut bands = [0; BANDS];
    let (pairs, _) = minima.as_chunks::<ROWS>();
    for ((place, band), pair) in (0_u64..).zip(&mut bands).zip(pairs) {
        let joined = pair.iter().fold(place, |state, least| mix(state ^ u64::from(*least)));
        *band = short(joined);
    }
    Some(bands)
}

/// 32 bits, never 0.
fn short(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(1).max(1)
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

fn links(facts: &Facts<'_>) -> Option<u32> {
    let domains: BTreeSet<&str> = facts.page.links.iter().map(|link| owner(&link.host)).collect();
    if domains.is_empty() || domains.len() > DOMAINS {
        return None;
    }
    Some(short(domains.iter().fold(11, |state, domain| mix(state ^ hash(domain)))))
}

impl Default for Campaigns {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Campaigns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Campaigns").finish_non_exhaustive()
    }
}

impl Campaigns {
    pub fn new() -> Self {
        let shard = || Mutex::new(vec![Cell::default(); CELLS / SHARDS]);
        Self(std::iter::repeat_with(shard).take(SHARDS).collect())
    }

    /// An account (0: the operator) says what a letter is; before, it may have said something else. With `for_all` false
    /// only the account itself is told.
    pub fn report(
        &self,
        sketch: &Sketch,
        account: u64,
        class: Class,
        for_all: bool,
        now_unix_s: i64,
    ) {
        let day = day(now_unix_s);
        for key in keys(sketch) {
            self.at(key, true, day, |cell| {
                cell.forget(account);
                cell.add(account, class, for_all);
                cell.day = day;
            });
        }
    }

    pub fn take_back(&self, sketch: &Sketch, account: u64, now_unix_s: i64) {
        for key in keys(sketch) {
            self.at(key, false, day(now_unix_s), |cell| cell.forget(account));
        }
    }

    /// What is known of letters like this, for an account.
    pub fn ask(&self, sketch: &Sketch, account: Option<u64>, now_unix_s: i64) -> Campaign {
        let day = day(now_unix_s);
        let of = |key| self.at(key, false, day, |cell| cell.said(account, day)).unwrap_or_default();
        let mut by_text: Vec<Campaign> = text_keys(sketch).map(of).collect();
        // Of the numbers that are the same the third best tells: one alone is chance.
        let mut third = |figure: fn(&Campaign) -> f32| {
            by_text.sort_by(|a, b| figure(b).total_cmp(&figure(a)));
            by_text.get(ENOUGH - 1).map_or(0.0, figure)
        };
        let (spam_reports, ham_reports) =
            (third(|campaign| campaign.spam_reports), third(|campaign| campaign.ham_reports));
        let own = |class| by_text.iter().filter(|said| said.own_report == Some(class)).count();
        let own_report = [Class::Spam, Class::Ham].into_iter().find(|class| own(*class) >= ENOUGH);
        let mut campaign = Campaign { spam_reports, ham_reports, own_report, points: 0.0 };
        campaign.points = campaign.weigh();
        let by_links = sketch.links.map(link_key).map(of).unwrap_or_default();
        if campaign.own_report != Some(Class::Ham) {
            campaign.points = campaign.points.max(by_links.weigh_links());
        }
        campaign
    }

    fn at<T>(
        &self,
        key: u32,
        make: bool,
        day: u16,
        work: impl FnOnce(&mut Cell) -> T,
    ) -> Option<T> {
        let shard = self.0.get(key as usize % SHARDS)?;
        let mut cells = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = CELLS / SHARDS / WAYS;
        let start = (key as usize / SHARDS % sets) * WAYS;
        let set = cells.get_mut(start..start + WAYS)?;
        let is_old = |cell: &Cell| day.saturating_sub(cell.day) > FORGOTTEN_DAYS;
        if let Some(place) = set.iter().position(|cell| cell.tag == key && !is_old(cell)) {
            return set.get_mut(place).map(work);
        }
        if !make {
            return None;
        }
        let oldest = set.iter_mut().min_by_key(|cell| (cell.tag != 0, cell.day))?;
        *oldest = Cell { tag: key, ..Cell::default() };
        Some(work(oldest))
    }

    /// Of [`Self::save`].
    pub(crate) const SAVED_BYTES: usize = MAGIC.len() + 32 * CELLS;

    pub fn save(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for shard in &self.0 {
            for cell in shard.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                out.extend_from_slice(&cell.tag.to_le_bytes());
                out.extend_from_slice(&cell.day.to_le_bytes());
                out.extend_from_slice(&cell.operator.to_le_bytes());
                out.extend_from_slice(&cell.spam.to_le_bytes());
                out.extend_from_slice(&cell.ham.to_le_bytes());
                for reporter in cell.reporters {
                    out.extend_from_slice(&reporter.to_le_bytes());
                }
            }
        }
        out
    }

    /// `None`: damaged.
    pub fn load(saved: &[u8]) -> Option<Self> {
        let (cells, []) = saved.strip_prefix(MAGIC)?.as_chunks::<32>() else { return None };
        if cells.len() != CELLS {
            return None;
        }
        let shard = |cells: &[[u8; 32]]| {
            Some(Mutex::new(cells.iter().map(Cell::read).collect::<Option<_>>()?))
        };
        Some(Self(cells.chunks(CELLS / SHARDS).map(shard).collect::<Option<_>>()?))
    }
}

fn day(unix_s: i64) -> u16 {
    u16::try_from(unix_s.div_euclid(DAY_S)).unwrap_or_default()
}

fn text_keys(sketch: &Sketch) -> impl Iterator<Item = u32> {
    sketch.text.into_iter().flatten()
}

fn link_key(links: u32) -> u32 {
    short(mix(u64::from(links) ^ 0x6c69_6e6b))
}

fn keys(sketch: &Sketch) -> impl Iterator<Item = u32> {
    text_keys(sketch).chain(sketch.links.map(link_key))
}

/// An account's bit, and its number.
fn marks(account: u64) -> (u64, u32) {
    let hash = mix(account ^ 0x7265_706f);
    (1 << (hash & 63), short(hash))
}

impl Cell {
    fn add(&mut self, account: u64, class: Class, for_all: bool) {
        if account == 0 {
            self.operator = if class == Class::Spam { 2 } else { 1 };
            return;
        }
        let (bit, number) = marks(account);
        if class == Class::Spam {
            let [newest, older] = &mut self.reporters;
            (*newest, *older) = (number, *newest);
        }
        match class {
            Class::Spam if for_all => self.spam |= bit,
            Class::Ham => self.ham |= bit,
            Class::Spam => {}
        }
    }

    fn forget(&mut self, account: u64) {
        if account == 0 {
            self.operator = 0;
            return;
        }
        let (bit, number) = marks(account);
        self.spam &= !bit;
        self.ham &= !bit;
        for reporter in &mut self.reporters {
            if *reporter == number {
                *reporter = 0;
            }
        }
    }

    fn said(&self, account: Option<u64>, day: u16) -> Campaign {
        let age = f32::from(day.saturating_sub(self.day));
        let weight = (-age / HALF_LIFE_DAYS).exp2();
        let own_report = match (self.operator, account.map(marks)) {
            (2, _) => Some(Class::Spam),
            (1, _) => Some(Class::Ham),
            (_, Some((_, number))) if self.reporters.contains(&number) => Some(Class::Spam),
            (_, Some((bit, _))) if self.ham & bit != 0 => Some(Class::Ham),
            _ => None,
        };
        Campaign {
            spam_reports: weight * reporters(self.spam),
            ham_reports: weight * reporters(self.ham),
            own_report,
            points: 0.0,
        }
    }

    fn read(bytes: &[u8; 32]) -> Option<Self> {
        let (tag, rest) = bytes.split_first_chunk::<4>()?;
        let (day, rest) = rest.split_first_chunk::<2>()?;
        let (operator, rest) = rest.split_first_chunk::<2>()?;
        let (spam, rest) = rest.split_first_chunk::<8>()?;
        let (ham, rest) = rest.split_first_chunk::<8>()?;
        let (newest, older) = rest.split_first_chunk::<4>()?;
        Some(Self {
            tag: u32::from_le_bytes(*tag),
            day: u16::from_le_bytes(*day),
            operator: u16::from_le_bytes(*operator),
            spam: u64::from_le_bytes(*spam),
            ham: u64::from_le_bytes(*ham),
            reporters: [u32::from_le_bytes(*newest), u32::from_le_bytes(*older.first_chunk()?)],
        })
    }
}

/// How many there are when so many of 64 bits are set (Whang, 1990); all set: some 270.
fn reporters(bits: u64) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "at most 64")]
    let free = (bits.count_zeros() as f32).max(1.0);
    -64.0 * (free / 64.0).ln()
}

impl Campaign {
    /// For who marked one himself all of them are spam. For others as many must agree as do not want it to be spam.
    fn weigh(&self) -> f32 {
        match self.own_report {
            Some(Class::Spam) => 7.0,
            Some(Class::Ham) => -3.0,
            None => (2.2 * (self.spam_reports - 3.0 * self.ham_reports)).clamp(0.0, 8.0),
        }
    }

    /// The same domains in another text prove less: somebody may be reported who only links to what everybody links to.
    fn weigh_links(&self) -> f32 {
        match self.own_report {
            Some(Class::Spam) if self.ham_reports == 0.0 => 1.0,
            _ => (self.spam_reports - 3.0 * self.ham_reports - 1.0).clamp(0.0, 3.0),
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "zero and the same computation are exact")]
mod tests {
    use super::*;
    use crate::Evidence;
    use mparser::Message;

    const NOW: i64 = 1_795_370_400;

    fn sketch(letter: &str) -> Sketch {
        let message = Message::parse(letter.as_bytes());
        Sketch::of(&Facts::gather(&message, &Evidence::default()))
    }

    /// Numbers that are the same in each run.
    struct Dice(u64);

    impl Dice {
        fn roll<'a>(&mut self, of: &[&'a str]) -> &'a str {
            self.0 = mix(self.0.wrapping_add(0x9e37_79b9));
            of[usize::try_from(self.0 % of.len() as u64).unwrap()]
        }

        fn number(&mut self) -> u64 {
            self.0 = mix(self.0.wrapping_add(0x9e37_79b9));
            self.0 % 1_000_000
        }
    }

    /// One of many copies: another name, amount, path and subject, sentences in another order, words that mean nothing, and
    /// characters without width inside of words.
    fn copy(seed: u64) -> String {
        let mut dice = Dice(seed);
        let name = dice.roll(&["Anna", "John", "Maria", "Piotr", "Susan", "Karl", "Ewa"]);
        let mut sentences = [
            format!("Your account was chosen for a payment of {} dollars that was never claimed before.", dice.number()),
            "The board of our bank has decided to release the whole sum to the first person who answers.".to_owned(),
            format!("Please confirm your name and address within {} hours so that the transfer can begin.", dice.number() % 72),
            "We need a small fee for the courier, which you get back together with the first part.".to_owned(),
            format!("Follow this link to begin: http://pay{}.offers.test/{}/start", dice.number() % 9, dice.number()),
            "This offer is strictly confidential, so do not talk about it with anybody in your office.".to_owned(),
        ];
        let (one, other) = (dice.number() % 6, dice.number() % 6);
        sentences.swap(usize::try_from(one).unwrap(), usize::try_from(other).unwrap());
        let noise = dice.roll(&["lamp", "river", "seven", "orange", "carpet"]);
        let text = sentences.join(" ").replacen("account", "acc\u{200b}ount", 1).replacen(
            "transfer",
            "trans\u{200d}fer",
            1,
        );
        let subject =
            dice.roll(&["Payment", "Urgent", "Hello", "Re: your transfer", "Attention please"]);
        format!(
            "From: x@y.test\r\nSubject: {subject}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nDear {name},\r\n{text} {noise} {}\r\n",
            dice.number()
        )
    }

    #[test]
    fn one_report_catches_the_copies() {
        let campaigns = Campaigns::new();
        campaigns.report(&sketch(&copy(1)), 5, Class::Spam, true, NOW);
        let points = |seed, account| campaigns.ask(&sketch(&copy(seed)), Some(account), NOW).points;
        let caught = (2..52).filter(|seed| points(*seed, 5) >= 6.0).count();
        assert!(caught >= 48, "{caught} of 50");
        let others = (2..52).filter(|seed| points(*seed, 6) >= 6.0).count();
        assert_eq!(others, 0, "one report is not enough for everybody");
        for account in 10..14 {
            campaigns.report(&sketch(&copy(account)), account, Class::Spam, true, NOW);
        }
        let caught = (100..150).filter(|seed| points(*seed, 6) >= 6.0).count();
        assert!(caught >= 48, "{caught} of 50, five reporters");
        let later = NOW + 90 * DAY_S;
        assert_eq!(campaigns.ask(&sketch(&copy(2)), Some(5), later).points, 0.0, "forgotten");
    }

    #[test]
    fn letters_of_others_are_not_alike() {
        let campaigns = Campaigns::new();
        for seed in 0..20 {
            campaigns.report(&sketch(&copy(seed)), 0, Class::Spam, true, NOW);
        }
        let words = "garden river window letter summer market paper season village morning engine harbour music table light \
            the a of to and in is that for it with as was on be at by this had not are but from or have an they which one you";
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut dice = Dice(99);
        for _ in 0..5_000 {
            let text: Vec<&str> = (0..60).map(|_| dice.roll(&words)).collect();
            let asked = campaigns.ask(
                &sketch(&format!("Subject: x\r\n\r\n{}\r\n", text.join(" "))),
                Some(5),
                NOW,
            );
            assert_eq!(asked.points, 0.0, "{text:?}");
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/mail");
        for entry in std::fs::read_dir(folder).unwrap() {
            let raw = std::fs::read(entry.unwrap().path()).unwrap();
            let message = Message::parse(&raw);
            let asked = Sketch::of(&Facts::gather(&message, &Evidence::default()));
            assert_eq!(campaigns.ask(&asked, Some(5), NOW).points, 0.0);
        }
        assert_eq!(sketch("Subject: x\r\n\r\nThank you, see you tomorrow.\r\n"), Sketch::default());
    }

    #[test]
    fn people_who_want_it_outweigh_a_few() {
        let campaigns = Campaigns::new();
        let letter = sketch(&copy(1));
        for account in 1..=3 {
            campaigns.report(&letter, account, Class::Spam, true, NOW);
        }
        assert!(campaigns.ask(&letter, Some(50), NOW).points >= 6.0);
        campaigns.report(&letter, 60, Class::Ham, true, NOW);
        assert!(campaigns.ask(&letter, Some(50), NOW).points < 1.0);
        assert!(campaigns.ask(&letter, Some(60), NOW).points < 0.0);
        assert!(
            campaigns.ask(&letter, Some(3), NOW).points >= 6.0,
            "his own opinion counts for him"
        );
        campaigns.report(&letter, 3, Class::Ham, true, NOW);
        assert!(campaigns.ask(&letter, Some(3), NOW).points < 0.0);
        campaigns.take_back(&letter, 3, NOW);
        assert_eq!(campaigns.ask(&letter, Some(3), NOW).own_report, None);
        for _ in 0..100 {
            campaigns.report(&letter, 70, Class::Spam, true, NOW);
        }
        let known = campaigns.ask(&letter, None, NOW).spam_reports;
        assert!((2.0..4.5).contains(&known), "a reporter counts once: {known}");
        campaigns.report(&letter, 80, Class::Spam, false, NOW);
        assert_eq!(campaigns.ask(&letter, None, NOW).spam_reports, known);
        assert!(campaigns.ask(&letter, Some(80), NOW).points >= 6.0);
    }

    #[test]
    fn sketches_and_tables_are_read_back() {
        let letter = sketch(&copy(1));
        for sketch in [letter, Sketch::default()] {
            let encoded = sketch.encode();
            assert!(encoded.len() <= 128);
            assert_eq!(Sketch::decode(&encoded), Some(sketch));
            for end in 0..encoded.len() {
                assert_eq!(Sketch::decode(&encoded[..end]), None);
            }
        }
        let campaigns = Campaigns::new();
        campaigns.report(&letter, 5, Class::Spam, true, NOW);
        let saved = campaigns.save();
        let again = Campaigns::load(&saved).unwrap();
        assert_eq!(again.ask(&letter, Some(5), NOW), campaigns.ask(&letter, Some(5), NOW));
        assert!(
            Campaigns::load(&saved[..saved.len() - 1]).is_none() && Campaigns::load(b"").is_none()
        );
    }
}
