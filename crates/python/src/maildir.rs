//! Letters out of a Maildir: one file each in `new/` and `cur/`, flags behind `:2,` in the name.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of the letters, those in `new/` first, each folder sorted by name; `None` when this is no Maildir.
pub(crate) fn files(folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let mut all = Vec::new();
    let mut is_maildir = false;
    for name in ["new", "cur"] {
        let entries = match fs::read_dir(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        is_maildir = true;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !hidden && !entry.file_type()?.is_dir() {
                files.push(entry.path());
            }
        }
        files.sort();
        all.extend(files);
    }
    Ok(is_maildir.then_some(all))
}

/// A letter and its flags; `None` when it was deleted since the folder was listed.
pub(crate) fn read(path: &Path) -> io::Result<Option<(Vec<u8>, String)>> {
    let found = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match moved(path)? {
            Some(path) => (fs::read(&path)?, flags(&path)),
            None => return Ok(None),
        },
        bytes => (bytes?, flags(path)),
    };
    Ok(Some(found))
}

/// Another program may have given the letter other flags: then its name goes on differently behind the `:`.
fn moved(path: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(name), Some(folder)) = (path.file_name(), path.parent().and_then(Path::parent))
    else {
        return Ok(None);
    };
    for entry in fs::read_dir(folder.join("cur"))? {
        let entry = entry?;
        if unique(&entry.file_name()) == unique(name) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// What stands before the `:`.
fn unique(name: &OsStr) -> &[u8] {
    let bytes = name.as_encoded_bytes();
    bytes.split(|b| *b == b':').next().unwrap_or(bytes)
}

/// The letters behind `:2,`, as they stand there.
fn flags(path: &Path) -> String {
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    name.rsplit_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default()
}
