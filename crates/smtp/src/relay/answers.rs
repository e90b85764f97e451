//! What we say ourselves where no server spoke.

use queue::{Answer, Outcome};

pub(super) fn ours(enhanced: &str, text: &str) -> Answer {
    Answer {
        code: 0,
        enhanced: enhanced.to_owned(),
        text: text.to_owned(),
        host: None,
        reports: false,
    }
}

/// About a server.
pub(super) fn about(host: &str, enhanced: &str, text: &str) -> Answer {
    Answer { host: Some(host.to_owned()), ..ours(enhanced, text) }
}

pub(super) fn never(enhanced: &str, text: &str) -> Outcome {
    Outcome::Never(ours(enhanced, text))
}

/// Where a standard names the code.
pub(super) fn never_as(code: u16, enhanced: &str, text: &str) -> Outcome {
    Outcome::Never(Answer { code, ..ours(enhanced, text) })
}

pub(super) fn temporary(answer: &Answer) -> Answer {
    reclassed(answer, '4')
}

pub(super) fn permanent(answer: &Answer) -> Answer {
    reclassed(answer, '5')
}

/// The enhanced code says the same as the outcome.
fn reclassed(answer: &Answer, class: char) -> Answer {
    let rest = answer.enhanced.get(1..).unwrap_or(".0.0");
    Answer { enhanced: format!("{class}{rest}"), ..answer.clone() }
}
