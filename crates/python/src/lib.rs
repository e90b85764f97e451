//! The Python package `libop`: its native module `libop._libop`, one submodule per library.
//!
//! Python's own files lie in `package/libop`; they say which names are public. Here `mparser` is bound; `storage` and
//! `antispam` join as further rows of [`LIBRARIES`]. Knows nothing about files of a mailbox but mbox and Maildir, which
//! [`many`] reads, nothing about the C library, and nothing about configuration.
//!
//! | file | holds |
//! |---|---|
//! | `buffer` | [`buffer::Source`]: the bytes of a letter that Python owns; all `unsafe` of this crate |
//! | `letter`, `part`, `headers` | the classes Message, Part, Headers |
//! | `values` | Address, Defect, Breach, EmbeddedFile; dates and types as Python has them |
//! | `eager` | `extract`: a whole letter in one call |
//! | `decoded` | letters whose values were decoded before anybody asks |
//! | `overview` | `overview`: what a list of letters shows |
//! | `many`, `pool` | `parse_many`: an iterator, and the threads behind it |
//! | `mbox`, `maildir` | letters out of files |
#![warn(missing_docs)]

mod buffer;
mod decoded;
mod eager;
mod headers;
mod letter;
mod maildir;
mod many;
mod mbox;
mod overview;
mod part;
mod pool;
mod values;

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A library of the package: its name and who fills its module.
struct Library {
    name: &'static str,
    fill: fn(&Bound<'_, PyModule>) -> PyResult<()>,
}

static LIBRARIES: &[Library] = &[Library { name: "mparser", fill: mparser_module }];

// Reads of memory that Python may change rely on the GIL (see `buffer`), so the module asks for it.
#[pymodule(gil_used = true)]
fn _libop(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    for Library { name, fill } in LIBRARIES {
        let full_name = format!("libop._libop.{name}");
        let library = PyModule::new(py, &full_name)?;
        fill(&library)?;
        module.add(*name, &library)?;
        // `import libop._libop.mparser` looks here first; there is no file to find.
        modules.set_item(full_name, library)?;
    }
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}

fn mparser_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<letter::Message>()?;
    module.add_class::<part::Part>()?;
    module.add_class::<headers::Headers>()?;
    module.add_class::<values::Address>()?;
    module.add_class::<values::Defect>()?;
    module.add_class::<values::Breach>()?;
    module.add_class::<values::EmbeddedFile>()?;
    module.add_function(wrap_pyfunction!(letter::parse, module)?)?;
    module.add_function(wrap_pyfunction!(letter::parse_header, module)?)?;
    module.add_class::<many::ParseMany>()?;
    module.add_function(wrap_pyfunction!(eager::extract, module)?)?;
    module.add_class::<overview::Overview>()?;
    module.add_function(wrap_pyfunction!(overview::overview, module)?)?;
    module.add_function(wrap_pyfunction!(many::parse_many, module)?)
}
