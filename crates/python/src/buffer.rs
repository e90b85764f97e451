//! The bytes of a letter, which belong to a Python object: held by reference, never copied.
//!
//! Two kinds of owners, two rules.
//!
//! `bytes` never change. They are borrowed as a plain slice, also while Python runs other threads. What `parse_many` read
//! from a file does not change either; it becomes a `bytes` object when Python asks for the bytes.
//!
//! Everything else (`bytearray`, `mmap`, `memoryview`) may change between two calls. Its buffer is exported as long as the
//! letter lives, so that Python refuses to resize it and the address stays good. No slice of it is ever kept: each
//! read makes one, for the length of a closure, with the GIL held and without running Python code, and looks up every
//! offset with a bounds check; a changed letter gives odd text, never a panic. What remains is a promise of the caller,
//! the same that every reader of mapped memory asks for: no other process, and no native code that works without
//! the GIL (such as `readinto` in another thread), writes into the buffer during such a read.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMemoryView, PySlice};
use std::ops::Range;

/// Who owns the bytes of a letter, and which of them are the letter's.
pub(crate) enum Source {
    /// They never change.
    Bytes { owner: Py<PyBytes>, range: Range<usize> },
    /// They came out of a file: no Python object has them before one is asked for.
    Read(Box<FileBytes>),
    /// They may change whenever Python code runs.
    Buffer { view: Py<PyMemoryView>, buffer: PyUntypedBuffer, range: Range<usize> },
}

/// Bytes out of a file, and the `bytes` object made of them.
pub(crate) struct FileBytes {
    bytes: Vec<u8>,
    object: PyOnceLock<Py<PyBytes>>,
}

impl FileBytes {
    fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyBytes> {
        self.object.get_or_init(py, || PyBytes::new(py, &self.bytes).unbind()).bind(py)
    }
}

impl Source {
    /// The bytes of an argument of this name in a call of this function.
    pub(crate) fn of(data: &Bound<'_, PyAny>, call: &str, argument: &str) -> PyResult<Self> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok(Self::of_bytes(bytes.clone()));
        }
        Self::of_buffer(data).map_err(|error| explain(data, call, argument, &error))
    }

    pub(crate) fn of_bytes(bytes: Bound<'_, PyBytes>) -> Self {
        let range = 0..bytes.as_bytes().len();
        Self::Bytes { owner: bytes.unbind(), range }
    }

    pub(crate) fn of_file(bytes: Vec<u8>) -> Self {
        Self::Read(Box::new(FileBytes { bytes, object: PyOnceLock::new() }))
    }

    fn of_buffer(data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = data.py();
        let mut view = PyMemoryView::from(data)?;
        let mut buffer = PyUntypedBuffer::get(&view)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err("the memoryview is not contiguous; bytes(view) is"));
        }
        // Slices of a view count its items: they shall be bytes.
        if buffer.dimensions() != 1 || buffer.item_size() != 1 {
            buffer.release(py);
            view = view.call_method1("cast", ("B",))?.cast_into::<PyMemoryView>()?;
            buffer = PyUntypedBuffer::get(&view)?;
        }
        let range = 0..buffer.len_bytes();
        Ok(Self::Buffer { view: view.unbind(), buffer, range })
    }

    /// A part of these bytes as a letter of its own; offsets count from the start of this one.
    pub(crate) fn part(&self, py: Python<'_>, range: Range<usize>) -> PyResult<Self> {
        let own = self.range();
        let start = own.start.saturating_add(range.start).min(own.end);
        let end = own.start.saturating_add(range.end).clamp(start, own.end);
        Ok(match self {
            Self::Bytes { owner, .. } => {
                Self::Bytes { owner: owner.clone_ref(py), range: start..end }
            }
            Self::Read(file) => {
                Self::Bytes { owner: file.object(py).clone().unbind(), range: start..end }
            }
            Self::Buffer { view, .. } => {
                let buffer = PyUntypedBuffer::get(view.bind(py))?;
                Self::Buffer { view: view.clone_ref(py), buffer, range: start..end }
            }
        })
    }

    fn range(&self) -> Range<usize> {
        match self {
            Self::Bytes { range, .. } | Self::Buffer { range, .. } => range.clone(),
            Self::Read(file) => 0..file.bytes.len(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.range().len()
    }

    /// The bytes, when they never change: good for as long as the letter lives, with or without the GIL.
    pub(crate) fn shared<'a>(&'a self, py: Python<'_>) -> Option<&'a [u8]> {
        match self {
            Self::Bytes { owner, range } => {
                Some(owner.as_bytes(py).get(range.clone()).unwrap_or_default())
            }
            Self::Read(file) => Some(&file.bytes),
            Self::Buffer { .. } => None,
        }
    }

    /// Reads the bytes. `read` must not run Python code: it may make new `str` and `bytes` objects, and nothing else.
    pub(crate) fn read<R>(&self, py: Python<'_>, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Bytes { .. } | Self::Read(_) => read(self.shared(py).unwrap_or_default()),
            Self::Buffer { buffer, range, .. } => {
                let (start, length) = (buffer.buf_ptr().cast::<u8>(), buffer.len_bytes());
                let all: &[u8] = if start.is_null() || length == 0 {
                    &[]
                } else {
                    #[expect(
                        unsafe_code,
                        reason = "memory of a foreign object: there is no safe slice of it"
                    )]
                    // SAFETY: the export holds `length` contiguous bytes at this address until `buffer` is released.
                    // The GIL is held (`py`) and `read` runs no Python code, so nothing of Python's writes meanwhile;
                    // for writers outside Python see the head of this file. The slice dies with this call.
                    unsafe {
                        std::slice::from_raw_parts(start, length)
                    }
                };
                read(all.get(range.clone()).unwrap_or_default())
            }
        }
    }

    /// A view of some of the bytes that keeps their owner alive.
    pub(crate) fn span<'py>(
        &self,
        py: Python<'py>,
        span: Range<usize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let own = self.range();
        let start = own.start.saturating_add(span.start).min(own.end);
        let end = own.start.saturating_add(span.end).clamp(start, own.end);
        let view = match self {
            Self::Bytes { owner, .. } => PyMemoryView::from(owner.bind(py))?,
            Self::Read(file) => PyMemoryView::from(file.object(py))?,
            Self::Buffer { view, .. } => PyMemoryView::from(view.bind(py))?,
        };
        let (Ok(start), Ok(end)) = (isize::try_from(start), isize::try_from(end)) else {
            return view.get_item(PySlice::new(py, 0, 0, 1));
        };
        view.get_item(PySlice::new(py, start, end, 1))
    }

    /// All bytes as a `bytes` object: the owner itself when it is one.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match self {
            Self::Bytes { owner, range } if range.len() == owner.as_bytes(py).len() => {
                owner.bind(py).clone()
            }
            Self::Read(file) => file.object(py).clone(),
            _ => self.read(py, |raw| PyBytes::new(py, raw)),
        }
    }
}

/// The error for a value that is no letter: names the argument, as Python's own functions do.
fn explain(data: &Bound<'_, PyAny>, call: &str, argument: &str, error: &PyErr) -> PyErr {
    let py = data.py();
    if !error.is_instance_of::<PyTypeError>(py) {
        return PyBufferError::new_err(format!(
            "{call}() argument '{argument}' cannot be read: {}",
            error.value(py)
        ));
    }
    let kind = data.get_type().name().map_or_else(|_| "it".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "{call}() argument '{argument}' must be bytes, bytearray, memoryview or mmap, not {kind}"
    ))
}

/// Writes into memory that Python lends for writing, from its start; `false` when it is too small.
pub(crate) fn write_into(target: &Bound<'_, PyAny>, content: &[u8]) -> PyResult<bool> {
    let py = target.py();
    let wrong = |_| {
        PyTypeError::new_err(
            "decode_into() argument 'buffer' must be a writable buffer, such as a bytearray",
        )
    };
    let view = PyMemoryView::from(target).map_err(wrong)?;
    let all = PyUntypedBuffer::get(&view)?;
    if all.readonly() || !all.is_c_contiguous() {
        return Err(PyBufferError::new_err(
            "decode_into() argument 'buffer' must be writable and contiguous",
        ));
    }
    if all.len_bytes() < content.len() {
        return Ok(false);
    }
    let bytes = view.call_method1("cast", ("B",))?;
    let end = isize::try_from(content.len()).unwrap_or(isize::MAX);
    let slice = bytes.get_item(PySlice::new(py, 0, end, 1))?;
    pyo3::buffer::PyBuffer::<u8>::get(&slice)?.copy_from_slice(py, content)?;
    Ok(true)
}
