//! `extract`: everything most programs want of a letter, in one call.
//!
//! Two ways give the same dict. From bytes that never change, values go straight into Python objects. [`Full`] holds
//! them as Rust has them: for memory that may change, where no slice may be held while objects are made, and for
//! threads that work without the GIL.

use crate::buffer::Source;
use crate::letter::DETACH_BYTES;
use crate::values::{self, MediaType};
use mparser::{NamedAddress, PartKind, PartView, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Read a whole letter at once: a dict of plain objects, every part without parts of its own decoded.
#[pyfunction]
#[pyo3(signature = (data, /, *, headers=false))]
pub(crate) fn extract<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    headers: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let source = Source::of(data, "extract", "data")?;
    let Some(raw) = source.shared(py) else {
        let spare = Spare::default();
        let full = source.read(py, |raw| Full::of(raw, headers, &spare).detached(raw));
        return full.into_dict(py, None, &spare);
    };
    let view = if raw.len() < DETACH_BYTES {
        View::parse_tree(raw)
    } else {
        py.detach(|| View::parse_tree(raw))
    };
    dict(py, &view, headers)
}

thread_local! {
    /// Memory for what is decoded, from part to part.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A thread keeps no more than this for the next part.
const SCRATCH_BYTES: usize = 4 << 20;

fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SCRATCH.take();
    let result = work(&mut buffer);
    if buffer.capacity() <= SCRATCH_BYTES {
        SCRATCH.set(buffer);
    }
    result
}

/// A part's content, out of bytes that never change.
pub(crate) fn bytes<'py>(py: Python<'py>, part: PartView<'_, '_>) -> Bound<'py, PyBytes> {
    with_scratch(|buffer| {
        if part.body().len() < DETACH_BYTES {
            PyBytes::new(py, part.bytes_in(buffer))
        } else {
            let content = py.detach(|| part.bytes_in(buffer));
            PyBytes::new(py, content)
        }
    })
}

/// The same as text.
pub(crate) fn text<'py>(py: Python<'py>, part: PartView<'_, '_>) -> Bound<'py, PyString> {
    with_scratch(|buffer| {
        if part.body().len() < DETACH_BYTES {
            PyString::new(py, &part.text_in(buffer))
        } else {
            let text = py.detach(|| part.text_in(buffer));
            PyString::new(py, &text)
        }
    })
}

/// Out of bytes that never change.
fn dict<'py>(py: Python<'py>, view: &View<'_>, headers: bool) -> PyResult<Bound<'py, PyDict>> {
    let subject = view.has_subject().then(|| PyString::new(py, &view.subject()));
    let dict = all_keys(py)?;
    dict.set_item(intern!(py, "subject"), subject)?;
    dict.set_item(intern!(py, "from"), values::addresses(py, view.from())?)?;
    dict.set_item(intern!(py, "to"), values::addresses(py, view.to())?)?;
    dict.set_item(intern!(py, "cc"), values::addresses(py, view.cc())?)?;
    dict.set_item(intern!(py, "date"), values::datetime(py, view.date())?)?;
    let id = view.message_id().map(|id| PyString::new(py, &id));
    dict.set_item(intern!(py, "message_id"), id)?;
    if headers {
        let pairs = PyList::empty(py);
        for field in view.part(0).into_iter().flat_map(|root| root.headers()) {
            let name = values::field_name(py, field.name);
            pairs
                .append(PyTuple::new(py, [name, PyString::new(py, &view.header_text(&field))])?)?;
        }
        dict.set_item(intern!(py, "headers"), pairs)?;
    }
    let mut parts = Parts::new(py, view.text_part(), view.html_part());
    for (number, part) in view.parts().enumerate().filter(|(_, p)| p.kind() == PartKind::Leaf) {
        let kind = MediaType::of(part).object(py);
        let content =
            if part.is_text() { text(py, part).into_any() } else { bytes(py, part).into_any() };
        parts.push(number, kind, part.filename(), content)?;
    }
    parts.into_dict(&dict)?;
    Ok(dict)
}

/// A dict with all keys and no values: it need not grow when the values come, which is half of what filling one takes.
fn all_keys(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    static KEYS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let keys = KEYS.get_or_try_init(py, || {
        let dict = PyDict::new(py);
        let keys = ["subject", "from", "to", "cc", "date", "message_id", "text", "html", "parts"];
        for key in keys {
            dict.set_item(PyString::intern(py, key), py.None())?;
        }
        PyResult::Ok(dict.unbind())
    })?;
    keys.bind(py).copy()
}

/// The list of parts, and which of them are shown.
struct Parts<'py> {
    list: Bound<'py, PyList>,
    text_part: Option<usize>,
    html_part: Option<usize>,
    text: Option<Bound<'py, PyAny>>,
    html: Option<Bound<'py, PyAny>>,
}

impl<'py> Parts<'py> {
    fn new(py: Python<'py>, text_part: Option<usize>, html_part: Option<usize>) -> Self {
        Self { list: PyList::empty(py), text_part, html_part, text: None, html: None }
    }

    fn push(
        &mut self,
        number: usize,
        kind: Bound<'py, PyString>,
        filename: Option<String>,
        content: Bound<'py, PyAny>,
    ) -> PyResult<()> {
        if self.text_part == Some(number) {
            self.text = Some(content.clone());
        } else if self.html_part == Some(number) {
            self.html = Some(content.clone());
        }
        let py = self.list.py();
        let filename = match filename {
            Some(name) => PyString::new(py, &name).into_any(),
            None => py.None().into_bound(py),
        };
        self.list.append(PyTuple::new(py, [kind.into_any(), filename, content])?)
    }

    fn into_dict(self, dict: &Bound<'py, PyDict>) -> PyResult<()> {
        let py = dict.py();
        dict.set_item(intern!(py, "text"), self.text)?;
        dict.set_item(intern!(py, "html"), self.html)?;
        dict.set_item(intern!(py, "parts"), self.list)
    }
}

/// A letter read to the end, without Python.
pub(crate) struct Full {
    subject: Option<Piece>,
    from: Vec<NamedAddress>,
    to: Vec<NamedAddress>,
    cc: Vec<NamedAddress>,
    date: Option<types::Date>,
    message_id: Option<Piece>,
    headers: Option<Vec<(Piece, Piece)>>,
    parts: Vec<FullPart>,
    text_part: Option<usize>,
    html_part: Option<usize>,
}

struct FullPart {
    number: usize,
    media_type: MediaType,
    filename: Option<String>,
    content: Content,
}

/// What a part holds. Content that stands in the letter as it is is not copied.
enum Content {
    Text(String),
    /// As UTF-8.
    TextIn(Vec<u8>),
    TextAt(Range<usize>),
    Bytes(Vec<u8>),
    BytesAt(Range<usize>),
}

/// Buffers for decoded content that go back and forth between threads: fresh memory costs more than decoding into it.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<u8>>>);

/// Smaller bodies get their memory where everybody does.
const SPARE_FROM_BYTES: usize = 4 * 1024;
/// Larger buffers are not kept, and not more than so many.
const SPARE_TO_BYTES: usize = 1 << 20;
const SPARE_BUFFERS: usize = 64;

impl Spare {
    fn take(&self, body_bytes: usize) -> Vec<u8> {
        if body_bytes < SPARE_FROM_BYTES {
            return Vec::new();
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        if (SPARE_FROM_BYTES..=SPARE_TO_BYTES).contains(&buffer.capacity()) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() < SPARE_BUFFERS {
                all.push(buffer);
            }
        }
    }
}

impl Full {
    pub(crate) fn of(raw: &[u8], headers: bool, spare: &Spare) -> Self {
        let view = View::parse_tree(raw);
        let leaves = view.parts().enumerate().filter(|(_, part)| part.kind() == PartKind::Leaf);
        let pair = |field: mparser::Header<'_>| {
            let name = String::from_utf8_lossy(field.name);
            (Piece::of(raw, name), Piece::of(raw, view.header_text(&field)))
        };
        Self {
            subject: view.has_subject().then(|| Piece::of(raw, view.subject())),
            from: view.from(),
            to: view.to(),
            cc: view.cc(),
            date: view.date(),
            message_id: view.message_id().map(|id| Piece::of(raw, id)),
            headers: headers.then(|| {
                view.part(0).into_iter().flat_map(|root| root.headers()).map(pair).collect()
            }),
            parts: leaves.map(|(number, part)| FullPart::of(number, part, spare)).collect(),
            text_part: view.text_part(),
            html_part: view.html_part(),
        }
    }

    /// As a dict; `raw` are the bytes it was made from, when they are at hand and never change.
    pub(crate) fn into_dict<'py>(
        self,
        py: Python<'py>,
        raw: Option<&[u8]>,
        spare: &Spare,
    ) -> PyResult<Bound<'py, PyDict>> {
        let dict = all_keys(py)?;
        let piece = |piece: Piece| piece.into_object(py, raw);
        dict.set_item(intern!(py, "subject"), self.subject.map(piece))?;
        dict.set_item(intern!(py, "from"), values::addresses(py, self.from)?)?;
        dict.set_item(intern!(py, "to"), values::addresses(py, self.to)?)?;
        dict.set_item(intern!(py, "cc"), values::addresses(py, self.cc)?)?;
        dict.set_item(intern!(py, "date"), values::datetime(py, self.date)?)?;
        dict.set_item(intern!(py, "message_id"), self.message_id.map(piece))?;
        if let Some(headers) = self.headers {
            let pairs = PyList::empty(py);
            for (name, value) in headers {
                let name = values::field_name(py, name.bytes(raw));
                pairs.append(PyTuple::new(py, [name, piece(value)])?)?;
            }
            dict.set_item(intern!(py, "headers"), pairs)?;
        }
        let mut parts = Parts::new(py, self.text_part, self.html_part);
        for part in self.parts {
            let kind = part.media_type.object(py);
            let content = part.content.into_object(py, raw, spare);
            parts.push(part.number, kind, part.filename, content)?;
        }
        parts.into_dict(&dict)?;
        Ok(dict)
    }

    /// The same without places in the letter's bytes, for when they are gone.
    pub(crate) fn detached(mut self, raw: &[u8]) -> Self {
        let mut pieces: Vec<&mut Piece> =
            self.subject.iter_mut().chain(self.message_id.iter_mut()).collect();
        for (name, value) in self.headers.iter_mut().flatten() {
            pieces.extend([name, value]);
        }
        self.parts.iter_mut().for_each(|part| part.content.detach(raw));
        for piece in pieces {
            piece.detach(raw);
        }
        self
    }
}

/// A text, or where it stands in the letter as it is: nothing is allocated for that.
enum Piece {
    At(Range<usize>),
    Owned(Box<str>),
}

impl Piece {
    fn of(raw: &[u8], text: Cow<'_, str>) -> Self {
        let start = text.as_ptr().addr().wrapping_sub(raw.as_ptr().addr());
        match text {
            Cow::Borrowed(text) => {
                let range = start..start.saturating_add(text.len());
                let same = |there: &[u8]| std::ptr::eq(there, text.as_bytes());
                if raw.get(range.clone()).is_some_and(same) {
                    return Self::At(range);
                }
                Self::Owned(text.into())
            }
            Cow::Owned(text) => Self::Owned(text.into()),
        }
    }

    fn bytes<'a>(&'a self, raw: Option<&'a [u8]>) -> &'a [u8] {
        match self {
            Self::At(range) => raw.and_then(|raw| raw.get(range.clone())).unwrap_or_default(),
            Self::Owned(text) => text.as_bytes(),
        }
    }

    fn text<'a>(&'a self, raw: Option<&'a [u8]>) -> &'a str {
        str::from_utf8(self.bytes(raw)).unwrap_or_default()
    }

    fn into_object<'py>(self, py: Python<'py>, raw: Option<&[u8]>) -> Bound<'py, PyString> {
        utf8(py, self.bytes(raw))
    }

    fn detach(&mut self, raw: &[u8]) {
        if let Self::At(_) = self {
            *self = Self::Owned(self.text(Some(raw)).into());
        }
    }
}

impl FullPart {
    fn of(number: usize, part: PartView<'_, '_>, spare: &Spare) -> Self {
        let body = part.body();
        let [_, _, start, end] = part.spans();
        let place = start as usize..end as usize;
        let mut buffer = spare.take(body.len());
        let content = if part.is_text() {
            match part.text_in(&mut buffer) {
                Cow::Owned(text) => {
                    spare.give(buffer);
                    Content::Text(text)
                }
                Cow::Borrowed(text) if std::ptr::eq(text.as_bytes(), body) => {
                    spare.give(buffer);
                    Content::TextAt(place)
                }
                Cow::Borrowed(_) => Content::TextIn(buffer),
            }
        } else if std::ptr::eq(part.bytes_in(&mut buffer), body) {
            spare.give(buffer);
            Content::BytesAt(place)
        } else {
            Content::Bytes(buffer)
        };
        Self { number, media_type: MediaType::of(part), filename: part.filename(), content }
    }
}

impl Content {
    fn into_object<'py>(
        self,
        py: Python<'py>,
        raw: Option<&[u8]>,
        spare: &Spare,
    ) -> Bound<'py, PyAny> {
        let at = |place: Range<usize>| raw.and_then(|raw| raw.get(place)).unwrap_or_default();
        match self {
            Self::Text(text) => PyString::new(py, &text).into_any(),
            Self::TextIn(bytes) => {
                let text = utf8(py, &bytes).into_any();
                spare.give(bytes);
                text
            }
            Self::TextAt(place) => utf8(py, at(place)).into_any(),
            Self::Bytes(bytes) => {
                let object = PyBytes::new(py, &bytes).into_any();
                spare.give(bytes);
                object
            }
            Self::BytesAt(place) => PyBytes::new(py, at(place)).into_any(),
        }
    }

    fn detach(&mut self, raw: &[u8]) {
        match self {
            Self::TextAt(place) => {
                let text = raw.get(place.clone()).unwrap_or_default();
                *self = Self::Text(String::from_utf8_lossy(text).into_owned());
            }
            Self::BytesAt(place) => {
                *self = Self::Bytes(raw.get(place.clone()).unwrap_or_default().to_vec());
            }
            Self::Text(_) | Self::TextIn(_) | Self::Bytes(_) => {}
        }
    }
}

/// Bytes that were found to be UTF-8.
fn utf8<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::from_bytes(py, bytes)
        .unwrap_or_else(|_| PyString::new(py, &String::from_utf8_lossy(bytes)))
}
