//! `openpoczta spam`: why a letter was taken for what, what the verdict on a file would be, and teaching from files. The
//! server that runs is asked; when none runs, the store itself.

use super::FolderArguments;
use crate::app::SPAM_FOLDER;
use crate::cli::{print, say};
use antispam::{Class, Features, Learner};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use filter::control::{Request, Response, ask};
use filter::{Filter, Judged, Options};
use mparser::Message;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::Store;
use types::{Clock, Date, SystemClock};

#[derive(clap::Subcommand)]
pub(crate) enum SpamCommand {
    /// Why a letter was taken for what: by its id (in Received and in the log), or a file
    Explain(ExplainArguments),
    /// What the verdict on files would be, a line each
    Score(FilesArguments),
    /// Teach from files or folders of letters, one letter a file
    Learn(LearnArguments),
    /// How well the filter would do on two folders of your own letters; nothing is kept
    Eval(EvalArguments),
}

#[derive(clap::Args)]
pub(crate) struct ExplainArguments {
    /// The letter's id, or a file
    letter: String,
    #[command(flatten)]
    folder: FolderArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct FilesArguments {
    /// Files, or folders of files
    #[arg(required = true)]
    letters: Vec<PathBuf>,
    #[command(flatten)]
    folder: FolderArguments,
}

#[derive(clap::Args)]
pub(crate) struct LearnArguments {
    /// What the letters are
    #[arg(value_enum)]
    class: Said,
    #[command(flatten)]
    files: FilesArguments,
}

#[derive(clap::Args)]
pub(crate) struct EvalArguments {
    /// Letters that are wanted
    #[arg(long, value_name = "DIR")]
    ham: PathBuf,
    /// Letters that are not
    #[arg(long, value_name = "DIR")]
    spam: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Said {
    Spam,
    Ham,
}

/// Files of one command: a folder that holds more is no folder of letters.
const FILES: usize = 1_000_000;

pub(crate) async fn run(command: &SpamCommand) -> Result<()> {
    match command {
        SpamCommand::Explain(arguments) => explain(arguments).await,
        SpamCommand::Score(arguments) => score(arguments).await,
        SpamCommand::Learn(arguments) => learn(arguments).await,
        SpamCommand::Eval(arguments) => eval(arguments),
    }
}

async fn explain(arguments: &ExplainArguments) -> Result<()> {
    let file = Path::new(&arguments.letter);
    let server = Server::new(&arguments.folder)?;
    let response = if file.is_file() {
        let letter = read(file)?;
        server.ask(Request::Score { bytes: letter.len() }, letter).await?
    } else {
        server.ask(Request::Explain { id: arguments.letter.clone() }, Bytes::new()).await?
    };
    let Response::Verdict { judged } = response else { bail!("no verdict came") };
    if arguments.json {
        return print(&format!("{}\n", serde_json::to_string(&judged)?));
    }
    print(&in_words(&judged))
}

/// What it was taken for, why, in words that need no knowledge of mail.
fn in_words(judged: &Judged) -> String {
    let mut out = String::new();
    let what = match judged.action.as_str() {
        "accept" => "It was taken for a letter that is wanted",
        "junk" => "It was taken for spam, and put into Junk",
        "refuse" => "It was taken for spam, and refused",
        _ => "It was put off",
    };
    let _ = writeln!(
        out,
        "{what}: {:.1} points; from {:.1} on a letter is spam.",
        judged.score, judged.required
    );
    if !judged.id.is_empty() {
        let date = Date::from_unix_s(judged.at_unix_s).rfc3339();
        let _ = writeln!(
            out,
            "Letter {}, from <{}>, brought by {}, {date}.",
            judged.id,
            judged.sender.trim_matches(['<', '>']),
            judged.client
        );
    }
    if let Some(probability) = judged.probability {
        let _ = writeln!(
            out,
            "By what people taught the filter it is spam with {:.0} %.",
            probability * 100.0
        );
    }
    let _ = writeln!(out, "\nPoints  Why");
    for reason in &judged.symbols {
        let _ = writeln!(out, "{:>+6.1}  {} ({})", reason.points, reason.says, reason.symbol);
    }
    if judged.symbols.is_empty() {
        out.push_str("     -  No rule found anything.\n");
    }
    let words = |for_spam: bool| {
        let words = judged.words.iter().filter(|(_, weight)| (*weight > 0.0) == for_spam);
        words.map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(" | ")
    };
    for (says, for_spam) in
        [("Words seen in spam before", true), ("Words seen in other letters before", false)]
    {
        let words = words(for_spam);
        if !words.is_empty() {
            let _ = writeln!(out, "\n{says}:\n    {words}");
        }
    }
    let _ = writeln!(out, "\n{}", what_to_do(&judged.action));
    out
}

/// For who thinks that it is wrong.
fn what_to_do(action: &str) -> &'static str {
    match action {
        "accept" => {
            "If that is wrong: move the letter into Junk, in any mail program. The filter learns from it."
        }
        "refuse" => "If that is wrong: `openpoczta spam learn ham FILE` teaches the filter.",
        _ => {
            "If that is wrong: move the letter out of Junk, in any mail program. The filter learns from it."
        }
    }
}

async fn score(arguments: &FilesArguments) -> Result<()> {
    let server = Server::new(&arguments.folder)?;
    for file in files(&arguments.letters)? {
        let letter = read(&file)?;
        let response = server.ask(Request::Score { bytes: letter.len() }, letter).await?;
        let Response::Verdict { judged } = response else { bail!("no verdict came") };
        let symbols: Vec<&str> =
            judged.symbols.iter().map(|reason| reason.symbol.as_str()).collect();
        print(&format!(
            "{:<6} {:>6.1}  {}  {}\n",
            judged.action,
            judged.score,
            file.display(),
            symbols.join(",")
        ))?;
    }
    Ok(())
}

async fn learn(arguments: &LearnArguments) -> Result<()> {
    let server = Server::new(&arguments.files.folder)?;
    let files = files(&arguments.files.letters)?;
    let (mut new, all) = (0, files.len());
    for (done, file) in files.iter().enumerate() {
        let letter = read(file)?;
        let spam = arguments.class == Said::Spam;
        let request = Request::Learn { spam, bytes: letter.len() };
        match server.ask(request, letter).await? {
            Response::Learned { new: is_new } => new += usize::from(is_new),
            _ => bail!("the answer is not about that"),
        }
        if (done + 1) % 500 == 0 {
            say(&format!("{} of {all} letters\n", done + 1));
        }
    }
    print(&format!("{new} of {all} letters were new to the filter\n"))
}

/// The running server, or the store.
struct Server {
    options: storage::Options,
    hostname: String,
    thresholds: antispam::Thresholds,
}

impl Server {
    fn new(folder: &FolderArguments) -> Result<Self> {
        let config = folder.config()?;
        Ok(Self {
            options: folder.options()?,
            hostname: config.hostname.clone(),
            thresholds: config.thresholds(),
        })
    }

    async fn ask(&self, request: Request, letter: Bytes) -> Result<Response> {
        let folder = self.options.folder.join(SPAM_FOLDER);
        let (place, question, text) = (folder.clone(), request.clone(), letter.clone());
        let asked = tokio::task::spawn_blocking(move || ask(&place, &question, &text)).await?;
        let asked = asked
            .with_context(|| format!("the server that has {} does not answer", folder.display()))?;
        let response = match asked {
            Some(response) => response,
            None => self.answer_here(&folder, request, &letter).await?,
        };
        match response {
            Response::Failed { message } => bail!("{message}"),
            response => Ok(response),
        }
    }

    async fn answer_here(
        &self,
        folder: &Path,
        request: Request,
        letter: &[u8],
    ) -> Result<Response> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(&self.options, clock.clone())?;
        let options = Options {
            hostname: self.hostname.clone(),
            thresholds: self.thresholds,
            ..Options::default()
        };
        let filter = Filter::on(store.clone(), options, clock);
        filter.restore().await?;
        let response = filter.answer(folder, request, letter).await;
        store.close().await;
        Ok(response)
    }
}

/// As its users would see the filter: each letter is judged, then taught; in an order that mixes both folders.
fn eval(arguments: &EvalArguments) -> Result<()> {
    let of = |folder: &PathBuf, class| -> Result<Vec<(PathBuf, Class)>> {
        let files = files(std::slice::from_ref(folder))?;
        ensure!(!files.is_empty(), "{} holds no letters; one letter is one file", folder.display());
        Ok(files.into_iter().map(|file| (file, class)).collect())
    };
    let mut letters = of(&arguments.ham, Class::Ham)?;
    letters.extend(of(&arguments.spam, Class::Spam)?);
    // The same order each time, and nobody's: that of a hash.
    letters.sort_by_cached_key(|(file, _)| {
        let mut hasher = DefaultHasher::new();
        file.hash(&mut hasher);
        hasher.finish()
    });
    let learner = Learner::new();
    let (mut hams, mut spams, mut false_alarms, mut missed) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (file, class) in &letters {
        let letter = read(file)?;
        let features = Features::of_letter(&Message::parse(&letter));
        let is_called_spam = learner.opinion(&features).margin > 0.0;
        if *class == Class::Ham {
            hams += 1;
            false_alarms += u32::from(is_called_spam);
        } else {
            spams += 1;
            missed += u32::from(!is_called_spam);
        }
        learner.learn(&features, *class);
    }
    let share = |part: u32, of: u32| 100.0 * f64::from(part) / f64::from(of.max(1));
    print(&format!(
        "{hams} wanted letters, {false_alarms} taken for spam ({:.2} %)\n{spams} spam letters, {missed} not found ({:.2} %)\n\
         Each was judged by what the filter had learned from those before it.\n",
        share(false_alarms, hams),
        share(missed, spams),
    ))
}

fn read(file: &Path) -> Result<Bytes> {
    let letter =
        std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(letter.into())
}

/// Files, and those in folders, sorted.
fn files(places: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for place in places {
        if place.is_dir() {
            let entries = std::fs::read_dir(place);
            for entry in entries.with_context(|| format!("{} cannot be read", place.display()))? {
                let path = entry?.path();
                if path.is_file() {
                    found.push(path);
                }
            }
        } else {
            found.push(place.clone());
        }
        ensure!(found.len() <= FILES, "more than {FILES} files are too many at once");
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use filter::Reason;

    #[test]
    fn a_verdict_in_words() {
        let reason = |symbol: &str, points, says: &str| Reason {
            symbol: symbol.to_owned(),
            points,
            says: says.to_owned(),
        };
        let judged = Judged {
            id: "4K7Q".to_owned(),
            at_unix_s: 1_795_370_400,
            client: "192.0.2.7".to_owned(),
            sender: "x@evil.test".to_owned(),
            action: "junk".to_owned(),
            score: 9.25,
            required: 6.0,
            probability: Some(0.987),
            symbols: vec![
                reason("LEARNED", 6.0, "People marked letters like it as spam."),
                reason("MISSING_DATE", 1.0, "There is no date."),
            ],
            words: vec![("cheap".to_owned(), 3.0), ("Subject: lunch".to_owned(), -2.0)],
        };
        assert_eq!(
            in_words(&judged),
            "It was taken for spam, and put into Junk: 9.2 points; from 6.0 on a letter is spam.\n\
             Letter 4K7Q, from <x@evil.test>, brought by 192.0.2.7, 2026-11-22T18:00:00Z.\n\
             By what people taught the filter it is spam with 99 %.\n\n\
             Points  Why\n  +6.0  People marked letters like it as spam. (LEARNED)\n  +1.0  There is no date. (MISSING_DATE)\n\n\
             Words seen in spam before:\n    cheap\n\nWords seen in other letters before:\n    Subject: lunch\n\n\
             If that is wrong: move the letter out of Junk, in any mail program. The filter learns from it.\n"
        );
    }
}
