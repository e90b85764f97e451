//! `extract`: everything most programs want of a letter, in one call.
//!
//! Values go straight from bytes that never change into Python objects; of memory that may change a copy is read,
//! because to make objects may run Python code.

use crate::buffer::Source;
use crate::letter::DETACH_BYTES;
use crate::values::{self, MediaType};
use mparser::{PartKind, PartView, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::cell::Cell;

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
        let copy = source.to_bytes(py);
        return dict(py, &View::parse_tree(copy.as_bytes()), headers);
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
pub(crate) fn dict<'py>(
    py: Python<'py>,
    view: &View<'_>,
    headers: bool,
) -> PyResult<Bound<'py, PyDict>> {
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
        dict.set_item(intern!(py, "headers"), header_pairs(py, view)?)?;
    }
    let mut parts = Parts::new(py, view.text_part(), view.html_part());
    for (number, part) in view.parts().enumerate().filter(|(_, p)| p.kind() == PartKind::Leaf) {
        let kind = MediaType::of(part).object(py);
        let content =
            if part.is_text() { text(py, part).into_any() } else { bytes(py, part).into_any() };
        parts.push(number, kind, part.filename().as_deref(), content)?;
    }
    parts.into_dict(&dict)?;
    Ok(dict)
}

/// Name and decoded value of each field of the letter's own header. Of bytes that never change, too.
pub(crate) fn header_pairs<'py>(py: Python<'py>, view: &View<'_>) -> PyResult<Bound<'py, PyList>> {
    let pairs = PyList::empty(py);
    for field in view.part(0).into_iter().flat_map(|root| root.headers()) {
        let name = values::field_name(py, field.name);
        pairs.append(PyTuple::new(py, [name, PyString::new(py, &view.header_text(&field))])?)?;
    }
    Ok(pairs)
}

/// A dict with all keys and no values: it need not grow when the values come, which is half of what filling one takes.
pub(crate) fn all_keys(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
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
pub(crate) struct Parts<'py> {
    list: Bound<'py, PyList>,
    text_part: Option<usize>,
    html_part: Option<usize>,
    text: Option<Bound<'py, PyAny>>,
    html: Option<Bound<'py, PyAny>>,
}

impl<'py> Parts<'py> {
    pub(crate) fn new(py: Python<'py>, text_part: Option<usize>, html_part: Option<usize>) -> Self {
        Self { list: PyList::empty(py), text_part, html_part, text: None, html: None }
    }

    pub(crate) fn push(
        &mut self,
        number: usize,
        kind: Bound<'py, PyString>,
        filename: Option<&str>,
        content: Bound<'py, PyAny>,
    ) -> PyResult<()> {
        if self.text_part == Some(number) {
            self.text = Some(content.clone());
        } else if self.html_part == Some(number) {
            self.html = Some(content.clone());
        }
        let py = self.list.py();
        let filename = match filename {
            Some(name) => PyString::new(py, name).into_any(),
            None => py.None().into_bound(py),
        };
        self.list.append(PyTuple::new(py, [kind.into_any(), filename, content])?)
    }

    pub(crate) fn into_dict(self, dict: &Bound<'py, PyDict>) -> PyResult<()> {
        let py = dict.py();
        dict.set_item(intern!(py, "text"), self.text)?;
        dict.set_item(intern!(py, "html"), self.html)?;
        dict.set_item(intern!(py, "parts"), self.list)
    }
}
