//! LIST's wildcards (RFC 9051 §6.3.9): `*` matches anything, `%` anything up to the next `/`.

/// A pattern with wildcards is cut off here: matching costs its length times that of a name.
/// Clients send 1 to 20 bytes.
pub(crate) const PATTERN_BYTES: usize = 256;

/// The separator of levels.
pub(crate) const SEPARATOR: char = '/';

/// Takes time `name * pattern`, never more, whatever the stars: all places in the pattern that the name
/// read so far can have reached are followed at once. INBOX matches in any case.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains(['*', '%']) {
        return pattern == name || (name == "INBOX" && pattern.eq_ignore_ascii_case(name));
    }
    let any_case = name == "INBOX";
    let pattern = pattern.as_bytes();
    let mut reached = vec![false; pattern.len() + 1];
    let mut next = reached.clone();
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    skip_wildcards(pattern, &mut reached);
    for &b in name.as_bytes() {
        next.fill(false);
        for ((at, &p), _) in pattern.iter().enumerate().zip(&reached).filter(|(_, r)| **r) {
            let same = p == b || (any_case && p.eq_ignore_ascii_case(&b));
            let (stay, go) = match p {
                b'*' => (true, false),
                b'%' => (b != b'/', false),
                _ => (false, same),
            };
            if let Some([here, after]) = next.get_mut(at..at + 2) {
                *here |= stay;
                *after |= go;
            }
        }
        skip_wildcards(pattern, &mut next);
        std::mem::swap(&mut reached, &mut next);
    }
    reached.last() == Some(&true)
}

/// A wildcard also matches nothing.
fn skip_wildcards(pattern: &[u8], reached: &mut [bool]) {
    for (at, p) in pattern.iter().enumerate() {
        if let (b'*' | b'%', Some([here, after])) = (p, reached.get_mut(at..at + 2)) {
            *after |= *here;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn many_stars_take_no_longer() {
        let pattern = format!("{}b", "*a".repeat(PATTERN_BYTES / 2 - 1));
        let name = "a".repeat(1000);
        let begin = std::time::Instant::now();
        for _ in 0..10 {
            assert!(!matches(&pattern, &name));
            assert!(!matches(&pattern.replace('*', "%"), &name));
        }
        assert!(begin.elapsed().as_secs() < 2, "{:?}", begin.elapsed());
    }
}
