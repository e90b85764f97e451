//! The data folder: who holds it, which format it has, where its index lies.

use crate::{Error, Options, Result};
use db::Index;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Raised when an older build could no longer read what this one writes.
const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "lock";
const INDEX_FILE: &str = "index.sqlite";

/// Keeps other processes out while it lives.
pub(crate) struct Lock(
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")] File,
);

/// Makes the folder when it is not there, takes it for this process, and checks its format.
pub(crate) fn open(folder: &Path) -> Result<Lock> {
    let failed = |what, e: &std::io::Error| match e.kind() {
        ErrorKind::StorageFull => Error::DiskFull,
        _ => Error::Io { what, path: folder.to_owned(), reason: e.to_string() },
    };
    make_private(folder).map_err(|e| failed("could not make the data folder", &e))?;
    let lock = take(folder)?;
    let path = folder.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check_format(folder, &text)?,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fs::write(&path, format!("openpoczta {FORMAT}\n"))
                .and_then(|()| File::open(&path)?.sync_all())
                .and_then(|()| File::open(folder)?.sync_all())
                .map_err(|e| failed("could not write the format of the data folder", &e))?;
        }
        Err(e) => return Err(failed("could not read the format of the data folder", &e)),
    }
    Ok(lock)
}

/// Makes a folder that only its owner may look into: it holds people's letters. One that is there stays as
/// its owner made it.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn check_format(folder: &Path, text: &str) -> Result<()> {
    let found = text.trim().strip_prefix("openpoczta ").unwrap_or("unreadable");
    match found.parse::<u32>() {
        Ok(FORMAT) => Ok(()),
        // An empty file is what a crash between making and writing it leaves.
        Err(_) if text.trim().is_empty() => Ok(()),
        _ => {
            let (folder, found) = (folder.to_owned(), found.to_owned());
            Err(Error::Newer { folder, found, known: FORMAT })
        }
    }
}

fn take(folder: &Path) -> Result<Lock> {
    let path = folder.join(LOCK_FILE);
    let failed = |e: &std::io::Error| Error::Io {
        what: "could not lock the data folder with",
        path: path.clone(),
        reason: e.to_string(),
    };
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|e| failed(&e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.read_to_string(&mut pid);
            let known = read.is_ok() && !pid.trim().is_empty();
            let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
            return Err(Error::InUse { folder: folder.to_owned(), pid });
        }
        Err(TryLockError::Error(e)) => return Err(failed(&e)),
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(|e| failed(&e))?;
    Ok(Lock(file))
}

/// Opens the index. One that is damaged or of an older form is thrown away: the log has everything.
pub(crate) fn open_index(options: &Options) -> Result<Arc<dyn Index>> {
    if options.index != "sqlite:" {
        return Ok(db::open(&options.index)?);
    }
    let path = options.folder.join(INDEX_FILE);
    let url = format!("sqlite:{}", path.display());
    match db::open(&url) {
        Err(db::Error::Corrupt(reason)) => {
            tracing::warn!(reason, "the index is damaged; building it again from the log");
            for suffix in ["", "-wal", "-shm"] {
                let file = options.folder.join(format!("{INDEX_FILE}{suffix}"));
                match fs::remove_file(&file) {
                    Err(e) if e.kind() != ErrorKind::NotFound => {
                        let (path, reason) = (file, e.to_string());
                        return Err(Error::Io { what: "could not remove", path, reason });
                    }
                    _ => {}
                }
            }
            Ok(db::open(&url)?)
        }
        opened => Ok(opened?),
    }
}
