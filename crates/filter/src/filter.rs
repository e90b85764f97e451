//! What becomes of a letter, and how what people say about letters gets back into the next verdict.

use crate::history::{History, Judged, Reason};
use antispam::{Action, Authentication, Evidence, Listed, Thresholds, Verdict};
use mparser::Message;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use types::{AccountId, Address, Clock};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Our name in `Received` and `Authentication-Results`.
    pub hostname: String,
    pub thresholds: Thresholds,
    /// Where verdicts are noted for people; `None`: nowhere.
    pub history: Option<PathBuf>,
}

/// Who brings a letter, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    pub id: &'a str,
    pub client_ip: IpAddr,
    pub helo: &'a str,
    /// `None`: the null sender of bounces.
    pub sender: Option<&'a Address>,
    pub recipients: &'a [Address],
    /// Whose mailboxes it would go to.
    pub accounts: &'a [AccountId],
    pub tls: bool,
}

/// What had to be asked elsewhere.
#[derive(Debug, Default)]
pub struct Looked {
    pub authentication: Option<Authentication>,
    pub listed: Vec<Listed>,
    pub virus: Option<String>,
}

/// What becomes of one letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// For all; what people taught it for themselves aside.
    pub verdict: Verdict,
    /// Accounts for which it is another one.
    pub own: Vec<(AccountId, Action)>,
}

impl Judgement {
    pub fn action_for(&self, account: AccountId) -> Action {
        let mut own = self.own.iter().filter(|(of, _)| *of == account);
        own.next().map_or(self.verdict.action, |(_, action)| *action)
    }
}

/// The filter; cheap to share.
pub struct Filter {
    options: Options,
    clock: Arc<dyn Clock>,
    history: Option<History>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Filter {
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        let history = options.history.as_deref().and_then(|folder| {
            let opened = History::open(folder);
            let said = opened.inspect_err(|error| {
                tracing::warn!(%error, folder = %folder.display(), "verdicts are not noted: `openpoczta spam explain ID` will not find them");
            });
            said.ok()
        });
        Self { options, clock, history }
    }

    /// Asks others, for a bounded time. Never fails: what nobody answers is not known.
    pub async fn look(&self, _connection: &Connection<'_>, _raw: &[u8]) -> Looked {
        Looked::default()
    }

    /// No waiting, no disk.
    pub fn judge(
        &self,
        connection: &Connection<'_>,
        looked: &Looked,
        message: &Message<'_>,
    ) -> Judgement {
        let evidence = Evidence {
            client_ip: Some(connection.client_ip),
            helo: Some(connection.helo),
            sender: connection.sender,
            recipients: connection.recipients,
            tls: connection.tls,
            authentication: looked.authentication.as_ref(),
            listed: &looked.listed,
            virus: looked.virus.as_deref(),
            now_unix_s: self.clock.now_unix_s(),
        };
        let verdict = antispam::score(message, &evidence, &self.options.thresholds);
        self.note(connection, &verdict, evidence.now_unix_s);
        Judgement { verdict, own: Vec::new() }
    }

    fn note(&self, connection: &Connection<'_>, verdict: &Verdict, at_unix_s: i64) {
        let Some(history) = &self.history else { return };
        let reasons = verdict.symbols.iter().map(|hit| Reason {
            symbol: hit.symbol.to_string(),
            points: hit.points,
            says: says(&hit.symbol).to_owned(),
        });
        history.note(Judged {
            id: connection.id.to_owned(),
            at_unix_s,
            client: connection.client_ip.to_string(),
            sender: connection.sender.map_or_else(|| "<>".to_owned(), ToString::to_string),
            action: word(verdict.action).to_owned(),
            score: verdict.score,
            required: verdict.required,
            probability: None,
            symbols: reasons.collect(),
            words: Vec::new(),
        });
    }
}

/// The sentence of a rule of ours.
fn says(symbol: &str) -> &'static str {
    antispam::RULES.iter().find(|rule| rule.symbol == symbol).map_or("", |rule| rule.says)
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Junk => "junk",
        Action::Refuse => "refuse",
    }
}
