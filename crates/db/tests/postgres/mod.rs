//! A PostgreSQL database for one test, empty at first and removed at the end. Shared by path with the tests of
//! other crates; `tests/postgres/cluster.sh` does the work and says what is missing.

use std::path::PathBuf;
use std::process::Command;

pub(crate) struct Database {
    pub(crate) url: String,
    owner: u32,
}

impl Database {
    /// In the cluster that lives as long as the program that runs the tests: all tests of a run share it.
    pub(crate) fn new() -> Self {
        Self::of(std::os::unix::process::parent_id())
    }

    /// In a cluster of this process, which may be restarted and changed.
    #[allow(dead_code, reason = "not every crate that has this file restarts it")]
    pub(crate) fn alone() -> Self {
        Self::of(std::process::id())
    }

    fn of(owner: u32) -> Self {
        Self { url: cluster(owner, &[]).trim().to_owned(), owner }
    }

    /// Asks more of the cluster, as `cluster.sh` says.
    #[allow(dead_code, reason = "not every crate that has this file restarts it")]
    pub(crate) fn cluster(&self, arguments: &[&str]) {
        cluster(self.owner, arguments);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        cluster(self.owner, &["drop", &self.url]);
    }
}

fn cluster(owner: u32, arguments: &[&str]) -> String {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("../../tests/postgres/cluster.sh");
    let output = Command::new(&script).arg(owner.to_string()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
