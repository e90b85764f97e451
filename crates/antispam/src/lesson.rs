//! One thing that somebody taught: this letter is spam, is none, or was never meant to be judged.
//!
//! ```text
//! lesson = %x01 class letter account at *section
//! class  = %x00 / %x01 / %x02          ; ham, spam, taken back
//! letter = 8 bytes, account = 8 bytes, at = 8 bytes, little endian
//! section = length bytes               ; length of 4 bytes; features, sketch, then what later versions add
//! ```

use crate::campaigns::Sketch;
use crate::learn::{Class, Features};

/// Larger ones are damaged.
const SECTION_BYTES: usize = 1 << 20;
const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// A hash of the letter as it came.
    pub letter: u64,
    /// Who says so; 0: the operator, who is believed more often in a day.
    pub account: u64,
    /// `None`: what was said of this letter is taken back.
    pub class: Option<Class>,
    pub at_unix_s: i64,
    pub features: Features,
    pub sketch: Sketch,
}

impl Lesson {
    pub fn encode(&self) -> Vec<u8> {
        let class = match self.class {
            Some(Class::Ham) => 0,
            Some(Class::Spam) => 1,
            None => 2,
        };
        let mut out = vec![VERSION, class];
        out.extend_from_slice(&self.letter.to_le_bytes());
        out.extend_from_slice(&self.account.to_le_bytes());
        out.extend_from_slice(&self.at_unix_s.to_le_bytes());
        for section in [self.features.encode(), self.sketch.encode()] {
            out.extend_from_slice(&u32::try_from(section.len()).unwrap_or(0).to_le_bytes());
            out.extend_from_slice(&section);
        }
        out
    }

    /// `None`: damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let class = match head {
            [VERSION, 0] => Some(Class::Ham),
            [VERSION, 1] => Some(Class::Spam),
            [VERSION, 2] => None,
            _ => return None,
        };
        let (letter, rest) = rest.split_first_chunk::<8>()?;
        let (account, rest) = rest.split_first_chunk::<8>()?;
        let (at, mut rest) = rest.split_first_chunk::<8>()?;
        let features = Features::decode(section(&mut rest)?)?;
        let sketch = Sketch::decode(section(&mut rest)?)?;
        while !rest.is_empty() {
            section(&mut rest)?;
        }
        Some(Self {
            letter: u64::from_le_bytes(*letter),
            account: u64::from_le_bytes(*account),
            class,
            at_unix_s: i64::from_le_bytes(*at),
            features,
            sketch,
        })
    }
}

fn section<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (section, after) = after.split_at_checked(length).filter(|_| length <= SECTION_BYTES)?;
    *rest = after;
    Some(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lessons_are_read_back() {
        let raw = b"Subject: hello\r\n\r\nText\r\n";
        for class in [Some(Class::Ham), Some(Class::Spam), None] {
            let features = Features::of_letter(&mparser::Message::parse(raw));
            let sketch = Sketch::default();
            let lesson = Lesson { letter: 7, account: 9, class, at_unix_s: -5, features, sketch };
            let encoded = lesson.encode();
            let again = Lesson::decode(&encoded).unwrap();
            assert_eq!(again.encode(), encoded);
            assert_eq!(
                (again.letter, again.account, again.class, again.at_unix_s),
                (7, 9, class, -5)
            );
            let mut later = encoded.clone();
            later.extend_from_slice(b"\x03\0\0\0new");
            assert_eq!(Lesson::decode(&later).unwrap().encode(), encoded);
            for end in 0..encoded.len() {
                assert!(Lesson::decode(&encoded[..end]).is_none());
            }
        }
    }
}
