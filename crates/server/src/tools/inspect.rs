//! `openpoczta inspect`

use super::bar::Bar;
use super::{FolderArguments, Said, count, grouped, size};
use crate::cli::{print, say};
use anyhow::{Context, Result, anyhow};
use serde_json::json;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use storage::tools::{
    FrameLine, LetterSheet, Overview, inspect_folder, inspect_letter, inspect_segment,
};

#[derive(clap::Args)]
pub(crate) struct InspectArguments {
    /// The number of a segment, as in its file name; without it an overview of all
    #[arg(value_name = "SEGMENT")]
    segment: Option<String>,
    #[command(flatten)]
    folder: FolderArguments,
    /// One letter, by its id
    #[arg(long, value_name = "ID", conflicts_with = "segment")]
    letter: Option<u64>,
    /// The letter itself, byte for byte
    #[arg(long, requires = "letter", conflicts_with = "json")]
    raw: bool,
    /// Show subjects in the table of a segment
    #[arg(long)]
    subjects: bool,
    /// JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &InspectArguments) -> Result<()> {
    let data = arguments.folder.of_folder()?.folder;
    let bar = Bar::new();
    let progress = |doing, done, total| bar.at(doing, done, total);
    if let Some(id) = arguments.letter {
        let sheet = inspect_letter(&data, id, &progress)
            .with_context(|| format!("letter {id} cannot be shown"))?;
        drop(bar);
        return letter(&sheet, arguments);
    }
    if let Some(segment) = &arguments.segment {
        drop(bar);
        return frames(&data, segment, arguments);
    }
    let overview = inspect_folder(&data, &progress)?;
    drop(bar);
    print(&if arguments.json { overview_json(&overview) } else { overview_text(&overview) })?;
    if overview.problems.is_empty() { Ok(()) } else { Err(Said.into()) }
}

fn overview_text(overview: &Overview) -> String {
    let mut text = format!(
        "{:<18}{:>10}  {:<21}{:>10}{:>10}{:>9}{:>11}{:>9}{:>11}\n",
        "segment", "size", "made", "first", "last", "letters", "bytes", "live", "bytes"
    );
    for line in &overview.segments {
        let _ = writeln!(
            text,
            "{:<18}{:>10}  {:<21}{:>10}{:>10}{:>9}{:>11}{:>9}{:>11}",
            format!("{:016x}", line.id),
            size(line.bytes),
            line.created,
            line.first_lsn,
            line.last_lsn,
            grouped(line.letters),
            size(line.letter_bytes),
            grouped(line.live_letters),
            size(line.live_bytes)
        );
    }
    for line in &overview.segments {
        let Some(pack) = &line.pack else { continue };
        let dictionary = match pack.dictionary_bytes {
            0 => "no dictionary".to_owned(),
            bytes => format!("dictionary of {}", size(bytes.into())),
        };
        let _ = writeln!(
            text,
            "{:016x} is packed: {} on disk, written {}, {}, {dictionary}, {} ({}), {} given up ({})",
            line.id,
            size(pack.file_bytes),
            count(pack.generation.into(), "time"),
            count(pack.chunks, "chunk"),
            count(pack.shared_bodies, "shared attachment"),
            size(pack.shared_bytes),
            count(pack.gone_letters, "letter"),
            size(pack.gone_bytes)
        );
    }
    text.push('\n');
    for (key, mailboxes, messages, bytes) in &overview.accounts {
        let (boxes, mail) = (format!("{mailboxes} mailboxes"), count(*messages, "message"));
        let _ = writeln!(text, "{key}: {boxes}, {mail}, {}", size(*bytes));
    }
    for problem in &overview.problems {
        let _ = writeln!(text, "PROBLEM: {problem}; `openpoczta fsck` says more");
    }
    text
}

fn overview_json(overview: &Overview) -> String {
    let segments: Vec<_> = overview
        .segments
        .iter()
        .map(|s| {
            json!({"id": s.id, "bytes": s.bytes, "created": s.created, "firstLsn": s.first_lsn,
                "lastLsn": s.last_lsn, "letters": s.letters, "letterBytes": s.letter_bytes,
                "liveLetters": s.live_letters, "liveBytes": s.live_bytes,
                "pack": s.pack.as_ref().map(|p| json!({"generation": p.generation,
                    "fileBytes": p.file_bytes, "chunks": p.chunks,
                    "dictionaryBytes": p.dictionary_bytes, "goneLetters": p.gone_letters,
                    "goneBytes": p.gone_bytes, "sharedBodies": p.shared_bodies,
                    "sharedBytes": p.shared_bytes}))})
        })
        .collect();
    let accounts: Vec<_> = overview
        .accounts
        .iter()
        .map(|(key, mailboxes, messages, bytes)| {
            json!({"account": key, "mailboxes": mailboxes, "messages": messages, "bytes": bytes})
        })
        .collect();
    let value = json!({"segments": segments, "accounts": accounts, "problems": overview.problems});
    format!("{value}\n")
}

/// A line for each frame; a large segment has many, so they are written as they come.
fn frames(data: &Path, name: &str, arguments: &InspectArguments) -> Result<()> {
    let id = u64::from_str_radix(name.trim_end_matches(".seg"), 16)
        .map_err(|_| anyhow!("{name} is no segment; `openpoczta inspect` lists them"))?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    let mut damaged = false;
    if !arguments.json {
        written = writeln!(out, "{:>10}{:>12}{:>11}  what it says", "change", "at byte", "letter");
    }
    inspect_segment(data, id, |line| {
        damaged |= line.damaged;
        if written.is_ok() {
            let text = if arguments.json {
                frame_json(&line)
            } else {
                frame_text(&line, arguments.subjects)
            };
            written = out.write_all(text.as_bytes());
        }
    })?;
    written.and_then(|()| out.flush()).context("standard output is closed")?;
    if damaged { Err(Said.into()) } else { Ok(()) }
}

fn frame_text(line: &FrameLine, subjects: bool) -> String {
    let letter = line.letter_bytes.map_or_else(String::new, |n| grouped(n.into()));
    let lsn = if line.lsn == 0 { "-".to_owned() } else { line.lsn.to_string() };
    let mark = match (line.damaged, line.gone) {
        (true, _) => "DAMAGED: ",
        (false, true) => "GIVEN UP: ",
        (false, false) => "",
    };
    let subject = match &line.subject {
        Some(subject) if subjects => format!("  \"{subject}\""),
        _ => String::new(),
    };
    format!("{lsn:>10}{:>12}{letter:>11}  {mark}{}{subject}\n", line.offset, line.says.join("; "))
}

fn frame_json(line: &FrameLine) -> String {
    let value = json!({"lsn": line.lsn, "offset": line.offset, "bytes": line.bytes,
        "letterBytes": line.letter_bytes, "subject": line.subject, "says": line.says,
        "gone": line.gone, "damaged": line.damaged});
    format!("{value}\n")
}

fn letter(sheet: &LetterSheet, arguments: &InspectArguments) -> Result<()> {
    let bytes = sheet.bytes.as_ref().map_err(|why| anyhow!("{why}"));
    if arguments.raw {
        let mut out = std::io::stdout().lock();
        return out
            .write_all(bytes?)
            .and_then(|()| out.flush())
            .context("standard output is closed");
    }
    print(&if arguments.json { letter_json(sheet) } else { letter_text(sheet) })?;
    match bytes {
        Ok(_) => Ok(()),
        Err(why) => {
            say(&format!("PROBLEM: {why}"));
            Err(Said.into())
        }
    }
}

fn letter_text(sheet: &LetterSheet) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    put("letter", &sheet.id.to_string());
    put("account", &sheet.account);
    put("from", &sheet.from);
    put("subject", &sheet.subject);
    put("message-id", sheet.message_id.as_deref().unwrap_or("none"));
    put("received", &sheet.received);
    put("thread", &sheet.thread.to_string());
    put("size", &format!("{} bytes", grouped(sheet.size_bytes.into())));
    put("lies in", &format!("segment {:x}, from byte {} on", sheet.segment, sheet.offset));
    for (mailbox, uid, flags, modseq) in &sheet.homes {
        put("mailbox", &format!("{mailbox}, UID {uid}, flags ({flags}), MODSEQ {modseq}"));
    }
    for part in &sheet.parts {
        let indent = "  ".repeat(part.depth as usize);
        let section = if part.section.is_empty() { "-" } else { &part.section };
        let name = part.filename.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let bytes = grouped(part.size_bytes.into());
        put("part", &format!("{indent}{section} {}{name}, {bytes} bytes", part.media_type));
    }
    for defect in &sheet.defects {
        put("defect", defect);
    }
    text
}

fn letter_json(sheet: &LetterSheet) -> String {
    let homes: Vec<_> = sheet
        .homes
        .iter()
        .map(|(mailbox, uid, flags, modseq)| {
            json!({"mailbox": mailbox, "uid": uid, "flags": flags, "modseq": modseq})
        })
        .collect();
    let parts: Vec<_> = sheet
        .parts
        .iter()
        .map(|p| {
            json!({"depth": p.depth, "section": p.section, "type": p.media_type,
                "bytes": p.size_bytes, "filename": p.filename})
        })
        .collect();
    let value = json!({"letter": sheet.id, "account": sheet.account, "from": sheet.from,
        "subject": sheet.subject, "messageId": sheet.message_id, "received": sheet.received,
        "thread": sheet.thread, "bytes": sheet.size_bytes, "segment": sheet.segment,
        "offset": sheet.offset, "homes": homes, "parts": parts, "defects": sheet.defects,
        "damaged": sheet.bytes.is_err()});
    format!("{value}\n")
}
