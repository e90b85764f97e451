//! LIST's wildcards (RFC 9051 §6.3.9): `*` matches anything, `%` anything up to the next `/`.

/// A pattern with wildcards is not longer. Clients send 1 to 20 bytes.
pub(crate) const PATTERN_BYTES: usize = 255;

/// The separator of levels.
pub(crate) const SEPARATOR: char = '/';

/// A bit for each place in a pattern, and one for its end.
type Places = [u64; (PATTERN_BYTES + 1) / 64];

/// A pattern made ready to be compared with many names.
pub(crate) struct Pattern {
    text: String,
    /// `None`: no wildcards; the name itself.
    wild: Option<Box<Wild>>,
}

struct Wild {
    /// For each byte the places where the pattern has it.
    bytes: [Places; 256],
    stars: Places,
    percents: Places,
    end: usize,
}

impl Pattern {
    /// `None`: too long for one with wildcards.
    pub(crate) fn new(text: String) -> Option<Self> {
        let wild = text.contains(['*', '%']);
        if wild && text.len() > PATTERN_BYTES {
            return None;
        }
        let wild = wild.then(|| Wild::of(&text));
        Some(Self { text, wild })
    }

    /// What every name that matches begins with; all of it, without wildcards.
    pub(crate) fn literal(&self) -> &str {
        self.text.split(['*', '%']).next().unwrap_or_default()
    }

    pub(crate) fn is_wild(&self) -> bool {
        self.wild.is_some()
    }

    /// Names that only lead to others are shown too (RFC 9051 §6.3.9).
    pub(crate) fn ends_with_percent(&self) -> bool {
        self.text.ends_with('%')
    }

    /// Takes the same few steps for each byte of the name, whatever the stars: all places in the pattern that
    /// the name read so far can have reached are followed at once. INBOX matches in any case.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let any_case = name == "INBOX";
        match &self.wild {
            Some(wild) => wild.matches(name.as_bytes(), any_case),
            None if any_case => self.text.eq_ignore_ascii_case(name),
            None => self.text == name,
        }
    }
}

impl Wild {
    fn of(text: &str) -> Box<Self> {
        let mut wild = Box::new(Self {
            bytes: [Places::default(); 256],
            stars: Places::default(),
            percents: Places::default(),
            end: 0,
        });
        let mut at = 0;
        let mut before = None;
        for byte in text.bytes() {
            match (before, byte) {
                // Wildcards in a row mean what the strongest means.
                (Some(b'*' | b'%'), b'%') | (Some(b'*'), b'*') => continue,
                (Some(b'%'), b'*') => {
                    at -= 1;
                    clear(&mut wild.percents, at);
                }
                _ => {}
            }
            let places = match byte {
                b'*' => &mut wild.stars,
                b'%' => &mut wild.percents,
                _ => match wild.bytes.get_mut(usize::from(byte)) {
                    Some(places) => places,
                    None => continue,
                },
            };
            set(places, at);
            at += 1;
            before = Some(byte);
        }
        wild.end = at;
        wild
    }

    fn matches(&self, name: &[u8], any_case: bool) -> bool {
        let mut reached = Places::default();
        set(&mut reached, 0);
        self.skip(&mut reached);
        for &byte in name {
            let mut same = self.places(byte);
            if any_case {
                let small = self.places(byte.to_ascii_lowercase());
                same = std::array::from_fn(|i| pick(&same, i) | pick(&small, i));
            }
            let passes_percent = if byte == b'/' { 0 } else { u64::MAX };
            let mut carry = 0;
            let mut next = Places::default();
            for (i, next) in next.iter_mut().enumerate() {
                let here = pick(&reached, i);
                let on = here & pick(&same, i);
                let stay = pick(&self.stars, i) | (pick(&self.percents, i) & passes_percent);
                *next = (here & stay) | on << 1 | carry;
                carry = on >> 63;
            }
            reached = next;
            self.skip(&mut reached);
            if reached == Places::default() {
                return false;
            }
        }
        pick(&reached, self.end / 64) >> (self.end % 64) & 1 == 1
    }

    fn places(&self, byte: u8) -> Places {
        self.bytes.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// A wildcard also matches nothing. No two stand in a row.
    fn skip(&self, reached: &mut Places) {
        let mut carry = 0;
        for (i, reached) in reached.iter_mut().enumerate() {
            let wild = *reached & (pick(&self.stars, i) | pick(&self.percents, i));
            *reached |= wild << 1 | carry;
            carry = wild >> 63;
        }
    }
}

fn pick(places: &Places, word: usize) -> u64 {
    places.get(word).copied().unwrap_or(0)
}

fn set(places: &mut Places, at: usize) {
    if let Some(word) = places.get_mut(at / 64) {
        *word |= 1 << (at % 64);
    }
}

fn clear(places: &mut Places, at: usize) {
    if let Some(word) = places.get_mut(at / 64) {
        *word &= !(1 << (at % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.to_owned()).unwrap().matches(name)
    }

    /// As the RFC says it, at any cost.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [wild @ (b'*' | b'%'), rest @ ..] => {
                let most = match name.iter().position(|b| *b == b'/') {
                    Some(at) if *wild == b'%' => at,
                    _ => name.len(),
                };
                (0..=most).any(|n| plainly(rest, &name[n..]))
            }
            [byte, rest @ ..] => name.first() == Some(byte) && plainly(rest, &name[1..]),
        }
    }

    #[test]
    fn wildcards() {
        #[track_caller]
        fn check(pattern: &str, name: &str, expect: bool) {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
        check("*", "a/b/c", true);
        check("*", "", true);
        check("%", "a", true);
        check("%", "a/b", false);
        check("%/%", "a/b", true);
        check("%/%", "a/b/c", false);
        check("a/%", "a/b", true);
        check("a/%", "a/b/c", false);
        check("a*", "a/b", true);
        check("*b", "a/b", true);
        check("*b", "a/bc", false);
        check("%*", "a/b", true);
        check("*%c", "a/b/c", true);
        check("inbox", "INBOX", true);
        check("In%", "INBOX", true);
        check("in%", "INBOX/a", false);
        check("work", "Work", false);
        check("", "", true);
        check("", "a", false);
        check("Ż%", "Żółw", true);
    }

    #[test]
    fn every_short_pattern() {
        let letters = [b'*', b'%', b'a', b'/'];
        let word = |mut n: usize, length: usize, from: usize| {
            let mut word = String::new();
            for _ in 0..length {
                word.push(char::from(letters[from + n % (4 - from)]));
                n /= 4 - from;
            }
            word
        };
        for length in 0..5_u32 {
            for n in 0..4_usize.pow(length) {
                let pattern = word(n, length as usize, 0);
                for name_length in 0..5_u32 {
                    for n in 0..2_usize.pow(name_length) {
                        let name = word(n, name_length as usize, 2);
                        let expect = plainly(pattern.as_bytes(), name.as_bytes());
                        assert_eq!(matches(&pattern, &name), expect, "{pattern} {name}");
                    }
                }
            }
        }
    }

    #[test]
    fn long_patterns() {
        let name = "ab/".repeat(84);
        assert!(matches(&format!("{name}*"), &name));
        assert!(matches(&format!("*{name}"), &name));
        let pattern = format!("{}%{}", &name[..126], &name[126..252]);
        assert!(matches(&pattern, &name));
        assert!(matches(&pattern, &format!("{}abab{}", &name[..126], &name[126..])));
        assert!(!matches(&pattern, &format!("{}/{}", &name[..126], &name[126..])));
        assert!(!matches(&pattern, &name[..251]));
        assert!(matches(&"*".repeat(PATTERN_BYTES), &name));
        assert!(Pattern::new("*".repeat(PATTERN_BYTES + 1)).is_none());
        assert!(Pattern::new("a".repeat(PATTERN_BYTES + 1)).is_some());
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern = format!("{}b", "*a".repeat(PATTERN_BYTES / 2));
        let name = "a".repeat(1000);
        let begin = std::time::Instant::now();
        for _ in 0..100 {
            assert!(!matches(&pattern, &name));
            assert!(!matches(&pattern.replace('*', "%"), &name));
        }
        assert!(begin.elapsed().as_secs() < 2, "{:?}", begin.elapsed());
    }
}
