//! The class Headers: the fields of one header, in order, each value decoded when it is asked for.

use crate::letter::Message;
use mparser::{Header, View};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use std::sync::Arc;

/// Where a field stands in the letter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    start: u32,
    name_end: u32,
    value: u32,
    value_end: u32,
    end: u32,
}

/// The fields of a part's header.
pub(crate) fn spans(view: &View<'_>, part: usize) -> Arc<[Span]> {
    let Some(part) = view.part(part) else {
        return Arc::new([]);
    };
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let span = |field: Header<'_>| {
        let before_value = memory_distance(field.raw, field.value);
        let at = |offset: usize| field.offset.saturating_add(small(offset));
        Span {
            start: field.offset,
            name_end: at(field.name.len()),
            value: at(before_value),
            value_end: at(before_value + field.value.len()),
            end: at(field.raw.len()),
        }
    };
    part.headers().map(span).collect()
}

/// How far the inner slice begins behind the outer one it lies in.
fn memory_distance(outer: &[u8], inner: &[u8]) -> usize {
    (inner.as_ptr().addr()).saturating_sub(outer.as_ptr().addr())
}

impl Span {
    /// The field in the letter's bytes; empty when they are others than they were.
    fn field<'a>(&self, raw: &'a [u8]) -> Header<'a> {
        let piece = |from: u32, to: u32| raw.get(from as usize..to as usize).unwrap_or_default();
        Header {
            name: piece(self.start, self.name_end),
            value: piece(self.value, self.value_end),
            raw: piece(self.start, self.end),
            offset: self.start,
        }
    }
}

/// The fields of a header, in order. Names are compared without case; a name may stand several times.
#[pyclass(frozen, module = "libop.mparser")]
pub(crate) struct Headers {
    message: Py<Message>,
    spans: Arc<[Span]>,
}

impl Headers {
    pub(crate) fn new(message: Py<Message>, spans: Arc<[Span]>) -> Self {
        Self { message, spans }
    }

    /// The value of the first field of this name, or of all of them.
    fn find<'py>(&self, py: Python<'py>, name: &str, most: usize) -> Vec<Bound<'py, PyString>> {
        self.message.get().read(py, |view| {
            let fields = self.spans.iter().map(|span| span.field(view.raw()));
            let named = fields.filter(|f| f.name.eq_ignore_ascii_case(name.as_bytes()));
            named.take(most).map(|f| PyString::new(py, &view.header_text(&f))).collect()
        })
    }

    fn first<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyString>> {
        self.find(py, name, 1).pop()
    }

    fn each<T>(&self, py: Python<'_>, make: impl Fn(&View<'_>, &Header<'_>) -> T) -> Vec<T> {
        self.message.get().read(py, |view| {
            self.spans.iter().map(|span| make(view, &span.field(view.raw()))).collect()
        })
    }

    fn names<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyString>> {
        self.each(py, |_, field| PyString::new(py, &String::from_utf8_lossy(field.name)))
    }

    fn texts<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyString>> {
        self.message.get().read(py, |view| {
            let fields = self.spans.iter().map(|span| span.field(view.raw()));
            fields.map(|field| PyString::new(py, &view.header_text(&field))).collect()
        })
    }
}

#[pymethods]
impl Headers {
    /// The decoded value of the first field of this name; `KeyError` when there is none.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyString>> {
        self.first(py, name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))
    }

    /// The decoded value of the first field of this name, or `default`.
    #[pyo3(signature = (name, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        self.first(py, name).map(Bound::into_any).or(default)
    }

    /// The decoded values of all fields of this name, in order.
    fn get_all<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.find(py, name, usize::MAX))
    }

    /// The first field of this name as it stands in the letter, its name and line ends included, or None.
    fn raw<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let message = self.message.get();
        let found = message.read(py, |view| {
            let same =
                |span: &&Span| span.field(view.raw()).name.eq_ignore_ascii_case(name.as_bytes());
            self.spans.iter().find(same).copied()
        });
        found.map(|f| message.source().span(py, f.start as usize..f.end as usize)).transpose()
    }

    /// Every field as it stands in the letter, its name and line ends included.
    fn raw_items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let source = self.message.get().source();
        let all: PyResult<Vec<_>> = self
            .spans
            .iter()
            .map(|span| source.span(py, span.start as usize..span.end as usize))
            .collect();
        PyList::new(py, all?)
    }

    fn __contains__(&self, py: Python<'_>, name: &str) -> bool {
        self.message.get().read(py, |view| {
            self.spans
                .iter()
                .any(|s| s.field(view.raw()).name.eq_ignore_ascii_case(name.as_bytes()))
        })
    }

    fn __len__(&self) -> usize {
        self.spans.len()
    }

    /// Names, as written, one for each field.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.try_iter()?.into_any())
    }

    /// Names, as written, one for each field.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.names(py))
    }

    /// Decoded values, in order.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.texts(py))
    }

    /// Pairs of name and decoded value, in order.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pairs = self.names(py).into_iter().zip(self.texts(py));
        let pairs: PyResult<Vec<_>> =
            pairs.map(|(name, value)| PyTuple::new(py, [name, value])).collect();
        PyList::new(py, pairs?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Headers({})", self.items(py)?.repr()?))
    }
}
