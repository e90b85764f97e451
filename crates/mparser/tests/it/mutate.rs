//! Damaged letters: bytes changed, cut, doubled and mixed by a small generator. No panic, and every index sound.

use crate::corpus::letters;
use crate::shown::assert_sound;

/// xorshift64*: the same numbers for the same seed everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// Below `bound`; 0 for 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next()).unwrap() % bound.max(1)
    }
}

/// Pieces that mean something to a parser.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b"\"",
    b"(",
    b")",
    b"<",
    b">",
    b"@",
    b",",
    b"=?",
    b"?=",
    b"=?utf-8?Q?=",
    b"=?utf-8?B?",
    b"--x",
    b"--x--",
    b"--",
    b"=\r\n",
    b"\r\n\r\n",
    b"\xff",
    b"\xc5",
    b"=C5",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Subject:",
    b"filename*0*=utf-8''%",
    b"<!--",
    b"<style",
    b"&#",
];

fn mutate(random: &mut Random, letter: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = letter.to_vec();
    for _ in 0..=random.below(8) {
        let (at, length) = (random.below(bytes.len() + 1), random.below(40));
        let end = (at + length).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            2 => bytes[at..end].iter_mut().for_each(|b| *b ^= 1 << random.below(8)),
            3 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            4 => bytes.truncate(bytes.len() - random.below(bytes.len().min(60) + 1)),
            _ => {
                let from = random.below(other.len() + 1);
                let piece = &other[from..(from + length * 4).min(other.len())];
                drop(bytes.splice(at..end, piece.iter().copied()));
            }
        }
    }
    bytes
}

#[test]
fn damaged_letters_are_read() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_122);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let letters = letters();
    for _ in 0..40_000 {
        let (_, letter) = &letters[random.below(letters.len())];
        let (_, other) = &letters[random.below(letters.len())];
        let damaged = mutate(&mut random, letter, other);
        let sound = std::panic::catch_unwind(|| assert_sound(&damaged));
        assert!(sound.is_ok(), "SEED={seed}: {:?}", String::from_utf8_lossy(&damaged));
    }
}

#[test]
fn noise_is_read() {
    let mut random = Random::new(7);
    for length in 0..600 {
        let noise: Vec<u8> = (0..length)
            .flat_map(|_| {
                if random.below(3) == 0 {
                    vec![u8::try_from(random.below(256)).unwrap()]
                } else {
                    PIECES[random.below(PIECES.len())].to_vec()
                }
            })
            .collect();
        assert_sound(&noise);
    }
}
