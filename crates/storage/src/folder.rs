//! The data folder: who holds it, which format it has, where its index lies.

use crate::log::blob_hash;
use crate::{Error, Options, Result};
use db::Index;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Raised when an older build could no longer read what this one writes. 2: ops for quotas and a cut change log.
const FORMAT: u32 = 2;
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "lock";
const INDEX_FILE: &str = "index.sqlite";

/// A kind of file in `log/`: how it begins, and how many bytes its hash is of, which follows them.
struct FileKind {
    magic: [u8; 4],
    known: u32,
    hashed: usize,
    what: &'static str,
}

/// What `docs/format/` describes.
const FILE_KINDS: [FileKind; 2] = [
    FileKind { magic: *b"OPSG", known: 1, hashed: 64, what: "segment" },
    FileKind { magic: *b"OPPK", known: 1, hashed: 48, what: "pack" },
];

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
    make_durable(folder).map_err(|e| failed("could not make the data folder", &e))?;
    // First of all, and before the lock says who is here: what a newer version wrote is left as it is.
    check_newer(folder)?;
    let lock = take(folder)?;
    if format_of(folder)? != Some(FORMAT) {
        write_format(folder)
            .map_err(|e| failed("could not write the format of the data folder", &e))?;
    }
    Ok(lock)
}

/// Under another name first: a crash leaves the old file or the new one.
fn write_format(folder: &Path) -> std::io::Result<()> {
    let new = folder.join(format!("{FORMAT_FILE}.new"));
    let mut file = File::create(&new)?;
    file.write_all(format!("openpoczta {FORMAT}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, folder.join(FORMAT_FILE))?;
    File::open(folder)?.sync_all()
}

/// Makes a folder that only its owner may look into: it holds people's letters. One that is there stays as
/// its owner made it.
pub(crate) fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The same, and its name survives a power cut, as do those of folders above that were missing too.
fn make_durable(folder: &Path) -> std::io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|above| !above.exists()).collect();
    make_private(folder)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        match File::open(above.unwrap_or(Path::new("."))).and_then(|above| above.sync_all()) {
            // A folder that may be written but not read cannot be synced by us; its owner wants it so.
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Looks at versions without changing anything.
fn check_newer(folder: &Path) -> Result<()> {
    format_of(folder)?;
    db::check_format(&format!("sqlite:{}", folder.join(INDEX_FILE).display()))?;
    let Ok(files) = fs::read_dir(folder.join("log")) else { return Ok(()) };
    for file in files.flatten() {
        let mut header = [0; 128];
        let read = File::open(file.path()).and_then(|mut file| file.read_exact(&mut header));
        if read.is_ok()
            && let Some((what, found)) = newer_file(&header)
        {
            let found = format!("{found} of {what} {}", file.file_name().to_string_lossy());
            return Err(Error::Newer { folder: folder.to_owned(), found, known: FORMAT });
        }
    }
    Ok(())
}

/// What it is and its version, of a whole header that this build does not know. One that is damaged is for the
/// log to judge.
fn newer_file(header: &[u8; 128]) -> Option<(&'static str, u32)> {
    let kind = FILE_KINDS.iter().find(|kind| header.starts_with(&kind.magic))?;
    let found = u32::from_le_bytes(*header.get(4..)?.first_chunk()?);
    let (hashed, rest) = header.split_at_checked(kind.hashed)?;
    let whole = blob_hash(hashed) == *rest.first_chunk::<16>()?;
    (whole && found > kind.known).then_some((kind.what, found))
}

/// The version in the file FORMAT; `None`: there is none yet. Refuses a newer one.
fn format_of(folder: &Path) -> Result<Option<u32>> {
    let path = folder.join(FORMAT_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            let reason = e.to_string();
            return Err(Error::Io { what: "could not read the format in", path, reason });
        }
    };
    // Empty: what a crash left of the first builds, which wrote it in place.
    if text.trim().is_empty() {
        return Ok(None);
    }
    let found = text.trim().strip_prefix("openpoczta ").unwrap_or("unreadable");
    if let Ok(known @ 1..=FORMAT) = found.parse::<u32>() {
        return Ok(Some(known));
    }
    let (folder, found) = (folder.to_owned(), found.to_owned());
    Err(Error::Newer { folder, found, known: FORMAT })
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
