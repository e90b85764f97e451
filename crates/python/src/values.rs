//! Small values as Python has them: addresses, defects, dates, media types.

use mparser::{KNOWN_TYPES, NamedAddress, PartView};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};
use pyo3::{intern, types::PyDelta};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

/// An address of a header field. `str()` writes it as a header does.
#[pyclass(frozen, module = "libop.mparser")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Address {
    name: Option<String>,
    address: String,
}

impl From<NamedAddress> for Address {
    fn from(NamedAddress { name, address }: NamedAddress) -> Self {
        Self { name, address }
    }
}

#[pymethods]
impl Address {
    #[classattr]
    #[pyo3(name = "__match_args__")]
    const MATCH_ARGS: (&'static str, &'static str) = ("name", "address");

    /// The display name, decoded, or None.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// local@domain, or what stands there instead.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// What stands before the last @.
    #[getter]
    fn local(&self) -> &str {
        self.address.rsplit_once('@').map_or(&self.address, |(local, _)| local)
    }

    /// What stands behind the last @; empty when there is none.
    #[getter]
    fn domain(&self) -> &str {
        self.address.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    fn __str__(&self) -> String {
        let Some(name) = &self.name else {
            return self.address.clone();
        };
        if name.chars().any(|c| "()<>[]:;@\\,.\"".contains(c)) {
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            return format!("\"{quoted}\" <{}>", self.address);
        }
        format!("{name} <{}>", self.address)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name = self.name.as_deref().into_pyobject(py)?.repr()?;
        Ok(format!("Address(name={name}, address={})", PyString::new(py, &self.address).repr()?))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get() == self)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// Something wrong in a letter, and where.
#[pyclass(frozen, get_all, module = "libop.mparser")]
pub(crate) struct Defect {
    /// A stable word, such as `missing_date`.
    kind: &'static str,
    /// Bytes from the start of the letter.
    offset: u32,
}

impl From<&mparser::Defect> for Defect {
    fn from(defect: &mparser::Defect) -> Self {
        Self { kind: defect.kind.name(), offset: defect.offset }
    }
}

#[pymethods]
impl Defect {
    fn __repr__(&self) -> String {
        format!("Defect(kind='{}', offset={})", self.kind, self.offset)
    }
}

/// A rule of a standard that a letter breaks, and where.
#[pyclass(frozen, get_all, module = "libop.mparser")]
pub(crate) struct Breach {
    /// A stable word, such as `line_length`.
    rule: &'static str,
    /// Number of the RFC.
    rfc: u16,
    /// Its section.
    section: &'static str,
    /// What the rule demands.
    sentence: &'static str,
    /// Bytes from the start of the letter.
    offset: u32,
}

impl From<&mparser::Breach> for Breach {
    fn from(breach: &mparser::Breach) -> Self {
        let rule = breach.rule;
        Self {
            rule: rule.name,
            rfc: rule.rfc,
            section: rule.section,
            sentence: rule.sentence,
            offset: breach.offset,
        }
    }
}

#[pymethods]
impl Breach {
    fn __repr__(&self) -> String {
        let Self { rule, rfc, section, offset, .. } = self;
        format!("Breach(rule='{rule}', rfc={rfc}, section='{section}', offset={offset})")
    }
}

/// A file inside the content of a part: uuencode, yEnc, or out of a winmail.dat.
#[pyclass(frozen, module = "libop.mparser")]
pub(crate) struct EmbeddedFile {
    name: String,
    media_type: Option<String>,
    wrapping: &'static str,
    content: Py<PyBytes>,
}

impl EmbeddedFile {
    pub(crate) fn of(py: Python<'_>, file: mparser::EmbeddedFile) -> Self {
        let wrapping = match file.wrapping {
            mparser::Wrapping::Uuencode => "uuencode",
            mparser::Wrapping::YEnc => "yenc",
            mparser::Wrapping::Tnef => "tnef",
        };
        let content = PyBytes::new(py, &file.content).unbind();
        Self { name: file.name, media_type: file.media_type, wrapping, content }
    }
}

#[pymethods]
impl EmbeddedFile {
    /// The file name without folders; empty when there is none.
    #[getter]
    fn filename(&self) -> &str {
        &self.name
    }

    /// type/subtype when the wrapping names one.
    #[getter]
    fn content_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// uuencode, yenc or tnef.
    #[getter]
    fn wrapping(&self) -> &str {
        self.wrapping
    }

    /// The file.
    #[getter]
    fn content(&self, py: Python<'_>) -> Py<PyBytes> {
        self.content.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let size = self.content.as_bytes(py).len();
        let name = PyString::new(py, &self.name).repr()?;
        Ok(format!("EmbeddedFile(filename={name}, wrapping='{}', {size} bytes)", self.wrapping))
    }
}

/// A list of Address objects.
pub(crate) fn addresses(py: Python<'_>, list: Vec<NamedAddress>) -> PyResult<Bound<'_, PyList>> {
    match <[NamedAddress; 1]>::try_from(list) {
        Ok([one]) => PyList::new(py, [Bound::new(py, Address::from(one))?]),
        Err(list) => {
            let all: PyResult<Vec<_>> =
                list.into_iter().map(|one| Bound::new(py, Address::from(one))).collect();
            PyList::new(py, all?)
        }
    }
}

/// The same of addresses that stay where they are.
pub(crate) fn addresses_of<'py>(
    py: Python<'py>,
    list: &[NamedAddress],
) -> PyResult<Bound<'py, PyList>> {
    addresses(py, list.to_vec())
}

/// A date as a datetime with its zone; None for the year 0, which Python does not have. A leap second is the one before.
pub(crate) fn datetime(py: Python<'_>, date: Option<types::Date>) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let Some(date) = date.filter(|date| date.year > 0) else {
        return Ok(py.None().into_bound(py));
    };
    let class = CLASS.import(py, "datetime", "datetime")?;
    let zone = zone(py, date.offset_minutes)?;
    let types::Date { year, month, day, hour, minute, .. } = date;
    let second = date.second.min(59);
    if !date.is_valid() {
        return class.call1((year, month, day, hour, minute, second, 0, zone));
    }
    // The form in which pickle writes it, microseconds last: a third of the time of eight numbers, and a fortieth of
    // what reading a letter takes.
    let [century, year] = year.to_be_bytes();
    let state = [century, year, month, day, hour, minute, second, 0, 0, 0];
    class.call1((PyBytes::new(py, &state), zone))
}

/// Zones lie whole quarters of an hour from UTC, at most 14 hours.
const QUARTER_MINUTES: i16 = 15;
const QUARTERS: i16 = 14 * 4;
const QUARTER_ZONES: usize = 2 * 14 * 4 + 1;

/// The timezone object for these minutes east of UTC; those of real places are found quickest.
fn zone(py: Python<'_>, minutes: i16) -> PyResult<Bound<'_, PyAny>> {
    static ZONES: [PyOnceLock<Py<PyAny>>; QUARTER_ZONES] =
        [const { PyOnceLock::new() }; QUARTER_ZONES];
    let place = usize::try_from(minutes / QUARTER_MINUTES + QUARTERS).ok();
    let quarter = place.filter(|_| minutes % QUARTER_MINUTES == 0).and_then(|at| ZONES.get(at));
    match quarter {
        Some(made) => {
            let made = made.get_or_try_init(py, || odd_zone(py, minutes).map(Bound::unbind))?;
            Ok(made.bind(py).clone())
        }
        None => odd_zone(py, minutes),
    }
}

/// The same for any minutes; there are at most 2,879, each made once.
fn odd_zone(py: Python<'_>, minutes: i16) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ZONES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let zones = ZONES.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    if let Some(zone) = zones.get_item(minutes)? {
        return Ok(zone);
    }
    let class = CLASS.import(py, "datetime", "timezone")?;
    let zone = match minutes {
        0 => class.getattr("utc")?,
        _ => class.call1((PyDelta::new(py, 0, i32::from(minutes) * 60, 0, true)?,))?,
    };
    zones.set_item(minutes, &zone)?;
    Ok(zone)
}

/// type/subtype of a part, before it is a `str`.
pub(crate) enum MediaType {
    /// One that nearly all parts have: its number, and its name.
    Known(usize, &'static str),
    Other(String),
}

impl MediaType {
    pub(crate) fn of(part: PartView<'_, '_>) -> Self {
        if let Some((number, name)) = part.known_type() {
            return Self::Known(number, name);
        }
        let (media_type, subtype) = part.media_type();
        Self::Other(format!("{media_type}/{subtype}"))
    }

    /// The usual ones are made once.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        static MADE: [PyOnceLock<Py<PyString>>; KNOWN_TYPES] =
            [const { PyOnceLock::new() }; KNOWN_TYPES];
        let (made, name) = match self {
            Self::Known(number, name) => (MADE.get(*number), *name),
            Self::Other(name) => (None, name.as_str()),
        };
        match made {
            Some(made) => {
                made.get_or_init(py, || PyString::intern(py, name).unbind()).bind(py).clone()
            }
            None => PyString::new(py, name),
        }
    }
}

/// The name of a header field as a `str`; those every letter has are made once.
pub(crate) fn field_name<'py>(py: Python<'py>, name: &[u8]) -> Bound<'py, PyString> {
    match name {
        b"Received" => intern!(py, "Received").clone(),
        b"From" => intern!(py, "From").clone(),
        b"To" => intern!(py, "To").clone(),
        b"Subject" => intern!(py, "Subject").clone(),
        b"Date" => intern!(py, "Date").clone(),
        b"Message-ID" => intern!(py, "Message-ID").clone(),
        b"Message-Id" => intern!(py, "Message-Id").clone(),
        b"MIME-Version" => intern!(py, "MIME-Version").clone(),
        b"Content-Type" => intern!(py, "Content-Type").clone(),
        b"Content-Transfer-Encoding" => intern!(py, "Content-Transfer-Encoding").clone(),
        b"Return-Path" => intern!(py, "Return-Path").clone(),
        b"Delivered-To" => intern!(py, "Delivered-To").clone(),
        b"Reply-To" => intern!(py, "Reply-To").clone(),
        b"References" => intern!(py, "References").clone(),
        b"In-Reply-To" => intern!(py, "In-Reply-To").clone(),
        b"List-Id" => intern!(py, "List-Id").clone(),
        b"DKIM-Signature" => intern!(py, "DKIM-Signature").clone(),
        _ => PyString::new(py, &String::from_utf8_lossy(name)),
    }
}
