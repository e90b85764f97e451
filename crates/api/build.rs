//! Writes the table of the web UI's files: `web/dist`, when it has been built.
//!
//! A file may have `.br` and `.gz` beside it, made by the web build; they become its compressed forms.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = here.join("../../web/dist");
    // Cargo runs this script every time while a path it watches does not exist; an empty folder, which git
    // does not see, makes it wait for the web build instead. A read-only checkout does without.
    drop(fs::create_dir_all(&dist));
    println!("cargo:rerun-if-changed=build.rs");
    if dist.is_dir() {
        println!("cargo:rerun-if-changed={}", dist.display());
    }
    let mut files = BTreeMap::new();
    if dist.join("index.html").is_file() {
        collect(&dist, "", &mut files)?;
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("web_files.rs"), table(&files)?)
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, files)?;
        } else {
            files.insert(name, entry.path().canonicalize()?.display().to_string());
        }
    }
    Ok(())
}

fn table(files: &BTreeMap<String, String>) -> io::Result<String> {
    let mut code = String::from("static FILES: &[File] = &[\n");
    for (path, file) in files {
        let is_extra = [".br", ".gz"].iter().any(|extra| {
            let plain = path.strip_suffix(extra);
            plain.is_some_and(|plain| files.contains_key(plain))
        });
        if is_extra || Path::new(path).extension().is_some_and(|e| e == "map") {
            continue;
        }
        let extra = |suffix: &str| match files.get(&format!("{path}{suffix}")) {
            Some(file) => format!("Some(include_bytes!({file:?}))"),
            None => "None".to_owned(),
        };
        // Changes with the content; nobody has a reason to make two files collide.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(&fs::read(file)?);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let _ = writeln!(
            code,
            "    File {{ path: {path:?}, tag: {tag:?}, plain: include_bytes!({file:?}), brotli: {}, gzip: {} }},",
            extra(".br"),
            extra(".gz"),
        );
    }
    code.push_str("];\n");
    Ok(code)
}
