//! `cargo xtask bench python [--save] [--rounds N]`: the release wheel of libop beside the standard library and
//! fast-mail-parser, all in one Python process (bench/python/main.py says how).
//!
//! `--save` writes the tables of docs/bench-python.md and the rows `python-…` of bench/baseline.tsv anew. Letters,
//! wheel and packages lie below `target/`.

use crate::{bench, fixtures, spawn, wheel};
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Whom we are measured beside: the version is part of the figure.
const RIVALS: &[&str] = &["fast-mail-parser==0.10.0"];
const ROUNDS: &str = "7";
const PAGE: &str = "docs/bench-python.md";
const BASELINE: &str = "bench/baseline.tsv";
/// What is between these lines of the page is ours to write.
const BEGIN: &str = "<!-- written by `cargo xtask bench python --save`: begin -->";
const END: &str = "<!-- end -->";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut save, mut rounds) = (false, ROUNDS);
    let mut words = arguments.iter().skip(1).map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--save" => save = true,
            "--rounds" => rounds = words.next().context("how many rounds? `--rounds 7`")?,
            _ => bail!(
                "write `cargo xtask bench python`, with `--save` and `--rounds N` if you like"
            ),
        }
    }
    let folder = bench::mime_folder()?;
    let packs = ["sa_dev", "fix_dev", "portal"].map(|corpus| folder.join(format!("{corpus}.pack")));
    if !packs.iter().all(|pack| pack.exists()) {
        let packer = bench::mime_program(&folder)?;
        bench::packs(&folder, &packer)?;
        fixtures::pack(&folder, &packer)?;
    }
    let python = environment(&folder)?;
    let mut main = spawn::program(&python);
    main.arg("bench/python/main.py").args(["--rounds", rounds]).args(&packs);
    let text = spawn::output("the benchmark", &mut main)?;
    println!("{text}");
    if save {
        let found = Found::read(&text);
        save_page(&found, &folder)?;
        save_baseline(&found)?;
    }
    Ok(())
}

/// A virtual environment with the rivals and the wheel of this checkout.
fn environment(folder: &Path) -> Result<PathBuf> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        let mut make = spawn::program("python3");
        spawn::run("python3 -m venv", make.args(["-m", "venv"]).arg(&venv))?;
    }
    let pip = || {
        let mut pip = spawn::program(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    spawn::run("pip install of the rivals", pip().args(RIVALS))?;
    let wheel = wheel::build()?;
    let mut ours = pip();
    ours.args(["--no-deps", "--force-reinstall"]).arg(&wheel);
    spawn::run("pip install of the wheel", &mut ours)?;
    Ok(python)
}

/// What main.py printed, lines by their first word.
struct Found<'a>(Vec<Vec<&'a str>>);

impl<'a> Found<'a> {
    fn read(text: &'a str) -> Found<'a> {
        Found(text.lines().map(|line| line.split('\t').collect()).collect())
    }

    /// The fields after the first word.
    fn of(&self, word: &str) -> impl Iterator<Item = &[&'a str]> {
        self.0.iter().filter_map(move |line| {
            let (first, rest) = line.split_first()?;
            (*first == word).then_some(rest)
        })
    }

    /// Our MB/s in a row.
    fn ours(&self, corpus: &str, task: &str) -> &'a str {
        let parser = match task {
            "full" => "libop extract",
            "lazy" => "libop overview",
            _ => "libop parse_many, 2 threads",
        };
        let row = self.of("row").find(|row| row.get(..3) == Some(&[corpus, task, parser][..]));
        row.and_then(|row| row.get(3)).copied().unwrap_or("")
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = line(&head) + &line(&vec!["---".to_owned(); head.len()]);
    rows.for_each(|row| text += &line(&row));
    text
}

fn cells(row: &[&str]) -> Vec<String> {
    row.iter().map(|&cell| cell.to_owned()).collect()
}

fn page(found: &Found<'_>, fixtures: &str) -> Result<String> {
    let mut text = format!("\nDate: {}. Machine: {}.\n\n", bench::today()?, bench::machine()?);
    for note in found.of("note") {
        writeln!(text, "- Note: {}", note.join(" "))?;
    }
    for corpus in found.of("corpus") {
        writeln!(text, "- {}", corpus.join(", "))?;
    }
    let bars = found.of("bar").map(|row| match row {
        [corpus, task, ours, theirs, rest @ ..] => {
            let mut cells = vec![format!("{corpus}, {task}: {ours} against {theirs}")];
            cells.extend(rest.iter().map(|&cell| cell.to_owned()));
            cells
        }
        other => cells(other),
    });
    text += "\n## Bars\n\n";
    text += &table(&["bar", "wanted", "found", ""], bars);
    text += "\n## Rows\n\n";
    let rows = found.of("row").map(|row| {
        let (key, rest) = row.split_at(row.len().min(3));
        let ratio = found.of("ratio").find_map(|ratio| ratio.strip_prefix(key));
        let ratio = match ratio {
            Some([median, least, most]) => format!("{median} ({least} to {most})"),
            _ => "1".to_owned(),
        };
        let (figures, does) = rest.split_at(rest.len().min(2));
        let mut all = cells(key);
        all.extend(cells(figures));
        all.push(ratio);
        all.extend(cells(does));
        all
    });
    let head = [
        "corpus",
        "task",
        "parser",
        "MB/s",
        "letters/s",
        "libop is faster by",
        "what the row does",
    ];
    text += &table(&head, rows);
    text += "\n## Whether all did the same work\n\nShare of letters where it agrees with `libop extract`, and all it decoded over all libop decoded.\n\n";
    let head = ["corpus", "parser", "subject %", "leaves %", "size %", "decoded, all letters", ""];
    text += &table(&head, found.of("agree").map(cells));
    text += "\n## What fix_dev is made of\n\n";
    let mut sources = fixtures.lines().map(|line| line.split('\t').map(str::to_owned).collect());
    drop::<Option<Vec<String>>>(sources.next()); // the names of the columns
    text += &table(&["package", "letters", "bytes"], sources);
    Ok(text)
}

fn save_page(found: &Found<'_>, folder: &Path) -> Result<()> {
    let path = crate::root()?.join(PAGE);
    let old = std::fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    let parts =
        old.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) =
        parts.with_context(|| format!("{PAGE} has no lines `{BEGIN}` and `{END}`"))?;
    let fixtures = std::fs::read_to_string(folder.join(fixtures::TABLE)).unwrap_or_default();
    let text = format!("{head}{BEGIN}\n{}\n{END}{tail}", page(found, &fixtures)?);
    std::fs::write(&path, text).with_context(|| format!("cannot write {PAGE}"))
}

/// The rows `python-…` of the last run go, those of this one come.
fn save_baseline(found: &Found<'_>) -> Result<()> {
    let path = crate::root()?.join(BASELINE);
    let old = std::fs::read_to_string(&path).with_context(|| format!("cannot read {BASELINE}"))?;
    let mut text = String::new();
    for line in old.lines().filter(|line| !line.contains("\tpython-")) {
        writeln!(text, "{line}")?;
    }
    let (today, machine) = (bench::today()?, bench::machine()?);
    for row in found.of("ratio") {
        let [corpus, task, parser, median, least, most] = row else {
            bail!("a line of the benchmark has other fields: {row:?}");
        };
        let ours = found.ours(corpus, task);
        writeln!(
            text,
            "{today}\t{machine}\tpython-{task} {corpus}\t{median}\t{least}\t{most}\t{parser}\t{ours}\tMB/s"
        )?;
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {BASELINE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "note\tbusy\ncorpus\tsa_dev\t2 of 8 letters\t0.1 MB\n\
        row\tsa_dev\tfull\tstdlib\t2.00\t20\tslowly\nrow\tsa_dev\tfull\tlibop extract\t200.00\t2000\tquickly\n\
        ratio\tsa_dev\tfull\tstdlib\t100.000\t90.000\t110.000\nagree\tsa_dev\tstdlib\t99.0\t98.0\t97.0\t1.001\talike\n\
        bar\tsa_dev\tfull\tlibop extract\tstdlib\t100x\t100.00x\treached\n";

    #[test]
    fn what_was_printed_becomes_tables() {
        let found = Found::read(PRINTED);
        let text = page(&found, "package\tletters\tbytes\nsome\t2\t30\n").unwrap();
        for expect in [
            "- Note: busy\n",
            "- sa_dev, 2 of 8 letters, 0.1 MB\n",
            "| sa_dev, full: libop extract against stdlib | 100x | 100.00x | reached |\n",
            "| sa_dev | full | stdlib | 2.00 | 20 | 100.000 (90.000 to 110.000) | slowly |\n",
            "| sa_dev | full | libop extract | 200.00 | 2000 | 1 | quickly |\n",
            "| sa_dev | stdlib | 99.0 | 98.0 | 97.0 | 1.001 | alike |\n",
            "| some | 2 | 30 |\n",
        ] {
            assert!(text.contains(expect), "{expect} is not in\n{text}");
        }
        assert_eq!(found.ours("sa_dev", "full"), "200.00");
        assert_eq!(found.ours("sa_dev", "lazy"), "");
    }
}
