//! A line on standard error that says how far a long command has come; only at a terminal.

use super::{grouped, size};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage::tools::Doing;

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
const WIDTH: u64 = 24;

pub(super) struct Bar {
    shown: bool,
    state: Mutex<State>,
}

struct State {
    doing: Option<Doing>,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    pub(super) fn new() -> Self {
        let state = State { doing: None, begun: Instant::now(), drawn: None };
        Self { shown: std::io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    pub(super) fn at(&self, doing: Doing, done: u64, total: u64) {
        if !self.shown {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.doing != Some(doing) {
            (state.doing, state.begun, state.drawn) = (Some(doing), Instant::now(), None);
        }
        let waiting = state.drawn.is_some_and(|drawn| drawn.elapsed() < PAUSE);
        if waiting && done < total {
            return;
        }
        state.drawn = Some(Instant::now());
        let line = line(doing, done, total, state.begun.elapsed().as_secs_f64());
        drop(write!(std::io::stderr(), "\r\x1b[K{line}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let drawn = self.state.get_mut().unwrap_or_else(PoisonError::into_inner).drawn;
        if drawn.is_some() {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar is for the eye"
)]
fn line(doing: Doing, done: u64, total: u64, seconds: f64) -> String {
    let part = if total == 0 { 1.0 } else { (done as f64 / total as f64).min(1.0) };
    let filled = (part * WIDTH as f64) as u64;
    let bar: String = (0..WIDTH).map(|n| if n < filled { '#' } else { '.' }).collect();
    let (verb, bytes) = match doing {
        Doing::Reading => ("reading the log", true),
        Doing::Comparing => ("comparing accounts", false),
        Doing::Copying => ("copying", true),
        Doing::Writing => ("writing letters", false),
        Doing::Importing => ("importing letters", false),
    };
    let shown = |n: u64| if bytes { size(n) } else { grouped(n) };
    let mut text = format!("{verb} [{bar}] {} of {}", shown(done), shown(total));
    if seconds > 0.5 && done > 0 {
        let rate = done as f64 / seconds;
        let left = total.saturating_sub(done) as f64 / rate;
        let _ = write!(text, ", {}/s, {} left", shown(rate as u64), span(left as u64));
    }
    text
}

/// `59 s`, `12 min`, `3 h`
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        #[track_caller]
        fn check(doing: Doing, done: u64, total: u64, seconds: f64, expect: &str) {
            assert_eq!(line(doing, done, total, seconds), expect);
        }
        check(
            Doing::Importing,
            500,
            2000,
            1.0,
            "importing letters [######..................] 500 of 2,000, 500/s, 3 s left",
        );
        check(Doing::Reading, 0, 0, 0.0, "reading the log [########################] 0 B of 0 B");
        assert_eq!(
            (span(60), span(600), span(10_000)),
            ("60 s".into(), "10 min".into(), "2 h".into())
        );
    }
}
