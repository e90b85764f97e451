//! `cargo xtask bench mime`: mparser beside other parsers, interleaved in one process, one thread, medians.
//!
//! ```text
//! mimebench pack-portal FILE [COUNT]
//! mimebench pack-folders FILE FOLDER…          every file in the folders, by name
//! mimebench pack-fixtures FILE LIST            the files named in LIST, see fixtures.rs
//! mimebench run ROUNDS FILE…                   the tables, and the bars at the end
//! ```
//! A pack is repeat(length as 4 bytes little endian, letter). Tasks: `full` reads subject, from, date and id, and
//! decodes every leaf, text to UTF-8, with its name; `headers` the four fields alone; `structure` type, name and
//! (mparser alone) lines of each part; `index` the stored form of each letter read back and walked.

mod fixtures;
mod ours;
mod portal;
mod rivals;
mod table;

use std::io::{self, Write as _};
use std::path::Path;

/// Seed of the portal pack: figures from different seeds are not the same letters.
const PORTAL_SEED: u64 = 1;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["pack-portal", file, rest @ ..] => {
            let count = rest.first().and_then(|n| n.parse().ok()).unwrap_or(600);
            save(file, &portal::letters(count, PORTAL_SEED))
        }
        ["pack-folders", file, folders @ ..] => save(file, &read_folders(folders)?),
        ["pack-fixtures", file, list] => save(file, &fixtures::letters(list)?),
        ["run", rounds, files @ ..] if !files.is_empty() => {
            let rounds = rounds.parse().map_err(io::Error::other)?;
            let mut tables = Vec::new();
            for file in files {
                let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
                tables.push(table::measure(&name, &load(file)?, rounds));
            }
            table::print(&tables);
            Ok(())
        }
        ["profile", task, times, file] => {
            let times: usize = times.parse().map_err(io::Error::other)?;
            table::profile(task, times, &load(file)?);
            Ok(())
        }
        _ => Err(io::Error::other("see the head of bench/mime/src/main.rs")),
    }
}

fn read_folders(folders: &[&str]) -> io::Result<Vec<Vec<u8>>> {
    let mut letters = Vec::new();
    for folder in folders {
        let entries: io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
        let mut paths: Vec<_> = entries?.into_iter().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|e| e == "txt" || e == "eml"));
        paths.sort();
        for path in paths {
            letters.push(std::fs::read(path)?);
        }
    }
    Ok(letters)
}

fn save(file: &str, letters: &[Vec<u8>]) -> io::Result<()> {
    let mut out = io::BufWriter::new(std::fs::File::create(file)?);
    for letter in letters {
        let length = u32::try_from(letter.len()).map_err(io::Error::other)?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(letter)?;
    }
    let bytes: usize = letters.iter().map(Vec::len).sum();
    println!("{file}: {} letters, {bytes} bytes", letters.len());
    out.flush()
}

fn load(file: &str) -> io::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(file)?;
    let (mut letters, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (letter, after) =
            after.split_at_checked(length).ok_or_else(|| io::Error::other("a pack cut off"))?;
        letters.push(letter.to_vec());
        rest = after;
    }
    Ok(letters)
}
