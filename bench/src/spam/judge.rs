//! How good a run of verdicts was.

use super::order::Twister;

/// One letter: what it is, what was said, and how sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Said {
    pub(super) is_spam: bool,
    pub(super) called_spam: bool,
    pub(super) score: f64,
}

/// In percent: how often a spam letter has a lower score than another one; ties count half. The area above the ROC curve.
pub(super) fn area_above(run: &[Said]) -> f64 {
    let mut sorted: Vec<(f64, bool)> = run.iter().map(|said| (said.score, said.is_spam)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut wrong, mut spams, mut hams) = (0.0, 0.0, 0.0);
    for tie in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let spam = count(tie.iter().filter(|(_, is_spam)| *is_spam));
        let ham = count(tie.iter()) - spam;
        wrong += ham * spams + spam * ham / 2.0;
        spams += spam;
        hams += ham;
    }
    if spams * hams == 0.0 { f64::NAN } else { 100.0 * wrong / (spams * hams) }
}

/// Percent of the other letters that were called spam.
pub(super) fn false_positives(run: &[Said]) -> f64 {
    percent(run.iter().filter(|said| !said.is_spam).map(|said| said.called_spam))
}

/// Percent of spam that was not called so.
pub(super) fn false_negatives(run: &[Said]) -> f64 {
    percent(run.iter().filter(|said| said.is_spam).map(|said| !said.called_spam))
}

/// Percent of spam below a threshold, chosen afterwards, that calls `share` of the other letters spam.
pub(super) fn missed_at(run: &[Said], share: f64) -> f64 {
    let mut hams: Vec<f64> =
        run.iter().filter(|said| !said.is_spam).map(|said| said.score).collect();
    hams.sort_by(|a, b| b.total_cmp(a));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count"
    )]
    let lost = (share * hams.len() as f64) as usize;
    let threshold = hams.get(lost).copied().unwrap_or(f64::NEG_INFINITY);
    percent(run.iter().filter(|said| said.is_spam).map(|said| said.score <= threshold))
}

/// The middle 95 % of `figure` over runs of letters drawn with repetition from all runs alike: letters of one place are
/// drawn together, so that differences of two filters are paired.
pub(super) fn interval(
    runs: &[&[Said]],
    draws: usize,
    figure: impl Fn(&[Vec<Said>]) -> f64,
) -> (f64, f64) {
    let mut twister = Twister::new(1);
    let length = runs.iter().map(|run| run.len()).min().unwrap_or(0);
    let limit = u32::try_from(length).unwrap_or(u32::MAX);
    let mut found: Vec<f64> = (0..draws)
        .map(|_| {
            let places: Vec<usize> = (0..length).map(|_| twister.below(limit) as usize).collect();
            let drawn =
                |run: &&[Said]| places.iter().filter_map(|at| run.get(*at).copied()).collect();
            figure(&runs.iter().map(drawn).collect::<Vec<Vec<Said>>>())
        })
        .collect();
    // A draw of one class only says nothing.
    found.retain(|figure| figure.is_finite());
    found.sort_by(f64::total_cmp);
    let at = |share: usize| found.get(found.len() * share / 1000).copied().unwrap_or(f64::NAN);
    (at(25), at(975))
}

pub(super) fn mean(figures: &[f64]) -> f64 {
    figures.iter().sum::<f64>() / count(figures.iter())
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn count(of: impl Iterator) -> f64 {
    of.count() as f64
}

fn percent(is: impl Iterator<Item = bool> + Clone) -> f64 {
    100.0 * count(is.clone().filter(|is| *is)) / count(is).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(letters: &[(bool, f64)]) -> Vec<Said> {
        let said = |(is_spam, score): &(bool, f64)| Said {
            is_spam: *is_spam,
            called_spam: *score > 0.0,
            score: *score,
        };
        letters.iter().map(said).collect()
    }

    #[test]
    fn figures() {
        let perfect = run(&[(false, -2.0), (false, -1.0), (true, 1.0), (true, 2.0)]);
        assert_eq!((area_above(&perfect), missed_at(&perfect, 0.0)), (0.0, 0.0));
        let one_of_four = run(&[(false, -2.0), (true, -1.0), (false, 1.0), (true, 2.0)]);
        assert!((area_above(&one_of_four) - 25.0).abs() < 1e-9);
        assert!((missed_at(&one_of_four, 0.0) - 50.0).abs() < 1e-9);
        assert!((false_positives(&one_of_four) - 50.0).abs() < 1e-9);
        assert!((false_negatives(&one_of_four) - 50.0).abs() < 1e-9);
        let tie = run(&[(false, 1.0), (true, 1.0)]);
        assert!((area_above(&tie) - 50.0).abs() < 1e-9);
        let (low, high) = interval(&[&one_of_four], 200, |runs| area_above(&runs[0]));
        assert!(low <= 25.0 && high >= 25.0, "{low} {high}");
    }
}
