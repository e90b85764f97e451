//! Letters decoded before anybody asks, as `parse_many(full=True)` gives them: threads decode every value without the
//! GIL, and a Python object is made of one when it is read. Nothing is decoded then.
//!
//! A value that stands in the letter as it is, such as a plain ASCII text, is not copied: its place is kept, and the
//! letter keeps its bytes. When Python lets a letter go, its values go back to the threads that made them (see
//! [`Home`]): to free memory costs most where other threads got it, and fresh memory costs more than decoding into it.

use crate::buffer::Source;
use crate::eager::{self, Parts};
use crate::values::{self, MediaType};
use mparser::{NamedAddress, Outline, PartKind, PartView, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The values of a letter. `raw` of its methods are the bytes they were read from, as far as these never change.
pub(crate) struct Values {
    outline: Outline,
    subject: Option<Piece>,
    from: Vec<NamedAddress>,
    to: Vec<NamedAddress>,
    cc: Vec<NamedAddress>,
    date: Option<types::Date>,
    message_id: Option<Piece>,
    /// In the order of their numbers.
    leaves: Vec<Leaf>,
    text_part: Option<usize>,
    html_part: Option<usize>,
}

/// A part without parts of its own.
pub(crate) struct Leaf {
    number: usize,
    media_type: MediaType,
    filename: Option<String>,
    content: Content,
}

/// What a part holds.
enum Content {
    /// As UTF-8.
    Text(Vec<u8>),
    TextAt(Range<usize>),
    Bytes(Vec<u8>),
    BytesAt(Range<usize>),
}

/// A text, or where it stands in the letter as it is.
enum Piece {
    At(Range<usize>),
    Owned(String),
}

impl Values {
    /// Decodes all of a letter, into buffers of `spare` as long as there are some.
    pub(crate) fn of(raw: &[u8], spare: &mut Vec<Vec<u8>>) -> Self {
        let view = View::parse_tree(raw);
        let leaves = view.parts().enumerate().filter(|(_, part)| part.kind() == PartKind::Leaf);
        Self {
            subject: view.has_subject().then(|| Piece::of(raw, view.subject())),
            from: view.from(),
            to: view.to(),
            cc: view.cc(),
            date: view.date(),
            message_id: view.message_id().map(|id| Piece::of(raw, id)),
            leaves: leaves.map(|(number, part)| Leaf::of(number, part, spare)).collect(),
            text_part: view.text_part(),
            html_part: view.html_part(),
            outline: view.into_outline(),
        }
    }

    /// The same of bytes that may change: nothing is left to read in them.
    pub(crate) fn of_changing(source: &Source, py: Python<'_>) -> Self {
        source.read(py, |raw| {
            let mut values = Self::of(raw, &mut Vec::new());
            let pieces = values.subject.iter_mut().chain(values.message_id.iter_mut());
            pieces.for_each(|piece| piece.detach(raw));
            values.leaves.iter_mut().for_each(|leaf| leaf.content.detach(raw));
            values
        })
    }

    pub(crate) fn outline(&self) -> &Outline {
        &self.outline
    }

    pub(crate) fn subject<'py>(&self, py: Python<'py>, raw: Raw<'_>) -> OptionalText<'py> {
        self.subject.as_ref().map(|piece| piece.object(py, raw))
    }

    pub(crate) fn message_id<'py>(&self, py: Python<'py>, raw: Raw<'_>) -> OptionalText<'py> {
        self.message_id.as_ref().map(|piece| piece.object(py, raw))
    }

    pub(crate) fn from(&self) -> &[NamedAddress] {
        &self.from
    }

    pub(crate) fn to(&self) -> &[NamedAddress] {
        &self.to
    }

    pub(crate) fn cc(&self) -> &[NamedAddress] {
        &self.cc
    }

    pub(crate) fn date(&self) -> Option<types::Date> {
        self.date
    }

    pub(crate) fn text_part(&self) -> Option<usize> {
        self.text_part
    }

    pub(crate) fn html_part(&self) -> Option<usize> {
        self.html_part
    }

    /// The part of this number, when it is a leaf.
    pub(crate) fn leaf(&self, number: usize) -> Option<&Leaf> {
        let place = self.leaves.binary_search_by_key(&number, |leaf| leaf.number).ok()?;
        self.leaves.get(place)
    }

    /// As `extract()` gives it.
    pub(crate) fn dict<'py>(&self, py: Python<'py>, raw: Raw<'_>) -> PyResult<Bound<'py, PyDict>> {
        let dict = eager::all_keys(py)?;
        dict.set_item(intern!(py, "subject"), self.subject(py, raw))?;
        dict.set_item(intern!(py, "from"), values::addresses_of(py, &self.from)?)?;
        dict.set_item(intern!(py, "to"), values::addresses_of(py, &self.to)?)?;
        dict.set_item(intern!(py, "cc"), values::addresses_of(py, &self.cc)?)?;
        dict.set_item(intern!(py, "date"), values::datetime(py, self.date)?)?;
        dict.set_item(intern!(py, "message_id"), self.message_id(py, raw))?;
        let mut parts = Parts::new(py, self.text_part, self.html_part);
        for leaf in &self.leaves {
            let (kind, content) = (leaf.media_type.object(py), leaf.content.object(py, raw));
            parts.push(leaf.number, kind, leaf.filename(), content)?;
        }
        parts.into_dict(&dict)?;
        Ok(dict)
    }
}

/// Bytes that never change, when the letter lies in such.
pub(crate) type Raw<'a> = Option<&'a [u8]>;

type OptionalText<'py> = Option<Bound<'py, PyString>>;

impl Leaf {
    fn of(number: usize, part: PartView<'_, '_>, spare: &mut Vec<Vec<u8>>) -> Self {
        let body = part.body();
        let [_, _, start, end] = part.spans();
        let place = start as usize..end as usize;
        let mut buffer = fitting(spare, body.len());
        let content = if part.is_text() {
            match part.text_in(&mut buffer) {
                Cow::Owned(text) => Content::Text(text.into_bytes()),
                Cow::Borrowed(text) if std::ptr::eq(text.as_bytes(), body) => {
                    Content::TextAt(place)
                }
                Cow::Borrowed(_) => Content::Text(std::mem::take(&mut buffer)),
            }
        } else if std::ptr::eq(part.bytes_in(&mut buffer), body) {
            Content::BytesAt(place)
        } else {
            Content::Bytes(std::mem::take(&mut buffer))
        };
        if is_spare(&buffer) {
            spare.push(buffer);
        }
        Self { number, media_type: MediaType::of(part), filename: part.filename(), content }
    }

    pub(crate) fn filename(&self) -> Option<&str> {
        self.filename.as_deref()
    }

    /// Its text; `None` for a part that is no text.
    pub(crate) fn text<'py>(&self, py: Python<'py>, raw: Raw<'_>) -> OptionalText<'py> {
        match &self.content {
            Content::Text(bytes) => Some(utf8(py, bytes)),
            Content::TextAt(place) => Some(utf8(py, at(raw, place))),
            Content::Bytes(_) | Content::BytesAt(_) => None,
        }
    }

    /// Its bytes; `None` for text, which is kept as characters.
    pub(crate) fn bytes<'a>(&'a self, raw: Raw<'a>) -> Option<&'a [u8]> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::BytesAt(place) => Some(at(raw, place)),
            Content::Text(_) | Content::TextAt(_) => None,
        }
    }
}

impl Content {
    fn object<'py>(&self, py: Python<'py>, raw: Raw<'_>) -> Bound<'py, PyAny> {
        match self {
            Self::Text(bytes) => utf8(py, bytes).into_any(),
            Self::TextAt(place) => utf8(py, at(raw, place)).into_any(),
            Self::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
            Self::BytesAt(place) => PyBytes::new(py, at(raw, place)).into_any(),
        }
    }

    fn detach(&mut self, raw: &[u8]) {
        match self {
            Self::TextAt(place) => *self = Self::Text(at(Some(raw), place).to_vec()),
            Self::BytesAt(place) => *self = Self::Bytes(at(Some(raw), place).to_vec()),
            Self::Text(_) | Self::Bytes(_) => {}
        }
    }

    fn buffer(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Text(buffer) | Self::Bytes(buffer) => Some(buffer),
            Self::TextAt(_) | Self::BytesAt(_) => None,
        }
    }
}

impl Piece {
    fn of(raw: &[u8], text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => {
                let start = text.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
                let place = start..start.saturating_add(text.len());
                let same = |there: &[u8]| std::ptr::eq(there, text.as_bytes());
                if raw.get(place.clone()).is_some_and(same) {
                    return Self::At(place);
                }
                Self::Owned(text.to_owned())
            }
            Cow::Owned(text) => Self::Owned(text),
        }
    }

    fn object<'py>(&self, py: Python<'py>, raw: Raw<'_>) -> Bound<'py, PyString> {
        match self {
            Self::At(place) => utf8(py, at(raw, place)),
            Self::Owned(text) => PyString::new(py, text),
        }
    }

    fn detach(&mut self, raw: &[u8]) {
        if let Self::At(place) = self {
            *self = Self::Owned(String::from_utf8_lossy(at(Some(raw), place)).into_owned());
        }
    }
}

fn at<'a>(raw: Raw<'a>, place: &Range<usize>) -> &'a [u8] {
    raw.and_then(|raw| raw.get(place.clone())).unwrap_or_default()
}

/// Bytes that were found to be UTF-8.
fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::from_bytes(py, bytes)
        .unwrap_or_else(|_| PyString::new(py, &String::from_utf8_lossy(bytes)))
}

/// The values of a letter, as long as Python has it.
pub(crate) struct Decoded {
    /// Always there, but for the moment in which it is dropped.
    made: Option<Made>,
    home: Arc<Home>,
}

/// Values, and what [`Home`] wants to know of them: to look that up in memory that another thread wrote takes as long as
/// all else it does.
pub(crate) struct Made {
    values: Box<Values>,
    buffer_bytes: usize,
    thread: usize,
}

impl Made {
    /// In the thread that calls.
    pub(crate) fn new(values: Values) -> Self {
        let buffers = values.leaves.iter().filter_map(|leaf| leaf.content.buffer());
        let buffer_bytes = buffers.map(Vec::capacity).sum();
        Self { values: Box::new(values), buffer_bytes, thread: this_thread() }
    }
}

impl Deref for Decoded {
    type Target = Values;

    fn deref(&self) -> &Values {
        &self.made.as_ref().expect("there until it is dropped").values
    }
}

impl Decoded {
    pub(crate) fn new(made: Made, home: &Arc<Home>) -> Self {
        Self { made: Some(made), home: Arc::clone(home) }
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        // With nobody left who decodes, nobody takes anything back.
        if Arc::strong_count(&self.home) > 1
            && let Some(made) = self.made.take()
        {
            self.home.take_back(made);
        }
    }
}

/// Where the values of letters go when Python lets these go, and whence threads get buffers. Each thread gets back what it
/// made: two that free each other's memory wait for each other more than they work.
pub(crate) struct Home(Mutex<Vec<Shelf>>);

/// What came back for a thread.
#[derive(Default)]
struct Shelf {
    thread: usize,
    letters: Vec<Made>,
    letters_bytes: usize,
    buffers: Vec<Vec<u8>>,
}

/// Buffers from one `parse_many` to the next.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Smaller bodies get their memory where everybody does.
const SPARE_FROM_BYTES: usize = 4 * 1024;
/// Larger buffers are not kept, and not more than so many, nor more bytes of them all.
const SPARE_TO_BYTES: usize = 2 << 20;
const SPARE_BUFFERS: usize = 64;
/// Lengths of buffers, so that bodies of about the same length find one.
const SPARE_STEP_BYTES: usize = 16 * 1024;
const SPARE_BYTES: usize = 4 << 20;
/// Letters that wait to be taken back by a thread, and bytes of their buffers; more are dropped on the spot.
const RETURNED_LETTERS: usize = 256;
const RETURNED_BYTES: usize = 4 << 20;

fn is_spare(buffer: &Vec<u8>) -> bool {
    (SPARE_FROM_BYTES..=SPARE_TO_BYTES).contains(&buffer.capacity())
}

/// The smallest buffer that is large enough; to let a small one grow would copy what is in it.
fn fitting(spare: &mut Vec<Vec<u8>>, body_bytes: usize) -> Vec<u8> {
    if body_bytes < SPARE_FROM_BYTES {
        return Vec::new();
    }
    let large = spare.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= body_bytes);
    let found = large.min_by_key(|(_, buffer)| buffer.capacity()).map(|(place, _)| place);
    match found {
        Some(place) => spare.swap_remove(place),
        // Nothing decoded is longer than its body, so that it fits the next body of this length, too.
        None => Vec::with_capacity(body_bytes.next_multiple_of(SPARE_STEP_BYTES)),
    }
}

/// Not more than we keep.
fn limit(buffers: &mut Vec<Vec<u8>>) {
    let mut bytes = 0;
    buffers.truncate(SPARE_BUFFERS);
    buffers.retain(|buffer| {
        bytes += buffer.capacity();
        bytes <= SPARE_BYTES
    });
}

/// A number no other living thread has.
fn this_thread() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    PLACE.with(|place| std::ptr::from_ref(place).addr())
}

fn kept() -> MutexGuard<'static, Vec<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Home {
    fn default() -> Self {
        let buffers = std::mem::take(&mut *kept());
        Self(Mutex::new(vec![Shelf { thread: this_thread(), buffers, ..Shelf::default() }]))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let shelves = std::mem::take(&mut *self.lock());
        let mut buffers: Vec<Vec<u8>> = shelves.into_iter().flat_map(Shelf::into_buffers).collect();
        limit(&mut buffers);
        *kept() = buffers;
    }
}

impl Home {
    /// Held for moments: whoever finds it locked sleeps, which takes longer than to decode some letters.
    fn lock(&self) -> MutexGuard<'_, Vec<Shelf>> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_back(&self, made: Made) {
        let mut shelves = self.lock();
        let shelf = of_thread(&mut shelves, made.thread);
        let all = shelf.letters_bytes.saturating_add(made.buffer_bytes);
        if shelf.letters.len() < RETURNED_LETTERS && all <= RETURNED_BYTES {
            shelf.letters_bytes = all;
            shelf.letters.push(made);
        }
    }

    /// Buffers for so many letters, those of as many that came back; what else these have is freed.
    pub(crate) fn spare(&self, letters: usize) -> Vec<Vec<u8>> {
        let mut shelves = self.lock();
        let shelf = of_thread(&mut shelves, this_thread());
        let from = shelf.letters.len().saturating_sub(letters);
        let letters = shelf.letters.split_off(from);
        let letters_bytes = letters.iter().map(|made| made.buffer_bytes).sum();
        shelf.letters_bytes = shelf.letters_bytes.saturating_sub(letters_bytes);
        let buffers = std::mem::take(&mut shelf.buffers);
        drop(shelves);
        Shelf { letters, buffers, ..Shelf::default() }.into_buffers()
    }

    /// What is left of them.
    pub(crate) fn give_back(&self, mut buffers: Vec<Vec<u8>>) {
        limit(&mut buffers);
        of_thread(&mut self.lock(), this_thread()).buffers = buffers;
    }
}

fn of_thread(shelves: &mut Vec<Shelf>, thread: usize) -> &mut Shelf {
    let place = shelves.iter().position(|shelf| shelf.thread == thread).unwrap_or(shelves.len());
    if place == shelves.len() {
        shelves.push(Shelf { thread, ..Shelf::default() });
    }
    #[expect(clippy::indexing_slicing, reason = "found, or made just now")]
    &mut shelves[place]
}

impl Shelf {
    fn into_buffers(self) -> Vec<Vec<u8>> {
        let mut buffers = self.buffers;
        for leaf in self.letters.into_iter().flat_map(|made| made.values.leaves) {
            if let Content::Text(buffer) | Content::Bytes(buffer) = leaf.content
                && is_spare(&buffer)
            {
                buffers.push(buffer);
            }
        }
        buffers
    }
}
