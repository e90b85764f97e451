//! Programs that know viruses: each is given the whole letter and says what it found.
//!
//! A scanner that fails says nothing: the letter goes on as if none was asked, which is counted and logged. So mail flows
//! while a scanner is updated, and none can make us lose a letter.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | [`Engine`], [`Scanner`]: who is asked, for how long, and who is told that one fails |
//! | `clamd` | [`Clamd`]: the daemon of `ClamAV` |
//! | `hook` | [`Hook`]: any program that answers HTTP |

mod clamd;
mod hook;

pub use clamd::Clamd;
pub use hook::Hook;

use futures_util::future::join_all;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Of what a scanner calls a virus.
const NAME_CHARS: usize = 100;
/// A scanner that fails is in the log so often; each letter would fill it.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// Where scanners are. To add one: its file, its variant, its key in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    Clamd(Clamd),
    Hook(Hook),
}

/// A scanner, and how long a letter waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanner {
    pub engine: Engine,
    /// From the connection to the answer.
    pub timeout: Duration,
}

/// Why nothing is known of a letter. For the operator.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("it cannot be reached: {0}")]
    Away(io::Error),
    #[error("no answer in {} ms", .0.as_millis())]
    Slow(Duration),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error("it answers {0:?}")]
    Answer(String),
}

/// What it calls what it found.
type Found = Option<String>;

impl Engine {
    async fn ask(&self, letter: &[u8]) -> Result<Found, Trouble> {
        match self {
            Self::Clamd(clamd) => clamd.ask(letter).await,
            Self::Hook(hook) => hook.ask(letter).await,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Clamd(_) => "clamd",
            Self::Hook(_) => "hook",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clamd(clamd) => clamd.fmt(f),
            Self::Hook(hook) => hook.fmt(f),
        }
    }
}

impl Scanner {
    async fn scan(&self, letter: &[u8]) -> Result<Found, Trouble> {
        let asked = tokio::time::timeout(self.timeout, self.engine.ask(letter)).await;
        asked.unwrap_or(Err(Trouble::Slow(self.timeout)))
    }
}

/// All scanners, and how they fare.
pub(crate) struct Antivirus {
    scanners: Vec<(Scanner, Mutex<Silence>)>,
    scans: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    scanner: &'static str,
    outcome: &'static str,
}

/// What the log was not told yet about a scanner.
#[derive(Default)]
struct Silence {
    said: Option<Instant>,
    letters: u64,
}

impl Silence {
    /// How many letters went on unscanned since it was said last, when it is time to say it again.
    fn missed(&mut self, now: Instant) -> Option<u64> {
        self.letters += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < SAY_EVERY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.letters))
    }
}

impl Antivirus {
    pub(crate) fn new(scanners: &[Scanner]) -> Self {
        let scanners = scanners.iter().map(|scanner| (scanner.clone(), Mutex::default())).collect();
        Self { scanners, scans: Family::default() }
    }

    /// What the first one that found something calls it. `None`: nobody found anything, or nobody answered.
    pub(crate) async fn scan(&self, id: &str, letter: &[u8]) -> Option<String> {
        let one = |(scanner, silence)| self.scan_with(scanner, silence, id, letter);
        let answers =
            join_all(self.scanners.iter().map(|(scanner, silence)| one((scanner, silence))));
        answers.await.into_iter().flatten().next()
    }

    async fn scan_with(
        &self,
        scanner: &Scanner,
        silence: &Mutex<Silence>,
        id: &str,
        letter: &[u8],
    ) -> Option<String> {
        let answer = scanner.scan(letter).await;
        let outcome = match &answer {
            Ok(Some(virus)) => {
                tracing::info!(id, scanner = %scanner.engine, virus, "a virus scanner found something");
                "virus"
            }
            Ok(None) => "clean",
            Err(trouble) => {
                let missed =
                    silence.lock().unwrap_or_else(PoisonError::into_inner).missed(Instant::now());
                if let Some(letters) = missed {
                    tracing::warn!(id, scanner = %scanner.engine, %trouble, letters, "letters go on without being scanned for viruses");
                }
                "unknown"
            }
        };
        let labels = Labels { scanner: scanner.engine.name(), outcome };
        self.scans.get_or_create(&labels).inc();
        answer.ok().flatten()
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("antivirus");
        registry.register(
            "scans",
            "Letters by virus scanner and what it said; unknown: nothing, and the letter went on",
            self.scans.clone(),
        );
    }
}

/// A name that fits into a line of the log.
fn name(text: &str) -> String {
    let graphic = text.trim().chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
    graphic.take(NAME_CHARS).collect()
}

/// What a scanner answered, as far as it is shown.
fn quoted(bytes: &[u8]) -> Trouble {
    let start = bytes.get(..bytes.len().min(NAME_CHARS)).unwrap_or_default();
    Trouble::Answer(String::from_utf8_lossy(start).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert_eq!(name(" Eicar-Test "), "Eicar-Test");
        assert_eq!(name("a b\r\nc\u{17c}"), "a?b??c?");
        assert_eq!(name(&"x".repeat(5000)).len(), NAME_CHARS);
    }

    #[test]
    fn a_scanner_that_fails_is_in_the_log_once_a_minute() {
        let (mut silence, start) = (Silence::default(), Instant::now());
        assert_eq!(silence.missed(start), Some(1));
        assert_eq!(silence.missed(start + SAY_EVERY / 2), None);
        assert_eq!(silence.missed(start + SAY_EVERY / 2), None);
        assert_eq!(silence.missed(start + SAY_EVERY), Some(3));
    }
}
