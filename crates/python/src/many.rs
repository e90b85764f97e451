//! `parse_many`: letters out of a list, an mbox or a Maildir, read by several threads, given out in order.
//!
//! Threads scan, and with `full=True` decode, without the GIL; the thread that iterates makes one Python object for each
//! letter, and reads letters itself whenever the next one is not ready. A letter that lies in memory that may change (see
//! `buffer`) is read by that thread alone.

use crate::buffer::Source;
use crate::decoded::{Decoded, Home, Made, Values};
use crate::letter::{Known, Message};
use crate::maildir;
use crate::mbox::{self, MboxFile};
use crate::pool::Pool;
use mparser::{Outline, View};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyIterator, PyMemoryView, PyString};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Letters handed over at once, and about how many bytes: enough that handing over costs nothing beside reading.
const BATCH_LETTERS: usize = 32;
const BATCH_BYTES: usize = 128 * 1024;
/// Of a list, each thread gets so many batches at least: at the end all wait for the last one.
const BATCHES_OF_A_LIST: usize = 16;
/// Fewer letters are not worth handing over.
const BATCH_LETTERS_LEAST: usize = 8;
/// Batches for each thread that are read ahead: enough that none runs out of work while the one that iterates reads a
/// letter of some megabytes. With the size of a batch this is what bounds memory.
const BATCHES_AHEAD: usize = 16;
/// More threads than this are surely a mistake.
const THREADS: usize = 1024;

/// Letters one after the other, as an iterator of Message objects.
#[pyclass(module = "libop.mparser")]
pub(crate) struct ParseMany {
    feed: Option<Feed>,
    pool: Pool<Batch, Vec<io::Result<Ready>>>,
    ready: VecDeque<io::Result<Ready>>,
    /// Letters that only the thread with the GIL may read, in order.
    later: VecDeque<Source>,
    /// What ended the feed; raised behind the letters before it.
    failed: Option<PyErr>,
    batches: u64,
    how: How,
}

/// Where letters come from.
enum Feed {
    /// `failed` is raised behind the letters taken before it.
    Items {
        iterator: Py<PyIterator>,
        batch_letters: usize,
        taken: usize,
        failed: Option<PyErr>,
    },
    MboxFile(MboxFile),
    MboxBytes {
        bytes: Arc<PyBackedBytes>,
        at: usize,
    },
    MboxBuffer {
        source: Source,
        at: usize,
    },
    Maildir(std::vec::IntoIter<PathBuf>),
}

/// Letters for one thread, and how they are wanted.
struct Batch {
    letters: Letters,
    how: How,
}

#[derive(Clone)]
struct How {
    full: bool,
    home: Arc<Home>,
}

enum Letters {
    Items(Vec<Item>),
    Mbox(Vec<u8>),
    MboxPart(Arc<PyBackedBytes>, Range<usize>),
    Files(Vec<PathBuf>),
}

enum Item {
    Bytes(PyBackedBytes),
    /// The next one of `ParseMany::later`.
    Later,
}

/// A letter that was read, before it is a Python object.
enum Ready {
    Whole { bytes: PyBackedBytes, read: What },
    Part { bytes: Arc<PyBackedBytes>, range: Range<usize>, read: What },
    Owned { bytes: Vec<u8>, read: What, flags: Option<String> },
    Later,
    Gone,
}

enum What {
    Outline(Outline),
    Values(Made),
}

/// Buffers for what is decoded.
type Buffers = Vec<Vec<u8>>;

/// Read many letters, with several threads: an iterator in the order of the source.
#[pyfunction]
#[pyo3(signature = (source, *, threads=None, full=false))]
pub(crate) fn parse_many(
    source: &Bound<'_, PyAny>,
    threads: Option<usize>,
    full: bool,
) -> PyResult<ParseMany> {
    let threads = match threads {
        None => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        Some(threads @ 1..=THREADS) => threads,
        Some(_) => {
            let text = format!("parse_many() argument 'threads' must lie between 1 and {THREADS}");
            return Err(PyValueError::new_err(text));
        }
    };
    Ok(ParseMany {
        feed: Some(Feed::of(source, threads)?),
        pool: Pool::new(threads, Batch::read),
        ready: VecDeque::new(),
        later: VecDeque::new(),
        failed: None,
        batches: if threads == 1 { 1 } else { (threads * BATCHES_AHEAD) as u64 },
        how: How { full, home: Arc::default() },
    })
}

impl Feed {
    fn of(source: &Bound<'_, PyAny>, threads: usize) -> PyResult<Self> {
        if source.is_instance_of::<PyString>()
            || source.hasattr(intern!(source.py(), "__fspath__"))?
        {
            return Self::of_path(&source.extract::<PathBuf>()?);
        }
        if let Ok(bytes) = source.cast::<PyBytes>() {
            return Ok(Self::MboxBytes { bytes: Arc::new(bytes.clone().into()), at: 0 });
        }
        if PyMemoryView::from(source).is_ok() {
            return Ok(Self::MboxBuffer {
                source: Source::of(source, "parse_many", "source")?,
                at: 0,
            });
        }
        let Ok(iterator) = source.try_iter() else {
            let kind = source.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "parse_many() argument 'source' must be an iterable of bytes-like objects, a path, or an mbox in \
                 memory, not {kind}"
            )));
        };
        let share = source.len().map_or(BATCH_LETTERS, |all| all / (threads * BATCHES_OF_A_LIST));
        let batch_letters = share.clamp(BATCH_LETTERS_LEAST, BATCH_LETTERS);
        Ok(Self::Items { iterator: iterator.unbind(), batch_letters, taken: 0, failed: None })
    }

    fn of_path(path: &Path) -> PyResult<Self> {
        if !path.is_dir() {
            return Ok(Self::MboxFile(MboxFile::open(path)?));
        }
        match maildir::files(path)? {
            Some(files) => Ok(Self::Maildir(files.into_iter())),
            None => Err(PyValueError::new_err(format!(
                "parse_many() argument 'source': the folder {} is no Maildir, it has neither new nor cur",
                path.display()
            ))),
        }
    }

    /// The next letters; those only the GIL's holder may read go to `later`.
    fn next(&mut self, py: Python<'_>, later: &mut VecDeque<Source>) -> PyResult<Option<Letters>> {
        match self {
            Self::Items { iterator, batch_letters, taken, failed } => {
                if let Some(error) = failed.take() {
                    return Err(error);
                }
                let items = next_items(iterator.bind(py), *batch_letters, taken, later, failed);
                match failed.take_if(|_| items.is_empty()) {
                    Some(error) => Err(error),
                    None => Ok((!items.is_empty()).then_some(Letters::Items(items))),
                }
            }
            Self::MboxFile(file) => Ok(py.detach(|| file.next_piece())?.map(Letters::Mbox)),
            Self::MboxBytes { bytes, at } => {
                let start = *at;
                *at += mbox::piece_end(bytes.get(start..).unwrap_or_default());
                Ok((*at > start).then(|| Letters::MboxPart(Arc::clone(bytes), start..*at)))
            }
            Self::MboxBuffer { source, at } => {
                // A copy, so that other threads may read it.
                let piece = source.read(py, |raw| {
                    let rest = raw.get(*at..).unwrap_or_default();
                    rest.get(..mbox::piece_end(rest)).unwrap_or_default().to_vec()
                });
                *at += piece.len();
                Ok((!piece.is_empty()).then_some(Letters::Mbox(piece)))
            }
            Self::Maildir(files) => {
                let some: Vec<PathBuf> = files.by_ref().take(BATCH_LETTERS).collect();
                Ok((!some.is_empty()).then_some(Letters::Files(some)))
            }
        }
    }
}

fn next_items(
    iterator: &Bound<'_, PyIterator>,
    batch_letters: usize,
    taken: &mut usize,
    later: &mut VecDeque<Source>,
    failed: &mut Option<PyErr>,
) -> Vec<Item> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    let mut iterator = iterator.clone();
    while items.len() < batch_letters && bytes < BATCH_BYTES {
        let Some(item) = iterator.next() else {
            break;
        };
        match item.and_then(|item| next_item(&item, *taken, later)) {
            Ok((item, length)) => {
                items.push(item);
                bytes += length;
                *taken += 1;
            }
            Err(error) => {
                *failed = Some(error);
                break;
            }
        }
    }
    items
}

fn next_item(
    item: &Bound<'_, PyAny>,
    number: usize,
    later: &mut VecDeque<Source>,
) -> PyResult<(Item, usize)> {
    if let Ok(letter) = item.cast::<PyBytes>() {
        let length = letter.as_bytes().len();
        return Ok((Item::Bytes(letter.clone().into()), length));
    }
    let source = Source::of(item, "parse_many", &format!("source[{number}]"))?;
    let length = source.len();
    later.push_back(source);
    Ok((Item::Later, length))
}

impl Batch {
    /// In any thread, without the GIL.
    fn read(self) -> Vec<io::Result<Ready>> {
        let how = self.how;
        let mut spare =
            if how.full { how.home.spare(self.letters.count()) } else { Buffers::new() };
        let ready = self.letters.read(&how, &mut spare);
        if how.full {
            how.home.give_back(spare);
        }
        ready
    }
}

impl Letters {
    /// About so many.
    fn count(&self) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Files(files) => files.len(),
            Self::Mbox(_) | Self::MboxPart(..) => BATCH_LETTERS,
        }
    }

    fn read(self, how: &How, spare: &mut Buffers) -> Vec<io::Result<Ready>> {
        match self {
            Self::Items(items) => items.into_iter().map(|item| Ok(item.read(how, spare))).collect(),
            Self::Mbox(text) => {
                let letter = |range: Range<usize>| {
                    let raw = text.get(range).unwrap_or_default();
                    let bytes = mbox::unquoted(raw).unwrap_or_else(|| raw.to_vec());
                    Ok(how.owned(bytes, None, spare))
                };
                mbox::letters(&text).into_iter().map(letter).collect()
            }
            Self::MboxPart(bytes, part) => {
                let shift = part.start;
                let text = bytes.get(part).unwrap_or_default();
                let letter = |range: Range<usize>| {
                    let raw = text.get(range.clone()).unwrap_or_default();
                    if let Some(letter) = mbox::unquoted(raw) {
                        return Ok(how.owned(letter, None, spare));
                    }
                    let range = range.start + shift..range.end + shift;
                    let (read, bytes) = (how.read(raw, spare), Arc::clone(&bytes));
                    Ok(Ready::Part { bytes, range, read })
                };
                mbox::letters(text).into_iter().map(letter).collect()
            }
            Self::Files(paths) => {
                let letter = |path: PathBuf| {
                    Ok(match maildir::read(&path)? {
                        Some((bytes, flags)) => how.owned(bytes, Some(flags), spare),
                        None => Ready::Gone,
                    })
                };
                paths.into_iter().map(letter).collect()
            }
        }
    }
}

impl Item {
    fn read(self, how: &How, spare: &mut Buffers) -> Ready {
        match self {
            Self::Bytes(bytes) => Ready::Whole { read: how.read(&bytes, spare), bytes },
            Self::Later => Ready::Later,
        }
    }
}

impl How {
    fn read(&self, raw: &[u8], spare: &mut Buffers) -> What {
        if self.full {
            What::Values(Made::new(Values::of(raw, spare)))
        } else {
            What::Outline(View::parse_tree(raw).into_outline())
        }
    }

    fn owned(&self, bytes: Vec<u8>, flags: Option<String>, spare: &mut Buffers) -> Ready {
        Ready::Owned { read: self.read(&bytes, spare), bytes, flags }
    }

    fn known(&self, read: What) -> Known {
        match read {
            What::Outline(outline) => Known::Outline(outline),
            What::Values(made) => Known::Values(Decoded::new(made, &self.home)),
        }
    }

    /// A letter in memory that may change.
    fn read_later(&self, py: Python<'_>, source: &Source) -> What {
        if self.full {
            What::Values(Made::new(Values::of_changing(source, py)))
        } else {
            What::Outline(source.read(py, |raw| View::parse_tree(raw).into_outline()))
        }
    }
}

#[pymethods]
impl ParseMany {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<Message>>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                match self.object(py, ready?)? {
                    Some(object) => return Ok(Some(object)),
                    None => continue,
                }
            }
            self.fill(py);
            match py.detach(|| self.pool.fetch()) {
                Some(batch) => self.ready = batch.into(),
                // The feed is at its end, or broken.
                None => return self.failed.take().map_or(Ok(None), Err),
            }
        }
    }

    fn __repr__(&self) -> String {
        format!("<libop.mparser.ParseMany, {} read ahead>", self.ready.len())
    }
}

impl ParseMany {
    /// Gives the threads work before they run out of it, as long as there is some and not too much is read ahead.
    fn fill(&mut self, py: Python<'_>) {
        if self.feed.is_none() || !self.pool.is_hungry() {
            return;
        }
        let mut pieces = Vec::new();
        while let Some(feed) = &mut self.feed
            && self.pool.pending() + (pieces.len() as u64) < self.batches
        {
            match feed.next(py, &mut self.later) {
                Ok(Some(letters)) => pieces.push(Batch { letters, how: self.how.clone() }),
                Ok(None) => self.feed = None,
                Err(error) => {
                    self.failed = Some(error);
                    self.feed = None;
                }
            }
        }
        if !pieces.is_empty() {
            self.pool.push(pieces);
        }
    }

    /// `None` for a letter that is gone.
    fn object(&mut self, py: Python<'_>, ready: Ready) -> PyResult<Option<Py<Message>>> {
        let (source, read, flags) = match ready {
            Ready::Gone => return Ok(None),
            Ready::Whole { bytes, read } => {
                (Source::of_bytes(bytes.into_pyobject(py)?), read, None)
            }
            Ready::Part { bytes, range, read } => {
                let owner = (&*bytes).into_pyobject(py)?.unbind();
                (Source::Bytes { owner, range }, read, None)
            }
            Ready::Owned { bytes, read, flags } => (Source::of_file(bytes), read, flags),
            Ready::Later => {
                let Some(source) = self.later.pop_front() else {
                    return Ok(None);
                };
                let read = self.how.read_later(py, &source);
                (source, read, None)
            }
        };
        Py::new(py, Message::new(source, self.how.known(read), flags)).map(Some)
    }
}
