//! The class Part: one part of a letter.

use crate::eager;
use crate::headers::{self, Headers};
use crate::letter::{self, Message};
use crate::values::MediaType;
use mparser::{PartKind, PartView};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

/// A part of a letter, or the letter itself.
#[pyclass(frozen, module = "libop.mparser")]
pub(crate) struct Part {
    message: Py<Message>,
    number: usize,
}

impl Part {
    pub(crate) fn new(message: Py<Message>, number: usize) -> Self {
        Self { message, number }
    }

    /// Reads the part; the same rule as for `Message::read`. Other bytes than those parsed have the same parts.
    fn read<R: Default>(&self, py: Python<'_>, read: impl FnOnce(PartView<'_, '_>) -> R) -> R {
        self.message.get().read(py, |view| view.part(self.number).map(read)).unwrap_or_default()
    }

    fn span<'py>(&self, py: Python<'py>, from: usize, to: usize) -> PyResult<Bound<'py, PyAny>> {
        let spans = self.read(py, |part| part.spans());
        let at = |place: usize| spans.get(place).map_or(0, |offset| *offset as usize);
        self.message.get().source().span(py, at(from)..at(to))
    }
}

/// A part's content as `bytes`.
pub(crate) fn content<'py>(
    message: &Message,
    py: Python<'py>,
    number: usize,
) -> Option<Bound<'py, PyBytes>> {
    let raw = message.source().shared(py);
    if let Some(bytes) = message.leaf(number).and_then(|leaf| leaf.bytes(raw)) {
        return Some(PyBytes::new(py, bytes));
    }
    if let Some(raw) = message.source().shared(py) {
        return message.view(raw).part(number).map(|part| eager::bytes(py, part));
    }
    message.read(py, |view| view.part(number).map(|part| PyBytes::new(py, &part.bytes())))
}

/// A text part's content as `str`; of other parts, `None`.
pub(crate) fn text<'py>(
    message: &Message,
    py: Python<'py>,
    number: usize,
) -> Option<Bound<'py, PyString>> {
    if let Some(leaf) = message.leaf(number) {
        return leaf.text(py, message.source().shared(py));
    }
    let is_text = |part: &PartView<'_, '_>| part.is_text() && part.kind() == PartKind::Leaf;
    if let Some(raw) = message.source().shared(py) {
        let view = message.view(raw);
        return view.part(number).filter(is_text).map(|part| eager::text(py, part));
    }
    message.read(py, |view| {
        view.part(number).filter(is_text).map(|part| PyString::new(py, &part.text()))
    })
}

#[pymethods]
impl Part {
    /// type/subtype in lower case.
    #[getter]
    fn content_type<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.message.get().read(py, |view| match view.part(self.number) {
            Some(part) => MediaType::of(part).object(py),
            None => intern!(py, "text/plain").clone(),
        })
    }

    /// What stands before the slash of the type.
    #[getter]
    fn maintype(&self, py: Python<'_>) -> String {
        self.read(py, |part| part.media_type().0.into_owned())
    }

    /// What stands behind the slash of the type.
    #[getter]
    fn subtype(&self, py: Python<'_>) -> String {
        self.read(py, |part| part.media_type().1.into_owned())
    }

    /// The charset that Content-Type names, or None.
    #[getter]
    fn charset<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.message.get().read(py, |view| {
            view.part(self.number)?.charset().map(|charset| PyString::new(py, &charset))
        })
    }

    /// The decoded file name without folders, or None.
    #[getter]
    fn filename<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        if let Some(leaf) = self.message.get().leaf(self.number) {
            return leaf.filename().map(|name| PyString::new(py, name));
        }
        let name = self.read(py, |part| part.filename());
        name.map(|name| PyString::new(py, &name))
    }

    /// Content-ID as written, with <>, or None.
    #[getter]
    fn content_id(&self, py: Python<'_>) -> Option<String> {
        self.read(py, |part| part.content_id())
    }

    /// The word of Content-Disposition in lower case, or None.
    #[getter]
    fn disposition(&self, py: Python<'_>) -> Option<String> {
        self.read(py, |part| part.disposition().map(std::borrow::Cow::into_owned))
    }

    /// Content-Transfer-Encoding in lower case; 7bit when there is none.
    #[getter]
    fn encoding(&self, py: Python<'_>) -> String {
        self.read(py, |part| part.encoding().name().to_owned())
    }

    /// A decoded parameter of Content-Type, or None.
    fn param(&self, py: Python<'_>, name: &str) -> Option<String> {
        self.read(py, |part| part.type_param(&name.to_ascii_lowercase()))
    }

    /// The fields of the part's header.
    #[getter]
    fn headers(&self, py: Python<'_>) -> Headers {
        let spans = self.message.get().read(py, |view| headers::spans(view, self.number));
        Headers::new(self.message.clone_ref(py), spans)
    }

    /// The part as it stands in the letter, header and body.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.span(py, 0, 3)
    }

    /// Its header with the empty line that ends it.
    #[getter]
    fn raw_header<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.span(py, 0, 1)
    }

    /// Its body, still encoded.
    #[getter]
    fn raw_body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.span(py, 2, 3)
    }

    /// The decoded content. Of multiparts and letters, the body as it stands.
    #[getter]
    fn content<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        content(self.message.get(), py, self.number).unwrap_or_else(|| PyBytes::new(py, b""))
    }

    /// Write the decoded content into a writable buffer and say how many bytes that were.
    #[pyo3(text_signature = "($self, buffer, /)")]
    fn decode_into(&self, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        letter::content_into(self.message.get(), self.number, buffer)
    }

    /// The decoded text in its charset; None for parts that are no text.
    #[getter]
    fn text<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        text(self.message.get(), py, self.number)
    }

    /// Whether a reader would save it.
    #[getter]
    fn is_attachment(&self, py: Python<'_>) -> bool {
        self.message.get().attachment_numbers(py).contains(&self.number)
    }

    /// Whether it consists of parts.
    #[getter]
    fn is_multipart(&self, py: Python<'_>) -> bool {
        self.read(py, |part| part.kind() == PartKind::Multipart)
    }

    /// Whether its content is text.
    #[getter]
    fn is_text(&self, py: Python<'_>) -> bool {
        self.read(py, |part| part.is_text() && part.kind() == PartKind::Leaf)
    }

    /// Its number as IMAP writes it, such as "1.2"; "" is the letter itself.
    #[getter]
    fn path(&self, py: Python<'_>) -> String {
        self.message.get().paths(py).get(self.number).cloned().unwrap_or_default()
    }

    /// Bytes of its body as it stands in the letter.
    #[getter]
    fn size(&self, py: Python<'_>) -> usize {
        self.read(py, |part| part.body().len())
    }

    /// Lines of its body.
    #[getter]
    fn lines(&self, py: Python<'_>) -> u32 {
        self.message.get().part_lines(py, self.number)
    }

    /// The letter this is a part of.
    #[getter]
    fn root(&self, py: Python<'_>) -> Py<Message> {
        self.message.clone_ref(py)
    }

    /// The part it lies in, or None.
    #[getter]
    fn parent(&self, py: Python<'_>) -> Option<Self> {
        let parent = self.read(py, |part| part.parent())?;
        Some(Self::new(self.message.clone_ref(py), parent as usize))
    }

    /// The parts directly inside.
    #[getter]
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let own = u32::try_from(self.number).unwrap_or(u32::MAX);
        let numbers: Vec<usize> = self.message.get().read(py, |view| {
            let after = view.parts().enumerate().skip(self.number.saturating_add(1));
            // What lies inside a part stands right behind it.
            let inside = after.take_while(|(_, part)| part.parent() >= Some(own));
            inside.filter(|(_, part)| part.parent() == Some(own)).map(|(n, _)| n).collect()
        });
        let list = PyList::empty(py);
        for number in numbers {
            list.append(Bound::new(py, Self::new(self.message.clone_ref(py), number))?)?;
        }
        Ok(list)
    }

    /// The letter in a message/rfc822 part, over the same bytes; None for other parts.
    fn message(&self, py: Python<'_>) -> PyResult<Option<Message>> {
        letter::letter_inside(self.message.get(), py, self.number)
    }

    /// Files inside its content: uuencode and yEnc in text, the attachments of a winmail.dat.
    fn embedded_files<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.message.get().embedded(py, Some(self.number))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (path, kind) = (self.path(py), self.content_type(py));
        let name = match self.filename(py) {
            Some(name) => format!(" filename={}", name.repr()?),
            None => String::new(),
        };
        Ok(format!("<libop.mparser.Part '{path}' {kind}{name} {} bytes>", self.size(py)))
    }
}
