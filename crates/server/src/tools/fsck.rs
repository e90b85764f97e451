//! `openpoczta fsck`

use super::bar::Bar;
use super::{FolderArguments, Said, count, grouped, size};
use crate::cli::print;
use anyhow::Result;
use serde_json::json;
use std::fmt::Write as _;
use storage::tools::{Report, Severity, fsck};
use types::SystemClock;

#[derive(clap::Args)]
pub(crate) struct FsckArguments {
    #[command(flatten)]
    folder: FolderArguments,
    /// Put right what can be put right; the server must be stopped
    #[arg(long)]
    repair: bool,
    /// One JSON object, for programs
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &FsckArguments) -> Result<()> {
    let options = arguments.folder.of_folder()?;
    let bar = Bar::new();
    let progress = |doing, done, total| bar.at(doing, done, total);
    let report = fsck(&options, arguments.repair, &SystemClock, &progress)?;
    drop(bar);
    print(&if arguments.json { as_json(&report) } else { as_text(&report, arguments.repair) })?;
    if report.is_fine() { Ok(()) } else { Err(Said.into()) }
}

fn as_text(report: &Report, repair: bool) -> String {
    let mut text = String::new();
    let mut put = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    if let Some(pid) = &report.server_pid {
        put(format!("A server, process {pid}, has the folder: checking what is written so far."));
    }
    // Findings of one kind share what they mean and what to do.
    let mut rest: Vec<_> = report.findings.iter().collect();
    while let Some(first) = rest.first().copied() {
        let word = if first.severity == Severity::Problem { "PROBLEM" } else { "note" };
        put(format!("{word} ({})", first.code));
        for finding in rest.iter().filter(|f| f.code == first.code) {
            put(format!("  {}", finding.what));
        }
        put(format!("  It means: {}.", first.means));
        if !repair || first.severity == Severity::Note {
            put(format!("  To do: {}.", first.todo));
        }
        rest.retain(|f| f.code != first.code);
    }
    put(format!(
        "Read {} in {}: {}, {} ({}), {}, the last change is {}.",
        size(report.log_bytes),
        count(report.segments, "segment"),
        count(report.frames, "change"),
        count(report.letters, "letter"),
        size(report.letter_bytes),
        count(report.accounts, "account"),
        grouped(report.last_lsn)
    ));
    put(format!(
        "Letters in mailboxes: {}. Deleted: {}, of which {} take no room any more.",
        size(report.live_bytes),
        size(report.dead_bytes),
        size(report.given_up_bytes)
    ));
    if report.packs > 0 {
        put(format!(
            "Packed: {}, {} as {} on disk, shared attachments aside.",
            count(report.packs, "segment"),
            size(report.packed_bytes),
            size(report.pack_file_bytes)
        ));
    }
    if report.compared {
        put("The index was compared with the log row by row.".to_owned());
    }
    for line in &report.repaired {
        put(format!("repaired: {line}"));
    }
    let problems = report.problems().count() as u64;
    put(match (problems, report.repaired.is_empty()) {
        (0, _) => "Everything is fine.".to_owned(),
        (n, true) => format!("{} found.", count(n, "problem")),
        (n, false) => format!(
            "{} found, see what was repaired above. Run fsck once more to be sure.",
            count(n, "problem")
        ),
    });
    text
}

fn as_json(report: &Report) -> String {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|f| {
            let severity = if f.severity == Severity::Problem { "problem" } else { "note" };
            json!({"code": f.code, "severity": severity, "what": f.what, "means": f.means, "todo": f.todo})
        })
        .collect();
    let value = json!({
        "fine": report.is_fine(), "findings": findings, "repaired": report.repaired,
        "serverPid": report.server_pid, "segments": report.segments, "logBytes": report.log_bytes,
        "changes": report.frames, "letters": report.letters, "letterBytes": report.letter_bytes,
        "liveBytes": report.live_bytes, "deadBytes": report.dead_bytes,
        "givenUpBytes": report.given_up_bytes, "packs": report.packs,
        "packedBytes": report.packed_bytes, "packFileBytes": report.pack_file_bytes,
        "lastLsn": report.last_lsn, "accounts": report.accounts, "indexCompared": report.compared,
    });
    format!("{value}\n")
}
