//! Why letters were taken for what they were: the last verdicts, for `openpoczta spam explain ID`.
//!
//! Lines of JSON in two files of a folder; when the newer one is full it becomes the older one. Nobody waits for it, and
//! after a power cut the last ones may be missing.

use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Of each of the two files; some 60,000 verdicts.
const FILE_BYTES: u64 = 32 * 1024 * 1024;
/// Verdicts that wait for the disk; more are not noted.
const WAITING: usize = 10_000;
/// A line that is longer is damaged.
const LINE_BYTES: usize = 64 * 1024;
const NEWER: &str = "history.jsonl";
const OLDER: &str = "history.old.jsonl";

/// A verdict, as people read it later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The one in `Received`, in the log, and in the answer to the client.
    pub id: String,
    pub at_unix_s: i64,
    pub client: String,
    pub sender: String,
    /// `accept`, `junk`, `refuse`, `later`.
    pub action: String,
    pub score: f32,
    pub required: f32,
    /// What the filter learned says, from 0 to 1; `None`: it has learned nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    pub symbols: Vec<Reason>,
    /// Words that spoke for spam (above zero) and against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<(String, f32)>,
}

/// A rule that hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub symbol: String,
    pub points: f32,
    pub says: String,
}

/// Writes verdicts down.
#[derive(Debug)]
pub struct History(SyncSender<Judged>);

impl History {
    /// Makes the folder, and a thread that ends with this value.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut pen = Pen::open(folder)?;
        let (sender, waiting) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("spam-history".to_owned());
        thread.spawn(move || pen.run(&waiting))?;
        Ok(Self(sender))
    }

    pub fn note(&self, judged: Judged) {
        if self.0.try_send(judged).is_err() {
            tracing::debug!("a verdict is not in the history: the disk is slower than mail comes");
        }
    }
}

/// The newest verdict with this id, of a letter with several recipients' answers the last one.
pub fn look_up(folder: &Path, id: &str) -> io::Result<Option<Judged>> {
    for name in [NEWER, OLDER] {
        let file = match File::open(folder.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mut found = None;
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        while io::Read::take(&mut lines, LINE_BYTES as u64).read_until(b'\n', &mut line)? > 0 {
            // A quick look first: most lines are about others.
            if memchr::memmem::find(&line, id.as_bytes()).is_some()
                && let Ok(judged) = serde_json::from_slice::<Judged>(&line)
                && judged.id == id
            {
                found = Some(judged);
            }
            line.clear();
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

struct Pen {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Pen {
    fn open(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(folder.join(NEWER))?;
        let bytes = file.metadata()?.len();
        Ok(Self { folder: folder.to_owned(), file, bytes })
    }

    fn run(&mut self, waiting: &Receiver<Judged>) {
        while let Ok(judged) = waiting.recv() {
            let mut lines = Vec::new();
            for judged in std::iter::once(judged).chain(waiting.try_iter().take(WAITING)) {
                if serde_json::to_writer(&mut lines, &judged).is_ok() {
                    lines.push(b'\n');
                }
            }
            if let Err(error) = self.write(&lines) {
                tracing::warn!(%error, "verdicts cannot be noted for `openpoczta spam explain`");
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.bytes >= FILE_BYTES {
            fs::rename(self.folder.join(NEWER), self.folder.join(OLDER))?;
            *self = Self::open(&self.folder)?;
        }
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(id: &str, score: f32) -> Judged {
        Judged {
            id: id.to_owned(),
            at_unix_s: 1_795_370_400,
            client: "192.0.2.7".to_owned(),
            sender: "ala@else.test".to_owned(),
            action: "junk".to_owned(),
            score,
            required: 6.0,
            probability: Some(0.98),
            symbols: vec![Reason {
                symbol: "TEST_JUNK".to_owned(),
                points: 6.0,
                says: "The letter has the test string.".to_owned(),
            }],
            words: vec![("cheap".to_owned(), 2.5)],
        }
    }

    fn written(folder: &Path) -> impl Fn(&str) -> Option<Judged> + '_ {
        move |id| {
            for _ in 0..200 {
                if let Some(found) = look_up(folder, id).unwrap() {
                    return Some(found);
                }
                std::thread::park_timeout(std::time::Duration::from_millis(10));
            }
            None
        }
    }

    #[test]
    fn verdicts_are_found_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        let find = written(folder.path());
        history.note(judged("4K7Q", 6.0));
        history.note(judged("4K7R", 7.0));
        assert_eq!(find("4K7R"), Some(judged("4K7R", 7.0)));
        assert_eq!(find("4K7Q"), Some(judged("4K7Q", 6.0)));
        assert_eq!(look_up(folder.path(), "4K7").unwrap(), None, "half an id is none");
        fs::write(folder.path().join(OLDER), "{\"id\":\"4K7\"\nnot JSON 4K7\n").unwrap();
        assert_eq!(look_up(folder.path(), "4K7").unwrap(), None);
    }

    #[test]
    fn a_full_file_becomes_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut pen = Pen::open(folder.path()).unwrap();
        let line = |id: &str| {
            let mut line = serde_json::to_vec(&judged(id, 1.0)).unwrap();
            line.push(b'\n');
            line
        };
        pen.write(&line("A1")).unwrap();
        pen.bytes = FILE_BYTES;
        pen.write(&line("B2")).unwrap();
        assert!(look_up(folder.path(), "A1").unwrap().is_some());
        assert!(look_up(folder.path(), "B2").unwrap().is_some());
        pen.bytes = FILE_BYTES;
        pen.write(&line("C3")).unwrap();
        assert!(look_up(folder.path(), "A1").unwrap().is_none(), "two files, no more");
    }
}
