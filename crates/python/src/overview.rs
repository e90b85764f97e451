//! `overview`: what a list of letters shows, in one call, without decoding a body.

use crate::buffer::Source;
use crate::letter::TREE_DETACH_BYTES;
use crate::values::{self, MediaType};
use mparser::{PartView, View};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use std::borrow::Cow;

/// The fields of a letter and its tree of parts, all read. Each field is an object, None too: Python reads these without
/// a call.
#[pyclass(frozen, get_all, module = "libop.mparser")]
pub(crate) struct Overview {
    /// The decoded subject, or None.
    subject: Py<PyAny>,
    /// Addresses of From; groups give their members.
    from_: Py<PyList>,
    /// Addresses of To.
    to: Py<PyList>,
    /// The Date field with its zone, or None when there is none that can be read.
    date: Py<PyAny>,
    /// The letter's id without <>, or None.
    message_id: Py<PyAny>,
    /// (content type, file name or None, number of the part it lies in or None, bytes of its body), the letter first.
    parts: Py<PyList>,
}

/// Read what a list of letters shows, and nothing else: the usual fields, and type, name and size of every part.
#[pyfunction]
#[pyo3(text_signature = "(data, /)")]
pub(crate) fn overview(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Overview> {
    let source = Source::of(data, "overview", "data")?;
    match source.shared(py) {
        Some(raw) if raw.len() < TREE_DETACH_BYTES => Overview::of(py, &View::parse_tree(raw)),
        Some(raw) => Overview::of(py, &py.detach(|| View::parse_tree(raw))),
        // Memory that may change: the objects are made of a copy, because making them may run Python code.
        None => {
            let bytes = source.to_bytes(py);
            Overview::of(py, &View::parse_tree(bytes.as_bytes()))
        }
    }
}

impl Overview {
    fn of(py: Python<'_>, view: &View<'_>) -> PyResult<Self> {
        let parts = PyList::new(py, view.parts().map(Row))?;
        let text = |text: Option<Cow<'_, str>>| match text {
            Some(text) => PyString::new(py, &text).into_any().unbind(),
            None => py.None(),
        };
        Ok(Self {
            subject: text(view.has_subject().then(|| view.subject())),
            from_: values::addresses(py, view.from())?.unbind(),
            to: values::addresses(py, view.to())?.unbind(),
            date: values::datetime(py, view.date())?.unbind(),
            message_id: text(view.message_id()),
            parts: parts.unbind(),
        })
    }
}

#[pymethods]
impl Overview {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let subject = self.subject.bind(py).repr()?;
        Ok(format!(
            "<libop.mparser.Overview subject={subject} {} parts>",
            self.parts.bind(py).len()
        ))
    }
}

/// A part, to become a tuple.
struct Row<'v, 'a>(PartView<'v, 'a>);

impl<'py> IntoPyObject<'py> for Row<'_, '_> {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let Self(part) = self;
        let kind = MediaType::of(part).object(py);
        (kind, part.filename(), part.parent(), part.body().len()).into_pyobject(py)
    }
}
