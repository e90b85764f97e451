//! `openpoczta queue`: what waits to be sent, and what to do about it. The server that runs is asked; when none runs, the
//! folder itself.

use super::FolderArguments;
use crate::cli::print;
use anyhow::{Context, Result, bail, ensure};
use queue::control::{LIST_MOST, Request, Response, Shown, ShownProgress, ShownRecipient};
use queue::{Options, Queue};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use types::{Clock, Date, SystemClock};

#[derive(clap::Subcommand)]
pub(crate) enum QueueCommand {
    /// Letters that wait, oldest first
    List(ListArguments),
    /// One letter: who gets it, what was said, its text
    Show(LetterArguments),
    /// Try a letter now, or all of them; also one that is held until later
    Retry(RetryArguments),
    /// Take a letter back: nobody gets it who does not have it
    Cancel(LetterArguments),
}

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    folder: FolderArguments,
    /// Print JSON, one letter on a line
    #[arg(long)]
    json: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

#[derive(clap::Args)]
pub(crate) struct LetterArguments {
    /// The letter, as `queue list` names it
    id: String,
    #[command(flatten)]
    folder: FolderArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct RetryArguments {
    /// The letter, as `queue list` names it
    #[arg(required_unless_present = "all")]
    id: Option<String>,
    /// Every letter that waits
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    folder: FolderArguments,
}

pub(crate) async fn run(command: &QueueCommand) -> Result<()> {
    match command {
        QueueCommand::List(arguments) => list(arguments).await,
        QueueCommand::Show(arguments) => show(arguments).await,
        QueueCommand::Retry(arguments) => {
            let count =
                count(&arguments.folder, Request::Retry { id: arguments.id.clone() }).await?;
            print(&format!("{count} to be tried now\n"))
        }
        QueueCommand::Cancel(arguments) => {
            count(&arguments.folder, Request::Cancel { id: arguments.id.clone() }).await?;
            print(&format!("{}: taken back; nobody else gets it\n", arguments.id))
        }
    }
}

async fn list(arguments: &ListArguments) -> Result<()> {
    let most = arguments.limit.min(LIST_MOST);
    let response = ask(&arguments.folder, Request::List { skip: 0, most }).await?;
    let Response::Letters { waiting, letters } = response else { bail!("no list came") };
    if arguments.json {
        return letters.iter().try_for_each(|letter| print(&format!("{}\n", json(letter)?)));
    }
    if letters.is_empty() {
        return print("nothing waits\n");
    }
    let now_unix_s = SystemClock.now_unix_s();
    let mut out = String::new();
    for letter in &letters {
        out.push_str(&line(letter, now_unix_s));
    }
    match waiting - letters.len().min(waiting) {
        0 => {}
        more => {
            let _ = writeln!(out, "and {more} more; --limit shows them");
        }
    }
    print(&out)
}

async fn show(arguments: &LetterArguments) -> Result<()> {
    let request = Request::Show { id: arguments.id.clone() };
    let Response::Letter { letter, text } = ask(&arguments.folder, request).await? else {
        bail!("no letter came")
    };
    if arguments.json {
        return print(&format!("{}\n", json(&letter)?));
    }
    print(&format!("{}\n{}", line(&letter, SystemClock.now_unix_s()), text.replace("\r\n", "\n")))
}

/// `4K7Q…  2026-11-23T18:00:00Z  2,048 bytes  <alice@example.test>`, and its recipients below.
fn line(letter: &Shown, now_unix_s: i64) -> String {
    let date = Date::from_unix_s(letter.received_unix_s).rfc3339();
    let mut out =
        format!("{}  {date}  {} bytes  <{}>\n", letter.id, letter.size_bytes, letter.from);
    if let Some(release) = letter.release_unix_s.filter(|release| *release > now_unix_s) {
        let _ = writeln!(out, "    held until {}", Date::from_unix_s(release).rfc3339());
    }
    for recipient in &letter.recipients {
        let _ = writeln!(out, "    <{}>  {}", recipient.address, progress(recipient, now_unix_s));
    }
    out
}

fn progress(recipient: &ShownRecipient, now_unix_s: i64) -> String {
    match &recipient.progress {
        ShownProgress::Delivered => "has it".to_owned(),
        ShownProgress::Failed => "refused it".to_owned(),
        ShownProgress::Waiting { sending: true, .. } => "is being sent to".to_owned(),
        ShownProgress::Waiting { attempts, next_unix_s, last, .. } => {
            let next = match next_unix_s - now_unix_s {
                ..=0 => "is next".to_owned(),
                seconds @ 1..=119 => format!("next try in {seconds} s"),
                seconds @ 120..=7199 => format!("next try in {} min", seconds / 60),
                seconds => format!("next try in {} h", seconds / 3600),
            };
            let said = last.as_ref().map(|last| format!("; {last}")).unwrap_or_default();
            match attempts {
                0 => next,
                1 => format!("{next}, after 1 attempt{said}"),
                attempts => format!("{next}, after {attempts} attempts{said}"),
            }
        }
    }
}

fn json(letter: &Shown) -> Result<String> {
    serde_json::to_string(letter).context("the letter cannot be written as JSON")
}

async fn count(folder: &FolderArguments, request: Request) -> Result<usize> {
    match ask(folder, request).await? {
        Response::Done { count } => Ok(count),
        _ => bail!("the answer is not about that"),
    }
}

/// What the server says, or the queue itself when no server has it.
async fn ask(folder: &FolderArguments, request: Request) -> Result<Response> {
    let folder = folder.options()?.folder.join(crate::router::FOLDER);
    let (place, question) = (folder.clone(), request.clone());
    let asked = tokio::task::spawn_blocking(move || queue::control::ask(&place, &question)).await?;
    let asked = asked
        .with_context(|| format!("the server that has {} does not answer", folder.display()))?;
    let response = match asked {
        Some(response) => response,
        None => answer_here(&folder, request).await?,
    };
    match response {
        Response::Failed { message } => bail!("{message}"),
        response => Ok(response),
    }
}

async fn answer_here(folder: &Path, request: Request) -> Result<Response> {
    ensure!(
        !matches!(request, Request::Retry { .. }),
        "no server runs on this folder; when it is started, it tries what is due"
    );
    ensure!(
        folder.is_dir(),
        "there is no queue in {}: nothing was ever sent from there",
        folder.display()
    );
    // It makes no reports while nothing is sent.
    let postmaster = "postmaster@localhost".parse().context("an address")?;
    let options = Options::in_folder(folder, "localhost", postmaster);
    let queue = Queue::open(options, Arc::new(SystemClock))?;
    let response = queue.answer(request).await;
    queue.close().await;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is() {
        #[track_caller]
        fn check(progress: ShownProgress, expect: &str) {
            let recipient = ShownRecipient { address: "b@else.test".to_owned(), progress };
            assert_eq!(super::progress(&recipient, 1000), expect);
        }
        let waiting = |attempts, next_unix_s, last: Option<&str>| ShownProgress::Waiting {
            attempts,
            next_unix_s,
            sending: false,
            last: last.map(str::to_owned),
        };
        check(ShownProgress::Delivered, "has it");
        check(ShownProgress::Failed, "refused it");
        check(waiting(0, 0, None), "is next");
        check(waiting(0, 1060, None), "next try in 60 s");
        check(
            waiting(1, 1300, Some("mx: 451 4.7.1 later")),
            "next try in 5 min, after 1 attempt; mx: 451 4.7.1 later",
        );
        check(waiting(7, 15_400, None), "next try in 4 h, after 7 attempts");
    }
}
