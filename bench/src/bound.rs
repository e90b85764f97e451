//! What the disk allows: the bytes of the letters appended to one file and synced, and nothing else.
//!
//! One writer appends and syncs by itself. More of them hand their letter to a committer, which takes what
//! is waiting, appends it with one write, syncs once and answers everybody: the server's way without a
//! protocol, a parser, a filter or an index.

use crate::letters::Pool;
use crate::load::{Done, Load};
use anyhow::{Context as _, Result};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// One commit takes at most so much.
const BATCH_LETTERS: usize = 256;
const BATCH_BYTES: usize = 16 << 20;

/// Appends for as long as `load` says, with that many writers.
pub(crate) fn run(load: &Load, pool: &Pool, folder: &Path) -> Result<Done> {
    let path = folder.join("bound.log");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let done = if load.connections == 1 {
        load.run(|_| {
            let mut file = file.try_clone()?;
            Ok(move |number| append(&mut file, &pool.letter(number, "u0000@example.test")))
        })
    } else {
        grouped(load, pool, file)
    };
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    done
}

/// A letter and the one who waits for it.
type Waiting = (Vec<u8>, Sender<bool>);

fn grouped(load: &Load, pool: &Pool, file: File) -> Result<Done> {
    let (queue, waiting) = channel::<Waiting>();
    std::thread::scope(|scope| {
        scope.spawn(move || commit(&waiting, file));
        // The committer ends when the last writer has dropped its end of the queue.
        let queue = queue;
        load.run(|_| {
            let queue = queue.clone();
            let (answer, durable) = channel();
            Ok(move |number| {
                let letter = pool.letter(number, "u0000@example.test");
                queue.send((letter, answer.clone())).context("the committer has gone")?;
                let done = durable.recv().context("the committer has gone")?;
                anyhow::ensure!(done, "the bound could not be written: is the disk full?");
                Ok(())
            })
        })
    })
}

fn commit(waiting: &Receiver<Waiting>, mut file: File) {
    let mut bytes = Vec::new();
    let mut callers = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut next = Some(first);
        while let Some((letter, caller)) = next {
            bytes.extend_from_slice(&letter);
            callers.push(caller);
            let room = callers.len() < BATCH_LETTERS && bytes.len() < BATCH_BYTES;
            next = if room { waiting.try_recv().ok() } else { None };
        }
        let done = append(&mut file, &bytes).is_ok();
        bytes.clear();
        for caller in callers.drain(..) {
            // A writer that has failed waits no more.
            caller.send(done).unwrap_or_default();
        }
    }
}

fn append(file: &mut File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes).context("cannot append")?;
    file.sync_data().context("cannot sync")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn letters_are_appended_by_one_and_by_many() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::new(5000, 1);
        for connections in [1, 8] {
            let load = Load { connections, time: Duration::from_millis(100) };
            let done = run(&load, &pool, folder.path()).unwrap();
            assert!(done.count > 0 && done.seconds >= 0.1, "{connections}: {done:?}");
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "it cleans up");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let load = Load { connections: 1, time: Duration::from_millis(1) };
        let error = run(&load, &Pool::new(5000, 1), Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/bound.log"), "{error}");
    }
}
