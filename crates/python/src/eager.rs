//! `extract`: everything most programs want of a letter, in one call.
//!
//! Two ways give the same dict. From bytes that never change, values go straight into Python objects. [`Full`] holds
//! them as Rust has them: for memory that may change, where no slice may be held while objects are made, and for
//! threads that work without the GIL.

use crate::buffer::Source;
use crate::letter::DETACH_BYTES;
use crate::values;
use mparser::{NamedAddress, PartKind, PartView, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::cell::Cell;
use std::ops::Range;

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
        return source.read(py, |raw| Full::of(raw, headers).detached(raw)).into_dict(py, None);
    };
    let view =
        if raw.len() < DETACH_BYTES { View::parse(raw) } else { py.detach(|| View::parse(raw)) };
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
    let dict = PyDict::new(py);
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
        let (media_type, subtype) = part.media_type();
        let kind = values::media_type(py, &media_type, &subtype);
        let content =
            if part.is_text() { text(py, part).into_any() } else { bytes(py, part).into_any() };
        parts.push(number, kind, part.filename(), content)?;
    }
    parts.into_dict(&dict)?;
    Ok(dict)
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
    subject: Option<String>,
    from: Vec<NamedAddress>,
    to: Vec<NamedAddress>,
    cc: Vec<NamedAddress>,
    date: Option<types::Date>,
    message_id: Option<String>,
    headers: Option<Vec<(String, String)>>,
    parts: Vec<FullPart>,
    text_part: Option<usize>,
    html_part: Option<usize>,
}

struct FullPart {
    number: usize,
    media_type: (String, String),
    filename: Option<String>,
    content: Content,
}

/// What a part holds. Content that stands in the letter as it is is not copied.
enum Content {
    Text(String),
    TextAt(Range<usize>),
    Bytes(Vec<u8>),
    BytesAt(Range<usize>),
}

impl Full {
    pub(crate) fn of(raw: &[u8], headers: bool) -> Self {
        let view = View::parse(raw);
        let leaves = view.parts().enumerate().filter(|(_, part)| part.kind() == PartKind::Leaf);
        let pair = |field: mparser::Header<'_>| {
            let name = String::from_utf8_lossy(field.name).into_owned();
            (name, view.header_text(&field).into_owned())
        };
        Self {
            subject: view.has_subject().then(|| view.subject().into_owned()),
            from: view.from(),
            to: view.to(),
            cc: view.cc(),
            date: view.date(),
            message_id: view.message_id().map(std::borrow::Cow::into_owned),
            headers: headers.then(|| {
                view.part(0).into_iter().flat_map(|root| root.headers()).map(pair).collect()
            }),
            parts: leaves.map(|(number, part)| FullPart::of(number, part)).collect(),
            text_part: view.text_part(),
            html_part: view.html_part(),
        }
    }

    /// As a dict; `raw` are the bytes it was made from, when they are at hand and never change.
    pub(crate) fn into_dict<'py>(
        self,
        py: Python<'py>,
        raw: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item(intern!(py, "subject"), self.subject)?;
        dict.set_item(intern!(py, "from"), values::addresses(py, self.from)?)?;
        dict.set_item(intern!(py, "to"), values::addresses(py, self.to)?)?;
        dict.set_item(intern!(py, "cc"), values::addresses(py, self.cc)?)?;
        dict.set_item(intern!(py, "date"), values::datetime(py, self.date)?)?;
        dict.set_item(intern!(py, "message_id"), self.message_id)?;
        if let Some(headers) = self.headers {
            let pairs = PyList::empty(py);
            for (name, value) in headers {
                let name = values::field_name(py, name.as_bytes());
                pairs.append(PyTuple::new(py, [name, PyString::new(py, &value)])?)?;
            }
            dict.set_item(intern!(py, "headers"), pairs)?;
        }
        let mut parts = Parts::new(py, self.text_part, self.html_part);
        for part in self.parts {
            let (media_type, subtype) = part.media_type;
            let kind = values::media_type(py, &media_type, &subtype);
            parts.push(part.number, kind, part.filename, part.content.into_object(py, raw))?;
        }
        parts.into_dict(&dict)?;
        Ok(dict)
    }

    /// The same without places in the letter's bytes, for when they are gone.
    pub(crate) fn detached(mut self, raw: &[u8]) -> Self {
        for part in &mut self.parts {
            part.content.detach(raw);
        }
        self
    }
}

impl FullPart {
    fn of(number: usize, part: PartView<'_, '_>) -> Self {
        let (media_type, subtype) = part.media_type();
        let [_, _, start, end] = part.spans();
        let place = start as usize..end as usize;
        let content = if part.is_text() {
            match part.text() {
                std::borrow::Cow::Borrowed(_) => Content::TextAt(place),
                std::borrow::Cow::Owned(text) => Content::Text(text),
            }
        } else {
            match part.bytes() {
                std::borrow::Cow::Borrowed(_) => Content::BytesAt(place),
                std::borrow::Cow::Owned(bytes) => Content::Bytes(bytes),
            }
        };
        Self {
            number,
            media_type: (media_type.into_owned(), subtype.into_owned()),
            filename: part.filename(),
            content,
        }
    }
}

impl Content {
    fn into_object<'py>(self, py: Python<'py>, raw: Option<&[u8]>) -> Bound<'py, PyAny> {
        let at = |place: Range<usize>| raw.and_then(|raw| raw.get(place)).unwrap_or_default();
        match self {
            Self::Text(text) => PyString::new(py, &text).into_any(),
            Self::TextAt(place) => {
                PyString::new(py, &String::from_utf8_lossy(at(place))).into_any()
            }
            Self::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
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
            Self::Text(_) | Self::Bytes(_) => {}
        }
    }
}
