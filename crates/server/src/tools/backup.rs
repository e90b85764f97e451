//! `openpoczta backup` and `openpoczta restore`

use super::bar::Bar;
use super::{FolderArguments, Said, account_key, count, grouped, size};
use crate::cli::{print, say};
use anyhow::{Context, Result, anyhow};
use std::path::PathBuf;
use storage::tools::{backup, restore};
use types::{Date, SystemClock};

#[derive(clap::Args)]
pub(crate) struct BackupArguments {
    /// The folder of the backup; made when it is not there. The same folder each time: only what is new is copied
    target: PathBuf,
    #[command(flatten)]
    folder: FolderArguments,
}

#[derive(clap::Args)]
pub(crate) struct RestoreArguments {
    /// The folder that `openpoczta backup` wrote
    backup: PathBuf,
    /// The new data folder, empty or not there yet
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only this account
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    /// As it was at this time, in UTC or with its offset: 2026-11-22, "2026-11-22 14:05", 2026-11-22T14:05:00+01:00
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
}

pub(crate) fn run_backup(arguments: &BackupArguments) -> Result<()> {
    let data = arguments.folder.of_folder()?.folder;
    let bar = Bar::new();
    let progress = |doing, done, total| bar.at(doing, done, total);
    let backed = backup(&data, &arguments.target, &SystemClock, &progress)
        .context("no backup was made; what an earlier one has is as it was")?;
    drop(bar);
    print(&format!(
        "{}: {} copied ({}), {} there already, up to change {}, {}\n",
        arguments.target.display(),
        count(backed.copied_segments, "segment"),
        size(backed.copied_bytes),
        grouped(backed.kept_segments),
        grouped(backed.last_lsn),
        backed.taken
    ))?;
    problems(
        &backed.problems,
        "The rest is in the backup. `openpoczta fsck` says what is wrong with the store",
    )
}

pub(crate) fn run_restore(arguments: &RestoreArguments) -> Result<()> {
    let account = arguments.account.as_deref().map(account_key).transpose()?;
    let bar = Bar::new();
    let progress = |doing, done, total| bar.at(doing, done, total);
    let restored =
        restore(&arguments.backup, &arguments.data, account.as_deref(), arguments.until, &progress)
            .with_context(|| {
                format!("nothing that can be used was restored to {}", arguments.data.display())
            })?;
    drop(bar);
    print(&format!(
        "{}: {}, {}, up to {} (backup of {}). Start the server on it: the index is built then\n",
        arguments.data.display(),
        count(restored.letters, "letter"),
        count(restored.changes, "change"),
        restored.up_to,
        restored.taken
    ))?;
    problems(
        &restored.problems,
        "All that can be read is restored. `openpoczta fsck --repair` makes it a store that opens",
    )
}

fn problems(problems: &[String], rest: &str) -> Result<()> {
    for problem in problems {
        say(&format!("PROBLEM: {problem}"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    say(rest);
    Err(Said.into())
}

/// `2026-11-22`, with a time, with seconds, with `Z` or an offset (RFC 3339 §5.6).
fn time(text: &str) -> Result<i64> {
    parse_time(text.trim()).ok_or_else(|| {
        anyhow!("write it as 2026-11-22T14:05:00Z, 2026-11-22T14:05:00+01:00 or \"2026-11-22 14:05\" (UTC)")
    })
}

fn parse_time(text: &str) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let (mut numbers, rest) = (day.split('-'), rest.trim_start_matches(['T', 't', ' ']));
    let (clock, offset_minutes) = match rest.rfind(['+', '-', 'Z', 'z']) {
        None => (rest, 0),
        Some(at) => {
            let (clock, zone) = rest.split_at(at);
            (clock.trim_end(), offset(zone)?)
        }
    };
    let mut clock = clock.split(':').filter(|part| !part.is_empty());
    // A day alone is its end: what came on that day is in.
    let (hour, minute, second) = match clock.next() {
        None => (23, 59, 59),
        Some(hour) => (
            hour.parse().ok()?,
            clock.next()?.parse().ok()?,
            clock.next().map_or(Some(0), |second| second.split('.').next()?.parse().ok())?,
        ),
    };
    let date = Date {
        year: numbers.next()?.parse().ok()?,
        month: numbers.next()?.parse().ok()?,
        day: numbers.next()?.parse().ok()?,
        hour,
        minute,
        second,
        offset_minutes,
    };
    date.is_valid().then(|| date.to_unix_s())
}

fn offset(zone: &str) -> Option<i16> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i16>().ok()? * 60 + minutes.parse::<i16>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        #[track_caller]
        fn check(text: &str, expect: Option<&str>) {
            let found = parse_time(text).map(|s| Date::from_unix_s(s).rfc3339());
            assert_eq!(found.as_deref(), expect, "{text}");
        }
        check("2026-11-22T18:00:00Z", Some("2026-11-22T18:00:00Z"));
        check("2026-11-22T18:00:00.5Z", Some("2026-11-22T18:00:00Z"));
        check("2026-11-22T18:00:00+01:00", Some("2026-11-22T17:00:00Z"));
        check("2026-11-22 18:00 -03:30", Some("2026-11-22T21:30:00Z"));
        check("2026-11-22 18:00", Some("2026-11-22T18:00:00Z"));
        check("2026-11-22", Some("2026-11-22T23:59:59Z"));
        for bad in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "2026-11-22 25:00",
            "22.11.2026",
            "2026-11-22T18Z",
        ] {
            check(bad, None);
        }
    }
}
