//! Debian's bogofilter over the same letters in the same order: a process for each verdict and each lesson, as mail
//! programs start it.

use super::corpus::Sample;
use super::judge::Said;
use anyhow::{Context as _, Result, ensure};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "bogofilter";

pub(super) fn is_installed() -> bool {
    Command::new(PROGRAM).arg("-V").output().is_ok_and(|out| out.status.success())
}

/// A letter as a file.
pub(super) struct Letter {
    is_spam: bool,
    path: PathBuf,
}

/// Writes the bytes that ours gets, one letter a file.
pub(super) fn files(samples: &[Sample], folder: &Path) -> Result<Vec<Letter>> {
    std::fs::create_dir_all(folder)?;
    let mut letters = Vec::with_capacity(samples.len());
    for (number, sample) in samples.iter().enumerate() {
        let path = folder.join(number.to_string());
        std::fs::write(&path, &sample.raw)?;
        letters.push(Letter { is_spam: sample.is_spam, path });
    }
    Ok(letters)
}

/// Its words in a folder of their own.
struct Words<'a>(&'a Path);

impl Words<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["-C", "--db-transaction=no", "--db-cachesize=64", "-d"]).arg(self.0);
        command
    }

    fn judge(&self, letter: &Letter) -> Result<Said> {
        let out = self.command().args(["-T", "-I"]).arg(&letter.path).output()?;
        parse(&String::from_utf8_lossy(&out.stdout), letter.is_spam)
    }

    fn learn(&self, letter: &Letter) -> Result<()> {
        let class = if letter.is_spam { "-s" } else { "-n" };
        let status = self.command().args([class, "-I"]).arg(&letter.path).status()?;
        ensure!(status.success(), "bogofilter {class} {} failed", letter.path.display());
        Ok(())
    }

    /// The same for many in one process.
    fn bulk(&self, word: &str, letters: &[&Letter]) -> Result<String> {
        let mut list = tempfile::tempfile()?;
        for letter in letters {
            writeln!(list, "{}", letter.path.display())?;
        }
        std::io::Seek::rewind(&mut list)?;
        let out = self.command().args(["-b", word]).stdin(list).output()?;
        Ok(String::from_utf8(out.stdout)?)
    }
}

/// `S 0.999`, in bulk with the name before it; `U`, unsure, is not called spam.
fn parse(line: &str, is_spam: bool) -> Result<Said> {
    let mut words = line.split_whitespace().rev();
    let score = words.next().and_then(|word| word.parse().ok());
    let score = score.with_context(|| format!("bogofilter said `{line}`"))?;
    Ok(Said { is_spam, called_spam: words.next() == Some("S"), score })
}

/// Each letter is judged; each `every`th is taught then.
pub(super) fn online(order: &[&Letter], folder: &Path, every: usize) -> Result<Vec<Said>> {
    std::fs::create_dir_all(folder)?;
    let words = Words(folder);
    let mut run = Vec::with_capacity(order.len());
    for (place, letter) in order.iter().enumerate() {
        // Without any word it calls the question an error.
        let unsure = Said { is_spam: letter.is_spam, called_spam: false, score: 0.5 };
        run.push(if place == 0 { unsure } else { words.judge(letter)? });
        if place.is_multiple_of(every) {
            words.learn(letter)?;
        }
    }
    Ok(run)
}

/// All taught, then all judged in one process: CPU of a verdict.
pub(super) fn bulk_cpu_ms(letters: &[Letter], folder: &Path) -> Result<f64> {
    std::fs::create_dir_all(folder)?;
    let words = Words(folder);
    let (spam, ham): (Vec<&Letter>, Vec<&Letter>) = letters.iter().partition(|one| one.is_spam);
    words.bulk("-s", &spam)?;
    words.bulk("-n", &ham)?;
    let all: Vec<&Letter> = letters.iter().collect();
    let before = crate::tree::used(std::process::id())?.cpu_ms;
    words.bulk("-T", &all)?;
    let used_ms = crate::tree::used(std::process::id())?.cpu_ms - before;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let letters = letters.len().max(1) as f64;
    Ok(used_ms / letters)
}

/// Each tenth is judged when all the others were taught.
pub(super) fn folds(order: &[&Letter], folder: &Path, folds: usize) -> Result<Vec<Said>> {
    let mut run = Vec::with_capacity(order.len());
    for fold in 0..folds {
        let folder = folder.join(fold.to_string());
        std::fs::create_dir_all(&folder)?;
        let words = Words(&folder);
        let others = order.iter().enumerate().filter(|(place, _)| place % folds != fold);
        let (spam, ham): (Vec<&Letter>, Vec<&Letter>) =
            others.map(|(_, letter)| *letter).partition(|letter| letter.is_spam);
        words.bulk("-s", &spam)?;
        words.bulk("-n", &ham)?;
        let judged: Vec<&Letter> = order.iter().skip(fold).step_by(folds).copied().collect();
        let said = words.bulk("-T", &judged)?;
        ensure!(said.lines().count() == judged.len(), "bogofilter left letters out");
        for (line, letter) in said.lines().zip(judged) {
            run.push(parse(line, letter.is_spam)?);
        }
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says() {
        #[track_caller]
        fn check(line: &str, expect: Option<(bool, f64)>) {
            let said = parse(line, true).ok().map(|said| (said.called_spam, said.score));
            assert_eq!(said, expect);
        }
        check("S 0.999999\n", Some((true, 0.999_999)));
        check("H 0\n", Some((false, 0.0)));
        check("/tmp/a/7 U 0.52", Some((false, 0.52)));
        check("", None);
        check("cannot open", None);
    }
}
