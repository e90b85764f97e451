//! The few things the log asks of a disk, behind a trait so that tests can make them fail.

use rustix::fs::statvfs;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file that only grows. One thread appends and cuts; another may sync meanwhile.
pub(crate) trait AppendFile: Send + Sync {
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    /// All bytes appended before the call survive a power cut once this returns.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `length` bytes and syncs that.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

pub(crate) trait Disk: Send + Sync {
    /// Makes a new file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Opens a file to append at its end.
    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;
    /// Gives a file another name, in place of one of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    /// Makes a folder that only its owner may look into, if there is none; its name is durable when the folder
    /// above was synced.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        crate::folder::make_private(folder)
    }
    /// Makes names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that can still be written there.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let disk = statvfs(folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

impl AppendFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file: &Self = self;
        file.write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.sync_all()
    }
}
