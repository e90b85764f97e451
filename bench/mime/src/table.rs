//! The rows, how they are timed, and the table of ratios.

use crate::{ours, rivals};
use mparser::Index;
use std::hint::black_box;
use std::time::Instant;

type Task<'a> = Box<dyn FnMut(&[u8]) -> usize + 'a>;

struct Row<'a> {
    task: &'static str,
    parser: &'static str,
    run: Task<'a>,
    seconds: Vec<f64>,
    sum: usize,
}

/// One corpus, measured.
pub struct Table {
    corpus: String,
    letters: usize,
    bytes: usize,
    rows: Vec<Figure>,
    index: IndexFigures,
}

struct Figure {
    task: &'static str,
    parser: &'static str,
    median_s: f64,
    seconds: Vec<f64>,
    sum: usize,
}

struct IndexFigures {
    median_us: f64,
    p99_us: f64,
    stored_median_bytes: usize,
}

/// What must hold: corpus, task, against whom, at least how many times as fast.
const BARS: &[(&str, &str, &str, f64)] = &[
    ("sa_dev", "full", "mail-parser 1.0", 1.5),
    ("portal", "full", "mail-parser 1.0", 1.0),
    ("sa_dev", "structure", "mail-parser 1.0", 2.0),
    ("sa_dev", "headers", "mail-parser 1.0", 2.0),
    ("sa_dev", "full", "mailparse 0.18", 3.0),
    ("sa_dev", "full", "GMime 3", 15.0),
];
const INDEX_BAR_US: f64 = 5.0;

fn rows<'a>() -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let mut add = |task, parser, run: Task<'a>| {
        rows.push(Row { task, parser, run, seconds: Vec::new(), sum: 0 });
    };
    let mut buffer = Vec::new();
    add("full", "mparser", Box::new(move |raw| ours::full(raw, &mut buffer)));
    add("headers", "mparser", Box::new(ours::headers));
    add("structure", "mparser", Box::new(ours::structure));
    add("index of", "mparser", Box::new(ours::eager));
    let mut buffers = mail_parser::MessageBuffers::new();
    let parser = mail_parser::MessageParser::default();
    let run = move |raw: &[u8]| rivals::mail_parser_1::full(&parser, &mut buffers, raw);
    add("full", "mail-parser 1.0", Box::new(run));
    let parser = mail_parser::MessageParser::default();
    let run = move |raw: &[u8]| rivals::mail_parser_1::headers(&parser, raw);
    add("headers", "mail-parser 1.0", Box::new(run));
    let mut buffers = mail_parser::MessageBuffers::new();
    let parser = mail_parser::MessageParser::default();
    let run = move |raw: &[u8]| rivals::mail_parser_1::structure(&parser, &mut buffers, raw);
    add("structure", "mail-parser 1.0", Box::new(run));
    add("full", "mailparse 0.18", Box::new(rivals::mailparse_018::full));
    add("headers", "mailparse 0.18", Box::new(rivals::mailparse_018::headers));
    add("structure", "mailparse 0.18", Box::new(rivals::mailparse_018::structure));
    #[cfg(gmime)]
    {
        rivals::gmime::start();
        add("full", "GMime 3", Box::new(|raw| rivals::gmime::run(raw, 0)));
        add("headers", "GMime 3", Box::new(|raw| rivals::gmime::run(raw, 1)));
        add("structure", "GMime 3", Box::new(|raw| rivals::gmime::run(raw, 2)));
    }
    rows
}

/// Every row over every letter, `rounds` times, one row after the other in each round.
pub fn measure(corpus: &str, letters: &[Vec<u8>], rounds: usize) -> Table {
    let mut rows = rows();
    for _ in 0..rounds.max(1) {
        for row in &mut rows {
            let start = Instant::now();
            row.sum = letters.iter().fold(0, |sum, raw| sum.wrapping_add((row.run)(raw)));
            row.seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let figure = |row: Row| {
        let median_s = median(row.seconds.clone());
        Figure { task: row.task, parser: row.parser, median_s, seconds: row.seconds, sum: row.sum }
    };
    Table {
        corpus: corpus.to_owned(),
        letters: letters.len(),
        bytes: letters.iter().map(Vec::len).sum(),
        rows: rows.into_iter().map(figure).collect(),
        index: measure_index(letters, rounds),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Each letter's stored index read back, and all that BODYSTRUCTURE and ENVELOPE print walked.
fn measure_index(letters: &[Vec<u8>], rounds: usize) -> IndexFigures {
    let stored: Vec<Vec<u8>> = letters.iter().map(|raw| Index::of(raw).encode()).collect();
    let mut times: Vec<f64> = Vec::new();
    for bytes in &stored {
        let mut best_of: Vec<f64> = Vec::new();
        for _ in 0..rounds.max(3) {
            let start = Instant::now();
            black_box(ours::stored(bytes));
            best_of.push(start.elapsed().as_secs_f64() * 1e6);
        }
        best_of.sort_by(f64::total_cmp);
        times.push(best_of[best_of.len() / 2]);
    }
    times.sort_by(f64::total_cmp);
    let mut sizes: Vec<usize> = stored.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    IndexFigures {
        median_us: times[times.len() / 2],
        p99_us: times[times.len() * 99 / 100],
        stored_median_bytes: sizes[sizes.len() / 2],
    }
}

impl Table {
    fn row(&self, task: &str, parser: &str) -> Option<&Figure> {
        self.rows.iter().find(|r| r.task == task && r.parser == parser)
    }

    /// How many times as fast we are: median, least and most of the rounds, each round by itself.
    fn ratio(&self, task: &str, parser: &str) -> Option<(f64, f64, f64)> {
        let (ours, theirs) = (self.row(task, "mparser")?, self.row(task, parser)?);
        let ratios = theirs.seconds.iter().zip(&ours.seconds).map(|(theirs, ours)| theirs / ours);
        let ratios: Vec<f64> = ratios.collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Some((median(ratios), least, most))
    }
}

/// Lines of fields between tabs after a first word, for people and for `cargo xtask bench mime`.
pub fn print(tables: &[Table]) {
    for table in tables {
        let mb = table.bytes as f64 / 1e6;
        println!("corpus\t{}\t{} letters\t{mb:.1} MB", table.corpus, table.letters);
        println!("row\tcorpus\ttask\tparser\tMB/s\tletters/s\tours is\tsum");
        for row in &table.rows {
            let ours = table.ratio(row.task, row.parser).map_or(1.0, |ratio| ratio.0);
            println!(
                "row\t{}\t{}\t{}\t{:.0}\t{:.0}\t{:.2}x\t{}",
                table.corpus,
                row.task,
                row.parser,
                mb / row.median_s,
                table.letters as f64 / row.median_s,
                ours,
                row.sum
            );
        }
        for row in table.rows.iter().filter(|row| row.parser != "mparser") {
            let (task, parser) = (row.task, row.parser);
            let (Some((median, least, most)), Some(ours)) =
                (table.ratio(task, parser), table.row(task, "mparser"))
            else {
                continue;
            };
            println!(
                "ratio\t{}\t{task}\t{parser}\t{median:.3}\t{least:.3}\t{most:.3}\t{:.3}",
                table.corpus,
                mb / ours.median_s
            );
        }
        let index = &table.index;
        println!(
            "index\t{}\tmedian {:.2} us\tp99 {:.2} us\tstored {} bytes (median)",
            table.corpus, index.median_us, index.p99_us, index.stored_median_bytes
        );
    }
    for (corpus, task, parser, least) in BARS {
        let Some(table) = tables.iter().find(|t| t.corpus == *corpus) else {
            continue;
        };
        let Some((ratio, ..)) = table.ratio(task, parser) else {
            println!("bar\t{corpus}\t{task}\t{parser}\t{least:.1}x\tnot measured");
            continue;
        };
        let verdict = if ratio >= *least { "reached" } else { "MISSED" };
        println!("bar\t{corpus}\t{task}\t{parser}\t{least:.1}x\t{ratio:.2}x\t{verdict}");
    }
    if let Some(table) = tables.iter().find(|t| t.corpus == "sa_dev") {
        let us = table.index.median_us;
        let verdict = if us < INDEX_BAR_US { "reached" } else { "MISSED" };
        println!("bar\tsa_dev\tindex\tstored\t{INDEX_BAR_US:.1} us\t{us:.2} us\t{verdict}");
    }
}

/// One of our tasks alone, for a profiler. `values` is no task: it prints a line for each letter with all that is
/// read, to compare two builds.
pub fn profile(task: &str, times: usize, letters: &[Vec<u8>]) {
    if task == "values" {
        for (number, raw) in letters.iter().enumerate() {
            println!("{number}\t{}", ours::values(raw));
        }
    }
    for mut row in rows().into_iter().filter(|r| r.task == task && r.parser == "mparser") {
        for _ in 0..times {
            for raw in letters {
                black_box((row.run)(raw));
            }
        }
    }
}
