//! Is this letter wanted? A verdict from the letter and from what the connection told. No DNS, no disk, no clock.

use std::net::IpAddr;
use types::Address;

/// What is known beside the letter itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    pub client_ip: Option<IpAddr>,
    pub helo: Option<&'a str>,
    /// `None`: the null sender of bounces.
    pub sender: Option<&'a Address>,
    pub recipients: &'a [Address],
}

/// Points from which a letter goes to Junk, or is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub junk: f32,
    pub refuse: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            junk: 6.0,
            refuse: 15.0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Accept,
    Junk,
    Refuse,
}

/// A rule that fired.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub symbol: &'static str,
    pub points: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub action: Action,
    pub score: f32,
    /// The `junk` threshold it was measured against.
    pub required: f32,
    pub symbols: Vec<Hit>,
}

/// Judges a letter.
pub fn score(
    message: &mparser::Message<'_>,
    evidence: &Evidence<'_>,
    thresholds: &Thresholds,
) -> Verdict {
    let _ = (message, evidence);
    Verdict {
        action: Action::Accept,
        score: 0.0,
        required: thresholds.junk,
        symbols: Vec::new(),
    }
}

impl Verdict {
    /// The value of `X-Spam-Status`, folded under 78 columns.
    pub fn header_value(&self) -> String {
        let yes = if self.action == Action::Accept {
            "No"
        } else {
            "Yes"
        };
        format!(
            "{yes}, score={:.1} required={:.1}",
            self.score, self.required
        )
    }
}
