//! Lines that begin with two dashes, found without looking at any other line: for who wants the tree of a letter and no
//! numbers of lines. Four times as fast as the pass that counts lines, which is what a letter with big files feels.

/// Bytes looked at in one step.
const CHUNK: usize = 128;

/// Where the next line begins with `--`, from `from` on, where a line begins.
pub(crate) fn next_line(raw: &[u8], from: usize) -> Option<usize> {
    if raw.get(from..)?.starts_with(b"--") {
        return Some(from);
    }
    let mut at = from + 1;
    loop {
        at = skip(raw, at);
        let here = raw.get(at..at.saturating_add(CHUNK).min(raw.len()))?;
        if here.is_empty() {
            return None;
        }
        let found = memchr::memchr_iter(b'-', here).map(|place| at + place).find(|place| {
            matches!(raw.get(place - 1), Some(b'\r' | b'\n')) && raw.get(place + 1) == Some(&b'-')
        });
        if found.is_some() {
            return found;
        }
        at += here.len();
    }
}

/// Passes over chunks without a dash behind a line end.
fn skip(raw: &[u8], at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[expect(
            unsafe_code,
            reason = "calls code for a processor feature, which was looked for"
        )]
        // SAFETY: AVX2 is there, the line above says so.
        return unsafe { skip_avx2(raw, at) };
    }
    skip_anywhere(raw, at)
}

/// The same code: the compiler makes it wider.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn skip_avx2(raw: &[u8], at: usize) -> usize {
    skip_anywhere(raw, at)
}

#[inline(always)]
fn skip_anywhere(raw: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(here) = raw.get(at..).and_then(|rest| rest.first_chunk())
        && let Some(before) = raw.get(at - 1..).and_then(|rest| rest.first_chunk())
        && !has_dash(here, before)
    {
        at += CHUNK;
    }
    at
}

/// Whether a dash stands behind a line end. Numbers, and no way out in the middle: that is done many bytes at a time.
#[inline(always)]
fn has_dash(here: &[u8; CHUNK], before: &[u8; CHUNK]) -> bool {
    let found = here.iter().zip(before).fold(0, |found, (here, before)| {
        let line_end = u8::from(*before == b'\n') | u8::from(*before == b'\r');
        found | (u8::from(*here == b'-') & line_end)
    });
    found != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::line_at;

    /// Letters made of what matters: the lines are those that reading line by line finds, in both ways.
    #[test]
    fn lines_as_line_at_gives_them() {
        let mut seed = 11_u32;
        let mut next = |count: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % count
        };
        for round in 0..4000 {
            let length = next(600) as usize;
            let alphabet: &[u8] = match round % 3 {
                0 => b"\r\n-a",
                1 => b"abcdefghi-\n\rjklmn--",
                _ => b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\n-\0\x01\xff",
            };
            let count = u32::try_from(alphabet.len()).unwrap();
            let raw: Vec<u8> = (0..length).map(|_| alphabet[next(count) as usize]).collect();
            let (mut expect, mut at) = (Vec::new(), 0);
            while at < raw.len() {
                if raw[at..].starts_with(b"--") {
                    expect.push(at);
                }
                at = line_at(&raw, at).next;
            }
            let (mut found, mut at) = (Vec::new(), 0);
            while let Some(start) = next_line(&raw, at) {
                found.push(start);
                at = line_at(&raw, start).next;
            }
            assert_eq!(found, expect, "{:?}", raw.escape_ascii().to_string());
            if let Some(start) = (1..=raw.len()).find(|start| raw[start - 1] == b'\n') {
                assert_eq!(skip(&raw, start), skip_anywhere(&raw, start));
            }
        }
        assert_eq!(next_line(b"", 0), None);
        assert_eq!(next_line(b"--", 5), None);
    }
}
