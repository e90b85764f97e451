//! The file of the operator's own spam rules, read at the start and again at SIGHUP.
//!
//! ```toml
//! [points]                 # other points for rules that are built in; 0: off
//! SPF_FAIL = 2.5
//!
//! [[rule]]
//! symbol = "OUR_CASINO"
//! points = 7.0
//! says = "Casinos write to us every day."
//! body = '\bcasino\b'      # or header, url_host, sender, client, attachment, symbols: one of them
//! ```

use crate::config::{Config, Problems};
use antispam::{LocalRule, LocalRules, When};
use filter::Filter;
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    points: BTreeMap<Spanned<String>, f32>,
    #[serde(default)]
    rule: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    symbol: Spanned<String>,
    points: f32,
    says: String,
    header: Option<HeaderRow>,
    body: Option<String>,
    url_host: Option<Vec<String>>,
    sender: Option<Vec<String>>,
    client: Option<Vec<String>>,
    attachment: Option<Vec<String>>,
    symbols: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderRow {
    name: String,
    matches: String,
}

const CONDITIONS: &str = "header, body, url_host, sender, client, attachment or symbols";

impl Row {
    fn rule(self) -> Result<LocalRule, String> {
        let whens = [
            self.header.map(|HeaderRow { name, matches }| When::Header { name, matches }),
            self.body.map(|matches| When::Body { matches }),
            self.url_host.map(|domains| When::UrlHost { domains }),
            self.sender.map(|matches| When::Sender { matches }),
            self.client.map(|networks| When::Client { networks }),
            self.attachment.map(|names| When::Attachment { names }),
            self.symbols.map(|expression| When::Symbols { expression }),
        ];
        let symbol = self.symbol.into_inner();
        let mut whens = whens.into_iter().flatten();
        match (whens.next(), whens.next()) {
            (Some(when), None) => {
                Ok(LocalRule { symbol, points: self.points, says: self.says, when })
            }
            (None, _) => Err(format!(
                "the spam rule {symbol:?} does not say when it hits: give it one of {CONDITIONS}"
            )),
            _ => Err(format!(
                "the spam rule {symbol:?} has several conditions: give each a rule of its own, and join them by symbols"
            )),
        }
    }
}

/// The rules that the configuration names; without a name none.
pub(crate) fn load(config: &Config) -> Result<LocalRules, Problems> {
    let file = &config.spam_rules;
    if file.as_os_str().is_empty() {
        return Ok(LocalRules::default());
    }
    let problem = |text: String| Problems::new(vec![format!("{}:{text}", file.display())]);
    let text = std::fs::read_to_string(file).map_err(|error| {
        problem(format!(" cannot be read ({error}); correct spam.rules, or remove it"))
    })?;
    let lists: Vec<&str> = config.spam_lists.iter().map(|list| &list.symbol[..]).collect();
    parse(&text, &lists).map_err(problem)
}

/// The error begins with its line.
fn parse(text: &str, lists: &[&str]) -> Result<LocalRules, String> {
    let line =
        |offset: usize| text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(1, |span| line(span.start));
        format!("{at}: {}", error.message())
    })?;
    let mut lines = BTreeMap::new();
    let mut points = Vec::new();
    for (symbol, value) in file.points {
        lines.insert(symbol.get_ref().clone(), line(symbol.span().start));
        points.push((symbol.into_inner(), value));
    }
    let mut rules = Vec::new();
    for row in file.rule {
        let at = line(row.symbol.span().start);
        lines.insert(row.symbol.get_ref().clone(), at);
        rules.push(row.rule().map_err(|why| format!("{at}: {why}"))?);
    }
    LocalRules::compile(rules, points, lists)
        .map_err(|error| format!("{}: {error}", lines.get(&error.symbol).unwrap_or(&1)))
}

/// Reads the file again at each SIGHUP, until `shutdown`. With a mistake in it the rules stay as they were.
pub(crate) async fn watch(
    config: Config,
    filter: Filter,
    mut hangup: Signal,
    mut shutdown: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = hangup.recv() => {}
        }
        let again = config.clone();
        match tokio::task::spawn_blocking(move || load(&again)).await {
            Ok(Ok(rules)) => {
                filter.set_local_rules(rules);
                tracing::info!(file = %config.spam_rules.display(), "the spam rules were read again");
            }
            Ok(Err(problems)) => {
                tracing::error!(%problems, "the spam rules cannot be used; those from before stay");
            }
            Err(error) => tracing::error!(%error, "the spam rules were not read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_page() {
        let page = include_str!("../../../docs/howto/local-spam-rules.md");
        let (_, rest) = page.split_once("```toml\n# /etc/openpoczta/rules.toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let rules = parse(example, &["LISTED_ZEN"]).unwrap();
        assert_eq!(rules.says("OUR_CASINO"), Some("Casinos write to us every day."));
    }

    #[test]
    fn mistakes_are_named() {
        #[track_caller]
        fn check(text: &str, says: &str) {
            let problem = parse(text, &[]).unwrap_err();
            assert!(problem.starts_with(says), "{problem}");
        }
        let rule = |more: &str| {
            format!("# mine\n[[rule]]\nsymbol = 'OUR_A'\npoints = 1\nsays = 'A.'\n{more}")
        };
        check("[[rule]]\nsymbol = 7", "2: ");
        check("[[rule]]\nsymbol = 'OUR_A'", "1: missing field `points`");
        check(&rule("colour = 'x'"), "6: unknown field `colour`");
        check(&rule(""), "3: the spam rule \"OUR_A\" does not say when it hits");
        check(
            &rule("body = 'a'\nclient = ['192.0.2.1']"),
            "3: the spam rule \"OUR_A\" has several",
        );
        check(&rule("body = '('"), "3: the spam rule \"OUR_A\" ");
        check(&rule("symbols = 'NO_SUCH and'"), "3: the spam rule \"OUR_A\" ");
        check(&rule("header = { name = 'Subject' }"), "6: missing field `matches`");
        check("\n[points]\nNO_SUCH = 1", "3: the spam rule \"NO_SUCH\" ");
        check("[points]\nSPF_FAIL = 'x'", "2: invalid type");
        check("[[rule", "1: ");
    }
}
