//! A PostgreSQL database for one test, empty at first and removed at the end. Shared by path with the tests of
//! other crates; `tests/postgres/cluster.sh` does the work and says what is missing.

use std::path::PathBuf;
use std::process::Command;

pub(crate) struct Database {
    pub(crate) url: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        Self { url: cluster(&[]).trim().to_owned() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        cluster(&["drop", &self.url]);
    }
}

/// The cluster lives as long as the program that runs the tests: all tests of a run share it.
fn cluster(arguments: &[&str]) -> String {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("../../tests/postgres/cluster.sh");
    let runner = std::os::unix::process::parent_id().to_string();
    let output = Command::new(&script).arg(runner).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
