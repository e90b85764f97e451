//! What the learner sees of a letter: four sets of slots, each another way to look at it.
//!
//! | view | what is in it |
//! |---|---|
//! | bytes | every five bytes that follow each other, of the first [`RAW_BYTES`] |
//! | words | words, with the name of the header field before those that stand in one |
//! | shape | how the letter is made: [`super::shape`] |
//! | tokens | words as readers of mail filters cut them: [`super::words`] |

use super::hash::{SLOTS, hash, mix, slot};
use super::{shape, words};
use crate::facts::Facts;
use crate::{Evidence, Hit};
use mparser::{Header, Message};
use std::cell::RefCell;

/// Of the letter as it came, without fields of filters, so much is cut into pieces of five.
const RAW_BYTES: usize = 3_000;
/// Of the decoded text so much is looked at.
pub(super) const TEXT_BYTES: usize = 32 * 1024;
/// Header fields that are looked at; real letters have some fifty.
const FIELDS: usize = 200;
/// Of one header field so much.
const FIELD_BYTES: usize = 4_096;
/// Features of one view: real letters have some thousands.
const VIEW_SLOTS: usize = 20_000;

/// Places of views.
pub(super) const SHAPE: usize = 2;
pub(super) const TOKENS: usize = 3;
pub(super) const VIEWS: usize = 4;

/// The slots of one letter, none twice in a view, in no order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Features {
    pub(super) views: [Vec<u32>; VIEWS],
}

/// The header and the text that all views look at.
pub(super) struct Page<'a> {
    /// Names in lower case, without fields that filters wrote.
    pub(super) fields: Vec<(Vec<u8>, &'a [u8])>,
    pub(super) text: &'a [u8],
    /// `ct:text/html`, `cte:base64`, `ext:exe`, `sz:12`: the parts in their order.
    pub(super) parts: Vec<Vec<u8>>,
}

impl Features {
    /// Of the letter alone, for who knows nothing else.
    pub fn of_letter(message: &Message<'_>) -> Self {
        let evidence = Evidence::default();
        Self::of(&Facts::gather(message, &evidence), &[])
    }

    pub fn of(facts: &Facts<'_>, hits: &[Hit]) -> Self {
        SEEN.with_borrow_mut(|seen| {
            let page = Page::of(facts);
            let mut features = Self::default();
            let [bytes, words_, shape_, tokens] = &mut features.views;
            let mut bag = Bag { seen, slots: bytes };
            five_bytes(facts, &mut bag);
            bag.next(words_);
            words::words(&page, &mut |hash| bag.put(hash));
            bag.next(shape_);
            shape::shape(&page, &mut |hash| bag.put(hash));
            for hit in hits {
                bag.put(hash(SYMBOL, hit.symbol.as_bytes()));
            }
            bag.next(tokens);
            words::tokens(&page, &mut |prefix, word| bag.put(words::token(prefix, word)));
            bag.end();
            features
        })
    }

    /// Sorted, as differences: some five kilobytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * 1024);
        for view in &self.views {
            let mut sorted = view.clone();
            sorted.sort_unstable();
            sorted.dedup();
            number(&mut out, sorted.len() as u64);
            let mut last = 0;
            for slot in sorted {
                number(&mut out, u64::from(slot - last));
                last = slot;
            }
        }
        out
    }

    /// `None`: damaged.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut features = Self::default();
        for view in &mut features.views {
            let count = take_number(&mut bytes)?;
            if count > VIEW_SLOTS as u64 || count > bytes.len() as u64 {
                return None;
            }
            let mut last = 0_u32;
            for place in 0..count {
                let step = u32::try_from(take_number(&mut bytes)?).ok()?;
                if place > 0 && step == 0 {
                    return None;
                }
                last = last.checked_add(step).filter(|slot| (*slot as usize) < SLOTS)?;
                view.push(last);
            }
        }
        bytes.is_empty().then_some(features)
    }
}

const SYMBOL: u64 = 0x5379_6d62;

impl<'a> Page<'a> {
    pub(super) fn of(facts: &'a Facts<'a>) -> Self {
        let fields = facts.message.headers().take(FIELDS).filter(|field| !is_of_filter(field.name));
        let short = |field: Header<'a>| {
            let value = field.value.get(..FIELD_BYTES).unwrap_or(field.value);
            (field.name.to_ascii_lowercase(), value)
        };
        let text = facts.text.as_bytes();
        Self {
            fields: fields.map(short).collect(),
            text: text.get(..TEXT_BYTES).unwrap_or(text),
            parts: parts(facts),
        }
    }
}

/// Parts that are described.
const PARTS: usize = 40;

fn parts(facts: &Facts<'_>) -> Vec<Vec<u8>> {
    let index = facts.message.index();
    let mut out = Vec::new();
    for (number, part) in index.parts.iter().enumerate().take(PARTS) {
        out.push(format!("ct:{}/{}", part.media_type, part.subtype).into_bytes());
        if part.media_type == "text" {
            let encoding = facts
                .message
                .part_headers(number)
                .find(|field| field.name.eq_ignore_ascii_case(b"content-transfer-encoding"));
            let value = encoding.map_or(&b""[..], |field| field.value.trim_ascii());
            let value = value.get(..20).unwrap_or(value).to_ascii_lowercase();
            out.push([b"cte:", &value[..]].concat());
        } else if part.media_type != "multipart" {
            if let Some(name) = index.filename(number) {
                let end = name.rsplit('.').next().unwrap_or_default();
                let end: String = end.chars().take(8).flat_map(char::to_lowercase).collect();
                out.push(format!("ext:{end}").into_bytes());
            }
            out.push(
                format!("sz:{}", super::hash::magnitude(facts.message.body(number).len()))
                    .into_bytes(),
            );
        }
    }
    out
}

/// Fields that other filters write: they know the answer, and are not there when it matters.
fn is_of_filter(name: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 8] = [
        b"x-spam",
        b"x-bogosity",
        b"x-rc-",
        b"x-amavis",
        b"x-policyd",
        b"x-greylist",
        b"x-scanned",
        b"x-rspamd",
    ];
    let name = name.to_ascii_lowercase();
    BEGINNINGS.iter().any(|start| name.starts_with(start))
        || memchr::memmem::find(&name, b"spam").is_some()
        || memchr::memmem::find(&name, b"virus").is_some()
}

fn five_bytes(facts: &Facts<'_>, bag: &mut Bag<'_>) {
    let mut start = Vec::with_capacity(RAW_BYTES + 8);
    for field in facts.message.headers().take(FIELDS).filter(|field| !is_of_filter(field.name)) {
        if start.len() >= RAW_BYTES {
            break;
        }
        start.extend_from_slice(field.raw.get(..RAW_BYTES).unwrap_or(field.raw));
    }
    let body = facts.message.index().parts.first().map_or(0, |root| root.header.end as usize);
    let body = facts.message.raw().get(body..).unwrap_or_default();
    let room = RAW_BYTES.saturating_sub(start.len());
    start.extend_from_slice(body.get(..room).unwrap_or(body));
    start.truncate(RAW_BYTES);
    // A CR says how the letter came, not what it is.
    start.retain(|byte| *byte != b'\r');
    for window in start.windows(8) {
        if let Ok(eight) = <[u8; 8]>::try_from(window) {
            bag.put(mix(u64::from_le_bytes(eight) & 0x00ff_ffff_ffff));
        }
    }
}

/// One bit for each slot.
type Seen = Vec<u64>;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::new(vec![0; SLOTS / 64]);
}

/// Takes slots in, each once.
struct Bag<'a> {
    seen: &'a mut Seen,
    slots: &'a mut Vec<u32>,
}

impl<'a> Bag<'a> {
    fn put(&mut self, hash: u64) {
        let slot = slot(hash);
        let bit = 1_u64 << (slot & 63);
        if let Some(word) = self.seen.get_mut(slot as usize >> 6)
            && *word & bit == 0
            && self.slots.len() < VIEW_SLOTS
        {
            *word |= bit;
            self.slots.push(slot);
        }
    }

    /// All is forgotten; what comes goes there.
    fn next(&mut self, slots: &'a mut Vec<u32>) {
        self.end();
        self.slots = slots;
    }

    fn end(&mut self) {
        for slot in self.slots.iter() {
            if let Some(word) = self.seen.get_mut(*slot as usize >> 6) {
                *word = 0;
            }
        }
    }
}

/// LEB128.
fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
