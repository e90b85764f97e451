//! The base subject (RFC 5256 §2.1): what is left of a subject without what answering, forwarding and mailing
//! lists put around it. Takes time in proportion to the subject.
//!
//! ```text
//! subject      = *subj-leader [subj-middle] *subj-trailer
//! subj-refwd   = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
//! subj-blob    = "[" *BLOBCHAR "]" *WSP
//! subj-fwd     = "[fwd:" subject "]"
//! subj-leader  = (*subj-blob subj-refwd) / WSP
//! subj-middle  = *subj-blob (subj-base / subj-fwd)
//! subj-trailer = "(fwd)" / WSP
//! ```

/// Longer subjects are cut: sorted lists stay small whatever somebody writes.
const SUBJECT_BYTES: usize = 1_000;

/// A base subject, and whether the letter is an answer or forwarded.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) text: String,
    pub(crate) is_answer: bool,
}

impl Base {
    /// Of a decoded subject.
    pub(crate) fn of(subject: &str) -> Self {
        let spaced = single_spaces(subject);
        let mut rest = spaced.as_str();
        let mut is_answer = false;
        loop {
            rest = without_trailers(rest, &mut is_answer);
            rest = without_leaders(rest, &mut is_answer);
            match forwarded(rest) {
                Some(inside) => rest = inside,
                None => break,
            }
            is_answer = true;
        }
        Self { text: rest.to_owned(), is_answer }
    }
}

/// Step 1: white space of any kind and length is one space.
fn single_spaces(subject: &str) -> String {
    let mut spaced = String::with_capacity(subject.len().min(SUBJECT_BYTES));
    for c in subject.chars() {
        if spaced.len() >= SUBJECT_BYTES {
            break;
        }
        match c {
            ' ' | '\t' | '\r' | '\n' => {
                if !spaced.ends_with(' ') {
                    spaced.push(' ');
                }
            }
            c => spaced.push(c),
        }
    }
    spaced
}

/// Step 2.
fn without_trailers<'a>(mut rest: &'a str, is_answer: &mut bool) -> &'a str {
    loop {
        rest = rest.trim_end_matches(' ');
        match strip_end(rest, "(fwd)") {
            Some(before) => rest = before,
            None => return rest,
        }
        *is_answer = true;
    }
}

/// Steps 3 to 5. Brackets in a row are looked at once: without `re:` behind the last of them there is none behind
/// any, and they go as long as something is left.
fn without_leaders<'a>(mut rest: &'a str, is_answer: &mut bool) -> &'a str {
    loop {
        rest = rest.trim_start_matches(' ');
        let (mut after, mut last) = (rest, rest);
        while let Some(next) = after_blob(after) {
            (last, after) = (after, next);
        }
        match after_answer(after) {
            Some(next) => rest = next,
            None if after.is_empty() => return last,
            None => return after,
        }
        *is_answer = true;
    }
}

/// `[...]` and the spaces behind it.
fn after_blob(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find(['[', ']'])?;
    let after = inside.get(end..)?.strip_prefix(']')?;
    Some(after.trim_start_matches(' '))
}

/// `re:`, `fwd [2]:` and the like.
fn after_answer(text: &str) -> Option<&str> {
    let word = ["re", "fwd", "fw"].iter().find_map(|word| strip_start(text, word))?;
    let word = word.trim_start_matches(' ');
    after_blob(word).unwrap_or(word).strip_prefix(':')
}

/// Step 6: `[fwd: ...]`
fn forwarded(text: &str) -> Option<&str> {
    strip_start(text, "[fwd:")?.strip_suffix(']')
}

fn strip_start<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let (first, rest) = text.split_at_checked(start.len())?;
    first.eq_ignore_ascii_case(start).then_some(rest)
}

fn strip_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let (rest, last) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    last.eq_ignore_ascii_case(end).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases() {
        #[track_caller]
        fn check(subject: &str, text: &str, is_answer: bool) {
            assert_eq!(Base::of(subject), Base { text: text.to_owned(), is_answer }, "{subject}");
        }
        check("", "", false);
        check("Lunch", "Lunch", false);
        check("  Lunch \t on\r\n Friday ", "Lunch on Friday", false);
        check("Re: Lunch", "Lunch", true);
        check("re:lunch", "lunch", true);
        check("RE : FW: fwd:Lunch", "Lunch", true);
        check("Re[2]: Lunch", "Lunch", true);
        check("Re [2] : Lunch", "Lunch", true);
        check("[team] Lunch", "Lunch", false);
        check("[team] Re: [more] Re: Lunch", "Lunch", true);
        check("Re: [team] Lunch", "Lunch", true);
        check("[team]", "[team]", false);
        check("[a][b] [c]", "[c]", false);
        check("Re: [team]", "[team]", true);
        check("Re:", "", true);
        check("Lunch (fwd)", "Lunch", true);
        check("Lunch (Fwd) (fwd) ", "Lunch", true);
        check("(fwd)", "", true);
        check("[Fwd: Lunch]", "Lunch", true);
        check("[fwd: [fwd: Re: Lunch (fwd)]]", "Lunch", true);
        check("[fwd: Lunch] now", "now", false);
        check("[fwd: a [b] c", "[fwd: a [b] c", false);
        check("[fwd:]", "", true);
        check("Report: numbers", "Report: numbers", false);
        check("Regards", "Regards", false);
        check("Re: Zażółć (ż)", "Zażółć (ż)", true);
        check("ż", "ż", false);
    }

    /// What is cut off or taken off may be long, and deep.
    #[test]
    fn long_ones() {
        for piece in ["Re: ", "[a] ", "[fwd: ", "(fwd)", "[", "]", "[a] re:", " ", "\u{1f4e7}"] {
            let begin = std::time::Instant::now();
            for _ in 0..10 {
                assert!(Base::of(&piece.repeat(1 << 17)).text.len() <= SUBJECT_BYTES + 4);
            }
            assert!(begin.elapsed().as_millis() < 500, "{piece}: {:?}", begin.elapsed());
        }
    }
}
