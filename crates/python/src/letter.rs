//! The class Message: a letter over the bytes of a Python object, read when asked.
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the path of a method stands for one lifetime, the closure for any"
)]

use crate::buffer::Source;
use crate::decoded::{Decoded, Leaf, Values};
use crate::eager;
use crate::headers::{self, Headers, Span};
use crate::part::{Part, text};
use crate::values::{self, Breach, Defect, EmbeddedFile};
use mparser::{Index, NamedAddress, Outline, PartKind, View};
use pyo3::exceptions::PyKeyError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::sync::{Arc, OnceLock};

/// From here on a letter is read with the GIL released: reading it takes longer than handing the GIL over and back.
pub(crate) const DETACH_BYTES: usize = 32 * 1024;

/// The same when only its tree is read, which is some ten times as fast.
pub(crate) const TREE_DETACH_BYTES: usize = 256 * 1024;

/// A letter. A value is decoded when it is asked for, unless `parse_many(full=True)` decoded it before; what is read is not
/// kept: hold on to a value you need twice.
#[pyclass(frozen, module = "libop.mparser")]
pub(crate) struct Message {
    source: Source,
    known: Known,
    /// Letters after `:2,` in the name of a Maildir file.
    flags: Option<String>,
    spans: OnceLock<Arc<[Span]>>,
    paths: OnceLock<Box<[String]>>,
    attachments: OnceLock<Box<[usize]>>,
    index: OnceLock<Box<Index>>,
    /// The letter with its lines counted, which few ask for.
    counted: OnceLock<Box<Outline>>,
}

/// What was read of a letter before anybody asks.
pub(crate) enum Known {
    /// Where its parts and fields stand.
    Outline(Outline),
    /// Every value, too.
    Values(Decoded),
}

/// Read any bytes as a letter. They are not copied and must stay as they are while the Message is used.
#[pyfunction]
#[pyo3(text_signature = "(data, /)")]
pub(crate) fn parse(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Message> {
    let source = Source::of(data, "parse", "data")?;
    let outline = match source.shared(py) {
        Some(raw) if raw.len() >= DETACH_BYTES => {
            py.detach(|| View::parse_tree(raw).into_outline())
        }
        _ => source.read(py, |raw| View::parse_tree(raw).into_outline()),
    };
    Ok(Message::new(source, Known::Outline(outline), None))
}

/// Read only the letter's own header: many times quicker on a big letter, which then seems to have one part.
#[pyfunction]
#[pyo3(text_signature = "(data, /)")]
pub(crate) fn parse_header(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Message> {
    let source = Source::of(data, "parse_header", "data")?;
    let outline = source.read(py, |raw| View::parse_header(raw).into_outline());
    Ok(Message::new(source, Known::Outline(outline), None))
}

impl Message {
    pub(crate) fn new(source: Source, known: Known, flags: Option<String>) -> Self {
        Self {
            source,
            known,
            flags,
            spans: OnceLock::new(),
            paths: OnceLock::new(),
            attachments: OnceLock::new(),
            index: OnceLock::new(),
            counted: OnceLock::new(),
        }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    fn outline(&self) -> &Outline {
        match &self.known {
            Known::Outline(outline) => outline,
            Known::Values(values) => values.outline(),
        }
    }

    fn decoded(&self) -> Option<&Values> {
        match &self.known {
            Known::Outline(_) => None,
            Known::Values(values) => Some(values),
        }
    }

    /// A part without parts of its own, when it was decoded before.
    pub(crate) fn leaf(&self, number: usize) -> Option<&Leaf> {
        self.decoded()?.leaf(number)
    }

    /// Reads the letter; `read` may make new `str` and `bytes` objects, but must not run other Python code.
    pub(crate) fn read<R>(&self, py: Python<'_>, read: impl FnOnce(&View<'_>) -> R) -> R {
        self.source.read(py, |raw| read(&self.outline().view(raw)))
    }

    /// Reads the letter in bytes that never change, a copy if need be: `read` may run Python code.
    fn unchanging<R>(&self, py: Python<'_>, read: impl FnOnce(&View<'_>) -> R) -> R {
        match self.source.shared(py) {
            Some(raw) => read(&self.view(raw)),
            None => read(&self.view(self.source.to_bytes(py).as_bytes())),
        }
    }

    /// The letter in bytes that never change.
    pub(crate) fn view<'a>(&'a self, raw: &'a [u8]) -> View<'a> {
        self.outline().view(raw)
    }

    fn counted(&self, py: Python<'_>) -> &Outline {
        let count = || Box::new(self.source.read(py, |raw| View::parse(raw).into_outline()));
        self.counted.get_or_init(count)
    }

    /// Lines of the body of a part.
    pub(crate) fn part_lines(&self, py: Python<'_>, number: usize) -> u32 {
        let counted = self.counted(py);
        self.source.read(py, |raw| counted.view(raw).part(number).map_or(0, |part| part.lines()))
    }

    fn index(&self, py: Python<'_>) -> &Index {
        self.index.get_or_init(|| Box::new(self.source.read(py, Index::of)))
    }

    /// The letter with everything known about it, for questions that need that.
    fn indexed<R>(&self, py: Python<'_>, ask: impl FnOnce(&mparser::Message<'_>) -> R) -> R {
        let index = self.index(py).clone();
        self.source.read(py, |raw| ask(&mparser::Message::with_index(raw, index)))
    }

    pub(crate) fn embedded<'py>(
        &self,
        py: Python<'py>,
        part: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let files = self.indexed(py, |letter| match part {
            Some(part) => letter.embedded(part),
            None => letter.all_embedded().into_iter().map(|(_, file)| file).collect(),
        });
        let files: PyResult<Vec<_>> =
            files.into_iter().map(|file| Bound::new(py, EmbeddedFile::of(py, file))).collect();
        PyList::new(py, files?)
    }

    pub(crate) fn encoded_letter(&self, py: Python<'_>, part: usize) -> Option<Vec<u8>> {
        self.indexed(py, |letter| letter.encoded_letter(part, 0))
    }

    pub(crate) fn attachment_numbers(&self, py: Python<'_>) -> &[usize] {
        self.attachments.get_or_init(|| self.read(py, |view| view.attachments()).into())
    }

    pub(crate) fn paths(&self, py: Python<'_>) -> &[String] {
        self.paths.get_or_init(|| self.read(py, paths))
    }

    fn part_objects<'py>(
        slf: &Bound<'py, Self>,
        numbers: impl ExactSizeIterator<Item = usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let list = PyList::empty(py);
        for number in numbers {
            list.append(Bound::new(py, Part::new(slf.clone().unbind(), number))?)?;
        }
        Ok(list)
    }

    fn addresses<'py>(
        &self,
        py: Python<'py>,
        read: impl FnOnce(&View<'_>) -> Vec<NamedAddress>,
    ) -> PyResult<Bound<'py, PyList>> {
        values::addresses(py, self.read(py, read))
    }
}

#[pymethods]
impl Message {
    /// The decoded subject, or None.
    #[getter]
    fn subject<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        if let Some(values) = self.decoded() {
            return values.subject(py, self.source.shared(py));
        }
        self.read(py, |view| view.has_subject().then(|| PyString::new(py, &view.subject())))
    }

    /// Addresses of From; groups give their members.
    #[getter]
    fn from_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        if let Some(values) = self.decoded() {
            return values::addresses_of(py, values.from());
        }
        self.addresses(py, |view| view.from())
    }

    /// Addresses of To.
    #[getter]
    fn to<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        if let Some(values) = self.decoded() {
            return values::addresses_of(py, values.to());
        }
        self.addresses(py, |view| view.to())
    }

    /// Addresses of Cc.
    #[getter]
    fn cc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        if let Some(values) = self.decoded() {
            return values::addresses_of(py, values.cc());
        }
        self.addresses(py, |view| view.cc())
    }

    /// Addresses of Bcc.
    #[getter]
    fn bcc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.addresses(py, |view| view.bcc())
    }

    /// Addresses of Reply-To.
    #[getter]
    fn reply_to<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.addresses(py, |view| view.reply_to())
    }

    /// Addresses of Sender.
    #[getter]
    fn sender<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.addresses(py, |view| view.sender())
    }

    /// The Date field with its zone, or None when there is none that can be read.
    #[getter]
    fn date<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let date = match self.decoded() {
            Some(values) => values.date(),
            None => self.read(py, |view| view.date()),
        };
        values::datetime(py, date)
    }

    /// The letter's id without <>, or None.
    #[getter]
    fn message_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        if let Some(values) = self.decoded() {
            return values.message_id(py, self.source.shared(py));
        }
        self.read(py, |view| view.message_id().map(|id| PyString::new(py, &id)))
    }

    /// Ids of In-Reply-To without <>.
    #[getter]
    fn in_reply_to(&self, py: Python<'_>) -> Vec<String> {
        self.read(py, |view| view.in_reply_to())
    }

    /// Ids of References without <>.
    #[getter]
    fn references(&self, py: Python<'_>) -> Vec<String> {
        self.read(py, |view| view.references())
    }

    /// The plain text that is shown, or None.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        let number = match self.decoded() {
            Some(values) => values.text_part(),
            None => self.read(py, |view| view.text_part()),
        };
        text(self, py, number?)
    }

    /// The HTML that is shown, or None.
    #[getter]
    fn html<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        let number = match self.decoded() {
            Some(values) => values.html_part(),
            None => self.read(py, |view| view.html_part()),
        };
        text(self, py, number?)
    }

    /// How the text begins: at most 256 characters on one line, without HTML.
    #[getter]
    fn preview(&self, py: Python<'_>) -> &str {
        &self.index(py).preview
    }

    /// Parts a reader would save, in order.
    #[getter]
    fn attachments<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        Self::part_objects(slf, slf.get().attachment_numbers(slf.py()).iter().copied())
    }

    /// All parts in order; the first is the letter itself.
    #[getter]
    fn parts<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        Self::part_objects(slf, 0..slf.get().outline().parts())
    }

    /// Goes through all parts in order; the first is the letter itself.
    fn walk<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Self::parts(slf)?.try_iter()?.into_any())
    }

    /// The part of this path, as IMAP numbers parts: "1.2". "" is the letter. `KeyError` when there is none.
    fn part(slf: &Bound<'_, Self>, path: &str) -> PyResult<Part> {
        let py = slf.py();
        let found = slf.get().paths(py).iter().position(|p| p == path);
        // A letter that is no multipart has one part, 1: its body.
        let is_body = |view: &View<'_>| {
            path == "1" && view.part(0).is_some_and(|root| root.kind() != PartKind::Multipart)
        };
        let number = found.or_else(|| slf.get().read(py, is_body).then_some(0));
        let number = number.ok_or_else(|| PyKeyError::new_err(path.to_owned()))?;
        Ok(Part::new(slf.clone().unbind(), number))
    }

    /// The fields of the letter's own header.
    #[getter]
    fn headers(slf: &Bound<'_, Self>) -> Headers {
        let message = slf.get();
        let spans = message.spans.get_or_init(|| message.read(slf.py(), |v| headers::spans(v, 0)));
        Headers::new(slf.clone().unbind(), Arc::clone(spans))
    }

    /// Files inside the parts: uuencode and yEnc in text, the attachments of a winmail.dat.
    fn embedded_files<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.embedded(py, None)
    }

    /// What is wrong with the letter, in its order. It was read all the same.
    #[getter]
    fn defects(&self, py: Python<'_>) -> Vec<Defect> {
        self.index(py).defects.iter().map(Defect::from).collect()
    }

    /// The rules of RFC 5322, 2045, 2046 and 2047 that the letter breaks.
    fn check(&self, py: Python<'_>) -> Vec<Breach> {
        self.indexed(py, |letter| letter.check().iter().map(Breach::from).collect())
    }

    /// Why two programs may read two different letters out of these bytes: stable words, none for most letters.
    #[getter]
    fn ambiguity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let found = self.indexed(py, |letter| letter.ambiguity());
        PyTuple::new(py, found.names().collect::<Vec<_>>())
    }

    /// All bytes, as a memoryview of what was parsed.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.source.span(py, 0..self.source.len())
    }

    /// Bytes of the letter.
    #[getter]
    fn size(&self) -> usize {
        self.source.len()
    }

    /// Lines of the letter; a last line without an end counts.
    #[getter]
    fn lines(&self, py: Python<'_>) -> u32 {
        self.counted(py).lines()
    }

    /// The flags in the file name of a letter from a Maildir, such as "RS"; None for others.
    #[getter]
    fn flags(&self) -> Option<&str> {
        self.flags.as_deref()
    }

    /// The dict that `extract()` gives, with `flags` for a letter of a Maildir.
    #[pyo3(signature = (*, headers=false))]
    fn to_dict<'py>(&self, py: Python<'py>, headers: bool) -> PyResult<Bound<'py, PyDict>> {
        let raw = self.source.shared(py);
        let dict = match self.decoded() {
            Some(values) => values.dict(py, raw)?,
            None => self.unchanging(py, |view| eager::dict(py, view, headers))?,
        };
        if headers && self.decoded().is_some() {
            let pairs = self.unchanging(py, |view| eager::header_pairs(py, view))?;
            dict.set_item(intern!(py, "headers"), pairs)?;
        }
        if let Some(flags) = &self.flags {
            dict.set_item(intern!(py, "flags"), flags)?;
        }
        Ok(dict)
    }

    /// A new email.message.EmailMessage, made by the standard library.
    fn to_email_message<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CALL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let call = CALL.import(py, "libop._email", "to_email_message")?;
        call.call1((self.source.to_bytes(py),))
    }

    /// This letter with the methods of email.message.EmailMessage that read.
    fn as_email_message<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CALL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let call = CALL.import(slf.py(), "libop._email", "EmailView")?;
        call.call1((Self::part_objects(slf, std::iter::once(0))?.get_item(0)?,))
    }

    fn __len__(&self) -> usize {
        self.source.len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.source.to_bytes(py)
    }

    #[expect(clippy::unused_self, reason = "Python calls it on an object")]
    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let subject = self.subject(py).into_pyobject(py)?.repr()?;
        let (size, parts) = (self.size(), self.outline().parts());
        Ok(format!("<libop.mparser.Message subject={subject} {size} bytes {parts} parts>"))
    }
}

/// The path of each part, as IMAP numbers them (RFC 9051 §6.4.5). A multipart that is the whole of a letter inside has
/// no number there: it gets `TEXT`.
fn paths(view: &View<'_>) -> Box<[String]> {
    let mut paths: Vec<String> = Vec::with_capacity(view.parts().len());
    // What stands before the number of a part's children, and how many were given out.
    let mut inside: Vec<(String, u32)> = Vec::with_capacity(view.parts().len());
    for part in view.parts() {
        let multipart = part.kind() == PartKind::Multipart;
        let parent = part.parent().map(|parent| parent as usize);
        let parent_kind = parent.and_then(|p| view.part(p)).map(|p| p.kind());
        let dotted = |before: &str, word: &str| match before {
            "" => word.to_owned(),
            _ => format!("{before}.{word}"),
        };
        let (path, prefix) = match (parent.and_then(|p| inside.get_mut(p)), parent_kind) {
            (Some((before, _)), Some(PartKind::Message)) if multipart => {
                (dotted(before, "TEXT"), before.clone())
            }
            (Some((before, given)), _) => {
                *given += 1;
                let path = dotted(before, &given.to_string());
                (path.clone(), path)
            }
            // A letter that is one letter: that one lies in part 1.
            (None, _) if !multipart => (String::new(), "1".to_owned()),
            (None, _) => (String::new(), String::new()),
        };
        paths.push(path);
        inside.push((prefix, 0));
    }
    paths.into()
}

/// The letter in a part of kind letter; `None` for others.
pub(crate) fn letter_inside(
    message: &Message,
    py: Python<'_>,
    number: usize,
) -> PyResult<Option<Message>> {
    let found = message.read(py, |view| {
        let part = view.part(number)?;
        let [_, _, start, end] = part.spans();
        Some((part.kind(), start as usize..end as usize))
    });
    let source = match found {
        Some((PartKind::Message, range)) => message.source.part(py, range)?,
        Some((PartKind::Leaf, _)) => match message.encoded_letter(py, number) {
            Some(bytes) => Source::of_bytes(PyBytes::new(py, &bytes)),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let outline = source.read(py, |raw| View::parse_tree(raw).into_outline());
    Ok(Some(Message::new(source, Known::Outline(outline), None)))
}

/// The content of a part, for those who hand over a buffer.
pub(crate) fn content_into(
    message: &Message,
    number: usize,
    target: &Bound<'_, PyAny>,
) -> PyResult<usize> {
    let py = target.py();
    // Decoded before the target is touched: it may be the very memory the letter lies in.
    let decoded = message.read(py, |view| view.part(number).map(|p| p.bytes().into_owned()));
    let decoded = decoded.unwrap_or_default();
    if crate::buffer::write_into(target, &decoded)? {
        return Ok(decoded.len());
    }
    Err(pyo3::exceptions::PyValueError::new_err(format!(
        "decode_into() argument 'buffer' is too small: the content has {} bytes",
        decoded.len()
    )))
}
